//! The planner's process: arguments, verbs, exit status.

use std::io::{Write as _, stderr, stdout};
use std::process::ExitCode;

use xprober_planner::cli::{self, Verb};

fn main() -> ExitCode {
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; a closed terminal is nobody to complain to.
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()) * 2);
        }
    };
    let done = match cli.verb {
        Verb::Run(args) => {
            cli::run::log(&args);
            cli::run::run(&args)
        }
        Verb::Check(args) => cli::check::check(&args, &mut stdout()),
        Verb::Plan(args) => cli::plan::plan(&args, &mut stdout()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}
