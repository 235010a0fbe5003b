//! Ports that the kernel chooses.

use super::*;

/// Sockets of UDP that share addresses would be given each other's ports: of 600, some six pairs.
#[test]
fn sockets_that_leave_the_port_to_the_kernel_have_each_their_own() {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let endpoint = Endpoint::Listen { local: (Ipv4Addr::LOCALHOST, 0).into(), peers: Vec::new() };
        let options = PlanOptions { protocol, ..PlanOptions::new(Role::Receive, endpoint) };
        let bound: Vec<Bound> =
            (0..600).flat_map(|_| Bound::open(&options, &mut Vec::new()).unwrap()).collect();
        let mut ports: Vec<u16> = bound.iter().map(|bound| bound.local.port()).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 600, "{protocol:?}");
    }
}
