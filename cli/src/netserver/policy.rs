//! What a client may have of this netserver: what is refused before it starts, and what is ended on the way.
//!
//! Judges and keeps watch; it stops nothing itself. Who may come at all is decided before there is a session,
//! in [`super::accept`].

use std::net::IpAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use ringperf_engine::outcome::Sample;
use ringperf_engine::plan::{Every, Progress};
use ringperf_engine::{Error, Plan, PlanOptions};
use ringperf_proto::errno::{EACCES, EINVAL};
use ringperf_proto::{Length, Test, TestSpec};
use tokio::time::{Instant, interval, sleep_until};

use super::testrun::Refused;
use crate::args::Policy;
use crate::bridge::{float, keeps_a_rate};

/// How often a test is looked at for what its client sends.
const LOOK: Duration = Duration::from_millis(100);

/// How often where nothing holds what we send to the rate: we are no better than the network behind us until
/// then.
const LOOK_AT_SENDS: Duration = Duration::from_millis(10);

/// Looks that may wait to be taken note of. What is left out of them is in the next one.
const LOOKS_WAITING: usize = 4;

/// A client may be so far ahead of the rate before its test is ended: buffers fill at once, and what was on
/// the way through a network may come in a lump.
const AHEAD: Duration = Duration::from_secs(1);

/// And so far by what it makes us send.
const SENDS_AHEAD: Duration = Duration::from_millis(100);

/// The first port that a program needs no right for, as systems have it unless told otherwise.
const FIRST_UNPRIVILEGED: u16 = 1024;

/// Whether a client at `peer` may start a test.
///
/// # Errors
/// EINVAL for one that is too long; EACCES for a wish for a rate that is too high, for data beside loopback
/// where there is to be none, and for datagrams to a service.
pub(super) fn judge(policy: &Policy, spec: &TestSpec, peer: IpAddr) -> Result<(), Refused> {
    if let (Some(most), Length::Seconds(seconds)) = (policy.seconds_max, spec.length)
        && seconds > most
    {
        return refused(EINVAL, format!("POLICY: {seconds} s > {most} s (--max-duration)"));
    }
    if let (Some(most), Some(rate)) = (policy.rate_max, spec.wishes.bits_per_second)
        && rate.get() > most
    {
        let reason = format!("POLICY: {} > {} (--max-rate)", megabits(rate.get()), megabits(most));
        return refused(EACCES, reason);
    }
    // The address may be shared, as behind NAT: below it may be somebody else's name server.
    let (_, port) = spec.client_data;
    if spec.test == Test::UdpMaerts && port < FIRST_UNPRIVILEGED && !peer.to_canonical().is_loopback() {
        let reason =
            format!("POLICY: datagrams to port {port} of the client, which is a service's (below 1024)");
        return refused(EACCES, reason);
    }
    match spec.data_address {
        Some(address) if policy.loopback && !address.to_canonical().is_loopback() => {
            refused(EACCES, format!("POLICY: data at {address}, which --loopback excludes"))
        }
        _ => Ok(()),
    }
}

fn refused(errno: i32, reason: String) -> Result<(), Refused> {
    Err(Refused { errno, reason })
}

/// A rate as people read it.
pub(super) fn megabits(bits_per_second: u64) -> String {
    format!("{} Mbit/s", float(bits_per_second) / 1e6)
}

/// Whether bytes of this test are to be looked at while they move: those that come, and those that go out
/// where nothing holds them to a rate.
fn is_watched(test: Test) -> bool {
    !test.server_streams()
}

fn look(test: Test) -> Duration {
    if keeps_a_rate(test) || !test.server_sends() { LOOK } else { LOOK_AT_SENDS }
}

/// The plan with its bytes told while they move, where the policy wants to know them.
///
/// # Errors
/// [`Error::Plan`] where they cannot be told.
pub(super) fn watched(
    plan: Plan,
    rate_max: Option<u64>,
    test: Test,
) -> Result<(Plan, Option<Receiver<Sample>>), Error> {
    if rate_max.is_none() || !is_watched(test) {
        return Ok((plan, None));
    }
    let (to, samples): (SyncSender<Sample>, _) = sync_channel(LOOKS_WAITING);
    let progress = Some(Progress { every: Every::Time(look(test)), to });
    let plan = Plan::new(PlanOptions { progress, ..plan.options().clone() })?;
    Ok((plan, Some(samples)))
}

/// Why a test does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Breach {
    /// It has had its time. What it has moved counts.
    TooLong { seconds: u32 },
    /// Its client sends, or asks for, more than it may.
    TooFast { rate_max: u64 },
}

/// Keeps an eye on a running test.
pub(super) struct Watch {
    /// By when it is over, if nothing else ends it.
    by: Option<(Instant, u32)>,
    meter: Option<Meter>,
}

struct Meter {
    samples: Receiver<Sample>,
    every: Duration,
    rate_max: u64,
    received: Bucket,
    sent: Option<Bucket>,
}

impl Watch {
    /// Of a test that starts now.
    pub(super) fn new(policy: &Policy, spec: &TestSpec, samples: Option<Receiver<Sample>>) -> Self {
        // A timed test that is not too long ends by itself.
        let by = match spec.length {
            Length::Seconds(_) => None,
            Length::Bytes(_) | Length::Endless | Length::Transactions(_) => policy
                .seconds_max
                .map(|seconds| (Instant::now() + Duration::from_secs(seconds.into()), seconds)),
        };
        let meter = samples.zip(policy.rate_max).map(|(samples, rate_max)| Meter {
            samples,
            every: look(spec.test),
            rate_max,
            received: Bucket::new(rate_max, AHEAD),
            sent: (!keeps_a_rate(spec.test)).then(|| Bucket::new(rate_max, SENDS_AHEAD)),
        });
        Self { by, meter }
    }

