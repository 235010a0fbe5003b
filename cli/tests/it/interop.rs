//! Stock netperf and netserver against ours, through fixed data ports, in two network namespaces: the way a
//! netserver behind a port forward is measured, which one address cannot show.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::support::{RINGPERF, await_that, run, skip, stock};

/// Address of the server's end of the link. The link exists in our namespaces only.
pub(crate) const SERVER: &str = "10.77.0.2";
const LIMIT: Duration = Duration::from_secs(60);

/// Two namespaces joined by a veth pair; gone when dropped.
pub(crate) struct Link {
    client: String,
    server: String,
}

impl Link {
    /// `None`, after saying why, where namespaces cannot be made.
    pub(crate) fn new(test: &str) -> Option<Self> {
        let name = |end| format!("ringperf-{}-{test}-{end}", std::process::id());
        let link = Self { client: name("c"), server: name("s") };
        // Interface names have 15 characters at most; each of these lives in a namespace of its own.
        let script = format!(
            "set -e
             ip netns add {c}; ip netns add {s}
             ip -n {c} link add veth0 type veth peer name veth0 netns {s}
             ip -n {c} addr add 10.77.0.1/24 dev veth0; ip -n {s} addr add {SERVER}/24 dev veth0
             for ns in {c} {s}; do ip -n $ns link set lo up; ip -n $ns link set veth0 up; done",
            c = link.client,
            s = link.server
        );
        let made = Command::new("sh").args(["-c", &script]).output().expect("a shell starts");
        if made.status.success() {
            return Some(link);
        }
        skip(test, "netns", String::from_utf8_lossy(&made.stderr).trim());
        None
    }

    /// A netserver in the server's namespace, accepting.
    pub(crate) fn serve(&self, program: &Path, words: &[&str]) -> Running {
        let child = Command::new("ip")
            .args(["netns", "exec", &self.server])
            .arg(program)
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("ip starts");
        await_that("a listener on the control port", || {
            let listing = self.run_server_side(&["ss", "-Htln", "sport = :12865"]);
            listing.contains("12865")
        });
        Running(child)
    }

    /// Has the client's interface send at this rate from now on.
    pub(crate) fn shape(&self, rate: &str) {
        let words = ["-n", &self.client, "qdisc", "replace", "dev", "veth0", "root", "tbf", "rate", rate];
        let out = run(Path::new("tc"), &[&words[..], &["burst", "32k", "latency", "50ms"]].concat(), LIMIT);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }

    fn run_server_side(&self, words: &[&str]) -> String {
        let output = run(Path::new("ip"), &[&["netns", "exec", &self.server], words].concat(), LIMIT);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs a client in the client's namespace; its standard output.
    pub(crate) fn run_client(&self, program: &Path, words: &[&str]) -> String {
        let program = program.to_str().expect("a plain path");
        let output =
            run(Path::new("ip"), &[&["netns", "exec", &self.client, program], words].concat(), LIMIT);
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {words:?}: {stdout}{stderr}");
        stdout
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        for end in [&self.client, &self.server] {
            let _ = Command::new("ip").args(["netns", "del", end]).stderr(Stdio::null()).status();
        }
    }
}

/// A namespace with loopback, from which nobody is reached. This thread is in it, and what it starts from
/// then on; it is back and the namespace gone when dropped.
///
/// A second of connections leaves ten thousands of entries in the kernel's table of connections, for minutes,
/// where one is kept: that of a host with containers. When it is full, datagrams are refused with EPERM,
/// those of other tests, too. A namespace of its own keeps none.
pub(crate) struct Alone {
    name: String,
    /// Where the thread was.
    home: File,
}

impl Alone {
    /// `None` where namespaces cannot be made: what needs none of its own can do without.
    pub(crate) fn enter() -> Option<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ringperf-{}-alone-{count}", std::process::id());
        // Resolvers give no address of a family of which only loopback has one.
        let script = format!(
            "set -e; ip netns add {name}; ip -n {name} link add veth0 type veth peer name veth1
             ip -n {name} addr add 10.77.1.1/24 dev veth0; ip -n {name} addr add fd77::1/64 dev veth0 nodad
             for link in lo veth0 veth1; do ip -n {name} link set $link up; done"
        );
        let made = Command::new("sh").args(["-c", &script]).stderr(Stdio::null()).status();
        if !made.is_ok_and(|status| status.success()) {
            return None;
        }
        let home = File::open("/proc/thread-self/ns/net").expect("this thread has a namespace");
        let alone = Self { name, home };
        alone.join();
        Some(alone)
    }

