//! netperf's classic result tables: from figures to text, blank for blank.
//!
//! Computes nothing but the averages of its detail block. What is general to the tables is here, the table of
//! each protocol in its own module.

mod mss;
mod rr;
mod tcp;
mod udp;

pub(crate) use mss::MssTable;
pub(crate) use rr::{RrEnd, RrTable, RrTest};
pub(crate) use tcp::{Place, TcpEnd, TcpTable};
pub(crate) use udp::UdpTable;

use super::units::Unit;
use crate::record::MachineCost;

/// What is printed for a CPU figure that there is not.
const UNMEASURED: f64 = -1.0;

/// How much is printed, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout<'a> {
    /// Global option `-v`. 0 prints one figure, 1 the result, 2 the details too, more only the details, as
    /// netperf has it, and less nothing.
    pub(crate) verbosity: i32,
    /// Global option `-P`: print the lines above the figures.
    pub(crate) headers: bool,
    /// Unit of the rates.
    pub(crate) unit: Unit,
    /// Global option `-B`, printed where there are no headers; empty if not given.
    pub(crate) brand: &'a str,
    /// Global option `-c`: CPU of this end was asked for.
    pub(crate) local_cpu: bool,
    /// Global option `-C`: CPU of the other end was asked for. netperf forgets it without a control
    /// connection.
    pub(crate) remote_cpu: bool,
}

impl Layout<'_> {
    /// Whether the layout with columns for CPU is used.
    fn shows_cpu(&self) -> bool {
        self.local_cpu || self.remote_cpu
    }

    fn has_result(&self) -> bool {
        matches!(self.verbosity, 1 | 2)
    }

    fn has_details(&self) -> bool {
        self.verbosity > 1
    }

    /// What ends a result line: a brand stands only where headers do not.
    fn shown_brand(&self) -> &str {
        if self.headers { "" } else { self.brand }
    }
}

/// CPU use of one end's machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct MachineLoad {
    /// Percent of all CPUs.
    pub(crate) utilisation_percent: f64,
    /// Microseconds of CPU time per 1024 bytes, or per transaction where those are counted; `None` where
    /// nothing was moved, printed as unmeasured.
    pub(crate) service_demand: Option<f64>,
    /// How it was measured: netperf's number, 8 for `/proc/stat`.
    pub(crate) method: u32,
}

impl MachineLoad {
    /// What a machine spent, as `method` measured it.
    pub(crate) fn new(cost: &MachineCost, method: u32) -> Self {
        Self {
            utilisation_percent: cost.utilisation_percent,
            service_demand: cost.service_demand_us_per_kb,
            method,
        }
    }
}

/// The columns of one end's CPU.
struct CpuColumns {
    method: char,
    utilisation: f64,
    demand: f64,
}

impl CpuColumns {
    fn new(load: Option<MachineLoad>) -> Self {
        load.map_or(Self { method: 'U', utilisation: UNMEASURED, demand: UNMEASURED }, |load| Self {
            method: method_letter(load.method),
            utilisation: load.utilisation_percent,
            demand: load.service_demand.unwrap_or(UNMEASURED),
        })
    }
}

/// The letter by which netperf 2.7 names a way to measure CPU.
pub(crate) fn method_letter(method: u32) -> char {
    match method {
        0 => 'U',
        1 => 'I',
        2 => 'P',
        3 => 'T',
        4 => 'L',
        5 => 'R',
        6 => 'N',
        7 => 'K',
        8 => 'S',
        9 => 'C',
        10 => 'E',
        11 => 'M',
        12 => 'O',
        _ => '?',
    }
}

#[cfg(test)]
mod tests {
    //! Layouts that no golden output shows, as a stock netperf 2.7.0 printed them.

    use std::time::Duration;

    use ringperf_engine::facts::SocketBuffers;
    use ringperf_engine::plan::Role;

    use super::*;

