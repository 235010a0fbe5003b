//! A container as an environment: this very program as its netserver, under Docker's default restrictions.
//!
//! It is reached as strangers would reach it, through published ports and address translation. They are
//! published on this host's address on Docker's bridge: what goes to a loopback address would pass
//! docker-proxy, a program that copies, and that would be measured.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::journal::{self, Entry, Owner};
use super::{Environment, Options, Reached, docker, image};
use crate::cores;
use crate::error::{Class, Failure};
use crate::trial;

/// The label that names the owner; what has none is not ours.
pub(super) const OWNER_LABEL: &str = "ringperf.owner";

/// netserver's port in the container.
const CONTROL_PORT: u16 = 12_865;

/// How long a container may take from its start to its first answer.
const READY: Duration = Duration::from_secs(30);

/// Time between two attempts to reach it.
const RETRY: Duration = Duration::from_millis(50);

const TRIED: &str = "bring up a container";

/// Containers that this process has named.
static NAMED: AtomicU32 = AtomicU32::new(0);

/// A container.
pub(super) struct Container {
    name: String,
    options: Options,
    /// Something may be there to remove.
    made: bool,
}

impl Container {
    /// One that is not there yet.
    pub(super) fn new(name: &str, options: Options) -> Self {
        let plain: String = name.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
        let number = NAMED.fetch_add(1, Ordering::Relaxed);
        Self { name: format!("ringperf-{}-{number}-{plain}", std::process::id()), options, made: false }
    }

    fn start(&mut self, image: &image::Image, address: IpAddr) -> Result<(), Failure> {
        let owner = Owner::this();
        journal::add(Entry { container: self.name.clone(), owner: owner.clone() })?;
        self.made = true;
        let label = format!("{OWNER_LABEL}={}", owner.label());
        let control = format!("{address}::{CONTROL_PORT}/tcp");
        let data = self.options.data_port;
        let [tcp, udp] = ["tcp", "udp"].map(|protocol| format!("{address}:{data}:{data}/{protocol}"));
        let cores = cores::words(&self.options.cores);
        let port = CONTROL_PORT.to_string();
        let mut words = vec!["run", "--detach", "--pull", "never", "--name", &self.name, "--label", &label];
        words.extend(["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--read-only"]);
        words.extend(["--publish", &control, "--publish", &tcp, "--publish", &udp]);
        words.extend([image.name.as_str(), "netserver", "-D", "-4", "-p", &port]);
        if !cores.is_empty() {
            words.extend(["--cores", &cores]);
        }
        docker::must(&words, docker::PATIENCE, TRIED).map(drop)
    }

    /// The port of this host that leads to the netserver's control port.
    fn control_port(&self) -> Result<u16, Failure> {
        let inside = format!("{CONTROL_PORT}/tcp");
        let text = docker::must(&["port", &self.name, &inside], docker::PATIENCE, TRIED)?;
        published(&text).ok_or_else(|| {
            Failure::new(Class::Environment, TRIED, "docker does not tell which port it published")
                .next(format!("docker port {}", self.name))
        })
    }

    /// Waits for the first answer to a greeting: docker's own proxy accepts connections before anything
    /// listens in the container.
    fn wait(&self, address: IpAddr, port: u16) -> Result<(), Failure> {
        let until = Instant::now() + READY;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let patience = left.min(Duration::from_secs(5));
            let Err(failure) = trial::greet(&address.to_string(), port, patience) else { return Ok(()) };
            self.still_runs()?;
            if left.is_zero() {
                return Err(Failure::new(
                    Class::Environment,
                    TRIED,
                    format!("its netserver did not answer within {} s: {failure}", READY.as_secs()),
                )
                .setting("packet filters between this host and its containers")
                .next(format!("ringperf run -H {address} --port {port} --time 1")));
            }
            std::thread::sleep(RETRY.min(left));
        }
    }

    /// One that has ended says why in its log.
    fn still_runs(&self) -> Result<(), Failure> {
        let states: Vec<Json> = docker::json(&["inspect", &self.name], TRIED)?;
        let Some(state) = states.first().map(|container| &container["State"]) else { return Ok(()) };
        if state["Running"].as_bool() == Some(true) {
            return Ok(());
        }
        let log = docker::call(&["logs", "--tail", "1", &self.name], docker::PATIENCE)?;
        let last = [log.err.trim(), log.out.trim()].into_iter().find(|text| !text.is_empty());
        let code = &state["ExitCode"];
        let cause = format!("its netserver ended with {code}: {}", last.unwrap_or("it left no message"));
        Err(Failure::new(Class::Environment, TRIED, cause)
            .setting("the image, which is this program and its libraries")
            .next("docker run --rm ringperf:TAG netserver -D -4, with a TAG of: docker images ringperf"))
    }

    fn facts(&self, image: &image::Image, address: IpAddr, ready: Duration) -> Result<Json, Failure> {
        let info: Json = docker::json(&["info", "--format", "{{json .}}"], "ask Docker what it is")?;
        let usage = docker::call(
            &["stats", "--no-stream", "--format", "{{.MemUsage}}", &self.name],
            docker::PATIENCE,
        )?;
        let idle_memory = usage.out.split('/').next().map(str::trim).filter(|text| !text.is_empty());
        Ok(json!({
            "engine": info["ServerVersion"],
            "storage": info["Driver"],
            "security": info["SecurityOptions"],
            "cgroup": info["CgroupVersion"],
            "image": image.name,
            "image_id": image.id,
            "image_bytes": image.bytes,
            "static": image.libraries.is_empty(),
            "libraries": image.libraries,
            "path": format!("published on {address}, the host's address on Docker's bridge"),
            "ready_ms": u64::try_from(ready.as_millis()).unwrap_or(u64::MAX),
            "idle_memory": idle_memory,
        }))
    }
}

