//! Comparisons in a `PromQL` expression, and the same expression with one of them turned round.

use std::ops::Range;

/// Answers where the comparison operators of an expression stand, in order; those of label matchers are none.
#[must_use]
pub fn comparisons(expression: &str) -> Vec<Range<usize>> {
    let bytes = expression.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at = match byte {
            b'"' | b'\'' | b'`' => end_of_text(bytes, at),
            b'{' => end_of_matchers(bytes, at),
            b'#' => bytes[at..]
                .iter()
                .position(|byte| *byte == b'\n')
                .map_or(bytes.len(), |length| at + length),
            b'<' | b'>' | b'=' | b'!' => {
                let end = if bytes.get(at + 1) == Some(&b'=') {
                    at + 2
                } else {
                    at + 1
                };
                found.push(at..end);
                end
            }
            _ => at + 1,
        };
    }
    found
}

/// Position behind a quoted text that starts at `start`.
fn end_of_text(bytes: &[u8], start: usize) -> usize {
    let quote = bytes[start];
    let mut at = start + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' if quote != b'`' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Position behind label matchers that start at `start`.
fn end_of_matchers(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' | b'\'' | b'`' => at = end_of_text(bytes, at),
            b'}' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The opposite of a comparison operator, or nothing for other text.
fn opposite(operator: &str) -> Option<&'static str> {
    Some(match operator {
        "<" | "<=" => ">",
        ">" | ">=" => "<",
        "==" => "!=",
        "!=" => "==",
        _ => return None,
    })
}

/// The expression with the comparison at that place turned round, or nothing where none stands.
#[must_use]
pub fn turned(expression: &str, place: &Range<usize>) -> Option<String> {
    let operator = opposite(expression.get(place.clone())?)?;
    Some([&expression[..place.start], operator, &expression[place.end..]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_are_found_outside_of_matchers_texts_and_comments() {
        let rows: [(&str, &[&str]); 6] = [
            ("a > 0.5 and b >= 5", &[">", ">="]),
            ("a{x!=\"1\", y=~\"<|>\"} <= 3 unless c == 1", &["<=", "=="]),
            ("label_replace(a < bool 2, \"x\", \"$1\", \"y\", \"(>)\")", &["<"]),
            ("a  # more than > 3\n != 4", &["!="]),
            ("a{x=\"}\"} > 1", &[">"]),
            ("sum(rate(a[5m]))", &[]),
        ];
        for (expression, expected) in rows {
            let found: Vec<_> = comparisons(expression)
                .into_iter()
                .map(|place| &expression[place])
                .collect();
            assert_eq!(found, expected, "{expression}");
        }
    }

    #[test]
    fn one_comparison_alone_is_turned() {
        let expression = "a > 0.5 and b >= 5";
        let places = comparisons(expression);
        assert_eq!(turned(expression, &places[0]).as_deref(), Some("a < 0.5 and b >= 5"));
        assert_eq!(turned(expression, &places[1]).as_deref(), Some("a > 0.5 and b < 5"));
        assert_eq!(turned(expression, &(0..1)), None);
    }
}
