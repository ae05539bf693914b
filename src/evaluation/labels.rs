//! The label file: who did what when, for `evaluate` alone.
//!
//! CSV with the columns `org_id, user_id, start, end, scenario, category, difficulty` in any order. A row is one
//! window of one user; a blank `user_id` means the whole organisation, a blank `org_id` the organisation `default`.

use serde::{Deserialize, Serialize};

use crate::anomaly::Category;
use crate::date::{Date, MS_PER_DAY, parse_ms};
use crate::error::{Error, Kind, Result};
use crate::report::csv;

/// What a label says the activity was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LabelCategory {
    /// Something to be found.
    Attack(Category),
    /// A look-alike: unusual, and nobody wants to be woken for it.
    Benign,
}

impl LabelCategory {
    /// The name used in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Attack(category) => category.name(),
            Self::Benign => "benign",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        let attacks = [Category::Volume, Category::Temporal, Category::Identity, Category::Error, Category::Behavioral];
        attacks.into_iter().map(Self::Attack).chain([Self::Benign]).find(|c| c.name() == name)
    }
}

impl Serialize for LabelCategory {
    fn serialize<S: serde::Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        s.serialize_str(self.name())
    }
}

/// How hard the activity is to see: high intensity is easy, low is hard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Difficulty {
    /// High intensity.
    Easy,
    /// Medium intensity.
    Medium,
    /// Low intensity.
    Hard,
}

impl Difficulty {
    /// All of them, the easiest first.
    pub const ALL: [Self; 3] = [Self::Easy, Self::Medium, Self::Hard];

    /// The name used in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Easy => "easy",
            Self::Medium => "medium",
            Self::Hard => "hard",
        }
    }
}

/// One labelled window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Organisation.
    pub org_id: String,
    /// The user; `None` is the whole organisation.
    pub user_id: Option<String>,
    /// First millisecond since the epoch.
    pub start: i64,
    /// Last millisecond since the epoch; not before `start`.
    pub end: i64,
    /// Name of the scenario.
    pub scenario: String,
    /// What it is.
    pub category: LabelCategory,
    /// How hard it is to see.
    pub difficulty: Difficulty,
}

const COLUMNS: [&str; 7] = ["org_id", "user_id", "start", "end", "scenario", "category", "difficulty"];

/// Reads a label file; `name` stands in errors. Strict: a missing column, an unknown word or a window that ends before
/// it starts is an error of [`Kind::Input`] with its line.
pub fn read(bytes: &[u8], name: &str) -> Result<Vec<Label>> {
    let records = csv::records(bytes, name)?;
    let Some((header, rows)) = records.split_first() else {
        let message = format!("{name}: expected a header line `{}`, found an empty file", COLUMNS.join(","));
        return Err(Error::new(Kind::Input, message));
    };
    let mut places = [0; COLUMNS.len()];
    for (place, column) in places.iter_mut().zip(COLUMNS) {
        let mut found = header.cells.iter().enumerate().filter(|(_, c)| c.trim() == column).map(|(i, _)| i);
        *place = match (found.next(), found.next()) {
            (Some(i), None) => i,
            (None, _) => {
                let message = format!("{name}: column `{column}` is missing; expected `{}`", COLUMNS.join(","));
                return Err(Error::new(Kind::Input, message));
            }
            (Some(_), Some(_)) => {
                return Err(Error::new(Kind::Input, format!("{name}: column `{column}` stands twice")));
            }
        };
    }
    let labels = rows.iter().map(|record| {
        let bad = |what: String| Error::new(Kind::Input, format!("{name} line {}: {what}", record.line));
        if record.cells.len() != header.cells.len() {
            let (expected, found) = (header.cells.len(), record.cells.len());
            return Err(bad(format!("expected {expected} cells as in the header, found {found}")));
        }
        let [org_id, user_id, start, end, scenario, category, difficulty] =
            places.map(|place| csv::unguard(record.cells[place].trim()));
        let time = |column: &str, text: &str, last: bool| {
            time(text, last).ok_or_else(|| {
                bad(format!("expected `{column}` as YYYY-MM-DD or as RFC 3339 (2026-04-21T14:32:00Z), found something else"))
            })
        };
        let label = Label {
            org_id: if org_id.is_empty() { "default" } else { org_id }.to_owned(),
            user_id: (!user_id.is_empty()).then(|| user_id.to_owned()),
            start: time("start", start, false)?,
            end: time("end", end, true)?,
            scenario: scenario.to_owned(),
            category: LabelCategory::from_name(category).ok_or_else(|| {
                bad("expected `category` as volume, temporal, identity, error, behavioral or benign, found something else".into())
            })?,
            difficulty: Difficulty::ALL
                .into_iter()
                .find(|d| d.name() == difficulty)
                .ok_or_else(|| bad("expected `difficulty` as easy, medium or hard, found something else".into()))?,
        };
        if label.scenario.is_empty() {
            return Err(bad("`scenario` is blank".into()));
        }
        if label.start > label.end {
            return Err(bad("the window ends before it starts".into()));
        }
        Ok(label)
    });
    labels.collect()
}

