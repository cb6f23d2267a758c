//! How far reported round-trip times are from those on the wire; values only.
//!
//! A contender's echoes to one destination are told apart by their order, which all of them know: fping and surge-ping send
//! nothing in the payload that would tell more.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::measure::count;
use super::plan::Contender;
use crate::capture::{EchoKey, RoundTrip};

/// A round-trip time as a contender reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reported {
    /// Whom it asked.
    pub destination: Ipv4Addr,
    /// How many echoes it had sent there before.
    pub ordinal: usize,
    /// What it found.
    pub rtt: Duration,
}

/// Writes one reported time per line: destination, ordinal, nanoseconds.
#[must_use]
pub fn write(reported: &[Reported]) -> String {
    let mut text = String::new();
    for Reported {
        destination,
        ordinal,
        rtt,
    } in reported
    {
        let _infallible = writeln!(text, "{destination} {ordinal} {}", rtt.as_nanos());
    }
    text
}

/// Reads what [`fn@write`] wrote; other lines are left out.
#[must_use]
pub fn read(text: &str) -> Vec<Reported> {
    let line = |line: &str| {
        let mut fields = line.split(' ');
        Some(Reported {
            destination: fields.next()?.parse().ok()?,
            ordinal: fields.next()?.parse().ok()?,
            rtt: Duration::from_nanos(fields.next()?.parse().ok()?),
        })
    };
    text.lines().filter_map(line).collect()
}

/// Reads fping's lines `10.3.1.0 : [4], 64 bytes, 0.512 ms (0.498 avg, 0% loss)`.
#[must_use]
pub fn read_fping(text: &str) -> Vec<Reported> {
    let line = |line: &str| {
        let (destination, rest) = line.split_once(" : [")?;
        let (ordinal, rest) = rest.split_once(']')?;
        let (_, rest) = rest.split_once("bytes, ")?;
        let milliseconds: f64 = rest.split(' ').next()?.parse().ok()?;
        Some(Reported {
            destination: destination.trim().parse().ok()?,
            ordinal: ordinal.parse().ok()?,
            rtt: Duration::try_from_secs_f64(milliseconds / 1e3).ok()?,
        })
    };
    text.lines().filter_map(line).collect()
}

/// Differences between reported and captured times in microseconds, without the first `skip` echoes to each destination.
/// What is missing on either side is left out.
#[must_use]
pub fn errors(reported: &[Reported], trips: &BTreeMap<EchoKey, RoundTrip>, skip: usize) -> Vec<f64> {
    let mut by_destination = BTreeMap::<IpAddr, Vec<&RoundTrip>>::new();
    for (key, trip) in trips {
        by_destination.entry(key.destination).or_default().push(trip);
    }
    for trips in by_destination.values_mut() {
        trips.sort_by_key(|trip| trip.request);
    }
    let error = |one: &Reported| {
        let trip = by_destination.get(&IpAddr::V4(one.destination))?.get(one.ordinal)?;
        Some(trip.time()?.abs_diff(one.rtt).as_secs_f64() * 1e6)
    };
    reported
        .iter()
        .filter(|one| one.ordinal >= skip)
        .filter_map(error)
        .collect()
}

/// All differences, by contender and number of busy processes beside it.
#[derive(Debug, Clone, Default)]
pub struct RttSheet(BTreeMap<(Contender, u32), Vec<f64>>);

impl RttSheet {
    /// Adds the differences of one run, in microseconds.
    pub fn add(&mut self, contender: Contender, busy: u32, errors: Vec<f64>) {
        self.0.entry((contender, busy)).or_default().extend(errors);
    }

    /// Contenders that were measured.
    #[must_use]
    pub fn contenders(&self) -> Vec<Contender> {
        let mut contenders: Vec<_> = self.0.keys().map(|(contender, _)| *contender).collect();
        contenders.dedup();
        contenders
    }

    /// Numbers of busy processes that were measured.
    #[must_use]
    pub fn busy(&self) -> Vec<u32> {
        let mut busy: Vec<_> = self.0.keys().map(|(_, busy)| *busy).collect();
        busy.sort_unstable();
        busy.dedup();
        busy
    }

    /// A quantile of the differences in microseconds.
    #[must_use]
    pub fn quantile(&self, contender: Contender, busy: u32, quantile: f64) -> Option<f64> {
        super::rtt::quantile(self.0.get(&(contender, busy))?, quantile)
    }
}

/// The smallest value that at least this share of the values does not exceed.
#[must_use]
pub fn quantile(values: &[f64], quantile: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let mut ranked = (1_u64..).zip(sorted.iter());
    let wanted = quantile * count(values.len() as u64);
    let found = ranked.find(|(rank, _)| count(*rank) >= wanted);
    found.map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: Ipv4Addr = Ipv4Addr::new(10, 3, 1, 0);

    fn trips(times: &[(u64, u64)]) -> BTreeMap<EchoKey, RoundTrip> {
        let trip = |(index, (request, rtt)): (u16, &(u64, u64))| {
            let request = Duration::from_micros(*request);
            let trip = RoundTrip {
                request,
                reply: (*rtt > 0).then_some(request + Duration::from_micros(*rtt)),
                requests: 1,
                replies: 1,
            };
            // Sequence numbers need not follow the order of time.
            (EchoKey::new(FAR.into(), 1000 - index, &[]), trip)
        };
        (0..).zip(times).map(trip).collect()
    }

    const fn reported(ordinal: usize, micros: u64) -> Reported {
        Reported {
            destination: FAR,
            ordinal,
            rtt: Duration::from_micros(micros),
        }
    }

    #[test]
    fn times_are_compared_in_the_order_of_sending() {
        let trips = trips(&[(1, 500), (2, 600), (3, 0), (4, 800)]);
        let reported = [
            reported(0, 900),
            reported(1, 590),
            reported(2, 700),
            reported(3, 830),
            reported(4, 1),
        ];
        let found: Vec<_> = errors(&reported, &trips, 1).iter().map(|error| error.round()).collect();
        assert_eq!(found, [10.0, 30.0]);
    }

    #[test]
    fn lines_of_fping_are_understood() {
        let text = "10.3.1.0 : [4], 64 bytes, 0.512 ms (0.498 avg, 0% loss)\n10.3.1.0 : [5], timed out (0.498 avg, 16% loss)\n\n\
                    10.3.1.0 : xmt/rcv/%loss = 6/5/16%, min/avg/max = 0.1/0.2/0.3\n";
        assert_eq!(read_fping(text), [reported(4, 512)]);
    }

    #[test]
    fn written_times_read_back() {
        let times = [reported(0, 1), reported(7, 123_456)];
        assert_eq!(read(&write(&times)), times);
        assert_eq!(read("garbage\n"), []);
    }

    #[test]
    fn quantile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=100_u32).rev().map(f64::from).collect();
        assert_eq!(quantile(&values, 0.5), Some(50.0));
        assert_eq!(quantile(&values, 0.99), Some(99.0));
        assert_eq!(quantile(&values, 1.0), Some(100.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
