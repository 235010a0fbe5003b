//! The search for the highest rate whose loss stays within a limit: which rate to try next, and when to stop.
//!
//! A pure state machine: it is told what came of each trial and runs none itself.
//!
//! ```text
//! as fast as it goes -> what then arrived -> halves in between, to 2 % -> a longer trial at that rate
//!                                                                      -> if that fails, lower, and again
//! ```
//!
//! A trial that fails is repeated once, and the second one counts: what happens once in a while on a shared
//! machine would otherwise halve the answer. The longer trial at the end is what guards against the other
//! mistake.

/// How near the highest rate that passed and the lowest that failed have to be, as a share of the latter.
const RESOLUTION: f64 = 0.02;

/// Longer trials, at ever lower rates, before the search gives up.
const CONFIRMING_MAX: u32 = 7;

/// Halvings of the received rate, none of which passed, before the search gives up.
const HALVINGS_MAX: u32 = 10;

/// More trials than a search can come to, which are: one as fast as it goes; all halvings, each twice; six
/// steps, each twice, from a factor of two to the resolution, or instead of the halvings six more from any
/// factor to two; and the longer ones.
#[cfg(test)]
const TRIALS_MAX: u32 = 64;

/// What a trial found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Found {
    /// Payload bits a second that were sent.
    pub(crate) sent: f64,
    /// Payload bits a second that arrived.
    pub(crate) received: f64,
    /// Share of the datagrams sent that did not arrive.
    pub(crate) loss: f64,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Run a trial at this many payload bits a second, or as fast as it goes.
    Trial(Option<u64>),
    /// Run a longer one.
    Confirm(Option<u64>),
    /// Nothing more.
    Done(Verdict),
}

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The last trial, a longer one, passed.
    Found,
    /// Trials passed, but no longer one did.
    NotConfirmed,
    /// No trial passed, down to this rate.
    NothingPassed(u64),
}

/// The search under way.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    limit: f64,
    next: Next,
    /// Highest rate that passed; 0 where none did.
    low: u64,
    /// Lowest rate that failed.
    high: u64,
    /// The trial at hand repeats one that failed.
    repeated: bool,
    halvings: u32,
    confirming: u32,
}

impl Search {
    /// One that takes a loss of up to this share.
    pub(crate) fn new(limit: f64) -> Self {
        Self { limit, next: Next::Trial(None), low: 0, high: 0, repeated: false, halvings: 0, confirming: 0 }
    }

    /// What to do now.
    pub(crate) fn next(&self) -> Next {
        self.next
    }

    /// Takes what came of the trial that [`Self::next`] asked for.
    pub(crate) fn take(&mut self, found: Found) {
        let passed = found.loss <= self.limit;
        self.next = match self.next {
            Next::Trial(None) if passed => Next::Confirm(None),
            Next::Trial(None) => self.bounded_by(found),
            Next::Trial(Some(rate)) => self.tried(rate, found, passed),
            Next::Confirm(_) if passed => Next::Done(Verdict::Found),
            Next::Confirm(rate) => self.not_confirmed(rate, found),
            Next::Done(verdict) => Next::Done(verdict),
        };
    }

    /// What arrived of an unpaced trial that lost too much is likely to be near what can be had: that is
    /// tried first. What was sent is known to be too much.
    fn bounded_by(&mut self, found: Found) -> Next {
        let received = (found.received as u64).max(1);
        self.low = 0;
        self.high = (found.sent as u64).max(received);
        Next::Trial(Some(received))
    }

    fn tried(&mut self, rate: u64, found: Found, passed: bool) -> Next {
        if !passed && !self.repeated {
            self.repeated = true;
            return Next::Trial(Some(rate));
        }
        self.repeated = false;
        if passed {
            self.low = rate;
            // The sender cannot go faster: more would be offered in name only.
            if found.sent < rate as f64 * (1.0 - RESOLUTION) {
                return Next::Confirm(Some(rate));
            }
        } else {
            self.high = rate;
        }
        if self.low == 0 {
            if self.halvings == HALVINGS_MAX || rate < 2 {
                return Next::Done(Verdict::NothingPassed(rate));
            }
            self.halvings += 1;
            return Next::Trial(Some(rate / 2));
        }
        let gap = self.high.saturating_sub(self.low);
        if gap <= 1 || gap as f64 <= RESOLUTION * self.high as f64 {
            return Next::Confirm(Some(self.low));
        }
        Next::Trial(Some(between(self.low, self.high)))
    }

