//! The geometry family on nights: user-days whose every feature is ordinary and whose combination is not.
//!
//! What it looks at is how odd each detector finds the subject beside that subject's own past: the normal scores
//! z = Φ⁻¹(1 − p) of the calibrated p-values of all its slots. In that space everybody is alike on a calm night, whatever they do, and
//! members that compare rows ([`crate::detectors::geometry`]) need not learn each user anew. Members are cross-fitted over blocks of
//! calibration nights; their p-values are fused by the more surprising half and recalibrated like every other family. The
//! autoencoder, if it is wanted, looks at the user's week ([`super::week`]) instead of the day.

use std::collections::BTreeMap;

use rayon::prelude::*;
use statrs::distribution::{ContinuousCDF, Normal};

use super::calibrate::{ANY_SCALE, COMBINED, Calibrator};
use crate::config::Settings;
use crate::detectors::geometry::gaussian::Gaussian;
use crate::detectors::geometry::knn::Neighbours;
use crate::detectors::geometry::linalg::Cholesky;
use crate::detectors::geometry::matrix::Matrix;
use crate::detectors::geometry::members::{Bounds, MOST_WEIGHT, Member, Members, top_half};
use crate::seed::Seed;

/// Fewest subjects of calibration nights that combinations are learned from.
const FEWEST: usize = 300;

/// Blocks of nights for the cross-fit.
const BLOCKS: usize = 5;

/// Ordinary subjects that are kept for comparison.
const ORDINARY: usize = 500;

/// Normal scores are kept within: nothing odd says little, and beyond the other end marginals have said it all.
const RANGE: (f64, f64) = (-2.0, 8.0);

/// Added to variances of normal scores: a detector that never fired in calibration must not be infinitely odd when it does; that
/// is for its own family to say.
const RIDGE: f64 = 0.25;

/// Learned combinations of one class of subjects.
#[derive(Debug, Clone, PartialEq)]
pub struct Compound {
    members: Members,
    /// The autoencoder, whose rows are twice as wide: windows of a week.
    weeks: Option<Members>,
    /// Calibration of each member, and its weight.
    calibrators: Vec<(Member, Calibrator, f64)>,
    /// Calibration of the fused statistic.
    fused: Calibrator,
    /// Centre and covariance of the normal scores: what is expected of one given the others.
    shape: Gaussian,
    /// Ordinary subjects, one of which an odd one is compared with.
    ordinary: Neighbours,
}

/// What the family says about one subject.
#[derive(Debug, Clone, PartialEq)]
pub struct Combination {
    /// p-value by each member.
    pub members: Vec<(Member, f64)>,
    /// Slots that stand out given the others, the farthest first: slot, normal score, expected given the others, deviation from
    /// that in conditional standard deviations.
    pub parts: Vec<(usize, f64, f64, f64)>,
    /// Normal scores of the most similar ordinary subject.
    pub nearest: Vec<f64>,
}

/// The normal score of a p-value.
pub fn normal_score(p: f64) -> f64 {
    let standard = Normal::standard();
    (-standard.inverse_cdf(p.clamp(1e-300, 1.0))).clamp(RANGE.0, RANGE.1)
}

impl Compound {
    /// Does any member look at weeks?
    pub fn wants_weeks(settings: &Settings) -> bool {
        settings.fusion.geometry > 0.0
            && settings.geometry.night_members.iter().any(|n| n == Member::Autoencoder.name())
    }

