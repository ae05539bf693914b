//! Have the features of user-days moved away from the training window? Per organisation and kind of day the model keeps each
//! feature's deciles on the calibration nights and how far a single one of these nights lay from them; a night is compared by the
//! population stability index and the largest difference of the distribution functions (Kolmogorov–Smirnov, at the deciles).

use std::collections::BTreeMap;

use crate::features::catalog::user_day::FEATURES;
use crate::tables::DayTables;

/// Bins of a distribution.
const BINS: usize = 10;

/// Numbers that are kept of a feature: inner edges, shares of the bins, worst index of a training night.
const WIDTH: usize = BINS - 1 + BINS + 1;

/// Rows that a night brings to the reference: of more, every n-th.
const ROWS: usize = 1_000;

/// Fewest user-days of a night, and of a reference, for a comparison.
const FEWEST: usize = 20;

/// A feature has moved if its index is above what is configured, this many times the worst training night's, and
const WORSE: f64 = 2.0;

/// above this over the number of user-days: by chance the index times that number is about χ² with nine degrees of freedom
/// (Yurdakul & Naranjo 2020), which is above 50 once in ten million.
const NOISE: f64 = 50.0;

/// Names of the arrays in a model file begin so.
const PREFIX: &str = "drift/";

/// Organisation and workday (0) or weekend (1).
type Key = (String, usize);

/// One feature's reference.
#[derive(Debug, Clone, PartialEq)]
struct Distribution {
    edges: [f64; BINS - 1],
    shares: [f64; BINS],
    /// Index of the training night that lay farthest.
    worst: f64,
}

/// A feature that has moved.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Moved {
    pub(super) feature: &'static str,
    /// Population stability index.
    pub(super) psi: f64,
    /// Largest difference of the distribution functions.
    pub(super) ks: f64,
}

/// Rows of the calibration nights, from which the references are made.
#[derive(Debug, Default)]
pub(super) struct Collected(BTreeMap<Key, Vec<Vec<Vec<f64>>>>);

/// The references of a model.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Reference(BTreeMap<Key, Vec<Distribution>>);

fn key(day: &DayTables) -> Key {
    (day.org_id.clone(), usize::from(day.date.is_weekend()))
}

/// Rows of a night, at most [`ROWS`].
fn rows(day: &DayTables) -> Vec<Vec<f64>> {
    let step = day.user_day.len().div_ceil(ROWS).max(1);
    (0..day.user_day.len()).step_by(step).map(|row| day.user_day.row(row).to_vec()).collect()
}

impl Collected {
    /// Takes a night in.
    pub(super) fn add(&mut self, day: &DayTables) {
        if !day.user_day.is_empty() {
            self.0.entry(key(day)).or_default().push(rows(day));
        }
    }

    /// The references.
    pub(super) fn finish(self) -> Reference {
        let of_key = |nights: &Vec<Vec<Vec<f64>>>| -> Vec<Distribution> {
            (0..FEATURES.len())
                .map(|j| {
                    let mut all: Vec<f64> = nights.iter().flatten().map(|row| row[j]).collect();
                    all.sort_unstable_by(f64::total_cmp);
                    let edges = std::array::from_fn(|i| all[(i + 1) * (all.len() - 1) / BINS]);
                    let shares = shares(&edges, all.iter().copied());
                    let night =
                        |rows: &Vec<Vec<f64>>| stability(&shares, &self::shares(&edges, rows.iter().map(|r| r[j])));
                    let of_nights = nights.iter().filter(|rows| rows.len() >= FEWEST).map(night);
                    Distribution { edges, shares, worst: of_nights.fold(0.0, f64::max) }
                })
                .collect()
        };
        let enough =
            |nights: &Vec<Vec<Vec<f64>>>| nights.len() > 1 && nights.iter().map(Vec::len).sum::<usize>() >= FEWEST;
        Reference(self.0.iter().filter(|(_, n)| enough(n)).map(|(k, n)| (k.clone(), of_key(n))).collect())
    }
}

/// Smoothed shares of the bins.
fn shares(edges: &[f64; BINS - 1], values: impl Iterator<Item = f64>) -> [f64; BINS] {
    const PRIOR: f64 = 0.5;
    let mut counts = [PRIOR; BINS];
    let mut n = PRIOR * BINS as f64;
    for v in values {
        counts[edges.partition_point(|e| *e < v)] += 1.0;
        n += 1.0;
    }
    counts.map(|c| c / n)
}

/// Population stability index: Σ (a − b) ln (a / b).
fn stability(a: &[f64; BINS], b: &[f64; BINS]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a / b).ln()).sum()
}

fn kolmogorov(a: &[f64; BINS], b: &[f64; BINS]) -> f64 {
    let mut difference = 0.0_f64;
    let steps = a.iter().zip(b).map(|(a, b)| {
        difference += a - b;
        difference.abs()
    });
    steps.fold(0.0, f64::max)
}

impl Reference {
    /// Features of the night that have moved by more than `limit`, the farthest first; `None` if there is nothing to compare.
    pub(super) fn moved(&self, day: &DayTables, limit: f64) -> Option<Vec<Moved>> {
        let rows = rows(day);
        let reference = self.0.get(&key(day)).filter(|_| rows.len() >= FEWEST)?;
        let mut moved: Vec<Moved> = FEATURES
            .iter()
            .zip(reference)
            .enumerate()
            .filter_map(|(j, (feature, d))| {
                let tonight = shares(&d.edges, rows.iter().map(|r| r[j]));
                let psi = stability(&d.shares, &tonight);
                (psi > limit.max(WORSE * d.worst).max(NOISE / rows.len() as f64)).then(|| Moved {
                    feature: feature.name,
                    psi,
                    ks: kolmogorov(&d.shares, &tonight),
                })
            })
            .collect();
        moved.sort_by(|a, b| b.psi.total_cmp(&a.psi).then_with(|| a.feature.cmp(b.feature)));
        Some(moved)
    }

