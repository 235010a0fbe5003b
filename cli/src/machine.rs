//! What this machine is: the facts that make results of two of them incomparable.
//!
//! Reads a few files of /proc. What cannot be read is absent; nothing here fails.

use serde::{Deserialize, Serialize};

/// A machine, as far as results depend on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Name of the kernel and its release.
    pub(crate) kernel: Option<String>,
    /// Instruction set, by uname's name.
    pub(crate) architecture: Option<String>,
    /// What the processor calls itself.
    pub(crate) cpu: Option<String>,
    /// CPUs online.
    pub(crate) cpus: Option<usize>,
    /// Memory, in bytes.
    pub(crate) memory_bytes: Option<u64>,
    /// It runs under a hypervisor that says so.
    pub(crate) virtual_machine: bool,
}

impl Machine {
    /// This one.
    pub(crate) fn this() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).ok();
        let cpuinfo = read("/proc/cpuinfo").unwrap_or_default();
        let uname = rustix::system::uname();
        let text = |word: &std::ffi::CStr| word.to_str().ok().map(str::to_owned);
        Self {
            kernel: text(uname.sysname())
                .zip(text(uname.release()))
                .map(|(name, release)| format!("{name} {release}")),
            architecture: text(uname.machine()),
            cpu: field(&cpuinfo, "model name").map(str::to_owned),
            cpus: std::thread::available_parallelism().ok().map(usize::from),
            memory_bytes: read("/proc/meminfo").as_deref().and_then(memory),
            virtual_machine: field(&cpuinfo, "flags")
                .is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor")),
        }
    }
}

/// The first value of a name in `name : value` lines.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        (found.trim() == name).then(|| value.trim())
    })
}

/// Bytes of memory, from /proc/meminfo.
fn memory(text: &str) -> Option<u64> {
    let kilobytes: u64 = field(text, "MemTotal")?.strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read() {
        assert_eq!(memory("MemTotal:       24123456 kB\nMemFree: 1 kB\n"), Some(24_123_456 << 10));
        assert_eq!(memory("MemTotal: x kB"), None);
        let cpuinfo = "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu hypervisor\n";
        assert_eq!(field(cpuinfo, "model name"), Some("AMD EPYC"));
        assert_eq!(field(cpuinfo, "bogus"), None);
        assert!(Machine::this().kernel.is_some());
    }
}
