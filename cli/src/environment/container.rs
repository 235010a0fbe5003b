//! The environment `container`: our netserver behind Docker's bridge and its port forward.
//!
//! It is reached at an address of this host on the bridge: a forward on 127.0.0.1 goes through docker-proxy,
//! which would then be what is measured. Ports are published by the packet filter's NAT, so that what is
//! measured is that, the bridge and the pair of veths; [`path`] looks whether it is so.

mod facts;
mod path;

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::docker::{self, Patience};
use super::image::{self, Image};
use super::journal::{Entry, Journal};
use super::owner::Owner;
use super::{Environment, Kind, Options, Reached};
use crate::cores;
use crate::error::{Class, Failure};
use crate::record::Netserver;
use crate::trial::{self, CONTROL_PORT};
use facts::{Info, Inspected};
use path::Forward;

/// Label with the container's own name: what carries it was made by us.
pub(crate) const LABEL_RUN: &str = "ringperf.run";

/// Label with the boot id of its owner.
pub(crate) const LABEL_BOOT: &str = "ringperf.boot";

/// Label with the rest of what tells its owner.
pub(crate) const LABEL_OWNER: &str = "ringperf.owner";

/// Longest wait for the netserver's greeting, from the container's start.
const READY: Duration = Duration::from_secs(20);

/// Longest wait for one greeting, and the pause before the next try.
const TRY: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(20);

/// Containers of this process so far.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// A netserver in a container.
pub(crate) struct Container {
    name: String,
    options: Options,
    /// What is written down, and so may be there.
    made: Option<(Journal, Entry)>,
}

impl Container {
    /// Not yet up.
    pub(crate) fn new(name: &str, options: Options) -> Self {
        Self { name: name.to_owned(), options, made: None }
    }

    fn bring_up(&mut self) -> Result<Reached, Failure> {
        if self.options.data_port == CONTROL_PORT {
            let cause = format!("{CONTROL_PORT} is the control port of the netserver in it");
            return Err(Failure::new(Class::Usage, "publish the data port", cause)
                .setting("--data-port")
                .next(format!("take another, such as {}", super::DATA_PORT)));
        }
        let info = Info::ask()?;
        let address = bridge_address()?;
        let (journal, entry) = (Journal::of_user()?, entry()?);
        journal.add(&entry)?;
        self.made = Some((journal, entry.clone()));
        // Written down first, so that no gc takes the image away before there is a container to hold it.
        let image = image::ensure()?;

        let begun = Instant::now();
        self.start(&entry, &image, address)?;
        let (port, netserver) = self.ready(&entry.name, &image, address, begun + READY)?;
        let ready = begun.elapsed();
        let facts = self.facts(&entry.name, &info, &image, (address, port), ready, netserver)?;
        let data_port = Some(self.options.data_port);
        Ok(Reached { host: address.to_string(), port, data_port, facts })
    }

    /// Starts it. The data port is the same number on both sides, because netserver names it to its client.
    fn start(&self, entry: &Entry, image: &Image, address: Ipv4Addr) -> Result<(), Failure> {
        let data = self.options.data_port;
        let labels = [
            format!("{LABEL_RUN}={}", entry.name),
            format!("{LABEL_BOOT}={}", entry.owner.boot),
            format!("{LABEL_OWNER}={}", entry.owner.label()),
        ];
        let ports = [
            format!("{address}::{CONTROL_PORT}/tcp"),
            format!("{address}:{data}:{data}/tcp"),
            format!("{address}:{data}:{data}/udp"),
        ];
        let (list, control) = (cores::words(&self.options.cores), CONTROL_PORT.to_string());
        // An image that somebody has just removed is not to be had elsewhere: there it would be another's.
        let mut words = vec!["run", "--detach", "--pull", "never", "--name", &entry.name];
        words.extend(["--network", "bridge"]);
        words.extend(["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--read-only"]);
        words.extend(["--log-driver", "json-file"]);
        labels.iter().for_each(|label| words.extend(["--label", label.as_str()]));
        ports.iter().for_each(|port| words.extend(["--publish", port.as_str()]));
        words.extend([image.name.as_str(), "netserver", "-D", "-4", "-p", &control]);
        if !self.options.cores.is_empty() {
            words.extend(["--cores", &list]);
        }
        docker::call("start the container", &words, Patience::Run).map(drop).map_err(|failure| {
            if docker::port_is_taken(&failure) {
                return failure.setting(format!("the data port, {data} at {address}")).next(format!(
                    "see who has it: ss -tulpn 'sport = :{data}'; or take another: --data-port"
                ));
            }
            failure
        })
    }

