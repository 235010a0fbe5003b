//! A golden output file: its command line, what it printed where, and whether it is compared.

use super::folder;

/// What is done with a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    /// Standard output, standard error and exit status are compared.
    Whole,
    /// netperf's usage text is its own prose: exit status, the stream and the complaint before it are
    /// compared.
    Usage,
    /// netperf crashes; ours ends with a sentence.
    Crash,
    /// Not compared, for this reason.
    LeftOut(&'static str),
}

/// A recorded run.
#[derive(Debug)]
pub(super) struct Case {
    /// The file's name without its ending.
    pub(super) name: String,
    /// The command as a shell would run it.
    pub(super) command: String,
    /// The words of the netperf in it.
    pub(super) words: Vec<String>,
    /// The signal that netperf is sent, after so many seconds.
    pub(super) signal: Option<(String, u64)>,
    pub(super) status: i32,
    pub(super) out: String,
    pub(super) err: String,
    pub(super) verdict: Verdict,
}

impl Case {
    /// Every file of the folder's index, which must name every file of the folder.
    pub(super) fn all() -> Vec<Self> {
        let index = std::fs::read_to_string(folder().join("INDEX.tsv")).expect("there is an index");
        let cases: Vec<Self> = index.lines().skip(1).map(Self::read).collect();
        let files = std::fs::read_dir(folder()).expect("the folder can be read");
        let texts = files
            .filter(|file| file.as_ref().is_ok_and(|file| file.path().extension() == Some("txt".as_ref())));
        assert_eq!(cases.len(), texts.count(), "files of the index, files of the folder");
        cases
    }

    fn read(row: &str) -> Self {
        let columns: Vec<&str> = row.split('\t').collect();
        let number = |column: usize| columns[column].parse::<i32>().expect("a number");
        let file = folder().join(columns[0]);
        let text =
            std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let (command, printed) = text.split_once('\n').expect("a command line");
        let command = command.strip_prefix("$ ").expect("it begins with a prompt").to_owned();
        let (words, signal) = split_command(&command);
        let lines: Vec<&str> = printed.split_inclusive('\n').collect();
        let (out, err) = lines.split_at(lines.len().min(number(2) as usize));
        // The shell says this of a child that a signal killed.
        let err: String = err.iter().filter(|line| **line != "Terminated\n").copied().collect();
        // 124 is the status of `timeout`; netperf's own is that of a run that ends well.
        let status = if command.starts_with("timeout ") { 0 } else { number(1) };
        let name = columns[0].trim_end_matches(".txt").to_owned();
        let mut case =
            Self { name, command, words, signal, status, out: out.concat(), err, verdict: Verdict::Whole };
        case.verdict = case.judged();
        case
    }

    fn judged(&self) -> Verdict {
        use Verdict::{Crash, LeftOut, Usage, Whole};
        if self.words.is_empty() {
            return LeftOut("netserver's command line, which netserver's own tests have");
        }
        if self.name.starts_with('3') {
            return LeftOut("a build of netperf with other features");
        }
        if self.out.contains("[usage text") || self.err.contains("[usage text") {
            return Usage;
        }
        if self.global().iter().any(|word| word == "-d") {
            return LeftOut("debug output is free-form");
        }
        if self.name.starts_with("196-") {
            return LeftOut("its output goes to another program");
        }
        if self.name.starts_with("074-") {
            return LeftOut("requests that a connection to itself answers, which ours does not measure");
        }
        if self.name.starts_with("255-") {
            return LeftOut("a netserver that dies of a file's name, which ours does not open");
        }
        if [134, 139].contains(&self.status) { Crash } else { Whole }
    }

    /// The result is printed by selectors.
    pub(super) fn selects(&self) -> bool {
        let selects = |word: &String| ["-k", "-o", "-O"].iter().any(|option| word.starts_with(option));
        self.of_test().iter().any(selects) || self.test() == "OMNI"
    }

    /// The output is a table and nothing that repeats itself.
    pub(super) fn has_table(&self) -> bool {
        let interim = self.global().iter().any(|word| word.starts_with("-D"));
        let is_fact = ["LOC_CPU", "REM_CPU", "UUID"].contains(&self.test().as_str());
        !self.selects() && !interim && !is_fact
    }

    /// The test's name in upper case.
    pub(super) fn test(&self) -> String {
        self.argument("-t").unwrap_or("TCP_STREAM").to_uppercase()
    }

    /// The word that netperf is started with in its environment, if it is.
    pub(super) fn variable(&self) -> Option<(&str, &str)> {
        self.command.split_whitespace().next()?.split_once('=')
    }

    fn global(&self) -> &[String] {
        self.words.split(|word| word == "--").next().unwrap_or_default()
    }

    pub(super) fn of_test(&self) -> &[String] {
        self.words.splitn(2, |word| word == "--").nth(1).unwrap_or_default()
    }

    /// The word after a global option.
    fn argument(&self, option: &str) -> Option<&str> {
        self.global().windows(2).find(|pair| pair[0] == option).map(|pair| pair[1].as_str())
    }

