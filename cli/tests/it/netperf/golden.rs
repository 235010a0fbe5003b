//! Recorded runs of netperf 2.7.0, played again and compared line by line; see `cli/tests/golden-output`.
//!
//! Every file is either compared or left out with a reason, and how many are compared is asserted, so that
//! none goes missing quietly. What a file was recorded with (ports, the kernel's default sizes) is replaced
//! by what the test runs with; [`mask`](super::mask) takes out the figures. The masks are held against stock
//! netperf as well, and against files changed by one character.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use super::mask::{difference, masked, masked_selection, rows};
use super::{Ended, Maker, Netperf, Pair, Server};
use crate::support::{free_port, skip};

use case::{Case, Defaults, Verdict, split_command};

mod case;

/// Files whose whole output is compared, whose usage text is our own, and that crashed netperf.
const WHOLE: usize = 211;
const USAGE: usize = 7;
const CRASHES: usize = 2;

/// Runs at a time. More than the cores of a small machine: a run is mostly a second of waiting for its end.
const PARALLEL: usize = 6;

/// Files whose confidence may or may not be reached, as the machine has it. The warning may be there or not,
/// but not in another form.
const EITHER_CONFIDENT_OR_NOT: &[&str] = &["041-", "042-", "049-"];

/// Files with so little work, or so much of it between two looks at the clock, that a busy machine prints a
/// rate of 0 or misses an interim result.
const SO_LITTLE: &[&str] = &["184-", "194-", "195-"];

/// What the kernel or the resolver decides, each in one of two wordings.
const EITHER_WORDING: &[(&str, &str)] = &[
    // A netserver that refuses a passphrase closes; what netperf sent by then makes it a close or a reset.
    ("recv_response: Connection reset by peer\n", "recv_response: partial response received: 0 bytes\n"),
    // A resolver without a network cannot know that the name does not exist.
    ("returned -3 Temporary failure in name resolution\n", "returned -2 Name or service not known\n"),
];

#[test]
fn our_netperf_prints_what_netperf_prints() {
    compare_all(Pair::OURS);
}

#[test]
fn the_masks_fit_stock_netperf() {
    if Pair::STOCK.is_here("the_masks_fit_stock_netperf") {
        compare_all(Pair::STOCK);
    }
}

fn compare_all(pair: Pair) {
    let cases = Case::all();
    let mut left_out: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut counts = [0; 3];
    for case in &cases {
        match case.verdict {
            Verdict::Whole => counts[0] += 1,
            Verdict::Usage => counts[1] += 1,
            Verdict::Crash => counts[2] += 1,
            Verdict::LeftOut(reason) => left_out.entry(reason).or_default().push(&case.name),
        }
    }
    let mut report = format!(
        "golden outputs, {pair:?}: {} compared, {} up to the usage text, {} for an end without a crash\n",
        counts[0], counts[1], counts[2]
    );
    for (reason, names) in &left_out {
        report.push_str(&format!("{} left out, {reason}: {}\n", names.len(), names.join(" ")));
    }
    // Past the test harness, which would keep it to itself because the test passes.
    let _ = std::io::stdout().write_all(report.as_bytes());
    assert_eq!(counts, [WHOLE, USAGE, CRASHES]);
    let lost = cases.len() - counts.iter().sum::<usize>() - left_out.values().map(Vec::len).sum::<usize>();
    assert_eq!(lost, 0);

    let (runnable, lacking): (Vec<&Case>, Vec<&Case>) = cases
        .iter()
        .filter(|case| !matches!(case.verdict, Verdict::LeftOut(_)))
        .partition(|case| surroundings_allow(case));
    let (complaints, played) = play_all(&runnable, pair);
    assert!(complaints.is_empty(), "{} of {played} differ:\n{}", complaints.len(), complaints.join("\n"));
    assert_eq!(played + lacking.len(), WHOLE + USAGE + CRASHES);
}

/// Plays the cases, several at a time; what is wrong with them, and how many were played.
fn play_all(cases: &[&Case], pair: Pair) -> (Vec<String>, usize) {
    let next = AtomicUsize::new(0);
    let played = AtomicUsize::new(0);
    let complaints = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let complaint = play(case, pair);
                    played.fetch_add(1, Ordering::Relaxed);
                    complaints.lock().expect("no player panics holding it").extend(complaint);
                }
            });
        }
    });
    (complaints.into_inner().expect("no player panics holding it"), played.into_inner())
}

