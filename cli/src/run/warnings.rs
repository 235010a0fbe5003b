//! What the reader of a result has to be told, decided from its numbers.
//!
//! Pure: a list of rules over what was measured. The texts belong to the record.

use std::net::IpAddr;
use std::time::Duration;

use ringperf_engine::{End as RunEnd, Outcome};

use super::args::TestLength;
use crate::record::{BufferSizes, End, Netserver, Note, Side, Warning};

/// Share of the time asked for below which a timed test counts as ended early.
const EARLY: f64 = 0.95;

/// What the rules look at.
pub(crate) struct Evidence<'a> {
    /// The sender's run.
    pub(crate) outcome: &'a Outcome,
    /// Our address of the data connection.
    pub(crate) local: IpAddr,
    /// Its side.
    pub(crate) sender: &'a Side,
    /// The receiver's side.
    pub(crate) receiver: &'a Side,
    /// Bytes the receiver counted.
    pub(crate) bytes_received: u64,
    /// Wishes that the receiver went on without, as far as it tells.
    pub(crate) receiver_lacks: Vec<&'static str>,
    /// Why the netserver's report is missing, where it has one.
    pub(crate) report_missing: Option<String>,
    /// What the receiver is.
    pub(crate) netserver: Netserver,
    /// What was asked for.
    pub(crate) length: TestLength,
    /// Data port asked for and in use.
    pub(crate) data_port: (Option<u16>, u16),
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
    let Evidence { outcome, bytes_received, interrupted, .. } = evidence;
    let sent = outcome.tally.bytes_sent;
    if sent != *bytes_received {
        warnings.push(Warning::BytesDiffer { sent, received: *bytes_received });
    }
    let counted = outcome.tally.operations;
    if counted.stale + counted.overflows + counted.skipped_buffers > 0 {
        warnings.push(Warning::CompletionsDefective {
            stale: counted.stale,
            overflows: counted.overflows,
            skipped_buffers: counted.skipped_buffers,
        });
    }
    match (interrupted, outcome.end, evidence.length) {
        (Some(signal), _, _) => warnings.push(Warning::Interrupted { signal }),
        (None, RunEnd::DrainTimeout, _) => warnings.push(Warning::DrainTimeout),
        (None, _, TestLength::Seconds(asked)) => {
            let seconds = outcome.elapsed.as_secs_f64();
            if seconds < f64::from(asked) * EARLY {
                warnings.push(Warning::EndedEarly { seconds, asked });
            }
        }
        _ => {}
    }
    if let (Some(asked), got) = evidence.data_port
        && asked != got
    {
        warnings.push(Warning::DataPortChanged { asked, got });
    }
}

/// What else the numbers depend on.
fn circumstances(evidence: &Evidence<'_>, warnings: &mut Vec<Warning>) {
    let Evidence { outcome, sender, receiver, netserver, .. } = evidence;
    let one_machine = outcome.peer.is_some_and(|peer| is_this_machine(peer.ip(), evidence.local));
    for (end, side) in [(End::Sender, sender), (End::Receiver, receiver)] {
        if let Some(worker) = side.worker.filter(|worker| worker.is_core_bound()) {
            warnings.push(Warning::CpuLimited { end, core_percent: worker.core_percent });
        }
    }
    if let (true, Some(ours), Some(theirs)) = (one_machine, sender.core, receiver.core)
        && ours == theirs
    {
        warnings.push(Warning::CoreShared { core: ours });
    }
    if one_machine {
        warnings.push(Warning::NoWire);
    }
    match (netserver, receiver.machine) {
        (_, None) if receiver.worker.is_none() => warnings.push(Warning::ReceiverWithoutCpu),
        (Netserver::Netperf, Some(_)) => warnings.push(Warning::ReceiverWholeMachine),
        _ => {}
    }
}

/// Limits and fallbacks.
fn what_was_lacking(evidence: &Evidence<'_>, warnings: &mut Vec<Warning>) {
    for (end, side) in [(End::Sender, evidence.sender), (End::Receiver, evidence.receiver)] {
        // Linux reports twice what it was asked for; a netserver of netperf's may run on another system.
        let linux = end == End::Sender || evidence.netserver != Netserver::Netperf;
        if let BufferSizes { asked: Some(asked), granted: Some(granted), .. } = side.socket_buffer
            && granted < if linux { asked.saturating_mul(2) } else { asked }
        {
            warnings.push(Warning::BufferClamped { end, asked, granted });
        }
    }
    warnings.extend(evidence.outcome.facts.degraded.iter().map(|degraded| Warning::Degraded {
        end: End::Sender,
        feature: degraded.feature.to_owned(),
        reason: degraded.reason.clone(),
        instead: degraded.instead.to_owned(),
    }));
    if !evidence.receiver_lacks.is_empty() {
        warnings.push(Warning::ReceiverDegraded { features: evidence.receiver_lacks.clone() });
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

/// The time that rates refer to: of the connection, its set-up left out.
pub(crate) fn connected_for(outcome: &Outcome) -> Duration {
    outcome.elapsed.saturating_sub(outcome.connected_after.unwrap_or_default())
}
