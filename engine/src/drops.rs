//! Datagrams that reached this machine and were not received: parsers of the kernel's texts and differences
//! of its counts.
//!
//! The socket's own counter is asked for elsewhere ([`crate::sys::socket_drops`]); this is about that of the
//! whole machine.

/// A reading of the machine's counts of datagrams that found a full receive buffer, of all sockets of the
/// process's network namespace together. `None` where the kernel does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BufferErrors(Option<u64>);

impl BufferErrors {
    /// Now.
    pub(crate) fn now() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        Self::parse(&read("/proc/net/snmp"), &read("/proc/net/snmp6"))
    }

    /// IPv4 and IPv6 together; the latter need not be there.
    fn parse(snmp: &str, snmp6: &str) -> Self {
        let v6 = receive_buffer_errors_v6(snmp6).unwrap_or(0);
        Self(receive_buffer_errors_v4(snmp).map(|v4| v4.saturating_add(v6)))
    }

    /// How many there were since an earlier reading.
    pub(crate) fn since(self, earlier: Self) -> Option<u64> {
        Some(self.0?.saturating_sub(earlier.0?))
    }
}

/// RcvbufErrors of UDP in /proc/net/snmp: a line of names, and a line of as many numbers, in whatever order
/// the kernel has them.
fn receive_buffer_errors_v4(snmp: &str) -> Option<u64> {
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Udp:"));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let mut pairs = names.split_ascii_whitespace().zip(numbers.split_ascii_whitespace());
    pairs.find(|(name, _)| *name == "RcvbufErrors")?.1.parse().ok()
}

/// The same in /proc/net/snmp6: a line for each number.
fn receive_buffer_errors_v6(snmp6: &str) -> Option<u64> {
    snmp6.lines().find_map(|line| line.strip_prefix("Udp6RcvbufErrors")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of Linux 6.18; shortened.
    const SNMP: &str = "Icmp: InMsgs InErrors\nIcmp: 1453 0\n\
        Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors MemErrors\n\
        Udp: 18075550 1453 16231210 34312423 16231142 7 8 9\n\
        UdpLite: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors MemErrors\n\
        UdpLite: 1 2 3 4 5 6 7 8\n";
    const SNMP6: &str = "Udp6InDatagrams                 \t955741\nUdp6InErrors                    \t582737\n\
        Udp6RcvbufErrors                \t582731\nUdp6SndbufErrors                \t0\n\
        UdpLite6RcvbufErrors            \t5\n";

    #[test]
    fn both_families_are_read_by_name() {
        assert_eq!(BufferErrors::parse(SNMP, SNMP6), BufferErrors(Some(16_231_142 + 582_731)));
        // A kernel without IPv6.
        assert_eq!(BufferErrors::parse(SNMP, ""), BufferErrors(Some(16_231_142)));
        let other_order = "Udp: RcvbufErrors InDatagrams\nUdp: 5 6\n";
        assert_eq!(BufferErrors::parse(other_order, ""), BufferErrors(Some(5)));
    }

    #[test]
    fn what_cannot_be_read_is_not_known() {
        let names_alone = "Udp: InDatagrams RcvbufErrors\n";
        for snmp in
            ["", "Udp:\nUdp:\n", names_alone, "Udp: RcvbufErrors\nUdp: x\n", "Udp: A RcvbufErrors\nUdp: 1\n"]
        {
            assert_eq!(BufferErrors::parse(snmp, SNMP6), BufferErrors(None), "{snmp}");
        }
        assert_eq!(BufferErrors(None).since(BufferErrors(Some(1))), None);
        assert_eq!(BufferErrors(Some(1)).since(BufferErrors(None)), None);
        assert_eq!(BufferErrors(Some(7)).since(BufferErrors(Some(5))), Some(2));
        // Counters start anew with a network namespace.
        assert_eq!(BufferErrors(Some(1)).since(BufferErrors(Some(5))), Some(0));
    }

    #[test]
    fn this_machine_tells() {
        let before = BufferErrors::now();
        if before.0.is_some() {
            assert!(BufferErrors::now().since(before).is_some());
        }
    }
}
