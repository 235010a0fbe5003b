//! The environment `host`: our netserver as a process of its own, on loopback.
//!
//! It ends with the process that started it, however that ends, so there is nothing to write down and
//! nothing to be left behind.

use std::time::{Duration, Instant};

use ringperf_engine::plan::Without;
use serde_json::json;

use super::{Environment, Options, Reached};
use crate::error::{Class, Failure};
use crate::trial::{self, Embedded, EngineArg, Family, Start};

/// Longest wait for its start line, and for its greeting.
const PATIENCE: Duration = Duration::from_secs(10);

/// A netserver beside us.
pub(crate) struct Host {
    name: String,
    options: Options,
    netserver: Option<Embedded>,
}

impl Host {
    /// Not yet up. The data port of the options is not used: every port leads to it.
    pub(crate) fn new(name: &str, options: Options) -> Self {
        Self { name: name.to_owned(), options, netserver: None }
    }
}

impl Environment for Host {
    fn name(&self) -> &str {
        &self.name
    }

    fn up(&mut self) -> Result<Reached, Failure> {
        let begun = Instant::now();
        let netserver = Embedded::start(&Start {
            family: Some(Family::V4),
            engine: EngineArg::Auto,
            without: Without::default(),
            cores: &self.options.cores,
            patience: PATIENCE,
        })?;
        let address = netserver.address();
        let host = address.ip().to_string();
        let greeted = trial::greets(&host, address.port(), PATIENCE).map_err(|failure| {
            Failure::new(Class::Environment, "reach a netserver of our own", failure.to_json().text)
                .setting("the loopback interface, and packet filters on it")
                .next("ip address show lo; if it is down: ip link set lo up")
        })?;
        let ready = begun.elapsed();
        self.netserver = Some(netserver);
        Ok(Reached {
            facts: json!({
                "kind": "host",
                "netserver": greeted,
                "cores": self.options.cores,
                "published": { "address": host, "control_port": address.port() },
                "ready_ms": super::milliseconds(ready),
            }),
            host,
            port: address.port(),
            data_port: None,
        })
    }

    fn down(&mut self) -> Result<(), Failure> {
        self.netserver = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_is_down_can_be_taken_down() {
        let mut host = Host::new("here", Options::default());
        assert_eq!(host.name(), "here");
        assert_eq!(host.down(), Ok(()));
    }
}
