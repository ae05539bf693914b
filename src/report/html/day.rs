//! Pictures of a user's day: calls per half-hour against the usual hours, and the day's calls beside the days before.
//!
//! Only numbers are drawn, each kind of mark as one path, so that a picture stays small however busy the day was.
//! What a colour says, a shape or a place says as well.

use std::fmt::Write;

use maud::{Markup, html};

use super::super::escape::clip;
use super::super::words::{self, count, thousands};
use super::longest;
use crate::anomaly::Anomaly;
use crate::anomaly::picture::{HALF_HOURS, Picture};
use crate::date::Date;
use crate::explain::words::half_hours;

/// Left and right of the plots, for the marks at their edges.
pub(super) const MARGIN: f64 = 6.0;
/// Width of a half-hour.
pub(super) const BIN: f64 = 12.0;
/// Top and bottom of the plots.
pub(super) const TOP: f64 = 18.0;
pub(super) const BOTTOM: f64 = 98.0;
/// Height of a row of the heat map, and of one with the space below it.
const CELL: f64 = 10.0;
const ROW: f64 = 12.0;
/// Width of the picture of the days before.
const DAYS_WIDTH: f64 = 240.0;

/// Both pictures of an anomaly that has them.
pub(super) fn render(a: &Anomaly) -> Markup {
    let Some(picture) = a.picture.as_deref() else { return html! {} };
    let whose = format!("{}, {} UTC", clip(words::subject(a), longest::NAME), a.date);
    html! {
        div.pictures {
            figure.hours {
                (hours(picture, &format!("Calls per half-hour of {whose}")))
                (clock(picture, &format!("Hours of {whose} beside the usual ones")))
                figcaption { (said_of_hours(picture, a.date.is_weekend())) }
            }
            @if !picture.past.is_empty() {
                figure.days {
                    (days(&picture.past, picture.range, a.event_count, &format!("Calls a day before and on the day of {whose}")))
                    figcaption { (said_of_days(picture, a.event_count)) }
                }
            }
        }
    }
}

/// A strip for a table row: when there were calls, above the line of usual hours.
pub(super) fn strip(a: &Anomaly) -> Markup {
    const WIDTH: f64 = 3.0;
    let Some(picture) = a.picture.as_deref() else { return html! {} };
    let most = picture.calls.iter().copied().max().unwrap_or(0).max(1);
    let mut bars = String::new();
    for (h, calls) in picture.calls.iter().enumerate().filter(|(_, calls)| **calls > 0) {
        let height = (13.0 * *calls as f64 / most as f64).max(2.0);
        bar(&mut bars, WIDTH * h as f64, 14.0, WIDTH - 0.5, height);
    }
    html! {
        svg.strip role="img" aria-label=(said_of_hours(picture, a.date.is_weekend())) width="144" height="20" viewBox="0 0 144 20" {
            line.axis x1="0" y1="14.5" x2="144" y2="14.5" {}
            path.bars d=(bars) {}
            @if let Some(usual) = &picture.usual {
                path.usual d=(stripe(usual.mostly(), 0.0, WIDTH, 16.5, 3.0)) {}
                path.usual d=(stripe(usual.at_times(), 0.0, WIDTH, 17.5, 1.0)) {}
            }
        }
    }
}

/// A rectangle standing on `foot`, as a piece of a path.
pub(super) fn bar(path: &mut String, left: f64, foot: f64, width: f64, height: f64) {
    let number = |x: f64| {
        let text = format!("{x:.1}");
        text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
    };
    write!(path, "M{} {}v-{}h{}v{}z", number(left), number(foot), number(height), number(width), number(height))
        .expect("text grows");
}

/// Half-hours as a broken stripe.
fn stripe(half_hours: impl Iterator<Item = usize>, left: f64, bin: f64, top: f64, height: f64) -> String {
    let mut path = String::new();
    for run in half_hours.collect::<Vec<_>>().chunk_by(|a, b| a + 1 == *b) {
        bar(&mut path, left + bin * run[0] as f64, top + height, bin * run.len() as f64, height);
    }
    path
}