    /// Fits to the normal scores of calibration subjects, whose block of nights is `folds`, and to their weeks if a member is
    /// to look at them. Returns it and the cross-fitted statistic of every subject; `None` if there are too few or no member is
    /// wanted.
    pub fn fit(
        z: &Matrix,
        weeks: Option<&Matrix>,
        folds: &[usize],
        settings: &Settings,
        seed: Seed,
    ) -> Option<(Self, Vec<f64>)> {
        let g = &settings.geometry;
        let mut wanted: Vec<Member> = g.night_members.iter().filter_map(|n| Member::from_name(n)).collect();
        wanted.retain(|m| *m != Member::Autoencoder);
        if z.rows < FEWEST || (wanted.is_empty() && weeks.is_none()) || settings.fusion.geometry <= 0.0 {
            return None;
        }
        let bounds = Bounds {
            references: g.references as usize,
            trim: g.night_trim,
            bulk: 1.0,
            ridge: RIDGE,
            trees: g.night_trees as usize,
            eps: None,
        };
        let fit = |rows: &Matrix| {
            if wanted.is_empty() { Some(Members::default()) } else { Members::fit(rows, &wanted, bounds, g, seed).ok() }
        };
        let fit_weeks = |rows: &Matrix| Members::autoencoder(rows, bounds.references, seed).ok();
        let mut raw = cross_fitted(z, folds, fit)?;
        if let Some(weeks) = weeks {
            raw.extend(cross_fitted(weeks, folds, fit_weeks)?);
        }
        let q = settings.calibration.tail_quantile;
        let calibrators: Vec<(Member, Calibrator, f64)> =
            raw.iter().map(|(m, scores)| (*m, Calibrator::fit(scores.clone(), q, ANY_SCALE), m.weight())).collect();
        let statistic: Vec<f64> = (0..z.rows)
            .into_par_iter()
            .map(|r| {
                top_half(
                    &mut calibrators.iter().zip(&raw).map(|((_, c, w), (_, s))| (*w, c.p(s[r]))).collect::<Vec<_>>(),
                )
            })
            .collect();
        let shape = Gaussian::robust(z, 1.0).widened(RIDGE);
        let fused = Calibrator::fit(statistic.clone(), q, COMBINED);
        let weeks = match weeks {
            Some(weeks) => Some(fit_weeks(weeks)?),
            None => None,
        };
        // Those that are no odder than most, evenly over the nights.
        let mut sorted = statistic.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let calm: Vec<usize> = (0..z.rows).filter(|r| statistic[*r] <= sorted[z.rows / 2]).collect();
        let shown = calm.len().min(ORDINARY);
        let picked: Vec<usize> = (0..shown).map(|i| calm[i * calm.len() / shown]).collect();
        let ordinary = Neighbours::comparing(&z.select(&picked));
        Some((Self { members: fit(z)?, weeks, calibrators, fused, shape, ordinary }, statistic))
    }

    /// Does a member look at weeks, so that they must be remembered?
    pub fn looks_at_weeks(&self) -> bool {
        self.weeks.is_some()
    }

    /// p-value by each member of one subject's normal scores, whose week is asked for if a member looks at it.
    fn members(&self, z: &[f64], week: impl FnOnce() -> Vec<f64>) -> Vec<(Member, f64, f64)> {
        let mut scores = self.members.score(&Matrix::new(1, z.len(), z.to_vec()));
        if let Some(members) = &self.weeks {
            scores.extend(members.score(&Matrix::new(1, 2 * z.len(), week())));
        }
        self.calibrators.iter().zip(scores).map(|((m, c, w), (_, s))| (*m, *w, c.p(s[0]))).collect()
    }

    /// p-value of one subject's normal scores.
    pub fn p(&self, z: &[f64], week: impl FnOnce() -> Vec<f64>) -> f64 {
        self.fused.p(top_half(&mut self.members(z, week).into_iter().map(|(_, w, p)| (w, p)).collect::<Vec<_>>()))
    }

    /// Which members see something, and which slots stand out given the others.
    pub fn explain(&self, z: &[f64], week: impl FnOnce() -> Vec<f64>) -> Combination {
        let given = self.shape.conditional(z);
        let mut parts: Vec<(usize, f64, f64, f64)> =
            given.into_iter().enumerate().map(|(j, (expected, deviation))| (j, z[j], expected, deviation)).collect();
        parts.sort_by(|a, b| b.3.total_cmp(&a.3).then(a.0.cmp(&b.0)));
        let nearest = self.ordinary.reference(self.ordinary.nearest(z));
        Combination { members: self.members(z, week).into_iter().map(|(m, _, p)| (m, p)).collect(), parts, nearest }
    }

    /// Named arrays of numbers under a prefix, for a model file.
    pub fn to_arrays(&self, prefix: &str) -> Vec<(String, Vec<f64>)> {
        let weeks = self.weeks.iter().flat_map(|m| m.to_arrays(prefix));
        let mut out: Vec<(String, Vec<f64>)> =
            self.members.to_arrays(prefix).into_iter().chain(weeks).map(|(name, _, values)| (name, values)).collect();
        for (member, calibrator, weight) in &self.calibrators {
            let numbers = [vec![*weight], calibrator.to_numbers()].concat();
            out.push((format!("{prefix}/calibration/{}", member.name()), numbers));
        }
        out.push((format!("{prefix}/calibration/fused"), self.fused.to_numbers()));
        out.push((format!("{prefix}/ordinary"), self.ordinary.references.values.clone()));
        out.push((format!("{prefix}/shape/mean"), self.shape.mean.clone()));
        out.push((format!("{prefix}/shape/factor"), self.shape.factor.lower.iter().copied().collect()));
        out
    }

