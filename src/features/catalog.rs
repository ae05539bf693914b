//! The feature catalog: every numeric feature that the engine computes, with its meaning, unit, family and the
//! direction in which it is odd. The order here is the column order of the store; `docs/features.md` is generated
//! from it (a test holds them equal).

use std::fmt;

/// Which kind of evidence a feature feeds. Families are fused, so that ten features about the same thing cannot
/// out-vote one decisive fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// How much: negative-binomial counts.
    Count,
    /// Which share: beta-binomial rates.
    Rate,
    /// When: hours, weekdays, gaps, runs of scheduled jobs.
    Time,
    /// What was never, or hardly ever, seen before.
    Novelty,
    /// In which order: n-gram surprise and sequence models.
    Sequence,
    /// Which combination: detectors over whole feature vectors.
    Geometry,
}

impl Family {
    /// All families, in the order of the fused evidence.
    pub const ALL: [Self; 6] = [Self::Count, Self::Rate, Self::Time, Self::Novelty, Self::Sequence, Self::Geometry];

    /// The lower-case name used in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Rate => "rate",
            Self::Time => "time",
            Self::Novelty => "novelty",
            Self::Sequence => "sequence",
            Self::Geometry => "geometry",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The direction in which a feature is odd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Only unusually high values are odd.
    High,
    /// Only unusually low values are odd.
    Low,
    /// Both ends are odd.
    Both,
}

/// One feature of the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    /// Column name in the store.
    pub name: &'static str,
    /// What it means, one line.
    pub meaning: &'static str,
    /// Unit of the value.
    pub unit: &'static str,
    /// Evidence family.
    pub family: Family,
    /// Which direction is odd.
    pub direction: Direction,
}

impl Feature {
    /// Whether values are fractions; the others are whole numbers.
    pub fn is_fraction(&self) -> bool {
        matches!(self.unit, "bits" | "share" | "-1..1")
    }
}

