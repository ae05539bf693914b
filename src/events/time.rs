//! Event times: text to UTC milliseconds, by a declared format and never by guessing.
//!
//! Nearly every row has one of two fixed layouts, so these are parsed by position; everything else goes through the
//! general path. A result outside 1990..2100 is a misread unit or a forged clock, and counts as unreadable.

use jiff::civil::DateTime;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;

use crate::error::{Error, Kind, Result};

/// 1990-01-01T00:00:00Z
const EARLIEST_MS: i64 = 631_152_000_000;
/// 2100-01-01T00:00:00Z
const LATEST_MS: i64 = 4_102_444_800_000;

/// How a source writes its times.
#[derive(Debug, Clone)]
pub(super) enum TimeFormat {
    /// ISO 8601; without an offset the time is in the zone (UTC if none).
    Iso(Option<TimeZone>),
    /// ISO 8601, or `yyyyMMddHHmmss.SSS`, always UTC.
    Salesforce,
    /// Seconds since the epoch, with or without a fraction.
    UnixSeconds,
    /// Milliseconds since the epoch.
    UnixMillis,
    /// A strftime pattern; without an offset the time is in the zone (UTC if none).
    Pattern(String, Option<TimeZone>),
}

impl TimeFormat {
    /// From a profile's `[timestamp]`; [`Kind::Config`] names the key.
    pub(super) fn new(format: Option<&str>, zone: Option<&str>) -> Result<Self> {
        let zone = match zone {
            None | Some("UTC") => None,
            Some(name) => Some(TimeZone::get(name).map_err(|e| {
                Error::new(Kind::Config, format!("timestamp.zone: no time zone {name:?}")).with_source(e)
            })?),
        };
        Ok(match format.unwrap_or("iso8601") {
            "iso8601" => Self::Iso(zone),
            "unix-s" => Self::UnixSeconds,
            "unix-ms" => Self::UnixMillis,
            pattern => {
                let sample = jiff::Timestamp::UNIX_EPOCH.to_zoned_datetime(TimeZone::UTC);
                let complete = pattern.contains('%')
                    && jiff::fmt::strtime::format(pattern, &sample)
                        .is_ok_and(|text| pattern_ms(&text, pattern, None).is_some());
                if !complete {
                    return Err(Error::new(
                        Kind::Config,
                        format!(
                            "timestamp.format: expected iso8601, unix-s, unix-ms or a strftime pattern with date and time, found {pattern:?}"
                        ),
                    ));
                }
                Self::Pattern(pattern.to_owned(), zone)
            }
        })
    }
}

/// Parses the times of one column, remembering the minute of the last row.
#[derive(Debug)]
pub(super) struct TimeParser<'a> {
    format: &'a TimeFormat,
    minute: [u8; 16],
    minute_ms: i64,
}

impl<'a> TimeParser<'a> {
    pub(super) fn new(format: &'a TimeFormat) -> Self {
        Self { format, minute: [0; 16], minute_ms: 0 }
    }

    /// Milliseconds since the epoch, if the text is a time of the format within 1990..2100.
    #[inline]
    pub(super) fn parse(&mut self, text: &[u8]) -> Option<i64> {
        // YYYY-MM-DDTHH:MM:SS.mmmZ
        if let (Ok(t), TimeFormat::Iso(_) | TimeFormat::Salesforce) = (<&[u8; 24]>::try_from(text), self.format)
            && t[23] == b'Z'
            && t[19] == b'.'
            && t[16] == b':'
        {
            let s = two(t, 17)?;
            let ms = digit(t[20])? * 100 + digit(t[21])? * 10 + digit(t[22])?;
            if s < 60 {
                if t[..16] != self.minute {
                    self.minute_ms = minute_ms(t)?;
                    self.minute.copy_from_slice(&t[..16]);
                }
                return Some(self.minute_ms + s * 1000 + ms);
            }
        }
        in_range(general(text.trim_ascii(), self.format)?)
    }
}

/// UTC milliseconds of an ISO 8601 time (UTC where it has no offset), within 1990..2100.
pub(crate) fn parse_iso(text: &str) -> Option<i64> {
    in_range(iso(text.trim().as_bytes(), None)?)
}

fn in_range(ms: i64) -> Option<i64> {
    (EARLIEST_MS..LATEST_MS).contains(&ms).then_some(ms)
}

fn general(text: &[u8], format: &TimeFormat) -> Option<i64> {
    match format {
        TimeFormat::Iso(zone) => iso(text, zone.as_ref()),
        TimeFormat::Salesforce => compact(text).or_else(|| iso(text, None)),
        TimeFormat::UnixSeconds => {
            let (whole, fraction) = split_once(text, b'.');
            Some(integer(whole)?.checked_mul(1000)? + millis(fraction)?)
        }
        TimeFormat::UnixMillis => integer(text),
        TimeFormat::Pattern(pattern, zone) => pattern_ms(std::str::from_utf8(text).ok()?, pattern, zone.as_ref()),
    }
}

