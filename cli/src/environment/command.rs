//! `ringperf env`: an environment for as long as somebody wants it, what is there, and what was left behind.
//!
//! Only what carries our labels and whose owner has ended is ever removed.

use std::fmt::Write as _;
use std::io::Read;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Parser, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::container::{self, LABEL_BOOT, LABEL_OWNER, LABEL_RUN};
use super::docker::{self, Patience};
use super::image::{self, Left};
use super::journal::{Entry, Journal};
use super::owner::{Life, Owner};
use super::{DATA_PORT, Kind, Options, Reached};
use crate::client::interrupt::{Interrupt, Later};
use crate::error::{Class, Failure, FailureJson};
use crate::record::{RECORD_VERSION, Tool};
use crate::render;
use crate::run::{self, Told};
use crate::trial::{Cores, parse_cores};

/// Time between two looks for a signal.
const LOOK: Duration = Duration::from_millis(50);

/// Options of `ringperf env`.
#[derive(Debug, Parser)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Bring one up, say how it is reached, and take it down when standard input ends or a signal comes.
    Up {
        /// Which.
        #[arg(value_enum)]
        kind: Kind,
        /// Data port that a container publishes.
        #[arg(long, value_name = "PORT", default_value_t = DATA_PORT,
            value_parser = clap::value_parser!(u16).range(1..))]
        data_port: u16,
        /// Where the netserver's workers run: 0 or 0,2-3.
        #[arg(long, value_name = "LIST", value_parser = parse_cores)]
        cores: Option<Cores>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove what commands that have ended left behind.
    Gc {
        /// Also our images that no container is made of. They are built anew when they are wanted.
        #[arg(long)]
        images: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// List what is there, and whose it is.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Does what is asked, and says how it went.
pub(crate) fn main(args: &Args) -> ExitCode {
    match &args.action {
        Action::Up { kind, data_port, cores, json } => run::conclude(*json, |command| {
            let cores = cores.as_ref().map(|cores| cores.0.clone()).unwrap_or_default();
            up(*kind, Options { cores, data_port: *data_port }, *json, command)
        }),
        Action::Gc { images, json } => run::conclude(*json, |command| gc(*images, *json, command)),
        Action::List { json } => run::conclude(*json, |command| list(*json, command)),
    }
}

/// What is printed once it is up.
#[derive(Serialize)]
struct Up<'a> {
    record: u32,
    tool: Tool,
    command: &'a [String],
    host: &'a str,
    port: u16,
    data_port: Option<u16>,
    /// The command that measures it.
    measure: String,
    facts: &'a Json,
}

fn up(kind: Kind, options: Options, json: bool, command: &[String]) -> Result<Told, Failure> {
    // From here on a signal ends the wait below, not the process with a container left behind.
    let interrupt = Interrupt::install(&[SIGINT, SIGTERM], Later::Ends)?;
    let mut environment = super::make(kind, kind.word(), options);
    let reached = environment.up()?;
    let measure = measure(&reached);
    let Reached { host, port, data_port, facts } = &reached;
    let page = if json {
        let (record, tool) = (RECORD_VERSION, Tool::this());
        render::json::line(&Up {
            record,
            tool,
            command,
            host,
            port: *port,
            data_port: *data_port,
            measure,
            facts,
        })
    } else {
        let mut page = format!("{} is up at {host}, control port {port}", environment.name());
        if let Some(port) = data_port {
            let _ = write!(page, ", data port {port}");
        }
        let facts = serde_json::to_string_pretty(facts).expect("its keys are strings");
        let _ = write!(page, "\n{facts}\nmeasure it: {measure}\nend of input or Ctrl-C takes it down\n");
        page
    };
    render::print(&page).map_err(|error| {
        Failure::io(Class::Environment, "write the result", &error).setting("where standard output leads")
    })?;
    let ended = input_ends()?;
    while interrupt.signal().is_none() && !ended.load(Ordering::Acquire) {
        std::thread::sleep(LOOK);
    }
    environment.down()?;
    // A signal is how this command is meant to be ended.
    Ok(Told { page: String::new(), failure: None, signal: None })
}

fn measure(reached: &Reached) -> String {
    let data = reached.data_port.map_or_else(String::new, |port| format!(" --remote-data-port {port}"));
    format!("ringperf run -H {} --port {}{data}", reached.host, reached.port)
}

/// Tells when standard input has ended.
fn input_ends() -> Result<Arc<AtomicBool>, Failure> {
    let ended = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&ended);
    let wait = move || {
        let mut bytes = [0; 512];
        // An input that cannot be read ends as one that is closed.
        while std::io::stdin().lock().read(&mut bytes).is_ok_and(|read| read > 0) {}
        tell.store(true, Ordering::Release);
    };
    std::thread::Builder::new()
        .name("input".to_owned())
        .spawn(wait)
        .map_err(|error| Failure::io(Class::Environment, "start a thread", &error))?;
    Ok(ended)
}

