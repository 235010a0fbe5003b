//! Single steps of the inside, for the micro-benchmarks: no socket is under them and no run around them.
//!
//! Not part of the interface; whoever measures a network wants [`crate::prepare`].

use crate::backend::{Done, Received};
use crate::error::Error;
use crate::flow::{Flow, Next, StreamSend};
use crate::ring::NopRing;
use crate::token::Token;

/// The sender of a stream, fed with completions as fast as it takes them.
#[derive(Debug)]
pub struct StreamSteps {
    flow: StreamSend,
    message_bytes: u32,
    batch: u32,
}

impl StreamSteps {
    /// A sender of messages of this size, so many sent together.
    pub fn new(message_bytes: u32, batch: u32) -> Self {
        let mut flow = StreamSend::new(message_bytes, batch.max(1), batch.max(1), None);
        flow.start();
        Self { flow, message_bytes, batch: batch.max(1) }
    }

    /// Completes a batch, so that the next one begins; how many steps that took.
    pub fn batch(&mut self) -> u32 {
        for index in 0..self.batch {
            let done = Done {
                token: Token::send(index),
                result: Ok(self.message_bytes),
                more: false,
                received: Received::Nothing,
            };
            let next = self.flow.step(&done);
            debug_assert!(index + 1 < self.batch || matches!(next, Next::Send(_)), "{next:?}");
        }
        self.batch
    }
}

/// A ring that does nothing, to see what a turn of it costs by itself.
pub struct Nops(NopRing);

impl Nops {
    /// A ring with the setup flags that runs use.
    ///
    /// # Errors
    /// [`Error::UringRefused`] where there is none to be had.
    pub fn open() -> Result<Self, Error> {
        NopRing::open().map(Self)
    }

    /// Queues so many operations that do nothing (128 at most), submits them with one call and reaps them;
    /// how many came back.
    pub fn turn(&mut self, operations: u32) -> u32 {
        self.0.turn(operations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_follow_each_other() {
        let mut steps = StreamSteps::new(1000, 8);
        for _ in 0..3 {
            assert_eq!(steps.batch(), 8);
        }
        assert_eq!((steps.flow.tally().messages_sent, steps.flow.tally().operations.stale), (24, 0));
    }
}
