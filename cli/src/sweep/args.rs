//! The options of `ringperf sweep`, and the presets that stand for many of them.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use super::grid::Axis;
use crate::error::{Class, Failure};
use crate::store;
use crate::trial::{self, BufferOf, Test};

/// Data port of the study's scripts.
const STUDY_DATA_PORT: u16 = 12866;

/// Their rest between two points.
const STUDY_REST: Duration = Duration::from_secs(60);

/// Measures at every point of a grid, into a store.
///
/// Each point is kept as soon as it is measured. What a signal or anything else keeps from being measured,
/// --resume measures later, and nothing twice.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Of each measurement.
    #[command(flatten)]
    pub(crate) trial: trial::Args,

    /// An option to vary and its values: socket-buffer=100..131072:1000 goes up to the end, which is not part
    /// of it, in steps; message=64..64K:*4 multiplies; engine=uring,epoll is a list. Several make every
    /// combination, the last one varying fastest. What varies: engine, flows, message, rate, send,
    /// socket-buffer.
    #[arg(long, value_name = "NAME=VALUES", value_parser = Axis::parse)]
    pub(crate) vary: Vec<Axis>,

    /// The test, grid, sizes, data port and rest of a published study: its options for those not given.
    #[arg(long, value_enum, conflicts_with = "vary")]
    pub(crate) preset: Option<Preset>,

    /// How often to measure each point; a repetition is a whole pass over the grid.
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) repeat: u32,

    /// Time to rest between two points: 60s, 0.5s, 2m [default: none; of the presets 60s].
    #[arg(long, value_name = "TIME", value_parser = parse_rest)]
    pub(crate) rest: Option<Duration>,

    /// What compare and report call the run by [default: the name of the preset or of the test].
    #[arg(long, value_name = "NAME", value_parser = parse_tag)]
    pub(crate) tag: Option<String>,

    /// The store, made if it is not there [default: ringperf/results.db in the user's data directory].
    #[arg(long, value_name = "FILE")]
    pub(crate) store: Option<PathBuf>,

    /// Measure what the latest unfinished run of the store lacks, with the options it began with; --tag
    /// chooses among several.
    #[arg(long, conflicts_with_all = ["vary", "preset", "repeat", "rest", "test", "host"])]
    pub(crate) resume: bool,

    /// One JSON object on standard output, on success and on failure.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Sweeps with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Preset {
    /// TCP_STREAM over the sender's socket buffer: 100 to 131072 bytes in steps of 1000, messages of 131072.
    StudyTcp,
    /// The same from 300 to 20000 bytes: points between those of study-tcp.
    #[value(name = "study-tcp-300")]
    StudyTcp300,
    /// UDP_STREAM over the datagram: 50 to 3100 bytes in steps of 100.
    StudyUdp,
}

impl Preset {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::StudyTcp => "study-tcp",
            Self::StudyTcp300 => "study-tcp-300",
            Self::StudyUdp => "study-udp",
        }
    }

    /// Its axis, as --vary takes it.
    pub(crate) fn axis(self) -> &'static str {
        match self {
            Self::StudyTcp => "socket-buffer=100..131072:1000",
            Self::StudyTcp300 => "socket-buffer=300..20000:1000",
            // The study set the size of datagrams by netperf's -r; its -m 3100 was only printed.
            Self::StudyUdp => "message=50..3100:100",
        }
    }

    /// Fills in what was not given. The client's own port is left open, so that both ends may be on one
    /// address.
    fn fill(self, trial: &mut trial::Args) {
        match self {
            Self::StudyTcp | Self::StudyTcp300 => {
                trial.test = Test::TcpStream;
                trial.message = trial.message.or(Some(131_072));
                // netperf's -s is the client's own.
                trial.socket_buffer_of = BufferOf::Sender;
            }
            Self::StudyUdp => trial.test = Test::UdpStream,
        }
        if trial.data_port.is_none() {
            trial.remote_data_port = trial.remote_data_port.or(Some(STUDY_DATA_PORT));
        }
        trial.ipv4 = !trial.ipv6 && trial.local.is_none_or(|local| matches!(local, IpAddr::V4(_)));
    }
}

/// What a sweep measures, once presets have been filled in.
#[derive(Clone, Debug)]
pub(crate) struct Sweep {
    /// What compare and report call it by.
    pub(crate) tag: String,
    /// Of each measurement, but for what varies.
    pub(crate) trial: trial::Args,
    /// What varies.
    pub(crate) axes: Vec<Axis>,
    /// How often to measure each point.
    pub(crate) repeat: u32,
    /// Time between two points.
    pub(crate) rest: Duration,
}

impl Args {
    /// Reads the options that stand after `ringperf sweep`.
    ///
    /// # Errors
    /// What is wrong with them, in a line.
    pub(crate) fn read(words: &[String]) -> Result<Self, String> {
        #[derive(Parser)]
        struct Words {
            #[command(flatten)]
            args: Args,
        }
        let words = std::iter::once("sweep").chain(words.iter().map(String::as_str));
        Words::try_parse_from(words).map(|words| words.args).map_err(|error| {
            let text = error.render().to_string();
            text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
        })
    }

