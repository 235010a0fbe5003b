//! What was asked and what was granted: the facts that travel with every number.
//!
//! Plain data; the modules that ask the kernel fill it in.

use serde::Serialize;

use crate::plan::{EngineChoice, SendPath};

/// The backend a run really used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// One blocking system call a message.
    Classic,
    /// Non-blocking system calls driven by epoll.
    Epoll,
    /// io_uring.
    Uring,
}

/// Sizes of the two socket buffers as getsockopt reports them, in bytes (Linux reports the doubled figure).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SocketBuffers {
    /// SO_SNDBUF.
    pub send: u32,
    /// SO_RCVBUF.
    pub receive: u32,
}

/// How the kernel treats a socket's packets, as getsockopt reports it right after it was set. The kernel
/// takes the ECN bits out of the type of service of TCP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PacketClass {
    /// SO_PRIORITY; `None`: not asked for, or refused.
    pub priority: Option<i32>,
    /// IP_TOS or IPV6_TCLASS; `None`: not asked for, or refused.
    pub type_of_service: Option<i32>,
}

/// Something wished for that the run went on without.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Degraded {
    /// What was wished for.
    pub feature: &'static str,
    /// Why it was not had, errno name included.
    pub reason: String,
    /// What took its place.
    pub instead: &'static str,
}

/// Which memory backs the arena.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Backing {
    /// Pages from the hugetlb pool (MAP_HUGETLB).
    HugePages,
    /// Ordinary pages, transparent huge pages not to be had.
    #[default]
    SmallPages,
    /// Transparent huge pages, asked for by madvise.
    TransparentHugePages,
}

/// The worker's core.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CoreFacts {
    /// Core asked for.
    pub asked: Option<usize>,
    /// Core the thread was pinned to; `None` when pinning was refused.
    pub pinned: Option<usize>,
    /// The thread was seen running on that core at the start and at the end.
    pub verified: bool,
}

/// What io_uring granted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UringFacts {
    /// Setup flags in force, by the kernel's names.
    pub setup_flags: Vec<&'static str>,
    /// The same as the kernel's bit mask.
    pub setup_bits: u32,
    /// Submission queue entries.
    pub submission_entries: u32,
    /// Completion queue entries.
    pub completion_entries: u32,
    /// Sockets are used through the ring's file table.
    pub registered_files: bool,
    /// The ring's own descriptor is registered.
    pub registered_ring: bool,
    /// The arena is registered as fixed buffers.
    pub registered_buffers: bool,
    /// How a TCP sender's messages went to the kernel; `None` for anybody else.
    pub send_path: Option<SendPath>,
    /// Entries of the provided-buffer ring; 0 when there is none.
    pub buffer_ring_entries: u16,
    /// Bytes of each of its buffers.
    pub buffer_ring_bytes: u32,
    /// Receives are multishot.
    pub multishot: bool,
    /// Receives may fill several buffers with one completion.
    pub bundles: bool,
    /// A sleep may be given a shortest length (min_wait_usec), where that gathers completions.
    pub minimum_wait: bool,
}

/// Everything that qualifies a run's numbers.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    /// Backend asked for.
    pub engine_asked: EngineChoice,
    /// Backend used.
    pub engine: Engine,
    /// Kernel release, as uname gives it.
    pub kernel: String,
    /// The workers' cores, one for each worker.
    pub cores: Vec<CoreFacts>,
    /// Bytes of each worker's arena.
    pub arena_bytes: u64,
    /// What backs it.
    pub arena_backing: Backing,
    /// SO_SNDBUF and SO_RCVBUF asked for; `None` left the default alone.
    pub buffers_asked: (Option<u32>, Option<u32>),
    /// What the socket had once the options were set, before any data.
    pub buffers_granted: SocketBuffers,
    /// Priority and type of service in force where they were asked for.
    pub packet_class: PacketClass,
    /// The workers looked for completions without sleeping.
    pub busy_poll: bool,
    /// The sender's socket was to take sends apart into datagrams (UDP_SEGMENT).
    pub segmentation: bool,
    /// The receiver's socket may bring many datagrams at once (UDP_GRO).
    pub coalescing: bool,
    /// Present when io_uring was used; every worker of a run has a ring of its own, set up alike.
    pub uring: Option<UringFacts>,
    /// What was wished for and not had, in the order it was found out.
    pub degraded: Vec<Degraded>,
}

impl Facts {
    /// Adds those of another worker of the run: its core, and what it alone goes without.
    pub(crate) fn join(&mut self, other: Self) {
        self.cores.extend(other.cores);
        for degraded in other.degraded {
            if !self.degraded.contains(&degraded) {
                self.degraded.push(degraded);
            }
        }
    }
}
