//! The records of a queue in the files of its folder: which stand where, which are done, which files can go.
//!
//! Everything here runs on the queue's own thread. A file is written by one process and never appended to by a later
//! one. After a failed call the store still answers for every record that it confirmed, and the call can be repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use bytes::Bytes;
use tracing::warn;

use super::folder::Folder;
use super::ids::Ids;
use super::position::{self, Position};
use super::record::{HEADER_BYTES, Header, MAX_ID, Place};
use super::segment;

/// A segment that has grown to this gets a successor.
pub(super) const SEGMENT_BYTES: u64 = 4 << 20;
/// Numbers left to a file that could not be read, for the records that may stand in it.
const UNREAD_IDS: u64 = 1 << 32;

/// A request to be written.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) header: Header,
    pub(super) body: Bytes,
}

/// A request that an earlier run left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) header: Header,
    pub(super) offset: u64,
}

/// What was in the folder.
#[derive(Debug, Default)]
pub(super) struct Inheritance {
    /// Whole requests that are not done, in order.
    pub(super) found: Vec<Found>,
    /// Samples of requests that were damaged, as far as it is known how many they had.
    pub(super) damaged_samples: u64,
    /// First number of the oldest file that could not be read; the next run may find its records.
    unread: Option<u64>,
}

/// Why a record could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// It is not there any more, or not as it was written.
    #[error("the record is damaged")]
    Damaged,
    /// The disk did not answer it; perhaps it does later.
    #[error("read the record")]
    Failed(#[source] io::Error),
}

#[derive(Debug)]
pub(super) struct Store<F> {
    folder: F,
    /// By the number of the first record.
    segments: BTreeMap<u64, Segment>,
    active: Option<Active>,
    position: Position,
    dirty: bool,
    next_id: u64,
    segment_bytes: u64,
}

#[derive(Debug, Default)]
struct Segment {
    /// Records in it that are not done.
    undone: BTreeSet<u64>,
}

/// The segment that grows, until an append fails: then the next one goes to a new file, and this one can go when it is
/// done.
#[derive(Debug, Clone, Copy)]
struct Active {
    first: u64,
    /// Bytes that are confirmed.
    length: u64,
    /// More may stand behind them.
    torn: bool,
}

impl<F: Folder> Store<F> {
    /// Takes the folder and finds what is in it. On failure the folder is given back, to try again.
    pub(super) fn open(mut folder: F, segment_bytes: u64) -> Result<(Self, Inheritance), (F, io::Error)> {
        let names = match folder.open() {
            Ok(names) => names,
            Err(error) => return Err((folder, error)),
        };
        let position = read_position(&mut folder, &names);
        let mut store = Self {
            folder,
            segments: BTreeMap::new(),
            active: None,
            next_id: position.end(),
            position,
            dirty: false,
            segment_bytes,
        };
        let firsts: BTreeSet<u64> = names.iter().filter_map(|name| segment::first_of(name)).collect();
        let limits = firsts.iter().skip(1).copied().chain([MAX_ID]);
        let mut inheritance = Inheritance::default();
        for (first, limit) in firsts.iter().zip(limits) {
            store.inherit(*first, limit, &mut inheritance);
        }
        // Nothing below the first record that is left will ever come back.
        let left = inheritance.found.first().map(|found| found.header.id);
        let lowest = left.into_iter().chain(inheritance.unread).min();
        store.position.insert_range(0..lowest.unwrap_or(store.next_id));
        Ok((store, inheritance))
    }

    /// The number that the next record should have.
    pub(super) const fn next_id(&self) -> u64 {
        self.next_id
    }

