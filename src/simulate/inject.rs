//! Injection: the same attacks, played by real users of an archive that already exists.
//!
//! The archive is read twice and never held: once for a census of its users, once to copy it. Every row that is no part
//! of a story is copied byte for byte; new rows take the header's own shape. A story that consists of doing other things
//! instead (S3, S8) replaces rows of its user on its day; everything else only adds rows. Look-alikes that would change
//! what is already there are left out and named in `truth.json`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use rayon::prelude::*;

use super::archive::{Census, Header, Records, Source, sources};
use super::attacks;
use super::benign;
use super::calls::{Call, write_number};
use super::catalog::ScenarioSpec;
use super::dice::Dice;
use super::networks;
use super::output::{Staging, write_file};
use super::rows::{Column, Event, RowWriter, write_request};
use super::schedule::{Candidate, Instance, place};
use super::script::Tallies;
use super::stage::{Change, Edit, Stage, Who};
use super::truth::{self, Ledger, MADE_BY, Skipped, Truth};
use super::{Options, Progress, Summary, write_truth};
use crate::date::{Date, MS_PER_DAY};
use crate::error::{Error, Kind, Result};

/// Does this folder hold that path, or is it the same?
fn contains(folder: &Path, path: &Path) -> bool {
    match (folder.canonicalize(), path.canonicalize()) {
        (Ok(folder), Ok(path)) => path.starts_with(folder),
        _ => false,
    }
}