    /// Resolves when the test has to end. May be dropped and called again.
    pub(super) async fn breach(&mut self) -> Breach {
        let (by, meter) = (self.by, &mut self.meter);
        let too_long = async {
            match by {
                Some((by, seconds)) => {
                    sleep_until(by).await;
                    Breach::TooLong { seconds }
                }
                None => std::future::pending().await,
            }
        };
        let too_fast = async {
            match meter {
                Some(meter) => meter.breach().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            breach = too_long => breach,
            breach = too_fast => breach,
        }
    }
}

impl Meter {
    async fn breach(&mut self) -> Breach {
        let mut looks = interval(self.every);
        loop {
            looks.tick().await;
            while let Ok(sample) = self.samples.try_recv() {
                if self.is_broken_by(&sample) {
                    return Breach::TooFast { rate_max: self.rate_max };
                }
            }
        }
    }

    fn is_broken_by(&mut self, sample: &Sample) -> bool {
        let received = self.received.overflows(sample.at, sample.bytes_received);
        let sent = self.sent.as_mut().is_some_and(|sent| sent.overflows(sample.at, sample.bytes_sent));
        received || sent
    }
}

/// Leaks at the rate, and has room for so many bytes.
struct Bucket {
    bytes_per_second: f64,
    room: f64,
    level: f64,
    /// What has been seen so far, and when.
    seen: (Duration, u64),
}

impl Bucket {
    fn new(bits_per_second: u64, ahead: Duration) -> Self {
        let bytes_per_second = float(bits_per_second) / 8.0;
        let room = bytes_per_second * ahead.as_secs_f64();
        Self { bytes_per_second, room, level: 0.0, seen: (Duration::ZERO, 0) }
    }

    /// Whether so many bytes in all, after this time, are more than it has room for.
    fn overflows(&mut self, at: Duration, bytes: u64) -> bool {
        let (before, counted) = std::mem::replace(&mut self.seen, (at, bytes));
        let leaked = at.saturating_sub(before).as_secs_f64() * self.bytes_per_second;
        let came = float(bytes.saturating_sub(counted));
        // A lump is one, however long nothing came before it.
        self.level = (self.level - leaked).max(0.0) + came;
        self.level > self.room
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use ringperf_proto::omni::{
        FAMILY_V4, OmniRequest, PROTOCOL_TCP, PROTOCOL_UDP, SOCKET_DATAGRAM, SOCKET_STREAM, direction,
    };
    use ringperf_proto::{Frame, Limits, RequestCode};

    use super::*;

    /// A test of a second from us to a client, or the other way, for which it declares this port.
    fn declaring(port: u16, datagrams: bool, to_the_client: bool) -> TestSpec {
        let mut request = OmniRequest::decode(&Frame::request(RequestCode::Omni, -1));
        (request.socket_type, request.protocol) =
            if datagrams { (SOCKET_DATAGRAM, PROTOCOL_UDP) } else { (SOCKET_STREAM, PROTOCOL_TCP) };
        request.direction = if to_the_client { direction::TRANSMIT } else { direction::RECEIVE };
        (request.ipfamily, request.test_length) = (FAMILY_V4, 1);
        (request.send_size, request.receive_size) = (1000, 1000);
        request.netperf_port = port.into();
        TestSpec::parse(-1, &request, &Limits::default()).expect("it is what netperf sends")
    }

    #[test]
    fn datagrams_go_to_no_port_of_a_service() {
        let (policy, far) = (Policy::default(), IpAddr::from([192, 0, 2, 1]));
        let judged = |spec: &TestSpec, peer| judge(&policy, spec, peer).map_err(|refused| refused.errno);
        for (port, verdict) in [(53, Err(EACCES)), (1023, Err(EACCES)), (1024, Ok(())), (40_000, Ok(()))] {
            let datagrams = declaring(port, true, true);
            assert_eq!(judged(&datagrams, far), verdict, "{port}");
            for own in [Ipv4Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.to_ipv6_mapped().into()] {
                assert_eq!(judged(&datagrams, own), Ok(()), "{port}");
            }
        }
        // Elsewhere it is the port that our peer's socket has, and no target.
        for (datagrams, to_the_client) in [(true, false), (false, true), (false, false)] {
            assert_eq!(judged(&declaring(9, datagrams, to_the_client), far), Ok(()));
        }
    }

    /// After how many tenths of a second a client of this rate is found to break a cap of 8 Mbit/s.
    fn found(bytes_in_a_tenth: u64) -> Option<u64> {
        let mut bucket = Bucket::new(8_000_000, AHEAD);
        (1..1000_u32)
            .find(|tenth| bucket.overflows(LOOK * *tenth, u64::from(*tenth) * bytes_in_a_tenth))
            .map(u64::from)
    }

    #[test]
    fn who_keeps_to_the_rate_is_left_alone_and_who_does_not_is_found() {
        assert_eq!(found(99_000), None);
        assert_eq!(found(100_000), None);
        // Twice the rate is a second's worth ahead after a second.
        assert_eq!(found(200_000), Some(10));
        assert_eq!(found(10_000_000), Some(1));
    }

    #[test]
    fn a_pause_earns_no_more_than_one_lump() {
        let mut bucket = Bucket::new(8_000_000, AHEAD);
        let second = Duration::from_secs(1);
        assert!(!bucket.overflows(1000 * second, 1_000_000), "a second's worth at once");
        assert!(bucket.overflows(1000 * second + LOOK, 1_200_001), "and no more, however long it had waited");
    }
}
