//! The flows of a worker that makes transactions or answers them.

use std::io;
use std::time::Instant;

use super::{Serving, Share, Watchers};
use crate::backend::{Backend, Done};
use crate::flow::{DatagramRequest, DatagramRespond, Messages, Request, Respond};
use crate::latency::Timings;
use crate::plan::{EngineChoice, Length, Protocol, Role};
use crate::resend::Resend;

impl Serving<'_> {
    /// The measured part of a requester or a responder.
    pub(super) fn transact<B: Backend>(
        &self,
        backend: &mut B,
        watchers: Watchers<'_>,
        done: &mut Vec<Done>,
        share: &mut Share,
    ) -> io::Result<()> {
        let options = self.plan.options();
        let messages = self.messages(backend);
        let transaction = &options.transaction;
        let in_flight = transaction.in_flight;
        match (options.role, options.protocol) {
            (Role::Request, Protocol::Tcp) => {
                let response = transaction.response_bytes;
                let flow = |flow| Request::new(messages, response, in_flight, self.transactions(flow));
                self.follow(flow, backend, watchers, done, share)
            }
            (Role::Request, Protocol::Udp) => {
                let flow = |flow| DatagramRequest::new(messages, in_flight, self.transactions(flow));
                self.follow(flow, backend, watchers, done, share)
            }
            (_, Protocol::Tcp) => {
                let flow = |_| Respond::new(transaction.request_bytes, messages, self.most_requests());
                self.follow(flow, backend, watchers, done, share)
            }
            (_, Protocol::Udp) => {
                let exact = options.exact_message.then_some(transaction.request_bytes);
                let flow = |_| DatagramRespond::new(messages, exact, self.most_requests());
                self.follow(flow, backend, watchers, done, share)
            }
        }
    }

    /// The messages that this end sends.
    fn messages(&self, backend: &impl Backend) -> Messages {
        let options = self.plan.options();
        let layout = self.plan.layout();
        let together = match (options.engine, options.protocol) {
            // One send a message is what blocking calls are for.
            (EngineChoice::Classic, _) => 1,
            (_, Protocol::Tcp) => layout.slots,
            (_, Protocol::Udp) => layout.batch,
        };
        let message_bytes = options.message_sizes().0;
        // What may have to wait for its time completes in any case.
        let offers = backend.offers() && options.bursts.is_none();
        Messages { message_bytes, slots: layout.slots, together, offers, bursts: self.bursts() }
    }

    /// A flow's share of the transactions, where they are counted: the first flows of the run have one more
    /// if it does not come out even.
    fn transactions(&self, flow: u32) -> Option<u64> {
        let options = self.plan.options();
        let Length::Transactions(all) = options.length else { return None };
        let flows = u64::from(options.flows);
        let number = u64::from(flow) * u64::from(options.worker_count()) + u64::from(self.number);
        Some(all / flows + u64::from(number < all % flows))
    }

    /// Most requests that a flow of the responder may get. Which of its flows the requester gives one less is
    /// not known here; it ends those itself.
    fn most_requests(&self) -> Option<u64> {
        let options = self.plan.options();
        let Length::Transactions(all) = options.length else { return None };
        Some(all.div_ceil(u64::from(options.flows)))
    }

    /// How long transactions take, where that is to be measured.
    pub(super) fn timings(&self) -> Option<Timings> {
        let options = self.plan.options();
        let wanted = options.latency && options.role == Role::Request;
        wanted.then(|| Timings::new(self.connections.len(), options.transaction.in_flight))
    }

    /// How long responses may take, where somebody wants to know.
    pub(super) fn resend(&self) -> Option<Resend> {
        let options = self.plan.options();
        let requests = (options.role, options.protocol) == (Role::Request, Protocol::Udp);
        let after = options.transaction.resend_after.filter(|_| requests);
        after.map(|after| Resend::new(after, Instant::now()))
    }
}
