//! A disk for tests: it can fail at any call, be killed under, and lose power.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use super::folder::Folder;

/// The files of a folder, as a disk holds them; clones are the same disk.
#[derive(Debug, Clone, Default)]
pub(super) struct SimulatedDisk(Arc<Mutex<Content>>);

#[derive(Debug, Default)]
struct Content {
    files: BTreeMap<String, File>,
    calls: u64,
    /// Which calls fail and how.
    failing: Option<(std::ops::Range<u64>, io::ErrorKind)>,
    failed: u64,
    syncs: u64,
    replaced: u64,
    /// No file can be replaced.
    fixed: bool,
}

#[derive(Debug, Clone, Default)]
struct File {
    content: Vec<u8>,
    /// Bytes that outlive a power cut.
    synced: usize,
    /// What a power cut may bring back.
    replaced: Option<Vec<u8>>,
}

impl SimulatedDisk {
    /// Lets the calls with these numbers fail, counted from now.
    pub(super) fn fail(&self, calls: std::ops::Range<u64>, kind: io::ErrorKind) {
        let mut content = self.0.lock().unwrap();
        content.failing = Some((
            content.calls + calls.start..content.calls.saturating_add(calls.end),
            kind,
        ));
        content.failed = 0;
    }

    /// Lets every attempt to replace a file fail.
    pub(super) fn refuse_to_replace(&self) {
        self.0.lock().unwrap().fixed = true;
    }

    pub(super) fn heal(&self) {
        self.0.lock().unwrap().failing = None;
    }

    /// Calls that failed since they were told to.
    pub(super) fn failed(&self) -> u64 {
        self.0.lock().unwrap().failed
    }

    pub(super) fn syncs(&self) -> u64 {
        self.0.lock().unwrap().syncs
    }

    /// How often a file was replaced.
    pub(super) fn replaced(&self) -> u64 {
        self.0.lock().unwrap().replaced
    }

    /// Loses what was not synced: `keep` says how much of that the disk wrote all the same, of 255 parts.
    pub(super) fn cut_power(&self, keep: u8) {
        for file in self.0.lock().unwrap().files.values_mut() {
            let unsynced = file.content.len() - file.synced;
            file.content.truncate(file.synced + unsynced * usize::from(keep) / 255);
            match (file.replaced.take(), keep % 3) {
                (Some(old), 0) => file.content = old,
                (Some(_), 1) => file.content.clear(),
                (Some(_) | None, _) => {}
            }
            file.synced = file.content.len();
        }
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().files.keys().cloned().collect()
    }

    pub(super) fn content(&self, name: &str) -> Vec<u8> {
        self.0.lock().unwrap().files[name].content.clone()
    }

    pub(super) fn write(&self, name: &str, content: Vec<u8>) {
        let file = File {
            synced: content.len(),
            content,
            replaced: None,
        };
        self.0.lock().unwrap().files.insert(name.to_owned(), file);
    }

    /// Another disk with the same files.
    pub(super) fn copy(&self) -> Self {
        let files = self.0.lock().unwrap().files.clone();
        Self(Arc::new(Mutex::new(Content {
            files,
            ..Content::default()
        })))
    }

    fn call<T>(&self, call: impl FnOnce(&mut Content, bool) -> io::Result<T>) -> io::Result<T> {
        let mut content = self.0.lock().unwrap();
        let number = content.calls;
        content.calls += 1;
        let failing = content.failing.clone().filter(|(calls, _)| calls.contains(&number));
        let Some((_, kind)) = failing else {
            return call(&mut content, false);
        };
        content.failed += 1;
        let _ = call(&mut content, true);
        Err(kind.into())
    }
}

impl Content {
    fn file(&mut self, name: &str) -> io::Result<&mut File> {
        self.files.get_mut(name).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Folder for SimulatedDisk {
    fn open(&mut self) -> io::Result<Vec<String>> {
        self.call(|content, _| Ok(content.files.keys().cloned().collect()))
    }

    fn read(&mut self, name: &str) -> io::Result<Vec<u8>> {
        self.call(|content, _| Ok(content.file(name)?.content.clone()))
    }

    fn read_at(&mut self, name: &str, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        self.call(|content, _| {
            let offset = usize::try_from(offset).unwrap();
            let bytes = content.file(name)?.content.get(offset..offset + length);
            bytes
                .map(<[u8]>::to_vec)
                .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
        })
    }

    fn append(&mut self, name: &str, parts: &[&[u8]]) -> io::Result<()> {
        self.call(|content, fails| {
            let file = content.files.entry(name.to_owned()).or_default();
            let bytes = parts.concat();
            // A call that fails leaves half of it.
            let length = if fails { bytes.len() / 2 } else { bytes.len() };
            file.content.extend(&bytes[..length]);
            Ok(())
        })
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.call(|content, fails| {
            content.syncs += u64::from(!fails);
            let file = content.file(name)?;
            if !fails {
                file.synced = file.content.len();
            }
            Ok(())
        })
    }

    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()> {
        self.call(|content, fails| {
            let file = content.file(name)?;
            if !fails {
                file.content.truncate(usize::try_from(length).unwrap());
                file.synced = file.synced.min(file.content.len());
            }
            Ok(())
        })
    }

    fn replace(&mut self, name: &str, bytes: &[u8], sync: bool) -> io::Result<()> {
        self.call(|content, fails| {
            if content.fixed {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            if !fails {
                content.replaced += 1;
                let old = content.files.get(name).map(|file| file.content.clone());
                let file = File {
                    content: bytes.to_vec(),
                    synced: bytes.len(),
                    replaced: (!sync).then(|| old.unwrap_or_default()),
                };
                content.files.insert(name.to_owned(), file);
            }
            Ok(())
        })
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.call(|content, fails| {
            if !fails {
                content.files.remove(name);
            }
            Ok(())
        })
    }
}
