//! netperf's units of a rate: the letter of option `-f`, the word that is printed, the arithmetic.
//!
//! Pure. What of a test is counted, bytes or transactions, is decided elsewhere; a unit says which of the two
//! it is of.

use std::time::Duration;

/// Unit of a printed rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Bits a second.
    Bits,
    /// 10^3 bits a second.
    Kilobits,
    /// 10^6 bits a second.
    Megabits,
    /// 10^9 bits a second.
    Gigabits,
    /// Bytes a second.
    Bytes,
    /// 2^10 bytes a second.
    Kibibytes,
    /// 2^20 bytes a second.
    Mebibytes,
    /// 2^30 bytes a second.
    Gibibytes,
    /// Microseconds for each byte.
    Microseconds,
    /// Transactions a second.
    Transactions,
}

impl Unit {
    /// The unit that option `-f` chooses by its first character; `None` is an empty argument.
    ///
    /// Any unknown letter is `K`, as in netperf. `x` is `m` where there are no transactions.
    pub(crate) fn from_letter(letter: Option<char>, has_transactions: bool) -> Self {
        match letter {
            Some('x') if has_transactions => Self::Transactions,
            Some('b') => Self::Bits,
            Some('k') => Self::Kilobits,
            Some('m' | 'x') => Self::Megabits,
            Some('g') => Self::Gigabits,
            Some('B') => Self::Bytes,
            Some('M') => Self::Mebibytes,
            Some('G') => Self::Gibibytes,
            Some('u') => Self::Microseconds,
            _ => Self::Kibibytes,
        }
    }

    /// What is printed in front of `/sec`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Bits => "10^0bits",
            Self::Kilobits => "10^3bits",
            Self::Megabits => "10^6bits",
            Self::Gigabits => "10^9bits",
            Self::Bytes => "Bytes",
            Self::Kibibytes => "KBytes",
            Self::Mebibytes => "MBytes",
            Self::Gibibytes => "GBytes",
            Self::Microseconds => "Usec",
            Self::Transactions => "Trans",
        }
    }

    /// Of what it is a rate: `transactions` or `bytes`.
    pub(crate) fn counted(self, bytes: u64, transactions: u64) -> u64 {
        if self == Self::Transactions { transactions } else { bytes }
    }

    /// Whatever was [`counted`](Self::counted) in `elapsed` in this unit; 0 where there was neither.
    ///
    /// Infinite where only the divisor is zero: microseconds for each byte of none, printed `inf` as netperf
    /// does.
    pub(crate) fn rate(self, counted: u64, elapsed: Duration) -> f64 {
        self.rate_of(counted as f64, elapsed.as_secs_f64())
    }

    /// [`Self::rate`] of a count that need not be whole.
    pub(crate) fn rate_of(self, counted: f64, seconds: f64) -> f64 {
        let rate = match self {
            Self::Microseconds => 1e6 * seconds / counted,
            _ => counted / self.size() / seconds,
        };
        if rate.is_nan() { 0.0 } else { rate }
    }

    /// Bytes, or transactions, in one unit. netperf 2.7.0 has 1 for a bit, and so prints bytes under the word
    /// for bits.
    fn size(self) -> f64 {
        match self {
            Self::Bits => 1.0 / 8.0,
            Self::Kilobits => 1e3 / 8.0,
            Self::Megabits => 1e6 / 8.0,
            Self::Gigabits => 1e9 / 8.0,
            Self::Bytes | Self::Microseconds | Self::Transactions => 1.0,
            Self::Kibibytes => 1024.0,
            Self::Mebibytes => 1024.0 * 1024.0,
            Self::Gibibytes => 1024.0 * 1024.0 * 1024.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(letter: Option<char>, bytes: u64, elapsed: Duration) -> String {
        let unit = Unit::from_letter(letter, false);
        format!("{:.2} {}", unit.rate(bytes, elapsed), unit.word())
    }

    #[test]
    fn each_letter_has_its_word_and_divisor() {
        // 2^30 bytes in half a second
        let second = |letter: char| printed(Some(letter), 1 << 30, Duration::from_millis(500));
        assert_eq!(second('b'), "17179869184.00 10^0bits");
        assert_eq!(second('k'), "17179869.18 10^3bits");
        assert_eq!(second('m'), "17179.87 10^6bits");
        assert_eq!(second('g'), "17.18 10^9bits");
        assert_eq!(second('B'), "2147483648.00 Bytes");
        assert_eq!(second('K'), "2097152.00 KBytes");
        assert_eq!(second('M'), "2048.00 MBytes");
        assert_eq!(second('G'), "2.00 GBytes");
        assert_eq!(second('x'), second('m'));
        assert_eq!(second('q'), second('K'));
        assert_eq!(printed(None, 1024, Duration::from_secs(1)), "1.00 KBytes");
        assert_eq!(printed(Some('u'), 50_000, Duration::from_secs(1)), "20.00 Usec");
    }

    #[test]
    fn nothing_at_all_is_no_rate() {
        assert_eq!(printed(Some('m'), 0, Duration::ZERO), "0.00 10^6bits");
        assert_eq!(printed(Some('u'), 0, Duration::ZERO), "0.00 Usec");
        assert_eq!(printed(Some('u'), 0, Duration::from_secs(1)), "inf Usec");
    }

    #[test]
    fn transactions_are_a_unit_where_there_are_any() {
        let unit = Unit::from_letter(Some('x'), true);
        assert_eq!((unit, unit.word()), (Unit::Transactions, "Trans"));
        assert_eq!((unit.counted(300, 3), Unit::Megabits.counted(300, 3)), (3, 300));
        assert_eq!(unit.rate(3, Duration::from_millis(500)), 6.0);
    }
}
