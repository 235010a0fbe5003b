//! netserver: serves tests over netperf's control channel.
//!
//! Start and end of the program: arguments to sockets, sockets to a control plane, signals to an orderly
//! stop. What happens on a connection is `session`'s; netserver's words and exit codes are kept as they are,
//! and everything else it has to say goes to the log on standard error.
#![deny(
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unreachable,
    clippy::unwrap_used
)]

mod accept;
mod background;
mod guesses;
mod incoming;
mod listen;
mod log;
mod pidfile;
mod policy;
mod session;
mod testrun;
mod transport;
mod turned_away;

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::rc::Rc;
use std::thread::available_parallelism;

use ringperf_engine::EngineChoice;
use ringperf_engine::refusal::{self, Refusal, System};
use rustix::process::{Resource, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use socket2::SockRef;
use tokio::sync::watch;

use self::accept::Hall;
use self::guesses::{GUESSES_MAX, Guesses, PERIOD};
#[cfg(test)]
pub(crate) use self::listen::refusal as listen_refusal;
use self::listen::{Bound, Target};
use self::pidfile::PidFile;
use self::session::Settings;
use self::testrun::Runner;
use self::transport::ControlPlane;
use crate::args::{Netserver, NetserverOptions, PassphraseIn, netserver_usage};
use crate::bridge::{Defaults, Ends};
use crate::netperf_cpu;
use crate::passphrase::{Passphrase, Unfit};

/// The release this netserver is compatible with.
const VERSION: &str = "Netperf version 2.7.0";

/// Runs netserver with the words after its name.
pub(crate) fn main(words: Vec<OsString>) -> ExitCode {
    match Netserver::parse(words.clone()) {
        Netserver::Help => {
            say(netserver_usage().trim_end());
            ExitCode::SUCCESS
        }
        Netserver::Serve(options) => start(&words, &options).unwrap_or_else(|CannotStart(why)| {
            complain(&why);
            ExitCode::FAILURE
        }),
        Netserver::Usage(complaint) => {
            if let Some(complaint) = complaint {
                complain(&format!("{complaint}\n"));
            }
            complain(netserver_usage().trim_end());
            ExitCode::FAILURE
        }
        Netserver::Version => {
            say(VERSION);
            ExitCode::SUCCESS
        }
    }
}

/// Why there is no netserver: what was tried, what the system said, and what decides it.
struct CannotStart(String);

impl CannotStart {
    /// To be given the system's answer.
    fn at(tried: &'static str, remedy: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| {
            let reason = log::reason(&error);
            Self(format!("ENV: netserver cannot start: {tried}: {reason}; {remedy}"))
        }
    }
}

/// What decides whether there are descriptors to wait by.
const DESCRIPTORS: &str = "ulimit -n and fs.file-max limit descriptors, fs.epoll.max_user_watches what is \
                           watched, and the container's memory limit the kernel's memory: raise the one that \
                           is used up";

/// What decides whether there are threads.
const THREADS: &str =
    "ulimit -u and the container's pids limit decide it: raise them, or end other processes";

