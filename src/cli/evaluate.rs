//! `evaluate`: a run, or a file of anomalies, beside labels.

use std::fs;
use std::io::Write;

use super::args::EvaluateArgs;
use super::{cannot_print, print_json};
use crate::error::{Error, Kind, Result};
use crate::evaluation::{self, labels, source};
use crate::report::run_folder;

pub(super) fn run(args: &EvaluateArgs, out: &mut dyn Write) -> Result<()> {
    let labels = read_labels(&args.labels)?;
    let (run, anomalies) = match (&args.run, &args.anomalies) {
        (Some(dir), _) => run_folder::load(dir)?,
        (None, Some(file)) => source::read(file)?,
        (None, None) => return Err(Error::new(Kind::Usage, "expected --run DIR or --anomalies FILE, found neither")),
    };
    let evaluation = evaluation::evaluate(&run, &anomalies, &labels);
    if args.json {
        return print_json(out, &evaluation);
    }
    evaluation::print::print(out, &evaluation, super::terminal::width()).map_err(cannot_print)
}

/// Reads a labels file.
pub(super) fn read_labels(path: &std::path::Path) -> Result<Vec<evaluation::Label>> {
    let bytes = fs::read(path).map_err(|e| Error::io(Kind::Input, "read", path, e))?;
    labels::read(&bytes, &path.display().to_string())
}
