//! netperf's control channel as sans-I/O state machines.
//!
//! This crate turns bytes into messages and messages into decisions, for both ends of a netperf 2.7.0
//! control connection. It does not open a socket, read a clock, start a thread or name a file; whoever owns
//! those moves the bytes, runs the tests and finds random numbers. It depends on nothing but `core`, `alloc`
//! and the arithmetic of [`auth`].
//!
//! ```text
//! bytes -> FrameReader -> Frame -> Server::on -> ServerOutput     (the netserver's end)
//!                                  Client::on -> ClientOutput     (the netperf's end)
//! ```
//!
//! One test, in frames of [`FRAME_BYTES`] bytes; the client asks for it by a [`TestRequest`]:
//!
//! ```text
//! client                                          server
//! Start      -> Send(request)      ------------>  Frame    -> Prepare(spec)
//! Frame      -> Run(offer)         <------------  Prepared -> ReplyThenRun(response)
//!               the data connection runs
//! Ran        -> Wait
//! Frame      -> Finished(results)  <------------  Ran      -> Reply(results)
//! ```
//!
//! Both machines are in lockstep: an input is consumed together with the machine, and exactly one output
//! comes back with the machine's next state. A [`Fault`] ends the machine; the connection is then closed.
//!
//! [`layout`] is the one place that knows how a message becomes bytes; [`omni`], [`classic`], [`admin`] and
//! [`native`] list the messages, [`code`] their numbers. How a passphrase is proven is [`auth`]'s.
#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::expect_used,
    clippy::host_endian_bytes,
    clippy::indexing_slicing,
    clippy::little_endian_bytes,
    clippy::panic,
    clippy::string_slice,
    clippy::unreachable,
    clippy::unwrap_used
)]
#![expect(
    clippy::large_enum_variant,
    reason = "frames are moved a few times a test; a box would buy nothing"
)]

extern crate alloc;

pub mod address;
pub mod admin;
mod answer;
pub mod auth;
pub mod classic;
mod classic_test;
mod client;
pub mod code;
pub mod errno;
mod fault;
mod frame;
pub mod layout;
pub mod native;
pub mod omni;
mod omni_test;
mod remote;
mod request;
mod server;
mod spec;
mod wishes;

pub use auth::Nonce;
pub use classic::ClassicRequest;
pub use classic_test::ClassicTest;
pub use client::{Client, ClientConfig, ClientInput, ClientOutput};
pub use code::{RequestCode, ResponseCode};
pub use fault::{Fault, Party};
pub use frame::{FRAME_BYTES, Frame, FrameReader, LEGACY_FRAME_BYTES};
pub use native::{NativeDetail, NativeReport, Report};
pub use omni::OmniRequest;
pub use omni_test::OmniTest;
pub use remote::{CpuReport, PeerRelease, RemoteOffer, RemoteResults};
pub use request::TestRequest;
pub use server::{Offer, Results, Server, ServerConfig, ServerInput, ServerOutput};
pub use spec::{Family, IpVersion, Length, Limits, Pacing, Refusal, Test, TestSpec};
pub use wishes::{SendPath, Wishes, Without};
