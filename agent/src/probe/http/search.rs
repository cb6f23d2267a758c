//! Finds a text in a body that arrives in pieces.

/// Searches a stream of chunks for one text, also across their borders (Knuth, Morris, Pratt 1977).
///
/// Keeps no byte of the body, so the cost is bounded by the text that is looked for.
#[derive(Debug, Clone)]
pub(super) struct BodySearch {
    text: Vec<u8>,
    /// Per position: how much of the text is still matched when the byte after it does not match.
    fallback: Vec<usize>,
    matched: usize,
}

impl BodySearch {
    /// Looks for `text`; an empty one is found at once.
    pub(super) fn new(text: &str) -> Self {
        let text = text.as_bytes().to_vec();
        let mut fallback = vec![0; text.len()];
        let mut border = 0;
        for position in 1..text.len() {
            while border > 0 && text[border] != text[position] {
                border = fallback[border - 1];
            }
            border += usize::from(text[border] == text[position]);
            fallback[position] = border;
        }
        Self {
            text,
            fallback,
            matched: 0,
        }
    }

    /// Reads the next chunk of the body.
    pub(super) fn push(&mut self, chunk: &[u8]) {
        for byte in chunk {
            if self.found() {
                return;
            }
            while self.matched > 0 && self.text[self.matched] != *byte {
                self.matched = self.fallback[self.matched - 1];
            }
            self.matched += usize::from(self.text[self.matched] == *byte);
        }
    }

    /// Tells whether the text was seen.
    pub(super) fn found(&self) -> bool {
        self.matched == self.text.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_search_in_the_whole_body(text in "[ab]{0,6}", chunks in prop::collection::vec("[ab]{0,7}", 0..6)) {
            let mut search = BodySearch::new(&text);
            for chunk in &chunks {
                search.push(chunk.as_bytes());
            }
            prop_assert_eq!(search.found(), chunks.concat().contains(&text));
        }
    }
}
