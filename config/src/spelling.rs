//! Refusals of words from a fixed list, with the word that was probably meant.

use crate::value::quote;

/// Refuses a key that nobody reads.
pub(crate) fn unknown_key(word: &str, known: &[&str]) -> String {
    format!("unknown key{}: use {}", suggestion(word, known), known.join(", "))
}

/// Refuses a word that is not in a fixed list.
pub(crate) fn not_one_of(word: &str, known: &[&str]) -> String {
    let suggestion = suggestion(word, known);
    format!("{} is not allowed{suggestion}: use {}", quote(word), known.join(", "))
}

fn suggestion(word: &str, known: &[&str]) -> String {
    // One typing error in three letters; further apart it is another word.
    let close = |candidate: &&&str| distance(word, candidate) <= (candidate.len() / 3).clamp(1, 3);
    known
        .iter()
        .filter(close)
        .min_by_key(|candidate| distance(word, candidate))
        .map(|candidate| format!(" (did you mean {candidate}?)"))
        .unwrap_or_default()
}

/// Counts the letters to insert, remove or replace (Levenshtein); words over 64 letters are far from everything.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > 64 {
        return usize::MAX;
    }
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().flat_map(char::to_lowercase).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_typing_error_away_is_suggested() {
        let known = ["target", "region", "icmp", "GET"];
        for (word, meant) in [
            ("tagret", "target"),
            ("Region", "region"),
            ("icpm", ""),
            ("imcp", ""),
            ("icm", "icmp"),
            ("get", "GET"),
            ("colour", ""),
        ] {
            let expected = if meant.is_empty() {
                String::new()
            } else {
                format!(" (did you mean {meant}?)")
            };
            assert_eq!(suggestion(word, &known), expected, "{word}");
        }
    }
}
