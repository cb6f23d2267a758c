//! `labels:` of an endpoint: what every series gets on the way to it.

use std::collections::BTreeMap;

use crate::reader::Field;
use crate::value::{self, InvalidValue, Parsed};

/// Labels that the agent's own series carry; the agent's tests hold this list to its catalogue.
pub const OWN_LABELS: &[&str] = &[
    "carrier",
    "circuit",
    "endpoint",
    "instance",
    "job",
    "le",
    "line",
    "outcome",
    "owner",
    "probe",
    "protocol",
    "reason",
    "result",
    "source_region",
    "stage",
    "target",
    "target_region",
    "version",
];

/// Receivers allow 40 labels at most, or 30; our own series have up to ten.
const MAX_LABELS: usize = 16;
const MAX_NAME_BYTES: usize = 128;

pub(super) fn read(field: Field<'_>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let at = field.clone();
    for (name, field) in field.mapping().into_entries() {
        let value = field.clone().required("give it a value").read(label_value);
        match (label_name(name), value) {
            (Ok(name), Some(value)) => drop(labels.insert(name, value)),
            (Ok(_), None) => {}
            (Err(error), _) => field.problem(error.to_string()),
        }
    }
    if labels.len() > MAX_LABELS {
        at.problem(format!("are {}: use at most {MAX_LABELS}", labels.len()));
    }
    labels
}

fn label_name(text: &str) -> Parsed<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    // `__name__` comes first in every series because no other name begins with a capital or an underscore.
    if !text.starts_with(|c: char| c.is_ascii_lowercase()) || text.len() > MAX_NAME_BYTES || !text.chars().all(allowed)
    {
        return Err(InvalidValue::new(format!(
            "is not the name of an extra label: use 1 to {MAX_NAME_BYTES} characters of [A-Za-z0-9_], starting with a lower-case letter"
        )));
    }
    if OWN_LABELS.contains(&text) {
        return Err(InvalidValue::new(
            "is a label that the agent's own series carry: use another name",
        ));
    }
    Ok(text.to_owned())
}

fn label_value(text: &str) -> Parsed<String> {
    if text.is_empty() {
        return Err(InvalidValue::new("is empty: a label without a value does not exist"));
    }
    value::label(text)
}
