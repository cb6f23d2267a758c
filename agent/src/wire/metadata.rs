//! What a series says, found by its name.

use std::collections::HashMap;

use super::label;
use crate::samples::catalogue::{self, Kind, Metric};

/// What the numbers of a classic histogram are called.
const SUFFIXES: [&str; 3] = ["_bucket", "_sum", "_count"];

/// The catalogue by the names of its series.
#[derive(Debug)]
pub(super) struct Directory(HashMap<&'static [u8], &'static Metric>);

impl Directory {
    /// Reads the catalogue.
    pub(super) fn new() -> Self {
        let by_name = |metric: &'static Metric| (metric.name.as_bytes(), metric);
        Self(catalogue::ALL.iter().map(by_name).collect())
    }

    /// Finds the metric of a series by its labels.
    pub(super) fn find(&self, labels: &[u8]) -> Option<&'static Metric> {
        let (first, _) = label::split_first(labels).ok()?;
        if first.name != label::NAME {
            return None;
        }
        let found = self.0.get(first.value).copied();
        found.or_else(|| {
            let mut families = SUFFIXES
                .iter()
                .filter_map(|suffix| first.value.strip_suffix(suffix.as_bytes()));
            let metric = families.find_map(|family| self.0.get(family).copied())?;
            (metric.kind == Kind::Histogram).then_some(metric)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_found_by_its_name_and_a_histogram_by_the_names_of_its_parts() {
        let directory = Directory::new();
        let find = |name: &str| {
            let mut labels = Vec::new();
            label::put(&mut labels, label::NAME, name.as_bytes());
            directory.find(&labels).map(|metric| metric.name)
        };
        for metric in catalogue::ALL {
            assert_eq!(find(metric.name), Some(metric.name));
            let of_part = (metric.kind == Kind::Histogram).then_some(metric.name);
            for suffix in SUFFIXES {
                assert_eq!(find(&format!("{}{suffix}", metric.name)), of_part);
            }
        }
        assert_eq!(find("up"), None);
        let mut without_name = Vec::new();
        label::put(&mut without_name, b"job", b"xprober_target_up");
        assert_eq!((directory.find(&without_name), directory.find(b"\x0a")), (None, None));
    }
}
