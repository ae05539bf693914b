//! One day of one organisation as the learning and scoring code sees it: plain rows, no data frame, no file.
//!
//! `store` fills these from Parquet; `baseline` and `detectors` read them. Rows are in a canonical order (sorted by
//! their keys), so that nothing downstream depends on how the day arrived.

use crate::date::Date;
use crate::features::catalog::Feature;

/// What a value in a [`ValueRow`] is a value of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum ValueKind {
    /// Client address.
    Ip,
    /// Network: /24, /48 or the prefix given by the network table.
    Network,
    /// ISO 3166-1 alpha-2 country of the address.
    Country,
    /// Autonomous system, as `AS64500 Name`.
    Asn,
    /// Class of the network: `corporate`, `internal`, `vpn`, `tor`, `hosting`, `unknown` and so on.
    NetworkClass,
    /// Connected app: its name, else its id.
    App,
    /// Id of the connected app. Names are chosen by whoever registers the app; ids are not.
    AppId,
    /// Client name.
    Client,
    /// Channel: app, else client, else API family. The identity within a user.
    Channel,
    /// API family.
    ApiFamily,
    /// Channel and API version, as `channel @ version`: the version is a fingerprint of the program that calls.
    ApiVersion,
    /// Resource template.
    Resource,
    /// Object (entity).
    Entity,
    /// Verb class.
    Action,
    /// Verb class and object, as `query Account`.
    ActionEntity,
    /// HTTP method.
    HttpMethod,
}

impl ValueKind {
    /// Every kind, in storage order.
    pub const ALL: [Self; 16] = [
        Self::Ip,
        Self::Network,
        Self::Country,
        Self::Asn,
        Self::NetworkClass,
        Self::App,
        Self::AppId,
        Self::Client,
        Self::Channel,
        Self::ApiFamily,
        Self::ApiVersion,
        Self::Resource,
        Self::Entity,
        Self::Action,
        Self::ActionEntity,
        Self::HttpMethod,
    ];

    /// The snake-case name used in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Network => "network",
            Self::Country => "country",
            Self::Asn => "asn",
            Self::NetworkClass => "network_class",
            Self::App => "app",
            Self::AppId => "app_id",
            Self::Client => "client",
            Self::Channel => "channel",
            Self::ApiFamily => "api_family",
            Self::ApiVersion => "api_version",
            Self::Resource => "resource",
            Self::Entity => "entity",
            Self::Action => "action",
            Self::ActionEntity => "action_entity",
            Self::HttpMethod => "http_method",
        }
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.name() == name)
    }
}

/// A string of the day, by number (see [`DayTables::text`]). Number 0 is the empty string.
pub type Sym = u32;

/// Rows of one kind of subject: keys, and a row-major matrix in the catalog's column order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FeatureTable {
    /// Subject ids, ascending by text and unique.
    pub ids: Vec<Sym>,
    /// Names for people, same length (empty where the source has none).
    pub names: Vec<Sym>,
    /// `ids.len() × columns.len()` values, row by row; all finite.
    pub values: Vec<f64>,
    /// The catalog's columns.
    pub columns: &'static [Feature],
}

impl FeatureTable {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// No rows.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The features of one row.
    pub fn row(&self, row: usize) -> &[f64] {
        let width = self.columns.len();
        &self.values[row * width..(row + 1) * width]
    }

    /// One feature of one row.
    pub fn get(&self, row: usize, column: usize) -> f64 {
        self.row(row)[column]
    }
}

/// How often one user used one value of one kind on the day.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueRow {
    /// Row in [`DayTables::user_day`].
    pub user: u32,
    /// What the value is a value of.
    pub kind: ValueKind,
    /// The value.
    pub value: Sym,
    /// Calls with it.
    pub calls: u32,
    /// Calls with it that ended with status 400 or above.
    pub errors: u32,
    /// First use, ms since the epoch.
    pub first_ms: i64,
    /// Last use, ms since the epoch.
    pub last_ms: i64,
    /// Up to three request ids, the earliest first (0 where there are fewer).
    pub request_ids: [Sym; 3],
}

