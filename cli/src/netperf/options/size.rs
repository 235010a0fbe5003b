//! The values of netperf's options: numbers, pairs, families, times, names of service classes.
//!
//! Pure conversions that never fail, because netperf validates nothing: what is no number is 0. Where an
//! unknown word has to be told to the user, the conversion says so and the caller tells.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Address family of one end, as asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Family {
    /// Not asked for; the first address found decides.
    #[default]
    Unspecified,
    /// IPv4.
    V4,
    /// IPv6.
    V6,
    /// Reliable Datagram Sockets, a word that netperf understands and resolvers refuse.
    Rds,
}

impl Family {
    /// The family meant by `word`: the first of several parts that it contains. `None` for a word that
    /// contains none of them.
    pub(super) fn from_word(word: &str) -> Option<Self> {
        // netperf keeps no more of it.
        let word: String = word.chars().take(10).collect();
        let means = |parts: &[&str]| parts.iter().any(|part| word.contains(part));
        if means(&["6"]) {
            Some(Self::V6)
        } else if means(&["inet", "4"]) {
            Some(Self::V4)
        } else if means(&["af_rds", "32"]) {
            Some(Self::Rds)
        } else if means(&["unspec", "0"]) {
            Some(Self::Unspecified)
        } else {
            None
        }
    }
}

/// Two halves of an argument; an empty one keeps the setting as it was.
pub(super) type Halves<'a> = (Option<&'a str>, Option<&'a str>);

/// `x` means both halves, `x,` and `,y` one, `x,y` each.
pub(super) fn both(text: &str) -> Halves<'_> {
    match text.split_once(',') {
        None => (filled(text), filled(text)),
        Some((first, second)) => (filled(first), filled(second)),
    }
}

/// `x` and `x,` mean the first half, `,y` the second, `x,y` each.
pub(super) fn first(text: &str) -> Halves<'_> {
    match text.split_once(',') {
        None => (filled(text), None),
        Some((first, second)) => (filled(first), filled(second)),
    }
}

/// [`first`] for names of files, which need not be text.
pub(super) fn first_of_names(name: &OsStr) -> (Option<OsString>, Option<OsString>) {
    let mut halves = name.as_bytes().splitn(2, |byte| *byte == b',');
    let mut half =
        || halves.next().filter(|half| !half.is_empty()).map(|half| OsStr::from_bytes(half).into());
    (half(), half())
}

fn filled(half: &str) -> Option<&str> {
    (!half.is_empty()).then_some(half)
}

/// A plain integer as C's `atoi` reads it: blanks, a sign, digits; the rest is passed over. What does not fit
/// into 32 bits wraps, what does not fit into 64 is the nearest that does, wrapped.
pub(super) fn integer(text: &str) -> i32 {
    let text = text.trim_start_matches(is_blank);
    let (negative, text) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let magnitude = text.bytes().take_while(u8::is_ascii_digit).fold(0_i64, |value, digit| {
        let digit = i64::from(digit - b'0');
        value.saturating_mul(10).saturating_add(if negative { -digit } else { digit })
    });
    wrap(magnitude)
}

/// A size: an [`integer`] times the multiplier of every one of the letters `K`, `M`, `G` (powers of 1024) and
/// `k`, `m`, `g` (powers of 1000) that occurs anywhere in the text, in 32 bits, wrapping.
pub(super) fn size(text: &str) -> i32 {
    const MULTIPLIERS: [(char, i32); 6] = [
        ('K', 1 << 10),
        ('M', 1 << 20),
        ('G', 1 << 30),
        ('k', 1_000),
        ('m', 1_000_000),
        ('g', 1_000_000_000),
    ];
    MULTIPLIERS
        .iter()
        .filter(|(letter, _)| text.contains(*letter))
        .fold(integer(text), |value, (_, multiplier)| value.wrapping_mul(*multiplier))
}

