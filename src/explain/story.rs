//! From a scored subject to a ranked row: evidence in order of its share, who and where, a title and a story.

use std::collections::{BTreeMap, BTreeSet};

use super::picture::{picture, usual_calls};
use super::sentence::{Said, say};
use super::words::{brief, kind, list, name, number, percent};
use crate::anomaly::{Anomaly, Category, Evidence, Severity, Status, SubjectType, anomaly_key};
use crate::baseline::org::OrgState;
use crate::date::MS_PER_DAY;
use crate::detectors::fact::CombinationPart;
use crate::detectors::night::{RawSubject, slots_of};
use crate::detectors::{Campaign, Fact, Slot};
use crate::features::catalog::{Family, app_day, ip_day, org_day, user_day};
use crate::fusion::combine;
use crate::fusion::compound::Combination;
use crate::fusion::night::Fused;
use crate::tables::{DayTables, ValueKind, ValueRow};

/// Pieces of evidence kept per anomaly.
const MAX_EVIDENCE: usize = 16;
/// Users listed per anomaly.
const MAX_USERS: usize = 100;
/// Request ids listed per anomaly.
const MAX_REQUESTS: usize = 20;
/// Addresses and countries listed per anomaly.
const MAX_PLACES: usize = 20;

/// What the story is told from.
#[derive(Debug)]
pub struct Told<'a> {
    /// The day.
    pub day: &'a DayTables,
    /// State before the day.
    pub state: &'a OrgState,
    /// The subject.
    pub subject: &'a RawSubject,
    /// Its p-values.
    pub fused: &'a Fused,
    /// The facts behind it, with their slots.
    pub facts: Vec<(usize, Fact)>,
    /// What its slots say together, if anything looked at that.
    pub combination: Option<Combination>,
    /// The night's flood of failed log-ins, if any.
    pub campaign: &'a Campaign,
}

/// The family with the largest share of the fused evidence. A combination is the reason only where none of its parts is
/// nearly as odd: people look for the part first, and one that stands out every night must stay one case.
pub fn top_family(families: &[f64; 6]) -> Family {
    const NEARLY: f64 = 10.0;
    let p = |f: Family| if f == Family::Geometry { NEARLY * families[f as usize] } else { families[f as usize] };
    Family::ALL.into_iter().min_by(|a, b| p(*a).total_cmp(&p(*b))).unwrap_or(Family::Count)
}

/// Category of the strongest evidence; of a combination, that of the part which stands out most.
pub fn category(subject: SubjectType, silent: bool, fused: &Fused, combination: Option<&Combination>) -> Category {
    let slots = slots_of(subject, silent);
    let top = top_family(&fused.families);
    if let (Family::Geometry, Some(part)) = (top, combination.and_then(|c| c.parts.first())) {
        return slots[part.0].category;
    }
    let best =
        (0..slots.len()).filter(|&j| slots[j].family == top).min_by(|&a, &b| fused.slots[a].total_cmp(&fused.slots[b]));
    best.map_or(Category::Behavioral, |j| slots[j].category)
}

