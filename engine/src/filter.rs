//! A socket filter that lets the datagrams of one sender through and nobody else's.
//!
//! Connecting a receiver would do the same, and would also fix the local address to the one that the way back
//! leaves from. That need not be the one that the sender sends to: on a host with several addresses the
//! socket would then refuse what it was opened for.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{SockFilter, Socket};

// Instructions of the classic packet filter (linux/bpf_common.h).
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// Offset that stands for the start of the IP header (SKF_NET_OFF, linux/filter.h).
const IP_HEADER: u32 = 0xfff0_0000;
/// Place of the source address in the header of IPv4 and of IPv6.
const SOURCE_V4: u32 = 12;
const SOURCE_V6: u32 = 8;
/// Place of the source port: data starts at the UDP header.
const SOURCE_PORT: u32 = 0;

/// Keeps everything away that does not come from `sender`.
///
/// # Errors
/// The kernel's.
pub(crate) fn admit_only(socket: &Socket, sender: SocketAddr) -> io::Result<()> {
    socket.attach_filter(&program(sender))
}

fn program(sender: SocketAddr) -> Vec<SockFilter> {
    // A socket of both families sees a sender over IPv4 under a mapped address, the filter its real header.
    let mut wanted: Vec<(u16, u32, u32)> = match sender.ip().to_canonical() {
        IpAddr::V4(ip) => vec![(LOAD_WORD, IP_HEADER + SOURCE_V4, u32::from(ip))],
        IpAddr::V6(ip) => ip
            .octets()
            .as_chunks()
            .0
            .iter()
            .zip((SOURCE_V6..).step_by(4))
            .map(|(word, offset)| (LOAD_WORD, IP_HEADER + offset, u32::from_be_bytes(*word)))
            .collect(),
    };
    wanted.push((LOAD_HALF, SOURCE_PORT, sender.port().into()));
    let mut program = Vec::with_capacity(2 * wanted.len() + 2);
    for (left, (load, offset, value)) in (0..wanted.len() as u8).rev().zip(wanted) {
        program.push(SockFilter::new(load, 0, 0, offset));
        // To the last instruction, past the other pairs and the one that lets through.
        program.push(SockFilter::new(JUMP_IF_EQUAL, 0, 2 * left + 1, value));
    }
    program.push(SockFilter::new(RETURN, 0, 0, u32::MAX));
    program.push(SockFilter::new(RETURN, 0, 0, 0));
    program
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;

    /// What arrives at a wildcard socket of senders on these addresses, when only the first is admitted.
    fn arrived(wildcard: &str, target: &str, senders: &[&str]) -> Vec<u8> {
        let receiver = UdpSocket::bind(wildcard).unwrap();
        receiver.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let target = SocketAddr::new(target.parse().unwrap(), receiver.local_addr().unwrap().port());
        let senders: Vec<UdpSocket> = senders.iter().map(|at| UdpSocket::bind(at).unwrap()).collect();
        let receiver = Socket::from(receiver);
        admit_only(&receiver, senders[0].local_addr().unwrap()).unwrap();
        let receiver = UdpSocket::from(receiver);
        for (number, sender) in (0..).zip(&senders) {
            sender.send_to(&[number], target).unwrap();
            sender.send_to(&[number], target).unwrap();
        }
        let mut arrived = Vec::new();
        let mut byte = [0];
        while receiver.recv(&mut byte).is_ok() {
            arrived.push(byte[0]);
        }
        arrived
    }

    #[test]
    fn one_sender_is_heard_whatever_address_it_sends_to() {
        // another port of the same address, another address
        let senders = ["127.0.0.1:0", "127.0.0.1:0", "127.0.0.3:0"];
        assert_eq!(arrived("0.0.0.0:0", "127.0.0.2", &senders), [0, 0]);
        assert_eq!(arrived("0.0.0.0:0", "127.0.0.1", &senders), [0, 0]);
        assert_eq!(arrived("[::]:0", "::1", &["[::1]:0", "[::1]:0"]), [0, 0]);
    }
}