    /// Reads one segment that an earlier run wrote.
    fn inherit(&mut self, first: u64, limit: u64, inheritance: &mut Inheritance) {
        let name = segment::name(first);
        let scanned = match self.folder.read(&name) {
            Ok(content) => segment::scan(first, limit, &content)
                .map(|scan| (scan, content.len() as u64))
                .map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let (scan, length) = match scanned {
            Ok(scanned) => scanned,
            Err(error) => {
                warn!(file = name, error, "queue file cannot be read, it is left as it is");
                self.next_id = self.next_id.max(first.saturating_add(UNREAD_IDS));
                inheritance.unread.get_or_insert(first);
                return;
            }
        };
        let headers = scan.records.iter().map(|(_, header)| header).chain(&scan.damaged);
        let highest = headers.map(|header| header.id).max().unwrap_or(first);
        self.next_id = self.next_id.max(highest + 1);

        let damaged = scan.damaged.iter().filter(|header| !self.position.contains(header.id));
        let damaged: Vec<Header> = damaged.copied().collect();
        let damaged_samples = damaged.iter().map(|header| header.samples).sum::<u64>();
        if scan.lost_bytes > 0 {
            warn!(
                file = name,
                bytes = scan.lost_bytes,
                samples = damaged_samples,
                "part of a queue file is damaged, the requests in it are lost"
            );
        }
        inheritance.damaged_samples += damaged_samples;
        for header in damaged {
            // Counted once, not by every run that finds the file.
            self.position.insert_range(header.id..header.id + 1);
            self.dirty = true;
        }

        let undone = scan
            .records
            .iter()
            .filter(|(_, header)| !self.position.contains(header.id));
        let undone: Vec<Found> = undone
            .map(|(offset, header)| Found {
                header: *header,
                offset: *offset,
            })
            .collect();
        let ids = undone.iter().map(|found| found.header.id).collect();
        self.segments.insert(first, Segment { undone: ids });
        if undone.is_empty() {
            // Failing that, the next one that is done tries again.
            let _ = self.remove_done();
        } else if scan.end < length {
            // It only saves room; the next run reads over the rest as this one did.
            let _ = self.folder.truncate(&name, scan.end);
        }
        inheritance.found.extend(undone);
    }

    /// Appends records, whose numbers ascend, and waits for the disk; answers the offset of each. On failure none of them
    /// counts as written.
    pub(super) fn append(&mut self, records: &[Record]) -> io::Result<Vec<u64>> {
        match self.try_append(records) {
            // Where there is little room, what is done may take up most of it.
            Err(_) if self.remove_done().unwrap_or(false) => self.try_append(records),
            other => other,
        }
    }

    fn try_append(&mut self, records: &[Record]) -> io::Result<Vec<u64>> {
        let Some(first) = records.first() else {
            return Ok(Vec::new());
        };
        self.repair()?;
        let mut active = match self.active {
            Some(active) if active.length < self.segment_bytes => active,
            Some(_) | None => Active {
                first: first.header.id,
                length: 0,
                torn: false,
            },
        };
        let beginning = if active.length == 0 {
            segment::beginning()
        } else {
            Vec::new()
        };
        let mut offset = active.length + beginning.len() as u64;
        let mut offsets = Vec::with_capacity(records.len());
        let mut headers = Vec::with_capacity(records.len());
        for record in records {
            let place = Place {
                segment: active.first,
                offset,
            };
            headers.push(record.header.encode(place));
            offsets.push(offset);
            offset += (HEADER_BYTES + record.body.len()) as u64;
        }
        let bodies = records.iter().map(|record| &*record.body);
        let pairs = headers
            .iter()
            .zip(bodies)
            .flat_map(|(header, body)| [header.as_slice(), body]);
        let parts: Vec<&[u8]> = [beginning.as_slice()].into_iter().chain(pairs).collect();

        let name = segment::name(active.first);
        active.torn = true;
        self.active = Some(active);
        let written = self.folder.append(&name, &parts).and_then(|()| self.folder.sync(&name));
        if let Err(error) = written {
            // Frees what was written; a file that does not even allow this is left to the reader, who knows by the name of
            // the next one what counts, or, if nothing is confirmed in it, repaired before the next attempt.
            let repaired = self.repair();
            if repaired.is_err() && active.length > 0 {
                self.active = None;
            }
            return Err(error);
        }
        self.active = Some(Active {
            length: offset,
            torn: false,
            ..active
        });
        let segment = self.segments.entry(active.first).or_default();
        segment.undone.extend(records.iter().map(|record| record.header.id));
        self.next_id = records.last().map_or(self.next_id, |last| last.header.id + 1);
        Ok(offsets)
    }

    /// Cuts off what a failed append may have left.
    fn repair(&mut self) -> io::Result<()> {
        let Some(active) = self.active.filter(|active| active.torn) else {
            return Ok(());
        };
        let name = segment::name(active.first);
        if active.length == 0 {
            self.folder.remove(&name)?;
        } else {
            self.folder.truncate(&name, active.length)?;
        }
        self.active = None;
        Ok(())
    }

    /// Reads the body of a record.
    pub(super) fn read(&mut self, id: u64, offset: u64, body_bytes: u64) -> Result<Bytes, ReadError> {
        let (first, _) = self.segments.range(..=id).next_back().ok_or(ReadError::Damaged)?;
        let place = Place {
            segment: *first,
            offset,
        };
        let length = usize::try_from(body_bytes).map_err(|_| ReadError::Damaged)?;
        let content = self
            .folder
            .read_at(&segment::name(*first), offset, HEADER_BYTES + length);
        let content = content.map_err(|error| match error.kind() == io::ErrorKind::NotFound {
            true => ReadError::Damaged,
            false if error.kind() == io::ErrorKind::UnexpectedEof => ReadError::Damaged,
            false => ReadError::Failed(error),
        })?;
        let header = Header::decode(&content, place).filter(|header| header.id == id);
        let body = Bytes::from(content).slice(HEADER_BYTES..);
        match header {
            Some(header) if header.owns(&body) => Ok(body),
            Some(_) | None => Err(ReadError::Damaged),
        }
    }

    /// Notes that records are done, whether they were ever written or not, and removes files without others.
    ///
    /// Answers whether a file went.
    pub(super) fn finish(&mut self, ids: &Ids) -> io::Result<bool> {
        for range in ids.ranges() {
            self.position.insert_range(range.clone());
            let first = self
                .segments
                .range(..=range.start)
                .next_back()
                .map_or(range.start, |(first, _)| *first);
            for (_, segment) in self.segments.range_mut(first..range.end.max(first)) {
                while let Some(&id) = segment.undone.range(range.clone()).next() {
                    segment.undone.remove(&id);
                    self.dirty = true;
                }
            }
        }
        self.remove_done()
    }

    fn remove_done(&mut self) -> io::Result<bool> {
        let active = self.active.map(|active| active.first);
        let done = self
            .segments
            .iter()
            .filter(|(first, segment)| segment.undone.is_empty() && Some(**first) != active);
        let done: Vec<u64> = done.map(|(first, _)| *first).collect();
        for first in &done {
            self.folder.remove(&segment::name(*first))?;
            self.segments.remove(first);
        }
        Ok(!done.is_empty())
    }

    /// Tells whether the position file lags behind.
    pub(super) const fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Writes the position file; with `sync` it outlives a power cut.
    pub(super) fn write_position(&mut self, sync: bool) -> io::Result<()> {
        self.folder.replace(position::NAME, &self.position.encode(), sync)?;
        self.dirty = false;
        Ok(())
    }

    /// Removes the segment that grows as well when nothing waits in it, and writes the position whatever else fails.
    pub(super) fn close(&mut self) -> io::Result<()> {
        let repaired = self.repair();
        self.active = None;
        let removed = self.remove_done();
        self.write_position(true)?;
        repaired?;
        removed.map(drop)
    }
}

fn read_position<F: Folder>(folder: &mut F, names: &[String]) -> Position {
    if !names.iter().any(|name| name == position::NAME) {
        return Position::default();
    }
    let position = folder.read(position::NAME).map(|content| Position::decode(&content));
    let error = match position {
        Ok(Some(position)) => return position,
        Ok(None) => "damaged".to_owned(),
        Err(error) => error.to_string(),
    };
    warn!(
        error,
        "queue position cannot be read, requests that are still in the queue's files are sent again"
    );
    Position::default()
}
