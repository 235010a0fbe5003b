//! The table of UDP_STREAM: a row of what was sent, a row of what arrived.
//!
//! It has no details and never shows a brand.

use std::time::Duration;

use super::{CpuColumns, Layout, MachineLoad};

/// The figures of a UDP stream. Counts and rates are those of the last iteration, unless said otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UdpTable {
    /// SO_SNDBUF of this end in bytes, as granted.
    pub(crate) send_buffer: u32,
    /// SO_RCVBUF of the other end in bytes, as granted.
    pub(crate) receive_buffer: u32,
    /// Size of a message in bytes, as option `-m` set it.
    pub(crate) message_bytes: u32,
    /// By the clock of this end, for both rows; mean of the iterations.
    pub(crate) elapsed: Duration,
    /// Datagrams sent.
    pub(crate) sent: u64,
    /// Sends that found no buffer, of all iterations.
    pub(crate) failed_sends: u64,
    /// Datagrams received.
    pub(crate) received: u64,
    /// Rate of sending, in the unit of the layout.
    pub(crate) send_rate: f64,
    /// Rate of receiving, in the unit of the layout.
    pub(crate) receive_rate: f64,
    /// CPU of this end's machine, if measured.
    pub(crate) local_load: Option<MachineLoad>,
    /// CPU of the other end's machine, if measured.
    pub(crate) remote_load: Option<MachineLoad>,
}

impl UdpTable {
    /// The text, line ends included: empty at a verbosity above 2, as netperf has no details here.
    pub(crate) fn render(&self, layout: &Layout<'_>) -> String {
        if layout.verbosity == 0 {
            return self.single_figure(layout);
        }
        if !layout.has_result() {
            return String::new();
        }
        let header = if layout.headers { self.header(layout) } else { String::new() };
        header + &self.rows(layout)
    }

    /// The letter is that of this end even where the figure is the other's, as in netperf.
    fn single_figure(&self, layout: &Layout<'_>) -> String {
        if !layout.shows_cpu() {
            return format!("{:>7.2}\n", self.send_rate);
        }
        let (local, remote) = self.cpu_columns();
        let demand = if layout.local_cpu { local.demand } else { remote.demand };
        format!("{demand:>6.2} {}\n", local.method)
    }

    fn header(&self, layout: &Layout<'_>) -> String {
        let unit = layout.unit.word();
        if !layout.shows_cpu() {
            return [
                "Socket  Message  Elapsed      Messages                \n",
                "Size    Size     Time         Okay Errors   Throughput\n",
                &format!("bytes   bytes    secs            #      #   {unit}/sec\n\n"),
            ]
            .concat();
        }
        let (local, remote) = self.cpu_columns();
        [
            "Socket  Message  Elapsed      Messages                   CPU      Service\n",
            "Size    Size     Time         Okay Errors   Throughput   Util     Demand\n",
            &format!(
                "bytes   bytes    secs            #      #   {unit}/sec % {}{}     us/KB\n\n",
                local.method, remote.method
            ),
        ]
        .concat()
    }

    fn rows(&self, layout: &Layout<'_>) -> String {
        let elapsed = self.elapsed.as_secs_f64();
        let sent = format!(
            "{:>6}  {:>6}   {elapsed:<7.2}   {:>7} {:>6}    ",
            self.send_buffer, self.message_bytes, self.sent, self.failed_sends
        );
        let received =
            format!("{:>6}           {elapsed:<7.2}   {:>7}           ", self.receive_buffer, self.received);
        let (send_rate, receive_rate) = (self.send_rate, self.receive_rate);
        if !layout.shows_cpu() {
            return format!("{sent}{send_rate:>7.2}\n{received}{receive_rate:>7.2}\n\n");
        }
        let (local, remote) = self.cpu_columns();
        let cpu = |cpu: CpuColumns| format!("     {:<6.2}   {:<6.3}", cpu.utilisation, cpu.demand);
        format!("{sent}{send_rate:>7.1}{}\n{received}{receive_rate:>7.1}{}\n\n", cpu(local), cpu(remote))
    }

    fn cpu_columns(&self) -> (CpuColumns, CpuColumns) {
        (CpuColumns::new(self.local_load), CpuColumns::new(self.remote_load))
    }
}
