//! Which core a worker gets, and whether it really runs there.
//!
//! Chooses among the cores the process may use, never another; a choice that the kernel does not honour is
//! found out by looking, not by a return code.

use std::sync::{Mutex, PoisonError};

use core_affinity::CoreId;

use crate::facts::{CoreFacts, Degraded};
use crate::plan::Role;
use crate::refusal;
use crate::sys;

/// Cores in use by workers of this process, one entry a worker. Touched before and after a run, never during
/// it.
static IN_USE: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// A worker's claim on a core; gone when dropped.
pub(crate) struct Seat {
    core: Option<usize>,
    /// What was asked and what came of it.
    pub(crate) facts: CoreFacts,
}

impl Seat {
    /// Pins the calling thread.
    pub(crate) fn take(asked: Option<usize>, role: Role, degraded: &mut Vec<Degraded>) -> Self {
        let allowed: Vec<usize> =
            core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect();
        let mut facts = CoreFacts { asked, ..CoreFacts::default() };
        if let Some(core) = asked.filter(|core| !allowed.contains(core)) {
            degraded.push(Degraded {
                feature: "core asked for",
                reason: format!(
                    "core {core} is not in this process's affinity mask {allowed:?}; {}",
                    refusal::MASK
                ),
                instead: "a core of the mask",
            });
        }
        let core = {
            let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
            let core =
                asked.filter(|core| allowed.contains(core)).or_else(|| choose(&allowed, &in_use, role));
            in_use.extend(core);
            core
        };
        let seat = |facts| Self { core, facts };
        let Some(id) = core else {
            degraded.push(not_pinned("the affinity mask cannot be read".to_owned()));
            return seat(facts);
        };
        if !core_affinity::set_for_current(CoreId { id }) {
            // The call before it was sched_setaffinity, which tells no more than that it failed.
            let error = std::io::Error::last_os_error();
            degraded.push(not_pinned(refusal::of_core(id, &error)));
            return seat(facts);
        }
        facts.pinned = Some(id);
        facts.verified = sys::current_cpu() == Some(id);
        if !facts.verified {
            degraded.push(not_pinned(format!(
                "the thread runs on {:?} although pinned to {id}",
                sys::current_cpu()
            )));
        }
        seat(facts)
    }

    /// Looks again, at the end of a run.
    pub(crate) fn verify(&mut self) {
        self.facts.verified &= self.facts.pinned.is_some() && sys::current_cpu() == self.facts.pinned;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = in_use.iter().position(|core| Some(*core) == self.core) {
            in_use.swap_remove(at);
        }
    }
}

fn not_pinned(reason: String) -> Degraded {
    Degraded { feature: "pinned worker", reason, instead: "the scheduler's choice of core" }
}

/// The allowed core with the fewest workers; among equals a sender takes the first and a receiver the last,
/// so that two ends on one machine do not meet, and the same test gets the same core every time.
fn choose(allowed: &[usize], in_use: &[usize], role: Role) -> Option<usize> {
    let load = |core: &usize| in_use.iter().filter(|used| *used == core).count();
    match role {
        Role::Request | Role::Send => allowed.iter().copied().min_by_key(load),
        Role::Receive | Role::Respond => allowed.iter().rev().copied().min_by_key(load),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_keep_apart_and_load_spreads() {
        assert_eq!(choose(&[0, 1, 2], &[], Role::Send), Some(0));
        assert_eq!(choose(&[0, 1, 2], &[], Role::Receive), Some(2));
        assert_eq!(choose(&[0, 1, 2], &[2], Role::Receive), Some(1));
        assert_eq!(choose(&[0, 1], &[0, 1, 1], Role::Receive), Some(0));
        assert_eq!(choose(&[5], &[5, 5], Role::Send), Some(5));
        assert_eq!(choose(&[], &[], Role::Send), None);
    }

    #[test]
    fn a_core_outside_the_mask_is_named_and_replaced() {
        let mut degraded = Vec::new();
        let seat = std::thread::spawn(move || {
            let seat = Seat::take(Some(100_000), Role::Send, &mut degraded);
            (seat.facts.clone(), degraded)
        });
        let (facts, degraded) = seat.join().unwrap();
        assert_eq!(facts.asked, Some(100_000));
        assert!(facts.pinned.is_some());
        assert!(degraded[0].reason.contains("100000"));
    }
}
