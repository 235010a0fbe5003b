//! Signals, and processes that die in the middle of a test.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::WaitOptions;

use super::tools::{Run, Running, assert_says, engines};
use super::{assert_is_a_result, warning_kinds};
use crate::support::{Netserver, await_that, signal, skip};

/// Long enough for a test to be under way: a netserver started, a connection made, data moving.
const UNDER_WAY: Duration = Duration::from_millis(1500);

/// The longest that an end may take once its cause is there.
const SOON: Duration = Duration::from_secs(8);

/// The netserver that this run has started for itself.
fn embedded_netserver(run: &Running) -> u32 {
    let pid = run.pid();
    let path = format!("/proc/{pid}/task/{pid}/children");
    let mut child = None;
    await_that("the embedded netserver", || {
        let children = std::fs::read_to_string(&path).unwrap_or_default();
        child = children.split_whitespace().next().and_then(|pid| pid.parse().ok());
        child.is_some()
    });
    child.expect("waited until there is one")
}

fn signal_group(leader: u32, signal: &str) {
    let status =
        Command::new("kill").args([format!("-{signal}"), "--".into(), format!("-{leader}")]).status();
    assert!(status.is_ok_and(|status| status.success()), "kill -{signal} -- -{leader}");
}

/// The process has ended, whether or not anybody has asked for its exit code yet.
fn is_gone(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        // The state follows the name, which may itself hold spaces and brackets.
        Ok(stat) => stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X'])),
        Err(_) => !Path::new(&format!("/proc/{pid}")).exists(),
    }
}

#[test]
fn a_signal_keeps_what_was_measured() {
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        for engine in engines() {
            let run = Run::new(["--time", "30", "--json", "--engine", engine.option]).start();
            let netserver = embedded_netserver(&run);
            std::thread::sleep(UNDER_WAY);
            // As Ctrl-C does: the whole process group. The netserver still has to send its results.
            signal_group(run.pid(), name);
            let done = run.done();
            assert_eq!(done.code, Some(code), "{done:?}");
            assert!(done.took < UNDER_WAY + SOON, "{done:?}");
            let record = done.json();
            assert_is_a_result(&record);
            assert_eq!(record["interrupted"], format!("SIG{name}"), "{record}");
            assert!(warning_kinds(&record).contains(&"interrupted"), "{record}");
            assert!(is_gone(netserver), "netserver {netserver} outlived a run that {name} ended");
        }
    }
}

#[test]
fn a_signal_ends_a_wait_for_the_netserver() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let port = listener.local_addr().expect("it is bound").port().to_string();
    let run = Run::new(["-H", "127.0.0.1", "--port", &port, "--json"]).start();
    let (_silent, _) = listener.accept().expect("the client connects");
    std::thread::sleep(Duration::from_millis(300));
    signal(run.pid(), "INT");
    let done = run.done();
    assert!(done.took < SOON, "{done:?}");
    done.error("SIGNAL", 130);
}

#[test]
fn a_netserver_killed_in_the_middle_is_a_peer_error() {
    for engine in engines() {
        let mut netserver = Netserver::start(&["-4", "-L", "127.0.0.1"]);
        let port = netserver.port.to_string();
        let options =
            ["-H", "127.0.0.1", "--port", &port, "--time", "30", "--json", "--engine", engine.option];
        let run = Run::new(options).start();
        std::thread::sleep(UNDER_WAY);
        signal(netserver.id(), "KILL");
        netserver.wait();
        let done = run.done();
        assert!(done.took < UNDER_WAY + SOON, "{done:?}");
        let error = done.error("PEER", 4);
        assert_says(&error, "setting", "stay up during a test");
    }
}

#[test]
fn a_netserver_stopped_in_the_middle_ends_in_time() {
    let netserver = Netserver::start(&["-4", "-L", "127.0.0.1"]);
    let port = netserver.port.to_string();
    let options = ["-H", "127.0.0.1", "--port", &port, "--time", "2", "--json", "--deadline-ms", "700"];
    let run = Run::new(options).start();
    std::thread::sleep(Duration::from_millis(1000));
    signal(netserver.id(), "STOP");
    let done = run.done();
    // The test, the drain, the netserver's own grace past the test, and the slack.
    assert!(done.took < Duration::from_secs(2 + 1 + 4 + 1) + SOON, "{done:?}");
    let error = done.error("PEER", 4);
    assert_eq!(error["errno"], "ETIMEDOUT", "{error}");
    assert_says(&error, "tried", "get the results");
}

#[test]
fn an_embedded_netserver_killed_in_the_middle_is_a_peer_error() {
    let run = Run::new(["--bytes", "1000000G", "--json"]).start();
    let netserver = embedded_netserver(&run);
    std::thread::sleep(UNDER_WAY);
    signal(netserver, "KILL");
    let done = run.done();
    assert!(done.took < UNDER_WAY + SOON, "{done:?}");
    done.error("PEER", 4);
}

#[test]
fn a_killed_run_leaves_no_netserver_behind() {
    let mut run = Run::new(["--time", "30"]).start();
    let netserver = embedded_netserver(&run);
    std::thread::sleep(UNDER_WAY);
    assert!(!is_gone(netserver), "it serves the test");
    // The orphan becomes ours, and with it the news of how it ended.
    let adopt = |whose| rustix::process::set_child_subreaper(whose).expect("the kernel can do this");
    adopt(Some(rustix::process::getpid()));
    signal(run.pid(), "KILL");
    run.wait();
    let orphan = rustix::process::Pid::from_raw(netserver.cast_signed());
    let mut ended = None;
    await_that("the end of the netserver", || {
        let waited = rustix::process::waitpid(orphan, WaitOptions::NOHANG).expect("the orphan is ours");
        ended = waited.map(|(_, status)| (status.exit_status(), status.terminating_signal()));
        ended.is_some()
    });
    adopt(None);
    // Its standard error has no reader by now, and its standard input has ended: it heeds the second and does
    // not die of the first.
    assert_eq!(ended, Some((Some(0), None)), "exit code and signal");
}

#[test]
fn a_finished_run_leaves_no_netserver_behind() {
    let run = Run::new(["--time", "1"]).start();
    let netserver = embedded_netserver(&run);
    let done = run.done();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(is_gone(netserver), "netserver {netserver} outlived its run");
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let mut run = Run::new(["--time", "1", "--json"]).start();
    drop(run.child.stdout.take());
    assert_eq!(run.wait().code(), Some(0));
}

#[test]
fn a_full_disk_is_told() {
    let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else {
        skip("a_full_disk_is_told", "devfull", "there is no /dev/full");
        return;
    };
    let done = Run::new(["--time", "1"]).writing_to(Stdio::from(full)).done();
    assert_eq!(done.code, Some(3), "{done:?}");
    assert!(done.err.contains("cannot write the result") && done.err.contains("(ENOSPC)"), "{done:?}");
}
