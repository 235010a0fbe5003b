//! Opening a ring: the retry ladder, the probe, the registrations, and then the self-test.
//!
//! Asks the kernel, never its version number. Whatever is not granted is left out, newest first, and
//! recorded; only when nothing usable is left does opening fail, with the reason the system gives.
#![expect(unsafe_code, reason = "registers memory with the kernel; each block says why it is sound")]

use std::io;
use std::time::{Duration, Instant};

use io_uring::{IoUring, Probe, opcode};

use super::buffers::{self, BufferRing};
use super::connections;
use super::handle::Handle;
use super::send::{Chain, Sending};
use super::{ReceivePath, Ring, selftest};
use crate::arena::Arena;
use crate::error::Error;
use crate::facts::{Degraded, UringFacts};
use crate::layout::Layout;
use crate::outcome::Operations;
use crate::plan::{Plan, PlanOptions, Protocol, Role, SendPath, Without};
use crate::refusal::{self, Refusal, System};
use crate::sys::{Errno, error_name};
use crate::wakes::MARKED_FLOWS_MAX;

/// Submission queue entries of one flow: the largest batch, its cancel, a receive and the watch on the stop
/// event. Many flows may have more, so that one turn of theirs is one submission.
const SUBMISSION_ENTRIES: u32 = 128;
/// Most submission queue entries: more do not make a submission cheaper.
const SUBMISSION_ENTRIES_MAX: u32 = 4096;
/// Operations of each flow beside its sends and the provided buffers: a receive and cancels; for the first
/// one also the watch on the stop event.
const OTHER_OPERATIONS: u32 = 8;
/// Batches of zero-copy sends whose notifications find room at once; more of them wait in the kernel.
const ZERO_COPY_BATCHES: u32 = 8;
/// Most completion queue entries that the kernel grants (IORING_MAX_CQ_ENTRIES).
const COMPLETION_ENTRIES_MAX: u32 = 65_536;

/// How long memory of rings closed before may take to come back: it takes milliseconds, and where the limit
/// is too low for good, each run starts this much later.
const MEMORY_PATIENCE: Duration = Duration::from_millis(400);

/// Opens a ring for the plan on the calling thread, which from then on is the only one to use it.
///
/// # Errors
/// [`Error::UringRefused`] says who refuses.
pub(crate) fn open(plan: &Plan, degraded: &mut Vec<Degraded>) -> Result<Ring, Error> {
    let without = plan.options().without;
    let (uring, mut facts) =
        build_patiently(plan.layout(), plan.options(), degraded).map_err(|error| refusal(&error))?;
    note_minimum_wait(plan, &facts, degraded);
    if let Err(missing) = probe(&uring, plan.options()) {
        let reason = format!("the kernel lacks {missing}");
        let setting = "the kernel's release";
        return Err(Error::UringRefused { errno: None, reason, setting, hint: "use --engine epoll" });
    }
    let arena = map_arena(plan).map_err(Error::memory)?;
    let mut uring = Handle::new(uring);
    register_ring(&mut uring, &mut facts, degraded);
    if !plan.options().connects_each() {
        register_file_table(&uring, plan.layout(), without, &mut facts, degraded);
    }
    let layout = plan.layout();
    let options = plan.options();
    let sending = first_sending(&uring, &arena, plan, &mut facts, degraded);
    let buffers = match plan.options().role {
        // Receives of connections that come and go have each a place of their own.
        _ if options.connects_each() => None,
        Role::Receive | Role::Request | Role::Respond => {
            register_buffer_ring(&uring, &arena, layout, without, &mut facts, degraded)
        }
        // It receives nothing but the end of the stream.
        Role::Send => None,
    };
    let unregisters = can_unregister(&uring, &facts);
    let mut ring = Ring {
        receive_path: first_receive_path(&uring, buffers.is_some(), options, degraded),
        sending,
        // Until the self-test has seen that it works.
        offers: false,
        uring,
        arena,
        buffers,
        slots: layout.single,
        address: layout.address,
        to: None,
        watching: false,
        connections: None,
        shares_segments: options.shares_segments(),
        sockets: vec![-1; layout.flows as usize],
        open: vec![0; layout.flows as usize],
        chains: vec![Chain::default(); layout.flows as usize],
        in_flight: 0,
        facts,
        batch: layout.batch,
        busy_poll: options.busy_poll,
        at_least: Duration::ZERO,
        unregisters,
        skipped_before: 0,
        offered: false,
        refused: None,
        operations: Operations::default(),
    };
    ring.arena.fill(layout.send, plan.options().payload.as_deref());
    selftest::run(ring, plan, degraded)
}

