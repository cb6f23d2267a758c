//! What travels between the planner and the agents, and from the agents to the time-series database.
//!
//! ```text
//!   wire::planner (prost)  <-- convert -->  domain types (checked)       remote_write (prost)
//!        tonic stream                        planner and agent code         agent push only
//! ```
//!
//! Code of ours speaks in the domain types; the generated messages appear only at the two ends of the stream. What
//! comes off the wire passes [`convert`] exactly once and cannot be wrong afterwards.

pub mod name;

pub mod packet;

pub mod target;

pub mod plan;

pub mod hello;

pub mod convert;

pub use hello::{Addresses, Hello};
pub use name::{AgentId, InvalidName, Region, TargetId, Zone};
pub use packet::{Family, InterfaceName, InvalidInterface, MAX_DSCP, PacketOptions};
pub use plan::{Limits, Line, Plan, PlanUpdate, Revision};
pub use target::{HostName, HttpSpec, IcmpSpec, MAX_SOURCE_PORTS, ProbeKind, ProbeSpec, StatusRange, Target, TcpSpec};

/// Generated messages and services of `planner.proto`.
#[expect(
    missing_docs,
    unused_qualifications,
    clippy::allow_attributes_without_reason,
    clippy::pedantic,
    reason = "generated code; the .proto file documents every field"
)]
pub mod wire {
    tonic::include_proto!("xprober.planner.v1");
}

/// Generated messages of Prometheus Remote-Write 1.0.
#[expect(clippy::pedantic, reason = "generated code; the .proto file documents every field")]
pub mod remote_write {
    include!(concat!(env!("OUT_DIR"), "/prometheus.rs"));
}

/// Generated messages of Prometheus Remote-Write 2.0.
#[expect(clippy::pedantic, reason = "generated code; the .proto file documents every field")]
pub mod remote_write_v2 {
    include!(concat!(env!("OUT_DIR"), "/io.prometheus.write.v2.rs"));
}

/// Encoded `FileDescriptorSet` of all messages, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
