//! What the reader of a result has to be told, decided from its numbers.
//!
//! Pure: a list of rules over what was measured. The texts belong to the record.

use std::net::IpAddr;

use ringperf_engine::{End as RunEnd, Outcome};
use ringperf_proto::Test;

use super::{
    Asked, BufferSizes, End, Netserver, Note, Side, StreamResult, Warning, ZERO_COPY_COPIED_PERCENT, ratio,
};

/// Share of the datagrams sent that may be lost without being told of, in percent.
const UNEXPLAINED_PERCENT: f64 = 0.1;

/// Share of the time asked for below which a timed test counts as ended early.
const EARLY: f64 = 0.95;

/// What the rules look at.
pub(crate) struct Evidence<'a> {
    /// The test, by its name at the client.
    pub(crate) test: Test,
    /// Our part in it.
    pub(crate) local: End,
    /// What was asked for.
    pub(crate) asked: &'a Asked,
    /// Our run.
    pub(crate) outcome: &'a Outcome,
    /// What was measured.
    pub(crate) result: &'a StreamResult,
    /// Our side.
    pub(crate) ours: &'a Side,
    /// The netserver's side.
    pub(crate) theirs: &'a Side,
    /// Wishes that the netserver went on without, as far as it tells.
    pub(crate) remote_lacks: Vec<&'static str>,
    /// Why the netserver's report is missing, where it has one.
    pub(crate) report_missing: Option<String>,
    /// What the netserver is.
    pub(crate) netserver: Netserver,
    /// Seconds that the test took by the netserver's clock, if it tells.
    pub(crate) remote_seconds: Option<f32>,
    /// Data port in use at the netserver.
    pub(crate) remote_port: u16,
    /// Name of the signal that ended the test.
    pub(crate) interrupted: Option<&'static str>,
}

/// All that apply, the gravest first.
pub(crate) fn list(evidence: &Evidence<'_>) -> Vec<Note> {
    let mut warnings = Vec::new();
    course(evidence, &mut warnings);
    circumstances(evidence, &mut warnings);
    what_was_lacking(evidence, &mut warnings);
    warnings.into_iter().map(Note::from).collect()
}

/// How the test went.
fn course(evidence: &Evidence<'_>, warnings: &mut Vec<Warning>) {
    let Evidence { outcome, asked, result, interrupted, local, .. } = evidence;
    let counts = Counts {
        sent: result.bytes_sent,
        received: result.bytes_received,
        message: u64::from(evidence.theirs.message_bytes.unwrap_or(u32::MAX)),
        read_to_the_end: outcome.end == RunEnd::PeerClosed,
    };
    if contradict(evidence.test, counts) {
        warnings.push(Warning::BytesDiffer { sent: result.bytes_sent, received: result.bytes_received });
    }
    let counted = outcome.tally.operations;
    if counted.stale + counted.overflows + counted.skipped_buffers > 0 {
        warnings.push(Warning::CompletionsDefective {
            stale: counted.stale,
            overflows: counted.overflows,
            skipped_buffers: counted.skipped_buffers,
        });
    }
    match (interrupted, outcome.end, asked.seconds) {
        (Some(signal), _, _) => {
            let datagrams = evidence.test == Test::UdpStream;
            warnings.push(Warning::Interrupted { signal, local: *local, datagrams });
        }
        (None, RunEnd::DrainTimeout, _) => warnings.push(Warning::DrainTimeout),
        (None, _, Some(asked)) => {
            // A netserver that sends has started its clock before ours, and ends the test by it.
            let theirs = evidence.remote_seconds.filter(|_| *local == End::Receiver);
            let seconds = outcome.elapsed.as_secs_f64().max(theirs.map_or(0.0, f64::from));
            if seconds < f64::from(asked) * EARLY {
                warnings.push(Warning::EndedEarly { seconds, asked });
            }
        }
        _ => {}
    }
    if let Some(asked) = asked.of(local.other()).data_port
        && asked != evidence.remote_port
    {
        warnings.push(Warning::DataPortChanged { asked, got: evidence.remote_port });
    }
}

/// What the two ends say of the bytes.
#[derive(Clone, Copy, Debug)]
struct Counts {
    sent: u64,
    received: u64,
    /// Of one message, which a netserver that sends may leave out.
    message: u64,
    /// Whether this end read the stream to its end.
    read_to_the_end: bool,
}

/// Whether the two ends' counts cannot both be right.
///
/// A stream that we send is read to its end, so the counts are equal. Of one that the netserver sends it does
/// not count the message that the end cut short, and where we stopped reading first, what was under way is
/// counted there alone. Datagrams get lost; what is too many was sent by somebody else, or doubled.
fn contradict(test: Test, counts: Counts) -> bool {
    let Counts { sent, received, message, read_to_the_end } = counts;
    match test {
        // Either end counts transactions, and those that the end cut short it alone.
        Test::TcpCc | Test::TcpCrr | Test::TcpRr | Test::UdpRr => false,
        Test::UdpStream => received > sent,
        Test::UdpMaerts => received > sent.saturating_add(message),
        Test::TcpMaerts => received > sent.saturating_add(message) || (read_to_the_end && received < sent),
        Test::TcpStream => sent != received,
    }
}

