//! Reading an archive of `ApiTotalUsage` files as far as injection needs: records with their exact bytes, a header of
//! any known shape, and a census of who uses what.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use rustc_hash::FxHashMap;

use super::calls::Family;
use super::rows::{Actor, Address, Cast, Channel, Column, HEADER};
use super::schedule::{Candidate, Kind as Role};
use super::text::{ENTITIES, NULL_USER};
use crate::date::{Date, MS_PER_DAY};
use crate::error::{Error, Kind, Result};

/// A file of the archive and the name under which its copy is kept.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub path: PathBuf,
    pub name: PathBuf,
    pub gzip: bool,
    /// Not a log: copied as it is.
    pub other: bool,
}

/// The files below `paths`, in order of their names.
pub(super) fn sources(paths: &[PathBuf]) -> Result<Vec<Source>> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            walk(path, path, &mut found)?;
        } else {
            let name = path.file_name().map(PathBuf::from).unwrap_or_default();
            found.push(source(path, name));
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(twice) = found.windows(2).find(|w| w[0].name == w[1].name) {
        let message = format!("two event files are named {}; put them into one folder first", twice[0].name.display());
        return Err(Error::new(Kind::Usage, message));
    }
    if found.iter().all(|s| s.other) {
        return Err(Error::new(Kind::Usage, "found no .csv or .csv.gz file to inject into; check --into"));
    }
    Ok(found)
}

fn source(path: &Path, name: PathBuf) -> Source {
    let has = |path: &Path, end: &str| path.extension().is_some_and(|e| e.eq_ignore_ascii_case(end));
    let gzip = has(&name, "gz") && name.file_stem().is_some_and(|stem| has(Path::new(stem), "csv"));
    Source { path: path.to_owned(), other: !gzip && !has(&name, "csv"), name, gzip }
}

fn walk(root: &Path, folder: &Path, found: &mut Vec<Source>) -> Result<()> {
    let failed = |e| Error::io(Kind::Input, "read the folder", folder, e);
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            walk(root, &path, found)?;
        } else {
            let name = path.strip_prefix(root).unwrap_or(&path).to_owned();
            found.push(source(&path, name));
        }
    }
    Ok(())
}

/// The longest record that is accepted, bytes.
const RECORD_LIMIT: usize = 16 << 20;

/// The records of one file.
pub(super) struct Records {
    input: Box<dyn BufRead>,
    path: PathBuf,
    /// Bytes of the current record, its line end included.
    pub record: Vec<u8>,
    /// Where the fields' bare texts lie in `record`.
    pub fields: Vec<Range<usize>>,
    pub header: Header,
}

/// What the first record says.
#[derive(Debug, Clone, Default)]
pub(super) struct Header {
    pub columns: Vec<Column>,
    /// All fields are quoted.
    pub quoted: bool,
    pub crlf: bool,
    /// Its exact bytes.
    pub bytes: Vec<u8>,
}

impl Header {
    pub(super) fn position(&self, column: Column) -> Option<usize> {
        self.columns.iter().position(|c| *c == column)
    }
}

impl Records {
    /// Opens a file and reads its header; an empty file has no columns.
    pub(super) fn open(source: &Source) -> Result<Self> {
        let file = File::open(&source.path).map_err(|e| Error::io(Kind::Input, "open", &source.path, e))?;
        let plain = BufReader::with_capacity(1 << 18, file);
        let input: Box<dyn BufRead> = if source.gzip {
            Box::new(BufReader::with_capacity(1 << 18, MultiGzDecoder::new(plain)))
        } else {
            Box::new(plain)
        };
        let mut records = Self {
            input,
            path: source.path.clone(),
            record: Vec::new(),
            fields: Vec::new(),
            header: Header::default(),
        };
        if records.advance()? {
            let bytes = records.record.clone();
            let bom = if bytes.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
            let columns = records.fields.iter().map(|f| {
                let name = String::from_utf8_lossy(&bytes[f.clone()]);
                column(name.trim_start_matches('\u{feff}').trim_matches('"'))
            });
            records.header = Header {
                columns: columns.collect(),
                quoted: bytes.get(bom) == Some(&b'"'),
                crlf: bytes.ends_with(b"\r\n"),
                bytes,
            };
            let has = |c| records.header.position(c).is_some();
            if !has(Column::UserId) || !(has(Column::Timestamp) || has(Column::TimestampDerived)) {
                let message = format!(
                    "expected an ApiTotalUsage header with USER_ID and TIMESTAMP in {}, found other columns",
                    source.path.display()
                );
                return Err(Error::new(Kind::Input, message));
            }
        }
        Ok(records)
    }

