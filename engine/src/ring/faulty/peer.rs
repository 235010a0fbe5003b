//! A simulated socket: what is on its way in both directions, and the peer at the other end.
//!
//! The peer checks every byte of a stream against what a sender sends, and sends what a receiver expects. It
//! takes its time, which its seed decides, and knows nothing of rings.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::chance::{Fault, Menu, Random};
use crate::pattern::{self, Checker};

/// What the peer does. Of datagrams the counts are of datagrams, of streams of bytes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Peer {
    /// Reads all there is, and ends its side when the stream has ended or it has read so much.
    Sink { ends_after: Option<u64> },
    /// Sends so much, or without end, and then the end.
    Source { left: Option<u64> },
    /// Answers each request.
    Responder,
    /// Asks so many times, or without end, and then ends its side.
    Requester { left: Option<u64>, in_flight: u32 },
}

/// Bytes of the messages that go either way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// From the ring to the peer.
    pub(super) out: u32,
    /// From the peer to the ring.
    pub(super) back: u32,
}

pub(super) struct Socket {
    pub(super) fd: i32,
    pub(super) datagrams: bool,
    sizes: Sizes,
    peer: Peer,
    /// The peer does nothing any more.
    pub(super) dead: bool,
    /// Bytes of a stream that the peer has not read, and datagrams that it has not.
    unread: u64,
    mail: VecDeque<u32>,
    /// How many of either have room.
    room: u32,
    /// What was taken from the ring: bytes, and datagrams with something in them.
    pub(super) taken: u64,
    pub(super) taken_datagrams: u64,
    read: u64,
    checker: Checker,
    /// The ring's side of the stream has ended.
    shut: bool,
    /// Bytes and datagrams that are to be received.
    inbound: u64,
    incoming: VecDeque<u32>,
    /// Of what the peer sends: the sequence that it repeats, and how much of it has been received.
    sequence: Vec<u8>,
    pub(super) delivered: u64,
    /// The peer has ended its side.
    ended: bool,
    /// Why the connection is no more.
    pub(super) broken: Option<i32>,
    /// What a requester waits for, what has been answered, and since when nothing has come.
    outstanding: u32,
    answered: u64,
    owed: u64,
    /// When the peer does something again, and how long it takes at most.
    next: Instant,
    pause: Duration,
    most: u32,
}

/// How long a requester waits for the answers to datagrams until it asks again.
const ANSWER_PATIENCE: Duration = Duration::from_micros(500);

impl Socket {
    /// `periods` are the bytes after which what is sent, and what is received, begins anew.
    pub(super) fn new(
        fd: i32,
        datagrams: bool,
        sizes: Sizes,
        peer: Peer,
        periods: (usize, usize),
        now: Instant,
        random: &mut Random,
    ) -> Self {
        let mut sequence = vec![0; periods.1];
        pattern::fill(&mut sequence);
        Self {
            fd,
            datagrams,
            sizes,
            peer,
            dead: false,
            unread: 0,
            mail: VecDeque::new(),
            room: if datagrams { random.up_to(40) } else { random.pick(&[90, 700, 3000, 60_000]) },
            taken: 0,
            taken_datagrams: 0,
            read: 0,
            checker: if datagrams {
                Checker::of_datagrams(periods.0, sizes.out as usize)
            } else {
                Checker::of_stream(periods.0)
            },
            shut: false,
            inbound: 0,
            incoming: VecDeque::new(),
            sequence,
            delivered: 0,
            ended: false,
            broken: None,
            outstanding: 0,
            answered: 0,
            owed: 0,
            next: now,
            pause: Duration::from_micros(random.pick(&[0, 2, 20, 100])),
            most: random.pick(&[150, 900, 5000]),
        }
    }

    /// Bytes of a stream, or datagrams, that have room on their way to the peer.
    pub(super) fn room(&self) -> u32 {
        let used = if self.datagrams { self.mail.len() as u64 } else { self.unread };
        u32::try_from(u64::from(self.room).saturating_sub(used)).unwrap_or(0)
    }

