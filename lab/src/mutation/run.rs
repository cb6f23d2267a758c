//! Runs promtool over every break until a test fails, on all cores.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use tempfile::TempDir;

use super::case::{Case, cases, readers};
use super::equivalent::EQUIVALENT;
use super::mutant::{Mutant, mutants};
use super::rules::{Rule, RuleFiles};
use crate::error::LabError;
use crate::process::find;

/// Breaks between two lines about the progress.
const PROGRESS_EVERY: usize = 25;

/// Options of `xprober-lab mutate-rules`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Breaks only the rules whose name contains this.
    #[arg(long, default_value = "")]
    pub only: String,
}

/// Why the breaks could not be tried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MutationError {
    /// A file, folder or process failed.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// A file is not what it should be.
    #[error("reading or writing YAML of {file}")]
    Yaml {
        /// Which file.
        file: String,
        /// What is wrong.
        #[source]
        source: serde_yaml::Error,
    },
    /// A test fails although nothing is broken.
    #[error("{title} fails without any break:\n{output}")]
    Fails {
        /// The test.
        title: String,
        /// What promtool says.
        output: String,
    },
}

/// A test and how long it takes.
#[derive(Debug)]
struct Timed {
    case: Case,
    took: Duration,
}

/// Tries every break and answers what is wrong: breaks that no test notices, and exceptions that are none.
///
/// # Errors
/// [`MutationError`].
pub fn run(options: &Options) -> Result<Vec<String>, MutationError> {
    let started = Instant::now();
    let folder = find::repository().join("grafana/rules");
    let files = read_rules(&folder)?;
    let rules = files.rules();
    let mut all = mutants(&files);
    all.retain(|mutant| mutant.rule.contains(&options.only));
    let bench = Bench::new()?;
    let tests = bench.time(&files, read_cases(&folder.join("tests"))?)?;
    say(&format!(
        "{} breaks of {} rules, {} tests",
        all.len(),
        rules.len(),
        tests.len()
    ));
    let survivors = bench.survivors(&all, &rules, &tests)?;
    let complaints = verdict(&all, &survivors, options.only.is_empty());
    let noticed = all.len() - survivors.len();
    say(&format!(
        "{noticed} of {} breaks noticed in {:.0} s",
        all.len(),
        started.elapsed().as_secs_f64()
    ));
    Ok(complaints)
}

/// What is wrong with those that survived; exceptions are checked against all breaks only when all were tried.
fn verdict(all: &[Mutant], survivors: &BTreeSet<usize>, tried_all: bool) -> Vec<String> {
    let excused = |what: &str| EQUIVALENT.iter().any(|(known, _)| *known == what);
    let mut complaints = Vec::new();
    for (index, mutant) in all.iter().enumerate() {
        match (survivors.contains(&index), excused(&mutant.what)) {
            (true, false) => complaints.push(format!("no test notices: {}", mutant.what)),
            (false, true) => complaints.push(format!("listed as equivalent, but noticed: {}", mutant.what)),
            (true, true) | (false, false) => (),
        }
    }
    for (what, _) in EQUIVALENT {
        if tried_all && !all.iter().any(|mutant| mutant.what == what) {
            complaints.push(format!("listed as equivalent, but there is no such break: {what}"));
        }
    }
    complaints
}

fn read_rules(folder: &Path) -> Result<RuleFiles, MutationError> {
    let mut files = RuleFiles::default();
    for (name, text) in yaml_files(folder)? {
        let yaml = |source| MutationError::Yaml {
            file: name.clone(),
            source,
        };
        files.add(&name, &text).map_err(yaml)?;
    }
    Ok(files)
}

fn read_cases(folder: &Path) -> Result<Vec<Case>, MutationError> {
    let mut all = Vec::new();
    for (file, text) in yaml_files(folder)? {
        all.extend(cases(&file, &text).map_err(|source| MutationError::Yaml { file, source })?);
    }
    Ok(all)
}

/// Names and contents of the YAML files of a folder, by name.
fn yaml_files(folder: &Path) -> Result<Vec<(String, String)>, LabError> {
    let doing = || LabError::io(format!("reading {}", folder.display()));
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).map_err(doing())? {
        let path = entry.map_err(doing())?.path();
        if path.extension().is_some_and(|extension| extension == "yml")
            && let Some(name) = path.file_name().and_then(|name| name.to_str())
        {
            all.push((name.to_owned(), fs::read_to_string(&path).map_err(doing())?));
        }
    }
    all.sort();
    Ok(all)
}

/// Where breaks are tried.
#[derive(Debug)]
struct Bench {
    promtool: PathBuf,
    work: TempDir,
    workers: usize,
}

impl Bench {
    fn new() -> Result<Self, LabError> {
        Ok(Self {
            promtool: find::tool("promtool")?,
            work: tempfile::tempdir().map_err(LabError::io("making a folder for broken rules"))?,
            workers: thread::available_parallelism().map_or(1, usize::from),
        })
    }

