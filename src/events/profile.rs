//! Profiles: which source column feeds which canonical column, how times are written, where sessions end.
//!
//! A profile is a TOML file (`docs/profiles.md`); three are built in. The built-in sources also have a dialect, the
//! rules of that source that no column mapping can say (15-character ids, user agents, error codes as words).

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::batch::{Field, NUMBERS};
use super::step::StepColumn;
use super::time::TimeFormat;
use crate::error::{Error, Kind, Result};

/// Names of the built-in profiles.
pub const BUILTIN: [&str; 3] = ["salesforce-api-total-usage", "aws-cloudtrail", "generic"];

/// What a source column is used for. A text field, or one of the inputs that end in another column type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Timestamp,
    Text(Field),
    Action,
    Status,
    RequestId,
    /// Index into [`NUMBERS`].
    Number(usize),
    /// Salesforce: must say `ApiTotalUsage` where it says anything.
    EventType,
    /// `CloudTrail` from here on.
    EventVersion,
    UserAgent,
    ErrorCode,
    ReadOnly,
    SignIn,
    IdentityType,
    IdentityArn,
    AccountId,
    SessionStart,
}

impl Role {
    fn from_name(name: &str, dialect: Dialect) -> Option<Self> {
        if let Some(field) = Field::ALL.into_iter().find(|f| f.name() == name) {
            return Some(Self::Text(field));
        }
        if let Some(number) = NUMBERS.iter().position(|n| *n == name) {
            return Some(Self::Number(number));
        }
        Some(match (name, dialect) {
            ("timestamp", _) => Self::Timestamp,
            ("action", _) => Self::Action,
            ("status_code", _) => Self::Status,
            ("request_id", _) => Self::RequestId,
            ("event_type", Dialect::Salesforce) => Self::EventType,
            ("event_version", Dialect::CloudTrail) => Self::EventVersion,
            ("user_agent", Dialect::CloudTrail) => Self::UserAgent,
            ("error_code", Dialect::CloudTrail) => Self::ErrorCode,
            ("read_only", Dialect::CloudTrail) => Self::ReadOnly,
            ("sign_in", Dialect::CloudTrail) => Self::SignIn,
            ("identity_type", Dialect::CloudTrail) => Self::IdentityType,
            ("identity_arn", Dialect::CloudTrail) => Self::IdentityArn,
            ("account_id", Dialect::CloudTrail) => Self::AccountId,
            ("session_start", Dialect::CloudTrail) => Self::SessionStart,
            _ => return None,
        })
    }
}

/// Rules of a source beyond its column names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Plain,
    Salesforce,
    CloudTrail,
}

/// Columns of the Salesforce log that are known and not used.
const SALESFORCE_KNOWN: [&str; 8] = [
    "COUNTS_AGAINST_API_LIMIT",
    "API_CLIENT_CATEGORY",
    "BOT_ID",
    "BOT_IDENTIFIER",
    "BOT_SESSION_ID",
    "BOT_SESSION_IDENTIFIER",
    "PLANNER_ID",
    "PLANNER_IDENTIFIER",
];

/// Top-level keys of `CloudTrail` records that are known and not used.
const CLOUDTRAIL_KNOWN: [&str; 16] = [
    "awsRegion",
    "errorMessage",
    "eventType",
    "eventCategory",
    "managementEvent",
    "sharedEventID",
    "vpcEndpointId",
    "vpcEndpointAccountId",
    "tlsDetails",
    "apiVersion",
    "serviceEventDetails",
    "sessionCredentialFromConsole",
    "edgeDeviceDetails",
    "addendum",
    "annotation",
    "insightDetails",
];

/// One canonical column and the source columns tried for it, in order.
#[derive(Debug, Clone)]
pub(super) struct Binding {
    pub(super) role: Role,
    /// The canonical name.
    pub(super) name: String,
    /// Source columns (CSV, Parquet: names; JSON: dotted paths).
    pub(super) sources: Vec<String>,
}

