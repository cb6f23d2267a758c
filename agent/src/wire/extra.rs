//! Labels that one endpoint gets on every series beside the series' own.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::label;

/// Labels of an endpoint, sorted by name and encoded.
#[derive(Debug, Clone, Default)]
pub(super) struct ExtraLabels(Vec<Extra>);

#[derive(Debug, Clone)]
struct Extra {
    name: Box<[u8]>,
    bytes: Box<[u8]>,
}

impl ExtraLabels {
    /// Encodes labels; one without a value does not exist.
    pub(super) fn new(labels: &BTreeMap<String, String>) -> Self {
        let encode = |(name, value): (&String, &String)| {
            let mut bytes = Vec::new();
            label::put(&mut bytes, name.as_bytes(), value.as_bytes());
            Extra {
                name: name.as_bytes().into(),
                bytes: bytes.into(),
            }
        };
        Self(
            labels
                .iter()
                .filter(|(_, value)| !value.is_empty())
                .map(encode)
                .collect(),
        )
    }

    /// Adds them to the labels of a series, which has the last word where both have a label of the same name, as with
    /// `external_labels` in Prometheus. Writes into `room` if there is anything to add.
    pub(super) fn add<'a>(&self, labels: &'a [u8], room: &'a mut Vec<u8>) -> &'a [u8] {
        if self.0.is_empty() {
            return labels;
        }
        room.clear();
        let mut extras = self.0.iter().peekable();
        // What has not been copied yet, and what has not been looked at.
        let (mut open, mut rest) = (labels, labels);
        while let Some(extra) = extras.peek()
            && let Ok((own, after)) = label::split_first(rest)
        {
            match own.name.cmp(&*extra.name) {
                Ordering::Less => rest = after,
                Ordering::Equal => {
                    rest = after;
                    extras.next();
                }
                Ordering::Greater => {
                    room.extend_from_slice(&open[..open.len() - rest.len()]);
                    room.extend_from_slice(&extra.bytes);
                    open = rest;
                    extras.next();
                }
            }
        }
        room.extend_from_slice(open);
        for extra in extras {
            room.extend_from_slice(&extra.bytes);
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(labels: &BTreeMap<String, String>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, value) in labels {
            label::put(&mut bytes, name.as_bytes(), value.as_bytes());
        }
        bytes
    }

    proptest! {
        #[test]
        fn labels_stay_sorted_and_unique_and_those_of_the_series_win(
            own in prop::collection::btree_map("[a-c]{1,2}", "[a-z]{1,200}", 1..6),
            extra in prop::collection::btree_map("[a-c]{1,2}", "[a-z]{0,200}", 0..4),
        ) {
            let mut expected = extra.clone();
            expected.retain(|_, value| !value.is_empty());
            expected.extend(own.clone());
            let mut room = b"of before".to_vec();
            let labels = encoded(&own);
            prop_assert_eq!(ExtraLabels::new(&extra).add(&labels, &mut room), encoded(&expected));
        }
    }
}
