//! The tables of the tests that are made of transactions: TCP_RR, UDP_RR, TCP_CRR and TCP_CC.
//!
//! Keeps netperf's slips: a remote offset under the word for an alignment, one blank more in the result of
//! UDP_RR, a rate in another unit under the words for transactions.

use std::time::Duration;

use ringperf_engine::facts::SocketBuffers;

use super::{CpuColumns, Layout, MachineLoad, Place};
use crate::netperf::units::Unit;

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RrTest {
    /// TCP_CC.
    Cc,
    /// TCP_CRR.
    Crr,
    /// TCP_RR.
    Tcp,
    /// UDP_RR.
    Udp,
}

impl RrTest {
    /// Each transaction has a connection of its own.
    fn connects(self) -> bool {
        matches!(self, Self::Cc | Self::Crr)
    }
}

/// One end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RrEnd {
    /// Its socket buffers as granted, before any data.
    pub(crate) buffers: SocketBuffers,
    /// Where its send buffers start.
    pub(crate) send_place: Place,
    /// Where its receive buffers start.
    pub(crate) receive_place: Place,
    /// CPU of its machine, if measured; service demand is of what the rate is of.
    pub(crate) load: Option<MachineLoad>,
}

/// The figures of the transactions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RrTable {
    /// The test.
    pub(crate) test: RrTest,
    /// Bytes of a request; `None` where nobody knows.
    pub(crate) request_bytes: Option<u32>,
    /// Bytes of a response.
    pub(crate) response_bytes: Option<u32>,
    /// Mean of the iterations.
    pub(crate) elapsed: Duration,
    /// Mean of the iterations, in the unit of the layout; of TCP_CC always in transactions.
    pub(crate) rate: f64,
    /// Transactions a second of the last iteration.
    pub(crate) transaction_rate: f64,
    /// Requests under way beside the usual one.
    pub(crate) first_burst: u32,
    /// This end.
    pub(crate) local: RrEnd,
    /// The other end; zeroes where there is no control connection to tell.
    pub(crate) remote: RrEnd,
}

impl RrTable {
    /// The text, line ends included.
    pub(crate) fn render(&self, layout: &Layout<'_>) -> String {
        if layout.verbosity == 0 {
            return self.single_figure(layout);
        }
        let mut text = String::new();
        if layout.has_result() {
            if layout.headers {
                text.push_str(&self.header(layout));
            }
            text.push_str(&self.result(layout));
        }
        if layout.has_details() {
            text.push_str(&self.details(layout));
        }
        text
    }

    fn single_figure(&self, layout: &Layout<'_>) -> String {
        let end = if layout.local_cpu { self.local } else { self.remote };
        let cpu = CpuColumns::new(end.load);
        let brand = layout.shown_brand();
        match (layout.shows_cpu(), self.test.connects()) {
            (false, true) => format!("{:>7.2}\n", self.rate),
            (false, false) => format!("{:>7.2} {brand}\n", self.rate),
            (true, true) => format!("{:>6.3}\n", cpu.demand),
            (true, false) => format!("{:>6.3} {} {brand}\n", cpu.demand, cpu.method),
        }
    }

    fn header(&self, layout: &Layout<'_>) -> String {
        // TCP_CRR and TCP_CC know only the words for transactions, whatever the unit.
        let transactions = self.test.connects() || layout.unit == Unit::Transactions;
        let unit = layout.unit.word();
        if !layout.shows_cpu() {
            let [above, rate, below] = if transactions {
                ["Trans.", "Rate         ", "per sec   "].map(str::to_owned)
            } else {
                [String::new(), "Throughput ".to_owned(), format!("{unit}/sec   ")]
            };
            return format!(
                "Local /Remote\n\
                 Socket Size   Request  Resp.   Elapsed  {above}\n\
                 Send   Recv   Size     Size    Time     {rate}\n\
                 bytes  Bytes  bytes    bytes   secs.    {below}\n\n"
            );
        }
        let (local, remote) = self.cpu_columns();
        let methods = if self.test.connects() {
            "%      %     ".to_owned()
        } else {
            format!("% {}    % {}   ", local.method, remote.method)
        };
        let [above, rate, demand] = if transactions {
            ["Trans.  ".to_owned(), "Rate     ".to_owned(), "us/Tr   us/Tr".to_owned()]
        } else {
            ["Tput    ".to_owned(), format!("{unit:<8.8} "), "us/KB   us/KB".to_owned()]
        };
        format!(
            "Local /Remote\n\
             Socket Size   Request Resp.  Elapsed {above} CPU    CPU    S.dem   S.dem\n\
             Send   Recv   Size    Size   Time    {rate}local  remote local   remote\n\
             bytes  bytes  bytes   bytes  secs.   per sec  {methods} {demand}\n\n"
        )
    }

