//! Questions and answers: the protocol's client machine over a control connection.
//!
//! Does what the machine wants done until it has an answer. It knows neither the order of questions nor what
//! to say when an answer does not come.

use std::time::{Duration, Instant};

use ringperf_proto::{Client, ClientConfig, ClientInput, ClientOutput, Fault};

use super::control::{Control, NoFrame};

/// A control connection and the state of what was said on it.
pub(crate) struct Exchange {
    control: Control,
    /// Absent once a fault has ended it.
    machine: Option<Client>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// What came is none, or is a refusal.
    Fault(Fault),
    /// Nothing came.
    NoFrame(NoFrame),
}

impl Exchange {
    /// Begins a conversation. The passphrase, if there is one, goes ahead of the first question, in clear.
    pub(crate) fn new(control: Control, passphrase: Option<Vec<u8>>) -> Self {
        Self { control, machine: Some(Client::new(ClientConfig { passphrase })) }
    }

    /// The same with a passphrase that is proven, and shown to nobody.
    pub(crate) fn proving(control: Control, passphrase: Vec<u8>) -> Self {
        let passphrase = Some(passphrase);
        Self { control, machine: Some(Client::new(ClientConfig { passphrase }).proving()) }
    }

    /// Gives the machine one input and does what it wants done, until it has an answer for us.
    ///
    /// # Errors
    /// See [`Trouble`]; nothing can be asked afterwards.
    pub(crate) fn ask(&mut self, input: ClientInput, within: Duration) -> Result<ClientOutput, Trouble> {
        let by = Instant::now() + within;
        let mut input = input;
        loop {
            input = match self.step(input).map_err(Trouble::Fault)? {
                ClientOutput::Send(frame) => {
                    self.control.send(&frame).map_err(|error| Trouble::NoFrame(NoFrame::Failed(error)))?;
                    ClientInput::Sent
                }
                ClientOutput::Wait => ClientInput::Frame(self.control.receive(by).map_err(Trouble::NoFrame)?),
                answer => return Ok(answer),
            };
        }
    }

    fn step(&mut self, input: ClientInput) -> Result<ClientOutput, Fault> {
        let machine =
            self.machine.take().ok_or(Fault::Misuse { what: "a fault has ended the conversation" })?;
        let (machine, output) = machine.on(input)?;
        self.machine = Some(machine);
        Ok(output)
    }

    /// The connection.
    pub(crate) fn control(&self) -> &Control {
        &self.control
    }

    /// The connection, to be changed.
    pub(crate) fn control_mut(&mut self) -> &mut Control {
        &mut self.control
    }

    /// Ends the conversation in order.
    pub(crate) fn close(self) {
        self.control.close();
    }
}
