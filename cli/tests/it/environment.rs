//! `ringperf env`: environments that come up, are measured and leave nothing; owners that are killed; and
//! every way in which docker can be of no use.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::support::{RINGPERF, await_that, run, signal, skip};

const LIMIT: Duration = Duration::from_secs(60);

/// A folder with a state directory and a folder of programs; removed when dropped.
struct Sandbox(PathBuf);

impl Sandbox {
    fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("ringperf-it-{test}-{}", std::process::id()));
        fs::create_dir_all(folder.join("bin")).expect("the temporary folder is writable");
        Self(folder)
    }

    /// With a program `docker` that does this.
    fn with_docker(test: &str, script: &str) -> Self {
        let sandbox = Self::new(test);
        let file = sandbox.0.join("bin/docker");
        let text = format!("#!/bin/sh\nhere={}\nPATH=/usr/bin:/bin\n{script}\n", sandbox.0.display());
        fs::write(&file, text).expect("the folder was just made");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("it was just written");
        sandbox
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(RINGPERF);
        command.arg("env").args(words).env("RINGPERF_STATE_DIR", &self.0).env("TMPDIR", &self.0);
        command
    }

    /// Where the only docker is the sandbox's, if it has one.
    fn env(&self, words: &[&str]) -> Output {
        let mut command = self.command(words);
        command.env("PATH", self.0.join("bin")).env("RINGPERF_DOCKER_DEADLINE_MS", "5000");
        command.stdin(Stdio::null()).output().expect("it starts")
    }

    fn journal(&self) -> PathBuf {
        self.0.join("ringperf/environments.jsonl")
    }

    fn journal_text(&self) -> String {
        fs::read_to_string(self.journal()).unwrap_or_default()
    }

    /// A line of the journal whose owner ended with an earlier boot.
    fn write_dead(&self, name: &str) {
        self.write(name, (1, 1), "an earlier one");
    }

    /// A line of the journal whose owner is this process.
    fn write_alive(&self, name: &str) {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("there is a /proc");
        let id = std::process::id();
        self.write(name, (id, start_of(id)), boot.trim());
    }

    fn write(&self, name: &str, (pid, start): (u32, u64), boot: &str) {
        let machine = fs::read_to_string("/proc/sys/kernel/hostname").expect("there is a /proc");
        let namespace = fs::read_link("/proc/self/ns/pid").expect("there is a /proc");
        let line = serde_json::json!({
            "kind": "container", "name": name, "pid": pid, "start": start, "boot": boot, "created": 1,
            "pid_namespace": namespace, "machine": machine.trim(),
        });
        fs::create_dir_all(self.0.join("ringperf")).expect("the sandbox is writable");
        fs::write(self.journal(), format!("{}{line}\n", self.journal_text())).expect("so is its folder");
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Fails with ENV, on standard error, with all of these, and with a command to run next.
fn assert_env(output: &Output, parts: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{text}");
    for part in ["ringperf: ENV: cannot ", "\n  decided by: ", "\n  next: "].iter().chain(parts) {
        assert!(text.contains(part), "no \"{part}\" in: {text}");
    }
    assert!(output.stdout.is_empty());
}

#[test]
fn no_docker_is_told() {
    let sandbox = Sandbox::new("absent");
    let output = sandbox.env(&["up", "container"]);
    assert_env(&output, &["ENOENT", "on PATH", "install Docker"]);
    assert_eq!(sandbox.journal_text(), "");
}

#[test]
fn a_docker_that_hangs_is_killed_with_its_children() {
    let sandbox = Sandbox::with_docker("hanging", "sleep 612 & echo $! >$here/child; wait");
    let begun = Instant::now();
    let mut command = sandbox.command(&["up", "container"]);
    command.env("PATH", sandbox.0.join("bin")).env("RINGPERF_DOCKER_DEADLINE_MS", "700");
    let output = command.stdin(Stdio::null()).output().expect("it starts");
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_env(
        &output,
        &["no answer within 0.7 s", "ETIMEDOUT", "RINGPERF_DOCKER_DEADLINE_MS", "docker info"],
    );
    let child = fs::read_to_string(sandbox.0.join("child")).expect("docker ran");
    let cmdline = PathBuf::from(format!("/proc/{}/cmdline", child.trim()));
    await_that("the end of docker's child", || {
        !fs::read_to_string(&cmdline).unwrap_or_default().contains("612")
    });
}

#[test]
fn garbage_is_told_and_quoted() {
    let sandbox = Sandbox::with_docker("garbage", "echo '<html>Bad gateway</html>'");
    assert_env(
        &sandbox.env(&["up", "container"]),
        &["<html>Bad gateway", "cannot be read", "docker version"],
    );
    let output = sandbox.env(&["up", "container", "--json"]);
    let told: Json = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!((output.status.code(), &told["error"]["class"]), (Some(3), &Json::from("ENV")));
}

#[test]
fn missing_rights_are_told() {
    let sandbox = Sandbox::with_docker(
        "rights",
        "echo 'permission denied while trying to connect to the Docker daemon socket at \
         unix:///var/run/docker.sock: connect: permission denied' >&2; exit 1",
    );
    assert_env(&sandbox.env(&["up", "container"]), &["EACCES", "docker.sock", "usermod -aG docker"]);
}

#[test]
fn a_daemon_that_is_down_is_told() {
    let sandbox = Sandbox::with_docker(
        "down",
        "echo '{\"ServerVersion\":\"\"}'; echo 'Cannot connect to the Docker daemon at \
         unix:///nonexistent/docker.sock. Is the docker daemon running?' >&2; exit 1",
    );
    let output = sandbox.env(&["up", "container"]);
    assert_env(&output, &["ENOENT", "Is the docker daemon running?", "systemctl"]);
}

/// Answers all questions up to the container's start, for an image that is said to be there.
const UP_TO_START: &str = r#"
case "$*" in
info*) echo '{"ServerVersion":"1"}';;
network*) echo '[{"IPAM":{"Config":[{"Subnet":"127.0.0.0/8","Gateway":"127.0.0.1"}]}}]';;
"image ls"*) for word; do :; done; echo "${word#ringperf:}" >$here/hash; echo sha256:1;;
"image inspect"*) hash=$(cat $here/hash)
    echo "[{\"Id\":\"1\",\"Size\":1,\"Config\":{\"Labels\":{\"ringperf.image\":\"$hash\"}}}]";;
