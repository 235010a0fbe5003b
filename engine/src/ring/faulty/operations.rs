//! What the simulated kernel does for an operation that is under way.
//!
//! A step at a time, so that operations of different sockets overtake each other and a cancel may find one
//! anywhere. Those of a chain come one after the other, and one that falls short takes the rest with it, as
//! `io_uring/io_uring.c` and `io_uring/net.c` of Linux have it.

use std::time::{Duration, Instant};

use io_uring::opcode;

use super::chance::{Doom, Fault};
use super::memory::{Completion, Entry, Lent};
use super::world::{HARD_LINK, SKIP_SUCCESS, World};
use crate::clock;

/// IOSQE_BUFFER_SELECT, IORING_RECV_MULTISHOT and IORING_RECVSEND_BUNDLE.
const BUFFER_SELECT: u8 = 1 << 5;
const MULTISHOT: u16 = 1 << 1;
const BUNDLE: u16 = 1 << 4;
/// IORING_CQE_F_MORE, IORING_CQE_F_NOTIF and IORING_NOTIF_USAGE_ZC_COPIED.
const MORE: u32 = 1 << 1;
const NOTIFICATION: u32 = 1 << 3;
const COPIED: i32 = i32::MIN;

/// What memory that is to be received into holds before.
const POISON: u8 = 0xa5;

/// Something a ring has asked for.
pub(super) struct Operation {
    pub(super) entry: Entry,
    pub(super) lent: Option<Lent>,
    /// What the memory holds that is still to be sent, or still to be received into.
    holds: Vec<u8>,
    done: u32,
    /// It has been cancelled, and ends with this errno unless it has done something.
    ending: Option<i32>,
}

/// The memory of a zero-copy send whose result is known.
pub(super) struct Notification {
    pub(super) user_data: u64,
    pub(super) lent: Lent,
    holds: Vec<u8>,
    socket: usize,
    /// Up to where the peer has to have read.
    taken: u64,
    /// When it comes; `None` as long as the peer has not read.
    pub(super) due: Option<Instant>,
}

/// What came of a step.
enum Step {
    /// It waits.
    Idle,
    /// It goes on.
    Moved,
    /// It has completed and goes on.
    Told { result: i32, flags: u32 },
    /// It has completed for the last time; one that has failed takes with it what is linked to it.
    Over { result: i32, flags: u32, failed: bool },
}

fn over(result: u32) -> Step {
    Step::Over { result: result.cast_signed(), flags: 0, failed: false }
}

fn failed(errno: i32) -> Step {
    Step::Over { result: -errno, flags: 0, failed: true }
}

impl Operation {
    /// Whether an entry names memory that the kernel holds until it completes.
    pub(super) fn lends(entry: &Entry) -> bool {
        Self::sends(entry) || entry.opcode == opcode::Recv::CODE && entry.flags & BUFFER_SELECT == 0
    }

    fn sends(entry: &Entry) -> bool {
        [opcode::Send::CODE, opcode::SendZc::CODE, opcode::WriteFixed::CODE].contains(&entry.opcode)
    }

    fn says(&self, message_flag: i32) -> bool {
        self.entry.opcode != opcode::WriteFixed::CODE
            && self.entry.message_flags & message_flag.cast_unsigned() != 0
    }

    /// Nobody has written to the memory meanwhile.
    fn check(&self) {
        let Some(lent) = self.lent else { return };
        // Of a zero-copy send the notification sees to it.
        let from = if Self::sends(&self.entry) { 0 } else { self.done };
        let now = lent.part(from, lent.length - from).read();
        let holds = self.holds.get(from as usize..).unwrap_or_default();
        assert!(holds.is_empty() || now == holds, "memory under way was written to: {:?}", self.entry);
    }

    /// What a cancel makes of it.
    fn ended(&self) -> Option<Step> {
        let errno = self.ending?;
        Some(match self.done {
            0 => failed(errno),
            done => Step::Over { result: done.cast_signed(), flags: 0, failed: true },
        })
    }
}