fn evidence(slots: &[Slot], told: &Told<'_>) -> Vec<(Evidence, Fact)> {
    let has = |f: Family| (f == Family::Geometry && told.combination.is_some()) || slots.iter().any(|s| s.family == f);
    let present: Vec<Family> = Family::ALL.into_iter().filter(|f| has(*f)).collect();
    let family_weight = |f: Family| 1.0 / told.fused.families[f as usize];
    let all_families: f64 = present.iter().map(|f| family_weight(*f)).sum();
    // A family's share is spread over its slots by 1/p: both steps are harmonic means, for which this is exact.
    let mut of_family: BTreeMap<Family, f64> = BTreeMap::new();
    for (slot, p) in slots.iter().zip(&told.fused.slots) {
        *of_family.entry(slot.family).or_default() += 1.0 / p;
    }
    let mut out: Vec<(Evidence, Fact)> = told
        .facts
        .iter()
        .map(|(j, fact)| {
            let (slot, p) = (&slots[*j], told.fused.slots[*j]);
            let share = family_weight(slot.family) / all_families * (1.0 / p) / of_family[&slot.family];
            let Said { feature, observed, expected, low, high, sentence } = say(fact);
            let evidence = Evidence {
                family: slot.family,
                detector: slot.name.clone(),
                feature,
                observed,
                expected,
                low,
                high,
                p_value: p,
                contribution: share,
                sentence,
            };
            (evidence, fact.clone())
        })
        .collect();
    out.sort_by(|a, b| b.0.contribution.total_cmp(&a.0.contribution).then_with(|| a.0.detector.cmp(&b.0.detector)));
    // Two detectors that say the same thing say it once, with the weight of both.
    let mut said: Vec<(Evidence, Fact)> = Vec::new();
    for (e, fact) in out {
        match said.iter_mut().find(|(s, _)| s.sentence == e.sentence) {
            Some((first, _)) => first.contribution += e.contribution,
            None => said.push((e, fact)),
        }
    }
    said.truncate(MAX_EVIDENCE);
    if let Some(found) = combined(slots, told, family_weight(Family::Geometry) / all_families) {
        // The parts are told before the whole, unless the whole is the reason.
        let first = top_family(&told.fused.families) == Family::Geometry;
        said.truncate(MAX_EVIDENCE - 1);
        said.insert(if first { 0 } else { said.len() }, found);
    }
    said
}

/// The evidence of the family geometry, if it finds anything.
fn combined(slots: &[Slot], told: &Told<'_>, contribution: f64) -> Option<(Evidence, Fact)> {
    const PARTS: usize = 3;
    const STANDS_OUT: f64 = 1.0;
    const ODD: f64 = 0.01;
    const AGREES: f64 = 0.05;
    let combination = told.combination.as_ref()?;
    let p = told.fused.families[Family::Geometry as usize];
    let mut subjects = BTreeSet::new();
    let parts: Vec<CombinationPart> = combination
        .parts
        .iter()
        .filter(|part| part.3 > STANDS_OUT && subjects.insert(super::words::slot_subject(&slots[part.0].name)))
        .take(PARTS)
        .map(|&(slot, observed, expected, _)| CombinationPart {
            what: super::words::slot(&slots[slot].name),
            observed,
            expected,
            nearest: combination.nearest[slot],
        })
        .collect();
    // One part is no combination.
    if p > ODD || parts.len() < 2 {
        return None;
    }
    let agree = combination.members.iter().filter(|(_, p)| *p < AGREES).map(|(m, _)| m.name()).collect();
    let fact = Fact::Combination { parts, agree, members: combination.members.len(), p };
    let Said { feature, observed, expected, low, high, sentence } = say(&fact);
    let evidence = Evidence {
        family: Family::Geometry,
        detector: "geometry/combination".into(),
        feature,
        observed,
        expected,
        low,
        high,
        p_value: p,
        contribution,
        sentence,
    };
    Some((evidence, fact))
}

/// The rows of the day's values that belong to the subject; of an organisation, those of the users its finding touches.
fn rows<'a>(told: &'a Told<'_>, users: &[String]) -> Vec<&'a ValueRow> {
    let day = told.day;
    match (told.subject.subject, told.subject.row) {
        (SubjectType::UserDay, Some(row)) => day.values_of(row as u32).iter().collect(),
        (SubjectType::AppDay, _) => rows_with(day, ValueKind::Channel, &told.subject.id),
        (SubjectType::IpDay, _) => rows_with(day, ValueKind::Ip, &told.subject.id),
        (SubjectType::OrgDay, _) => {
            let wanted: BTreeSet<&str> = users.iter().map(String::as_str).collect();
            let tried = |v: &ValueRow| {
                told.campaign.is_empty() || v.kind != ValueKind::Ip || told.campaign.addresses.contains(&v.value)
            };
            (0..day.user_day.len())
                .filter(|row| wanted.contains(day.text(day.user_day.ids[*row])))
                .flat_map(|row| day.values_of(row as u32))
                .filter(|v| tried(v))
                .collect()
        }
        _ => Vec::new(),
    }
}

