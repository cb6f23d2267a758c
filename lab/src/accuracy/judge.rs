//! What was told against what was on the wire; pure.

use std::time::Duration;

use super::band::{band, double};
use super::cases::Case;
use super::told::Told;
use super::wire::Wire;
use crate::wan::control::PathCounts;

/// Share of right rows that lie in their band; 1 % fall out of it by chance.
const CONFIDENCE: f64 = 0.99;
/// No healthy machine adds so much to a round trip.
const HELD_UP: Duration = Duration::from_millis(100);

/// One direction of a case: the probes of one agent to the other.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Regions: source, target.
    pub pair: [String; 2],
    /// What the agent measured.
    pub told: Told,
    /// What its wire saw.
    pub wire: Wire,
}

/// A case with both directions and what the WAN counted on both paths together.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// What was injected.
    pub case: Case,
    /// Both directions.
    pub rows: [Row; 2],
    /// The WAN's counters.
    pub wan: PathCounts,
}

/// The many targets without a fault.
#[derive(Debug, Clone, PartialEq)]
pub struct Crowd {
    /// How many.
    pub targets: u64,
    /// What the agent measured.
    pub told: Told,
    /// What its wire saw.
    pub wire: Wire,
    /// How often the agent was stopped.
    pub stops: u32,
    /// How long, in all.
    pub stopped: Duration,
    /// The time that it says it stood still, if it says so.
    pub told_stopped: Option<f64>,
    /// Most requests in any 100 ms: before the first stop, and after it.
    pub bursts: [u64; 2],
}

/// How much may be off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// Between the mean round-trip time as told and on the wire.
    pub told_rtt: Duration,
    /// Between the mean round-trip time as injected and as told.
    pub injected_rtt: Duration,
    /// Between the jitter as told and on the wire, as a share of the latter.
    pub jitter: f64,
    /// Most requests in 100 ms, as a multiple of what the schedule gives.
    pub burst: f64,
    /// Whether the lab is judged, too: losses outside their band are a fault, where the band of each row is so wide that all
    /// rows together stay inside with a probability of 99 %, and so is an echo of the many targets that the lab lost.
    pub lab: bool,
}

impl Tolerance {
    /// For a machine that does nothing else.
    pub const STRICT: Self = Self {
        told_rtt: Duration::from_micros(100),
        injected_rtt: Duration::from_millis(1),
        jitter: 0.1,
        burst: 2.5,
        lab: true,
    };
    /// For any machine: counts are exact, times are those of a busy one, and nothing is left to the dice.
    pub const GENEROUS: Self = Self {
        told_rtt: Duration::from_millis(5),
        injected_rtt: Duration::from_millis(50),
        jitter: 0.4,
        burst: 5.0,
        lab: false,
    };
}

impl Judged {
    /// Losses of a direction that the dice give with a probability of `confidence`; none for bursts.
    #[must_use]
    pub fn band(&self, row: &Row, confidence: f64) -> Option<[u64; 2]> {
        (!self.case.has_bursts()).then(|| band(row.told.judged(), self.case.loss(), confidence))
    }

    /// Whether chance decides how many are lost, within a band.
    #[must_use]
    pub fn is_up_to_the_dice(&self) -> bool {
        let loss = self.case.loss();
        !self.case.has_bursts() && loss > 0.0 && loss < 1.0
    }

    /// The band of one row alone, as the tables show it.
    #[must_use]
    pub fn plain_band(&self, row: &Row) -> Option<[u64; 2]> {
        self.band(row, CONFIDENCE)
    }

    /// Probes of both agents that the WAN's counters say were lost.
    #[must_use]
    pub fn lost_by_the_wan(&self) -> u64 {
        let dropped = if self.case.drops_damaged() {
            self.wan.corrupted
        } else {
            0
        };
        self.wan.lost + self.wan.cut + dropped
    }

    fn silent(&self, wire: &Wire) -> u64 {
        wire.silent + if self.case.drops_damaged() { wire.damaged } else { 0 }
    }