fn start(words: &[OsString], options: &NetserverOptions) -> Result<ExitCode, CannotStart> {
    if let Some(stream) = inetd_stream(options) {
        // A complaint about the passphrase would go to the client.
        return passphrase(options)
            .map_or(Ok(ExitCode::FAILURE), |passphrase| serve_one(stream, options, passphrase));
    }
    if !options.foreground && !options.background_child {
        return background::start(words)
            .map_err(CannotStart::at("starting in the background", "-D stays in the foreground"));
    }
    // Its name may be of the folder that the process in the background leaves.
    let passphrase = passphrase(options).map_err(CannotStart)?;
    if options.background_child {
        background::leave_terminal()
            .map_err(CannotStart::at("leaving the terminal", "-D stays in the foreground"))?;
    }
    let log = log::start(options.quiet, options.debug)
        .map_err(CannotStart::at("starting the thread that writes the log", THREADS))?;
    allow_descriptors();
    let target = Target::new(options);
    let bound = match listen::bind(&target) {
        Ok(bound) => bound,
        Err(reason) => {
            complain(&target.failure_line());
            tracing::error!("ENV: {reason}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let plane = control_plane(options.engine)
        .map_err(CannotStart::at("making what control connections are awaited by", DESCRIPTORS))?;
    let stop = watch_for_the_end(options.exit_with_stdin && !options.background_child)?;
    // Only now that a signal ends it in order, which removes the file.
    let pid_file = match options.pid_file.as_deref().map(PidFile::take).transpose() {
        Ok(pid_file) => pid_file,
        Err(reason) => {
            tracing::error!("ENV: {reason}");
            return Ok(ExitCode::FAILURE);
        }
    };
    announce(&bound, options, &plane);
    say(&target.start_line(bound.port));
    if options.background_child {
        log.flush();
        background::close_streams()
            .map_err(CannotStart::at("giving up the standard streams", "it takes /dev/null"))?;
    }
    let served = serve(plane, bound, settings(options, passphrase), options.serial, stop);
    drop(pid_file);
    served.map_err(CannotStart::at("watching the listening sockets", DESCRIPTORS))?;
    Ok(ExitCode::SUCCESS)
}

/// Raises our own limit on open files as far as the system lets us: sessions and their tests share it. Where
/// that is refused, accepts fail and are tried again.
fn allow_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Serves until the end; returns when every session is closed.
fn serve(
    plane: ControlPlane,
    bound: Bound,
    settings: Settings,
    serial: bool,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let hall = Rc::new(Hall::new(settings, serial, stop));
    match plane {
        ControlPlane::Epoll(runtime, tasks) => tasks.block_on(&runtime, async move {
            hall.serve::<tokio::net::TcpStream>(adopt(bound)?).await;
            Ok(())
        }),
        ControlPlane::Uring(runtime) => runtime.block_on(async move {
            hall.serve::<tokio_uring::net::TcpStream>(adopt(bound)?).await;
            Ok(())
        }),
    }
}

/// Hands the listening sockets to the runtime around. Connections are awaited by epoll on either plane.
fn adopt(bound: Bound) -> io::Result<Vec<tokio::net::TcpListener>> {
    let adopt = |listener: std::net::TcpListener| {
        listener.set_nonblocking(true)?;
        tokio::net::TcpListener::from_std(listener)
    };
    bound.listeners.into_iter().map(adopt).collect()
}

/// The passphrase that sessions have to open with, if there is one.
///
/// # Errors
/// What is wrong with its file.
fn passphrase(options: &NetserverOptions) -> Result<Option<Passphrase>, String> {
    let file = match &options.passphrase {
        None => return Ok(None),
        Some(PassphraseIn::Word(passphrase)) => return Ok(Some(passphrase.clone())),
        Some(PassphraseIn::File(file)) => file,
    };
    Passphrase::first_line_of_own(file).map(Some).map_err(|unfit| {
        let reason = match unfit {
            Unfit::Io(error) => log::reason(&error),
            Unfit::Is(reason) => reason,
        };
        format!("ENV: netserver cannot start: --passphrase-file {}: {reason}", file.display())
    })
}

fn settings(options: &NetserverOptions, passphrase: Option<Passphrase>) -> Settings {
    let NetserverOptions { policy, cores, .. } = options;
    Settings {
        deadlines: options.deadlines,
        defaults: Defaults {
            cores: cores.clone(),
            engine: options.engine,
            without: options.without,
            rate_max: policy.rate_max,
            no_busy_poll: policy.no_busy_poll,
            loopback: policy.loopback,
            drain: options.deadlines.drain,
        },
        runner: Runner::Engine,
        passphrase,
        policy: policy.clone(),
        guesses: Guesses::default(),
        // It is 100 on every Linux.
        cpu_rate: u16::try_from(rustix::param::clock_ticks_per_second()).map_or(100.0, f32::from),
        cpus: netperf_cpu::online(),
        // Affinity and cgroups count; where neither is told, one worker is what there is anyway.
        workers_max: available_parallelism().map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX)),
        is_embedded: options.exit_with_stdin,
    }
}

/// io_uring unless it is refused, or the user wants none of it.
fn control_plane(engine: EngineChoice) -> io::Result<ControlPlane> {
    if matches!(engine, EngineChoice::Classic | EngineChoice::Epoll) {
        return ControlPlane::epoll();
    }
    ControlPlane::uring().or_else(|error| {
        tracing::warn!("control plane without io_uring: {}", without_ring(&error));
        ControlPlane::epoll()
    })
}

/// Why there is no ring, who decides it, and what to do.
fn without_ring(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => {
            let Refusal { cause, setting, next } = refusal::of_ring(errno, &System::read());
            let cause = cause.trim_start_matches("io_uring_setup: ");
            format!("{cause}; decided by {setting}; next: {next}")
        }
        None => log::reason(error),
    }
}

/// What is open to whom.
fn announce(bound: &Bound, options: &NetserverOptions, plane: &ControlPlane) {
    let plane = match plane {
        ControlPlane::Epoll(..) => "epoll",
        ControlPlane::Uring(_) => "io_uring",
    };
    tracing::info!("listening on {bound}; control plane on {plane}; engine {:?}", options.engine);
    tracing::info!("{}", terms(options));
    if options.passphrase.is_some() {
        tracing::warn!(
            "netperf's -Z shows the passphrase in clear, and whoever hears it can show it again; ringperf \
             run proves it without showing it"
        );
    }
}

