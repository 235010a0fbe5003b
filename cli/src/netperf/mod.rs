//! The drop-in netperf: netperf's command line and netperf's text around this program's measurements.
//!
//! This file is the order of things, which is netperf's own, since errors show it. It computes nothing.
//!
//! ```text
//! options -> host -> control connection -> test known? -> a fact and the end, or banner
//!         -> { request -> run -> results } as often as the confidence asked for wants -> table
//! ```

mod banner;
mod confidence;
mod connect;
mod facts;
#[cfg(test)]
mod golden;
mod histogram;
mod interim;
mod measure;
mod options;
mod plan;
mod recorder;
mod report;
mod resolve;
mod say;
mod selectors;
mod tables;
mod traffic;
mod units;
mod values;

pub(crate) use self::options::{Argument, Described, PAIRS, TESTS, global_options, test_options, tests_with};
pub(crate) use self::traffic::OptionSet;

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use ringperf_engine::{EngineChoice, Plan};

use self::banner::Banner;
use self::confidence::{Goal, Level};
use self::connect::{End, Ends};
use self::measure::Iterations;
use self::options::{Family, Host, Options, Pair, Said, Selectors, Stream};
use self::plan::Course;
use self::recorder::Recorder;
use self::report::Findings;
use self::resolve::{family_of, wildcard};
use self::say::{Ending, FAILED, Output, complain};
use self::selectors::Selection;
use self::traffic::TestName;
use crate::client::control::Control;
use crate::client::deadline::Deadlines;
use crate::client::exchange::Exchange;
use crate::record::Record;

/// Names the engine that moves the bytes, as netperf's command line has no room for it.
const ENGINE_VARIABLE: &str = "RINGPERF_ENGINE";

/// Has figures of the data connection printed on standard error after each iteration, as netperf has it.
const TCP_INFO_VARIABLE: &str = "DUMP_TCP_INFO";

/// Exit status of a defect, as sysexits.h numbers a software error.
const DEFECT: u8 = 70;

/// Runs netperf with these words, having been called `argv0`.
pub(crate) fn main(argv0: &OsStr, words: Vec<OsString>) -> ExitCode {
    let mut output = Output::new();
    let recorder = Recorder::new(std::env::var_os(recorder::VARIABLE));
    let mut records = recorder.is_some().then(Vec::new);
    let ended = catch_unwind(AssertUnwindSafe(|| netperf(argv0, words, &mut output, records.as_mut())));
    let measured = matches!(ended, Ok(Ok(())));
    let ending = match ended {
        Ok(Ok(())) => Ending::default(),
        Ok(Err(ending)) => ending,
        Err(_) => Ending::new(DEFECT).complaint("netperf: BUG: an internal check failed; please report it"),
    };
    output.say(&ending.output);
    let written = output.flush();
    if !ending.complaint.is_empty() {
        complain(&ending.complaint);
    }
    // What a later iteration died of is no reason to lose the records of those before.
    if let (Some(recorder), Some(records)) = (recorder, records)
        && (measured || !records.is_empty())
    {
        recorder.keep(&records).unwrap_or_else(|sentence| complain(&sentence));
    }
    match written {
        Ok(()) => ExitCode::from(ending.status),
        Err(error) => {
            complain(&format!("netperf: cannot write to standard output: {error}"));
            ExitCode::from(ending.status.max(FAILED))
        }
    }
}

/// The whole run. What it has to say goes to `output`, and the record of each iteration to `records`.
fn netperf(
    argv0: &OsStr,
    words: Vec<OsString>,
    output: &mut Output,
    mut records: Option<&mut Vec<Record>>,
) -> Result<(), Ending> {
    let begun = Instant::now();
    let parsed = options::parse(argv0, words);
    let options = &parsed.options;
    say_all(&parsed.global, output)?;
    let engine = engine()?;
    let netserver = netserver_family(options)?;
    say_all(&parsed.test, output)?;
    let selection = selection(options)?;
    let deadlines = Deadlines::netperf();
    let mut exchange = if options.no_control { None } else { Some(connect(options, netserver, deadlines)?) };
    let test = match &options.test {
        Ok(test) => *test,
        Err(name) => return say_all(&options::unknown_test(name), output),
    };
    let family = match &exchange {
        Some(exchange) => family_of(exchange.control().peer().ip()),
        None if netserver == Family::Unspecified => Family::V4,
        None => netserver,
    };
    if let Some(fact) = facts::told(options, test, exchange.as_mut(), deadlines) {
        output.say(&fact?);
        return end(exchange);
    }
    let mut course = course(options, test, family, (engine, deadlines))?;
    let goal = goal(options);
    if options.headers {
        output.say(&banner(&course, goal));
    }
    if let Some(protocol) = options.lacking_protocol {
        return Err(say::protocol_lacking(protocol, course.remote.address().is_ipv4()));
    }
    course.latency |= selection.as_ref().is_some_and(Selection::wants_latency);
    course.payload = payload(&course)?;
    course.file = file(&course)?;
    let mut iterations = Iterations::new(&course, exchange);
    let mut findings = Findings::new(if repeats(test) { goal } else { Goal::once() });
    let dumps_tcp_info =
        std::env::var_os(TCP_INFO_VARIABLE).is_some() && test.option_set() == OptionSet::Omni;
    loop {
        let run = iterations.run(output)?;
        if let Some(lines) = report::tcp_info(&run).filter(|_| dumps_tcp_info) {
            complain(&lines);
        }
        findings.add(&course, &run);
        if let Some(records) = &mut records {
            records.extend(report::record(&course, iterations.control_peer(), &run, begun));
        }
        if findings.confidence.wants_another() {
            continue;
        }
        output.say(&findings.result(&course, &run, selection.as_ref()));
        iterations.close();
        return Ok(());
    }
}

