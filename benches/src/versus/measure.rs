//! Runs: one of one tool, and the rounds of a row.

use std::time::{Duration, Instant};

use super::cgroup::Hierarchy;
use super::contender::{Contender, Filling};
use super::kit::{Kit, Tool};
use super::launch::{Running, Surroundings};
use super::machine::Moment;
use super::metric::{Metric, Sample, three_digits};
use super::network::{End, Link, Place, free_port, listens};
use super::readings::Reading;
use super::row::{MACHINE_MARGIN_SECONDS, Row};
use super::{Halt, interrupted, pause};

/// How long a server may take to listen.
const READY_LIMIT: Duration = Duration::from_secs(10);
/// How long a client may take beyond the length of its test.
const CLIENT_MARGIN: Duration = Duration::from_secs(30);
/// The same of one that measures many times.
const SEARCH_MARGIN: Duration = Duration::from_secs(300);
/// How long a server that goes by itself may take to do so.
const SERVER_MARGIN: Duration = Duration::from_secs(10);
/// Time between two looks at memory.
const MEMORY_LOOK: Duration = Duration::from_millis(250);
/// Runs that a contender has in the first round. One that fails them all is given up: it does not know what
/// it was asked, or is not there.
const FIRST_RUNS: usize = 2;

/// What measures.
pub(super) struct Bench {
    /// The tools.
    pub(super) kit: Kit,
    /// Who counts CPU time; without it, nobody is charged.
    pub(super) hierarchy: Option<Hierarchy>,
    /// Cores of sender and receiver.
    pub(super) cores: [usize; 2],
    /// Rounds.
    pub(super) pairs: usize,
    /// Length of a run, where it is not the row's own.
    pub(super) seconds: Option<u64>,
}

/// What came of a row.
pub(super) struct Results {
    /// Length of a run, or of the window within it.
    pub(super) seconds: u64,
    /// Of each contender, the runs by round; a failed one is absent.
    pub(super) samples: Vec<Vec<Option<Sample>>>,
    /// Of each contender, why a run failed last.
    pub(super) failures: Vec<Vec<String>>,
    /// Share of the CPUs' time that the hypervisor gave to others, in percent.
    pub(super) stolen_percent: f64,
    /// The commands that made the link.
    pub(super) link: Vec<String>,
    /// Client's and server's of each contender.
    pub(super) commands: Vec<[String; 2]>,
}

impl Bench {
    /// Measures a row.
    ///
    /// # Errors
    /// A signal; a place that cannot be made; ringperf itself failing from the start.
    pub(super) fn row(&self, row: &Row) -> Result<Results, Halt> {
        let place = match row.shape {
            Some(shape) => Place::Link(Link::new(shape)?),
            None => Place::Loopback,
        };
        let (since, count) = (Moment::now()?, row.contenders.len());
        let mut samples = vec![vec![None; self.pairs]; count];
        let mut failures: Vec<Vec<String>> = vec![Vec::new(); count];
        for round in 0..self.pairs {
            for index in order(count, round) {
                if round > 0 && samples[index][0].is_none() && failures[index].len() >= FIRST_RUNS {
                    continue;
                }
                for _ in 0..if round == 0 { FIRST_RUNS } else { 1 } {
                    match self.watched(row, &row.contenders[index], &place, round)? {
                        Ok(sample) => {
                            samples[index][round] = Some(sample);
                            break;
                        }
                        Err(reason) => failures[index].push(reason),
                    }
                }
                // without ringperf itself there is nothing to compare
                if samples[0][0].is_none() && failures[0].len() >= FIRST_RUNS {
                    return Err(Halt::Failed(failures[0].pop().unwrap_or_default()));
                }
            }
            subtract_idle(row, &mut samples, round);
        }
        let (port, data) = ("PORT".to_owned(), "DATA-PORT".to_owned());
        let filling = Filling { host: place.host(), port, data, seconds: self.run_seconds(row) };
        Ok(Results {
            seconds: self.window_seconds(row),
            samples,
            failures,
            stolen_percent: since.used()?.stolen_percent,
            link: place.commands(),
            commands: row.contenders.iter().map(|contender| contender.commands(&filling)).collect(),
        })
    }

    /// One run, told of on standard error whether it failed or not; a failure is no end of the row.
    fn watched(
        &self,
        row: &Row,
        contender: &Contender,
        place: &Place,
        round: usize,
    ) -> Result<Result<Sample, String>, Halt> {
        let outcome = self.once(row, contender, place);
        eprintln!("{}", progress(row, contender, (round, self.pairs), &outcome));
        match outcome {
            Ok(sample) => Ok(Ok(sample)),
            Err(Halt::Failed(reason)) => Ok(Err(reason)),
            Err(Halt::Interrupted) => Err(Halt::Interrupted),
        }
    }

    /// Length of what is charged.
    fn window_seconds(&self, row: &Row) -> u64 {
        self.seconds.unwrap_or(row.seconds)
    }