    const PLAIN: Layout<'_> = Layout {
        verbosity: 1,
        headers: false,
        unit: Unit::Megabits,
        brand: "foo",
        local_cpu: false,
        remote_cpu: false,
    };

    fn load(utilisation_percent: f64, service_demand: f64) -> Option<MachineLoad> {
        Some(MachineLoad { utilisation_percent, service_demand: Some(service_demand), method: 8 })
    }

    fn tcp(role: Role) -> TcpTable {
        let place = Place { alignment: 8, offset: 0 };
        let end = TcpEnd {
            buffers: SocketBuffers { send: 16_384, receive: 131_072 },
            send_place: place,
            receive_place: place,
            load: None,
            bytes: 0,
            calls: 0,
        };
        TcpTable {
            role,
            message_bytes: Some(16_384),
            elapsed: Duration::from_secs(1),
            rate: 17_506.25,
            local: end,
            remote: end,
            segment_bytes: Some(32_768),
            arrived: None,
        }
    }

    fn rr(test: RrTest) -> RrTable {
        let place = Place { alignment: 8, offset: 0 };
        let buffers = SocketBuffers { send: 16_384, receive: 131_072 };
        let end = RrEnd { buffers, send_place: place, receive_place: place, load: None };
        RrTable {
            test,
            request_bytes: Some(1),
            response_bytes: Some(1),
            elapsed: Duration::from_secs(1),
            rate: 12_345.678,
            transaction_rate: 12_345.678,
            first_burst: 0,
            local: end,
            remote: end,
        }
    }

    #[test]
    fn brands_follow_transactions_over_kept_connections_only() {
        let below = "16384  131072\n";
        for (test, brand) in [(RrTest::Tcp, "foo"), (RrTest::Udp, "foo"), (RrTest::Crr, ""), (RrTest::Cc, "")]
        {
            let row = format!("16384  131072 1        1       1.00     12345.68   {brand}\n{below}");
            assert_eq!(rr(test).render(&PLAIN), row, "{test:?}");
        }
        let cpu = Layout { local_cpu: true, ..PLAIN };
        let with = |test| {
            let mut table = rr(test);
            table.local.load = load(50.0, 12.5);
            table.render(&cpu)
        };
        let row = "16384  131072 1       1      1.00    12345.68";
        let figures = "50.00  -1.00  12.500  -1.000";
        assert_eq!(with(RrTest::Tcp), format!("{row}  {figures} foo\n{below}"));
        assert_eq!(with(RrTest::Udp), format!("{row}   {figures} foo\n{below}"));
        assert_eq!(with(RrTest::Crr), format!("{row}   {figures}\n{below}"));
    }

    #[test]
    fn transactions_are_told_in_one_figure() {
        let alone = Layout { verbosity: 0, ..PLAIN };
        assert_eq!(rr(RrTest::Tcp).render(&alone), "12345.68 foo\n");
        assert_eq!(rr(RrTest::Crr).render(&alone), "12345.68\n");
        let cpu = Layout { remote_cpu: true, ..alone };
        let with = |test| {
            let mut table = rr(test);
            table.remote.load = load(50.0, 12.5);
            table.render(&cpu)
        };
        assert_eq!((with(RrTest::Udp), with(RrTest::Cc)), ("12.500 S foo\n".into(), "12.500\n".into()));
    }

    #[test]
    fn a_segment_size_stands_alone() {
        let table = MssTable { segment_bytes: Some(1448) };
        assert_eq!(table.render(&PLAIN), "1448 foo\n");
        let headers = Layout { headers: true, ..PLAIN };
        assert_eq!(table.render(&headers), "Maximum\nSegment\nSize (bytes)\n\n1448 \n");
        assert_eq!(table.render(&Layout { verbosity: 0, ..headers }), "1448 \n");
        assert_eq!(table.render(&Layout { verbosity: 3, ..headers }), "");
        assert_eq!(MssTable { segment_bytes: None }.render(&PLAIN), "-1 foo\n");
    }

    #[test]
    fn sendfile_shows_what_arrived_to_four_digits() {
        let row = |arrived| {
            let table = TcpTable { arrived: Some(arrived), ..tcp(Role::Send) };
            let text = table.render(&Layout { verbosity: 3, ..PLAIN });
            text.lines().nth(4).and_then(|row| row.split_whitespace().nth(4)).map(str::to_owned)
        };
        for (arrived, text) in [
            (0, "0"),
            (9999, "9999"),
            (10_000, "1e+04"),
            (12_345, "1.234e+04"),
            (12_346, "1.235e+04"),
            (2_084_700_000, "2.085e+09"),
            (99_999, "1e+05"),
        ] {
            assert_eq!(row(arrived).as_deref(), Some(text));
        }
    }

    fn udp() -> UdpTable {
        UdpTable {
            send_buffer: 212_992,
            receive_buffer: 212_992,
            message_bytes: 1472,
            elapsed: Duration::from_secs(1),
            sent: 125_602,
            failed_sends: 0,
            received: 86_621,
            send_rate: 1479.0,
            receive_rate: 1020.0,
            local_load: None,
            remote_load: load(100.0, 11.078),
        }
    }

    #[test]
    fn methods_have_netperfs_letters() {
        assert_eq!((0..14).map(method_letter).collect::<String>(), "UIPTLRNKSCEMO?");
    }

    #[test]
    fn brands_follow_tcp_results() {
        let table = tcp(Role::Send);
        assert_eq!(table.render(&PLAIN), "131072  16384  16384    1.00     17506.25   foo\n");
        let cpu = Layout { local_cpu: true, ..PLAIN };
        let mut table = TcpTable { rate: 15_577.82, ..table };
        table.local.load = load(100.0, 1.052);
        assert_eq!(
            table.render(&cpu),
            "131072  16384  16384    1.00       15577.82   100.00   -1.00    1.052   -1.000 foo\n"
        );
        assert_eq!(table.render(&Layout { verbosity: 0, ..cpu }), " 1.052 S foo\n");
        assert_eq!(table.render(&Layout { verbosity: 0, headers: true, ..cpu }), " 1.052 S \n");
    }

    #[test]
    fn maerts_asked_for_the_remote_demand_shows_it() {
        let mut table = tcp(Role::Receive);
        table.remote.load = load(90.0, 0.680);
        let layout = Layout { verbosity: 0, remote_cpu: true, ..PLAIN };
        assert_eq!(table.render(&layout), " 0.680 S foo\n");
    }

    #[test]
    fn maerts_shows_places_of_receive_buffers() {
        // -a 4096,32 -o 3,5 -A 128,64 -O 7,9
        let mut table = tcp(Role::Receive);
        table.local.send_place = Place { alignment: 4096, offset: 3 };
        table.local.receive_place = Place { alignment: 32, offset: 5 };
        table.remote.send_place = Place { alignment: 128, offset: 7 };
        table.remote.receive_place = Place { alignment: 64, offset: 9 };
        (table.local.bytes, table.local.calls) = (2_106_425_033, 18_366);
        (table.remote.bytes, table.remote.calls) = (16_384 * 129_040, 129_040);
        let details = "\n\
             Alignment      Offset         Bytes    Bytes       Recvs   Bytes    Sends\n\
             Local  Remote  Local  Remote  Xfered   Per                 Per\n\
             Recv   Send    Recv   Send             Recv (avg)          Send (avg)\n   \
             32      64      5       9 2106425033  114691.55     18366   16384.00 129040\n\
             \n\
             Maximum\n\
             Segment\n\
             Size (bytes)\n 32768\n";
        assert_eq!(table.render(&Layout { verbosity: 3, ..PLAIN }), details);
    }

    #[test]
    fn what_no_control_connection_told_is_minus_one() {
        let mut table = tcp(Role::Receive);
        table.message_bytes = None;
        table.rate = 57.0;
        table.remote.buffers = SocketBuffers { send: 0, receive: 0 };
        assert_eq!(table.render(&PLAIN), "131072      0     -1    1.00       57.00   foo\n");
        table.local.load = load(1.53, 4.4);
        assert_eq!(
            table.render(&Layout { local_cpu: true, ..PLAIN }),
            "     0  16384     -1    1.00         57.00   1.53     -1.00    4.400   -1.000 foo\n"
        );
    }

    #[test]
    fn an_average_over_no_calls_is_infinite() {
        let mut table = tcp(Role::Send);
        (table.local.bytes, table.local.calls) = (4_227_072, 258);
        table.remote.calls = 0;
        let text = table.render(&Layout { verbosity: 3, ..PLAIN });
        let row = text.lines().nth(4).unwrap_or_default();
        assert_eq!(row, "    8       8      0       0 4227072  16384.00       258      inf      0");
        // netperf prints `-nan` for neither bytes nor calls
        table.local.bytes = 0;
        table.local.calls = 0;
        let text = table.render(&Layout { verbosity: 3, ..PLAIN });
        let row = text.lines().nth(4).unwrap_or_default();
        assert_eq!(row, "    8       8      0       0      0    0.00         0     0.00      0");
    }

    #[test]
    fn udp_shows_either_end_alone() {
        let remote_only = Layout { verbosity: 2, remote_cpu: true, ..PLAIN };
        assert_eq!(
            udp().render(&remote_only),
            "212992    1472   1.00       125602      0     1479.0     -1.00    -1.000\n\
             212992           1.00        86621            1020.0     100.00   11.078\n\
             \n"
        );
        assert_eq!(udp().render(&Layout { verbosity: 0, ..remote_only }), " 11.08 U\n");
        let table = UdpTable { local_load: load(100.0, 10.55), ..udp() };
        assert_eq!(table.render(&Layout { verbosity: 0, local_cpu: true, ..remote_only }), " 10.55 S\n");
    }

    #[test]
    fn udp_unit_is_not_padded() {
        let cpu = Layout { headers: true, unit: Unit::Bytes, remote_cpu: true, ..PLAIN };
        for (layout, line) in [
            (cpu, "bytes   bytes    secs            #      #   Bytes/sec % US     us/KB"),
            (Layout { remote_cpu: false, ..cpu }, "bytes   bytes    secs            #      #   Bytes/sec"),
        ] {
            assert_eq!(udp().render(&layout).lines().nth(2), Some(line));
        }
    }

    #[test]
    fn some_verbosities_print_nothing() {
        for (verbosity, headers) in [(-1, true), (-1, false), (3, true)] {
            let layout = Layout { verbosity, headers, ..PLAIN };
            assert_eq!(udp().render(&layout), "");
            assert_eq!(tcp(Role::Send).render(&layout).is_empty(), verbosity < 0);
        }
    }

    #[test]
    fn a_machines_cost_is_its_load() {
        let idle = MachineCost { utilisation_percent: 50.0, cpus: 2, service_demand_us_per_kb: None };
        let mut table = tcp(Role::Send);
        table.remote.load = Some(MachineLoad::new(&idle, 13));
        let text = table.render(&Layout { headers: true, remote_cpu: true, ..PLAIN });
        assert!(text.contains("  % U      % ?  "), "{text}");
        assert!(text.ends_with("   -1.00    50.00    -1.000  -1.000 \n"), "{text}");
    }
}
