//! Where tools are measured: this machine's loopback, or a shaped link between two network namespaces made
//! for it. Nothing else is ever addressed.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{NAME, left_behind};

/// Where ip keeps the files of namespaces.
const NAMESPACES: &str = "/run/netns";

/// Address of the receiving end of a link. It exists in our namespaces only.
const LINK_RECEIVER: &str = "10.77.0.2";

/// Where the two ends of a tool run.
#[derive(Debug)]
pub(super) enum Place {
    /// Both on 127.0.0.1.
    Loopback,
    /// One at each end of a link.
    Link(Link),
}

/// The end of a connection that payload leaves, and the one where it arrives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum End {
    /// The client of every tool.
    Sender,
    /// The server of every tool.
    Receiver,
}

impl End {
    /// Its name.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Receiver => "receiver",
        }
    }
}

impl Place {
    /// The address that a client connects to.
    pub(super) fn host(&self) -> &'static str {
        match self {
            Self::Loopback => "127.0.0.1",
            Self::Link(_) => LINK_RECEIVER,
        }
    }

    /// The namespace of an end, as the file that setns takes; `None` is this program's.
    pub(super) fn namespace(&self, end: End) -> Option<PathBuf> {
        match self {
            Self::Loopback => None,
            Self::Link(link) => Some(PathBuf::from(NAMESPACES).join(link.name(end))),
        }
    }

    /// The most bits a second that can pass.
    pub(super) fn limit_bits(&self) -> Option<f64> {
        match self {
            Self::Loopback => None,
            Self::Link(link) => Some(link.shape.megabits as f64 * 1e6),
        }
    }

    /// The commands that made it.
    pub(super) fn commands(&self) -> Vec<String> {
        match self {
            Self::Loopback => Vec::new(),
            Self::Link(link) => link.commands(),
        }
    }
}

/// What limits a link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shape {
    /// Rate in Mbit/s.
    megabits: u32,
    /// Bytes that may pass at once, as tc writes them.
    burst: &'static str,
}

impl Shape {
    /// 100 Mbit/s. The burst is below a large segment, so that tbf cuts it into what fits a frame.
    pub(super) const FAST_ETHERNET: Self = Self { megabits: 100, burst: "32k" };
    /// 1 Gbit/s. The burst is one millisecond of it, which leaves large segments whole.
    pub(super) const GIGABIT: Self = Self { megabits: 1000, burst: "128k" };
}

/// Two namespaces joined by a veth pair whose sending end is shaped; gone when dropped.
#[derive(Debug)]
pub(super) struct Link {
    shape: Shape,
}

impl Link {
    /// Makes it.
    ///
    /// # Errors
    /// What the first command that failed said.
    pub(super) fn new(shape: Shape) -> Result<Self, String> {
        let link = Self { shape };
        for command in link.commands() {
            let words: Vec<&str> = command.split(' ').collect();
            let output = Command::new(words[0])
                .args(&words[1..])
                .output()
                .map_err(|error| format!("{}: {error}", words[0]))?;
            if !output.status.success() {
                let reason = String::from_utf8_lossy(&output.stderr);
                return Err(format!("no network namespaces: {command}: {}", reason.trim()));
            }
        }
        Ok(link)
    }

    fn name(&self, end: End) -> String {
        format!("{NAME}{}-{}", std::process::id(), end.word())
    }

    fn commands(&self) -> Vec<String> {
        let (sender, receiver) = (self.name(End::Sender), self.name(End::Receiver));
        let Shape { megabits, burst } = self.shape;
        vec![
            format!("ip netns add {sender}"),
            format!("ip netns add {receiver}"),
            format!("ip -n {sender} link add veth0 type veth peer name veth0 netns {receiver}"),
            format!("ip -n {sender} addr add 10.77.0.1/24 dev veth0"),
            format!("ip -n {receiver} addr add {LINK_RECEIVER}/24 dev veth0"),
            format!("ip -n {sender} link set lo up"),
            format!("ip -n {receiver} link set lo up"),
            format!("ip -n {sender} link set veth0 up"),
            format!("ip -n {receiver} link set veth0 up"),
            format!(
                "tc -n {sender} qdisc add dev veth0 root tbf rate {megabits}mbit burst {burst} latency 50ms"
            ),
        ]
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        for end in [End::Sender, End::Receiver] {
            let _ = Command::new("ip").args(["netns", "del", &self.name(end)]).output();
        }
    }
}

/// Removes namespaces of comparisons that were killed.
pub(super) fn sweep() {
    for name in left_behind(Path::new(NAMESPACES)) {
        let _ = Command::new("ip").args(["netns", "del", &name]).output();
    }
}

/// A port that nobody listens on.
///
/// # Errors
/// The kernel's.
pub(super) fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(|error| format!("no free port: {error}"))
}

/// Whether a table of TCP sockets (/proc/PID/net/tcp) has a listener on this port.
pub(super) fn listens(table: &str, port: u16) -> bool {
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next().and_then(|address| address.rsplit(':').next());
        local == Some(&format!("{port:04X}")) && fields.nth(1) == Some("0A")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:3241 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 0100007F:1F90 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 2 1
";

    #[test]
    fn a_listener_is_told_from_a_connection() {
        assert!(listens(TABLE, 12865));
        assert!(!listens(TABLE, 8080));
        assert!(!listens(TABLE, 12866));
        assert!(!listens("", 12865));
    }
}