/// Whether iterations are counted; these two run once, whatever the banner says.
fn repeats(test: TestName) -> bool {
    !matches!(test, TestName::TcpCc | TestName::TcpMss)
}

/// Which values are printed where that is by selectors; `None` in the classic layouts.
fn selection(options: &Options) -> Result<Option<Selection>, Ending> {
    let (Some(Selectors { style, list }), Ok(_)) = (&options.selectors, &options.test) else {
        return Ok(None);
    };
    let cpu = options.measure_cpu.local || options.measure_cpu.remote;
    let selection = Selection::choose(list.as_deref(), *style, options.traffic.direction(), cpu)?;
    if options.debug > 0 {
        for name in selection.unknown() {
            complain(&format!("netperf: there is no selector `{name}`"));
        }
    }
    Ok(Some(selection))
}

/// Ends the control connection in order.
fn end(exchange: Option<Exchange>) -> Result<(), Ending> {
    if let Some(exchange) = exchange {
        exchange.close();
    }
    Ok(())
}

/// Says what a part of the start has to say; its end is ours.
fn say_all(said: &Said, output: &mut Output) -> Result<(), Ending> {
    for (stream, text) in &said.texts {
        match stream {
            Stream::Err => complain(text.trim_end_matches('\n')),
            Stream::Out => output.say(text),
        }
    }
    said.exit.map_or(Ok(()), |status| Err(Ending::new(status)))
}

/// The engine that the environment asks for.
fn engine() -> Result<EngineChoice, Ending> {
    let Some(word) = std::env::var_os(ENGINE_VARIABLE).filter(|word| !word.is_empty()) else {
        return Ok(EngineChoice::Auto);
    };
    match word.as_encoded_bytes() {
        b"auto" => Ok(EngineChoice::Auto),
        b"classic" => Ok(EngineChoice::Classic),
        b"epoll" => Ok(EngineChoice::Epoll),
        b"uring" => Ok(EngineChoice::Uring),
        _ => Err(Ending::new(FAILED)
            .complaint(format!("netperf: {ENGINE_VARIABLE} may be auto, uring, epoll or classic"))),
    }
}

/// The family of the netserver's host, if it was named: messages show it, and the control connection is of
/// it.
fn netserver_family(options: &Options) -> Result<Family, Ending> {
    let Host { name, family } = &options.control.remote;
    name.as_ref().map_or(Ok(*family), |name| Ok(resolve::netserver(name, *family)?.family()))
}

/// The netserver's host as given, or the one netperf takes.
fn netserver_name(options: &Options) -> &str {
    let Pair { local, remote } = &options.control;
    let unnamed = match (remote.family, local.family) {
        (Family::V6, _) | (Family::Unspecified, Family::V6) => "::1",
        _ => "localhost",
    };
    remote.name.as_deref().unwrap_or(unnamed)
}

fn connect(options: &Options, netserver: Family, deadlines: Deadlines) -> Result<Exchange, Ending> {
    let (ours, ports) = (&options.control.local, &options.control_port);
    let our_family = if ours.family == Family::Unspecified { netserver } else { ours.family };
    let ends = Ends {
        local: End {
            host: ours.name.as_deref().unwrap_or(wildcard(our_family)),
            port: &ports.local,
            family: ours.family,
        },
        remote: End { host: netserver_name(options), port: &ports.remote, family: netserver },
    };
    let stream = ends.connect(deadlines.connect)?;
    let control = Control::new(stream, deadlines, None).map_err(|error| {
        Ending::new(FAILED).complaint(format!("netperf: cannot use the control connection: {error}"))
    })?;
    let passphrase = options.passphrase.as_ref().map(|text| text.as_encoded_bytes().to_vec());
    Ok(Exchange::new(control, passphrase))
}