/// Copies the event files below `events` to `out/events` with the scenarios of `options` added in the last third of the
/// days (at most 30). Preset, users, days, start and format of `options` are not used: the archive has its own.
///
/// # Errors
/// [`Kind::Usage`] without a scenario or a suitable `out`; [`Kind::Input`] if a file is no `ApiTotalUsage` log.
pub fn inject(
    events: &[PathBuf],
    options: &Options,
    out: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<Summary> {
    if options.scenarios.is_empty() {
        return Err(Error::new(Kind::Usage, "nothing to inject; name at least one --scenario"));
    }
    if let Some(into) = events.iter().find(|into| contains(out, into)) {
        // The result takes the place of what was in the folder before.
        let message = format!(
            "{} holds {}, the archive to inject into, which would be replaced; choose a folder of its own for --out",
            out.display(),
            into.display()
        );
        return Err(Error::new(Kind::Usage, message));
    }
    let sources = sources(events)?;
    let staging = Staging::new(out)?;
    let mut census = Census::take(&sources)?;
    let Some((start, until)) = census.span() else {
        return Err(Error::new(Kind::NoData, "the archive has no row with a user and a time"));
    };
    let days = until.0 - start.0 + 1;
    let from = days - (days / 3).clamp(1, 30);
    let story = Story::write(&mut census, options, start, from, days);

    let total = sources.len() as u64;
    let (mut rows, mut done) = (0, 0);
    let mut ledger = Ledger::default();
    let mut touched: BTreeMap<Date, Tallies> = BTreeMap::new();
    let numbers: Vec<usize> = (0..sources.len()).collect();
    for chunk in numbers.chunks(rayon::current_num_threads() * 2) {
        let made: Vec<_> = chunk.par_iter().map(|n| story.copy(&census, &sources, *n, options, &staging)).collect();
        for made in made {
            let (written, tallies) = made?;
            rows += written;
            done += 1;
            for (date, tally) in tallies {
                touched.entry(date).or_default().absorb(tally);
            }
        }
        progress(Progress { done, total, events: rows });
    }
    for (date, tallies) in touched {
        ledger.add(date, tallies);
    }

    let target = |instance: &Instance| story.candidates[instance.target].actor;
    let deeds = ledger.deeds(&story.instances, &census.cast, target);
    let labels = ledger.labels(&story.instances, target);
    let first_attack = deeds.iter().filter(|d| !d.benign).filter_map(|d| d.days.first().copied()).min();
    let first = deeds.iter().filter_map(|d| d.days.first().copied()).min();
    let train_until = first.map(|d| d.plus(-1));
    let skipped: Vec<ScenarioSpec> = story.skipped.iter().map(|(spec, _)| *spec).collect();
    let truth = Truth {
        made_by: MADE_BY,
        seed: options.seed.0,
        options: serde_json::json!({ "injected": true, "scenarios": options.scenarios }),
        from: start,
        until,
        train_until,
        first_attack,
        events: rows,
        scenarios: deeds,
        skipped: story.skipped.iter().map(|(spec, reason)| Skipped { spec: *spec, reason }).collect(),
        missing_days: Vec::new(),
        revised_days: Vec::new(),
        late_days: Vec::new(),
    };
    write_truth(&staging, &truth, &truth::labels_csv(&labels, &story.instances, &census.cast))?;
    write_file(&staging.path().join("networks.csv"), networks::csv().as_bytes())?;
    write_file(
        &staging.path().join("quietwatch.toml"),
        b"# Written by `quietwatch simulate --into`: the networks from which the injected calls come.\n\n\
          [enrich]\nnetworks = [\"networks.csv\"]\n",
    )?;
    staging.publish()?;
    Ok(Summary {
        events: rows,
        files: sources.iter().filter(|s| !s.other).count() as u64,
        days: days.unsigned_abs(),
        users: census.users() as u32,
        scenarios: story.instances.len() as u32,
        skipped,
        first_attack,
        train_until,
    })
}

/// The scenarios placed in an archive.
struct Story {
    instances: Vec<Instance>,
    skipped: Vec<(ScenarioSpec, &'static str)>,
    candidates: Vec<Candidate>,
    /// New rows by the file that takes them, sorted by time.
    rows: Vec<Vec<Event>>,
    edits: Vec<Edit>,
    start: Date,
}

/// Look-alikes that can be told by adding rows alone.
const ADDITIVE: [&str; 4] = ["B3", "B4", "B6", "B9"];

impl Story {
    fn write(census: &mut Census, options: &Options, start: Date, from: i32, days: i32) -> Self {
        let candidates = census.candidates(start, days);
        let orgs = candidates.iter().map(|c| c.org).max().unwrap_or(0) + 1;
        let mut skipped = Vec::new();
        let mut wanted = options.scenarios.clone();
        wanted.retain(|spec| {
            let info = spec.scenario.info();
            let reason = if info.benign && !ADDITIVE.contains(&info.id) {
                Some("it changes rows that the archive already has; injection only adds")
            } else if info.id == "S17" && orgs < 2 {
                Some("the archive has one organisation")
            } else {
                None
            };
            skipped.extend(reason.map(|reason| (*spec, reason)));
            reason.is_none()
        });
        let mut dice = Dice::new(options.seed, "schedule", 0);
        let (instances, refused) = place(&wanted, &candidates, &[], (start, from, days), &mut dice);
        skipped.extend(refused.into_iter().map(|spec| (spec, "no user of the archive suits it")));
        let mut edits = Vec::new();
        let mut rows = vec![Vec::new(); census.files.len()];
        for (i, instance) in instances.iter().enumerate() {
            let target = candidates[instance.target].clone();
            let usual = census.addresses(target.user);
            let mut stage = Stage {
                number: i as u16 + 1,
                level: instance.spec.level,
                start,
                first: instance.first,
                span: instance.span,
                days,
                target,
                everyone: &candidates,
                usual,
                cast: &mut census.cast,
                dice: Dice::new(options.seed, "scenario", i as u64),
                events: Vec::new(),
                edits: Vec::new(),
            };
            let info = instance.spec.scenario.info();
            if info.benign {
                benign::play(info.id, &mut stage);
            } else {
                attacks::play(info.id, &mut stage);
            }
            let events = stage.events;
            edits.extend(stage.edits);
            for event in events {
                let date = Date::from_ms(event.ms);
                // Into the file that holds most of the day; a day without a file has no rows to hide among.
                let files = census.files.iter().enumerate().filter_map(|(n, dates)| Some((*dates.get(&date)?, n)));
                if let Some((_, file)) = files.max_by_key(|(count, n)| (*count, std::cmp::Reverse(*n))) {
                    rows[file].push(event);
                }
            }
        }
        for file in &mut rows {
            file.sort_by_key(|e| (e.ms, e.actor));
        }
        Self { instances, skipped, candidates, rows, edits, start }
    }

    /// Copies one file with what is new in it; returns its rows and what the stories did, by date.
    fn copy(
        &self,
        census: &Census,
        sources: &[Source],
        number: usize,
        options: &Options,
        staging: &Staging,
    ) -> Result<(u64, BTreeMap<Date, Tallies>)> {
        let source = &sources[number];
        let path = staging.events().join(&source.name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|e| Error::io(Kind::Usage, "create", folder, e))?;
        }
        let dates = &census.files[number];
        let concerned = |edit: &Edit| dates.keys().any(|d| (edit.days.0..=edit.days.1).contains(&(d.0 - self.start.0)));
        let edits: Vec<&Edit> = self.edits.iter().filter(|e| concerned(e)).collect();
        if source.other || (self.rows[number].is_empty() && edits.is_empty()) {
            fs::copy(&source.path, &path).map_err(|e| Error::io(Kind::Usage, "copy to", &path, e))?;
            return Ok((dates.values().sum(), BTreeMap::new()));
        }
        let file = File::create(&path).map_err(|e| Error::io(Kind::Usage, "create", &path, e))?;
        let plain = BufWriter::with_capacity(1 << 18, file);
        let mut records = Records::open(source)?;
        let mut copier = Copier {
            header: records.header.clone(),
            writer: RowWriter::new(&census.cast),
            tallies: BTreeMap::new(),
            rows: 0,
            out: Vec::with_capacity(1 << 18),
            dice: Dice::new(options.seed, "inject", number as u64),
            ended: true,
        };
        let mut sink = if source.gzip {
            Sink::Gzip(Box::new(GzEncoder::new(plain, Compression::default())))
        } else {
            Sink::Plain(plain)
        };
        let failed = |e| Error::io(Kind::Usage, "write", &path, e);
        copier.out.extend_from_slice(&records.header.bytes);
        copier.ended = records.header.bytes.ends_with(b"\n");
        let mut new = self.rows[number].iter().peekable();
        while records.advance()? {
            if let Some(ms) = records.time() {
                while let Some(event) = new.next_if(|e| e.ms <= ms) {
                    copier.event(event);
                }
                copier.record(self, census, &records, &edits, ms);
            } else {
                copier.keep(&records.record);
            }
            if copier.out.len() > 1 << 17 {
                sink.write(&copier.out).map_err(failed)?;
                copier.out.clear();
            }
        }
        for event in new {
            copier.event(event);
        }
        sink.write(&copier.out).map_err(failed)?;
        sink.finish().map_err(failed)?;
        Ok((copier.rows, copier.tallies))
    }
}

/// Writes one copy.
struct Copier<'a> {
    header: Header,
    writer: RowWriter<'a>,
    tallies: BTreeMap<Date, Tallies>,
    rows: u64,
    out: Vec<u8>,
    dice: Dice,
    /// The last record ended its line.
    ended: bool,
}

