//! Source ports in turn; pure.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use xprober_proto::TargetId;

/// Targets not probed for this long are forgotten, and start with the first port again.
const FORGET_AFTER: Duration = Duration::from_hours(1);

#[derive(Debug)]
struct Turn {
    next: usize,
    used: Instant,
}

/// Which port of its set each target uses next.
#[derive(Debug, Default)]
pub struct Ports {
    turns: HashMap<TargetId, Turn>,
}

impl Ports {
    /// Takes the next port of `set` for `target`; `None` for an empty set.
    pub fn next(&mut self, target: &TargetId, set: &[u16], now: Instant) -> Option<u16> {
        if set.is_empty() {
            return None;
        }
        if !self.turns.contains_key(target) {
            self.turns
                .retain(|_, turn| now.saturating_duration_since(turn.used) < FORGET_AFTER);
        }
        let turn = self.turns.entry(target.clone()).or_insert(Turn { next: 0, used: now });
        // The set may have changed with the plan.
        let port = set.get(turn.next % set.len()).copied();
        *turn = Turn {
            next: (turn.next + 1) % set.len(),
            used: now,
        };
        port
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_walks_its_own_set_in_order() {
        let (mut ports, now) = (Ports::default(), Instant::now());
        let (a, b): (TargetId, TargetId) = ("a".parse().unwrap(), "b".parse().unwrap());
        let mut next = |target, set: &[u16]| ports.next(target, set, now);
        assert_eq!([1, 2, 3, 1].map(Some), [(); 4].map(|()| next(&a, &[1, 2, 3])));
        assert_eq!(next(&b, &[7, 8]), Some(7));
        assert_eq!(next(&a, &[1, 2, 3]), Some(2));
        assert_eq!(next(&a, &[9]), Some(9), "a shorter set");
        assert_eq!(next(&a, &[]), None);
    }

    #[test]
    fn targets_that_left_the_plan_are_forgotten() {
        let (mut ports, now) = (Ports::default(), Instant::now());
        let (a, b): (TargetId, TargetId) = ("a".parse().unwrap(), "b".parse().unwrap());
        ports.next(&a, &[1, 2], now);
        ports.next(&b, &[1, 2], now + FORGET_AFTER);
        assert_eq!(ports.turns.len(), 1);
    }
}