/// Finds both ends of the data connection and the socket buffers on our side. `control` is the family of the
/// control connection, or the one it would have.
fn course(
    options: &Options,
    test: TestName,
    control: Family,
    (engine, deadlines): (EngineChoice, Deadlines),
) -> Result<Course<'_>, Ending> {
    let traffic = options.traffic;
    let protocol = traffic.protocol;
    let (ours, theirs) = (&options.data.local, &options.data.remote);
    let family = match theirs.family {
        // Without a control connection there is none to go by.
        Family::Unspecified if !options.no_control => control,
        asked => asked,
    };
    let their_name = theirs.name.as_deref().unwrap_or(netserver_name(options));
    let remote = resolve::data_end(their_name, &options.data_port.remote, family, protocol)?;
    // The control connection's address of ours serves data of its family only.
    let of_control = options.control.local.name.as_deref().filter(|_| remote.family() == control);
    let our_name = ours.name.as_deref().or(of_control).unwrap_or(wildcard(remote.family()));
    let local = resolve::data_end(our_name, &options.data_port.local, ours.family, protocol)?;
    let socket = plan::socket(options, protocol);
    let buffers = ringperf_engine::granted_buffers(protocol, local.address().is_ipv4(), &socket)
        .map_err(|error| Ending::new(FAILED).complaint(format!("netperf: {error}")))?;
    Ok(Course {
        options,
        name: test,
        traffic,
        unit: plan::unit(options, test),
        latency: options.latency,
        local,
        remote,
        written: Pair { local: our_name.to_owned(), remote: their_name.to_owned() },
        buffers,
        engine,
        payload: None,
        file: None,
        deadlines,
    })
}

/// As much of the fill file as our message slots hold. A device that never ends is such a file, too.
fn payload(course: &Course<'_>) -> Result<Option<Arc<[u8]>>, Ending> {
    let wanted = course.sends() && !course.exceeds_datagram() && course.name != TestName::TcpSendfile;
    let Some(path) = course.options.local_fill_file.as_deref().filter(|_| wanted) else {
        return Ok(None);
    };
    let failed = |error: &dyn std::fmt::Display| {
        let path = path.display();
        Ending::new(FAILED).complaint(format!("netperf: cannot fill messages from {path}: {error}"))
    };
    let room =
        Plan::new(course.plan(course.local.address())).map_err(|error| failed(&error))?.message_slots_bytes();
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| failed(&error))?;
    file.take(room as u64).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    if bytes.is_empty() { Err(failed(&"it is empty")) } else { Ok(Some(bytes.into())) }
}

/// What TCP_SENDFILE sends: the fill file, which has to hold as much as netperf's ring of buffers, or one
/// that is made for it and has no name.
fn file(course: &Course<'_>) -> Result<Option<Arc<File>>, Ending> {
    if course.name != TestName::TcpSendfile {
        return Ok(None);
    }
    let failed = |tried: &str, error: &dyn std::fmt::Display| {
        Ending::new(FAILED).complaint(format!("netperf: cannot {tried}: {error}"))
    };
    let ring = u64::from(course.widths().send).saturating_mul(course.message_bytes().into());
    let Some(path) = course.options.local_fill_file.as_deref() else {
        let file = nameless_file(ring).map_err(|error| failed("make a file to send", &error))?;
        return Ok(Some(Arc::new(file)));
    };
    let opened = format!("send {}", path.display());
    let file = File::open(path).map_err(|error| say::file_not_opened(&error))?;
    let length = file.metadata().map_err(|error| failed(&opened, &error))?.len();
    if length < ring { Err(say::file_too_small()) } else { Ok(Some(Arc::new(file))) }
}

/// A file of so many bytes that goes with the last who has it open.
fn nameless_file(bytes: u64) -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("ringperf-sendfile-{}", std::process::id()));
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    let written = io::copy(&mut io::repeat(b'n').take(bytes), &mut file);
    std::fs::remove_file(&path)?;
    written.map(|_| file)
}

fn goal(options: &Options) -> Goal {
    let asked = options.confidence;
    Goal {
        level: if asked.level == 95 { Level::Percent95 } else { Level::Percent99 },
        width_percent: asked.width,
        min_iterations: asked.min,
        max_iterations: asked.max,
        result_only: asked.result_only,
    }
}

fn banner<'a>(course: &'a Course<'a>, goal: Goal) -> String {
    let end = |host: &'a resolve::ResolvedHost| banner::DataEnd { name: &host.name, address: host.address() };
    let options = course.options;
    Banner {
        test: &banner::name(course.name, course.traffic).unwrap_or_default(),
        local: end(&course.local),
        remote: end(&course.remote),
        goal,
        no_delay: options.no_delay,
        copy_avoidance: options.avoid_copies,
        no_control: options.no_control,
        histogram: course.has_histogram(),
        interval: options.burst.local > 0,
        first_burst: options.first_burst,
        cpu_bind: options.cpu_bind,
    }
    .line()
}
