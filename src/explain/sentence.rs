//! One fact as one sentence and as observed-against-usual numbers.

use super::words::{brief, clock, half_hours, kind, list, name, number, percent};
use crate::detectors::Fact;
use crate::detectors::fact::CombinationPart;
use crate::features::catalog::Feature;
use crate::tables::ValueKind;

/// A fact in words.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// What was looked at.
    pub feature: String,
    /// What was seen.
    pub observed: String,
    /// What is usual.
    pub expected: String,
    /// Lower end of the usual.
    pub low: f64,
    /// Upper end of the usual.
    pub high: f64,
    /// One sentence.
    pub sentence: String,
}

/// A duration, minute of day or share in its own unit, else a number.
fn amount(x: f64, unit: &str) -> String {
    match unit {
        "minute of day" => format!("{:02}:{:02} UTC", (x.max(0.0) as i64 / 60) % 24, x.max(0.0) as i64 % 60),
        "ms" => duration(x),
        "share" => percent(x),
        "bits" => format!("{x:.2} bits"),
        "-1..1" => format!("{x:.2}"),
        _ if number(x) == "1" => format!("1 {}", singular(unit)),
        _ => format!("{} {unit}", number(x)),
    }
}

/// One of a unit.
fn singular(unit: &str) -> &str {
    match unit {
        "countries" => "country",
        "families" => "family",
        "addresses" => "address",
        _ => unit.strip_suffix('s').unwrap_or(unit),
    }
}

fn duration(ms: f64) -> String {
    match ms {
        x if x < 1_000.0 => format!("{x:.0} ms"),
        x if x < 120_000.0 => format!("{:.1} s", x / 1_000.0),
        x if x < 7_200_000.0 => format!("{:.0} min", x / 60_000.0),
        x => format!("{:.1} h", x / 3_600_000.0),
    }
}

fn bare(x: f64, unit: &str) -> String {
    if matches!(unit, "minute of day" | "ms" | "share" | "bits" | "-1..1") { amount(x, unit) } else { number(x) }
}

