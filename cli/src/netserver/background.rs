//! Starting in the background without fork: this program runs itself again, detached.
//!
//! The child owns everything from the first socket on. It writes the start line to standard output, which is
//! a pipe to the parent, once it listens; the parent passes that line on and leaves. A child that cannot
//! start says so on the standard error both share, and the pipe ends without a line.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

use rustix::fs::{Mode, OFlags};

/// Words before netserver's own that make this program one that runs in the background.
const CHILD_WORDS: [&str; 2] = ["netserver", "--background-child"];

/// The parent's part: starts the child with the same words and returns when it listens or has given up.
///
/// # Errors
/// The kernel's, where no child could be started.
pub(super) fn start(words: &[OsString]) -> io::Result<ExitCode> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(CHILD_WORDS)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    if let Some(pipe) = child.stdout.take() {
        BufReader::new(pipe).read_line(&mut line)?;
    }
    if line.is_empty() {
        #[expect(clippy::disallowed_methods, reason = "it has closed its output, which is how it ends")]
        child.wait()?;
        return Ok(ExitCode::FAILURE);
    }
    super::say(line.trim_end());
    Ok(ExitCode::SUCCESS)
}

/// The child's first step: a session of its own, so that the terminal's signals no longer reach it.
///
/// # Errors
/// The kernel's.
pub(super) fn leave_terminal() -> io::Result<()> {
    rustix::process::setsid()?;
    std::env::set_current_dir("/")
}

/// The child's last step before it serves: gives up the standard streams, and with them the pipe to the
/// parent.
///
/// # Errors
/// The kernel's.
pub(super) fn close_streams() -> io::Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}
