//! `features`: event files into a store.

use std::io::Write;

use super::args::FeaturesArgs;
use super::{cannot_print, print_json};
use crate::config::Layers;
use crate::error::{Error, Kind, Result};
use crate::store::Store;

pub(super) fn run(args: &FeaturesArgs, out: &mut dyn Write) -> Result<()> {
    let config = Layers::read(args.config.config.as_deref(), &args.config.sets)?.resolve()?;
    if args.input.events.is_empty() {
        return Err(Error::new(Kind::Usage, "expected --events PATH..., found none"));
    }
    let path = args.input.store.clone().or_else(|| config.run().store.clone());
    let path = path.ok_or_else(|| Error::new(Kind::Usage, "expected --store DIR, found none"))?;
    let archive = config.run().archive && !args.no_archive;
    let (_, report) = args.input.ingest(&config, Store::create(&path)?, archive)?;
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
