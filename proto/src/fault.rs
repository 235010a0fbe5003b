//! What ends a conversation, and who broke it.
//!
//! A fault is final: the machine that returned it is gone and the connection is to be closed. Requests that
//! a server merely refuses are no faults; they are answered, and the connection stays.

use core::fmt;

use crate::errno;

/// Who broke the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// Our own program.
    Caller,
    /// The other end.
    Peer,
}

/// Why a conversation cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The peer speaks a version of our own messages that we cannot read.
    Incompatible {
        /// The version it named.
        version: u32,
    },
    /// The peer's frames look like those of netperf 2.5.0 or older, which are 256 bytes long.
    Legacy {
        /// Bytes that stand where a frame of 656 should.
        bytes: usize,
    },
    /// The peer sent something that cannot be meant.
    Malformed {
        /// What it was.
        what: &'static str,
    },
    /// Our own program drove the machine wrongly, or asked for a test that must not be sent.
    Misuse {
        /// What was wrong.
        what: &'static str,
    },
    /// The peer sent a frame when it had nothing to say.
    OutOfOrder {
        /// What we were doing.
        what: &'static str,
    },
    /// The peer reports an error of its own.
    Remote {
        /// In numbers of its system; see [`errno::name`].
        errno: i32,
    },
    /// The passphrase that was to be proven is not the peer's.
    Unproven,
    /// The peer does not serve this request.
    Unsupported {
        /// The request, by its name in netperf's tables.
        request: &'static str,
    },
}

impl Fault {
    /// Who broke the conversation.
    pub const fn party(&self) -> Party {
        match self {
            Self::Misuse { .. } | Self::Unproven => Party::Caller,
            Self::Incompatible { .. }
            | Self::Legacy { .. }
            | Self::Malformed { .. }
            | Self::OutOfOrder { .. }
            | Self::Remote { .. }
            | Self::Unsupported { .. } => Party::Peer,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incompatible { version } => {
                write!(
                    f,
                    "the peer speaks version {version} of ringperf's messages, which cannot be read here"
                )
            }
            Self::Legacy { bytes } => write!(
                f,
                "the peer stopped after {bytes} bytes, as with the 256-byte frames of netperf 2.5.0 or older"
            ),
            Self::Malformed { what } => write!(f, "the peer sent {what}"),
            Self::Misuse { what } => write!(f, "the control channel was used wrongly: {what}"),
            Self::OutOfOrder { what } => write!(f, "the peer sent a frame while {what}"),
            Self::Remote { errno } => match errno::name(*errno) {
                Some(name) => write!(f, "the peer reports error {errno} ({name})"),
                None => write!(f, "the peer reports error {errno}"),
            },
            Self::Unproven => write!(f, "the passphrase is not the one that the peer wants"),
            Self::Unsupported { request } => write!(f, "the peer does not serve {request}"),
        }
    }
}

impl core::error::Error for Fault {}
