//! The table of TCP_STREAM, TCP_MAERTS and TCP_SENDFILE.
//!
//! Keeps netperf's slips, since a script that reads columns cannot tell them from intent: with CPU columns
//! TCP_MAERTS shows the socket buffers of the other direction, and its details show the alignment and offset
//! of a receive buffer under the word `Send`.

use std::time::Duration;

use ringperf_engine::facts::SocketBuffers;
use ringperf_engine::plan::Role;

use super::{CpuColumns, Layout, MachineLoad};

/// Where a buffer starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Alignment in bytes; -1 where there is no control connection to tell it.
    pub(crate) alignment: i32,
    /// Bytes past that alignment; -1 likewise.
    pub(crate) offset: i32,
}

/// One end of the stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TcpEnd {
    /// Its socket buffers as granted, before any data.
    pub(crate) buffers: SocketBuffers,
    /// Where its send buffers start.
    pub(crate) send_place: Place,
    /// Where its receive buffers start.
    pub(crate) receive_place: Place,
    /// CPU of its machine, if measured.
    pub(crate) load: Option<MachineLoad>,
    /// Bytes it sent or received in the last iteration.
    pub(crate) bytes: u64,
    /// Its send or receive calls of the last iteration.
    pub(crate) calls: u64,
}

/// The figures of a TCP stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TcpTable {
    /// What this end did: `Send` is TCP_STREAM, `Receive` TCP_MAERTS.
    pub(crate) role: Role,
    /// Size of the sender's messages in bytes; `None` where it is not known.
    pub(crate) message_bytes: Option<u32>,
    /// Mean of the iterations.
    pub(crate) elapsed: Duration,
    /// Mean of the iterations, in the unit of the layout.
    pub(crate) rate: f64,
    /// This end.
    pub(crate) local: TcpEnd,
    /// The other end; zeroes where there is no control connection to tell.
    pub(crate) remote: TcpEnd,
    /// TCP_MAXSEG of this end's data socket, in bytes; `None` where it is not known.
    pub(crate) segment_bytes: Option<u32>,
    /// What TCP_SENDFILE shows as the bytes moved, to four digits: those that the netserver received.
    pub(crate) arrived: Option<u64>,
}

impl TcpTable {
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
            text.push_str(&self.details());
        }
        text
    }

    fn single_figure(&self, layout: &Layout<'_>) -> String {
        let brand = layout.shown_brand();
        if !layout.shows_cpu() {
            return format!("{:>7.2} {brand}\n", self.rate);
        }
        let end = if layout.local_cpu { self.local } else { self.remote };
        let cpu = CpuColumns::new(end.load);
        format!("{:>6.3} {} {brand}\n", cpu.demand, cpu.method)
    }

    fn header(&self, layout: &Layout<'_>) -> String {
        let unit = layout.unit.word();
        if !layout.shows_cpu() {
            return [
                "Recv   Send    Send                          \n",
                "Socket Socket  Message  Elapsed              \n",
                "Size   Size    Size     Time     Throughput  \n",
                &format!("bytes  bytes   bytes    secs.    {unit}/sec  \n\n"),
            ]
            .concat();
        }
        let ends = match self.role {
            Role::Request | Role::Send => "Send     Recv     Send    Recv",
            Role::Receive | Role::Respond => "Recv     Send     Recv    Send",
        };
        let (local, remote) = self.cpu_columns();
        [
            "Recv   Send    Send                          Utilization       Service Demand\n",
            &format!("Socket Socket  Message  Elapsed              {ends}\n"),
            "Size   Size    Size     Time     Throughput  local    remote   local   remote\n",
            &format!(
                "bytes  bytes   bytes    secs.    {unit:<8.8}/s  % {}      % {}      us/KB   us/KB\n\n",
                local.method, remote.method
            ),
        ]
        .concat()
    }

    fn result(&self, layout: &Layout<'_>) -> String {
        let (local, remote) = (self.local.buffers, self.remote.buffers);
        let (receive_buffer, send_buffer) = match self.role {
            Role::Receive if !layout.shows_cpu() => (local.receive, remote.send),
            _ => (remote.receive, local.send),
        };
        let message = or_minus_one(self.message_bytes);
        let elapsed = self.elapsed.as_secs_f64();
        let (rate, brand) = (self.rate, layout.shown_brand());
        let sizes = format!("{receive_buffer:>6} {send_buffer:>6} {message:>6}    {elapsed:<6.2}");
        if !layout.shows_cpu() {
            return format!("{sizes}   {rate:>7.2}   {brand}\n");
        }
        let (local, remote) = self.cpu_columns();
        format!(
            "{sizes}     {rate:>7.2}   {:<6.2}   {:<6.2}   {:<6.3}  {:<6.3} {brand}\n",
            local.utilisation, remote.utilisation, local.demand, remote.demand
        )
    }

    fn details(&self) -> String {
        let (near, far, place) = match self.role {
            Role::Request | Role::Send => ("Send", "Recv", self.local.send_place),
            Role::Receive | Role::Respond => ("Recv", "Send", self.local.receive_place),
        };
        let far_place = self.remote.receive_place;
        // netperf divides what it sent, not what arrived, by the other end's receives
        let far_bytes = match self.role {
            Role::Request | Role::Send => self.local.bytes,
            Role::Receive | Role::Respond => self.remote.bytes,
        };
        let header = format!(
            "\nAlignment      Offset         Bytes    Bytes       {near}s   Bytes    {far}s\n\
             Local  Remote  Local  Remote  Xfered   Per                 Per\n\
             {near}   {far}    {near}   {far}             {near} (avg)          {far} (avg)\n"
        );
        let bytes = self.arrived.map_or_else(|| self.local.bytes.to_string(), four_digits);
        let row = format!(
            "{:>5}   {:>5}  {:>5}   {:>5} {bytes:>6}  {:>6.2}    {:>6}   {:>6.2} {:>6}\n",
            place.alignment,
            far_place.alignment,
            place.offset,
            far_place.offset,
            per_call(self.local.bytes, self.local.calls),
            self.local.calls,
            per_call(far_bytes, self.remote.calls),
            self.remote.calls
        );
        let segment = format!("\nMaximum\nSegment\nSize (bytes)\n{:>6}\n", or_minus_one(self.segment_bytes));
        header + &row + &segment
    }

    fn cpu_columns(&self) -> (CpuColumns, CpuColumns) {
        (CpuColumns::new(self.local.load), CpuColumns::new(self.remote.load))
    }
}

/// A count to four significant digits as C's `%.4g` has it: with an exponent from 10 000 on.
fn four_digits(count: u64) -> String {
    if count < 10_000 {
        // Rounding cannot add a digit here.
        return count.to_string();
    }
    let text = format!("{:.3e}", count as f64);
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    format!("{digits}e+{exponent:0>2}")
}

/// netperf's figure for a size that it does not know.
fn or_minus_one(size: Option<u32>) -> i64 {
    size.map_or(-1, i64::from)
}

/// Bytes of an average call: 0 where there were neither bytes nor calls, infinite, printed `inf` as netperf
/// does, where there were bytes only.
fn per_call(bytes: u64, calls: u64) -> f64 {
    if bytes == 0 { 0.0 } else { bytes as f64 / calls as f64 }
}
