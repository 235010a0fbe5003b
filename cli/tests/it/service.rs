//! A netserver as a service: the unit of systemd, its rights and its system calls, its signals and its pid
//! file.
//!
//! systemd itself does not run here: what its filters would refuse is told from what netserver calls.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use ringperf_proto::omni::OmniRequest;

use crate::support::{
    Control, Netserver, RINGPERF, await_that, connect_data, golden, golden_request, run, signal, skip, words,
};

/// The highest exposure that is tolerated, in tenths: 2.0.
const EXPOSURE_MAX: &str = "--threshold=20";

const LIMIT: Duration = Duration::from_secs(60);

const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ringperf-netserver.service");

/// One short run of each test.
const TESTS: [&[&str]; 6] = [
    &["tcp-stream", "--bytes", "4M"],
    &["tcp-maerts", "--bytes", "4M"],
    &["udp-stream", "--time", "1", "--rate", "50M"],
    &["tcp-rr", "--transactions", "200"],
    &["tcp-crr", "--transactions", "50"],
    &["udp-rr", "--transactions", "200"],
];

/// A folder of the test's own. Gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("ringperf-service-{}-{name}", std::process::id()));
        fs::create_dir(&folder).expect("a folder can be made");
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether a program can be called here.
fn has(program: &str, word: &str, test: &str) -> bool {
    let there = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let there = there.is_ok_and(|status| status.success());
    if !there {
        skip(test, word, &format!("there is no {program}"));
    }
    there
}

fn serves_every_test(netserver: &Netserver, what: &str) {
    let port = netserver.port.to_string();
    for test in TESTS {
        let words = [&["run"], test, &["-H", "127.0.0.1", "--port", &port]].concat();
        let done = run(Path::new(RINGPERF), &words, LIMIT);
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{what}, {test:?}: {said}\n{}", netserver.log());
    }
}

#[test]
fn the_unit_is_sound_and_hardened() {
    const TEST: &str = "the_unit_is_sound_and_hardened";
    if !has("systemd-analyze", "systemd", TEST) {
        return;
    }
    let analyze = Path::new("systemd-analyze");
    let judged = run(analyze, &["security", "--offline=true", EXPOSURE_MAX, UNIT], LIMIT);
    let text = String::from_utf8_lossy(&judged.stdout);
    let exposure = text.lines().find(|line| line.contains("Overall exposure")).unwrap_or("nothing");
    assert!(judged.status.success(), "{exposure}\n{}", String::from_utf8_lossy(&judged.stderr));
    // It says of a program that is not installed here that it is not, and would of a bad line.
    let folder = Folder::new("unit");
    let copy = folder.0.join("ringperf-netserver.service");
    let unit = fs::read_to_string(UNIT).expect("the unit is there");
    assert!(unit.contains("ExecStart=/usr/local/bin/ringperf "), "{unit}");
    fs::write(&copy, unit.replace("/usr/local/bin/ringperf", RINGPERF)).expect("it is copied");
    let copy = copy.to_str().expect("a path of text");
    let verified = run(analyze, &["verify", "--man=no", copy], LIMIT);
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && said.trim().is_empty(), "{said}");
}

/// The calls that the unit allows, by the sets that systemd has and the order of its lines.
fn allowed_calls() -> BTreeSet<String> {
    let printed = run(Path::new("systemd-analyze"), &["syscall-filter"], LIMIT);
    let text = String::from_utf8_lossy(&printed.stdout).into_owned();
    let mut allowed = BTreeSet::new();
    let unit = fs::read_to_string(UNIT).expect("the unit is there");
    for line in unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let (denies, names) = line.strip_prefix('~').map_or((false, line), |names| (true, names));
        for call in names.split_whitespace().flat_map(|name| calls(&text, name)) {
            if denies {
                allowed.remove(&call);
            } else {
                allowed.insert(call);
            }
        }
    }
    allowed
}

