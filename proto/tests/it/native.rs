//! Our own messages across their versions, and what may be wished for.

use std::num::NonZeroU64;

use proptest::prelude::*;
use ringperf_proto::native::{NativeHello, NativeRequest, NativeWishes, VERSION, offload, verb};
use ringperf_proto::{
    Client, ClientConfig, ClientInput, ClientOutput, Fault, Frame, Limits, NativeDetail, NativeReport,
    OmniTest, Party, Refusal, Report, Results, SendPath, Server, ServerInput, ServerOutput, Test, TestSpec,
    Wishes, Without, errno,
};

use crate::classic;
use crate::server::{config, native, omni_frame, reply, running, step};

/// A client that has been told this version.
pub(crate) fn greeted(version: u32) -> Client {
    let client = sent(Client::new(ClientConfig::default()), ClientInput::Probe);
    client.on(ClientInput::Frame(answer(0, version))).expect("an answer").0
}

/// The request for these wishes.
pub(crate) fn wish(wishes: &Wishes) -> Frame {
    match greeted(VERSION).on(ClientInput::Wish(*wishes)).expect("wishes that can be sent").1 {
        ClientOutput::Send(frame) => frame,
        other => panic!("{other:?}"),
    }
}

fn sent(client: Client, input: ClientInput) -> Client {
    let client = client.on(input).expect("a request").0;
    client.on(ClientInput::Sent).expect("a wait").0
}

/// An answer of ours, as a server that speaks `version` begins it.
fn answer(errno: i32, version: u32) -> Frame {
    let mut frame = Frame::response(0x5251, errno);
    NativeHello { version }.encode(&mut frame);
    frame
}

/// What a client that was told `version` makes of an answer.
fn told(version: u32, input: ClientInput, answer: Frame) -> Result<ClientOutput, Fault> {
    sent(greeted(version), input).on(ClientInput::Frame(answer)).map(|(_, output)| output)
}

fn words_of(wishes: &Wishes) -> NativeWishes {
    NativeWishes::decode(&wish(wishes))
}

fn parse(change: impl FnOnce(&mut NativeWishes)) -> Result<Wishes, Refusal> {
    let mut words = words_of(&Wishes { flows: 100, workers: 10, ..Wishes::default() });
    change(&mut words);
    Wishes::parse(&words, &Limits::default())
}

fn report() -> Report {
    let detail = NativeDetail { flows: 9, socket_drops: Some(3), ..NativeDetail::default() };
    Report { base: NativeReport { engine: 1, wakeups: 77, ..NativeReport::default() }, detail: Some(detail) }
}

/// A server whose last test left this report.
fn reporting() -> Server {
    let (server, _) = running(Server::new(config(None)), omni_frame(|_| {}));
    step(server, ServerInput::Ran(Results::default(), Some(report()))).0
}

/// The test that a server makes of these two frames.
fn tested(wishes: Frame, test: Frame) -> Result<TestSpec, i32> {
    let (server, granted) = reply(Server::new(config(None)), wishes);
    assert_eq!(granted.errno(), 0);
    match step(server, ServerInput::Frame(test)).1 {
        ServerOutput::Prepare(spec) => Ok(spec),
        ServerOutput::Reply(refusal) => Err(refusal.errno()),
        other => panic!("{other:?}"),
    }
}

fn request(test: Test) -> Frame {
    let test = OmniTest { local: (None, 4000), ..OmniTest::new(test) };
    match Client::new(ClientConfig::default()).on(ClientInput::Start(test.into())) {
        Ok((_, ClientOutput::Send(frame))) => frame,
        _ => panic!("no request"),
    }
}

#[test]
fn a_client_of_version_1_reads_what_later_ones_answer() {
    let (server, hello) = reply(reporting(), native(verb::HELLO, 1));
    assert_eq!((hello.errno(), NativeHello::decode(&hello).version), (0, VERSION));
    let (server, old) = reply(server, native(verb::REPORT, 1));
    // Such a client takes no other version for a report that it can read.
    assert_eq!((old.errno(), NativeHello::decode(&old).version), (0, 1));
    assert_eq!(NativeReport::decode(&old), report().base);
    assert!(old.as_bytes()[132..].iter().all(|byte| *byte == 0), "it is told no words of a later version");
    for version in [2, 3, u32::MAX] {
        let (_, newer) = reply(reporting(), native(verb::REPORT, version));
        assert_eq!(NativeHello::decode(&newer).version, 2);
        assert_eq!(NativeDetail::decode(&newer), report().detail.expect("there is one"));
    }
    let (_, refused) = reply(server, native(verb::WISH, 1));
    assert_eq!(refused.errno(), errno::EOPNOTSUPP, "its version has no such verb");
}