/// Whether registered memory and files can be taken back by a call of the thread that uses them. The call
/// waits for the last reference to each, which a worker of the kernel may drop behind the completion that we
/// have seen: by task work, where that is deferred, and Linux 6.1 does not run that in the call, which then
/// has no end. Kernels with bundles (6.10) do. Elsewhere they go with the ring, a little later.
fn can_unregister(uring: &Handle, facts: &UringFacts) -> bool {
    let deferred = facts.setup_bits & DEFER_TASKRUN != 0;
    !deferred || uring.uring().params().is_feature_recvsend_bundle()
}

/// Zero-copy sends charge the socket for all of a registered huge page that lies before what they send
/// (`io_sg_from_iter` of the kernel), which fills its buffer with a few small messages.
fn map_arena(plan: &Plan) -> io::Result<Arena> {
    let bytes = plan.layout().arena_bytes;
    if plan.layout().send_path == SendPath::ZeroCopy {
        Arena::map_small_pages(bytes)
    } else {
        Arena::map(bytes)
    }
}

/// One rung of the ladder: a setup flag, and the mainline release that brought it.
struct Flag {
    name: &'static str,
    bit: u32,
    set: fn(&mut io_uring::Builder) -> &mut io_uring::Builder,
    without: &'static str,
}

/// IORING_SETUP_DEFER_TASKRUN.
const DEFER_TASKRUN: u32 = 1 << 13;

/// Newest first: an older kernel refuses a flag it does not know with a bare EINVAL, so they are dropped in
/// this order until it agrees. Bits are those of the kernel's uapi header io_uring.h.
static FLAGS: [Flag; 4] = [
    Flag {
        name: "DEFER_TASKRUN",
        bit: DEFER_TASKRUN,
        set: |b| b.setup_defer_taskrun(),
        without: "task work runs whenever the kernel is entered",
    },
    Flag { name: "SINGLE_ISSUER", bit: 1 << 12, set: |b| b.setup_single_issuer(), without: "a shared ring" },
    Flag {
        name: "COOP_TASKRUN",
        bit: 1 << 8,
        set: |b| b.setup_coop_taskrun(),
        without: "interrupts by task work",
    },
    Flag {
        name: "SUBMIT_ALL",
        bit: 1 << 7,
        set: |b| b.setup_submit_all(),
        without: "submission stops at errors",
    },
];

/// Place of COOP_TASKRUN on the ladder. With it, or with what comes before it, the kernel puts off what it
/// has to do for the ring until it is entered.
const COOP: usize = 2;

/// It then says in the queue that there is something, which who never sleeps has to see. As old as
/// COOP_TASKRUN.
static TASK_RUN_FLAG: Flag = Flag {
    name: "TASKRUN_FLAG",
    bit: 1 << 9,
    set: |b| b.setup_taskrun_flag(),
    without: "an enter for each look",
};

/// The flags of a ring from one of the ladder on.
fn rung(from: usize, busy_poll: bool) -> impl Iterator<Item = &'static Flag> {
    FLAGS[from..].iter().chain((busy_poll && from <= COOP).then_some(&TASK_RUN_FLAG))
}

/// Every provided buffer could complete by itself, and every send, twice over. Of zero-copy sends the
/// notifications of many batches may come with one acknowledgement of the peer's. No more, because the queues
/// count as locked memory on some kernels, whose limit may be 64 KiB for all rings of a user.
fn completion_entries(layout: &Layout) -> u32 {
    let other = if layout.flows > 1 { 2 } else { OTHER_OPERATIONS };
    let batches = if layout.send_path == SendPath::ZeroCopy { ZERO_COPY_BATCHES } else { 1 };
    let completions = u32::from(layout.buffers) + layout.flows * (batches * layout.batch + other);
    (2 * completions).next_power_of_two().clamp(2 * submission_entries(layout), COMPLETION_ENTRIES_MAX)
}

