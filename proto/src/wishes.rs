//! How a test shall be run, where netperf's request has no word for it.
//!
//! [`Wishes::parse`] is the only way from the words of a peer to wishes within the [`Limits`]; whether a test
//! can use them is found out when it is asked for, by [`Wishes::suit`]. What the engine makes of them is for
//! whoever runs the test.

use core::num::NonZeroU64;

use crate::errno::{E2BIG, EINVAL};
use crate::fault::Fault;
use crate::native::{NativeWishes, offload, send_path, waiting, without};
use crate::spec::{Family, Limits, Refusal, Test, refusal};

/// What a client wishes of the next test, and what it is granted. The default is what netperf asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// TCP data connections, all to the one port that is offered. Never 0.
    pub flows: u32,
    /// Workers to spread them over, each on a core of its own. Never 0, and of what is granted never more
    /// than there are flows.
    pub workers: u32,
    /// What the server's engine shall not use.
    pub without: Without,
    /// A server that streams datagrams hands the kernel many at once (UDP_SEGMENT).
    pub segmentation: bool,
    /// A server that receives a stream of datagrams takes many at once (UDP_GRO).
    pub coalescing: bool,
    /// How a server that sends a stream does it.
    pub send_path: SendPath,
    /// Payload in bits a second, of all flows of a server that streams together; `None`: as fast as possible.
    pub bits_per_second: Option<NonZeroU64>,
    /// The server's workers look for what comes without ever sleeping, at the cost of a core each.
    pub busy_poll: bool,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            flows: 1,
            workers: 1,
            without: Without::default(),
            segmentation: false,
            coalescing: false,
            send_path: SendPath::Auto,
            bits_per_second: None,
            busy_poll: false,
        }
    }
}

/// Features that the server's engine shall go without, for comparisons. What it does not have anyway is no
/// matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Without {
    /// No receive bundles.
    pub bundles: bool,
    /// No multishot receive.
    pub multishot: bool,
    /// No provided-buffer ring; implies no multishot.
    pub buffer_ring: bool,
    /// No DEFER_TASKRUN.
    pub deferred_task_run: bool,
    /// No registered files.
    pub registered_files: bool,
    /// No registered buffers.
    pub registered_buffers: bool,
    /// No low-water mark on the socket of a TCP receiver.
    pub low_water: bool,
    /// No shortest sleep of a receiver.
    pub minimum_wait: bool,
    /// No segments shared at the ends of a connection that is one transaction's.
    pub shared_segments: bool,
}

/// How a stream is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SendPath {
    /// As the engine thinks best.
    #[default]
    Auto,
    /// In bundles of buffers.
    Bundle,
    /// In chains of linked sends from plain memory.
    Chain,
    /// By writes from registered memory.
    Registered,
    /// By zero-copy sends.
    ZeroCopy,
}

impl Wishes {
    /// The wishes in these words, with no more workers than are to be had or of use.
    ///
    /// # Errors
    /// [`Refusal`] with `E2BIG` for more flows than the limit, `EINVAL` for no flow or no worker, and for
    /// what no wish of this version means.
    pub fn parse(words: &NativeWishes, limits: &Limits) -> Result<Self, Refusal> {
        let offload = |bit: u32| words.offloads & bit != 0;
        if words.offloads & !(offload::SEGMENTATION | offload::COALESCING) != 0 {
            return Err(refusal(EINVAL, "an offload is not known"));
        }
        match (words.flows, words.workers) {
            (0, _) => return Err(refusal(EINVAL, "a test without a flow")),
            (_, 0) => return Err(refusal(EINVAL, "a test without a worker")),
            (flows, _) if flows > limits.flows_max => {
                return Err(refusal(E2BIG, "the number of flows is over the limit"));
            }
            _ => {}
        }
        Ok(Self {
            flows: words.flows,
            workers: words.workers.min(limits.workers_max).clamp(1, words.flows),
            without: Without::parse(words.without)?,
            segmentation: offload(offload::SEGMENTATION),
            coalescing: offload(offload::COALESCING),
            send_path: SendPath::from_wire(words.send_path)
                .ok_or(refusal(EINVAL, "the send path is not known"))?,
            bits_per_second: NonZeroU64::new(words.rate),
            busy_poll: match words.waiting {
                waiting::ASLEEP => false,
                waiting::BUSY => true,
                _ => return Err(refusal(EINVAL, "the way to wait is not known")),
            },
        })
    }

