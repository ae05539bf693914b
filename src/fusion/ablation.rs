//! What a family is worth: the chain of [`super::night`] from the families on, fitted again with one family left out.
//!
//! The families' p-values of the held-out nights and of the scored ones are enough for that, so nothing is trained again.
//! The baseline stays what the whole engine learned.

use std::collections::{BTreeMap, VecDeque};

use super::calibrate::{COMBINED, Calibrator, FINAL};
use super::combine::second_stage;
use super::night::{Calibration, Class, Crossed, FOLDS, Fused, Sample, second_stages};
use super::weights::fuse;
use crate::anomaly::SubjectType;
use crate::baseline::user::PAST_NIGHTS;
use crate::config::Settings;
use crate::detectors::night::slots_of;
use crate::features::catalog::Family;

/// A subject of an organisation: organisation and id.
type Subject = (String, String);

/// The end of the chain, without one family.
#[derive(Debug, Clone)]
pub struct Ablated {
    /// The family that is left out; `None` leaves all in.
    pub without: Option<Family>,
    /// Weights of the families, 0 for the one left out.
    weights: [f64; 6],
    /// Calibrations of the fused statistic and of the second stage.
    chains: BTreeMap<Class, (Calibrator, Calibrator)>,
    /// −ln p of the users' last nights, oldest first.
    nights: BTreeMap<Subject, VecDeque<f64>>,
    /// Those of the night that has not been folded in yet.
    tonight: BTreeMap<Subject, f64>,
}

impl Ablated {
    /// Families whose absence can be told: those that have weight and something to say of a user-day.
    pub fn families(calibration: &Calibration, settings: &Settings) -> Vec<Family> {
        let speaks = |family: Family| {
            let by_slot = slots_of(SubjectType::UserDay, false).iter().any(|slot| slot.family == family);
            by_slot || (family == Family::Geometry && calibration.looks_at_any_whole())
        };
        let has_weight = |family| settings.fusion.weight(family) > 0.0;
        Family::ALL.into_iter().filter(|f| speaks(*f) && has_weight(*f)).collect()
    }

    /// Fits to the held-out nights, whose `families` are the p-values that `calibration` was fitted with. Returns −ln p of each
    /// sample before the second stage, too.
    pub fn fit(
        without: Option<Family>,
        calibration: &Calibration,
        (samples, families, histories): (&[Sample], &[[f64; 6]], usize),
        settings: &Settings,
    ) -> (Self, Vec<f64>) {
        let mut weights = calibration.weights(settings);
        if let Some(family) = without {
            weights[family as usize] = 0.0;
        }
        let mut members: BTreeMap<Class, Vec<usize>> = BTreeMap::new();
        for (i, s) in samples.iter().enumerate() {
            members.entry(calibration.class(s.subject, s.silent, s.activity)).or_default().push(i);
        }
        let q = settings.calibration.tail_quantile;
        let mut minus_ln_p = vec![0.0; samples.len()];
        let mut fused_of = BTreeMap::new();
        for (class, members) in &members {
            let slots = slots_of(class.subject, class.silent);
            let whole = calibration.looks_at_whole(*class);
            let statistic: Vec<f64> =
                members.iter().map(|&i| -fuse(slots, &families[i], whole, &weights).ln()).collect();
            let folds: Vec<usize> = members.iter().map(|&i| samples[i].fold % FOLDS).collect();
            let fused = Crossed::fit(&statistic, &folds, q, COMBINED);
            for (&i, p) in members.iter().zip(&fused.p) {
                minus_ln_p[i] = -p.ln();
            }
            fused_of.insert(*class, fused.all);
        }
        let staged = second_stages(samples, &minus_ln_p, histories);
        let chains = fused_of
            .into_iter()
            .map(|(class, fused)| {
                let last = Calibrator::fit(members[&class].iter().map(|&i| staged[i]).collect(), q, FINAL);
                (class, (fused, last))
            })
            .collect();
        let out = Self { without, weights, chains, nights: BTreeMap::new(), tonight: BTreeMap::new() };
        (out, minus_ln_p)
    }