fn submission_entries(layout: &Layout) -> u32 {
    (2 * layout.flows).next_power_of_two().clamp(SUBMISSION_ENTRIES, SUBMISSION_ENTRIES_MAX)
}

/// A ring closed just now may count against the limit of locked memory for a moment longer, so that answer is
/// not taken at once.
fn build_patiently(
    layout: &Layout,
    options: &PlanOptions,
    degraded: &mut Vec<Degraded>,
) -> io::Result<(IoUring, UringFacts)> {
    let deadline = Instant::now() + MEMORY_PATIENCE;
    loop {
        match build(layout, options, degraded) {
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && Instant::now() < deadline => {
                std::thread::sleep(MEMORY_PATIENCE / 20);
            }
            result => return result,
        }
    }
}

fn build(
    layout: &Layout,
    options: &PlanOptions,
    degraded: &mut Vec<Degraded>,
) -> io::Result<(IoUring, UringFacts)> {
    let without = options.without;
    let start = usize::from(without.deferred_task_run);
    let (submissions, completions) = (submission_entries(layout), completion_entries(layout));
    let (uring, from, refused) = climb(submissions, completions, start, options.busy_poll)?;
    for flag in &FLAGS[start..from] {
        let reason = refused.as_ref().map_or_else(String::new, error_name);
        degraded.push(Degraded { feature: flag.name, reason, instead: flag.without });
    }
    let facts = UringFacts {
        setup_flags: rung(from, options.busy_poll).map(|flag| flag.name).collect(),
        setup_bits: rung(from, options.busy_poll).map(|flag| flag.bit).sum(),
        submission_entries: uring.params().sq_entries(),
        completion_entries: uring.params().cq_entries(),
        minimum_wait: uring.params().is_feature_min_timeout() && !without.minimum_wait,
        ..UringFacts::default()
    };
    Ok((uring, facts))
}

