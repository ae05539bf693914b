//! Event files into partitions: read them all, decide for every date whether anything is new, and only then write.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Mutex;

use rayon::prelude::*;

use super::buffer::{Buffers, SliceId, split};
use super::build::{Builder, Job, NewPart, Plan, plan};
use super::manifest::{Manifest, Part, PartKind, feature_schema};
use super::{PartitionId, Store, atomic};
use crate::config::Settings;
use crate::date::Date;
use crate::enrich::Enricher;
use crate::error::{Error, Kind, Result};
use crate::events::{self, Profile, QuarantineRow, Reason, SourceFile, SourceKind};

/// What an ingest did.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct IngestReport {
    /// Files read.
    pub files: usize,
    /// Of these, files whose content another one of the run had.
    pub duplicate_files: usize,
    /// Events in files that are no duplicates.
    pub events: u64,
    /// Rows set aside in files that are no duplicates.
    pub quarantined: u64,
    /// Of each such file its path and the name of its file in `quarantine/`. No path reaches the store, so this is the one
    /// place that connects them.
    pub set_aside: Vec<(String, String)>,
    /// Partitions made or made anew.
    pub partitions_written: usize,
    /// Of these, partitions that got no new file: another engine or another network table had made them.
    pub partitions_renewed: usize,
    /// Partitions that had all of this already.
    pub partitions_unchanged: usize,
    /// Source columns that nothing is bound to, over all files.
    pub unknown_columns: Vec<String>,
    /// Columns that the profile maps and some file does not have.
    pub missing_columns: Vec<String>,
    /// Rows whose two times differ.
    pub timestamp_disagreements: u64,
    /// Numbers that could not be read and count as missing.
    pub unreadable_values: u64,
    /// Files that end within a row.
    pub truncated_files: usize,
    /// Digests of the files' contents, sorted.
    pub digests: Vec<String>,
}

/// How far an ingest is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Reading file `number` (from 1) of `of`.
    Reading {
        /// 1-based.
        number: usize,
        /// Number of files.
        of: usize,
    },
    /// `done` of `of` partitions are made.
    Building {
        /// Partitions made.
        done: usize,
        /// Partitions to make.
        of: usize,
    },
}

/// Events kept in memory at most; more go to a temporary file in the store.
const BUFFER_BYTES: usize = 512 << 20;

/// Partitions above this size are made one at a time, by all threads together.
const LARGE_ROWS: u64 = 600_000;

/// A file's share of a partition, as it is read.
#[derive(Debug)]
struct Incoming {
    part: Part,
    slices: Vec<SliceId>,
}

