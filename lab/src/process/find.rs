//! Where the programs are that the lab runs.

use std::env;
use std::path::{Path, PathBuf};

use crate::error::LabError;

/// Folder of the repository, to read its configuration, rules and dashboards from: `$XPROBER_REPOSITORY`, or where this
/// crate was built.
#[must_use]
pub fn repository() -> PathBuf {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    env::var_os("XPROBER_REPOSITORY").map_or_else(built, PathBuf::from)
}

/// Finds one of our own programs (`xprober-planner`, `xprober-agent`): in `$XPROBER_BIN_DIR`, else beside this program.
///
/// # Errors
/// [`LabError::NoProgram`].
pub fn own_program(name: &str) -> Result<PathBuf, LabError> {
    let folders = match env::var_os("XPROBER_BIN_DIR") {
        Some(folder) => vec![PathBuf::from(folder)],
        None => folders_of_this_program(),
    };
    first_file(&folders, &[name]).ok_or_else(|| LabError::NoProgram {
        program: name.to_owned(),
        hint: format!("build it with `cargo build -p {name}` or set XPROBER_BIN_DIR"),
    })
}

/// Finds one of the programs that `lab/fetch-tools.sh` gets: in `$XPROBER_TOOLS/bin` or `target/tools/bin`, else on PATH.
///
/// # Errors
/// [`LabError::NoProgram`].
pub fn tool(name: &str) -> Result<PathBuf, LabError> {
    let mut folders = tool_folders("bin");
    folders.extend(
        env::var_os("PATH")
            .iter()
            .flat_map(|path| env::split_paths(path).collect::<Vec<_>>()),
    );
    // Upstream's archives call Alertmanager by its bare name.
    let names = [name, name.trim_start_matches("prometheus-")];
    first_file(&folders, &names).ok_or_else(|| LabError::NoProgram {
        program: name.to_owned(),
        hint: "run lab/fetch-tools.sh".to_owned(),
    })
}

/// Finds headless Chromium: what `lab/fetch-tools.sh browser` gets, else a browser of that family on PATH.
///
/// # Errors
/// [`LabError::NoProgram`].
pub fn browser() -> Result<PathBuf, LabError> {
    let names = [
        "chromium-headless-shell",
        "chromium",
        "chromium-browser",
        "google-chrome",
    ];
    let found = names.into_iter().find_map(|name| tool(name).ok());
    found.ok_or_else(|| LabError::NoProgram {
        program: names[0].to_owned(),
        hint: "run lab/fetch-tools.sh browser".to_owned(),
    })
}

/// Finds a program of a Debian release (`bookworm`, `trixie`, `sid`) that `lab/fetch-tools.sh versions` gets; what the
/// machine itself has is no substitute.
///
/// # Errors
/// [`LabError::NoProgram`].
pub fn tool_of(release: &str, name: &str) -> Result<PathBuf, LabError> {
    let folders = tool_folders(&format!("versions/{release}/bin"));
    first_file(&folders, &[name]).ok_or_else(|| LabError::NoProgram {
        program: format!("{name} of {release}"),
        hint: "run lab/fetch-tools.sh versions".to_owned(),
    })
}

/// The places where `lab/fetch-tools.sh` may have put a folder.
fn tool_folders(folder: &str) -> Vec<PathBuf> {
    let told = env::var_os("XPROBER_TOOLS").map(|tools| PathBuf::from(tools).join(folder));
    let near = folders_of_this_program();
    let near = near.iter().map(|near| near.join("../tools").join(folder));
    let mut folders: Vec<_> = told.into_iter().chain(near).collect();
    folders.push(repository().join("target/tools").join(folder));
    folders
}

/// `target/debug/deps/x` and `target/debug/x` both lead to `target/debug`.
fn folders_of_this_program() -> Vec<PathBuf> {
    let program = env::current_exe().unwrap_or_default();
    program.ancestors().skip(1).take(2).map(Path::to_owned).collect()
}

fn first_file(folders: &[PathBuf], names: &[&str]) -> Option<PathBuf> {
    let mut candidates = folders
        .iter()
        .flat_map(|folder| names.iter().map(move |name| folder.join(name)));
    candidates.find_map(|candidate| candidate.canonicalize().ok().filter(|file| file.is_file()))
}
