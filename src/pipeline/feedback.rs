//! From the key of an anomaly to the subject and night that it is about, by way of the nights that a store keeps.

use std::collections::BTreeMap;

use super::Days;
use super::kept::read_kept;
use crate::anomaly::{SubjectType, anomaly_key};
use crate::date::Date;
use crate::error::{Error, Kind, Result};
use crate::explain::story::top_family;
use crate::features::catalog::Family;

/// A subject of a kept night.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    /// See [`anomaly_key`].
    pub anomaly_key: String,
    /// The night.
    pub date: Date,
    /// Organisation.
    pub org_id: String,
    /// What it is.
    pub subject_type: SubjectType,
    /// Its id.
    pub subject_id: String,
    /// Strongest family.
    pub family: Family,
    /// p-value of each family.
    pub families: BTreeMap<Family, f64>,
    /// Final p-value.
    pub p: f64,
}

/// The subject with this key, or with the only key that begins so (at least 6 characters). If several models scored it, as the
/// one saw it that found it oddest. `kept` lists the nights as (model, date). [`Kind::Usage`] if there is none, or more than one.
pub fn find(days: &dyn Days, kept: &[(String, Date)], key: &str) -> Result<Subject> {
    const SHORTEST: usize = 6;
    if key.len() < SHORTEST {
        let message = format!("expected at least {SHORTEST} characters of a key, found {}", key.len());
        return Err(Error::new(Kind::Usage, message));
    }
    let mut found: BTreeMap<String, Subject> = BTreeMap::new();
    for (model, date) in kept {
        // Nights are many, and a whole key is of one date.
        if found.get(key).is_some_and(|s| s.date != *date) {
            break;
        }
        let Some(subjects) = days.kept_night(model, *date)?.as_deref().and_then(read_kept) else { continue };
        for s in subjects.1 {
            let anomaly_key = anomaly_key(&s.org, s.subject, &s.id, *date);
            if !anomaly_key.starts_with(key) {
                continue;
            }
            let families = s.families.map(f64::from_bits);
            let subject = Subject {
                anomaly_key: anomaly_key.clone(),
                date: *date,
                org_id: s.org,
                subject_type: s.subject,
                subject_id: s.id,
                family: top_family(&families),
                families: Family::ALL.into_iter().zip(families).collect(),
                p: f64::from_bits(s.p),
            };
            match found.get(&anomaly_key) {
                Some(other) if other.p <= subject.p => {}
                _ => drop(found.insert(anomaly_key, subject)),
            }
        }
    }
    let mut found = found.into_values();
    match (found.next(), found.next()) {
        (Some(subject), None) => Ok(subject),
        (None, _) => Err(Error::new(
            Kind::Usage,
            "no night that this store keeps has an anomaly of that key; score its night with `score --store` on this store \
             first (keys are in anomalies.csv)",
        )),
        (Some(_), Some(_)) => {
            Err(Error::new(Kind::Usage, "more than one anomaly begins with that key; give more of it"))
        }
    }
}
