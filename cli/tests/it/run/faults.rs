//! What `ringperf run` says and how soon it ends when the other end is no netserver, or none that will serve
//! it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use super::places::unprivileged;
use super::tools::{Done, Run, assert_says, free_port, in_new_network};
use crate::support::{Netserver, RINGPERF};

/// A program on a port of loopback that does this with its first connection. Returns the port.
fn server(serve: impl FnOnce(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("the client connects");
        serve(stream);
    });
    port.to_string()
}

/// Reads until the client has gone, so that closing resets nothing.
fn read_out(mut stream: TcpStream) {
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}

fn read_request(stream: &mut TcpStream) {
    stream.read_exact(&mut [0; 656]).expect("the client sends a frame first");
}

/// Runs against a port of loopback with short deadlines, and sees to it that they are kept.
fn against(port: &str, options: &[&str]) -> Done {
    let done = Run::new(["-H", "127.0.0.1", "--port", port, "--time", "1", "--json", "--deadline-ms", "700"])
        .args(options)
        .done();
    assert!(done.took < Duration::from_secs(10), "{done:?}");
    done
}

#[test]
fn a_refused_port_names_the_command_that_opens_it() {
    let port = free_port().to_string();
    let error = against(&port, &[]).error("PEER", 4);
    assert_eq!(error["errno"], "ECONNREFUSED", "{error}");
    assert_says(&error, "next", &format!("ringperf netserver -D -p {port}"));
    assert_says(&error, "setting", "--port");

    let done = Run::new(["-H", "127.0.0.1", "--port", &port]).done();
    assert_eq!((done.code, done.out.as_str()), (Some(4), ""), "{done:?}");
    assert!(done.err.starts_with("ringperf: PEER: cannot connect to the netserver"), "{done:?}");
    assert!(done.err.contains("(ECONNREFUSED)") && done.err.contains("\n  next: "), "{done:?}");
}

#[test]
fn a_host_without_an_address_is_told() {
    // RFC 6761 keeps this name from ever resolving.
    let done = Run::new(["-H", "no-such-host.invalid", "--json", "--time", "1"]).done();
    let error = done.error("PEER", 4);
    assert_says(&error, "tried", "no-such-host.invalid");
    assert!(done.took < Duration::from_secs(15), "{done:?}");
}

#[test]
fn an_unreachable_host_is_told() {
    const TEST: &str = "an_unreachable_host_is_told";
    let Some(unshare) = in_new_network(TEST) else { return };
    // A new namespace has no route to anywhere; the address is for documentation (RFC 5737).
    let words = [unshare.as_os_str(), "-rn".as_ref(), RINGPERF.as_ref()];
    let done = Run::by(words, ["-H", "192.0.2.1", "--json", "--time", "1"]).done();
    let error = done.error("PEER", 4);
    assert_eq!(error["errno"], "ENETUNREACH", "{error}");
}

#[test]
fn an_address_that_is_not_ours_is_told() {
    let done = Run::new(["--local", "192.0.2.1", "--json", "--time", "1"]).done();
    let error = done.error("USAGE", 2);
    assert_eq!(error["errno"], "EADDRNOTAVAIL", "{error}");
    assert_says(&error, "setting", "--local");
}

#[test]
fn silence_ends_in_time_and_names_the_serial_netserver() {
    let port = server(read_out);
    let error = against(&port, &[]).error("PEER", 4);
    assert_eq!(error["errno"], "ETIMEDOUT", "{error}");
    assert_says(&error, "text", "serial mode (-f)");
}

#[test]
fn silence_after_the_greeting_ends_in_time() {
    // An answer like that of a netserver that does not know the greeting, then nothing.
    let port = server(|mut stream| {
        read_request(&mut stream);
        let mut answer = [0; 656];
        answer[4..8].copy_from_slice(&998_i32.to_be_bytes());
        stream.write_all(&answer).expect("the client reads");
        read_out(stream);
    });
    let error = against(&port, &[]).error("PEER", 4);
    assert_eq!(error["errno"], "ETIMEDOUT", "{error}");
    assert_says(&error, "tried", "agree on a test");
}

