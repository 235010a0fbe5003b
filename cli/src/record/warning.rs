//! What the reader of a record has to know beside its numbers: a closed list, each entry with its text.
//!
//! Which of them apply is decided elsewhere, from the numbers.

use serde::Serialize;

use super::End;

/// Something the reader of the numbers has to know, with its text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Note {
    /// What it is, for a program.
    #[serde(flatten)]
    pub(crate) warning: Warning,
    /// The same for a person.
    pub(crate) text: String,
}

impl From<Warning> for Note {
    fn from(warning: Warning) -> Self {
        Self { text: warning.to_string(), warning }
    }
}

/// Why a number may not mean what it seems to.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Warning {
    /// A kernel granted a smaller socket buffer than was asked for.
    BufferClamped {
        /// Whose.
        end: End,
        /// Asked for, in bytes.
        asked: u32,
        /// What getsockopt reported.
        granted: u32,
    },
    /// The two ends disagree about the bytes.
    BytesDiffer {
        /// The sender's count.
        sent: u64,
        /// The receiver's count.
        received: u64,
    },
    /// This end's backend met completions that cannot be: a defect of the kernel's or of ours.
    CompletionsDefective {
        /// Completions that named no operation under way.
        stale: u64,
        /// Completions that the kernel dropped.
        overflows: u64,
        /// Provided buffers that the kernel skipped.
        skipped_buffers: u64,
    },
    /// Both workers ran on one core.
    CoreShared {
        /// The core.
        core: usize,
    },
    /// A worker had no core time left.
    CpuLimited {
        /// Whose.
        end: End,
        /// CPU time over elapsed time.
        core_percent: f64,
    },
    /// The netserver took another data port than the one asked for.
    DataPortChanged {
        /// Asked for.
        asked: u16,
        /// In use.
        got: u16,
    },
    /// An end went on without something.
    Degraded {
        /// Which end.
        end: End,
        /// What was wished for.
        feature: String,
        /// Why it was not had.
        reason: String,
        /// What took its place.
        instead: String,
    },
    /// The netserver did not close the data connection in time after the last byte.
    DrainTimeout,
    /// The netserver ended the data connection before the test was over.
    EndedEarly {
        /// Seconds measured.
        seconds: f64,
        /// Seconds asked for.
        asked: u32,
    },
    /// A signal ended the test.
    Interrupted {
        /// The signal's name.
        signal: &'static str,
        /// Which end this process was.
        local: End,
        /// Whether the data were datagrams.
        datagrams: bool,
    },
    /// The kernel copied what was sent without a copy.
    ZeroCopyCopied {
        /// Share of the zero-copy sends.
        percent: f64,
    },
    /// Both ends are on this machine.
    NoWire,
    /// The netserver went on without some things.
    RemoteDegraded {
        /// Which end it was.
        end: End,
        /// Which things.
        features: Vec<&'static str>,
    },
    /// The netserver's worker is not known apart from the rest of its machine.
    RemoteWholeMachine {
        /// Which end it was.
        end: End,
    },
    /// The netserver told nothing about its CPU.
    RemoteWithoutCpu {
        /// Which end it was.
        end: End,
    },
    /// A ringperf netserver did not tell what it knows beyond the results.
    ReportMissing {
        /// Why.
        reason: String,
    },
    /// Datagrams were lost neither at the sender nor in the receiver's socket.
    UnexplainedLoss {
        /// How many.
        datagrams: u64,
        /// Their share of those sent.
        percent: f64,
    },
}

