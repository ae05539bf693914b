//! The store as training and scoring see it: days in order, and a place for what scoring keeps of its nights.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::PathBuf;

use super::manifest::effective;
use super::{LOCK, PartKind, PartitionId, Store};
use crate::date::Date;
use crate::error::{Error, Kind, Result};
use crate::events::parse_iso;
use crate::feedback::Feedback;
use crate::fsutil;
use crate::pipeline::Days;
use crate::pipeline::files::{Daily, Hourly, Parts};
use crate::tables::{DayTables, Steps};

impl Store {
    fn night(&self, model: &str, date: Date) -> Result<PathBuf> {
        // A digest in hex; anything else could leave the folder.
        if model.is_empty() || !model.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Error::new(Kind::Bug, "a model is known by the hex digest of its manifest"));
        }
        Ok(self.path.join("nights").join(model).join(date.to_string()))
    }
}

impl Days for Store {
    fn list(&self) -> Result<Vec<(Date, String)>> {
        let mut days: Vec<(Date, String)> = self.partitions()?.into_iter().map(|p| (p.date, p.org)).collect();
        days.sort_unstable();
        Ok(days)
    }

    fn load(&self, org: &str, date: Date) -> Result<DayTables> {
        Self::load(self, &PartitionId { org: org.to_owned(), date })
    }

    fn steps(&self, org: &str, date: Date) -> Result<Steps> {
        let tokens = self.load_tokens(&PartitionId { org: org.to_owned(), date })?;
        Ok(tokens.into_steps())
    }

    fn digest(&self, org: &str, date: Date) -> Result<String> {
        Self::digest(self, &PartitionId { org: org.to_owned(), date })
    }

    fn enrichment(&self, org: &str, date: Date) -> Result<String> {
        Ok(self.manifest(&PartitionId { org: org.to_owned(), date })?.enrichment)
    }

    fn kept_night(&self, model: &str, date: Date) -> Result<Option<String>> {
        let path = self.night(model, date)?;
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            // Not text: damaged, so the night is scored again.
            Err(e) if e.kind() == ErrorKind::InvalidData => Ok(None),
            Err(e) => Err(Error::io(Kind::Input, "read", &path, e)),
        }
    }

    fn keep_night(&self, model: &str, date: Date, text: &str) -> Result<()> {
        let path = self.night(model, date)?;
        let folder = path.parent().expect("a night has a folder");
        let keep = || {
            fsutil::create_dirs(folder)?;
            // Several may score with one model. Each holds the lock for this one file, and takes away what a killed one left.
            let lock = folder.join(LOCK);
            let failed = |e| Error::io(Kind::Input, "lock", &lock, e);
            let file = File::options().create(true).truncate(false).write(true).open(&lock).map_err(failed)?;
            // A file system without locks has no such order, and keeps what was left.
            if file.lock().is_ok() {
                fsutil::remove_leftovers(folder)?;
            }
            fsutil::write_atomic(&path, text.as_bytes())
        };
        let kept = keep();
        // A store that may only be read can be scored all the same: the night is scored again next time.
        match kept {
            Err(e) if is_read_only(&e) => Ok(()),
            kept => kept,
        }
    }

    fn parts(&self, org: &str, date: Date) -> Result<Parts> {
        let manifest = self.manifest(&PartitionId { org: org.to_owned(), date })?;
        let mut out = Parts::default();
        for (part, effective) in manifest.parts.iter().zip(effective(&manifest.parts)) {
            let created = part.created.as_deref().and_then(parse_iso);
            out.shared += if effective { part.rows.saturating_sub(part.contributing_rows) } else { 0 };
            match part.kind {
                PartKind::Daily if effective => out.daily = Some(Daily { rows: part.rows, created }),
                PartKind::Daily => out.earlier_daily.push(Daily { rows: part.rows, created }),
                PartKind::Hourly => {
                    out.hourly.push(Hourly { hour: part.hour, sequence: part.sequence, rows: part.rows, created });
                }
                PartKind::Unknown => out.other += 1,
            }
        }
        Ok(out)
    }

    fn feedback(&self) -> Result<Feedback> {
        Ok(Feedback::new(self.verdicts()?))
    }
}

fn is_read_only(error: &Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|e| e.downcast_ref::<std::io::Error>());
    cause.is_some_and(|e| matches!(e.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem))
}