    /// Reads the next record; false at the end.
    pub(super) fn advance(&mut self) -> Result<bool> {
        self.record.clear();
        let mut quotes = 0_usize;
        loop {
            let from = self.record.len();
            let read = self.input.read_until(b'\n', &mut self.record);
            let read = read.map_err(|e| Error::io(Kind::Input, "read", &self.path, e))?;
            quotes += memchr::memchr_iter(b'"', &self.record[from..]).count();
            // A line that ends inside quotes goes on.
            if read == 0 || quotes.is_multiple_of(2) {
                break;
            }
            if self.record.len() > RECORD_LIMIT {
                let message =
                    format!("a record of {} is longer than 16 MiB; is a quote unclosed?", self.path.display());
                return Err(Error::new(Kind::Input, message));
            }
        }
        self.split();
        Ok(!self.record.is_empty())
    }

    fn split(&mut self) {
        self.fields.clear();
        let end = self.record.len() - self.record.iter().rev().take_while(|b| matches!(b, b'\n' | b'\r')).count();
        let mut at = 0;
        while at <= end {
            if self.record.get(at) == Some(&b'"') && at < end {
                let mut close = at + 1;
                while close < end && (self.record[close] != b'"' || self.record.get(close + 1) == Some(&b'"')) {
                    close += if self.record[close] == b'"' { 2 } else { 1 };
                }
                self.fields.push(at + 1..close.min(end));
                at = memchr::memchr(b',', &self.record[close.min(end)..end]).map_or(end, |n| close + n) + 1;
            } else {
                let comma = memchr::memchr(b',', &self.record[at.min(end)..end]).map_or(end, |n| at + n);
                self.fields.push(at..comma);
                at = comma + 1;
            }
        }
    }

    /// The text of a column of the current record ("" if there is none or it is not UTF-8).
    pub(super) fn text(&self, column: Column) -> &str {
        let field = self.header.position(column).and_then(|at| self.fields.get(at));
        field.and_then(|range| std::str::from_utf8(&self.record[range.clone()]).ok()).unwrap_or("")
    }

    /// The address of the current record; what is no address counts as the platform's own.
    pub(super) fn address(&self) -> Address {
        match self.text(Column::ClientIp).parse() {
            Ok(IpAddr::V4(ip)) => Address::V4(ip),
            Ok(IpAddr::V6(ip)) => Address::V6(ip),
            Err(_) => Address::Internal,
        }
    }

    /// The time of the current record, UTC ms.
    pub(super) fn time(&self) -> Option<i64> {
        parse_time(self.text(Column::TimestampDerived)).or_else(|| parse_time(self.text(Column::Timestamp)))
    }
}

fn column(name: &str) -> Column {
    let name = match name {
        "ORG_ID" => "ORGANIZATION_ID",
        "USERNAME" => "USER_NAME",
        "SOURCE_IP" => "CLIENT_IP",
        other => other,
    };
    HEADER.iter().find(|(known, _)| *known == name).map_or(Column::Blank, |(_, column)| *column)
}

/// `20251009183437.652` or `2025-10-09T18:34:37.652Z`: in both, the digits in order are the same.
fn parse_time(text: &str) -> Option<i64> {
    let mut digits = text.bytes().filter(u8::is_ascii_digit).map(|b| i64::from(b - b'0'));
    let mut number = |n: usize| (0..n).try_fold(0, |sum, _| digits.next().map(|d| sum * 10 + d));
    let (year, month, day) = (number(4)?, number(2)?, number(2)?);
    let (hour, minute, second) = (number(2)?, number(2)?, number(2)?);
    let milli = number(3).unwrap_or(0);
    let date = jiff::civil::Date::new(year as i16, month as i8, day as i8).ok()?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some(Date::from(date).start_ms() + ((hour * 60 + minute) * 60 + second) * 1000 + milli)
}

/// What is learned of one user.
#[derive(Debug, Default)]
struct Person {
    actor: u32,
    rows: u64,
    soap: u64,
    weekend: u64,
    tooling: bool,
    days: BTreeMap<Date, u32>,
    hours: [u64; 24],
    addresses: BTreeMap<Address, u64>,
    channels: BTreeMap<u16, u64>,
    versions: BTreeMap<u8, u64>,
    known: BTreeSet<u16>,
}

/// Who uses what in an archive.
#[derive(Debug)]
pub(super) struct Census {
    pub cast: Cast,
    people: Vec<Person>,
    index: FxHashMap<(String, String), usize>,
    orgs: Vec<String>,
    channels: FxHashMap<[String; 4], u16>,
    entities: FxHashMap<String, u16>,
    /// Rows by file and date.
    pub files: Vec<BTreeMap<Date, u64>>,
}