/// Whether the machine can run the case; says so if not.
fn surroundings_allow(case: &Case) -> bool {
    let command = &case.command;
    if command.contains("::1") && TcpListener::bind("[::1]:0").is_err() {
        skip(&case.name, "ipv6", "there is no ::1 here");
        return false;
    }
    let named = command.contains("localhost") || (!command.contains("-H ") && command.contains("-p "));
    if named {
        let answer = Command::new("getent").args(["ahosts", "localhost"]).output();
        let text =
            answer.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let first = text.lines().next().unwrap_or_default();
        if first.split_whitespace().collect::<Vec<_>>() != ["127.0.0.1", "STREAM", "localhost"] {
            skip(&case.name, "localhost", &format!("localhost is `{first}` here"));
            return false;
        }
    }
    true
}

/// Runs the case's command line; what is wrong with the result.
fn play(case: &Case, pair: Pair) -> Option<String> {
    let loopback = |last| IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
    let asks_for = |port: &str| case.words.iter().any(|word| word == port);
    let (recorded, host, words): (_, _, &[&str]) = match () {
        () if asks_for("23965") => ("23965", loopback(1), &[]),
        () if asks_for("23966") => ("23966", IpAddr::V6(Ipv6Addr::LOCALHOST), &[]),
        () if asks_for("23968") => ("23968", loopback(2), &[]),
        () if asks_for("23970") => ("23970", loopback(1), &["-Z", "secret"]),
        () => ("", loopback(1), &[]),
    };
    let server = (!recorded.is_empty()).then(|| Server::start(pair.server, host, words));
    let sink = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
    let ports = [
        (recorded, server.as_ref().map_or(0, Server::port)),
        ("12866", free_port()),
        ("23997", sink.local_addr().expect("it is bound").port()),
        ("23999", free_port()),
    ];
    if asks_for(",23997") {
        std::thread::spawn(move || drain(&sink));
    }
    let words: Vec<String> = case.words[1..].iter().map(|word| with_ports_in_word(word, &ports)).collect();
    let ended = run(case, pair, &words);
    let complaint = judge(case, &with_ports(&case.out, &ports), &with_ports(&case.err, &ports), pair, &ended);
    complaint.map(|text| format!("{}: {}\n{text}", case.name, case.command))
}

fn run(case: &Case, pair: Pair, words: &[String]) -> Ended {
    // When a datagram of so many bytes is lost, and with it the three that tell the end, both ends wait for
    // good: the protocol has no timer there. The machine decides whether that happens.
    if case.name.starts_with("108-") {
        let attempt = |_| Netperf::new(pair.client, words).start().ended_within(Duration::from_secs(10));
        return (0..5).find_map(attempt).expect("some run loses no end");
    }
    let mut netperf = Netperf::new(pair.client, words);
    netperf.command.current_dir(files());
    if let Some((name, value)) = case.variable() {
        netperf.command.env(name, value);
    }
    let measuring = netperf.start();
    if let Some((name, seconds)) = &case.signal {
        std::thread::sleep(Duration::from_secs(*seconds));
        measuring.signal(name);
    }
    measuring.ended()
}

