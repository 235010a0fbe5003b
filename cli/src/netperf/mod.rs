//! The drop-in netperf: netperf's command line and netperf's text around this program's measurements.
//!
//! This file is the order of things, which is netperf's own, since errors show it. It computes nothing.
//!
//! ```text
//! options -> host -> control connection -> test known? -> banner
//!         -> { request -> run -> results } as often as the confidence asked for wants -> table
//! ```

mod banner;
mod confidence;
mod connect;
#[cfg(test)]
mod golden;
mod measure;
mod options;
mod plan;
mod recorder;
mod report;
mod resolve;
mod say;
mod tables;
mod units;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use ringperf_engine::{EngineChoice, Plan};
use ringperf_proto::Test;

use self::banner::Banner;
use self::confidence::{Confidence, Goal, Level};
use self::connect::{End, Ends};
use self::measure::Iterations;
use self::options::{Family, Host, Options, Pair, Said, Stream};
use self::plan::Course;
use self::recorder::Recorder;
use self::resolve::{family_of, wildcard};
use self::say::{Ending, FAILED, Output, complain};
use crate::client::control::Control;
use crate::client::deadline::Deadlines;
use crate::client::exchange::Exchange;
use crate::record::Record;

/// Names the engine that moves the bytes, as netperf's command line has no room for it.
const ENGINE_VARIABLE: &str = "RINGPERF_ENGINE";

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
    let deadlines = Deadlines::netperf();
    let exchange = if options.no_control { None } else { Some(connect(options, netserver, deadlines)?) };
    let test = match &options.test {
        Ok(test) => *test,
        Err(name) => return say_all(&options::unknown_test(name), output),
    };
    let family = match &exchange {
        Some(exchange) => family_of(exchange.control().peer().ip()),
        None if netserver == Family::Unspecified => Family::V4,
        None => netserver,
    };
    let mut course = course(options, test, family, (engine, deadlines))?;
    let goal = goal(options);
    if options.headers {
        output.say(&banner(&course, goal));
    }
    course.payload = payload(&course)?;
    let mut iterations = Iterations::new(&course, exchange);
    let mut confidence = Confidence::new(goal);
    let mut failed_sends = 0;
    loop {
        let run = iterations.run()?;
        failed_sends += run.outcome.as_ref().map_or(0, |outcome| outcome.tally.failed_sends);
        confidence.push(report::iteration(&course, &run));
        if let Some(records) = &mut records {
            records.extend(report::record(&course, iterations.control_peer(), &run, begun));
        }
        if confidence.wants_another() {
            continue;
        }
        output.say(&report::result(&course, &run, &confidence, failed_sends));
        iterations.close();
        return Ok(());
    }
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
    test: Test,
    control: Family,
    (engine, deadlines): (EngineChoice, Deadlines),
) -> Result<Course<'_>, Ending> {
    let protocol = crate::bridge::protocol(test);
    let (ours, theirs) = (&options.data.local, &options.data.remote);
    let family = match theirs.family {
        // Without a control connection there is none to go by.
        Family::Unspecified if !options.no_control => control,
        asked => asked,
    };
    let name = theirs.name.as_deref().unwrap_or(netserver_name(options));
    let remote = resolve::data_end(name, &options.data_port.remote, family, protocol)?;
    // The control connection's address of ours serves data of its family only.
    let of_control = options.control.local.name.as_deref().filter(|_| remote.family() == control);
    let name = ours.name.as_deref().or(of_control).unwrap_or(wildcard(remote.family()));
    let local = resolve::data_end(name, &options.data_port.local, ours.family, protocol)?;
    let socket = plan::socket(options, test);
    let buffers = ringperf_engine::granted_buffers(protocol, local.address().is_ipv4(), &socket)
        .map_err(|error| Ending::new(FAILED).complaint(format!("netperf: {error}")))?;
    Ok(Course { options, test, local, remote, buffers, engine, payload: None, deadlines })
}

/// As much of the fill file as our message slots hold. A device that never ends is such a file, too.
fn payload(course: &Course<'_>) -> Result<Option<Arc<[u8]>>, Ending> {
    let wanted = course.sends() && !course.exceeds_datagram();
    let Some(path) = course.options.local_fill_file.as_deref().filter(|_| wanted) else {
        return Ok(None);
    };
    let failed = |error: &dyn std::fmt::Display| {
        let path = path.display();
        Ending::new(FAILED).complaint(format!("netperf: cannot fill messages from {path}: {error}"))
    };
    let room = Plan::new(course.plan()).map_err(|error| failed(&error))?.message_slots_bytes();
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| failed(&error))?;
    file.take(room as u64).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    if bytes.is_empty() { Err(failed(&"it is empty")) } else { Ok(Some(bytes.into())) }
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
        test: match course.test {
            Test::TcpMaerts => banner::TCP_MAERTS,
            Test::UdpStream => banner::UDP_STREAM,
            // The command line has no other names.
            Test::TcpStream | Test::TcpCc | Test::TcpCrr | Test::TcpRr | Test::UdpMaerts | Test::UdpRr => {
                banner::TCP_STREAM
            }
        },
        local: end(&course.local),
        remote: end(&course.remote),
        goal,
        no_delay: options.no_delay,
        copy_avoidance: options.avoid_copies,
        no_control: options.no_control,
        cpu_bind: options.cpu_bind,
    }
    .line()
}
