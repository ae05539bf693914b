//! Golden rows: chosen at training, replayed before an alias may name a version. They go the way that scoring goes, from the
//! bytes of the model to a p-value, so that an engine or a machine that computes otherwise is found before a night is.

use std::collections::BTreeMap;

use super::order;
use super::score::{read_calibration, read_state};
use super::sequences::SequenceScorer;
use super::table::score_table;
use crate::anomaly::SubjectType;
use crate::baseline::org::{NightView, OrgState};
use crate::baseline::user::UserState;
use crate::config::Settings;
use crate::date::Date;
use crate::detectors::geometry::matrix::Matrix;
use crate::detectors::geometry::members::Arrays;
use crate::detectors::night::slots_of;
use crate::detectors::sequence::vocabulary::Vocabulary;
use crate::error::{Error, Kind, Result};
use crate::fusion::night::{Calibration, Past, Sample};
use crate::models::{Golden, LoadedModel, SequenceInfo, TrainedOn, agree};

/// Organisations of which an absent user is taken.
const ORGS: usize = 4;

/// Rows of a table, or sequences, that are taken.
const ROWS: usize = 5;

/// Most numbers of them: a manifest stays readable also for a table of very many columns.
const CELLS: usize = 50_000;

/// Most tokens of a sequence that are kept.
const TOKENS: usize = 64;

/// The model as scoring on the day after the training has it.
struct Tomorrow<'a> {
    calibration: &'a Calibration,
    orgs: &'a BTreeMap<String, OrgState>,
    settings: &'a Settings,
    date: Date,
}

impl Tomorrow<'_> {
    fn p(&self, org: &str, subject: SubjectType, id: &str, (silent, activity): (bool, f64), scores: &[f32]) -> f64 {
        let class = self.calibration.class(subject, silent, activity);
        let user = self.orgs.get(org).and_then(|o| o.users.get(id)).filter(|_| subject == SubjectType::UserDay);
        let past = user.map_or(Past::default(), |u| Past {
            nights: u.second_stage(),
            week: u.week_before(self.date),
            partly: false,
        });
        self.calibration.apply(class, scores, past, self.settings).p
    }

    /// How likely a user is to come, the usual calls a day, and the p-value of not coming.
    fn absent(&self, org: &str, id: &str) -> Option<(f64, f64, f64)> {
        let state = self.orgs.get(org)?;
        let user = state.users.get(id)?;
        let view = state.night_view();
        let group = &view.groups[state.group_of(&view, Some(user), None)];
        let (usual, calls) = (user.activity(self.date, group), user.counts[0].mean(group.counts[0]));
        let score = -(1.0 - usual).max(1e-4).ln();
        Some((usual, calls, self.p(org, SubjectType::UserDay, id, (true, calls), &[score as f32])))
    }

    /// The user of an organisation who is the likeliest to come.
    fn steadiest(&self, state: &OrgState) -> Option<String> {
        let view = state.night_view();
        let usual = |u| activity(state, &view, u, self.date);
        // The first by name of the likeliest.
        let likeliest = state.users.iter().rev().max_by(|a, b| usual(a.1).total_cmp(&usual(b.1)));
        likeliest.map(|(id, _)| id.clone())
    }
}

fn activity(state: &OrgState, view: &NightView, user: &UserState, date: Date) -> f64 {
    user.activity(date, &view.groups[state.group_of(view, Some(user), None)])
}

