//! Which cores the two workers of one machine get.
//!
//! Only chooses; the engine pins its worker and verifies it.

/// Cores that this process may use, in ascending order. Empty when the kernel does not tell.
pub(crate) fn allowed() -> Vec<usize> {
    let mut cores: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect();
    cores.sort_unstable();
    cores
}

/// Cores for our worker and for that of a netserver on the same machine: `ours` is the one asked for, or the
/// first that is allowed. The netserver gets another one, on another physical core if there is such, because
/// two threads of one physical core share its units. With a single core both get it. `None` where nothing is
/// known.
pub(crate) fn pair(
    allowed: &[usize],
    asked: Option<usize>,
    siblings: impl Fn(usize) -> Vec<usize>,
) -> (Option<usize>, Option<usize>) {
    let ours = asked.or_else(|| allowed.first().copied());
    // The engine takes the first one in place of a core that is not allowed.
    let core = ours.filter(|core| allowed.contains(core)).or_else(|| allowed.first().copied());
    let Some(core) = core else { return (ours, None) };
    let near = siblings(core);
    let others = || allowed.iter().copied().filter(|other| *other != core);
    let theirs = others()
        .find(|other| !near.contains(other))
        .or_else(|| others().next())
        .or_else(|| allowed.first().copied());
    (ours, theirs)
}

/// Hardware threads on the same physical core, the core itself among them; empty when the kernel does not
/// tell.
pub(crate) fn siblings(core: usize) -> Vec<usize> {
    let path = format!("/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
    std::fs::read_to_string(path).map(|text| parse_list(&text)).unwrap_or_default()
}

/// The kernel's list of CPUs, such as `0-1,4`. A part that is not understood is left out.
fn parse_list(text: &str) -> Vec<usize> {
    text.trim()
        .split(',')
        .filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(first.parse::<usize>().ok()?..=last.parse::<usize>().ok()?)
        })
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_netserver_gets_another_physical_core_if_there_is_one() {
        let smt = |core: usize| vec![core & !1, core | 1];
        assert_eq!(pair(&[0, 1, 2, 3], None, smt), (Some(0), Some(2)));
        assert_eq!(pair(&[0, 1, 2, 3], Some(2), smt), (Some(2), Some(0)));
        assert_eq!(pair(&[0, 1], None, smt), (Some(0), Some(1)));
        assert_eq!(pair(&[3], None, smt), (Some(3), Some(3)));
        assert_eq!(pair(&[3], Some(9), smt), (Some(9), Some(3)));
        assert_eq!(pair(&[0, 1], Some(9), smt), (Some(9), Some(1)));
        assert_eq!(pair(&[], Some(9), smt), (Some(9), None));
        assert_eq!(pair(&[], None, smt), (None, None));
    }

    #[test]
    fn cpu_lists_are_read() {
        assert_eq!(parse_list("0-2,5\n"), [0, 1, 2, 5]);
        assert_eq!(parse_list("7\n"), [7]);
        assert!(parse_list("").is_empty());
    }
}
