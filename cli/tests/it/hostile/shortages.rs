//! System calls that fail under a netserver, by strace: at its start, and while it serves. It never ends by
//! one and never hangs, and serves as before once they succeed again.
//!
//! Each row of the tables says which calls fail, how, and what a client sees of it meanwhile. That the fault
//! was met is read from strace's own output, so that no row passes without it.

use std::any::Any;
use std::fmt::Debug;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ringperf_proto::omni::{OmniResponse, OmniResults};
use ringperf_proto::{FRAME_BYTES, Frame};

use super::tell;
use crate::support::{
    Netserver, RINGPERF, await_that, baseline, golden, received, run, serves, signal, skip,
};

/// Rows tried at the same time.
const AT_ONCE: usize = 4;

/// How long a client may be left without an answer. No deadline of the netserver's is as short that a session
/// without a fault would come to an end by it.
const PATIENCE: Duration = Duration::from_secs(8);

/// What a client sees of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum During {
    /// Nothing: it is served.
    Served,
    /// It is served, or told no: by an errno, or by a close.
    Answered,
    /// It is not even taken, until the fault has passed.
    Waits,
}
use During::{Answered, Served, Waits};

/// Calls, the errno they fail with, at which of them in each thread (strace's `when`), with which engine.
type Row = (&'static str, &'static str, &'static str, &'static str, During);

/// Faults of a netserver that serves.
const SERVING: &[Row] = &[
    ("accept4", "EMFILE", "1..3", "auto", Answered),
    ("accept4", "ENFILE", "1..3", "epoll", Answered),
    ("accept4", "ENOBUFS", "1..3", "auto", Answered),
    ("accept4", "ENOMEM", "1..3", "auto", Answered),
    ("accept4", "ECONNABORTED", "1..3", "auto", Served),
    ("accept4", "EINTR", "1..3", "auto", Served),
    ("accept4", "EPROTO", "1", "epoll", Answered),
    ("accept4", "EMFILE", "1+", "auto", Waits),
    ("clone3,clone", "EAGAIN", "1", "auto", Answered),
    ("clone3,clone", "EAGAIN", "1+", "auto", Answered),
    ("clone3,clone", "ENOMEM", "1+", "epoll", Answered),
    ("epoll_wait,epoll_pwait,epoll_pwait2", "EINTR", "1..40", "epoll", Served),
    ("epoll_wait,epoll_pwait,epoll_pwait2", "EINTR", "1..40", "auto", Served),
    ("epoll_ctl", "ENOMEM", "1", "epoll", Answered),
    ("epoll_ctl", "ENOSPC", "1+", "epoll", Answered),
    ("epoll_ctl", "ENOMEM", "1+", "auto", Answered),
    ("epoll_create1", "EMFILE", "1+", "epoll", Answered),
    ("epoll_create1", "ENOMEM", "1+", "epoll", Answered),
    ("io_uring_setup", "EPERM", "1+", "auto", Served),
    ("io_uring_setup", "ENOSYS", "1+", "auto", Served),
    ("io_uring_setup", "ENOMEM", "1+", "auto", Served),
    ("io_uring_setup", "EINVAL", "1+", "auto", Served),
    ("io_uring_setup", "EPERM", "1+", "uring", Answered),
    ("io_uring_register", "EPERM", "1+", "auto", Served),
    ("io_uring_register", "ENOMEM", "1+", "auto", Served),
    ("io_uring_register", "EINVAL", "1+", "auto", Served),
    ("io_uring_register", "ENOMEM", "2", "auto", Served),
    ("io_uring_register", "ENOMEM", "3", "auto", Served),
    ("io_uring_enter", "EINTR", "1..3", "auto", Served),
    ("io_uring_enter", "EAGAIN", "1", "auto", Served),
    ("io_uring_enter", "EAGAIN", "2..4", "auto", Served),
    ("io_uring_enter", "EAGAIN", "4..6", "auto", Served),
    ("io_uring_enter", "EAGAIN", "7..14", "auto", Served),
    ("io_uring_enter", "EBUSY", "1..3", "auto", Served),
    ("io_uring_enter", "ENOMEM", "1", "auto", Answered),
    ("io_uring_enter", "EPERM", "3", "auto", Answered),
    // The first of a thread is the standard library's, which ends the process where it fails: the room for
    // it is looked for before.
    ("mmap", "ENOMEM", "1+", "auto", Answered),
    ("mmap", "ENOMEM", "1+", "epoll", Answered),
    ("mmap", "ENOMEM", "2+", "auto", Answered),
    ("mmap", "ENOMEM", "2+", "epoll", Answered),
    ("mmap", "ENOMEM", "2", "auto", Answered),
    ("mmap", "ENOMEM", "3", "auto", Answered),
    ("mmap", "ENOMEM", "4", "auto", Answered),
    ("mmap", "EAGAIN", "1+", "classic", Answered),
    ("munmap", "ENOMEM", "1+", "auto", Answered),
    ("madvise", "EINVAL", "1+", "auto", Served),
    ("sendto", "EINTR", "1", "epoll", Served),
    ("sendto", "EPIPE", "1", "epoll", Answered),
    ("sendto", "ENOBUFS", "1", "epoll", Answered),
    ("recvfrom", "EINTR", "1", "epoll", Served),
    ("socket", "EMFILE", "1+", "auto", Answered),
    ("bind", "EADDRINUSE", "1+", "auto", Answered),
    ("listen", "EADDRINUSE", "1", "auto", Served),
    ("setsockopt", "ENOPROTOOPT", "1+", "auto", Served),
    ("setsockopt", "EINVAL", "1+", "epoll", Served),
    ("eventfd2", "EMFILE", "1+", "auto", Answered),
    ("sched_setaffinity", "EINVAL", "1+", "auto", Served),
    ("getsockname", "ENOBUFS", "1+", "auto", Answered),
    ("openat", "EMFILE", "1+", "auto", Answered),
];

