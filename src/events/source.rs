//! Which files to read, and what each covers: a day, an hour, or unknown.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::normalise::id18;
use super::time::parse_iso;
use crate::date::{Date, format_ms};
use crate::error::{Error, Kind, Result};

/// What a file covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceKind {
    /// The whole of one date.
    Daily,
    /// One hour, or part of it.
    Hourly,
    /// Not said: one more part of each date that it holds.
    Unknown,
}

/// An event file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it covers.
    pub kind: SourceKind,
    /// When the source made it (`YYYY-MM-DDTHH:MM:SS.mmmZ`, so that texts sort by time), if a manifest says so.
    pub created: Option<String>,
    /// The date it covers (of hourly files: the date of the hour), if known.
    pub date: Option<Date>,
    /// Its name says 00:00 of the date and nothing says whether that is the whole date or its first hour.
    pub from_midnight: bool,
    /// Of an hourly file: the hour of that date (0–23, UTC), if known.
    pub hour: Option<u8>,
    /// The source's own sequence number (hourly files: parts of one hour), if a manifest says so.
    pub sequence: Option<u32>,
    /// The source's own id of the file (18 characters), if known.
    pub id: Option<String>,
}

impl SourceFile {
    /// Bit `h` is set if one of these times (ms since the epoch) lies in hour `h` of the file's date; 0 where [`Self::kind_with`] needs
    /// none.
    pub fn hours_of(&self, times: &[i64]) -> u32 {
        let Some(start) = self.date.filter(|_| self.from_midnight).map(Date::start_ms) else { return 0 };
        let hours = times.iter().map(|ms| (ms - start).div_euclid(HOUR_MS)).filter(|hour| (0..24).contains(hour));
        hours.fold(0, |seen, hour| seen | 1 << hour)
    }

    /// What it covers, now that the hours of its events are known ([`Self::hours_of`]): a file of the first hour may run over by a
    /// moment, but not into a third one.
    pub fn kind_with(&self, hours: u32) -> SourceKind {
        let is_day = self.kind == SourceKind::Unknown && self.from_midnight && hours.count_ones() >= DAY_HOURS;
        if is_day { SourceKind::Daily } else { self.kind }
    }

    /// The file at `path`, with what its manifest (`<file>.json`) or its name says of it.
    pub fn at(path: &Path) -> Result<Self> {
        let mut file = Self {
            path: path.to_owned(),
            kind: SourceKind::Unknown,
            created: None,
            date: None,
            from_midnight: false,
            hour: None,
            sequence: None,
            id: None,
        };
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        file.name_says(&name);
        for (manifest, certain) in manifests_of(path) {
            if !manifest.is_file() {
                continue;
            }
            let mut told = file.clone();
            match told.manifest_says(&manifest) {
                Ok(()) => file = told,
                Err(e) if certain => return Err(e),
                // Another tool's.
                Err(_) => {}
            }
        }
        Ok(file)
    }

    /// `ApiTotalUsage_YYYYMMDD[HH]_<id>.csv`, or `<LogDate>_ApiTotalUsage_<id>.csv`.
    fn name_says(&mut self, name: &str) {
        let stem = name.split('.').next().unwrap_or("");
        let mut parts = stem.splitn(3, '_');
        let (Some(a), Some(b), Some(c)) = (parts.next(), parts.next(), parts.next()) else {
            // A log date may hold a dot (`…00.000Z_ApiTotalUsage_0AT….csv`).
            return self.log_date_name_says(name);
        };
        if a == "ApiTotalUsage" && is_log_file_id(c) && b.bytes().all(|b| b.is_ascii_digit()) {
            let date = b.get(..8).and_then(|d| format!("{}-{}-{}", &d[..4], &d[4..6], &d[6..]).parse().ok());
            let hour = b.get(8..10).and_then(|h| h.parse().ok()).filter(|h: &u8| *h < 24);
            let kind = match b.len() {
                8 => SourceKind::Daily,
                10 if hour.is_some() => SourceKind::Hourly,
                _ => return,
            };
            if date.is_some() {
                (self.kind, self.date, self.hour, self.id) = (kind, date, hour, Some(id18(c).into_owned()));
            }
        } else {
            self.log_date_name_says(name);
        }
    }