macro_rules! features {
    ($(#[$doc:meta])* $module:ident { $($id:ident $name:literal $family:ident $direction:ident $unit:literal $meaning:literal;)* }) => {
        $(#[$doc])*
        pub mod $module {
            use super::{Direction, Family, Feature};
            #[expect(non_camel_case_types, clippy::upper_case_acronyms, reason = "the variants name the column constants")]
            #[allow(dead_code)]
            enum Index { $($id),* }
            $(#[doc = $meaning] pub const $id: usize = Index::$id as usize;)*
            /// The features in column order.
            pub const FEATURES: &[Feature] = &[
                $(Feature { name: $name, meaning: $meaning, unit: $unit, family: Family::$family, direction: Direction::$direction }),*
            ];
            /// How many there are.
            pub const COUNT: usize = FEATURES.len();
        }
    };
}

features! {
/// One row per (org, user, UTC date).
user_day {
    CALLS "calls" Count High "calls" "API calls";
    READS "reads" Count High "calls" "calls that read data: queries, pages, searches, record reads, bulk results";
    WRITES "writes" Count High "calls" "calls that create or change records or jobs";
    DELETES "deletes" Count High "calls" "calls that delete records or jobs";
    DESCRIBES "describes" Count High "calls" "calls that list or describe objects";
    QUERIES "queries" Count High "calls" "first pages of queries";
    QUERY_MORES "query_mores" Count High "calls" "follow-up pages of queries (cursors)";
    BULK_CALLS "bulk_calls" Count High "calls" "calls to bulk jobs: create, poll, result, delete";
    COMPOSITE_CALLS "composite_calls" Count High "calls" "composite requests, each hiding up to 25 parts";
    METADATA_CALLS "metadata_calls" Count High "calls" "metadata and tooling calls";
    AUTH_CALLS "auth_calls" Count High "calls" "logins and token calls";
    OTHER_CALLS "other_calls" Count High "calls" "calls of no known verb class";
    SESSIONS "sessions" Count High "sessions" "sessions begun (30-minute gaps, per app or client and IP)";
    PEAK_5MIN_CALLS "peak_5min_calls" Count High "calls" "most calls in one clock-aligned 5-minute slot";
    PEAK_HOUR_CALLS "peak_hour_calls" Count High "calls" "most calls in one UTC hour";
    NIGHT_CALLS "night_calls" Count High "calls" "calls from 00:00 to 06:00 UTC";
    ERRORS "errors" Rate High "calls" "calls that ended with status 400 or above";
    ERRORS_401 "errors_401" Rate High "calls" "calls refused for want of valid credentials (401)";
    ERRORS_403_LIMIT "errors_403_limit" Rate High "calls" "calls refused because the organisation's request limit was used up";
    ERRORS_403_OTHER "errors_403_other" Rate High "calls" "calls refused for want of permission (403, no limit)";
    ERRORS_404 "errors_404" Rate High "calls" "calls for something that does not exist (404)";
    ERRORS_429 "errors_429" Rate High "calls" "calls refused for coming too fast (429)";
    ERRORS_4XX_OTHER "errors_4xx_other" Rate High "calls" "calls that ended with another 4xx status";
    ERRORS_5XX "errors_5xx" Rate High "calls" "calls that ended with a server error";
    STATUS_UNKNOWN "status_unknown" Rate Both "calls" "calls with a blank status";
    NO_APP_CALLS "no_app_calls" Rate Both "calls" "calls without a connected app";
    INTERNAL_IP_CALLS "internal_ip_calls" Rate Both "calls" "calls from the source's own internal address (`Salesforce.com IP`)";
    CORPORATE_CALLS "corporate_calls" Rate Low "calls" "calls from the configured corporate ranges";
    VPN_TOR_CALLS "vpn_tor_calls" Rate High "calls" "calls from networks classed as VPN or Tor";
    HOSTING_CALLS "hosting_calls" Rate High "calls" "calls from networks classed as hosting or cloud";
    IPS "ips" Count High "addresses" "distinct client addresses";
    NETWORKS "networks" Count High "networks" "distinct networks (/24, /48 or the prefix of the network table)";
    COUNTRIES "countries" Count High "countries" "distinct countries";
    ASNS "asns" Count High "systems" "distinct autonomous systems";
    APPS "apps" Count High "apps" "distinct connected apps";
    CLIENTS "clients" Count High "clients" "distinct client names";
    CHANNELS "channels" Count High "channels" "distinct channels (app, else client, else API family)";
    API_FAMILIES "api_families" Count High "families" "distinct API families";
    API_VERSIONS "api_versions" Count High "versions" "distinct API versions";
    ENTITIES "entities" Count High "objects" "distinct objects touched";
    RESOURCES "resources" Count High "resources" "distinct resource templates";
    ACTIONS "actions" Count High "verbs" "distinct verb classes";
    ENTITY_ENTROPY "entity_entropy" Count High "bits" "spread of calls over objects (Shannon entropy)";
    RESOURCE_ENTROPY "resource_entropy" Count High "bits" "spread of calls over resource templates (Shannon entropy)";
    ACTION_ENTROPY "action_entropy" Count High "bits" "spread of calls over verb classes (Shannon entropy)";
    IP_ENTROPY "ip_entropy" Count High "bits" "spread of calls over client addresses (Shannon entropy)";
    HOUR_ENTROPY "hour_entropy" Time Both "bits" "spread of calls over the 24 UTC hours (Shannon entropy)";
    TOP_ENTITY_SHARE "top_entity_share" Rate Both "share" "share of the most used object among calls with an object";
    TOP_RESOURCE_SHARE "top_resource_share" Rate Both "share" "share of the most used resource template";
    TOP_IP_SHARE "top_ip_share" Rate Both "share" "share of the most used client address";
    FIRST_MINUTE "first_minute" Time Both "minute of day" "time of the first call";
    LAST_MINUTE "last_minute" Time Both "minute of day" "time of the last call";
    ACTIVE_HOURS "active_hours" Time High "hours" "distinct UTC hours with a call";
    ACTIVE_HALF_HOURS "active_half_hours" Time High "half-hours" "distinct UTC half-hours with a call";
    SPAN_MINUTES "span_minutes" Time High "minutes" "minutes from the first to the last call";
    MEDIAN_GAP_MS "median_gap_ms" Time Both "ms" "median time between consecutive calls";
    MAX_GAP_MS "max_gap_ms" Time Both "ms" "longest time between consecutive calls";
    BURSTINESS "burstiness" Time Both "-1..1" "burstiness of the times between calls (-1 periodic, 0 at random, 1 in bursts)";
    LONGEST_STREAK_MIN "longest_streak_min" Time High "minutes" "longest run of consecutive minutes with a call";
    REQUEST_BYTES "request_bytes" Count High "bytes" "bytes sent, where the source says so, else 0";
    RESPONSE_BYTES "response_bytes" Count High "bytes" "bytes received, where the source says so, else 0";
    ROW_COUNT "row_count" Count High "rows" "rows read or written, where the source says so, else 0";
    DURATION_MS "duration_ms" Count High "ms" "time spent in calls, where the source says so, else 0";
}}

features! {
/// One row per session: events of one (org, user, app or client, address) with gaps under 30 minutes, cut at midnight UTC.
session {
    CALLS "calls" Count High "calls" "API calls";
    DURATION_S "duration_s" Time High "s" "time from first to last call";
    READS "reads" Count High "calls" "calls that read data";
    WRITES "writes" Count High "calls" "calls that create or change";
    DELETES "deletes" Count High "calls" "calls that delete";
    DESCRIBES "describes" Count High "calls" "calls that list or describe objects";
    QUERIES "queries" Count High "calls" "first pages of queries";
    QUERY_MORES "query_mores" Count High "calls" "follow-up pages of queries";
    BULK_CALLS "bulk_calls" Count High "calls" "calls to bulk jobs";
    COMPOSITE_CALLS "composite_calls" Count High "calls" "composite requests";
    AUTH_CALLS "auth_calls" Count High "calls" "logins and token calls";
    ERRORS "errors" Rate High "calls" "calls with status 400 or above";
    ERRORS_401 "errors_401" Rate High "calls" "calls with status 401";
    ERRORS_403 "errors_403" Rate High "calls" "calls with status 403";
    ERRORS_404 "errors_404" Rate High "calls" "calls with status 404";
    ERRORS_5XX "errors_5xx" Rate High "calls" "calls with a server error";
    ENTITIES "entities" Count High "objects" "distinct objects touched";
    RESOURCES "resources" Count High "resources" "distinct resource templates";
    ACTIONS "actions" Count High "verbs" "distinct verb classes";
    API_VERSIONS "api_versions" Count High "versions" "distinct API versions";
    TRANSITIONS "transitions" Count High "pairs" "distinct pairs of consecutive verb classes";
    ENTITY_ENTROPY "entity_entropy" Count High "bits" "spread of calls over objects (Shannon entropy)";
    ACTION_ENTROPY "action_entropy" Count High "bits" "spread of calls over verb classes (Shannon entropy)";
    TOP_RESOURCE_SHARE "top_resource_share" Rate Both "share" "share of the most used resource template";
    START_MINUTE "start_minute" Time Both "minute of day" "time of the first call";
    MEAN_GAP_MS "mean_gap_ms" Time Both "ms" "mean time between calls, whole milliseconds";
    MEDIAN_GAP_MS "median_gap_ms" Time Both "ms" "median time between calls";
    MAX_GAP_MS "max_gap_ms" Time Both "ms" "longest time between calls";
    BURSTINESS "burstiness" Time Both "-1..1" "burstiness of the times between calls (-1 periodic, 0 at random, 1 in bursts)";
    PEAK_MINUTE_CALLS "peak_minute_calls" Count High "calls" "most calls in one clock-aligned minute";
    RESPONSE_BYTES "response_bytes" Count High "bytes" "bytes received, where the source says so, else 0";
    ROW_COUNT "row_count" Count High "rows" "rows read or written, where the source says so, else 0";
}}

features! {
/// One row per (org, app or client, UTC date).
app_day {
    CALLS "calls" Count High "calls" "API calls";
    USERS "users" Count High "users" "distinct users";
    IPS "ips" Count High "addresses" "distinct client addresses";
    NETWORKS "networks" Count High "networks" "distinct networks";
    COUNTRIES "countries" Count High "countries" "distinct countries";
    ENTITIES "entities" Count High "objects" "distinct objects touched";
    RESOURCES "resources" Count High "resources" "distinct resource templates";
    API_VERSIONS "api_versions" Count High "versions" "distinct API versions";
    READS "reads" Count High "calls" "calls that read data";
    WRITES "writes" Count High "calls" "calls that create or change";
    DELETES "deletes" Count High "calls" "calls that delete";
    QUERY_MORES "query_mores" Count High "calls" "follow-up pages of queries";
    BULK_CALLS "bulk_calls" Count High "calls" "calls to bulk jobs";
    ERRORS "errors" Rate High "calls" "calls with status 400 or above";
    ERRORS_401 "errors_401" Rate High "calls" "calls with status 401";
    ERRORS_403 "errors_403" Rate High "calls" "calls with status 403";
    ERRORS_5XX "errors_5xx" Rate High "calls" "calls with a server error";
    ACTIVE_HOURS "active_hours" Time High "hours" "distinct UTC hours with a call";
}}

features! {
/// One row per (org, client address, UTC date).
ip_day {
    CALLS "calls" Count High "calls" "API calls";
    USERS "users" Count High "users" "distinct users";
    FAILED_USERS "failed_users" Count High "users" "distinct users with a 401";
    APPS "apps" Count High "apps" "distinct channels (app, else client, else API family)";
    ENTITIES "entities" Count High "objects" "distinct objects touched";
    RESOURCES "resources" Count High "resources" "distinct resource templates";
    AUTH_CALLS "auth_calls" Count High "calls" "logins and token calls";
    ERRORS "errors" Rate High "calls" "calls with status 400 or above";
    ERRORS_401 "errors_401" Rate High "calls" "calls with status 401";
    ERRORS_403 "errors_403" Rate High "calls" "calls with status 403";
    ACTIVE_HOURS "active_hours" Time High "hours" "distinct UTC hours with a call";
}}

features! {
/// One row per (org, UTC date).
org_day {
    CALLS "calls" Count High "calls" "API calls";
    USERS "users" Count High "users" "distinct users";
    FAILED_USERS "failed_users" Count High "users" "distinct users with a 401";
    APPS "apps" Count High "apps" "distinct connected apps";
    IPS "ips" Count High "addresses" "distinct client addresses";
    FAILED_IPS "failed_ips" Count High "addresses" "distinct client addresses with a 401";
    NETWORKS "networks" Count High "networks" "distinct networks";
    COUNTRIES "countries" Count High "countries" "distinct countries";
    ENTITIES "entities" Count High "objects" "distinct objects touched";
    READS "reads" Count High "calls" "calls that read data";
    WRITES "writes" Count High "calls" "calls that create or change";
    DELETES "deletes" Count High "calls" "calls that delete";
    BULK_CALLS "bulk_calls" Count High "calls" "calls to bulk jobs";
    AUTH_CALLS "auth_calls" Count High "calls" "logins and token calls";
    ERRORS "errors" Rate High "calls" "calls with status 400 or above";
    ERRORS_401 "errors_401" Rate High "calls" "calls with status 401";
    ERRORS_403_LIMIT "errors_403_limit" Rate High "calls" "calls refused because the organisation's request limit was used up";
    ERRORS_403_OTHER "errors_403_other" Rate High "calls" "calls refused for want of permission";
    ERRORS_5XX "errors_5xx" Rate High "calls" "calls with a server error";
}}

/// The catalog as a page (`docs/features.md`).
pub fn markdown() -> String {
    let mut page = String::from(
        "# Features\n\nWhat quietwatch computes from one organisation's events of one UTC date. This page is generated from\n\
         `src/features/catalog.rs`; a test holds them equal.\n\nFamilies are kinds of evidence; the direction says which \
         values are odd. Fractions are rounded to a millionth,\nall other features are whole numbers.\n",
    );
    for (table, subject, features) in [
        ("user_day", "One row per user.", user_day::FEATURES),
        (
            "session",
            "One row per session: calls of one user, app or client, and address with gaps under 30 minutes (or the \
             profile's\n`session.gap-minutes`), or of the source's own session id; cut at midnight UTC.",
            session::FEATURES,
        ),
        ("app_day", "One row per channel: app, else client, else API family.", app_day::FEATURES),
        ("ip_day", "One row per client address.", ip_day::FEATURES),
        ("org_day", "One row.", org_day::FEATURES),
    ] {
        let count = features.len();
        page.extend([
            format!("\n## {table} ({count} features)\n\n{subject}\n\n").as_str(),
            "| feature | meaning | unit | family | odd when |\n|---|---|---|---|---|\n",
        ]);
        for feature in features {
            let odd = match feature.direction {
                Direction::High => "high",
                Direction::Low => "low",
                Direction::Both => "high or low",
            };
            let Feature { name, meaning, unit, family, .. } = feature;
            page.extend([format!("| `{name}` | {meaning} | {unit} | {family} | {odd} |\n")]);
        }
    }
    page
}