fn pattern_ms(text: &str, pattern: &str, zone: Option<&TimeZone>) -> Option<i64> {
    let parts = BrokenDownTime::parse(pattern, text).ok()?;
    if parts.offset().is_some() || parts.timestamp().is_some() {
        return Some(parts.to_timestamp().ok()?.as_millisecond());
    }
    in_zone(parts.to_datetime().ok()?, zone)
}

fn in_zone(local: DateTime, zone: Option<&TimeZone>) -> Option<i64> {
    // Where clocks go back the earlier of the two times is taken, where they go forward the later.
    Some(zone.unwrap_or(&TimeZone::UTC).to_timestamp(local).ok()?.as_millisecond())
}

#[inline]
fn digit(byte: u8) -> Option<i64> {
    let d = byte.wrapping_sub(b'0');
    (d < 10).then_some(i64::from(d))
}

#[inline]
fn two(text: &[u8], at: usize) -> Option<i64> {
    Some(digit(*text.get(at)?)? * 10 + digit(*text.get(at + 1)?)?)
}

fn integer(text: &[u8]) -> Option<i64> {
    (1..=18).contains(&text.len()).then_some(())?;
    text.iter().try_fold(0_i64, |n, b| Some(n * 10 + digit(*b)?))
}

fn split_once(text: &[u8], at: u8) -> (&[u8], &[u8]) {
    memchr::memchr(at, text).map_or((text, &[][..]), |i| (&text[..i], &text[i + 1..]))
}

/// A fraction of a second in whole milliseconds, at most nanosecond digits; none is 0.
fn millis(fraction: &[u8]) -> Option<i64> {
    (fraction.len() <= 9).then_some(())?;
    let mut ms = 0;
    for place in 0..fraction.len().max(3) {
        let d = fraction.get(place).map_or(Some(0), |b| digit(*b))?;
        if place < 3 {
            ms = ms * 10 + d;
        }
    }
    Some(ms)
}

/// `YYYY-MM-DDTHH:MM` (or a space for the T) as UTC milliseconds.
fn minute_ms(t: &[u8]) -> Option<i64> {
    if t[4] != b'-' || t[7] != b'-' || !matches!(t[10], b'T' | b't' | b' ') || t[13] != b':' {
        return None;
    }
    civil_ms(two(t, 0)? * 100 + two(t, 2)?, two(t, 5)?, two(t, 8)?, two(t, 11)?, two(t, 14)?).and_then(in_range)
}

fn civil_ms(year: i64, month: i64, day: i64, hour: i64, minute: i64) -> Option<i64> {
    if hour > 23 || minute > 59 {
        return None;
    }
    let date = jiff::civil::Date::new(year as i16, month as i8, day as i8).ok()?;
    Some(crate::Date::from(date).start_ms() + hour * 3_600_000 + minute * 60_000)
}

/// `yyyyMMddHHmmss`, optionally with `.SSS`, UTC.
fn compact(text: &[u8]) -> Option<i64> {
    let (whole, fraction) = split_once(text, b'.');
    if whole.len() != 14 || !whole.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let base =
        civil_ms(two(text, 0)? * 100 + two(text, 2)?, two(text, 4)?, two(text, 6)?, two(text, 8)?, two(text, 10)?)?;
    Some(base + seconds(two(text, 12)?)? + millis(fraction)?)
}

/// Milliseconds of a seconds field. A leap second stays in its own minute, so that it never changes the date.
fn seconds(s: i64) -> Option<i64> {
    (s <= 60).then(|| s.min(59) * 1000)
}