/// The rows of a model of nights: some subjects of the last training night, with their organisation and id, and absent users.
pub(super) fn of_nights<'a>(
    calibration: &Calibration,
    orgs: &BTreeMap<String, OrgState>,
    settings: &Settings,
    last: Date,
    subjects: impl Iterator<Item = (&'a Sample, &'a str, &'a str)>,
) -> Vec<Golden> {
    let tomorrow = Tomorrow { calibration, orgs, settings, date: last.plus(1) };
    let mut golden: Vec<Golden> = subjects
        .filter(|(s, ..)| s.activity.is_finite() && s.scores.iter().all(|x| x.is_finite()))
        .map(|(s, org, id)| Golden::Subject {
            org: org.to_owned(),
            subject: s.subject,
            id: id.to_owned(),
            silent: s.silent,
            activity: s.activity,
            scores: s.scores.clone(),
            p_value: tomorrow.p(org, s.subject, id, (s.silent, s.activity), &s.scores),
        })
        .collect();
    for (org, state) in tomorrow.orgs.iter().take(ORGS) {
        let Some(id) = tomorrow.steadiest(state) else { continue };
        let Some((usual, calls, p_value)) = tomorrow.absent(org, &id) else { continue };
        golden.push(Golden::Absent { org: org.clone(), id, usual, calls, p_value });
    }
    golden
}

/// The rows of a model of a table: some of those that it learned.
pub(super) fn of_table(arrays: &Arrays<'_>, numbers: &Matrix) -> Result<Vec<Golden>> {
    let sample = numbers.select(&spread(numbers.rows, (CELLS / numbers.cols.max(1)).clamp(1, ROWS)));
    let p = score_table(arrays, &sample)?.p;
    let finite = |x: &f64| x.is_finite().then_some(*x);
    Ok((0..sample.rows)
        .map(|r| Golden::Row { values: sample.row(r).iter().map(finite).collect(), p_value: p[r] })
        .collect())
}

/// At most `count` numbers below `n`, at equal distances.
fn spread(n: usize, count: usize) -> Vec<usize> {
    let count = count.min(n);
    (0..count).map(|i| i * n / count).collect()
}

/// The rows of a model of sequences: the beginnings of some of those that it learned.
pub(super) fn of_sequences(
    tokens: &[&[u32]],
    entities: Option<&[&str]>,
    p: impl Fn(&[&[u32]], Option<&[&str]>) -> Vec<f64>,
) -> Vec<Golden> {
    let rows = spread(tokens.len(), ROWS);
    let beginnings: Vec<&[u32]> = rows.iter().map(|&r| &tokens[r][..tokens[r].len().min(TOKENS)]).collect();
    let by: Option<Vec<&str>> = entities.map(|entities| rows.iter().map(|&r| entities[r]).collect());
    let p = p(&beginnings, by.as_deref());
    (0..rows.len())
        .map(|i| Golden::Sequence {
            tokens: beginnings[i].to_vec(),
            entity: by.as_ref().map(|by| by[i].to_owned()),
            p_value: p[i],
        })
        .collect()
}

fn replay_sequences(model: &LoadedModel, info: &SequenceInfo) -> Result<()> {
    let vocabulary = Vocabulary::new(info.vocabulary.clone())
        .ok_or_else(|| Error::new(Kind::Model, "the vocabulary of the model makes no sense; train a new version"))?;
    let (mut tokens, mut entities, mut expected): (Vec<&[u32]>, Vec<&str>, Vec<f64>) = Default::default();
    for (i, row) in model.manifest.golden.iter().enumerate() {
        match row {
            Golden::Sequence { tokens: row, entity, p_value }
                if row.iter().all(|t| *t < vocabulary.symbols()) && entity.is_some() == info.entities.is_some() =>
            {
                tokens.push(row);
                entities.extend(entity.as_deref());
                expected.push(*p_value);
            }
            _ => return Err(no_sense(i)),
        }
    }
    let by = info.entities.is_some().then_some(entities.as_slice());
    let found = SequenceScorer::read(&model.arrays, &model.records, &vocabulary)?.score(&tokens, by)?.p;
    expected
        .iter()
        .zip(found)
        .enumerate()
        .try_for_each(|(i, (expected, found))| compare(i, "p-value", *expected, found))
}