/// One environment that is there, or may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Item {
    kind: Kind,
    name: String,
    /// Docker's id of the container, where it has one.
    id: Option<String>,
    /// What docker says of it: running, exited.
    state: Option<String>,
    /// In the journal.
    journaled: bool,
    owner: Option<Owner>,
    /// Of the owner. Labels that name none are somebody's whom we cannot see.
    life: Life,
}

/// A container that carries our label.
#[derive(Debug, Deserialize)]
struct Listed {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "State")]
    state: Option<String>,
    #[serde(rename = "Name")]
    run: String,
    #[serde(rename = "Owner")]
    owner: String,
    #[serde(rename = "Boot")]
    boot: String,
}

/// What docker has of ours.
fn containers() -> Result<Vec<Listed>, Failure> {
    let label = |name: &str| format!("{{{{json (.Label \"{name}\")}}}}");
    let format = format!(
        "{{\"ID\":{{{{json .ID}}}},\"State\":{{{{json .State}}}},\"Name\":{},\"Owner\":{},\"Boot\":{}}}",
        label(LABEL_RUN),
        label(LABEL_OWNER),
        label(LABEL_BOOT),
    );
    let filter = format!("label={LABEL_RUN}");
    let words = ["ps", "--all", "--no-trunc", "--filter", &filter, "--format", &format];
    let tried = "list containers";
    let answer = docker::call(tried, &words, Patience::Ask)?;
    answer
        .out
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| docker::parse(tried, &words, line))
        .collect()
}

/// What docker has and what the journal has, together.
fn items(entries: &[Entry], containers: &[Listed], me: &Owner) -> Vec<Item> {
    let listed = containers.iter().map(|container| {
        let owner = Owner::from_labels(&container.owner, &container.boot);
        Item {
            kind: Kind::Container,
            name: container.run.clone(),
            id: Some(container.id.clone()),
            state: container.state.clone(),
            journaled: entries.iter().any(|entry| entry.name == container.run),
            life: owner.as_ref().map_or(Life::Elsewhere, |owner| owner.life(me)),
            owner,
        }
    });
    let missing = entries.iter().filter(|entry| !containers.iter().any(|there| there.run == entry.name));
    let missing = missing.map(|entry| Item {
        kind: entry.kind,
        name: entry.name.clone(),
        id: None,
        state: None,
        journaled: true,
        owner: Some(entry.owner.clone()),
        life: entry.owner.life(me),
    });
    listed.chain(missing).collect()
}

/// What gc and list print.
#[derive(Serialize)]
struct Page<'a> {
    record: u32,
    tool: Tool,
    command: &'a [String],
    /// Of gc: what it has removed; of list: what is there.
    environments: &'a [Item],
    /// Of gc, where it was asked to: our images, those removed and those in use.
    images: Option<&'a [Left]>,
    /// Why docker was not asked; what is in the journal only is told all the same.
    docker: Option<FailureJson>,
    error: Option<FailureJson>,
}

impl Page<'_> {
    fn line(&self) -> String {
        render::json::line(self)
    }
}

fn gc(images: bool, json: bool, command: &[String]) -> Result<Told, Failure> {
    let (journal, me) = (Journal::of_user()?, Owner::this()?);
    let entries = journal.entries()?;
    let asked = containers();
    let all = items(&entries, asked.as_deref().unwrap_or_default(), &me);
    // An owner that lives and has no container yet may be about to make one of an image that is there.
    let starting = all.iter().any(|item| item.id.is_none() && item.life != Life::Dead);
    let dead: Vec<Item> = all.into_iter().filter(|item| item.life == Life::Dead).collect();
    let unreachable = asked.as_ref().err().cloned();
    // Without docker nobody knows whether what is written down is there, nor which images are.
    let mut failure = unreachable.clone().filter(|_| images || !dead.is_empty());
    let mut removed = Vec::new();
    for item in if unreachable.is_some() { Vec::new() } else { dead } {
        match item.id.as_deref().map_or(Ok(()), container::remove_id) {
            Ok(()) => removed.push(item),
            // One that cannot be removed keeps nobody from the others.
            Err(left) => failure = failure.or(Some(left)),
        }
    }
    let names: Vec<&str> =
        removed.iter().filter(|item| item.journaled).map(|item| item.name.as_str()).collect();
    journal.remove(&names)?;
    let images = match images && unreachable.is_none() {
        true => image::unused(!starting).map_err(|left| failure = failure.take().or(Some(left))).ok(),
        false => None,
    };
    let page = if json {
        Page {
            record: RECORD_VERSION,
            tool: Tool::this(),
            command,
            environments: &removed,
            images: images.as_deref(),
            docker: unreachable.map(|failure| failure.to_json()),
            error: failure.as_ref().map(Failure::to_json),
        }
        .line()
    } else {
        gc_text(&removed, images.as_deref(), unreachable.as_ref().filter(|_| failure.is_none()))
    };
    Ok(Told { page, failure, signal: None })
}

