//! The scenarios that can be asked for: eighteen attacks and twelve benign look-alikes, at three levels.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::error::{Error, Kind, Result};

/// A scenario, by its place in [`catalog`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scenario(u8);

/// How strong a scenario is: volumes, times, numbers of addresses and of new objects scale with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// About a fifth of the published numbers: hard to find.
    Low,
    /// About half.
    #[default]
    Medium,
    /// The published numbers: easy to find.
    High,
}

impl Level {
    /// Factor on the numbers of a scenario.
    pub(super) fn factor(self) -> f64 {
        match self {
            Self::Low => 0.2,
            Self::Medium => 0.5,
            Self::High => 1.0,
        }
    }

    /// One of three, low first.
    pub(super) fn of<T>(self, low: T, medium: T, high: T) -> T {
        match self {
            Self::Low => low,
            Self::Medium => medium,
            Self::High => high,
        }
    }

    /// The word in the labels' `difficulty`.
    pub fn difficulty(self) -> &'static str {
        self.of("hard", "medium", "easy")
    }

    /// The word of `--scenario NAME@LEVEL`.
    pub fn name(self) -> &'static str {
        self.of("low", "medium", "high")
    }
}

/// What is known about a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ScenarioInfo {
    /// `S1`…`S18` (attacks) or `B1`…`B12` (look-alikes).
    pub id: &'static str,
    /// Name for the command line.
    pub slug: &'static str,
    /// One line for people.
    pub title: &'static str,
    /// `volume`, `temporal`, `identity`, `error`, `behavioral` or `benign`.
    pub category: &'static str,
    /// Families of detectors that should see it (for a look-alike: that may be fooled).
    pub families: &'static [&'static str],
    /// Ordinary life that looks like an attack.
    pub benign: bool,
}

macro_rules! catalog {
    ($($id:literal $slug:literal $category:literal [$($family:literal)*] $title:literal;)*) => {
        const CATALOG: &[ScenarioInfo] = &[$(ScenarioInfo {
            id: $id, slug: $slug, title: $title, category: $category, families: &[$($family),*],
            benign: matches!($category.as_bytes(), b"benign"),
        }),*];
    };
}

catalog! {
    "S1" "slow-recon-then-bulk" "behavioral" ["sequence" "novelty"] "slow reconnaissance over days, then one bulk job, deleted at once";
    "S2" "paging-theft" "identity" ["novelty" "count" "sequence"] "stolen integration token: other version, other countries, thousands of pages";
    "S3" "same-volume-other-objects" "behavioral" ["novelty" "sequence" "geometry"] "usual volume, hours and address, but other objects";
    "S4" "vished-loader" "identity" ["novelty" "count" "time"] "a talked-over employee authorises a loader app that exports whole tables";
    "S5" "test-chunks-then-export" "volume" ["novelty" "count" "sequence"] "growing test queries, a pause, then the large export";
    "S6" "rotating-exits" "identity" ["novelty" "count"] "one token from ever-changing anonymising exits";
    "S7" "low-and-slow" "behavioral" ["novelty" "sequence" "geometry"] "a few extra pages of new objects every night for two weeks";
    "S8" "shifted-run" "temporal" ["time"] "the nightly run at another hour, otherwise the same";
    "S9" "weekend-human" "temporal" ["time" "count"] "an office user busy on a Saturday afternoon";
    "S10" "credential-stuffing" "error" ["rate" "novelty" "count"] "thousands of failed logins for many users from many addresses";
    "S11" "error-climb" "error" ["rate"] "the error share of one integration climbs from 2 to 18 % over a week";
    "S12" "runaway-loop" "volume" ["count" "time" "rate"] "one program in a loop until the organisation's limit is used up";
    "S13" "shadow-app" "identity" ["novelty" "time"] "an unknown app starts polling under an employee's name";
    "S14" "insider-leaver" "behavioral" ["novelty" "count" "time"] "growing exports with a browser tool in somebody's last week";
    "S15" "composite-hiding" "behavioral" ["novelty" "sequence"] "composite batches where none existed";
    "S16" "job-deletion" "behavioral" ["novelty" "sequence"] "an administrator deletes another user's finished jobs";
    "S17" "multi-org-fetcher" "identity" ["novelty" "sequence"] "the same address walks through three organisations within minutes";
    "S18" "constant-request-id" "identity" ["novelty" "count" "sequence"] "paging theft in which every row carries one request id";
    "B1" "vendor-moves-data-centre" "benign" ["novelty"] "a vendor moves to another network for good";
    "B2" "sdk-upgrade" "benign" ["novelty"] "an integration's API version rises on one day";
    "B3" "announced-migration" "benign" ["count"] "a data migration in an announced change window";
    "B4" "period-close" "benign" ["count" "novelty"] "month-end and quarter-end";
    "B5" "daylight-saving" "benign" ["time"] "locally scheduled jobs move an hour in UTC";
    "B6" "platform-maintenance" "benign" ["rate"] "server errors and retries for everybody";
    "B7" "new-integration" "benign" ["novelty" "count"] "a new integration goes live over five days";
    "B8" "business-travel" "benign" ["novelty"] "an employee on a trip abroad, on a VPN the day after";
    "B9" "catch-up-sync" "benign" ["count"] "a full synchronisation after an outage";
    "B10" "public-holiday" "benign" ["count"] "people stay at home";
    "B11" "release-day" "benign" ["count"] "a large release";
    "B12" "late-log" "benign" ["count" "time"] "hours of the log arrive a day late";
}

