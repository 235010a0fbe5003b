//! Arbitrary bytes and inputs: no panic in any state, and no figure that is not a number.

use proptest::prelude::*;
use ringperf_proto::{
    ClassicTest, Client, ClientConfig, ClientInput, ClientOutput, FRAME_BYTES, Family, Frame, Length, Offer,
    OmniTest, Party, Report, RequestCode, Results, Server, ServerInput, ServerOutput, Test, TestRequest,
    TestSpec, Wishes,
};

use crate::native::{greeted, wish};
use crate::server::{config, native};
use crate::{classic, classic_transactions};

/// A message of any bytes: noise, or one word all over, with awkward words strewn in.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let awkward = || {
        prop_oneof![
            Just(0_u32),
            Just(u32::MAX),
            Just(f32::NAN.to_bits()),
            Just(f32::NEG_INFINITY.to_bits()),
            Just(i32::MIN.cast_unsigned()),
            0_u32..8,
            any::<u32>(),
        ]
    };
    let patches = prop::collection::vec((0_usize..162, awkward()), 0..12);
    (awkward(), any::<bool>(), patches).prop_map(|(first, noise, patches)| {
        let step = if noise { 0x9e37_79b9 } else { 0 };
        let mut words = [0; 162];
        for (index, word) in (0_u32..).zip(&mut words) {
            *word = first.wrapping_add(index.wrapping_mul(step));
        }
        for (index, word) in patches {
            words[index] = word;
        }
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    })
}

fn frame_of(first: u32, second: u32, body: &[u8]) -> Frame {
    let mut bytes = [0; FRAME_BYTES];
    bytes[0..4].copy_from_slice(&first.to_be_bytes());
    bytes[4..8].copy_from_slice(&second.to_be_bytes());
    bytes[8..].copy_from_slice(body);
    Frame::from_bytes(bytes)
}

/// A proper request for each test and family that is served.
fn tests() -> Vec<Frame> {
    let classic = classic::frames().into_iter().chain(classic_transactions::frames());
    let omni = Test::ALL.map(|test| {
        let client = Client::new(ClientConfig::default());
        match client.on(ClientInput::Start(measured(test).into())).expect("a request").1 {
            ClientOutput::Send(frame) => frame,
            other => panic!("{other:?}"),
        }
    });
    omni.into_iter().chain(classic).collect()
}

fn wished() -> Wishes {
    Wishes { flows: 100, workers: 3, ..Wishes::default() }
}

/// Requests: known and unknown types over any bytes, and proper ones with one word changed.
fn request() -> impl Strategy<Value = Frame> {
    let types = prop_oneof![
        prop::sample::select(RequestCode::ALL).prop_map(|(code, _)| code.to_wire().cast_unsigned()),
        prop::sample::select(vec![10, 13, 16, 19, 34, 94, 97, 300]),
        any::<u32>(),
    ];
    let values = prop_oneof![any::<u32>(), 0_u32..8, (0_u32..8).prop_map(|below| u32::MAX - below)];
    let proper: Vec<_> = (1..4).map(|verb| native(verb, 2)).chain([wish(&wished())]).chain(tests()).collect();
    let changed = (prop::sample::select(proper), 2_usize..60, values).prop_map(|(frame, word, value)| {
        let mut bytes = *frame.as_bytes();
        bytes[word * 4..word * 4 + 4].copy_from_slice(&value.to_be_bytes());
        Frame::from_bytes(bytes)
    });
    prop_oneof![
        (types, any::<u32>(), body()).prop_map(|(kind, cpu, body)| frame_of(kind, cpu, &body)),
        changed
    ]
}

/// Responses: mostly successful ones, over any bytes.
fn response() -> impl Strategy<Value = Frame> {
    let types = prop_oneof![Just(0x5251), Just(98), Just(0x6200_0000), any::<u32>()];
    let errno = prop_oneof![6 => Just(0), 1 => Just(998), 1 => Just(0xe603_0000), 1 => any::<u32>()];
    (types, errno, body(), any::<u16>()).prop_map(|(kind, errno, mut body, port)| {
        // Else hardly any response would offer a port, and hardly any test would start.
        body[44..48].copy_from_slice(&u32::from(port).to_be_bytes());
        frame_of(kind, errno, &body)
    })
}