    /// The masked output with `machine`'s default sizes where the recorded run printed its own.
    pub(super) fn with_defaults(&self, masked: &str, machine: &Defaults) -> String {
        let asked = |option: &str| self.of_test().iter().any(|word| word == option);
        let recorded = Defaults::RECORDED;
        let (mut send, mut receive) = (!asked("-s"), !asked("-S"));
        let test = self.test();
        if test == "TCP_MAERTS" {
            std::mem::swap(&mut send, &mut receive);
        }
        let datagram = |defaults: &Defaults| defaults.udp_send.min(65_507);
        // For each column of sizes: whether it may hold a default, the recorded one, and this machine's.
        let tcp = [
            (receive, recorded.tcp_receive, machine.tcp_receive),
            (send, recorded.tcp_send, machine.tcp_send),
            (send, recorded.tcp_send, machine.tcp_send),
        ];
        let udp_sent =
            [(send, recorded.udp_send, machine.udp_send), (send, datagram(&recorded), datagram(machine))];
        let udp_received = [(receive, recorded.udp_receive, machine.udp_receive)];
        let tcp_end =
            [(true, recorded.tcp_send, machine.tcp_send), (true, recorded.tcp_receive, machine.tcp_receive)];
        let udp_end =
            [(true, recorded.udp_send, machine.udp_send), (true, recorded.udp_receive, machine.udp_receive)];
        let lines = masked.split('\n').map(|line| {
            let is_size = |word: &&str| word.starts_with('{') && *word != "{any}";
            let columns: &[_] = match line.split_whitespace().take_while(is_size).count() {
                2 | 4 if test == "UDP_RR" => &udp_end,
                2 | 4 if test.ends_with("RR") || test == "TCP_CC" => &tcp_end,
                3 => &tcp,
                2 => &udp_sent,
                1 => &udp_received,
                _ => &[],
            };
            let mut line = line.to_owned();
            let mut from = 0;
            for (may, recorded, machine) in columns {
                let word = format!("{{{recorded}}}");
                let blanks = line[from..].len() - line[from..].trim_start().len();
                from += blanks;
                if *may && line[from..].starts_with(&word) {
                    line.replace_range(from..from + word.len(), &format!("{{{machine}}}"));
                }
                from += line[from..].find(' ').unwrap_or_default();
            }
            line
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// Sizes of socket buffers that nobody asked for, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Defaults {
    pub(super) tcp_send: u64,
    pub(super) tcp_receive: u64,
    pub(super) udp_send: u64,
    pub(super) udp_receive: u64,
}

impl Defaults {
    const RECORDED: Self =
        Self { tcp_send: 16_384, tcp_receive: 131_072, udp_send: 212_992, udp_receive: 212_992 };

    /// As tcp(7) and socket(7) say where the kernel has them.
    pub(super) fn of_this_machine() -> Self {
        let setting = |name: &str, column: usize| {
            let text = std::fs::read_to_string(format!("/proc/sys/net/{name}")).expect("the kernel has it");
            text.split_whitespace().nth(column).and_then(|word| word.parse().ok()).expect("a size")
        };
        Self {
            tcp_send: setting("ipv4/tcp_wmem", 1),
            tcp_receive: setting("ipv4/tcp_rmem", 1),
            udp_send: setting("core/wmem_default", 0),
            udp_receive: setting("core/rmem_default", 0),
        }
    }
}

/// The words of the netperf in a shell command, none if there is no netperf, and the signal that it is sent.
pub(super) fn split_command(command: &str) -> (Vec<String>, Option<(String, u64)>) {
    let mut netperf = Vec::new();
    let mut signal = None;
    let mut seconds = 0;
    for mut words in shell_words(command) {
        if words.first().is_some_and(|word| word == "timeout")
            && words.get(1).is_some_and(|word| word == "-s")
        {
            let rest = words.split_off(4);
            signal = Some((words[2].clone(), words[3].parse().expect("whole seconds")));
            words = rest;
        }
        // Variables come before the program.
        let program = words.iter().position(|word| !word.contains('=')).unwrap_or_default();
        match words.get(program).map(String::as_str) {
            Some("netperf") => netperf = words.split_off(program),
            Some("sleep") => seconds = words[1].parse().unwrap_or_default(),
            Some("kill") if words[1].starts_with('-') => signal = Some((words[1][1..].to_owned(), seconds)),
            _ => {}
        }
    }
    (netperf, signal)
}

/// The commands of a line, each in words. Knows what the golden files need: quotes, `;`, `&` and `|`.
fn shell_words(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' | ';' | '&' | '|' if !quoted => {
                commands.last_mut().expect("never empty").extend(word.take());
                if letter != ' ' {
                    commands.push(Vec::new());
                }
            }
            _ => word.get_or_insert_default().push(letter),
        }
    }
    commands.last_mut().expect("never empty").extend(word);
    commands.into_iter().filter(|words| !words.is_empty()).collect()
}
