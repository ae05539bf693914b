//! What the source files behind a day say about what it does not show: hours of which no file came, files shorter than those that
//! they replaced, and late ones.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::baseline::org::NO_CHANCE;
use crate::baseline::user::HALF_HOURS;
use crate::date::Date;
use crate::report::words::{count, thousands};

/// A daily file with fewer calls than this part of what it replaced is short.
const SHORT: f64 = 0.95;

/// A file of an hour is usually there three to six hours later, one of a day the next night.
const LATE_HOURLY: i64 = 12 * HOUR_MS;
const LATE_DAILY: i64 = 36 * HOUR_MS;

const HOUR_MS: i64 = 3_600_000;

/// The source files that a day was made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    /// The file of the whole day that counts.
    pub daily: Option<Daily>,
    /// Each file of the whole day that another replaced.
    pub earlier_daily: Vec<Daily>,
    /// Files of an hour; they count where there is none of the whole day.
    pub hourly: Vec<Hourly>,
    /// Files of unknown extent, or with rows of other dates.
    pub other: u64,
    /// Events that files have in common which count.
    pub shared: u64,
}

/// A file of a whole day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Daily {
    /// Its events.
    pub rows: u64,
    /// When its source made it (ms since the epoch), if known.
    pub created: Option<i64>,
}

/// A file of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hourly {
    /// The hour (0–23, UTC), if known.
    pub hour: Option<u8>,
    /// Its number, from 1, among those of the hour, if known.
    pub sequence: Option<u32>,
    /// Its events.
    pub rows: u64,
    /// When its source made it (ms since the epoch), if known.
    pub created: Option<i64>,
}

/// Calls by half-hour, and how many users are usually active in each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) calls: &'a [f64; HALF_HOURS],
    pub(super) usual: &'a [f64; HALF_HOURS],
}

/// What is wrong with the files of a day.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Health {
    /// A part of the day is missing.
    pub(super) missing: Vec<String>,
    /// A file may be missing or count twice, or came late.
    told: Vec<String>,
    /// Hours of which no file came.
    hours: BTreeSet<usize>,
}

impl Health {
    /// Everything, in words.
    pub(super) fn all(&self) -> Vec<String> {
        self.missing.iter().chain(&self.told).cloned().collect()
    }

    /// Whether a stretch of half-hours without calls is that of hours without a file.
    pub(super) fn covers(&self, half_hours: Range<usize>) -> bool {
        (half_hours.start / 2..half_hours.end.div_ceil(2)).all(|hour| self.hours.contains(&hour))
    }
}

/// `09:30` of a half-hour.
pub(super) fn clock(half_hour: usize) -> String {
    format!("{:02}:{:02}", half_hour / 2, 30 * (half_hour % 2))
}

impl Parts {
    /// Files of the whole day.
    pub(super) fn dailies(&self) -> u64 {
        self.daily.iter().count() as u64 + self.earlier_daily.len() as u64
    }

    /// Files that one of the whole day replaced.
    pub(super) fn superseded(&self) -> u64 {
        let hourly = if self.daily.is_some() { self.hourly.len() } else { 0 };
        (self.earlier_daily.len() + hourly) as u64
    }