fn gc_text(removed: &[Item], images: Option<&[Left]>, unreachable: Option<&Failure>) -> String {
    let mut text = String::new();
    for item in removed {
        let what = if item.id.is_some() { "removed" } else { "struck off, no longer there" };
        let _ = writeln!(text, "{what}: {}", line(item));
    }
    if removed.is_empty() {
        text.push_str("nothing was left behind\n");
    }
    for image in images.unwrap_or_default() {
        let what = if image.removed { "removed" } else { "kept, it may be in use" };
        let _ = writeln!(text, "{what}: image {}", image.name);
    }
    if let Some(failure) = unreachable {
        let _ = writeln!(text, "by the journal alone: {}", failure.to_json().text);
    }
    text
}

fn list(json: bool, command: &[String]) -> Result<Told, Failure> {
    let entries = Journal::of_user()?.entries()?;
    let asked = containers();
    let items = items(&entries, asked.as_deref().unwrap_or_default(), &Owner::this()?);
    let unreachable = asked.err().map(|failure| failure.to_json());
    let page = if json {
        let (record, tool) = (RECORD_VERSION, Tool::this());
        Page { record, tool, command, environments: &items, images: None, docker: unreachable, error: None }
            .line()
    } else {
        let mut text: String = items.iter().map(|item| line(item) + "\n").collect();
        if items.is_empty() {
            text.push_str("there is none\n");
        }
        if let Some(failure) = unreachable {
            let _ = writeln!(text, "by the journal alone: {}", failure.text);
        }
        text
    };
    Ok(Told { page, failure: None, signal: None })
}

/// One environment, for people.
fn line(item: &Item) -> String {
    let kind = item.kind.word();
    let state = item.state.as_deref().unwrap_or("not seen by docker");
    let owner = match (&item.owner, item.life) {
        (None, _) => "owner unknown".to_owned(),
        (Some(owner), Life::Alive) => format!("owner {} lives", owner.pid),
        (Some(owner), Life::Dead) => format!("owner {} has ended", owner.pid),
        (Some(owner), Life::Elsewhere) => format!("owner {} is on {}", owner.pid, owner.machine),
    };
    format!("{kind} {} ({state}; {owner})", item.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(name: &str, owner: &str, boot: &str) -> Listed {
        Listed {
            id: format!("id-{name}"),
            state: Some("running".to_owned()),
            run: name.to_owned(),
            owner: owner.to_owned(),
            boot: boot.to_owned(),
        }
    }

    #[test]
    fn journal_and_docker_are_put_together() {
        let me = Owner::this().expect("there is a /proc");
        let gone = Owner { start: me.start + 1, ..me.clone() };
        let entry = |name: &str, owner: &Owner| Entry {
            kind: Kind::Container,
            name: name.to_owned(),
            owner: owner.clone(),
            created: 0,
        };
        let entries = [entry("mine", &me), entry("left", &gone), entry("never made", &gone)];
        let containers = [
            listed("mine", &me.label(), &me.boot),
            listed("left", &gone.label(), &gone.boot),
            listed("unwritten", &gone.label(), "an earlier boot"),
            listed("strange", "", ""),
        ];
        let items = items(&entries, &containers, &me);
        let seen: Vec<(&str, bool, bool, Life)> = items
            .iter()
            .map(|item| (item.name.as_str(), item.id.is_some(), item.journaled, item.life))
            .collect();
        assert_eq!(
            seen,
            [
                ("mine", true, true, Life::Alive),
                ("left", true, true, Life::Dead),
                ("unwritten", true, false, Life::Dead),
                ("strange", true, false, Life::Elsewhere),
                ("never made", false, true, Life::Dead),
            ]
        );
    }

    #[test]
    fn the_command_that_measures_names_the_ports() {
        let mut reached =
            Reached { host: "172.17.0.1".to_owned(), port: 4000, data_port: Some(12866), facts: Json::Null };
        assert_eq!(measure(&reached), "ringperf run -H 172.17.0.1 --port 4000 --remote-data-port 12866");
        reached.data_port = None;
        assert_eq!(measure(&reached), "ringperf run -H 172.17.0.1 --port 4000");
    }
}
