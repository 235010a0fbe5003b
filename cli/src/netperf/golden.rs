//! Compares the printing with what netperf 2.7.0 printed: the numbers of each golden output are read out of
//! it, and the same text must come of them again, byte for byte.
//!
//! Reads as much of a command line as decides the text, by hand; the program's own reading is tested
//! elsewhere.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringperf_engine::facts::SocketBuffers;
use ringperf_engine::plan::Role;

use super::banner::{self, Banner, DataEnd};
use super::confidence::{Goal, Level, Widths};
use super::tables::{
    Layout, MachineLoad, MssTable, Place, RrEnd, RrTable, RrTest, TcpEnd, TcpTable, UdpTable,
};
use super::traffic::{TestName, Traffic};
use super::units::Unit;

/// A figure that no golden output holds, in the places that must not be printed.
const ELSEWHERE: u32 = 7777;

/// Files from here on come from a build with other features.
const OTHER_BUILD: u32 = 300;

/// What is said of a file, for the two kinds that count.
const WHOLE: &str = "compared whole";
const BANNER: &str = "compared in the banner only, as there is no table of this test in it";

#[test]
fn golden_outputs_come_out_again() {
    let mut tally = BTreeMap::<&str, Vec<String>>::new();
    for golden in goldens() {
        let verdict = golden.compare();
        tally.entry(verdict).or_default().push(golden.name.trim_end_matches(".txt").to_owned());
    }
    for (verdict, names) in &tally {
        // past the test harness, which would keep the line to itself when the test passes
        let _ = writeln!(io::stdout(), "golden outputs: {} {verdict}: {}", names.len(), names.join(" "));
    }
    let count = |verdict| tally.get(verdict).map_or(0, Vec::len);
    assert_eq!((count(WHOLE), count(BANNER)), (118, 70), "goldens must not drop out silently");
}

/// One file.
pub(super) struct Golden {
    /// The file's name.
    pub(super) name: String,
    /// The words of the command after `netperf`.
    pub(super) words: Vec<String>,
    /// What it printed.
    pub(super) stdout: String,
    /// How it ended.
    pub(super) exit: i32,
}

/// All files.
pub(super) fn goldens() -> Vec<Golden> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden-output");
    let index = read(&folder.join("INDEX.tsv"));
    index.lines().skip(1).map(|row| golden(&folder, row)).collect()
}

fn golden(folder: &Path, row: &str) -> Golden {
    let mut fields = row.split('\t');
    let mut field = || fields.next().expect("a row of the index is full");
    let (name, exit, stdout_lines) = (field(), field(), field());
    let text = read(&folder.join(name));
    let (command, output) = text.split_once('\n').expect("the command stands in the first line");
    let lines = stdout_lines.parse().expect("a number of lines");
    Golden {
        name: name.to_owned(),
        words: netperf_words(command),
        stdout: output.split_inclusive('\n').take(lines).collect(),
        exit: exit.parse().expect("an exit status"),
    }
}

fn read(path: &PathBuf) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The words between `netperf` and what follows it in a shell, without their quotes.
fn netperf_words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut is_quoted) = (Vec::new(), None::<String>, false);
    for character in command.chars().chain([' ']) {
        match character {
            '\'' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            ' ' | ';' if !is_quoted => {
                words.extend(word.take());
                words.extend((character == ';').then(|| ";".to_owned()));
            }
            _ => word.get_or_insert_default().push(character),
        }
    }
    let own = words.into_iter().skip_while(|word| word != "netperf").skip(1);
    own.take_while(|word| word != "&" && word != ";").collect()
}

