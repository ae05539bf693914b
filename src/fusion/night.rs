//! The chain from raw scores to one p-value per subject, and how it is fitted on held-out nights:
//! slot → conformal p → harmonic mean in the family → conformal p → weighted harmonic mean over families → conformal p →
//! second stage of the user → conformal p. The family geometry looks at the p-values of all slots together ([`Compound`]). Each step is recalibrated on the same held-out nights, which removes what the
//! dependence between detectors would otherwise add to the false alarms; steps are cross-fitted over blocks of nights.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::calibrate::{COMBINED, Calibrator, FINAL, RAW, TailPrior};
use super::combine::{harmonic_mean, second_stage};
use super::compound::{Combination, Compound, normal_score};
use super::week::{days_before, window};
use super::weights::{Factors, fuse};
use crate::anomaly::SubjectType;
use crate::config::Settings;
use crate::date::Date;
use crate::detectors::Slot;
use crate::detectors::geometry::matrix::Matrix;
use crate::detectors::night::slots_of;
use crate::features::catalog::Family;
use crate::seed::Seed;

/// What a subject is calibrated with: its type, silent or not, and its stratum of activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Class {
    /// Type of the subject.
    pub subject: SubjectType,
    /// A user who did not come.
    pub silent: bool,
    /// Stratum of activity, 0 = least active.
    pub stratum: u8,
}

impl Class {
    /// The name under which its calibration is stored.
    pub fn name(self) -> String {
        let silent = if self.silent { "-silent" } else { "" };
        format!("{}{silent}/{}", self.subject.name(), self.stratum)
    }
}

/// One subject of a calibration night.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Type.
    pub subject: SubjectType,
    /// No row: a user who did not come.
    pub silent: bool,
    /// Usual calls a day.
    pub activity: f64,
    /// Raw score per slot.
    pub scores: Vec<f32>,
    /// Whose second stage it belongs to; nights of one history must come in order.
    pub history: usize,
    /// Its date.
    pub date: Date,
    /// Block of nights that it belongs to; any number, blocks are taken modulo 10.
    pub fold: usize,
}

/// What is remembered of a user on the night that is scored.
#[derive(Debug, Clone, Copy, Default)]
pub struct Past<'a> {
    /// Sum and number of the remembered nights' −ln p.
    pub nights: (f64, f64),
    /// Raw scores of the active days among the six before, if the model looks at weeks.
    pub week: &'a [(Date, Vec<f32>)],
    /// Only a part of the day was judged (a victim of a flood of log-ins): nothing can be said of the whole.
    pub partly: bool,
}

/// p-values of one subject.
#[derive(Debug, Clone, PartialEq)]
pub struct Fused {
    /// Per slot.
    pub slots: Vec<f64>,
    /// Per [`Family::ALL`].
    pub families: [f64; 6],
    /// Over families, before the second stage.
    pub fused: f64,
    /// Statistic before the last calibration: orders subjects whose p-value is at the floor.
    pub statistic: f64,
    /// Final.
    pub p: f64,
}

/// The calibrations of one class.
#[derive(Debug, Clone, PartialEq)]
struct Chain {
    slots: Vec<Calibrator>,
    families: Vec<Calibrator>,
    /// Combinations of slots, where there were enough subjects to learn them from.
    compound: Option<Compound>,
    fused: Calibrator,
    last: Calibrator,
}

impl Chain {
    /// Normal scores of a subject's slots.
    fn normal_scores(&self, scores: &[f32]) -> Vec<f64> {
        self.slots.iter().zip(scores).map(|(c, s)| normal_score(c.mid_p(f64::from(*s)))).collect()
    }

    /// The week that ends with a day of normal scores `z`. Days are seen by the calibrators of today's class, whatever class the
    /// user was in when they were scored, in training as here: so they lie on one scale, and a model need not keep the class.
    fn week(&self, z: &[f64], before: &[(Date, Vec<f32>)]) -> Vec<f64> {
        window(z, before.iter().map(|(_, scores)| self.normal_scores(scores)))
    }
}

/// Blocks of nights for cross-fitting.
pub(super) const FOLDS: usize = 10;

/// One step of the chain, cross-fitted: every subject's p-value comes from the other blocks of nights. Were a subject
/// calibrated on itself, the largest of the calibration scores could never look as odd as an equal score does on a later
/// night, and the next step would learn too light a tail.
pub(super) struct Crossed {
    /// Fitted to all subjects: what later nights are scored with.
    pub(super) all: Calibrator,
    /// Fitted without one block each.
    without: Vec<Calibrator>,
    /// p-values of the subjects, each from the other blocks.
    pub(super) p: Vec<f64>,
    /// Normal scores of the subjects, likewise.
    z: Vec<f64>,
}

