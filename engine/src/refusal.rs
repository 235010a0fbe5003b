//! What is behind a refusal of the kernel, and what to do about it: from the errno, and from what the system
//! says of itself.
//!
//! The errno alone never names the cause: seccomp profiles answer EPERM or ENOSYS, and so do settings and
//! kernels without the feature. So [`System`] is read when something is refused, and one table here turns
//! both into words. It decides nothing and tries nothing again.

use std::io;

use crate::sys::errno_name;

/// Why, and who decides it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The errno's name, and what is behind it.
    pub cause: String,
    /// The setting that decides it.
    pub setting: &'static str,
    /// What to do next.
    pub next: &'static str,
}

/// What the system says of itself, as far as it decides who may have a ring.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// kernel.io_uring_disabled (Linux 6.6); `None` where there is no such setting.
    pub io_uring_disabled: Option<String>,
    /// `Seccomp:` of /proc/self/status: 2 is a filter.
    pub seccomp: Option<String>,
    /// The capability that kernel.io_uring_disabled=1 asks for (CAP_SYS_ADMIN), held on the host: that of a
    /// user namespace does not count, as far as its map of users tells it apart.
    pub administers: bool,
    /// The limit on locked memory, as /proc/self/limits words it.
    pub locked_memory: Option<String>,
}

/// Bit of CAP_SYS_ADMIN (linux/capability.h).
const CAP_SYS_ADMIN: u32 = 21;
/// /proc/self/uid_map outside of all user namespaces (user_namespaces(7)); a kernel without them has none.
const HOST_USERS: [&str; 3] = ["0", "0", "4294967295"];

impl System {
    /// As it is now. What cannot be read is not known.
    pub fn read() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let sysctl = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok();
        let (status, limits, users) =
            (read("/proc/self/status"), read("/proc/self/limits"), read("/proc/self/uid_map"));
        Self::of(sysctl.as_deref(), &status, &limits, &users)
    }

    fn of(sysctl: Option<&str>, status: &str, limits: &str, users: &str) -> Self {
        let field = |name: &str| status.lines().find_map(|line| Some(line.strip_prefix(name)?.trim()));
        let capabilities = field("CapEff:").and_then(|set| u64::from_str_radix(set, 16).ok());
        let locked = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"));
        Self {
            io_uring_disabled: sysctl.map(|value| value.trim().to_owned()),
            seccomp: field("Seccomp:").map(str::to_owned),
            administers: capabilities.is_some_and(|set| set >> CAP_SYS_ADMIN & 1 != 0)
                && (users.is_empty() || users.split_whitespace().eq(HOST_USERS)),
            locked_memory: locked.and_then(|rest| Some(rest.split_whitespace().next()?.to_owned())),
        }
    }

    fn is_filtered(&self) -> bool {
        self.seccomp.as_deref() == Some("2")
    }
}

/// Why io_uring_setup was refused with this errno.
pub fn of_ring(errno: i32, system: &System) -> Refusal {
    let name = errno_name(errno);
    let (cause, setting, next) = ring_words(&name, system);
    Refusal { cause: format!("io_uring_setup: {name}: {cause}"), setting, next }
}

fn ring_words(name: &str, system: &System) -> (String, &'static str, &'static str) {
    let says = |text: &str| text.to_owned();
    match (name, system.io_uring_disabled.as_deref()) {
        ("EMFILE" | "ENFILE", _) => {
            let (setting, next) = descriptors(name);
            (says("no descriptor is left for the ring"), setting, next)
        }
        ("ENOMEM", _) => {
            let limit = system.locked_memory.as_deref().unwrap_or("unknown");
            (
                format!("rings and their buffers are locked memory, whose limit is {limit} bytes"),
                "the limit on locked memory (ulimit -l)",
                "ulimit -l unlimited, in a container docker run --ulimit memlock=-1; or use --engine epoll",
            )
        }
        ("EPERM", Some("2")) => (
            says("kernel.io_uring_disabled is 2, which refuses rings to everybody"),
            "the sysctl kernel.io_uring_disabled",
            "sysctl -w kernel.io_uring_disabled=0; or use --engine epoll",
        ),
        ("EPERM", Some("1")) if !system.administers => (
            says("kernel.io_uring_disabled is 1, which refuses rings to all but CAP_SYS_ADMIN and one group"),
            "the sysctls kernel.io_uring_disabled and kernel.io_uring_group",
            "sysctl -w kernel.io_uring_group=\"$(id -g)\"; or use --engine epoll",
        ),
        ("EPERM", _) if system.is_filtered() => (
            says("a seccomp filter refuses it, as the default profiles of Docker and containerd do"),
            PROFILE,
            ALLOW,
        ),
        ("ENOSYS", _) if system.is_filtered() => (
            says("a seccomp filter refuses it, as Podman's does, or the kernel has no io_uring, as gVisor's"),
            PROFILE,
            ALLOW,
        ),
        ("ENOSYS", _) => (
            says(
                "the kernel has no io_uring: built without CONFIG_IO_URING, or gVisor's, which leaves it out",
            ),
            "CONFIG_IO_URING of the kernel, and the container's runtime",
            "grep IO_URING \"/boot/config-$(uname -r)\"; or use --engine epoll",
        ),
        ("EACCES", _) => (
            says("a security module refuses it, as SELinux does by its class io_uring"),
            "the SELinux policy",
            "ausearch -m avc -ts recent shows the rule that is missing; or use --engine epoll",
        ),
        ("EINVAL", _) => (
            says("the kernel takes a ring of this kind not even without flags: it is too old, or gVisor's"),
            "the kernel's release, 5.11 or later, and the container's runtime",
            "uname -r; or use --engine epoll",
        ),
        _ => (
            format!(
                "nothing that can be read explains it (kernel.io_uring_disabled: {}, Seccomp: {})",
                system.io_uring_disabled.as_deref().unwrap_or("absent"),
                system.seccomp.as_deref().unwrap_or("absent")
            ),
            "security modules and sandboxes around this process",
            "use --engine epoll",
        ),
    }
}

