//! The folder that a lab writes into: removed when the lab went well, kept when it failed, swept up by the next lab when
//! this one was killed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use tracing::{debug, warn};

use crate::error::LabError;

const PREFIX: &str = "xprober-lab-";

/// Locked while the lab runs. A folder with this file, and nobody to hold the lock, belongs to a lab that was killed.
const LOCK_FILE: &str = "lock";

/// A lab's folder, locked.
#[derive(Debug)]
pub(super) struct WorkFolder {
    folder: tempfile::TempDir,
    /// Held until the end; closing it unlocks.
    _lock: File,
}

impl WorkFolder {
    /// Makes a folder under the system's temporary folder, and removes those of labs that were killed.
    pub(super) fn create() -> Result<Self, LabError> {
        let doing = || LabError::io("making the lab's work folder");
        sweep(&std::env::temp_dir());
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir().map_err(doing())?;
        // Locked before it has its name, or a lab that starts at the same time would sweep this one up.
        let unnamed = folder.path().join("lock.new");
        let lock = File::create(&unnamed).map_err(doing())?;
        lock.lock().map_err(doing())?;
        fs::rename(&unnamed, folder.path().join(LOCK_FILE)).map_err(doing())?;
        Ok(Self { folder, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Removes the folder.
    pub(super) fn remove(self) {
        let path = self.folder.keep();
        if let Err(error) = remove(&path) {
            warn!(folder = %path.display(), %error, "lab folder could not be removed");
        }
    }

    /// Leaves the folder to the user; no later lab will remove it.
    pub(super) fn keep(self) -> PathBuf {
        let path = self.folder.keep();
        if let Err(error) = fs::remove_file(path.join(LOCK_FILE)) {
            warn!(folder = %path.display(), %error, "next lab will remove the folder that should be kept");
        }
        path
    }
}

/// Removes a folder. Someone may be quicker: another lab that sweeps, a user who cleans up, a program that cleans /tmp.
fn remove(folder: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for folder in entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
    {
        let folder = folder.path();
        // Folders of other users cannot be opened, those that are kept have no lock, those in use are locked.
        let Ok(lock) = File::options().write(true).open(folder.join(LOCK_FILE)) else {
            continue;
        };
        if lock.try_lock().is_ok() {
            match remove(&folder) {
                Ok(()) => debug!(folder = %folder.display(), "folder of a killed lab removed"),
                Err(error) => warn!(folder = %folder.display(), %error, "folder of a killed lab could not be removed"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_that_is_gone_already_is_no_trouble() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("xprober-lab-x");
        fs::create_dir_all(folder.join("logs")).unwrap();
        assert!(remove(&folder).is_ok());
        assert!(remove(&folder).is_ok());
        assert!(!folder.exists());
        File::create(&folder).unwrap();
        assert!(remove(&folder).is_err());
    }

    #[test]
    fn only_folders_of_killed_labs_are_swept_up() {
        let parent = tempfile::tempdir().unwrap();
        let make = |name: &str, with_lock: bool| {
            let folder = parent.path().join(name);
            fs::create_dir(&folder).unwrap();
            with_lock.then(|| File::create(folder.join(LOCK_FILE)).unwrap())
        };
        drop(make("xprober-lab-killed", true));
        let running = make("xprober-lab-running", true).unwrap();
        running.lock().unwrap();
        make("xprober-lab-kept", false);
        drop(make("something-else", true));
        sweep(parent.path());
        let mut left: Vec<_> = fs::read_dir(parent.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["something-else", "xprober-lab-kept", "xprober-lab-running"]);
    }
}
