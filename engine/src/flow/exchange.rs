//! What the two ends of transactions over connections of their own have in common.

use crate::backend::Done;
use crate::outcome::{End, Tally};

/// What is to be done next for the flow that a completion was of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Take connections, from now on.
    Accept,
    /// Send so many bytes, then end and close the connection.
    Close { last: u32 },
    /// Make a connection from this port, 0 for any, send the request, and receive so many bytes.
    Connect { port: u16, bytes: u32 },
    /// Receive so many bytes.
    Take { bytes: u32 },
    /// Nothing.
    Wait,
}

/// All transactions of a worker, whose connections come and go.
pub(crate) trait Exchange {
    /// The first thing to do for a flow.
    fn start(&mut self, flow: u32) -> Deed;
    /// Takes a completion.
    fn step(&mut self, done: &Done) -> Deed;
    /// Ends it, with this result unless it has ended already. What is under way is not counted.
    fn stop(&mut self, end: End);
    /// How it ended; `None` as long as it has not.
    fn over(&self) -> Option<End>;
    /// Counters so far, those of the backend left at zero.
    fn tally(&self) -> Tally;
    /// The same as they are told while it goes on.
    fn told(&self) -> Tally {
        self.tally()
    }
    /// Connections so far, of those that show that the peer is still there.
    fn arrivals(&self) -> u64;
}
