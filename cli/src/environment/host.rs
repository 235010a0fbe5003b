//! This machine as an environment: our netserver in a process of its own, on loopback.

use serde_json::json;

use super::{Environment, Options, Reached};
use crate::error::Failure;
use crate::trial::{Deadlines, Embedded, Serving};

/// A netserver on loopback.
pub(super) struct Host {
    options: Options,
    running: Option<Embedded>,
}

impl Host {
    /// One that does not run yet.
    pub(super) fn new(options: Options) -> Self {
        Self { options, running: None }
    }
}

impl Environment for Host {
    fn up(&mut self) -> Result<Reached, Failure> {
        let serving = Serving { cores: self.options.cores.clone(), ..Serving::default() };
        let running = Embedded::start(&serving, Deadlines::new(None).connect)?;
        let address = running.address();
        self.running = Some(running);
        Ok(Reached {
            host: address.ip().to_string(),
            port: address.port(),
            data_port: None,
            facts: json!({ "path": "loopback" }),
        })
    }

    fn down(&mut self) -> Result<(), Failure> {
        // The process ends with its handle.
        self.running = None;
        Ok(())
    }
}
