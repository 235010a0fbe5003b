//! The `docker` command line: one call at a time, each with a deadline, and what its complaints mean.
//!
//! Knows how docker answers, not what it is asked for. A docker that hangs is killed with all its children
//! and told; so is one that floods.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use crate::error::{Class, Failure};

/// Longest wait for an answer that needs no work.
const ASK: Duration = Duration::from_secs(20);

/// Longest wait for a container to start or to go.
const RUN: Duration = Duration::from_secs(60);

/// Longest wait for an image to be built.
const BUILD: Duration = Duration::from_secs(240);

/// Sets all of these, in milliseconds.
const DEADLINE: &str = "RINGPERF_DOCKER_DEADLINE_MS";

/// Bytes of an answer that are kept.
const ANSWER_BYTES: u64 = 8 << 20;

/// Errnos of asm-generic/errno-base.h and errno.h.
const EACCES: i32 = 13;
const EADDRINUSE: i32 = 98;
const ETIMEDOUT: i32 = 110;

/// How long a call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// An answer that is there.
    Ask,
    /// A container that starts or goes.
    Run,
    /// An image that is built.
    Build,
}

impl Patience {
    fn length(self) -> Duration {
        let set = std::env::var(DEADLINE).ok().and_then(|text| text.parse().ok());
        match (set, self) {
            (Some(milliseconds), _) => Duration::from_millis(milliseconds),
            (None, Self::Ask) => ASK,
            (None, Self::Run) => RUN,
            (None, Self::Build) => BUILD,
        }
    }
}

/// What docker printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// On standard output.
    pub(crate) out: String,
    /// On standard error.
    pub(crate) err: String,
}

/// Runs docker with these words. What is tried follows "cannot" in a failure.
///
/// # Errors
/// ENV where there is no docker, it does not end in time, or it says no.
pub(crate) fn call(tried: &str, words: &[&str], patience: Patience) -> Result<Answer, Failure> {
    let (status, answer) = run(tried, words, patience.length())?;
    if status.success() {
        return Ok(answer);
    }
    Err(refused(tried, words, &answer))
}

/// Runs docker, and reads its answer as JSON.
///
/// # Errors
/// ENV as with [`call`], and where the answer is something else.
pub(crate) fn json<T: DeserializeOwned>(tried: &str, words: &[&str]) -> Result<T, Failure> {
    let answer = call(tried, words, Patience::Ask)?;
    parse(tried, words, &answer.out)
}

/// Reads an answer.
///
/// # Errors
/// ENV where it is something else.
pub(crate) fn parse<T: DeserializeOwned>(tried: &str, words: &[&str], out: &str) -> Result<T, Failure> {
    serde_json::from_str(out).map_err(|error| {
        let line: String = out.lines().next().unwrap_or_default().chars().take(80).collect();
        let said = if line.is_empty() { "nothing".to_owned() } else { format!("\"{line}\"") };
        Failure::new(
            Class::Environment,
            tried,
            format!("docker's answer cannot be read ({error}); it begins with {said}"),
        )
        .setting("which docker is first on PATH, and its release")
        .next(format!("command -v docker; docker version; {}", shown(words)))
    })
}

/// The last line that says something: docker ends its complaints with a hint at its own help.
pub(crate) fn last_line(text: &str) -> Option<&str> {
    let hint = |line: &str| ["Run 'docker ", "See 'docker "].iter().any(|start| line.starts_with(start));
    text.lines().rev().map(str::trim).find(|line| !line.is_empty() && !hint(line))
}

/// The command as a person would type it.
fn shown(words: &[&str]) -> String {
    let mut text = "docker".to_owned();
    for word in words {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,@".contains(c);
        text.push(' ');
        if !word.is_empty() && word.chars().all(plain) {
            text.push_str(word);
        } else {
            text.push_str(&format!("'{word}'"));
        }
    }
    text
}

fn run(tried: &str, words: &[&str], within: Duration) -> Result<(ExitStatus, Answer), Failure> {
    let by = Instant::now() + within;
    // In a group of its own: Ctrl-C is for us to hear, and a kill has to reach what docker has started.
    let mut child = Command::new("docker")
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| not_started(tried, &error))?;
    let out = child.stdout.take().map(collect);
    let err = child.stderr.take().map(collect);
    let status = wait(&mut child, by);
    // What docker has left behind would hold the pipes open.
    let (Ok(Some(status)), Some(out), Some(err)) =
        (status, out.and_then(|out| taken(&out, by)), err.and_then(|err| taken(&err, by)))
    else {
        kill(&mut child);
        return Err(hung(tried, words, within));
    };
    Ok((status, Answer { out, err }))
}

/// What a docker that cannot be started means.
pub(crate) fn not_started(tried: &str, error: &std::io::Error) -> Failure {
    match error.kind() {
        std::io::ErrorKind::NotFound => Failure::io(Class::Environment, tried, error)
            .setting("docker, which has to be on PATH")
            .next("install Docker Engine (docs.docker.com/engine/install); or take the environment host"),
        _ => Failure::io(Class::Environment, tried, error)
            .setting("RLIMIT_NPROC, and the rights to the docker program")
            .next("ls -l \"$(command -v docker)\""),
    }
}

