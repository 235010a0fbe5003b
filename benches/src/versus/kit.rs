//! The programs that are compared: where they are, and which release each of them says it is.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::launch::Program;
use crate::program::said_by;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Tool {
    /// This program's own receiver that does nothing but copy.
    Floor,
    /// Nothing runs.
    Idle,
    /// iperf3, one program at both ends.
    Iperf3,
    /// neper, which has a program for each test, the same at both ends.
    Neper,
    /// Its tcp_crr.
    NeperCrr,
    /// Its tcp_rr.
    NeperRr,
    /// netperf, and netserver beside it.
    Netperf,
    /// Ours.
    Ringperf,
}

impl Tool {
    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Floor => "copy floor",
            Self::Idle => "idle",
            Self::Iperf3 => "iperf3",
            Self::Neper => "neper",
            Self::NeperCrr => "neper tcp_crr",
            Self::NeperRr => "neper tcp_rr",
            Self::Netperf => "netperf",
            Self::Ringperf => "ringperf",
        }
    }

    /// The programs of its two ends: client's, server's.
    pub(super) fn programs(self) -> [&'static str; 2] {
        match self {
            Self::Floor | Self::Idle => [self.name(); 2],
            Self::Iperf3 => ["iperf3", "iperf3"],
            Self::Neper => ["tcp_stream", "tcp_stream"],
            Self::NeperCrr => ["tcp_crr", "tcp_crr"],
            Self::NeperRr => ["tcp_rr", "tcp_rr"],
            Self::Netperf => ["netperf", "netserver"],
            Self::Ringperf => ["ringperf", "ringperf"],
        }
    }
}

/// A peer that a row cannot do without.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Need {
    /// Which one.
    pub(super) tool: Tool,
    /// The first release that will do.
    pub(super) release: [u32; 2],
}

/// A tool that was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    tool: Tool,
    /// Client's and server's program.
    programs: [Program; 2],
    /// What it says it is.
    version: String,
    release: [u32; 2],
}

/// All that were found.
#[derive(Clone, Debug, Default)]
pub(super) struct Kit {
    found: Vec<Found>,
}

impl Kit {
    /// Our program, and the newest of each peer in these folders, on the path, and where `scripts/peers` puts
    /// them.
    pub(super) fn find(ringperf: PathBuf, folders: &[PathBuf]) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let places: Vec<PathBuf> = folders
            .iter()
            .cloned()
            .chain(std::env::split_paths(&path))
            .chain([PathBuf::from("/opt/peers/bin")])
            .chain(home.map(|home| home.join(".local/share/ringperf-peers/bin")))
            .collect();
        let newest = |tool| {
            let found = places.iter().filter_map(|place| Found::at(tool, place));
            // of equal ones the first
            found.reduce(|best, other| if other.release > best.release { other } else { best })
        };
        let mut kit = Self { found: vec![Found::ringperf(ringperf)] };
        let peers = [Tool::Netperf, Tool::Iperf3, Tool::Neper, Tool::NeperRr, Tool::NeperCrr];
        kit.found.extend(peers.into_iter().filter_map(newest));
        kit
    }

    /// The two programs of a tool, client's and server's.
    pub(super) fn programs(&self, tool: Tool) -> Option<[Program; 2]> {
        if tool == Tool::Floor {
            let itself = Program { file: std::env::current_exe().ok()?, libraries: None };
            return Some([itself.clone(), itself]);
        }
        self.get(tool).map(|found| found.programs.clone())
    }

    /// Why a need is not met.
    pub(super) fn lacks(&self, need: Need) -> Option<String> {
        let (name, [major, minor]) = (need.tool.name(), need.release);
        match self.get(need.tool) {
            None => Some(format!("no {name}; --peers names its folder")),
            Some(found) if found.release < need.release => {
                Some(format!("{name} is \"{}\", {major}.{minor} is needed", found.version))
            }
            Some(_) => None,
        }
    }

    /// A line of the report for each tool.
    pub(super) fn facts(&self) -> Vec<String> {
        self.found.iter().map(|found| format!("{}: {}", found.tool.name(), found.version)).collect()
    }

    /// Which files these are: of use on this machine, not in a report.
    pub(super) fn files(&self) -> Vec<String> {
        let mut files: Vec<String> = self
            .found
            .iter()
            .flat_map(|found| &found.programs)
            .map(|program| program.file.display().to_string())
            .collect();
        files.dedup();
        files
    }

    fn get(&self, tool: Tool) -> Option<&Found> {
        self.found.iter().find(|found| found.tool == tool)
    }
}

