//! The server machine on its own: services, passphrases, refusals, and the inputs it is not to be given.

use ringperf_proto::admin::{self, CalibrateResponse};
use ringperf_proto::native::{NativeHello, NativeRequest, VERSION, verb};
use ringperf_proto::omni::{OmniResponse, OmniResults, OmniResults260};
use ringperf_proto::{
    CpuReport, Fault, Frame, Limits, NativeReport, Offer, Party, Report, RequestCode, ResponseCode, Results,
    Server, ServerConfig, ServerInput, ServerOutput, errno,
};

use crate::spec::default_request;

pub(crate) fn config(passphrase: Option<&[u8]>) -> ServerConfig {
    let passphrase = passphrase.map(<[u8]>::to_vec);
    ServerConfig { limits: Limits::default(), passphrase, cpu_rate: 100.0, cpus: 4 }
}

pub(crate) fn omni_frame(change: impl FnOnce(&mut ringperf_proto::OmniRequest)) -> Frame {
    let mut request = default_request();
    change(&mut request);
    let mut frame = Frame::request(RequestCode::Omni, -1);
    request.encode(&mut frame);
    frame
}

pub(crate) fn step(server: Server, input: ServerInput) -> (Server, ServerOutput) {
    server.on(input).expect("no fault")
}

pub(crate) fn reply(server: Server, frame: Frame) -> (Server, Frame) {
    match step(server, ServerInput::Frame(frame)) {
        (server, ServerOutput::Reply(reply)) => (server, reply),
        (_, other) => panic!("{other:?}"),
    }
}

fn offer() -> Offer {
    Offer {
        port: 4000,
        send_buffer: 16384,
        receive_buffer: 131_072,
        receive_bytes: 65536,
        ..Offer::default()
    }
}

pub(crate) fn native(verb: u32, version: u32) -> Frame {
    let mut frame = Frame::request(RequestCode::Native, -1);
    NativeRequest { version, verb }.encode(&mut frame);
    frame
}

/// A server with a test running, and the response that started it.
pub(crate) fn running(server: Server, request: Frame) -> (Server, Frame) {
    let (server, output) = step(server, ServerInput::Frame(request));
    assert!(matches!(output, ServerOutput::Prepare(_)), "{output:?}");
    match step(server, ServerInput::Prepared(offer())) {
        (server, ServerOutput::ReplyThenRun(response)) => (server, response),
        (_, other) => panic!("{other:?}"),
    }
}

#[test]
fn services_are_answered_in_any_order_and_number() {
    let mut server = Server::new(config(None));
    for _ in 0..2 {
        let (next, calibration) = reply(server, Frame::request(RequestCode::CpuCalibrate, -1));
        assert_eq!(
            CalibrateResponse::decode(&calibration),
            CalibrateResponse { cpu_rate: 100.0, num_cpus: 4 }
        );
        let (next, debug) = reply(next, Frame::request(RequestCode::DebugOff, -1));
        assert_eq!((debug.response_type(), debug.errno()), (ResponseCode::DebugOk, 0));
        let (next, unknown) = reply(next, Frame::request(RequestCode::Unknown(12345), -1));
        assert_eq!(unknown.errno(), errno::UNKNOWN_REQUEST);
        let (next, sysinfo) = reply(next, Frame::request(RequestCode::Sysinfo, -1));
        assert!(sysinfo.as_bytes()[8..].starts_with(b",Deprecated,Deprecated,Deprecated,Deprecated\0"));
        server = next;
    }
}

#[test]
fn a_passphrase_opens_the_connection_once() {
    let server = Server::new(config(Some(b"sesame")));
    assert!(server.awaits_passphrase());
    let shown = admin::passphrase_request(b"sesame", -1).expect("it fits");
    let (server, output) = step(server, ServerInput::Frame(shown));
    assert_eq!(output, ServerOutput::Nothing);
    assert!(!server.awaits_passphrase());
    // From here on a passphrase, right or wrong, means nothing.
    let wrong = admin::passphrase_request(b"wrong", -1).expect("it fits");
    let (server, output) = step(server, ServerInput::Frame(wrong));
    assert_eq!(output, ServerOutput::Nothing);
    reply(server, Frame::request(RequestCode::DebugOn, -1));
}

