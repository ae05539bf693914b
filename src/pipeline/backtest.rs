//! Replaying history: each night is scored by a model that was trained on the days before it, as it would have been then.

use std::collections::BTreeMap;

use super::files::Parts;
use super::gates::missing_before;
use super::train::train_and_ablate;
use super::{Days, Progress, Scorer, Trained};
use crate::anomaly::{Anomaly, NightSummary, RunInfo};
use crate::config::Settings;
use crate::date::Date;
use crate::error::{Error, Kind, Result};
use crate::evaluation::backtest::{Replayed, Scored, Training};
use crate::features::catalog::Family;
use crate::feedback::Feedback;
use crate::seed::Seed;
use crate::tables::{DayTables, Steps};

/// Layout version of the run within.
const RUN_FORMAT: u32 = 1;

/// Name of the models of a replay; they are in no registry.
const NAME: &str = "backtest";

/// What to replay.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// First night.
    pub from: Date,
    /// Last night, inclusive.
    pub to: Date,
    /// Days between trainings; `None` for one training, up to the day before `from`.
    pub retrain_every: Option<u32>,
    /// Seed of the trainings.
    pub seed: u64,
}

/// Days as a replay sees them: nothing is kept, because its models are gone when it ends.
struct Unkept<'a>(&'a dyn Days);

impl Days for Unkept<'_> {
    fn list(&self) -> Result<Vec<(Date, String)>> {
        self.0.list()
    }

    fn load(&self, org: &str, date: Date) -> Result<DayTables> {
        self.0.load(org, date)
    }

    fn steps(&self, org: &str, date: Date) -> Result<Steps> {
        self.0.steps(org, date)
    }

    fn digest(&self, org: &str, date: Date) -> Result<String> {
        self.0.digest(org, date)
    }

    fn enrichment(&self, org: &str, date: Date) -> Result<String> {
        self.0.enrichment(org, date)
    }

    fn kept_night(&self, _: &str, _: Date) -> Result<Option<String>> {
        Ok(None)
    }

    fn keep_night(&self, _: &str, _: Date, _: &str) -> Result<()> {
        Ok(())
    }

    fn parts(&self, org: &str, date: Date) -> Result<Parts> {
        self.0.parts(org, date)
    }

    fn feedback(&self) -> Result<Feedback> {
        // Given later than any of the nights was scored, or it would not be known now.
        Ok(Feedback::default())
    }
}

/// Replays the nights of a range. [`Kind::NoData`] if none of them has data, or too few days lie before the first.
pub fn replay(days: &dyn Days, plan: Plan, settings: &Settings, progress: Progress<'_>) -> Result<Replayed> {
    let days = Unkept(days);
    let mut with_data: Vec<Date> = days.list()?.into_iter().map(|d| d.0).collect();
    with_data.dedup();
    let wanted = wanted(&with_data, plan)?;
    let (nights, digest) = (Nights::default(), blake3::Hasher::new());
    let mut replay = Replay { days: &days, plan, settings, nights, with_data, digest };
    let mut trainings = Vec::new();
    for (first, last) in stretches(plan) {
        let of_stretch: Vec<Date> = wanted.iter().copied().filter(|d| (first..=last).contains(d)).collect();
        if of_stretch.is_empty() {
            continue;
        }
        let version = trainings.len() as u32 + 1;
        let done = wanted.partition_point(|d| *d < first);
        let mut tell = |what: &str, i: usize| progress(what, (done + i) as u64, wanted.len() as u64);
        trainings.push(replay.stretch((first, last), version, &of_stretch, &mut tell)?);
    }
    let nights = replay.nights;
    let last = wanted.last().copied().unwrap_or(plan.from);
    // A range that ends in the far future is a way to say "all there is".
    let until = if plan.to.0 - last.0 <= 366 { plan.to } else { last };
    let missing_dates = (plan.from.0..=until.0).map(Date).filter(|d| wanted.binary_search(d).is_err()).collect();
    let run = RunInfo {
        format_version: RUN_FORMAT,
        engine_version: env!("CARGO_PKG_VERSION").to_owned(),
        model_name: NAME.to_owned(),
        model_version: trainings.len() as u32,
        model_digest: trainings.last().map(|t: &Training| t.digest.clone()).unwrap_or_default(),
        input_digest: replay.digest.finalize().to_hex().to_string(),
        in_sample: false,
        nights: nights.summaries,
        missing_dates,
        not_run: nights.not_run,
    };
    Ok(Replayed {
        from: plan.from,
        to: plan.to,
        retrain_every: plan.retrain_every,
        seed: plan.seed,
        trainings,
        run,
        anomalies: nights.anomalies,
        scored: nights.scored,
        without: nights.without,
    })
}