/// Its end, if it comes in time.
fn wait(child: &mut Child, by: Instant) -> std::io::Result<Option<ExitStatus>> {
    let mut pause = Duration::from_millis(1);
    loop {
        match child.try_wait()? {
            None if Instant::now() < by => std::thread::sleep(pause),
            ended => return Ok(ended),
        }
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// The group first: what docker has started holds its pipes.
fn kill(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    // Both fail only when it has ended already.
    let _ = child.kill();
    #[expect(clippy::disallowed_methods, reason = "it has been killed")]
    let _ = child.wait();
}

/// Reads to the end on a thread of its own, so that the wait can have a deadline.
fn collect(mut pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    // Without a thread there is no answer, which is told as one that did not come.
    let _ = std::thread::Builder::new().name("docker".to_owned()).spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.by_ref().take(ANSWER_BYTES).read_to_end(&mut bytes);
        // Nobody listens once the deadline has passed.
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
        let _ = std::io::copy(&mut pipe, &mut std::io::sink());
    });
    receiver
}

/// What was read, if it is all there in time; a moment is given in any case.
fn taken(text: &Receiver<String>, by: Instant) -> Option<String> {
    let left = by.saturating_duration_since(Instant::now()).max(Duration::from_millis(50));
    text.recv_timeout(left).ok()
}

fn hung(tried: &str, words: &[&str], within: Duration) -> Failure {
    let cause = format!("docker gave no answer within {:.1} s, and was killed", within.as_secs_f64());
    Failure::new(Class::Environment, tried, cause)
        .errno(Some(ETIMEDOUT))
        .setting(format!("whether the Docker daemon is well, and {DEADLINE}"))
        .next(format!("see whether it answers by hand: {}", shown(words)))
}

/// What a complaint of docker means.
pub(crate) fn refused(tried: &str, words: &[&str], answer: &Answer) -> Failure {
    let all = answer.err.to_lowercase();
    let has = |text: &str| all.contains(text);
    let last = last_line(&answer.err).or_else(|| last_line(&answer.out)).unwrap_or("it left no message");
    let line = |text: &str| {
        let found = answer.err.lines().find(|line| line.to_lowercase().contains(text));
        found.map_or(last, str::trim).to_owned()
    };
    let failure = |cause: String| Failure::new(Class::Environment, tried, cause);
    // The client also complains so about a file of its own, and goes on.
    let no_rights = |line: &&str| {
        let line = line.to_lowercase();
        let of_daemon = ["docker daemon", "docker api", ".sock"].iter().any(|name| line.contains(name));
        of_daemon && line.contains("permission denied")
    };
    if let Some(line) = answer.err.lines().find(no_rights) {
        return failure(line.trim().to_owned())
            .errno(Some(EACCES))
            .setting("the rights to the daemon's socket: root, and the group docker")
            .next("sudo usermod -aG docker \"$USER\", then log in anew; or run it as root");
    }
    for sign in ["cannot connect to the docker daemon", "failed to connect to the docker api"] {
        if has(sign) {
            let cause = line(sign);
            let errno = errno_of_socket(&cause);
            return failure(cause)
                .errno(errno)
                .setting("whether the Docker daemon runs, and DOCKER_HOST")
                .next("sudo systemctl start docker; then: docker version");
        }
    }
    for sign in ["port is already allocated", "address already in use"] {
        if has(sign) {
            return failure(line(sign)).errno(Some(EADDRINUSE));
        }
    }
    failure(last.to_owned())
        .setting("the Docker daemon, whose log says more: journalctl -u docker")
        .next(format!("try it by hand: {}", shown(words)))
}

/// What the kernel says of the socket that docker names; docker itself does not say.
fn errno_of_socket(line: &str) -> Option<i32> {
    let (_, rest) = line.split_once("unix://")?;
    let path = rest.split_whitespace().next()?.trim_end_matches(['.', ':', ';', ',']);
    UnixStream::connect(path).err()?.raw_os_error()
}

/// Whether a port was taken.
pub(crate) fn port_is_taken(failure: &Failure) -> bool {
    failure.is(EADDRINUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(err: &str) -> Failure {
        refused("do it", &["ps", "{{json .}}"], &Answer { out: String::new(), err: err.to_owned() })
    }

    #[test]
    fn complaints_are_told_apart() {
        let rights = complaint(
            "WARNING: open /root/.docker/config.json: permission denied\n\
             permission denied while trying to connect to the Docker daemon socket at \
             unix:///var/run/docker.sock: connect: permission denied\n",
        );
        assert!(rights.is(EACCES), "{rights}");
        assert!(rights.to_string().contains("group docker"), "{rights}");
        assert!(!rights.to_string().contains("WARNING"), "{rights}");
        let down =
            complaint("Cannot connect to the Docker daemon at unix:///nonexistent/d.sock. Is it running?\n");
        assert_eq!(down.to_json().errno.as_deref(), Some("ENOENT"), "{down}");
        let port = complaint(
            "docker: Error response from daemon: Bind for 172.17.0.1:1 failed: port is already allocated.\n",
        );
        assert!(port_is_taken(&port));
        let other = complaint("Error: something else\n\nRun 'docker run --help' for more information\n");
        assert!(other.to_string().contains("Error: something else"), "{other}");
        assert!(other.to_string().contains("docker ps '{{json .}}'"), "{other}");
        assert!(complaint("").to_string().contains("it left no message"));
    }

    #[test]
    fn garbage_is_quoted() {
        let failure = parse::<serde_json::Value>("ask", &["info"], "<html>\nmore").expect_err("no JSON");
        assert!(failure.to_string().contains("\"<html>\""), "{failure}");
        let failure = parse::<serde_json::Value>("ask", &["info"], "").expect_err("no JSON");
        assert!(failure.to_string().contains("it begins with nothing"), "{failure}");
    }
}