fn rows_with<'a>(day: &'a DayTables, kind: ValueKind, value: &str) -> Vec<&'a ValueRow> {
    day.values.iter().filter(|v| v.kind == kind && day.text(v.value) == value).collect()
}

/// Users that the subject touches, those who weigh most first.
fn users(told: &Told<'_>, top: Option<&Fact>) -> Vec<String> {
    let day = told.day;
    // (weight, row of the user)
    let mut found: Vec<(f64, u32)> = match told.subject.subject {
        SubjectType::UserDay | SubjectType::Session => return vec![told.subject.id.clone()],
        SubjectType::OrgDay => users_behind(told, top),
        SubjectType::AppDay => {
            rows_with(day, ValueKind::Channel, &told.subject.id).iter().map(|v| (f64::from(v.calls), v.user)).collect()
        }
        SubjectType::IpDay => {
            rows_with(day, ValueKind::Ip, &told.subject.id).iter().map(|v| (f64::from(v.calls), v.user)).collect()
        }
    };
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    found.into_iter().take(MAX_USERS).map(|u| day.text(day.user_day.ids[u.1 as usize]).to_owned()).collect()
}

/// Users behind a finding of the organisation: the victims of a campaign, those who did or met what moved, or those who
/// make up much of a total. How many users, addresses or countries there were touches nobody in particular.
fn users_behind(told: &Told<'_>, top: Option<&Fact>) -> Vec<(f64, u32)> {
    const MUCH: f64 = 0.1;
    let table = &told.day.user_day;
    let feature = match top {
        Some(Fact::Campaign { .. }) => {
            return told
                .campaign
                .victims
                .iter()
                .map(|row| (table.get(*row, user_day::ERRORS_401), *row as u32))
                .collect();
        }
        Some(Fact::Level { feature, .. } | Fact::Share { feature, .. } | Fact::Surge { feature, .. }) => feature.name,
        _ => return Vec::new(),
    };
    let column = match feature {
        "failed_users" | "failed_ips" => user_day::ERRORS_401,
        "users" | "ips" | "countries" => return Vec::new(),
        _ => match user_day::FEATURES.iter().position(|f| f.name == feature) {
            Some(column) => column,
            None => return Vec::new(),
        },
    };
    let total: f64 = (0..table.len()).map(|row| table.get(row, column)).sum();
    let least = if feature == "calls" { MUCH * total } else { 1.0 };
    (0..table.len()).map(|row| (table.get(row, column), row as u32)).filter(|u| u.0 >= least.max(1.0)).collect()
}

/// Values of a kind, the new ones first, then by calls.
fn places(told: &Told<'_>, of: &[&ValueRow], wanted: ValueKind, new: &BTreeSet<(ValueKind, String)>) -> Vec<String> {
    let mut found: Vec<(bool, u32, String)> = of
        .iter()
        .filter(|v| v.kind == wanted)
        .map(|v| {
            let text = told.day.text(v.value).to_owned();
            (!new.contains(&(wanted, text.clone())), v.calls, text)
        })
        .filter(|p| !p.2.is_empty())
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)).then_with(|| a.2.cmp(&b.2)));
    found.dedup_by(|a, b| a.2 == b.2);
    found.into_iter().take(MAX_PLACES).map(|p| p.2).collect()
}

