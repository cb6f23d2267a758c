//! The handle, its thread and real files.

use std::path::Path;
use std::sync::mpsc;
use std::{fs, io};

use super::*;
use crate::queue::simulated::SimulatedDisk;
use crate::wire::Protocol;

const BOUNDS: Bounds = Bounds {
    max_bytes: 1 << 30,
    max_age: Duration::from_hours(1),
};

fn open(folder: &Path) -> QueueHandle {
    QueueHandle::open(QueueSettings::new("default", BOUNDS, Some(folder.to_owned())))
}

fn request(number: u64) -> SealedRequest {
    SealedRequest {
        bytes: format!("request {number}").into(),
        protocol: Protocol::V1Snappy,
        samples: number,
        min_timestamp: 1,
        max_timestamp: 2,
        sealed_at: Instant::now(),
    }
}

/// Waits until the status is as it should be.
async fn wait_for(queue: &QueueHandle, reached: impl Fn(&QueueStatus) -> bool) {
    let wait = async {
        loop {
            let changed = queue.owner.0.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if reached(&queue.status()) {
                return;
            }
            changed.await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), wait).await;
    assert!(waited.is_ok(), "{:?}", queue.status());
}

async fn drain(queue: &QueueHandle) -> Vec<u64> {
    queue.close();
    let mut drained = Vec::new();
    while let Some((id, leased)) = queue.lease().await {
        assert_eq!(leased.bytes, request(leased.samples).bytes);
        drained.push(leased.samples);
        queue.ack(id);
    }
    drained
}

#[tokio::test]
async fn what_is_left_at_the_end_is_there_for_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue/default");
    let queue = open(&path);
    for number in 1..=100 {
        queue.push(request(number));
    }
    let (first, _) = queue.lease().await.unwrap();
    let (last, _) = queue.lease_newest().await.unwrap();
    queue.ack(first);
    queue.ack(last);
    queue.finish().await;
    let left = queue.status();
    assert_eq!(
        (left.requests, left.unsaved_samples, left.storage),
        (98, 0, Storage::Disk)
    );

    let queue = open(&path);
    assert_eq!(drain(&queue).await, (2..=99).collect::<Vec<_>>());
    let status = queue.status();
    assert_eq!((status.inherited, status.samples), ((2..=99).sum(), 0));
    queue.finish().await;
    let names: Vec<_> = fs::read_dir(&path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 2, "position and lock: {names:?}");
}

#[tokio::test]
async fn a_process_that_is_killed_leaves_what_was_saved() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    (1..=5).for_each(|number| queue.push(request(number)));
    wait_for(&queue, |status| status.unsaved_samples == 0 && status.storage.is_disk()).await;
    let copy = copy(folder.path());
    assert_eq!(drain(&open(copy.path())).await, [1, 2, 3, 4, 5]);
}

