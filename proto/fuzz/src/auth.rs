//! Passphrases of any bytes, and arbitrary frames before a server that wants one: nothing but the passphrase,
//! or the proof that it is known, lets anybody in.

use ringperf_proto::admin::{passphrase_matches, passphrase_request};
use ringperf_proto::auth::NONCE_BYTES;
use ringperf_proto::{
    Client, ClientConfig, ClientInput, ClientOutput, Frame, Limits, Nonce, RequestCode, Server, ServerConfig,
    ServerInput, ServerOutput,
};

use super::script::Script;

/// The longest passphrase that a frame holds, its NUL left aside.
const PASSPHRASE_BYTES_MAX: usize = 647;

/// The first byte of `data` is the length of the passphrase, in eights what is above 127; then come the
/// passphrase and frames. The first of the frames is also what spoils a proof.
pub fn auth(data: &[u8]) {
    let mut script = Script::new(data);
    let passphrase = match usize::from(script.byte()) {
        short @ 0..128 => script.bytes(short),
        long => script.bytes(128 + (long - 128) * 8),
    };
    check_round_trip(passphrase);
    let config = || config(passphrase);
    let mut first = true;
    while let Some(frame) = script.frame() {
        if std::mem::take(&mut first) {
            check_proof(passphrase, &frame);
        }
        let shown = shows(&frame, passphrase);
        assert_eq!(passphrase_matches(&frame, passphrase), shown);
        let (server, output) =
            Server::new(config()).on(ServerInput::Frame(frame)).expect("any frame will do");
        assert_eq!(output == ServerOutput::Nothing, shown, "{output:?}");
        assert_eq!(server.awaits_passphrase(), !shown);
        let closes = matches!(output, ServerOutput::Close(_) | ServerOutput::ReplyThenClose(_));
        assert!(shown || closes, "{output:?}");
    }
}

fn config(passphrase: &[u8]) -> ServerConfig {
    let passphrase = Some(passphrase.to_vec());
    ServerConfig { limits: Limits::default(), passphrase, cpu_rate: 100.0, cpus: 2 }
}

/// Whoever knows the passphrase proves it. Its proof opens nothing once it is another by a bit, for a server
/// with another nonce or passphrase, or a second time; and no other frame is one.
fn check_proof(passphrase: &[u8], noise: &Frame) {
    let mut random = [0; NONCE_BYTES];
    random.copy_from_slice(&noise.as_bytes()[..NONCE_BYTES]);
    let (challenge, proof) = proven(passphrase, random);
    let opens = |random, passphrase: &[u8], frames: &[&Frame]| {
        let mut server = Server::new(config(passphrase)).with_nonce(Nonce::new(random));
        for frame in frames {
            let Ok((next, output)) = server.on(ServerInput::Frame((*frame).clone())) else { return false };
            server = next;
            if let ServerOutput::Close(_) | ServerOutput::ReplyThenClose(_) = output {
                assert!(server.awaits_passphrase(), "only strangers are sent away");
            }
        }
        !server.awaits_passphrase()
    };
    assert!(opens(random, passphrase, &[&challenge, &proof]));
    assert!(!opens(random, passphrase, &[&proof]), "a proof without a challenge");
    let mut other = random;
    other[0] ^= 1;
    assert!(!opens(other, passphrase, &[&challenge, &proof]), "a proof for another nonce");
    assert!(!opens(random, &[passphrase, b"x"].concat(), &[&challenge, &proof]), "another passphrase");
    let mut spoilt = *proof.as_bytes();
    for (byte, noise) in spoilt.iter_mut().zip(noise.as_bytes()) {
        *byte ^= noise;
    }
    let spoilt = Frame::from_bytes(spoilt);
    if spoilt != proof && !shows(&spoilt, passphrase) {
        assert!(!opens(random, passphrase, &[&challenge, &spoilt]), "a spoilt proof");
        assert!(!opens(random, passphrase, &[&challenge, &spoilt, &proof]), "a second try");
    }
    if !shows(noise, passphrase) {
        assert!(!opens(random, passphrase, &[noise]) && !opens(random, passphrase, &[&challenge, noise]));
    }
}

/// The two frames by which a client proves that it knows this passphrase to a server with this nonce.
fn proven(passphrase: &[u8], random: [u8; NONCE_BYTES]) -> (Frame, Frame) {
    let server = Server::new(config(passphrase)).with_nonce(Nonce::new(random));
    let client = Client::new(ClientConfig { passphrase: Some(passphrase.to_vec()) }).proving();
    let (client, challenge) = sent(client, ClientInput::Probe);
    let (client, waits) = client.on(ClientInput::Sent).expect("it was asked for");
    assert_eq!(waits, ClientOutput::Wait);
    let Ok((_, ServerOutput::Reply(nonce))) = server.on(ServerInput::Frame(challenge.clone())) else {
        panic!("a server with a nonce tells it");
    };
    (challenge, sent(client, ClientInput::Frame(nonce)).1)
}

fn sent(client: Client, input: ClientInput) -> (Client, Frame) {
    match client.on(input) {
        Ok((client, ClientOutput::Send(frame))) => (client, frame),
        Ok((_, output)) => panic!("{output:?}"),
        Err(fault) => panic!("{fault}"),
    }
}

/// What a client sends is what a server wants, and nobody else's.
fn check_round_trip(passphrase: &[u8]) {
    let sendable = passphrase.len() <= PASSPHRASE_BYTES_MAX && !passphrase.contains(&0);
    let Some(frame) = passphrase_request(passphrase, -1) else { return assert!(!sendable) };
    assert!(sendable && passphrase_matches(&frame, passphrase));
    let mut other = passphrase.to_vec();
    match other.last_mut() {
        Some(last) => *last ^= 1,
        None => other.push(b'x'),
    }
    assert!(!passphrase_matches(&frame, &other));
    assert!(!format!("{frame:?}").contains("sesame"));
}

/// Whether `frame` shows exactly this passphrase: the protocol's rule in the plainest words.
pub(super) fn shows(frame: &Frame, passphrase: &[u8]) -> bool {
    let message = &frame.as_bytes()[8..];
    let text = message.split(|byte| *byte == 0).next().unwrap_or_default();
    frame.request_type() == RequestCode::Passphrase
        && text == passphrase
        && passphrase.len() <= PASSPHRASE_BYTES_MAX
}
