//! `ringperf run` against netperf's own netserver, and where there is little: one core, no locked memory.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::tools::{
    Run, StockNetserver, allowed_cores, assert_says, engines, find_program, free_port, in_new_network,
};
use super::{assert_is_a_result, warning_kinds};
use crate::support::{Netserver, RINGPERF, skip};

fn against_stock(netserver: &StockNetserver, options: &[&str]) -> Value {
    let port = netserver.port.to_string();
    let done = Run::new(["-H", "127.0.0.1", "--port", &port, "--json"]).args(options).done();
    assert_eq!(done.code, Some(0), "{done:?}");
    let record = done.json();
    assert_is_a_result(&record);
    assert_eq!(record["target"]["netserver"]["kind"], "netperf", "{record}");
    assert_eq!(record["target"]["embedded"], false, "{record}");
    assert!(record["receiver"]["worker"].is_null(), "{record}");
    assert!(warning_kinds(&record).contains(&"remote_whole_machine"), "{record}");
    record
}

#[test]
fn netperfs_netserver_serves_us() {
    let Some(netserver) = StockNetserver::start("netperfs_netserver_serves_us") else { return };
    for engine in engines() {
        let record = against_stock(&netserver, &["--time", "1", "--engine", engine.option]);
        assert_eq!(record["sender"]["engine"], engine.name, "{record}");
        assert!(record["result"]["remote_congestion_control"].is_string(), "{record}");
    }
}

#[test]
fn netperfs_netserver_serves_us_by_count_and_small_buffers() {
    let test = "netperfs_netserver_serves_us_by_count_and_small_buffers";
    let Some(netserver) = StockNetserver::start(test) else { return };
    for engine in engines() {
        let options = ["--bytes", "20000001", "--message", "64k", "--engine", engine.option];
        let record = against_stock(&netserver, &[&options[..], &["--socket-buffer", "32K"]].concat());
        assert_eq!(record["result"]["bytes_received"], 20_032_000, "{record}");
        assert_eq!(record["receiver"]["socket_buffer"]["granted"], 65_536, "{record}");
    }
}

#[test]
fn netperfs_netserver_serves_us_on_a_fixed_data_port() {
    let test = "netperfs_netserver_serves_us_on_a_fixed_data_port";
    let Some(netserver) = StockNetserver::start(test) else { return };
    for engine in engines() {
        let port = free_port().to_string();
        let options = ["--time", "1", "--data-port", &port, "--local", "127.0.0.2"];
        let record = against_stock(&netserver, &[&options[..], &["--engine", engine.option]].concat());
        assert_eq!(record["target"]["data_local"], format!("127.0.0.2:{port}"), "{record}");
        assert_eq!(record["target"]["data_peer"], format!("127.0.0.1:{port}"), "{record}");
    }
}

#[test]
fn netperfs_netserver_and_us_on_one_address_and_port_is_usage() {
    let test = "netperfs_netserver_and_us_on_one_address_and_port_is_usage";
    let Some(netserver) = StockNetserver::start(test) else { return };
    let (control, data) = (netserver.port.to_string(), free_port().to_string());
    let options = ["-H", "127.0.0.1", "--port", &control, "--data-port", &data, "--time", "1", "--json"];
    Run::new(options).done().error("USAGE", 2);
}

#[test]
fn a_single_core_serves_both_ends_and_says_so() {
    let Some(taskset) = find_program("taskset", "a_single_core_serves_both_ends_and_says_so", "taskset")
    else {
        return;
    };
    let core = first_core();
    for engine in engines() {
        let words = [taskset.as_os_str(), "-c".as_ref(), core.as_ref(), RINGPERF.as_ref()];
        let done = Run::by(words, ["--time", "1", "--json", "--engine", engine.option]).done();
        assert_eq!(done.code, Some(0), "{done:?}");
        let record = done.json();
        assert_is_a_result(&record);
        assert_eq!(record["sender"]["core"].to_string(), core, "{record}");
        assert_eq!(record["receiver"]["core"].to_string(), core, "{record}");
        assert!(warning_kinds(&record).contains(&"core_shared"), "{record}");
    }
}

/// The first core that this process may use.
fn first_core() -> String {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is there");
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .expect("the kernel tells the mask");
    list.trim().chars().take_while(char::is_ascii_digit).collect()
}

#[test]
fn a_core_that_is_not_there_is_replaced_and_told() {
    let done = Run::new(["--time", "1", "--cores", "60000", "--json"]).done();
    assert_eq!(done.code, Some(0), "{done:?}");
    let record = done.json();
    assert_is_a_result(&record);
    assert!(warning_kinds(&record).contains(&"degraded"), "{record}");
    assert_ne!(record["sender"]["core"], 60_000, "{record}");
    if allowed_cores() > 1 {
        assert_ne!(record["sender"]["core"], record["receiver"]["core"], "{record}");
    }
}

#[test]
fn without_a_loopback_interface_the_environment_is_to_blame() {
    const TEST: &str = "without_a_loopback_interface_the_environment_is_to_blame";
    let Some(unshare) = in_new_network(TEST) else { return };
    // In a new namespace the loopback interface is down.
    let words = [unshare.as_os_str(), "-rn".as_ref(), RINGPERF.as_ref()];
    let error = Run::by(words, ["--time", "1", "--json"]).done().error("ENV", 3);
    assert_eq!(error["errno"], "ENETUNREACH", "{error}");
    assert_says(&error, "next", "ip link set lo up");
}