    /// All p-values of a subject whose full verdict is `fused`. What it says of a user is kept until [`Self::remember`].
    pub fn apply(&mut self, calibration: &Calibration, class: Class, org: &str, id: &str, fused: &Fused) -> Fused {
        let fallback = Calibrator::Exponential { mean: 1.5, unseen: 0.05 };
        let chain = self.chains.get(&class);
        let slots = slots_of(class.subject, class.silent);
        let statistic = -fuse(slots, &fused.families, calibration.looks_at_whole(class), &self.weights).ln();
        let one = chain.map_or(&fallback, |c| &c.0).p(statistic);
        let v = -one.ln();
        let staged = if class.subject == SubjectType::UserDay {
            let key = (org.to_owned(), id.to_owned());
            let (sum, n) = self.nights.get(&key).map_or((0.0, 0.0), |n| (n.iter().sum(), n.len() as f64));
            self.tonight.insert(key, v);
            second_stage(v, sum, n)
        } else {
            v
        };
        let p = chain.map_or(&fallback, |c| &c.1).p(staged);
        let mut families = fused.families;
        if let Some(family) = self.without {
            families[family as usize] = 1.0;
        }
        Fused { slots: Vec::new(), families, fused: one, statistic, p }
    }

    /// Remembers a night of a user, as [`crate::baseline::user::UserState::remember_night`] does.
    pub fn remember_night(&mut self, org: &str, id: &str, minus_ln_p: f64) {
        let nights = self.nights.entry((org.to_owned(), id.to_owned())).or_default();
        while nights.len() >= PAST_NIGHTS {
            nights.pop_front();
        }
        nights.push_back(minus_ln_p.min(6.0));
    }

    /// Remembers what was said tonight of a user who is known by now.
    pub fn remember(&mut self, org: &str, id: &str) {
        if let Some(v) = self.tonight.remove(&(org.to_owned(), id.to_owned())) {
            self.remember_night(org, id, v);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::date::Date;
    use crate::fusion::night::Past;
    use crate::fusion::weights::Factors;
    use crate::seed::Seed;

    fn samples(n: usize, users: usize) -> Vec<Sample> {
        let mut rng = Seed(3).derive("ablation", 0);
        let slots = slots_of(SubjectType::UserDay, false).len();
        let sample = |i: usize| Sample {
            subject: SubjectType::UserDay,
            silent: false,
            activity: 10.0,
            scores: (0..slots).map(|_| -(1.0 - rng.random::<f64>()).ln() as f32).collect(),
            history: i % users,
            date: Date((i / users) as i32),
            fold: i / users,
        };
        (0..n).map(sample).collect()
    }

    #[test]
    fn with_nothing_left_out_the_verdict_is_the_whole_one() {
        let (settings, samples) = (Settings::default(), samples(600, 20));
        let factors = Factors([1.0, 1.5, 0.5, 1.0, 1.0, 1.0]);
        let (calibration, minus_ln_p, families) =
            Calibration::fit_with_families(&samples, 20, &settings, factors, Seed(0));
        let fitted = (samples.as_slice(), families.as_slice(), 20);
        let (mut control, same) = Ablated::fit(None, &calibration, fitted, &settings);
        assert_eq!(same, minus_ln_p);
        control.remember_night("o", "u", 5.0);
        control.remember_night("o", "u", 9.0);
        for s in samples.iter().step_by(37) {
            let class = calibration.class(s.subject, s.silent, s.activity);
            let past = Past { nights: (11.0, 2.0), ..Past::default() };
            let whole = calibration.apply(class, &s.scores, past, &settings);
            let again = control.apply(&calibration, class, "o", "u", &whole);
            assert_eq!((again.p, again.fused, again.statistic), (whole.p, whole.fused, whole.statistic));
        }
    }

    #[test]
    fn what_only_the_absent_family_saw_is_ordinary() {
        let (settings, samples) = (Settings::default(), samples(600, 20));
        let factors = Factors([1.0, 1.5, 0.5, 1.0, 1.0, 1.0]);
        let (calibration, _, families) = Calibration::fit_with_families(&samples, 20, &settings, factors, Seed(0));
        let mut odd = vec![0.0; samples[0].scores.len()];
        let slots = slots_of(SubjectType::UserDay, false);
        slots.iter().zip(&mut odd).filter(|(s, _)| s.family == Family::Novelty).for_each(|(_, x)| *x = 60.0);
        let class = calibration.class(SubjectType::UserDay, false, 10.0);
        let whole = calibration.apply(class, &odd, Past::default(), &settings);
        let fitted = (samples.as_slice(), families.as_slice(), 20);
        let p = |family| {
            let (mut ablated, _) = Ablated::fit(Some(family), &calibration, fitted, &settings);
            ablated.apply(&calibration, class, "o", "u", &whole).p
        };
        assert!(whole.p < 1e-2, "{}", whole.p);
        assert!(p(Family::Novelty) > 0.5 && p(Family::Count) < 1e-2);
        assert!(!Ablated::families(&calibration, &settings).contains(&Family::Geometry), "it has no weight");
    }
}
