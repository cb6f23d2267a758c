//! Collects what is wrong while a file is read to its end.

use std::cell::RefCell;
use std::collections::btree_map::{self, BTreeMap};

use crate::problem::{Problem, Problems};

/// Collects problems.
#[derive(Debug, Default)]
pub(crate) struct Report {
    problems: RefCell<Vec<Problem>>,
}

impl Report {
    pub(crate) fn add(&self, line: Option<usize>, key: &str, message: impl Into<String>) {
        self.problems.borrow_mut().push(Problem {
            line,
            key: key.to_owned(),
            message: message.into(),
        });
    }

    /// Hands over what was read, or everything that was added, in the order of the file; what has no line comes last.
    pub(crate) fn finish<T>(self, file: &str, value: Option<T>) -> Result<T, Problems> {
        let mut problems = self.problems.into_inner();
        match value {
            Some(value) if problems.is_empty() => return Ok(value),
            Some(_) | None => {}
        }
        problems.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
        Err(Problems {
            file: file.to_owned(),
            problems,
        })
    }
}

/// Finds what stands twice in a file.
#[derive(Debug)]
pub(crate) struct Unique<K> {
    lines: BTreeMap<K, Option<usize>>,
}

impl<K: Ord> Unique<K> {
    pub(crate) const fn new() -> Self {
        Self { lines: BTreeMap::new() }
    }

    /// Notes that `key` stands on `line`; fails with the words that say where it stood before, if that is known.
    pub(crate) fn insert(&mut self, key: K, line: Option<usize>) -> Result<(), String> {
        match self.lines.entry(key) {
            btree_map::Entry::Vacant(first) => {
                first.insert(line);
                Ok(())
            }
            btree_map::Entry::Occupied(first) => Err(first
                .get()
                .map_or_else(String::new, |line| format!(", first on line {line}"))),
        }
    }
}
