//! Our own messages, which ride the same connection.
//!
//! A client may ask whether the server is one of ours (HELLO), for what netperf's requests cannot say about
//! the next test (WISH), and for what the server knows of the last test beyond netperf's results (REPORT). It
//! may prove that it knows the passphrase, see [`crate::auth`] (CHALLENGE, PROVE).
//! The request type is one no release of netperf has, so a stock netserver answers
//! [`crate::errno::UNKNOWN_REQUEST`] and stays usable; the spare header word is -1, because a stock netserver
//! would bind itself to the CPU it names. Nothing here is sent by the drop-in `netperf`.
//!
//! Every message carries its version first. Later versions may add words at the end and verbs; they may not
//! move what stands here. A HELLO is answered with the version that the server speaks, what else is granted
//! with the version of the words in the answer, which is never above the one that was asked in.
//!
//! | version | brought |
//! |---|---|
//! | 1 | HELLO, REPORT |
//! | 2 | WISH, [`NativeDetail`] |
//! | 3 | [`NativeWishes::waiting`], [`without::SHARED_SEGMENTS`] |
//! | 4 | CHALLENGE, PROVE |
//!
//! A server that wants a passphrase answers CHALLENGE and PROVE alone until it has one, and older ones close.
//! One that wants none, or has it already, answers both with [`crate::errno::ENODATA`]: there is nothing to
//! prove.

use crate::frame::Frame;
use crate::layout::layout;

/// The version of these messages.
pub const VERSION: u32 = 4;

/// The first version with wishes and with the detail of a report.
pub const VERSION_OF_WISHES: u32 = 2;

/// The first version that can be wished to wait without sleeping.
pub const VERSION_OF_WAITING: u32 = 3;

/// The first version that takes a proof for a passphrase.
pub const VERSION_OF_PROOFS: u32 = 4;

/// Verbs of [`NativeRequest`].
pub mod verb {
    /// Say which version you speak.
    pub const HELLO: u32 = 1;
    /// Report on the last test of this connection.
    pub const REPORT: u32 = 2;
    /// Run the next test of this connection in this way, see [`NativeWishes`](super::NativeWishes).
    pub const WISH: u32 = 3;
    /// Name a nonce to prove by that we know the passphrase.
    pub const CHALLENGE: u32 = 4;
    /// See that we know it, by this [`NativeProof`](super::NativeProof).
    pub const PROVE: u32 = 5;
}

/// Bits of [`NativeWishes::without`]: what the server's engine shall not use.
pub mod without {
    /// One completion for many received buffers.
    pub const BUNDLES: u32 = 1;
    /// One receive request for many completions.
    pub const MULTISHOT: u32 = 1 << 1;
    /// The provided-buffer ring, and with it multishot.
    pub const BUFFER_RING: u32 = 1 << 2;
    /// IORING_SETUP_DEFER_TASKRUN.
    pub const DEFERRED_TASK_RUN: u32 = 1 << 3;
    /// Sockets registered with the ring.
    pub const REGISTERED_FILES: u32 = 1 << 4;
    /// Buffers registered with the ring.
    pub const REGISTERED_BUFFERS: u32 = 1 << 5;
    /// A low-water mark on the socket of a TCP receiver.
    pub const LOW_WATER: u32 = 1 << 6;
    /// A shortest sleep of a receiver, for several completions at once.
    pub const MINIMUM_WAIT: u32 = 1 << 7;
    /// Segments shared at the ends of a connection that is one transaction's. A server of version 2 refuses
    /// it.
    pub const SHARED_SEGMENTS: u32 = 1 << 8;
}

/// Bits of [`NativeWishes::offloads`].
pub mod offload {
    /// UDP_SEGMENT (GSO): one send makes many datagrams.
    pub const SEGMENTATION: u32 = 1;
    /// UDP_GRO: one receive takes many datagrams.
    pub const COALESCING: u32 = 1 << 1;
}

/// Values of [`NativeWishes::send_path`].
pub mod send_path {
    /// What the server thinks best.
    pub const AUTO: u32 = 0;
    /// Chains of linked sends from plain memory.
    pub const CHAIN: u32 = 1;
    /// Writes from registered memory.
    pub const REGISTERED: u32 = 2;
    /// Bundles of buffers.
    pub const BUNDLE: u32 = 3;
    /// Zero-copy sends.
    pub const ZERO_COPY: u32 = 4;
}

/// Values of [`NativeWishes::waiting`].
pub mod waiting {
    /// As the server's engine does it.
    pub const ASLEEP: u32 = 0;
    /// By looking for completions all the time.
    pub const BUSY: u32 = 1;
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
    /// Sends carried several datagrams each (UDP_SEGMENT).
    pub const SEGMENTATION: u32 = 1 << 7;
    /// Receives could bring several datagrams each (UDP_GRO).
    pub const COALESCING: u32 = 1 << 8;
    /// Sends did not copy the payload, unless the kernel said so.
    pub const ZERO_COPY: u32 = 1 << 9;
    /// One send request could take many buffers.
    pub const SEND_BUNDLES: u32 = 1 << 10;
    /// Waits for completions had a least time (min_wait_usec).
    pub const MINIMUM_WAIT: u32 = 1 << 11;
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
    /// One send request for many buffers.
    pub const SEND_BUNDLES: u32 = 1 << 16;
    /// Sends that do not copy.
    pub const ZERO_COPY: u32 = 1 << 17;
    /// UDP_SEGMENT.
    pub const SEGMENTATION: u32 = 1 << 18;
    /// UDP_GRO.
    pub const COALESCING: u32 = 1 << 19;
    /// A least time of waits for completions.
    pub const MINIMUM_WAIT: u32 = 1 << 20;
    /// The socket's own count of datagrams that it dropped (SO_RXQ_OVFL).
    pub const DROP_COUNTER: u32 = 1 << 21;
    /// Workers that poll, as was wished for.
    pub const BUSY_POLL: u32 = 1 << 22;
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