/// Calls of one (user, channel) in one half-hour of the UTC day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HourRow {
    /// Row in [`DayTables::user_day`].
    pub user: u32,
    /// The channel (see [`ValueKind::Channel`]).
    pub channel: Sym,
    /// Half-hour 0..48.
    pub half_hour: u8,
    /// Calls in it.
    pub calls: u32,
    /// Of these, calls with status 400 or above.
    pub errors: u32,
}

/// Keys of one session; its features are the same row of [`DayTables::session`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionKey {
    /// Row in [`DayTables::user_day`].
    pub user: u32,
    /// The channel.
    pub channel: Sym,
    /// Client address.
    pub ip: Sym,
    /// First call, ms since the epoch.
    pub start_ms: i64,
    /// Last call, ms since the epoch.
    pub end_ms: i64,
}

/// One step of a session, or several equal ones in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Row in [`DayTables::session`].
    pub session: u32,
    /// What was done, in [`Steps::words`].
    pub word: u32,
    /// Time since the call before (`features::gap_bucket`).
    pub gap: u8,
    /// Request id of the first of them, in [`Steps::ids`].
    pub request_id: u32,
}

/// What the sessions of a day are made of, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Steps {
    /// Distinct steps: verb and object; and the verb alone.
    pub words: Vec<(String, String)>,
    /// Request ids; the first is empty.
    pub ids: Vec<String>,
    /// Sorted by session, then as they came.
    pub rows: Vec<Step>,
}

impl Steps {
    /// The steps of one session (a contiguous slice).
    pub fn of(&self, session: u32) -> &[Step] {
        let from = self.rows.partition_point(|s| s.session < session);
        let to = from + self.rows[from..].partition_point(|s| s.session == session);
        &self.rows[from..to]
    }
}

/// One (org, date) partition.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DayTables {
    /// Organisation.
    pub org_id: String,
    /// UTC date.
    pub date: Date,
    /// The day's strings; `text[0]` is empty.
    pub text: Vec<String>,
    /// One row per user.
    pub user_day: FeatureTable,
    /// One row per session; `ids` are session ids, sorted by (user, start, channel, address).
    pub session: FeatureTable,
    /// Keys of the sessions, same rows.
    pub session_keys: Vec<SessionKey>,
    /// One row per app or client (channel).
    pub app_day: FeatureTable,
    /// One row per client address.
    pub ip_day: FeatureTable,
    /// One row: the organisation.
    pub org_day: FeatureTable,
    /// Sorted by (user, kind, value text).
    pub values: Vec<ValueRow>,
    /// Sorted by (user, channel text, half-hour).
    pub hours: Vec<HourRow>,
    /// Only where the order of calls is looked at.
    pub steps: Option<Steps>,
}

impl DayTables {
    /// The text of a symbol.
    pub fn text(&self, sym: Sym) -> &str {
        &self.text[sym as usize]
    }

    /// The value rows of one user (a contiguous slice).
    pub fn values_of(&self, user: u32) -> &[ValueRow] {
        let from = self.values.partition_point(|v| v.user < user);
        let to = from + self.values[from..].partition_point(|v| v.user == user);
        &self.values[from..to]
    }

    /// The hour rows of one user (a contiguous slice).
    pub fn hours_of(&self, user: u32) -> &[HourRow] {
        let from = self.hours.partition_point(|v| v.user < user);
        let to = from + self.hours[from..].partition_point(|v| v.user == user);
        &self.hours[from..to]
    }

    /// The session rows of one user (a contiguous range).
    pub fn sessions_of(&self, user: u32) -> std::ops::Range<usize> {
        let from = self.session_keys.partition_point(|s| s.user < user);
        let to = from + self.session_keys[from..].partition_point(|s| s.user == user);
        from..to
    }
}