    /// The inverse of [`Self::to_arrays`] for normal scores of so many slots; `Err` names the array that is missing or makes no
    /// sense, `Ok(None)` means that there is none.
    pub fn from_arrays(arrays: &BTreeMap<&str, &[f64]>, prefix: &str, slots: usize) -> Result<Option<Self>, String> {
        let name = format!("{prefix}/shape/mean");
        let Some(mean) = arrays.get(name.as_str()) else { return Ok(None) };
        if mean.len() != slots {
            return Err(name);
        }
        // The autoencoder's rows are twice as wide as those of the others.
        let of_weeks = format!("{prefix}/{}", Member::Autoencoder.name());
        let own = |weeks: bool| -> BTreeMap<&str, (&[usize], &[f64])> {
            let own = arrays.iter().filter(|(n, _)| n.starts_with(prefix) && (**n == of_weeks) == weeks);
            own.map(|(n, v)| (*n, (&[][..], *v))).collect()
        };
        let members = Members::from_arrays(&own(false), prefix, slots)?;
        let weeks = arrays.contains_key(of_weeks.as_str());
        let weeks = weeks.then(|| Members::from_arrays(&own(true), prefix, 2 * slots)).transpose()?;
        let of_week = weeks.iter().flat_map(|m| m.score(&Matrix::new(0, 2 * slots, Vec::new())));
        let calibrators = members
            .score(&Matrix::new(0, slots, Vec::new()))
            .into_iter()
            .chain(of_week)
            .map(|(member, _)| {
                let name = format!("{prefix}/calibration/{}", member.name());
                match arrays.get(name.as_str()) {
                    Some([weight, rest @ ..]) if 0.0 < *weight && *weight <= MOST_WEIGHT => {
                        Calibrator::from_numbers(rest).map(|c| (member, c, *weight)).ok_or(name)
                    }
                    _ => Err(name),
                }
            })
            .collect::<Result<Vec<_>, String>>()?;
        if calibrators.is_empty() {
            return Err(format!("{prefix}/calibration"));
        }
        let name = format!("{prefix}/calibration/fused");
        let fused = arrays.get(name.as_str()).and_then(|v| Calibrator::from_numbers(v)).ok_or(name)?;
        let name = format!("{prefix}/ordinary");
        let ordinary = match arrays.get(name.as_str()) {
            Some(v) if slots > 0 && !v.is_empty() && v.len().is_multiple_of(slots) => {
                let rows = v.len() / slots;
                Neighbours::with(Matrix::new(rows, slots, v.to_vec()), [1, 1])
            }
            _ => return Err(name),
        };
        let name = format!("{prefix}/shape/factor");
        let factor = arrays.get(name.as_str()).and_then(|v| Cholesky::from_numbers(v, slots)).ok_or(name)?;
        Ok(Some(Self { members, weeks, calibrators, fused, shape: Gaussian { mean: mean.to_vec(), factor }, ordinary }))
    }
}

/// Raw scores of rows by each member.
type RawScores = Vec<(Member, Vec<f64>)>;

