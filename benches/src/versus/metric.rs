//! The figures of a run that are compared, and how they are written.
//!
//! A figure that a run does not have is absent, never zero.

use super::readings::Reading;

/// What came of one run of one tool.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sample {
    /// What the tool said.
    pub(super) reading: Reading,
    /// Payload of a datagram in bytes, of a test that sends some.
    pub(super) datagram_bytes: Option<u32>,
    /// CPU time of the sending and of the receiving processes in nanoseconds, by the cgroups.
    pub(super) cpu_ns: Option<[u64; 2]>,
    /// Time that the machine's CPUs were not idle within the window, in nanoseconds, less an idle window's.
    pub(super) machine_ns: Option<f64>,
    /// Most memory of the sending and of the receiving processes that was seen resident, in bytes.
    pub(super) resident_bytes: Option<[u64; 2]>,
}

/// A figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Metric {
    /// CPU time of both ends per 1024 bytes received.
    CpuBoth,
    /// CPU time of both ends per datagram received.
    CpuBothDatagram,
    /// CPU time of the receiving end per 1024 bytes received.
    CpuReceiver,
    /// CPU time of the receiving end per datagram received.
    CpuReceiverDatagram,
    /// CPU time of the receiving end, start and end included.
    CpuReceiverTime,
    /// Datagrams received a second.
    DatagramRate,
    /// CPU time of both ends per transaction.
    CpuTransaction,
    /// Bits received a second.
    Goodput,
    /// The same through a link, in a smaller unit.
    GoodputSlow,
    /// Share of the bytes sent that were not received.
    Loss,
    /// CPU time of the whole machine above an idle one's.
    Machine,
    /// Memory of the larger end.
    Resident,
    /// Transactions a second.
    TransactionRate,
    /// Times a second that the receiver was woken.
    Wakeups,
    /// Share of both ends' CPU time that the tool itself counts for the threads that move bytes.
    Workers,
}

impl Metric {
    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::CpuBoth | Self::CpuBothDatagram | Self::CpuTransaction => "CPU of both ends",
            Self::CpuReceiver | Self::CpuReceiverDatagram => "CPU of the receiver",
            Self::CpuReceiverTime => "CPU time of the receiver",
            Self::DatagramRate => "datagrams received",
            Self::Goodput | Self::GoodputSlow => "goodput",
            Self::Loss => "lost",
            Self::Machine => "whole machine less idle",
            Self::Resident => "resident memory of the larger end",
            Self::TransactionRate => "transactions",
            Self::Wakeups => "wake-ups of the receiver",
            Self::Workers => "of the CPU, workers as ringperf counts them",
        }
    }

    /// Its unit.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::CpuBoth | Self::CpuReceiver => "ns/KB",
            Self::CpuBothDatagram | Self::CpuReceiverDatagram | Self::CpuTransaction => "ns each",
            Self::CpuReceiverTime | Self::Machine => "ms",
            Self::DatagramRate | Self::TransactionRate => "k/s",
            Self::Goodput => "Gbit/s",
            Self::GoodputSlow => "Mbit/s",
            Self::Loss | Self::Workers => "%",
            Self::Resident => "MiB",
            Self::Wakeups => "1/s",
        }
    }

    /// Whether less of it is better.
    pub(super) fn is_cost(self) -> bool {
        !matches!(self, Self::DatagramRate | Self::Goodput | Self::GoodputSlow | Self::TransactionRate)
    }

    /// Whether it makes sense to set one tool's against another's.
    pub(super) fn is_comparable(self) -> bool {
        !matches!(self, Self::CpuReceiverTime | Self::Loss | Self::Workers)
    }

    /// The figure of a run, in its unit.
    pub(super) fn of(self, sample: &Sample) -> Option<f64> {
        let reading = &sample.reading;
        let bytes = reading.bytes_received as f64;
        let datagrams = || sample.datagram_bytes.map(|size| bytes / f64::from(size));
        let receiver_ns = || sample.cpu_ns.map(|[_, receiver]| receiver as f64);
        let both_ns = || sample.cpu_ns.map(|[sender, receiver]| (sender + receiver) as f64);
        let value = match self {
            Self::CpuBoth => both_ns()? / (bytes / 1024.0),
            Self::CpuBothDatagram => both_ns()? / datagrams()?,
            Self::CpuReceiver => receiver_ns()? / (bytes / 1024.0),
            Self::CpuReceiverDatagram => receiver_ns()? / datagrams()?,
            Self::CpuReceiverTime => receiver_ns()? / 1e6,
            Self::CpuTransaction => both_ns()? / reading.transactions? as f64,
            Self::DatagramRate => datagrams()? / reading.seconds / 1e3,
            Self::Goodput => bytes * 8.0 / reading.seconds / 1e9,
            Self::GoodputSlow => bytes * 8.0 / reading.seconds / 1e6,
            Self::Loss => 100.0 * (1.0 - bytes / reading.bytes_sent? as f64),
            Self::Machine => sample.machine_ns? / 1e6,
            Self::Resident => sample.resident_bytes?.into_iter().max()? as f64 / f64::from(1 << 20),
            Self::TransactionRate => reading.transactions? as f64 / reading.seconds / 1e3,
            Self::Wakeups => reading.wakeups_per_second?,
            Self::Workers => 100.0 * reading.workers_ns?.iter().sum::<u64>() as f64 / both_ns()?,
        };
        value.is_finite().then_some(value)
    }
}

