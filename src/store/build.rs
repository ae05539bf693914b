//! Making one partition: which parts it has, their events, features and files, and the step that puts it in place.

use std::collections::BTreeMap;
use std::path::Path;

use super::buffer::{Slice, Spilled};
use super::manifest::{File, Manifest, Part, effective, feature_schema};
use super::merge::union;
use super::{PartitionId, Store, archive, atomic, manifest, names, tables};
use crate::enrich::Enricher;
use crate::error::{Error, Kind, Result};
use crate::events::batch::Events;
use crate::events::step::StepColumn;
use crate::features::{self, Options, Scope};

/// A part that this run read.
#[derive(Debug)]
pub(super) struct NewPart {
    pub(super) part: Part,
    pub(super) slices: Vec<Slice>,
}

/// What is to become of a partition.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: PartitionId,
    pub(super) old: Option<Manifest>,
    /// Old and new parts together, by digest.
    pub(super) parts: Vec<Part>,
    /// Slices of the parts that this run read.
    pub(super) new: BTreeMap<String, Vec<Slice>>,
    pub(super) archive: bool,
}

/// What a run has for a partition, against what the store has.
pub(super) enum Plan {
    Unchanged,
    Build(Box<Job>),
}

/// Decides whether a partition must be made anew. `sound`: its files are what the manifest says.
///
/// [`Kind::Input`] if it would have to be made from events that were not kept.
pub(super) fn plan(
    id: PartitionId,
    old: Option<Manifest>,
    new: Vec<NewPart>,
    archive: bool,
    (enrichment, sound): (&str, bool),
) -> Result<Plan> {
    let mut parts: BTreeMap<String, Part> = BTreeMap::new();
    for part in old.iter().flat_map(|m| &m.parts) {
        parts.insert(part.digest.clone(), part.clone());
    }
    let mut slices = BTreeMap::new();
    for NewPart { mut part, slices: rows } in new {
        slices.insert(part.digest.clone(), rows);
        if let Some(known) = parts.get(&part.digest) {
            part.and_known(known);
        }
        parts.insert(part.digest.clone(), part);
    }
    let parts: Vec<Part> = parts.into_values().collect();
    let mut archive = archive;
    if let Some(old) = &old {
        let equal = |(old, part): (&Part, &Part)| {
            let mut part = Part { contributing_rows: old.contributing_rows, ..part.clone() };
            // An engine that did not ask wrote none; that alone is no reason to make a partition anew.
            if old.hour.is_none() {
                (part.hour, part.sequence) = (None, None);
            }
            part == *old
        };
        let same = old.parts.len() == parts.len() && old.parts.iter().zip(&parts).all(equal);
        let current = old.feature_schema == feature_schema() && old.enrichment == enrichment;
        // Once events are kept they stay kept.
        archive |= old.archive;
        let complete = parts.iter().all(|p| slices.contains_key(&p.digest));
        if !old.archive && !complete {
            return if same { Ok(Plan::Unchanged) } else { Err(not_kept(&id)) };
        }
        if same && current && sound && archive == old.archive {
            return Ok(Plan::Unchanged);
        }
    }
    Ok(Plan::Build(Box::new(Job { id, old, parts, new: slices, archive })))
}

fn not_kept(id: &PartitionId) -> Error {
    Error::new(
        Kind::Input,
        format!(
            "{}/{}: the events were not kept, so that another file cannot be added to them; give all \
             files of the date in one run",
            names::folder(&id.org),
            id.date
        ),
    )
}

/// Builds partitions.
#[derive(Debug)]
pub(super) struct Builder<'a> {
    pub(super) store: &'a Store,
    pub(super) enricher: &'a Enricher,
    pub(super) spilled: Spilled,
}

