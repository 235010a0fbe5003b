//! One cell of the matrix: whose programs, which test, which address family, with which options; the command
//! line that this makes, and the defects of stock netperf that some cells run into.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::netperf::Maker;

/// The selectors of a cell whose output is by names: both ends' counts, and what they add up to.
const SELECTORS: &str = "THROUGHPUT,THROUGHPUT_UNITS,ELAPSED_TIME,PROTOCOL,DIRECTION,DEST_PORT,REQUEST_SIZE,\
    RESPONSE_SIZE,LOCAL_BYTES_SENT,LOCAL_BYTES_RECVD,LOCAL_SEND_CALLS,LOCAL_RECV_CALLS,REMOTE_BYTES_SENT,\
    REMOTE_BYTES_RECVD,REMOTE_SEND_CALLS,REMOTE_RECV_CALLS";

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test {
    TcpStream,
    TcpMaerts,
    TcpSendfile,
    TcpRr,
    TcpCrr,
    TcpCc,
    UdpStream,
    UdpRr,
    OmniSend,
    OmniRecv,
    OmniRr,
    TcpMss,
    LocCpu,
    RemCpu,
    Uuid,
}

impl Test {
    pub(super) const ALL: [Self; 15] = [
        Self::TcpStream,
        Self::TcpMaerts,
        Self::TcpSendfile,
        Self::TcpRr,
        Self::TcpCrr,
        Self::TcpCc,
        Self::UdpStream,
        Self::UdpRr,
        Self::OmniSend,
        Self::OmniRecv,
        Self::OmniRr,
        Self::TcpMss,
        Self::LocCpu,
        Self::RemCpu,
        Self::Uuid,
    ];

    /// The argument of `-t`.
    fn name(self) -> &'static str {
        match self {
            Self::TcpStream => "TCP_STREAM",
            Self::TcpMaerts => "TCP_MAERTS",
            Self::TcpSendfile => "TCP_SENDFILE",
            Self::TcpRr => "TCP_RR",
            Self::TcpCrr => "TCP_CRR",
            Self::TcpCc => "TCP_CC",
            Self::UdpStream => "UDP_STREAM",
            Self::UdpRr => "UDP_RR",
            Self::OmniSend | Self::OmniRecv | Self::OmniRr => "OMNI",
            Self::TcpMss => "TCP_MSS",
            Self::LocCpu => "LOC_CPU",
            Self::RemCpu => "REM_CPU",
            Self::Uuid => "UUID",
        }
    }

    /// The test in a table.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::OmniSend => "OMNI send",
            Self::OmniRecv => "OMNI recv",
            Self::OmniRr => "OMNI rr",
            other => other.name(),
        }
    }

    /// What the banner begins with; `None` where there is none.
    pub(super) fn banner(self) -> Option<&'static str> {
        Some(match self {
            Self::TcpStream => "MIGRATED TCP STREAM TEST",
            Self::TcpMaerts => "MIGRATED TCP MAERTS TEST",
            Self::TcpSendfile => "TCP SENDFILE TEST",
            Self::TcpRr => "MIGRATED TCP REQUEST/RESPONSE TEST",
            Self::TcpCrr => "MIGRATED TCP Connect/Request/Response TEST",
            Self::TcpCc => "TCP Connect/Close TEST",
            Self::UdpStream => "MIGRATED UDP STREAM TEST",
            Self::UdpRr => "MIGRATED UDP REQUEST/RESPONSE TEST",
            Self::OmniSend => "OMNI Send TEST",
            Self::OmniRecv => "OMNI Receive TEST",
            Self::OmniRr => "OMNI Send|Recv TEST",
            Self::TcpMss => "TCP MSS TEST",
            Self::LocCpu | Self::RemCpu | Self::Uuid => return None,
        })
    }

    /// Whether it moves data for a time, and so has a rate.
    pub(super) fn is_timed(self) -> bool {
        !matches!(self, Self::TcpMss | Self::LocCpu | Self::RemCpu | Self::Uuid)
    }

    pub(super) fn is_omni(self) -> bool {
        matches!(self, Self::OmniSend | Self::OmniRecv | Self::OmniRr)
    }

    /// Whether it runs on netperf's omni engine, which knows selectors and repeats itself for a confidence
    /// interval.
    pub(super) fn on_omni_engine(self) -> bool {
        self.is_timed() && !matches!(self, Self::TcpSendfile | Self::TcpCc)
    }
}

/// Options beside the test's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variant {
    /// `-v 2`: the table, and the details where the test has some.
    Plain,
    /// `-c -C`: CPU utilisation and service demand of both ends.
    Cpu,
    /// Three runs for a confidence interval.
    Confidence,
    /// A data port of the server's that is given beforehand; results by names where the test knows those.
    Port,
}