/// A mapping from a source's columns to the canonical schema.
#[derive(Debug, Clone)]
pub struct Profile {
    name: String,
    pub(super) bindings: Vec<Binding>,
    pub(super) dialect: Dialect,
    pub(super) time: TimeFormat,
    session_gap_minutes: u32,
    step: Vec<StepColumn>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ProfileToml {
    name: String,
    columns: BTreeMap<String, OneOrMany>,
    #[serde(default)]
    timestamp: TimestampToml,
    #[serde(default)]
    session: SessionToml,
    #[serde(default)]
    sequence: SequenceToml,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct TimestampToml {
    format: Option<String>,
    zone: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct SessionToml {
    gap_minutes: u32,
}

impl Default for SessionToml {
    fn default() -> Self {
        Self { gap_minutes: 30 }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct SequenceToml {
    token: Vec<String>,
}

impl Default for SequenceToml {
    fn default() -> Self {
        Self { token: StepColumn::USUAL.map(String::from).to_vec() }
    }
}

impl Profile {
    /// A built-in profile, by name (see [`BUILTIN`]).
    pub fn builtin(name: &str) -> Option<Self> {
        let (text, dialect) = match name {
            "salesforce-api-total-usage" => {
                (include_str!("profiles/salesforce-api-total-usage.toml"), Dialect::Salesforce)
            }
            "aws-cloudtrail" => (include_str!("profiles/aws-cloudtrail.toml"), Dialect::CloudTrail),
            "generic" => (include_str!("profiles/generic.toml"), Dialect::Plain),
            _ => return None,
        };
        Some(Self::from_toml(text, name, dialect).expect("built-in profiles are checked by a test"))
    }

    /// A built-in profile by name, else the profile in the TOML file at that path.
    ///
    /// [`Kind::Config`] if the file cannot be read or says something it may not; the message names the key.
    pub fn load(name_or_path: &str) -> Result<Self> {
        if let Some(profile) = Self::builtin(name_or_path) {
            return Ok(profile);
        }
        let path = Path::new(name_or_path);
        if !path.exists() {
            return Err(Error::new(
                Kind::Config,
                format!(
                    "no profile {name_or_path:?}: expected one of {} or the path of a profile file",
                    BUILTIN.join(", ")
                ),
            ));
        }
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(Kind::Config, "read profile", path, e))?;
        Self::from_toml(&text, name_or_path, Dialect::Plain)
    }

    fn from_toml(text: &str, origin: &str, dialect: Dialect) -> Result<Self> {
        let fail = |what: String| Error::new(Kind::Config, format!("profile {origin}: {what}"));
        let file: ProfileToml = toml::from_str(text).map_err(|e| fail(e.message().to_owned()).with_source(e))?;
        let mut bindings = Vec::with_capacity(file.columns.len());
        for (name, sources) in file.columns {
            let sources = match sources {
                OneOrMany::One(source) => vec![source],
                OneOrMany::Many(sources) => sources,
            };
            if sources.is_empty() || sources.iter().any(|s| s.trim().is_empty()) {
                return Err(fail(format!(
                    "columns.{name}: expected a column name or a list of them, found an empty one"
                )));
            }
            // A label is for `evaluate` alone: not reading it is what keeps it out of every feature.
            if name == "label" {
                continue;
            }
            let role = Role::from_name(&name, dialect)
                .ok_or_else(|| fail(format!("columns.{name}: unknown key, expected a canonical column name")))?;
            bindings.push(Binding { role, name, sources });
        }
        for required in [Role::Timestamp, Role::Text(Field::User)] {
            if !bindings.iter().any(|b| b.role == required) {
                return Err(fail("columns: timestamp and user_id are required".to_owned()));
            }
        }
        if !(1..=1440).contains(&file.session.gap_minutes) {
            return Err(fail(format!("session.gap-minutes: expected 1 to 1440, found {}", file.session.gap_minutes)));
        }
        let mut step = Vec::new();
        for name in &file.sequence.token {
            let column = StepColumn::from_name(name).ok_or_else(|| {
                fail(format!("sequence.token: expected action, status_class, gap or text columns, found {name:?}"))
            })?;
            if step.contains(&column) {
                return Err(fail(format!("sequence.token: {name} is there twice")));
            }
            step.push(column);
        }
        if step.is_empty() {
            return Err(fail("sequence.token: expected at least one column".to_owned()));
        }
        let time = match dialect {
            Dialect::Salesforce => TimeFormat::Salesforce,
            Dialect::Plain | Dialect::CloudTrail => {
                TimeFormat::new(file.timestamp.format.as_deref(), file.timestamp.zone.as_deref())
                    .map_err(|e| fail(e.to_string()).with_source(e))?
            }
        };
        Ok(Self { name: file.name, bindings, dialect, time, session_gap_minutes: file.session.gap_minutes, step })
    }

    /// The profile's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A gap of this many minutes (1..=1440) starts a new session.
    pub fn session_gap_minutes(&self) -> u32 {
        self.session_gap_minutes
    }

    /// What a step of a session is made of.
    pub fn step(&self) -> &[StepColumn] {
        &self.step
    }

    /// Whether a source column that nothing is bound to is nevertheless expected.
    pub(super) fn is_known_unused(&self, column: &str) -> bool {
        let known: &[&str] = match self.dialect {
            Dialect::Salesforce => &SALESFORCE_KNOWN,
            Dialect::CloudTrail => &CLOUDTRAIL_KNOWN,
            Dialect::Plain => &["label", "action", "source", "source_row"],
        };
        known.iter().any(|k| k.eq_ignore_ascii_case(column))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Profile> {
        Profile::from_toml(text, "mine.toml", Dialect::Plain)
    }

    #[test]
    fn every_builtin_profile_loads() {
        for name in BUILTIN {
            assert_eq!(Profile::builtin(name).unwrap().name(), name);
        }
        assert!(Profile::builtin("okta").is_none());
    }

    #[test]
    fn a_profile_of_ones_own_reads_as_documented() {
        let profile = parse(
            "name = 'okta'\n[columns]\ntimestamp = 'published'\nuser_id = ['actor.id', 'actor.alternateId']\nlabel = 'y'\n\
             [timestamp]\nformat = 'unix-ms'\n[session]\ngap-minutes = 45\n[sequence]\ntoken = ['action', 'status_class']\n",
        )
        .unwrap();
        assert_eq!((profile.name(), profile.session_gap_minutes()), ("okta", 45));
        assert_eq!(profile.step(), [StepColumn::Action, StepColumn::StatusClass]);
        assert_eq!(profile.bindings.len(), 2, "a label is never read");
    }

    #[test]
    fn mistakes_are_configuration_errors_that_name_the_key() {
        let required = "name='x'\n[columns]\ntimestamp='t'\nuser_id='u'\n";
        for (text, named) in [
            ("name='x'\n[columns]\ntimestamp='t'\n".to_owned(), "user_id"),
            (format!("{required}usr='x'\n"), "usr"),
            (format!("{required}[timestamps]\nformat='iso8601'\n"), "timestamps"),
            (format!("{required}[timestamp]\nformt='iso8601'\n"), "formt"),
            (format!("{required}[timestamp]\nformat='rfc'\n"), "format"),
            (format!("{required}[timestamp]\nzone='Mars/Base'\n"), "zone"),
            (format!("{required}[session]\ngap-minutes=0\n"), "gap-minutes"),
            (format!("{required}[sequence]\ntoken=['colour']\n"), "colour"),
            (format!("{required}[sequence]\ntoken=['action', 'action']\n"), "twice"),
            (format!("{required}[sequence]\ntoken=[]\n"), "at least one"),
            (format!("{required}error_code='e'\n"), "error_code"),
            (format!("{required}org_id=[]\n"), "org_id"),
        ] {
            let error = parse(&text).unwrap_err();
            assert_eq!(error.kind(), Kind::Config);
            assert!(error.to_string().contains(named), "{error} should name {named}");
        }
        assert_eq!(Profile::load("no-such-profile").unwrap_err().kind(), Kind::Config);
    }
}
