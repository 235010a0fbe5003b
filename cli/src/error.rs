//! Why a command ended without a result, told so that a person and a script can act on it.
//!
//! Does not decide what is an error: the module that met the trouble does, and says what was tried, what the
//! system answered, which setting decides it and which command to try next. This file gives that one shape,
//! one text and one exit code.

use std::fmt;
use std::io;

use serde::Serialize;

/// Who has to act. Each class has an exit code that scripts may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Nobody but us: a defect of ringperf. Exit code 70, as sysexits.h numbers a software error.
    Bug,
    /// The environment: kernel, rights, limits. Exit code 3.
    Environment,
    /// What was measured does not answer the question. Exit code 8.
    Inconclusive,
    /// The other end, or the network between. Exit code 4.
    Peer,
    /// A rule of the other end or of this one: passphrase, allow-list, limit. Exit code 5.
    Policy,
    /// A signal ended the command before there was anything to report. Exit code 128 and the signal's number,
    /// as shells report it.
    Signal(i32),
    /// The store of results. Exit code 6.
    Store,
    /// The caller's options. Exit code 2.
    Usage,
}

impl Class {
    /// The word that starts the text and names the class in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bug => "BUG",
            Self::Environment => "ENV",
            Self::Inconclusive => "INCONCLUSIVE",
            Self::Peer => "PEER",
            Self::Policy => "POLICY",
            Self::Signal(_) => "SIGNAL",
            Self::Store => "STORE",
            Self::Usage => "USAGE",
        }
    }

    /// The exit code of the process.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Bug => 70,
            Self::Environment => 3,
            Self::Inconclusive => 8,
            Self::Peer => 4,
            Self::Policy => 5,
            Self::Signal(number) => signal_exit_code(number),
            Self::Store => 6,
            Self::Usage => 2,
        }
    }
}

/// The exit code of a command that a signal ended: 128 and the signal's number, as shells report it.
pub(crate) fn signal_exit_code(signal: i32) -> u8 {
    u8::try_from(signal).unwrap_or(0).saturating_add(128)
}

/// A command that ended without a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    class: Class,
    tried: String,
    cause: String,
    errno: Option<i32>,
    setting: Option<String>,
    next: Option<String>,
}

impl Failure {
    /// A failure of `class`: what was tried (it follows "cannot"), and what came of it.
    pub(crate) fn new(class: Class, tried: impl Into<String>, cause: impl Into<String>) -> Self {
        Self { class, tried: tried.into(), cause: cause.into(), errno: None, setting: None, next: None }
    }

    /// A failure whose cause is the kernel's answer, errno included.
    pub(crate) fn io(class: Class, tried: impl Into<String>, error: &io::Error) -> Self {
        Self::new(class, tried, plain_cause(error)).errno(error.raw_os_error())
    }

    /// Whether this errno is behind it.
    pub(crate) fn is(&self, errno: i32) -> bool {
        self.errno == Some(errno)
    }

    /// The errno behind it.
    #[must_use]
    pub(crate) fn errno(mut self, errno: Option<i32>) -> Self {
        self.errno = errno;
        self
    }

    /// The option, limit or system setting that decides it.
    #[must_use]
    pub(crate) fn setting(mut self, setting: impl Into<String>) -> Self {
        self.setting = Some(setting.into());
        self
    }

    /// The command to try next.
    #[must_use]
    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// Who has to act.
    pub(crate) fn class(&self) -> Class {
        self.class
    }

    /// The same as one JSON object, without the record's envelope.
    pub(crate) fn to_json(&self) -> FailureJson {
        FailureJson {
            class: self.class.name(),
            exit: self.class.exit_code(),
            text: self.sentence(),
            errno: self.errno.map(errno_name),
            tried: self.tried.clone(),
            setting: self.setting.clone(),
            next: self.next.clone(),
        }
    }

    fn sentence(&self) -> String {
        match self.errno {
            Some(errno) => format!("cannot {}: {} ({})", self.tried, self.cause, errno_name(errno)),
            None => format!("cannot {}: {}", self.tried, self.cause),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.class.name(), self.sentence())?;
        if let Some(setting) = &self.setting {
            write!(out, "\n  decided by: {setting}")?;
        }
        if let Some(next) = &self.next {
            write!(out, "\n  next: {next}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// A [`Failure`] as `--json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FailureJson {
    /// USAGE, ENV, PEER, POLICY, STORE, INCONCLUSIVE, BUG or SIGNAL.
    pub(crate) class: &'static str,
    /// The process's exit code.
    pub(crate) exit: u8,
    /// The whole sentence.
    pub(crate) text: String,
    /// Name of the errno, where there is one.
    pub(crate) errno: Option<String>,
    /// What was tried.
    pub(crate) tried: String,
    /// The option, limit or system setting that decides it.
    pub(crate) setting: Option<String>,
    /// The command to try next.
    pub(crate) next: Option<String>,
}

/// Name of an errno. The engine knows those of sockets, rings and memory; files have a few more.
fn errno_name(errno: i32) -> String {
    match errno {
        20 => "ENOTDIR".to_owned(),
        21 => "EISDIR".to_owned(),
        27 => "EFBIG".to_owned(),
        28 => "ENOSPC".to_owned(),
        30 => "EROFS".to_owned(),
        122 => "EDQUOT".to_owned(),
        other => ringperf_engine::errno_name(other),
    }
}

/// What the system says about an errno.
pub(crate) fn errno_text(errno: i32) -> String {
    plain_cause(&io::Error::from_raw_os_error(errno))
}

/// The error's text without the " (os error N)" that std appends; the errno's name says it better.
fn plain_cause(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_names_class_cause_errno_setting_and_next() {
        let failure = Failure::io(Class::Peer, "connect to x", &io::Error::from_raw_os_error(111))
            .setting("-H")
            .next("try y");
        assert_eq!(
            failure.to_string(),
            "PEER: cannot connect to x: Connection refused (ECONNREFUSED)\n  decided by: -H\n  next: try y"
        );
        let json = failure.to_json();
        assert_eq!((json.class, json.exit), ("PEER", 4));
        assert_eq!(json.errno.as_deref(), Some("ECONNREFUSED"));
        assert_eq!(json.text, "cannot connect to x: Connection refused (ECONNREFUSED)");
    }

    #[test]
    fn exit_codes_are_the_published_ones() {
        let codes: Vec<u8> = [
            Class::Usage,
            Class::Environment,
            Class::Peer,
            Class::Policy,
            Class::Store,
            Class::Inconclusive,
            Class::Bug,
            Class::Signal(2),
            Class::Signal(15),
        ]
        .into_iter()
        .map(Class::exit_code)
        .collect();
        assert_eq!(codes, [2, 3, 4, 5, 6, 8, 70, 130, 143]);
    }
}
