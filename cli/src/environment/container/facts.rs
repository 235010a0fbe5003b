//! What Docker and the kernel tell of an engine and a container.
//!
//! Reads only. What is not told is absent, unless a container cannot be used without it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::environment::docker::{self, Patience};
use crate::error::Failure;

/// Docker's engine.
#[derive(Debug, Deserialize)]
pub(super) struct Info {
    #[serde(rename = "ServerVersion")]
    version: String,
    #[serde(rename = "Driver")]
    storage_driver: Option<String>,
    #[serde(rename = "CgroupVersion")]
    cgroup_version: Option<String>,
    #[serde(rename = "SecurityOptions")]
    security_options: Option<Vec<String>>,
}

impl Info {
    /// Asks the daemon, which is how it is found out whether there is one.
    pub(super) fn ask() -> Result<Self, Failure> {
        docker::json("ask the Docker daemon what it is", &["info", "--format", "{{json .}}"])
    }

    /// Its facts.
    pub(super) fn engine(&self) -> Json {
        json!({
            "version": self.version,
            "storage_driver": self.storage_driver,
            "cgroup_version": self.cgroup_version,
        })
    }

    /// The seccomp profile that containers get: of `name=seccomp,profile=default` the last word.
    pub(super) fn seccomp(&self) -> Option<&str> {
        let options = self.security_options.iter().flatten();
        let seccomp = options.filter_map(|option| option.strip_prefix("name=seccomp")).next()?;
        let profile = seccomp.split(',').find_map(|part| part.strip_prefix("profile="));
        Some(profile.unwrap_or("default"))
    }
}

/// A container.
#[derive(Debug, Deserialize)]
pub(super) struct Inspected {
    #[serde(rename = "State")]
    pub(super) state: State,
    #[serde(rename = "NetworkSettings")]
    network: NetworkSettings,
}

#[derive(Debug, Deserialize)]
pub(super) struct State {
    #[serde(rename = "Running")]
    pub(super) running: bool,
    #[serde(rename = "ExitCode")]
    pub(super) exit_code: i64,
    /// Process id of the netserver, in Docker's namespace.
    #[serde(rename = "Pid")]
    pub(super) pid: u32,
}

#[derive(Debug, Deserialize)]
struct NetworkSettings {
    /// Absent for a port that is not published.
    #[serde(rename = "Ports")]
    ports: Option<BTreeMap<String, Option<Vec<Binding>>>>,
    /// By name of the network.
    #[serde(rename = "Networks")]
    networks: Option<BTreeMap<String, Attached>>,
}

#[derive(Debug, Deserialize)]
struct Attached {
    #[serde(rename = "IPAddress")]
    address: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Binding {
    #[serde(rename = "HostPort")]
    port: String,
}

impl Inspected {
    /// Asks the daemon.
    pub(super) fn ask(name: &str) -> Result<Self, Failure> {
        let tried = "look at the container";
        let words = ["container", "inspect", "--format", "{{json .}}", name];
        docker::json(tried, &words)
    }

    /// The port of this host that leads to a TCP port of it.
    pub(super) fn published(&self, port: u16) -> Option<u16> {
        let bindings = self.network.ports.as_ref()?.get(&format!("{port}/tcp"))?.as_ref()?;
        bindings.first()?.port.parse().ok()
    }