/// Who may come, and what everybody may have.
fn terms(options: &NetserverOptions) -> String {
    let NetserverOptions { policy, .. } = options;
    let networks: Vec<String> = policy.allow.iter().map(ToString::to_string).collect();
    let who = match networks.as_slice() {
        [] if policy.loopback => "this host alone".to_owned(),
        [] => "any address".to_owned(),
        networks if policy.loopback => format!("this host alone, of {}", networks.join(", ")),
        networks => networks.join(", "),
    };
    let key = if options.passphrase.is_some() {
        let seconds = PERIOD.as_secs();
        format!("with the passphrase ({GUESSES_MAX} wrong ones of an address within {seconds} s)")
    } else {
        "no passphrase".to_owned()
    };
    let sessions = if options.serial { 1 } else { policy.sessions_max };
    let length = policy.seconds_max.map_or("of any length".to_owned(), |most| format!("of {most} s at most"));
    let rate = policy.rate_max.map_or("at any rate".to_owned(), |most| {
        format!("at {} at most in each session", policy::megabits(most))
    });
    let polling = if policy.no_busy_poll { ", without polling" } else { "" };
    format!(
        "open to {who}, {key}; data is sent to the control peer only; no file named by a peer is opened; \
         {sessions} sessions at most; tests {length}, {rate}{polling}"
    )
}

/// Becomes true on SIGINT and SIGTERM, and at the end of standard input where that was asked for. A second
/// signal ends the process at once. SIGHUP, which a terminal that closes sends, ends nothing.
fn watch_for_the_end(stdin: bool) -> Result<watch::Receiver<bool>, CannotStart> {
    let (stop, stopped) = watch::channel(false);
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])
        .map_err(CannotStart::at("watching for signals", DESCRIPTORS))?;
    let on_signal = stop.clone();
    let spawn = |name: &str, watch: Box<dyn FnOnce() + Send>| {
        let started = std::thread::Builder::new().name(name.to_owned()).spawn(watch);
        started.map(drop).map_err(CannotStart::at("starting the thread that watches for the end", THREADS))
    };
    spawn(
        "rp-signals",
        Box::new(move || {
            for signal in signals.forever() {
                if signal == SIGHUP {
                    tracing::info!("SIGHUP changes nothing: all settings are on the command line");
                } else if on_signal.send_replace(true) {
                    std::process::exit(128 + signal);
                }
            }
        }),
    )?;
    if stdin {
        let watch = move || {
            // An error ends the input as well as its end does.
            let _ = io::copy(&mut io::stdin().lock().by_ref(), &mut io::sink());
            stop.send_replace(true);
        };
        spawn("rp-stdin", Box::new(watch))?;
    }
    Ok(stopped)
}

/// The control connection that inetd accepted: standard input, where it is a connected socket and no option
/// says that this netserver should listen.
fn inetd_stream(options: &NetserverOptions) -> Option<TcpStream> {
    let listens = options.foreground
        || options.serial
        || options.host.is_some()
        || options.policy.loopback
        || options.port.is_some()
        || options.pid_file.is_some();
    if listens || options.background_child {
        return None;
    }
    let stdin = io::stdin();
    let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(stdin.as_fd()).ok()?.st_mode);
    if kind != rustix::fs::FileType::Socket {
        return None;
    }
    let stream = TcpStream::from(stdin.as_fd().try_clone_to_owned().ok()?);
    // Also says no to a socket of another family, which some shells hand to their children.
    stream.peer_addr().is_ok().then_some(stream)
}

/// inetd's child: one session and no log, because standard error is the control connection, too.
fn serve_one(
    stream: TcpStream,
    options: &NetserverOptions,
    passphrase: Option<Passphrase>,
) -> Result<ExitCode, CannotStart> {
    let cannot = || CannotStart::at("taking the connection over from inetd", DESCRIPTORS);
    let taken = background::close_streams().and_then(|()| {
        stream.set_nonblocking(true)?;
        // inetd's listener is not ours, and has none of its options.
        listen::find_dead_hosts(&SockRef::from(&stream))?;
        Ok(Ends::new(stream.local_addr()?, stream.peer_addr()?))
    });
    let ends = taken.map_err(cannot())?;
    let stop = watch_for_the_end(false)?;
    let hall = Hall::new(settings(options, passphrase), false, stop);
    let (runtime, tasks) = transport::epoll_runtime().map_err(cannot())?;
    tasks.block_on(&runtime, async move {
        hall.attend_if_admitted(tokio::net::TcpStream::from_std(stream).map_err(cannot())?, ends).await;
        Ok(ExitCode::SUCCESS)
    })
}

/// A line on standard output. Whoever does not read it is no reason to stop.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// A line on standard error.
fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
