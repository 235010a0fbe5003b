//! netperf's first line: which test runs between which ends, and what is special about it.
//!
//! Shows what was asked for, before anything is measured: addresses as they were given and ports 0 where the
//! system is to choose.

use std::net::SocketAddr;

use super::confidence::Goal;
use super::traffic::{TestName, Traffic};

/// netperf's name of a test in its first line; `None` for those that have no such line. `MIGRATED` are those
/// that run on OMNI.
pub(crate) fn name(test: TestName, traffic: Traffic) -> Option<String> {
    let name = match test {
        TestName::LocCpu | TestName::RemCpu | TestName::Uuid => return None,
        TestName::Omni => return Some(format!("OMNI {} TEST", traffic.direction().word())),
        TestName::TcpCc => "TCP Connect/Close TEST",
        TestName::TcpCrr => "MIGRATED TCP Connect/Request/Response TEST",
        TestName::TcpMaerts => "MIGRATED TCP MAERTS TEST",
        TestName::TcpMss => "TCP MSS TEST",
        TestName::TcpRr => "MIGRATED TCP REQUEST/RESPONSE TEST",
        TestName::TcpSendfile => "TCP SENDFILE TEST",
        TestName::TcpStream => "MIGRATED TCP STREAM TEST",
        TestName::UdpRr => "MIGRATED UDP REQUEST/RESPONSE TEST",
        TestName::UdpStream => "MIGRATED UDP STREAM TEST",
    };
    Some(name.to_owned())
}

/// The longest text of an address that netperf prints; it leaves the parentheses of others empty.
const ADDRESS_CHARACTERS: usize = 7;

/// One end of the data connection, as asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DataEnd<'a> {
    /// The canonical name of the resolver: a numeric address as it was given, `0.0.0.0` or `::0` for an
    /// unset local end.
    pub(crate) name: &'a str,
    /// What the name stands for, and the port asked for; 0 leaves it to the system.
    pub(crate) address: SocketAddr,
}

/// What the first line tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Banner<'a> {
    /// The test's [`name`].
    pub(crate) test: &'a str,
    /// This end.
    pub(crate) local: DataEnd<'a>,
    /// The other end.
    pub(crate) remote: DataEnd<'a>,
    /// The confidence asked for; shown where more than one iteration is allowed.
    pub(crate) goal: Goal,
    /// Test option `-D`, whether or not the protocol knows TCP_NODELAY.
    pub(crate) no_delay: bool,
    /// Test option `-V`.
    pub(crate) copy_avoidance: bool,
    /// Global option `-N`.
    pub(crate) no_control: bool,
    /// A histogram of what operations took is printed: in netperf's terms, it is built in.
    pub(crate) histogram: bool,
    /// This end paces what it sends: likewise.
    pub(crate) interval: bool,
    /// Requests under way beside the usual one; shown in tests of requests and responses only.
    pub(crate) first_burst: u32,
    /// Global option `-T`, for either end.
    pub(crate) cpu_bind: bool,
}

impl Banner<'_> {
    /// The line, its end included. ` : demo` is in it always, as in every netperf that can print interim
    /// results.
    pub(crate) fn line(&self) -> String {
        let Self { test, local, remote, .. } = self;
        let mut line = format!("{test} from {} to {}", end(local), end(remote));
        if self.goal.max_iterations > 1 {
            let half = self.goal.width_percent / 2.0;
            line.push_str(&format!(" : +/-{half:.3}% @ {:>2}% conf. ", self.goal.level.percent()));
            if self.goal.result_only {
                line.push_str(" on result only");
            }
        }
        let burst = format!(" : first burst {}", self.first_burst);
        let suffixes = [
            (self.no_delay, " : nodelay"),
            (self.copy_avoidance, " : copy avoidance"),
            (self.no_control, " : no control"),
            (self.histogram, " : histogram"),
            (self.interval, " : interval"),
            (true, " : demo"),
            (self.test.contains("REQUEST/RESPONSE"), &burst),
            (self.cpu_bind, " : cpu bind"),
        ];
        line.extend(suffixes.iter().filter(|(applies, _)| *applies).map(|(_, suffix)| *suffix));
        line.push('\n');
        line
    }
}

fn end(end: &DataEnd<'_>) -> String {
    let mut address = end.address.ip().to_string();
    if address.len() > ADDRESS_CHARACTERS {
        address.clear();
    }
    let family = if end.address.is_ipv4() { "AF_INET" } else { "AF_INET6" };
    format!("{} ({address}) port {} {family}", end.name, end.address.port())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::netperf::confidence::Level;

    fn data_end(name: &str) -> DataEnd<'_> {
        let address: IpAddr = name.parse().expect("a numeric address");
        DataEnd { name, address: (address, 0).into() }
    }

    fn plain<'a>(local: &'a str, remote: &'a str) -> Banner<'a> {
        Banner {
            test: "MIGRATED TCP STREAM TEST",
            local: data_end(local),
            remote: data_end(remote),
            goal: Goal::once(),
            no_delay: false,
            copy_avoidance: false,
            no_control: false,
            histogram: false,
            interval: false,
            first_burst: 0,
            cpu_bind: false,
        }
    }

    #[test]
    fn only_short_addresses_are_shown() {
        let line = plain("0.0.0.0", "10.0.0.1").line();
        assert_eq!(
            line,
            "MIGRATED TCP STREAM TEST from 0.0.0.0 (0.0.0.0) port 0 AF_INET \
             to 10.0.0.1 () port 0 AF_INET : demo\n"
        );
        assert!(plain("0.0.0.0", "1.1.1.1").line().contains(" to 1.1.1.1 (1.1.1.1) port"));
        assert!(plain("0.0.0.0", "1.1.1.12").line().contains(" to 1.1.1.12 () port"));
        let line = plain("::0", "fd00::1:2").line();
        assert!(line.contains(" from ::0 (::) port 0 AF_INET6 to fd00::1:2 () port 0 AF_INET6 "), "{line}");
    }

    #[test]
    fn suffixes_stand_in_netperfs_order() {
        // What a stock 2.7.0 prints with -N -I 99,5 -r -T 1 -- -D -V, and where it has those two built in.
        let goal = Goal {
            level: Level::Percent99,
            width_percent: 5.0,
            min_iterations: 3,
            max_iterations: 10,
            result_only: true,
        };
        let all = Banner {
            goal,
            no_delay: true,
            copy_avoidance: true,
            no_control: true,
            histogram: true,
            interval: true,
            first_burst: 8,
            cpu_bind: true,
            ..plain("0.0.0.0", "127.0.0.1")
        };
        let line = all.line();
        let (_, suffixes) = line.split_once("() port 0 AF_INET").expect("the other end is in it");
        assert_eq!(
            suffixes,
            " : +/-2.500% @ 99% conf.  on result only : nodelay : copy avoidance : no control : histogram \
             : interval : demo : cpu bind\n"
        );
        let once = Banner { goal: Goal { min_iterations: 1, max_iterations: 1, ..goal }, ..all };
        assert!(!once.line().contains("conf."));
        let requests = Banner { test: "MIGRATED UDP REQUEST/RESPONSE TEST", ..all };
        assert!(requests.line().ends_with(" : demo : first burst 8 : cpu bind\n"));
    }
}