impl World {
    pub(super) fn begin(&mut self, entry: Entry, lent: Option<Lent>) -> Operation {
        let mut holds = Vec::new();
        if let Some(lent) = lent {
            let receives = !Operation::sends(&entry);
            let others = self.chains.iter().flatten();
            let taken = others.filter(|other| receives || !Operation::sends(&other.entry));
            let taken = taken.filter_map(|other| other.lent).any(|other| other.overlaps(lent));
            let read = receives && self.notifications.iter().any(|other| other.lent.overlaps(lent));
            assert!(!taken && !read, "memory is lent twice: {entry:?}");
            if receives {
                lent.write(&vec![POISON; lent.length as usize]);
            }
            holds = lent.read();
        }
        Operation { entry, lent, holds, done: 0, ending: None }
    }

    /// Whether a chain begins with something that the kernel does at once, or not at all.
    pub(super) fn is_immediate(&self, chain: usize) -> bool {
        let first = self.chains[chain].front();
        first.is_some_and(|first| {
            first.entry.opcode == opcode::AsyncCancel::CODE || first.says(libc::MSG_DONTWAIT)
        })
    }

    /// Goes a step on with a chain; whether that did anything.
    pub(super) fn advance(&mut self, chain: usize) -> bool {
        if self.doomed() == Some(Doom::Mute) {
            return false;
        }
        let Some(mut operation) = self.chains[chain].pop_front() else { return false };
        let step = match operation.entry.opcode {
            opcode::AsyncCancel::CODE => self.cancel(&operation.entry),
            opcode::PollAdd::CODE => self.poll(&operation),
            opcode::Recv::CODE => self.receive(&mut operation),
            _ if Operation::sends(&operation.entry) => self.send(&mut operation),
            other => panic!("operation {other} is not simulated"),
        };
        let user_data = operation.entry.user_data;
        let moved = !matches!(step, Step::Idle);
        match step {
            Step::Idle | Step::Moved => self.chains[chain].push_front(operation),
            Step::Told { result, flags } => {
                self.post(Completion { user_data, result, flags, stale: false });
                self.chains[chain].push_front(operation);
            }
            Step::Over { result, flags, failed } => {
                operation.check();
                let completion = Completion { user_data, result, flags, stale: false };
                self.finish(chain, operation.entry.flags, completion, failed);
            }
        }
        moved
    }

    /// Ends the first operation of a chain, and with one that failed the chain.
    fn finish(&mut self, chain: usize, flags: u8, completion: Completion, failed: bool) {
        if failed || flags & SKIP_SUCCESS == 0 {
            self.post(completion);
        }
        if !failed || flags & HARD_LINK != 0 {
            return;
        }
        for operation in std::mem::take(&mut self.chains[chain]) {
            let user_data = operation.entry.user_data;
            // One that was to complete in silence speaks for all behind it.
            if flags & SKIP_SUCCESS == 0 {
                let result = -libc::ECANCELED;
                self.post(Completion { user_data, result, flags: 0, stale: false });
            }
        }
    }

    fn cancel(&mut self, entry: &Entry) -> Step {
        let target = self.chains.iter().position(|chain| {
            chain.front().is_some_and(|operation| operation.entry.user_data == entry.address)
        });
        let Some(target) = target else { return failed(libc::ENOENT) };
        if self.doomed() == Some(Doom::Deaf) {
            return if self.random.one_in(2) { over(0) } else { failed(libc::EALREADY) };
        }
        if self.strikes(Fault::CancelMisses) {
            return failed(libc::ENOENT);
        }
        let late = self.strikes(Fault::CancelIsLate);
        let errno = if late && self.random.one_in(2) { libc::EINTR } else { libc::ECANCELED };
        let found = self.chains[target].front_mut().expect("it was found there");
        found.ending = Some(errno);
        // Its completion comes before that of the cancel, or at any time after it.
        if self.random.one_in(2) {
            self.advance(target);
        }
        if late { failed(libc::EALREADY) } else { over(0) }
    }

