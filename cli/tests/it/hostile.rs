//! Peers that mean harm, and peers and systems that fail, met over real sockets: what they cost a netserver,
//! and that it serves the next one. What holds of the parser alone is shown in the protocol's own tests.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

mod killed;
mod messages;
mod mute;
mod names;
mod shortages;
mod victim;

/// Says what a test has found, also where it passes: past the test harness, which would keep it to itself.
fn tell(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// A TCP connection from this address, which a host that is a whole network (127/8) has many of.
fn connect_from(local: impl Into<IpAddr>, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(local.into(), 0).into())?;
    socket.connect(&to.into())?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    Ok(socket.into())
}

/// A loopback address that no other test uses.
fn loopback(net: u8, host: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, net, u8::try_from(host).expect("a small number"))
}

/// A sequence that looks random and is the same for the same seed (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}
