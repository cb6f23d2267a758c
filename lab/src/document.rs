//! Text that a program writes into a committed document, between two markers, and tables in it.

use std::fs;
use std::path::Path;

use crate::error::LabError;

/// The lines around the written text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Markers {
    /// Before it.
    pub begin: &'static str,
    /// After it.
    pub end: &'static str,
}

impl Markers {
    /// Replaces the text between the markers of a document.
    ///
    /// # Errors
    /// [`LabError::Io`], [`LabError::Config`] when the markers are not there.
    pub fn write(self, file: &Path, text: &str) -> Result<(), LabError> {
        let doing = |verb: &str| LabError::io(format!("{verb} {}", file.display()));
        let old = fs::read_to_string(file).map_err(doing("reading"))?;
        let new = self.replace(&old, text).ok_or_else(|| LabError::Config {
            file: file.to_owned(),
            reason: format!("has no lines {:?} and {:?} in this order", self.begin, self.end),
        })?;
        fs::write(file, new).map_err(doing("writing"))
    }

    fn replace(self, old: &str, text: &str) -> Option<String> {
        let Self { begin, end } = self;
        let (before, rest) = old.split_once(begin)?;
        let (_, after) = rest.split_once(end)?;
        Some(format!("{before}{begin}\n\n{}\n\n{end}{after}", text.trim()))
    }
}

/// A Markdown table whose columns are as wide as their widest cell.
#[must_use]
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<_> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let padded = |cells: &[String]| {
        let cells = cells.iter().zip(&widths);
        line(cells.map(|(cell, width)| format!("{cell:width$}")).collect())
    };
    let head: Vec<_> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rule = line(widths.iter().map(|width| "-".repeat((*width).max(3))).collect());
    let body: Vec<_> = rows.iter().map(|row| padded(row)).collect();
    padded(&head) + &rule + &body.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_between_the_markers_is_replaced_and_the_rest_kept() {
        let markers = Markers {
            begin: "<!-- begin -->",
            end: "<!-- end -->",
        };
        let old = "# Title\n<!-- begin -->\nold\n<!-- end -->\nrest\n";
        let new = markers.replace(old, "new\n").unwrap();
        assert_eq!(new, "# Title\n<!-- begin -->\n\nnew\n\n<!-- end -->\nrest\n");
        assert_eq!(markers.replace(&new, "new").unwrap(), new);
        assert_eq!(markers.replace("no markers", "new"), None);
    }
    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["a".to_owned(), "long cell".to_owned()]];
        assert_eq!(
            table(&["head", "x"], &rows),
            "| head | x         |\n| ---- | --------- |\n| a    | long cell |\n"
        );
    }
}