/// All scenarios, attacks first.
pub fn catalog() -> &'static [ScenarioInfo] {
    CATALOG
}

impl Scenario {
    /// All scenarios in the catalog's order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..CATALOG.len() as u8).map(Self)
    }

    /// What is known about it.
    pub fn info(self) -> &'static ScenarioInfo {
        &CATALOG[usize::from(self.0)]
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.info().id)
    }
}

impl Serialize for Scenario {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        s.serialize_str(self.info().id)
    }
}

impl FromStr for Scenario {
    type Err = Error;

    /// An id or slug in any case.
    fn from_str(text: &str) -> Result<Self> {
        let found = |i: &ScenarioInfo| i.id.eq_ignore_ascii_case(text) || i.slug.eq_ignore_ascii_case(text);
        Self::all().find(|s| found(s.info())).ok_or_else(|| {
            let names: Vec<String> = CATALOG.iter().map(|i| format!("{} ({})", i.id, i.slug)).collect();
            let message = format!(
                "expected a scenario, found {text:?}; there are all, attacks, benign, {}; each takes @low, @medium or @high",
                names.join(", ")
            );
            Error::new(Kind::Usage, message)
        })
    }
}

impl FromStr for Level {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Low, Self::Medium, Self::High].into_iter().find(|l| l.name().eq_ignore_ascii_case(text)).ok_or_else(
            || Error::new(Kind::Usage, format!("expected the level low, medium or high after @, found {text:?}")),
        )
    }
}

/// A scenario asked for at a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ScenarioSpec {
    /// Which.
    pub scenario: Scenario,
    /// How strong.
    pub level: Level,
}

impl FromStr for ScenarioSpec {
    type Err = Error;

    /// `S3`, `s3@high`, `same-volume-other-objects@low`; the level is medium unless given.
    fn from_str(text: &str) -> Result<Self> {
        let (name, level) = split_level(text)?;
        Ok(Self { scenario: name.parse()?, level })
    }
}

fn split_level(text: &str) -> Result<(&str, Level)> {
    match text.split_once('@') {
        Some((name, level)) => Ok((name.trim(), level.trim().parse()?)),
        None => Ok((text.trim(), Level::default())),
    }
}

impl ScenarioSpec {
    /// What one `--scenario` asks for: a scenario, or `all`, `attacks`, `benign`, each with an optional level; or
    /// several of these separated by commas.
    pub fn parse_list(text: &str) -> Result<Vec<Self>> {
        let mut specs = Vec::new();
        for item in text.split(',').filter(|item| !item.trim().is_empty()) {
            let (name, level) = split_level(item)?;
            let wanted: Option<fn(&ScenarioInfo) -> bool> = match name.to_ascii_lowercase().as_str() {
                "all" => Some(|_| true),
                "attacks" => Some(|i| !i.benign),
                "benign" => Some(|i| i.benign),
                _ => None,
            };
            match wanted {
                Some(wanted) => {
                    let chosen = Scenario::all().filter(|s| wanted(s.info()));
                    specs.extend(chosen.map(|scenario| Self { scenario, level }));
                }
                None => specs.push(Self { scenario: name.parse()?, level }),
            }
        }
        Ok(specs)
    }
}
