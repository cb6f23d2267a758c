//! The texts of a Remote-Write 2.0 request, each once.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::field::put_bytes;

/// Field 4 of `Request` (symbols), length-delimited.
const TAG_SYMBOLS: u8 = 0x22;

/// Gives every text a number, in the order in which they come; the empty one is 0. Keeps its room from one request to the
/// next.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    hasher: DefaultHashBuilder,
    /// The fields as they stand in the request.
    bytes: Vec<u8>,
    /// Where each text begins and ends in there.
    spans: Vec<(usize, usize)>,
    numbers: HashTable<u32>,
}

impl Symbols {
    /// Finds or adds a text.
    pub(super) fn intern(&mut self, text: &[u8]) -> u32 {
        if self.spans.is_empty() {
            self.add(&[]);
        }
        if text.is_empty() {
            return 0;
        }
        let Self {
            hasher,
            bytes,
            spans,
            numbers,
        } = self;
        let at = |number: u32| {
            let (begin, end) = spans[number as usize];
            &bytes[begin..end]
        };
        let hash = hasher.hash_one(text);
        if let Some(number) = numbers.find(hash, |number| at(*number) == text) {
            return *number;
        }
        let rehash = |number: &u32| hasher.hash_one(at(*number));
        // A request is at most some MiB large, and a symbol has two bytes at least.
        let number = u32::try_from(spans.len()).unwrap_or(u32::MAX);
        numbers.insert_unique(hash, number, rehash);
        self.add(text);
        number
    }

    /// The table as it stands in the request.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets every text.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
        self.numbers.clear();
    }

    fn add(&mut self, text: &[u8]) {
        put_bytes(&mut self.bytes, TAG_SYMBOLS, text);
        self.spans.push((self.bytes.len() - text.len(), self.bytes.len()));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;
    use xprober_proto::remote_write_v2::Request;

    use super::*;

    #[test]
    fn an_empty_text_alone_stands_in_the_table() {
        let mut symbols = Symbols::default();
        assert_eq!(symbols.intern(b""), 0);
        assert_eq!(Request::decode(symbols.bytes()).unwrap().symbols, [""]);
    }

    proptest! {
        #[test]
        fn the_table_holds_every_text_once_and_numbers_lead_to_them(
            rounds in prop::collection::vec(prop::collection::vec("[a-d]{0,3}|[a-z]{1,300}", 1..60), 1..4),
        ) {
            let mut symbols = Symbols::default();
            for texts in rounds {
                let numbers: Vec<u32> = texts.iter().map(|text| symbols.intern(text.as_bytes())).collect();
                let table = Request::decode(symbols.bytes()).unwrap().symbols;
                for (number, text) in numbers.iter().zip(&texts) {
                    prop_assert_eq!(&table[*number as usize], text);
                }
                let distinct: std::collections::BTreeSet<&String> = table.iter().collect();
                prop_assert_eq!(distinct.len(), table.len());
                prop_assert_eq!(table.first().map(String::as_str), Some(""));
                symbols.clear();
            }
        }
    }
}
