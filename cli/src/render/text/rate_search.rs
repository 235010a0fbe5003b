//! A search for the loss-free rate as a page: the answer, every trial, and the run that confirmed it.

use super::{line, rate, record as whole_page, table};
use crate::record::rate_search::{RateSearch, Trial};

/// The whole page, line ends included.
pub(crate) fn page(search: &RateSearch) -> String {
    let mut page = String::new();
    line(&mut page, &headline(search));
    page.push('\n');
    page.push_str(&table(&rows(&search.trials)));
    if let Some(record) = &search.result {
        page.push('\n');
        page.push_str(&whole_page(record));
    }
    page
}

fn headline(search: &RateSearch) -> String {
    let limit = percent(search.loss_limit);
    if let (Some(_), Some(trial)) = (&search.result, search.trials.last()) {
        let unpaced = if trial.offered_bits_per_second.is_none() { ", as fast as it goes" } else { "" };
        return format!(
            "loss-free rate {}{unpaced}: {} lost in {:.1} s, where {limit} may be",
            rate(trial.sent_bits_per_second),
            percent(trial.loss),
            trial.seconds
        );
    }
    let best = match search.best() {
        Some(trial) => {
            format!("the fastest trial within {limit} sent at {}", rate(trial.sent_bits_per_second))
        }
        None => format!("no trial was within {limit}"),
    };
    match search.interrupted {
        Some(signal) => format!("interrupted by {signal} before a rate was confirmed; {best}"),
        None => format!("no loss-free rate confirmed; {best}"),
    }
}

fn rows(trials: &[Trial]) -> Vec<[String; 8]> {
    let heads = ["trial", "offered", "sent", "received", "loss", "datagrams lost", "sends refused", "result"];
    let row = |(index, trial): (usize, &Trial)| {
        [
            format!("{}", index + 1),
            trial.offered_bits_per_second.map_or_else(|| "unpaced".to_owned(), |bits| rate(bits as f64)),
            rate(trial.sent_bits_per_second),
            rate(trial.received_bits_per_second),
            percent(trial.loss),
            trial.datagrams_sent.saturating_sub(trial.datagrams_received).to_string(),
            trial.failed_sends.to_string(),
            verdict(trial),
        ]
    };
    std::iter::once(heads.map(str::to_owned)).chain(trials.iter().enumerate().map(row)).collect()
}

fn verdict(trial: &Trial) -> String {
    let verdict = if trial.passed { "passed" } else { "lost too much" };
    if trial.confirms { format!("{verdict}, in {:.0} s", trial.seconds) } else { verdict.to_owned() }
}

/// A share with three digits after the point, or as many as it takes to see that it is not zero.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        0.0 => "0 %".to_owned(),
        small if small < 0.001 => format!("{small:.1e} %"),
        percent => format!("{percent:.3} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Tool;

    fn trial(offered: Option<u64>, sent: f64, loss: f64, confirms: bool) -> Trial {
        Trial {
            offered_bits_per_second: offered,
            confirms,
            seconds: 2.0,
            sent_bits_per_second: sent,
            received_bits_per_second: sent * (1.0 - loss),
            datagrams_sent: 1000,
            datagrams_received: (1000.0 * (1.0 - loss)) as u64,
            loss,
            failed_sends: 7,
            passed: loss <= 0.001,
        }
    }

    fn search(interrupted: Option<&'static str>) -> RateSearch {
        RateSearch {
            record: 2,
            tool: Tool::this(),
            command: Vec::new(),
            loss_limit: 0.001,
            trials: vec![
                trial(None, 10e9, 0.75, false),
                trial(Some(2_500_000_000), 2.5e9, 0.0, false),
                trial(Some(2_500_000_000), 2.4e9, 0.002, true),
            ],
            result: None,
            interrupted,
            error: None,
        }
    }

    #[test]
    fn every_trial_has_its_row() {
        let expected = "\
no loss-free rate confirmed; the fastest trial within 0.100 % sent at 2.50 Gbit/s

trial  offered      sent          received     loss      datagrams lost  sends refused  result
1      unpaced      10.00 Gbit/s  2.50 Gbit/s  75.000 %  750             7              lost too much
2      2.50 Gbit/s  2.50 Gbit/s   2.50 Gbit/s  0 %       0               7              passed
3      2.50 Gbit/s  2.40 Gbit/s   2.40 Gbit/s  0.200 %   2               7              lost too much, in 2 s
";
        assert_eq!(page(&search(None)), expected);
        let text = page(&search(Some("SIGINT")));
        assert!(text.starts_with("interrupted by SIGINT before a rate was confirmed; the fastest"), "{text}");
    }

    #[test]
    fn a_share_is_never_shown_as_zero_that_is_not() {
        assert_eq!(percent(0.0), "0 %");
        assert_eq!(percent(0.001), "0.100 %");
        assert_eq!(percent(0.000_001), "1.0e-4 %");
        assert_eq!(percent(1.0), "100.000 %");
    }
}
