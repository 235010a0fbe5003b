//! Who brought an environment up, and whether that process still lives.
//!
//! A process id alone is given to another process sooner or later; with the start time it is one process of
//! one boot. Sends no signals and ends nothing.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Class, Failure};

/// One process, on one machine, in one boot of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    /// Process id, in its own namespace of them.
    pub(crate) pid: u32,
    /// When it started, in clock ticks since the boot (field 22 of /proc/PID/stat).
    pub(crate) start: u64,
    /// The namespace that the process id is of, as /proc/PID/ns/pid names it.
    pub(crate) pid_namespace: String,
    /// Host name of the machine.
    pub(crate) machine: String,
    /// Boot id of the kernel.
    pub(crate) boot: String,
}

/// What can be said of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Life {
    /// It runs.
    Alive,
    /// It has ended.
    Dead,
    /// It is of another machine, or in another namespace of process ids: it cannot be seen from here.
    Elsewhere,
}

impl Owner {
    /// This process.
    ///
    /// # Errors
    /// ENV where /proc does not tell.
    pub(crate) fn this() -> Result<Self, Failure> {
        let tried = "tell this process from others";
        let failed = |error: &std::io::Error| {
            Failure::io(Class::Environment, tried, error)
                .setting("whether /proc is mounted")
                .next("ls /proc/self/stat /proc/self/ns/pid /proc/sys/kernel/random/boot_id")
        };
        let boot =
            std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(|error| failed(&error))?;
        let namespace = std::fs::read_link("/proc/self/ns/pid").map_err(|error| failed(&error))?;
        let pid = std::process::id();
        let start = start_of(Path::new("/proc"), pid).ok_or_else(|| {
            Failure::new(Class::Environment, tried, "/proc/self/stat has no start time")
                .setting("whether /proc is mounted")
                .next("cat /proc/self/stat")
        })?;
        Ok(Self {
            pid,
            start,
            pid_namespace: namespace.to_string_lossy().into_owned(),
            machine: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            boot: boot.trim().to_owned(),
        })
    }

    /// Whether it lives, as far as `me` can see. What cannot be seen is not dead.
    pub(crate) fn life(&self, me: &Self) -> Life {
        self.life_in(me, Path::new("/proc"))
    }

    fn life_in(&self, me: &Self, proc: &Path) -> Life {
        if self.machine != me.machine {
            Life::Elsewhere
        } else if self.boot != me.boot {
            Life::Dead
        } else if self.pid_namespace != me.pid_namespace {
            Life::Elsewhere
        } else if start_of(proc, self.pid) == Some(self.start) {
            Life::Alive
        } else {
            Life::Dead
        }
    }

    /// In one word, for a label: the process and where it is, without the boot.
    pub(crate) fn label(&self) -> String {
        format!("{} {} {} {}", self.pid, self.start, self.pid_namespace, self.machine)
    }

    /// The owner that two labels name.
    pub(crate) fn from_labels(owner: &str, boot: &str) -> Option<Self> {
        let mut words = owner.splitn(4, ' ');
        Some(Self {
            pid: words.next()?.parse().ok()?,
            start: words.next()?.parse().ok()?,
            pid_namespace: words.next()?.to_owned(),
            machine: words.next()?.to_owned(),
            boot: Some(boot).filter(|boot| !boot.is_empty())?.to_owned(),
        })
    }
}

/// When a process started, unless it has ended. One that its parent has not waited for yet has ended.
fn start_of(proc: &Path, pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(proc.join(pid.to_string()).join("stat")).ok()?;
    // The name in the second field may hold spaces and parentheses.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    // The first of these is field 3 of proc(5)'s list, the start time is field 22.
    fields.nth(22 - 4)?.parse().ok().filter(|_| !matches!(state, "Z" | "X"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me() -> Owner {
        Owner::this().expect("this process has a /proc")
    }

    #[test]
    fn this_process_lives_and_one_with_its_number_does_not() {
        let me = me();
        assert_eq!(me.life(&me), Life::Alive);
        assert_eq!(Owner { start: me.start + 1, ..me.clone() }.life(&me), Life::Dead);
        assert_eq!(Owner { boot: "another".to_owned(), ..me.clone() }.life(&me), Life::Dead);
        // Above every value of kernel.pid_max.
        assert_eq!(Owner { pid: 1 << 23, ..me.clone() }.life(&me), Life::Dead);
    }

    #[test]
    fn what_cannot_be_seen_is_not_dead() {
        let me = me();
        let other = Owner { pid_namespace: "pid:[1]".to_owned(), pid: 1 << 23, ..me.clone() };
        assert_eq!(other.life(&me), Life::Elsewhere);
        let other = Owner { machine: "another".to_owned(), boot: "another".to_owned(), ..me.clone() };
        assert_eq!(other.life(&me), Life::Elsewhere);
    }

    #[test]
    fn an_ended_child_is_dead_before_it_is_waited_for() {
        let mut child = std::process::Command::new("true").spawn().expect("true starts");
        let proc = Path::new("/proc");
        let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while start_of(proc, child.id()).is_some() && std::time::Instant::now() < until {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert_eq!(start_of(proc, child.id()), None);
        child.wait().expect("it is ours");
    }

    #[test]
    fn labels_name_the_owner() {
        let me = me();
        assert_eq!(Owner::from_labels(&me.label(), &me.boot), Some(me.clone()));
        assert_eq!(Owner::from_labels("12 x pid:[1] vm", "boot"), None);
        assert_eq!(Owner::from_labels(&me.label(), ""), None);
    }
}
