//! The payload: a pseudo-random sequence that a receiver can check byte by byte.
//!
//! Incompressible, and a function of the position alone, so that a lost, doubled or reordered piece shows.
//! Checking is for tests; a measured run only sends it.

use std::sync::Arc;

/// Fills a buffer with the sequence from its start.
pub(crate) fn fill(buffer: &mut [u8]) {
    let (words, rest) = buffer.as_chunks_mut();
    let whole = words.len() as u64;
    for (index, bytes) in (0..).zip(words) {
        *bytes = word(index).to_le_bytes();
    }
    rest.copy_from_slice(&word(whole).to_le_bytes()[..rest.len()]);
}

/// The sequence's `index`-th eight bytes: splitmix64, whose output mixing is a bijection of the counter
/// (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
fn word(index: u64) -> u64 {
    let mut z = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Compares what is received with the sequence that a sender repeats every `period` bytes. A clone shares
/// the sequence and has its own place in it.
#[derive(Clone)]
pub(crate) struct Checker {
    expected: Arc<[u8]>,
    /// Bytes of a datagram; `None` for a stream.
    datagram: Option<usize>,
    at: usize,
    wrong: u64,
}

impl Checker {
    /// A checker at the start of a stream.
    pub(crate) fn of_stream(period: usize) -> Self {
        let mut expected = vec![0; period];
        fill(&mut expected);
        Self { expected: expected.into(), datagram: None, at: 0, wrong: 0 }
    }

    /// The same of datagrams of one size, of which `period` is a multiple. Some may be lost, so that each
    /// must be one of the sender's and no more: what follows which is not looked at.
    pub(crate) fn of_datagrams(period: usize, message_bytes: usize) -> Self {
        Self { datagram: Some(message_bytes), ..Self::of_stream(period) }
    }

    /// Takes what one receive has brought: the next piece of a stream, or datagrams one behind the other, of
    /// which the last may be shorter.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        match self.datagram {
            None => self.piece(bytes),
            Some(message_bytes) => {
                bytes.chunks(message_bytes).for_each(|datagram| self.datagram(datagram, message_bytes));
            }
        }
    }

    fn datagram(&mut self, bytes: &[u8], message_bytes: usize) {
        let places = self.expected.len() / message_bytes;
        let first = self.at / message_bytes;
        // Mostly the next one, and else one not far behind it.
        let found = (first..first + places)
            .map(|place| place % places)
            .find(|place| self.expected[place * message_bytes..].starts_with(bytes));
        match found {
            Some(place) => self.at = (place + 1) % places * message_bytes,
            None => self.wrong += bytes.len() as u64,
        }
    }

    fn piece(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let left = &self.expected[self.at..];
            let (piece, rest) = bytes.split_at(bytes.len().min(left.len()));
            if piece != &left[..piece.len()] {
                self.wrong += piece.iter().zip(left).filter(|(a, b)| a != b).count() as u64;
            }
            self.at = (self.at + piece.len()) % self.expected.len();
            bytes = rest;
        }
    }

    /// Bytes so far that were not what they should have been.
    pub(crate) fn wrong(&self) -> u64 {
        self.wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_checks_in_any_cut_and_over_its_period() {
        let mut stream = vec![0; 1000];
        fill(&mut stream);
        let twice = [stream.clone(), stream].concat();
        for cut in [1, 7, 8, 999, 1000, 1001] {
            let mut checker = Checker::of_stream(1000);
            twice.chunks(cut).for_each(|piece| checker.feed(piece));
            assert_eq!(checker.wrong(), 0, "cut {cut}");
        }
    }

    #[test]
    fn a_swap_a_loss_and_a_repetition_show() {
        let mut stream = vec![0; 4096];
        fill(&mut stream);
        let mut swapped = stream.clone();
        swapped[..2048].rotate_left(1024);
        let lost = [&stream[..100], &stream[101..]].concat();
        let doubled = [&stream[..100], &stream[..]].concat();
        for bad in [swapped, lost, doubled] {
            let mut checker = Checker::of_stream(4096);
            checker.feed(&bad);
            assert!(checker.wrong() > 1000);
        }
    }

    #[test]
    fn datagrams_may_be_lost_and_overtake_each_other_but_not_be_others() {
        let mut sent = vec![0; 1000];
        fill(&mut sent);
        let number = |number: usize| &sent[100 * number..100 * (number + 1)];
        let mut checker = Checker::of_datagrams(1000, 100);
        for datagram in [number(0), number(1), number(5), number(4), number(9), number(0)] {
            checker.feed(datagram);
        }
        // Several that come together, the last of them cut off.
        checker.feed(&sent[200..450]);
        assert_eq!(checker.wrong(), 0);
        checker.feed(&[number(3), &sent[50..150], number(7), &[0; 9]].concat());
        assert_eq!(checker.wrong(), 109);
        checker.feed(&[]);
        assert_eq!(checker.wrong(), 109);
    }
}