fn hours(p: &Picture, label: &str) -> Markup {
    let x = |h: usize| MARGIN + BIN * h as f64;
    let usual_most = p.usual.iter().flat_map(|u| u.calls).fold(0.0, f64::max);
    let most = usual_most.max(p.calls.iter().copied().max().unwrap_or(0) as f64).max(1.0);
    let height = |calls: f64| (BOTTOM - TOP) * calls / most;
    // Calls in usual and in unusual half-hours, and the failed ones at the foot of both.
    let (mut bars, mut odd, mut failed, mut line) = (String::new(), String::new(), String::new(), String::new());
    for h in 0..HALF_HOURS {
        let unusual = p.usual.as_ref().is_some_and(|u| u.hardly(h));
        let path = if unusual { &mut odd } else { &mut bars };
        if p.calls[h] > 0 {
            bar(path, x(h) + 1.5, BOTTOM, BIN - 3.0, height(p.calls[h] as f64).max(2.0));
        }
        if p.errors[h] > 0 {
            bar(&mut failed, x(h) + 3.0, BOTTOM, BIN - 6.0, height(p.errors[h] as f64).max(2.0));
        }
        if let Some(usual) = &p.usual {
            let step = if h == 0 { "M6 " } else { "V" };
            write!(line, "{step}{:.1}h12", BOTTOM - height(usual.calls[h])).expect("text grows");
        }
    }
    let right = x(HALF_HOURS);
    html! {
        svg role="img" aria-label=(label) width="588" height="124" viewBox="0 0 588 124" {
            @if let Some(usual) = &p.usual {
                path.shade d=(stripe(usual.at_times(), MARGIN, BIN, TOP, BOTTOM - TOP)) {}
                path.usual d=(stripe(usual.mostly(), MARGIN, BIN, BOTTOM + 2.0, 5.0)) {}
            }
            line.axis x1="6" y1=(TOP) x2=(right) y2=(TOP) {}
            line.axis x1="6" y1=(BOTTOM + 0.5) x2=(right) y2=(BOTTOM + 0.5) {}
            path.bars d=(bars) {}
            path.odd d=(odd) {}
            path.failed d=(failed) {}
            @if usual_most > 0.0 { path.level d=(line) {} }
            text x="6" y="12" { (count(most.round() as u64, "call")) " in half an hour" }
            (clock_times())
        }
        p.key {
            @if !bars.is_empty() { (key("bars", "calls")) }
            @if !odd.is_empty() { (key("odd", "calls when there are hardly ever any")) }
            @if !failed.is_empty() { (key("failed", "failed, at the foot")) }
            @if p.usual.as_ref().is_some_and(|u| u.mostly().next().is_some()) { (key("usual", "usually active")) }
            @if p.usual.as_ref().is_some_and(|u| u.at_times().next().is_some()) { (key("band", "at times")) }
            @if usual_most > 0.0 { (key("level", "usual calls")) }
        }
    }
}

/// The times below a plot of half-hours.
pub(super) fn clock_times() -> Markup {
    html! {
        @for hour in [0, 6, 12, 18, 24] {
            @let anchor = match hour { 0 => "start", 24 => "end", _ => "middle" };
            text x=(MARGIN + BIN * f64::from(2 * hour)) y="119" text-anchor=(anchor) {
                (format!("{hour:02}:00")) @if hour == 24 { " UTC" }
            }
        }
    }
}

/// A heat map of the user's hours: workdays, weekends and this day, in stronger colour the more often or the more calls.
fn clock(p: &Picture, label: &str) -> Markup {
    let most = p.calls.iter().copied().max().unwrap_or(0).max(1) as f64;
    let usual =
        ["workdays", "weekends"].into_iter().zip(&p.clock).filter_map(|(name, shares)| Some((name, (*shares)?)));
    let today = p.calls.map(|calls| (calls as f64 / most).sqrt());
    let rows: Vec<(&str, [f64; HALF_HOURS])> = usual.chain([("this day", today)]).collect();
    if rows.len() == 1 {
        return html! {};
    }
    let height = ROW * rows.len() as f64;
    let names: Vec<&str> = rows.iter().map(|row| row.0).collect();
    html! {
        svg role="img" aria-label=(label) width="588" height=(height) viewBox=(format!("0 0 588 {height}")) {
            @for (i, (name, shares)) in rows.iter().enumerate() {
                g {
                    title { (name) }
                    rect.day x=(MARGIN) y=(ROW * i as f64) width=(BIN * HALF_HOURS as f64) height=(CELL) {}
                    @for (level, opacity) in ["0.2", "0.4", "0.7", "1"].into_iter().enumerate() {
                        @let path = cells(shares, level, ROW * i as f64);
                        @if !path.is_empty() { path.bars fill-opacity=(opacity) d=(path) {} }
                    }
                }
            }
        }
        p.key { "From above: " (names.join(", ")) "; the stronger the colour, the more often on such days, or the more calls on this one." }
    }
}