/// What the next process would find if this one were killed now.
fn copy(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

/// Of a snapshot that is as old as its number.
fn part_of(snapshot: u32, number: u64) -> SealedRequest {
    SealedRequest {
        min_timestamp: snapshot.into(),
        max_timestamp: snapshot.into(),
        ..request(number)
    }
}

#[tokio::test]
async fn no_snapshot_is_begun_while_a_killed_process_would_send_an_older_one_again() {
    const PARTS: u64 = 3;
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    let snapshots = 1..=20;
    for snapshot in snapshots.clone() {
        let first = u64::from(snapshot) * PARTS;
        (first..first + PARTS).for_each(|number| queue.push(part_of(snapshot, number)));
    }
    wait_for(&queue, |status| status.unsaved_samples == 0 && status.storage.is_disk()).await;
    for snapshot in snapshots {
        let (id, leased) = queue.lease().await.unwrap();
        assert_eq!(leased.moment(), Some(snapshot.into()));
        let others = [
            queue.lease_more(snapshot.into()).await,
            queue.lease_more(snapshot.into()).await,
        ];
        // Now it is on its way.
        let copy = copy(folder.path());
        let next_run = open(copy.path());
        assert_eq!(
            next_run.lease().await.unwrap().1.samples,
            leased.samples,
            "the first that comes again"
        );
        for id in others.map(|(id, _)| id).into_iter().chain([id]) {
            queue.ack(id);
        }
    }
}

#[tokio::test]
async fn a_disk_that_takes_no_note_holds_up_no_snapshot() {
    let disk = SimulatedDisk::default();
    let queue = QueueHandle::build(Queue::new(BOUNDS), Storage::Opening);
    let log = DiskLog::new("default", "simulated");
    queue.start(Keeper::new(queue.shared(), disk.clone(), log));
    (1..=50).for_each(|number| queue.push(part_of(number, number.into())));
    wait_for(&queue, |status| status.unsaved_samples == 0 && status.storage.is_disk()).await;
    disk.refuse_to_replace();
    let drained = tokio::time::timeout(Duration::from_secs(20), drain(&queue)).await;
    assert_eq!(
        drained,
        Ok((1..=50).collect()),
        "it is tried again in half a minute only"
    );
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_leaves_a_queue_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let taken = folder.path().join("taken");
    let owner = open(&taken);
    wait_for(&owner, |status| status.storage.is_disk()).await;
    for (path, trouble) in [(&file, Trouble::NotAFolder), (&taken, Trouble::Locked)] {
        let queue = open(path);
        queue.push(request(1));
        wait_for(&queue, |status| status.storage == Storage::Degraded(trouble)).await;
        queue.push(request(2));
        assert_eq!(drain(&queue).await, [1, 2]);
        queue.finish().await;
        assert_eq!(queue.status().storage, Storage::Degraded(trouble));
    }
}

#[tokio::test]
async fn the_folder_is_free_when_the_last_handle_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    wait_for(&queue, |status| status.storage.is_disk()).await;
    let shared = Arc::downgrade(&queue.owner.0);
    drop(queue);
    let gone = async {
        while shared.strong_count() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.unwrap();
    let queue = open(folder.path());
    wait_for(&queue, |status| status.storage.is_disk()).await;
}

#[tokio::test]
async fn without_a_folder_nothing_outlives_the_end_and_the_status_says_so() {
    let queue = QueueHandle::open(QueueSettings::new("default", BOUNDS, None));
    queue.push(request(7));
    queue.finish().await;
    let status = queue.status();
    assert_eq!((status.storage, status.unsaved_samples), (Storage::Memory, 7));
    assert_eq!(drain(&queue).await, [7]);
}

/// Tells the test below that it runs inside a small file system.
#[cfg(target_os = "linux")]
const SMALL_FOLDER: &str = "XPROBER_TEST_SMALL_FOLDER";

/// Runs itself once more in a mount namespace, on 256 kB of tmpfs; util-linux's `unshare` makes it, as for `make e2e`.
#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_file_system_that_is_really_full_takes_what_fits_and_the_rest_when_there_is_room() {
    if let Some(folder) = std::env::var_os(SMALL_FOLDER) {
        return fill(Path::new(&folder)).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let test =
        "queue::handle::tests::a_file_system_that_is_really_full_takes_what_fits_and_the_rest_when_there_is_room";
    let script = r#"mount -t tmpfs -o size=256k tmpfs "$1" && exec "$0" --exact "$2" --nocapture"#;
    let mut command = tokio::process::Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
    command
        .arg(std::env::current_exe().unwrap())
        .arg(folder.path())
        .arg(test);
    command.env(SMALL_FOLDER, folder.path()).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_mins(1), command.output())
        .await
        .unwrap()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && printed.contains("1 passed"), "{output:?}");
}

