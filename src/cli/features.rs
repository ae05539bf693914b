//! `features`: event files into a store.

use std::io::Write;

use super::args::FeaturesArgs;
use super::{cannot_print, layers, print_json};
use crate::error::{Error, Kind, Result};
use crate::store::Store;

pub(super) fn run(args: &FeaturesArgs, out: &mut dyn Write) -> Result<()> {
    let config = args.layers()?.resolve()?;
    if args.input.events.is_empty() {
        return Err(Error::new(Kind::Usage, "expected --events PATH..., found none"));
    }
    let store = Store::create(layers::store(&config)?)?;
    let (_, report) = args.input.ingest(&config, store, config.run().archive)?;
    if args.json {
        return print_json(out, &report);
    }
    writeln!(
        out,
        "{}{}, {}, {} set aside; {} written, {} unchanged",
        counted(report.files as u64, "file"),
        if report.duplicate_files > 0 { format!(" ({} given twice)", report.duplicate_files) } else { String::new() },
        counted(report.events, "event"),
        counted(report.quarantined, "row"),
        counted(report.partitions_written as u64, "partition"),
        report.partitions_unchanged
    )
    .map_err(cannot_print)
}

/// `1 file`, `2900 events`: digits that a script can read.
fn counted(n: u64, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}