    /// Named arrays, for a model file.
    pub(super) fn to_arrays(&self) -> Vec<(String, Vec<f64>)> {
        let numbers = |d: &Distribution| -> Vec<f64> { [&d.edges[..], &d.shares[..], &[d.worst]].concat() };
        let array =
            |(key, features): (&Key, &Vec<Distribution>)| (name(key), features.iter().flat_map(numbers).collect());
        self.0.iter().map(array).collect()
    }

    /// The inverse, for these organisations; arrays that make no sense are left out, as those of an older model are.
    pub(super) fn from_arrays<'a>(arrays: &BTreeMap<&str, &[f64]>, orgs: impl Iterator<Item = &'a str>) -> Self {
        let keys = orgs.flat_map(|org| [0, 1].map(|weekend| (org.to_owned(), weekend)));
        let sound = |n: &[f64]| {
            n[..BINS - 1].windows(2).all(|w| w[0] <= w[1])
                && n[BINS - 1..WIDTH - 1].iter().all(|p| 0.0 < *p && *p <= 1.0)
                && n[WIDTH - 1] >= 0.0
        };
        let feature = |n: &[f64]| Distribution {
            edges: n[..BINS - 1].try_into().expect("as many as edges"),
            shares: n[BINS - 1..WIDTH - 1].try_into().expect("as many as bins"),
            worst: n[WIDTH - 1],
        };
        let read = |key: Key| {
            let numbers = arrays.get(name(&key).as_str())?;
            let whole = numbers.len() == WIDTH * FEATURES.len() && numbers.chunks(WIDTH).all(sound);
            whole.then(|| (key, numbers.chunks(WIDTH).map(feature).collect()))
        };
        Self(keys.filter_map(read).collect())
    }
}

/// Name of a reference's array. Ids of organisations come from logs, so a digest stands for them.
fn name((org, weekend): &Key) -> String {
    let digest = blake3::hash(org.as_bytes()).to_hex();
    format!("{PREFIX}{}/{}", &digest[..16], ["workday", "weekend"][*weekend])
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::date::Date;
    use crate::seed::Seed;
    use crate::tables::FeatureTable;

    /// A Monday and the days after it.
    fn day(d: i32, users: u32, add: f64) -> DayTables {
        let mut rng = Seed(1).derive("drift", d as u64);
        let values = (0..users as usize * FEATURES.len()).map(|i| {
            let x: f64 = rng.random();
            if i % FEATURES.len() == 3 { x + add } else { x }
        });
        let values = values.collect();
        let ids: Vec<u32> = (0..users).collect();
        let user_day = FeatureTable { names: ids.clone(), ids, values, columns: FEATURES };
        DayTables { org_id: "o".into(), date: Date(20_458 + d), user_day, ..DayTables::default() }
    }

    fn reference() -> Reference {
        let mut collected = Collected::default();
        (0..5).for_each(|d| collected.add(&day(d, 60, 0.0)));
        collected.finish()
    }

    #[test]
    fn a_feature_that_moved_is_named_and_a_usual_night_is_not() {
        assert_eq!(Date(20_458).weekday(), 0);
        let reference = reference();
        assert_eq!(reference.moved(&day(7, 60, 0.0), 0.25), Some(vec![]));
        let moved = reference.moved(&day(8, 60, 0.8), 0.25).unwrap();
        assert_eq!(moved.iter().map(|m| m.feature).collect::<Vec<_>>(), [FEATURES[3].name]);
        assert!(moved[0].ks > 0.5 && moved[0].psi > 1.0, "{moved:?}");
    }

    #[test]
    fn without_a_reference_or_users_nothing_is_compared() {
        assert_eq!(reference().moved(&day(12, 60, 0.0), 0.25), None, "no weekend was seen");
        assert_eq!(reference().moved(&day(7, 19, 0.8), 0.25), None);
        assert_eq!(Reference::default().moved(&day(7, 60, 0.8), 0.25), None);
    }

    #[test]
    fn arrays_round_trip_and_forged_ones_are_left_out() {
        let arrays = reference().to_arrays();
        let [(name, numbers)] = arrays.as_slice() else { panic!("{}", arrays.len()) };
        let read = |values: &[f64], org: &str| {
            Reference::from_arrays(&BTreeMap::from([(name.as_str(), values)]), std::iter::once(org))
        };
        assert_eq!(read(numbers, "o"), reference());
        assert_eq!(read(numbers, "n"), Reference::default());
        for (at, value) in [(0, f64::NAN), (0, 1e9), (BINS, 0.0), (BINS, f64::NAN), (WIDTH - 1, f64::NAN)] {
            let mut forged = numbers.clone();
            forged[at] = value;
            assert_eq!(read(&forged, "o"), Reference::default(), "{at} {value}");
        }
        assert_eq!(read(&numbers[1..], "o"), Reference::default());
    }

    #[test]
    fn the_index_agrees_with_its_definition() {
        // Python 3.11: sum((a-b)*math.log(a/b) for a, b in [(0.5, 0.25), (0.5, 0.75)]) = 0.27465307216702745
        let pad = |a: f64, b: f64| -> [f64; BINS] { std::array::from_fn(|i| [a, b].get(i).copied().unwrap_or(1e-300)) };
        let (a, b) = (pad(0.5, 0.5), pad(0.25, 0.75));
        assert!((stability(&a, &b) - 0.274_653_072_167_027_45).abs() < 1e-12);
        assert!((kolmogorov(&a, &b) - 0.25).abs() < 1e-12);
    }
}