/// The folder with the small files that some cases name.
fn files() -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    let make = || {
        let folder = std::env::temp_dir().join(format!("ringperf-golden-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("there is room for small files");
        for (name, content) in [
            ("fill.dat", "n".repeat(1 << 20)),
            ("sel.txt", "THROUGHPUT,THROUGHPUT_UNITS\nELAPSED_TIME,NO_SUCH_THING,DIRECTION\n".to_owned()),
            ("sel2.txt", "Throughput,Elapsed Time (sec),Throughput Units\n".to_owned()),
            ("lat.txt", "MIN_LATENCY,P99_LATENCY,LOCAL_CONG_CONTROL,THROUGHPUT\n".to_owned()),
        ] {
            std::fs::write(folder.join(name), content).expect("there is room for small files");
        }
        folder
    };
    MADE.get_or_init(make).clone()
}

/// Takes everything that one client sends.
fn drain(sink: &TcpListener) {
    let (mut connection, _) = sink.accept().expect("a client comes");
    let mut buffer = vec![0; 1 << 16];
    while connection.read(&mut buffer).is_ok_and(|length| length > 0) {}
}

fn with_ports_in_word(word: &str, ports: &[(&str, u16)]) -> String {
    let (comma, number) = word.strip_prefix(',').map_or(("", word), |rest| (",", rest));
    let replaced = ports.iter().find(|(recorded, _)| !recorded.is_empty() && number == *recorded);
    replaced.map_or_else(|| word.to_owned(), |(_, port)| format!("{comma}{port}"))
}

/// `text` with our ports where it names the recorded ones. Ports are never padded.
fn with_ports(text: &str, ports: &[(&str, u16)]) -> String {
    let recorded = ports.iter().filter(|(recorded, _)| !recorded.is_empty());
    recorded.fold(text.to_owned(), |text, (recorded, port)| {
        text.replace(&format!("port {recorded}"), &format!("port {port}"))
    })
}

/// What is wrong with a run that should have printed `out` and `err`.
fn judge(case: &Case, out: &str, err: &str, pair: Pair, ended: &Ended) -> Option<String> {
    let shown = format!("    exit {}\n{}{}", ended.status, ended.out, ended.err);
    match case.verdict {
        Verdict::LeftOut(_) => None,
        Verdict::Crash => {
            let told = (1..128).contains(&ended.status) && !ended.err.trim().is_empty();
            let crashed = ended.status >= 128 && pair.client == Maker::Stock;
            (!told && !crashed).then_some(shown)
        }
        Verdict::Usage => {
            let complaint = err.lines().next().unwrap_or_default();
            let begins = ended.err.lines().next().unwrap_or_default() == complaint;
            let (usage, silent) =
                if case.out.is_empty() { (&ended.err, &ended.out) } else { (&ended.out, &ended.err) };
            let whole = usage.lines().count() > 3 && silent.is_empty();
            // A help text without a complaint begins as it likes.
            let begins = begins || complaint.is_empty();
            (!begins || !whole || ended.status != case.status).then_some(shown)
        }
        Verdict::Whole => {
            let mut text = String::new();
            if ended.status != case.status {
                text.push_str(&format!("    exit {} instead of {}\n", ended.status, case.status));
            }
            // Elapsed time is masked; that a test runs for its second is seen from outside.
            let seconds = case.words.windows(2).any(|pair| pair == ["-l", "1"]);
            let seconds = seconds && case.test() != "TCP_MSS";
            if seconds && rows(&case.out) > 0 && ended.took < Duration::from_millis(950) {
                text.push_str(&format!("    took {:?} only\n", ended.took));
            }
            let machine = Defaults::of_this_machine();
            let wanted = case.with_defaults(&canonical(case, out), &machine);
            text.extend(difference(&wanted, &canonical(case, &ended.out)));
            // That a data connection was connected to itself we say on standard error; netperf is silent.
            if pair.client == Maker::Stock || !case.name.starts_with("002-") {
                text.extend(difference(&canonical(case, err), &canonical(case, &ended.err)));
            }
            (!text.is_empty()).then_some(text)
        }
    }
}

/// `text` without figures and without what the surroundings decide.
fn canonical(case: &Case, text: &str) -> String {
    let mut text = without_repeats(&masked(text));
    if case.test() == "UUID" && !case.of_test().contains(&"-u".to_owned()) {
        text = text.chars().map(|letter| if letter.is_ascii_hexdigit() { 'x' } else { letter }).collect();
    }
    if case.selects() {
        let (banner, result) =
            text.split_once('\n').filter(|_| text.contains(" TEST from ")).unwrap_or(("", &text));
        text = format!("{banner}\n{}", without_repeats(&masked_selection(result)));
    }
    for (one, other) in EITHER_WORDING {
        text = text.replace(one, other);
    }
    if SO_LITTLE.iter().any(|prefix| case.name.starts_with(prefix)) {
        let lines = text.split('\n').filter(|line| !line.starts_with("Interim result: "));
        text = lines.collect::<Vec<_>>().join("\n").replace("{zero}", "{more}");
    }
    if EITHER_CONFIDENT_OR_NOT.iter().any(|prefix| case.name.starts_with(prefix)) {
        text = text.replace(&masked(&confidence_warning()), "");
    }
    text
}

/// `text` with one of each group of lines that repeats itself: how many interim results there are is the
/// machine's business.
fn without_repeats(text: &str) -> String {
    let interim = |line: &str| {
        line.contains("Interim result: ") || line.starts_with("NETPERF_") || line.split(',').count() == 4
    };
    let mut seen = BTreeSet::new();
    let lines = text.split('\n').filter(|line| !interim(line) || seen.insert((*line).to_owned()));
    lines.collect::<Vec<_>>().join("\n")
}

/// The warning about confidence, with its empty line, as a golden file has it.
fn confidence_warning() -> String {
    let text =
        std::fs::read_to_string(folder().join("043-tcp_stream-conf-not-met.txt")).expect("it is there");
    let lines = text.lines().skip_while(|line| !line.starts_with("!!!"));
    lines.take(8).flat_map(|line| [line, "\n"]).collect()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden-output")
}

#[test]
fn every_change_to_a_golden_output_is_noticed() {
    let mut seen = BTreeSet::new();
    // Selectors are compared by the character where they are printed, in the program's own tests.
    for case in Case::all().iter().filter(|case| case.verdict == Verdict::Whole && case.has_table()) {
        let wanted = canonical(case, &case.out);
        assert_eq!(difference(&wanted, &canonical(case, &case.out)), None);
        let mut changed = 0;
        for other in changes(&case.out, &mut seen) {
            assert_ne!(canonical(case, &other), wanted, "{}: not noticed:\n{other}", case.name);
            changed += 1;
        }
        assert!(changed > 0 || case.out.is_empty(), "{}", case.name);
        let measured = case.status == 0 && !case.command.contains(" -V");
        let measured = measured || case.command.contains(" -- -V");
        assert_eq!(rows(&case.out) > 0, measured, "{}: a result, but no row of figures", case.name);
    }
}

/// `text` with one blank more, one blank less, another letter or size, one line less, or two lines exchanged.
/// Letters of a line that is in `seen` are left alone: most files begin with the same header.
fn changes(text: &str, seen: &mut BTreeSet<String>) -> Vec<String> {
    let mut changes = Vec::new();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let with_line = |index: usize, line: &str| {
        let before: String = lines[..index].concat();
        before + line + &lines[index + 1..].concat()
    };
    for (index, line) in lines.iter().enumerate() {
        changes.push(with_line(index, ""));
        if let Some(next) = lines.get(index + 1).filter(|next| masked(next) != masked(line)) {
            let exchanged: String = [&lines[..index], &[next, line], &lines[index + 2..]].concat().concat();
            changes.push(exchanged);
        }
        if !seen.insert((*line).to_owned()) {
            continue;
        }
        let compared = if rows(line) > 0 { sizes_end(line) } else { line.trim_end_matches('\n').len() };
        for (at, letter) in line.char_indices() {
            let (before, after) = line.split_at(at);
            changes.push(with_line(index, &format!("{before} {after}")));
            let after = &after[letter.len_utf8()..];
            if letter == ' ' {
                changes.push(with_line(index, &format!("{before}{after}")));
            } else if at < compared {
                let other = if letter == '7' { '3' } else { '7' };
                changes.push(with_line(index, &format!("{before}{other}{after}")));
            }
        }
    }
    changes
}

/// Where the sizes of a row end: before the time, or after the four alignments and offsets.
fn sizes_end(line: &str) -> usize {
    let words: Vec<&str> = line.split_whitespace().collect();
    let sizes = words.iter().take(4).take_while(|word| !word.contains('.')).count();
    // The only figure of a line is measured.
    let sizes = if words.len() < 4 { 0 } else { sizes };
    let mut end = 0;
    for word in &words[..sizes] {
        end += line[end..].find(word).expect("a word of this line") + word.len();
    }
    end
}

#[test]
fn a_command_line_is_read_as_a_shell_reads_it() {
    let (words, signal) = split_command("netperf -f '' -H a -l 60 & sleep 2; kill -ALRM $!; wait $!");
    assert_eq!(words, ["netperf", "-f", "", "-H", "a", "-l", "60"]);
    assert_eq!(signal, Some(("ALRM".to_owned(), 2)));
    let (words, signal) = split_command("timeout -s INT 1 netperf -l 5");
    assert_eq!(
        (words, signal),
        (vec!["netperf".into(), "-l".into(), "5".into()], Some(("INT".to_owned(), 1)))
    );
    let (words, signal) = split_command("python3 sink.py 1 & sleep 0.5; netperf -N -- -P ,1; kill $!");
    assert_eq!(words, ["netperf", "-N", "--", "-P", ",1"]);
    assert_eq!(signal, None);
}

#[test]
fn other_kernel_defaults_are_expected_where_the_recorded_ones_are_printed() {
    let other = Defaults { tcp_send: 1, tcp_receive: 2, udp_send: 3, udp_receive: 4 };
    let row = |name: &str| {
        let cases = Case::all();
        let case = cases.iter().find(|case| case.name.starts_with(name)).expect("it is there");
        let text = case.with_defaults(&masked(&case.out), &other);
        let sizes = text.lines().filter(|line| line.starts_with('{')).map(|line| {
            let sizes = line.split_whitespace().take_while(|word| *word != "{any}");
            sizes.map(|word| word.trim_matches(['{', '}']).to_owned()).collect::<Vec<_>>()
        });
        sizes.collect::<Vec<_>>()
    };
    assert_eq!(row("001-"), [["2", "1", "1"]]);
    assert_eq!(row("002-"), [["2", "4608", "131072"]]);
    assert_eq!(row("034-"), [["128000", "131072", "1024"]]);
    assert_eq!(row("053-"), [["131072", "32768", "8192"]]);
    assert_eq!(row("240-"), [["0", "1", "1"]]);
    assert_eq!(row("090-"), [vec!["3", "3"], vec!["4"]]);
    assert_eq!(row("091-"), [vec!["3", "3100"], vec!["4"]]);
}
