//! The family geometry alone, on a table: columns scaled, members fitted, calibrated on rows that they have not seen, and fused into
//! one p-value per row.
//!
//! Up to [`CROSSED`] rows are split into five parts; the members that score a part have learned from the others. Of more rows a
//! sample learns and another one, disjoint, calibrates. In both cases the oddest rows are among those that calibrate: p-values
//! against cleaned rows would call every tenth row impossible.

use rand::seq::SliceRandom;

use super::calibrate::{ANY_SCALE, COMBINED_FEW, Calibrator, distinct_p, tail};
use crate::config::Geometry;
use crate::detectors::geometry::gaussian::BULK;
use crate::detectors::geometry::matrix::{Matrix, Scaler};
use crate::detectors::geometry::members::{Arrays, Bounds, MOST_WEIGHT, Member, Members, NamedArray, top_half};
use crate::seed::Seed;

/// Most rows that are cross-fitted.
pub const CROSSED: usize = 20_000;

/// Parts of the cross-fit.
const PARTS: usize = 5;

/// Most rows that calibrate when a sample learns.
const CALIBRATING: usize = 20_000;

/// Most rows that the forest draws its samples from.
const FOREST_ROWS: usize = 100_000;

/// More columns than this are a forgery: no memory holds a thousand rows of them.
const MOST_COLS: f64 = 1e9;

/// Fewest rows that are learned from: of fewer, nothing can be said about a tail.
pub const FEWEST: usize = 10;

/// A fitted family.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    scaler: Scaler,
    /// Width of the raw rows.
    cols: usize,
    members: Members,
    /// Calibration of each member, and its weight in the fusion.
    calibrators: Vec<(Member, Calibrator, f64)>,
    /// Calibration of the fused statistic.
    fused: Calibrator,
    /// Least fused statistic of the rows that calibrated, and their number.
    least: (f64, f64),
}

/// What a fitted family says about rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// Per member: its name and a finite raw score per row, higher = odder.
    pub members: Vec<(&'static str, Vec<f64>)>,
    /// p-value per row, in (0, 1].
    pub p: Vec<f64>,
}

impl Family {
    /// Fits to raw rows, which may hold NaN (missing) and infinities. `Err` says why it is not possible (too few rows, no
    /// column that varies, or a backend that cannot).
    pub fn fit(raw: &Matrix, settings: &Geometry, seed: Seed) -> Result<Self, String> {
        if raw.rows < FEWEST {
            return Err(format!("expected at least {FEWEST} rows to tell odd from ordinary, found {} rows", raw.rows));
        }
        let scaler = Scaler::fit(raw);
        if scaler.kept.is_empty() {
            return Err(format!(
                "expected at least two rows and a column that varies, found {} rows and {} columns, none of which varies",
                raw.rows, raw.cols
            ));
        }
        let counting: Vec<Member> = settings.members.iter().filter_map(|n| Member::from_name(n)).collect();
        let wants = |m: &Member| *m != Member::Autoencoder || settings.autoencoder || counting.contains(m);
        let wanted: Vec<Member> = Member::ALL.into_iter().filter(wants).collect();
        let bounds = Bounds {
            references: settings.references as usize,
            trim: settings.trim,
            bulk: BULK,
            ridge: 0.0,
            trees: settings.trees as usize,
            eps: None,
        };
        let fit = |rows: &Matrix, eps| Members::fit(rows, &wanted, Bounds { eps, ..bounds }, settings, seed);
        let (members, raw_scores) = if raw.rows <= CROSSED {
            let rows = scaler.apply(raw);
            let members = fit(&rows, None)?;
            // Interleaved in a shuffled order: tables often come sorted.
            let mut order: Vec<usize> = (0..rows.rows).collect();
            order.shuffle(&mut seed.derive("parts", 0));
            let parts = PARTS.min(rows.rows);
            let mut scores: Vec<(Member, Vec<f64>)> = Vec::new();
            for part in 0..parts {
                let of = |inside: bool| -> Vec<usize> {
                    let mut of: Vec<usize> = order
                        .iter()
                        .enumerate()
                        .filter(|(i, _)| (i % parts == part) == inside)
                        .map(|(_, r)| *r)
                        .collect();
                    of.sort_unstable();
                    of
                };
                let (rest, held_out) = (of(false), of(true));
                for (i, (member, values)) in
                    fit(&rows.select(&rest), members.eps())?.score(&rows.select(&held_out)).into_iter().enumerate()
                {
                    if scores.len() == i {
                        scores.push((member, Vec::new()));
                    }
                    scores[i].1.extend(values);
                }
            }
            (members, scores)
        } else {
            let mut order: Vec<usize> = (0..raw.rows).collect();
            let drawn = (CALIBRATING + FOREST_ROWS).min(raw.rows);
            let (picked, _) = order.partial_shuffle(&mut seed.derive("parts", 0), drawn);
            let (calibrating, learning) = picked.split_at_mut(CALIBRATING.min(raw.rows / 2));
            learning.sort_unstable();
            calibrating.sort_unstable();
            let members = fit(&scaler.apply(&raw.select(learning)), None)?;
            let scores = members.score(&scaler.apply(&raw.select(calibrating)));
            (members, scores)
        };
        let calibrating = raw_scores.first().map_or(1, |(_, s)| s.len().max(1));
        let quantile = tail(calibrating);
        let fitted: Vec<Member> = raw_scores.iter().map(|(m, _)| *m).collect();
        let weights: Vec<f64> = fitted.iter().map(|m| if counting.contains(m) { m.weight() } else { 0.0 }).collect();
        if weights.iter().sum::<f64>() <= 0.0 {
            return Err(format!("none of geometry.members ({}) is trained here", settings.members.join(", ")));
        }
        let calibrators: Vec<(Member, Calibrator, f64)> = raw_scores
            .iter()
            .zip(weights)
            .map(|((member, scores), weight)| (*member, Calibrator::fit(scores.clone(), quantile, ANY_SCALE), weight))
            .collect();
        let statistic = fuse(&calibrators, &raw_scores);
        let least = (statistic.iter().copied().fold(f64::INFINITY, f64::min), statistic.len() as f64);
        let fused = Calibrator::fit(statistic, quantile, COMBINED_FEW);
        Ok(Self { scaler, cols: raw.cols, members, calibrators, fused, least })
    }