/// Builds the row; rank, q-value, reported and status are filled in by the ranking.
pub fn tell(told: &Told<'_>) -> Anomaly {
    let (day, subject) = (told.day, told.subject);
    let silent = subject.subject == SubjectType::UserDay && subject.row.is_none();
    let slots = slots_of(subject.subject, silent);
    let category = category(subject.subject, silent, told.fused, told.combination.as_ref());
    let evidence = evidence(slots, told);
    let user_ids = users(told, evidence.first().map(|e| &e.1));
    let own = rows(told, &user_ids);
    let mut new: BTreeSet<(ValueKind, String)> = BTreeSet::new();
    let mut requests: Vec<String> = Vec::new();
    for (_, fact) in &evidence {
        match fact {
            Fact::New { kind, values, .. } => {
                for v in values {
                    new.insert((*kind, v.value.clone()));
                    requests.extend(v.request_ids.iter().cloned());
                }
            }
            Fact::Order { request_ids, .. } => requests.extend(request_ids.iter().cloned()),
            _ => {}
        }
    }
    for v in &own {
        let failing = v.errors * 2 > v.calls && category == Category::Error;
        let by_address = subject.subject == SubjectType::IpDay;
        if requests.len() < 4 * MAX_REQUESTS && (failing || by_address || v.kind == ValueKind::Channel) {
            requests.extend(v.request_ids.iter().filter(|r| **r != 0).map(|r| day.text(*r).to_owned()));
        }
    }
    let mut seen = BTreeSet::new();
    requests.retain(|r| seen.insert(r.clone()));
    requests.truncate(MAX_REQUESTS);
    let (start, end) = (day.date.start_ms(), day.date.start_ms() + MS_PER_DAY - 1);
    let window = own.iter().fold(None, |w: Option<(i64, i64)>, v| {
        Some(w.map_or((v.first_ms, v.last_ms), |w| (w.0.min(v.first_ms), w.1.max(v.last_ms))))
    });
    let (window_start, window_end) = window.map_or((start, end), |w| (w.0.clamp(start, end), w.1.clamp(start, end)));
    let (event_count, error_count, subject_name) = counts(told);
    let user_id = (user_ids.len() == 1).then(|| user_ids[0].clone());
    let source_ips = match subject.subject {
        SubjectType::IpDay => vec![subject.id.clone()],
        _ => places(told, &own, ValueKind::Ip, &new),
    };
    // Classes such as `internal` stand where an address has no country.
    let mut countries = places(told, &own, ValueKind::Country, &new);
    countries.retain(|c| c.len() == 2);
    let app_name = match subject.subject {
        SubjectType::AppDay => Some(subject.id.clone()),
        SubjectType::UserDay => places(told, &own, ValueKind::Channel, &new).into_iter().next(),
        _ => None,
    };
    // The id is told only where there is no doubt which app it belongs to.
    let app_ids = places(told, &own, ValueKind::AppId, &new);
    let app_id = match subject.subject {
        SubjectType::UserDay if app_ids.len() == 1 => app_ids.into_iter().next(),
        _ => None,
    };
    let score = combine::score(told.fused.p);
    let who = who(subject, &subject_name);
    let title = title(&who, category, evidence.first().map(|e| &e.1), silent);
    let story = story(told, &who, &evidence, event_count, error_count);
    Anomaly {
        date: day.date,
        rank: 0,
        reported: false,
        subject_id: subject.id.clone(),
        user_ids,
        anomaly_key: anomaly_key(&day.org_id, subject.subject, &subject.id, day.date),
        score,
        severity: Severity::of(score),
        p_value: told.fused.p,
        q_value: 1.0,
        status: Status::New,
        category,
        subject_type: subject.subject,
        org_id: day.org_id.clone(),
        user_name: user_id.as_ref().and_then(|_| (!subject_name.is_empty()).then(|| subject_name.clone())),
        user_id,
        app_id,
        app_name,
        source_ips,
        countries,
        window_start,
        window_end,
        title,
        story,
        event_count,
        error_count,
        evidence: evidence.into_iter().map(|e| e.0).collect(),
        request_ids: requests,
        model_name: String::new(),
        model_version: 0,
        model_digest: String::new(),
        engine_version: env!("CARGO_PKG_VERSION").to_owned(),
        picture: picture(told).map(Box::new),
    }
}