impl Golden {
    /// What was done with it; panics where the text differs.
    fn compare(&self) -> &'static str {
        let number: String = self.name.chars().take_while(char::is_ascii_digit).collect();
        if number.parse::<u32>().is_ok_and(|number| number >= OTHER_BUILD) {
            return "from a build with other features";
        }
        if self.words.is_empty() {
            return "not of netperf";
        }
        let command = Command::read(&self.words);
        let Some(name) = TestName::from_word(&command.test) else { return "of a test that there is none of" };
        if command.debug {
            return "with debugging text in between";
        }
        let Some(test) = banner::name(name, command.traffic(name)) else {
            return "of a test without a table";
        };
        let ours = command.banner(&test);
        let Some(body) = self.body(&command) else { return "ended before the banner" };
        let before = self.stdout.strip_suffix(body).expect("the body is its end");
        if command.layout.headers {
            assert!(before.ends_with(&ours), "{}: {before:?} instead of {ours:?}", self.name);
        }
        // 124 is of the program that sent the signal
        let finished = matches!(self.exit, 0 | 124);
        if !finished
            || command.selectors
            || name == TestName::Omni
            || self.words.iter().any(|word| word == "|")
        {
            return if command.layout.headers { BANNER } else { "of another layout, without a banner" };
        }
        let table = without_interim_results(body);
        assert_eq!(command.body(name, table), table, "{}", self.name);
        WHOLE
    }

    /// What follows the banner.
    fn body(&self, command: &Command<'_>) -> Option<&str> {
        if !command.layout.headers {
            return Some(&self.stdout);
        }
        let banner = self.stdout.split_inclusive('\n').find(|line| line.contains(" TEST from "))?;
        let end = self.stdout.find(banner)? + banner.len();
        self.stdout.get(end..)
    }
}

/// What of a command line decides the text.
struct Command<'a> {
    test: String,
    layout: Layout<'a>,
    local: &'a str,
    remote: &'a str,
    ports: (u16, u16),
    goal: Goal,
    no_delay: bool,
    copy_avoidance: bool,
    no_control: bool,
    cpu_bind: bool,
    selectors: bool,
    debug: bool,
    direction: &'a str,
    each: bool,
    requests: bool,
    first_burst: u32,
}

/// Options that take an argument, before `--` and after it.
const WITH_ARGUMENT: [&str; 2] = ["AabBDfFHiIkKlLnoOpPstTvwWyYZ", "bdegGHijlKmMpPrRsStTuwWL"];