#[test]
fn anything_but_the_passphrase_closes_the_connection() {
    let mut behind_the_nul = *admin::passphrase_request(b"sesame", -1).expect("it fits").as_bytes();
    behind_the_nul[15..].fill(b'x');
    let accepted =
        step(Server::new(config(Some(b"sesame"))), ServerInput::Frame(Frame::from_bytes(behind_the_nul)));
    assert_eq!(accepted.1, ServerOutput::Nothing, "what stands behind the NUL is left over");
    for shown in [&b"wrong"[..], b"", b"sesam", b"sesame2", b"Sesame", &[b'x'; 647]] {
        let frame = admin::passphrase_request(shown, -1).expect("it fits");
        let (server, output) = step(Server::new(config(Some(b"sesame"))), ServerInput::Frame(frame));
        assert!(matches!(output, ServerOutput::Close(_)), "{shown:?}");
        assert!(server.on(ServerInput::Frame(Frame::zeroed())).is_err(), "it stays closed");
    }
    for request in [native(verb::HELLO, 1), omni_frame(|_| {}), Frame::zeroed()] {
        let output = step(Server::new(config(Some(b"sesame"))), ServerInput::Frame(request)).1;
        assert!(matches!(output, ServerOutput::Close(_)));
    }
    for unusable in [&[b'x'; 648][..], b"a\0b"] {
        assert!(admin::passphrase_request(unusable, -1).is_none());
        assert!(!admin::passphrase_matches(&Frame::request(RequestCode::Passphrase, -1), unusable));
    }
}

#[test]
fn refusals_are_answered_and_the_connection_stays() {
    let server = Server::new(config(None));
    let (server, refused) = reply(server, omni_frame(|request| request.receive_size = i32::MAX));
    assert_eq!(refused.errno(), errno::E2BIG);
    let (server, refused) = reply(server, omni_frame(|request| request.direction = 0));
    assert_eq!(refused.errno(), errno::EOPNOTSUPP);
    let (server, refused) = reply(server, omni_frame(|request| request.ipfamily = 7));
    assert_eq!(refused.errno(), errno::EAFNOSUPPORT);
    let (server, _) = step(server, ServerInput::Frame(omni_frame(|_| {})));
    let (server, output) = step(server, ServerInput::Refused { errno: errno::EBUSY });
    let ServerOutput::Reply(refused) = output else { panic!("{output:?}") };
    assert_eq!((refused.errno(), refused.response_type()), (errno::EBUSY, ResponseCode::OmniResponse));
    let (_, response) = running(server, omni_frame(|_| {}));
    assert_eq!(OmniResponse::decode(&response).data_port, 4000);
}

#[test]
fn the_response_says_what_is_in_force() {
    let request = omni_frame(|request| {
        (request.socket_prio, request.socket_tos) = (4, 64);
        (request.flags, request.cpu_rate) = (0x29, 250.0);
    });
    let (server, _) = step(Server::new(config(None)), ServerInput::Frame(request));
    let granted = Offer { no_delay: true, priority: Some(4), type_of_service: None, ..offer() };
    let (_, output) = step(server, ServerInput::Prepared(granted));
    let ServerOutput::ReplyThenRun(response) = output else { panic!("{output:?}") };
    let response = OmniResponse::decode(&response);
    assert_eq!((response.socket_prio, response.socket_tos), (4, -2), "in force, and refused by the kernel");
    assert_eq!(
        (response.flags, response.cpu_rate),
        (0x9, 250.0),
        "a rate the client knows is not measured again"
    );
}

#[test]
fn results_carry_large_counts_and_only_what_was_asked_for() {
    let cpu = CpuReport { utilisation: 50.0, method: 8, cpus: 4, ..CpuReport::default() };
    let results = Results {
        bytes_received: 0x1_0000_0002,
        receives: 0x1_0000_0003,
        receive_buffer: u32::MAX,
        retransmits: -1,
        congestion_control: Some("cubic".to_owned()),
        cpu: Some(cpu),
        ..Results::default()
    };
    let (server, _) = running(Server::new(config(None)), omni_frame(|request| request.flags = 0));
    let (_, output) = step(server, ServerInput::Ran(results.clone(), None));
    let ServerOutput::Reply(frame) = output else { panic!("{output:?}") };
    let decoded = OmniResults::decode(&frame);
    assert_eq!((decoded.bytes_received_hi, decoded.bytes_received_lo, decoded.recv_calls), (1, 2, 3));
    assert_eq!((decoded.recv_buf_size, decoded.transport_retrans), (i32::MAX, -1));
    assert_eq!((decoded.cpu_method, decoded.cpu_util, decoded.cong_control.content()), (0, 0.0, &b""[..]));
    let (server, _) = running(Server::new(config(None)), omni_frame(|request| request.flags = 0x28));
    let (_, output) = step(server, ServerInput::Ran(results, None));
    let ServerOutput::Reply(frame) = output else { panic!("{output:?}") };
    let decoded = OmniResults::decode(&frame);
    assert_eq!(
        (decoded.cpu_method, decoded.cpu_util, decoded.cong_control.content()),
        (8, 50.0, &b"cubic"[..])
    );
}

