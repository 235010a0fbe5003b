//! How the bytes of an input become frames and choices.
//!
//! Frames of the protocol are mostly zeroes, so a script may name the words that are not: 0 is followed by
//! the bytes of a frame, any other number by so many words, each with its place. What a script lacks at its
//! end is zero, but no frame begins there.

use ringperf_proto::{FRAME_BYTES, Frame};

/// Words of a frame.
const WORDS: usize = FRAME_BYTES / 4;

/// An input, read from its front.
pub struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    /// The script in these bytes.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether all has been read.
    pub const fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// At most so many bytes.
    pub fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (front, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        front
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let front = self.bytes(N);
        array[..front.len()].copy_from_slice(front);
        array
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        u8::from_be_bytes(self.array())
    }

    /// A word.
    pub fn word(&mut self) -> u32 {
        u32::from_be_bytes(self.array())
    }

    /// A signed word.
    pub fn signed(&mut self) -> i32 {
        self.word().cast_signed()
    }

    /// Two words.
    pub fn long(&mut self) -> u64 {
        u64::from_be_bytes(self.array())
    }

    /// A word that is a floating-point number, if maybe none.
    pub fn float(&mut self) -> f32 {
        f32::from_bits(self.word())
    }

    /// One of these.
    pub fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[usize::from(self.byte()) % all.len()].clone()
    }

    /// The next frame; `None` at the end.
    pub fn frame(&mut self) -> Option<Frame> {
        if self.is_over() {
            return None;
        }
        let mut bytes = [0; FRAME_BYTES];
        match self.byte() {
            0 => {
                let front = self.bytes(FRAME_BYTES);
                bytes[..front.len()].copy_from_slice(front);
            }
            words => {
                for _ in 0..words {
                    if self.is_over() {
                        break;
                    }
                    let at = usize::from(self.byte()) % WORDS * 4;
                    bytes[at..at + 4].copy_from_slice(&self.array::<4>());
                }
            }
        }
        Some(Frame::from_bytes(bytes))
    }
}

/// The script that [`Script::frame`] reads as this frame, without its zeroes.
pub fn words_of(frame: &[u8; FRAME_BYTES]) -> Vec<u8> {
    let mut words = Vec::new();
    for (place, word) in (0_u8..).zip(frame.chunks_exact(4)) {
        if word != [0; 4] {
            words.push(place);
            words.extend_from_slice(word);
        }
    }
    if words.is_empty() {
        words.extend_from_slice(&[0; 5]);
    }
    let count = u8::try_from(words.len() / 5).expect("a frame has 164 words");
    [vec![count], words].concat()
}
