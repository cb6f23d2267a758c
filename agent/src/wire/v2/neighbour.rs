//! The labels of the series before, without its name: most of them are those of the next one too, and often all.
//!
//! ```text
//!   before:  instance  job  le="1"  probe  region       numbers of the texts are known
//!   next:    instance  job          probe  region
//!            ^ the same label       ^ the same bytes up to the end: copied at once
//! ```

use std::cmp::Ordering;

use super::put_ref;
use crate::wire::label;
use crate::wire::symbols::Symbols;

/// The labels that were written last, with the numbers of their texts.
#[derive(Debug, Default)]
pub(super) struct Neighbour {
    bytes: Vec<u8>,
    refs: Vec<u8>,
    labels: Vec<Known>,
    /// Room for the next.
    next: Next,
}

#[derive(Debug, Default)]
struct Next {
    refs: Vec<u8>,
    labels: Vec<Known>,
}

/// A label. Places count from the end, so that they stay right for what labels before it become.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// Where its bytes begin.
    bytes: usize,
    /// How many there are.
    length: usize,
    name: u32,
    value: u32,
}

impl Neighbour {
    /// Answers the numbers of names and values as they stand in the message, and remembers the labels.
    pub(super) fn refs(&mut self, labels: &[u8], symbols: &mut Symbols) -> &[u8] {
        if self.bytes == labels {
            return &self.refs;
        }
        self.next.refs.clear();
        self.next.labels.clear();
        let (mut rest, mut known) = (labels, self.labels.as_slice());
        let mut tail: &[Known] = &[];
        while !rest.is_empty() {
            if let Some(first) = known.first()
                && self.bytes[self.bytes.len() - first.bytes..] == *rest
            {
                tail = known;
                break;
            }
            if let Some((first, others)) = known.split_first()
                // A label says its length first: what begins with the bytes of another one is the same.
                && rest.starts_with(self.bytes_of(first))
            {
                self.next.put(rest.len(), first.length, first.name, first.value);
                rest = &rest[first.length..];
                known = others;
                continue;
            }
            let Ok((label, after)) = label::split_first(rest) else {
                debug_assert!(false, "labels of our own that nobody can read");
                break;
            };
            let name = self.skip_to(label.name, &mut known);
            let name = name.unwrap_or_else(|| symbols.intern(label.name));
            let value = symbols.intern(label.value);
            self.next.put(rest.len(), label.bytes.len(), name, value);
            rest = after;
        }
        // The numbers of as many labels stand at the end of those of before.
        let copied: usize = tail.iter().map(Known::refs_bytes).sum();
        self.next.refs.extend_from_slice(&self.refs[self.refs.len() - copied..]);
        self.next.labels.extend_from_slice(tail);
        self.bytes.clear();
        self.bytes.extend_from_slice(labels);
        std::mem::swap(&mut self.labels, &mut self.next.labels);
        std::mem::swap(&mut self.refs, &mut self.next.refs);
        &self.refs
    }

    /// Forgets the labels: the numbers are those of another request.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.refs.clear();
        self.labels.clear();
    }

    fn bytes_of(&self, label: &Known) -> &[u8] {
        let begin = self.bytes.len() - label.bytes;
        &self.bytes[begin..begin + label.length]
    }

    /// Leaves out the known labels that sort before `name`, and the one that has it; answers the number of that name.
    fn skip_to(&self, name: &[u8], known: &mut &[Known]) -> Option<u32> {
        while let Some((first, others)) = known.split_first() {
            let (label, _) = label::split_first(self.bytes_of(first)).ok()?;
            match label.name.cmp(name) {
                Ordering::Less => *known = others,
                Ordering::Equal => {
                    *known = others;
                    return Some(first.name);
                }
                Ordering::Greater => return None,
            }
        }
        None
    }
}

impl Next {
    fn put(&mut self, bytes: usize, length: usize, name: u32, value: u32) {
        put_ref(&mut self.refs, name);
        put_ref(&mut self.refs, value);
        self.labels.push(Known {
            bytes,
            length,
            name,
            value,
        });
    }
}

impl Known {
    fn refs_bytes(&self) -> usize {
        ref_bytes(self.name) + ref_bytes(self.value)
    }
}

const fn ref_bytes(number: u32) -> usize {
    if number < 0x80 {
        1
    } else {
        prost::encoding::encoded_len_varint(number as u64)
    }
}
