//! Where in its bursts a sender is.
//!
//! Follows from what it has sent, so nothing is kept here but their size. When the next one may begin is the
//! business of [`crate::pace`].

use std::num::NonZeroU32;

/// Messages of a burst; `None`: a sender that makes none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct InBursts(Option<NonZeroU32>);

impl InBursts {
    /// Of so many messages each, if of any.
    pub(crate) fn of(messages: u32) -> Self {
        Self(NonZeroU32::new(messages))
    }

    /// Messages that belong to the burst under way once so many have gone: of one that is to begin, all.
    pub(crate) fn left(self, gone: u64) -> u32 {
        self.0.map_or(u32::MAX, |messages| messages.get() - (gone % u64::from(messages.get())) as u32)
    }

    /// The next message is the first of a burst; of a sender without them, always.
    pub(crate) fn begins(self, gone: u64) -> bool {
        self.0.is_none_or(|messages| gone.is_multiple_of(messages.get().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_begins_when_the_last_one_has_gone() {
        let bursts = InBursts::of(3);
        let all: Vec<_> = (0..7).map(|gone| (bursts.left(gone), bursts.begins(gone))).collect();
        assert_eq!(all, [(3, true), (2, false), (1, false), (3, true), (2, false), (1, false), (3, true)]);
        let none = InBursts::default();
        assert_eq!((none.left(5), none.begins(5)), (u32::MAX, true));
        let largest = InBursts::of(u32::MAX);
        assert_eq!(
            (largest.left(u64::from(u32::MAX) + 7), largest.begins(u32::MAX.into())),
            (u32::MAX - 7, true)
        );
    }
}
