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
        "{} files ({} of known content), {} events, {} rows set aside; {} partitions written, {} unchanged",
        report.files,
        report.duplicate_files,
        report.events,
        report.quarantined,
        report.partitions_written,
        report.partitions_unchanged
    )
    .map_err(cannot_print)
}