impl Crossed {
    pub(super) fn fit(scores: &[f64], folds: &[usize], tail_quantile: f64, prior: TailPrior) -> Self {
        let all = Calibrator::fit(scores.to_vec(), tail_quantile, prior);
        let (mut p, mut z) = (vec![1.0; scores.len()], vec![0.0; scores.len()]);
        let mut without = Vec::with_capacity(FOLDS);
        for fold in 0..FOLDS {
            let others = scores.iter().zip(folds).filter(|(_, f)| **f != fold).map(|(s, _)| *s).collect();
            let calibrator = Calibrator::fit(others, tail_quantile, prior.without_some_of(scores.len()));
            for (i, score) in scores.iter().enumerate().filter(|(i, _)| folds[*i] == fold) {
                p[i] = calibrator.p(*score);
                z[i] = normal_score(calibrator.mid_p(*score));
            }
            without.push(calibrator);
        }
        Self { all, without, p, z }
    }
}

/// Name of the array of [`Factors`] in a model file; one without it has none.
const FACTORS: &str = "calibration/family-factors";

/// All calibrations of a model.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Calibration {
    chains: BTreeMap<Class, Chain>,
    /// Upper bounds of the lower strata of user activity, ascending.
    bounds: Vec<f64>,
    /// Factors on the configured weights of the families, by [`Family::ALL`]: what verdicts on past findings made of them.
    factors: Factors,
}

/// p-values of the families; that of geometry is of what sees the slots together.
fn family_ps(slots: &[Slot], p: &[f64], compound: Option<f64>, families: Option<&[Calibrator]>) -> [f64; 6] {
    std::array::from_fn(|i| {
        let of_family = slots.iter().zip(p).filter(|(s, _)| s.family == Family::ALL[i]).map(|(_, p)| (1.0, *p));
        let whole = compound.filter(|_| Family::ALL[i] == Family::Geometry).map(|p| (1.0, p));
        let p = harmonic_mean(of_family.chain(whole));
        families.map_or(p, |f| f[i].p(-p.ln()))
    })
}

/// The weeks of the members of a class, whose normal scores are `z`. Days before that were of another class are seen by this
/// class's calibrators like the rest, each by those that were fitted without that day's block of nights.
fn weeks_of(z: &Matrix, members: &[usize], before: &[Vec<usize>], samples: &[Sample], crossed: &[Crossed]) -> Matrix {
    let row = |i: usize| {
        if let Ok(k) = members.binary_search(&i) {
            return z.row(k).to_vec();
        }
        let s = &samples[i];
        let scores = crossed.iter().zip(&s.scores);
        scores.map(|(c, x)| normal_score(c.without[s.fold % FOLDS].mid_p(f64::from(*x)))).collect()
    };
    let windows: Vec<Vec<f64>> = (0..members.len())
        .into_par_iter()
        .map(|k| window(z.row(k), before[members[k]].iter().map(|&i| row(i))))
        .collect();
    Matrix::new(z.rows, 2 * z.cols, windows.concat())
}

/// The second stage of each sample: it needs each user's history up to that night, over classes.
pub(super) fn second_stages(samples: &[Sample], minus_ln_p: &[f64], histories: usize) -> Vec<f64> {
    let mut history: Vec<(f64, f64)> = vec![(0.0, 0.0); histories];
    let staged = samples.iter().zip(minus_ln_p).map(|(s, v)| {
        if s.subject != SubjectType::UserDay {
            return *v;
        }
        let (sum, n) = history[s.history];
        history[s.history] = (sum + v.min(6.0), n + 1.0);
        second_stage(*v, sum, n)
    });
    staged.collect()
}

impl Calibration {
    /// Fits to the subjects of held-out nights, in chronological order. Returns the calibration and, per sample, −ln p
    /// before the second stage (what a user's history is made of).
    pub fn fit(
        samples: &[Sample],
        histories: usize,
        settings: &Settings,
        factors: Factors,
        seed: Seed,
    ) -> (Self, Vec<f64>) {
        let (out, minus_ln_p, _) = Self::fit_with_families(samples, histories, settings, factors, seed);
        (out, minus_ln_p)
    }

