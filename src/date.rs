//! A UTC calendar date, the unit in which everything is partitioned, learned and scored.

use std::fmt;
use std::str::FromStr;

use jiff::civil;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Kind};

/// Milliseconds in a UTC day (UTC days have no daylight saving and POSIX time has no leap seconds).
pub const MS_PER_DAY: i64 = 86_400_000;

/// Days since 1970-01-01, UTC. Written and read as `YYYY-MM-DD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Date(pub i32);

impl Date {
    /// The date of a UTC time in milliseconds since the epoch.
    pub fn from_ms(ms: i64) -> Self {
        Self(i32::try_from(ms.div_euclid(MS_PER_DAY)).unwrap_or(i32::MAX))
    }

    /// The first millisecond of the date.
    pub fn start_ms(self) -> i64 {
        i64::from(self.0) * MS_PER_DAY
    }

    /// Monday = 0 … Sunday = 6.
    pub fn weekday(self) -> usize {
        // 1970-01-01 was a Thursday.
        usize::try_from((i64::from(self.0) + 3).rem_euclid(7)).expect("a remainder of 7 is small")
    }

    /// Saturday or Sunday.
    pub fn is_weekend(self) -> bool {
        self.weekday() >= 5
    }

    /// The date `days` later (earlier if negative).
    #[must_use]
    pub fn plus(self, days: i32) -> Self {
        Self(self.0.saturating_add(days))
    }

    /// The same day as a calendar date; years outside -9999..=9999 are clamped.
    pub fn civil(self) -> civil::Date {
        // The longest span there is; it leads beyond both ends, at which the sum stops.
        const LONGEST: i64 = 7_304_484;
        civil::date(1970, 1, 1).saturating_add(jiff::Span::new().days(i64::from(self.0).clamp(-LONGEST, LONGEST)))
    }
}

impl From<civil::Date> for Date {
    fn from(d: civil::Date) -> Self {
        let days = (d - civil::date(1970, 1, 1)).get_days();
        Self(days)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.civil())
    }
}

impl FromStr for Date {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self, Error> {
        let bytes = s.as_bytes();
        if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
            return Err(Error::new(Kind::Usage, format!("expected a date as YYYY-MM-DD, found {s:?}")));
        }
        s.parse::<civil::Date>()
            .map(Self::from)
            .map_err(|e| Error::new(Kind::Usage, format!("expected a date as YYYY-MM-DD, found {s:?}")).with_source(e))
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A UTC time in milliseconds as `YYYY-MM-DDTHH:MM:SS.mmmZ`.
pub fn format_ms(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms)
        .map_or_else(|_| ms.to_string(), |t| t.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}

/// The milliseconds since the epoch of an RFC 3339 time; digits beyond milliseconds are cut off.
pub fn parse_ms(s: &str) -> Option<i64> {
    s.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}

/// Serde form of milliseconds since the epoch: RFC 3339 text, as [`format_ms`] writes it.
pub mod rfc3339 {
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the time as text.
    pub fn serialize<S: Serializer>(ms: &i64, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&super::format_ms(*ms))
    }

    /// Reads the time from text.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<i64, D::Error> {
        let text = String::deserialize(d)?;
        super::parse_ms(&text).ok_or_else(|| serde::de::Error::custom("expected an RFC 3339 time"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_round_trip_and_know_their_weekday() {
        let d: Date = "2026-04-21".parse().unwrap();
        assert_eq!(d.to_string(), "2026-04-21");
        assert_eq!(d.weekday(), 1, "2026-04-21 was a Tuesday");
        assert_eq!(Date::from_ms(d.start_ms() + MS_PER_DAY - 1), d);
        assert_eq!(Date::from_ms(-1).to_string(), "1969-12-31");
    }

    #[test]
    fn the_first_and_the_last_date_that_can_be_written_mean_themselves() {
        for text in ["0000-01-01", "9909-11-28", "9909-12-01", "9999-12-31"] {
            assert_eq!(text.parse::<Date>().unwrap().to_string(), text);
        }
        assert_eq!(Date(i32::MAX).to_string(), "9999-12-31", "what is beyond is clamped");
        assert_eq!(Date(i32::MIN).civil(), civil::Date::MIN);
    }

    #[test]
    fn other_spellings_are_refused() {
        for bad in ["", "2026-4-21", "20260421", "2026-02-30", "2026-04-21T00:00:00Z", "tomorrow"] {
            assert!(bad.parse::<Date>().is_err(), "{bad}");
        }
    }

    #[test]
    fn times_print_with_milliseconds() {
        assert_eq!(format_ms(1_760_034_877_652), "2025-10-09T18:34:37.652Z");
        assert_eq!(parse_ms("2025-10-09T18:34:37.652Z"), Some(1_760_034_877_652));
        assert_eq!(parse_ms("2025-10-09T20:34:37.652+02:00"), Some(1_760_034_877_652));
        assert_eq!(parse_ms("yesterday"), None);
    }
}