/// What else the numbers depend on.
fn circumstances(evidence: &Evidence<'_>, warnings: &mut Vec<Warning>) {
    let Evidence { outcome, ours, theirs, local, .. } = evidence;
    let remote = local.other();
    let one_machine = outcome.peer.is_some_and(|peer| is_this_machine(peer.ip(), outcome.local.ip()));
    for (end, side) in [(*local, ours), (remote, theirs)] {
        if let Some(worker) = side.worker.filter(|worker| worker.is_core_bound()) {
            warnings.push(Warning::CpuLimited { end, core_percent: worker.core_percent });
        }
    }
    if let (true, Some(our_core), Some(their_core)) = (one_machine, ours.core, theirs.core)
        && our_core == their_core
    {
        warnings.push(Warning::CoreShared { core: our_core });
    }
    if one_machine {
        warnings.push(Warning::NoWire);
    }
    if let Some(zero_copy) =
        evidence.result.zero_copy.filter(|used| used.copied_percent > ZERO_COPY_COPIED_PERCENT)
    {
        warnings.push(Warning::ZeroCopyCopied { percent: zero_copy.copied_percent });
    }
    warnings.extend(unexplained_loss(evidence.result.unexplained, evidence.result.messages_sent));
    match (evidence.netserver, theirs.machine) {
        // The drop-in asks for it where its user does.
        (Netserver::Unknown, None) => {}
        (_, None) if theirs.worker.is_none() => warnings.push(Warning::RemoteWithoutCpu { end: remote }),
        (Netserver::Netperf | Netserver::Unknown, Some(_)) => {
            warnings.push(Warning::RemoteWholeMachine { end: remote });
        }
        _ => {}
    }
}

/// Datagrams that were lost neither at the sender nor in the receiver's socket, where there are more than a
/// few.
fn unexplained_loss(lost: Option<u64>, sent: u64) -> Option<Warning> {
    let datagrams = lost?;
    let percent = ratio(datagrams as f64 * 100.0, sent as f64)?;
    (percent > UNEXPLAINED_PERCENT).then_some(Warning::UnexplainedLoss { datagrams, percent })
}

/// Limits and fallbacks.
fn what_was_lacking(evidence: &Evidence<'_>, warnings: &mut Vec<Warning>) {
    let remote = evidence.local.other();
    for (end, side) in [(evidence.local, evidence.ours), (remote, evidence.theirs)] {
        // Linux reports twice what it was asked for; a netserver that is not ours may run on another system.
        let linux = end == evidence.local || matches!(evidence.netserver, Netserver::Ringperf { .. });
        if let BufferSizes { asked: Some(asked), granted: Some(granted), .. } = side.socket_buffer
            && granted < if linux { asked.saturating_mul(2) } else { asked }
        {
            warnings.push(Warning::BufferClamped { end, asked, granted });
        }
    }
    warnings.extend(evidence.outcome.facts.degraded.iter().map(|degraded| Warning::Degraded {
        end: evidence.local,
        feature: degraded.feature.to_owned(),
        reason: degraded.reason.clone(),
        instead: degraded.instead.to_owned(),
    }));
    if !evidence.remote_lacks.is_empty() {
        warnings.push(Warning::RemoteDegraded { end: remote, features: evidence.remote_lacks.clone() });
    }
    if let Some(reason) = &evidence.report_missing {
        warnings.push(Warning::ReportMissing { reason: reason.clone() });
    }
}

/// The peer's address leads back to this machine.
fn is_this_machine(peer: IpAddr, ours: IpAddr) -> bool {
    let peer = peer.to_canonical();
    peer.is_loopback() || peer == ours.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_may_differ_as_each_test_has_it() {
        let differ = |test, sent, received, read_to_the_end| {
            contradict(test, Counts { sent, received, message: 10, read_to_the_end })
        };
        assert!(!differ(Test::TcpStream, 100, 100, true));
        assert!(differ(Test::TcpStream, 100, 99, true));
        assert!(!differ(Test::TcpMaerts, 100, 109, true));
        assert!(differ(Test::TcpMaerts, 100, 111, true));
        assert!(differ(Test::TcpMaerts, 100, 99, true));
        assert!(!differ(Test::TcpMaerts, 100, 50, false));
        assert!(!differ(Test::UdpStream, 100, 50, false));
        assert!(differ(Test::UdpStream, 100, 101, false));
    }

    #[test]
    fn a_loss_without_a_place_is_told_of() {
        assert_eq!(unexplained_loss(None, 1000), None);
        assert_eq!(unexplained_loss(Some(0), 0), None);
        assert_eq!(unexplained_loss(Some(1), 1000), None);
        let two = Warning::UnexplainedLoss { datagrams: 2, percent: 0.2 };
        assert_eq!(unexplained_loss(Some(2), 1000), Some(two));
    }

    #[test]
    fn this_machine_has_many_addresses() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert!(is_this_machine(ip("127.0.0.2"), ip("127.0.0.1")));
        assert!(is_this_machine(ip("::ffff:10.0.0.1"), ip("10.0.0.1")));
        assert!(!is_this_machine(ip("10.0.0.2"), ip("10.0.0.1")));
    }
}