    /// How the next test shall be run: behind the words of a [`NativeRequest`] what is wished for, and in the
    /// answer, at the same places, what is granted. [`crate::Wishes`] says what the words mean.
    NativeWishes = "NATIVE_WISHES" {
        /// TCP data connections; not 0.
        flows: u32 = 16,
        /// Workers to spread them over; not 0. The answer may have fewer.
        workers: u32 = 20,
        /// Bits of [`without`].
        without: u32 = 24,
        /// Bits of [`offload`].
        offloads: u32 = 28,
        /// One of [`send_path`].
        send_path: u32 = 32,
        /// Payload of all flows together in bits a second; 0: as fast as possible.
        rate: u64 = 36,
        /// One of [`waiting`]; a server of version 2 does not know of it.
        waiting: u32 = 44,
    }

    /// The answer to a CHALLENGE, behind a [`NativeHello`].
    NativeChallenge = "NATIVE_CHALLENGE" {
        /// What to prove by; of one proof only.
        nonce: [u8; 32] = 16,
    }

    /// A proof, behind the words of a [`NativeRequest`].
    NativeProof = "NATIVE_PROOF" {
        /// See [`crate::auth`].
        proof: [u8; 32] = 16,
    }

    /// How the server ran the last test.
    NativeReport = "NATIVE_REPORT" {
        /// One of [`engine`].
        engine: u32 = 12,
        /// io_uring set-up flags in force, as the kernel numbers them; 0 with epoll.
        setup_bits: u32 = 16,
        /// Bits of [`feature`].
        features: u32 = 20,
        /// The core the worker was pinned to, of several the first one; -1: none.
        core: i32 = 24,
        /// Size of the pages under the arena as the engine numbers them.
        arena_backing: u32 = 28,
        /// How many features were asked for and not granted.
        degraded: u32 = 32,
        /// CPU time of the worker's thread, of several together, in nanoseconds.
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

    /// What version 2 tells beyond a [`NativeReport`], behind its words. A count that the server has not is
    /// all ones on the wire.
    NativeDetail = "NATIVE_DETAIL" {
        /// Workers that ran.
        workers: u32 = 132,
        /// Data connections that came about; over UDP 1 once a datagram has come.
        flows: u32 = 136,
        /// Payload bytes of the flow that moved the fewest.
        flow_bytes_min: u64 = 140,
        /// Payload bytes of the flow that moved the most.
        flow_bytes_max: u64 = 148,
        /// Jain's fairness index of the bytes of all flows, in millionths: the square of their sum, divided
        /// by the sum of their squares and by their number. 1000000 is all alike; 0: nothing moved.
        fairness_millionths: u32 = 156,
        /// By how many bytes low-water marks made the kernel enlarge SO_RCVBUF of all flows when they were
        /// set, beside what its own tuning did; stops at the largest number.
        receive_buffer_enlarged: u32 = 160,
        /// Payload bytes received.
        bytes_received: u64 = 164,
        /// Payload bytes the kernel took; the results count whole messages alone.
        bytes_sent: u64 = 172,
        /// Receives that returned data. The results have 32 bits for it.
        receives: u64 = 180,
        /// Datagrams received; 0 over TCP.
        datagrams: u64 = 188,
        /// Receives that brought more than one datagram.
        coalesced_receives: u64 = 196,
        /// Datagrams that the socket dropped because its buffer was full (SO_RXQ_OVFL).
        socket_drops: Option<u64> = 204,
        /// How much the machine's count of such drops grew over the test, those of all sockets together
        /// (RcvbufErrors of UDP).
        receive_buffer_errors: Option<u64> = 212,
        /// Whole messages sent. The results have 32 bits for it.
        messages_sent: u64 = 220,
        /// Sends that carried several datagrams.
        segmented_sends: u64 = 228,
        /// Sends that asked for no copy.
        zero_copy_sends: u64 = 236,
        /// Those of them of which the kernel said that it copied all the same.
        zero_copy_copied: u64 = 244,
        /// Times a low-water mark was changed.
        low_water_changes: u64 = 252,
        /// Times it had to be let go because bytes below it lay unread for too long.
        low_water_expired: u64 = 260,
    }
}

/// What a server tells of the last test: what every version tells, and what later ones add.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The words of version 1.
    pub base: NativeReport,
    /// The words of version 2; `None`: the server speaks version 1, and nothing is known of them.
    pub detail: Option<NativeDetail>,
}

impl Report {
    /// Writes the report for a client that speaks `version`, and the version of what is there.
    pub(crate) fn encode(&self, version: u32, frame: &mut Frame) {
        let detail = self.detail.as_ref().filter(|_| version >= VERSION_OF_WISHES);
        let version = if detail.is_some() { VERSION_OF_WISHES } else { 1 };
        NativeHello { version }.encode(frame);
        self.base.encode(frame);
        if let Some(detail) = detail {
            detail.encode(frame);
        }
    }

    /// Reads the report of a frame whose words are those of `version`.
    pub(crate) fn decode(version: u32, frame: &Frame) -> Self {
        Self {
            base: NativeReport::decode(frame),
            detail: (version >= VERSION_OF_WISHES).then(|| NativeDetail::decode(frame)),
        }
    }
}
