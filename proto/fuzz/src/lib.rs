//! What a fuzz target does with its input, and what must hold for any.
//!
//! Each function takes arbitrary bytes and panics where the protocol breaks a promise; a target of cargo-fuzz
//! calls one of them, and so does an ordinary test with each file of its corpus (`proto/tests/it/corpus.rs`,
//! which has this crate's sources as a module). A file that made a target crash is a test as soon as it lies
//! in the corpus. Nothing here knows how inputs are made, which is the fuzzer's; `script` says how they are
//! read.

mod auth;
mod ctl_decode;
mod reply_decode;
pub mod script;
mod session_steps;
pub mod spec;

pub use auth::auth;
pub use ctl_decode::ctl_decode;
pub use reply_decode::reply_decode;
pub use session_steps::session_steps;

/// A target: its name, which is also that of the folder of its corpus, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 4] = [
    ("auth", auth),
    ("ctl_decode", ctl_decode),
    ("reply_decode", reply_decode),
    ("session_steps", session_steps),
];