    /// Brings another thread here. It has to end before this value does.
    pub(crate) fn join(&self) {
        let place = File::open(format!("/run/netns/{}", self.name)).expect("ip made it");
        Self::move_to(&place);
    }

    fn move_to(place: &File) {
        move_into_link_name_space(place.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may move");
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        Self::move_to(&self.home);
        let _ = Command::new("ip").args(["netns", "del", &self.name]).stderr(Stdio::null()).status();
    }
}

/// A process that ends with this value.
pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The throughput that netperf's classic output ends with.
fn throughput(stdout: &str) -> f64 {
    let last = stdout.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let field = last.split_whitespace().last().unwrap_or_default();
    field.parse().unwrap_or_else(|_| panic!("no throughput in {stdout}"))
}

/// Runs stock netperf as the scripts in the wild do, twice, so that the ports are bound again while the first
/// connection is still in TIME_WAIT.
fn stock_client(link: &Link, netperf: &Path) {
    for socket_buffer in ["1100", "65536"] {
        let words = [
            "-t",
            "TCP_STREAM",
            "-H",
            SERVER,
            "-l",
            "1",
            "--",
            "-P",
            "12866",
            "-s",
            socket_buffer,
            "-m",
            "131072",
        ];
        let stdout = link.run_client(netperf, &words);
        assert!(throughput(&stdout) > 0.0, "{stdout}");
    }
}

/// The same by our client, where every byte can be counted.
fn our_client(link: &Link) {
    for _ in 0..2 {
        let words = ["run", "tcp-stream", "-H", SERVER, "--data-port", "12866", "--time", "1s", "--json"];
        let stdout = link.run_client(Path::new(RINGPERF), &words);
        let record: serde_json::Value = serde_json::from_str(&stdout).expect("the record is JSON");
        let bytes = |name: &str| record["result"][name].as_u64().expect("a count");
        assert!(bytes("bytes_received") > 0, "{stdout}");
        assert_eq!(bytes("bytes_received"), bytes("bytes_sent"), "{stdout}");
        let port = |end: &str| {
            record["target"][end].as_str().expect("an address").rsplit(':').next().map(str::to_owned)
        };
        assert_eq!(
            (port("data_local").as_deref(), port("data_peer").as_deref()),
            (Some("12866"), Some("12866"))
        );
    }
}

fn peers(test: &str) -> Option<(PathBuf, PathBuf)> {
    Some((stock("netperf", test)?, stock("netserver", test)?))
}

#[test]
fn stock_netperf_against_our_netserver_through_fixed_ports() {
    let Some((netperf, _)) = peers("fixed-ours") else { return };
    let Some(link) = Link::new("fixed-ours") else { return };
    let _netserver = link.serve(Path::new(RINGPERF), &["netserver", "-D"]);
    stock_client(&link, &netperf);
    our_client(&link);
}

#[test]
fn our_client_against_stock_netserver_through_fixed_ports() {
    let Some((netperf, netserver)) = peers("fixed-stock") else { return };
    let Some(link) = Link::new("fixed-stock") else { return };
    let _netserver = link.serve(&netserver, &["-D"]);
    our_client(&link);
    // What the test expects of netperf holds with netperf's own server, too.
    stock_client(&link, &netperf);
}
