//! The agent's process: arguments, verbs, exit status.

use std::io::{Write as _, stderr};
use std::process::ExitCode;

use xprober_agent::cli;

fn main() -> ExitCode {
    let verb = match cli::parse(std::env::args_os()) {
        Ok(verb) => verb,
        Err(error) => {
            // Help and version are no errors; a closed terminal is nobody to complain to.
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()) * 2);
        }
    };
    match xprober_agent::verb::perform(verb) {
        Ok(status) => status,
        Err(error) => {
            let _ = writeln!(stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}