/// Calls, errors and the name of the subject.
fn counts(told: &Told<'_>) -> (u64, u64, String) {
    let (day, Some(row)) = (told.day, told.subject.row) else { return (0, 0, String::new()) };
    let (table, calls, errors) = match told.subject.subject {
        SubjectType::AppDay => (&day.app_day, app_day::CALLS, app_day::ERRORS),
        SubjectType::IpDay => (&day.ip_day, ip_day::CALLS, ip_day::ERRORS),
        SubjectType::OrgDay => (&day.org_day, org_day::CALLS, org_day::ERRORS),
        _ => (&day.user_day, user_day::CALLS, user_day::ERRORS),
    };
    let named = table.names.get(row).map_or(String::new(), |n| day.text(*n).to_owned());
    (table.get(row, calls) as u64, table.get(row, errors) as u64, named)
}

fn who(subject: &RawSubject, named: &str) -> String {
    match subject.subject {
        SubjectType::AppDay => format!("app {}", name(&subject.id)),
        SubjectType::IpDay => format!("address {}", name(&subject.id)),
        SubjectType::OrgDay => format!("organisation {}", name(&subject.id)),
        _ if named.is_empty() || named == subject.id => format!("user {}", name(&subject.id)),
        _ => name(named),
    }
}

fn title(who: &str, category: Category, top: Option<&Fact>, silent: bool) -> String {
    if silent {
        return format!("{who}: silent where there is always activity");
    }
    let what = match top {
        Some(Fact::New { kind: k, values, .. }) if values.len() > 1 => {
            format!("{} new {}", values.len(), kind(*k, true))
        }
        Some(Fact::New { kind: k, values, .. }) => {
            let value = values.first().map_or(String::new(), |v| format!(" {}", name(&v.value)));
            format!("new {}{value}", kind(*k, false))
        }
        Some(Fact::NewShare { kind: k, hits, calls, .. }) => {
            format!("{} of calls on new {}", percent(hits / calls.max(1.0)), kind(*k, true))
        }
        Some(Fact::Changed { kinds }) => {
            format!(
                "changed fingerprint ({})",
                list(&kinds.iter().map(|k| kind(*k, false).to_owned()).collect::<Vec<_>>())
            )
        }
        Some(Fact::Level { feature, observed, expected, .. }) => {
            let way = if observed > expected { "unusually high" } else { "unusually low" };
            format!("{} {way}", brief(feature.meaning))
        }
        Some(Fact::Share { hits, calls, .. }) => format!("{} of calls failed", percent(hits / calls.max(1.0))),
        Some(Fact::ValueLevel { value, observed, .. }) => format!("{} calls: {}", number(*observed), name(value)),
        Some(Fact::Hours { active, .. }) => {
            let bins: Vec<u8> = active.iter().map(|a| a.0).collect();
            format!("active at unusual hours ({} UTC)", super::words::half_hours(&bins))
        }
        Some(Fact::MissingHours { .. }) => "usual hours without activity".into(),
        Some(Fact::Profile { .. }) => "activity moved to other hours".into(),
        Some(Fact::Weekday { weekend: true, .. }) => "active on a weekend".into(),
        Some(Fact::Weekday { .. }) => "active on an unusual day".into(),
        Some(Fact::Dormant { days, .. }) => format!("active again after {days} days of silence"),
        Some(Fact::Mix { kind: k, .. }) => format!("unusual mix of {}", kind(*k, true)),
        Some(Fact::Trend { what, from, to, is_share, .. }) => {
            let show = |x: f64| if *is_share { percent(x) } else { number(x) };
            format!("{} climbing, {} to {}", brief(what), show(*from), show(*to))
        }
        Some(Fact::Rule { rule, .. }) => rule.clone(),
        Some(Fact::Session { feature, .. }) => format!("unusual session ({})", brief(feature.meaning)),
        Some(Fact::WholeSession { .. }) => "unusual session as a whole".into(),
        Some(Fact::Order { step, .. }) if step.is_empty() => "session broken off in an unusual place".into(),
        Some(Fact::Order { step, .. }) => format!("unusual order of calls ({})", name(step)),
        Some(Fact::Stranger { .. }) => "session as others have them".into(),
        Some(Fact::SharedIp { orgs, .. }) => format!("new address also seen in {} organisations", orgs.len()),
        Some(Fact::Silent { .. }) => "silent".into(),
        Some(Fact::Campaign { users, .. }) => format!("log-ins of {} users tried", number(*users as f64)),
        Some(Fact::Combination { parts, .. }) => {
            let what: Vec<String> = parts.iter().map(|part| part.what.clone()).collect();
            format!("unusual combination of {}", list(&what))
        }
        Some(Fact::Surge { feature, users, .. }) => {
            format!("{} moved for {} of users", brief(feature.meaning), percent(*users))
        }
        None => format!("unusual {} behaviour", category.name()),
    };
    format!("{who}: {what}")
}