    fn log_date_name_says(&mut self, name: &str) {
        let Some((log_date, rest)) = name.split_once("_ApiTotalUsage_") else { return };
        let id = rest.split('.').next().unwrap_or("");
        let Some(date) = log_date.get(..10).and_then(|d| d.parse::<Date>().ok()) else { return };
        if !is_log_file_id(id) {
            return;
        }
        (self.date, self.id) = (Some(date), Some(id18(id).into_owned()));
        // Hour 0 may be the whole day or its first hour: then a manifest or what is in the file can tell.
        self.from_midnight = matches!(log_date.get(11..13), None | Some("00"));
        let hour = log_date.get(11..13).and_then(|h| h.parse().ok()).filter(|h| (1..24).contains(h));
        if hour.is_some() {
            (self.kind, self.hour) = (SourceKind::Hourly, hour);
        }
    }

    fn manifest_says(&mut self, manifest: &Path) -> Result<()> {
        let says = read_manifest(manifest)?.ok_or_else(|| {
            let message =
                format!("{}: expected a manifest with Interval or LogDate, found another object", manifest.display());
            Error::new(Kind::Input, message)
        })?;
        let wrong = |field: &str, expected: &str, found: &str| {
            let found: String = found.chars().take(60).collect();
            let message = format!("{}: expected {field} to be {expected}, found {found:?}", manifest.display());
            Error::new(Kind::Input, message)
        };
        match says.interval.as_deref() {
            Some(text) if text.eq_ignore_ascii_case("daily") => self.kind = SourceKind::Daily,
            Some(text) if text.eq_ignore_ascii_case("hourly") => self.kind = SourceKind::Hourly,
            Some(text) => return Err(wrong("Interval", "Daily or Hourly", text)),
            None => {}
        }
        let time = |text: &Option<String>, field: &str| match text.as_deref() {
            Some(text) => {
                let expected = "a time such as 2026-04-21T00:00:00.000+0000";
                parse_iso(text).map(Some).ok_or_else(|| wrong(field, expected, text))
            }
            None => Ok(None),
        };
        let log_date = time(&says.log_date, "LogDate")?;
        self.date = log_date.map(Date::from_ms).or(self.date);
        self.hour = match self.kind {
            SourceKind::Hourly => log_date.map(|ms| (ms.rem_euclid(DAY_MS) / HOUR_MS) as u8).or(self.hour),
            SourceKind::Daily | SourceKind::Unknown => None,
        };
        self.created = time(&says.created_date, "CreatedDate")?.map(format_ms).or_else(|| self.created.take());
        // Some clients write every number with a fraction.
        let whole = |n: f64| n.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&n);
        self.sequence = match says.sequence {
            Some(n) if whole(n) => Some(n as u32),
            Some(n) => return Err(wrong("Sequence", "a whole number from 0", &n.to_string())),
            None => self.sequence,
        };
        self.id = says.id.map(|id| id18(&id).into_owned()).or_else(|| self.id.take());
        Ok(())
    }
}

fn is_log_file_id(text: &str) -> bool {
    text.starts_with("0AT") && matches!(text.len(), 15 | 18) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// The fields of an `EventLogFile` record that matter here.
#[derive(Debug, Deserialize)]
struct Manifest {
    #[serde(rename = "Interval")]
    interval: Option<String>,
    #[serde(rename = "LogDate")]
    log_date: Option<String>,
    #[serde(rename = "CreatedDate")]
    created_date: Option<String>,
    #[serde(rename = "Sequence")]
    sequence: Option<f64>,
    #[serde(rename = "Id")]
    id: Option<String>,
}

/// Hours with events that no file of one hour has.
const DAY_HOURS: u32 = 3;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Largest manifest that is read.
const MANIFEST_BYTES: u64 = 1 << 20;

/// The manifest in a file; `None` if it is JSON, but no manifest.
fn read_manifest(path: &Path) -> Result<Option<Manifest>> {
    let fail = || {
        Error::new(
            Kind::Input,
            format!("{}: expected a manifest: one EventLogFile record as JSON, at most 1 MB", path.display()),
        )
    };
    let size = path.metadata().map_err(|e| Error::io(Kind::Input, "read", path, e))?.len();
    if size > MANIFEST_BYTES {
        return Err(fail());
    }
    let text = std::fs::read(path).map_err(|e| Error::io(Kind::Input, "read", path, e))?;
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|e| fail().with_source(e))?;
    Ok((manifest.interval.is_some() || manifest.log_date.is_some()).then_some(manifest))
}