    fn result(&self, layout: &Layout<'_>) -> String {
        let (local, remote) = (self.local.buffers, self.remote.buffers);
        let size = |bytes: Option<u32>| bytes.map_or(-1, i64::from);
        let (request, response) = (size(self.request_bytes), size(self.response_bytes));
        let elapsed = self.elapsed.as_secs_f64();
        let rate = self.rate;
        let brand = if self.test.connects() { "" } else { layout.shown_brand() };
        let buffers = format!("{:<6} {:<6}", local.send, local.receive);
        let below = format!("{:<6} {:<6}\n", remote.send, remote.receive);
        if !layout.shows_cpu() {
            return format!(
                "{buffers} {request:<6}   {response:<6}  {elapsed:<6.2}   {rate:>7.2}   {brand}\n{below}"
            );
        }
        let (near, far) = self.cpu_columns();
        let gap = if self.test == RrTest::Tcp { "  " } else { "   " };
        // The lines that have no place for a brand have no blank before it either.
        let brand = if self.test.connects() { String::new() } else { format!(" {brand}") };
        format!(
            "{buffers} {request:<6}  {response:<6} {elapsed:<6.2}  {rate:<6.2}{gap}{:<6.2} {:<6.2} {:<6.3}  \
             {:<6.3}{brand}\n{below}",
            near.utilisation, far.utilisation, near.demand, far.demand
        )
    }

    fn details(&self, layout: &Layout<'_>) -> String {
        let (near, far) = (self.local.send_place, self.remote.receive_place);
        let alignment = if self.test == RrTest::Crr { far.alignment } else { far.offset };
        let places = format!("{:>5}  {alignment:>5}   {:>5}  {:>5}", near.alignment, near.offset, far.offset);
        match self.test {
            RrTest::Udp => String::new(),
            RrTest::Cc | RrTest::Crr => format!(
                "\nAlignment      Offset\n\
                 Local  Remote  Local  Remote\n\
                 Send   Recv    Send   Recv\n\
                 {places}\n"
            ),
            RrTest::Tcp => {
                let unit = match layout.unit {
                    Unit::Transactions => Unit::Megabits,
                    other => other,
                };
                let each = |bytes: Option<u32>| {
                    // One second's worth, so that the unit's own arithmetic serves.
                    let bytes = self.transaction_rate * f64::from(bytes.unwrap_or(0));
                    unit.rate_of(bytes, 1.0)
                };
                let round_trip = if self.transaction_rate > 0.0 {
                    1e6 / self.transaction_rate * f64::from(self.first_burst + 1)
                } else {
                    0.0
                };
                format!(
                    "Alignment      Offset         RoundTrip  Trans    Throughput\n\
                     Local  Remote  Local  Remote  Latency    Rate     {:<8.8}/s\n\
                     Send   Recv    Send   Recv    usec/Tran  per sec  Outbound   Inbound\n\
                     {places}   {round_trip:<6.3}   {:<6.3} {:<6.3}    {:<6.3}\n",
                    unit.word(),
                    self.transaction_rate,
                    each(self.request_bytes),
                    each(self.response_bytes)
                )
            }
        }
    }

    fn cpu_columns(&self) -> (CpuColumns, CpuColumns) {
        (CpuColumns::new(self.local.load), CpuColumns::new(self.remote.load))
    }
}
