//! The tests by their names, and what each of them moves between which ends.
//!
//! Plain values: what a test is called decides how its result is printed, and what it moves how it is run.
//! The two are apart because OMNI has one name for all of them.

use ringperf_engine::plan::{Protocol, Role};

use super::selectors::Direction;

/// A test as the command line names it (`-t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TestName {
    /// The rate by which this host calibrates CPU figures.
    LocCpu,
    /// Whatever the test's own options say.
    Omni,
    /// The same rate of the netserver's host.
    RemCpu,
    /// A connection is made and closed, over and over.
    TcpCc,
    /// A connection for each request and response.
    TcpCrr,
    /// A TCP stream to this end.
    TcpMaerts,
    /// The segment size of a connection.
    TcpMss,
    /// Requests and responses over one connection.
    TcpRr,
    /// A TCP stream out of a file.
    TcpSendfile,
    /// A TCP stream from this end.
    TcpStream,
    /// Requests and responses in datagrams.
    UdpRr,
    /// Datagrams from this end.
    UdpStream,
    /// An identifier, and no test.
    Uuid,
}

/// Which of netperf's option sets follows `--`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OptionSet {
    /// None.
    Empty,
    /// That of OMNI and of the tests that run on it.
    Omni,
    /// That of the tests that kept their own code.
    Sockets,
}

impl TestName {
    /// The test of this name in upper case.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        ALL.iter().find(|(known, _)| *known == word).map(|(_, name)| *name)
    }

    /// The name in upper case.
    pub(crate) fn word(self) -> &'static str {
        ALL.iter().find(|(_, name)| *name == self).map_or("", |(word, _)| *word)
    }

    /// The options it takes.
    pub(crate) fn option_set(self) -> OptionSet {
        match self {
            Self::LocCpu | Self::RemCpu => OptionSet::Empty,
            Self::TcpCc | Self::TcpMss | Self::TcpSendfile => OptionSet::Sockets,
            _ => OptionSet::Omni,
        }
    }

    /// What it moves unless its options say otherwise.
    pub(crate) fn traffic(self) -> Traffic {
        let protocol = match self {
            Self::UdpRr | Self::UdpStream => Protocol::Udp,
            _ => Protocol::Tcp,
        };
        let (sends, receives, each) = match self {
            Self::TcpCc => (false, false, true),
            Self::TcpCrr => (true, true, true),
            Self::TcpMaerts => (false, true, false),
            Self::TcpRr | Self::UdpRr => (true, true, false),
            _ => (true, false, false),
        };
        Traffic { protocol, sends, receives, each }
    }

    /// The test counts transactions, as its name says.
    pub(crate) fn is_of_transactions(self) -> bool {
        self.word().contains("RR")
    }
}

/// The names.
const ALL: &[(&str, TestName)] = &[
    ("LOC_CPU", TestName::LocCpu),
    ("OMNI", TestName::Omni),
    ("REM_CPU", TestName::RemCpu),
    ("TCP_CC", TestName::TcpCc),
    ("TCP_CRR", TestName::TcpCrr),
    ("TCP_MAERTS", TestName::TcpMaerts),
    ("TCP_MSS", TestName::TcpMss),
    ("TCP_RR", TestName::TcpRr),
    ("TCP_SENDFILE", TestName::TcpSendfile),
    ("TCP_STREAM", TestName::TcpStream),
    ("UDP_RR", TestName::UdpRr),
    ("UDP_STREAM", TestName::UdpStream),
    ("UUID", TestName::Uuid),
];

/// What is moved, as seen from this end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traffic {
    /// What carries it.
    pub(crate) protocol: Protocol,
    /// This end sends.
    pub(crate) sends: bool,
    /// This end receives. With [`Self::sends`]: a response for each request.
    pub(crate) receives: bool,
    /// Each transaction has a connection of its own. With neither direction the connection is all of it.
    pub(crate) each: bool,
}

impl Traffic {
    /// What this end does.
    pub(crate) fn role(self) -> Role {
        match (self.is_of_transactions(), self.receives) {
            (true, _) => Role::Request,
            (false, true) => Role::Receive,
            (false, false) => Role::Send,
        }
    }

    /// It is made of transactions.
    pub(crate) fn is_of_transactions(self) -> bool {
        self.each || self.has_both_directions()
    }

    /// Requests go one way and responses the other.
    pub(crate) fn has_both_directions(self) -> bool {
        self.sends && self.receives
    }

    /// This end sends messages or requests, and when, it may choose.
    pub(crate) fn has_pace(self) -> bool {
        self.sends && !self.each
    }

    /// The direction, as selectors name it.
    pub(crate) fn direction(self) -> Direction {
        match (self.each, self.sends, self.receives) {
            (false, true, true) => Direction::SendReceive,
            (false, _, true) => Direction::Receive,
            (false, ..) => Direction::Send,
            (true, true, true) => Direction::ConnectSendReceive,
            (true, ..) => Direction::Connect,
        }
    }
}