/// Raw scores of all rows by each member, every row's from members that were fitted to the other blocks of nights.
fn cross_fitted(rows: &Matrix, folds: &[usize], fit: impl Fn(&Matrix) -> Option<Members> + Sync) -> Option<RawScores> {
    // Side by side, for an autoencoder learns in one thread.
    let blocks: Vec<(Vec<usize>, RawScores)> = (0..BLOCKS)
        .into_par_iter()
        .map(|block| {
            let (held_out, rest): (Vec<usize>, Vec<usize>) = (0..rows.rows).partition(|r| folds[*r] % BLOCKS == block);
            if held_out.is_empty() {
                return Some((held_out, Vec::new()));
            }
            if rest.is_empty() {
                return None;
            }
            let scores = fit(&rows.select(&rest))?.score(&rows.select(&held_out));
            Some((held_out, scores))
        })
        .collect::<Option<_>>()?;
    let mut raw = RawScores::new();
    for (held_out, scored) in blocks {
        for (i, (member, scores)) in scored.into_iter().enumerate() {
            if raw.len() == i {
                raw.push((member, vec![0.0; rows.rows]));
            }
            held_out.iter().zip(scores).for_each(|(r, s)| raw[i].1[*r] = s);
        }
    }
    Some(raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_distr::{Distribution, StandardNormal};

    /// Calm subjects: five slots that move together by one factor, one of which hardly ever fires.
    fn calm(rows: usize, seed: u64) -> Matrix {
        let mut rng = Seed(seed).derive("compound", 0);
        let mut draw = || -> f64 { StandardNormal.sample(&mut rng) };
        let values = (0..rows)
            .flat_map(|_| {
                let common = draw();
                let mut row: Vec<f64> = (0..5).map(|_| 0.8 * common + 0.6 * draw()).collect();
                row[4] = if row[4] > 2.5 { row[4] } else { 0.0 };
                row
            })
            .collect();
        Matrix::new(rows, 5, values)
    }

    fn fitted() -> (Compound, Vec<f64>) {
        let z = calm(3_000, 1);
        let folds: Vec<usize> = (0..z.rows).map(|r| r % 10).collect();
        Compound::fit(&z, None, &folds, &with_geometry(), Seed(1)).unwrap()
    }

    fn with_geometry() -> Settings {
        let mut settings = Settings::default();
        settings.fusion.geometry = 1.0;
        settings
    }

    #[test]
    fn many_small_deviations_are_odd_together_and_a_calm_subject_is_not() {
        let (c, calm) = fitted();
        let mut calm = calm;
        calm.sort_unstable_by(f64::total_cmp);
        let high = calm[calm.len() * 99 / 100];
        // Two against two: each alone is no more than one in fifty.
        assert!(c.p(&[2.0, -2.0, 2.0, -2.0, 0.0], Vec::new) < c.fused.p(high));
        assert!(c.p(&[0.3, 0.2, -0.1, 0.4, 0.0], Vec::new) > 0.5);
    }

    #[test]
    fn the_part_that_breaks_the_pattern_is_named_first() {
        let (c, _) = fitted();
        let found = c.explain(&[-1.0, -1.2, 2.2, -0.9, 0.0], Vec::new);
        assert_eq!(found.parts[0].0, 2, "{found:?}");
        assert!(found.parts[0].2 < 0.0, "given the others it was expected below");
    }

    #[test]
    fn arrays_round_trip_and_damaged_ones_are_named() {
        let (c, _) = fitted();
        let arrays = c.to_arrays("calibration/user_day/0/geometry");
        let map = |arrays: &[(String, Vec<f64>)], without: &str| {
            let of: Vec<(String, Vec<f64>)> = arrays.iter().filter(|(n, _)| n != without).cloned().collect();
            let map: BTreeMap<&str, &[f64]> = of.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
            Compound::from_arrays(&map, "calibration/user_day/0/geometry", 5)
        };
        assert_eq!(map(&arrays, "").unwrap().unwrap(), c);
        assert_eq!(map(&[], "").unwrap(), None);
        for (name, _) in arrays.iter().filter(|(n, _)| n.contains("calibration/user_day/0/geometry/calibration")) {
            assert_eq!(map(&arrays, name).unwrap_err(), *name);
        }
    }

    #[test]
    fn too_few_subjects_teach_no_combinations() {
        let z = calm(100, 2);
        assert!(Compound::fit(&z, None, &vec![0; 100], &with_geometry(), Seed(1)).is_none());
    }

    #[cfg(feature = "neural")]
    #[test]
    fn a_week_that_is_odd_as_a_whole_is_odd_on_an_ordinary_day() {
        let (z, before) = (calm(2_000, 1), calm(2_000, 7));
        let weeks =
            (0..z.rows).flat_map(|r| super::super::week::window(z.row(r), [before.row(r).to_vec()].into_iter()));
        let weeks = Matrix::new(z.rows, 10, weeks.collect());
        let folds: Vec<usize> = (0..z.rows).map(|r| r % 10).collect();
        let mut settings = with_geometry();
        settings.geometry.night_members = vec!["knn".into(), "autoencoder".into()];
        assert!(Compound::wants_weeks(&settings) && !Compound::wants_weeks(&with_geometry()));
        let (c, _) = Compound::fit(&z, Some(&weeks), &folds, &settings, Seed(1)).unwrap();
        let day = [0.3, 0.2, -0.1, 0.4, 0.0];
        let by_week = |before: [f64; 5]| {
            let told = c.explain(&day, || [day, before].concat());
            assert_eq!(told.members.len(), 2);
            told.members[1]
        };
        assert_eq!(by_week([0.0; 5]).0, Member::Autoencoder);
        assert!(by_week([3.0, -2.0, 3.0, -2.0, 0.0]).1 < 0.01 && by_week([0.2, 0.3, 0.0, 0.1, 0.0]).1 > 0.1);

        let prefix = "calibration/user_day/0/geometry";
        let mut arrays: BTreeMap<String, Vec<f64>> = c.to_arrays(prefix).into_iter().collect();
        let read = |arrays: &BTreeMap<String, Vec<f64>>| {
            let map = arrays.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
            Compound::from_arrays(&map, prefix, 5)
        };
        assert_eq!(read(&arrays), Ok(Some(c)));
        // One that looks at single days: half as wide.
        let day = Members::autoencoder(&z, 500, Seed(1)).unwrap().to_arrays(prefix).remove(0);
        assert!(arrays.insert(day.0.clone(), day.2).is_some());
        assert_eq!(read(&arrays), Err(day.0));
    }
}