    /// What is missing of `date`, short or late.
    pub(super) fn health(&self, date: Date, seen: &Seen<'_>) -> Health {
        let mut health = Health::default();
        match self.daily {
            Some(daily) => {
                health.missing.extend(self.short(daily));
                let undated = |file: &&Daily| file.created.is_none();
                if daily.created.is_none() && self.earlier_daily.iter().any(|file| undated(&file)) {
                    let files = self.earlier_daily.iter().filter(undated).count() as u64 + 1;
                    health.missing.push(format!(
                        "{} and no manifest says which was made last (CreatedDate): the one with most calls counts",
                        count(files, "daily file")
                    ));
                }
                let made = self.earlier_daily.iter().chain([&daily]).map(|file| file.created).min().flatten();
                let late = made.filter(|made| *made >= date.plus(1).start_ms() + LATE_DAILY);
                health
                    .told
                    .extend(late.map(|made| format!("the first daily file was made only on {}", Date::from_ms(made))));
            }
            None if !self.hourly.is_empty() => {
                health.hours = self.hours_without(seen);
                health.missing.extend(stretches(&health.hours).map(|Range { start, end }| {
                    let usual = seen.usual[2 * start..2 * end].iter().sum::<f64>() / (2 * (end - start)) as f64;
                    let (from, to) = (clock(2 * start), clock(2 * end));
                    format!("no hourly file with calls from {from} to {to} UTC (usually {usual:.0} users at a time)")
                }));
                health.told.extend(self.gaps());
                let is_late = |h: &&Hourly| {
                    let end = h.hour.map(|hour| date.start_ms() + (i64::from(hour) + 1) * HOUR_MS);
                    h.created.zip(end).is_some_and(|(made, end)| made >= end + LATE_HOURLY)
                };
                let late = self.hourly.iter().filter(is_late).count() as u64;
                health.told.extend((late > 0).then(|| {
                    let (files, were) = (count(late, "hourly file"), if late == 1 { "was" } else { "were" });
                    format!("{files} {were} made more than {} hours after the hour", LATE_HOURLY / HOUR_MS)
                }));
            }
            None => {}
        }
        health.told.extend((self.shared > 0).then(|| {
            format!(
                "files of the date have {} in common; calls that a revised file changed count twice unless it and the one before \
                 are known as daily files",
                count(self.shared, "call")
            )
        }));
        health
    }

    /// A daily file that has less than those that it replaced.
    fn short(&self, daily: Daily) -> Option<String> {
        let hourly = self.hourly.iter().map(|h| h.rows).sum::<u64>();
        let before = self.earlier_daily.iter().map(|file| file.rows).max().unwrap_or(0).max(hourly);
        ((daily.rows as f64) < SHORT * before as f64).then(|| {
            format!(
                "the daily file has {} where the files that it replaced had {}",
                count(daily.rows, "call"),
                thousands(before)
            )
        })
    }

    /// Hours in which there nearly always are calls, without a file and without a call.
    fn hours_without(&self, seen: &Seen<'_>) -> BTreeSet<usize> {
        let with_file: BTreeSet<usize> = self.hourly.iter().filter_map(|h| h.hour).map(usize::from).collect();
        (0..HALF_HOURS / 2)
            .filter(|hour| {
                let usual = seen.usual[2 * hour].max(seen.usual[2 * hour + 1]);
                let calls = seen.calls[2 * hour] + seen.calls[2 * hour + 1];
                !with_file.contains(hour) && calls == 0.0 && usual >= NO_CHANCE
            })
            .collect()
    }

    /// Numbers that are left out among the files of an hour. No gate: a file without a call of the organisation is left out, too.
    fn gaps(&self) -> Vec<String> {
        let mut numbers = BTreeSet::new();
        // A number that an hour cannot have is a damaged manifest's.
        let known = self.hourly.iter().filter_map(|h| Some((h.hour?, h.sequence?)));
        numbers.extend(known.filter(|(_, number)| (1..=MOST_PER_HOUR).contains(number)));
        let mut said = Vec::new();
        for hour in 0..24 {
            let of_hour = || numbers.range((hour, 0)..=(hour, MOST_PER_HOUR)).map(|n| n.1);
            let Some(last) = of_hour().next_back() else { continue };
            let have: BTreeSet<u32> = of_hour().collect();
            let lost: Vec<String> = (1..last).filter(|n| !have.contains(n)).map(|n| n.to_string()).collect();
            if !lost.is_empty() {
                let from = clock(2 * usize::from(hour));
                let (files, are) = if lost.len() == 1 { ("file", "is") } else { ("files", "are") };
                let more = if lost.len() > NAMED { format!(" and {} more", lost.len() - NAMED) } else { String::new() };
                let named = lost[..lost.len().min(NAMED)].join(", ");
                said.push(format!(
                    "hour {from} UTC: {files} {named}{more} of at least {last} {are} missing, or without a call"
                ));
            }
        }
        said
    }
}

/// Most files of an hour that are believed, and most missing ones that are named.
const MOST_PER_HOUR: u32 = 1_000;
const NAMED: usize = 5;

