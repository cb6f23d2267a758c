//! Whether what was read is what the lab did.

use std::time::Duration;

use xprober_agent::probe::Stage;

use super::reading::{Http, Pair, Reading};

/// A mean round-trip time may differ from the emulated one by this and [`RTT_RATIO`] of it.
const RTT_SLACK_SECONDS: f64 = 0.000_5;
/// See [`RTT_SLACK_SECONDS`].
const RTT_RATIO: f64 = 0.02;

/// A stage may differ by this and [`STAGE_RATIO`]: wide enough for handshakes and wake-ups on a busy machine, far below the
/// delays that the demo puts into each stage.
const STAGE_SLACK_SECONDS: f64 = 0.004;
/// See [`STAGE_SLACK_SECONDS`].
const STAGE_RATIO: f64 = 0.05;

/// Lists everything that is missing or off, one sentence each; empty when all is well. What may be off is multiplied by
/// `slack`, 1 for a machine that does nothing else.
#[must_use]
pub fn complaints(reading: &Reading, slack: u32) -> Vec<String> {
    let slack = f64::from(slack);
    let pairs = reading.pairs.iter().filter_map(|one| pair(one, slack));
    pairs
        .chain(reading.http.iter().flat_map(|one| http(one, slack)))
        .collect()
}

fn pair(pair: &Pair, slack: f64) -> Option<String> {
    let name = format!("{} -> {}", pair.source, pair.target);
    let Some(rtt) = pair.rtt_seconds else {
        return Some(format!("{name}: no round-trip time arrived"));
    };
    if pair.loss.is_none() {
        return Some(format!("{name}: no loss ratio arrived"));
    }
    if pair.disturbed || close(rtt, pair.emulated, RTT_SLACK_SECONDS * slack, RTT_RATIO * slack) {
        return None;
    }
    let emulated = pair.emulated.as_secs_f64();
    Some(format!(
        "{name}: mean {:.3} ms, the WAN emulates {:.3} ms",
        rtt * 1e3,
        emulated * 1e3
    ))
}

fn http(http: &Http, slack: f64) -> Vec<String> {
    let name = format!("{} -> {}", http.source, http.target);
    let mut complaints = Vec::new();
    if http.success != Some(1.0) {
        complaints.push(format!(
            "{name}: success is {}",
            http.success.map_or("missing".to_owned(), |s| s.to_string())
        ));
    }
    let most = (STAGE_SLACK_SECONDS * slack, STAGE_RATIO * slack);
    for (index, stage) in Stage::ALL.into_iter().enumerate() {
        match http.stage_seconds[index] {
            None => complaints.push(format!("{name}: no time for stage {stage} arrived")),
            Some(seconds) if !close(seconds, http.emulated[index], most.0, most.1) => {
                let emulated = http.emulated[index].as_secs_f64() * 1e3;
                complaints.push(format!(
                    "{name}: {stage} took {:.1} ms, the lab spends {emulated:.1} ms",
                    seconds * 1e3
                ));
            }
            Some(_) => {}
        }
    }
    complaints
}

fn close(measured: f64, emulated: Duration, slack: f64, ratio: f64) -> bool {
    (measured - emulated.as_secs_f64()).abs() <= slack + ratio * emulated.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair_of(rtt_seconds: Option<f64>) -> Pair {
        Pair {
            source: "a".to_owned(),
            target: "b".to_owned(),
            emulated: Duration::from_millis(10),
            disturbed: false,
            rtt_seconds,
            loss: Some(0.0),
        }
    }

    fn http_of(stage_seconds: [Option<f64>; 5]) -> Http {
        let emulated = [8, 22, 26, 30, 24].map(Duration::from_millis);
        Http {
            source: "a".to_owned(),
            target: "https://web/".to_owned(),
            emulated,
            stage_seconds,
            success: Some(1.0),
        }
    }

    #[test]
    fn a_mean_within_half_a_millisecond_and_two_percent_passes() {
        for (rtt, complaints_expected) in [(Some(0.010_69), 0), (Some(0.009_31), 0), (Some(0.010_71), 1), (None, 1)] {
            let reading = Reading {
                pairs: vec![pair_of(rtt)],
                http: Vec::new(),
            };
            assert_eq!(complaints(&reading, 1).len(), complaints_expected, "{rtt:?}");
        }
    }

    #[test]
    fn slack_multiplies_what_may_be_off() {
        for (rtt, slack, complaints_expected) in [(0.012, 1, 1), (0.012, 3, 0), (0.013, 4, 1)] {
            let reading = Reading {
                pairs: vec![pair_of(Some(rtt))],
                http: vec![http_of([0.019, 0.022, 0.026, 0.030, 0.024].map(Some))],
            };
            let expected = complaints_expected + usize::from(slack == 1);
            assert_eq!(
                complaints(&reading, slack).len(),
                expected,
                "{rtt:?} with slack {slack}"
            );
        }
    }

    #[test]
    fn a_delay_in_the_wrong_stage_is_named() {
        let measured = [0.008, 0.022, 0.048, 0.030, 0.024].map(Some);
        let reading = Reading {
            pairs: Vec::new(),
            http: vec![http_of(measured)],
        };
        assert_eq!(
            complaints(&reading, 1),
            ["a -> https://web/: tls took 48.0 ms, the lab spends 26.0 ms"]
        );
    }

    #[test]
    fn a_stage_without_data_is_named() {
        let reading = Reading {
            pairs: Vec::new(),
            http: vec![http_of([Some(0.008), Some(0.022), Some(0.026), None, Some(0.024)])],
        };
        assert_eq!(
            complaints(&reading, 1),
            ["a -> https://web/: no time for stage processing arrived"]
        );
    }
}
