//! `ringperf env`: bring an environment up by hand, see what there is, remove what nobody owns any more.

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value as Json;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::container::{self, OWNER_LABEL};
use super::journal::{self, Owner};
use super::{Kind, Options, docker, make};
use crate::client::interrupt::Interrupt;
use crate::error::Failure;
use crate::render;
use crate::run::{self, Told};
use crate::sweep::STUDY_DATA_PORT;

/// Time between two looks for a signal or the end of standard input.
const LOOK: Duration = Duration::from_millis(50);

/// Brings environments up by hand, lists them, and removes what is left of them.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Remove what was left by commands that did not end in order. Touches nothing else.
    Gc {
        /// One JSON object on standard output, on success and on failure.
        #[arg(long)]
        json: bool,
    },
    /// List the containers that ringperf made, and whether their owners still run.
    List {
        /// One JSON object on standard output, on success and on failure.
        #[arg(long)]
        json: bool,
    },
    /// Bring one up, tell how it is reached, and take it down when standard input ends or a signal comes.
    Up {
        /// What to bring up.
        #[arg(value_enum)]
        kind: Kind,

        /// Data port that a container publishes.
        #[arg(long, value_name = "PORT", default_value_t = STUDY_DATA_PORT,
            value_parser = clap::value_parser!(u16).range(1..))]
        data_port: u16,

        /// How it is reached, as one JSON object on standard output.
        #[arg(long)]
        json: bool,
    },
}

/// A container of ours.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Found {
    container: String,
    running: bool,
    owner: Owner,
    owner_alive: bool,
}

/// Does what was asked for.
pub(crate) fn main(args: &Args) -> ExitCode {
    match args.command {
        Command::Gc { json } => run::conclude(json, |_| collect(json)),
        Command::List { json } => run::conclude(json, |_| list(json)),
        Command::Up { kind, data_port, json } => run::conclude(json, |_| up(kind, data_port, json)),
    }
}

fn list(json: bool) -> Result<Told, Failure> {
    let found = found()?;
    let page = if json {
        render::json::line(&found)
    } else if found.is_empty() {
        "no container of ringperf's is there\n".to_owned()
    } else {
        let line = |found: &Found| {
            let state = if found.running { "running" } else { "ended" };
            let owner = if found.owner_alive { "which runs" } else { "which is gone" };
            format!("{}: {state}, of process {}, {owner}\n", found.container, found.owner.pid)
        };
        found.iter().map(line).collect()
    };
    Ok(Told { page, failure: None, signal: None })
}

/// Removes the containers with our label whose owner is gone, and strikes the journal's lines of such owners.
fn collect(json: bool) -> Result<Told, Failure> {
    let stale = |owner: &Owner| !owner.is_alive();
    let found = match found() {
        Ok(found) => found,
        // Without Docker there can only be something to remove if the journal says so.
        Err(_) if journal::entries()?.iter().all(|entry| !stale(&entry.owner)) => Vec::new(),
        Err(failure) => return Err(failure),
    };
    let mut removed = Vec::new();
    for container in found.iter().filter(|container| stale(&container.owner)) {
        container::remove(&container.container)?;
        removed.push(container.container.clone());
    }
    journal::strike(|entry| stale(&entry.owner))?;
    let page = if json {
        render::json::line(&serde_json::json!({ "removed": removed }))
    } else if removed.is_empty() {
        "nothing to remove\n".to_owned()
    } else {
        removed.iter().map(|name| format!("removed {name}\n")).collect()
    };
    Ok(Told { page, failure: None, signal: None })
}

/// Every container that has our label.
fn found() -> Result<Vec<Found>, Failure> {
    let tried = "list the containers";
    let filter = format!("label={OWNER_LABEL}");
    let words = ["ps", "--all", "--no-trunc", "--quiet", "--filter", &filter];
    let ids = docker::must(&words, docker::PATIENCE, tried)?;
    let mut found = Vec::new();
    for id in ids.lines().map(str::trim).filter(|id| !id.is_empty()) {
        // One that has gone meanwhile is none.
        let Ok(inspected) = docker::json::<Vec<Json>>(&["inspect", id], tried) else { continue };
        found.extend(inspected.iter().filter_map(described));
    }
    Ok(found)
}

fn described(container: &Json) -> Option<Found> {
    let owner = Owner::from_label(container["Config"]["Labels"][OWNER_LABEL].as_str()?)?;
    Some(Found {
        container: container["Name"].as_str()?.trim_start_matches('/').to_owned(),
        running: container["State"]["Running"].as_bool()?,
        owner_alive: owner.is_alive(),
        owner,
    })
}

fn up(kind: Kind, data_port: u16, json: bool) -> Result<Told, Failure> {
    let interrupt = Interrupt::install(&[SIGINT, SIGTERM])?;
    let mut environment = make(kind, "by-hand", Options { cores: Vec::new(), data_port });
    let reached = environment.up()?;
    let mut words = format!("ringperf run -H {} --port {}", reached.host, reached.port);
    if let Some(port) = reached.data_port {
        words.push_str(&format!(" --remote-data-port {port}"));
    }
    let text = if json { render::json::line(&reached) } else { format!("{words}\n") };
    // Whoever reads it may be gone already; then standard input is, too.
    let _ = io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush());
    let ended = std::thread::Builder::new().name("input".to_owned()).spawn(|| {
        let _ = io::copy(&mut io::stdin().lock().take(u64::MAX), &mut io::sink());
    });
    while interrupt.signal().is_none() && !ended.as_ref().is_ok_and(std::thread::JoinHandle::is_finished) {
        std::thread::sleep(LOOK);
    }
    environment.down()?;
    Ok(Told { page: String::new(), failure: None, signal: interrupt.signal() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_our_label_is_ours() {
        let container = |labels: Json| {
            serde_json::json!({
                "Name": "/x", "State": { "Running": true }, "Config": { "Labels": labels },
            })
        };
        let this = Owner::this();
        let ours = described(&container(serde_json::json!({ OWNER_LABEL: this.label() })));
        assert_eq!(
            ours,
            Some(Found { container: "x".to_owned(), running: true, owner: this, owner_alive: true })
        );
        for labels in [Json::Null, serde_json::json!({}), serde_json::json!({ OWNER_LABEL: "someone" })] {
            assert_eq!(described(&container(labels)), None);
        }
    }
}