impl Store {
    /// Reads event files into partitions. Each partition is replaced whole or not at all; if any file cannot be read,
    /// none is. See the module `store` for what happens to files that overlap.
    ///
    /// [`Kind::Locked`] if another process writes to the store, [`Kind::Input`] for files that cannot be used, and for
    /// files of a date whose earlier events were not kept (`archive` false).
    pub fn ingest(
        &self,
        sources: &[SourceFile],
        profile: &Profile,
        settings: &Settings,
        archive: bool,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<IngestReport> {
        let _lock = self.lock()?;
        let enricher = Enricher::new(&settings.enrich)?;
        let mut buffers = Buffers::new(&self.temp(), self.buffer_bytes.unwrap_or(BUFFER_BYTES));
        let mut incoming: BTreeMap<PartitionId, BTreeMap<String, Incoming>> = BTreeMap::new();
        let mut report = IngestReport::default();
        let mut quarantine = Vec::new();
        for (number, source) in sources.iter().enumerate() {
            progress(Progress::Reading { number: number + 1, of: sources.len() });
            self.read_file(source, profile, settings, &mut buffers, &mut incoming, &mut report, &mut quarantine)?;
        }
        for names in [&mut report.unknown_columns, &mut report.missing_columns, &mut report.digests] {
            names.sort_unstable();
            names.dedup();
        }
        let jobs = self.jobs(incoming, &mut buffers, archive, enricher.digest(), &mut report)?;
        for (digest, rows) in &quarantine {
            self.write_quarantine(digest, Some(digest), rows)?;
        }
        report.partitions_written = jobs.len();
        let builder = Builder { store: self, enricher: &enricher, spilled: buffers.into_spilled() };
        build_all(&builder, jobs, progress)?;
        Ok(report)
    }

    fn read_file(
        &self,
        source: &SourceFile,
        profile: &Profile,
        settings: &Settings,
        buffers: &mut Buffers,
        incoming: &mut BTreeMap<PartitionId, BTreeMap<String, Incoming>>,
        report: &mut IngestReport,
        quarantine: &mut Vec<(String, Vec<(u64, Reason)>)>,
    ) -> Result<()> {
        let mut slices: BTreeMap<PartitionId, (Vec<SliceId>, u64)> = BTreeMap::new();
        let mut hours = 0;
        let mut bad = Vec::new();
        let read = events::read_map(
            source,
            profile,
            &settings.limits,
            &mut |row: QuarantineRow| bad.push((row.row, row.reason)),
            &|events| {
                let split = split(&events);
                let hours = source.hours_of(&events.timestamp_ms);
                Ok((events, split, hours))
            },
            &mut |(events, split, of_batch)| {
                hours |= of_batch;
                for (id, slice, rows) in buffers.add(events, split)? {
                    let of_partition = slices.entry(id).or_default();
                    of_partition.0.push(slice);
                    of_partition.1 += rows;
                }
                Ok(())
            },
        );
        let stats = match read {
            Ok(stats) => stats,
            Err(e) => {
                // The error names the quarantine file, so there must be one; without a digest of the whole file its
                // own content names it.
                if bad.is_empty() {
                    return Err(e);
                }
                let listed = self.write_quarantine("", None, &bad)?;
                return Err(e.and(&format!("the rows that were set aside are listed in {}", listed.display())));
            }
        };
        if stats.rows == 0 && stats.quarantined > 0 {
            let listed = self.write_quarantine("", None, &bad)?;
            return Err(Error::new(
                Kind::Input,
                format!(
                    "{}: expected events of the profile {}, found none in {} rows; is it the right file and profile? The \
                     reasons are in {}",
                    source.path.display(),
                    profile.name(),
                    stats.quarantined,
                    listed.display()
                ),
            ));
        }
        report.files += 1;
        let known = report.digests.contains(&stats.digest);
        for (id, (slices, rows)) in slices {
            let kind = kind_for(source.kind_with(hours), source.date, &id);
            let is_hourly = kind == PartKind::Hourly;
            let part = Part {
                digest: stats.digest.clone(),
                kind,
                created: source.created.clone(),
                hour: source.hour.filter(|_| is_hourly),
                sequence: source.sequence.filter(|_| is_hourly),
                profile: profile.name().to_owned(),
                session_gap_minutes: profile.session_gap_minutes(),
                step: profile.step().to_vec(),
                rows,
                contributing_rows: 0,
            };
            let parts = incoming.entry(id).or_default();
            if let Some(first) = parts.get_mut(&stats.digest) {
                first.part.and_known(&part);
                for slice in slices {
                    buffers.drop_slice(slice);
                }
            } else {
                parts.insert(stats.digest.clone(), Incoming { part, slices });
            }
        }
        if known {
            report.duplicate_files += 1;
            return Ok(());
        }
        report.events += stats.rows;
        report.quarantined += stats.quarantined;
        report.unknown_columns.extend(stats.unknown_columns);
        report.missing_columns.extend(stats.missing_columns);
        report.timestamp_disagreements += stats.timestamp_disagreements;
        report.unreadable_values += stats.unreadable_values;
        report.truncated_files += usize::from(stats.truncated_tail);
        if !bad.is_empty() {
            report.set_aside.push((source.path.display().to_string(), format!("{}.jsonl", stats.digest)));
            quarantine.push((stats.digest.clone(), bad));
        }
        report.digests.push(stats.digest);
        Ok(())
    }

    /// What is to be made: dates with something new, and dates whose features another engine or network table made.
    fn jobs(
        &self,
        incoming: BTreeMap<PartitionId, BTreeMap<String, Incoming>>,
        buffers: &mut Buffers,
        archive: bool,
        enrichment: &str,
        report: &mut IngestReport,
    ) -> Result<Vec<Job>> {
        let mut new: BTreeMap<PartitionId, Vec<NewPart>> = incoming
            .into_iter()
            .map(|(id, parts)| {
                let take = |i: Incoming| NewPart { part: i.part, slices: buffers.take(&i.slices) };
                (id, parts.into_values().map(take).collect())
            })
            .collect();
        for id in self.partitions()? {
            let Manifest { archive: kept, feature_schema: schema, enrichment: looked_up_in, .. } =
                self.manifest(&id)?;
            if kept && (schema != feature_schema() || looked_up_in != enrichment) && !new.contains_key(&id) {
                report.partitions_renewed += 1;
                new.insert(id, Vec::new());
            }
        }
        let mut jobs = Vec::new();
        for (id, parts) in new {
            let old = self.folder(&id).join(super::build::MANIFEST).exists().then(|| self.manifest(&id)).transpose()?;
            let damaged = |old: &Manifest| old.files.iter().any(|f| super::read_checked(&self.folder(&id), f).is_err());
            let sound = parts.is_empty() || !old.as_ref().is_some_and(damaged);
            match plan(id, old, parts, archive, (enrichment, sound))? {
                Plan::Unchanged => report.partitions_unchanged += 1,
                Plan::Build(job) => jobs.push(*job),
            }
        }
        Ok(jobs)
    }

    /// Writes the rows of one file that were set aside: which, and why. Says where.
    fn write_quarantine(&self, digest: &str, name: Option<&str>, rows: &[(u64, Reason)]) -> Result<PathBuf> {
        let mut text = String::new();
        for (row, reason) in rows {
            let line = serde_json::json!({"file": digest, "row": row, "reason": reason.as_str()});
            text.push_str(&line.to_string());
            text.push('\n');
        }
        let name = name.map_or_else(|| format!("unread-{}", blake3::hash(text.as_bytes()).to_hex()), str::to_owned);
        let folder = self.path().join("quarantine");
        atomic::create_dir(&folder)?;
        let path = folder.join(format!("{name}.jsonl"));
        if std::fs::read(&path).is_ok_and(|known| known == text.as_bytes()) {
            return Ok(path);
        }
        atomic::replace_file(&self.temp().join("quarantine"), &path, text.as_bytes())?;
        Ok(path)
    }
}

/// What a file is to a partition: of a file for one date, rows of other dates are strays.
fn kind_for(kind: SourceKind, date: Option<Date>, id: &PartitionId) -> PartKind {
    match kind {
        SourceKind::Daily if date == Some(id.date) => PartKind::Daily,
        SourceKind::Hourly if date == Some(id.date) => PartKind::Hourly,
        _ => PartKind::Unknown,
    }
}

/// Makes small partitions two at a time and large ones one by one.
fn build_all(builder: &Builder<'_>, jobs: Vec<Job>, progress: &(dyn Fn(Progress) + Sync)) -> Result<()> {
    let of = jobs.len();
    let (large, small): (Vec<Job>, Vec<Job>) =
        jobs.into_iter().partition(|job| job.parts.iter().map(|p| p.rows).sum::<u64>() > LARGE_ROWS);
    let done = Mutex::new(0);
    let build = |job: Job| -> Result<()> {
        builder.build(job)?;
        let mut done = done.lock().map_err(|_| Error::new(Kind::Bug, "a thread making a partition panicked"))?;
        *done += 1;
        progress(Progress::Building { done: *done, of });
        Ok(())
    };
    large.into_iter().try_for_each(build)?;
    let queue: Mutex<VecDeque<Job>> = Mutex::new(small.into());
    let next = || queue.lock().ok().and_then(|mut queue| queue.pop_front());
    (0..2).into_par_iter().try_for_each(|_| std::iter::from_fn(next).try_for_each(build))
}