    fn damaged(&self, wire: &Wire) -> u64 {
        if self.case.drops_damaged() { 0 } else { wire.damaged }
    }
}

/// Everything that is wrong with a case.
#[must_use]
pub fn case(judged: &Judged, tolerance: &Tolerance, dice_rows: u64) -> Vec<String> {
    let mut wrong = wan(judged);
    for row in &judged.rows {
        let mut complaints = counts(judged, row);
        complaints.extend(rtt(judged, row, tolerance));
        complaints.extend(jitter(judged, row, tolerance));
        if tolerance.lab {
            complaints.extend(dice(judged, row, dice_rows));
        }
        let [from, to] = &row.pair;
        let named = complaints
            .into_iter()
            .map(|complaint| format!("{} ({from} to {to}): {complaint}", judged.case.name));
        wrong.extend(named);
    }
    wrong
}

/// The lab against itself: the wires must show what the WAN counted, or nothing can be said about the agents.
fn wan(judged: &Judged) -> Vec<String> {
    let both = |part: &dyn Fn(&Wire) -> u64| -> u64 { judged.rows.iter().map(|row| part(&row.wire)).sum() };
    let doubtful = both(&|wire| wire.doubtful);
    let mended = judged.wan.corrupted * u64::from(!judged.case.drops_damaged());
    let columns = [
        ("lost", judged.lost_by_the_wan(), both(&|wire| judged.silent(wire))),
        ("damaged", mended, both(&|wire| judged.damaged(wire))),
        ("duplicated", judged.wan.duplicated, both(&|wire| wire.copies)),
        ("dropped for want of room", judged.wan.overflowed, 0),
    ];
    let differ = columns
        .into_iter()
        .filter(|(_, counted, seen)| counted.abs_diff(*seen) > doubtful);
    let complain = differ.map(|(what, counted, seen)| {
        let name = judged.case.name;
        format!("{name}: the WAN counted {counted} packets {what}, the wires show {seen}: the lab's own fault")
    });
    complain.collect()
}

/// Every probe on the wire has one outcome, and the one that the wire shows; where the agent says that it was not running
/// well, it may have nothing to say.
fn counts(judged: &Judged, row: &Row) -> Vec<String> {
    let (told, wire) = (&row.told, &row.wire);
    let mut wrong = outcomes(told, wire, judged.silent(wire), judged.damaged(wire));
    let loose = told.stalled_on_the_wire() + wire.doubtful;
    if told.duplicates > wire.copies || told.duplicates + loose < wire.copies {
        wrong.push(format!(
            "{} duplicates told, {} on the wire",
            told.duplicates, wire.copies
        ));
    }
    wrong
}

fn outcomes(told: &Told, wire: &Wire, silent: u64, damaged: u64) -> Vec<String> {
    let mut wrong = Vec::new();
    if told.sent() != wire.requests {
        wrong.push(format!(
            "{} probes told, {} requests on the wire",
            told.sent(),
            wire.requests
        ));
    }
    for (outcome, expected) in [
        ("ok", wire.in_time),
        ("late", wire.late),
        ("lost", silent),
        ("corrupt", damaged),
        ("unreachable", 0),
        ("send_error", 0),
    ] {
        let told_count = told.count(outcome);
        let least = expected.saturating_sub(told.stalled_on_the_wire());
        if told_count < least || told_count > expected + wire.doubtful {
            wrong.push(format!("{told_count} {outcome} told, {expected} on the wire"));
        }
    }
    // Else the agent could hide behind its own faults.
    if told.stalled_on_the_wire() * 2 > told.sent() {
        wrong.push(format!("{} of {} stalled", told.stalled_on_the_wire(), told.sent()));
    }
    wrong
}

fn rtt(judged: &Judged, row: &Row, tolerance: &Tolerance) -> Option<String> {
    let (told, wire) = (row.told.rtt()?, row.wire.rtt?);
    let injected = judged.case.rtt().as_secs_f64();
    if (told - wire).abs() > tolerance.told_rtt.as_secs_f64() {
        return Some(format!("mean RTT told {told:.6} s, on the wire {wire:.6} s"));
    }
    // The mean over jitter is a matter of dice; the wire says what it came to.
    let off = (told - injected).abs() > tolerance.injected_rtt.as_secs_f64();
    (off && !judged.case.has_jitter()).then(|| format!("mean RTT told {told:.6} s, injected {injected:.6} s"))
}