"#;

#[test]
fn a_taken_data_port_is_told_with_the_command_that_shows_who_has_it() {
    let script = format!(
        "{UP_TO_START}
        run*) cp $here/ringperf/environments.jsonl $here/seen
            echo 'docker: Error response from daemon: driver failed: Bind for \
            127.0.0.1:12866 failed: port is already allocated.' >&2; exit 125;;
        ps*) echo 0123abcd;;
        rm*) echo \"$*\" >>$here/removed;;
        esac"
    );
    let sandbox = Sandbox::with_docker("port", &script);
    let output = sandbox.env(&["up", "container"]);
    assert_env(&output, &["EADDRINUSE", "12866", "ss -tulpn 'sport = :12866'", "--data-port"]);
    let seen =
        fs::read_to_string(sandbox.0.join("seen")).expect("the journal was there before the container");
    assert!(seen.contains("\"kind\":\"container\""), "{seen}");
    // What docker leaves of a container that did not start is removed, and then struck off.
    let removed = fs::read_to_string(sandbox.0.join("removed")).expect("docker was asked");
    assert_eq!(removed, "rm --force --volumes 0123abcd\n");
    assert_eq!(sandbox.journal_text(), "");
}

#[test]
fn a_container_that_ends_at_once_is_told_with_its_last_words() {
    let script = format!(
        "{UP_TO_START}
        run*) echo 0123abcd;;
        'container inspect'*)
            echo '{{\"State\":{{\"Running\":false,\"ExitCode\":127,\"Pid\":0}},\"NetworkSettings\":{{}}}}';;
        logs*) echo 'exec /ringperf: no such file' >&2;;
        esac"
    );
    let sandbox = Sandbox::with_docker("ends", &script);
    let output = sandbox.env(&["up", "container"]);
    assert_env(&output, &["exit code 127", "its log ends: exec /ringperf: no such file"]);
    assert_eq!(sandbox.journal_text(), "");
}