/// Where a data file's manifest may stand, and whether a file there must be one: `a.csv.json` is, `a.json` may be.
fn manifests_of(path: &Path) -> [(PathBuf, bool); 2] {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".json");
    let stem = path.to_string_lossy();
    let stem = DATA_SUFFIXES.iter().find_map(|s| strip_suffix_ignoring_case(&stem, s)).unwrap_or(&stem);
    let instead = PathBuf::from(format!("{stem}.json"));
    // A file is never its own manifest.
    let instead = if instead == path { PathBuf::new() } else { instead };
    [(PathBuf::from(beside), true), (instead, false)]
}

/// Endings of data files in folders, longest first.
const DATA_SUFFIXES: [&str; 13] = [
    ".jsonl.zst",
    ".ndjson.gz",
    ".json.zst",
    ".jsonl.gz",
    ".json.gz",
    ".csv.zst",
    ".parquet",
    ".ndjson",
    ".csv.gz",
    ".jsonl",
    ".json",
    ".csv",
    ".log.gz",
];

fn strip_suffix_ignoring_case<'a>(name: &'a str, suffix: &str) -> Option<&'a str> {
    let at = name.len().checked_sub(suffix.len())?;
    (name.is_char_boundary(at) && name[at..].eq_ignore_ascii_case(suffix)).then(|| &name[..at])
}

/// Deepest folder that is looked into.
const MAX_DEPTH: usize = 32;

/// The event files named by files, folders (with all below them) and glob patterns, each once, sorted by path.
///
/// In folders hidden files, `.tmp` and `.part` files, manifests and files of other endings are passed over.
/// [`Kind::Input`] for a path that does not exist and a pattern that matches nothing.
pub fn discover(paths: &[String]) -> Result<Vec<SourceFile>> {
    let mut found = BTreeSet::new();
    for text in paths {
        let path = Path::new(text);
        if path.exists() {
            if path.is_dir() {
                let before = found.len();
                walk(path, 0, &mut found)?;
                if found.len() == before {
                    // An archive that is not mounted looks just like this.
                    let message = format!("expected event files, found none in the folder {text:?}");
                    return Err(Error::new(Kind::Input, message));
                }
            } else {
                found.insert(path.to_owned());
            }
            continue;
        }
        if !text.contains(['*', '?', '[']) {
            return Err(Error::new(Kind::Input, format!("expected an event file or folder, found no {text:?}")));
        }
        let pattern = glob::glob(text)
            .map_err(|e| Error::new(Kind::Input, format!("expected a glob pattern, found {text:?}")).with_source(e))?;
        let mut matched = false;
        for path in pattern {
            let path = path.map_err(|e| {
                let at = e.path().to_owned();
                Error::io(Kind::Input, "read", &at, e.into())
            })?;
            matched = true;
            if path.is_dir() {
                walk(&path, 0, &mut found)?;
            } else if !is_hidden(&path) && !is_unfinished(&path) && !is_manifest(&path) {
                found.insert(path);
            }
        }
        if !matched {
            return Err(Error::new(Kind::Input, format!("expected event files, found nothing that matches {text:?}")));
        }
    }
    // The same file by two names (`a.csv` and `./a.csv`) is one file.
    let mut seen = BTreeSet::new();
    found.retain(|path| seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone())));
    found.iter().map(|path| SourceFile::at(path)).collect()
}

fn walk(folder: &Path, depth: usize, found: &mut BTreeSet<PathBuf>) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(Error::new(
            Kind::Input,
            format!(
                "{}: expected folders at most {MAX_DEPTH} deep (is a link going round in circles?)",
                folder.display()
            ),
        ));
    }
    let fail = |e| Error::io(Kind::Input, "read", folder, e);
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if is_hidden(&path) || is_unfinished(&path) {
            continue;
        }
        if path.is_dir() {
            walk(&path, depth + 1, found)?;
        } else if is_data(&path) && !is_manifest(&path) {
            found.insert(path);
        }
    }
    Ok(())
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().to_ascii_lowercase()).unwrap_or_default()
}

fn is_hidden(path: &Path) -> bool {
    name_of(path).starts_with('.')
}

fn is_unfinished(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("tmp") || e.eq_ignore_ascii_case("part"))
}