/// What came of a client's whole try at a small test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tried {
    Served,
    Refused,
    /// No answer came.
    Left,
}

/// With what there is to say of it.
fn try_a_test(address: SocketAddr, patience: Duration) -> (Tried, String) {
    let begun = Instant::now();
    let (tried, why) = try_once(address, patience);
    (tried, format!("{why} after {:.1} s", begun.elapsed().as_secs_f32()))
}

fn try_once(address: SocketAddr, patience: Duration) -> (Tried, String) {
    match exchange(address, patience) {
        Ok(0) => (Tried::Served, String::new()),
        Ok(errno) => (Tried::Refused, format!("errno {errno}")),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            (Tried::Left, error.to_string())
        }
        Err(error) => (Tried::Refused, error.to_string()),
    }
}

/// The errno that it is answered with.
fn exchange(address: SocketAddr, patience: Duration) -> io::Result<i32> {
    let connect = |address: SocketAddr| -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_read_timeout(Some(patience))?;
        Ok(stream)
    };
    let frame = |control: &mut TcpStream| -> io::Result<Frame> {
        let mut bytes = [0; FRAME_BYTES];
        control.read_exact(&mut bytes).map(|()| Frame::from_bytes(bytes))
    };
    let mut control = connect(address)?;
    control.write_all(&golden("two_tests_one_connection")[0])?;
    let response = frame(&mut control)?;
    if response.errno() != 0 {
        return Ok(response.errno());
    }
    let port = u16::try_from(OmniResponse::decode(&response).data_port).expect("a port");
    let mut data = connect((address.ip(), port).into())?;
    data.write_all(&[b'x'; 50_000])?;
    data.shutdown(Shutdown::Write)?;
    // Whatever the data connection comes to, the results say more.
    let _ = data.read(&mut [0; 1]);
    let results = frame(&mut control)?;
    if results.errno() != 0 {
        return Ok(results.errno());
    }
    assert_eq!(received(&OmniResults::decode(&results)), 50_000);
    Ok(0)
}

/// strace at a running process; it lets go when dropped.
struct Tracer {
    child: Child,
    output: PathBuf,
}