/// The strongest sentences that say different things, then the day's volume and errors beside the usual.
fn story(told: &Told<'_>, who: &str, evidence: &[(Evidence, Fact)], calls: u64, errors: u64) -> String {
    const SENTENCES: usize = 4;
    let mut said: Vec<&str> = Vec::new();
    let mut topics: BTreeSet<String> = BTreeSet::new();
    for (e, fact) in evidence {
        if said.len() == SENTENCES || (e.p_value > 0.05 && !said.is_empty()) {
            break;
        }
        // One sentence per topic: three detectors on the same kind of value say one thing.
        let topic = match fact {
            Fact::New { kind, .. } | Fact::NewShare { kind, .. } | Fact::Mix { kind, .. } => kind.name().to_owned(),
            Fact::Hours { .. } | Fact::MissingHours { .. } | Fact::Profile { .. } => "hours".into(),
            Fact::Rule { .. } => e.detector.clone(),
            Fact::Session { session, .. } | Fact::WholeSession { session, .. } => {
                format!("session {}", session.start_ms)
            }
            Fact::Order { session, .. } | Fact::Stranger { session, .. } => format!("order {}", session.start_ms),
            _ => e.feature.clone(),
        };
        if topics.insert(topic) {
            said.push(&e.sentence);
        }
    }
    let mut out = if told.subject.row.is_none() {
        format!("On {} {who} made no calls.", told.day.date)
    } else {
        let noun = if calls == 1 { "call" } else { "calls" };
        format!("On {} {who} made {} {noun}.", told.day.date, number(calls as f64))
    };
    if let (SubjectType::UserDay, Some(user)) = (told.subject.subject, told.state.users.get(&told.subject.id)) {
        if let Some((low, high)) = usual_calls(user) {
            let c = calls as f64;
            let volume = match c {
                c if c > 1.2 * high => "above",
                c if c > high => "just above",
                c if c < 0.8 * low => "below",
                c if c < low => "just below",
                _ => "within",
            };
            // A sentence on the number of calls names its own range.
            let said_already = said.iter().any(|s| s.starts_with("API calls:"));
            if told.subject.row.is_some() && !said_already {
                out = format!(
                    "On {} {who} made {} {}, {volume} the usual {}–{}.",
                    told.day.date,
                    number(c),
                    if calls == 1 { "call" } else { "calls" },
                    number(low),
                    number(high)
                );
            }
        } else if told.subject.row.is_some() {
            out.push_str(&format!(" Based on peers: {} days of own history.", user.active_days));
        }
    } else if told.subject.subject == SubjectType::UserDay && told.subject.row.is_some() {
        out.push_str(" First seen on this day.");
    }
    for sentence in said {
        out.push(' ');
        out.push_str(sentence);
    }
    if errors > 0 && calls > 0 && told.fused.families[Family::Rate as usize] < 0.05 {
        out.push_str(&format!(
            " In all {} calls ({}) failed.",
            number(errors as f64),
            percent(errors as f64 / calls as f64)
        ));
    }
    out
}
