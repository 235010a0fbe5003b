//! Messages that come out of a file.
//!
//! Where they lie and how many there are, and the call that hands the kernel a part of a file or of the
//! arena. When that is called, and what its answer means, is the backends' business.

use std::fs::File;
use std::io;
use std::os::fd::RawFd;

use socket2::SockAddr;

use crate::arena::{Arena, Span};
use crate::error::Error;
use crate::outcome::Operations;
use crate::sys::{self, Patience};

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FilePart {
    pub(crate) offset: u64,
    pub(crate) length: u32,
}

impl FilePart {
    /// The message in this place, one behind the other.
    pub(crate) fn message(place: u32, message_bytes: u32) -> Self {
        Self { offset: u64::from(place) * u64::from(message_bytes), length: message_bytes }
    }

    /// What is left of it behind its first `bytes`.
    pub(crate) fn skip(self, bytes: u32) -> Self {
        let bytes = bytes.min(self.length);
        Self { offset: self.offset + u64::from(bytes), length: self.length - bytes }
    }
}

/// What a send carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Arena(Span),
    File(FilePart),
}

impl Piece {
    pub(crate) fn length(self) -> u32 {
        match self {
            Self::Arena(span) => span.length,
            Self::File(part) => part.length,
        }
    }

    /// What is left of it behind its first `bytes`.
    pub(crate) fn skip(self, bytes: u32) -> Self {
        match self {
            Self::Arena(span) => Self::Arena(span.skip(bytes)),
            Self::File(part) => Self::File(part.skip(bytes)),
        }
    }

    /// Hands it to the kernel by a call, which is counted. Whether a sendfile waits follows from the socket.
    pub(crate) fn send(
        self,
        (arena, file): (&Arena, Option<&File>),
        socket: RawFd,
        to: Option<&SockAddr>,
        patience: Patience,
        operations: &mut Operations,
    ) -> io::Result<usize> {
        match (self, file) {
            (Self::Arena(span), _) => {
                operations.sends_syscall += 1;
                sys::send(socket, arena.bytes(span), to, patience)
            }
            (Self::File(part), Some(file)) => {
                operations.sends_file += 1;
                sys::send_file(socket, file, part)
            }
            (Self::File(_), None) => unreachable!("parts of a file are of plans with one"),
        }
    }
}

/// Most messages of a file that are gone through before its start comes again: places are counted in 32 bits,
/// with room for a batch behind the last one.
const MESSAGES_MAX: u64 = 1 << 31;

/// Whole messages that a file holds.
///
/// # Errors
/// [`Error::Plan`] where it holds none, and where it is no file that has a size.
pub(crate) fn messages(file: &File, message_bytes: u32) -> Result<u32, Error> {
    let bytes = file.metadata().map_or(0, |metadata| if metadata.is_file() { metadata.len() } else { 0 });
    match (bytes / u64::from(message_bytes)).min(MESSAGES_MAX) {
        0 => Err(Error::Plan { option: "file", range: "a regular one that holds one message at least" }),
        messages => Ok(messages as u32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_lie_one_behind_the_other_and_past_4_gib() {
        let part = FilePart::message(70_000, 1 << 20);
        assert_eq!(part, FilePart { offset: 70_000 << 20, length: 1 << 20 });
        assert_eq!(part.skip(5), FilePart { offset: (70_000 << 20) + 5, length: (1 << 20) - 5 });
        assert_eq!(part.skip(u32::MAX).length, 0);
    }

    #[test]
    fn a_file_holds_whole_messages_and_a_device_none() {
        let this = File::open(std::env::current_exe().unwrap()).unwrap();
        let bytes = this.metadata().unwrap().len() as u32;
        assert_eq!(messages(&this, bytes).unwrap(), 1);
        assert_eq!(messages(&this, bytes / 2).unwrap(), 2);
        for refused in [messages(&this, bytes + 1), messages(&File::open("/dev/zero").unwrap(), 1)] {
            assert!(refused.unwrap_err().to_string().contains("one message at least"));
        }
    }
}
