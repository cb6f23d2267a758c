//! Walks the tree key by key and collects every problem on the way.
//!
//! A mapping learns its keys from being asked for them, so the keys that are read, the keys that are allowed and the
//! keys that a message lists cannot differ.

use crate::load::Override;
use crate::node::{Content, Entry, Node};
use crate::report::{Report, Unique};
use crate::spelling::unknown_key;
use crate::value::{Parsed, one_line, quote};

/// What stands behind a key.
#[derive(Debug, Clone, Copy)]
enum State<'a> {
    Given(&'a Node),
    /// Not there, or empty.
    Absent,
    /// Somewhere inside a value of the wrong type: told already, so nothing more is missing.
    Broken,
}

/// A key with what stands behind it.
#[derive(Debug, Clone)]
pub(crate) struct Field<'a> {
    report: &'a Report,
    key: String,
    line: Option<usize>,
    state: State<'a>,
}

impl<'a> Field<'a> {
    /// The document itself.
    pub(crate) fn root(report: &'a Report, node: &'a Node) -> Self {
        Self::new(report, String::new(), node.line, node)
    }

    fn new(report: &'a Report, key: String, line: Option<usize>, node: &'a Node) -> Self {
        let state = match node.content {
            Content::Null => State::Absent,
            Content::Scalar(_) | Content::List(_) | Content::Mapping(_) => State::Given(node),
        };
        Self {
            report,
            key,
            line,
            state,
        }
    }

    /// Tells whether the key is there and not empty.
    pub(crate) const fn is_given(&self) -> bool {
        matches!(self.state, State::Given(_))
    }

    /// Tells whether the value is a list without items.
    pub(crate) fn is_empty_list(&self) -> bool {
        matches!(self.state, State::Given(Node { content: Content::List(items), .. }) if items.is_empty())
    }

    /// Tells whether the value is a list.
    pub(crate) fn is_list(&self) -> bool {
        matches!(self.state, State::Given(node) if matches!(node.content, Content::List(_)))
    }

    /// Adds a problem with this key.
    pub(crate) fn problem(&self, message: impl Into<String>) {
        self.report.add(self.line, &self.key, message);
    }

    /// Adds a problem when the key is not there.
    pub(crate) fn required(self, allowed: &str) -> Self {
        if matches!(self.state, State::Absent) {
            self.problem(format!("is missing: {allowed}"));
        }
        self
    }

    /// Parses a single value; `None` when it is not there or wrong, the latter with a problem.
    pub(crate) fn read<T>(&self, parse: impl FnOnce(&str) -> Parsed<T>) -> Option<T> {
        let State::Given(node) = self.state else {
            return None;
        };
        let Content::Scalar(text) = &node.content else {
            self.problem(format!("is {}: use a single value", node.content.describe()));
            return None;
        };
        self.parse(text, parse)
    }

    /// Parses a text that stands for this key, such as a default that is written as text.
    pub(crate) fn parse<T>(&self, text: &str, parse: impl FnOnce(&str) -> Parsed<T>) -> Option<T> {
        parse(text).map_err(|error| self.problem(error.to_string())).ok()
    }

    /// Parses a single value as [`Self::read`] does, unless a flag or variable says otherwise; both are checked.
    pub(crate) fn read_or<T>(&self, outside: Option<&Override>, parse: impl Fn(&str) -> Parsed<T>) -> Option<T> {
        let from_file = self.read(&parse);
        outside.map_or(from_file, |outside| self.read_outside(outside, parse))
    }

    /// Parses what a flag or variable says for this key.
    pub(crate) fn read_outside<T>(&self, outside: &Override, parse: impl Fn(&str) -> Parsed<T>) -> Option<T> {
        parse(&outside.value)
            .map_err(|error| self.report.add(None, &outside.origin, error.to_string()))
            .ok()
    }

    /// Adds a problem when `key` was seen before; `name` is what the user wrote.
    pub(crate) fn is_new<K: Ord>(&self, seen: &mut Unique<K>, key: K, name: &str) -> bool {
        seen.insert(key, self.line)
            .map_err(|first| self.problem(format!("{} is listed twice{first}", quote(name))))
            .is_ok()
    }

