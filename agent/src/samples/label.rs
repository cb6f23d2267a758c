//! Labels as every receiver takes them: sorted by name, none without a value, control characters replaced, values below
//! 1 kB.

use prost::encoding::{encode_varint, encoded_len_varint};

use super::catalogue::{COMMON_LABELS, MAX_OWN_LABELS, MAX_SCOPE_LABELS, Scope};

/// Receivers cut or drop longer values (`VictoriaMetrics`: 4 kB, 1 kB with older defaults).
const MAX_VALUE_BYTES: usize = 1023;

/// Labels that a subject's series share at most.
const MAX_SHARED: usize = COMMON_LABELS.len() + MAX_SCOPE_LABELS;

/// Field 1 of `TimeSeries` (labels), and of `Label` (name), length-delimited.
const TAG_FIRST: u8 = 0x0a;
/// Field 2 of `Label` (value), length-delimited.
const TAG_SECOND: u8 = 0x12;

/// The labels that all series of a subject have, as they stand in a `TimeSeries` message: encoded once for all of them.
#[derive(Debug, Default)]
pub struct SharedLabels {
    bytes: Vec<u8>,
    /// Name of each label and where it begins.
    starts: Vec<(&'static str, usize)>,
    /// Scope of the last subject, and the names of its labels by their order with their places before that.
    order: Option<(Scope, Vec<(&'static str, usize)>)>,
}

impl SharedLabels {
    /// Becomes the labels of another subject; values must be clean.
    pub fn load<'a>(
        &mut self,
        common: &'a [String; COMMON_LABELS.len()],
        scope: Scope,
        values: impl Iterator<Item = &'a str>,
    ) {
        self.bytes.clear();
        self.starts.clear();
        let mut room = [""; MAX_SHARED];
        let all = common.iter().map(String::as_str).chain(values);
        room.iter_mut().zip(all).for_each(|(slot, value)| *slot = value);
        // Subjects of one scope follow each other.
        let order = match self.order.take().filter(|(last, _)| *last == scope) {
            Some(order) => order,
            None => (scope, in_order(scope)),
        };
        let (_, order) = self.order.insert(order);
        for (name, place) in order {
            let value = room[*place];
            if !value.is_empty() {
                self.starts.push((*name, self.bytes.len()));
                put_label(&mut self.bytes, name, [value, ""]);
            }
        }
    }

    /// Appends the labels of one series: its name (in two parts), the shared ones and its own.
    pub fn put_series(
        &self,
        to: &mut Vec<u8>,
        name: [&str; 2],
        own: impl Iterator<Item = (&'static str, &'static str)>,
    ) {
        // `__name__` sorts before every name that begins with a letter.
        put_label(to, "__name__", name);
        let mut room = [("", ""); MAX_OWN_LABELS];
        let mut from = 0;
        for (name, value) in sorted(own, &mut room).iter().copied() {
            let next = self.starts.iter().find(|(shared, _)| *shared > name);
            let until = next.map_or(self.bytes.len(), |(_, start)| *start);
            to.extend_from_slice(&self.bytes[from..until]);
            put_label(to, name, [value, ""]);
            from = until;
        }
        to.extend_from_slice(&self.bytes[from..]);
    }
}

/// Names of the labels that subjects of a scope have, sorted, and where each value is: common ones first.
fn in_order(scope: Scope) -> Vec<(&'static str, usize)> {
    let names = COMMON_LABELS.into_iter().chain(scope.labels().iter().copied());
    let mut names: Vec<_> = names.zip(0..).collect();
    names.sort_unstable();
    names
}

/// Sorts labels by name, without those that have no value, inside `room`, which is large enough for all of them.
fn sorted<'a, 'r>(
    labels: impl Iterator<Item = (&'static str, &'a str)>,
    room: &'r mut [(&'static str, &'a str)],
) -> &'r [(&'static str, &'a str)] {
    let present = labels.filter(|(_, value)| !value.is_empty());
    let count = room.iter_mut().zip(present).map(|(slot, label)| *slot = label).count();
    let labels = &mut room[..count];
    labels.sort_unstable_by_key(|(name, _)| *name);
    labels
}

/// Appends one label; its value comes in two parts.
fn put_label(to: &mut Vec<u8>, name: &str, value: [&str; 2]) {
    let value_bytes = value[0].len() + value[1].len();
    let bytes = field_bytes(name.len()) + field_bytes(value_bytes);
    // Nearly all labels are so short that each length is one byte.
    if let (Ok(bytes @ ..=0x7f), Ok(name_bytes), Ok(value_bytes)) =
        (u8::try_from(bytes), u8::try_from(name.len()), u8::try_from(value_bytes))
    {
        to.extend_from_slice(&[TAG_FIRST, bytes, TAG_FIRST, name_bytes]);
        to.extend_from_slice(name.as_bytes());
        to.extend_from_slice(&[TAG_SECOND, value_bytes]);
    } else {
        to.push(TAG_FIRST);
        encode_varint(bytes, to);
        to.push(TAG_FIRST);
        encode_varint(name.len() as u64, to);
        to.extend_from_slice(name.as_bytes());
        to.push(TAG_SECOND);
        encode_varint(value_bytes as u64, to);
    }
    to.extend_from_slice(value[0].as_bytes());
    to.extend_from_slice(value[1].as_bytes());
}

const fn field_bytes(content: usize) -> u64 {
    (1 + encoded_len_varint(content as u64) + content) as u64
}

/// Appends a label value made out of any text.
pub fn put_clean(to: &mut String, value: &str) {
    let plain = value.is_ascii() && !value.bytes().any(|byte| byte.is_ascii_control());
    if plain {
        to.push_str(&value[..value.len().min(MAX_VALUE_BYTES)]);
        return;
    }
    let end = to.len() + MAX_VALUE_BYTES;
    for character in value.chars() {
        let character = if character.is_control() {
            char::REPLACEMENT_CHARACTER
        } else {
            character
        };
        if to.len() + character.len_utf8() > end {
            break;
        }
        to.push(character);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;
    use xprober_proto::remote_write::TimeSeries;

    use super::*;

    fn decoded(values: [&str; 2], name: [&str; 2], own: [(&'static str, &'static str); 2]) -> Vec<(String, String)> {
        let common = ["job", "vm1", ""].map(str::to_owned);
        let mut shared = SharedLabels::default();
        shared.load(&common, Scope::Agent, [].into_iter());
        shared.load(&common, Scope::Region, values.into_iter());
        let mut bytes = Vec::new();
        shared.put_series(&mut bytes, name, own.into_iter());
        let series = TimeSeries::decode(&*bytes).unwrap();
        series
            .labels
            .into_iter()
            .map(|label| (label.name, label.value))
            .collect()
    }

    #[test]
    fn labels_are_sorted_and_never_empty() {
        let labels = decoded(["b", "icmp"], ["metric", "_sum"], [("stage", "dns"), ("le", "1")]);
        let expected = [
            ("__name__", "metric_sum"),
            ("instance", "vm1"),
            ("job", "job"),
            ("le", "1"),
            ("probe", "icmp"),
            ("stage", "dns"),
            ("target_region", "b"),
        ];
        assert_eq!(labels, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
        let labels = decoded(["", "icmp"], ["m", ""], [("a", "1"), ("z", "2")]);
        let names: Vec<&str> = labels.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["__name__", "a", "instance", "job", "probe", "z"]);
    }

    proptest! {
        #[test]
        fn any_text_becomes_a_value_below_1_kb_without_control_characters(text in "(?s).{0,1500}", plain in "[a-z]{0,1500}") {
            for text in [text, plain] {
                let mut value = "before".to_owned();
                put_clean(&mut value, &text);
                let value = value.strip_prefix("before").unwrap();
                prop_assert!(value.len() < 1024 && value.is_empty() == text.is_empty());
                prop_assert!(!value.contains(char::is_control));
                let kept = value.chars().zip(text.chars()).filter(|(value, text)| value == text || text.is_control());
                prop_assert_eq!(kept.count(), value.chars().count());
                prop_assert!(value.len() >= 1020 || value.chars().count() == text.chars().count());
                let labels = decoded([value, ""], ["metric", ""], [("", ""); 2]);
                prop_assert_eq!(labels.len(), 3 + usize::from(!value.is_empty()));
            }
        }
    }
}
