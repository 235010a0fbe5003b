//! What `ringperf run` asks of a netserver beyond netperf's request, and of whom it asks nothing.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;

use ringperf_proto::native::{NativeHello, NativeRequest, VERSION, verb};
use ringperf_proto::{Frame, RequestCode};

use super::tools::{Run, engines};
use crate::support::Netserver;

#[test]
fn a_netserver_elsewhere_leaves_out_what_we_do() {
    // The classic engine sets no mark.
    for engine in engines().into_iter().filter(|engine| engine.name != "classic") {
        let netserver = Netserver::start(&["-L", "127.0.0.1", "-d", "--engine", engine.option]);
        let port = netserver.address().port().to_string();
        let mark = |options: &[&str]| {
            let place = ["-H", "127.0.0.1", "--port", &port, "--time", "1", "--json"];
            let done = Run::new(place).args(options).done();
            assert_eq!(done.code, Some(0), "{done:?}");
            let record = done.json();
            assert_eq!(record["target"]["netserver"]["version"], VERSION, "{record}");
            assert_eq!(record["receiver"]["engine"], engine.name, "{record}");
            record["receiver"]["low_water_bytes"].clone()
        };
        assert!(mark(&[]).is_number());
        assert!(mark(&["--without", "low-water"]).is_null());
        netserver.await_log("low_water: true");
        assert!(mark(&[]).is_number(), "the wish was for one test");
    }
}

#[test]
fn an_older_netserver_is_asked_for_nothing_that_it_does_not_know() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let port = listener.local_addr().expect("it is bound").port().to_string();
    let (seen, asked) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the client connects");
        let mut bytes = [0; 656];
        while stream.read_exact(&mut bytes).is_ok() {
            let frame = Frame::from_bytes(bytes);
            let hello = frame.request_type() == RequestCode::Native
                && NativeRequest::decode(&frame).verb == verb::HELLO;
            seen.send(frame).expect("the test waits");
            let mut answer = Frame::response(0x5251, if hello { 0 } else { 95 });
            NativeHello { version: 1 }.encode(&mut answer);
            stream.write_all(answer.as_bytes()).expect("the client reads");
        }
    });
    let done = Run::new(["-H", "127.0.0.1", "--port", &port, "--json", "--without", "low-water"]).done();
    done.error("PEER", 4);
    let types: Vec<_> = asked.iter().map(|frame: Frame| frame.request_type()).collect();
    assert_eq!(types, [RequestCode::Native, RequestCode::Omni]);
}