/// A number with three significant digits, more only before the point.
pub(super) fn three_digits(value: f64) -> String {
    let magnitude = value.abs();
    let decimals = match magnitude {
        m if m >= 99.95 || m == 0.0 => 0,
        m if m >= 9.995 => 1,
        m if m >= 0.9995 => 2,
        m if m >= 0.09995 => 3,
        _ => 4,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Sample {
        Sample {
            reading: Reading {
                bytes_received: 1_024_000,
                bytes_sent: Some(2_048_000),
                transactions: Some(1000),
                seconds: 2.0,
                wakeups_per_second: None,
                workers_ns: Some([10_000, 20_000]),
            },
            datagram_bytes: Some(1024),
            cpu_ns: Some([20_000, 30_000]),
            machine_ns: None,
            resident_bytes: Some([3 << 20, 2 << 20]),
        }
    }

    #[test]
    fn figures_are_in_their_units() {
        let of = |metric: Metric| metric.of(&sample());
        assert_eq!(of(Metric::Goodput), Some(1_024_000.0 * 4.0 / 1e9));
        assert_eq!(of(Metric::CpuBoth), Some(50.0));
        assert_eq!(of(Metric::CpuReceiver), Some(30.0));
        assert_eq!(of(Metric::CpuReceiverDatagram), Some(30.0));
        assert_eq!(of(Metric::CpuReceiverTime), Some(0.03));
        assert_eq!(of(Metric::DatagramRate), Some(0.5));
        assert_eq!(of(Metric::TransactionRate), Some(0.5));
        assert_eq!(of(Metric::CpuTransaction), Some(50.0));
        assert_eq!(of(Metric::Loss), Some(50.0));
        assert_eq!(of(Metric::Workers), Some(60.0));
        assert_eq!(of(Metric::Resident), Some(3.0));
    }

    #[test]
    fn what_a_run_does_not_have_is_absent() {
        assert_eq!(Metric::Wakeups.of(&sample()), None);
        assert_eq!(Metric::Machine.of(&sample()), None);
        assert_eq!(Metric::Goodput.of(&Sample::default()), None);
        let stream = Sample { datagram_bytes: None, ..sample() };
        assert_eq!(Metric::DatagramRate.of(&stream), None);
    }

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!(three_digits(12_345.6), "12346");
        assert_eq!(three_digits(99.96), "100");
        assert_eq!(three_digits(9.999), "10.0");
        assert_eq!(three_digits(1.234), "1.23");
        assert_eq!(three_digits(0.0955), "0.0955");
        assert_eq!(three_digits(0.955), "0.955");
        assert_eq!(three_digits(0.0), "0");
    }
}
