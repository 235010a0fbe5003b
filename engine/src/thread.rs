//! Starting threads in a process that has to outlive a shortage of memory.
//!
//! The standard library maps a stack for signals as soon as a thread runs, and aborts the process where that
//! is refused. So the room for it is looked for beforehand, where a refusal can be told.

use std::io;
use std::thread::{Builder, JoinHandle};

use crate::arena;

/// Room for a thread's stack of 2 MiB and what the start takes besides, with as much again for another thread
/// that starts just then.
const ROOM: usize = 8 << 20;

/// Which call refused a thread, by what [`spawn`] says of it: memory is looked for first.
pub fn refusing_call(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::OutOfMemory { "mmap" } else { "clone3" }
}

/// Starts a thread of this name.
///
/// # Errors
/// The kernel's where it refuses the memory or the thread. EAGAIN may mean either.
pub fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    arena::check_room(ROOM)?;
    Builder::new().name(name.to_owned()).spawn(work)
}