    /// Waits until the netserver in it has greeted: docker's forward accepts before there is one.
    fn ready(
        &self,
        name: &str,
        image: &Image,
        address: Ipv4Addr,
        by: Instant,
    ) -> Result<(u16, Netserver), Failure> {
        let host = address.to_string();
        loop {
            let inspected = Inspected::ask(name)?;
            if !inspected.state.running {
                return Err(ended(name, image, inspected.state.exit_code));
            }
            let port = inspected.published(CONTROL_PORT);
            let failure = match port.map(|port| (port, trial::greets(&host, port, TRY))) {
                Some((port, Ok(netserver))) => return Ok((port, netserver)),
                Some((_, Err(failure))) => failure.to_json().text,
                None => format!("docker names no port at {host} for {CONTROL_PORT}/tcp"),
            };
            if Instant::now() > by {
                return Err(Failure::new(
                    Class::Environment,
                    "reach the netserver in the container",
                    format!("no greeting within {} s: {failure}{}", READY.as_secs(), log_line(name)),
                )
                .setting("docker's port forward: its iptables rules, and firewalls on the bridge")
                .next("see the rules: iptables -t nat -L DOCKER -n; and the log: journalctl -u docker"));
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn facts(
        &self,
        name: &str,
        info: &Info,
        image: &Image,
        (address, port): (Ipv4Addr, u16),
        ready: Duration,
        netserver: Netserver,
    ) -> Result<Json, Failure> {
        let inspected = Inspected::ask(name)?;
        let pid = inspected.state.pid;
        let forward = Forward {
            from: SocketAddrV4::new(address, port),
            port: CONTROL_PORT,
            container: inspected.address(),
            pid,
        };
        Ok(json!({
            "kind": Kind::Container,
            "container": name,
            "netserver": netserver,
            "cores": self.options.cores,
            "engine": info.engine(),
            "image": image.facts(),
            "seccomp": info.seccomp(),
            "seccomp_mode": facts::seccomp_mode(pid),
            "path": forward.way(),
            "published": {
                "address": address,
                "control_port": port,
                "data_port": self.options.data_port,
            },
            "ready_ms": super::milliseconds(ready),
            "idle_memory_bytes": facts::memory(name, pid),
        }))
    }
}

impl Environment for Container {
    fn name(&self) -> &str {
        &self.name
    }

    fn up(&mut self) -> Result<Reached, Failure> {
        self.down()?;
        self.bring_up().inspect_err(|_| {
            // What cannot be removed now stays in the journal; why it did not come up is what matters.
            let _ = self.down();
        })
    }

    fn down(&mut self) -> Result<(), Failure> {
        let Some((journal, entry)) = self.made.take() else { return Ok(()) };
        // Once only: what fails here would fail again when this is dropped, and gc sees to it.
        remove(&entry.name)?;
        journal.remove(&[&entry.name])
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Nobody is left to be told; the journal knows.
        let _ = self.down();
    }
}

/// Removes the container that we have made under this name. One of somebody else's that has the name lacks
/// the label.
///
/// # Errors
/// ENV where docker does not.
pub(crate) fn remove(name: &str) -> Result<(), Failure> {
    let label = format!("label={LABEL_RUN}={name}");
    let words = ["ps", "--all", "--quiet", "--no-trunc", "--filter", &label];
    let ids = docker::call("find the container", &words, Patience::Ask)?.out;
    for id in ids.split_whitespace() {
        remove_id(id)?;
    }
    Ok(())
}

/// Removes the container with this id, running or not.
///
/// # Errors
/// ENV where docker does not.
pub(crate) fn remove_id(id: &str) -> Result<(), Failure> {
    match docker::call("remove the container", &["rm", "--force", "--volumes", id], Patience::Run) {
        Ok(_) => Ok(()),
        // Another gc, or its owner, was faster.
        Err(failure) if failure.to_string().contains("No such container") => Ok(()),
        Err(failure) => Err(failure.setting("the Docker daemon").next("ringperf env gc, once it is well")),
    }
}

fn entry() -> Result<Entry, Failure> {
    let owner = Owner::this()?;
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let since_1970 = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    let name = format!("ringperf-{}-{count}-{:x}", owner.pid, since_1970.as_nanos());
    Ok(Entry { kind: Kind::Container, name, owner, created: since_1970.as_secs() })
}

/// What to say of a container that has ended.
fn ended(name: &str, image: &Image, exit: i64) -> Failure {
    let cause = format!("the container ended at once, with exit code {exit}{}", log_line(name));
    Failure::new(Class::Environment, "start the netserver in the container", cause)
        .setting("what its image holds, and what Docker lets it do")
        .next(format!("see what it says: docker run --rm {} netserver -D -4 -p 0", image.name))
}

/// The last line that a container has logged, to be put at the end of a sentence.
fn log_line(name: &str) -> String {
    match docker::call("read its log", &["logs", "--tail", "5", name], Patience::Ask) {
        Ok(log) => match docker::last_line(&log.err).or_else(|| docker::last_line(&log.out)) {
            Some(line) => format!("; its log ends: {line}"),
            None => "; its log is empty".to_owned(),
        },
        Err(_) => String::new(),
    }
}

/// This host's address on Docker's bridge.
fn bridge_address() -> Result<Ipv4Addr, Failure> {
    let tried = "find this host's address on Docker's bridge";
    let networks: Vec<Network> = docker::json(tried, &["network", "inspect", "bridge"])?;
    let failed = |cause: String| {
        Failure::new(Class::Environment, tried, cause)
            .setting(
                "the network bridge of Docker (bip in /etc/docker/daemon.json), and whether docker0 is up",
            )
            .next("docker network inspect bridge; ip address show docker0")
    };
    let address = networks
        .iter()
        .find_map(Network::address)
        .ok_or_else(|| failed("it has neither a gateway nor a subnet of IPv4".to_owned()))?;
    // An address of a daemon elsewhere is none of ours.
    UdpSocket::bind((address, 0)).map_err(|error| {
        Failure::io(Class::Environment, format!("use {address}, the gateway of Docker's bridge"), &error)
            .setting("whether the Docker daemon runs on this host (DOCKER_HOST), and docker0 is up")
            .next("ip address show docker0")
    })?;
    Ok(address)
}

/// A network, as docker tells it.
#[derive(Debug, Deserialize)]
struct Network {
    #[serde(rename = "IPAM")]
    ipam: Ipam,
}

#[derive(Debug, Deserialize)]
struct Ipam {
    #[serde(rename = "Config")]
    config: Option<Vec<Subnet>>,
}

#[derive(Debug, Deserialize)]
struct Subnet {
    #[serde(rename = "Gateway")]
    gateway: Option<String>,
    #[serde(rename = "Subnet")]
    subnet: Option<String>,
}

impl Network {
    /// Its gateway; where Docker does not tell it, the first address of its subnet, which is what Docker
    /// takes.
    fn address(&self) -> Option<Ipv4Addr> {
        let subnets = || self.ipam.config.iter().flatten();
        let gateway = subnets().find_map(|subnet| subnet.gateway.as_deref()?.parse().ok());
        gateway.or_else(|| subnets().find_map(|subnet| first_of(subnet.subnet.as_deref()?)))
    }
}

/// The first address that a host may have in a subnet such as 172.17.0.0/16.
fn first_of(subnet: &str) -> Option<Ipv4Addr> {
    let (network, bits) = subnet.split_once('/')?;
    let (network, bits): (Ipv4Addr, u32) = (network.parse().ok()?, bits.parse().ok()?);
    let mask = u32::MAX.checked_shl(32 - bits.min(32)).unwrap_or(0);
    (1..=30).contains(&bits).then(|| Ipv4Addr::from((u32::from(network) & mask) + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(config: &str) -> Option<Ipv4Addr> {
        let text =
            format!("[{{\"Name\":\"bridge\",\"IPAM\":{{\"Driver\":\"default\",\"Config\":{config}}}}}]");
        let networks: Vec<Network> = serde_json::from_str(&text).expect("the form is docker's");
        networks.iter().find_map(Network::address)
    }

    #[test]
    fn the_gateway_is_told_or_the_first_address() {
        let expect = |text: &str| text.parse().ok();
        assert_eq!(address(r#"[{"Subnet":"172.17.0.0/16","Gateway":"172.17.0.9"}]"#), expect("172.17.0.9"));
        assert_eq!(address(r#"[{"Subnet":"172.17.0.0/16"}]"#), expect("172.17.0.1"));
        assert_eq!(address(r#"[{"Subnet":"10.1.2.128/25","Gateway":""}]"#), expect("10.1.2.129"));
        let both =
            r#"[{"Subnet":"fd00::/64","Gateway":"fd00::1"},{"Subnet":"10.0.0.0/8","Gateway":"10.0.0.1"}]"#;
        assert_eq!(address(both), expect("10.0.0.1"));
        assert_eq!(address("null"), None);
        assert_eq!(address(r#"[{"Subnet":"fd00::/64"}]"#), None);
    }

    #[test]
    fn names_are_of_this_process_and_unique() {
        let (one, other) = (entry().expect("there is a /proc"), entry().expect("there is a /proc"));
        assert_ne!(one.name, other.name);
        assert_eq!(one.owner, Owner::this().expect("there is a /proc"));
    }
}
