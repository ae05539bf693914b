//! Training: fold the days in order, and calibrate on the last of them.

use std::collections::BTreeMap;

use super::{Days, Engine, Progress, announced_row, calendar, events_of, load_all};
use crate::anomaly::SubjectType;
use crate::baseline::records;
use crate::config::Settings;
use crate::date::Date;
use crate::error::{Error, Kind, Result};
use crate::fusion::night::{Calibration, Sample};
use crate::models::Record;

/// What training made.
#[derive(Debug)]
pub struct Trained {
    /// First and last training day.
    pub window: (Date, Date),
    /// Organisations.
    pub orgs: Vec<String>,
    /// Events of the window.
    pub events: u64,
    /// User-days of the window.
    pub user_days: u64,
    /// BLAKE3 over the digests of the partitions.
    pub input_digest: String,
    /// Named arrays of the calibration.
    pub arrays: Vec<(String, Vec<f64>)>,
    /// Rows of the baseline.
    pub records: Vec<Record>,
    /// Figures for the card: calibration points, nights, share of p ≤ 0.01 and so on.
    pub metrics: BTreeMap<String, f64>,
    /// Remarks for the card.
    pub notes: Vec<String>,
}

/// Learns normal behaviour and calibrates on the last nights. Needs at least 4 days; says so in the notes when there is
/// less than it wants.
pub fn train(days: &dyn Days, until: Option<Date>, settings: &Settings, progress: Progress<'_>) -> Result<Trained> {
    let calendar = calendar(days, until)?;
    let (Some(&first), Some(&last)) = (calendar.keys().next(), calendar.keys().next_back()) else {
        return Err(Error::new(Kind::NoData, "no day to train on: the input is empty or every day lies after --until"));
    };
    const FEWEST: usize = 4;
    if calendar.len() < FEWEST {
        let message = format!(
            "expected at least {FEWEST} days to learn what is normal, found {} ({first} to {last}); {} days and more give \
             a useful baseline",
            calendar.len(),
            2 * settings.baseline.min_history_days
        );
        return Err(Error::new(Kind::NoData, message));
    }
    let warm_up = (settings.baseline.min_history_days as usize).min(calendar.len() / 2);
    let nights = (settings.calibration.nights as usize).min(calendar.len() - warm_up);
    let calibrate_from = calendar.len() - nights;
    let mut engine = Engine::default();
    let mut samples: Vec<Sample> = Vec::new();
    let mut sample_of: Vec<(Date, String, String)> = Vec::new();
    let mut histories: BTreeMap<(String, String), usize> = BTreeMap::new();
    let (mut events, mut user_days) = (0, 0);
    let mut digest = blake3::Hasher::new();
    for (i, (&date, orgs)) in calendar.iter().enumerate() {
        progress("train", i as u64, calendar.len() as u64);
        let tables = load_all(days, date, orgs)?;
        for org in orgs {
            digest.update(days.digest(org, date)?.as_bytes());
        }
        let raw = engine.evaluate(&tables, settings);
        for (day, night) in tables.iter().zip(&raw) {
            user_days += day.user_day.len() as u64;
            events += events_of(day);
            if i < calibrate_from {
                continue;
            }
            for s in &night.subjects {
                let next = histories.len();
                let history = *histories.entry((day.org_id.clone(), s.id.clone())).or_insert(next);
                samples.push(Sample {
                    subject: s.subject,
                    silent: s.subject == SubjectType::UserDay && s.row.is_none(),
                    activity: s.activity,
                    scores: s.scores.clone(),
                    history,
                    // Interleaved, so that every block has young and old baselines alike.
                    fold: i,
                });
                sample_of.push((date, day.org_id.clone(), s.id.clone()));
            }
        }
        for (day, night) in tables.iter().zip(&raw) {
            let org = engine.orgs.entry(day.org_id.clone()).or_default();
            // Announced changes are not learned from; everything else is, winsorised.
            let learn: Vec<bool> = (0..day.user_day.len()).map(|row| !announced_row(day, row, settings)).collect();
            org.fold(day, &night.view, &settings.baseline, &night.habits, &learn);
        }
    }
    progress("calibrate", 0, 1);
    let (calibration, minus_ln_p) = Calibration::fit(&samples, histories.len(), settings);
    let mut hits = [0.0; 2];
    let mut scored = 0.0;
    for ((sample, (date, org, id)), v) in samples.iter().zip(&sample_of).zip(&minus_ln_p) {
        if sample.subject == SubjectType::UserDay {
            scored += 1.0;
            hits[0] += f64::from(u8::from(*v >= 100.0_f64.ln()));
            hits[1] += f64::from(u8::from(*v >= 1000.0_f64.ln()));
            if let Some(user) = engine.orgs.get_mut(org).and_then(|o| o.users.get_mut(id)) {
                user.remember_night(*date, *v);
            }
        }
    }
    let mut notes = Vec::new();
    if calendar.len() < 2 * settings.baseline.min_history_days as usize {
        notes.push(format!(
            "{} days of history; at least {} are advised, so p-values are coarse.",
            calendar.len(),
            2 * settings.baseline.min_history_days
        ));
    }
    if let Some(until) = until.filter(|u| *u > last) {
        notes.push(format!("Training was asked for up to {until}; the data ends on {last}."));
    }
    let gaps = i64::from(last.0 - first.0) + 1 - calendar.len() as i64;
    if gaps > 0 {
        notes.push(format!("Days of the training window without data (they teach nothing, not zeros): {gaps}."));
    }
    let metrics = BTreeMap::from([
        ("calibration_nights".to_owned(), nights as f64),
        ("calibration_user_days".to_owned(), scored),
        ("share_p_below_0.01".to_owned(), if scored > 0.0 { hits[0] / scored } else { 0.0 }),
        ("share_p_below_0.001".to_owned(), if scored > 0.0 { hits[1] / scored } else { 0.0 }),
    ]);
    let mut records = Vec::new();
    for (org, state) in &engine.orgs {
        records::write(org, state, &mut records);
    }
    Ok(Trained {
        window: (first, last),
        orgs: engine.orgs.keys().cloned().collect(),
        events,
        user_days,
        input_digest: digest.finalize().to_hex().to_string(),
        arrays: calibration.to_arrays(),
        records,
        metrics,
        notes,
    })
}
