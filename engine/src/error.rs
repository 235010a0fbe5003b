//! Why a run could not be: causes, and what to do about each.
//!
//! A fallback that works is not an error but a [`crate::facts::Degraded`]; an error ends the run before it
//! has a result, so no finished result is ever lost to one.

use std::net::SocketAddr;

use thiserror::Error;

use crate::refusal;

/// Who has to act on an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The environment: kernel, rights, limits.
    Environment,
    /// The other end, or the network between.
    Peer,
    /// The caller.
    Usage,
}

/// A run that could not be.
#[derive(Debug, Error)]
pub enum Error {
    /// An option is out of range.
    #[error("{option} is out of range: it may be {range}")]
    Plan {
        /// Which one.
        option: &'static str,
        /// What it may be.
        range: &'static str,
    },
    /// A system call of the set-up failed.
    #[error("{call} failed while {doing}: {source}; {}", refusal::of_call(.call, .source, .hint).1)]
    System {
        /// The call.
        call: &'static str,
        /// What it was for.
        doing: &'static str,
        /// The kernel's answer.
        source: std::io::Error,
        /// What to do next where the errno does not say more; see [`Error::remedy`].
        hint: &'static str,
    },
    /// io_uring was asked for and is refused.
    #[error("io_uring cannot be used: {reason}; {hint}")]
    UringRefused {
        /// What io_uring_setup answered; `None` when it was granted but cannot do what a run needs.
        errno: Option<i32>,
        /// The errno's name, and what the system says about it.
        reason: String,
        /// The setting that decides it.
        setting: &'static str,
        /// The next command.
        hint: &'static str,
    },
    /// The address cannot be bound.
    #[error("cannot bind the data socket to {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// The data connection could not be made.
    #[error("cannot connect to the data port {remote}: {source}")]
    Connect {
        /// Where to.
        remote: SocketAddr,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// The data socket met itself: both ends have the same address and port.
    #[error(
        "the data socket connected to itself at {0}: both ends share one address and one port; \
         give the two ends different addresses or different data ports"
    )]
    SelfConnected(SocketAddr),
}

impl Error {
    /// The arena cannot be mapped.
    pub(crate) fn memory(source: std::io::Error) -> Self {
        Self::System {
            call: "mmap",
            doing: "mapping the payload buffers",
            source,
            hint: "raise the memory limit (ulimit -v, or the container's), or use a smaller message size",
        }
    }

    /// Who has to act.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Plan { .. } | Self::SelfConnected(_) => ErrorClass::Usage,
            Self::System { .. } | Self::UringRefused { .. } | Self::Bind { .. } => ErrorClass::Environment,
            Self::Connect { .. } => ErrorClass::Peer,
        }
    }

    /// The setting that decides it and what to do next, of what the kernel refused for a reason of its own.
    pub fn remedy(&self) -> Option<(&str, &str)> {
        match self {
            Self::System { call, source, hint, .. } => Some(refusal::of_call(call, source, hint)),
            Self::UringRefused { setting, hint, .. } => Some((setting, hint)),
            Self::Bind { .. } | Self::Connect { .. } | Self::Plan { .. } | Self::SelfConnected(_) => None,
        }
    }

    /// The errno behind it, if there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::System { source, .. } | Self::Bind { source, .. } | Self::Connect { source, .. } => {
                source.raw_os_error()
            }
            Self::UringRefused { errno, .. } => *errno,
            Self::Plan { .. } | Self::SelfConnected(_) => None,
        }
    }
}
