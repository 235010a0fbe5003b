//! Starting a program in a namespace, on a core and in a cgroup, and ending it.
//!
//! This program starts itself with [`WORD`] first. That copy takes on the surroundings, the cgroup last, and
//! becomes the program by exec: what is charged begins with the program, and no shell stands in between.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
use rustix::thread::{CpuSet, LinkNameSpaceType, move_into_link_name_space, sched_setaffinity};

use super::cgroup::Group;
use super::readings::told_error;
use super::{Halt, interrupted};
use crate::program::read_all;

/// The first word of a copy of this program that is to become another one.
pub(super) const WORD: &str = "--become";

/// Descriptors that every program may open: ten thousand flows and room to spare.
const DESCRIPTORS: u64 = 20_000;

/// Time between two looks at a process.
const LOOK: Duration = Duration::from_millis(20);

/// How long a program has to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(3);

/// A program as it is found on the disk.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Program {
    /// Its file.
    pub(super) file: PathBuf,
    /// Where it looks for libraries besides the system's places.
    pub(super) libraries: Option<String>,
}

impl Program {
    /// The program in this file. A wrapper as `scripts/peers` writes it is seen through, so that no tool is
    /// charged for a shell.
    pub(super) fn new(file: PathBuf) -> Self {
        let unwrapped = std::fs::read_to_string(&file).ok().and_then(|text| Self::in_wrapper(&text));
        unwrapped.unwrap_or(Self { file, libraries: None })
    }

    fn in_wrapper(text: &str) -> Option<Self> {
        let quoted = |line: &str| line.split('\'').nth(1).map(str::to_owned);
        let mut lines = text.strip_prefix("#!/bin/sh\n")?.lines();
        let libraries = lines.next().filter(|line| line.starts_with("export LD_LIBRARY_PATH='"))?;
        let program = lines.next().filter(|line| line.starts_with("exec '"))?;
        Some(Self { file: PathBuf::from(quoted(program)?), libraries: Some(quoted(libraries)?) })
    }

    /// A command that runs it with nothing of cargo's surroundings.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.file);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
        command.envs(self.libraries.iter().map(|folders| ("LD_LIBRARY_PATH", folders)));
        command
    }
}

/// Where a program is to run.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    /// The one core it may use.
    pub(super) core: usize,
    /// File of its network namespace, unless it is ours.
    pub(super) namespace: Option<PathBuf>,
    /// Who is charged.
    pub(super) group: Option<Group>,
}

/// A program under way. When dropped, it and all that it started are killed.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    group: Option<Group>,
    out: Option<JoinHandle<String>>,
    err: Option<JoinHandle<String>>,
}

/// What a program left.
#[derive(Clone, Debug, Default)]
pub(super) struct Left {
    /// CPU time of all its processes in nanoseconds, where somebody was charged.
    pub(super) cpu_ns: Option<u64>,
    /// Standard output.
    pub(super) out: String,
    /// Standard error.
    pub(super) err: String,
}

impl Left {
    /// The last thing it said, for a message.
    pub(super) fn last_words(&self) -> String {
        let last = |text: &str| text.lines().rev().find(|line| !line.trim().is_empty()).map(str::to_owned);
        let words = told_error(&self.out).or_else(|| last(&self.err)).or_else(|| last(&self.out));
        let words = words.unwrap_or_else(|| "it said nothing".to_owned());
        // it ends up in a table
        words.trim().replace('|', "/").chars().take(300).collect()
    }
}

impl Running {
    /// Starts a program.
    ///
    /// # Errors
    /// The kernel's, where not even the copy of this program can be started. What fails later ends the copy
    /// with a message on its standard error.
    pub(super) fn start(program: &Program, words: &[String], at: Surroundings) -> Result<Self, String> {
        let itself = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
        let mut command = Program { file: itself, libraries: program.libraries.clone() }.command();
        command.arg(WORD).arg(at.core.to_string());
        command.arg(at.namespace.unwrap_or_default());
        command.arg(at.group.as_ref().map(Group::entrance).unwrap_or_default());
        command.arg(&program.file).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child =
            command.spawn().map_err(|error| format!("{} cannot be started: {error}", words.join(" ")))?;
        let (out, err) = (read_all(child.stdout.take()), read_all(child.stderr.take()));
        Ok(Self { child, group: at.group, out, err })
    }

    /// Its process, and the program's after exec.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended, and how.
    pub(super) fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Memory of all its processes that is resident, in bytes.
    pub(super) fn resident_bytes(&self) -> u64 {
        let members = self.group.as_ref().map(Group::members).unwrap_or_default();
        let status = |pid| std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        members.iter().map(|pid| resident(&status(pid.as_raw_nonzero()))).sum()
    }