    /// Lower by 2, 4, 8, 16, 32 and 64 %: a little where the rate was a little too high, and in the end a
    /// sixth of it, which even a machine takes that is busy with something else for a while.
    fn not_confirmed(&mut self, rate: Option<u64>, found: Found) -> Next {
        self.confirming += 1;
        match rate {
            _ if self.confirming == CONFIRMING_MAX => Next::Done(Verdict::NotConfirmed),
            None => self.bounded_by(found),
            Some(rate) => {
                let step = RESOLUTION * f64::from(1_u32 << (self.confirming - 1));
                Next::Confirm(Some(((rate as f64 * (1.0 - step)) as u64).max(1)))
            }
        }
    }
}

/// The middle of two rates; of rates that are far apart the geometric one, so that a sender that offers a
/// thousand times what arrives costs a few trials more and not ten.
fn between(low: u64, high: u64) -> u64 {
    if high / 2 > low {
        let middle = (low as f64 * high as f64).sqrt() as u64;
        middle.clamp(low + 1, high - 1)
    } else {
        low.midpoint(high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A search against a network; the rates it tried, and how it ended.
    fn search(limit: f64, mut network: impl FnMut(Option<u64>, bool) -> Found) -> (Vec<Next>, Verdict) {
        let mut search = Search::new(limit);
        let mut trials = Vec::new();
        loop {
            let found = match search.next() {
                Next::Trial(rate) => network(rate, false),
                Next::Confirm(rate) => network(rate, true),
                Next::Done(verdict) => return (trials, verdict),
            };
            trials.push(search.next());
            assert!(trials.len() <= TRIALS_MAX as usize, "it does not end: {trials:?}");
            search.take(found);
        }
    }

    /// Takes all that is offered up to `capacity` and loses the rest, of a sender that can do `fastest`.
    fn pipe(fastest: f64, capacity: f64) -> impl FnMut(Option<u64>, bool) -> Found {
        move |rate, _| {
            let sent = rate.map_or(fastest, |rate| rate as f64).min(fastest);
            let received = sent.min(capacity);
            Found { sent, received, loss: 1.0 - received / sent }
        }
    }

    fn confirmed(trials: &[Next]) -> f64 {
        match trials.last() {
            Some(Next::Confirm(Some(rate))) => *rate as f64,
            other => panic!("the last trial is {other:?}"),
        }
    }

    #[test]
    fn a_pipe_is_found_to_the_resolution() {
        for (fastest, capacity) in [(10e9, 2.5e9), (10e9, 1e6), (1.02e9, 1e9), (1e15, 3.0)] {
            for limit in [0.0, 0.001, 0.05] {
                let (trials, verdict) = search(limit, pipe(fastest, capacity));
                assert_eq!(verdict, Verdict::Found, "{fastest} {capacity} {limit}: {trials:?}");
                let allowed = (capacity / (1.0 - limit)).min(fastest);
                let rate =
                    if trials.last() == Some(&Next::Confirm(None)) { fastest } else { confirmed(&trials) };
                assert!(rate <= allowed + 1.0, "{rate} of {allowed}: {trials:?}");
                assert!(rate >= allowed * 0.97 - 1.0, "{rate} of {allowed}: {trials:?}");
            }
        }
    }

    #[test]
    fn a_receiver_that_does_worse_when_swamped_is_found_above_what_arrived() {
        // Of 10 Gbit/s it takes a tenth of what it takes of 3.
        let swamped = |rate: Option<u64>, _| {
            let sent = rate.map_or(10e9, |rate| rate as f64);
            let received = if sent <= 3e9 { sent } else { 0.3e9 };
            Found { sent, received, loss: 1.0 - received / sent }
        };
        let (trials, verdict) = search(0.0, swamped);
        assert_eq!(verdict, Verdict::Found);
        assert!((2.94e9..=3e9).contains(&confirmed(&trials)), "{trials:?}");
    }

    #[test]
    fn a_network_that_loses_nothing_takes_two_trials() {
        let (trials, verdict) = search(0.0, pipe(1e9, 1e9));
        assert_eq!((verdict, trials), (Verdict::Found, vec![Next::Trial(None), Next::Confirm(None)]));
    }

    #[test]
    fn a_network_that_always_loses_says_so() {
        let lossy = |rate: Option<u64>, _| {
            let sent = rate.map_or(1e9, |rate| rate as f64);
            Found { sent, received: sent * 0.9, loss: 0.1 }
        };
        let (trials, verdict) = search(0.05, lossy);
        // The received rate, and ten halves of it, each twice.
        assert_eq!((verdict, trials.len()), (Verdict::NothingPassed(900_000_000 >> 10), 1 + 2 * 11));
        let dead = |_, _| Found { sent: 0.0, received: 0.0, loss: 1.0 };
        assert_eq!(search(0.0, dead).1, Verdict::NothingPassed(1));
    }

    #[test]
    fn pacing_that_is_not_heeded_ends_too() {
        let heedless = |_, _| Found { sent: 10e9, received: 2e9, loss: 0.8 };
        assert!(matches!(search(0.001, heedless).1, Verdict::NothingPassed(_)));
    }

    #[test]
    fn what_no_longer_trial_confirms_is_not_found() {
        let fickle = |rate: Option<u64>, confirms| {
            let found = pipe(2e9, 1e9)(rate, confirms);
            if confirms { Found { loss: 0.5, ..found } } else { found }
        };
        let (trials, verdict) = search(0.0, fickle);
        assert_eq!(verdict, Verdict::NotConfirmed);
        let confirming = trials.iter().filter(|next| matches!(next, Next::Confirm(_))).count();
        assert_eq!(confirming, CONFIRMING_MAX as usize);
        assert!((0.17e9..0.19e9).contains(&confirmed(&trials)), "{trials:?}");
    }

    #[test]
    fn a_sender_that_cannot_keep_up_ends_the_climb() {
        // Unpaced it sends 2e9 and loses; paced it sends no more than 1.5e9, all of which arrives.
        let slow = |rate: Option<u64>, _| match rate {
            None => Found { sent: 2e9, received: 1.6e9, loss: 0.2 },
            Some(rate) => {
                let sent = (rate as f64).min(1.5e9);
                Found { sent, received: sent, loss: 0.0 }
            }
        };
        let (trials, verdict) = search(0.0, slow);
        assert_eq!((verdict, trials.len()), (Verdict::Found, 3));
        assert_eq!(confirmed(&trials), 1.6e9);
    }

    #[test]
    fn an_unpaced_rate_that_a_longer_trial_refutes_is_searched_below() {
        let mut first = true;
        let tiring = |rate: Option<u64>, _| {
            let capacity = if std::mem::take(&mut first) { 1e9 } else { 0.8e9 };
            pipe(1e9, capacity)(rate, false)
        };
        let (trials, verdict) = search(0.0, tiring);
        assert_eq!((trials[1], verdict), (Next::Confirm(None), Verdict::Found));
        assert!((0.78e9..=0.8e9).contains(&confirmed(&trials)), "{trials:?}");
    }

    /// Every trial in ten loses something without reason, and one of 40 of the longer ones.
    #[test]
    fn noise_neither_keeps_it_going_nor_leads_it_far_astray() {
        let mut state = 1_u64;
        let mut one_in = |n: u64| {
            // A linear congruential generator (Knuth, MMIX) will do for that.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33).is_multiple_of(n)
        };
        let mut good = 0;
        for _ in 0..1000 {
            let (trials, verdict) = search(0.001, |rate, confirms| {
                let found = pipe(10e9, 2e9)(rate, confirms);
                let unlucky = one_in(if confirms { 40 } else { 10 });
                if unlucky { Found { loss: found.loss.max(0.002), ..found } } else { found }
            });
            let near = |rate: f64| (1.8e9..=2.01e9).contains(&rate);
            good += u32::from(verdict == Verdict::Found && near(confirmed(&trials)));
        }
        assert!(good >= 900, "{good} of 1000 were near");
    }

    #[test]
    fn anything_ends() {
        let mut state = 7_u64;
        for _ in 0..2000 {
            let chance = |rate: Option<u64>, _| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let sent = rate.unwrap_or(state >> 20) as f64;
                Found {
                    sent,
                    received: sent / (state >> 50) as f64,
                    loss: if state >> 63 == 0 { 0.0 } else { 1.0 },
                }
            };
            // That it ends is checked in the loop.
            search(0.5, chance);
        }
    }
}
