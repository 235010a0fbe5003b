//! The instrument that charges every tool alike: a cgroup of its own for each process and its children.
//!
//! It counts the CPU time of all that runs in it, in the kernel too, from the program's first instruction to
//! its end, whatever the program says about itself. What the kernel does for a connection while nobody's
//! process runs (softirqs on an idle core) is in no cgroup.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{NAME, left_behind};

/// Where the groups of this machine are made.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hierarchy {
    version: Version,
    root: PathBuf,
}

/// The two interfaces of the kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Version {
    /// The controller cpuacct, in nanoseconds.
    V1,
    /// The unified hierarchy, in microseconds; it counts without any controller.
    V2,
}

impl Hierarchy {
    /// That of this machine.
    ///
    /// # Errors
    /// Where there is none, or no group can be made in it.
    pub(super) fn of_this_machine() -> Result<Self, String> {
        let mounts = fs::read_to_string("/proc/mounts").map_err(|error| format!("/proc/mounts: {error}"))?;
        let found = Self::in_mounts(&mounts).ok_or("no cgroup hierarchy that counts CPU time is mounted")?;
        found.group("probe").map(drop)?;
        Ok(found)
    }

    /// The finer one of those mounted.
    fn in_mounts(mounts: &str) -> Option<Self> {
        let hierarchies = mounts.lines().filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (root, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
            let version = match kind {
                "cgroup" if options.split(',').any(|option| option == "cpuacct") => Version::V1,
                "cgroup2" => Version::V2,
                _ => return None,
            };
            Some(Self { version, root: PathBuf::from(root) })
        });
        hierarchies.min_by_key(|hierarchy| hierarchy.version == Version::V2)
    }

    /// A new, empty group.
    ///
    /// # Errors
    /// The kernel's, with the folder that it refused.
    pub(super) fn group(&self, name: &str) -> Result<Group, String> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let folder = self.root.join(format!("{NAME}{}-{number}-{name}", std::process::id()));
        fs::create_dir(&folder).map_err(|error| format!("cgroup {}: {error}", folder.display()))?;
        Ok(Group { version: self.version, folder })
    }

    /// Removes groups of comparisons that were killed, with what still runs in them.
    pub(super) fn sweep(&self) {
        for name in left_behind(&self.root) {
            drop(Group { version: self.version, folder: self.root.join(name) });
        }
    }

    /// The file that the figures come from, for the report.
    pub(super) fn source(&self) -> &'static str {
        match self.version {
            Version::V1 => "cgroup v1 cpuacct.usage, ns",
            Version::V2 => "cgroup v2 cpu.stat usage_usec, us",
        }
    }
}

/// A group of processes. When dropped, what still runs in it is killed and the group removed.
#[derive(Debug)]
pub(super) struct Group {
    version: Version,
    folder: PathBuf,
}

impl Group {
    /// The file to which a process writes its number to join.
    pub(super) fn entrance(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }

    /// CPU time so far, in nanoseconds.
    ///
    /// # Errors
    /// Where the file cannot be read or understood.
    pub(super) fn cpu_ns(&self) -> Result<u64, String> {
        match self.version {
            Version::V1 => nanoseconds_v1(&read(&self.folder.join("cpuacct.usage"))?),
            Version::V2 => nanoseconds_v2(&read(&self.folder.join("cpu.stat"))?),
        }
        .ok_or_else(|| format!("no CPU time in {}", self.folder.display()))
    }

    /// The processes in it.
    pub(super) fn members(&self) -> Vec<Pid> {
        let list = fs::read_to_string(self.entrance()).unwrap_or_default();
        list.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)).collect()
    }

    /// Signals every process in it.
    pub(super) fn signal(&self, signal: Signal) {
        for member in self.members() {
            // one that has just ended is none to worry about
            let _ = kill_process(member, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for _ in 0..100 {
            self.signal(Signal::KILL);
            match fs::remove_dir(&self.folder) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => sleep(Duration::from_millis(10)),
                _ => return,
            }
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// What cpuacct.usage says.
fn nanoseconds_v1(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// What cpu.stat says.
fn nanoseconds_v2(text: &str) -> Option<u64> {
    let microseconds: u64 =
        text.lines().find_map(|line| line.strip_prefix("usage_usec "))?.trim().parse().ok()?;
    microseconds.checked_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &str = "\
tmpfs /sys/fs/cgroup tmpfs rw,relatime,mode=755 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0
";

    #[test]
    fn nanoseconds_are_preferred_to_microseconds() {
        let found = Hierarchy::in_mounts(BOTH).unwrap();
        assert_eq!(found.version, Version::V1);
        assert_eq!(found.root, Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        let unified = Hierarchy::in_mounts("none /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n").unwrap();
        assert_eq!((unified.version, unified.root), (Version::V2, PathBuf::from("/sys/fs/cgroup")));
        assert_eq!(Hierarchy::in_mounts("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n"), None);
        assert_eq!(Hierarchy::in_mounts("garbage\n\n"), None);
    }

    #[test]
    fn both_files_are_read_in_nanoseconds() {
        assert_eq!(nanoseconds_v1("274511306\n"), Some(274_511_306));
        assert_eq!(nanoseconds_v1(""), None);
        let stat = "usage_usec 5140\nuser_usec 140\nsystem_usec 5000\nnice_usec 0\n";
        assert_eq!(nanoseconds_v2(stat), Some(5_140_000));
        assert_eq!(nanoseconds_v2("user_usec 140\n"), None);
    }
}
