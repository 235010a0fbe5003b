//! Ports: those that the kernel chooses, and those that are shared with nobody.

use super::*;

fn of(protocol: Protocol, endpoint: Endpoint) -> PlanOptions {
    let role = if matches!(endpoint, Endpoint::Connect { .. }) { Role::Send } else { Role::Receive };
    PlanOptions { protocol, ..PlanOptions::new(role, endpoint) }
}

fn listening(protocol: Protocol, local: SocketAddr) -> PlanOptions {
    of(protocol, Endpoint::Listen { local, peers: Vec::new() })
}

/// The one socket of a plan, and what it went without.
fn opened(options: &PlanOptions) -> (Bound, Vec<Degraded>) {
    let mut degraded = Vec::new();
    let mut all = Bound::open(options, &mut degraded).unwrap();
    (all.pop().unwrap(), degraded)
}

/// Sockets of UDP that share addresses would be given each other's ports: of 600, some six pairs.
#[test]
fn sockets_that_leave_the_port_to_the_kernel_have_each_their_own() {
    let local = (Ipv4Addr::LOCALHOST, 0).into();
    let plans = [
        listening(Protocol::Tcp, local),
        listening(Protocol::Udp, local),
        of(Protocol::Udp, Endpoint::Connect { local }),
    ];
    for options in plans {
        let bound: Vec<Bound> =
            (0..600).flat_map(|_| Bound::open(&options, &mut Vec::new()).unwrap()).collect();
        let mut ports: Vec<u16> = bound.iter().map(|bound| bound.local.port()).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 600, "{options:?}");
    }
}

/// The kernel would give all datagrams to the socket that was bound last.
#[test]
fn who_waits_for_datagrams_shares_its_port_with_nobody() {
    for any in [Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED] {
        // Free again, for it is dropped at once: both name it.
        let port = opened(&listening(Protocol::Udp, (any, 0).into())).0.local.port();
        let (first, degraded) = opened(&listening(Protocol::Udp, (any, port).into()));
        assert!(degraded.is_empty() && first.local.port() == port, "{degraded:?}");
        let (second, degraded) = opened(&listening(Protocol::Udp, (any, port).into()));
        assert_ne!(second.local.port(), port);
        assert_eq!(degraded[0].feature, "requested data address");
        assert!(degraded[0].reason.contains("EADDRINUSE"), "{degraded:?}");
        // Nor with a sender, whose wish for its port is no less than that.
        let sender = of(Protocol::Udp, Endpoint::Connect { local: (any, port).into() });
        assert!(matches!(Bound::open(&sender, &mut Vec::new()), Err(Error::Bind { .. })));
    }
}

#[test]
fn a_taken_port_of_loopback_falls_back_to_loopback_alone() {
    for any in ["127.0.0.1:0", "127.0.0.2:0", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
        let local: SocketAddr = any.parse().unwrap();
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            // Where there is no IPv6 there is nothing to take.
            let Ok(held) = Bound::open(&listening(protocol, local), &mut Vec::new()) else { continue };
            let (instead, degraded) = opened(&listening(protocol, held[0].local));
            assert_eq!(degraded[0].feature, "requested data address");
            assert_eq!(instead.local.ip(), local.ip(), "{protocol:?}");
            assert_ne!(instead.local.port(), held[0].local.port());
        }
    }
}
