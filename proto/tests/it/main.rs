//! Tests of the control channel: recorded conversations, the two machines against each other, and arbitrary
//! bytes.

mod auth;
mod classic;
mod classic_transactions;
mod command;
mod corpus;
mod golden;
mod golden_client;
mod golden_server;
mod hostile;
mod native;
mod pair;
mod server;
mod spec;
mod stream;
mod tables;
