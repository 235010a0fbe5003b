//! Environments: where the far end of a measurement runs, brought up and taken down for it.
//!
//! Knows how to have a netserver somewhere and how to be rid of it; nothing of what is measured there. What
//! is made outside this process is written down in the [`journal`] first, so that whatever ends us leaves
//! nothing that `ringperf env gc` does not find.

pub(crate) mod command;
mod container;
mod docker;
mod host;
mod image;
pub(crate) mod journal;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::error::Failure;

/// A place with a netserver.
pub(crate) trait Environment {
    /// Brings it up, and returns when the netserver there has answered on its control connection.
    ///
    /// # Errors
    /// ENV where this machine cannot have it; nothing of it is then left.
    fn up(&mut self) -> Result<Reached, Failure>;

    /// Takes it down. What could not be removed stays in the journal, for `ringperf env gc`.
    ///
    /// # Errors
    /// ENV where something is left.
    fn down(&mut self) -> Result<(), Failure>;
}

/// Where the netserver of an environment is reached, and what the environment turned out to be.
#[derive(Clone, Debug, Serialize)]
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

/// What an environment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// A container of Docker Engine, reached through the ports that it publishes.
    Container,
    /// This machine, over loopback.
    Host,
}

impl Kind {
    /// Its word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Host => "host",
        }
    }
}

/// How an environment is to be.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Cores of the netserver's workers; empty leaves them to it.
    pub(crate) cores: Vec<usize>,
    /// Data port to publish.
    pub(crate) data_port: u16,
}

/// An environment that is still down. The name is for what is made of it.
pub(crate) fn make(kind: Kind, name: &str, options: Options) -> Box<dyn Environment> {
    match kind {
        Kind::Container => Box::new(container::Container::new(name, options)),
        Kind::Host => Box::new(host::Host::new(options)),
    }
}
