//! What was said of a day before it came (announced changes) and after (verdicts), and what follows from it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Days, Scorer};
use crate::anomaly::SubjectType;
use crate::baseline::org::OrgState;
use crate::config::Settings;
use crate::config::settings::{Effect, ExpectedChange};
use crate::date::Date;
use crate::detectors::night::{RawNight, RawSubject, SharedIp, facts};
use crate::detectors::{Campaign, Fact};
use crate::error::{Kind, Result};
use crate::features::catalog::Family;
use crate::feedback::{Entry, Feedback, Verdict};
use crate::fusion::night::Fused;
use crate::fusion::rank::{STILL_ODD, WORSE};
use crate::tables::{DayTables, ValueKind};

/// Is the change in force, and does it name one of these?
fn names(change: &ExpectedChange, date: Date, effect: Effect, called: &[&str]) -> bool {
    let everyone = change.who.is_empty() || change.who.iter().any(|w| w == "*");
    change.effects.contains(&effect)
        && (change.from..=change.until).contains(&date)
        && (everyone || change.who.iter().any(|w| called.contains(&w.as_str())))
}

/// Does an announced change, whatever is new, cover this subject that has no row of its own among the users?
pub(super) fn announced(date: Date, id: &str, settings: &Settings) -> bool {
    let plain = settings.expected.changes.iter().filter(|c| c.what.is_empty());
    plain.clone().any(|c| names(c, date, Effect::DoNotAlert, &[id]))
}

/// What a user's row may be called in an announcement: id, name, and the apps used.
fn called(day: &DayTables, row: usize) -> Vec<&str> {
    let channels = day.values_of(row as u32).iter().filter(|v| v.kind == ValueKind::Channel).map(|v| day.text(v.value));
    [day.user_day.ids[row], day.user_day.names[row]].into_iter().map(|s| day.text(s)).chain(channels).collect()
}

/// Does an announced change cover this user's day? One of values does not silence it here ([`announced_values`]), and keeps it
/// from being learned if the day has one of them.
pub(super) fn announced_row(day: &DayTables, row: usize, settings: &Settings, effect: Effect) -> bool {
    let changes = &settings.expected.changes;
    if changes.is_empty() {
        return false;
    }
    let called = called(day, row);
    let has = |what: &[String]| day.values_of(row as u32).iter().any(|v| what.iter().any(|w| w == day.text(v.value)));
    changes.iter().any(|c| {
        let in_scope = c.what.is_empty() || (effect == Effect::DoNotLearn && has(&c.what));
        in_scope && names(c, day.date, effect, &called)
    })
}

/// Does an announced change of values cover this user's day, on which `facts` stand out? It does if something is new and all of
/// it was announced.
pub(super) fn announced_values(day: &DayTables, row: usize, settings: &Settings, facts: &[(usize, Fact)]) -> bool {
    let new = new_values(facts);
    let called = called(day, row);
    let of_values = settings.expected.changes.iter().filter(|c| !c.what.is_empty());
    !new.is_empty()
        && of_values
            .filter(|c| names(c, day.date, Effect::DoNotAlert, &called))
            .any(|c| new.iter().all(|(_, value)| c.what.iter().any(|w| w == value)))
}

/// Must the facts of some user's day be known to tell whether it was announced?
pub(super) fn wants_facts(date: Date, settings: &Settings) -> bool {
    settings.expected.changes.iter().any(|c| !c.what.is_empty() && (c.from..=c.until).contains(&date))
}

/// Every value that is new.
fn new_values(facts: &[(usize, Fact)]) -> Vec<(ValueKind, &str)> {
    let mut out = Vec::new();
    for (_, fact) in facts {
        match fact {
            Fact::New { kind, values, .. } => out.extend(values.iter().map(|v| (*kind, v.value.as_str()))),
            Fact::NewShare { kind, values, .. } => out.extend(values.iter().map(|v| (*kind, v.as_str()))),
            _ => {}
        }
    }
    out
}

/// Is this the same thing that somebody found `expected`? Everything new was used on that night, too, and no family finds
/// tonight ten times less likely than that night.
pub(super) fn is_same(
    entry: &Entry,
    families: &[f64; 6],
    facts: &[(usize, Fact)],
    used: &BTreeSet<(ValueKind, String)>,
) -> bool {
    let known = new_values(facts).into_iter().all(|(kind, value)| used.contains(&(kind, value.to_owned())));
    let as_likely = Family::ALL.into_iter().all(|family| {
        let (now, then) = (families[family as usize], entry.families.get(&family).copied().unwrap_or(1.0));
        now > STILL_ODD || now > then / WORSE
    });
    known && as_likely
}

