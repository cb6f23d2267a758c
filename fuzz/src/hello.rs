//! What agents send: protobuf, then the checks of the one message that has any.

use prost::Message as _;
use xprober_proto::{Addresses, Hello, ProbeKind, wire};

use crate::Target;
use crate::plan::can_be_logged;

/// Messages of an agent.
pub const TARGET: Target = Target {
    name: "hello",
    run,
    seeds,
};

/// Decodes a message.
///
/// # Panics
///
/// When what passed the checks does not come back the same over the wire, or a refusal cannot be logged.
pub fn run(bytes: &[u8]) {
    let Ok(message) = wire::AgentMessage::decode(bytes) else {
        return;
    };
    let Some(wire::agent_message::Body::Hello(hello)) = message.body else {
        return;
    };
    match Hello::try_from(hello) {
        Ok(hello) => assert_eq!(Hello::try_from(wire::Hello::from(&hello)).as_ref(), Ok(&hello)),
        Err(error) => can_be_logged(&error),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let v4 = Some([10, 0, 0, 1].into());
    let v6 = "fd00::1".parse().ok();
    let hello = Hello {
        agent_id: "vm1".parse().expect("a valid id"),
        region: "region-a".parse().expect("a valid region"),
        zone: "a-1".parse().ok(),
        addresses: Addresses::new(v4, v6).expect("valid addresses"),
        kinds: ProbeKind::ALL.to_vec(),
        version: "0.1.0".to_owned(),
        tcp_port: std::num::NonZeroU16::new(6_003),
    };
    let body = Some(wire::agent_message::Body::Hello((&hello).into()));
    vec![wire::AgentMessage { body }.encode_to_vec()]
}