/// A length of time in microseconds: an [`integer`] of milliseconds, or of what the letters `m`, `u` and `s`
/// say.
pub(super) fn interval_us(text: &str) -> i32 {
    let unit = if text.contains('u') {
        1
    } else if text.contains('s') {
        1_000_000
    } else {
        1_000
    };
    integer(text).wrapping_mul(unit)
}

/// The number at the front of the text, as C's `atof` reads decimal notation; 0 if there is none.
pub(super) fn leading_float(text: &str) -> f64 {
    let text = text.trim_start_matches(is_blank);
    let bytes = text.as_bytes();
    let sign = usize::from(matches!(bytes.first(), Some(b'-' | b'+')));
    let digits = |from: usize| bytes.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
    let mut end = sign + digits(sign);
    if bytes.get(end) == Some(&b'.') {
        end += 1 + digits(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let exponent = end + 1 + usize::from(matches!(bytes.get(end + 1), Some(b'-' | b'+')));
        if digits(exponent) > 0 {
            end = exponent + digits(exponent);
        }
    }
    // Only ASCII was passed over. A lone sign or point is no number, and 0.
    text.get(..end).and_then(|number| number.parse().ok()).unwrap_or(0.0)
}

/// Type of service or traffic class: a name, whatever its case, or a number from 0 to 255 in C's notation.
/// `None`, not set, for everything else.
pub(super) fn type_of_service(text: &str) -> Option<u8> {
    const CLASSIC: [(&str, u8); 4] =
        [("ef", 0xb8), ("lowdelay", 0x10), ("throughput", 0x08), ("reliability", 0x04)];
    let name = text.to_ascii_lowercase();
    if let Some((_, value)) = CLASSIC.iter().find(|(known, _)| *known == name) {
        return Some(*value);
    }
    // RFC 2597 and RFC 2474: the code point stands in the upper six bits.
    match *name.as_bytes() {
        [b'a', b'f', class @ b'1'..=b'4', drop @ b'1'..=b'3'] => {
            Some(((class - b'0') << 5) | ((drop - b'0') << 3))
        }
        [b'c', b's', class @ b'0'..=b'7'] => Some((class - b'0') << 5),
        _ => c_number(&name),
    }
}

/// The number at the front of the text in C's notation, as `strtol` reads it with base 0; 0 if there is none.
pub(super) fn c_integer(text: &str) -> i64 {
    let text = text.trim_start_matches(is_blank);
    let text = text.strip_prefix('+').unwrap_or(text);
    let (digits, base) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    let end = digits.find(|letter: char| !letter.is_digit(base)).unwrap_or(digits.len());
    i64::from_str_radix(digits.get(..end).unwrap_or_default(), base).unwrap_or(0)
}

/// A whole text that is a number in C's notation: decimal, octal after `0`, hexadecimal after `0x`.
fn c_number(text: &str) -> Option<u8> {
    let text = text.trim_start_matches(is_blank);
    let text = text.strip_prefix('+').unwrap_or(text);
    let (digits, base) = match text.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    // from_str_radix takes a second sign.
    if digits.starts_with(['+', '-']) { None } else { u8::from_str_radix(digits, base).ok() }
}

/// C's `isspace`.
fn is_blank(letter: char) -> bool {
    matches!(letter, ' ' | '\t'..='\r')
}

/// The lower 32 bits.
fn wrap(value: i64) -> i32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_netperf_reads_them() {
        let cases = [
            ("131072", 131_072),
            ("4K", 4096),
            ("4k", 4000),
            ("1M", 1 << 20),
            ("1m", 1_000_000),
            ("1G", 1 << 30),
            ("1g", 1_000_000_000),
            ("4G", 0),
            ("1Kk", 1_024_000),
            ("K1", 0),
            ("1xK", 1024),
            ("1.5K", 1024),
            ("-1M", -(1 << 20)),
            (" \t+7", 7),
            ("- 7", 0),
            ("--7", 0),
            ("0x10", 0),
            ("abc", 0),
            ("", 0),
            ("2147483648", i32::MIN),
            ("4294967301", 5),
            ("99999999999999999999", -1),
            ("-99999999999999999999", 0),
            ("5é", 5),
        ];
        for (text, value) in cases {
            assert_eq!(size(text), value, "{text:?}");
        }
        assert_eq!(integer("4K"), 4);
    }

    #[test]
    fn pairs_split_at_the_first_comma() {
        let cases: [(&str, Halves<'_>, Halves<'_>); 6] = [
            ("x", (Some("x"), Some("x")), (Some("x"), None)),
            ("x,", (Some("x"), None), (Some("x"), None)),
            (",y", (None, Some("y")), (None, Some("y"))),
            ("x,y,z", (Some("x"), Some("y,z")), (Some("x"), Some("y,z"))),
            (",", (None, None), (None, None)),
            ("", (None, None), (None, None)),
        ];
        for (text, as_both, as_first) in cases {
            assert_eq!(both(text), as_both, "{text:?}");
            assert_eq!(first(text), as_first, "{text:?}");
            let names = first_of_names(OsStr::new(text));
            assert_eq!(names, (as_first.0.map(Into::into), as_first.1.map(Into::into)), "{text:?}");
        }
    }

    #[test]
    fn families_are_parts_of_words() {
        let cases = [
            ("4", Some(Family::V4)),
            ("inet", Some(Family::V4)),
            ("AF_INET", None),
            ("inet6", Some(Family::V6)),
            ("46", Some(Family::V6)),
            ("af_rds", Some(Family::Rds)),
            ("32", Some(Family::Rds)),
            ("af_unspec", Some(Family::Unspecified)),
            ("0", Some(Family::Unspecified)),
            ("0123456789inet", Some(Family::V6)),
            ("bogus", None),
            ("bogusbogus6", None),
        ];
        for (word, family) in cases {
            assert_eq!(Family::from_word(word), family, "{word:?}");
        }
    }

    #[test]
    fn times_are_milliseconds_unless_they_say_otherwise() {
        for (text, us) in [("7", 7_000), ("7m", 7_000), ("7u", 7), ("7s", 7_000_000), ("x", 0)] {
            assert_eq!(interval_us(text), us, "{text:?}");
        }
    }

    #[test]
    fn floats_end_where_they_end() {
        let cases = [
            ("5", 5.0),
            ("0.001", 0.001),
            ("7.5abc", 7.5),
            (" -2.5", -2.5),
            ("+.5", 0.5),
            ("1e3x", 1000.0),
            ("1e", 1.0),
            ("1e+", 1.0),
            ("5.", 5.0),
            ("abc", 0.0),
            (".", 0.0),
            ("-", 0.0),
            ("", 0.0),
            ("12é", 12.0),
        ];
        for (text, value) in cases {
            assert_eq!(leading_float(text).to_bits(), f64::to_bits(value), "{text:?}");
        }
    }

    #[test]
    fn classes_of_service_have_names_and_numbers() {
        let cases = [
            ("ef", Some(0xb8)),
            ("EF", Some(0xb8)),
            ("efx", None),
            ("af11", Some(0x28)),
            ("AF43", Some(0x98)),
            ("af51", None),
            ("af14", None),
            ("cs0", Some(0)),
            ("cs7", Some(0xe0)),
            ("cs8", None),
            ("lowdelay", Some(0x10)),
            ("throughput", Some(0x08)),
            ("reliability", Some(0x04)),
            ("0x20", Some(0x20)),
            ("0X20", Some(0x20)),
            ("040", Some(0x20)),
            ("32", Some(0x20)),
            ("0", Some(0)),
            ("255", Some(255)),
            ("256", None),
            ("-1", None),
            ("++1", None),
            ("0x20zz", None),
            ("0x", None),
            ("1e", None),
            ("", None),
        ];
        for (text, value) in cases {
            assert_eq!(type_of_service(text), value, "{text:?}");
        }
    }
}