/// `YYYY-MM-DD`, a T or space, `HH:MM[:SS[.fraction]]`, then `Z`, `±HH`, `±HHMM`, `±HH:MM` or nothing.
fn iso(text: &[u8], zone: Option<&TimeZone>) -> Option<i64> {
    if text.len() < 16 {
        return None;
    }
    let mut ms = {
        if text[4] != b'-' || text[7] != b'-' || !matches!(text[10], b'T' | b't' | b' ') || text[13] != b':' {
            return None;
        }
        civil_ms(two(text, 0)? * 100 + two(text, 2)?, two(text, 5)?, two(text, 8)?, two(text, 11)?, two(text, 14)?)?
    };
    let mut rest = &text[16..];
    if rest.first() == Some(&b':') {
        ms += seconds(two(rest, 1)?)?;
        rest = &rest[3..];
        if rest.first() == Some(&b'.') {
            let digits = rest[1..].iter().take_while(|b| b.is_ascii_digit()).count();
            if digits == 0 {
                return None;
            }
            ms += millis(&rest[1..=digits])?;
            rest = &rest[digits + 1..];
        }
    }
    let sign = match rest.first() {
        None => {
            return match zone {
                None => Some(ms),
                Some(_) => in_zone(TimeZone::UTC.to_datetime(jiff::Timestamp::from_millisecond(ms).ok()?), zone),
            };
        }
        Some(b'Z' | b'z') => return (rest.len() == 1).then_some(ms),
        Some(b'+') => -1,
        Some(b'-') => 1,
        Some(_) => return None,
    };
    let (hours, minutes) = match rest.len() {
        3 => (two(rest, 1)?, 0),
        5 => (two(rest, 1)?, two(rest, 3)?),
        6 if rest[3] == b':' => (two(rest, 1)?, two(rest, 4)?),
        _ => return None,
    };
    (hours <= 18 && minutes <= 59).then(|| ms + sign * (hours * 60 + minutes) * 60_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(format: &TimeFormat, text: &str) -> Option<String> {
        TimeParser::new(format).parse(text.as_bytes()).map(crate::date::format_ms)
    }

    #[test]
    fn every_iso_spelling_of_an_instant_is_the_same_instant() {
        let utc = TimeFormat::Iso(None);
        for text in [
            "2022-09-14T21:43:41.000Z",
            "2022-09-14T21:43:41.000+0000",
            "2022-09-14T21:43:41Z",
            "2022-09-14 21:43:41",
            "2022-09-14T23:43:41.000000+02:00",
            "2022-09-14T16:43:41-05",
            " 2022-09-14T21:43:41.000Z ",
        ] {
            assert_eq!(parse(&utc, text).as_deref(), Some("2022-09-14T21:43:41.000Z"), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        let utc = TimeFormat::Iso(None);
        for text in [
            "",
            "yesterday",
            "2022-13-01T00:00:00.000Z",
            "2022-02-30T00:00:00.000Z",
            "2022-09-14T24:00:00.000Z",
            "2022-09-14T21:60:00.000Z",
            "2022-09-14T21:43:61.000Z",
            "2022-09-14T21:43:41.00aZ",
            "2022-09-14T21:43:41.000Zjunk",
            "2022-09-14T21:43:41.000+2",
            "1969-12-31T23:59:59.999Z",
            "9999-01-01T00:00:00.000Z",
            "-022-09-14T21:43:41.000Z",
            "2022-09-14T21:43:41.Z",
            "20220914214341.000",
        ] {
            assert_eq!(parse(&utc, text), None, "{text}");
        }
    }

    #[test]
    fn a_leap_second_stays_on_its_date() {
        assert_eq!(
            parse(&TimeFormat::Iso(None), "2016-12-31T23:59:60.500Z").as_deref(),
            Some("2016-12-31T23:59:59.500Z")
        );
    }

    #[test]
    fn salesforce_times_have_two_layouts() {
        let sf = TimeFormat::Salesforce;
        for text in ["20251009183437.652", "2025-10-09T18:34:37.652Z"] {
            assert_eq!(parse(&sf, text).as_deref(), Some("2025-10-09T18:34:37.652Z"));
        }
        assert_eq!(parse(&sf, "20251009183437").as_deref(), Some("2025-10-09T18:34:37.000Z"));
        assert_eq!(parse(&sf, "20251009"), None);
    }

    #[test]
    fn epoch_times_keep_their_declared_unit() {
        let expected = Some("2025-10-09T18:34:37.652Z");
        assert_eq!(parse(&TimeFormat::UnixSeconds, "1760034877.652").as_deref(), expected);
        assert_eq!(parse(&TimeFormat::UnixMillis, "1760034877652").as_deref(), expected);
        assert_eq!(parse(&TimeFormat::UnixSeconds, "1760034877652"), None, "milliseconds declared as seconds");
        assert_eq!(parse(&TimeFormat::UnixMillis, "-5"), None);
        assert_eq!(parse(&TimeFormat::UnixMillis, "99999999999999999999"), None);
    }

    #[test]
    fn a_zone_is_applied_on_both_daylight_saving_edges() {
        let berlin = TimeFormat::new(Some("%d.%m.%Y %H:%M:%S"), Some("Europe/Berlin")).unwrap();
        // Python 3.11 zoneinfo, fold=0: 02:30 happened twice on 2025-10-26 and never on 2025-03-30.
        assert_eq!(parse(&berlin, "26.10.2025 02:30:00").as_deref(), Some("2025-10-26T00:30:00.000Z"));
        assert_eq!(parse(&berlin, "30.03.2025 02:30:00").as_deref(), Some("2025-03-30T01:30:00.000Z"));
        let iso = TimeFormat::new(None, Some("Europe/Berlin")).unwrap();
        assert_eq!(parse(&iso, "2025-07-01T12:00:00").as_deref(), Some("2025-07-01T10:00:00.000Z"));
        assert_eq!(parse(&iso, "2025-07-01T12:00:00Z").as_deref(), Some("2025-07-01T12:00:00.000Z"));
    }

    #[test]
    fn a_pattern_with_an_offset_needs_no_zone() {
        let f = TimeFormat::new(Some("%d/%b/%Y:%H:%M:%S %z"), None).unwrap();
        assert_eq!(parse(&f, "09/Oct/2025:20:34:37 +0200").as_deref(), Some("2025-10-09T18:34:37.000Z"));
        assert!(TimeFormat::new(Some("%H:%M"), None).is_err(), "a pattern without a date");
    }
}