#[test]
fn system_information_tells_a_2_6_0_client_from_a_probe() {
    let mut probe = *Frame::request(RequestCode::Sysinfo, -1).as_bytes();
    probe[8..16].copy_from_slice(&admin::SYSINFO_PROBE_MARK);
    for (asked, old) in [(Frame::request(RequestCode::Sysinfo, -1), true), (Frame::from_bytes(probe), false)]
    {
        let (server, _) = reply(Server::new(config(None)), asked);
        let (server, _) = running(server, omni_frame(|_| {}));
        let results = Results { retransmits: 7, ..Results::default() };
        let (_, output) = step(server, ServerInput::Ran(results, None));
        let ServerOutput::Reply(frame) = output else { panic!("{output:?}") };
        let retransmits = if old {
            OmniResults260::decode(&frame).transport_retrans
        } else {
            OmniResults::decode(&frame).transport_retrans
        };
        assert_eq!(retransmits, 7);
        assert_eq!(OmniResults260::decode(&frame).ifname.content().starts_with(b"Bug If Seen"), old);
    }
}

#[test]
fn native_questions_are_answered_between_tests() {
    let (server, early) = reply(Server::new(config(None)), native(verb::REPORT, 1));
    assert_eq!(early.errno(), errno::ENODATA);
    let (server, hello) = reply(server, native(verb::HELLO, 7));
    assert_eq!((hello.response_type(), hello.errno()), (ResponseCode::NativeResponse, 0));
    assert_eq!(hello.as_bytes()[8..12], VERSION.to_be_bytes(), "our version, whatever the client's");
    assert_eq!(hello.as_bytes()[0..4], [0, 0, 0x52, 0x51]);
    let (server, unknown) = reply(server, native(77, 1));
    assert_eq!(unknown.errno(), errno::EOPNOTSUPP);
    let (server, senseless) = reply(server, native(verb::HELLO, 0));
    assert_eq!(senseless.errno(), errno::EINVAL);
    let (server, _) = running(server, omni_frame(|_| {}));
    let base = NativeReport { engine: 2, core: -1, worker_cpu_ns: u64::MAX, ..NativeReport::default() };
    let report = Report { base: base.clone(), detail: None };
    let (server, _) = step(server, ServerInput::Ran(Results::default(), Some(report)));
    let (_, answered) = reply(server, native(verb::REPORT, 2));
    assert_eq!((answered.errno(), NativeReport::decode(&answered)), (0, base));
    assert_eq!(NativeHello::decode(&answered).version, 1, "of what it has no words for it says nothing");
}

#[test]
fn inputs_out_of_step_are_the_callers_fault() {
    let misused = |server: Server, input: ServerInput| {
        let fault = server.on(input).err().expect("a fault");
        assert!(matches!(fault, Fault::Misuse { .. }) && fault.party() == Party::Caller, "{fault}");
    };
    let results = || ServerInput::Ran(Results::default(), None);
    let preparing = || step(Server::new(config(None)), ServerInput::Frame(omni_frame(|_| {}))).0;
    let started = || running(Server::new(config(None)), omni_frame(|_| {})).0;
    for input in [results(), ServerInput::Prepared(offer()), ServerInput::Failed { errno: 5 }] {
        misused(Server::new(config(None)), input);
    }
    for input in [results(), ServerInput::Frame(Frame::zeroed()), ServerInput::Failed { errno: 5 }] {
        misused(preparing(), input);
    }
    for input in [ServerInput::Prepared(offer()), ServerInput::Frame(Frame::zeroed())] {
        misused(started(), input);
    }
    let (dead, output) = step(started(), ServerInput::Failed { errno: errno::ECONNRESET });
    assert!(matches!(output, ServerOutput::ReplyThenClose(frame) if frame.errno() == errno::ECONNRESET));
    misused(dead, ServerInput::Frame(Frame::zeroed()));
}
