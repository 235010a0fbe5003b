//! What a client names is not believed: files are not opened, CPUs outside of the netserver's own are not
//! used, and no text of a client's gets into the log as it is.

use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Command;

use ringperf_proto::Frame;
use ringperf_proto::layout::Text;
use ringperf_proto::omni::OmniRequest;

use crate::support::{
    Control, Netserver, await_that, connect_data, golden, received, request, serves, skip, stream_data,
};

/// A folder with a short name, because a request has 32 bytes for a path; removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = PathBuf::from(format!("/tmp/rp{name}{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
        Self(folder)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The first bytes of a stream that the netserver sends, where the client names a file.
fn payload(netserver: &Netserver, file: &str) -> Vec<u8> {
    let asked = request("tcp_maerts_bytes", |request| {
        request.fill_file = Text::new(file.as_bytes()).expect("a short path");
    });
    let mut control = Control::open(netserver.address());
    let response = control.ask(asked.as_bytes());
    let mut bytes = vec![0; 100_000];
    let mut data = connect_data(&response);
    data.read_exact(&mut bytes).expect("the stream comes");
    std::io::copy(&mut data, &mut std::io::sink()).expect("the stream ends in order");
    drop(data);
    assert!(control.results().bytes_sent_lo > 0);
    bytes
}

#[test]
fn no_file_that_a_client_names_is_opened() {
    const TEST: &str = "no_file_that_a_client_names_is_opened";
    const SECRET: &str = "the canary sings at midnight";
    let folder = Folder::new("fill");
    std::fs::write(folder.file("secret"), SECRET.repeat(10_000)).expect("the folder was just made");
    let fifo = folder.file("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status().expect("mkfifo is there");
    assert!(made.success());
    let opened = folder.file("opened");
    let opened_by = opened.to_str().expect("a plain path").to_owned();
    let strace =
        ["strace", "-f", "-qq", "--seccomp-bpf", "-o", &opened_by, "-e", "trace=open,openat,openat2"];
    let netserver = match Netserver::start_under(&strace, &["-L", "127.0.0.1"]) {
        Ok(netserver) => netserver,
        Err(error) => return skip(TEST, "strace", &format!("strace: {error}")),
    };
    let pattern = payload(&netserver, "");
    let named = ["secret", "fifo", "missing", "."].map(|name| folder.file(name));
    let named = named.iter().map(|path| path.to_str().expect("a plain path"));
    for file in named.chain(["/dev/null", "/dev/zero", "/etc/shadow"]) {
        assert!(payload(&netserver, file) == pattern, "{file} changed what is sent");
    }
    assert!(!String::from_utf8_lossy(&pattern).contains("canary"));
    // A reader of the FIFO would have found a writer by now, and it would have been opened without waiting.
    let reader = std::fs::OpenOptions::new().read(true).custom_flags(0o4000).open(&fifo);
    assert!(matches!(reader.expect("it is ours").read(&mut [0; 1]), Ok(0)), "nobody writes to it");
    netserver.await_log("files that peers name are never opened");
    drop(netserver);
    let calls = std::fs::read_to_string(&opened).expect("strace has ended");
    assert!(calls.contains("/proc/"), "what it does open is in there: {calls}");
    for name in [folder.0.to_str().expect("a plain path"), "/dev/null", "/dev/zero", "/etc/shadow"] {
        assert!(!calls.contains(name), "{name} was opened: {calls}");
    }
}

/// CPUs that each thread of a process may run on, each list once.
fn allowed(id: u32) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{id}/task")).expect("it runs");
    let statuses = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("status")).ok());
    let list = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:").map(str::to_owned));
        line.unwrap_or_default().trim().to_owned()
    };
    let mut lists: Vec<String> = statuses.map(list).collect();
    lists.sort_unstable();
    lists.dedup();
    lists
}

#[test]
fn a_cpu_outside_of_ours_is_not_used() {
    const TEST: &str = "a_cpu_outside_of_ours_is_not_used";
    let ours = allowed(std::process::id()).concat();
    let Some(first) = ours.split([',', '-']).next().filter(|first| *first != ours) else {
        return skip(TEST, "cpus", "it takes a second CPU");
    };
    let netserver = match Netserver::start_under(&["taskset", "-c", first], &["-L", "127.0.0.1"]) {
        Ok(netserver) => netserver,
        Err(error) => return skip(TEST, "taskset", &format!("taskset: {error}")),
    };
    assert_eq!(allowed(netserver.id()), [first]);
    let other = if first == "0" { 1 } else { 0 };
    let mut tests = 0;
    for cpu in [other, 1023, 1024, 70_000, i32::MAX, i32::MIN, -2] {
        // The word of any message, and of one with a test.
        for name in ["debug_on_off", "node_identify", "two_tests_one_connection"] {
            let mut bytes = golden(name)[0].clone();
            bytes[4..8].copy_from_slice(&cpu.to_be_bytes());
            let mut control = Control::open(netserver.address());
            control.send(&bytes);
            if name != "two_tests_one_connection" {
                control.frame();
                continue;
            }
            let response = control.response();
            assert_eq!(allowed(netserver.id()), [first], "asked for {cpu}");
            stream_data(&response, 1000);
            assert_eq!(received(&control.results()), 1000, "asked for {cpu}");
            tests += 1;
            let line = format!("cores=[Some({first})]");
            await_that("the test's line", || netserver.log().matches(&line).count() == tests);
        }
    }
    assert_eq!(allowed(netserver.id()), [first]);
}

/// A request for a stream with this text wherever there is room for one, whole fields without an end.
fn texts(text: &[u8]) -> Frame {
    fn field<const N: usize>(text: &[u8]) -> Text<N> {
        Text(std::array::from_fn(|index| text[index % text.len()]))
    }
    request("two_tests_one_connection", |request: &mut OmniRequest| {
        request.fill_file = field(text);
        request.cong_control = field(text);
    })
}

#[test]
fn no_text_of_a_client_gets_into_the_log_as_it_is() {
    let netserver = Netserver::start(&["-L", "127.0.0.1", "-dd"]);
    for text in
        [&b"\x1b[31mred"[..], b"=cmd()", b"a\nBUG: fake", b"\r\x08\x07", b"\xff\xfe", b"AAAA", b"%s%n"]
    {
        let mut control = Control::open(netserver.address());
        control.send(texts(text).as_bytes());
        let frame = control.frame();
        // A name that is none is refused; one that might be one is tried.
        assert_eq!(frame.errno() == 0, text.iter().all(u8::is_ascii_graphic), "{text:?}");
        // As its own request type, which nobody knows, and in the place of a passphrase.
        for code in [i32::from_be_bytes(*b"\x1b[1m"), 6] {
            let mut bytes = texts(text).as_bytes().to_vec();
            bytes[..4].copy_from_slice(&code.to_be_bytes());
            let mut control = Control::open(netserver.address());
            control.send(&bytes);
            control.send(&golden("debug_on_off")[0]);
            control.frame();
        }
    }
    let mut page = Control::open(netserver.address());
    page.send(b"GET /\x1b[31m=cmd() HTTP/1.1\r\n\r\n");
    page.finish();
    page.await_close();
    netserver.await_log("refused with 22 (EINVAL)");
    netserver.await_log("end of stream");
    let log = netserver.log();
    let odd: Vec<&str> = log.lines().filter(|line| line.chars().any(char::is_control)).collect();
    assert!(odd.is_empty(), "{odd:?}");
    for text in ["=cmd", "fake", "AAAA", "%n", "[31m"] {
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(text)).collect();
        assert!(lines.is_empty(), "{text}: {lines:?}");
    }
    serves(&netserver);
}
