//! Runs of the engine over loopback, on every backend and on every degraded path of it.
#![allow(clippy::disallowed_methods, reason = "a test ends with whoever runs it")]

mod bursts;
mod classic;
mod connections;
mod datagrams;
mod edges;
mod flows;
mod low_water;
mod maerts;
mod payload;
mod progress;
mod segments;
mod sendfile;
mod stream;
mod support;
mod transactions;