impl Tracer {
    fn attach(id: u32, number: usize, (calls, errno, when, ..): Row) -> io::Result<Self> {
        let output = std::env::temp_dir().join(format!("ringperf-strace-{}-{number}", std::process::id()));
        let inject = format!("inject={calls}:error={errno}:when={when}");
        let child = Command::new("strace")
            .args(["-f", "-qq", "-e", &format!("trace={calls}"), "-e", &inject, "-p", &id.to_string(), "-o"])
            .arg(&output)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut tracer = Self { child, output };
        let traced = |task: io::Result<std::fs::DirEntry>| {
            let status = task.and_then(|task| std::fs::read_to_string(task.path().join("status")));
            status.is_ok_and(|status| !status.contains("TracerPid:\t0\n"))
        };
        let begun = Instant::now();
        while !std::fs::read_dir(format!("/proc/{id}/task"))?.all(traced) {
            if tracer.child.try_wait()?.is_some() || begun.elapsed() > PATIENCE {
                return Err(io::Error::other("it does not attach"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(tracer)
    }

    /// Lets go; how often a call failed by us.
    fn detach(mut self) -> usize {
        signal(self.child.id(), "TERM");
        self.child.wait().expect("it is our child");
        let text = std::fs::read_to_string(&self.output).unwrap_or_default();
        text.matches("(INJECTED)").count()
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.output);
    }
}

/// One row; what is wrong, if anything is.
fn serve_through(number: usize, row: Row) -> Result<Option<String>, io::Error> {
    let (.., engine, during) = row;
    // With one arena the allocator maps nothing for a thread, so that it is known what a thread's first is.
    let netserver = Netserver::start_under(
        &["env", "MALLOC_ARENA_MAX=1"],
        &["-L", "127.0.0.1", "-d", "--engine", engine],
    )?;
    let before = baseline(&netserver);
    // A thread that ends just then makes strace give up.
    let attach = || Tracer::attach(netserver.id(), number, row);
    let tracer = attach().or_else(|_| attach())?;
    let patience = if during == Waits { Duration::from_secs(1) } else { PATIENCE };
    let tried = [(); 2].map(|()| try_a_test(netserver.address(), patience));
    let injected = tracer.detach();
    let fits = |tried: Tried| match during {
        Served => tried == Tried::Served,
        Answered => tried != Tried::Left,
        Waits => tried == Tried::Left,
    };
    if injected == 0 || !tried.iter().all(|(tried, _)| fits(*tried)) {
        let log = netserver.log();
        return Ok(Some(format!("{injected} injected, {tried:?}; {log}")));
    }
    serves(&netserver);
    await_that("its descriptors", || netserver.resources().within(before));
    let log = netserver.log();
    Ok(log.contains("BUG:").then(|| log.clone()))
}

/// What a panic says.
fn what(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
}

/// Goes through rows, several at a time; `None` where there is no strace.
fn through<R: Copy + Debug + Sync>(
    test: &str,
    rows: &[R],
    check: impl Fn(usize, R) -> Result<Option<String>, io::Error> + Sync,
) -> Option<Vec<String>> {
    if let Err(error) = Command::new("strace").arg("-V").output() {
        skip(test, "strace", &format!("strace: {error}"));
        return None;
    }
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((number, row)) = {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    rows.get(number).map(|row| (number, *row))
                } {
                    // A helper that gives up is a row that is wrong, not the end of all of them.
                    let found = catch_unwind(AssertUnwindSafe(|| check(number, row)));
                    let found = found.unwrap_or_else(|panic| Ok(Some(what(panic.as_ref()))));
                    let found = found.unwrap_or_else(|error| Some(error.to_string()));
                    let found = found.map(|found| format!("{row:?}: {found}"));
                    wrong.lock().expect("nobody panics with it").extend(found);
                }
            });
        }
    });
    Some(wrong.into_inner().expect("nobody panics with it"))
}

