//! Text that a program writes into a committed document, between two markers.

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
}