fn server_input() -> impl Strategy<Value = ServerInput> {
    prop_oneof![
        4 => request().prop_map(ServerInput::Frame),
        2 => (any::<u16>(), any::<u32>(), any::<Option<i32>>()).prop_map(|(port, size, priority)| {
            let sizes =
                Offer { send_buffer: size, receive_bytes: size, send_bytes: size, ..Offer::default() };
            ServerInput::Prepared(Offer { port, priority, ..sizes })
        }),
        1 => any::<i32>().prop_map(|errno| ServerInput::Refused { errno }),
        2 => (any::<u64>(), any::<f32>()).prop_map(|(bytes_received, elapsed_seconds)| {
            let bytes_sent = bytes_received;
            let results = Results { bytes_received, bytes_sent, elapsed_seconds, ..Results::default() };
            ServerInput::Ran(results, Some(Report::default()))
        }),
        1 => any::<i32>().prop_map(|errno| ServerInput::Failed { errno }),
    ]
}

/// Drives the server into each of its states, with each test.
fn servers() -> Vec<Server> {
    let fresh = || Server::new(config(None));
    let mut servers = vec![fresh(), Server::new(config(Some(b"sesame")))];
    servers.push(fresh().on(ServerInput::Frame(wish(&wished()))).expect("no fault").0);
    for test in tests() {
        let preparing = || fresh().on(ServerInput::Frame(test.clone())).expect("no fault").0;
        let running = || preparing().on(ServerInput::Prepared(Offer::default())).expect("no fault").0;
        servers.push(preparing());
        servers.push(running());
        servers.push(running().on(ServerInput::Failed { errno: 1 }).expect("no fault").0);
    }
    servers
}

fn measured(test: Test) -> OmniTest {
    let local = (None, 40_000);
    OmniTest { measure_cpu: true, local, ..OmniTest::new(test) }
}

/// Drives the client into each of its states, with each test.
fn clients() -> Vec<Client> {
    let classic = |test| ClassicTest { measure_cpu: 1, ..ClassicTest::new(test) }.into();
    let classic = [Test::TcpCc, Test::TcpStream].map(classic);
    Test::ALL
        .into_iter()
        .map(|test| measured(test).into())
        .chain(classic)
        .flat_map(|test: TestRequest| clients_of(&test))
        .collect()
}

fn clients_of(test: &TestRequest) -> Vec<Client> {
    let offer = || frame_of(98, 0, &[1; 648]).as_bytes().to_owned();
    let with_port = || {
        let mut bytes = offer();
        // Where each of the families has its port.
        for at in [28, 32, 52] {
            bytes[at..at + 4].copy_from_slice(&[0, 0, 1, 1]);
        }
        ClientInput::Frame(Frame::from_bytes(bytes))
    };
    let fresh = || Client::new(ClientConfig::default());
    let test = || ClientInput::Start(test.clone());
    let step = |client: Client, input| client.on(input).expect("no fault").0;
    let sending = |input| step(fresh(), input);
    let running = || step(step(sending(test()), ClientInput::Sent), with_port());
    let showing = step(Client::new(ClientConfig { passphrase: Some(b"sesame".to_vec()) }), test());
    let mut clients = vec![fresh(), showing, sending(test()), running(), step(running(), ClientInput::Ran)];
    for input in [test(), ClientInput::Calibrate, ClientInput::Probe, ClientInput::AskReport] {
        clients.push(step(sending(input), ClientInput::Sent));
    }
    clients.push(step(step(greeted(2), ClientInput::Wish(wished())), ClientInput::Sent));
    clients
}

fn check_output(output: &ClientOutput) -> Result<(), TestCaseError> {
    match output {
        ClientOutput::Finished(results) => {
            prop_assert!(results.elapsed_seconds.is_none_or(|time| time.is_finite() && time >= 0.0));
            prop_assert!(results.retransmits.is_none_or(|count| count >= 0));
            if let Some(cpu) = &results.cpu {
                let parts = [cpu.user, cpu.system, cpu.iowait, cpu.irq, cpu.softirq, cpu.peak_utilisation];
                prop_assert!(cpu.utilisation.is_finite() && parts.iter().all(|part| part.is_finite()));
            }
            let name = results.congestion_control.as_deref().unwrap_or("none");
            prop_assert!(name.len() <= 16 && name.bytes().all(|byte| byte.is_ascii_graphic()));
        }
        ClientOutput::Run(offer) => {
            prop_assert!(offer.port != 0 && offer.cpu_rate.is_finite() && offer.cpu_rate >= 0.0);
        }
        ClientOutput::Granted(granted) => {
            prop_assert!((1..=3).contains(&granted.workers));
            prop_assert_eq!(*granted, Wishes { workers: granted.workers, ..wished() });
        }
        ClientOutput::Calibrated { rate, .. } => prop_assert!(rate.is_finite() && *rate >= 0.0),
        _ => {}
    }
    Ok(())
}

