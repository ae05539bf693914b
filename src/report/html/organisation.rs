//! Pictures of an organisation's day: how many users were there hour by hour, and its calls beside the days before.

use std::fmt::Write;

use maud::{Markup, html};

use super::super::escape::clip;
use super::super::words::{count, thousands};
use super::day::{BIN, BOTTOM, MARGIN, TOP, bar, clock_times, days, key};
use super::longest;
use crate::anomaly::NightSummary;
use crate::anomaly::picture::{HALF_HOURS, OrgDay, OrgPicture};

/// What the days before are: the state holds no more of them.
const LEARNED: &str = " without user-days too odd to be learned";

/// Days of a kind below which they have no usual range.
const FEW: usize = 5;

/// Both pictures, where there is something to draw; `open` or to be opened.
pub(super) fn render(s: &NightSummary, open: bool) -> Markup {
    let Some(picture) = s.picture.as_deref() else { return html! {} };
    let name = clip(&s.org_id, longest::NAME);
    let past: Vec<_> = picture.past.iter().map(|day| (day.date, day.calls)).collect();
    html! {
        details open[open] {
            summary { "The day of the whole organisation" }
            div.pictures.info {
                figure.hours {
                    (hours(picture, &format!("Users per half-hour of {name}, {} UTC", s.date)))
                    figcaption { (said_of_users(picture)) }
                }
                @if !past.is_empty() {
                    figure.days {
                        (days(&past, range(picture, |day| day.calls), picture.today.calls, &format!("Calls a day of {name}, and on {}", s.date)))
                        figcaption { (said_of_calls(picture)) }
                    }
                }
            }
        }
    }
}

/// The days before of the same kind: workdays or weekend days.
fn alike(p: &OrgPicture) -> impl Iterator<Item = &OrgDay> {
    p.past.iter().filter(|day| day.date.is_weekend() == p.today.date.is_weekend())
}

/// 5th and 95th percentile of such days; none of a few.
fn range(p: &OrgPicture, of: impl Fn(&OrgDay) -> u64) -> Option<(u64, u64)> {
    let mut values: Vec<u64> = alike(p).map(of).collect();
    values.sort_unstable();
    let at = |q: f64| values[((values.len() - 1) as f64 * q).round() as usize];
    (values.len() >= FEW).then(|| (at(0.05), at(0.95)))
}

fn hours(p: &OrgPicture, label: &str) -> Markup {
    let usual_most = p.usual.iter().copied().fold(0.0, f64::max);
    let most = usual_most.max(p.users.iter().copied().max().unwrap_or(0) as f64).max(1.0);
    let height = |users: f64| (BOTTOM - TOP) * users / most;
    let (mut bars, mut line) = (String::new(), String::new());
    for h in 0..HALF_HOURS {
        if p.users[h] > 0 {
            bar(&mut bars, MARGIN + BIN * h as f64 + 1.5, BOTTOM, BIN - 3.0, height(p.users[h] as f64).max(2.0));
        }
        let step = if h == 0 { "M6 " } else { "V" };
        write!(line, "{step}{:.1}h12", BOTTOM - height(p.usual[h])).expect("text grows");
    }
    html! {
        svg role="img" aria-label=(label) width="588" height="124" viewBox="0 0 588 124" {
            line.axis x1="6" y1=(TOP) x2="582" y2=(TOP) {}
            line.axis x1="6" y1=(BOTTOM + 0.5) x2="582" y2=(BOTTOM + 0.5) {}
            path.bars d=(bars) {}
            @if usual_most > 0.0 { path.level d=(line) {} }
            text x="6" y="12" { (count(most.round() as u64, "user")) " in half an hour" }
            (clock_times())
        }
        p.key {
            (key("bars", "users with calls"))
            @if usual_most > 0.0 { (key("level", "usually on such days")) }
        }
    }
}

/// `200 users, above the usual: nine in ten of the 21 workdays before had 180–186 …`
fn said(p: &OrgPicture, what: &str, today: u64, of: impl Fn(&OrgDay) -> u64) -> String {
    let days = alike(p).count() as u64;
    let before = count(days, if p.today.date.is_weekend() { "weekend day" } else { "workday" });
    let Some((low, high)) = range(p, of) else {
        return format!("{}; {before} before are too few for a usual range.", count(today, what));
    };
    let place = match today {
        n if n > high => "above",
        n if n < low => "below",
        _ => "within",
    };
    let (low, high) = (thousands(low), thousands(high));
    format!("{}, {place} the usual: nine in ten of the {before} before had {low}–{high}{LEARNED}.", count(today, what))
}

fn said_of_users(p: &OrgPicture) -> String {
    said(p, "user", p.today.users, |day| day.users)
}

fn said_of_calls(p: &OrgPicture) -> String {
    let share = |errors: u64, calls: u64| format!("{:.1}\u{a0}%", 100.0 * errors as f64 / calls.max(1) as f64);
    let (errors, calls) = alike(p).fold((0, 0), |(errors, calls), day| (errors + day.errors, calls + day.calls));
    let before = if calls > 0 { format!(", {} before", share(errors, calls)) } else { String::new() };
    let failed = share(p.today.errors, p.today.calls);
    format!("{} Of the calls {failed} failed{before}.", said(p, "call", p.today.calls, |day| day.calls))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_captions_hold_a_day_against_days_of_its_kind() {
        let mut p = sample::org_picture();
        assert_eq!(
            said_of_users(&p),
            "200 users, above the usual: nine in ten of the 21 workdays before had 180–186 without user-days too odd to be learned."
        );
        assert_eq!(
            said_of_calls(&p),
            "20,000 calls, above the usual: nine in ten of the 21 workdays before had 18,000–18,600 without user-days too odd to be \
             learned. Of the calls 1.0\u{a0}% failed, \
             1.0\u{a0}% before."
        );
        p.past.retain(|day| day.date.is_weekend());
        assert_eq!(said_of_users(&p), "200 users; 0 workdays before are too few for a usual range.");
        assert!(said_of_calls(&p).ends_with("Of the calls 1.0\u{a0}% failed."));
    }

    #[test]
    fn a_day_without_anything_is_drawn() {
        let mut p = sample::org_picture();
        let nobody = OrgDay { date: p.today.date, calls: 0, users: 0, errors: 0 };
        p = OrgPicture { users: [0; HALF_HOURS], usual: [0.0; HALF_HOURS], today: nobody, past: vec![nobody] };
        let s = NightSummary { picture: Some(Box::new(p)), ..sample::summary() };
        let page = render(&s, true).into_string();
        assert!(!page.contains("NaN") && page.contains("<details open>"), "{page}");
        assert!(!render(&NightSummary { picture: None, ..s }, true).into_string().contains("svg"));
    }
}