/// Distinct addresses and channels kept per user: enough to know the usual ones.
const KEPT: usize = 64;

impl Census {
    /// Reads all files once; nothing but counts is kept.
    pub(super) fn take(sources: &[Source]) -> Result<Self> {
        let mut census = Self {
            cast: Cast { entities: ENTITIES.map(str::to_owned).to_vec(), ..Cast::default() },
            people: Vec::new(),
            index: FxHashMap::default(),
            orgs: Vec::new(),
            channels: FxHashMap::default(),
            entities: ENTITIES.iter().enumerate().map(|(i, e)| ((*e).to_owned(), i as u16)).collect(),
            files: Vec::new(),
        };
        for source in sources {
            let mut dates = BTreeMap::new();
            if !source.other {
                let mut records = Records::open(source)?;
                while records.advance()? {
                    census.count(&records, &mut dates);
                }
            }
            census.files.push(dates);
        }
        Ok(census)
    }

    fn count(&mut self, records: &Records, dates: &mut BTreeMap<Date, u64>) {
        let Some(ms) = records.time() else { return };
        let user = records.text(Column::UserId);
        if user.is_empty() {
            return;
        }
        let date = Date::from_ms(ms);
        *dates.entry(date).or_default() += 1;
        let number = self.person(records.text(Column::OrganizationId), user);
        let channel = self
            .channel([Column::AppId, Column::AppName, Column::ClientName, Column::Category].map(|c| records.text(c)));
        let entity = self.entity(records.text(Column::EntityName));
        let name = records.text(Column::UserName);
        let person = &mut self.people[number];
        let actor = &mut self.cast.actors[person.actor as usize];
        if actor.user_name.is_empty() {
            name.clone_into(&mut actor.user_name);
        }
        person.rows += 1;
        *person.days.entry(date).or_default() += 1;
        person.hours[(ms.rem_euclid(MS_PER_DAY) / 3_600_000) as usize] += 1;
        person.weekend += u64::from(date.is_weekend());
        person.soap += u64::from(records.text(Column::ApiFamily) == Family::Soap.name());
        person.tooling |= records.text(Column::ApiResource).contains("/tooling/");
        person.known.extend(entity);
        bump(&mut person.addresses, records.address());
        bump(&mut person.channels, channel);
        let version = records.text(Column::ApiVersion).split('.').next().and_then(|v| v.parse().ok());
        if let Some(version) = version {
            bump(&mut person.versions, version);
        }
    }

    /// The number of a user, new or known.
    fn person(&mut self, org: &str, user: &str) -> usize {
        let key = (org.to_owned(), user.to_owned());
        if let Some(number) = self.index.get(&key) {
            return *number;
        }
        let actor = self.cast.actor(Actor { org_id: key.0.clone(), user_id: key.1.clone(), user_name: String::new() });
        self.people.push(Person { actor, ..Person::default() });
        if !self.orgs.contains(&key.0) {
            self.orgs.push(key.0.clone());
        }
        self.index.insert(key, self.people.len() - 1);
        self.people.len() - 1
    }

    /// The number of a user of the current record, if the census met them.
    pub(super) fn known(&self, records: &Records) -> Option<usize> {
        let key = (records.text(Column::OrganizationId).to_owned(), records.text(Column::UserId).to_owned());
        self.index.get(&key).copied()
    }

    fn channel(&mut self, texts: [&str; 4]) -> u16 {
        let key = texts.map(str::to_owned);
        if let Some(number) = self.channels.get(&key) {
            return *number;
        }
        let [app_id, app_name, client, category] = key.clone();
        if self.cast.channels.len() >= usize::from(u16::MAX) - 100 {
            return 0;
        }
        let number = self.cast.channel(Channel { app_id, app_name, client, category, bulk_is_rest: false });
        self.channels.insert(key, number);
        number
    }

    fn entity(&mut self, text: &str) -> Option<u16> {
        if text.is_empty() {
            return None;
        }
        if let Some(number) = self.entities.get(text) {
            return Some(*number);
        }
        if self.cast.entities.len() >= 20_000 {
            return None;
        }
        let number = self.cast.entities.len() as u16;
        self.cast.entities.push(text.to_owned());
        self.entities.insert(text.to_owned(), number);
        Some(number)
    }

    /// First and last date with rows.
    pub(super) fn span(&self) -> Option<(Date, Date)> {
        let dates = || self.files.iter().flat_map(|f| f.keys().copied());
        Some((dates().min()?, dates().max()?))
    }

    /// How many users there are.
    pub(super) fn users(&self) -> usize {
        self.people.len()
    }