impl Builder<'_> {
    /// Builds one partition and puts it in place.
    pub(super) fn build(&self, job: Job) -> Result<()> {
        let Job { id, old, mut parts, mut new, archive } = job;
        let effective = effective(&parts);
        let folder = self.store.folder(&id);
        let mut files: Vec<(String, Content)> = Vec::new();
        let mut events = Vec::new();
        for (part, effective) in parts.iter().zip(&effective) {
            let path = format!("events/{}.parquet", part.digest);
            let kept = old.as_ref().and_then(|m| m.file(&path));
            let fresh = new.remove(&part.digest).map(|slices| self.spilled.collect(slices)).transpose()?;
            match (fresh, kept) {
                (Some(fresh), _) => {
                    if archive {
                        files.push((path, Content::Bytes(archive::encode_part(&fresh, &part.digest)?)));
                    }
                    if *effective {
                        events.push(fresh);
                    }
                }
                (None, Some(kept)) => {
                    if *effective {
                        events.push(archive::decode_part(super::read_checked(&folder, kept)?)?);
                    }
                    files.push((path, Content::Kept(kept.clone())));
                }
                (None, None) => return Err(Error::new(Kind::Bug, "a part has neither an archive nor events")),
            }
        }
        let (events, contributing) = union(events);
        let mut contributing = contributing.into_iter();
        for (part, effective) in parts.iter_mut().zip(effective) {
            part.contributing_rows = if effective { contributing.next().unwrap_or(0) } else { 0 };
        }
        let gap = parts.iter().map(|p| p.session_gap_minutes).min().unwrap_or(30);
        let step = match parts.first() {
            Some(first) if parts.iter().all(|p| p.step == first.step) => first.step.clone(),
            _ => StepColumn::usual(),
        };
        files.extend(self.tables(&id, &events, gap, &step)?);
        let manifest = Manifest {
            format: manifest::FORMAT,
            org_id: id.org.clone(),
            date: id.date,
            feature_schema: feature_schema(),
            enrichment: self.enricher.digest().to_owned(),
            archive,
            session_gap_minutes: gap,
            step,
            events: events.len() as u64,
            parts,
            files: Vec::new(),
            check: String::new(),
        };
        drop(events);
        self.publish(&id, manifest, files)
    }

    fn tables(
        &self,
        id: &PartitionId,
        events: &Events,
        gap: u32,
        step: &[StepColumn],
    ) -> Result<Vec<(String, Content)>> {
        let options = Options { session_gap_ms: gap * 60_000, step, scope: Scope::Full };
        let features = features::compute(&id.org, id.date, events, &|ip| self.enricher.lookup(ip), &options);
        let tables = tables::encode_tables(&features)?;
        Ok(tables.into_iter().map(|(table, bytes)| (table_path(table), Content::Bytes(bytes))).collect())
    }

    /// Writes the files beside the store and swaps them in.
    fn publish(&self, id: &PartitionId, mut manifest: Manifest, mut files: Vec<(String, Content)>) -> Result<()> {
        files.sort_by(|a, b| a.0.cmp(&b.0));
        let name = format!("{}@{}", names::folder(&id.org), id.date);
        let temp = self.store.temp();
        let (new, old) = (temp.join(format!("{name}.{}", atomic::NEW)), temp.join(format!("{name}.{}", atomic::OLD)));
        let target = self.store.folder(id);
        atomic::remove(&new)?;
        let create = |path: &Path| std::fs::create_dir(path).map_err(|e| Error::io(Kind::Resource, "create", path, e));
        create(&new)?;
        create(&new.join("features"))?;
        if manifest.archive {
            create(&new.join("events"))?;
        }
        for (path, content) in files {
            let to = new.join(&path);
            let file = match content {
                Content::Bytes(bytes) => {
                    atomic::write_new(&to, &bytes)?;
                    File { path, bytes: bytes.len() as u64, blake3: blake3::hash(&bytes).to_hex().to_string() }
                }
                Content::Kept(file) => {
                    link(&target.join(&path), &to)?;
                    file
                }
            };
            manifest.files.push(file);
        }
        atomic::write_new(&new.join(MANIFEST), &manifest.to_bytes()?)?;
        atomic::sync_dir(&new.join("features"))?;
        if manifest.archive {
            atomic::sync_dir(&new.join("events"))?;
        }
        atomic::sync_dir(&new)?;
        atomic::create_dir(&self.store.path().join(names::folder(&id.org)))?;
        atomic::swap_dir(&new, &target, &old)
    }
}

/// Name of a partition's manifest.
pub(super) const MANIFEST: &str = "manifest.json";

/// Path of a table's file.
pub(super) fn table_path(table: &str) -> String {
    format!("features/{table}.parquet")
}

/// What a file of the new partition is made of.
enum Content {
    Bytes(Vec<u8>),
    /// The old partition's file.
    Kept(File),
}

/// The same file under another name, or a copy where there can be no second name.
fn link(from: &Path, to: &Path) -> Result<()> {
    if std::fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    let bytes = std::fs::read(from).map_err(|e| Error::io(Kind::Resource, "read", from, e))?;
    atomic::write_new(to, &bytes)
}
