//! Text to tree: `serde_yaml` says what the document is, the events of `saphyr-parser` say on which line it is.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

use saphyr_parser::{Event, Parser};
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor};

use crate::node::{Content, Entry, Node};
use crate::problem::Problem;
use crate::value::one_line;

/// Most values in one document with its aliases written out: five times a file of 200,000 targets. Guards against a
/// small file whose aliases of aliases fill the memory.
const MAX_NODES: usize = 1_000_000;

/// Reads one document; empty text is an empty document.
pub(crate) fn read(text: &str) -> Result<Node, Problem> {
    // A byte order mark is an editor's habit, not content.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut documents = serde_yaml::Deserializer::from_str(text);
    let Some(document) = documents.next() else {
        return Ok(unlocated(Content::Null));
    };
    let left = Cell::new(MAX_NODES);
    let mut node = NodeSeed { left: &left }
        .deserialize(document)
        .map_err(|error| problem(&error))?;
    if documents.next().is_some() {
        return Err(Problem {
            line: None,
            key: String::new(),
            message: "has more than one document: remove what follows the second ---".to_owned(),
        });
    }
    // Where the two libraries disagree about a rare document, its values count and its lines are left out.
    if let Some(located) = locate(text) {
        attach(&mut node, &located);
    }
    Ok(node)
}

fn problem(error: &serde_yaml::Error) -> Problem {
    let text = error.to_string();
    // The line is shown in front of the message already.
    let message = text.find(" at line ").map_or(text.as_str(), |end| &text[..end]);
    Problem {
        line: error.location().map(|location| location.line()),
        key: String::new(),
        message: one_line("is not YAML that can be read: ")
            .chain(one_line(message))
            .collect(),
    }
}

/// Builds nodes while counting them.
#[derive(Clone, Copy)]
struct NodeSeed<'a> {
    left: &'a Cell<usize>,
}

fn scalar(text: &(impl ToString + ?Sized)) -> Node {
    unlocated(Content::Scalar(text.to_string()))
}

const fn unlocated(content: Content) -> Node {
    Node { line: None, content }
}

impl<'de> DeserializeSeed<'de> for NodeSeed<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        let left = self.left.get().checked_sub(1);
        self.left.set(
            left.ok_or_else(|| D::Error::custom(format!("more than {MAX_NODES} values, with aliases written out")))?,
        );
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NodeSeed<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a number, true, false, a list or a mapping")
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        Ok(unlocated(Content::Null))
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(unlocated(Content::Null))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(scalar(&value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(scalar(&value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(scalar(&value))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Node, E> {
        Ok(scalar(&value))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Node, E> {
        Ok(scalar(&value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        Ok(scalar(&value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        Ok(scalar(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(unlocated(Content::List(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut mapping = Vec::new();
        while let Some(key) = entries.next_key_seed(self)? {
            let Content::Scalar(key) = key.content else {
                return Err(A::Error::custom(format!(
                    "{} cannot be a key, only text can",
                    key.content.describe()
                )));
            };
            let value = entries.next_value_seed(self)?;
            mapping.push(Entry { key, line: None, value });
        }
        Ok(unlocated(Content::Mapping(mapping)))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _tagged: A) -> Result<Node, A::Error> {
        Err(A::Error::custom("tags such as !name have no meaning here"))
    }
}

/// Where a value is; aliases share what they point at.
#[derive(Clone)]
struct Located {
    line: usize,
    shape: Rc<Shape>,
}

enum Shape {
    /// The text as written, without quotes.
    Scalar(String),
    /// Items, or keys and values in turns.
    Children(Vec<Located>),
}

/// A collection that is still open.
struct Open {
    line: usize,
    anchor: usize,
    children: Vec<Located>,
}

/// Finds the lines of everything in the first document; `None` when it has none or cannot be read.
fn locate(text: &str) -> Option<Located> {
    let mut anchors = HashMap::new();
    let mut open: Vec<Open> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.ok()?;
        let line = span.start.line();
        let (anchor, located) = match event {
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                let children = Vec::new();
                open.push(Open { line, anchor, children });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Open { line, anchor, children } = open.pop()?;
                let shape = Rc::new(Shape::Children(children));
                (anchor, Located { line, shape })
            }
            Event::Scalar(text, _, anchor, _) => {
                let shape = Rc::new(Shape::Scalar(text.into_owned()));
                (anchor, Located { line, shape })
            }
            Event::Alias(anchor) => {
                let target: &Located = anchors.get(&anchor)?;
                let shape = Rc::clone(&target.shape);
                (0, Located { line, shape })
            }
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) => continue,
            Event::StreamEnd | Event::DocumentEnd => return None,
        };
        // Anchors are numbered from 1.
        if anchor != 0 {
            anchors.insert(anchor, located.clone());
        }
        match open.last_mut() {
            Some(parent) => parent.children.push(located),
            None => return Some(located),
        }
    }
    None
}

fn attach(node: &mut Node, located: &Located) {
    node.line = Some(located.line);
    match (&mut node.content, located.shape.as_ref()) {
        (Content::Scalar(text), Shape::Scalar(written)) => text.clone_from(written),
        (Content::List(items), Shape::Children(children)) => {
            for (item, child) in items.iter_mut().zip(children) {
                attach(item, child);
            }
        }
        (Content::Mapping(entries), Shape::Children(children)) => {
            for (entry, pair) in entries.iter_mut().zip(children.chunks_exact(2)) {
                entry.line = Some(pair[0].line);
                attach(&mut entry.value, &pair[1]);
            }
        }
        (Content::Null | Content::Scalar(_) | Content::List(_) | Content::Mapping(_), _) => {}
    }
}
