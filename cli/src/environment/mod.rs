//! Environments: where the far end of a measurement runs, brought up and taken down for it.
//!
//! [`host`] is a process beside us, [`container`] one that Docker has put away; [`journal`] remembers what
//! was made, [`owner`] who made it, and [`command`] is `ringperf env`. Nothing is measured here.

mod command;
mod container;
pub(crate) mod docker;
mod host;
mod image;
mod journal;
mod owner;

use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::error::Failure;
pub(crate) use command::{Args, main};

/// Data port that a container publishes, unless told otherwise: the one after netserver's control port.
pub(crate) const DATA_PORT: u16 = 12866;

/// A place with a netserver. Dropping it takes it down too, and tells nobody what was left.
pub(crate) trait Environment {
    /// What it is called, in runs and reports.
    fn name(&self) -> &str;

    /// Brings it up, and returns when the netserver there has answered on its control connection. Where that
    /// fails nothing stays.
    ///
    /// # Errors
    /// ENV where this machine cannot have it.
    fn up(&mut self) -> Result<Reached, Failure>;

    /// Takes it down. What could not be removed stays in the journal, for `ringperf env gc`.
    ///
    /// # Errors
    /// ENV where something is left.
    fn down(&mut self) -> Result<(), Failure>;
}

/// Where the netserver of an environment is reached, and what the environment turned out to be.
#[derive(Clone, Debug)]
pub(crate) struct Reached {
    /// Its address.
    pub(crate) host: String,
    /// Control port.
    pub(crate) port: u16,
    /// Data port, where only that one leads there.
    pub(crate) data_port: Option<u16>,
    /// What a reader of results has to know about it.
    pub(crate) facts: Json,
}

/// Environments there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// A container of Docker, behind its bridge and its port forward.
    Container,
    /// A process beside this one, over loopback.
    Host,
}

impl Kind {
    /// The word that options take.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Host => "host",
        }
    }
}

/// What an environment is brought up with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Where the netserver's workers run; empty leaves it to the netserver.
    pub(crate) cores: Vec<usize>,
    /// Data port to publish, where ports have to be.
    pub(crate) data_port: u16,
}

impl Default for Options {
    fn default() -> Self {
        Self { cores: Vec::new(), data_port: DATA_PORT }
    }
}

/// An environment of this kind, not yet up.
pub(crate) fn make(kind: Kind, name: &str, options: Options) -> Box<dyn Environment> {
    match kind {
        Kind::Container => Box::new(container::Container::new(name, options)),
        Kind::Host => Box::new(host::Host::new(name, options)),
    }
}

/// Whole milliseconds of a time.
fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
