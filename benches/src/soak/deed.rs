//! What clients do: a table of deeds, each chosen as often as its weight says, and the words of the programs
//! that do them.
//!
//! Nothing is started here.

use std::path::PathBuf;

use super::dice::Dice;
use super::misdeed::Misdeed;

/// One thing that a client does.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Deed {
    /// What the report calls it.
    pub(super) label: String,
    /// How often it is chosen, beside the others' weights.
    weight: u32,
    /// What it is.
    pub(super) kind: Kind,
}

/// Who does it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// A client's program, from its start to its end or to a signal.
    Program(Client, Test, Fate),
    /// This program, with a socket.
    Misdeed(Misdeed),
}

/// A program that measures.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Client {
    /// `ringperf run`.
    Run,
    /// `ringperf netperf`.
    DropIn,
    /// netperf itself.
    Stock(PathBuf),
}

/// Whether a client's program is left alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fate {
    /// It measures to its end.
    Ends,
    /// It is killed in mid-test.
    Killed,
    /// It is interrupted in mid-test.
    Interrupted,
}

/// A test that it measures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Test {
    TcpStream,
    TcpMaerts,
    TcpRr,
    TcpCrr,
    UdpStream,
    UdpRr,
}

impl Test {
    const ALL: [Self; 6] =
        [Self::TcpStream, Self::TcpMaerts, Self::TcpRr, Self::TcpCrr, Self::UdpStream, Self::UdpRr];

    /// netperf's name for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::TcpStream => "TCP_STREAM",
            Self::TcpMaerts => "TCP_MAERTS",
            Self::TcpRr => "TCP_RR",
            Self::TcpCrr => "TCP_CRR",
            Self::UdpStream => "UDP_STREAM",
            Self::UdpRr => "UDP_RR",
        }
    }

    /// More words for `ringperf run`, and for netperf behind its `--`: sets to choose from.
    fn variants(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::TcpStream => (
                &[
                    "",
                    "--flows 8",
                    "--message 64",
                    "--send zero-copy",
                    "--without bundles,multishot",
                    "--without buffer-ring",
                    "--without low-water",
                    "--bytes 20M",
                    "--rate 200M",
                ],
                &["", "-m 1024", "-s 32K -S 32K", "-m 1M -D"],
            ),
            Self::TcpMaerts => (
                &[
                    "",
                    "--flows 8",
                    "--message 64",
                    "--send zero-copy",
                    "--send registered",
                    "--bytes 20M",
                    "--without registered-buffers,registered-files",
                    "--rate 200M",
                ],
                &["", "-m ,1024", "-s 32K -S 32K", "-M 1M"],
            ),
            Self::TcpRr => (
                &[
                    "",
                    "--flows 16",
                    "--in-flight 8",
                    "--request 100 --response 20000",
                    "--busy-poll",
                    "--transactions 2000",
                    "--without multishot,buffer-ring",
                ],
                &["", "-r 100,20000", "-D"],
            ),
            Self::TcpCrr => (
                &[
                    "",
                    "--in-flight 8",
                    "--request 100 --response 20000",
                    "--transactions 500",
                    "--without shared-segments",
                ],
                &["", "-r 100,20000"],
            ),
            Self::UdpStream => (
                &[
                    "",
                    "--message 1400",
                    "--rate 300M",
                    "--gso --message 1400",
                    "--gso --gro --message 1400",
                    "--without minimum-wait",
                    "--without multishot",
                ],
                &["-R 1", "-R 1 -m 1400", "-R 1 -m 64"],
            ),
            Self::UdpRr => (
                &["", "--in-flight 4", "--request 100 --response 1400", "--transactions 2000"],
                &["", "-r 100,1400"],
            ),
        }
    }
}

/// Words for `ringperf run` that fit every test.
const ENGINES: [&str; 6] = ["", "", "", "--engine uring", "--engine epoll", "--engine classic"];

impl Deed {
    /// What it is chosen from. Without a namespace of our own there are no connections by the ten thousand.
    pub(super) fn all(stock: Option<PathBuf>, alone: bool) -> Vec<Self> {
        let clients = [Some(Client::Run), Some(Client::DropIn), stock.map(Client::Stock)];
        let mut deeds = Vec::new();
        for client in clients.into_iter().flatten() {
            for test in Test::ALL.into_iter().filter(|test| alone || *test != Test::TcpCrr) {
                for (fate, weight, after) in
                    [(Fate::Ends, 6, ""), (Fate::Killed, 2, ", SIGKILL"), (Fate::Interrupted, 1, ", SIGINT")]
                {
                    let label = format!("{} {}{after}", client.name(), test.name());
                    deeds.push(Self { label, weight, kind: Kind::Program(client.clone(), test, fate) });
                }
            }
        }
        deeds.extend(Misdeed::all().into_iter().map(|(misdeed, weight)| Self {
            label: misdeed.name(),
            weight,
            kind: Kind::Misdeed(misdeed),
        }));
        deeds
    }

