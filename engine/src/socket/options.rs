//! The options of a data socket, each as it was asked for.
//!
//! Sets them and says what became of them. Which of them a run is to have is for its plan.

use std::io;
use std::os::fd::AsRawFd;

use socket2::Socket;

use crate::facts::{Degraded, PacketClass};
use crate::plan::{Role, SocketOptions};
use crate::sys::{self, error_name, option};

/// Who is told how each option went.
pub(super) type Told<'a> = dyn FnMut(&'static str, io::Result<()>) + 'a;

/// Sets every option that was asked for; one that the kernel refuses stays as it was. What it made of those
/// that it may change.
pub(super) fn set_options(
    socket: &Socket,
    v4: bool,
    options: &SocketOptions,
    tried: &mut Told<'_>,
) -> PacketClass {
    let fd = socket.as_raw_fd();
    if let Some(bytes) = options.send_buffer {
        tried("SO_SNDBUF", socket.set_send_buffer_size(bytes as usize));
    }
    if let Some(bytes) = options.receive_buffer {
        tried("SO_RCVBUF", socket.set_recv_buffer_size(bytes as usize));
    }
    if options.keepalive {
        tried("SO_KEEPALIVE", socket.set_keepalive(true));
    }
    if options.dont_route {
        tried("SO_DONTROUTE", sys::set_option(fd, option::DONT_ROUTE, 1));
    }
    let mut set_and_read = |feature, name, asked: Option<i32>| {
        let result = sys::set_option(fd, name, asked?);
        let taken = result.is_ok();
        tried(feature, result);
        taken.then(|| sys::get_option(fd, name).ok()).flatten()
    };
    let precedence = if v4 { option::IP_TYPE_OF_SERVICE } else { option::IPV6_TRAFFIC_CLASS };
    // A type of service brings a priority of its own, which netperf does not look at either: each is read
    // before the next is set.
    PacketClass {
        priority: set_and_read("SO_PRIORITY", option::PRIORITY, options.priority),
        type_of_service: set_and_read("type of service", precedence, options.type_of_service),
    }
}

/// The options that only TCP has. An accepted connection inherits them from its listener.
pub(super) fn set_tcp_options(socket: &Socket, role: Role, options: &SocketOptions, tried: &mut Told<'_>) {
    if options.no_delay {
        tried("TCP_NODELAY", socket.set_tcp_nodelay(true));
    }
    if options.cork && role == Role::Send {
        tried("TCP_CORK", socket.set_tcp_cork(true));
    }
    if let Some(bytes) = options.max_segment {
        tried("TCP_MAXSEG", socket.set_tcp_mss(bytes));
    }
    if let Some(name) = &options.congestion_control {
        tried("TCP_CONGESTION", socket.set_tcp_congestion(name.as_bytes()));
    }
}

/// Records an option that was refused.
pub(super) fn note(feature: &'static str, result: io::Result<()>, degraded: &mut Vec<Degraded>) {
    if let Err(error) = result {
        degraded.push(Degraded { feature, reason: error_name(&error), instead: "the system's default" });
    }
}