    /// Its own address.
    pub(super) fn address(&self) -> Option<Ipv4Addr> {
        self.network.networks.iter().flatten().find_map(|(_, network)| network.address.as_ref()?.parse().ok())
    }
}

/// The kernel's word for what holds the system calls of a process: what Docker says of profiles is a claim.
pub(super) fn seccomp_mode(pid: u32) -> Option<&'static str> {
    mode(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

/// Of /proc/PID/status (include/uapi/linux/seccomp.h).
fn mode(status: &str) -> Option<&'static str> {
    match status.lines().find_map(|line| line.strip_prefix("Seccomp:"))?.trim() {
        "0" => Some("disabled"),
        "1" => Some("strict"),
        "2" => Some("filter"),
        _ => None,
    }
}

/// Memory of a container in bytes: by its cgroup, or else as docker shows it.
pub(super) fn memory(name: &str, pid: u32) -> Option<u64> {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    cgroup_files(&groups, Path::new("/sys/fs/cgroup"))
        .iter()
        .find_map(|file| std::fs::read_to_string(file).ok()?.trim().parse().ok())
        .or_else(|| {
            let words = ["stats", "--no-stream", "--format", "{{.MemUsage}}", name];
            docker::call("ask for its memory", &words, Patience::Ask).ok().and_then(|said| usage(&said.out))
        })
}

/// Where the memory of a process's cgroup may be told, by /proc/PID/cgroup: version 1, then 2. The root of
/// the hierarchy is no container's, and is what is shown of one in another namespace.
fn cgroup_files(groups: &str, root: &Path) -> Vec<PathBuf> {
    let path_of = |wanted: &dyn Fn(&str, &str) -> bool| {
        groups.lines().find_map(|line| {
            let (number, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let path = path.strip_prefix('/').filter(|path| !path.is_empty() && !path.starts_with(".."))?;
            wanted(number, controllers).then(|| path.to_owned())
        })
    };
    let v1 = path_of(&|_, controllers| controllers.split(',').any(|name| name == "memory"));
    let v2 = path_of(&|number, controllers| number == "0" && controllers.is_empty());
    let v1 = v1.map(|path| root.join("memory").join(path).join("memory.usage_in_bytes"));
    let v2 = v2.map(|path| root.join(path).join("memory.current"));
    v1.into_iter().chain(v2).collect()
}

/// Bytes of `1.5MiB / 23GiB`.
fn usage(text: &str) -> Option<u64> {
    let used = text.split('/').next()?.trim();
    let digits = used.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = used.split_at(digits);
    let bytes: f64 = match unit.trim() {
        "B" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    number.parse::<f64>().ok().map(|number| (number * bytes) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seccomp_profile_is_found() {
        let info = |options: &str| -> Info {
            let text = format!("{{\"ServerVersion\":\"20.10.24\",\"SecurityOptions\":{options}}}");
            serde_json::from_str(&text).expect("the form is docker's")
        };
        let both = info(r#"["name=apparmor","name=seccomp,profile=builtin","name=cgroupns"]"#);
        assert_eq!(both.seccomp(), Some("builtin"));
        assert_eq!(info(r#"["name=seccomp"]"#).seccomp(), Some("default"));
        assert_eq!(info("null").seccomp(), None);
        assert_eq!(both.engine()["version"], "20.10.24");
        assert!(both.engine()["storage_driver"].is_null());
    }

    #[test]
    fn the_published_port_is_found() {
        let inspected: Inspected = serde_json::from_str(
            r#"{"State":{"Running":true,"ExitCode":0,"Pid":77},"NetworkSettings":{"Ports":{
                "12865/tcp":[{"HostIp":"172.17.0.1","HostPort":"32768"}],"12866/udp":null},
                "Networks":{"other":{"IPAddress":""},"bridge":{"IPAddress":"172.17.0.2"}}}}"#,
        )
        .expect("the form is docker's");
        assert_eq!(inspected.published(12865), Some(32768));
        assert_eq!(inspected.published(12866), None);
        assert_eq!(inspected.address(), Some(Ipv4Addr::new(172, 17, 0, 2)));
    }

    #[test]
    fn the_kernels_word_on_seccomp_is_read() {
        assert_eq!(mode("NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n"), Some("filter"));
        assert_eq!(mode("Seccomp:\t0\n"), Some("disabled"));
        assert_eq!(mode("Name:\tringperf\n"), None);
        assert!(seccomp_mode(std::process::id()).is_some());
    }

    #[test]
    fn memory_is_looked_for_in_both_versions() {
        let files = |text: &str| cgroup_files(text, Path::new("/c"));
        let hybrid = files("4:memory:/docker/a\n1:cpu,cpuacct:/docker/a\n0::/\n");
        assert_eq!(hybrid, [PathBuf::from("/c/memory/docker/a/memory.usage_in_bytes")]);
        let unified = files("0::/system.slice/docker-a.scope\n");
        assert_eq!(unified, [PathBuf::from("/c/system.slice/docker-a.scope/memory.current")]);
        assert!(files("0::/../docker-a.scope\n").is_empty());
        assert!(files("").is_empty());
    }

    #[test]
    fn dockers_own_figure_is_read() {
        assert_eq!(usage("1.5MiB / 23.54GiB\n"), Some(1_572_864));
        assert_eq!(usage("812KiB / 1GiB"), Some(831_488));
        assert_eq!(usage("-- / --"), None);
    }
}
