//! TCP connect: the time from the SYN to the answer, for paths and hosts that filter ICMP.
//!
//! ```text
//!   Due --> [task] -- TcpSpec, address, source port --> [connect] -- SYN --> network
//!             |                                            |
//!             |                              Landing <-----+   [info]: the kernel's own time of the handshake
//!             v                                 v
//!           Event <---- EchoResult -------- [judge]   [errors]: what a system call's error means
//! ```
//!
//! **One probe is one SYN.** Loss is worth something only if each probe is one packet out and one back. The kernel sends a
//! second SYN after 1 s (RFC 6298), and a connection that needed it is up after 1 s although its first packet was lost. So
//! a probe gives up just before ([`judge::PATIENCE`]): no second SYN leaves, whatever the timeout of the target. If this
//! process is late and one leaves all the same, the kernel says so and the probe is `lost`, never `ok` after one second.
//! A timeout above that therefore changes nothing, and a path whose round trip takes a second cannot be measured by connects.
//!
//! **Whose clock.** On Linux the time of an established connection is the kernel's (`TCP_INFO`): its only sample at that
//! point, the SYN to the SYN-ACK, in microseconds, independent of when this process was woken; the result says
//! `stamp=kernel`. A refusal has no such sample, so its time ends when this process noticed, and holds its delay
//! (`stamp=user`), as does every time on other systems.
//!
//! **What the answers mean.** SYN-ACK: `ok`. RST: `ok` with the reason `refused`, as the host was reached. ICMP: `unreachable`,
//! as exactly as the kernel tells a TCP socket: "host unreachable" also stands for an IPv4 filter that says so and for a
//! TTL that ran out, and "port unreachable", the default of `reject` rules, reads as `refused`. Silence: `lost`, also when a
//! local rule drops the SYN, about which the kernel keeps silent. Errors before the SYN left: `send_error`. Where this
//! process (or the whole machine) did not run for [`gaps::GAP`], silence and our own times are `stalled`; the times and
//! answers that the kernel took stay good.
//!
//! **Ports.** Every probe has a new source port, so over time it takes every one of several equal-cost paths, or walks a
//! fixed set of ports, so that the same path is met again ([`ports`]). Connections are always reset, never closed
//! (`SO_LINGER` 0): one packet instead of three, no `TIME_WAIT` on either side, where a thousand probes per second would
//! keep 60,000, and a fixed port is free again at once. Servers see a connection that was reset before it said anything.

pub mod judge;

pub mod ports;

pub mod errors;

pub mod gaps;

pub mod limit;

mod info;

mod connect;

pub mod task;