    /// As [`Self::fit`]; returns the samples' p-values per family too, each from the other blocks of nights.
    pub fn fit_with_families(
        samples: &[Sample],
        histories: usize,
        settings: &Settings,
        factors: Factors,
        seed: Seed,
    ) -> (Self, Vec<f64>, Vec<[f64; 6]>) {
        let weights = factors.weights(settings);
        let mut activity: Vec<f64> =
            samples.iter().filter(|s| s.subject == SubjectType::UserDay && !s.silent).map(|s| s.activity).collect();
        activity.sort_unstable_by(f64::total_cmp);
        let strata = (activity.len() / settings.calibration.min_stratum.max(1) as usize).clamp(1, 3);
        let bounds: Vec<f64> = (1..strata).map(|i| activity[activity.len() * i / strata]).collect();
        let mut out = Self { chains: BTreeMap::new(), bounds, factors };
        let classes: Vec<Class> = samples.iter().map(|s| out.class(s.subject, s.silent, s.activity)).collect();
        let mut members: BTreeMap<Class, Vec<usize>> = BTreeMap::new();
        for (i, class) in classes.iter().enumerate() {
            members.entry(*class).or_default().push(i);
        }
        let q = settings.calibration.tail_quantile;
        let before = Compound::wants_weeks(settings).then(|| days_before(samples, histories));
        let mut minus_ln_p = vec![0.0; samples.len()];
        let mut family_p = vec![[1.0; 6]; samples.len()];
        for (class, members) in &members {
            let slots = slots_of(class.subject, class.silent);
            let folds: Vec<usize> = members.iter().map(|&i| samples[i].fold % FOLDS).collect();
            let crossed: Vec<Crossed> = (0..slots.len())
                .into_par_iter()
                .map(|j| {
                    Crossed::fit(
                        &members.iter().map(|&i| f64::from(samples[i].scores[j])).collect::<Vec<_>>(),
                        &folds,
                        q,
                        RAW,
                    )
                })
                .collect();
            let compound = if class.subject == SubjectType::UserDay && !class.silent {
                let z = (0..members.len()).flat_map(|k| crossed.iter().map(move |c| c.z[k])).collect();
                let z = Matrix::new(members.len(), slots.len(), z);
                let weeks = before.as_ref().map(|before| weeks_of(&z, members, before, samples, &crossed));
                let fitted = Compound::fit(&z, weeks.as_ref(), &folds, settings, seed);
                fitted.map(|(compound, statistic)| (compound, Crossed::fit(&statistic, &folds, q, COMBINED)))
            } else {
                None
            };
            let raw: Vec<[f64; 6]> = (0..members.len())
                .into_par_iter()
                .map(|k| {
                    let p: Vec<f64> = crossed.iter().map(|c| c.p[k]).collect();
                    family_ps(slots, &p, compound.as_ref().map(|(_, whole)| whole.p[k]), None)
                })
                .collect();
            let families: Vec<Crossed> = (0..6)
                .map(|f| Crossed::fit(&raw.iter().map(|p| -p[f].ln()).collect::<Vec<_>>(), &folds, q, COMBINED))
                .collect();
            for (k, &i) in members.iter().enumerate() {
                family_p[i] = std::array::from_fn(|f| families[f].p[k]);
            }
            let statistic: Vec<f64> =
                members.iter().map(|&i| -fuse(slots, &family_p[i], compound.is_some(), &weights).ln()).collect();
            let fused = Crossed::fit(&statistic, &folds, q, COMBINED);
            for (&i, p) in members.iter().zip(&fused.p) {
                minus_ln_p[i] = -p.ln();
            }
            let chain = Chain {
                slots: crossed.into_iter().map(|c| c.all).collect(),
                families: families.into_iter().map(|c| c.all).collect(),
                compound: compound.map(|c| c.0),
                fused: fused.all,
                last: Calibrator::Exponential { mean: 1.0, unseen: 0.0 },
            };
            out.chains.insert(*class, chain);
        }
        let statistic = second_stages(samples, &minus_ln_p, histories);
        for (class, members) in &members {
            let last = Calibrator::fit(members.iter().map(|&i| statistic[i]).collect(), q, FINAL);
            out.chains.get_mut(class).expect("fitted above").last = last;
        }
        (out, minus_ln_p, family_p)
    }

    /// The class of a subject.
    pub fn class(&self, subject: SubjectType, silent: bool, activity: f64) -> Class {
        let stratum = if subject == SubjectType::UserDay && !silent {
            self.bounds.iter().filter(|b| activity >= **b).count() as u8
        } else {
            0
        };
        Class { subject, silent, stratum }
    }

    /// Weights of the families.
    pub(super) fn weights(&self, settings: &Settings) -> [f64; 6] {
        self.factors.weights(settings)
    }

    /// Does the family geometry look at any subjects?
    pub(super) fn looks_at_any_whole(&self) -> bool {
        self.chains.values().any(|c| c.compound.is_some())
    }

    /// Does the family geometry look at subjects of this class?
    pub(super) fn looks_at_whole(&self, class: Class) -> bool {
        self.chains.get(&class).is_some_and(|c| c.compound.is_some())
    }

    /// Does any chain look at weeks, so that the raw scores of active days must be remembered?
    pub fn looks_at_weeks(&self) -> bool {
        self.chains.values().any(|c| c.compound.as_ref().is_some_and(Compound::looks_at_weeks))
    }