    /// Scores raw rows of the width that was learned from.
    pub fn score(&self, raw: &Matrix) -> Scores {
        assert_eq!(raw.cols, self.cols, "rows of the width that was learned from");
        // In pieces, so that scaled copies stay small beside the rows.
        const PIECE: usize = 50_000;
        let mut out = Scores {
            members: self.calibrators.iter().map(|(m, ..)| (m.name(), Vec::with_capacity(raw.rows))).collect(),
            p: Vec::with_capacity(raw.rows),
        };
        for from in (0..raw.rows).step_by(PIECE) {
            let to = (from + PIECE).min(raw.rows);
            let piece = Matrix::new(to - from, raw.cols, raw.values[from * raw.cols..to * raw.cols].to_vec());
            let scores = self.members.score(&self.scaler.apply(&piece));
            out.p.extend(fuse(&self.calibrators, &scores).into_iter().map(|t| self.p(t)));
            for ((_, all), (_, scores)) in out.members.iter_mut().zip(scores) {
                all.extend(scores);
            }
        }
        out
    }

    /// −ln p of raw rows by each member alone: what the fusion adds up.
    pub fn parts(&self, raw: &Matrix) -> Vec<(Member, Vec<f64>)> {
        let scores = self.members.score(&self.scaler.apply(raw));
        let ln = |((member, scores), (_, c, _)): ((Member, Vec<f64>), &(Member, Calibrator, f64))| {
            (member, scores.into_iter().map(|s| -c.p(s).ln()).collect())
        };
        scores.into_iter().zip(&self.calibrators).map(ln).collect()
    }

    fn p(&self, statistic: f64) -> f64 {
        distinct_p(&self.fused, self.least, statistic)
    }