/// Hours that follow each other, together.
fn stretches(hours: &BTreeSet<usize>) -> impl Iterator<Item = Range<usize>> {
    let mut out: Vec<Range<usize>> = Vec::new();
    for &hour in hours {
        match out.last_mut() {
            Some(last) if last.end == hour => last.end += 1,
            _ => out.push(hour..hour + 1),
        }
    }
    out.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hourly(hour: u8, sequence: u32) -> Hourly {
        Hourly { hour: Some(hour), sequence: Some(sequence), rows: 10, created: None }
    }

    /// Health of a day of hourly files, with calls in their hours and 8 users usually at work from 08:00 to 18:00.
    fn health(hourly: Vec<Hourly>) -> Health {
        let (mut calls, mut usual) = ([0.0; HALF_HOURS], [0.3; HALF_HOURS]);
        usual[16..36].fill(8.0);
        for hour in hourly.iter().filter_map(|h| h.hour).map(usize::from) {
            calls[2 * hour] = 5.0;
        }
        Parts { hourly, ..Parts::default() }.health(Date(20_000), &Seen { calls: &calls, usual: &usual })
    }

    #[test]
    fn an_hour_at_work_without_a_file_is_missing_and_one_at_night_is_not() {
        assert_eq!(health((8..18).map(|h| hourly(h, 1)).collect()), Health::default());
        let found = health([8, 9, 10, 13, 14, 16, 17].map(|h| hourly(h, 1)).into());
        let expected = [
            "no hourly file with calls from 11:00 to 13:00 UTC (usually 8 users at a time)",
            "no hourly file with calls from 15:00 to 16:00 UTC (usually 8 users at a time)",
        ];
        assert_eq!(found.all(), expected);
        assert!(found.covers(22..26) && found.covers(23..25) && !found.covers(22..27) && !found.covers(16..18));
    }

    #[test]
    fn a_number_left_out_among_the_files_of_an_hour_is_a_missing_file() {
        let mut files: Vec<Hourly> = (8..18).map(|h| hourly(h, 1)).collect();
        files.extend([hourly(9, 2), hourly(12, 4), hourly(14, u32::MAX), hourly(12, 5_000)]);
        assert_eq!(health(files).told, ["hour 12:00 UTC: files 2, 3 of at least 4 are missing, or without a call"]);
    }

    #[test]
    fn a_daily_file_with_fewer_calls_than_what_it_replaced_is_short_and_one_of_days_later_late() {
        let date = Date(20_000);
        let none = [0.0; HALF_HOURS];
        let said = |rows: u64, hours_later: i64| {
            let created = Some(date.plus(1).start_ms() + hours_later * HOUR_MS);
            let daily = Some(Daily { rows, created });
            let earlier_daily = vec![Daily { rows: 900, created: Some(date.plus(4).start_ms()) }];
            let parts = Parts { daily, earlier_daily, hourly: vec![hourly(3, 2); 100], ..Parts::default() };
            parts.health(date, &Seen { calls: &none, usual: &none })
        };
        assert_eq!(said(960, 3), Health::default());
        let short = said(940, 3);
        assert_eq!(short.missing, ["the daily file has 940 calls where the files that it replaced had 1,000"]);
        let late = said(1_000, 72);
        assert_eq!(
            (late.missing.len(), late.told),
            (0, vec!["the first daily file was made only on 2024-10-08".to_owned()])
        );
    }

    #[test]
    fn two_daily_files_without_a_date_and_files_that_overlap_are_told() {
        let undated = |rows| Daily { rows, created: None };
        let none = [0.0; HALF_HOURS];
        let daily = Parts { daily: Some(undated(900)), earlier_daily: vec![undated(890)], ..Parts::default() };
        let said = daily.health(Date(20_000), &Seen { calls: &none, usual: &none });
        assert!(said.missing[0].starts_with("2 daily files and no manifest says which"), "{said:?}");
        let other = Parts { other: 2, shared: 990, ..Parts::default() };
        let said = other.health(Date(20_000), &Seen { calls: &none, usual: &none });
        assert!(said.missing.is_empty(), "{said:?}");
        assert!(said.told[0].starts_with("files of the date have 990 calls in common"), "{said:?}");
    }

    #[test]
    fn an_hourly_file_of_the_next_day_is_late() {
        let late = |hours: i64| {
            let mut file = hourly(12, 1);
            file.created = Some(Date(20_000).start_ms() + hours * HOUR_MS);
            health((8..18).map(|h| if h == 12 { file } else { hourly(h, 1) }).collect()).all()
        };
        assert_eq!(late(18), [""; 0]);
        assert_eq!(late(25), ["1 hourly file was made more than 12 hours after the hour"]);
    }
}
