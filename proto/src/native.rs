//! Our own messages, which ride the same connection.
//!
//! A client may ask whether the server is one of ours (HELLO), and for what it knows of the last test
//! beyond netperf's results (REPORT). The request type is one no release of netperf has, so a stock
//! netserver answers [`crate::errno::UNKNOWN_REQUEST`] and stays usable; the spare header word is -1,
//! because a stock netserver would bind itself to the CPU it names. Nothing here is sent by the drop-in
//! `netperf`.
//!
//! Every message carries [`VERSION`] first. Later versions may add words at the end and verbs; they may not
//! move what stands here.

use crate::layout::layout;

/// The version of these messages.
pub const VERSION: u32 = 1;

/// Verbs of [`NativeRequest`].
pub mod verb {
    /// Say which version you speak.
    pub const HELLO: u32 = 1;
    /// Report on the last test of this connection.
    pub const REPORT: u32 = 2;
}

/// Values of [`NativeReport::engine`].
pub mod engine {
    /// io_uring.
    pub const IO_URING: u32 = 1;
    /// epoll and plain system calls.
    pub const EPOLL: u32 = 2;
    /// One blocking system call a message.
    pub const CLASSIC: u32 = 3;
}

/// Bits of [`NativeReport::features`]: what was in force during the test.
pub mod feature {
    /// Sockets were registered with the ring.
    pub const REGISTERED_FILES: u32 = 1;
    /// The ring's own descriptor was registered.
    pub const REGISTERED_RING: u32 = 2;
    /// Buffers were registered with the ring.
    pub const REGISTERED_BUFFERS: u32 = 4;
    /// Receives took their memory from a provided-buffer ring.
    pub const BUFFER_RING: u32 = 8;
    /// One receive request served many completions.
    pub const MULTISHOT: u32 = 16;
    /// One completion could cover many buffers.
    pub const BUNDLES: u32 = 32;
    /// The worker was seen running on its core.
    pub const CORE_VERIFIED: u32 = 64;
}

/// Bits of [`NativeReport::lacking`]: what was wished for and went without. The list is closed; what is not
/// in it is [`OTHER`](degraded::OTHER).
pub mod degraded {
    /// io_uring; epoll took its place.
    pub const IO_URING: u32 = 1;
    /// IORING_SETUP_DEFER_TASKRUN.
    pub const DEFER_TASKRUN: u32 = 1 << 1;
    /// IORING_SETUP_SINGLE_ISSUER.
    pub const SINGLE_ISSUER: u32 = 1 << 2;
    /// IORING_SETUP_COOP_TASKRUN.
    pub const COOP_TASKRUN: u32 = 1 << 3;
    /// IORING_SETUP_SUBMIT_ALL.
    pub const SUBMIT_ALL: u32 = 1 << 4;
    /// The ring's own descriptor, registered.
    pub const REGISTERED_RING: u32 = 1 << 5;
    /// Sockets registered with the ring.
    pub const REGISTERED_FILES: u32 = 1 << 6;
    /// Buffers registered with the ring.
    pub const REGISTERED_BUFFERS: u32 = 1 << 7;
    /// The provided-buffer ring.
    pub const BUFFER_RING: u32 = 1 << 8;
    /// One receive request for many completions.
    pub const MULTISHOT: u32 = 1 << 9;
    /// One completion for many buffers.
    pub const BUNDLES: u32 = 1 << 10;
    /// A worker pinned to a core.
    pub const PINNED_WORKER: u32 = 1 << 11;
    /// The core that was asked for.
    pub const CORE_ASKED_FOR: u32 = 1 << 12;
    /// The data address that was asked for.
    pub const DATA_ADDRESS: u32 = 1 << 13;
    /// An option of the data socket.
    pub const SOCKET_OPTION: u32 = 1 << 14;
    /// Every operation ended at the end of the test.
    pub const ORDERLY_TEARDOWN: u32 = 1 << 15;
    /// Something that has no bit of its own.
    pub const OTHER: u32 = 1 << 31;
}

layout! {
    /// A question of ours.
    NativeRequest = "NATIVE_REQUEST" {
        /// The version the client speaks.
        version: u32 = 8,
        /// One of [`verb`].
        verb: u32 = 12,
    }

    /// What every answer to it begins with, and all there is to a HELLO.
    NativeHello = "NATIVE_HELLO" {
        /// The version the server speaks.
        version: u32 = 8,
    }

    /// How the server ran the last test.
    NativeReport = "NATIVE_REPORT" {
        /// One of [`engine`].
        engine: u32 = 12,
        /// io_uring set-up flags in force, as the kernel numbers them; 0 with epoll.
        setup_bits: u32 = 16,
        /// Bits of [`feature`].
        features: u32 = 20,
        /// The core the worker was pinned to; -1: none.
        core: i32 = 24,
        /// Size of the pages under the arena as the engine numbers them.
        arena_backing: u32 = 28,
        /// How many features were asked for and not granted.
        degraded: u32 = 32,
        /// CPU time of the worker's thread, in nanoseconds.
        worker_cpu_ns: u64 = 36,
        /// The part of it in user mode.
        worker_user_ns: u64 = 44,
        /// The part of it in the kernel.
        worker_system_ns: u64 = 52,
        /// Length of the test by the server's clock, in nanoseconds.
        elapsed_ns: u64 = 60,
        /// Times the worker slept and was woken.
        wakeups: u64 = 68,
        /// Completions, or events with epoll.
        completions: u64 = 76,
        /// Receives whose data came in a buffer of the provided-buffer ring.
        receives_buffer_ring: u64 = 84,
        /// io_uring receives into memory named by the request.
        receives_single: u64 = 92,
        /// Receives by system call.
        receives_syscall: u64 = 100,
        /// Times the provided-buffer ring was empty.
        no_buffers: u64 = 108,
        /// SO_RCVBUF at the start of the test, in bytes.
        receive_buffer_start: u32 = 116,
        /// SO_RCVBUF at its end; TCP may have let it grow.
        receive_buffer_end: u32 = 120,
        /// Bits of [`degraded`]: which features were not granted.
        lacking: u32 = 124,
        /// The highest low-water mark (SO_RCVLOWAT) of a receiver over the test, in bytes: 1 where none was
        /// of use, 0 where none was to be set.
        low_water_bytes: u32 = 128,
    }
}
