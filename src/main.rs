//! Parse, run, exit code.

use std::error::Error as _;
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
    let mut cause = error.source();
    while let Some(e) = cause {
        if e.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe) {
            return true;
        }
        cause = e.source();
    }
    false
}