    /// What is to be measured.
    ///
    /// # Errors
    /// USAGE where nothing varies.
    pub(crate) fn sweep(&self) -> Result<Sweep, Failure> {
        let mut trial = self.trial.clone();
        let mut axes = self.vary.clone();
        if let Some(preset) = self.preset {
            preset.fill(&mut trial);
            axes = vec![Axis::parse(preset.axis()).map_err(|cause| usage("read the preset", cause))?];
        }
        if axes.is_empty() && self.repeat == 1 {
            return Err(usage("plan the sweep", "nothing varies".to_owned())
                .next("ringperf sweep --vary socket-buffer=4K..1M:*2"));
        }
        let named = self.preset.map_or(trial::test_name(trial.test), Preset::name);
        Ok(Sweep {
            tag: self.tag.clone().unwrap_or_else(|| named.to_owned()),
            trial,
            axes,
            repeat: self.repeat,
            rest: self.rest.unwrap_or(if self.preset.is_some() { STUDY_REST } else { Duration::ZERO }),
        })
    }

    /// Where the results go.
    ///
    /// # Errors
    /// ENV where none is named and there is no home directory.
    pub(crate) fn store(&self) -> Result<PathBuf, Failure> {
        self.store.clone().map_or_else(store::default_path, Ok)
    }
}

/// A complaint about the options.
pub(super) fn usage(tried: &str, cause: String) -> Failure {
    Failure::new(Class::Usage, tried, cause).setting("--vary").next("ringperf sweep --help")
}

/// Reads a length of rest: a number with or without a fraction, then nothing, `ms`, `s`, `m` or `h`.
pub(crate) fn parse_rest(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let factor = match unit {
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("write a time with ms, s, m or h: 60s, 0.5s, 2m".to_owned()),
    };
    let seconds =
        digits.parse::<f64>().ok().map(|number| number * factor).filter(|seconds| *seconds <= 86_400.0);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "it may be none to a day".to_owned())
}

/// Reads a tag. `#` begins the number of a run, where tags are asked for.
pub(crate) fn parse_tag(text: &str) -> Result<String, String> {
    let plain = !text.is_empty() && !text.starts_with('#') && !text.chars().any(char::is_control);
    plain.then(|| text.to_owned()).ok_or_else(|| "a name is not empty and does not begin with #".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::grid::points;

    fn sweep(text: &str) -> Result<Sweep, Failure> {
        let words: Vec<String> = text.split_whitespace().skip(1).map(str::to_owned).collect();
        Args::read(&words).expect("is well formed").sweep()
    }

    #[test]
    fn presets_are_the_study() {
        let tcp = sweep("sweep --preset study-tcp").expect("is whole");
        assert_eq!((tcp.tag.as_str(), tcp.rest), ("study-tcp", Duration::from_secs(60)));
        assert_eq!((tcp.trial.seconds(), tcp.trial.message), (10, Some(131_072)));
        assert_eq!((tcp.trial.netserver_data_port(), tcp.trial.ipv4), (Some(12_866), true));
        let all = points(&tcp.axes, tcp.repeat).expect("few");
        let first = all[0].args(&tcp.trial).expect("is valid");
        assert_eq!((all.len(), first.send_buffer(), first.receive_buffer()), (131, Some(100), None));
        let more = sweep("sweep --preset study-tcp-300").expect("is whole");
        assert_eq!(points(&more.axes, 1).expect("few").len(), 20);
        let udp = sweep("sweep --preset study-udp --rest 0 --time 1").expect("is whole");
        let all = points(&udp.axes, 1).expect("few");
        assert_eq!((all.len(), udp.trial.test, udp.rest), (31, Test::UdpStream, Duration::ZERO));
        assert_eq!(all[30].args(&udp.trial).expect("is valid").message, Some(3050));
    }

    #[test]
    fn something_has_to_vary() {
        assert!(sweep("sweep tcp-stream").is_err());
        assert!(sweep("sweep tcp-stream --repeat 3").is_ok());
        assert_eq!(sweep("sweep udp-stream --vary message=1,2").expect("is whole").tag, "udp_stream");
    }

    #[test]
    fn rests_may_be_none() {
        for (text, milliseconds) in [("0", 0), ("60s", 60_000), ("0.5", 500), ("250ms", 250), ("2m", 120_000)]
        {
            assert_eq!(parse_rest(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for bad in ["", "s", "-1", "1d", "25h", "1.2.3"] {
            assert!(parse_rest(bad).is_err(), "{bad}");
        }
        assert!(parse_tag("#1").is_err() && parse_tag("").is_err() && parse_tag("a\n").is_err());
    }
}
