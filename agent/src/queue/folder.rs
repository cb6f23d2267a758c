//! The few things that are done with the files of a queue.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// Larger files are none of ours: a segment ends soon after 8 MiB, and no request has more than 16.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// The file that is locked while a process uses the folder.
const LOCK: &str = "lock";
/// What replaces a file is written beside it first.
const NEW: &str = ".new";

/// The files of one queue; every call may fail, and may take as long as the disk likes.
pub(super) trait Folder: Send + 'static {
    /// Makes the folder if need be, takes it for this process and lists the names in it.
    fn open(&mut self) -> io::Result<Vec<String>>;
    /// Reads a whole file.
    fn read(&mut self, name: &str) -> io::Result<Vec<u8>>;
    /// Reads exactly so many bytes of a file.
    fn read_at(&mut self, name: &str, offset: u64, length: usize) -> io::Result<Vec<u8>>;
    /// Appends to a file, which is made if need be. After a failure any part of it may have been appended.
    fn append(&mut self, name: &str, parts: &[&[u8]]) -> io::Result<()>;
    /// Waits until the disk holds what was appended.
    fn sync(&mut self, name: &str) -> io::Result<()>;
    /// Cuts a file.
    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()>;
    /// Replaces a file in one step; with `sync` the new content is on disk when it becomes visible.
    fn replace(&mut self, name: &str, content: &[u8], sync: bool) -> io::Result<()>;
    /// Removes a file; one that is not there is none the less removed.
    fn remove(&mut self, name: &str) -> io::Result<()>;
}

/// A folder of the operating system.
#[derive(Debug)]
pub(super) struct DiskFolder {
    path: PathBuf,
    lock: Option<File>,
    appending: Option<Appending>,
    reading: Option<(String, File)>,
}

#[derive(Debug)]
struct Appending {
    name: String,
    file: File,
    /// The folder does not yet hold the name for sure.
    made: bool,
}

impl DiskFolder {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self {
            path,
            lock: None,
            appending: None,
            reading: None,
        }
    }

    fn appending(&mut self, name: &str) -> io::Result<&mut Appending> {
        let appending = match self.appending.take().filter(|appending| appending.name == name) {
            Some(appending) => appending,
            None => Appending {
                name: name.to_owned(),
                made: !self.path.join(name).exists(),
                file: private(OpenOptions::new().append(true).create(true)).open(self.path.join(name))?,
            },
        };
        Ok(self.appending.insert(appending))
    }
}

impl Folder for DiskFolder {
    fn open(&mut self) -> io::Result<Vec<String>> {
        make_folder(&self.path)?;
        if self.lock.is_none() {
            let mut options = OpenOptions::new();
            let file = private(options.write(true).create(true).truncate(false)).open(self.path.join(LOCK))?;
            file.try_lock()?;
            self.lock = Some(file);
        }
        let names = fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect()
    }

    fn read(&mut self, name: &str) -> io::Result<Vec<u8>> {
        let file = File::open(self.path.join(name))?;
        if file.metadata()?.len() > MAX_FILE_BYTES {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "too large to be ours"));
        }
        let mut content = Vec::new();
        file.take(MAX_FILE_BYTES).read_to_end(&mut content)?;
        Ok(content)
    }

    fn read_at(&mut self, name: &str, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut file = match self.reading.take().filter(|(open, _)| open == name) {
            Some((_, file)) => file,
            None => File::open(self.path.join(name))?,
        };
        let mut content = vec![0; length];
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(&mut content)?;
        self.reading = Some((name.to_owned(), file));
        Ok(content)
    }

    fn append(&mut self, name: &str, parts: &[&[u8]]) -> io::Result<()> {
        let appending = self.appending(name)?;
        parts.iter().try_for_each(|part| appending.file.write_all(part))
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let path = self.path.clone();
        let appending = self.appending(name)?;
        appending.file.sync_data()?;
        if std::mem::take(&mut appending.made) {
            File::open(path)?.sync_all()?;
        }
        Ok(())
    }

    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()> {
        OpenOptions::new()
            .write(true)
            .open(self.path.join(name))?
            .set_len(length)
    }

    fn replace(&mut self, name: &str, content: &[u8], sync: bool) -> io::Result<()> {
        let new = self.path.join(format!("{name}{NEW}"));
        let mut file = private(OpenOptions::new().write(true).create(true).truncate(true)).open(&new)?;
        file.write_all(content)?;
        if sync {
            file.sync_data()?;
        }
        fs::rename(new, self.path.join(name))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        // A file that is open keeps its blocks.
        self.appending.take_if(|appending| appending.name == name);
        self.reading.take_if(|(open, _)| open == name);
        match fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// What was measured is nobody else's business.
#[cfg(unix)]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(0o600)
}

#[cfg(not(unix))]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

fn make_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn nobody_else_can_read_what_is_written() {
        use std::os::unix::fs::PermissionsExt as _;
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("queue/default");
        let mut folder = DiskFolder::new(path.clone());
        folder.open().unwrap();
        folder.append("a", &[b"x"]).unwrap();
        folder.replace("b", b"x", true).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&parent.path().join("queue"))), (0o700, 0o700));
        assert_eq!([LOCK, "a", "b"].map(|name| mode(&path.join(name))), [0o600; 3]);
    }

    #[test]
    fn a_folder_is_taken_by_one_and_free_again_when_that_one_is_gone() {
        let parent = tempfile::tempdir().unwrap();
        let mut first = DiskFolder::new(parent.path().to_owned());
        let mut second = DiskFolder::new(parent.path().to_owned());
        first.open().unwrap();
        first.open().unwrap();
        assert_eq!(second.open().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(first);
        // A process that another test starts at this moment holds every open file until it executes its program.
        let start = std::time::Instant::now();
        let mut names = second.open();
        while let Err(error) = &names
            && error.kind() == io::ErrorKind::WouldBlock
            && start.elapsed() < std::time::Duration::from_secs(5)
        {
            std::thread::yield_now();
            names = second.open();
        }
        assert_eq!(names.unwrap(), [LOCK]);
    }

    #[test]
    fn a_file_is_appended_to_cut_replaced_and_removed() {
        let parent = tempfile::tempdir().unwrap();
        let mut folder = DiskFolder::new(parent.path().to_owned());
        folder.open().unwrap();
        folder.append("a", &[b"one", b"two"]).unwrap();
        folder.sync("a").unwrap();
        folder.truncate("a", 3).unwrap();
        folder.append("a", &[b"three"]).unwrap();
        assert_eq!(folder.read("a").unwrap(), b"onethree");
        assert_eq!(folder.read_at("a", 3, 5).unwrap(), b"three");
        assert_eq!(
            folder.read_at("a", 3, 6).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
        folder.replace("a", b"new", false).unwrap();
        assert_eq!(folder.read("a").unwrap(), b"new");
        folder.remove("a").unwrap();
        folder.remove("a").unwrap();
        assert_eq!(folder.open().unwrap(), [LOCK]);
    }

    #[test]
    fn what_is_no_folder_is_told() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("file");
        fs::write(&path, "").unwrap();
        let trouble = |path: PathBuf| super::super::Trouble::of(&DiskFolder::new(path).open().unwrap_err());
        assert_eq!(trouble(path.clone()), super::super::Trouble::NotAFolder);
        assert_eq!(trouble(path.join("below")), super::super::Trouble::NotAFolder);
    }
}