#[test]
fn a_server_of_version_1_is_asked_for_what_it_knows() {
    assert_eq!(told(1, ClientInput::Probe, answer(0, 1)), Ok(ClientOutput::Native(Some(1))));
    let mut old = answer(0, 1);
    report().base.encode(&mut old);
    let read = Report { base: report().base, detail: None };
    assert_eq!(told(1, ClientInput::AskReport, old), Ok(ClientOutput::Report(Some(read))));
    for client in [Client::new(ClientConfig::default()), greeted(1), greeted(0)] {
        let fault = client.on(ClientInput::Wish(Wishes::default())).err().expect("a fault");
        assert_eq!(fault.party(), Party::Caller, "{fault}");
    }
    // A server that is another one by now than it was when it was asked.
    let moved = told(2, ClientInput::Wish(Wishes::default()), answer(errno::EOPNOTSUPP, 1));
    assert_eq!(moved, Err(Fault::Unsupported { request: "wishes" }));
}

#[test]
fn a_report_comes_with_its_version() {
    let mut frame = answer(0, 2);
    report().base.encode(&mut frame);
    report().detail.expect("there is one").encode(&mut frame);
    let read = told(2, ClientInput::AskReport, frame.clone());
    assert_eq!(read, Ok(ClientOutput::Report(Some(report()))));
    let detail = NativeDetail::decode(&frame);
    assert_eq!((detail.socket_drops, detail.receive_buffer_errors), (Some(3), None));
    assert_eq!(frame.as_bytes()[212..220], [0xff; 8], "what is not known is all ones");
    for version in [0, VERSION + 1, u32::MAX] {
        let read = told(2, ClientInput::AskReport, answer(0, version));
        assert_eq!(read, Err(Fault::Incompatible { version }));
    }
}

#[test]
fn flows_and_workers_are_bounded() {
    let limits = Limits::default();
    // Flows and workers asked for, and workers granted.
    let cases = [
        (0, 1, Err(errno::EINVAL)),
        (1, 0, Err(errno::EINVAL)),
        (1, 1, Ok(1)),
        (1, 2, Ok(1)),
        (2, u32::MAX, Ok(2)),
        (100, 64, Ok(64)),
        (100, 65, Ok(64)),
        (limits.flows_max, 1, Ok(1)),
        (limits.flows_max + 1, 1, Err(errno::E2BIG)),
        (u32::MAX, u32::MAX, Err(errno::E2BIG)),
    ];
    for (flows, workers, granted) in cases {
        let parsed = parse(|words| (words.flows, words.workers) = (flows, workers));
        let found = parsed.map(|wishes| (wishes.flows, wishes.workers)).map_err(|refusal| refusal.errno);
        assert_eq!(found, granted.map(|workers| (flows, workers)), "{flows} {workers}");
    }
    let none = Wishes::parse(&words_of(&Wishes::default()), &Limits { workers_max: 0, ..limits });
    assert_eq!(none.map(|wishes| wishes.workers), Ok(1), "a limit of 0 is one that was not found out");
}

#[test]
fn what_no_wish_means_is_refused() {
    let all = Without {
        bundles: true,
        multishot: true,
        buffer_ring: true,
        deferred_task_run: true,
        registered_files: true,
        registered_buffers: true,
        low_water: true,
        minimum_wait: true,
        shared_segments: true,
    };
    assert_eq!(parse(|words| words.without = 0x1ff).map(|wishes| wishes.without), Ok(all));
    let both = parse(|words| words.offloads = offload::SEGMENTATION | offload::COALESCING);
    assert!(both.is_ok_and(|wishes| wishes.segmentation && wishes.coalescing));
    for bit in 0..32 {
        let (without, offloads) = (1 << bit, 1 << bit);
        assert_eq!(parse(|words| words.without = without).is_ok(), bit < 9, "{bit}");
        assert_eq!(parse(|words| words.offloads = offloads).is_ok(), bit < 2, "{bit}");
    }
    for path in [0, 1, 2, 3, 4, 5, u32::MAX] {
        let parsed = parse(|words| words.send_path = path).map_err(|refusal| refusal.errno);
        assert_eq!(parsed.is_ok(), path < 5, "{path}");
        assert_eq!(parsed.err(), (path > 4).then_some(errno::EINVAL));
    }
    assert_eq!(parse(|words| words.rate = 0).map(|wishes| wishes.bits_per_second), Ok(None));
    let fastest = parse(|words| words.rate = u64::MAX).map(|wishes| wishes.bits_per_second);
    assert_eq!(fastest, Ok(NonZeroU64::new(u64::MAX)));
}

