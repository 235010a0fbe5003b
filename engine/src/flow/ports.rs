//! Local ports in turn, for connections that each have one of their own.

use std::ops::RangeInclusive;

/// The ports of a range, one after the other and around its end, but for one of them.
#[derive(Debug)]
pub(crate) struct Ports {
    range: RangeInclusive<u16>,
    /// The port of the peer, which on the same machine would meet itself.
    skip: u16,
    next: u16,
}

impl Ports {
    /// Starts somewhere in the range, by chance: `random` is any number. Ports that were used a moment ago
    /// may not be free again at the peer, whose side remembers them (TIME_WAIT).
    pub(crate) fn new(range: RangeInclusive<u16>, skip: u16, random: u64) -> Self {
        let count = u64::from(range.end().saturating_sub(*range.start())) + 1;
        let next = range.start() + (random % count) as u16;
        Self { range, skip, next }
    }

    /// The next one.
    pub(crate) fn take(&mut self) -> u16 {
        let port = self.step();
        // A range of that one port has no other.
        if port == self.skip { self.step() } else { port }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u32 {
        u32::from(self.range.end() - self.range.start()) + 1
    }

    fn step(&mut self) -> u16 {
        let port = self.next;
        self.next = if port == *self.range.end() { *self.range.start() } else { port + 1 };
        port
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_go_around_the_range_and_leave_one_out() {
        let mut ports = Ports::new(10..=13, 12, 5);
        let taken: Vec<u16> = (0..7).map(|_| ports.take()).collect();
        assert_eq!(taken, [11, 13, 10, 11, 13, 10, 11]);
        assert_eq!(ports.count(), 4);
    }

    #[test]
    fn every_start_lies_in_the_range_even_at_the_end_of_all_ports() {
        for random in [0, 1, 2, u64::MAX] {
            let mut ports = Ports::new(65_534..=65_535, 1, random);
            assert_eq!(ports.take() ^ ports.take(), 1);
            assert_eq!(Ports::new(7..=7, 1, random).take(), 7);
        }
    }
}