/// The half-hours whose share is in the given quarter, as a path; a share of nothing is in none.
fn cells(shares: &[f64; HALF_HOURS], level: usize, top: f64) -> String {
    let mut path = String::new();
    for (h, share) in shares.iter().enumerate().filter(|(_, share)| **share > 0.0) {
        if ((share * 4.0).ceil() as usize).clamp(1, 4) == level + 1 {
            bar(&mut path, MARGIN + BIN * h as f64, top + CELL, BIN - 1.0, CELL);
        }
    }
    path
}

/// A mark and what it stands for.
pub(super) fn key(mark: &str, meaning: &str) -> Markup {
    html! { span.nowrap { span class={ "mark " (mark) } {} (meaning) } " " }
}

/// `Active 14:30–15:30 UTC, most at 14:30 (4,000 calls); usually 08:00–17:00 on workdays.`
fn said_of_hours(p: &Picture, weekend: bool) -> String {
    let list = |bins: Vec<usize>| half_hours(&bins.into_iter().map(|h| h as u8).collect::<Vec<_>>());
    let active: Vec<usize> = (0..HALF_HOURS).filter(|h| p.calls[*h] > 0).collect();
    // The earliest of several equal ones.
    let busiest = active.iter().copied().max_by(|a, b| p.calls[*a].cmp(&p.calls[*b]).then(b.cmp(a)));
    let mut out = match busiest {
        None => "No calls all day".to_owned(),
        Some(h) => {
            let when = if active.len() == HALF_HOURS { "all day".into() } else { format!("{} UTC", list(active)) };
            let most = count(p.calls[h], "call");
            format!("Active {when}, most from {:02}:{:02} ({most} in half an hour)", h / 2, h % 2 * 30)
        }
    };
    let days = if weekend { "weekends" } else { "workdays" };
    match &p.usual {
        None => write!(out, "; seen on too few {days} to have usual hours."),
        Some(usual) => {
            let (mostly, at_times): (Vec<_>, Vec<_>) = (usual.mostly().collect(), usual.at_times().collect());
            match (mostly.len(), at_times.len()) {
                (0, 0) => write!(out, "; no half-hour is usual on {days}."),
                (0, _) => write!(out, "; at times {} on {days}.", list(at_times)),
                (HALF_HOURS, _) => write!(out, "; usually all day on {days}."),
                _ => write!(out, "; usually {} on {days}.", list(mostly)),
            }
        }
    }
    .expect("text grows");
    out
}

/// Calls of the days before, the range that is usual, and this day.
pub(super) fn days(past: &[(Date, u64)], range: Option<(u64, u64)>, today: u64, label: &str) -> Markup {
    let values: Vec<u64> = past.iter().map(|(_, calls)| *calls).chain([today]).collect();
    let most = values.iter().copied().max().unwrap_or(0).max(1);
    let step = (DAYS_WIDTH - 2.0 * MARGIN) / (values.len() - 1) as f64;
    let x = |i: usize| MARGIN + step * i as f64;
    let y = |calls: u64| BOTTOM - (BOTTOM - TOP) * calls as f64 / most as f64;
    let mut line = String::new();
    for (i, calls) in values.iter().enumerate() {
        write!(line, "{}{:.1} {:.1}", if i == 0 { 'M' } else { 'L' }, x(i), y(*calls)).expect("text grows");
    }
    html! {
        svg role="img" aria-label=(label) width="240" height="124" viewBox="0 0 240 124" {
            @if let Some((low, high)) = range {
                // A range that is tiny beside the day's calls still has to be seen.
                @let height = (y(low) - y(high)).max(3.0);
                rect.band x="0" y=(format!("{:.1}", y(high))) width="240" height=(format!("{height:.1}")) {}
            }
            line.axis x1="0" y1=(TOP) x2="240" y2=(TOP) {}
            line.axis x1="0" y1=(BOTTOM + 0.5) x2="240" y2=(BOTTOM + 0.5) {}
            path.trace d=(line) {}
            circle.seen cx=(format!("{:.1}", x(values.len() - 1))) cy=(format!("{:.1}", y(today))) r="5" {}
            text x="0" y="12" { (count(most, "call")) " a day" }
            @if let Some((first, _)) = past.first() { text x="0" y="119" { (first) } }
            text x="240" y="119" text-anchor="end" { "this day" }
        }
        p.key {
            (key("trace", "active days"))
            @if range.is_some() { (key("band", "5–95\u{a0}% of them")) }
            (key("dot", "this day"))
        }
    }
}

