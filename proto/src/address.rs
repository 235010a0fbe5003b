//! Addresses as four words.
//!
//! An IPv4 address is the first word; the others are zero or left over. An IPv6 address is treated by
//! netperf as four numbers of the *host*, so every little-endian release, and that is what is in use, sends
//! the bytes of each group of four in reverse. This module speaks that form in both directions. Two real
//! programs of different byte order misread each other here, and nothing on the wire tells the forms apart.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::layout::AddressWords;
use crate::spec::IpVersion;

/// The address in `words`; `None` if it is all zero, which means that none is given.
pub fn decode(words: AddressWords, version: IpVersion) -> Option<IpAddr> {
    let address = match (version, words.0) {
        (IpVersion::V4, [first, ..]) => IpAddr::V4(Ipv4Addr::from(first)),
        (IpVersion::V6, words) => {
            let bits = words.iter().fold(0_u128, |bits, word| (bits << 32) | u128::from(word.swap_bytes()));
            IpAddr::V6(Ipv6Addr::from(bits))
        }
    };
    (!address.is_unspecified()).then_some(address)
}

/// The words for `address`; all zero for `None` and for the unspecified address.
pub fn encode(address: Option<IpAddr>) -> AddressWords {
    let mut words = AddressWords::default();
    match address {
        None => {}
        Some(IpAddr::V4(address)) => words.0 = [u32::from(address), 0, 0, 0],
        Some(IpAddr::V6(address)) => {
            for (word, group) in words.0.iter_mut().zip(address.octets().as_chunks().0) {
                *word = u32::from_be_bytes(*group).swap_bytes();
            }
        }
    }
    words
}
