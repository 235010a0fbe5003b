//! Proofs of the passphrase: which open a server, which do not, and what both ends make of peers that know
//! nothing of them.

use proptest::prelude::*;
use ringperf_proto::native::{NativeChallenge, NativeHello, NativeProof, NativeRequest, VERSION, verb};
use ringperf_proto::{
    Client, ClientConfig, ClientInput, ClientOutput, Fault, Frame, Nonce, Party, RequestCode, ResponseCode,
    Server, ServerInput, ServerOutput, admin, errno,
};

use crate::server::{config, native, reply, step};

const PASSPHRASE: &[u8] = b"sesame";

/// A server behind the passphrase, whose client will be given a nonce of such bytes.
fn guarded(nonce: u8) -> Server {
    Server::new(config(Some(PASSPHRASE))).with_nonce(Nonce::new([nonce; 32]))
}

/// The same, once the client has its nonce.
fn challenged(nonce: u8) -> Server {
    let (server, answer) = reply(guarded(nonce), native(verb::CHALLENGE, VERSION));
    assert_eq!((answer.errno(), answer.response_type()), (0, ResponseCode::NativeResponse));
    assert_eq!(NativeHello::decode(&answer).version, VERSION);
    assert_eq!(NativeChallenge::decode(&answer).nonce, [nonce; 32]);
    server
}

/// A client that waits for its nonce.
fn asking(passphrase: &[u8]) -> Client {
    let client = Client::new(ClientConfig { passphrase: Some(passphrase.to_vec()) }).proving();
    let (client, output) = client.on(ClientInput::Probe).expect("a question");
    assert_eq!(output, ClientOutput::Send(native(verb::CHALLENGE, VERSION)));
    client.on(ClientInput::Sent).expect("a wait").0
}

fn answer(errno: i32, version: u32, nonce: [u8; 32]) -> Frame {
    let mut frame = Frame::response(0x5251, errno);
    NativeHello { version }.encode(&mut frame);
    NativeChallenge { nonce }.encode(&mut frame);
    frame
}

/// What a client sends once it has this answer to its challenge.
fn answering(passphrase: &[u8], answer: Frame) -> Result<(Client, Frame), Fault> {
    match asking(passphrase).on(ClientInput::Frame(answer))? {
        (client, ClientOutput::Send(frame)) => Ok((client, frame)),
        (_, other) => panic!("{other:?}"),
    }
}

fn proof(passphrase: &[u8], nonce: u8) -> Frame {
    answering(passphrase, answer(0, VERSION, [nonce; 32])).expect("a proof").1
}

/// Whether a server that is given this frame trusts the client then.
fn opens(server: Server, frame: Frame) -> bool {
    let (server, output) = step(server, ServerInput::Frame(frame));
    let open = !server.awaits_passphrase();
    match output {
        ServerOutput::Reply(reply) => assert_eq!((reply.errno(), open), (0, true)),
        ServerOutput::ReplyThenClose(reply) => assert_eq!((reply.errno(), open), (errno::EACCES, false)),
        ServerOutput::Close(_) => assert!(!open),
        other => panic!("{other:?}"),
    }
    open
}

#[test]
fn a_proof_opens_the_connection_and_the_question_follows() {
    let (client, shown) = answering(PASSPHRASE, answer(0, VERSION, [7; 32])).expect("a proof");
    let (server, verdict) = reply(challenged(7), shown);
    assert!(verdict.errno() == 0 && !server.awaits_passphrase() && !server.was_guessed_wrong());
    let (client, output) = client.on(ClientInput::Sent).expect("a wait");
    assert_eq!(output, ClientOutput::Wait);
    let (client, output) = client.on(ClientInput::Frame(verdict)).expect("the question");
    let ClientOutput::Send(question) = output else { panic!("{output:?}") };
    let (server, hello) = reply(server, question);
    let (client, _) = client.on(ClientInput::Sent).expect("a wait");
    let (client, output) = client.on(ClientInput::Frame(hello)).expect("an answer");
    assert_eq!(output, ClientOutput::Native(Some(VERSION)));
    // Once is enough, for either end.
    let (_, output) = client.on(ClientInput::Calibrate).expect("a question");
    assert_eq!(output, ClientOutput::Send(Frame::request(RequestCode::CpuCalibrate, -1)));
    for again in [native(verb::CHALLENGE, VERSION), proof(PASSPHRASE, 7)] {
        let (server, none) = reply(challenged(7), proof(PASSPHRASE, 7));
        assert_eq!(none.errno(), 0);
        assert_eq!(reply(server, again).1.errno(), errno::ENODATA);
    }
    reply(server, Frame::request(RequestCode::DebugOn, -1));
}