#[test]
fn a_trickle_of_bytes_does_not_move_the_deadline() {
    let port = server(|mut stream| {
        while stream.write_all(&[0]).is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let error = against(&port, &[]).error("PEER", 4);
    assert_says(&error, "text", "no netserver");
}

#[test]
fn a_web_server_is_recognised() {
    let page = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    for answer in [page.to_owned(), page.repeat(40)] {
        let port = server(move |mut stream| {
            read_request(&mut stream);
            stream.write_all(answer.as_bytes()).expect("the client reads");
        });
        let error = against(&port, &[]).error("PEER", 4);
        assert_says(&error, "text", "no netserver: it said \"HTTP/1.1 400 Bad Request\"");
    }
}

#[test]
fn garbage_is_recognised() {
    for length in [1, 655, 656, 10_000] {
        let port = server(move |mut stream| {
            read_request(&mut stream);
            // Any byte will do that is no text and makes no errno.
            let _ = stream.write_all(&vec![0xfe; length]);
            read_out(stream);
        });
        let error = against(&port, &[]).error("PEER", 4);
        assert_says(&error, "text", "no netserver");
    }
}

#[test]
fn an_old_netserver_is_named() {
    // One of 2.5 answers a frame of ours in frames of its own: 256 bytes for each 256 it has read.
    let port = server(|mut stream| {
        read_request(&mut stream);
        stream.write_all(&[0; 512]).expect("the client reads");
        read_out(stream);
    });
    let error = against(&port, &[]).error("PEER", 4);
    assert_says(&error, "text", "2.5.0 or older");
    assert_says(&error, "setting", "2.6.0");
}

#[test]
fn a_close_without_an_answer_hints_at_the_passphrase() {
    let port = server(|mut stream| read_request(&mut stream));
    let error = against(&port, &[]).error("PEER", 4);
    assert_says(&error, "text", "closed the connection without an answer");
    assert_says(&error, "next", "--passphrase-file");
}

#[test]
fn a_refused_test_tells_the_netservers_errno() {
    let port = server(|mut stream| {
        for errno in [998_i32, 13] {
            read_request(&mut stream);
            let mut answer = [0; 656];
            answer[4..8].copy_from_slice(&errno.to_be_bytes());
            stream.write_all(&answer).expect("the client reads");
        }
        read_out(stream);
    });
    let error = against(&port, &[]).error("POLICY", 5);
    assert_eq!(error["errno"], "EACCES", "{error}");
}

#[test]
fn a_passphrase_opens_and_a_wrong_one_is_policy() {
    let netserver = Netserver::start(&["-4", "-L", "127.0.0.1", "-Z", "open sesame"]);
    let port = netserver.port.to_string();
    let file = std::env::temp_dir().join(format!("ringperf-it-passphrase-{}", std::process::id()));
    let with = |content: &str| {
        std::fs::write(&file, content).expect("the temporary folder is writable");
        let path = file.to_str().expect("its name is text");
        Run::new(["-H", "127.0.0.1", "--port", &port, "--time", "1", "--json", "--passphrase-file", path])
            .done()
    };
    let opened = with("open sesame\n");
    assert_eq!(opened.code, Some(0), "{opened:?}");
    let error = with("open barley\n").error("POLICY", 5);
    assert_says(&error, "setting", "--passphrase-file");
    std::fs::remove_file(&file).expect("it was just written");

    let done = Run::new(["-H", "127.0.0.1", "--port", &port, "--time", "1", "--json"]).done();
    assert_says(&done.error("PEER", 4), "next", "--passphrase-file");
}

#[test]
fn a_file_without_a_passphrase_is_usage() {
    let done = Run::new(["-H", "127.0.0.1", "--passphrase-file", "/no/such/file", "--json"]).done();
    let error = done.error("USAGE", 2);
    assert_eq!(error["errno"], "ENOENT", "{error}");
}

#[test]
fn a_failure_that_nobody_reads_keeps_its_exit_code() {
    let port = free_port().to_string();
    // The reader has gone before the first word.
    let (reader, writer) = std::io::pipe().expect("descriptors are left");
    drop(reader);
    let done = Run::new(["-H", "127.0.0.1", "--port", &port]).complaining_to(writer.into()).done();
    assert_eq!(done.code, Some(4), "{done:?}");
}

#[test]
fn an_endless_passphrase_file_is_usage() {
    let done = Run::new(["-H", "127.0.0.1", "--passphrase-file", "/dev/zero", "--json"]).done();
    done.error("USAGE", 2);
    assert!(done.took < Duration::from_secs(10), "{done:?}");
}

/// What a netserver does when it is asked for its report.
#[derive(Clone, Copy)]
enum AtReport {
    Close,
    Refuse,
    StaySilent,
}

/// Hands frames on between a client and a netserver up to the results, and spoils the report that follows.
fn relay(mut client: TcpStream, netserver: std::net::SocketAddr, then: AtReport) {
    let mut server = TcpStream::connect(netserver).expect("netserver accepts");
    let mut frame = [0; 656];
    let mut pass = |from: &mut TcpStream, to: &mut TcpStream| {
        from.read_exact(&mut frame).expect("a whole frame");
        to.write_all(&frame).expect("the other end takes it");
    };
    for _ in ["greeting", "request"] {
        pass(&mut client, &mut server);
        pass(&mut server, &mut client);
    }
    pass(&mut server, &mut client);
    read_request(&mut client);
    match then {
        AtReport::Close => {}
        AtReport::Refuse => {
            let mut refusal = [0; 656];
            refusal[4..8].copy_from_slice(&22_u32.to_be_bytes());
            client.write_all(&refusal).expect("the client reads");
            read_out(client);
        }
        AtReport::StaySilent => read_out(client),
    }
}

#[test]
fn a_report_that_fails_does_not_lose_the_result() {
    let netserver = Netserver::start(&["-4", "-L", "127.0.0.1"]);
    let address = netserver.address();
    for (then, reason) in [
        (AtReport::Close, "ended before it had sent"),
        (AtReport::Refuse, "EINVAL"),
        (AtReport::StaySilent, "gave no answer"),
    ] {
        let port = server(move |client| relay(client, address, then));
        let done = against(&port, &[]);
        assert_eq!(done.code, Some(0), "{done:?}");
        let record = done.json();
        super::assert_is_a_result(&record);
        assert!(record["remote_facts"].is_null() && record["receiver"]["worker"].is_null(), "{record}");
        let warnings = record["warnings"].as_array().expect("a list");
        let missing = warnings.iter().find(|warning| warning["kind"] == "report_missing");
        assert_says(missing.expect("it is told"), "reason", reason);
    }
}

#[test]
fn too_few_processes_is_the_environment() {
    const TEST: &str = "too_few_processes_is_the_environment";
    // A user of its own, so that no other process counts. Each limit stops the start at another thread.
    let mut refused = 0;
    for limit in 1..=6 {
        let Some(words) = unprivileged(TEST, "64321", &format!("--nproc={limit}")) else { return };
        let done = Run::by(&words, ["--bytes", "1M", "--json"]).done();
        if done.code != Some(0) {
            done.error("ENV", 3);
            refused += 1;
        }
    }
    assert!(refused > 1, "a limit of one process is too little");
}