    /// One of them, as the weights have it.
    pub(super) fn choose<'a>(deeds: &'a [Self], dice: &mut Dice) -> &'a Self {
        let mut left = dice.below(deeds.iter().map(|deed| u64::from(deed.weight)).sum());
        for deed in deeds {
            match left.checked_sub(deed.weight.into()) {
                Some(rest) => left = rest,
                None => return deed,
            }
        }
        &deeds[0]
    }

    /// Whether a failure of it means that the netserver refused what it should not.
    pub(super) fn is_test(&self) -> bool {
        matches!(self.kind, Kind::Program(_, _, Fate::Ends))
    }
}

impl Client {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Run => "ringperf run",
            Self::DropIn => "ringperf netperf",
            Self::Stock(_) => "netperf",
        }
    }

    /// The words after the program's name.
    pub(super) fn words(&self, test: Test, fate: Fate, port: u16, dice: &mut Dice) -> Vec<String> {
        let (ours, theirs) = test.variants();
        let seconds = 1 + dice.below(2);
        let text = match self {
            Self::Run => {
                let name = test.name().to_lowercase().replace('_', "-");
                let counts = |words: &str| words.contains("--bytes") || words.contains("--transactions");
                // A netserver waits 300 s for the rest of what was counted and has no time: too long for an
                // idle point.
                let mut variant = *dice.one_of(ours);
                if fate != Fate::Ends && counts(variant) {
                    variant = "";
                }
                // What is left out, and how a message is sent, are io_uring's matters, and the classic engine
                // makes one connection at a time.
                let bound = ["--without", "--send", "--busy-poll", "--in-flight"];
                let free = !bound.iter().any(|word| variant.contains(word));
                let engine = if free { *dice.one_of(&ENGINES) } else { "" };
                let length = if counts(variant) { String::new() } else { format!("--time {seconds}") };
                format!("run {name} -H 127.0.0.1 --port {port} --json {length} {variant} {engine}")
            }
            Self::DropIn | Self::Stock(_) => {
                let program = if *self == Self::DropIn { "netperf " } else { "" };
                let cpu = *dice.one_of(&["", "", "-c -C"]);
                let variant = *dice.one_of(theirs);
                let name = test.name();
                format!("{program}-H 127.0.0.1 -4 -p {port} -t {name} -l {seconds} {cpu} -- {variant}")
            }
        };
        text.split_whitespace().map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_deed_is_chosen_and_has_a_name_of_its_own() {
        let deeds = Deed::all(Some(PathBuf::from("netperf")), true);
        let names: std::collections::BTreeSet<&str> = deeds.iter().map(|deed| deed.label.as_str()).collect();
        assert_eq!(names.len(), deeds.len());
        let mut dice = Dice::new(7);
        let chosen: std::collections::BTreeSet<&str> =
            (0..20_000).map(|_| Deed::choose(&deeds, &mut dice).label.as_str()).collect();
        assert_eq!(chosen, names);
    }

    #[test]
    fn without_a_namespace_nothing_connects_on_and_on() {
        let deeds = Deed::all(None, false);
        assert!(deeds.iter().all(|deed| !deed.label.contains("TCP_CRR")), "{deeds:?}");
        assert!(deeds.iter().all(|deed| !deed.label.starts_with("netperf")));
        assert!(deeds.iter().any(|deed| deed.label == "ringperf run UDP_RR, SIGKILL"));
    }

    #[test]
    fn whoever_is_killed_has_a_time() {
        let mut dice = Dice::new(3);
        for fate in [Fate::Killed, Fate::Interrupted] {
            for _ in 0..200 {
                let words = Client::Run.words(Test::UdpRr, fate, 99, &mut dice);
                assert!(words.iter().any(|word| word == "--time"), "{words:?}");
            }
        }
    }

    #[test]
    fn command_lines_are_those_of_the_programs() {
        let mut dice = Dice::new(1);
        let words = Client::Run.words(Test::UdpRr, Fate::Ends, 99, &mut dice).join(" ");
        assert!(words.starts_with("run udp-rr -H 127.0.0.1 --port 99 --json --t"), "{words}");
        let words = Client::DropIn.words(Test::TcpMaerts, Fate::Ends, 99, &mut dice).join(" ");
        assert!(words.starts_with("netperf -H 127.0.0.1 -4 -p 99 -t TCP_MAERTS -l "), "{words}");
        let words = Client::Stock(PathBuf::new()).words(Test::TcpMaerts, Fate::Ends, 99, &mut dice).join(" ");
        assert!(words.starts_with("-H 127.0.0.1 "), "{words}");
    }
}
