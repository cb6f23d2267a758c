//! What the echoes to one host say together.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::ledger::Jitter;
use crate::probe::{EchoResult, Outcome, Reason, Stamp};

/// Most round-trip times that are kept of one host, the newest; beyond, the oldest no longer count for the p99.
pub const MAX_KEPT: usize = 100_000;

/// Echoes to one host.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    counts: BTreeMap<(Outcome, Option<Reason>), u64>,
    duplicates: u64,
    in_flight: u64,
    times: Times,
    stamped: u64,
}

impl Summary {
    /// Notes that an echo was handed over to leave.
    pub const fn depart(&mut self) {
        self.in_flight += 1;
    }

    /// Adds one result, of an echo that was noted before.
    pub fn add(&mut self, result: &EchoResult) {
        self.in_flight = self.in_flight.saturating_sub(1);
        *self.counts.entry((result.outcome, result.reason)).or_default() += 1;
        self.duplicates += u64::from(result.duplicates);
        if let Some(rtt) = result.rtt {
            self.times.add(rtt);
            self.stamped += u64::from(result.stamp == Stamp::Kernel);
        }
    }

    /// Leaves out the echoes of which no result came.
    pub const fn forget_in_flight(&mut self) {
        self.in_flight = 0;
    }

    /// Echoes sent, those in flight included.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.counts.values().sum::<u64>() + self.in_flight
    }

    /// Echoes that were answered.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.count(Outcome::received)
    }

    /// Copies of replies.
    #[must_use]
    pub const fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Tells whether echoes ended, and none of them ever left.
    #[must_use]
    pub fn nothing_left(&self) -> bool {
        let send_errors = self.count(|outcome| outcome == Outcome::SendError);
        send_errors > 0 && send_errors == self.counts.values().sum::<u64>()
    }

    /// Share of the echoes that say something about the network and were not answered; `None` when none does.
    #[must_use]
    pub fn loss(&self) -> Option<f64> {
        let judged = self.count(Outcome::judges_network);
        (judged > 0).then(|| as_float(judged - self.received()) / as_float(judged))
    }

    /// How many echoes ended how, and why.
    pub fn counts(&self) -> impl Iterator<Item = (Outcome, Option<Reason>, u64)> {
        self.counts
            .iter()
            .map(|((outcome, reason), count)| (*outcome, *reason, *count))
    }

    /// Round-trip times of replies in time and late ones.
    #[must_use]
    pub const fn times(&self) -> &Times {
        &self.times
    }

    /// Who took the times: `kernel`, `user` or `mixed`; `None` without a reply.
    #[must_use]
    pub const fn stamp(&self) -> Option<&'static str> {
        match (self.stamped, self.times.count) {
            (_, 0) => None,
            (0, _) => Some(Stamp::User.as_str()),
            (stamped, count) if stamped == count => Some(Stamp::Kernel.as_str()),
            (_, _) => Some("mixed"),
        }
    }

    fn count(&self, wanted: impl Fn(Outcome) -> bool) -> u64 {
        let wanted = self.counts().filter(|(outcome, _, _)| wanted(*outcome));
        wanted.map(|(_, _, count)| count).sum()
    }
}

/// Round-trip times of one host, in the order of the replies.
#[derive(Debug, Clone, Default)]
pub struct Times {
    count: u64,
    nanos: u128,
    last: Option<Duration>,
    min: Option<Duration>,
    max: Option<Duration>,
    jitter: Jitter,
    kept: VecDeque<Duration>,
}

impl Times {
    fn add(&mut self, rtt: Duration) {
        self.count += 1;
        self.nanos += rtt.as_nanos();
        self.last = Some(rtt);
        self.min = Some(self.min.map_or(rtt, |min| min.min(rtt)));
        self.max = self.max.max(Some(rtt));
        self.jitter.observe(rtt);
        if self.kept.len() == MAX_KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(rtt);
    }

    /// Of the last reply.
    #[must_use]
    pub const fn last(&self) -> Option<Duration> {
        self.last
    }

    /// The least.
    #[must_use]
    pub const fn min(&self) -> Option<Duration> {
        self.min
    }

    /// The greatest.
    #[must_use]
    pub const fn max(&self) -> Option<Duration> {
        self.max
    }

    /// The mean.
    #[must_use]
    pub fn average(&self) -> Option<Duration> {
        let nanos = self.nanos.checked_div(u128::from(self.count))?;
        u64::try_from(nanos).ok().map(Duration::from_nanos)
    }

    /// The 99th percentile of the newest [`MAX_KEPT`].
    #[must_use]
    pub fn p99(&self) -> Option<Duration> {
        let mut kept: Vec<Duration> = self.kept.iter().copied().collect();
        percentile(&mut kept, 99)
    }

    /// The interarrival jitter of RFC 3550; `None` before the second reply.
    #[must_use]
    pub fn jitter(&self) -> Option<Duration> {
        self.jitter.get()
    }
}