/// Values that the subject of a verdict used on its night. Apps, addresses and organisations have no values of their own; a
/// night that the store no longer has leaves none.
pub(super) fn used(days: &dyn Days, entry: &Entry) -> Result<BTreeSet<(ValueKind, String)>> {
    if entry.subject_type != SubjectType::UserDay {
        return Ok(BTreeSet::new());
    }
    let day = match days.load(&entry.org_id, entry.date) {
        Ok(day) => day,
        Err(e) if e.kind() == Kind::NoData => return Ok(BTreeSet::new()),
        Err(e) => return Err(e),
    };
    let row = day.user_day.ids.iter().position(|id| day.text(*id) == entry.subject_id);
    let values = row.map_or(&[][..], |row| day.values_of(row as u32));
    Ok(values.iter().map(|v| (v.kind, day.text(v.value).to_owned())).collect())
}

/// Why a night is no news.
#[derive(Debug, Default)]
pub(super) struct Same {
    /// An announced change says that these values would be new.
    pub(super) by_values: bool,
    /// Somebody found the same thing to be expected.
    pub(super) by_verdict: bool,
}

impl Scorer<'_> {
    /// Was the subject's night announced by its values, or found to be expected?
    pub(super) fn is_expected(
        &self,
        day: &DayTables,
        raw: &RawNight,
        subject: &RawSubject,
        fused: &Fused,
        shared: &BTreeMap<String, SharedIp>,
    ) -> Result<Same> {
        let user_row = subject.row.filter(|_| subject.subject == SubjectType::UserDay);
        let by_values = user_row.filter(|_| wants_facts(day.date, &self.settings));
        let mut verdicts =
            self.engine.feedback.expected((&day.org_id, subject.subject, &subject.id), day.date).peekable();
        if by_values.is_none() && verdicts.peek().is_none() {
            return Ok(Same::default());
        }
        let empty = OrgState::default();
        let state = self.engine.orgs.get(&day.org_id).unwrap_or(&empty);
        let facts = facts(day, state, raw, subject, shared, self.engine.order(day), &self.settings);
        let by_values = by_values.is_some_and(|row| announced_values(day, row, &self.settings, &facts));
        let mut same = Same { by_values, by_verdict: false };
        for entry in verdicts {
            let used = used(self.days, entry)?;
            same.by_verdict |= is_same(entry, &fused.families, &facts, &used);
        }
        Ok(same)
    }
}

/// Bytes that stand for a night's verdicts in the chain of inputs. `expected` ones depend on what was used that night, which is
/// an input of its own if the night is not folded.
pub(super) fn chain(hasher: &mut blake3::Hasher, entry: &Entry) {
    let deciding = (&entry.anomaly_key, entry.verdict, entry.until, &entry.families);
    hasher.update(serde_json::to_string(&deciding).expect("plain data serialises").as_bytes());
}

/// The verdicts on a day that decide what is learned of it.
#[derive(Debug, Default)]
pub(super) struct Said<'a> {
    /// Users whose day was an incident.
    users: BTreeSet<&'a str>,
    /// Apps, addresses and the organisation whose day was one.
    pub(super) incidents: BTreeSet<(SubjectType, String)>,
    /// Users whose day was harmless.
    pub(super) harmless: BTreeSet<&'a str>,
}

impl<'a> Said<'a> {
    pub(super) fn of(feedback: &'a Feedback, day: &DayTables) -> Self {
        let mut out = Self::default();
        for e in feedback.on(day.date).filter(|e| e.org_id == day.org_id) {
            match (e.verdict, e.subject_type) {
                (Verdict::True, SubjectType::UserDay) => {
                    out.users.insert(&e.subject_id);
                }
                (Verdict::True, other) => {
                    out.incidents.insert((other, e.subject_id.clone()));
                }
                (Verdict::Benign, SubjectType::UserDay) => {
                    out.harmless.insert(&e.subject_id);
                }
                _ => {}
            }
        }
        out
    }

    /// Was the user's day, or that of an app or address that the user used, an incident? An organisation's was one of the users
    /// who were tried in its flood of failed log-ins, if there was one.
    pub(super) fn is_incident(&self, day: &DayTables, row: usize, campaign: &Campaign) -> bool {
        if self.users.contains(day.text(day.user_day.ids[row])) {
            return true;
        }
        let touches = |(subject, id): &(SubjectType, String)| {
            let kind = match subject {
                SubjectType::AppDay => ValueKind::Channel,
                SubjectType::IpDay => ValueKind::Ip,
                _ => return campaign.victims.contains(&row),
            };
            day.values_of(row as u32).iter().any(|v| v.kind == kind && day.text(v.value) == id)
        };
        self.incidents.iter().any(touches)
    }
}
