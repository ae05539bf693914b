//! How near the nearest known sequences are when order and repetition are left aside: each sequence is the set of its
//! tokens, rare ones weigh more, and the score is one minus the mean cosine to the nearest few.
//!
//! The count-vector neighbour of Landauer et al. (2024), with sets in place of counts and inverse document frequencies as in
//! Salton & Buckley (1988). It sees what surprise averages away: one rare token, or a company in which a common one
//! was never seen. More than one neighbour, because the nearest of an attack may be its own twin in the training.

use std::cell::RefCell;
use std::collections::BTreeMap;

use rand::seq::SliceRandom;
use rayon::prelude::*;

use crate::seed::Seed;

/// Neighbours that count.
pub const NEIGHBOURS: usize = 3;

/// The distinct sets of the training with how many sequences had each.
#[derive(Debug, Clone, PartialEq)]
pub struct Bags {
    /// Inverse document frequency by symbol.
    idf: Vec<f64>,
    sets: Vec<Vec<u32>>,
    /// Sequences with this set, at least 1.
    copies: Vec<f64>,
    norms: Vec<f64>,
    /// Per symbol, the sets that hold it.
    holders: Vec<Vec<u32>>,
}

/// The distinct tokens of a sequence, ascending.
pub fn set_of(sequence: &[u32]) -> Vec<u32> {
    let mut set = sequence.to_vec();
    set.sort_unstable();
    set.dedup();
    set
}

impl Bags {
    /// Fits to sequences; document frequencies come from all, neighbours from those with `keep`. Of more than `most` distinct sets
    /// a sample is kept.
    pub fn fit(sequences: &[&[u32]], keep: &[bool], symbols: u32, most: usize, seed: Seed) -> Self {
        let mut frequency = vec![0.0; symbols as usize];
        let mut distinct: BTreeMap<Vec<u32>, f64> = BTreeMap::new();
        let sets: Vec<Vec<u32>> = sequences.par_iter().map(|s| set_of(s)).collect();
        for (set, keep) in sets.into_iter().zip(keep) {
            for &token in &set {
                frequency[token as usize] += 1.0;
            }
            if *keep {
                *distinct.entry(set).or_default() += 1.0;
            }
        }
        let n = sequences.len() as f64;
        let idf = frequency.iter().map(|f| 1.0 + ((n + 1.0) / (f + 1.0)).ln()).collect();
        let mut sets: Vec<(Vec<u32>, f64)> = distinct.into_iter().collect();
        if sets.len() > most {
            sets.shuffle(&mut seed.derive("bags", 0));
            sets.truncate(most);
            sets.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        }
        let (sets, copies) = sets.into_iter().unzip();
        Self::of(idf, sets, copies)
    }

    fn of(idf: Vec<f64>, sets: Vec<Vec<u32>>, copies: Vec<f64>) -> Self {
        let norms = sets.iter().map(|set| norm(&idf, set)).collect();
        let mut holders = vec![Vec::new(); idf.len()];
        for (i, set) in sets.iter().enumerate() {
            for &token in set {
                holders[token as usize].push(i as u32);
            }
        }
        Self { idf, sets, copies, norms, holders }
    }

    /// Distance in 0..=1 of a set from the nearest known ones; `own` says that one of these is the set itself, which is then
    /// left out.
    pub fn distance(&self, set: &[u32], own: bool) -> f64 {
        self.nearest(set, own, NEIGHBOURS).0
    }