#[test]
fn a_proof_is_what_others_compute() {
    let nonce = std::array::from_fn(|index| u8::try_from(index).expect("it is below 32"));
    let (_, frame) = answering(PASSPHRASE, answer(0, VERSION, nonce)).expect("a proof");
    // HMAC-SHA256 by another program, of the label, the nonce and the frame with zeroes for the proof.
    let expected = "a1dfcaf32c24b021b18bf7c1b75f388acd51d6d99fb56d5273781aaed6cf6952";
    let shown: String = NativeProof::decode(&frame).proof.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(shown, expected);
    assert_eq!(NativeRequest::decode(&frame), NativeRequest { version: VERSION, verb: verb::PROVE });
}

#[test]
fn a_wrong_passphrase_is_told_and_closes() {
    for wrong in [&b"sesam"[..], b"sesame2", b"Sesame", b"", &[b'x'; 647]] {
        let (client, shown) = answering(wrong, answer(0, VERSION, [7; 32])).expect("a proof");
        let (server, output) = step(challenged(7), ServerInput::Frame(shown));
        let ServerOutput::ReplyThenClose(verdict) = output else { panic!("{output:?}") };
        assert!(server.awaits_passphrase() && server.was_guessed_wrong());
        let client = client.on(ClientInput::Sent).expect("a wait").0;
        let fault = client.on(ClientInput::Frame(verdict)).err().expect("a fault");
        assert_eq!((fault, fault.party()), (Fault::Unproven, Party::Caller));
        // The right one comes too late, and its nonce is gone.
        assert!(server.on(ServerInput::Frame(proof(PASSPHRASE, 7))).is_err(), "it stays closed");
    }
}

#[test]
fn a_nonce_is_given_once_and_used_once() {
    assert!(opens(challenged(7), proof(PASSPHRASE, 7)));
    assert!(!opens(challenged(8), proof(PASSPHRASE, 7)), "a proof of another connection's nonce");
    let (early, output) = step(guarded(7), ServerInput::Frame(proof(PASSPHRASE, 7)));
    assert!(matches!(output, ServerOutput::ReplyThenClose(ref frame) if frame.errno() == errno::EACCES));
    assert!(early.was_guessed_wrong(), "a proof before the challenge is a guess");
    let (server, output) = step(challenged(7), ServerInput::Frame(native(verb::CHALLENGE, VERSION)));
    assert!(matches!(output, ServerOutput::ReplyThenClose(ref frame) if frame.errno() == errno::EACCES));
    assert!(server.awaits_passphrase() && !server.was_guessed_wrong());
    let without = Server::new(config(Some(PASSPHRASE)));
    let (_, output) = step(without, ServerInput::Frame(native(verb::CHALLENGE, VERSION)));
    assert!(matches!(output, ServerOutput::ReplyThenClose(ref frame) if frame.errno() == errno::EACCES));
}

#[test]
fn what_the_server_sent_is_no_proof() {
    let mut reflected = native(verb::PROVE, VERSION);
    NativeProof { proof: [7; 32] }.encode(&mut reflected);
    assert!(!opens(challenged(7), reflected), "the nonce itself");
    let (_, sent) = reply(guarded(7), native(verb::CHALLENGE, VERSION));
    assert!(!opens(challenged(7), sent.clone()), "its answer as it is");
    let mut bytes = *native(verb::PROVE, VERSION).as_bytes();
    bytes[16..].copy_from_slice(&sent.as_bytes()[16..]);
    assert!(!opens(challenged(7), Frame::from_bytes(bytes)), "its answer as a request");
}