/// Says a fact.
pub fn say(fact: &Fact) -> Said {
    match fact {
        Fact::Level { feature, observed, expected, low, high, days } => {
            let unit = feature.unit;
            let history = if *days < 5.0 { ", judged by peers for want of own history" } else { "" };
            Said {
                feature: feature.name.into(),
                observed: amount(*observed, unit),
                expected: amount(*expected, unit),
                low: *low,
                high: *high,
                sentence: format!(
                    "{}: {}, usual {}–{}{history}.",
                    capital(feature.meaning),
                    amount(*observed, unit),
                    bare(*low, unit),
                    bare(*high, unit)
                ),
            }
        }
        Fact::Share { feature, hits, calls, expected, high } => Said {
            feature: feature.name.into(),
            observed: percent(hits / calls.max(1.0)),
            expected: percent(*expected),
            low: 0.0,
            high: *high,
            sentence: format!(
                "{} of {} calls ({}) were {}, usual {}.",
                number(*hits),
                number(*calls),
                percent(hits / calls.max(1.0)),
                feature.meaning,
                percent(*expected)
            ),
        },
        Fact::ValueLevel { kind: k, value, observed, expected, high } => Said {
            feature: format!("{} {}", k.name(), name(value)),
            observed: format!("{} calls", number(*observed)),
            expected: format!("{} calls", number(*expected)),
            low: 0.0,
            high: *high,
            sentence: format!(
                "{} calls with the {} {}, usual {} a day.",
                number(*observed),
                kind(*k, false),
                name(value),
                number(*expected)
            ),
        },
        Fact::New { kind: k, values, expected } => say_new(*k, values, *expected),
        Fact::NewShare { kind: k, values, hits, calls, expected } => Said {
            feature: format!("share on new {}", kind(*k, true)),
            observed: percent(hits / calls.max(1.0)),
            expected: percent(*expected),
            low: 0.0,
            high: *expected,
            sentence: format!(
                "{} of {} {} ({}) went to {} outside this user's learned history ({}), usual {}.",
                number(*hits),
                number(*calls),
                // One call can touch several objects.
                if matches!(k, ValueKind::Entity | ValueKind::ActionEntity) { "uses" } else { "calls" },
                percent(hits / calls.max(1.0)),
                kind(*k, true),
                list(&values.iter().map(|v| name(v)).collect::<Vec<_>>()),
                percent(*expected)
            ),
        },
        Fact::Changed { kinds } => {
            let names: Vec<String> = kinds.iter().map(|k| kind(*k, false).to_owned()).collect();
            Said {
                feature: "fingerprint".into(),
                observed: format!("{} parts changed", names.len()),
                expected: "none or one".into(),
                low: 0.0,
                high: 1.0,
                sentence: format!("Changed together on one day: new {}.", list(&names)),
            }
        }
        Fact::Hours { active, usual, days } => {
            let bins: Vec<u8> = active.iter().map(|a| a.0).collect();
            let calls: f64 = active.iter().map(|a| a.1).sum();
            let usual = if usual.is_empty() { "at no fixed hours".into() } else { half_hours(usual) };
            Said {
                feature: "hours".into(),
                observed: format!("{} UTC", half_hours(&bins)),
                expected: usual.clone(),
                low: 0.0,
                high: 0.0,
                sentence: format!(
                    "{} calls at {} UTC, hours hardly ever used in {} days of history (usually {usual}).",
                    number(calls),
                    half_hours(&bins),
                    number(days.round())
                ),
            }
        }
        Fact::MissingHours { missing } => Said {
            feature: "missing hours".into(),
            observed: if missing.is_empty() { "fewer of them" } else { "no calls" }.into(),
            expected: match missing.as_slice() {
                [] => "most of the usual hours".into(),
                missing => format!("calls at {} UTC", half_hours(missing)),
            },
            low: 0.0,
            high: 0.0,
            sentence: if missing.is_empty() {
                "Fewer of the usual hours were active than on other days.".into()
            } else {
                format!("No calls at {} UTC, when there nearly always are.", half_hours(missing))
            },
        },
        Fact::Profile { distance, expected } => Said {
            feature: "hour profile".into(),
            observed: percent(*distance),
            expected: percent(*expected),
            low: 0.0,
            high: *expected,
            sentence: format!(
                "{} of the day's calls fell on other hours than usual (on a usual day {}).",
                percent(*distance),
                percent(*expected)
            ),
        },
        Fact::Weekday { weekend, usual, seen } => {
            let what = if *weekend { "weekend days" } else { "workdays" };
            Said {
                feature: "weekday".into(),
                observed: "active".into(),
                expected: format!("active on {} of {what}", percent(*usual)),
                low: 0.0,
                high: *usual,
                sentence: format!(
                    "Active on a {}, as on only {} of the {what} seen so far (about {}).",
                    if *weekend { "weekend" } else { "workday" },
                    percent(*usual),
                    number(seen.round())
                ),
            }
        }
        Fact::Dormant { last, days } => Said {
            feature: "dormant".into(),
            observed: "active".into(),
            expected: format!("silent since {last}"),
            low: 0.0,
            high: 0.0,
            sentence: format!("Active again after {days} days of silence (last seen on {last})."),
        },
        Fact::Mix { kind: k, distance, expected, grew } => {
            let grew: Vec<String> = grew
                .iter()
                .map(|(v, now, was)| format!("{} {} (usual {})", name(v), percent(*now), percent(*was)))
                .collect();
            let tail = if grew.is_empty() { String::new() } else { format!(": {}", list(&grew)) };
            Said {
                feature: format!("mix of {}", kind(*k, true)),
                observed: percent(*distance),
                expected: percent(*expected),
                low: 0.0,
                high: *expected,
                sentence: format!(
                    "{} of the calls lie outside the usual mix of {} (on a usual day {}){tail}.",
                    percent(*distance),
                    kind(*k, true),
                    percent(*expected)
                ),
            }
        }
        Fact::Trend { what, from, to, days, is_share } => {
            let show = |x: f64| if *is_share { percent(x) } else { number(x) };
            Said {
                feature: format!("trend of {what}"),
                observed: show(*to),
                expected: show(*from),
                low: 0.0,
                high: *from,
                sentence: if *days > 1 {
                    format!("The {what} climbed over {days} days, from a usual {} to {}.", show(*from), show(*to))
                } else {
                    format!("The {what} rose from a usual {} to {}.", show(*from), show(*to))
                },
            }
        }
        Fact::Rule { rule, observed, threshold } => Said {
            feature: "rule".into(),
            observed: number(*observed),
            expected: format!("at most {}", number(*threshold)),
            low: 0.0,
            high: *threshold,
            sentence: format!("Rule: {rule} ({}; the rule's threshold is {}).", number(*observed), number(*threshold)),
        },
        Fact::Session { session, feature, observed, expected } => Said {
            feature: format!("session {}", feature.name),
            observed: amount(*observed, feature.unit),
            expected: amount(*expected, feature.unit),
            low: 0.0,
            high: *expected,
            sentence: format!(
                "{} stands out: {}: {}, usual {} a session.",
                super::order::subject(session),
                feature.meaning,
                bare(*observed, feature.unit),
                bare(*expected, feature.unit)
            ),
        },
        Fact::WholeSession { session, parts } => {
            let each = |of: &dyn Fn(&(&'static Feature, f64, f64)) -> String| {
                parts.iter().map(of).collect::<Vec<_>>().join("; ")
            };
            Said {
                feature: "session as a whole".into(),
                observed: each(&|(f, seen, _)| format!("{} {}", brief(f.meaning), bare(*seen, f.unit))),
                expected: each(&|(f, _, usual)| format!("{} {}", brief(f.meaning), bare(*usual, f.unit))),
                low: 0.0,
                high: 0.0,
                sentence: format!(
                    "{} as a whole: {}.",
                    super::order::subject(session),
                    each(&|(f, seen, usual)| format!(
                        "{} {} (usual {})",
                        brief(f.meaning),
                        bare(*seen, f.unit),
                        bare(*usual, f.unit)
                    ))
                ),
            }
        }
        Fact::Order { .. } | Fact::Stranger { .. } => super::order::say(fact),
        Fact::SharedIp { ip, orgs, minutes } => Said {
            feature: "address in several organisations".into(),
            observed: format!("{} organisations", orgs.len()),
            expected: "one".into(),
            low: 0.0,
            high: 1.0,
            sentence: format!(
                "The address {}, new to each of them, touched {} organisations {}: {}.",
                name(ip),
                orgs.len(),
                match minutes {
                    0..=1 => "within a minute or two".to_owned(),
                    2..=60 => format!("within {minutes} minutes"),
                    _ => "on the same day".to_owned(),
                },
                list(&orgs.iter().map(|o| name(o)).collect::<Vec<_>>())
            ),
        },
        Fact::Silent { usual, last } => Said {
            feature: "silent".into(),
            observed: "no calls".into(),
            expected: format!("active on {} of such days", percent(*usual)),
            low: *usual,
            high: 1.0,
            sentence: format!(
                "No calls at all, though active on {} of such days; last seen on {last}.",
                percent(*usual)
            ),
        },
        Fact::Campaign { users, addresses, more_addresses, calls, errors } => {
            let mut from: Vec<String> = addresses.iter().map(|a| name(a)).collect();
            if *more_addresses > 0 {
                from.push(format!("{} more", number(*more_addresses as f64)));
            }
            Said {
                feature: "failed log-ins of many users from few addresses".into(),
                observed: format!("{} users", number(*users as f64)),
                expected: "none".into(),
                low: 0.0,
                high: 0.0,
                sentence: format!(
                    "{} of {} calls from {} failed, for {} users: passwords or tokens are being tried. These users and \
                     addresses are not listed one by one.",
                    number(*errors as f64),
                    number(*calls as f64),
                    list(&from),
                    number(*users as f64)
                ),
            }
        }
        Fact::Combination { parts, agree, members, p } => {
            let each = |of: &dyn Fn(&CombinationPart) -> String| list(&parts.iter().map(of).collect::<Vec<_>>());
            let agree = match members {
                1 => String::new(),
                _ => format!(", by {} of {members} detectors of whole days", agree.len()),
            };
            Said {
                feature: "combination".into(),
                observed: each(&|part| format!("{} {}", part.what, deviations(part.observed))),
                expected: each(&|part| format!("{} {}", part.what, deviations(part.expected))),
                low: 0.0,
                high: 0.0,
                sentence: format!(
                    "All in all such a day comes once in {}{agree}. What stands out, in ups and downs of a calm day: {}.",
                    number(two_digits(1.0 / p)),
                    each(&|part| format!(
                        "{} at {} (from the rest of the day one would expect {}, the most similar ordinary day had {})",
                        part.what,
                        deviations(part.observed),
                        deviations(part.expected),
                        deviations(part.nearest)
                    )),
                ),
            }
        }
        Fact::Surge { feature, users, factor, is_share } => {
            let level = if *is_share { percent(*factor) } else { format!("{factor:.1} times the usual") };
            Said {
                feature: feature.name.into(),
                observed: level.clone(),
                expected: "as usual".into(),
                low: 0.0,
                high: 0.0,
                sentence: format!("{} of the users moved together: {} at {level}.", percent(*users), feature.meaning),
            }
        }
    }
}

fn say_new(k: ValueKind, values: &[crate::detectors::fact::NewValue], expected: f64) -> Said {
    let shown: Vec<String> = values
        .iter()
        .take(3)
        .map(|v| {
            format!("{} ({} call{})", name(&v.value), number(f64::from(v.calls)), if v.calls == 1 { "" } else { "s" })
        })
        .collect();
    let more = values.len().saturating_sub(shown.len());
    let more = if more > 0 { format!(" and at least {more} more") } else { String::new() };
    let first = values.iter().map(|v| v.first_ms).min().unwrap_or(0);
    let org = if values.iter().all(|v| v.others == 0) {
        "never seen in this organisation's learned history"
    } else if values.iter().any(|v| v.others == 0) {
        "outside this user's learned history, some used by nobody in the organisation"
    } else {
        "outside this user's learned history, though used by others"
    };
    Said {
        feature: format!("new {}", kind(k, false)),
        observed: list(&shown) + &more,
        expected: format!("{} new on such a day", if expected < 0.05 { "none".into() } else { number(expected) }),
        low: 0.0,
        high: expected,
        sentence: format!("From {} UTC: {} {}{more}, {org}.", clock(first), kind(k, values.len() > 1), list(&shown)),
    }
}

/// A number to two digits.
fn two_digits(x: f64) -> f64 {
    let unit = 10_f64.powf(x.max(1.0).log10().floor() - 1.0);
    (x / unit).round() * unit
}

/// A number of standard deviations.
fn deviations(x: f64) -> String {
    format!("{x:.1}").replace("-0.0", "0.0")
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detectors::fact::NewValue;
    use crate::features::catalog::user_day;

    #[test]
    fn a_new_country_reads_as_a_sentence() {
        let fact = Fact::New {
            kind: ValueKind::Country,
            values: vec![NewValue {
                value: "DE".into(),
                calls: 12,
                first_ms: 52_320_000,
                others: 0,
                request_ids: vec![],
            }],
            expected: 0.01,
        };
        assert_eq!(
            say(&fact).sentence,
            "From 14:32 UTC: country DE (12 calls), never seen in this organisation's learned history."
        );
    }

    #[test]
    fn a_level_names_the_usual_range() {
        let fact = Fact::Level {
            feature: &user_day::FEATURES[user_day::CALLS],
            observed: 12_000.0,
            expected: 4_800.0,
            low: 4_400.0,
            high: 5_300.0,
            days: 30.0,
        };
        assert_eq!(say(&fact).sentence, "API calls: 12,000 calls, usual 4,400–5,300.");
    }
}