    /// Runs every test on the rules as they are, and answers them by duration.
    fn time(&self, files: &RuleFiles, cases: Vec<Case>) -> Result<Vec<Timed>, MutationError> {
        let timed = self.each(&cases, |place, case| {
            let started = Instant::now();
            match self.complaint(place, files, case)? {
                None => Ok(started.elapsed()),
                Some(output) => Err(MutationError::Fails {
                    title: case.title.clone(),
                    output,
                }),
            }
        })?;
        let pairs = cases.into_iter().zip(timed);
        let mut tests: Vec<_> = pairs.map(|(case, took)| Timed { case, took }).collect();
        tests.sort_by_key(|test| test.took);
        Ok(tests)
    }

    /// Indices of the breaks that no test notices.
    fn survivors(&self, all: &[Mutant], rules: &[Rule], tests: &[Timed]) -> Result<BTreeSet<usize>, MutationError> {
        let tried = AtomicUsize::new(0);
        let noticed = self.each(all, |place, mutant| {
            let number = tried.fetch_add(1, Ordering::Relaxed);
            if number > 0 && number.is_multiple_of(PROGRESS_EVERY) {
                say(&format!("{number} of {} breaks tried", all.len()));
            }
            for test in by_relevance(mutant, rules, tests) {
                if self.complaint(place, &mutant.files, &test.case)?.is_some() {
                    return Ok(true);
                }
            }
            say(&format!("not noticed: {}", mutant.what));
            Ok(false)
        })?;
        let indexed = noticed.into_iter().enumerate();
        Ok(indexed
            .filter(|(_, noticed)| !noticed)
            .map(|(index, _)| index)
            .collect())
    }

    /// Runs one test over one set of rules, and answers what promtool complains about.
    fn complaint(&self, place: &Path, files: &RuleFiles, case: &Case) -> Result<Option<String>, MutationError> {
        let needed = if case.asks_by_pattern() {
            files.clone()
        } else {
            files.needed(&case.mentions)
        };
        let texts = needed.texts().map_err(|source| MutationError::Yaml {
            file: case.title.clone(),
            source,
        })?;
        for (name, text) in &texts {
            write(&place.join(name), text)?;
        }
        let file = place.join("case.yml");
        write(&file, &case.text)?;
        let output = Command::new(&self.promtool)
            .args(["test", "rules"])
            .arg(&file)
            .env("GOMAXPROCS", "1")
            .stdin(Stdio::null())
            .output()
            .map_err(LabError::io("running promtool"))?;
        let text = || [output.stdout.as_slice(), output.stderr.as_slice()].concat();
        Ok((!output.status.success()).then(|| String::from_utf8_lossy(&text()).into_owned()))
    }

    /// Does something with each item, on all cores, each with a folder of its own; answers in the items' order.
    fn each<T: Sync, R: Send>(
        &self,
        items: &[T],
        work: impl Fn(&Path, &T) -> Result<R, MutationError> + Sync,
    ) -> Result<Vec<R>, MutationError> {
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::with_capacity(items.len()));
        let worker = |number: usize| -> Result<(), MutationError> {
            let place = self.work.path().join(number.to_string());
            fs::create_dir_all(&place).map_err(LabError::io(format!("making {}", place.display())))?;
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(item) = items.get(index) else { return Ok(()) };
                let result = work(&place, item).inspect_err(|_| next.store(items.len(), Ordering::Relaxed))?;
                done.lock()
                    .map_err(|_| LabError::Thread("trying broken rules"))?
                    .push((index, result));
            }
        };
        thread::scope(|scope| {
            let worker = &worker;
            let threads: Vec<_> = (0..self.workers)
                .map(|number| scope.spawn(move || worker(number)))
                .collect();
            let ended = threads.into_iter().map(|thread| {
                let joined = thread.join().map_err(|_| LabError::Thread("trying broken rules"));
                joined.map_err(MutationError::from).flatten()
            });
            ended.collect::<Result<Vec<()>, _>>()
        })?;
        let mut done = done.into_inner().map_err(|_| LabError::Thread("trying broken rules"))?;
        done.sort_by_key(|(index, _)| *index);
        Ok(done.into_iter().map(|(_, result)| result).collect())
    }
}

/// Tests that may notice a break, in the order in which they are likely to: those that name the rule, those that name what reads it, the
/// rest; the fastest first. What an alert does shows in any test, because most ask for alerts that nobody expects; so does what an
/// alert reads. A recording that no alert reads shows only where a test asks for it.
fn by_relevance<'a>(mutant: &Mutant, rules: &[Rule], tests: &'a [Timed]) -> Vec<&'a Timed> {
    let readers = readers(&mutant.rule, rules);
    let by_alerts = rules
        .iter()
        .any(|rule| !rule.is_recording() && readers.contains(&rule.name));
    let rank = |test: &Timed| {
        if test.case.mentions.contains(&mutant.rule) {
            0
        } else {
            1 + u8::from(test.case.mentions.is_disjoint(&readers))
        }
    };
    let may_notice = |test: &&Timed| by_alerts || test.case.asks_by_pattern() || rank(test) < 2;
    let mut sorted: Vec<_> = tests.iter().filter(may_notice).collect();
    sorted.sort_by_key(|test| (rank(test), test.took));
    sorted
}

fn write(path: &Path, text: &str) -> Result<(), LabError> {
    fs::write(path, text).map_err(LabError::io(format!("writing {}", path.display())))
}

fn say(text: &str) {
    let _gone = writeln!(std::io::stderr(), "mutate-rules: {text}");
}