/// Dates of the range with data.
fn wanted(with_data: &[Date], plan: Plan) -> Result<Vec<Date>> {
    let wanted: Vec<Date> = with_data.iter().copied().filter(|d| (plan.from..=plan.to).contains(d)).collect();
    if wanted.is_empty() {
        let found = match (with_data.first(), with_data.last()) {
            (Some(a), Some(b)) => format!("data from {a} to {b}"),
            _ => "no data at all".into(),
        };
        let message = format!("expected data for {} to {}, found {found}", plan.from, plan.to);
        return Err(Error::new(Kind::NoData, message));
    }
    Ok(wanted)
}

/// First and last date of each model.
fn stretches(plan: Plan) -> Vec<(Date, Date)> {
    let Some(every) = plan.retrain_every.and_then(|n| i32::try_from(n.max(1)).ok()) else {
        return vec![(plan.from, plan.to)];
    };
    let starts = std::iter::successors(Some(plan.from), |d| (d.0 < i32::MAX - every).then(|| d.plus(every)));
    starts.take_while(|d| *d <= plan.to).map(|d| (d, d.plus(every - 1).min(plan.to))).collect()
}

/// What the nights said so far.
#[derive(Default)]
struct Nights {
    anomalies: Vec<Anomaly>,
    summaries: Vec<NightSummary>,
    scored: Vec<Scored>,
    without: BTreeMap<Family, Vec<Anomaly>>,
    not_run: Vec<String>,
}

struct Replay<'a> {
    days: &'a dyn Days,
    plan: Plan,
    settings: &'a Settings,
    nights: Nights,
    /// Every date with data.
    with_data: Vec<Date>,
    /// Over everything read.
    digest: blake3::Hasher,
}

impl Replay<'_> {
    /// Trains up to the day before `first` and scores the nights up to `last`.
    fn stretch(
        &mut self,
        (first, last): (Date, Date),
        version: u32,
        wanted: &[Date],
        progress: &mut dyn FnMut(&str, usize),
    ) -> Result<Training> {
        progress("training", 0);
        let mut ablated = Vec::new();
        let (settings, seed) = (self.settings, Seed(self.plan.seed));
        let until = first.plus(-1);
        let trained = train_and_ablate(self.days, Some(until), settings, seed, Some(&mut ablated), &mut |_, _, _| {})
            .map_err(|e| match e.kind() {
            Kind::NoData => {
                Error::new(e.kind(), format!("cannot train for the nights from {first} on, choose a later --from: {e}"))
            }
            _ => e,
        })?;
        let digest = digest(&trained);
        let arrays: BTreeMap<&str, &[f64]> = trained.arrays.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
        let mut scorer =
            Scorer::new(self.days, &arrays, &trained.records, trained.window, &digest, settings.clone(), wanted[0])?;
        scorer.ablate(ablated);
        self.nights.not_run = scorer.not_run();
        let before = self.nights.summaries.len();
        for (i, &date) in wanted.iter().enumerate() {
            progress("scoring", i);
            let Some(night) = scorer.night(date, &mut |_, _, _| {})? else { continue };
            let named = |mut a: Anomaly| {
                NAME.clone_into(&mut a.model_name);
                a.model_version = version;
                a
            };
            self.nights.scored.extend(night.p_values);
            self.nights.anomalies.extend(night.anomalies.into_iter().map(named));
            let gate = missing_before(date, trained.window, &self.with_data);
            self.nights.summaries.extend(night.summaries.into_iter().map(|mut s| {
                s.gates.extend(gate.clone());
                s
            }));
            for (family, rows) in night.without {
                self.nights.without.entry(family).or_default().extend(rows.into_iter().map(named));
            }
        }
        for part in [trained.input_digest.as_str(), scorer.input_digest()] {
            self.digest.update(part.as_bytes());
        }
        Ok(Training {
            from: trained.window.0,
            until: trained.window.1,
            scores_until: last,
            nights: (self.nights.summaries.len() - before) as u64,
            user_days: trained.user_days,
            digest,
            notes: trained.notes,
        })
    }
}

/// BLAKE3 of what a training learned.
fn digest(trained: &Trained) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, values) in &trained.arrays {
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
        values.iter().for_each(|v| {
            hasher.update(&v.to_bits().to_le_bytes());
        });
    }
    hasher.update(trained.input_digest.as_bytes());
    hasher.finalize().to_hex().to_string()
}
