//! The tests that move nothing and tell a single fact: LOC_CPU, REM_CPU and UUID.

use ringperf_proto::{ClientInput, ClientOutput};

use super::options::Options;
use super::say::{self, Ending, FAILED};
use super::traffic::TestName;
use crate::client::deadline::Deadlines;
use crate::client::exchange::Exchange;
use crate::netperf_cpu::online;

/// What such a test prints, without a line's end as netperf prints it; `None` for every other test.
///
/// # Errors
/// In netperf's words where the netserver does not answer, or is not there to.
pub(crate) fn told(
    options: &Options,
    test: TestName,
    exchange: Option<&mut Exchange>,
    deadlines: Deadlines,
) -> Option<Result<String, Ending>> {
    let detailed = options.verbosity > 1;
    match test {
        TestName::LocCpu => {
            let rate = f64::from(ringperf_engine::clock_ticks());
            Some(Ok(calibration(rate, online(), "local", detailed)))
        }
        TestName::RemCpu => {
            Some(asked(exchange, deadlines).map(|(rate, cpus)| calibration(rate, cpus, "remote", detailed)))
        }
        TestName::Uuid => Some(Ok(identifier(options))),
        _ => None,
    }
}

/// The identifier of the test: the one given, or a random one from the kernel.
pub(crate) fn identifier(options: &Options) -> String {
    options.uuid.clone().unwrap_or_else(|| {
        let random = std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
        random.trim_end().to_owned()
    })
}

fn calibration(rate: f64, cpus: u32, whose: &str, detailed: bool) -> String {
    let mut text = format!("{rate}");
    if detailed {
        text.push_str(&match cpus {
            1 => format!("\nThere is 1 {whose} cpu\n"),
            cpus => format!("\nThere are {cpus} {whose} cpus\n"),
        });
    }
    text
}

fn asked(exchange: Option<&mut Exchange>, deadlines: Deadlines) -> Result<(f64, u32), Ending> {
    let Some(exchange) = exchange else {
        let complaint = "send_request: send call failure: Bad file descriptor";
        return Err(Ending::new(FAILED).complaint(complaint));
    };
    match exchange.ask(ClientInput::Calibrate, deadlines.reply) {
        Ok(ClientOutput::Calibrated { rate, cpus }) => Ok((f64::from(rate), cpus)),
        Ok(other) => Err(say::out_of_step(&other)),
        Err(trouble) => Err(say::no_answer(trouble, exchange.control())),
    }
}
