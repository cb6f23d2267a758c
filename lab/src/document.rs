//! Text that a program writes into a committed document, between two markers, and tables in it.

use std::fmt::Write as _;
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

    /// Puts sections into the text between the markers of a document: one takes the place of that with the same title, the others
    /// stay, for nobody measured them again.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn merge(self, file: &Path, sections: &[Section]) -> Result<(), LabError> {
        let old = fs::read_to_string(file).map_err(LabError::io(format!("reading {}", file.display())))?;
        let between = old
            .split_once(self.begin)
            .and_then(|(_, rest)| rest.split_once(self.end));
        let kept = Section::split(between.map_or("", |(text, _)| text));
        self.write(file, &Section::join(&Section::merge(kept, sections)))
    }

    fn replace(self, old: &str, text: &str) -> Option<String> {
        let Self { begin, end } = self;
        let (before, rest) = old.split_once(begin)?;
        let (_, after) = rest.split_once(end)?;
        Some(format!("{before}{begin}\n\n{}\n\n{end}{after}", text.trim()))
    }
}

/// Begins the title of a section.
const TITLE: &str = "### ";

/// A part of a written text that stands for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Its heading, which no other section has.
    pub title: String,
    /// What stands below.
    pub body: String,
}

impl Section {
    /// The text of sections, one after the other.
    #[must_use]
    pub fn join(sections: &[Self]) -> String {
        let texts = sections
            .iter()
            .map(|section| format!("{TITLE}{}\n\n{}\n", section.title, section.body.trim()));
        texts.collect::<Vec<_>>().join("\n")
    }

    fn split(text: &str) -> Vec<Self> {
        let mut sections: Vec<Self> = Vec::new();
        for line in text.lines() {
            if let Some(title) = line.strip_prefix(TITLE) {
                sections.push(Self {
                    title: title.trim().to_owned(),
                    body: String::new(),
                });
            } else if let Some(section) = sections.last_mut() {
                section.body.push_str(line);
                section.body.push('\n');
            }
        }
        sections
    }

    /// New sections stand behind the one that they follow among themselves, or else at the end.
    fn merge(mut kept: Vec<Self>, new: &[Self]) -> Vec<Self> {
        let mut after = None;
        for section in new {
            let same = kept.iter().position(|old| old.title == section.title);
            let at = if let Some(at) = same {
                kept[at] = section.clone();
                at
            } else {
                let at = after.map_or(kept.len(), |after: usize| after + 1);
                kept.insert(at, section.clone());
                at
            };
            after = Some(at);
        }
        kept
    }
}

/// A Markdown table whose columns are as wide as their widest cell.
#[must_use]
pub fn table(head: &[impl AsRef<str>], rows: &[impl AsRef<[String]>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row.as_ref()[column].chars().count());
        cells
            .chain([head[column].as_ref().chars().count(), 3])
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    let mut line = |cells: &dyn Fn(usize) -> String| {
        for (column, width) in widths.iter().enumerate() {
            let _infallible = write!(text, "| {:<width$} ", cells(column));
        }
        text.push_str("|\n");
    };
    line(&|column| head[column].as_ref().to_owned());
    line(&|column| "-".repeat(widths[column]));
    for row in rows {
        line(&|column| row.as_ref()[column].clone());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_again_stays() {
        let section = |title: &str, body: &str| Section {
            title: title.to_owned(),
            body: body.to_owned(),
        };
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("document.md");
        let markers = Markers {
            begin: "<!-- begin -->",
            end: "<!-- end -->",
        };
        fs::write(&file, "# Title\n\n### Not ours\n<!-- begin -->\n<!-- end -->\nrest\n").unwrap();
        markers
            .merge(&file, &[section("a", "| 1 |"), section("c", "3")])
            .unwrap();
        markers
            .merge(&file, &[section("a", "| 2 |\n"), section("b", "9")])
            .unwrap();
        markers.merge(&file, &[section("d", "4")]).unwrap();
        let expected = "# Title\n\n### Not ours\n<!-- begin -->\n\n### a\n\n| 2 |\n\n### b\n\n9\n\n### c\n\n3\n\n### d\n\n4\n\n\
                        <!-- end -->\nrest\n";
        assert_eq!(fs::read_to_string(&file).unwrap(), expected);
        markers.merge(&file, &[]).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), expected);
    }

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
