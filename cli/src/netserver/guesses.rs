//! Wrong passphrases, counted by address: who guesses is turned away for a while.
//!
//! Sees no passphrase and closes nothing.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Wrong passphrases of one address within [`PERIOD`] that are answered.
pub(super) const GUESSES_MAX: u32 = 5;

/// From the first wrong passphrase of an address until it may try anew.
pub(super) const PERIOD: Duration = Duration::from_secs(60);

/// Addresses that are remembered. Past it the one that has been known for the longest time is forgotten.
const ADDRESSES_MAX: usize = 4096;

/// Who has guessed how often, and since when. IPv6 addresses count by their network of 64 bits, of which a
/// host may have as many as it likes.
#[derive(Debug, Default)]
pub(super) struct Guesses {
    by_address: RefCell<HashMap<IpAddr, (Instant, u32)>>,
}

impl Guesses {
    /// Whether this address has guessed too often.
    pub(super) fn turn_away(&self, address: IpAddr, now: Instant) -> bool {
        let known = self.by_address.borrow();
        known.get(&network(address)).is_some_and(|(since, count)| {
            now.saturating_duration_since(*since) < PERIOD && *count >= GUESSES_MAX
        })
    }

    /// Counts one more, and tells how many they are now.
    pub(super) fn count(&self, address: IpAddr, now: Instant) -> u32 {
        let mut known = self.by_address.borrow_mut();
        known.retain(|_, (since, _)| now.saturating_duration_since(*since) < PERIOD);
        let address = network(address);
        if known.len() >= ADDRESSES_MAX && !known.contains_key(&address) {
            let oldest = known.iter().min_by_key(|(_, (since, _))| *since).map(|(address, _)| *address);
            oldest.map(|oldest| known.remove(&oldest));
        }
        let (_, count) = known.entry(address).or_insert((now, 0));
        *count = count.saturating_add(1);
        *count
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn five_are_answered_and_the_minute_has_an_end() {
        let (guesses, start) = (Guesses::default(), Instant::now());
        let (us, mapped) = (address("192.0.2.1"), address("::ffff:192.0.2.1"));
        for number in 1..=GUESSES_MAX {
            assert!(!guesses.turn_away(us, start));
            assert_eq!(guesses.count(us, start + Duration::from_secs(number.into())), number);
        }
        let last = start + Duration::from_secs(1) + PERIOD;
        assert!(guesses.turn_away(us, start) && guesses.turn_away(mapped, last - Duration::from_nanos(1)));
        assert!(!guesses.turn_away(address("192.0.2.2"), start));
        assert!(!guesses.turn_away(us, last));
        assert_eq!(guesses.count(us, last), 1);
    }

    #[test]
    fn a_network_of_ipv6_is_one_guesser() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        for last in 0..GUESSES_MAX {
            guesses.count(address(&format!("2001:db8:0:1::{last}")), now);
        }
        assert!(guesses.turn_away(address("2001:db8:0:1:ffff::9"), now));
        assert!(!guesses.turn_away(address("2001:db8:0:2::1"), now));
    }

    #[test]
    fn memory_is_bounded() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        for number in 0..10_000_u32 {
            guesses.count(IpAddr::from(number.to_be_bytes()), now + Duration::from_micros(number.into()));
        }
        let known = guesses.by_address.borrow();
        assert_eq!(known.len(), ADDRESSES_MAX);
        assert!(known.contains_key(&IpAddr::from(9999_u32.to_be_bytes())));
        assert!(!known.contains_key(&IpAddr::from(0_u32.to_be_bytes())));
    }
}