impl Environment for Container {
    fn up(&mut self) -> Result<Reached, Failure> {
        let address = bridge_address()?;
        let image = image::ready()?;
        let begun = Instant::now();
        let up = self.start(&image, address).and_then(|()| {
            let port = self.control_port().or_else(|failure| {
                // One that ended at once publishes nothing, and its log says more.
                self.still_runs()?;
                Err(failure)
            })?;
            self.wait(address, port)?;
            Ok((port, self.facts(&image, address, begun.elapsed())?))
        });
        match up {
            Ok((port, facts)) => Ok(Reached {
                host: address.to_string(),
                port,
                data_port: Some(self.options.data_port),
                facts,
            }),
            Err(failure) => {
                // The failure that counts is the first; what stays is in the journal.
                let _ = self.down();
                Err(failure)
            }
        }
    }

    fn down(&mut self) -> Result<(), Failure> {
        if !self.made {
            return Ok(());
        }
        remove(&self.name)?;
        journal::strike(|entry| entry.container == self.name)?;
        self.made = false;
        Ok(())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // What stays is in the journal.
        let _ = self.down();
    }
}

/// Removes a container, running or not. One that is not there is removed already.
pub(super) fn remove(name: &str) -> Result<(), Failure> {
    let tried = format!("remove the container {name}");
    let printed = docker::call(&["rm", "--force", "--volumes", name], docker::PATIENCE)?;
    if printed.well || printed.err.contains("No such container") {
        Ok(())
    } else {
        Err(docker::refusal(&tried, &printed).next("ringperf env gc"))
    }
}

/// This host's address on the bridge that containers are put on by default.
fn bridge_address() -> Result<IpAddr, Failure> {
    let tried = "find this host's address on Docker's bridge";
    let networks: Vec<Json> = docker::json(&["network", "inspect", "bridge"], tried)?;
    let address = networks.first().and_then(address_of);
    // Only an address of this host can be listened on.
    address.filter(|address| TcpListener::bind((*address, 0)).is_ok()).ok_or_else(|| {
        Failure::new(Class::Environment, tried, "its default network has none that is this host's")
            .setting("Docker's network 'bridge'")
            .next("docker network inspect bridge")
    })
}

/// The gateway that a network names, else the first address of its subnet, which Docker then takes.
fn address_of(network: &Json) -> Option<IpAddr> {
    let configured = network["IPAM"]["Config"].as_array()?;
    configured.iter().find_map(|config| {
        if let Some(gateway) = config["Gateway"].as_str() {
            return gateway.split('/').next()?.parse::<Ipv4Addr>().ok().map(IpAddr::V4);
        }
        let subnet: Ipv4Addr = config["Subnet"].as_str()?.split('/').next()?.parse().ok()?;
        Some(IpAddr::V4(Ipv4Addr::from_bits(subnet.to_bits().checked_add(1)?)))
    })
}

/// The port in a line such as `172.17.0.1:49153`.
fn published(text: &str) -> Option<u16> {
    text.lines().next()?.trim().rsplit_once(':')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bridge_is_found_with_and_without_a_gateway() {
        let network = |config: Json| json!({ "IPAM": { "Config": [config] } });
        let address = |config| address_of(&network(config)).map(|address| address.to_string());
        let named = json!({ "Subnet": "172.17.0.0/16", "Gateway": "172.17.0.254" });
        assert_eq!(address(named).as_deref(), Some("172.17.0.254"));
        assert_eq!(address(json!({ "Subnet": "172.18.0.0/16" })).as_deref(), Some("172.18.0.1"));
        assert_eq!(address(json!({ "Subnet": "fd00::/64" })), None);
        assert_eq!(address_of(&Json::Null), None);
    }

    #[test]
    fn ports_are_read_where_docker_tells_them() {
        assert_eq!(published("172.17.0.1:49153\n"), Some(49_153));
        assert_eq!(published("no public port"), None);
        assert_eq!(published(""), None);
    }

    #[test]
    fn names_are_plain_and_none_is_given_twice() {
        let options = || Options { cores: Vec::new(), data_port: 1 };
        let (one, two) = (Container::new("a b/ö$", options()), Container::new("a b/ö$", options()));
        assert_ne!(one.name, two.name);
        assert!(one.name.ends_with("-ab") && one.name.starts_with("ringperf-"), "{}", one.name);
    }
}