#[cfg(target_os = "linux")]
async fn fill(folder: &Path) {
    let large = |number: u64| SealedRequest {
        bytes: vec![b'x'; 10_000].into(),
        ..request(number)
    };
    let queue = open(folder);
    (1..=10).for_each(|number| queue.push(large(number)));
    wait_for(&queue, |status| status.unsaved_samples == 0 && status.storage.is_disk()).await;
    (11..=60).for_each(|number| queue.push(large(number)));
    let full = Storage::Degraded(Trouble::NoSpace);
    wait_for(&queue, |status| status.storage == full).await;
    let status = queue.status();
    assert_eq!(status.samples, (1..=60).sum::<u64>(), "{status:?}");
    // The oldest are on disk, as many as fit: 26 of them at most.
    let unsaved = (1..=60).find(|first| (*first..=60).sum::<u64>() == status.unsaved_samples);
    let unsaved = unsaved.expect("the youngest wait in memory");
    assert!((15..=27).contains(&unsaved), "{status:?}");
    // What is done makes room, and the room is used.
    for number in 1..unsaved {
        let (id, leased) = queue.lease().await.unwrap();
        assert_eq!(leased.samples, number);
        queue.ack(id);
    }
    wait_for(&queue, |now| now.unsaved_samples < status.unsaved_samples).await;
    let remount = ["-o", "remount,size=4m"];
    let mut mount = std::process::Command::new("mount");
    assert!(mount.args(remount).arg(folder).status().unwrap().success());
    queue.finish().await;
    assert_eq!(queue.status().unsaved_samples, 0);
    drop(queue);
    let queue = open(folder);
    queue.close();
    for number in unsaved..=60 {
        let (id, leased) = queue.lease().await.unwrap();
        assert_eq!(
            leased,
            SealedRequest {
                sealed_at: leased.sealed_at,
                ..large(number)
            }
        );
        queue.ack(id);
    }
    assert_eq!(queue.lease().await, None);
}

/// A disk whose writes take until told otherwise.
struct HungDisk {
    disk: SimulatedDisk,
    go_on: mpsc::Receiver<()>,
}

impl Folder for HungDisk {
    fn open(&mut self) -> io::Result<Vec<String>> {
        self.disk.open()
    }
    fn read(&mut self, name: &str) -> io::Result<Vec<u8>> {
        self.disk.read(name)
    }
    fn read_at(&mut self, name: &str, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        self.disk.read_at(name, offset, length)
    }
    fn append(&mut self, name: &str, parts: &[&[u8]]) -> io::Result<()> {
        // An error is the end of the test.
        let _ = self.go_on.recv();
        self.disk.append(name, parts)
    }
    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.disk.sync(name)
    }
    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()> {
        self.disk.truncate(name, length)
    }
    fn replace(&mut self, name: &str, content: &[u8], sync: bool) -> io::Result<()> {
        self.disk.replace(name, content, sync)
    }
    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
}

#[tokio::test]
async fn a_disk_that_hangs_holds_up_nobody_and_memory_stays_bounded() {
    let (release, go_on) = mpsc::channel();
    let disk = SimulatedDisk::default();
    let hung = HungDisk {
        disk: disk.clone(),
        go_on,
    };
    let queue = QueueHandle::build(Queue::with_memory(BOUNDS, 200), Storage::Opening);
    let log = DiskLog::new("default", "hung");
    queue.start(Keeper::new(queue.shared(), hung, log));
    for number in 1..=100 {
        queue.push(request(number));
    }
    let status = queue.status();
    assert!(status.bytes <= 200, "{status:?}");
    assert_eq!(
        status.samples + status.dropped.get(DropReason::Full),
        (1..=100).sum::<u64>()
    );
    let (id, oldest) = queue.lease().await.unwrap();
    queue.ack(id);
    let (newest, leased) = queue.lease_newest().await.unwrap();
    assert_eq!(leased.samples, 100);
    queue.release(newest);
    drop(release);
    wait_for(&queue, |status| status.unsaved_samples == 0).await;
    assert_eq!(drain(&queue).await, (oldest.samples + 1..=100).collect::<Vec<_>>());
}

#[tokio::test]
async fn two_lanes_share_a_queue_until_it_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    (1..=50).for_each(|number| queue.push(request(number)));
    queue.close();
    let live = async {
        let mut taken = Vec::new();
        while let Some((id, leased)) = queue.lease_newest().await {
            tokio::task::yield_now().await;
            queue.ack(id);
            taken.push(leased.samples);
        }
        taken
    };
    let backlog = async {
        let mut taken = Vec::new();
        while let Some((id, leased)) = queue.lease().await {
            tokio::task::yield_now().await;
            queue.ack(id);
            taken.push(leased.samples);
        }
        taken
    };
    let both = tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(live, backlog) });
    let (live, backlog) = both.await.unwrap();
    assert!(live.is_sorted_by(|a, b| a > b) && backlog.is_sorted_by(|a, b| a < b));
    let mut all = [live, backlog].concat();
    all.sort_unstable();
    assert_eq!(all, (1..=50).collect::<Vec<_>>());
}