    /// Waits for its end, and looks at `meanwhile` now and then.
    ///
    /// # Errors
    /// A signal to this program; a wait past the limit.
    pub(super) fn wait(
        &mut self,
        limit: Duration,
        mut meanwhile: impl FnMut(&Self),
    ) -> Result<ExitStatus, Halt> {
        let start = Instant::now();
        while start.elapsed() < limit {
            if let Some(status) = self.status() {
                return Ok(status);
            }
            interrupted()?;
            meanwhile(self);
            sleep(LOOK);
        }
        Err(Halt::Failed(format!("no end within {} s", limit.as_secs())))
    }

    /// Ends it where it has not ended, and takes stock.
    ///
    /// # Errors
    /// An instrument that cannot be read.
    pub(super) fn end(mut self) -> Result<Left, String> {
        let start = Instant::now();
        while self.status().is_none() && start.elapsed() < GRACE {
            self.signal(Signal::TERM);
            for _ in 0..10 {
                if self.status().is_some() {
                    break;
                }
                sleep(LOOK);
            }
        }
        // its children, and itself if it would not go
        self.signal(Signal::KILL);
        let _ = self.child.wait();
        let cpu_ns = self.group.as_ref().map(Group::cpu_ns).transpose()?;
        let said = |reader: Option<JoinHandle<String>>| reader.and_then(|reader| reader.join().ok());
        let (out, err) = (said(self.out.take()), said(self.err.take()));
        Ok(Left { cpu_ns, out: out.unwrap_or_default(), err: err.unwrap_or_default() })
    }

    fn signal(&mut self, signal: Signal) {
        match (&self.group, self.child.try_wait()) {
            (Some(group), _) => group.signal(signal),
            (None, Ok(None)) => {
                let child = rustix::process::Pid::from_child(&self.child);
                let _ = rustix::process::kill_process(child, signal);
            }
            (None, _) => {}
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// VmRSS of /proc/PID/status in bytes; a process that has ended has none.
fn resident(status: &str) -> u64 {
    let field = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = field.and_then(|field| field.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// The copy's part: `words` are what [`Running::start`] wrote after [`WORD`]. Returns only with a failure.
pub(super) fn become_program(mut words: impl Iterator<Item = OsString>) -> String {
    let mut next = || words.next().ok_or("a word is missing");
    let taken = (|| {
        let core = next()?.to_str().and_then(|word| word.parse().ok()).ok_or("no core")?;
        Ok::<_, &str>((core, PathBuf::from(next()?), PathBuf::from(next()?), next()?))
    })();
    let (core, namespace, entrance, file) = match taken {
        Ok(taken) => taken,
        Err(reason) => return format!("{WORD}: {reason}"),
    };
    if let Err(reason) = take_on(core, &namespace, &entrance) {
        return format!("{WORD}: {reason}");
    }
    let error = Command::new(&file).args(words).exec();
    format!("{}: {error}", Path::new(&file).display())
}

fn take_on(core: usize, namespace: &Path, entrance: &Path) -> Result<(), String> {
    let failed = |what: &'static str| move |error: rustix::io::Errno| format!("{what}: {error}");
    // nobody is to be left behind when the comparison is killed
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(failed("prctl"))?;
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(DESCRIPTORS, |most| most.min(DESCRIPTORS));
    let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum });
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).map_err(failed("sched_setaffinity"))?;
    if namespace != Path::new("") {
        let file = std::fs::File::open(namespace).map_err(|error| format!("namespace: {error}"))?;
        let kind = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(file.as_fd(), kind).map_err(failed("setns"))?;
    }
    if entrance != Path::new("") {
        let own = std::process::id().to_string();
        std::fs::write(entrance, own).map_err(|error| format!("{}: {error}", entrance.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wrapper_of_scripts_peers_is_seen_through() {
        let text = "#!/bin/sh\n\
            export LD_LIBRARY_PATH='/p/root/usr/lib'\"${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}\"\n\
            exec '/p/root/usr/bin/netperf' \"$@\"\n";
        let program = Program::in_wrapper(text).unwrap();
        assert_eq!(program.file, Path::new("/p/root/usr/bin/netperf"));
        assert_eq!(program.libraries.as_deref(), Some("/p/root/usr/lib"));
        assert_eq!(Program::in_wrapper("#!/bin/sh\nexec netperf\n"), None);
        assert_eq!(Program::in_wrapper("\u{7f}ELF"), None);
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t    2136 kB\n"), 2136 * 1024);
        assert_eq!(resident("Name:\tx\nState:\tZ\n"), 0);
    }

    #[test]
    fn last_words_name_what_was_wrong() {
        let left = |err: &str, out: &str| Left { cpu_ns: None, out: out.to_owned(), err: err.to_owned() };
        let told = r#"{"error": {"text": "unexpected argument '--gso' found"}}"#;
        assert_eq!(left("log\n", told).last_words(), "unexpected argument '--gso' found");
        assert_eq!(left("one\ntwo\n\n", "three").last_words(), "two");
        assert_eq!(left("", "three\n").last_words(), "three");
        assert_eq!(left("", "").last_words(), "it said nothing");
    }
}
