//! Environments: where the far end of a measurement runs, brought up and taken down for it.

use serde_json::Value as Json;

use crate::error::Failure;

/// A place with a netserver.
pub(crate) trait Environment {
    /// What it is called, in runs and reports.
    fn name(&self) -> &str;

    /// Brings it up, and returns when the netserver there has answered on its control connection.
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