impl Variant {
    pub(super) const ALL: [Self; 4] = [Self::Plain, Self::Cpu, Self::Confidence, Self::Port];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Plain => "`-v 2`",
            Self::Cpu => "`-c -C`",
            Self::Confidence => "`-i 3,3 -I 99,50`",
            Self::Port => "`-- -P ,port`",
        }
    }
}

/// Whose client measures what against whose server, over which family.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cell {
    pub(super) client: Maker,
    pub(super) server: Maker,
    pub(super) test: Test,
    pub(super) v6: bool,
    pub(super) variant: Variant,
}

impl Cell {
    const MAKERS: [Maker; 2] = [Maker::Ours, Maker::Stock];

    /// How many values each factor has, in the order in which [`Self::at`] takes them.
    pub(super) const SIZES: [usize; 5] = [2, 2, Test::ALL.len(), 2, Variant::ALL.len()];

    /// The cell with these values of its factors.
    pub(super) fn at(row: &[usize]) -> Self {
        let [client, server, test, v6, variant] = row.try_into().expect("a value for each factor");
        Self {
            client: Self::MAKERS[client],
            server: Self::MAKERS[server],
            test: Test::ALL[test],
            v6: v6 == 1,
            variant: Variant::ALL[variant],
        }
    }

    /// Every cell, those of one line of the table together.
    pub(super) fn all() -> Vec<Self> {
        let mut cells = Vec::new();
        for test in Test::ALL {
            for variant in Variant::ALL {
                for server in Self::MAKERS {
                    for client in Self::MAKERS {
                        for v6 in [false, true] {
                            cells.push(Self { client, server, test, v6, variant });
                        }
                    }
                }
            }
        }
        cells
    }

    /// Where its server listens.
    pub(super) fn host(self) -> IpAddr {
        if self.v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() }
    }

    /// Whether results come as NAME=VALUE.
    pub(super) fn by_names(self) -> bool {
        self.variant == Variant::Port && self.test.on_omni_engine()
    }

    /// The words after `netperf`.
    pub(super) fn words(self, control_port: u16, data_port: u16) -> Vec<String> {
        let mut words = vec!["-t".to_owned(), self.test.name().to_owned()];
        words.extend(["-H".to_owned(), self.host().to_string(), "-p".to_owned(), control_port.to_string()]);
        words.extend(["-l", "1"].map(str::to_owned));
        let options: &[&str] = match self.variant {
            Variant::Plain => &["-v", "2"],
            Variant::Cpu => &["-c", "-C"],
            Variant::Confidence => &["-i", "3,3", "-I", "99,50"],
            Variant::Port => &[],
        };
        words.extend(options.iter().copied().map(str::to_owned));
        let direction = match self.test {
            Test::OmniSend => Some("send"),
            Test::OmniRecv => Some("recv"),
            Test::OmniRr => Some("rr"),
            _ => None,
        };
        words.push("--".to_owned());
        words.extend(direction.into_iter().flat_map(|word| ["-d", word]).map(str::to_owned));
        if self.variant == Variant::Port {
            words.extend(["-P".to_owned(), format!(",{data_port}")]);
        }
        if self.by_names() {
            words.extend(["-k", SELECTORS].map(str::to_owned));
        }
        words
    }
}

/// A way in which a stock program itself fails, so that a cell cannot end well.
#[derive(Debug)]
pub(super) struct Defect {
    /// What the table calls it.
    pub(super) name: &'static str,
    pub(super) reason: &'static str,
    client: Maker,
    server: Maker,
    test: Test,
    variant: Variant,
    /// How the client ends, and what it says.
    pub(super) status: i32,
    pub(super) says: &'static str,
}

/// All that were found. Each is held to: a cell that no longer fails like this fails the test.
pub(super) const DEFECTS: &[Defect] = &[
    Defect {
        name: "second sendfile",
        reason: "a stock netserver ends in the second test that a connection asks for by the older messages, \
                 at the start of its timer",
        client: Maker::Stock,
        server: Maker::Stock,
        test: Test::TcpSendfile,
        variant: Variant::Confidence,
        status: 1,
        says: "netperf: cannot shutdown tcp stream socket: Transport endpoint is not connected",
    },
    Defect {
        name: "second sendfile, seen by ours",
        reason: "the same, which our netperf finds out when it asks for the results",
        client: Maker::Ours,
        server: Maker::Stock,
        test: Test::TcpSendfile,
        variant: Variant::Confidence,
        status: 1,
        says: "recv_response: partial response received: 0 bytes",
    },
];

impl Defect {
    /// The defect that `cell` runs into.
    pub(super) fn of(cell: Cell) -> Option<&'static Self> {
        let meets = |defect: &&Self| {
            let (client, server) = (defect.client == cell.client, defect.server == cell.server);
            client && server && (defect.test, defect.variant) == (cell.test, cell.variant)
        };
        DEFECTS.iter().find(meets)
    }
}