    /// A user's usual addresses, the busiest first.
    pub(super) fn addresses(&self, number: usize) -> Vec<Address> {
        let mut all: Vec<_> = self.people[number].addresses.iter().filter(|(a, _)| **a != Address::Internal).collect();
        all.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        all.into_iter().take(4).map(|(a, _)| *a).collect()
    }

    /// The users as scenarios see them; the organisation with most rows is number 0.
    pub(super) fn candidates(&self, start: Date, days: i32) -> Vec<Candidate> {
        let mut weight: Vec<(u64, usize)> = (0..self.orgs.len()).map(|org| (0, org)).collect();
        let org_of = |p: &Person| {
            let id = &self.cast.actors[p.actor as usize].org_id;
            self.orgs.iter().position(|o| o == id).unwrap_or(0)
        };
        for person in &self.people {
            weight[org_of(person)].0 += person.rows;
        }
        weight.sort_by_key(|(rows, org)| (std::cmp::Reverse(*rows), *org));
        let rank = |org: usize| weight.iter().position(|(_, o)| *o == org).unwrap_or(0);
        self.people.iter().enumerate().map(|(n, p)| self.candidate(n, rank(org_of(p)), start, days)).collect()
    }

    fn candidate(&self, number: usize, org: usize, start: Date, days: i32) -> Candidate {
        let person = &self.people[number];
        let active = person.days.len().max(1) as f64;
        let daily = person.rows as f64 / active;
        // People rest on two days in seven; programs do not.
        let weekend = person.weekend as f64 / person.rows.max(1) as f64;
        let human = weekend < 0.12 && daily < 3_000.0 && (days >= 10 || daily < 200.0);
        let null = self.cast.actors[person.actor as usize].user_id.starts_with(NULL_USER);
        let human = human && !null;
        let kind = match (human, daily) {
            (true, _) if person.tooling => Role::Admin,
            (true, d) if d > 300.0 => Role::Dialler,
            (true, d) if d > 40.0 => Role::ToolUser,
            (true, _) => Role::Person,
            (false, _) if null || self.addresses(number).is_empty() => Role::Unknown,
            (false, _) if nightly(&person.hours) => Role::Nightly,
            _ => Role::Poller,
        };
        let channel = busiest(&person.channels).unwrap_or(0);
        let day_of = |d: &Date| d.0 - start.0;
        let first = person.days.keys().next().map_or(0, day_of);
        let last = person.days.keys().next_back().map_or(0, day_of);
        // The middle of the working day is where the hours balance on the circle.
        let angle = |h: usize| (h as f64 + 0.5) / 24.0 * std::f64::consts::TAU;
        let sum =
            |f: fn(f64) -> f64| -> f64 { person.hours.iter().enumerate().map(|(h, n)| *n as f64 * f(angle(h))).sum() };
        let noon = sum(f64::sin).atan2(sum(f64::cos)).rem_euclid(std::f64::consts::TAU) / std::f64::consts::TAU * 24.0;
        let offset = if human { ((13.0 - noon).round() as i64 + 12).rem_euclid(24) - 12 } else { 0 };
        Candidate {
            actor: person.actor,
            user: number,
            org,
            human,
            daily,
            channel,
            version: busiest(&person.versions).unwrap_or(60),
            soap: person.soap * 2 > person.rows,
            app: !self.cast.channels.get(usize::from(channel)).is_none_or(|c| c.app_name.is_empty()),
            kind,
            known: person.known.iter().copied().filter(|e| *e != 0).collect(),
            offsets: vec![offset * 60; days.max(1) as usize],
            away: vec![(i32::MIN / 2, first + days / 4), (last + 1, i32::MAX / 2)],
        }
    }
}

fn bump<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K) {
    let full = counts.len() >= KEPT;
    match counts.get_mut(&key) {
        Some(n) => *n += 1,
        None if !full => {
            counts.insert(key, 1);
        }
        None => {}
    }
}

fn busiest<K: Ord + Copy>(counts: &BTreeMap<K, u64>) -> Option<K> {
    counts.iter().max_by(|a, b| a.1.cmp(b.1).then(b.0.cmp(a.0))).map(|(k, _)| *k)
}

/// Nine calls in ten within six hours of the day.
fn nightly(hours: &[u64; 24]) -> bool {
    let total: u64 = hours.iter().sum();
    (0..24).any(|from| (from..from + 6).map(|h| hours[h % 24]).sum::<u64>() * 10 >= total * 9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_a_time_are_read() {
        let ms = 1_760_034_877_652;
        assert_eq!(parse_time("20251009183437.652"), Some(ms));
        assert_eq!(parse_time("2025-10-09T18:34:37.652Z"), Some(ms));
        for bad in ["", "2025", "2025-13-09T18:34:37.652Z", "2025-10-09T28:34:37.652Z", "yesterday"] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }
}