    fn poll(&mut self, operation: &Operation) -> Step {
        if self.stop_at.is_some_and(|at| at <= clock::now()) {
            self.stop_at = None;
            return over(libc::POLLIN as u32);
        }
        operation.ended().unwrap_or(Step::Idle)
    }

    fn send(&mut self, operation: &mut Operation) -> Step {
        let index = self.socket(&operation.entry);
        let mut step = self.send_a_piece(operation, index);
        if let Step::Over { result, flags, .. } = &mut step
            && operation.entry.opcode == opcode::SendZc::CODE
            && (*result >= 0 || self.random.one_in(2))
        {
            *flags |= MORE;
            self.notifications.push(Notification {
                user_data: operation.entry.user_data,
                lent: operation.lent.expect("a send lends memory"),
                holds: std::mem::take(&mut operation.holds),
                socket: index,
                taken: self.sockets[index].taken,
                due: None,
            });
        }
        step
    }

    fn send_a_piece(&mut self, operation: &mut Operation, index: usize) -> Step {
        let lent = operation.lent.expect("a send lends memory");
        let left = lent.length - operation.done;
        let at_once = operation.says(libc::MSG_DONTWAIT);
        if let Some(ended) = operation.ended() {
            return ended;
        }
        let socket = &self.sockets[index];
        if let Some(errno) = socket.broken.or(socket.is_shut().then_some(libc::EPIPE)) {
            operation.ending = Some(errno);
            return operation.ended().expect("it ends");
        }
        if self.doomed() == Some(Doom::Deaf) {
            return if at_once { failed(libc::EAGAIN) } else { Step::Idle };
        }
        if operation.done == 0 && self.strikes(Fault::Interrupted) {
            return failed(libc::EINTR);
        }
        if self.sockets[index].datagrams {
            return self.send_datagrams(index, operation, at_once);
        }
        let some = left.min(self.sockets[index].room());
        let bytes = if self.random.one_in(3) { self.random.up_to(some).min(some) } else { some };
        if bytes > 0 {
            operation.check();
            self.sockets[index].take(&lent.part(operation.done, bytes).read());
            operation.done += bytes;
        }
        let whole = operation.done == lent.length;
        if whole {
            return over(operation.done);
        }
        if operation.done > 0 {
            let short = Step::Over { result: operation.done.cast_signed(), flags: 0, failed: true };
            if operation.entry.opcode == opcode::WriteFixed::CODE {
                return over(operation.done);
            }
            if at_once || self.strikes(Fault::ShortSend) {
                return short;
            }
        }
        match bytes {
            _ if at_once => failed(libc::EAGAIN),
            0 => Step::Idle,
            _ => Step::Moved,
        }
    }

    fn send_datagrams(&mut self, index: usize, operation: &Operation, at_once: bool) -> Step {
        let lent = operation.lent.expect("a send lends memory");
        let bytes = lent.length;
        if self.strikes(Fault::NoBuffers) {
            return failed(libc::ENOBUFS);
        }
        if self.sockets[index].is_several(bytes) && self.strikes(Fault::Unsegmented) {
            return failed(self.random.pick(&[libc::EIO, libc::EINVAL, libc::EMSGSIZE]));
        }
        if self.sockets[index].room() == 0 {
            return if at_once { failed(libc::EAGAIN) } else { Step::Idle };
        }
        operation.check();
        self.sockets[index].take_datagrams(&lent.part(0, bytes).read());
        over(bytes)
    }