    /// Opens a list; one that is not there is empty.
    pub(crate) fn list(&self) -> Vec<Self> {
        let State::Given(node) = self.state else {
            return Vec::new();
        };
        let Content::List(items) = &node.content else {
            self.problem(format!("is {}: use a list", node.content.describe()));
            return Vec::new();
        };
        items
            .iter()
            .enumerate()
            .map(|(index, item)| {
                let key = format!("{}[{index}]", self.key);
                Self::new(self.report, key, item.line.or(self.line), item)
            })
            .collect()
    }

    /// Opens a list, or a single value as a list of one.
    pub(crate) fn one_or_more(&self) -> Vec<Self> {
        match self.state {
            State::Given(node) if matches!(node.content, Content::Scalar(_)) => vec![self.clone()],
            State::Given(_) | State::Absent | State::Broken => self.list(),
        }
    }

    /// Parses every item of a list; `None` when the list is not there.
    pub(crate) fn read_list<T>(&self, parse: impl Fn(&str) -> Parsed<T>) -> Option<Vec<T>> {
        let read = |item: Self| item.required("remove the empty item").read(&parse);
        self.is_given()
            .then(|| self.list().into_iter().filter_map(read).collect())
    }

    /// Opens a mapping; one that is not there is empty.
    pub(crate) fn mapping(self) -> Mapping<'a> {
        let (entries, inner) = match self.state {
            State::Given(node) => {
                if let Content::Mapping(entries) = &node.content {
                    (entries.as_slice(), State::Absent)
                } else {
                    self.problem(format!("is {}: use a mapping", node.content.describe()));
                    (&[][..], State::Broken)
                }
            }
            State::Absent => (&[][..], State::Absent),
            State::Broken => (&[][..], State::Broken),
        };
        let mapping = Mapping {
            at: self,
            entries,
            missing: inner,
            known: Vec::new(),
        };
        mapping.refuse_duplicates();
        mapping
    }
}

/// A mapping that is being read.
#[derive(Debug)]
pub(crate) struct Mapping<'a> {
    at: Field<'a>,
    entries: &'a [Entry],
    /// State of a key that is not there.
    missing: State<'a>,
    known: Vec<&'static str>,
}

impl<'a> Mapping<'a> {
    /// Takes one key.
    pub(crate) fn take(&mut self, name: &'static str) -> Field<'a> {
        self.known.push(name);
        let report = self.at.report;
        let key = self.path(name);
        match self.entries.iter().find(|entry| entry.key == name) {
            Some(entry) => Field::new(report, key, entry.line.or(self.at.line), &entry.value),
            None => Field {
                report,
                key,
                line: self.at.line,
                state: self.missing,
            },
        }
    }

    /// Takes all keys of a mapping whose keys the user chooses.
    pub(crate) fn into_entries(self) -> Vec<(&'a str, Field<'a>)> {
        let entry = |entry: &'a Entry| {
            let line = entry.line.or(self.at.line);
            let field = Field::new(self.at.report, self.path(&entry.key), line, &entry.value);
            (entry.key.as_str(), field)
        };
        self.entries.iter().map(entry).collect()
    }

    /// Refuses every key that was not taken.
    pub(crate) fn finish(self) {
        for entry in self.entries {
            if self.known.contains(&entry.key.as_str()) {
                continue;
            }
            let message = if entry.key == "<<" {
                "merge keys are not supported: write the keys out, or use an alias for the whole value".to_owned()
            } else {
                unknown_key(&entry.key, &self.known)
            };
            self.at.report.add(entry.line, &self.path(&entry.key), message);
        }
    }

    fn refuse_duplicates(&self) {
        let mut seen = Unique::new();
        for entry in self.entries {
            if let Err(first) = seen.insert(entry.key.as_str(), entry.line) {
                let message = format!("is given twice{first}");
                self.at.report.add(entry.line, &self.path(&entry.key), message);
            }
        }
    }

    fn path(&self, name: &str) -> String {
        // A key of the user's may hold anything; the message stays on one line and short.
        let name: String = one_line(name).take(64).collect();
        if self.at.key.is_empty() {
            name
        } else {
            format!("{}.{name}", self.at.key)
        }
    }
}