impl<'a> Command<'a> {
    fn read(words: &'a [String]) -> Self {
        let mut command = Self {
            test: "TCP_STREAM".to_owned(),
            layout: Layout {
                verbosity: 1,
                headers: true,
                unit: Unit::Megabits,
                brand: "",
                local_cpu: false,
                remote_cpu: false,
            },
            local: "",
            remote: "localhost",
            ports: (0, 0),
            goal: Goal::once(),
            no_delay: false,
            copy_avoidance: false,
            no_control: false,
            cpu_bind: false,
            selectors: false,
            debug: false,
            direction: "",
            each: false,
            requests: false,
            first_burst: 0,
        };
        let mut unit = None;
        let mut of_test = false;
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
                continue;
            };
            if letters == "-" {
                of_test = true;
                continue;
            }
            let letter = letters.chars().next().unwrap_or_default();
            let with_argument = WITH_ARGUMENT[usize::from(of_test)].contains(letter);
            let argument = match &letters[1..] {
                "" if with_argument => words.next().unwrap_or_default(),
                attached => attached,
            };
            if of_test {
                command.test_option(letter, argument)
            } else {
                command.option(letter, argument)
            }
            if letter == 'f' && !of_test {
                unit = Some(argument.chars().next());
            }
        }
        let transactions = command.test.contains("RR");
        command.layout.unit = Unit::from_letter(unit.unwrap_or(Some('x')), transactions);
        command
    }

    fn option(&mut self, letter: char, argument: &'a str) {
        let (first, second) = argument.split_once(',').unwrap_or((argument, ""));
        match letter {
            't' => self.test = argument.to_uppercase(),
            'v' => self.layout.verbosity = number(argument),
            'P' => self.layout.headers = argument != "0",
            'B' => self.layout.brand = argument,
            'c' => self.layout.local_cpu = true,
            'C' => self.layout.remote_cpu = true,
            'H' => self.remote = first,
            'L' => self.local = first,
            'T' => self.cpu_bind = true,
            'N' => self.no_control = true,
            'd' => self.debug = true,
            'r' => self.goal.result_only = true,
            'i' => self.goal.max_iterations = number::<u32>(first).max(3),
            'I' => {
                self.goal.level = if first == "95" { Level::Percent95 } else { Level::Percent99 };
                self.goal.width_percent = number(if second.is_empty() { first } else { second });
                self.goal.max_iterations = self.goal.max_iterations.max(10);
            }
            _ => {}
        }
    }

    fn test_option(&mut self, letter: char, argument: &'a str) {
        let (first, second) = argument.split_once(',').unwrap_or((argument, argument));
        match letter {
            'H' => self.remote = first,
            'L' => self.local = first,
            'D' => self.no_delay = true,
            'V' => self.copy_avoidance = true,
            'k' | 'o' | 'O' => self.selectors = true,
            'b' => self.first_burst = number(argument),
            'c' => self.each = true,
            'd' => self.direction = argument,
            'M' if argument.starts_with(',') => self.direction = "maerts",
            'r' => self.requests = true,
            'P' => self.ports = (first.parse().unwrap_or(0), second.parse().unwrap_or(0)),
            _ => {}
        }
    }

    /// What OMNI moves, as far as its goldens say.
    fn traffic(&self, name: TestName) -> Traffic {
        if name != TestName::Omni {
            return name.traffic();
        }
        let both = self.requests || matches!(self.direction, "rr" | "send|recv");
        let receives = both || self.direction == "maerts";
        let sends = both || !(receives || self.each);
        Traffic { sends, receives, each: self.each, ..name.traffic() }
    }

    fn banner(&self, test: &str) -> String {
        let remote: IpAddr = self.remote.parse().unwrap_or([127, 0, 0, 1].into());
        let unset = if remote.is_ipv4() { "0.0.0.0" } else { "::0" };
        let local = if self.local.is_empty() { unset } else { self.local };
        let our_address: IpAddr = local.parse().expect("a numeric address");
        let discard = if self.no_control && self.ports.1 == 0 { 9 } else { self.ports.1 };
        let banner = Banner {
            test,
            local: DataEnd { name: local, address: (our_address, self.ports.0).into() },
            remote: DataEnd { name: self.remote, address: (remote, discard).into() },
            goal: self.goal,
            no_delay: self.no_delay,
            copy_avoidance: self.copy_avoidance,
            no_control: self.no_control,
            histogram: false,
            interval: false,
            first_burst: self.first_burst,
            cpu_bind: self.cpu_bind,
        };
        banner.line()
    }

    /// The warning and the table of `test` from the numbers in `golden`.
    fn body(&self, test: TestName, golden: &str) -> String {
        let mut ours = String::new();
        let mut table: Vec<&str> = golden.lines().collect();
        if table[0].starts_with("!!!") {
            assert!(self.goal.max_iterations > 1, "there is a goal to miss");
            let rest = table.split_off(8);
            let width =
                |line: &str| number(line.rsplit(' ').next().unwrap_or_default().trim_end_matches('%'));
            ours = Widths {
                throughput: width(table[4]),
                local_cpu: width(table[5]),
                remote_cpu: width(table[6]),
            }
            .warning();
            table = rest;
        }
        if self.layout.headers && matches!(self.layout.verbosity, 1 | 2) {
            let header = table.iter().position(|line| line.is_empty()).expect("a line ends the header");
            table.drain(..=header);
        }
        ours + &match test {
            TestName::UdpStream => self.udp(&table),
            TestName::TcpMaerts => self.tcp(Role::Receive, &table),
            TestName::TcpCc => self.rr(RrTest::Cc, &table),
            TestName::TcpCrr => self.rr(RrTest::Crr, &table),
            TestName::TcpRr => self.rr(RrTest::Tcp, &table),
            TestName::UdpRr => self.rr(RrTest::Udp, &table),
            TestName::TcpMss => {
                MssTable { segment_bytes: Some(number(table[0].trim())) }.render(&self.layout)
            }
            _ => self.tcp(Role::Send, &table),
        }
    }

    fn rr(&self, test: RrTest, lines: &[&str]) -> String {
        let unset = Place { alignment: 7777, offset: 7777 };
        let end = RrEnd {
            buffers: SocketBuffers { send: ELSEWHERE, receive: ELSEWHERE },
            send_place: unset,
            receive_place: unset,
            load: None,
        };
        let mut table = RrTable {
            test,
            request_bytes: None,
            response_bytes: None,
            elapsed: Duration::ZERO,
            rate: 0.0,
            transaction_rate: f64::from(ELSEWHERE),
            first_burst: self.first_burst,
            local: end,
            remote: end,
        };
        let line = words(lines[0]);
        if self.layout.verbosity == 0 {
            if self.shows_cpu() {
                (table.local.load, table.remote.load) = self.demand_alone(&line);
            } else {
                table.rate = number(line[0]);
            }
            return table.render(&self.layout);
        }
        let buffers = |line: &[&str]| SocketBuffers { send: number(line[0]), receive: number(line[1]) };
        (table.local.buffers, table.remote.buffers) = (buffers(&line), buffers(&words(lines[1])));
        (table.request_bytes, table.response_bytes) = (Some(number(line[2])), Some(number(line[3])));
        (table.elapsed, table.rate) = (seconds(line[4]), number(line[5]));
        if self.shows_cpu() {
            (table.local.load, table.remote.load) = (load(line[6], line[8]), load(line[7], line[9]));
        }
        let row = words(lines.last().expect("there are lines"));
        // UDP_RR has no details, and the row of the other end is its last.
        if self.layout.verbosity > 1 && row.len() > 3 {
            table.local.send_place = Place { alignment: number(row[0]), offset: number(row[2]) };
            table.remote.receive_place = Place { alignment: number(row[1]), offset: number(row[3]) };
            table.transaction_rate = row.get(5).map_or(table.transaction_rate, |rate| number(rate));
        }
        table.render(&self.layout)
    }

    fn shows_cpu(&self) -> bool {
        self.layout.local_cpu || self.layout.remote_cpu
    }

    /// The one demand of a line at verbosity 0 is that of the end that it was asked for.
    fn demand_alone(&self, line: &[&str]) -> (Option<MachineLoad>, Option<MachineLoad>) {
        let shown = Some(load("0", line[0]).expect("a measured one"));
        let hidden = load("0", "777.7");
        if self.layout.local_cpu { (shown, hidden) } else { (hidden, shown) }
    }

    fn tcp(&self, role: Role, lines: &[&str]) -> String {
        let mut table = TcpTable {
            role,
            message_bytes: Some(ELSEWHERE),
            elapsed: Duration::ZERO,
            rate: 0.0,
            local: unset_end(),
            remote: unset_end(),
            segment_bytes: None,
            arrived: None,
        };
        let line = words(lines[0]);
        match self.layout.verbosity {
            0 if self.shows_cpu() => (table.local.load, table.remote.load) = self.demand_alone(&line),
            0 => table.rate = number(line[0]),
            1 | 2 => {
                let (receive, send) = (number(line[0]), number(line[1]));
                if role == Role::Receive && !self.shows_cpu() {
                    (table.local.buffers.receive, table.remote.buffers.send) = (receive, send);
                } else {
                    (table.remote.buffers.receive, table.local.buffers.send) = (receive, send);
                }
                table.message_bytes = Some(number(line[2]));
                (table.elapsed, table.rate) = (seconds(line[3]), number(line[4]));
                if self.shows_cpu() {
                    (table.local.load, table.remote.load) = (load(line[5], line[7]), load(line[6], line[8]));
                }
            }
            _ => {}
        }
        if self.layout.verbosity > 1 {
            details(&mut table, lines);
        }
        table.render(&self.layout)
    }

    fn udp(&self, lines: &[&str]) -> String {
        let first = words(lines[0]);
        let mut table = UdpTable {
            send_buffer: ELSEWHERE,
            receive_buffer: ELSEWHERE,
            message_bytes: ELSEWHERE,
            elapsed: Duration::ZERO,
            sent: 0,
            failed_sends: 0,
            received: 0,
            send_rate: 0.0,
            receive_rate: f64::from(ELSEWHERE),
            local_load: None,
            remote_load: None,
        };
        if self.layout.verbosity == 0 {
            table.send_rate = number(first[0]);
            return table.render(&self.layout);
        }
        let second = words(lines[1]);
        assert_eq!(first[2], second[1], "both rows show the time of one end");
        (table.send_buffer, table.message_bytes) = (number(first[0]), number(first[1]));
        (table.elapsed, table.sent, table.failed_sends) =
            (seconds(first[2]), number(first[3]), number(first[4]));
        (table.receive_buffer, table.received) = (number(second[0]), number(second[2]));
        (table.send_rate, table.receive_rate) = (number(first[5]), number(second[3]));
        if self.shows_cpu() {
            (table.local_load, table.remote_load) = (load(first[6], first[7]), load(second[4], second[5]));
        }
        table.render(&self.layout)
    }
}