/// The least of the times that at least `percent` of 100 of them do not exceed (nearest rank); reorders them. `None` of none.
#[must_use]
pub fn percentile(times: &mut [Duration], percent: usize) -> Option<Duration> {
    let rank = (times.len() * percent).div_ceil(100).max(1);
    let index = rank.min(times.len()).checked_sub(1)?;
    Some(*times.select_nth_unstable(index).1)
}

#[expect(clippy::cast_precision_loss, reason = "nobody counts 2^53 echoes by hand")]
const fn as_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use xprober_proto::{IcmpSpec, ProbeSpec, Target};

    use super::*;

    /// A summary of results that ended so, with their times in milliseconds.
    pub(in crate::ping) fn summary(results: &[(Outcome, Option<Reason>, Option<u64>)]) -> Summary {
        let target = Arc::new(Target {
            id: "t".parse().unwrap(),
            name: "t".to_owned(),
            region: "here".parse().unwrap(),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            probe: ProbeSpec::Icmp(IcmpSpec::new("10.0.0.1".parse().unwrap(), 56)),
        });
        let mut summary = Summary::default();
        for (outcome, reason, rtt) in results {
            summary.depart();
            summary.add(&EchoResult {
                rtt: rtt.map(Duration::from_millis),
                stamp: Stamp::Kernel,
                ..EchoResult::failed(Arc::clone(&target), *outcome, *reason)
            });
        }
        summary
    }

    #[test]
    fn our_own_faults_are_no_loss() {
        let mixed = summary(&[
            (Outcome::Ok, None, Some(10)),
            (Outcome::Late, None, Some(30)),
            (Outcome::Lost, None, None),
            (Outcome::Unreachable, Some(Reason::HostUnreachable), None),
            (Outcome::SendError, Some(Reason::NoRoute), None),
            (Outcome::Stalled, Some(Reason::Gap), None),
        ]);
        assert_eq!((mixed.sent(), mixed.received(), mixed.loss()), (6, 2, Some(0.5)));
        assert!(!mixed.nothing_left());
        let unsent = summary(&[(Outcome::SendError, Some(Reason::NoRoute), None)]);
        assert_eq!((unsent.loss(), unsent.nothing_left()), (None, true));
    }

    #[test]
    fn times_are_those_of_all_replies() {
        let all = summary(&[10, 40, 20].map(|rtt| (Outcome::Ok, None, Some(rtt))));
        let times = all.times();
        let read = [times.last(), times.average(), times.min(), times.max(), times.p99()];
        // Differences of 30 and 20 ms: 30/16, then 15/16 of that and 20/16.
        assert_eq!(times.jitter(), Some(Duration::from_nanos(3_007_812)));
        let millis = read.map(|time| time.map(|time| time.as_micros()));
        assert_eq!(millis, [20_000, 23_333, 10_000, 40_000, 40_000].map(Some));
        assert_eq!(Summary::default().times().average(), None);
    }

    #[test]
    fn an_echo_in_flight_is_sent_and_not_yet_lost() {
        let mut summary = summary(&[(Outcome::Ok, None, Some(1))]);
        summary.depart();
        assert_eq!((summary.sent(), summary.loss()), (2, Some(0.0)));
        summary.forget_in_flight();
        assert_eq!(summary.sent(), 1);
    }

    #[test]
    fn one_time_that_we_took_ourselves_makes_the_source_mixed() {
        let mut summary = summary(&[(Outcome::Ok, None, Some(1))]);
        assert_eq!(summary.stamp(), Some("kernel"));
        summary.stamped = 0;
        assert_eq!(summary.stamp(), Some("user"));
        (summary.stamped, summary.times.count) = (1, 2);
        assert_eq!(summary.stamp(), Some("mixed"));
        assert_eq!(Summary::default().stamp(), None);
    }

    #[test]
    fn the_newest_times_are_kept() {
        let mut times = Times::default();
        (0..=MAX_KEPT).for_each(|_| times.add(Duration::from_millis(1)));
        assert_eq!((times.kept.len(), times.count), (MAX_KEPT, 100_001));
    }

    proptest! {
        #[test]
        fn a_percentile_is_the_nearest_rank_of_the_sorted_times(
            nanos in prop::collection::vec(0_u64..1000, 1..300),
            percent in 0_usize..=100,
        ) {
            let mut times: Vec<Duration> = nanos.iter().copied().map(Duration::from_nanos).collect();
            let chosen = percentile(&mut times, percent).unwrap();
            let share = |fits: fn(&Duration, &Duration) -> bool| {
                100 * times.iter().filter(|time| fits(time, &chosen)).count()
            };
            prop_assert!(share(|time, chosen| time <= chosen) >= percent * times.len());
            prop_assert!(percent == 0 || share(|time, chosen| time < chosen) < percent * times.len());
        }
    }

    #[test]
    fn nothing_has_no_percentile() {
        assert_eq!(percentile(&mut [], 99), None);
    }
}
