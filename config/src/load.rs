//! Reading a file: the only place of this crate that touches the disk.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::problem::{Problem, Problems};

/// Largest file that is read, bytes: a hundred times a plan of 1,000 targets, and far below what would hurt.
pub const MAX_FILE_BYTES: u64 = 10 << 20;

/// Says why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// As the user named it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file was read and is wrong.
    #[error(transparent)]
    Problems(#[from] Problems),
}

/// A value from a flag or the environment; it wins over the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// As written.
    pub value: String,
    /// The flag or variable, such as `--region` or `XPROBER_REGION`; stands for the key in problems.
    pub origin: String,
}

/// Reads a whole file as text.
pub(crate) fn read_text(path: &Path) -> Result<String, LoadError> {
    let read = || {
        let mut bytes = Vec::new();
        // One byte more than allowed tells a full file from a longer one, whatever its metadata says.
        File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|source| LoadError::Read {
        path: path.to_owned(),
        source,
    })?;
    let refuse = |line, message: String| {
        let key = String::new();
        LoadError::Problems(Problems {
            file: path.display().to_string(),
            problems: vec![Problem { line, key, message }],
        })
    };
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_FILE_BYTES) {
        return Err(refuse(None, format!("is over {} MiB", MAX_FILE_BYTES >> 20)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
            .split(|byte| *byte == b'\n')
            .count();
        refuse(Some(line), "is not UTF-8 text".to_owned())
    })
}