#[test]
fn a_test_does_what_is_wished_or_is_refused() {
    let one = Wishes::default();
    let many = Wishes { flows: 2, ..one };
    let (segmented, coalesced) = (Wishes { segmentation: true, ..one }, Wishes { coalescing: true, ..one });
    let by_bundles = Wishes { send_path: SendPath::Bundle, ..one };
    let paced = Wishes { bits_per_second: NonZeroU64::new(1_000_000), ..one };
    let plain = Wishes { without: Without { low_water: true, ..Without::default() }, ..one };
    let busy = Wishes { busy_poll: true, ..one };
    let cases: [(Wishes, &[Test]); 8] = [
        (one, &Test::ALL),
        (many, &[Test::TcpMaerts, Test::TcpRr, Test::TcpStream]),
        (segmented, &[Test::UdpMaerts]),
        (coalesced, &[Test::UdpStream]),
        (by_bundles, &[Test::TcpMaerts]),
        (paced, &[Test::TcpMaerts, Test::UdpMaerts]),
        (plain, &Test::ALL),
        (busy, &Test::ALL),
    ];
    for (wishes, served) in cases {
        for test in Test::ALL {
            let served = served.contains(&test);
            let spec = tested(wish(&wishes), request(test)).map(|spec| spec.wishes);
            assert_eq!(spec, if served { Ok(wishes) } else { Err(errno::EINVAL) }, "{test:?} {wishes:?}");
        }
    }
    let classic = classic::frames().map(|test| tested(wish(&coalesced), test).is_ok());
    assert_eq!(classic, [false; 3], "a datagram that is shorter ends such a test");
}

#[test]
fn a_test_uses_wishes_up_and_the_last_ones_count() {
    let (first, second) =
        (wish(&Wishes { flows: 2, ..Wishes::default() }), Wishes { flows: 3, ..Wishes::default() });
    let wished = |server: Server| match step(server, ServerInput::Frame(request(Test::TcpStream))) {
        (server, ServerOutput::Prepare(spec)) => {
            (step(server, ServerInput::Refused { errno: errno::EBUSY }).0, spec.wishes.flows)
        }
        (_, other) => panic!("{other:?}"),
    };
    let wishing = |frames: &[&Frame]| {
        let server = Server::new(config(None));
        frames.iter().fold(server, |server, frame| reply(server, (*frame).clone()).0)
    };
    let (server, flows) = wished(wishing(&[&first, &wish(&second), &native(verb::HELLO, 2)]));
    assert_eq!(flows, 3, "the later ones, whatever else is asked");
    assert_eq!(wished(server).1, 1, "a test that could not be prepared had used them up");
    let mut too_many = wish(&second);
    NativeWishes { flows: u32::MAX, ..words_of(&second) }.encode(&mut too_many);
    assert_eq!(wished(wishing(&[&first, &too_many])).1, 1, "those that were refused replace others too");
    let mut older = first.clone();
    NativeRequest { version: 1, verb: verb::WISH }.encode(&mut older);
    assert_eq!(wished(wishing(&[&first, &older])).1, 2, "what is no wish replaces none");
    let (server, refused) = reply(wishing(&[&first]), request(Test::UdpStream));
    assert_eq!(refused.errno(), errno::EINVAL);
    assert_eq!(wished(server).1, 1, "a test that was refused had used them up");
}