    /// Width of the raw rows it learned from, and of those it can score.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// What a model file keeps.
    pub fn to_arrays(&self) -> Vec<NamedArray> {
        let kept = self.scaler.kept.iter().map(|c| *c as f64).collect::<Vec<_>>();
        let n = kept.len();
        let columns = [kept, self.scaler.fill.clone(), self.scaler.centre.clone(), self.scaler.scale.clone()].concat();
        let mut out = vec![
            ("geometry/cols".to_owned(), vec![3], vec![self.cols as f64, self.least.0, self.least.1]),
            ("geometry/scaler".to_owned(), vec![4, n], columns),
        ];
        for (member, calibrator, weight) in &self.calibrators {
            let numbers = [vec![*weight], calibrator.to_numbers()].concat();
            out.push((format!("geometry/calibration/{}", member.name()), vec![numbers.len()], numbers));
        }
        let fused = self.fused.to_numbers();
        out.push(("geometry/calibration/fused".to_owned(), vec![fused.len()], fused));
        out.extend(self.members.to_arrays("geometry"));
        out
    }

    /// The inverse of [`Self::to_arrays`]; `Err` names the array that is missing or makes no sense.
    pub fn from_arrays(arrays: &Arrays<'_>) -> Result<Self, String> {
        let numbers = |name: &str| arrays.get(name).map(|(_, v)| *v).ok_or_else(|| name.to_owned());
        let (cols, least) = match numbers("geometry/cols")? {
            [cols, least, n] if (1.0..=MOST_COLS).contains(cols) && cols.fract() == 0.0 && *n >= 1.0 => {
                (*cols as usize, (*least, *n))
            }
            _ => return Err("geometry/cols".into()),
        };
        let scaler = scaler(numbers("geometry/scaler")?, cols).ok_or("geometry/scaler")?;
        let members = Members::from_arrays(arrays, "geometry", scaler.kept.len())?;
        let fitted = members.score(&Matrix::new(0, scaler.kept.len(), Vec::new()));
        let calibrators = fitted
            .into_iter()
            .map(|(member, _)| {
                let name = format!("geometry/calibration/{}", member.name());
                match numbers(&name)? {
                    [weight, rest @ ..] if (0.0..=MOST_WEIGHT).contains(weight) => {
                        Calibrator::from_numbers(rest).map(|c| (member, c, *weight)).ok_or(name)
                    }
                    _ => Err(name),
                }
            })
            .collect::<Result<Vec<(Member, Calibrator, f64)>, String>>()?;
        // A member that calibrated and is not there would be left out of the sum without a word.
        let absent = |m: &Member| calibrators.iter().all(|(present, ..)| present != m);
        let named = |m: Member| format!("geometry/calibration/{}", m.name());
        if let Some(name) = Member::ALL.into_iter().filter(absent).map(named).find(|n| arrays.contains_key(n.as_str()))
        {
            return Err(name);
        }
        if calibrators.iter().map(|c| c.2).sum::<f64>() <= 0.0 {
            return Err("geometry/calibration".into());
        }
        let name = "geometry/calibration/fused";
        let fused = Calibrator::from_numbers(numbers(name)?).ok_or(name)?;
        Ok(Self { scaler, cols, members, calibrators, fused, least })
    }
}

/// The fused statistic of each row.
fn fuse(calibrators: &[(Member, Calibrator, f64)], scores: &[(Member, Vec<f64>)]) -> Vec<f64> {
    let counting: Vec<_> = calibrators.iter().zip(scores).filter(|((.., w), _)| *w > 0.0).collect();
    let rows = scores.first().map_or(0, |(_, s)| s.len());
    (0..rows)
        .map(|r| top_half(&mut counting.iter().map(|((_, c, w), (_, s))| (*w, c.p(s[r]))).collect::<Vec<_>>()))
        .collect()
}

fn scaler(numbers: &[f64], cols: usize) -> Option<Scaler> {
    let n = numbers.len() / 4;
    if n == 0 || numbers.len() != 4 * n {
        return None;
    }
    let kept: Vec<usize> = numbers[..n].iter().map(|x| *x as usize).collect();
    let holds = kept.windows(2).all(|w| w[0] < w[1])
        && kept.last().is_some_and(|last| *last < cols)
        && numbers[..n].iter().all(|x| *x >= 0.0 && x.fract() == 0.0)
        && numbers[3 * n..].iter().all(|x| *x > 0.0);
    holds.then(|| Scaler {
        kept,
        fill: numbers[n..2 * n].to_vec(),
        centre: numbers[2 * n..3 * n].to_vec(),
        scale: numbers[3 * n..].to_vec(),
    })
}
