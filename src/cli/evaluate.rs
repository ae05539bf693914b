//! `evaluate`: a run, or a file of anomalies, beside labels.

use std::io::Write;

use super::args::EvaluateArgs;
use super::{cannot_print, print_json};
use crate::error::Result;
use crate::evaluation;

pub(super) fn run(args: &EvaluateArgs, out: &mut dyn Write) -> Result<()> {
    let labels = evaluation::labels::read(&args.labels)?;
    let (run, anomalies) = match (&args.run, &args.anomalies) {
        (Some(dir), _) => {
            let (run, anomalies) = crate::report::run_folder::load(dir)?;
            (Some(run), anomalies)
        }
        (None, Some(file)) => (None, evaluation::read_anomalies(file)?),
        (None, None) => unreachable!("clap asks for one of them"),
    };
    let evaluation = evaluation::evaluate(run.as_ref(), &anomalies, &labels);
    if args.json {
        return print_json(out, &evaluation);
    }
    evaluation::print(out, &evaluation).map_err(cannot_print)
}