    fn receive(&mut self, operation: &mut Operation) -> Step {
        let index = self.socket(&operation.entry);
        if let Some(ended) = operation.ended() {
            return ended;
        }
        if let Some(errno) = self.sockets[index].broken {
            return failed(errno);
        }
        if self.doomed() == Some(Doom::Deaf) {
            return Step::Idle;
        }
        if operation.done == 0 && self.strikes(Fault::Interrupted) {
            return failed(libc::EINTR);
        }
        if operation.entry.options & MULTISHOT != 0 {
            return self.receive_into_buffers(&operation.entry, index);
        }
        let lent = operation.lent.expect("a single receive lends memory");
        let Some(available) = self.sockets[index].available() else { return Step::Idle };
        let waits = operation.says(libc::MSG_WAITALL);
        let bytes = self.some_of(available.min(lent.length - operation.done), index);
        lent.part(operation.done, bytes).write(&self.sockets[index].deliver(bytes));
        operation.done += bytes;
        match waits && operation.done < lent.length {
            true if bytes > 0 => Step::Moved,
            short => Step::Over { result: operation.done.cast_signed(), flags: 0, failed: short },
        }
    }

    /// Of what a receive could have of a stream, all or less; of a datagram, all.
    fn some_of(&mut self, bytes: u32, index: usize) -> u32 {
        let less = bytes > 1 && !self.sockets[index].datagrams && self.strikes(Fault::ShortReceive);
        if less { self.random.up_to(bytes - 1) } else { bytes }
    }

    fn receive_into_buffers(&mut self, entry: &Entry, index: usize) -> Step {
        let available = self.sockets[index].available();
        if (available.is_some() || self.random.one_in(4)) && self.strikes(Fault::NoBuffers) {
            return failed(libc::ENOBUFS);
        }
        let Some(available) = available else { return Step::Idle };
        let takes_one = available > 0 || self.random.one_in(2);
        let most = if entry.options & BUNDLE != 0 { self.random.up_to(9) } else { 1 };
        let buffers = self.buffers.as_mut().expect("there are provided buffers");
        let room = buffers.room(most);
        if available > 0 && room == 0 {
            return failed(libc::ENOBUFS);
        }
        let bytes = self.some_of(available.min(room), index);
        let piece = self.sockets[index].deliver(bytes);
        let buffers = self.buffers.as_mut().expect("there are provided buffers");
        let flags = if takes_one && room > 0 { buffers.fill(&piece) } else { 0 };
        let result = bytes.cast_signed();
        if bytes == 0 || self.is_full() || self.strikes(Fault::MultishotEnds) {
            return Step::Over { result, flags, failed: false };
        }
        Step::Told { result, flags: flags | MORE }
    }

    /// Goes a step on with the notification of a zero-copy send; whether that did anything.
    pub(super) fn notify(&mut self, index: usize) -> bool {
        if self.doomed() == Some(Doom::NoNotification) {
            return false;
        }
        let now = clock::now();
        let Notification { socket, taken, due, .. } = self.notifications[index];
        let socket = &self.sockets[socket];
        let broken = socket.broken.is_some();
        if self.doomed() == Some(Doom::NoNotificationButForADisconnect) && !broken {
            return false;
        }
        match due {
            None if socket.has_read(taken) || broken => {
                let most = if self.strikes(Fault::NotificationIsLate) { 3000 } else { 20 };
                let delay = Duration::from_micros(self.random.below(most).into());
                self.notifications[index].due = Some(now + delay);
                true
            }
            Some(due) if due <= now => {
                let Notification { user_data, lent, holds, .. } = self.notifications.swap_remove(index);
                assert!(lent.read() == holds, "memory of a zero-copy send was written to");
                let result = if self.random.one_in(2) { COPIED } else { 0 };
                self.post(Completion { user_data, result, flags: NOTIFICATION, stale: false });
                true
            }
            _ => false,
        }
    }

    /// The connection is broken, and with it what the kernel held for it.
    pub(super) fn let_go(&mut self, socket: usize) {
        for notification in self.notifications.iter_mut().filter(|other| other.socket == socket) {
            notification.due = Some(clock::now());
        }
    }
}