impl std::fmt::Display for Warning {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BufferClamped { end, asked, granted } => write!(
                out,
                "the {end}'s kernel reports a socket buffer of {granted} bytes where {asked} were asked for \
                 and twice that was due: {} there limits it",
                buffer_limit(*end)
            ),
            Self::BytesDiffer { sent, received } => {
                write!(
                    out,
                    "the receiver counted {received} bytes of {sent} sent; goodput is the receiver's count"
                )
            }
            Self::CompletionsDefective { stale, overflows, skipped_buffers } => write!(
                out,
                "do not trust this result: {stale} stale and {overflows} dropped completions, \
                 {skipped_buffers} skipped buffers; report it with the kernel release, and try --engine epoll"
            ),
            Self::CoreShared { core } => {
                write!(out, "both workers shared core {core}; with two cores the rate would be another")
            }
            Self::CpuLimited { end, core_percent } => {
                write!(out, "CPU-limited at the {end}: its worker used {core_percent:.0} % of its core")
            }
            Self::DataPortChanged { asked, got } => write!(
                out,
                "the netserver uses data port {got}, not {asked}, which is taken there; a firewall may care"
            ),
            Self::Degraded { end, feature, reason, instead } => {
                write!(out, "{end} without {feature} ({reason}): {instead} instead")
            }
            Self::DrainTimeout => out.write_str(
                "the receiver had not closed the data connection in time after the last byte; \
                 the elapsed time includes that wait",
            ),
            Self::EndedEarly { seconds, asked } => {
                write!(out, "the netserver ended the test after {seconds:.1} of {asked} seconds")
            }
            Self::Interrupted { signal, local, datagrams } => {
                write!(out, "{signal} ended the test early{}", cost_of_a_signal(*local, *datagrams))
            }
            Self::ZeroCopyCopied { percent } => write!(
                out,
                "copied, not zero-copy: the kernel copied {percent:.0} % of the zero-copy sends, as it does \
                 over loopback and veth"
            ),
            Self::NoWire => {
                out.write_str("no wire: both ends are on this machine, so this measures its kernel")
            }
            Self::RemoteDegraded { end, features } => {
                write!(out, "{end} without {}; netserver -d logs why", features.join(", "))
            }
            Self::RemoteWholeMachine { end } => write!(
                out,
                "{end} CPU is that of its whole machine: netperf's results do not tell its worker's"
            ),
            Self::RemoteWithoutCpu { end } => write!(out, "the {end} told nothing about its CPU"),
            Self::ReportMissing { reason } => {
                write!(out, "the netserver's report on its worker is missing: {reason}")
            }
            Self::UnexplainedLoss { datagrams, percent } => write!(
                out,
                "{datagrams} datagrams ({percent:.3} % of those sent) were dropped neither by the sender's \
                 queue nor by the receiver's socket: they were lost on the way"
            ),
        }
    }
}

/// The sysctl that limits the socket buffer of an end.
fn buffer_limit(end: End) -> &'static str {
    match end {
        End::Receiver => "net.core.rmem_max",
        End::Sender => "net.core.wmem_max",
    }
}

/// What a test that a signal ended counts amiss.
fn cost_of_a_signal(local: End, datagrams: bool) -> &'static str {
    match local {
        _ if datagrams => "",
        End::Receiver => ": what came after it is not in the goodput, and may be among the messages",
        End::Sender => {
            ": the rate counts what the socket buffer still held, and not the time that took to arrive"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_that_cannot_be_trusted_says_so() {
        let warning = Warning::CompletionsDefective { stale: 1, overflows: 2, skipped_buffers: 3 };
        let note = Note::from(warning);
        assert!(note.text.starts_with("do not trust this result: 1 stale and 2 dropped"), "{}", note.text);
    }

    #[test]
    fn what_a_signal_cost_depends_on_the_test() {
        let text = |local, datagrams| Warning::Interrupted { signal: "SIGINT", local, datagrams }.to_string();
        assert!(text(End::Sender, false).contains("what the socket buffer still held"));
        assert!(text(End::Receiver, false).contains("not in the goodput"));
        assert_eq!(text(End::Sender, true), "SIGINT ended the test early");
    }

    #[test]
    fn warnings_carry_kind_fields_and_text() {
        let note = Note::from(Warning::BytesDiffer { sent: 10, received: 9 });
        let json = serde_json::to_value(&note).expect("a note has no map keys but strings");
        assert_eq!(json["kind"], "bytes_differ");
        assert_eq!(json["sent"], 10);
        assert!(json["text"].as_str().is_some_and(|text| text.contains("9 bytes of 10 sent")));
    }
}