#[test]
fn a_proof_that_is_cut_short_or_changed_anywhere_is_none() {
    let good = *proof(PASSPHRASE, 7).as_bytes();
    assert!(opens(challenged(7), Frame::from_bytes(good)));
    for kept in 0..32 {
        let mut cut = good;
        cut[16 + kept..48].fill(0);
        assert!(!opens(challenged(7), Frame::from_bytes(cut)), "{kept} bytes of it");
    }
    for bit in 0..good.len() * 8 {
        let mut changed = good;
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(!opens(challenged(7), Frame::from_bytes(changed)), "bit {bit} of the request");
    }
}

#[test]
fn both_ways_lead_in() {
    let shown = admin::passphrase_request(PASSPHRASE, -1).expect("it fits");
    let (server, output) = step(challenged(7), ServerInput::Frame(shown));
    assert!(output == ServerOutput::Nothing && !server.awaits_passphrase(), "netperf's way stays open");
    let wrong = admin::passphrase_request(b"wrong", -1).expect("it fits");
    let (server, output) = step(guarded(7), ServerInput::Frame(wrong));
    assert!(matches!(output, ServerOutput::Close(_)) && server.was_guessed_wrong());
    // What shows nothing is no guess.
    for request in [native(verb::HELLO, VERSION), native(verb::CHALLENGE, 3), native(verb::PROVE, 3)] {
        let (server, output) = step(guarded(7), ServerInput::Frame(request));
        assert!(matches!(output, ServerOutput::Close(_)) && !server.was_guessed_wrong());
    }
}

#[test]
fn a_server_that_wants_no_passphrase_is_asked_at_once() {
    let hello = native(verb::HELLO, VERSION);
    let open = reply(Server::new(config(None)), native(verb::CHALLENGE, VERSION)).1;
    assert_eq!(open.errno(), errno::ENODATA);
    let stock = Frame::response(0, errno::UNKNOWN_REQUEST);
    for answered in [open, stock, answer(errno::EOPNOTSUPP, 3, [0; 32]), Frame::response(0, 0)] {
        assert_eq!(answering(PASSPHRASE, answered).expect("the question").1, hello);
    }
    for (answered, fault) in [
        (Frame::response(0, errno::EBUSY), Fault::Remote { errno: errno::EBUSY }),
        (Frame::response(0, errno::EACCES), Fault::Remote { errno: errno::EACCES }),
        (answer(0, 3, [0; 32]), Fault::Incompatible { version: 3 }),
    ] {
        assert_eq!(answering(PASSPHRASE, answered).err(), Some(fault));
    }
}

#[test]
fn answers_out_of_turn_are_faults() {
    let client = Client::new(ClientConfig { passphrase: Some(PASSPHRASE.to_vec()) }).proving();
    let sending = client.on(ClientInput::Probe).expect("a question").0;
    let early = sending.on(ClientInput::Frame(answer(0, VERSION, [7; 32]))).err().expect("a fault");
    assert!(matches!(early, Fault::OutOfOrder { .. }), "{early}");
    let twice = asking(PASSPHRASE).on(ClientInput::Sent).err().expect("a fault");
    assert_eq!(twice.party(), Party::Caller, "{twice}");
    let (client, _) = answering(PASSPHRASE, answer(0, VERSION, [7; 32])).expect("a proof");
    let client = client.on(ClientInput::Sent).expect("a wait").0;
    let nothing = client.on(ClientInput::Frame(Frame::response(0, 0))).err().expect("a fault");
    assert!(matches!(nothing, Fault::Malformed { .. }), "{nothing}");
}

#[test]
fn the_passphrase_is_in_no_frame_of_a_proof() {
    let canary = b"canary in a coal mine";
    let (_, shown) = answering(canary, answer(0, VERSION, [7; 32])).expect("a proof");
    for frame in [native(verb::CHALLENGE, VERSION), shown] {
        assert!(!frame.as_bytes().windows(6).any(|part| canary.windows(6).any(|canary| part == canary)));
    }
}

proptest! {
    #[test]
    fn no_bytes_open_it(bytes in prop::collection::vec(any::<u8>(), 656 - 16)) {
        let mut frame = *native(verb::PROVE, VERSION).as_bytes();
        frame[16..].copy_from_slice(&bytes);
        prop_assert!(!opens(challenged(7), Frame::from_bytes(frame)));
    }
}