    /// The distance, and the nearest known set.
    fn nearest(&self, set: &[u32], own: bool, neighbours: usize) -> (f64, Option<usize>) {
        thread_local! {
            static DOTS: RefCell<(Vec<f64>, Vec<u32>)> = const { RefCell::new((Vec::new(), Vec::new())) };
        }
        DOTS.with_borrow_mut(|(dots, touched)| {
            dots.resize(self.sets.len().max(dots.len()), 0.0);
            touched.clear();
            for &token in set {
                let weight = self.idf[token as usize].powi(2);
                for &i in &self.holders[token as usize] {
                    if dots[i as usize] == 0.0 {
                        touched.push(i);
                    }
                    dots[i as usize] += weight;
                }
            }
            let length = norm(&self.idf, set);
            let mut best: Vec<(f64, u32)> = Vec::with_capacity(touched.len());
            for &i in touched.iter() {
                let dot = std::mem::take(&mut dots[i as usize]);
                best.push((dot / (length * self.norms[i as usize]), i));
            }
            let order = |a: &(f64, u32), b: &(f64, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
            // The set itself may be left out, and each set counts at least once.
            let wanted = neighbours + 1;
            if best.len() > wanted {
                best.select_nth_unstable_by(wanted, order);
                best.truncate(wanted);
            }
            best.sort_unstable_by(order);
            let (mut sum, mut left) = (0.0, neighbours as f64);
            let mut first = None;
            for (cosine, i) in best {
                let itself = own && self.sets[i as usize] == set;
                let copies = self.copies[i as usize] - f64::from(u8::from(itself));
                let take = copies.min(left);
                if take > 0.0 {
                    sum += take * cosine.min(1.0);
                    left -= take;
                    first = first.or(Some(i as usize));
                }
            }
            ((1.0 - sum / neighbours as f64).clamp(0.0, 1.0), first)
        })
    }

    /// Of each of many sequences the distance from the nearest known ones; equal sets are looked up once. `own` as in
    /// [`Self::distance`], per sequence.
    pub fn distances(&self, sequences: &[&[u32]], own: &[bool]) -> Vec<f64> {
        let sets: Vec<(Vec<u32>, bool)> = sequences.par_iter().zip(own).map(|(s, own)| (set_of(s), *own)).collect();
        let mut order: Vec<usize> = (0..sets.len()).collect();
        order.par_sort_unstable_by(|&a, &b| sets[a].cmp(&sets[b]).then(a.cmp(&b)));
        let groups: Vec<&[usize]> = order.chunk_by(|&a, &b| sets[a] == sets[b]).collect();
        let found: Vec<f64> = groups
            .par_iter()
            .map(|group| {
                let (set, own) = &sets[group[0]];
                self.distance(set, *own)
            })
            .collect();
        let mut out = vec![0.0; sets.len()];
        for (group, distance) in groups.into_iter().zip(found) {
            for &i in group {
                out[i] = distance;
            }
        }
        out
    }

    /// Number of symbols.
    pub fn symbols(&self) -> usize {
        self.idf.len()
    }

    /// The nearest known set, or `None` if no known set shares a token.
    pub fn nearest_set(&self, set: &[u32]) -> Option<&[u32]> {
        self.nearest(set, false, 1).1.map(|i| self.sets[i].as_slice())
    }

    /// What a model file keeps.
    pub fn to_arrays(&self, prefix: &str) -> Vec<(String, Vec<usize>, Vec<f64>)> {
        let sizes = self.sets.iter().map(|s| s.len() as f64);
        let about: Vec<f64> = sizes.chain(self.copies.iter().copied()).collect();
        let tokens: Vec<f64> = self.sets.iter().flatten().map(|&t| t.into()).collect();
        vec![
            (format!("{prefix}/bags/idf"), vec![self.idf.len()], self.idf.clone()),
            (format!("{prefix}/bags/sets"), vec![2, self.sets.len()], about),
            (format!("{prefix}/bags/tokens"), vec![tokens.len()], tokens),
        ]
    }

    /// The inverse of [`Self::to_arrays`]; `None` if the numbers make no sets.
    pub fn from_arrays(idf: &[f64], about: &[f64], tokens: &[f64]) -> Option<Self> {
        let n = about.len() / 2;
        let (sizes, copies) = about.split_at(n);
        let whole = |x: &f64, least: f64| *x >= least && x.fract() == 0.0;
        let holds = copies.len() == n
            && idf.iter().all(|x| *x >= 1.0 - 1e-9 && x.is_finite())
            && sizes.iter().all(|x| whole(x, 0.0))
            && copies.iter().all(|x| whole(x, 1.0) && x.is_finite())
            && tokens.iter().all(|x| whole(x, 0.0) && *x < idf.len() as f64)
            && sizes.iter().sum::<f64>() == tokens.len() as f64;
        if !holds {
            return None;
        }
        let mut rest = tokens;
        let mut sets = Vec::with_capacity(n);
        for size in sizes {
            let (set, after) = rest.split_at(*size as usize);
            rest = after;
            let set: Vec<u32> = set.iter().map(|t| *t as u32).collect();
            if set.windows(2).any(|w| w[0] >= w[1]) {
                return None;
            }
            sets.push(set);
        }
        Some(Self::of(idf.to_vec(), sets, copies.to_vec()))
    }
}

fn norm(idf: &[f64], set: &[u32]) -> f64 {
    set.iter().map(|&t| idf[t as usize].powi(2)).sum::<f64>().sqrt()
}
