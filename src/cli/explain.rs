//! `explain`: everything that is known about one anomaly.

use std::io::Write;

use super::args::ExplainArgs;
use super::{cannot_print, print_json, terminal};
use crate::error::Result;
use crate::report::run_folder::{find, load};
use crate::report::terminal::{Layout, print_explanation};

pub(super) fn run(args: &ExplainArgs, out: &mut dyn Write) -> Result<()> {
    let (_, anomalies) = load(&args.run)?;
    let anomaly = find(&anomalies, &args.anomaly_key)?;
    if args.json {
        return print_json(out, anomaly);
    }
    let layout = Layout { width: terminal::width(), color: terminal::colours() };
    print_explanation(out, anomaly, layout).map_err(cannot_print)
}