/// The calls of a set, or of itself.
fn calls(sets: &str, name: &str) -> Vec<String> {
    if !name.starts_with('@') {
        return vec![name.to_owned()];
    }
    let lines = sets.lines().skip_while(|line| *line != name).skip(1);
    let members = lines.take_while(|line| line.starts_with(' ')).map(str::trim);
    members.filter(|member| !member.starts_with('#')).flat_map(|member| calls(sets, member)).collect()
}

#[test]
fn netserver_calls_nothing_that_the_unit_refuses() {
    const TEST: &str = "netserver_calls_nothing_that_the_unit_refuses";
    if !has("systemd-analyze", "systemd", TEST) || !has("strace", "strace", TEST) {
        return;
    }
    // What starts a process happens before systemd's filter is there, or is its own.
    let allowed = allowed_calls();
    assert!(allowed.len() > 200 && allowed.contains("io_uring_enter"), "{allowed:?}");
    assert!(!allowed.contains("setuid") && !allowed.contains("mount") && !allowed.contains("setrlimit"));
    let folder = Folder::new("calls");
    for engine in ["auto", "epoll", "classic"] {
        let trace = folder.0.join(engine);
        let file = trace.to_str().expect("a path of text");
        let strace = ["strace", "-f", "-qq", "-o", file, "-e", "signal=none"];
        let words = ["-L", "127.0.0.1", "--engine", engine];
        let mut netserver = Netserver::start_under(&strace, &words).expect("strace runs it");
        serves_every_test(&netserver, engine);
        netserver.close_stdin();
        netserver.wait();
        let text = fs::read_to_string(&trace).expect("strace wrote it");
        let (mut called, mut families) = (BTreeSet::new(), BTreeSet::new());
        for line in text.lines() {
            let call = line.split_once(' ').map_or("", |(_, call)| call.trim_start());
            let Some((name, rest)) = call.split_once('(') else { continue };
            if name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
                called.insert(name.to_owned());
                if name == "socket" {
                    families.insert(rest.split(',').next().unwrap_or_default().to_owned());
                }
            }
        }
        assert!(called.contains("sched_setaffinity") && called.contains("accept4"), "{engine}: {called:?}");
        let refused: Vec<&String> = called.difference(&allowed).collect();
        assert!(refused.is_empty(), "{engine}: the unit refuses {refused:?}");
        // RestrictAddressFamilies is about socket alone; socketpair is free.
        let inet = |family: &String| family == "AF_INET" || family == "AF_INET6";
        assert!(!families.is_empty() && families.iter().all(inet), "{engine}: {families:?}");
    }
}

#[test]
fn serves_as_nobody_without_any_capability() {
    const TEST: &str = "serves_as_nobody_without_any_capability";
    if !rustix::process::geteuid().is_root() {
        return skip(TEST, "root", "only root can become somebody else");
    }
    if !has("setpriv", "root", TEST) {
        return;
    }
    // Where the program was built nobody may be allowed to look.
    let folder = Folder::new("nobody");
    let program = folder.0.join("ringperf");
    fs::copy(RINGPERF, &program).expect("the program is copied");
    for path in [&folder.0, &program] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
    let setpriv = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--bounding-set=-all",
        "--inh-caps=-all",
        "--no-new-privs",
    ];
    for engine in ["auto", "epoll", "classic"] {
        let words = ["-L", "127.0.0.1", "--engine", engine];
        let netserver = Netserver::start_program_under(&program, &setpriv, &words).expect("setpriv runs it");
        let status = fs::read_to_string(format!("/proc/{}/status", netserver.id())).expect("it runs");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name}"))
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(field("Uid:"), ["65534"; 4]);
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
            assert_eq!(field(set), ["0000000000000000"], "{set}");
        }
        assert_eq!(field("NoNewPrivs:"), ["1"]);
        serves_every_test(&netserver, engine);
    }
}