impl Found {
    fn ringperf(file: PathBuf) -> Self {
        let program = Program::new(file);
        let folder = env!("CARGO_MANIFEST_DIR");
        let commit = said_by("git", &["-C", folder, "describe", "--always", "--dirty"]);
        let version = format!("{}, commit {commit}", version(&program, &["--version"]).unwrap_or_default());
        Self {
            tool: Tool::Ringperf,
            release: release(&version),
            programs: [program.clone(), program],
            version,
        }
    }

    fn at(tool: Tool, folder: &Path) -> Option<Self> {
        let [client, server] = tool.programs().map(|name| folder.join(name));
        if !client.is_file() || !server.is_file() || is_ours(&client) || is_ours(&server) {
            return None;
        }
        let programs = [Program::new(client), Program::new(server)];
        // neper would leave a log in this folder
        let words: &[&str] = match tool {
            Tool::Neper | Tool::NeperCrr | Tool::NeperRr => &["--nolog", "--version"],
            Tool::Netperf => &["-V"],
            _ => &["--version"],
        };
        let version = version(&programs[0], words)?;
        Some(Self { tool, programs, release: release(&version), version })
    }
}

/// ringperf under netperf's name is no peer.
fn is_ours(file: &Path) -> bool {
    let real = std::fs::canonicalize(file).unwrap_or_default();
    real.file_name().is_some_and(|name| name == "ringperf")
}

/// The first line that a program answers with.
fn version(program: &Program, words: &[&str]) -> Option<String> {
    let output = Command::output(program.command().args(words)).ok()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    text.lines().find(|line| !line.trim().is_empty()).map(|line| line.trim().to_owned())
}

/// The first two numbers with a point between them.
fn release(version: &str) -> [u32; 2] {
    let words = version.split(|c: char| !c.is_ascii_digit() && c != '.');
    let mut releases = words.filter_map(|word| {
        let mut numbers = word.split('.').map(str::parse);
        Some([numbers.next()?.ok()?, numbers.next()?.ok()?])
    });
    releases.next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_found_in_what_tools_say() {
        assert_eq!(release("Netperf version 2.7.0"), [2, 7]);
        assert_eq!(release("iperf 3.21+ (cJSON 1.7.15)"), [3, 21]);
        assert_eq!(release("iperf 3.12 (cJSON 1.7.15)"), [3, 12]);
        assert_eq!(release("1.1.0"), [1, 1]);
        assert_eq!(release("no number"), [0, 0]);
    }

    #[test]
    fn an_old_or_absent_peer_is_named() {
        let version = "iperf 3.12 (cJSON 1.7.15)".to_owned();
        let program = Program { file: PathBuf::from("iperf3"), libraries: None };
        let programs = [program.clone(), program];
        let found = Found { tool: Tool::Iperf3, programs, release: release(&version), version };
        let kit = Kit { found: vec![found] };
        assert_eq!(kit.lacks(Need { tool: Tool::Iperf3, release: [3, 0] }), None);
        let old = kit.lacks(Need { tool: Tool::Iperf3, release: [3, 21] }).unwrap();
        assert!(old.contains("3.12") && old.contains("3.21"), "{old}");
        assert!(kit.lacks(Need { tool: Tool::Neper, release: [0, 0] }).unwrap().contains("no neper"));
    }
}
