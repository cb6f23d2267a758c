//! `limits:`, which both files have: the planner asks for them, the agent holds to its own.

use std::time::Duration;

use xprober_proto::Limits;

use crate::duration;
use crate::reader::Mapping;
use crate::value::{InvalidValue, Parsed, duration_within, whole_number};

/// Rate that the demo's smallest machines keep up with, payload that fits one Ethernet frame (1500 - 20 - 8), interval
/// of a polite ping.
const DEFAULT: Limits = Limits {
    max_probes_per_second: 2_000,
    max_payload_bytes: 1_472,
    min_interval: Duration::from_millis(100),
};

/// Largest ICMP payload of an IPv4 packet: 65535 - 20 - 8.
const MAX_PAYLOAD_BYTES: u16 = 65_507;

/// Longest interval or timeout of anything, so that arithmetic on them never overflows.
pub(crate) const LONGEST: Duration = Duration::from_hours(24);

/// Reads the three keys; the agent has more beside them.
pub(crate) fn read(limits: &mut Mapping<'_>) -> Limits {
    Limits {
        max_probes_per_second: limits
            .take("max_probes_per_second")
            .read(whole_number(1, 1_000_000))
            .unwrap_or(DEFAULT.max_probes_per_second),
        max_payload_bytes: limits
            .take("max_payload")
            .read(whole_number(0, MAX_PAYLOAD_BYTES))
            .unwrap_or(DEFAULT.max_payload_bytes),
        min_interval: limits
            .take("min_interval")
            .read(duration_within(Duration::from_millis(1), LONGEST))
            .unwrap_or(DEFAULT.min_interval),
    }
}

/// Parses the interval of a target.
pub(crate) fn interval(limits: Limits) -> impl Fn(&str) -> Parsed<Duration> {
    move |text| {
        let interval = duration_within(Duration::ZERO, LONGEST)(text)?;
        if interval >= limits.min_interval {
            return Ok(interval);
        }
        Err(InvalidValue::new(format!(
            "{} is under limits.min_interval: use {} to {}",
            duration::format(interval),
            duration::format(limits.min_interval),
            duration::format(LONGEST)
        )))
    }
}

/// Parses the payload of an echo.
pub(crate) fn payload(limits: Limits) -> impl Fn(&str) -> Parsed<u16> {
    move |text| {
        let payload = whole_number(0, MAX_PAYLOAD_BYTES)(text)?;
        if payload <= limits.max_payload_bytes {
            return Ok(payload);
        }
        Err(InvalidValue::new(format!(
            "{payload} is over limits.max_payload: use 0 to {}",
            limits.max_payload_bytes
        )))
    }
}
