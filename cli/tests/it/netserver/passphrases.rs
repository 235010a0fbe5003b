//! Passphrases over real sockets: shown, proven, guessed, replayed, and not to be found anywhere afterwards.

use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ringperf_proto::native::{NativeChallenge, NativeProof, NativeRequest, VERSION, verb};
use ringperf_proto::{
    Client, ClientConfig, ClientInput, ClientOutput, Frame, RequestCode, ResponseCode, admin,
};

use super::policy::{measured, open_from, served, turned_away};
use super::{SOON, netserver};
use crate::support::{Control, Netserver, RINGPERF, await_that, free_port, golden, run, stock};

/// errno of a policy.
const EACCES: i32 = 13;

const PASSPHRASE: &str = "open sesame";

/// A file that only we can read. Gone when dropped.
struct Secret(PathBuf);

impl Secret {
    fn new(name: &str, content: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringperf-it-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        std::io::Write::write_all(&mut file.expect("the temporary folder is writable"), content.as_bytes())
            .expect("the temporary folder has room");
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("its name is text")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn guarded(words: &[&str]) -> Netserver {
    Netserver::start(&[&["-4", "-Z", PASSPHRASE], words].concat())
}

fn shown(passphrase: &str) -> Frame {
    admin::passphrase_request(passphrase.as_bytes(), -1).expect("it fits")
}

fn challenge() -> Frame {
    let mut frame = Frame::request(RequestCode::Native, -1);
    NativeRequest { version: VERSION, verb: verb::CHALLENGE }.encode(&mut frame);
    frame
}

/// Asks for a nonce; what the netserver answered.
fn challenged(control: &mut Control) -> Frame {
    control.send(challenge().as_bytes());
    let answer = control.frame();
    assert_eq!((answer.errno(), answer.response_type()), (0, ResponseCode::NativeResponse));
    answer
}

/// The proof that goes with this answer.
fn proof(passphrase: &str, answer: Frame) -> Frame {
    let config = ClientConfig { passphrase: Some(passphrase.as_bytes().to_vec()) };
    let client = Client::new(config).proving().on(ClientInput::Probe).expect("a question").0;
    let client = client.on(ClientInput::Sent).expect("a wait").0;
    match client.on(ClientInput::Frame(answer)).expect("a proof").1 {
        ClientOutput::Send(frame) => frame,
        other => panic!("{other:?}"),
    }
}

/// Sends a proof and returns the errno of the verdict.
fn judged(control: &mut Control, proof: &Frame) -> i32 {
    control.send(proof.as_bytes());
    control.frame().errno()
}

#[test]
fn a_proof_opens_and_one_that_was_seen_before_does_not() {
    for engine in ["auto", "epoll"] {
        let netserver = guarded(&["--engine", engine]);
        let mut control = Control::open(netserver.address());
        let answer = challenged(&mut control);
        let good = proof(PASSPHRASE, answer.clone());
        assert_eq!(judged(&mut control, &good), 0);
        assert_eq!(served(&mut control), 0);

        // On another connection, with a challenge of its own and without one.
        let mut second = Control::open(netserver.address());
        let other = challenged(&mut second);
        let nonce = |answer| NativeChallenge::decode(answer).nonce;
        assert_ne!(nonce(&answer), nonce(&other), "every client has its own");
        assert_eq!(judged(&mut second, &good), EACCES);
        second.await_close();
        let mut third = Control::open(netserver.address());
        assert_eq!(judged(&mut third, &good), EACCES);
        third.await_close();

        // Cut short, and what the netserver sent itself.
        let mut fourth = Control::open(netserver.address());
        let mut cut = proof(PASSPHRASE, challenged(&mut fourth));
        let mut words = NativeProof::decode(&cut);
        words.proof[31] = words.proof[31].wrapping_add(1);
        words.encode(&mut cut);
        assert_eq!(judged(&mut fourth, &cut), EACCES);
        fourth.await_close();
        netserver.await_log("the passphrase is not proven");
    }
}

#[test]
fn half_a_proof_is_closed_and_so_is_one_that_never_comes() {
    let netserver = guarded(&["--deadline-ms", "400"]);
    let mut control = Control::open(netserver.address());
    let good = proof(PASSPHRASE, challenged(&mut control));
    control.send(&good.as_bytes()[..300]);
    control.finish();
    control.await_close();
    let mut silent = Control::open(netserver.address());
    challenged(&mut silent);
    // The time for the first word is for the proof, too.
    silent.await_close();
    netserver.await_log("nothing came within 0.4 s");
}

#[test]
fn five_guesses_close_the_door_to_their_address_alone() {
    let netserver = guarded(&["--max-sessions", "20"]);
    // Already inside when the others guess.
    let mut early = open_from([127, 0, 0, 9], &netserver);
    let mut early_nonce = open_from([127, 0, 0, 9], &netserver);
    let nonce = challenged(&mut early_nonce);
    for number in 0..5 {
        let mut control = open_from([127, 0, 0, 9], &netserver);
        if number % 2 == 0 {
            control.send(shown("open barley").as_bytes());
        } else {
            let wrong = proof("open barley", challenged(&mut control));
            assert_eq!(judged(&mut control, &wrong), EACCES);
        }
        control.await_close();
    }
    netserver.await_log("POLICY: 5 wrong passphrases");
    assert_eq!(turned_away(open_from([127, 0, 0, 9], &netserver)).0, EACCES);
    netserver.await_log("POLICY: turned away: 5 wrong passphrases within 60 s");
    // No further guess is looked at, not even a right one on a connection that was open before.
    early.send(shown(PASSPHRASE).as_bytes());
    assert_eq!(early.frame().errno(), EACCES);
    early.await_close();
    assert_eq!(judged(&mut early_nonce, &proof(PASSPHRASE, nonce)), EACCES);
    early_nonce.await_close();
    // Others are none the wiser.
    let mut other = open_from([127, 0, 0, 10], &netserver);
    other.send(shown(PASSPHRASE).as_bytes());
    assert_eq!(served(&mut other), 0);
}

#[test]
fn who_shows_nothing_has_not_guessed() {
    let netserver = guarded(&[]);
    for _ in 0..10 {
        let mut control = Control::open(netserver.address());
        control.send(&golden("passphrase_missing").concat());
        control.await_close();
    }
    let mut control = Control::open(netserver.address());
    control.send(shown(PASSPHRASE).as_bytes());
    assert_eq!(served(&mut control), 0);
}

#[test]
fn a_file_of_its_own_is_as_good_as_a_word_and_one_of_others_is_refused() {
    let secret = Secret::new("own", &format!("{PASSPHRASE}\n"));
    let netserver = Netserver::start(&["-L", "127.0.0.1", "--passphrase-file", secret.path()]);
    netserver.await_log("with the passphrase (5 wrong ones of an address within 60 s)");
    netserver.await_log("netperf's -Z shows the passphrase in clear");
    let mut control = Control::open(netserver.address());
    control.send(shown(PASSPHRASE).as_bytes());
    assert_eq!(served(&mut control), 0);
    let start = |path: &str| netserver_with(path);
    let (code, _, err) = start("/no/such/file");
    assert!(code == Some(1) && err.contains("/no/such/file: ENOENT"), "{err}");
    std::fs::set_permissions(&secret.0, PermissionsExt::from_mode(0o640)).expect("it is ours");
    let (code, _, err) = start(secret.path());
    assert!(code == Some(1) && err.contains("its mode 0640") && err.contains("chmod 600"), "{err}");
    let empty = Secret::new("empty", "\n");
    let (code, _, err) = start(empty.path());
    assert!(code == Some(1) && err.contains("1 to 647 bytes"), "{err}");
}

fn netserver_with(path: &str) -> (Option<i32>, String, String) {
    netserver(&["-D", "-L", "127.0.0.1", "-p", "0", "--passphrase-file", path])
}

#[test]
fn a_file_is_found_from_the_background_too() {
    let secret = Secret::new("background", PASSPHRASE);
    let folder = secret.0.parent().expect("a folder");
    let name = secret.0.file_name().and_then(|name| name.to_str()).expect("its name is text");
    let output = Command::new(RINGPERF)
        .args(["netserver", "-4", "-L", "127.0.0.1", "-p", "0", "--passphrase-file", name])
        .current_dir(folder)
        .output()
        .expect("it runs");
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    let port = line.split("port '").nth(1).and_then(|rest| rest.split('\'').next()).expect("a start line");
    let id = super::process_with(name).expect("a process in the background");
    let _end =
        super::OnDrop(|| drop(Command::new("kill").arg(id.to_string()).stderr(Stdio::null()).status()));
    let mut control = Control::open(format!("127.0.0.1:{port}").parse().expect("an address"));
    control.send(shown(PASSPHRASE).as_bytes());
    assert_eq!(served(&mut control), 0);
}

#[test]
fn run_proves_it_and_says_what_to_do_where_that_is_not_known() {
    let (right, wrong) = (Secret::new("right", PASSPHRASE), Secret::new("wrong", "open barley"));
    let netserver = guarded(&[]);
    let (code, record) = measured(&netserver, &["tcp-stream", "--passphrase-file", right.path()]);
    assert_eq!(code, Some(0), "{record}");
    let in_clear = ["tcp-stream", "--passphrase-in-clear", "--passphrase-file", right.path()];
    assert_eq!(measured(&netserver, &in_clear).0, Some(0));
    let (code, record) = measured(&netserver, &["tcp-stream", "--passphrase-file", wrong.path()]);
    let text = record["error"]["text"].as_str().unwrap_or_default();
    assert!(code == Some(5) && text.contains("not the one that the peer wants"), "{record}");
    // One that wants none does not mind.
    let open = Netserver::start(&["-L", "127.0.0.1"]);
    assert_eq!(measured(&open, &["tcp-stream", "--passphrase-file", right.path()]).0, Some(0));
}

/// A stock netserver with a passphrase. Killed when dropped.
struct Stock(Child, u16);

impl Drop for Stock {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn run_against_a_stock_netserver_says_what_to_do() {
    let Some(program) = stock("netserver", "run_against_a_stock_netserver_says_what_to_do") else { return };
    let secret = Secret::new("stock", PASSPHRASE);
    for words in [&["-Z", PASSPHRASE][..], &[]] {
        let port = free_port();
        let child = Command::new(&program)
            .args(["-D", "-4", "-L", "127.0.0.1", "-p", &port.to_string()])
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it runs");
        let stock = Stock(child, port);
        await_that("stock netserver", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        let run_with = |words: &[&str]| {
            let port = stock.1.to_string();
            let first =
                ["run", "-H", "127.0.0.1", "--port", &port, "--time", "1", "--json", "--passphrase-file"];
            let output = run(Path::new(RINGPERF), &[&first, &[secret.path()][..], words].concat(), SOON);
            (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let (code, out) = run_with(&[]);
        if words.is_empty() {
            assert_eq!(code, Some(0), "it wants none: {out}");
        } else {
            assert!(code == Some(5) && out.contains("--passphrase-in-clear"), "{out}");
            assert_eq!(run_with(&["--passphrase-in-clear"]).0, Some(0));
        }
    }
}

#[test]
fn a_canary_is_found_nowhere() {
    const CANARY: &str = "canary-in-a-coal-mine";
    let secret = Secret::new("canary", CANARY);
    let mut netserver = Netserver::start(&["-4", "-dd", "--passphrase-file", secret.path()]);
    let port = netserver.port.to_string();
    let folder = std::env::temp_dir().join(format!("ringperf-it-canary-records-{}", std::process::id()));
    let records = format!("{}/", folder.display());
    let mut told = String::new();
    let mut tell = |output: std::process::Output, succeeds: bool| {
        assert_eq!(output.status.success(), succeeds, "{output:?}");
        told.push_str(&String::from_utf8_lossy(&output.stdout));
        told.push_str(&String::from_utf8_lossy(&output.stderr));
    };
    let ringperf = |words: &[&str]| {
        Command::new(RINGPERF).args(words).env("RINGPERF_RECORD", &records).output().expect("it runs")
    };
    for words in [&["--json"][..], &[], &["--passphrase-in-clear", "--json"]] {
        let first = ["run", "-H", "127.0.0.1", "--port", &port, "--time", "1", "--passphrase-file"];
        tell(ringperf(&[&first, &[secret.path()][..], words].concat()), true);
    }
    for words in [&["-Z", CANARY][..], &[&format!("-Z{CANARY}")]] {
        let first = ["netperf", "-H", "127.0.0.1", "-p", &port, "-l", "1", "-d"];
        tell(ringperf(&[&first, words].concat()), true);
    }
    // A guess that is nearly right, in either way.
    let near = Secret::new("near", &format!("{CANARY}s"));
    let first = ["run", "-H", "127.0.0.1", "--port", &port, "--json", "--passphrase-file", near.path()];
    tell(ringperf(&first), false);
    tell(ringperf(&["netperf", "-H", "127.0.0.1", "-p", &port, "-Z", &format!("{CANARY}s")]), false);

    let command_line = std::fs::read(format!("/proc/{}/cmdline", netserver.id())).expect("it runs");
    assert!(!String::from_utf8_lossy(&command_line).contains(CANARY));
    crate::support::signal(netserver.id(), "TERM");
    netserver.wait();
    std::thread::sleep(Duration::from_millis(100));
    let kept = std::fs::read_dir(&folder)
        .expect("records were kept")
        .map(|file| std::fs::read_to_string(file.expect("an entry").path()).expect("it is text"));
    let kept: Vec<String> = kept.collect();
    assert_eq!(kept.len(), 2, "one for each netperf that measured");
    assert!(kept.iter().all(|record| record.contains("***")), "{kept:?}");
    for text in kept.iter().chain([&told, &netserver.log()]) {
        assert!(!text.contains(CANARY), "{text}");
    }
    assert!(
        netserver.log().contains("TRACE") || netserver.log().contains("DEBUG"),
        "the log was at its fullest"
    );
    std::fs::remove_dir_all(&folder).expect("it was ours");
}