/// A time, or a date: its first millisecond, or its last where it ends a window.
fn time(text: &str, last: bool) -> Option<i64> {
    match text.parse::<Date>() {
        Ok(date) => Some(date.start_ms() + if last { MS_PER_DAY - 1 } else { 0 }),
        Err(_) => parse_ms(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "org_id,user_id,start,end,scenario,category,difficulty\n";

    #[test]
    fn times_and_dates_are_read() {
        let text = format!(
            "{HEADER}o,u,2026-04-21T14:32:00Z,2026-04-21T15:00:00.500Z,S1,identity,easy\n,,2026-04-21,2026-04-22,B6,benign,hard\n"
        );
        let labels = read(text.as_bytes(), "labels.csv").unwrap();
        let day = "2026-04-21".parse::<Date>().unwrap().start_ms();
        assert_eq!(labels[0].start, day + 52_320_000);
        assert_eq!(labels[0].end, day + 54_000_500);
        assert_eq!(labels[0].category, LabelCategory::Attack(Category::Identity));
        assert_eq!(labels[1].org_id, "default");
        assert_eq!(labels[1].user_id, None);
        assert_eq!((labels[1].start, labels[1].end), (day, day + 2 * MS_PER_DAY - 1), "an end date is inclusive");
    }

    #[test]
    fn columns_may_stand_in_any_order_with_others_between() {
        let text = "difficulty,note,category,scenario,end,start,user_id,org_id\r\nhard,\"a, b\",volume,S2,2026-04-21,2026-04-21,u,o\r\n";
        assert_eq!(read(text.as_bytes(), "l").unwrap()[0].scenario, "S2");
    }

    #[test]
    fn each_mistake_names_its_line_and_never_the_cell() {
        for (row, says) in [
            ("o,u,21.04.2026,2026-04-21,S1,volume,easy", "`start`"),
            ("o,u,2026-04-21,secret,S1,volume,easy", "`end`"),
            ("o,u,2026-04-22,2026-04-21,S1,volume,easy", "ends before it starts"),
            ("o,u,2026-04-21,2026-04-21,S1,secret,easy", "`category`"),
            ("o,u,2026-04-21,2026-04-21,S1,volume,high", "`difficulty`"),
            ("o,u,2026-04-21,2026-04-21,,volume,easy", "`scenario`"),
            ("o,u,2026-04-21,2026-04-21,S1,volume", "expected 7 cells"),
        ] {
            let text = format!("{HEADER}o,u,2026-04-21,2026-04-21,S1,volume,easy\n{row}\n");
            let error = read(text.as_bytes(), "labels.csv").unwrap_err();
            assert_eq!(error.kind(), Kind::Input);
            let message = error.to_string();
            assert!(message.starts_with("labels.csv line 3: ") && message.contains(says), "{message}");
            assert!(!message.contains("secret"), "{message}");
        }
        assert!(read(b"", "l").unwrap_err().to_string().contains("empty file"));
        assert!(read(b"org_id,user_id\n", "l").unwrap_err().to_string().contains("`start` is missing"));
    }
}