fn jitter(judged: &Judged, row: &Row, tolerance: &Tolerance) -> Option<String> {
    // What is told is taken now and then, so a single reply that the machine held up weighs more in it.
    let held_up = row.wire.slowest > judged.case.longest() + HELD_UP;
    let wire = row.wire.jitter.filter(|_| judged.case.has_jitter() && !held_up)?;
    let told = row.told.jitter.unwrap_or_default();
    let off = (told - wire).abs() > tolerance.jitter * wire;
    off.then(|| format!("jitter told {told:.6} s, on the wire {wire:.6} s"))
}

fn dice(judged: &Judged, row: &Row, dice_rows: u64) -> Option<String> {
    let [least, most] = judged.band(row, 1.0 - (1.0 - CONFIDENCE) / double(dice_rows.max(1)))?;
    let lost = row.told.count("lost");
    (!(least..=most).contains(&lost)).then(|| format!("{lost} lost, but {least} to {most} are within chance"))
}

/// Everything that is wrong with the many targets.
#[must_use]
pub fn crowd(crowd: &Crowd, tolerance: &Tolerance) -> Vec<String> {
    let (told, wire) = (&crowd.told, &crowd.wire);
    let mut wrong = outcomes(told, wire, wire.silent, wire.damaged);
    if tolerance.lab && wire.silent + wire.damaged + wire.copies > 0 {
        wrong.push(format!(
            "{} requests without a whole answer, {} copies on a wire without faults: the lab's own fault",
            wire.silent + wire.damaged,
            wire.copies
        ));
    }
    let missed = double(crowd.targets) * crowd.stopped.as_secs_f64();
    // What was due in the last tenth of the interval still leaves after each pause.
    let least = double(crowd.targets) * (crowd.stopped.as_secs_f64() - 0.3 * f64::from(crowd.stops));
    if double(told.count("stalled")) < least {
        wrong.push(format!(
            "{} stalled, but about {missed:.0} were due while the agent stood still",
            told.count("stalled")
        ));
    }
    if crowd
        .told_stopped
        .is_some_and(|seconds| seconds < crowd.stopped.as_secs_f64() - 0.5 * f64::from(crowd.stops))
    {
        wrong.push(format!(
            "stood still for {:?}, told {:?} s",
            crowd.stopped, crowd.told_stopped
        ));
    }
    if told.per_target.is_none_or(|[least, most]| most - least > 2) {
        wrong.push(format!(
            "targets with too few or too many probes: {:?}",
            told.per_target
        ));
    }
    let most = tolerance.burst * double(crowd.targets) / 10.0;
    for (when, burst) in ["before", "after"].into_iter().zip(crowd.bursts) {
        if double(burst) > most {
            wrong.push(format!("{burst} requests within 100 ms {when} the first stop"));
        }
    }
    wrong
        .into_iter()
        .map(|one| format!("{} targets: {one}", crowd.targets))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accuracy::cases::cases;

    fn told(outcomes: &[(&str, u64)]) -> Told {
        Told {
            outcomes: outcomes
                .iter()
                .map(|(name, count)| ((*name).to_owned(), *count))
                .collect(),
            ..Told::default()
        }
    }

    fn judged(name: &str, wire: &Wire, told: &Told, wan: PathCounts) -> Judged {
        let case = cases().into_iter().find(|case| case.name == name).unwrap();
        let row = Row {
            pair: case.regions.clone(),
            told: told.clone(),
            wire: wire.clone(),
        };
        let nothing = Row {
            wire: Wire::default(),
            told: Told::default(),
            ..row.clone()
        };
        Judged {
            case,
            rows: [row, nothing],
            wan,
        }
    }

    fn complaints(judged: &Judged) -> Vec<String> {
        case(judged, &Tolerance::STRICT, 42)
    }

    const LOSSY: &str = "loss 10 % there";

    fn lossy() -> (Wire, PathCounts) {
        let wire = Wire {
            requests: 100,
            in_time: 90,
            silent: 10,
            ..Wire::default()
        };
        let wan = PathCounts {
            lost: 10,
            ..PathCounts::default()
        };
        (wire, wan)
    }

    #[test]
    fn what_the_wire_shows_is_right_and_one_probe_more_or_less_is_not() {
        let (wire, wan) = lossy();
        for (outcomes, right) in [
            (&[("ok", 90), ("lost", 10)][..], true),
            (&[("ok", 89), ("lost", 11)], false),
            (&[("ok", 91), ("lost", 9)], false),
            (&[("ok", 90), ("lost", 9)], false),
            (&[("ok", 90), ("lost", 9), ("stalled", 1)], true),
            (&[("ok", 90), ("lost", 9), ("unreachable", 1)], false),
            (&[("stalled", 100)], false),
        ] {
            let found = complaints(&judged(LOSSY, &wire, &told(outcomes), wan));
            assert_eq!(found.is_empty(), right, "{outcomes:?}: {found:?}");
        }
    }

    #[test]
    fn lab_that_loses_by_itself_is_no_judge() {
        let (wire, _) = lossy();
        let told = told(&[("ok", 90), ("lost", 10)]);
        let found = complaints(&judged(LOSSY, &wire, &told, PathCounts::default()));
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("the lab's own fault"), "{found:?}");
    }

    #[test]
    fn damage_is_corrupt_where_the_checksum_was_mended_and_lost_where_not() {
        let wire = Wire {
            requests: 100,
            in_time: 95,
            damaged: 5,
            ..Wire::default()
        };
        let wan = PathCounts {
            corrupted: 5,
            ..PathCounts::default()
        };
        for (name, outcome) in [("corrupt 5 % there", "corrupt"), ("bad checksum 5 % there", "lost")] {
            let told = told(&[("ok", 95), (outcome, 5)]);
            assert_eq!(complaints(&judged(name, &wire, &told, wan)), [""; 0], "{name}");
        }
    }

    #[test]
    fn dice_beyond_chance_are_told_when_bands_count() {
        let wire = Wire {
            requests: 1000,
            in_time: 900,
            silent: 100,
            ..Wire::default()
        };
        let wan = PathCounts {
            lost: 100,
            ..PathCounts::default()
        };
        let judged = judged("loss 1 % there", &wire, &told(&[("ok", 900), ("lost", 100)]), wan);
        assert_eq!(complaints(&judged).len(), 1);
        assert!(case(&judged, &Tolerance::GENEROUS, 42).is_empty());
    }

    #[test]
    fn stop_that_reads_as_loss_or_as_nothing_is_wrong() {
        let right = Crowd {
            targets: 1000,
            told: Told {
                skipped: 2950,
                per_target: Some([60, 61]),
                ..told(&[("ok", 57_000), ("stalled", 2950)])
            },
            wire: Wire {
                requests: 57_000,
                in_time: 57_000,
                ..Wire::default()
            },
            stops: 1,
            stopped: Duration::from_secs(3),
            told_stopped: Some(3.0),
            bursts: [120, 220],
        };
        assert_eq!(crowd(&right, &Tolerance::STRICT), [""; 0]);
        let wrong: [fn(&mut Crowd); 5] = [
            |crowd| {
                crowd.told = Told {
                    skipped: 0,
                    per_target: Some([57, 57]),
                    ..told(&[("ok", 57_000)])
                }
            },
            |crowd| crowd.bursts[1] = 3000,
            |crowd| crowd.told.per_target = Some([50, 61]),
            |crowd| crowd.told_stopped = Some(1.0),
            |crowd| {
                crowd.told.outcomes.insert("lost".to_owned(), 1);
            },
        ];
        for change in wrong {
            let mut crowded = right.clone();
            change(&mut crowded);
            assert!(!crowd(&crowded, &Tolerance::STRICT).is_empty(), "{crowded:?}");
        }
    }
}