/// `4,812 calls, above the usual: nine in ten of the 30 active days before had 1,000–1,090.`
fn said_of_days(p: &Picture, today: u64) -> String {
    let before = count(p.past.len() as u64, "active day");
    let today_said = count(today, "call");
    let Some((low, high)) = p.range else {
        return format!("{today_said}; {before} before are too few for a usual range.");
    };
    let place = match today {
        n if n > high => "above",
        n if n < low => "below",
        _ => "within",
    };
    let (low, high) = (thousands(low), thousands(high));
    format!("{today_said}, {place} the usual: nine in ten of the {before} before had {low}–{high}.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_captions_say_what_is_drawn() {
        let mut p = sample::picture();
        assert_eq!(
            said_of_hours(&p, false),
            "Active 14:30–15:30 UTC, most from 14:30 (4,000 calls in half an hour); usually 08:00–17:00 on workdays."
        );
        assert_eq!(
            said_of_days(&p, 4_812),
            "4,812 calls, above the usual: nine in ten of the 30 active days before had 1,000–1,090."
        );
        assert!(said_of_days(&p, 1_090).contains("within") && said_of_days(&p, 999).contains("below"));
        p.usual.as_mut().unwrap().active = std::array::from_fn(|h| if h == 20 { 0.2 } else { 0.0 });
        assert!(
            said_of_hours(&p, false).ends_with("; at times 09:30–11:00 on workdays."),
            "the half-hours beside count"
        );
        (p.calls, p.usual, p.range) = ([0; HALF_HOURS], None, None);
        assert_eq!(said_of_hours(&p, true), "No calls all day; seen on too few weekends to have usual hours.");
        assert_eq!(said_of_days(&p, 0), "0 calls; 30 active days before are too few for a usual range.");
    }

    #[test]
    fn the_highest_bar_fills_the_plot_and_the_lowest_is_seen() {
        let mut p = sample::picture();
        p.calls[20] = 1;
        let svg = hours(&p, "").into_string();
        assert!(svg.contains("path class=\"bars\" d=\"M247.5 98v-2h9v2zM355.5 98v-80h9v80z"), "{svg}");
        assert!(svg.contains("path class=\"failed\" d=\"M357 98v-2h6v2z\""), "failed calls stand at the foot: {svg}");
        assert!(svg.contains("path class=\"usual\" d=\"M198 105v-5h216v5z\""), "08:00 to 17:00: {svg}");
        assert!(svg.contains("path class=\"shade\" d=\"M186 98v-80h240v80z\""), "and half an hour around: {svg}");
        assert!(svg.contains("path class=\"odd\" d=\"\""), "14:30 is a usual half-hour: {svg}");
    }

    #[test]
    fn a_bar_at_an_unusual_hour_is_marked() {
        let mut p = sample::picture();
        p.calls = [0; HALF_HOURS];
        p.calls[4] = 10;
        assert!(hours(&p, "").into_string().contains("path class=\"odd\" d=\"M55.5 98v-"));
    }

    #[test]
    fn the_heat_map_is_stronger_where_the_user_is_more_often() {
        let mut p = sample::picture();
        p.clock = [Some(std::array::from_fn(|h| [0.0, 0.25, 0.26, 1.0][h.min(3)])), None];
        let svg = clock(&p, "").into_string();
        for path in ["0.2\" d=\"M18 10v-10h11v10z\"", "0.4\" d=\"M30 10v-10h11v10z\"", "1\" d=\"M42 10v-10h11v10z"] {
            assert!(svg.contains(path), "{path} in {svg}");
        }
        assert!(svg.contains("From above: workdays, this day;") && !svg.contains("M6 10v"), "{svg}");
        p.clock = [None, None];
        assert_eq!(clock(&p, "").into_string(), "", "one row alone is no comparison");
    }

    #[test]
    fn one_day_before_is_drawn_like_any_other() {
        let mut p = sample::picture();
        (p.past, p.range) = (vec![(sample::date().plus(-1), 0)], None);
        let svg = days(&p.past, p.range, 0, "").into_string();
        assert!(!svg.contains("NaN") && svg.contains("M6.0 98.0L234.0 98.0"), "{svg}");
    }
}