fn check_spec(spec: &TestSpec) -> Result<(), TestCaseError> {
    let bounded = |size: Option<u32>| size.is_none_or(|size| (1..=16 << 20).contains(&size));
    prop_assert!(bounded(spec.receive_bytes) && bounded(spec.send_bytes));
    let streams = !spec.test.has_transactions();
    prop_assert!(streams && spec.test.server_receives() || spec.receive_bytes.is_none());
    prop_assert!(streams && spec.test.server_sends() || spec.send_bytes.is_none());
    let answers = !streams && spec.test != Test::TcpCc;
    let sizes = if answers { 1..=16 << 20 } else { 0..=0 };
    prop_assert!(sizes.contains(&spec.request_bytes) && sizes.contains(&spec.response_bytes));
    prop_assert!(!streams || !matches!(spec.length, Length::Transactions(_)));
    prop_assert!(streams || !matches!(spec.length, Length::Bytes(_)));
    prop_assert!(spec.pacing.is_none() || spec.test.server_streams());
    prop_assert!(spec.test != Test::UdpMaerts || spec.client_data.1 != 0 && spec.length != Length::Endless);
    let exact = match spec.test {
        Test::UdpStream => spec.receive_bytes,
        Test::UdpRr => Some(spec.request_bytes),
        _ => None,
    };
    prop_assert_eq!(spec.exact_message, exact.filter(|_| spec.family == Family::Classic));
    let length = match spec.length {
        Length::Bytes(length) | Length::Transactions(length) => length,
        Length::Endless => 1,
        Length::Seconds(length) => length.into(),
    };
    prop_assert!((1..=1 << 31).contains(&length));
    let wishes = spec.wishes;
    prop_assert!(
        (1..=1 << 14).contains(&wishes.flows) && (1..=wishes.flows.min(64)).contains(&wishes.workers)
    );
    prop_assert!(wishes.flows == 1 || !spec.test.over_udp());
    prop_assert!(wishes.bits_per_second.is_none() || spec.test.server_streams());
    Ok(())
}

proptest! {
    #[test]
    fn a_server_survives_any_inputs(inputs in prop::collection::vec(server_input(), 1..8)) {
        for server in servers() {
            let mut server = Some(server);
            for input in &inputs {
                let Some(machine) = server.take() else { break };
                match machine.on(input.clone()) {
                    Ok((machine, ServerOutput::Close(_) | ServerOutput::ReplyThenClose(_))) => {
                        prop_assert!(machine.on(input.clone()).is_err());
                    }
                    Ok((machine, _)) => server = Some(machine),
                    Err(fault) => prop_assert_eq!(fault.party(), Party::Caller),
                }
            }
        }
    }

    #[test]
    fn an_idle_server_answers_any_frame_without_a_fault(requests in prop::collection::vec(request(), 1..8)) {
        let mut server = Server::new(config(None));
        for request in requests {
            let (next, output) = server.on(ServerInput::Frame(request)).expect("no fault");
            if let ServerOutput::Prepare(spec) = &output {
                check_spec(spec)?;
            }
            server = match output {
                ServerOutput::Prepare(_) => next.on(ServerInput::Refused { errno: 16 }).expect("no fault").0,
                ServerOutput::Close(_) => return Ok(()),
                _ => next,
            };
        }
    }

    #[test]
    fn a_client_survives_any_frames(frames in prop::collection::vec(response(), 1..4)) {
        for client in clients() {
            let mut client = Some(client);
            for frame in &frames {
                let Some(machine) = client.take() else { break };
                let Ok((machine, output)) = machine.on(ClientInput::Frame(frame.clone())) else { break };
                check_output(&output)?;
                // What follows an offer is the data connection; what follows anything else is the next test.
                let next = match output {
                    ClientOutput::Run(_) => machine.on(ClientInput::Ran),
                    _ => machine
                        .on(ClientInput::Start(measured(Test::UdpStream).into()))
                        .and_then(|(machine, _)| machine.on(ClientInput::Sent)),
                };
                client = next.ok().map(|(machine, _)| machine);
            }
        }
    }

    #[test]
    fn a_client_survives_any_inputs(kinds in prop::collection::vec((0_usize..8, response()), 1..10)) {
        for client in clients() {
            let mut client = Some(client);
            for (kind, frame) in &kinds {
                let Some(machine) = client.take() else { break };
                let input = match kind {
                    0 => ClientInput::AskReport,
                    1 => ClientInput::Calibrate,
                    2 => ClientInput::Probe,
                    3 => ClientInput::Ran,
                    4 => ClientInput::Sent,
                    5 => ClientInput::Start(OmniTest::default().into()),
                    6 => ClientInput::Wish(wished()),
                    _ => ClientInput::Frame(frame.clone()),
                };
                client = match machine.on(input) {
                    Ok((machine, output)) => {
                        check_output(&output)?;
                        Some(machine)
                    }
                    Err(_) => None,
                };
            }
        }
    }
}
