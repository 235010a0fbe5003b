//! Docker Engine, by its command line: each call with a deadline, each failure with what to do about it.
//!
//! Does not know what is run in containers.

use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use crate::error::{Class, Failure};

/// How long a call may take that only asks or removes.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// How long building an image may take.
pub(super) const BUILDING: Duration = Duration::from_secs(120);

/// Time between two looks at a call that has not ended.
const LOOK: Duration = Duration::from_millis(10);

/// Most that is kept of what a call prints, in bytes.
const OUTPUT_MAX: u64 = 4 << 20;

/// What a call printed.
pub(super) struct Printed {
    /// Whether it ended with 0.
    pub(super) well: bool,
    /// On standard output.
    pub(super) out: String,
    /// On standard error.
    pub(super) err: String,
}

/// Runs `docker` with these words and waits for its end.
///
/// # Errors
/// ENV where it cannot be run, or does not end in time; it is then killed.
pub(super) fn call(words: &[&str], patience: Duration) -> Result<Printed, Failure> {
    let tried = || format!("run docker {}", words.first().copied().unwrap_or_default());
    let mut child = Command::new("docker")
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| {
            Failure::io(Class::Environment, tried(), &error)
                .setting("whether Docker is installed, and PATH")
                .next("install Docker Engine (Debian: apt-get install docker.io), or leave the container out")
        })?;
    let out = child.stdout.take().map(collect);
    let err = child.stderr.take().map(collect);
    let status =
        wait(&mut child, patience).map_err(|error| Failure::io(Class::Environment, tried(), &error))?;
    let Some(status) = status else {
        return Err(Failure::new(
            Class::Environment,
            tried(),
            format!("it did not end within {} s and was killed", patience.as_secs()),
        )
        .setting("the Docker daemon, which does not answer")
        .next("docker info; then: systemctl restart docker"));
    };
    // Both end with the process, unless it has left children behind.
    let text = |reader: Option<Receiver<String>>| {
        reader.and_then(|reader| reader.recv_timeout(Duration::from_secs(1)).ok()).unwrap_or_default()
    };
    Ok(Printed { well: status.success(), out: text(out), err: text(err) })
}

/// The same of a call that has to end well.
///
/// # Errors
/// ENV, also where it did not; the text is docker's own.
pub(super) fn must(words: &[&str], patience: Duration, tried: &str) -> Result<String, Failure> {
    let printed = call(words, patience)?;
    if printed.well { Ok(printed.out) } else { Err(refusal(tried, &printed)) }
}

/// The same of one that prints JSON.
///
/// # Errors
/// ENV, also where what it prints is something else.
pub(super) fn json<T: DeserializeOwned>(words: &[&str], tried: &str) -> Result<T, Failure> {
    let text = must(words, PATIENCE, tried)?;
    serde_json::from_str(text.trim()).map_err(|error| {
        Failure::new(Class::Environment, tried, format!("docker printed what is not understood: {error}"))
            .setting("the docker on PATH")
            .next(format!("docker {}", words.join(" ")))
    })
}

/// What to say of a call that did not end well, by docker's own words.
pub(super) fn refusal(tried: &str, printed: &Printed) -> Failure {
    let line = |text: &str| text.lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_owned);
    let said = [&printed.err, &printed.out].into_iter().find_map(|text| told(text).or_else(|| line(text)));
    let cause = said.unwrap_or_else(|| "docker failed without a word".to_owned());
    let failure = |setting: &str, next: &str| {
        Failure::new(Class::Environment, tried, cause.as_str()).setting(setting).next(next)
    };
    if cause.contains("permission denied") {
        failure(
            "the rights to Docker's socket",
            "run as root, or: usermod -aG docker $USER, and log in again",
        )
    } else if cause.contains("Cannot connect to the Docker daemon") || cause.contains("docker.sock") {
        failure("whether the Docker daemon runs", "systemctl start docker; then: docker info")
    } else if cause.contains("already allocated") || cause.contains("already in use") {
        let port: String = cause
            .rsplit(':')
            .find_map(|part| part.split(' ').next()?.parse::<u16>().ok())
            .map_or_else(String::new, |port| format!(" 'sport = :{port}'"));
        failure("the port that is to be published: data-port", &format!("see who has it: ss -tulpn{port}"))
    } else {
        failure("Docker", "docker info")
    }
}

/// The line that tells what went wrong: docker puts advice after it.
fn told(text: &str) -> Option<String> {
    let line = text
        .lines()
        .map(str::trim)
        .find(|line| ["Error", "error", "denied", "Cannot connect"].iter().any(|word| line.contains(word)))?;
    Some(line.to_owned())
}

/// Collects what a process prints, on a thread of its own.
fn collect(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    // Without a thread nothing is collected, and the receiver finds the other end gone.
    let _ = std::thread::Builder::new().name("docker".to_owned()).spawn(move || {
        let mut from = from;
        let mut bytes = Vec::new();
        // What was read before a failure still tells something.
        let _ = (&mut from).take(OUTPUT_MAX).read_to_end(&mut bytes);
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
        // Past the bound it is read and dropped: a full pipe would stop the process.
        let _ = io::copy(&mut from, &mut io::sink());
    });
    receiver
}

/// Waits for the end; `None` where it was killed for taking too long.
fn wait(child: &mut Child, patience: Duration) -> io::Result<Option<std::process::ExitStatus>> {
    let until = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= until {
            // It may have ended this very moment.
            let _ = child.kill();
            let _ = child.wait();
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(err: &str) -> String {
        refusal("start a container", &Printed { well: false, out: String::new(), err: err.to_owned() })
            .to_string()
    }

    /// What Docker 20.10 and 28 print.
    #[test]
    fn refusals_have_their_remedies() {
        let taken = refused(
            "0a1b\ndocker: Error response from daemon: driver failed programming external connectivity on \
             endpoint x: Bind for 172.17.0.1:12866 failed: port is already allocated.\nSee 'docker run --help'.",
        );
        assert!(
            taken.contains("already allocated") && taken.contains("ss -tulpn 'sport = :12866'"),
            "{taken}"
        );
        let down =
            refused("Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is it running?");
        assert!(down.contains("systemctl start docker"), "{down}");
        let rights = refused(
            "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock",
        );
        assert!(rights.contains("usermod"), "{rights}");
        assert!(refused("").contains("without a word"));
    }
}