    /// Length of a run.
    fn run_seconds(&self, row: &Row) -> u64 {
        self.window_seconds(row) + if row.machine { 2 * MACHINE_MARGIN_SECONDS } else { 0 }
    }

    /// One run of one tool, its server included.
    fn once(&self, row: &Row, contender: &Contender, place: &Place) -> Result<Sample, Halt> {
        interrupted()?;
        if contender.tool == Tool::Idle {
            let window = Duration::from_secs(self.window_seconds(row));
            return machine_window(window).map(|machine_ns| Sample { machine_ns, ..Sample::default() });
        }
        let seconds = self.run_seconds(row);
        let (host, port) = (place.host(), free_port()?);
        let filling = Filling { host, port: port.to_string(), data: free_port()?.to_string(), seconds };
        let programs = self.kit.programs(contender.tool);
        let [client, server] = programs.ok_or_else(|| format!("no {}", contender.tool.name()))?;
        let at = self.surroundings(place, End::Receiver)?;
        let server = serve(Running::start(&server, &filling.fill(&contender.server), at)?, port)?;
        let at = self.surroundings(place, End::Sender)?;
        let started = Instant::now();
        let client = Running::start(&client, &filling.fill(&contender.client), at)?;
        let mut sample = attend(row, contender, client, server, seconds)?;
        let asked = (!contender.searches).then_some(seconds);
        check(&sample, asked, started.elapsed(), place)?;
        if contender.searches {
            (sample.cpu_ns, sample.reading.workers_ns) = (None, None);
        }
        Ok(sample)
    }

    fn surroundings(&self, place: &Place, end: End) -> Result<Surroundings, String> {
        let group = self.hierarchy.as_ref().map(|hierarchy| hierarchy.group(end.word())).transpose()?;
        let core = match end {
            End::Sender => self.cores[0],
            End::Receiver => self.cores[1],
        };
        Ok(Surroundings { core, namespace: place.namespace(end), group })
    }
}

/// Sees a client and its server through to their ends.
fn attend(
    row: &Row,
    contender: &Contender,
    mut client: Running,
    mut server: Running,
    seconds: u64,
) -> Result<Sample, Halt> {
    let mut sample = Sample { datagram_bytes: row.datagram_bytes, ..Sample::default() };
    if row.machine {
        let margin = Duration::from_secs(MACHINE_MARGIN_SECONDS);
        pause(margin)?;
        if client.status().is_none() {
            sample.machine_ns = machine_window(Duration::from_secs(seconds) - 2 * margin)?;
        }
    }
    let mut memory = Memory::default();
    let margin = if contender.searches { SEARCH_MARGIN } else { CLIENT_MARGIN };
    let status = client.wait(Duration::from_secs(seconds) + margin, |client| {
        if row.memory {
            memory.look(client, &server);
        }
    })?;
    if contender.server_ends() && status.success() {
        server.wait(SERVER_MARGIN, |_| ())?;
    }
    let (client, server) = (client.end()?, server.end()?);
    if !status.success() {
        return Err(Halt::Failed(format!("client: {status}: {}", client.last_words())));
    }
    sample.reading = contender.read(&client.out, &server.out)?;
    sample.cpu_ns = client.cpu_ns.zip(server.cpu_ns).map(|(client, server)| [client, server]);
    sample.resident_bytes = row.memory.then_some(memory.most);
    Ok(sample)
}

/// A server once it listens, found out without a connection, which every one of them would take for a client.
fn serve(mut server: Running, port: u16) -> Result<Running, Halt> {
    let start = Instant::now();
    while start.elapsed() < READY_LIMIT {
        if let Some(status) = server.status() {
            return Err(Halt::Failed(format!("server: {status}: {}", server.end()?.last_words())));
        }
        let table = |name| std::fs::read_to_string(format!("/proc/{}/net/{name}", server.pid()));
        if ["tcp", "tcp6"].into_iter().any(|name| table(name).is_ok_and(|table| listens(&table, port))) {
            return Ok(server);
        }
        pause(Duration::from_millis(5))?;
    }
    let words = server.end()?.last_words();
    Err(Halt::Failed(format!("server: not listening after {} s: {words}", READY_LIMIT.as_secs())))
}

/// The most memory seen at sender and receiver.
#[derive(Default)]
struct Memory {
    most: [u64; 2],
    looked: Option<Instant>,
}

impl Memory {
    fn look(&mut self, client: &Running, server: &Running) {
        if self.looked.is_some_and(|looked| looked.elapsed() < MEMORY_LOOK) {
            return;
        }
        self.looked = Some(Instant::now());
        let [sender, receiver] = self.most;
        self.most = [sender.max(client.resident_bytes()), receiver.max(server.resident_bytes())];
    }
}

/// What the machine's CPUs were not idle while nothing is done here.
fn machine_window(window: Duration) -> Result<Option<f64>, Halt> {
    let since = Moment::now()?;
    pause(window)?;
    Ok(Some(since.used()?.busy_ns))
}