#[test]
fn gc_without_docker_fails_only_where_something_may_be_left() {
    let sandbox = Sandbox::new("gc");
    let output = sandbox.env(&["gc"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.starts_with("nothing was left behind\n"), "{text}");
    sandbox.write_dead("ringperf-dead");
    let output = sandbox.env(&["gc", "--json"]);
    assert_eq!(output.status.code(), Some(3));
    let told: Json = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(told["error"]["class"], "ENV");
    assert!(sandbox.journal_text().contains("ringperf-dead"), "it stays written down");
    let output = sandbox.env(&["list", "--json"]);
    let told: Json = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert!(output.status.success());
    assert_eq!(
        (&told["environments"][0]["life"], told["environments"][0]["id"].is_null()),
        (&"dead".into(), true)
    );
}

#[test]
fn gc_removes_images_only_when_asked_and_none_in_use() {
    // Whatever else is on this machine's Docker is left alone by asking one of our own.
    let image = |tag: &str| format!(r#"{{"ID":"sha256:{tag}","Repository":"ringperf","Tag":"{tag}"}}"#);
    let script = format!(
        "echo \"$*\" >>$here/asked
        case \"$*\" in
        'image ls'*) echo '{}'; echo '{}';;
        'image rm ringperf:used') echo 'Error response from daemon: conflict: unable to remove repository \
            reference \"ringperf:used\" (must force) - container 0123 is using its referenced image' >&2
            exit 1;;
        esac",
        image("used"),
        image("idle"),
    );
    let sandbox = Sandbox::with_docker("images", &script);
    let asked = || fs::read_to_string(sandbox.0.join("asked")).expect("docker was asked");
    let gc = |words: &[&str]| {
        let output = sandbox.env(&[&["gc", "--json"], words].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        serde_json::from_slice::<Json>(&output.stdout).expect("it is JSON")["images"].clone()
    };
    assert_eq!(gc(&[]), Json::Null);
    assert!(!asked().contains("image"), "{}", asked());
    sandbox.write_alive("starting");
    let told = |used: bool, idle: bool| {
        serde_json::json!([
            { "name": "ringperf:used", "id": "sha256:used", "removed": used },
            { "name": "ringperf:idle", "id": "sha256:idle", "removed": idle },
        ])
    };
    assert_eq!(
        gc(&["--images"]),
        told(false, false),
        "an owner without a container may be about to make one"
    );
    assert!(!asked().contains("image rm"), "{}", asked());
    fs::remove_file(sandbox.journal()).expect("it was written");
    assert_eq!(gc(&["--images"]), told(false, true));
    assert!(!asked().contains("force"), "{}", asked());
    let absent = Sandbox::new("images-absent").env(&["gc", "--images"]);
    assert_eq!(absent.status.code(), Some(3));
}

#[test]
fn only_an_image_of_this_machine_is_run() {
    let script = format!(
        "{UP_TO_START}
        run*) echo \"$*\" >$here/ran; echo 'docker: Error: No such image: ringperf:x' >&2; exit 125;;
        esac"
    );
    let sandbox = Sandbox::with_docker("pull", &script);
    assert_env(&sandbox.env(&["up", "container"]), &["No such image"]);
    let ran = fs::read_to_string(sandbox.0.join("ran")).expect("docker was asked");
    assert!(ran.contains("--pull never"), "{ran}");
}

/// An environment held up by its standard input.
struct Up {
    child: Child,
    told: Json,
}

