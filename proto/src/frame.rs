//! The fixed frames of the control channel, and their recovery from a byte stream.
//!
//! Nothing here knows what a frame means: words are read and written in network order at fixed places, and
//! a stream is cut every [`FRAME_BYTES`] bytes. There is no length field and no version on the wire, so a
//! peer of another release shows only as a stream that stops in the middle of a frame; see
//! [`FrameReader::cut_short`].

use alloc::vec::Vec;
use core::fmt;

use crate::code::{RequestCode, ResponseCode};
use crate::fault::Fault;

/// Bytes of every frame since netperf 2.6.0: two header words and 162 words for the message.
pub const FRAME_BYTES: usize = 656;

/// Bytes of every frame up to netperf 2.5.0: two header words and 62 words for the message.
pub const LEGACY_FRAME_BYTES: usize = 256;

/// Frames a [`FrameReader`] holds at most. A client may send its passphrase and its first request at once;
/// a few more leave room for one that sends ahead, and none for one that floods.
const READER_FRAMES_MAX: usize = 4;

const READER_BYTES_MAX: usize = READER_FRAMES_MAX.saturating_mul(FRAME_BYTES);

/// One frame: a header of two words, then the message.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame([u8; FRAME_BYTES]);

impl Frame {
    /// A frame of zeroes.
    pub const fn zeroed() -> Self {
        Self([0; FRAME_BYTES])
    }

    /// A request: its type, and the CPU the server is asked to run on (-1: any).
    pub fn request(code: RequestCode, cpu_affinity: i32) -> Self {
        let mut frame = Self::zeroed();
        frame.put::<0, 4>(code.to_wire().to_be_bytes());
        frame.put::<4, 4>(cpu_affinity.to_be_bytes());
        frame
    }

    /// A response: the type word as it shall stand on the wire, and the server's errno (0: success).
    pub fn response(type_word: u32, errno: i32) -> Self {
        let mut frame = Self::zeroed();
        frame.put::<0, 4>(type_word.to_be_bytes());
        frame.put::<4, 4>(errno.to_be_bytes());
        frame
    }

    /// The frame with these bytes; any bytes make a frame.
    pub const fn from_bytes(bytes: [u8; FRAME_BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes, as sent.
    pub const fn as_bytes(&self) -> &[u8; FRAME_BYTES] {
        &self.0
    }

    /// The type of a request.
    pub fn request_type(&self) -> RequestCode {
        RequestCode::from_wire(i32::from_be_bytes(self.take::<0, 4>()))
    }

    /// The CPU a request asks the server to run on; -1 asks for none.
    pub fn cpu_affinity(&self) -> i32 {
        i32::from_be_bytes(self.take::<4, 4>())
    }

    /// The type of a response. Only good for messages of our own extension: stock servers send left-overs
    /// here.
    pub fn response_type(&self) -> ResponseCode {
        ResponseCode::from_wire(i32::from_be_bytes(self.take::<0, 4>()))
    }

    /// The errno of a response, in numbers of the server's system; 0 is success.
    pub fn errno(&self) -> i32 {
        i32::from_be_bytes(self.take::<4, 4>())
    }

    /// `N` bytes from `OFFSET` on. A place outside the frame does not compile.
    pub(crate) fn take<const OFFSET: usize, const N: usize>(&self) -> [u8; N] {
        const { assert!(OFFSET.saturating_add(N) <= FRAME_BYTES, "the field lies outside the frame") };
        let mut bytes = [0; N];
        for (to, from) in bytes.iter_mut().zip(self.0.iter().skip(OFFSET)) {
            *to = *from;
        }
        bytes
    }

    /// Writes `bytes` from `OFFSET` on. A place outside the frame does not compile.
    pub(crate) fn put<const OFFSET: usize, const N: usize>(&mut self, bytes: [u8; N]) {
        const { assert!(OFFSET.saturating_add(N) <= FRAME_BYTES, "the field lies outside the frame") };
        for (to, from) in self.0.iter_mut().skip(OFFSET).zip(bytes) {
            *to = from;
        }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The message may hold a passphrase, so only the header is shown.
        f.debug_struct("Frame")
            .field("type", &i32::from_be_bytes(self.take::<0, 4>()))
            .field("second_word", &self.cpu_affinity())
            .finish_non_exhaustive()
    }
}

/// Gathers a byte stream into frames, in a bounded amount of memory.
///
/// Frames come out through [`Iterator::next`]; `None` means that more bytes are needed.
#[derive(Default)]
pub struct FrameReader {
    bytes: Vec<u8>,
}

impl FrameReader {
    /// Adds what arrived and returns how many bytes were taken: all of them, unless [`Self::room`] is less.
    /// What was not taken has to be given again once frames have been taken out.
    #[must_use = "bytes that were not taken are lost unless they are given again"]
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.room());
        self.bytes.extend(bytes.iter().take(taken));
        taken
    }

    /// How many bytes can be pushed now. Zero means that whole frames wait to be taken out.
    pub fn room(&self) -> usize {
        READER_BYTES_MAX.saturating_sub(self.bytes.len())
    }

    /// Bytes of the frame that has been started and is not complete, whole frames before it not counted.
    pub fn pending(&self) -> usize {
        self.bytes.len().checked_rem(FRAME_BYTES).unwrap_or(0)
    }

    /// What to say of a stream that stopped here, by its end or by silence: `None` between two frames,
    /// [`Fault::Legacy`] if what stands here looks like whole frames of netperf 2.5.0 or older, else
    /// [`Fault::Malformed`].
    pub fn cut_short(&self) -> Option<Fault> {
        match self.pending() {
            0 => None,
            pending if pending.is_multiple_of(LEGACY_FRAME_BYTES) => Some(Fault::Legacy { bytes: pending }),
            _ => Some(Fault::Malformed { what: "a frame that is not complete" }),
        }
    }
}

impl fmt::Debug for FrameReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As for frames: the bytes may be those of a passphrase.
        f.debug_struct("FrameReader").field("held", &self.bytes.len()).finish_non_exhaustive()
    }
}

impl Iterator for FrameReader {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        let frame = Frame::from_bytes(*self.bytes.first_chunk::<FRAME_BYTES>()?);
        self.bytes.drain(..FRAME_BYTES);
        Some(frame)
    }
}