/// Takes the idle window of a round off its other ones. What is not above it cannot be compared and goes.
fn subtract_idle(row: &Row, samples: &mut [Vec<Option<Sample>>], round: usize) {
    let is_idle = |contender: &Contender| contender.tool == Tool::Idle;
    let Some(idle) = row.contenders.iter().position(is_idle) else { return };
    let baseline = samples[idle][round].as_ref().and_then(|sample| sample.machine_ns);
    for (index, runs) in samples.iter_mut().enumerate() {
        if index != idle
            && let Some(sample) = &mut runs[round]
        {
            let above = sample.machine_ns.zip(baseline).map(|(used, idle)| used - idle);
            sample.machine_ns = above.filter(|above| *above > 0.0);
        }
    }
}

/// Refuses a run that cannot be true. `seconds` are those asked for.
fn check(sample: &Sample, seconds: Option<u64>, took: Duration, place: &Place) -> Result<(), Halt> {
    let Reading { bytes_received, seconds: said, workers_ns, .. } = sample.reading;
    // What is in the buffers of many connections when the time is over takes seconds to be read; a netserver
    // waits four for it.
    let strays = |asked: u64| !(asked as f64 * 0.8..asked as f64 * 1.25 + 5.0).contains(&said);
    let bits = bytes_received as f64 * 8.0 / said;
    let complaint = if bytes_received == 0 {
        "nothing was received".to_owned()
    } else if let Some(asked) = seconds.filter(|asked| strays(*asked)) {
        format!("it says that {asked} s took {said:.2} s")
    } else if !said.is_finite() || said > took.as_secs_f64() * 1.02 {
        format!("it says {said:.2} s and was gone after {:.2} s", took.as_secs_f64())
    } else if place.limit_bits().is_some_and(|limit| bits > limit * 1.05) {
        format!("{:.1} Mbit/s passed a link of less", bits / 1e6)
    } else if sample.cpu_ns.is_some_and(|ends| ends.contains(&0)) {
        "an end cost no CPU time".to_owned()
    } else if let (Some(cpu), Some(workers)) = (sample.cpu_ns, workers_ns)
        && (0..2).any(|end| workers[end] as f64 > cpu[end] as f64 * 1.02)
    {
        format!("a worker's CPU time, {workers:?} ns, is above its process's, {cpu:?} ns")
    } else {
        return Ok(());
    };
    Err(Halt::Failed(format!("not to be believed: {complaint}")))
}

/// Whose turn it is in a round: one further each time, and backwards every other time, so that nobody always
/// follows the same one.
fn order(count: usize, round: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).map(|place| (place + round / 2) % count).collect();
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

/// A line about a run, for whoever watches.
fn progress(row: &Row, contender: &Contender, round: (usize, usize), run: &Result<Sample, Halt>) -> String {
    let head = format!("{} {}/{} {}", row.name, round.0 + 1, round.1, contender.label);
    match run {
        Ok(sample) => {
            let said = |metric: &Metric| {
                Some(format!("{} {} {}", metric.name(), three_digits(metric.of(sample)?), metric.unit()))
            };
            let figures: Vec<String> = row.metrics.iter().filter_map(said).collect();
            format!("{head}: {}", figures.join("; "))
        }
        Err(Halt::Failed(reason)) => format!("{head}: FAILED, {reason}"),
        Err(Halt::Interrupted) => format!("{head}: interrupted"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(bytes_received: u64, seconds: f64) -> Sample {
        Sample { reading: Reading { bytes_received, seconds, ..Reading::default() }, ..Sample::default() }
    }

    #[test]
    fn turns_rotate_and_alternate() {
        assert_eq!(order(3, 0), [0, 1, 2]);
        assert_eq!(order(3, 1), [2, 1, 0]);
        assert_eq!(order(3, 2), [1, 2, 0]);
        assert_eq!(order(3, 3), [0, 2, 1]);
    }

    #[test]
    fn runs_that_cannot_be_true_are_refused() {
        let refuses =
            |sample: &Sample, took| check(sample, Some(2), Duration::from_secs(took), &Place::Loopback);
        assert!(refuses(&sample(1, 2.0), 3).is_ok());
        assert!(refuses(&sample(0, 2.0), 3).is_err());
        assert!(refuses(&sample(1, 0.5), 3).is_err());
        assert!(refuses(&sample(1, 3.0), 2).is_err());
        assert!(refuses(&sample(1, f64::NAN), 3).is_err());
        let mut charged = sample(1, 2.0);
        charged.cpu_ns = Some([100, 100]);
        charged.reading.workers_ns = Some([90, 100]);
        assert!(refuses(&charged, 3).is_ok());
        charged.reading.workers_ns = Some([90, 110]);
        assert!(refuses(&charged, 3).is_err());
        charged.cpu_ns = Some([0, 1]);
        assert!(refuses(&charged, 3).is_err());
    }
}