    /// All p-values of a subject, given what is remembered of it.
    pub fn apply(&self, class: Class, scores: &[f32], past: Past<'_>, settings: &Settings) -> Fused {
        let slots = slots_of(class.subject, class.silent);
        let fallback = Calibrator::Exponential { mean: 1.5, unseen: 0.05 };
        let chain = self.chains.get(&class);
        let slot_p: Vec<f64> =
            scores.iter().enumerate().map(|(j, s)| chain.map_or(&fallback, |c| &c.slots[j]).p(f64::from(*s))).collect();
        let whole = chain.and_then(|c| {
            let compound = c.compound.as_ref()?;
            if past.partly {
                return Some(1.0);
            }
            let z = c.normal_scores(scores);
            Some(compound.p(&z, || c.week(&z, past.week)))
        });
        let families = family_ps(slots, &slot_p, whole, chain.map(|c| c.families.as_slice()));
        let t = -fuse(slots, &families, whole.is_some(), &self.factors.weights(settings)).ln();
        let fused = chain.map_or(&fallback, |c| &c.fused).p(t);
        let v = -fused.ln();
        let staged =
            if class.subject == SubjectType::UserDay { second_stage(v, past.nights.0, past.nights.1) } else { v };
        let p = chain.map_or(&fallback, |c| &c.last).p(staged);
        Fused { slots: slot_p, families, fused, statistic: t, p }
    }

    /// What the family geometry says about a subject, if it looks at its class.
    pub fn combination(&self, class: Class, scores: &[f32], past: Past<'_>) -> Option<Combination> {
        let chain = self.chains.get(&class)?;
        let compound = chain.compound.as_ref().filter(|_| !past.partly)?;
        let z = chain.normal_scores(scores);
        Some(compound.explain(&z, || chain.week(&z, past.week)))
    }

    /// Named arrays of numbers, for a model file.
    pub fn to_arrays(&self) -> Vec<(String, Vec<f64>)> {
        let mut out = vec![("calibration/strata".to_owned(), self.bounds.clone())];
        if self.factors != Factors::default() {
            out.push((FACTORS.to_owned(), self.factors.0.to_vec()));
        }
        for (class, chain) in &self.chains {
            let name = class.name();
            for (slot, c) in slots_of(class.subject, class.silent).iter().zip(&chain.slots) {
                out.push((format!("calibration/{name}/slot/{}", slot.name), c.to_numbers()));
            }
            for (family, c) in Family::ALL.into_iter().zip(&chain.families) {
                out.push((format!("calibration/{name}/family/{family}"), c.to_numbers()));
            }
            if let Some(compound) = &chain.compound {
                out.extend(compound.to_arrays(&format!("calibration/{name}/geometry")));
            }
            out.push((format!("calibration/{name}/fused"), chain.fused.to_numbers()));
            out.push((format!("calibration/{name}/final"), chain.last.to_numbers()));
        }
        out
    }

    /// The inverse of [`Self::to_arrays`]; `Err` names the array that is missing or makes no sense.
    pub fn from_arrays(arrays: &BTreeMap<&str, &[f64]>) -> Result<Self, String> {
        let read = |name: String| -> Result<Calibrator, String> {
            arrays.get(name.as_str()).and_then(|n| Calibrator::from_numbers(n)).ok_or(name)
        };
        let bounds = arrays.get("calibration/strata").ok_or("calibration/strata")?.to_vec();
        let factors = match arrays.get(FACTORS) {
            None => Factors::default(),
            Some(found) => <[f64; 6]>::try_from(*found)
                .ok()
                .filter(|f| f.iter().all(|x| 0.0 < *x && *x <= 100.0))
                .map(Factors)
                .ok_or(FACTORS)?,
        };
        let mut out = Self { chains: BTreeMap::new(), bounds, factors };
        let subjects = [SubjectType::UserDay, SubjectType::AppDay, SubjectType::IpDay, SubjectType::OrgDay];
        for subject in subjects {
            for silent in [false, true] {
                for stratum in 0..3 {
                    let class = Class { subject, silent, stratum };
                    let name = class.name();
                    if !arrays.contains_key(format!("calibration/{name}/fused").as_str()) {
                        continue;
                    }
                    let slots = slots_of(subject, silent);
                    let compound = Compound::from_arrays(arrays, &format!("calibration/{name}/geometry"), slots.len())?;
                    let slots = slots
                        .iter()
                        .map(|s| read(format!("calibration/{name}/slot/{}", s.name)))
                        .collect::<Result<_, _>>()?;
                    let families = Family::ALL
                        .into_iter()
                        .map(|f| read(format!("calibration/{name}/family/{f}")))
                        .collect::<Result<_, _>>()?;
                    let fused = read(format!("calibration/{name}/fused"))?;
                    let last = read(format!("calibration/{name}/final"))?;
                    out.chains.insert(class, Chain { slots, families, compound, fused, last });
                }
            }
        }
        Ok(out)
    }
}
