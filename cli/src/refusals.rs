//! What users are told where the environment refuses something: the whole texts, in one table.
//!
//! Each names the cause, the errno, what decides it and what to do next. Environments that cannot be made on
//! any machine stand here by what is known of them: the errno, and what the system says of itself. The tests
//! over processes make some of them (`cli/tests/it/faults.rs`, `cli/tests/it/run/places.rs`).

use std::io;
use std::path::Path;

use clap::Parser;
use ringperf_engine::Error as EngineError;
use ringperf_engine::refusal::{Refusal, System, of_ring};

use crate::environment::docker::{self, Answer};
use crate::error::{Class, Failure};
use crate::netserver::listen_refusal;
use crate::store;
use crate::trial;
use crate::trial::bridge::engine_failure;

fn os(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

fn engine(error: &EngineError) -> String {
    #[derive(Parser)]
    struct Words {
        #[command(flatten)]
        args: trial::Args,
    }
    engine_failure(error, &Words::parse_from(["run"]).args).to_string()
}

/// A refused ring, in a system that says this of itself.
fn ring(errno: i32, system: System) -> String {
    let Refusal { cause, setting, next } = of_ring(errno, &system);
    engine(&EngineError::UringRefused { errno: Some(errno), reason: cause, setting, hint: next })
}

fn sysctl(value: &str) -> System {
    System { io_uring_disabled: Some(value.to_owned()), seccomp: Some("0".to_owned()), ..System::default() }
}

fn sandboxed() -> System {
    System { seccomp: Some("2".to_owned()), ..sysctl("0") }
}

#[track_caller]
fn tells(told: impl ToString, expected: &[&str]) {
    let told = told.to_string();
    assert_eq!(told.lines().map(str::trim).collect::<Vec<_>>(), expected);
}

#[test]
fn a_ring_that_the_sysctl_refuses() {
    tells(
        ring(1, sysctl("1")),
        &[
            "ENV: cannot use io_uring: io_uring_setup: EPERM: kernel.io_uring_disabled is 1, which refuses \
             rings to all but CAP_SYS_ADMIN and one group (EPERM)",
            "decided by: the sysctls kernel.io_uring_disabled and kernel.io_uring_group",
            "next: sysctl -w kernel.io_uring_group=\"$(id -g)\"; or use --engine epoll",
        ],
    );
    tells(
        ring(1, sysctl("2")),
        &[
            "ENV: cannot use io_uring: io_uring_setup: EPERM: kernel.io_uring_disabled is 2, which refuses \
             rings to everybody (EPERM)",
            "decided by: the sysctl kernel.io_uring_disabled",
            "next: sysctl -w kernel.io_uring_disabled=0; or use --engine epoll",
        ],
    );
}

#[test]
fn a_ring_that_a_container_refuses() {
    let profile = "decided by: the seccomp profile of the container or service";
    let allow = "next: docker run --security-opt seccomp=FILE, a profile with io_uring_setup, io_uring_enter \
                 and io_uring_register; or use --engine epoll";
    tells(
        ring(1, sandboxed()),
        &[
            "ENV: cannot use io_uring: io_uring_setup: EPERM: a seccomp filter refuses it, as the default \
             profiles of Docker and containerd do (EPERM)",
            profile,
            allow,
        ],
    );
    tells(
        ring(38, sandboxed()),
        &[
            "ENV: cannot use io_uring: io_uring_setup: ENOSYS: a seccomp filter refuses it, as Podman's \
             does, or the kernel has no io_uring, as gVisor's (ENOSYS)",
            profile,
            allow,
        ],
    );
}

#[test]
fn a_ring_that_the_kernel_does_not_have() {
    tells(
        ring(38, System { io_uring_disabled: None, ..sysctl("0") }),
        &[
            "ENV: cannot use io_uring: io_uring_setup: ENOSYS: the kernel has no io_uring: built without \
             CONFIG_IO_URING, or gVisor's, which leaves it out (ENOSYS)",
            "decided by: CONFIG_IO_URING of the kernel, and the container's runtime",
            "next: grep IO_URING \"/boot/config-$(uname -r)\"; or use --engine epoll",
        ],
    );
    tells(
        ring(22, sysctl("0")),
        &[
            "ENV: cannot use io_uring: io_uring_setup: EINVAL: the kernel takes a ring of this kind not even \
             without flags: it is too old, or gVisor's (EINVAL)",
            "decided by: the kernel's release, 5.11 or later, and the container's runtime",
            "next: uname -r; or use --engine epoll",
        ],
    );
}

#[test]
fn a_ring_that_a_limit_or_a_policy_refuses() {
    tells(
        ring(12, System { locked_memory: Some("65536".to_owned()), ..sysctl("0") }),
        &[
            "ENV: cannot use io_uring: io_uring_setup: ENOMEM: rings and their buffers are locked memory, \
             whose limit is 65536 bytes (ENOMEM)",
            "decided by: the limit on locked memory (ulimit -l)",
            "next: ulimit -l unlimited, in a container docker run --ulimit memlock=-1; or use --engine epoll",
        ],
    );
    tells(
        ring(13, sysctl("0")),
        &[
            "ENV: cannot use io_uring: io_uring_setup: EACCES: a security module refuses it, as SELinux does \
             by its class io_uring (EACCES)",
            "decided by: the SELinux policy",
            "next: ausearch -m avc -ts recent shows the rule that is missing; or use --engine epoll",
        ],
    );
}

#[test]
fn no_thread_and_no_descriptor() {
    tells(
        engine(&EngineError::System {
            call: ringperf_engine::refusing_call(&os(11)),
            doing: "starting a worker thread",
            source: os(11),
            hint: "raise the limit on processes (ulimit -u, or the container's pids limit)",
        }),
        &[
            "ENV: cannot call clone3 while starting a worker thread: Resource temporarily unavailable \
             (EAGAIN)",
            "decided by: the limits on processes: ulimit -u, and pids.max of the container or service",
            "next: ulimit -u unlimited; in a container docker run --pids-limit -1, in a service \
             TasksMax=infinity",
        ],
    );
    tells(
        engine(&EngineError::System {
            call: "socket",
            doing: "opening the data socket",
            source: os(24),
            hint: "",
        }),
        &[
            "ENV: cannot call socket while opening the data socket: Too many open files (EMFILE)",
            "decided by: the limit on open files (ulimit -n)",
            "next: ulimit -n 65536, or LimitNOFILE= of the service",
        ],
    );
}

#[test]
fn a_port_that_is_taken_or_privileged() {
    let port = |port: u16, errno| listen_refusal(([0, 0, 0, 0], port).into(), &os(errno));
    tells(
        port(12_865, 98),
        &["bind 0.0.0.0:12865: EADDRINUSE: another process has the port, ss -ltnp 'sport = :12865' shows \
           which; -p chooses another"],
    );
    tells(
        port(80, 13),
        &["bind 0.0.0.0:80: EACCES: ports below net.ipv4.ip_unprivileged_port_start take \
           CAP_NET_BIND_SERVICE: sysctl net.ipv4.ip_unprivileged_port_start=80 gives it to all; -p chooses \
           another"],
    );
    let descriptors = port(80, 24);
    assert!(descriptors.starts_with("bind 0.0.0.0:80: EMFILE: ") && descriptors.contains("ulimit -n"));
    tells(
        port(80, 99),
        &["bind 0.0.0.0:80: EADDRNOTAVAIL: this host does not have the address, ip address show lists \
             those it has; -L chooses one"],
    );
}

#[test]
fn a_docker_that_is_missing_or_down_or_closed_to_us() {
    tells(
        docker::not_started("start a container", &os(2)),
        &[
            "ENV: cannot start a container: No such file or directory (ENOENT)",
            "decided by: docker, which has to be on PATH",
            "next: install Docker Engine (docs.docker.com/engine/install); or take the environment host",
        ],
    );
    let complains = |err: &str| {
        docker::refused("start a container", &["run"], &Answer { out: String::new(), err: err.to_owned() })
    };
    tells(
        complains(
            "Cannot connect to the Docker daemon at unix:///no/such.sock. Is the docker daemon running?",
        ),
        &[
            "ENV: cannot start a container: Cannot connect to the Docker daemon at unix:///no/such.sock. Is \
             the docker daemon running? (ENOENT)",
            "decided by: whether the Docker daemon runs, and DOCKER_HOST",
            "next: sudo systemctl start docker; then: docker version",
        ],
    );
    tells(
        complains("permission denied while trying to connect to the Docker daemon socket"),
        &[
            "ENV: cannot start a container: permission denied while trying to connect to the Docker daemon \
             socket (EACCES)",
            "decided by: the rights to the daemon's socket: root, and the group docker",
            "next: sudo usermod -aG docker \"$USER\", then log in anew; or run it as root",
        ],
    );
}

#[test]
fn a_store_on_a_disk_that_is_full_or_read_only() {
    let sqlite = |code| {
        let error = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
        store::failure("store the result", Path::new("/data/results.db"), &error)
    };
    tells(
        sqlite(rusqlite::ffi::SQLITE_FULL),
        &[
            "STORE: cannot store the result: Error code 13: database or disk is full",
            "decided by: the space on its disk",
            "next: df -h /data",
        ],
    );
    tells(
        sqlite(rusqlite::ffi::SQLITE_READONLY),
        &[
            "STORE: cannot store the result: Error code 8: attempt to write a readonly database",
            "decided by: the rights to the file and its folder, and whether its file system is mounted to be \
             written to",
            "next: ls -la /data; findmnt --target /data",
        ],
    );
    let failure = Failure::io(Class::Store, "open the store /data/results.db", &os(30));
    assert!(failure.to_string().ends_with("Read-only file system (EROFS)"), "{failure}");
}
