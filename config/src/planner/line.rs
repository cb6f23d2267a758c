//! One entry of `lines:`.

use std::time::Duration;

use xprober_proto::Region;

use super::LineSettings;
use crate::limits::LONGEST;
use crate::reader::{Field, Mapping};
use crate::report::Unique;
use crate::value::{self, InvalidValue, Parsed, duration_within};

/// Reads a line; `None` when it has no name of its own or no two ends.
pub(super) fn read(mut mapping: Mapping<'_>, seen: &mut Unique<String>) -> Option<LineSettings> {
    let name_field = mapping.take("name").required("give the line a name of its own");
    let name = name_field
        .read(line_name)
        .filter(|name| name_field.is_new(seen, name.clone(), name));
    let between = read_ends(&mapping.take("between").required("use the two regions, as in [hk, sg]"));
    let rtt_budget = mapping
        .take("rtt_budget")
        .read(duration_within(Duration::from_nanos(1), LONGEST));
    let loss_budget = mapping.take("loss_budget").read(value::ratio);
    let mut label = |key| mapping.take(key).read(value::label).unwrap_or_default();
    let (circuit, carrier, owner) = (label("circuit"), label("carrier"), label("owner"));
    mapping.finish();
    Some(LineSettings {
        name: name?,
        between: between?,
        rtt_budget,
        loss_budget,
        circuit,
        carrier,
        owner,
    })
}

fn line_name(text: &str) -> Parsed<String> {
    if text.is_empty() {
        return Err(InvalidValue::new("is empty: give the line a name of its own"));
    }
    value::label(text)
}

fn read_ends(field: &Field<'_>) -> Option<[Region; 2]> {
    let items = field.list();
    if !field.is_given() || (items.is_empty() && !field.is_empty_list()) {
        return None;
    }
    let count = items.len();
    let regions: Vec<Region> = items
        .into_iter()
        .filter_map(|item| item.required("use the name of a region").read(value::name))
        .collect();
    if count != 2 {
        field.problem(format!("has {count} entries: use exactly two regions, as in [hk, sg]"));
        return None;
    }
    let ends: [Region; 2] = regions.try_into().ok()?;
    if ends[0] == ends[1] {
        field.problem(format!("joins {} with itself: use two different regions", ends[0]));
        return None;
    }
    Some(ends)
}