/// Climbs down the ladder from the flag `start` on until the kernel agrees; with which flag it did, and why
/// not before.
fn climb(
    submissions: u32,
    completions: u32,
    start: usize,
    busy_poll: bool,
) -> io::Result<(IoUring, usize, Option<io::Error>)> {
    let mut refused = None;
    for from in start..=FLAGS.len() {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(completions).setup_clamp().dontfork();
        for flag in rung(from, busy_poll) {
            (flag.set)(&mut builder);
        }
        match builder.build(submissions) {
            Ok(uring) => return Ok((uring, from, refused)),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => refused = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(refused.unwrap_or_else(|| io::Error::from_raw_os_error(libc::EINVAL)))
}

/// A ring as runs have it, with nothing registered.
///
/// # Errors
/// [`Error::UringRefused`] says who refuses.
pub(super) fn bare() -> Result<IoUring, Error> {
    climb(SUBMISSION_ENTRIES, 2 * SUBMISSION_ENTRIES, 0, false)
        .map(|(uring, ..)| uring)
        .map_err(|error| refusal(&error))
}

/// A receiver of datagrams is what would use a shortest sleep, and one of many streams.
fn note_minimum_wait(plan: &Plan, facts: &UringFacts, degraded: &mut Vec<Degraded>) {
    let options = plan.options();
    let gathers = options.protocol == Protocol::Udp || plan.layout().flows > MARKED_FLOWS_MAX;
    let receives = options.role == Role::Receive && gathers;
    if receives && !facts.minimum_wait && !options.without.minimum_wait {
        degraded.push(Degraded {
            feature: "minimum wait",
            reason: "the kernel lacks MIN_TIMEOUT (Linux 6.12)".to_owned(),
            instead: "a wake-up for each datagram or segment that comes while it sleeps",
        });
    }
}

/// What no flow can do without.
fn probe(uring: &IoUring, options: &PlanOptions) -> Result<(), &'static str> {
    if !uring.params().is_feature_ext_arg() {
        return Err("timeouts in io_uring_enter (EXT_ARG, Linux 5.11)");
    }
    if !uring.params().is_feature_nodrop() {
        return Err("completions that are never dropped (NODROP, Linux 5.5)");
    }
    let mut probe = Probe::new();
    if uring.submitter().register_probe(&mut probe).is_err() {
        return Err("the opcode probe (Linux 5.6)");
    }
    if let Some(missing) = connections::lacks(uring, &probe).filter(|_| options.connects_each()) {
        return Err(missing);
    }
    let needed = [
        (opcode::Send::CODE, "IORING_OP_SEND"),
        (opcode::Recv::CODE, "IORING_OP_RECV"),
        (opcode::WriteFixed::CODE, "IORING_OP_WRITE_FIXED"),
        (opcode::AsyncCancel::CODE, "IORING_OP_ASYNC_CANCEL"),
        (opcode::PollAdd::CODE, "IORING_OP_POLL_ADD"),
    ];
    needed.iter().find(|(code, _)| !probe.is_supported(*code)).map_or(Ok(()), |(_, name)| Err(name))
}

fn register_ring(uring: &mut Handle, facts: &mut UringFacts, degraded: &mut Vec<Degraded>) {
    match uring.register_descriptor() {
        Ok(()) => facts.registered_ring = true,
        Err(error) => degraded.push(Degraded {
            feature: "registered ring descriptor",
            reason: error_name(&error),
            instead: "a look-up of the descriptor on every enter",
        }),
    }
}

fn register_file_table(
    uring: &Handle,
    layout: &Layout,
    without: Without,
    facts: &mut UringFacts,
    degraded: &mut Vec<Degraded>,
) {
    if without.registered_files {
        return;
    }
    match uring.submitter.register_files(&vec![-1; layout.flows as usize]) {
        Ok(()) => facts.registered_files = true,
        Err(error) => degraded.push(Degraded {
            feature: "registered files",
            reason: error_name(&error),
            instead: "a look-up of the socket on every operation",
        }),
    }
}

/// The way of sending that was asked for, or the chain where the kernel lacks something for it.
fn first_sending(
    uring: &Handle,
    arena: &Arena,
    plan: &Plan,
    facts: &mut UringFacts,
    degraded: &mut Vec<Degraded>,
) -> Sending {
    let (options, layout) = (plan.options(), plan.layout());
    let mut path = layout.send_path;
    let stream = (options.role, options.protocol) == (Role::Send, Protocol::Tcp);
    if stream && path == SendPath::ZeroCopy && !has_zero_copy(uring) {
        degraded.push(Degraded {
            feature: path.feature(),
            reason: "the kernel lacks IORING_OP_SEND_ZC (Linux 6.0)".to_owned(),
            instead: CHAIN,
        });
        path = SendPath::Chain;
    }
    let registers = !options.without.registered_buffers;
    if stream && registers && matches!(path, SendPath::Registered | SendPath::ZeroCopy) {
        register_send_region(uring, arena, plan, facts, degraded);
    }
    // Zero-copy sends from plain memory lock it as well, each its own, and would meet the same limit in
    // mid-stream.
    let needs_memory = path == SendPath::Registered || path == SendPath::ZeroCopy && registers;
    if needs_memory && !facts.registered_buffers {
        path = SendPath::Chain;
    }
    let mut sending = Sending {
        path,
        datagrams: options.protocol == Protocol::Udp,
        registered: facts.registered_buffers,
        silent: false,
    };
    if stream {
        sending.silent = completes_silently(uring, plan, path, degraded);
    }
    sending
}

/// What takes the place of other ways of sending.
pub(super) const CHAIN: &str = "linked sends from plain memory";

fn has_zero_copy(uring: &Handle) -> bool {
    let mut probe = Probe::new();
    uring.submitter.register_probe(&mut probe).is_ok() && probe.is_supported(opcode::SendZc::CODE)
}

/// Whether sends of a chain that go whole need no completion. Zero-copy sends must not go without, and of
/// whose progress is told nothing is kept back until the chain is through.
pub(super) fn completes_silently(
    uring: &Handle,
    plan: &Plan,
    path: SendPath,
    degraded: &mut Vec<Degraded>,
) -> bool {
    let told = plan.options().progress.is_some();
    let chained = path == SendPath::Chain && plan.layout().batch > 1 && !told;
    let granted = uring.uring().params().is_feature_skip_cqe_on_success();
    if chained && !granted {
        degraded.push(Degraded {
            feature: "silent completions",
            reason: "the kernel lacks CQE_SKIP (Linux 5.17)".to_owned(),
            instead: "a completion for each send of a chain",
        });
    }
    chained && granted
}

fn register_send_region(
    uring: &Handle,
    arena: &Arena,
    plan: &Plan,
    facts: &mut UringFacts,
    degraded: &mut Vec<Degraded>,
) {
    let send = plan.layout().send;
    let region = libc::iovec { iov_base: arena.pointer(send).cast(), iov_len: send.length as usize };
    // SAFETY: the region lies in the arena, which `close` unmaps only when nothing is in flight any more, and
    // leaks otherwise. The kernel holds its pages, not the mapping.
    match unsafe { uring.submitter.register_buffers(&[region]) } {
        Ok(()) => facts.registered_buffers = true,
        Err(error) => degraded.push(Degraded {
            feature: plan.layout().send_path.feature(),
            reason: memory_reason(&error),
            instead: CHAIN,
        }),
    }
}

fn register_buffer_ring(
    uring: &Handle,
    arena: &Arena,
    layout: &Layout,
    without: Without,
    facts: &mut UringFacts,
    degraded: &mut Vec<Degraded>,
) -> Option<BufferRing> {
    if without.buffer_ring {
        return None;
    }
    let address = arena.pointer(layout.buffer_ring).expose_provenance() as u64;
    // SAFETY: page-aligned memory of the arena with room for the entries (the plan's layout sees to both),
    // kept until `close` has unregistered it.
    let registered =
        unsafe { uring.submitter.register_buf_ring_with_flags(address, layout.buffers, buffers::GROUP, 0) };
    match registered {
        Ok(()) => {
            let ring = BufferRing::new(
                arena,
                layout.buffer_ring,
                layout.receive,
                layout.buffer_bytes,
                layout.buffers,
            );
            facts.buffer_ring_entries = ring.entries();
            facts.buffer_ring_bytes = layout.buffer_bytes;
            Some(ring)
        }
        Err(error) => {
            degraded.push(Degraded {
                feature: "provided-buffer ring",
                reason: memory_reason(&error),
                instead: "single receives",
            });
            None
        }
    }
}

/// The best receive path that is worth a self-test.
fn first_receive_path(
    uring: &Handle,
    buffer_ring: bool,
    options: &PlanOptions,
    degraded: &mut Vec<Degraded>,
) -> ReceivePath {
    if !buffer_ring || options.without.multishot {
        return ReceivePath::Single;
    }
    // A bundle would run datagrams together.
    if options.without.bundles || options.protocol == Protocol::Udp {
        return ReceivePath::Multishot;
    }
    if !uring.uring().params().is_feature_recvsend_bundle() {
        degraded.push(Degraded {
            feature: "receive bundles",
            reason: "the kernel lacks RECVSEND_BUNDLE (Linux 6.10)".to_owned(),
            instead: "one buffer a completion",
        });
        return ReceivePath::Multishot;
    }
    ReceivePath::Bundle
}

fn memory_reason(error: &io::Error) -> String {
    let name = error_name(error);
    if error.raw_os_error() == Some(libc::ENOMEM) {
        format!("{name}: more locked memory than `ulimit -l` allows; raise it, or give CAP_IPC_LOCK")
    } else {
        name
    }
}

/// Who refuses io_uring_setup, as far as the system tells.
fn refusal(error: &io::Error) -> Error {
    let Refusal { cause, setting, next } = refusal::of_ring(Errno::of(error).0, &System::read());
    Error::UringRefused { errno: error.raw_os_error(), reason: cause, setting, hint: next }
}