/// Computes the golden rows of a model again and returns their number. [`Kind::Model`] if this engine cannot score with the
/// model, or computes otherwise than the one that trained it.
pub fn replay(model: &LoadedModel) -> Result<usize> {
    let manifest = &model.manifest;
    match manifest.trained_on() {
        Some(TrainedOn::Days(_, until)) => {
            let arrays = model.arrays.iter().map(|a| (a.name.as_str(), a.values.as_slice())).collect();
            let calibration = read_calibration(&arrays)?;
            let orgs = read_state(&model.records)?;
            // No golden row has an order of calls, which needs a night's steps; but what was learned of it must be readable.
            order::read(&arrays, &model.records)?;
            let tomorrow =
                Tomorrow { calibration: &calibration, orgs: &orgs, settings: &manifest.settings, date: until.plus(1) };
            manifest.golden.iter().enumerate().try_for_each(|(i, row)| replay_night(&tomorrow, i, row))?;
        }
        Some(TrainedOn::Table(info)) => {
            let arrays: Arrays<'_> =
                model.arrays.iter().map(|a| (a.name.as_str(), (a.shape.as_slice(), a.values.as_slice()))).collect();
            let mut values = Vec::new();
            let mut expected = Vec::new();
            for (i, row) in manifest.golden.iter().enumerate() {
                let Golden::Row { values: row, p_value } = row else { return Err(no_sense(i)) };
                if row.len() != info.columns.len() {
                    return Err(no_sense(i));
                }
                values.extend(row.iter().map(|x| x.unwrap_or(f64::NAN)));
                expected.push(*p_value);
            }
            let numbers = Matrix::new(expected.len(), info.columns.len(), values);
            for (i, (expected, found)) in expected.iter().zip(score_table(&arrays, &numbers)?.p).enumerate() {
                compare(i, "p-value", *expected, found)?;
            }
        }
        Some(TrainedOn::Sequences(info)) => replay_sequences(model, info)?,
        None => return Err(Error::new(Kind::Bug, "a loaded model was trained on something")),
    }
    Ok(manifest.golden.len())
}

fn replay_night(tomorrow: &Tomorrow<'_>, i: usize, row: &Golden) -> Result<()> {
    match row {
        Golden::Subject { org, subject, id, silent, activity, scores, p_value } => {
            // A session has no chain of its own.
            let known = *subject != SubjectType::Session && (!*silent || *subject == SubjectType::UserDay);
            if !known || scores.len() != slots_of(*subject, *silent).len() || scores.iter().any(|s| !s.is_finite()) {
                return Err(no_sense(i));
            }
            compare(i, "p-value", *p_value, tomorrow.p(org, *subject, id, (*silent, *activity), scores))
        }
        Golden::Absent { org, id, usual, calls, p_value } => {
            let (u, c, p) = tomorrow.absent(org, id).ok_or_else(|| no_sense(i))?;
            compare(i, "probability of coming", *usual, u)?;
            compare(i, "usual calls", *calls, c)?;
            compare(i, "p-value", *p_value, p)
        }
        Golden::Row { .. } | Golden::Sequence { .. } => Err(no_sense(i)),
    }
}

fn compare(i: usize, what: &str, expected: f64, found: f64) -> Result<()> {
    if agree(expected, found) {
        return Ok(());
    }
    let message = format!(
        "golden row {}: expected the {what} {expected:e}, found {found:e}: this engine or machine computes otherwise than the \
         one that trained the model; train a version here, or use the engine that made it",
        i + 1
    );
    Err(Error::new(Kind::Model, message))
}

fn no_sense(i: usize) -> Error {
    let message = format!("golden row {} makes no sense for this model; train a new version", i + 1);
    Error::new(Kind::Model, message)
}

#[cfg(test)]
mod tests {
    use super::spread;

    #[test]
    fn rows_are_taken_at_equal_distances_and_no_more_than_there_are() {
        assert_eq!(spread(0, 5), [0; 0]);
        assert_eq!(spread(3, 5), [0, 1, 2]);
        assert_eq!(spread(100, 5), [0, 20, 40, 60, 80]);
        assert_eq!(spread(100, 1), [0]);
    }
}
