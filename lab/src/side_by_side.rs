//! Several labs at a time: this program runs itself once for each, inside namespaces of its own, and reads what each found
//! from a file.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::enter::{self, Launch};
use crate::error::LabError;

/// Exit status of an inside that was asked to stop; nothing more is started then.
pub const STOPPED: u8 = 130;

/// One lab to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// For messages; unique.
    pub name: String,
    /// Arguments of this program inside; `--result=FILE` is added.
    pub arguments: Vec<OsString>,
}

/// Runs the jobs in their order, `at_once` at a time, hands each result to `done` when it comes, and answers all of them in
/// the jobs' order; nothing for jobs that were not started because somebody asked to stop.
///
/// # Errors
/// [`LabError::Io`] when there is no place for results.
pub fn run<T: DeserializeOwned + Send>(
    jobs: &[Job],
    at_once: usize,
    mut done: impl FnMut(&Job, &Result<T, LabError>),
) -> Result<Vec<Option<Result<T, LabError>>>, LabError> {
    let folder = tempfile::tempdir().map_err(LabError::io("making a folder for results"))?;
    let (next, stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (sender, receiver) = mpsc::channel();
    let mut results: Vec<Option<Result<T, LabError>>> = jobs.iter().map(|_| None).collect();
    thread::scope(|scope| {
        for _ in 0..at_once.clamp(1, jobs.len().max(1)) {
            let sender = sender.clone();
            let (next, stopped, folder) = (&next, &stopped, folder.path());
            scope.spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(place) else { return };
                    let (code, result) = run_one(job, &folder.join(place.to_string()));
                    if code == i32::from(STOPPED) {
                        stopped.store(true, Ordering::Relaxed);
                    }
                    if sender.send((place, result)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (place, result) in receiver {
            done(&jobs[place], &result);
            results[place] = Some(result);
        }
    });
    Ok(results)
}

/// Blocks this thread until the inside has ended, as [`enter::run_inside`] needs it.
fn run_one<T: DeserializeOwned>(job: &Job, file: &Path) -> (i32, Result<T, LabError>) {
    let mut option = OsString::from("--result=");
    option.push(file);
    let launch = Launch {
        arguments: job.arguments.iter().cloned().chain([option]).collect(),
        ..Launch::default()
    };
    let finished = match enter::run_inside(&launch) {
        Ok(finished) => finished,
        Err(error) => return (1, Err(error)),
    };
    let result = read(file).map_err(|error| match finished.kept {
        Some(log) => LabError::Ended {
            name: job.name.clone(),
            status: format!("exit code {}", finished.code),
            log,
            tail: String::new(),
        },
        None => error,
    });
    (finished.code, result)
}

fn read<T: DeserializeOwned>(file: &Path) -> Result<T, LabError> {
    let bytes = fs::read(file).map_err(LabError::io(format!("reading {}", file.display())))?;
    serde_json::from_slice(&bytes).map_err(|error| LabError::Config {
        file: file.to_owned(),
        reason: error.to_string(),
    })
}

/// Writes what an inside found, for [`run`] to read.
///
/// # Errors
/// [`LabError::Io`].
pub fn write(file: &Path, result: &impl Serialize) -> Result<(), LabError> {
    let doing = || LabError::io(format!("writing {}", file.display()));
    let bytes = serde_json::to_vec(result).map_err(|error| doing()(error.into()))?;
    fs::write(file, bytes).map_err(doing())
}