const PROFILE: &str = "the seccomp profile of the container or service";

const ALLOW: &str = "docker run --security-opt seccomp=FILE, a profile with io_uring_setup, io_uring_enter \
                     and io_uring_register; or use --engine epoll";

/// Who decides on descriptors.
fn descriptors(name: &str) -> (&'static str, &'static str) {
    match name {
        "ENFILE" => ("the system's limit on open files (fs.file-max)", "sysctl fs.file-max fs.file-nr"),
        _ => ("the limit on open files (ulimit -n)", "ulimit -n 65536, or LimitNOFILE= of the service"),
    }
}

/// Who decides on a system call of the set-up; `hint` is what there is to say of other errnos.
pub(crate) fn of_call<'a>(call: &str, source: &io::Error, hint: &'a str) -> (&'a str, &'a str) {
    let name = source.raw_os_error().map(errno_name).unwrap_or_default();
    match (call, name.as_str()) {
        (_, "EMFILE" | "ENFILE") => descriptors(&name),
        ("clone3", "EAGAIN") => (
            "the limits on processes: ulimit -u, and pids.max of the container or service",
            "ulimit -u unlimited; in a container docker run --pids-limit -1, in a service TasksMax=infinity",
        ),
        (_, "ENOMEM") => ("the memory that this process may have (ulimit -v, memory.max)", hint),
        _ => ("the limits of this process and of its container", hint),
    }
}

/// Why a thread cannot run on this core.
pub(crate) fn of_core(core: usize, error: &io::Error) -> String {
    let name = crate::sys::error_name(error);
    let decides = match name.as_str() {
        "EINVAL" => "the core is offline, or outside of the cpuset: docker run --cpuset-cpus, AllowedCPUs=",
        "EPERM" => "a sandbox refuses it: the seccomp profile, or a runtime without affinity",
        _ => "the seccomp profile, or the container's runtime",
    };
    format!("sched_setaffinity refused core {core}: {name}; what decides it: {decides}")
}

/// What decides the cores that a process may use.
pub(crate) const MASK: &str = "taskset, CPUAffinity= and the cpuset (docker run --cpuset-cpus) decide it";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_is_read_as_the_kernel_words_it() {
        let status = "Name:\tx\nCapEff:\t0000000000200000\nSeccomp:\t2\nSeccomp_filters:\t1\n";
        let limits =
            "Limit  Soft Limit  Hard Limit  Units\nMax locked memory         65536    65536    bytes\n";
        let read = System::of(Some("1\n"), status, limits, "         0          0 4294967295\n");
        let expected = System {
            io_uring_disabled: Some("1".to_owned()),
            seccomp: Some("2".to_owned()),
            administers: true,
            locked_memory: Some("65536".to_owned()),
        };
        assert_eq!(read, expected);
        assert!(!System::of(None, status, limits, "0 1000 1\n").administers, "of a user namespace");
        assert_eq!(System::of(None, "", "", ""), System::default());
        assert!(System::read().seccomp.is_some(), "every kernel that we run on tells it");
    }

    #[test]
    fn what_refuses_a_ring_is_not_blamed_on_what_does_not() {
        let cause = |errno, system: &System| of_ring(errno, system).cause;
        let sandboxed = System { seccomp: Some("2".to_owned()), ..System::default() };
        let off = System { io_uring_disabled: Some("2".to_owned()), ..sandboxed.clone() };
        let restricted = System { io_uring_disabled: Some("1".to_owned()), ..sandboxed.clone() };
        let root = System { administers: true, ..restricted.clone() };
        let open = System { io_uring_disabled: Some("0".to_owned()), ..sandboxed };
        assert!(cause(1, &off).contains("is 2"), "the sysctl counts before the filter");
        assert!(cause(1, &restricted).contains("is 1"));
        assert!(cause(1, &root).contains("seccomp"), "who administers is not refused by 1");
        assert!(cause(1, &open).contains("seccomp"));
        assert!(cause(38, &off).contains("seccomp"), "the sysctl answers EPERM alone");
        assert!(cause(13, &open).contains("SELinux"));
        assert!(cause(1, &System::default()).contains("nothing that can be read"));
    }

    #[test]
    fn a_core_that_is_refused_names_who_decides() {
        assert_eq!(
            of_core(3, &io::Error::from_raw_os_error(22)),
            "sched_setaffinity refused core 3: EINVAL; what decides it: the core is offline, or outside of \
             the cpuset: docker run --cpuset-cpus, AllowedCPUs="
        );
        assert_eq!(
            of_core(0, &io::Error::from_raw_os_error(1)),
            "sched_setaffinity refused core 0: EPERM; what decides it: a sandbox refuses it: the seccomp \
             profile, or a runtime without affinity"
        );
    }
}