    /// Whether a test can do what is wished for. What it could not is refused rather than forgotten: a rate
    /// that nobody keeps to is a wrong measurement.
    ///
    /// # Errors
    /// [`Refusal`] with `EINVAL`.
    pub(crate) fn suit(&self, test: Test, family: Family) -> Result<(), Refusal> {
        let many = !matches!(test, Test::TcpMaerts | Test::TcpRr | Test::TcpStream);
        let reason = if self.flows > 1 && many {
            "many flows of datagrams, or of connections that come and go"
        } else if self.segmentation && test != Test::UdpMaerts {
            "segmentation where no datagrams are streamed"
        } else if self.coalescing && (test, family) != (Test::UdpStream, Family::Omni) {
            "coalescing where datagrams are not received, or have to be told apart"
        } else if self.send_path != SendPath::Auto && test != Test::TcpMaerts {
            "a send path where no stream is sent"
        } else if self.bits_per_second.is_some() && !test.server_streams() {
            "a rate where nothing is streamed"
        } else {
            return Ok(());
        };
        Err(refusal(EINVAL, reason))
    }

    /// The words to wish by, or to grant by.
    pub(crate) fn words(&self) -> NativeWishes {
        let offloads = [(self.segmentation, offload::SEGMENTATION), (self.coalescing, offload::COALESCING)];
        NativeWishes {
            flows: self.flows,
            workers: self.workers,
            without: self.without.bits(),
            offloads: bits(&offloads),
            send_path: self.send_path.to_wire(),
            rate: self.bits_per_second.map_or(0, NonZeroU64::get),
            waiting: if self.busy_poll { waiting::BUSY } else { waiting::ASLEEP },
        }
    }

    /// The same where they can be sent.
    ///
    /// # Errors
    /// [`Fault::Misuse`] for no flow and for no worker.
    pub(crate) fn to_send(self) -> Result<NativeWishes, Fault> {
        if self.flows == 0 || self.workers == 0 {
            return Err(Fault::Misuse { what: "a test without a flow or without a worker" });
        }
        Ok(self.words())
    }

    /// What a server grants of these wishes: all of it, if maybe by fewer workers.
    ///
    /// # Errors
    /// [`Fault::Malformed`] for an answer to other wishes.
    pub(crate) fn granted(&self, words: &NativeWishes) -> Result<Self, Fault> {
        let granted = Self { workers: words.workers, ..*self };
        if granted.words() == *words && (1..=self.workers).contains(&words.workers) {
            Ok(granted)
        } else {
            Err(Fault::Malformed { what: "a grant of what it was not asked for" })
        }
    }
}

impl Without {
    fn parse(bits: u32) -> Result<Self, Refusal> {
        let without = |bit: u32| bits & bit != 0;
        let parsed = Self {
            bundles: without(without::BUNDLES),
            multishot: without(without::MULTISHOT),
            buffer_ring: without(without::BUFFER_RING),
            deferred_task_run: without(without::DEFERRED_TASK_RUN),
            registered_files: without(without::REGISTERED_FILES),
            registered_buffers: without(without::REGISTERED_BUFFERS),
            low_water: without(without::LOW_WATER),
            minimum_wait: without(without::MINIMUM_WAIT),
            shared_segments: without(without::SHARED_SEGMENTS),
        };
        if parsed.bits() == bits { Ok(parsed) } else { Err(refusal(EINVAL, "a feature is not known")) }
    }

    fn bits(self) -> u32 {
        bits(&[
            (self.bundles, without::BUNDLES),
            (self.multishot, without::MULTISHOT),
            (self.buffer_ring, without::BUFFER_RING),
            (self.deferred_task_run, without::DEFERRED_TASK_RUN),
            (self.registered_files, without::REGISTERED_FILES),
            (self.registered_buffers, without::REGISTERED_BUFFERS),
            (self.low_water, without::LOW_WATER),
            (self.minimum_wait, without::MINIMUM_WAIT),
            (self.shared_segments, without::SHARED_SEGMENTS),
        ])
    }
}

impl SendPath {
    const fn from_wire(number: u32) -> Option<Self> {
        Some(match number {
            send_path::AUTO => Self::Auto,
            send_path::BUNDLE => Self::Bundle,
            send_path::CHAIN => Self::Chain,
            send_path::REGISTERED => Self::Registered,
            send_path::ZERO_COPY => Self::ZeroCopy,
            _ => return None,
        })
    }

    const fn to_wire(self) -> u32 {
        match self {
            Self::Auto => send_path::AUTO,
            Self::Bundle => send_path::BUNDLE,
            Self::Chain => send_path::CHAIN,
            Self::Registered => send_path::REGISTERED,
            Self::ZeroCopy => send_path::ZERO_COPY,
        }
    }
}

fn bits(set: &[(bool, u32)]) -> u32 {
    set.iter().filter(|(set, _)| *set).fold(0, |bits, (_, bit)| bits | bit)
}
