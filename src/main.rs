//! Parse, run, exit code.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::process::ExitCode;

use clap::Parser;
use quietwatch::cli::{self, Args, messages};
use quietwatch::error::Kind;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        // Help and the version are no errors, and go to standard output.
        Err(asked) if !asked.use_stderr() => {
            let _ = asked.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            messages::usage_error(&error, std::env::args_os());
            return ExitCode::from(Kind::Usage.exit_code());
        }
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let outcome = messages::contained(|| cli::run(args, &mut out));
    match outcome.and_then(|code| out.flush().map(|()| code).map_err(cli::cannot_print)) {
        Ok(code) => code,
        // Whoever read the output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            messages::error(&error);
            ExitCode::from(error.kind().exit_code())
        }
    }
}

fn is_broken_pipe(error: &quietwatch::Error) -> bool {
    let is_pipe = |e: &io::Error| e.kind() == ErrorKind::BrokenPipe;
    error.causes().any(|cause| cause.downcast_ref().is_some_and(is_pipe))
}