#[test]
fn no_system_call_that_fails_ends_a_netserver() {
    let begun = Instant::now();
    let test = "no_system_call_that_fails_ends_a_netserver";
    let Some(wrong) = through(test, SERVING, serve_through) else { return };
    tell(&format!(
        "{} faults of a netserver that serves: {:.0} s",
        SERVING.len(),
        begun.elapsed().as_secs_f32()
    ));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What comes of a fault at the start: the netserver serves all the same and its log has this, or it ends
/// and says all of this.
#[derive(Clone, Copy, Debug)]
enum Start {
    Serves(&'static str),
    Says(&'static [&'static str]),
}

/// Faults of a netserver that starts.
const STARTING: &[(&str, &str, &str, Start)] = &[
    ("io_uring_setup", "EPERM", "1+", Start::Serves("control plane without io_uring: EPERM")),
    ("io_uring_setup", "ENOSYS", "1+", Start::Serves("control plane without io_uring: ENOSYS")),
    ("io_uring_setup", "ENOMEM", "1+", Start::Serves("control plane without io_uring: ENOMEM")),
    ("io_uring_setup", "EINVAL", "1+", Start::Serves("control plane without io_uring: EINVAL")),
    ("io_uring_enter", "EPERM", "1+", Start::Serves("control plane without io_uring")),
    ("epoll_create1", "EMFILE", "1+", Start::Says(&["ENV: ", "EMFILE", "ulimit -n"])),
    ("epoll_create1", "ENOMEM", "1+", Start::Says(&["ENV: ", "ENOMEM", "memory"])),
    ("epoll_ctl", "ENOSPC", "1+", Start::Says(&["ENV: ", "ENOSPC", "max_user_watches"])),
    ("eventfd2", "EMFILE", "1+", Start::Says(&["ENV: ", "EMFILE", "ulimit -n"])),
    ("socketpair", "EMFILE", "1+", Start::Says(&["ENV: ", "EMFILE", "ulimit -n"])),
    ("clone3,clone", "EAGAIN", "1+", Start::Says(&["ENV: ", "EAGAIN", "ulimit -u", "pids"])),
    ("socket", "EMFILE", "1+", Start::Says(&["ENV: ", "EMFILE", "ulimit -n"])),
    ("listen", "EADDRINUSE", "1+", Start::Says(&["ENV: ", "EADDRINUSE", "ss -ltnp"])),
];

fn start_through(number: usize, row: (&str, &str, &str, Start)) -> Result<Option<String>, io::Error> {
    let (calls, errno, when, outcome) = row;
    let output = std::env::temp_dir().join(format!("ringperf-strace-{}-s{number}", std::process::id()));
    let text = output.to_str().expect("a plain path").to_owned();
    let (trace, inject) = (format!("trace={calls}"), format!("inject={calls}:error={errno}:when={when}"));
    let strace = ["strace", "-f", "-qq", "-e", &trace, "-e", &inject, "-o", &text];
    let found = match outcome {
        Start::Serves(part) => {
            let netserver = Netserver::start_under(&strace, &["-L", "127.0.0.1"])?;
            netserver.await_log(part);
            serves(&netserver);
            None
        }
        Start::Says(parts) => {
            let words = [&strace[1..], &[RINGPERF, "netserver", "-D", "-L", "127.0.0.1", "-p", "0"]].concat();
            let out = run("strace".as_ref(), &words, PATIENCE);
            let err = String::from_utf8_lossy(&out.stderr);
            let told = out.status.code() == Some(1) && parts.iter().all(|part| err.contains(part));
            (!told).then(|| format!("{:?}, {err}", out.status))
        }
    };
    let injected = std::fs::read_to_string(&output).is_ok_and(|text| text.contains("(INJECTED)"));
    let _ = std::fs::remove_file(&output);
    Ok(found.or_else(|| (!injected).then(|| "no such call".to_owned())))
}

#[test]
fn a_system_call_that_fails_at_the_start_is_gone_without_or_told() {
    let test = "a_system_call_that_fails_at_the_start_is_gone_without_or_told";
    let Some(wrong) = through(test, STARTING, start_through) else { return };
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_log_that_cannot_be_written_stops_nobody() {
    // What is written meets a full disk for good.
    let full = ["sh", "-c", "exec \"$@\" 2>/dev/full", "sh"];
    let netserver = Netserver::start_under(&full, &["-L", "127.0.0.1", "-dd"]).expect("it starts");
    let before = baseline(&netserver);
    serves(&netserver);
    await_that("the session's descriptors", || netserver.resources().within(before));
    let test = "a_log_that_cannot_be_written_stops_nobody";
    let rows = [("EPIPE", "1+"), ("ENOSPC", "1+"), ("EIO", "1+"), ("EINTR", "1..5"), ("EAGAIN", "1+")];
    let wrong = through(test, &rows, |number, (errno, when)| {
        let log = std::env::temp_dir().join(format!("ringperf-log-{}-{number}", std::process::id()));
        let path = log.to_str().expect("a plain path").to_owned();
        let calls = std::env::temp_dir().join(format!("ringperf-strace-{}-w{number}", std::process::id()));
        let inject = format!("inject=write:error={errno}:when={when}");
        let kept = calls.to_str().expect("a plain path").to_owned();
        let shell =
            format!("exec strace -f -qq -o {kept} -P {path} -e trace=write -e {inject} \"$@\" 2>{path}");
        let netserver = Netserver::start_under(&["sh", "-c", &shell, "sh"], &["-L", "127.0.0.1", "-dd"])?;
        serves(&netserver);
        serves(&netserver);
        drop(netserver);
        let text = std::fs::read_to_string(&calls).unwrap_or_default();
        let strayed = text.lines().any(|line| line.contains("INJECTED") && !line.contains(" write(2"));
        let injected = text.contains("(INJECTED)") && !strayed;
        for file in [log, calls] {
            let _ = std::fs::remove_file(file);
        }
        Ok((!injected).then(|| format!("nothing was injected where it should be: {text}")))
    });
    if let Some(wrong) = wrong {
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