#[test]
fn without_locked_memory_there_is_still_a_result() {
    const TEST: &str = "without_locked_memory_there_is_still_a_result";
    let Some(words) = unprivileged_without_locked_memory(TEST) else { return };
    // Rings and registered buffers count as locked memory on some kernels, registered buffers on all.
    let done = Run::by(&words, ["--time", "1", "--json"]).done();
    assert_eq!(done.code, Some(0), "{done:?}");
    let record = done.json();
    assert_is_a_result(&record);
    assert!(warning_kinds(&record).contains(&"degraded"), "{record}");
    assert_receiver_names_what_it_lacks(&record);

    let done = Run::by(&words, ["--time", "1", "--json", "--engine", "epoll"]).done();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_is_a_result(&done.json());

    let done = Run::by(&words, ["--time", "1", "--json", "--engine", "uring"]).done();
    if done.code == Some(0) {
        assert!(warning_kinds(&done.json()).contains(&"degraded"), "{done:?}");
    } else {
        let error = done.error("ENV", 3);
        assert_says(&error, "next", "--engine epoll");
        assert_says(&error, "setting", "ulimit -l");
    }
}

/// A user of its own, whom nothing else uses up the limit of; enough for the rings alone.
#[test]
fn zero_copy_without_locked_memory_sends_in_chains() {
    const TEST: &str = "zero_copy_without_locked_memory_sends_in_chains";
    let Some(words) = unprivileged(TEST, "61093", "--memlock=1048576") else { return };
    if !engines().iter().any(|engine| engine.option == "uring") {
        return;
    }
    let options = ["--time", "1", "--json", "--engine", "uring", "--send", "zero-copy"];
    let done = Run::by(&words, options).done();
    assert_eq!(done.code, Some(0), "{done:?}");
    let record = done.json();
    assert_is_a_result(&record);
    let warnings = record["warnings"].as_array().expect("a list");
    let told = warnings.iter().find(|warning| warning["feature"] == "zero-copy send").expect("it is told");
    assert_says(told, "text", "ulimit -l");
}

/// The words that start the program as nobody, who may lock no memory.
fn unprivileged_without_locked_memory(test: &str) -> Option<Vec<PathBuf>> {
    unprivileged(test, "65534", "--memlock=0")
}

/// The words that start the program as this user, under a limit of prlimit(1).
pub(super) fn unprivileged(test: &str, user: &str, limit: &str) -> Option<Vec<PathBuf>> {
    let setpriv = find_program("setpriv", test, "root")?;
    let prlimit = find_program("prlimit", test, "root")?;
    let mut words: Vec<PathBuf> = vec![setpriv];
    words.extend(["--reuid", user, "--clear-groups"].map(PathBuf::from));
    words.push(prlimit);
    words.extend([limit, RINGPERF].map(PathBuf::from));
    let (program, rest) = words.split_first().expect("it was just filled");
    // Without the limit: whether the program can be reached is all that is asked here.
    let tried = Command::new(program).args(&rest[..3]).args([RINGPERF, "--version"]).output();
    match tried {
        Ok(output) if output.status.success() => Some(words),
        Ok(output) => {
            skip(test, "root", &format!("cannot become nobody: {}", String::from_utf8_lossy(&output.stderr)));
            None
        }
        Err(error) => {
            skip(test, "root", &error.to_string());
            None
        }
    }
}

/// Both ends are the same program in the same place, so what the sender lacks the receiver lacks as well.
fn assert_receiver_names_what_it_lacks(record: &Value) {
    let warnings = record["warnings"].as_array().expect("a list");
    let ours = warnings.iter().filter(|warning| warning["kind"] == "degraded");
    let ring = ours.filter(|warning| warning["feature"] == "io_uring").count();
    let theirs = record["remote_facts"]["degraded"].as_array().expect("a list");
    assert_eq!(ring, theirs.iter().filter(|feature| **feature == "io_uring").count(), "{record}");
}

#[test]
fn a_receiver_names_the_features_it_went_without() {
    const TEST: &str = "a_receiver_names_the_features_it_went_without";
    let inject = "inject=io_uring_setup:error=EPERM";
    let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=io_uring_setup", "-e", inject];
    let netserver = match Netserver::start_under(&strace, &["-L", "127.0.0.1"]) {
        Ok(netserver) => netserver,
        Err(error) => return skip(TEST, "strace", &format!("strace: {error}")),
    };
    let port = netserver.port.to_string();
    let record = Run::new(["-H", "127.0.0.1", "--port", &port, "--time", "1", "--json"]).done().json();
    assert_is_a_result(&record);
    assert_eq!(record["remote_facts"]["degraded"], serde_json::json!(["io_uring"]), "{record}");
    let warnings = record["warnings"].as_array().expect("a list");
    let told = warnings.iter().find(|warning| warning["kind"] == "remote_degraded").expect("it is told");
    assert_eq!(told["features"], serde_json::json!(["io_uring"]), "{told}");
    assert_says(told, "text", "receiver without io_uring");
}