impl Copier<'_> {
    fn end_line(&mut self) {
        if !self.ended {
            self.out.extend_from_slice(if self.header.crlf { b"\r\n" } else { b"\n" });
            self.ended = true;
        }
    }

    /// A record as it is.
    fn keep(&mut self, record: &[u8]) {
        self.end_line();
        self.out.extend_from_slice(record);
        self.ended = record.ends_with(b"\n");
        self.rows += 1;
    }

    /// A new row in the header's shape.
    fn event(&mut self, event: &Event) {
        let mut scratch = Vec::new();
        self.end_line();
        for i in 0..self.header.columns.len() {
            let column = self.header.columns[i];
            scratch.clear();
            self.writer.field(&mut scratch, event, column);
            self.put(i, &scratch);
        }
        self.ended = false;
        self.end_line();
        self.rows += 1;
        self.tallies.entry(Date::from_ms(event.ms)).or_default().count(event.instance, event);
    }

    /// Field `i` of a row, quoted as the file does it.
    fn put(&mut self, i: usize, text: &[u8]) {
        if i > 0 {
            self.out.push(b',');
        }
        let quote = self.header.quoted || text.iter().any(|b| matches!(b, b',' | b'"' | b'\n' | b'\r'));
        if quote {
            self.out.push(b'"');
            for b in text {
                if *b == b'"' {
                    self.out.push(b'"');
                }
                self.out.push(*b);
            }
            self.out.push(b'"');
        } else {
            self.out.extend_from_slice(text);
        }
    }

    /// A record of the archive: kept, replaced or joined by others, as the stories of its user and day say.
    fn record(&mut self, story: &Story, census: &Census, records: &Records, edits: &[&Edit], ms: i64) {
        let day = Date::from_ms(ms).0 - story.start.0;
        let here = |e: &&&Edit| (e.days.0..=e.days.1).contains(&day);
        let person = if edits.iter().any(|e| here(&e)) { census.known(records) } else { None };
        let Some(person) = person else { return self.keep(&records.record) };
        let candidate = &story.candidates[person];
        let concerns = |e: &&&Edit| match e.who {
            Who::User(user) => user == person,
            Who::Org(org) => candidate.org == org,
            // An archive does not tell offices apart: its people are all of the first.
            Who::People(org, office) => candidate.org == org && office == 0 && candidate.human,
        };
        let mut kept = true;
        for edit in edits.iter().filter(here).filter(concerns) {
            match &edit.change {
                Change::Rewrite { share, objects } if kept && self.dice.chance(*share) => {
                    kept = false;
                    let event = self.rewritten(edit, candidate, records, ms, objects);
                    self.event(&event);
                }
                Change::Delay { minutes } if kept => {
                    kept = false;
                    let start = Date::from_ms(ms).start_ms();
                    let later = start + (ms - start + minutes * 60_000).rem_euclid(MS_PER_DAY);
                    self.altered(edit.instance, candidate, records, later, None, false);
                }
                // What exists stays, so the share is reached by failing attempts beside it.
                Change::Errors { share } if self.dice.chance(share / (1.0 - share)) => {
                    let at = ms + self.dice.between(500, 20_000);
                    self.altered(edit.instance, candidate, records, at, Some(401), true);
                }
                Change::Refuse { from_ms, until_ms, share, status, .. }
                    if (*from_ms..*until_ms).contains(&ms) && self.dice.chance(*share) =>
                {
                    let at = ms - self.dice.between(0, 2_000);
                    self.altered(edit.instance, candidate, records, at, Some(*status), true);
                }
                Change::Volume { factor } if *factor > 1.0 => {
                    for _ in 0..self.dice.round(factor - 1.0) {
                        let at = ms + self.dice.between(-600_000, 600_000);
                        self.altered(edit.instance, candidate, records, at, None, true);
                    }
                }
                _ => {}
            }
        }
        if kept {
            self.keep(&records.record);
        }
    }

    /// S3: a page of another object at the time and from the address of a usual call.
    fn rewritten(&mut self, edit: &Edit, c: &Candidate, records: &Records, ms: i64, objects: &[u16]) -> Event {
        let call = if self.dice.chance(0.02) { Call::Query } else { Call::QueryMore }.in_family(c.soap);
        let part = u64::from(edit.instance) << 20 | (ms / 1_000 % 4_096) as u64;
        // One object after the other over the day.
        let at = (ms.rem_euclid(MS_PER_DAY) * objects.len() as i64 / MS_PER_DAY) as usize;
        Event {
            ms,
            request: u128::from(self.dice.bits()) << 64 | u128::from(self.dice.bits()),
            address: records.address(),
            actor: c.actor,
            instance: edit.instance,
            channel: c.channel,
            entity: objects[at],
            status: call.ok(),
            call,
            version: c.version,
            flags: 0,
            part,
        }
    }

    /// The current record with another time (kept within its date) and perhaps status; `copy` gets a request id of
    /// its own.
    fn altered(&mut self, instance: u16, c: &Candidate, records: &Records, ms: i64, status: Option<u16>, copy: bool) {
        let start = Date::from_ms(records.time().unwrap_or(ms)).start_ms();
        // What falls off an end of the date is mirrored back into it.
        let ms = if ms < start { 2 * start - ms } else { ms.min(2 * (start + MS_PER_DAY) - 1 - ms) };
        let request = u128::from(self.dice.bits()) << 64 | u128::from(self.dice.bits());
        let stamp = Event {
            ms,
            request,
            address: records.address(),
            actor: c.actor,
            instance,
            channel: c.channel,
            entity: 0,
            status: status.unwrap_or(200),
            call: Call::Query,
            version: c.version,
            flags: 0,
            part: 0,
        };
        self.end_line();
        let mut scratch = Vec::new();
        for i in 0..self.header.columns.len() {
            let column = self.header.columns[i];
            scratch.clear();
            match column {
                Column::Timestamp | Column::TimestampDerived => self.writer.field(&mut scratch, &stamp, column),
                Column::RequestId if copy => write_request(&mut scratch, request),
                Column::StatusCode if status.is_some() => write_number(&mut scratch, u64::from(stamp.status)),
                _ => {
                    let field = records.fields.get(i).cloned().unwrap_or_default();
                    unquote(&records.record[field], &mut scratch);
                }
            }
            self.put(i, &scratch);
        }
        self.ended = false;
        self.end_line();
        self.rows += 1;
        self.tallies.entry(Date::from_ms(ms)).or_default().count(instance, &stamp);
    }
}

/// Appends a field's text with doubled quotes made single.
fn unquote(text: &[u8], out: &mut Vec<u8>) {
    let mut bytes = text.iter();
    while let Some(b) = bytes.next() {
        out.push(*b);
        if *b == b'"' && bytes.as_slice().first() == Some(&b'"') {
            bytes.next();
        }
    }
}

/// Where a copy goes.
enum Sink {
    Plain(BufWriter<File>),
    Gzip(Box<GzEncoder<BufWriter<File>>>),
}

impl Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Plain(out) => out.write_all(bytes),
            Self::Gzip(out) => out.write_all(bytes),
        }
    }

    fn finish(self) -> std::io::Result<()> {
        match self {
            Self::Plain(mut out) => out.flush(),
            Self::Gzip(out) => out.finish()?.flush(),
        }
    }
}