#[test]
fn a_grant_is_of_what_was_asked_for() {
    let asked = Wishes { flows: 8, workers: 4, ..Wishes::default() };
    let granted = |change: fn(&mut NativeWishes)| {
        let mut words = words_of(&asked);
        change(&mut words);
        let mut frame = answer(0, 2);
        words.encode(&mut frame);
        told(2, ClientInput::Wish(asked), frame)
    };
    assert_eq!(granted(|_| {}), Ok(ClientOutput::Granted(asked)));
    assert_eq!(granted(|words| words.workers = 1), Ok(ClientOutput::Granted(Wishes { workers: 1, ..asked })));
    let wrong: [fn(&mut NativeWishes); 8] = [
        |words| words.workers = 0,
        |words| words.workers = 5,
        |words| words.flows = 7,
        |words| words.without = 1,
        |words| words.offloads = 4,
        |words| words.send_path = 9,
        |words| words.rate = 1,
        |words| words.waiting = 1,
    ];
    for change in wrong {
        assert!(matches!(granted(change), Err(Fault::Malformed { .. })));
    }
    let refused = |errno| told(2, ClientInput::Wish(asked), answer(errno, 2));
    assert_eq!(refused(errno::E2BIG), Err(Fault::Remote { errno: errno::E2BIG }));
    assert_eq!(refused(errno::UNKNOWN_REQUEST), Err(Fault::Unsupported { request: "wishes" }));
    for version in [0, 1, VERSION + 1] {
        let fault = told(2, ClientInput::Wish(asked), answer(0, version));
        assert_eq!(fault, Err(Fault::Incompatible { version }));
    }
    let stock = told(2, ClientInput::Wish(asked), Frame::zeroed());
    assert!(matches!(stock, Err(Fault::Malformed { .. })));
}

#[test]
fn wishes_without_a_flow_or_a_worker_are_not_sent() {
    for wishes in [Wishes { flows: 0, ..Wishes::default() }, Wishes { workers: 0, ..Wishes::default() }] {
        let fault = greeted(2).on(ClientInput::Wish(wishes)).err().expect("a fault");
        assert_eq!(fault.party(), Party::Caller);
    }
    assert_eq!(words_of(&Wishes::default()), NativeWishes { flows: 1, workers: 1, ..Default::default() });
}

fn wishes() -> impl Strategy<Value = Wishes> {
    let without = any::<[bool; 9]>().prop_map(
        |[
            bundles,
            multishot,
            buffer_ring,
            deferred_task_run,
            registered_files,
            registered_buffers,
            low_water,
            minimum_wait,
            shared_segments,
        ]| {
            Without {
                bundles,
                multishot,
                buffer_ring,
                deferred_task_run,
                registered_files,
                registered_buffers,
                low_water,
                minimum_wait,
                shared_segments,
            }
        },
    );
    let path = prop::sample::select(vec![
        SendPath::Auto,
        SendPath::Bundle,
        SendPath::Chain,
        SendPath::Registered,
        SendPath::ZeroCopy,
    ]);
    let switches = any::<(bool, bool, bool)>();
    (1_u32.., 1_u32.., without, switches, path, any::<u64>()).prop_map(
        |(flows, workers, without, (segmentation, coalescing, busy_poll), send_path, rate)| Wishes {
            flows,
            workers,
            without,
            segmentation,
            coalescing,
            send_path,
            bits_per_second: NonZeroU64::new(rate),
            busy_poll,
        },
    )
}

proptest! {
    #[test]
    fn wishes_come_out_as_they_went_in(wishes in wishes()) {
        let limits = Limits { flows_max: u32::MAX, workers_max: u32::MAX, ..Limits::default() };
        let granted = Wishes { workers: wishes.workers.min(wishes.flows), ..wishes };
        prop_assert_eq!(Wishes::parse(&words_of(&wishes), &limits), Ok(granted));
    }

    #[test]
    fn any_words_are_wishes_within_the_limits_or_refused(
        words in any::<[u32; 4]>(), few in any::<[bool; 4]>(), send_path in 0_u32..6, rate: u64,
        waiting in 0_u32..3,
    ) {
        let mut words = words;
        for (word, few) in words.iter_mut().zip(few) {
            *word &= if few { 3 } else { u32::MAX };
        }
        let [flows, workers, without, offloads] = words;
        let words = NativeWishes { flows, workers, without, offloads, send_path, rate, waiting };
        match Wishes::parse(&words, &Limits::default()) {
            Ok(wishes) => {
                prop_assert!((1..=1 << 14).contains(&wishes.flows));
                prop_assert!((1..=wishes.flows.min(64)).contains(&wishes.workers));
                prop_assert_eq!(words_of(&wishes), NativeWishes { workers: wishes.workers, ..words });
            }
            Err(refusal) => prop_assert!([errno::E2BIG, errno::EINVAL].contains(&refusal.errno)),
        }
    }
}