#[test]
fn a_pid_file_names_the_process_that_serves() {
    let folder = Folder::new("pid");
    let path = folder.0.join("netserver.pid");
    let file = path.to_str().expect("a path of text");
    let number = || fs::read_to_string(&path).ok().and_then(|text| text.trim_end().parse::<u32>().ok());
    let mut first = Netserver::start(&["-L", "127.0.0.1", "--pid-file", file]);
    assert_eq!(number(), Some(first.id()));
    let second = run(
        Path::new(RINGPERF),
        &["netserver", "-D", "-L", "127.0.0.1", "-p", "0", "--pid-file", file],
        LIMIT,
    );
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("a netserver that runs has it (process {})", first.id())), "{said}");
    assert_eq!(number(), Some(first.id()));
    signal(first.id(), "TERM");
    assert_eq!(first.wait().code(), Some(0));
    assert!(!path.exists());
    // One that is killed leaves it behind, and the next one takes it.
    let mut killed = Netserver::start(&["-L", "127.0.0.1", "--pid-file", file]);
    signal(killed.id(), "KILL");
    killed.wait();
    assert_eq!(number(), Some(killed.id()));
    // In the background it names the child, and means the folder that it was started in.
    let started = Command::new(RINGPERF)
        .args(["netserver", "-L", "127.0.0.1", "-p", "0", "--pid-file", "netserver.pid"])
        .current_dir(&folder.0)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(started.is_ok_and(|status| status.success()));
    let child = number().expect("it is written before the parent ends");
    assert_ne!(child, killed.id());
    let command = fs::read(format!("/proc/{child}/cmdline")).expect("it runs");
    assert!(String::from_utf8_lossy(&command).contains("background-child"));
    signal(child, "HUP");
    signal(child, "TERM");
    await_that("the file's end", || !path.exists());
}

#[test]
fn a_terminal_that_closes_ends_nothing() {
    let mut netserver = Netserver::start(&["-L", "127.0.0.1"]);
    let mut control = Control::open(netserver.address());
    let response = control.ask(&golden("two_tests_one_connection")[0]);
    for name in ["HUP", "PIPE", "CONT", "HUP"] {
        signal(netserver.id(), name);
    }
    netserver.await_log("SIGHUP changes nothing");
    drop(connect_data(&response));
    let _ = control.results();
    signal(netserver.id(), "TERM");
    assert_eq!(netserver.wait().code(), Some(0));
}

/// A request for a test of a minute.
fn long_test(name: &str) -> Vec<u8> {
    let (mut frame, request) = golden_request(name);
    let address = words(std::net::Ipv4Addr::UNSPECIFIED.into());
    OmniRequest { data_port: 0, netperf_ip: address, test_length: 60, ..request }.encode(&mut frame);
    frame.as_bytes().to_vec()
}

#[test]
fn sigterm_ends_sessions_in_every_state() {
    for name in ["TERM", "INT"] {
        let mut netserver = Netserver::start(&["-d", "-L", "127.0.0.1"]);
        let address = netserver.address();
        let mute = Control::open(address);
        let mut half = Control::open(address);
        half.send(&golden("two_tests_one_connection")[0][..300]);
        let mut idle = Control::open(address);
        idle.send(&golden("debug_on_off")[0]);
        assert_eq!(idle.frame().errno(), 0);
        let mut tests = Vec::new();
        for test in ["tcp_stream_default", "tcp_maerts", "tcp_rr", "tcp_crr", "udp_rr"] {
            let mut waiting = Control::open(address);
            waiting.ask(&long_test(test));
            let mut running = Control::open(address);
            let response = running.ask(&long_test(test));
            let data = (test != "udp_rr").then(|| connect_data(&response));
            tests.push((waiting, running, data));
        }
        signal(netserver.id(), name);
        let began = std::time::Instant::now();
        assert_eq!(netserver.wait().code(), Some(0), "SIG{name}: {}", netserver.log());
        assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
        for mut control in [mute, half, idle] {
            control.await_close();
        }
        assert!(!netserver.log().contains("BUG: "), "{}", netserver.log());
        drop(tests);
    }
}
