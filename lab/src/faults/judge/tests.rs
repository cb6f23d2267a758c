//! Courses, good and bad.

use super::*;

fn expected(source: &str) -> Expected {
    Expected::new("Slow", "critical", "line", &[("source_region", source)])
}

fn told(source: &str, resolved: bool) -> Told {
    let annotations = ANNOTATIONS.map(|name| (name.to_owned(), "text".to_owned()));
    Told {
        alert: "Slow".to_owned(),
        labels: expected(source).labels,
        annotations: annotations.into(),
        resolved,
    }
}

fn message(at: f64, alerts: &[(&str, bool)]) -> Message {
    Message {
        at,
        alerts: alerts
            .iter()
            .map(|(source, resolved)| told(source, *resolved))
            .collect(),
    }
}

/// Two directions, broken at 0 and repaired at 100.
fn complaints(messages: &[Message]) -> Vec<String> {
    judge(&[expected("a"), expected("b")], messages, 100.0, Some(60.0)).complaints
}

#[test]
fn one_message_of_both_and_one_of_their_end_is_right() {
    let messages = [
        message(31.0, &[("a", false), ("b", false)]),
        message(115.0, &[("a", true), ("b", true)]),
    ];
    assert_eq!(complaints(&messages), [""; 0]);
    let verdict = judge(&[expected("a"), expected("b")], &messages, 100.0, None);
    assert!(verdict.all_firing() && verdict.all_over());
    assert_eq!((verdict.told_after(), verdict.over_after()), (Some(31.0), Some(115.0)));
}

#[test]
fn a_direction_that_joins_later_may_bring_the_first_one_along() {
    let messages = [
        message(31.0, &[("a", false)]),
        message(46.0, &[("a", false), ("b", false)]),
        message(115.0, &[("a", true), ("b", false)]),
        message(130.0, &[("a", true), ("b", true)]),
    ];
    assert_eq!(complaints(&messages), [""; 0]);
}

#[test]
fn each_thing_that_can_be_wrong_is_told() {
    let (firing, over) = ([("a", false), ("b", false)], [("a", true), ("b", true)]);
    let course = |extra: &[Message]| {
        let mut messages = vec![message(31.0, &firing)];
        messages.extend_from_slice(extra);
        messages.push(message(115.0, &over));
        messages
    };
    for (messages, wanted) in [
        (vec![], "never came"),
        (vec![message(31.0, &firing)], "was never told to be over"),
        (vec![message(61.0, &firing), message(115.0, &over)], "60 s are promised"),
        (
            vec![message(101.0, &firing), message(115.0, &over)],
            "only after the repair",
        ),
        (
            vec![message(-3.0, &firing), message(115.0, &over)],
            "3.0 s before the break",
        ),
        (
            vec![message(31.0, &firing), message(90.0, &over)],
            "10.0 s before the repair",
        ),
        (course(&[message(40.0, &[("c", false)])]), "was not expected"),
        (course(&[message(46.0, &firing)]), "tells nothing new"),
        (course(&[message(110.0, &over), message(112.0, &firing)]), "came again"),
        (course(&[message(114.0, &over)]), "tells nothing new"),
        (vec![message(115.0, &over)], "was never told before"),
    ] {
        let told = complaints(&messages);
        assert!(told.iter().any(|one| one.contains(wanted)), "{wanted}: {told:?}");
    }
}

#[test]
fn an_annotation_that_is_missing_or_was_not_filled_in_is_told() {
    for (name, text) in [
        ("summary", ""),
        ("description", "took <no value>"),
        ("value", "<error expanding template>"),
    ] {
        let mut bad = told("a", false);
        bad.annotations.insert(name.to_owned(), text.to_owned());
        let firing = Message {
            at: 31.0,
            alerts: vec![bad],
        };
        let found = judge(&[expected("a")], &[firing, message(115.0, &[("a", true)])], 100.0, None).complaints;
        assert_eq!(found, [format!("Slow has no good {name}")]);
    }
}

#[test]
fn an_alert_that_does_not_say_what_it_should_is_told() {
    let expected = expected("a").saying("text").saying("budget of 22ms");
    let messages = [message(31.0, &[("a", false)]), message(115.0, &[("a", true)])];
    let found = judge(&[expected], &messages, 100.0, None).complaints;
    assert_eq!(found, ["Slow does not say budget of 22ms"]);
}

#[test]
fn nothing_is_expected_and_nothing_comes() {
    assert_eq!(judge(&[], &[], 100.0, None), Verdict::default());
    assert_eq!(
        judge(&[], &[message(5.0, &[("a", false)])], 100.0, None)
            .complaints
            .len(),
        1
    );
}