impl Up {
    fn start(sandbox: &Sandbox, words: &[&str]) -> Self {
        let mut command = sandbox.command(&[&["up"], words, &["--json"]].concat());
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program starts");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it is text");
        let told: Json = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(told["error"].is_null(), "{told}");
        Self { child, told }
    }

    fn container(&self) -> String {
        self.told["facts"]["container"].as_str().expect("a container has a name").to_owned()
    }

    /// Measures by the command that it names; bytes at the receiver.
    fn measure(&self, test: &str) -> u64 {
        let command = self.told["measure"].as_str().expect("it names the command");
        let mut words: Vec<&str> = command.split(' ').skip(1).collect();
        words.insert(1, test);
        words.extend(["--time", "1", "--json"]);
        let output = run(Path::new(RINGPERF), &words, LIMIT);
        let record: Json = serde_json::from_slice(&output.stdout).expect("it is JSON");
        assert!(output.status.success(), "{test}: {record}");
        record["result"]["bytes_received"].as_u64().unwrap_or_else(|| panic!("no bytes in {record}"))
    }

    /// Ends its input, and waits for its end.
    fn end(mut self) {
        drop(self.child.stdin.take());
        let mut status = None;
        await_that("the end of env up", || {
            status = self.child.try_wait().expect("it is a child");
            status.is_some()
        });
        assert!(status.is_some_and(|status| status.success()), "{status:?}");
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // In order, where a test has failed: killed, it would leave its container.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[test]
fn a_host_comes_up_is_measured_and_goes() {
    let sandbox = Sandbox::new("host");
    let up = Up::start(&sandbox, &["host"]);
    assert_eq!((&up.told["facts"]["kind"], &up.told["data_port"]), (&"host".into(), &Json::Null));
    assert!(up.measure("tcp-stream") > 0);
    signal(up.child.id(), "INT");
    up.end();
}

/// One test with Docker at a time: each removes the image in the end.
static DOCKER: Mutex<()> = Mutex::new(());

/// A daemon to work with.
struct Docker {
    image: Option<String>,
    _alone: MutexGuard<'static, ()>,
}

impl Docker {
    /// `None`, after saying why, where there is none.
    fn reach(test: &str) -> Option<Self> {
        let alone = DOCKER.lock().unwrap_or_else(PoisonError::into_inner);
        match Command::new("docker").args(["version", "--format", "{{.Server.Version}}"]).output() {
            Ok(output) if output.status.success() => return Some(Self { image: None, _alone: alone }),
            Ok(output) => skip(test, "docker", String::from_utf8_lossy(&output.stderr).trim()),
            Err(error) => skip(test, "docker", &format!("docker does not start: {error}")),
        }
        None
    }

    /// Brings up a container and remembers its image.
    fn up(&mut self, sandbox: &Sandbox) -> Up {
        let port = crate::support::free_port().to_string();
        let up = Up::start(sandbox, &["container", "--data-port", &port]);
        self.image = up.told["facts"]["image"]["name"].as_str().map(str::to_owned);
        up
    }

    /// What docker prints.
    fn ask(&self, words: &[&str]) -> String {
        let output = run(Path::new("docker"), words, LIMIT);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Ids of the containers, running or not, that match.
    fn ids(&self, filter: &str) -> String {
        self.ask(&["ps", "--all", "--quiet", "--filter", filter])
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        if let Some(image) = &self.image {
            let _ = Command::new("docker").args(["image", "rm", image]).output();
        }
    }
}

/// A container that is none of ours; removed when dropped.
struct Foreign(String);

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rm", "--force", &self.0]).output();
    }
}

#[test]
fn a_container_comes_up_is_measured_and_leaves_nothing() {
    let test = "a_container_comes_up_is_measured_and_leaves_nothing";
    let Some(mut docker) = Docker::reach(test) else { return };
    let sandbox = Sandbox::new("container");
    let up = docker.up(&sandbox);
    let (facts, name) = (up.told["facts"].clone(), up.container());
    assert!(sandbox.journal_text().contains(&name));
    for test in ["tcp-stream", "tcp-maerts", "udp-stream"] {
        assert!(up.measure(test) > 0, "{test}");
    }
    assert_eq!(facts["engine"]["version"], docker.ask(&["version", "--format", "{{.Server.Version}}"]));
    assert!(facts["image"]["size_bytes"].as_u64() > Some(1_000_000), "{facts}");
    assert!(facts["idle_memory_bytes"].as_u64() > Some(100_000), "{facts}");
    assert!(facts["ready_ms"].is_u64(), "{facts}");
    assert_eq!((&facts["path"], &facts["seccomp_mode"]), (&"nat".into(), &"filter".into()), "{facts}");
    assert_ne!(up.told["host"], "127.0.0.1");
    let inspected = docker.ask(&["container", "inspect", "--format", "{{json .HostConfig}}", &name]);
    let inspected: Json = serde_json::from_str(&inspected).expect("docker prints JSON");
    assert_eq!(inspected["CapDrop"], serde_json::json!(["ALL"]));
    assert_eq!(inspected["SecurityOpt"], serde_json::json!(["no-new-privileges"]));
    assert_eq!((&inspected["ReadonlyRootfs"], &inspected["Privileged"]), (&true.into(), &false.into()));
    up.end();
    assert_eq!(docker.ids(&format!("name={name}")), "");
    assert_eq!(sandbox.journal_text(), "");
}

