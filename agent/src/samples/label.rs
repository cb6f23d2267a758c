//! Labels as every receiver takes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::encoding::encode_varint;

/// Receivers cut or drop longer values (`VictoriaMetrics`: 4 kB, 1 kB with older defaults).
const MAX_VALUE_BYTES: usize = 1023;

/// Field 1 of `TimeSeries` (labels), and of `Label` (name), length-delimited.
const TAG_FIRST: u8 = 0x0a;
/// Field 2 of `Label` (value), length-delimited.
const TAG_SECOND: u8 = 0x12;

/// The labels of one series as they stand in a `TimeSeries` message: encoded once, copied into every request.
pub type EncodedLabels = Arc<[u8]>;

/// Encodes the labels of a series: sorted by name, each name once (the first wins), none without a value, control
/// characters replaced, values cut below 1 kB.
pub fn encode<'a>(name: &str, labels: impl IntoIterator<Item = (&'static str, &'a str)>) -> EncodedLabels {
    let mut sorted = BTreeMap::from([("__name__", name.to_owned())]);
    for (label, value) in labels {
        let value = clean(value);
        if !value.is_empty() {
            sorted.entry(label).or_insert(value);
        }
    }
    let mut bytes = Vec::new();
    let mut pair = Vec::new();
    for (label, value) in sorted {
        pair.clear();
        put_bytes(&mut pair, TAG_FIRST, label.as_bytes());
        put_bytes(&mut pair, TAG_SECOND, value.as_bytes());
        put_bytes(&mut bytes, TAG_FIRST, &pair);
    }
    bytes.into()
}

fn put_bytes(to: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    to.push(tag);
    encode_varint(bytes.len() as u64, to);
    to.extend_from_slice(bytes);
}

/// Makes a label value out of any text.
fn clean(value: &str) -> String {
    let mut cleaned = String::with_capacity(value.len());
    for character in value.chars() {
        let character = if character.is_control() {
            char::REPLACEMENT_CHARACTER
        } else {
            character
        };
        if cleaned.len() + character.len_utf8() > MAX_VALUE_BYTES {
            break;
        }
        cleaned.push(character);
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;
    use xprober_proto::remote_write::TimeSeries;

    use super::*;

    fn decoded(name: &str, labels: &[(&'static str, &str)]) -> Vec<(String, String)> {
        let series = TimeSeries::decode(&*encode(name, labels.iter().copied())).unwrap();
        series
            .labels
            .into_iter()
            .map(|label| (label.name, label.value))
            .collect()
    }

    #[test]
    fn labels_are_sorted_unique_and_never_empty() {
        let labels = [("b", "2"), ("a", "1"), ("c", ""), ("b", "3"), ("__name__", "other")];
        let expected = [("__name__", "metric"), ("a", "1"), ("b", "2")];
        assert_eq!(
            decoded("metric", &labels),
            expected.map(|(n, v)| (n.to_owned(), v.to_owned()))
        );
    }

    proptest! {
        #[test]
        fn any_text_becomes_a_value_below_1_kb_without_control_characters(text in "(?s).{0,1500}") {
            let labels = decoded("metric", &[("a", &text)]);
            for (_, value) in &labels {
                prop_assert!(!value.is_empty() && value.len() < 1024);
                prop_assert!(!value.contains(char::is_control));
            }
            prop_assert_eq!(labels.len() == 1, text.is_empty());
        }
    }
}
