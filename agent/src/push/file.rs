//! Files that are read again when they change.

use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{fmt, fs, io};

/// Largest file that is read: far above any bundle of certificates.
const MAX_BYTES: u64 = 4 << 20;

/// A file could not be read.
#[derive(Debug, thiserror::Error)]
#[error("read {}", path.display())]
pub struct FileError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// A file and its content of when it was read last.
///
/// A change is seen by modification time and size; one that keeps both is seen only by who reads it [`Reading::Anyway`].
#[derive(Clone)]
pub struct WatchedFile {
    path: PathBuf,
    stamp: Stamp,
    content: Vec<u8>,
}

impl fmt::Debug for WatchedFile {
    /// Names the file; what is in it may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(f)
    }
}

type Stamp = (Option<SystemTime>, u64);

/// When a file is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// When its modification time or size changed.
    IfTouched,
    /// In any case: there is reason to believe that what is known is old.
    Anyway,
}

impl WatchedFile {
    /// Reads the file for the first time.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is over 4 MiB.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let (stamp, content) = read(path).map_err(|source| FileError {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            path: path.to_owned(),
            stamp,
            content,
        })
    }

    /// Looks at the file; tells whether its content changed. On an error the known content stays.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub async fn refresh(&mut self, reading: Reading) -> Result<bool, FileError> {
        let error = |source| FileError {
            path: self.path.clone(),
            source,
        };
        if reading == Reading::IfTouched {
            let metadata = tokio::fs::metadata(&self.path).await.map_err(error)?;
            if stamp(&metadata) == self.stamp {
                return Ok(false);
            }
        }
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || read(&path)).await;
        let (stamp, content) = read.map_err(io::Error::other).flatten().map_err(error)?;
        let changed = content != self.content;
        (self.stamp, self.content) = (stamp, content);
        Ok(changed)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was in it.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        &self.content
    }
}

fn stamp(metadata: &fs::Metadata) -> Stamp {
    (metadata.modified().ok(), metadata.len())
}

fn read(path: &Path) -> io::Result<(Stamp, Vec<u8>)> {
    use std::io::Read as _;
    let file = fs::File::open(path)?;
    // The stamp comes first: a change while we read is seen the next time.
    let stamp = stamp(&file.metadata()?);
    let mut content = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("it is over {} MiB", MAX_BYTES >> 20)));
    }
    Ok((stamp, content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_read_again_when_it_changes_and_kept_when_it_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        assert!(WatchedFile::open(&path).unwrap_err().to_string().contains("token"));
        fs::write(&path, "one").unwrap();
        let mut file = WatchedFile::open(&path).unwrap();
        assert!(!file.refresh(Reading::IfTouched).await.unwrap());
        fs::write(&path, "three").unwrap();
        assert!(file.refresh(Reading::IfTouched).await.unwrap());
        assert_eq!(file.content(), b"three");
        fs::remove_file(&path).unwrap();
        assert!(file.refresh(Reading::IfTouched).await.is_err());
        assert_eq!(file.content(), b"three");
    }

    #[tokio::test]
    async fn a_change_that_keeps_time_and_size_is_seen_by_who_reads_anyway() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "one").unwrap();
        let mut file = WatchedFile::open(&path).unwrap();
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, "two").unwrap();
        let opened = fs::File::options().write(true).open(&path).unwrap();
        opened.set_modified(modified).unwrap();
        assert!(!file.refresh(Reading::IfTouched).await.unwrap());
        assert!(file.refresh(Reading::Anyway).await.unwrap());
        assert_eq!(file.content(), b"two");
        assert!(!file.refresh(Reading::Anyway).await.unwrap());
    }
}
