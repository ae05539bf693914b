//! Office time: zones with daylight saving, holidays, weekday and month-end factors.

use jiff::civil::Weekday;
use jiff::tz::TimeZone;

use crate::date::Date;

/// Minutes in a day.
pub(super) const DAY_MINUTES: i64 = 1440;

/// An office's clock and holidays.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    zone: TimeZone,
    pub country: &'static str,
}

impl Clock {
    /// The clock of the office in `country`. The rules are POSIX strings, so that the machine's time zone files,
    /// which differ in version or are missing, cannot change a simulation.
    pub(super) fn of(country: &'static str) -> Self {
        let rule = match country {
            "GB" => "GMT0BST,M3.5.0/1,M10.5.0",
            "SG" => "<+08>-8",
            _ => "EST5EDT,M3.2.0,M11.1.0",
        };
        Self { zone: TimeZone::posix(rule).expect("the rule is a valid POSIX time zone"), country }
    }

    /// Minutes to add to UTC, as of noon UTC on the date.
    pub(super) fn offset_minutes(&self, date: Date) -> i64 {
        let noon =
            jiff::Timestamp::from_millisecond(date.start_ms() + 43_200_000).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        i64::from(self.zone.to_offset(noon).seconds()) / 60
    }

    /// A public holiday.
    pub(super) fn is_holiday(&self, date: Date) -> bool {
        let d = date.civil();
        let nth =
            |month: i8, week: i8| d.month() == month && d.weekday() == Weekday::Monday && (d.day() - 1) / 7 + 1 == week;
        let last_monday = |month: i8| d.month() == month && d.weekday() == Weekday::Monday && d.day() > 24;
        let fixed = |days: &[(i8, i8)]| days.contains(&(d.month(), d.day()));
        match self.country {
            "GB" => fixed(&[(1, 1), (12, 25), (12, 26)]) || nth(5, 1) || last_monday(5) || last_monday(8),
            "SG" => fixed(&[(1, 1), (5, 1), (8, 9), (12, 25)]),
            _ => {
                let thanksgiving = d.month() == 11 && d.weekday() == Weekday::Thursday && (22..=28).contains(&d.day());
                fixed(&[(1, 1), (6, 19), (7, 4), (12, 25)])
                    || nth(1, 3)
                    || nth(2, 3)
                    || last_monday(5)
                    || nth(9, 1)
                    || thanksgiving
            }
        }
    }
}

/// How busy people and machines are by weekday, Monday first.
const HUMAN: [f64; 7] = [1.05, 1.0, 1.0, 0.98, 0.9, 0.15, 0.12];
const MACHINE: [f64; 7] = [1.02, 1.0, 1.0, 1.0, 0.98, 0.9, 0.9];

/// Weekday factor of people or machines.
pub(super) fn weekday_factor(date: Date, human: bool) -> f64 {
    if human { HUMAN[date.weekday()] } else { MACHINE[date.weekday()] }
}

/// 0 on ordinary days; 1 on the last two and the first business day of a month, 1.6 at the end of a quarter.
pub(super) fn close(date: Date) -> f64 {
    if date.is_weekend() {
        return 0.0;
    }
    let d = date.civil();
    let business_days = |from: Date, step: i32, same_month: i8| {
        (1..=6).map(|i| from.plus(i * step)).filter(|x| x.civil().month() == same_month && !x.is_weekend()).count()
    };
    let last_two = business_days(date, 1, d.month()) < 2;
    let first = business_days(date, -1, d.month()) == 0;
    match (last_two, first) {
        (true, _) if d.month() % 3 == 0 => 1.6,
        (true, _) | (_, true) => 1.0,
        _ => 0.0,
    }
}

/// Weights of the local half-hours of a working day: a morning and an afternoon peak, a lunch dip, a long tail.
pub(super) fn office_weight(local_minute: i64) -> f64 {
    const HOURS: [f64; 24] = [
        0.004, 0.002, 0.001, 0.001, 0.002, 0.01, 0.06, 0.35, 0.85, 1.0, 1.15, 1.05, 0.7, 0.9, 1.1, 1.15, 1.0, 0.75,
        0.35, 0.16, 0.10, 0.07, 0.04, 0.015,
    ];
    let hour = local_minute.rem_euclid(DAY_MINUTES) / 60;
    HOURS[hour as usize]
}

/// The offset changes between `from` and `until`: the first date with the new offset, per zone.
pub(super) fn switch_between(clock: &Clock, from: Date, until: Date) -> Option<Date> {
    (from.0..=until.0).map(Date).find(|d| clock.offset_minutes(*d) != clock.offset_minutes(d.plus(-1)))
}

/// A civil date as [`Date`].
#[cfg(test)]
pub(super) fn date(year: i16, month: i8, day: i8) -> Date {
    Date::from(jiff::civil::date(year, month, day))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_coasts_of_the_atlantic_switch_on_different_sundays() {
        let (from, until) = (date(2026, 1, 5), date(2026, 6, 1));
        assert_eq!(switch_between(&Clock::of("US"), from, until), Some(date(2026, 3, 8)));
        assert_eq!(switch_between(&Clock::of("GB"), from, until), Some(date(2026, 3, 29)));
        assert_eq!(switch_between(&Clock::of("SG"), from, until), None);
    }

    #[test]
    fn a_month_closes_on_its_last_two_and_first_business_days() {
        assert_eq!(close(date(2026, 2, 26)), 1.0, "Thursday");
        assert_eq!(close(date(2026, 2, 27)), 1.0, "Friday, the last");
        assert_eq!(close(date(2026, 2, 28)), 0.0, "Saturday");
        assert_eq!(close(date(2026, 3, 2)), 1.0, "the first Monday");
        assert_eq!(close(date(2026, 3, 31)), 1.6, "a quarter");
        assert_eq!(close(date(2026, 3, 12)), 0.0);
    }

    #[test]
    fn holidays_are_those_of_the_office() {
        assert!(Clock::of("US").is_holiday(date(2026, 2, 16)), "third Monday of February");
        assert!(!Clock::of("GB").is_holiday(date(2026, 2, 16)));
    }
}
