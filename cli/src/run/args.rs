//! The options of `ringperf run`: those of a measurement, and which of them to put together.
//!
//! Checks what can be checked without a socket.

use crate::error::{Class, Failure};
use crate::trial::values::parse_percent;
use crate::trial::{self, Test};

/// Seconds of a test where a command runs many of them.
const SECONDS_DEFAULT_MANY: u32 = 2;

/// Rounds of a comparison unless told otherwise: the fewest whose interval covers with more than 90 %.
const ROUNDS_DEFAULT: u32 = 5;

/// Percent of datagrams that a search lets get lost unless told otherwise. None at all would make the answer
/// that of the unluckiest moment.
const LOSS_DEFAULT: f64 = 0.1;

/// Runs one measurement, or with --ablate or --find-rate many of them, and prints the result.
///
/// Without -H it starts a netserver of its own on loopback, on another core, and measures against that.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Of each measurement.
    #[command(flatten)]
    pub(crate) trial: trial::Args,

    /// Measure the same in many ways, in turns, and print one table of what each buys: engines, parts of
    /// io_uring left out, ways to send. Without -H both ends change, with it only ours.
    #[arg(long, conflicts_with_all = ["engine", "without", "send", "gso", "gro"])]
    pub(crate) ablate: bool,

    /// Rounds of --ablate; each runs every variant once.
    #[arg(long, value_name = "N", requires = "ablate", default_value_t = ROUNDS_DEFAULT,
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,

    /// Search for the highest rate of udp-stream at which no more than --loss is lost, in short tests, and
    /// confirm it in one that is five times as long.
    #[arg(long, conflicts_with_all = ["ablate", "rate", "bytes"])]
    pub(crate) find_rate: bool,

    /// Datagrams that --find-rate lets get lost, in percent; 0 for none at all.
    #[arg(long, value_name = "PERCENT", requires = "find_rate", default_value_t = LOSS_DEFAULT,
        value_parser = parse_percent)]
    pub(crate) loss: f64,

    /// One JSON object on standard output, on success and on failure.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Args {
    /// The options of a measurement: where there will be many of them, each is short unless told otherwise.
    pub(crate) fn trial(&self) -> trial::Args {
        let many = self.ablate || self.find_rate;
        let time = self.trial.time.or(many.then_some(SECONDS_DEFAULT_MANY));
        trial::Args { time, ..self.trial.clone() }
    }

    /// Checks what options ask for together.
    ///
    /// # Errors
    /// USAGE for a search or a table that the test has no use for.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.ablate && self.trial.test.has_transactions() {
            return Err(Failure::new(
                Class::Usage,
                "plan the test",
                "the table is of what moves bytes, and transactions move hardly any",
            )
            .setting("--ablate")
            .next("ringperf sweep tcp-rr --vary engine=uring,epoll,classic"));
        }
        if self.find_rate && self.trial.test != Test::UdpStream {
            return Err(Failure::new(
                Class::Usage,
                "plan the test",
                "TCP loses nothing and finds its rate by itself; the search is one of datagrams",
            )
            .setting("--find-rate")
            .next("ringperf run udp-stream --find-rate"));
        }
        Ok(())
    }
}
