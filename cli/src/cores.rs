//! Which cores the workers of two ends on one machine get, and how lists of cores are written.
//!
//! Only chooses; the engine pins its workers and verifies it.

use ringperf_engine::plan::WORKERS_MAX;

/// Cores that this process may use, in ascending order. Empty when the kernel does not tell.
pub(crate) fn allowed() -> Vec<usize> {
    let mut cores: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect();
    cores.sort_unstable();
    cores
}

/// Cores for our workers and for those of a netserver on the same machine, as many for the one as for the
/// other: ours are those asked for, or the first that is allowed. The netserver gets others, on other
/// physical cores as far as there are such, because two threads of one physical core share its units. Where
/// there are too few, cores are shared. Empty where nothing is known.
pub(crate) fn shares(
    allowed: &[usize],
    asked: &[usize],
    siblings: impl Fn(usize) -> Vec<usize>,
) -> (Vec<usize>, Vec<usize>) {
    let first = allowed.first().copied();
    let ours: Vec<usize> = if asked.is_empty() { first.into_iter().collect() } else { asked.to_vec() };
    // The engine takes another one in place of a core that is not allowed.
    let taken: Vec<usize> =
        ours.iter().filter_map(|core| Some(*core).filter(|core| allowed.contains(core)).or(first)).collect();
    let near: Vec<usize> = taken.iter().flat_map(|core| siblings(*core)).collect();
    let mut order: Vec<usize> = allowed.to_vec();
    // Stable: among equals the order stays.
    order.sort_by_key(|core| (taken.contains(core), near.contains(core)));
    let theirs = order.iter().copied().cycle().take(if order.is_empty() { 0 } else { ours.len() }).collect();
    (ours, theirs)
}

/// Reads a list of cores, such as `0,2-3`: one worker for each.
///
/// # Errors
/// A sentence about what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Vec<usize>, String> {
    let mut cores = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else {
            return Err(
                "write the numbers of cores, with commas between, or ranges of them: 0,2-3".to_owned()
            );
        };
        if first > last {
            return Err(format!("the range {part} ends before it begins"));
        }
        for core in usize::from(first)..=usize::from(last) {
            if cores.contains(&core) {
                return Err(format!("core {core} is named twice"));
            }
            cores.push(core);
            if cores.len() > WORKERS_MAX as usize {
                return Err(format!("{WORKERS_MAX} cores are the most"));
            }
        }
    }
    Ok(cores)
}

/// A list of cores as [`parse`] reads it.
pub(crate) fn words(cores: &[usize]) -> String {
    cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
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
    fn the_netserver_gets_other_physical_cores_as_far_as_there_are_some() {
        let smt = |core: usize| vec![core & !1, core | 1];
        let shares = |allowed: &[usize], asked: &[usize]| shares(allowed, asked, smt);
        assert_eq!(shares(&[0, 1, 2, 3], &[]), (vec![0], vec![2]));
        assert_eq!(shares(&[0, 1, 2, 3], &[2]), (vec![2], vec![0]));
        assert_eq!(shares(&[0, 1], &[]), (vec![0], vec![1]));
        assert_eq!(shares(&[3], &[]), (vec![3], vec![3]));
        assert_eq!(shares(&[3], &[9]), (vec![9], vec![3]));
        assert_eq!(shares(&[0, 1], &[9]), (vec![9], vec![1]));
        assert_eq!(shares(&[], &[9]), (vec![9], vec![]));
        assert_eq!(shares(&[], &[]), (vec![], vec![]));
        assert_eq!(shares(&[0, 1, 2, 3], &[0, 1]), (vec![0, 1], vec![2, 3]));
        assert_eq!(shares(&[0, 1, 2, 3], &[0, 2]), (vec![0, 2], vec![1, 3]));
        assert_eq!(shares(&[0, 1], &[0, 1]), (vec![0, 1], vec![0, 1]));
        assert_eq!(shares(&[0, 1, 2], &[0, 1]), (vec![0, 1], vec![2, 0]));
    }

    #[test]
    fn lists_of_cores_are_read_and_written() {
        assert_eq!(parse("3"), Ok(vec![3]));
        assert_eq!(parse("0,2-4,1"), Ok(vec![0, 2, 3, 4, 1]));
        assert_eq!(words(&[0, 2, 3]), "0,2,3");
        for bad in ["", ",", "a", "1-", "-1", "3-2", "0,0", "0-2,1", "0-2000", "70000"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn cpu_lists_are_read() {
        assert_eq!(parse_list("0-2,5\n"), [0, 1, 2, 5]);
        assert_eq!(parse_list("7\n"), [7]);
        assert!(parse_list("").is_empty());
    }
}