/// The row of details and the segment size below it.
fn details(table: &mut TcpTable, lines: &[&str]) {
    let above = lines.iter().position(|line| line.contains("(avg)")).expect("the details have a header");
    let row = words(lines[above + 1]);
    let place = Place { alignment: number(row[0]), offset: number(row[2]) };
    match table.role {
        Role::Request | Role::Send => table.local.send_place = place,
        Role::Receive | Role::Respond => table.local.receive_place = place,
    }
    table.remote.receive_place = Place { alignment: number(row[1]), offset: number(row[3]) };
    table.local.calls = number(row[6]);
    if row[4].contains('e') {
        let arrived: f64 = number(row[4]);
        table.arrived = Some(arrived as u64);
        let each: f64 = number(row[5]);
        table.local.bytes = (each * table.local.calls as f64).round() as u64;
    } else {
        table.local.bytes = number(row[4]);
    }
    table.remote.calls = number(row[8]);
    let each: f64 = number(row[7]);
    table.remote.bytes = match table.role {
        // what arrived is nowhere in it
        Role::Request | Role::Send => ELSEWHERE.into(),
        Role::Receive | Role::Respond => (each * table.remote.calls as f64).round() as u64,
    };
    let segment = lines.last().expect("there are lines");
    table.segment_bytes = Some(number(segment.trim()));
}

/// What follows the lines printed while the test went on.
fn without_interim_results(body: &str) -> &str {
    let mut rest = body;
    while rest.starts_with("Interim result: ") {
        rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
    }
    rest
}

fn unset_end() -> TcpEnd {
    let place = Place { alignment: 7777, offset: 7777 };
    TcpEnd {
        buffers: SocketBuffers { send: ELSEWHERE, receive: ELSEWHERE },
        send_place: place,
        receive_place: place,
        load: None,
        bytes: ELSEWHERE.into(),
        calls: ELSEWHERE.into(),
    }
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

fn number<T: std::str::FromStr>(word: &str) -> T {
    word.parse().unwrap_or_else(|_| panic!("`{word}` is no such number"))
}

fn seconds(word: &str) -> Duration {
    Duration::from_secs_f64(number(word))
}

/// CPU as printed; -1 is none.
fn load(utilisation: &str, demand: &str) -> Option<MachineLoad> {
    let utilisation_percent: f64 = number(utilisation);
    let load = MachineLoad { utilisation_percent, service_demand: Some(number(demand)), method: 8 };
    (utilisation_percent >= 0.0).then_some(load)
}