fn is_data(path: &Path) -> bool {
    let name = name_of(path);
    DATA_SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

/// A `.json` file beside a data file that it describes.
fn is_manifest(path: &Path) -> bool {
    if path.extension().is_none_or(|e| !e.eq_ignore_ascii_case("json")) {
        return false;
    }
    let described = path.with_extension("");
    if described.is_file() && is_data(&described) {
        return true;
    }
    let stem = described.to_string_lossy();
    let beside = DATA_SUFFIXES.iter().any(|s| *s != ".json" && Path::new(&format!("{stem}{s}")).is_file());
    beside && matches!(read_manifest(path), Ok(Some(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    fn names(dir: &tempfile::TempDir, patterns: &[&str]) -> Vec<String> {
        let paths: Vec<String> = patterns.iter().map(|p| format!("{}/{p}", dir.path().display())).collect();
        discover(&paths)
            .unwrap()
            .iter()
            .map(|f| f.path.strip_prefix(dir.path()).unwrap().to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn a_folder_without_event_files_is_an_error() {
        let dir = tree(&[("readme.txt", "not mounted")]);
        let error = discover(&[dir.path().display().to_string()]).unwrap_err();
        assert_eq!(error.kind(), Kind::Input);
    }

    const DAILY: &str = r#"{"Id":"0ATVS000003zTTF","Interval":"Daily","LogDate":"2026-04-21T00:00:00.000+0000","CreatedDate":"2026-04-22T03:12:00.000+0000","Sequence":0}"#;

    #[test]
    fn folders_are_read_whole_and_only_for_data() {
        let dir = tree(&[
            ("b/2.csv", ""),
            ("b/1.csv.gz", ""),
            ("a/x.jsonl", ""),
            ("a/.hidden.csv", ""),
            (".git/y.csv", ""),
            ("a/z.csv.part", ""),
            ("a/z.csv.tmp", ""),
            ("a/README.txt", ""),
            ("b/2.csv.json", DAILY),
            ("c/3.csv", ""),
            ("c/3.json", DAILY),
            ("c/4.csv", ""),
            ("c/4.json", r#"{"user":"data, not a manifest"}"#),
            ("c/trail.json", "{}"),
        ]);
        let all = ["a/x.jsonl", "b/1.csv.gz", "b/2.csv", "c/3.csv", "c/4.csv", "c/4.json", "c/trail.json"];
        assert_eq!(names(&dir, &[""]), all);
        assert_eq!(names(&dir, &["c/*.csv", "c/3.csv", "b/../c/3.csv"]).len(), 2, "each file once");
        assert_eq!(names(&dir, &["b/*"]), ["b/1.csv.gz", "b/2.csv"]);
    }

    #[test]
    fn what_is_not_there_is_an_input_error() {
        let dir = tree(&[("a.csv", "")]);
        for missing in ["no.csv", "no/", "*.parquet", "[", "a.csv/x"] {
            let error = discover(&[format!("{}/{missing}", dir.path().display())]).unwrap_err();
            assert_eq!(error.kind(), Kind::Input, "{missing}");
        }
    }

    #[test]
    fn a_manifest_says_what_a_file_covers() {
        let dir = tree(&[("x.csv", ""), ("x.csv.json", DAILY), ("bad.csv", ""), ("bad.csv.json", "{]")]);
        let file = SourceFile::at(&dir.path().join("x.csv")).unwrap();
        assert_eq!((file.kind, file.date), (SourceKind::Daily, Some("2026-04-21".parse().unwrap())));
        assert_eq!(file.created.as_deref(), Some("2026-04-22T03:12:00.000Z"));
        assert_eq!((file.sequence, file.id.as_deref()), (Some(0), Some("0ATVS000003zTTF4A2")));
        assert_eq!(SourceFile::at(&dir.path().join("bad.csv")).unwrap_err().kind(), Kind::Input);
    }

    #[test]
    fn what_a_manifest_cannot_mean_is_refused_and_another_tools_file_is_passed_over() {
        for (field, wrong) in [
            ("Interval", r#"{"Interval":"PT1H"}"#),
            ("LogDate", r#"{"LogDate":"<script>"}"#),
            ("CreatedDate", r#"{"Interval":"Daily","CreatedDate":""}"#),
            ("Sequence", r#"{"Interval":"Hourly","Sequence":-1}"#),
            ("Sequence", r#"{"Interval":"Hourly","Sequence":1e99}"#),
        ] {
            let dir = tree(&[("x.csv", ""), ("x.csv.json", wrong), ("y.csv", ""), ("y.json", wrong)]);
            let error = SourceFile::at(&dir.path().join("x.csv")).unwrap_err();
            assert!(error.to_string().contains(&format!("expected {field} to be ")), "{error}");
            assert_eq!(SourceFile::at(&dir.path().join("y.csv")).unwrap().kind, SourceKind::Unknown, "{wrong}");
        }
        let dir = tree(&[("x.csv", ""), ("x.csv.json", r#"{"Interval":"hourly","Sequence":2.0}"#)]);
        assert_eq!(SourceFile::at(&dir.path().join("x.csv")).unwrap().sequence, Some(2));
    }

    #[test]
    fn an_hourly_file_says_which_file_of_which_hour_it_is() {
        let manifest = r#"{"Interval":"Hourly","LogDate":"2026-04-21T13:00:00.000+0000","Sequence":2}"#;
        let dir = tree(&[("x.csv", ""), ("x.csv.json", manifest)]);
        let file = SourceFile::at(&dir.path().join("x.csv")).unwrap();
        assert_eq!((file.kind, file.hour, file.sequence), (SourceKind::Hourly, Some(13), Some(2)));
        let hour = |name: &str| SourceFile::at(Path::new(name)).unwrap().hour;
        assert_eq!(hour("ApiTotalUsage_2026042100_0ATVS000003zTTF.csv"), Some(0));
        assert_eq!(hour("2026-04-21T13:00:00.000+0000_ApiTotalUsage_0ATVS000003zTTF.csv"), Some(13));
        assert_eq!(hour("2026-04-21T00:00:00.000+0000_ApiTotalUsage_0ATVS000003zTTF.csv"), None);
        assert_eq!(hour("ApiTotalUsage_20260421_0ATVS000003zTTF.csv"), None);
    }

    #[test]
    fn a_file_named_for_midnight_is_daily_if_it_goes_on_into_a_third_hour() {
        let named = |name: &str| SourceFile::at(Path::new(name)).unwrap();
        let date: Date = "2026-04-21".parse().unwrap();
        let kind = |file: &SourceFile, hours: &[i64]| {
            let times: Vec<i64> = hours.iter().map(|h| date.start_ms() + h * HOUR_MS).collect();
            file.kind_with(file.hours_of(&times))
        };
        for name in [
            "2026-04-21T00:00:00.000Z_ApiTotalUsage_0ATVS000003zTTF.csv",
            "2026-04-21_ApiTotalUsage_0ATVS000003zTTF.csv",
        ] {
            let file = named(name);
            assert_eq!(kind(&file, &[0, 0, 1, -1, 24, 99]), SourceKind::Unknown);
            assert_eq!(kind(&file, &[0, 1, 17]), SourceKind::Daily);
            assert_eq!(file.hours_of(&[i64::MIN / 2, i64::MAX / 2]), 0);
        }
        let hourly = named("2026-04-21T05:00:00.000Z_ApiTotalUsage_0ATVS000003zTTF.csv");
        assert_eq!(kind(&hourly, &[5, 6, 7]), SourceKind::Hourly);
        assert_eq!(kind(&named("events.csv"), &[5, 6, 7]), SourceKind::Unknown);
    }

    #[test]
    fn salesforce_names_say_what_a_file_covers() {
        use SourceKind::{Daily, Hourly, Unknown};
        for (name, kind, date) in [
            ("ApiTotalUsage_20260421_0ATVS000003zTTF.csv", Daily, "2026-04-21"),
            ("ApiTotalUsage_20260421_0ATVS000003zTTF4A2.csv.gz", Daily, "2026-04-21"),
            ("ApiTotalUsage_2026042113_0ATVS000003zTTF.csv", Hourly, "2026-04-21"),
            ("2026-04-21T13:00:00.000+0000_ApiTotalUsage_0ATVS000003zTTF.csv", Hourly, "2026-04-21"),
            ("2026-04-21T00:00:00.000+0000_ApiTotalUsage_0ATVS000003zTTF.csv", Unknown, "2026-04-21"),
            ("2026-04-21_ApiTotalUsage_0ATVS000003zTTF.csv", Unknown, "2026-04-21"),
            ("ApiTotalUsage_20261321_0ATVS000003zTTF.csv", Unknown, ""),
            ("ApiTotalUsage_2026042199_0ATVS000003zTTF.csv", Unknown, ""),
            ("ApiTotalUsage_20260421_xyz.csv", Unknown, ""),
            ("é_ApiTotalUsage_0ATVS000003zTTF.csv", Unknown, ""),
            ("events.csv", Unknown, ""),
        ] {
            let file = SourceFile::at(Path::new(name)).unwrap();
            assert_eq!(
                (file.kind, file.date.map(|d| d.to_string()).unwrap_or_default().as_str()),
                (kind, date),
                "{name}"
            );
        }
    }
}
