//! Runs of the engine over loopback, on every backend and on every degraded path of it.

mod edges;
mod stream;
mod support;
