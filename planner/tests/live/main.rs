//! A planner on loopback with real streams and real HTTP.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails loudly on everything it does not expect, also outside of its own function"
)]

mod support;

#[path = "../../../agent/tests/common/undisturbed.rs"]
mod undisturbed;

mod stream;

mod admin;

mod values;