    fn check(&mut self, bytes: &[u8]) {
        self.checker.feed(bytes);
        assert_eq!(self.checker.wrong(), 0, "what the peer gets is wrong by byte {}", self.taken);
    }

    /// Takes the next bytes of a stream.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.check(bytes);
        self.taken += bytes.len() as u64;
        self.unread += bytes.len() as u64;
    }

    /// Takes a send of datagrams, of which each but the last has the messages' size.
    pub(super) fn take_datagrams(&mut self, payload: &[u8]) {
        self.check(payload);
        let bytes = payload.len() as u32;
        let count = bytes.div_ceil(self.sizes.out).max(1);
        for index in 0..count {
            let size = self.sizes.out.min(bytes - index * self.sizes.out);
            assert!(bytes == 0 || size == self.sizes.out, "a datagram of {size} bytes");
            self.mail.push_back(size);
        }
        self.taken += u64::from(bytes);
        self.taken_datagrams += u64::from(bytes.div_ceil(self.sizes.out));
    }

    /// A send of so many bytes is to be taken apart.
    pub(super) fn is_several(&self, bytes: u32) -> bool {
        bytes > self.sizes.out
    }

    /// The peer ends its side only when it has read everything.
    pub(super) fn reads_all(&self) -> bool {
        !matches!(self.peer, Peer::Sink { ends_after: Some(_) })
    }

    /// The peer has read all that was taken up to here.
    pub(super) fn has_read(&self, taken: u64) -> bool {
        self.read >= taken
    }

    /// The ring's side of the stream ends.
    pub(super) fn shut_down(&mut self) {
        self.shut = true;
    }

    pub(super) fn is_shut(&self) -> bool {
        self.shut
    }

    /// Bytes that a receive could take now; of datagrams, those of the next one. `None`: nothing has come.
    pub(super) fn available(&self) -> Option<u32> {
        if self.datagrams {
            return self.incoming.front().copied();
        }
        match u32::try_from(self.inbound).unwrap_or(u32::MAX) {
            0 => self.ended.then_some(0),
            bytes => Some(bytes),
        }
    }

    /// The next bytes for a receive. Of a datagram, the rest is lost.
    pub(super) fn deliver(&mut self, bytes: u32) -> Vec<u8> {
        let period = self.sequence.len();
        let mut piece = Vec::with_capacity(bytes as usize);
        let mut at = (self.delivered % period as u64) as usize;
        while piece.len() < bytes as usize {
            let more = (bytes as usize - piece.len()).min(period - at);
            piece.extend_from_slice(&self.sequence[at..at + more]);
            at = (at + more) % period;
        }
        self.delivered += u64::from(bytes);
        if self.datagrams {
            self.incoming.pop_front();
        } else {
            self.inbound -= u64::from(bytes);
        }
        piece
    }

    /// When the peer does something next, unless it waits for us.
    pub(super) fn due(&self) -> Option<Instant> {
        let waits_for_answers = self.datagrams && self.outstanding > 0 && self.mail.is_empty();
        let pause = if waits_for_answers { ANSWER_PATIENCE } else { Duration::ZERO };
        self.has_work().then(|| self.next + pause)
    }

    fn has_work(&self) -> bool {
        if self.dead || self.broken.is_some() {
            return false;
        }
        let reads = self.unread > 0 || !self.mail.is_empty();
        let crowded = if self.datagrams { self.incoming.len() >= 40 } else { self.inbound > 20_000 };
        reads
            || match self.peer {
                Peer::Sink { ends_after } => {
                    !self.datagrams
                        && !self.ended
                        && (self.shut || ends_after.is_some_and(|n| self.read >= n))
                }
                Peer::Source { .. } => !self.ended && !crowded,
                Peer::Responder => !crowded && (self.owed > 0 || !self.datagrams && self.shut && !self.ended),
                Peer::Requester { .. } => !self.ended && !crowded && (self.wants_to_ask() || self.datagrams),
            }
    }

    fn wants_to_ask(&self) -> bool {
        let Peer::Requester { left, in_flight } = self.peer else { return false };
        left == Some(0) && self.owed == 0 || left != Some(0) && self.outstanding < in_flight || self.owed > 0
    }

    /// Has the peer do something. Whether it has.
    pub(super) fn act(&mut self, now: Instant, random: &mut Random, menu: &mut Menu) -> bool {
        if self.due().is_none_or(|due| due > now) {
            return false;
        }
        if self.datagrams {
            self.act_on_datagrams(random, menu)
        } else {
            self.act_on_stream(random)
        }
        let micros = u32::try_from(self.pause.as_micros()).unwrap_or(0);
        self.next = now + Duration::from_micros(random.below(micros + 1).into());
        true
    }

    fn act_on_stream(&mut self, random: &mut Random) {
        let read = u64::from(random.up_to(self.most)).min(self.unread);
        let before = (self.read / u64::from(self.sizes.out.max(1)), self.shut && self.unread == read);
        self.unread -= read;
        self.read += read;
        let whole = self.read / u64::from(self.sizes.out.max(1)) - before.0;
        let back = u64::from(self.sizes.back);
        match &mut self.peer {
            Peer::Sink { ends_after } => {
                self.ended |= before.1 || ends_after.is_some_and(|bytes| self.read >= bytes);
            }
            Peer::Source { left } => {
                let bytes = u64::from(random.up_to(self.most)).min(left.unwrap_or(u64::MAX));
                self.inbound += bytes;
                if let Some(left) = left {
                    *left -= bytes;
                    self.ended = *left == 0;
                }
            }
            Peer::Responder => {
                self.owed += whole * back;
                self.write_owed(random);
                self.ended = before.1 && self.owed == 0;
            }
            Peer::Requester { left, in_flight } => {
                self.answered += whole;
                self.outstanding = self.outstanding.saturating_sub(whole as u32);
                let more = u64::from(*in_flight - self.outstanding).min(left.unwrap_or(u64::MAX));
                self.outstanding += more as u32;
                self.owed += more * back;
                if let Some(left) = left {
                    *left -= more;
                }
                let asked = *left == Some(0);
                self.write_owed(random);
                self.ended = asked && self.owed == 0;
            }
        }
    }

    fn write_owed(&mut self, random: &mut Random) {
        let bytes = u64::from(random.up_to(self.most)).min(self.owed);
        self.owed -= bytes;
        self.inbound += bytes;
    }

    fn act_on_datagrams(&mut self, random: &mut Random, menu: &mut Menu) {
        let mut answers = 0;
        for _ in 0..random.up_to(8) {
            let Some(size) = self.mail.pop_front() else { break };
            self.read += u64::from(size);
            answers += u32::from(size > 0 && !menu.strikes(Fault::Lost, random));
        }
        let send = match &mut self.peer {
            Peer::Sink { .. } => 0,
            Peer::Responder => answers,
            Peer::Source { left } => count(left, random.up_to(8).into()),
            Peer::Requester { left, in_flight } => {
                // What is not answered by now is lost, or as good as.
                self.outstanding = if answers == 0 { 0 } else { self.outstanding.saturating_sub(answers) };
                self.answered += u64::from(answers);
                let more = count(left, (*in_flight - self.outstanding).into());
                self.outstanding += more;
                more
            }
        };
        for _ in 0..send {
            if !menu.strikes(Fault::Lost, random) {
                self.incoming.push_back(self.sizes.back);
            }
        }
        let over = matches!(
            self.peer,
            Peer::Source { left: Some(0) } | Peer::Requester { left: Some(0), .. } if send == 0
        );
        // The marks of the end, which may get lost; so it does not stop at one.
        if over && !menu.strikes(Fault::Lost, random) {
            self.incoming.push_back(0);
        }
    }
}

/// So many more, as far as there are.
fn count(left: &mut Option<u64>, wanted: u64) -> u32 {
    let more = wanted.min(left.unwrap_or(u64::MAX));
    if let Some(left) = left {
        *left -= more;
    }
    more as u32
}
