//! A planner on loopback with real streams and real HTTP.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails loudly, also outside of its own function"
)]

mod support;

mod stream;

mod admin;