#[test]
fn a_taken_port_leaves_nothing() {
    let Some(mut docker) = Docker::reach("a_taken_port_leaves_nothing") else { return };
    let sandbox = Sandbox::new("taken");
    let up = docker.up(&sandbox);
    let port = up.told["data_port"].to_string();
    let before = sandbox.journal_text();
    let mut command = sandbox.command(&["up", "container", "--data-port", &port]);
    let output = command.stdin(Stdio::null()).output().expect("it starts");
    assert_env(&output, &["EADDRINUSE", &format!("ss -tulpn 'sport = :{port}'")]);
    assert_eq!(sandbox.journal_text(), before, "the second is struck off, the first is not");
    assert!(up.measure("tcp-stream") > 0, "the first is not disturbed");
    up.end();
}

#[test]
fn gc_removes_what_a_killed_owner_left_and_nothing_else() {
    let test = "gc_removes_what_a_killed_owner_left_and_nothing_else";
    let Some(mut docker) = Docker::reach(test) else { return };
    let sandbox = Sandbox::new("killed");
    let alive = docker.up(&sandbox);
    let image = docker.image.clone().expect("it has one");
    // Without labels, under a name that the journal gives to an owner of an earlier boot.
    let foreign = Foreign(format!("ringperf-it-foreign-{}", std::process::id()));
    docker.ask(&["run", "--detach", "--name", &foreign.0, &image, "netserver", "-D", "-4", "-p", "0"]);
    sandbox.write_dead(&foreign.0);

    // Killed between the container's start and the netserver's greeting, as far as that can be hit.
    let port = crate::support::free_port().to_string();
    let mut command = sandbox.command(&["up", "container", "--data-port", &port]);
    let mut owner = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it starts");
    let filter = format!("label=ringperf.owner={}", labelled_owner(owner.id()));
    await_that("the container of the owner to be killed", || !docker.ids(&filter).is_empty());
    owner.kill().expect("it runs");
    owner.wait().expect("it is ours");

    let gc = || {
        let output = sandbox.command(&["gc", "--json"]).output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        let told: Json = serde_json::from_slice(&output.stdout).expect("it is JSON");
        told["environments"].as_array().expect("it is a list").clone()
    };
    let removed = gc();
    let of_owner = removed.iter().filter(|item| item["owner"]["pid"] == owner.id() && !item["id"].is_null());
    assert_eq!(of_owner.count(), 1, "{removed:?}");
    assert_eq!(docker.ids(&filter), "");
    // The line with the foreign container's name is struck off, the container is not touched.
    assert!(removed.iter().any(|item| item["name"] == foreign.0 && item["id"].is_null()), "{removed:?}");
    assert_eq!(docker.ask(&["container", "inspect", "--format", "{{.State.Running}}", &foreign.0]), "true");
    let journal = sandbox.journal_text();
    assert!(journal.contains(&alive.container()) && journal.lines().count() == 1, "{journal}");
    assert!(alive.measure("tcp-stream") > 0, "the living owner's container serves on");
    assert!(gc().is_empty());
    alive.end();
    assert_eq!(sandbox.journal_text(), "");
}

/// The label that a process puts on its containers.
fn labelled_owner(id: u32) -> String {
    let machine = fs::read_to_string("/proc/sys/kernel/hostname").expect("there is a /proc");
    let namespace = fs::read_link(format!("/proc/{id}/ns/pid")).expect("it runs");
    format!("{id} {} {} {}", start_of(id), namespace.display(), machine.trim())
}

/// When a process started, in clock ticks since the boot.
fn start_of(id: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).expect("it runs");
    let (_, rest) = stat.rsplit_once(')').expect("its name ends");
    rest.split_whitespace().nth(19).and_then(|start| start.parse().ok()).expect("field 22 is a number")
}
