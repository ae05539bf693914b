//! The members of the family: which there are, how they are fitted together, and what a model file keeps of each.
//!
//! Forest and cleaning come first: rows are ranked by the forest, by nearest neighbours and by robust Mahalanobis distance, and
//! the oddest share is kept from the density and distance members, which then are fitted to what is left. The forest learns from
//! all rows; cutting its tail away makes it worse.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;
use rayon::prelude::*;

#[cfg(feature = "neural")]
use super::autoencoder::{self, Autoencoder};
use super::backend;
use super::dbscan::Dbscan;
use super::forest::{self, Forest};
use super::gaussian::{Gaussian, Mixture};
use super::knn::Neighbours;
use super::linalg::Cholesky;
use super::matrix::Matrix;
use super::svm::OneClassSvm;
use crate::config::Geometry;
use crate::config::settings::ForestBackend;
use crate::seed::Seed;

/// A named array of a fitted family: name, shape, values.
pub type NamedArray = (String, Vec<usize>, Vec<f64>);

/// Arrays of a model by name: shape and values.
pub type Arrays<'a> = BTreeMap<&'a str, (&'a [usize], &'a [f64])>;

/// Largest [`Member::weight`].
pub const MOST_WEIGHT: f64 = 3.0;

/// Weighted Fisher statistic (Good 1955) of the more surprising half: the sum of the ⌈n / 2⌉ largest w (−ln p), over the weight
/// of all. What half of the members see is enough; those that cannot see it do not water it down.
pub fn top_half(weighted: &mut [(f64, f64)]) -> f64 {
    let total: f64 = weighted.iter().map(|(w, _)| w).sum();
    weighted.iter_mut().for_each(|(w, p)| *p = -*w * p.ln());
    weighted.sort_unstable_by(|a, b| b.1.total_cmp(&a.1));
    weighted[..weighted.len().div_ceil(2)].iter().map(|(_, t)| t).sum::<f64>() / total
}

/// One detector of the family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Member {
    /// [`Forest`].
    Forest,
    /// [`Dbscan`].
    Dbscan,
    /// [`OneClassSvm`].
    Svm,
    /// [`Neighbours`].
    Knn,
    /// [`Gaussian`].
    Mahalanobis,
    /// [`Mixture`].
    Mixture,
    /// The autoencoder.
    Autoencoder,
}

impl Member {
    /// All of them, in the order of their columns.
    pub const ALL: [Self; 7] =
        [Self::Forest, Self::Dbscan, Self::Svm, Self::Knn, Self::Mahalanobis, Self::Mixture, Self::Autoencoder];

    /// Its name in files and settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forest => "extended_isolation_forest",
            Self::Dbscan => "dbscan",
            Self::Svm => "one_class_svm",
            Self::Knn => "knn",
            Self::Mahalanobis => "mahalanobis",
            Self::Mixture => "gaussian_mixture",
            Self::Autoencoder => "autoencoder",
        }
    }

    /// Its weight in the fusion. Distances to normal rows find what is odd in its surroundings, the forest what is odd in the
    /// whole (Bouman et al. 2024: a toolbox of these two suffices); the shapes help where the data have one.
    pub fn weight(self) -> f64 {
        match self {
            Self::Knn | Self::Dbscan => MOST_WEIGHT,
            Self::Forest => 2.0,
            _ => 1.0,
        }
    }

    /// The member of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.name() == name)
    }
}

/// Fitted members; those that are absent were not asked for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Members {
    forest: Option<Forest>,
    dbscan: Option<Dbscan>,
    svm: Option<OneClassSvm>,
    knn: Option<Neighbours>,
    mahalanobis: Option<Gaussian>,
    mixture: Option<Mixture>,
    #[cfg(feature = "neural")]
    autoencoder: Option<Autoencoder>,
}

/// What is learned from: bounded, so that time and memory are.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Most rows for all members but the forest.
    pub references: usize,
    /// Share of the oddest of them that is left out.
    pub trim: f64,
    /// Share of the rest that the shape for the Mahalanobis distance is taken from.
    pub bulk: f64,
    /// Added to its variances.
    pub ridge: f64,
    /// Trees of the forest.
    pub trees: usize,
    /// Radius of DBSCAN if it is known already. It is the unit of its scores: members that calibrate each other share it.
    pub eps: Option<f64>,
}

impl Members {
    /// Fits the wanted members to scaled rows, at least one. `Err` if the chosen backend cannot.
    pub fn fit(
        rows: &Matrix,
        wanted: &[Member],
        bounds: Bounds,
        settings: &Geometry,
        seed: Seed,
    ) -> Result<Self, String> {
        let options =
            forest::Options { trees: bounds.trees, sample: settings.sample as usize, level: settings.level as usize };
        let forest = match settings.backend {
            ForestBackend::Quietwatch => Forest::fit(rows, options, seed),
            ForestBackend::ExtendedIsolationForest => backend::fit(rows, options)?,
        };
        let mut picked: Vec<usize> = (0..rows.rows).collect();
        if picked.len() > bounds.references {
            picked = picked.partial_shuffle(&mut seed.derive("references", 0), bounds.references).0.to_vec();
            picked.sort_unstable();
        }
        let sample = rows.select(&picked);
        let clean = sample.select(&ordinary(&sample, &forest, bounds));
        let wants = |m: Member| wanted.contains(&m);
        let ((knn, mixture), ((dbscan, svm), mahalanobis)) = rayon::join(
            || {
                (
                    wants(Member::Knn).then(|| Neighbours::fit(&clean)),
                    wants(Member::Mixture).then(|| Mixture::fit(&clean, seed)),
                )
            },
            || {
                let density = (
                    wants(Member::Dbscan)
                        .then(|| bounds.eps.map_or_else(|| Dbscan::fit(&clean), |eps| Dbscan::fit_within(&clean, eps))),
                    wants(Member::Svm).then(|| OneClassSvm::fit(&clean)),
                );
                (density, wants(Member::Mahalanobis).then(|| shape(&clean, bounds)))
            },
        );
        Ok(Self {
            forest: wants(Member::Forest).then_some(forest),
            dbscan,
            svm,
            knn,
            mahalanobis,
            mixture,
            #[cfg(feature = "neural")]
            autoencoder: if wants(Member::Autoencoder) {
                Some(Autoencoder::fit(&clean, autoencoder::Options::default(), seed)?)
            } else {
                None
            },
        })
    }

    /// The autoencoder alone, on a random choice of so many rows. `Err` if the build has none.
    #[cfg_attr(not(feature = "neural"), expect(unused_variables, reason = "there is nothing to fit"))]
    pub fn autoencoder(rows: &Matrix, most: usize, seed: Seed) -> Result<Self, String> {
        #[cfg(feature = "neural")]
        {
            let options = autoencoder::Options { max_rows: most, ..autoencoder::Options::default() };
            Ok(Self { autoencoder: Some(Autoencoder::fit(rows, options, seed)?), ..Self::default() })
        }
        #[cfg(not(feature = "neural"))]
        Err("this build has no feature `neural`".to_owned())
    }

    /// Radius of DBSCAN, if it was fitted.
    pub fn eps(&self) -> Option<f64> {
        self.dbscan.as_ref().map(|d| d.eps)
    }

    /// Raw scores of scaled rows by each fitted member, higher = odder, all finite.
    pub fn score(&self, rows: &Matrix) -> Vec<(Member, Vec<f64>)> {
        let mut out = Vec::new();
        let mut put = |member, scores: Option<Vec<f64>>| {
            if let Some(mut scores) = scores {
                scores.iter_mut().for_each(|s| *s = if s.is_nan() { 0.0 } else { s.clamp(-1e300, 1e300) });
                out.push((member, scores));
            }
        };
        put(Member::Forest, self.forest.as_ref().map(|m| m.score(rows)));
        put(Member::Dbscan, self.dbscan.as_ref().map(|m| m.score(rows)));
        put(Member::Svm, self.svm.as_ref().map(|m| m.score(rows)));
        put(Member::Knn, self.knn.as_ref().map(|m| m.score(rows, |_| None)));
        put(Member::Mahalanobis, self.mahalanobis.as_ref().map(|m| m.score(rows)));
        put(Member::Mixture, self.mixture.as_ref().map(|m| m.score(rows)));
        #[cfg(feature = "neural")]
        put(Member::Autoencoder, self.autoencoder.as_ref().map(|m| m.score(rows)));
        out
    }

    /// What a model file keeps, under names that begin with `prefix`.
    pub fn to_arrays(&self, prefix: &str) -> Vec<NamedArray> {
        let mut out = Vec::new();
        let mut put = |name: &str, shape: &[usize], values: Vec<f64>| {
            out.push((format!("{prefix}/{name}"), shape.to_vec(), values));
        };
        let wide = |v: &[u32]| v.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
        let double = |v: &[f32]| v.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
        if let Some(f) = &self.forest {
            let nodes = f.left.len();
            put("forest/shape", &[3], vec![f.cols as f64, f.width as f64, f64::from(f.normal)]);
            put("forest/roots", &[f.roots.len()], wide(&f.roots));
            put("forest/children", &[2, nodes], [wide(&f.left), wide(&f.right)].concat());
            put("forest/value", &[nodes], double(&f.value));
            put("forest/columns", &[nodes, f.width], wide(&f.columns));
            put("forest/weights", &[nodes, f.width], double(&f.weights));
        }
        if let Some(d) = &self.dbscan {
            put("dbscan/eps", &[1], vec![d.eps]);
            put("dbscan/cores", &[d.cores.rows, d.cores.cols], d.cores.values.clone());
            put("dbscan/clusters", &[d.clusters.len()], wide(&d.clusters));
        }
        if let Some(s) = &self.svm {
            put("svm/rho-gamma", &[2], vec![s.rho, s.gamma]);
            put("svm/support", &[s.support.rows, s.support.cols], s.support.values.clone());
            put("svm/weights", &[s.weights.len()], s.weights.clone());
        }
        if let Some(n) = &self.knn {
            put("knn/k", &[2], n.k.map(|k| k as f64).to_vec());
            put("knn/references", &[n.references.rows, n.references.cols], n.references.values.clone());
        }
        let mut shape = |name: &str, g: &Gaussian| {
            let d = g.mean.len();
            put(&format!("{name}/mean"), &[d], g.mean.clone());
            put(&format!("{name}/factor"), &[d, d], g.factor.lower.iter().copied().collect());
        };
        if let Some(g) = &self.mahalanobis {
            shape("mahalanobis", g);
        }
        if let Some(m) = &self.mixture {
            for (i, (_, g)) in m.parts.iter().enumerate() {
                shape(&format!("mixture/{i}"), g);
            }
            put("mixture/weights", &[m.parts.len()], m.parts.iter().map(|p| p.0).collect());
        }
        #[cfg(feature = "neural")]
        if let Some(a) = &self.autoencoder {
            let numbers = a.to_numbers();
            put("autoencoder", &[numbers.len()], numbers);
        }
        out
    }

    /// The inverse of [`Self::to_arrays`] for rows of `cols` columns; `Err` names the array that is missing or makes no sense.
    pub fn from_arrays(arrays: &Arrays<'_>, prefix: &str, cols: usize) -> Result<Self, String> {
        let read = Reader { arrays, prefix, cols };
        let mut out = Self::default();
        if read.has("forest") {
            out.forest = Some(read.forest()?);
        }
        if read.has("dbscan") {
            let cores = read.matrix("dbscan/cores")?;
            let clusters = read.whole("dbscan/clusters", cores.rows)?;
            let eps = read.positive("dbscan/eps")?;
            out.dbscan = Some(Dbscan::with(cores, clusters, eps));
        }
        if read.has("svm") {
            let support = read.matrix("svm/support")?;
            let weights = read.numbers("svm/weights", support.rows)?.to_vec();
            let [rho, gamma] = read.numbers("svm/rho-gamma", 2)? else { return Err(read.name("svm/rho-gamma")) };
            if *gamma <= 0.0 {
                return Err(read.name("svm/rho-gamma"));
            }
            out.svm = Some(OneClassSvm::with(support, weights, *rho, *gamma));
        }
        if read.has("knn") {
            let references = read.matrix("knn/references")?;
            let k = read.whole("knn/k", 2)?;
            let (few, many) = (k[0] as usize, k[1] as usize);
            if !(1 <= few && few <= many && many <= references.rows) {
                return Err(read.name("knn/k"));
            }
            out.knn = Some(Neighbours::with(references, [few, many]));
        }
        if read.has("mahalanobis") {
            out.mahalanobis = Some(read.gaussian("mahalanobis")?);
        }
        if read.has("mixture") {
            let name = read.name("mixture/weights");
            let (_, weights) = arrays.get(name.as_str()).ok_or(name)?;
            let whole = (weights.iter().sum::<f64>() - 1.0).abs() < 1e-6;
            if !whole || weights.iter().any(|w| !(0.0 < *w && *w <= 1.0)) {
                return Err(read.name("mixture/weights"));
            }
            let part = |(i, w): (usize, &f64)| Ok((*w, read.gaussian(&format!("mixture/{i}"))?));
            out.mixture = Some(Mixture { parts: weights.iter().enumerate().map(part).collect::<Result<_, String>>()? });
        }
        #[cfg(feature = "neural")]
        if let Some((_, numbers)) = arrays.get(read.name("autoencoder").as_str()) {
            let found = Autoencoder::from_numbers(numbers).filter(|a| a.cols == cols);
            out.autoencoder = Some(found.ok_or_else(|| read.name("autoencoder"))?);
        }
        #[cfg(not(feature = "neural"))]
        if arrays.contains_key(read.name("autoencoder").as_str()) {
            return Err(format!("{} (this build has no feature `neural`)", read.name("autoencoder")));
        }
        Ok(out)
    }
}

fn shape(rows: &Matrix, bounds: Bounds) -> Gaussian {
    let shape = Gaussian::robust(rows, bounds.bulk);
    if bounds.ridge > 0.0 { shape.widened(bounds.ridge) } else { shape }
}

/// The rows that are not among the oddest share by the mean of their ranks: forest, nearest neighbours, Mahalanobis.
fn ordinary(sample: &Matrix, forest: &Forest, bounds: Bounds) -> Vec<usize> {
    let n = sample.rows;
    let cut = ((n as f64 * bounds.trim) as usize).min(n.saturating_sub(1));
    if cut == 0 {
        return (0..n).collect();
    }
    let judges: Vec<Vec<f64>> =
        vec![forest.score(sample), Neighbours::fit(sample).score(sample, Some), shape(sample, bounds).score(sample)];
    let ranks: Vec<Vec<usize>> = judges
        .par_iter()
        .map(|scores| {
            let mut order: Vec<usize> = (0..n).collect();
            order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]).then(a.cmp(b)));
            let mut rank = vec![0; n];
            order.into_iter().enumerate().for_each(|(at, row)| rank[row] = at);
            rank
        })
        .collect();
    let mut order: Vec<(usize, usize)> = (0..n).map(|r| (ranks.iter().map(|rank| rank[r]).sum(), r)).collect();
    order.sort_unstable();
    let mut kept: Vec<usize> = order[..n - cut].iter().map(|(_, r)| *r).collect();
    kept.sort_unstable();
    kept
}

/// Arrays of a model file, read with checks.
struct Reader<'a> {
    arrays: &'a Arrays<'a>,
    prefix: &'a str,
    cols: usize,
}

impl<'a> Reader<'a> {
    fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.prefix)
    }

    /// Whether there is any array of a member: then all of them have to be there.
    fn has(&self, member: &str) -> bool {
        let folder = self.name(member) + "/";
        self.arrays.range(folder.as_str()..).next().is_some_and(|(name, _)| name.starts_with(&folder))
    }

    fn numbers(&self, name: &str, len: usize) -> Result<&'a [f64], String> {
        let found = self.arrays.get(self.name(name).as_str()).filter(|(_, v)| v.len() == len);
        found.map(|(_, v)| *v).ok_or_else(|| self.name(name))
    }

    fn positive(&self, name: &str) -> Result<f64, String> {
        self.numbers(name, 1)?.first().copied().filter(|x| *x > 0.0).ok_or_else(|| self.name(name))
    }

    fn whole(&self, name: &str, len: usize) -> Result<Vec<u32>, String> {
        let whole = |x: &f64| (x.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(x)).then_some(*x as u32);
        self.numbers(name, len)?.iter().map(whole).collect::<Option<_>>().ok_or_else(|| self.name(name))
    }

    /// Rows of the family's width, at least one.
    fn matrix(&self, name: &str) -> Result<Matrix, String> {
        let name = self.name(name);
        let (_, values) = self.arrays.get(name.as_str()).ok_or_else(|| name.clone())?;
        let whole = self.cols > 0 && !values.is_empty() && values.len().is_multiple_of(self.cols);
        if whole { Ok(Matrix::new(values.len() / self.cols, self.cols, values.to_vec())) } else { Err(name) }
    }

    fn gaussian(&self, name: &str) -> Result<Gaussian, String> {
        let d = self.cols;
        let mean = self.numbers(&format!("{name}/mean"), d)?.to_vec();
        let name = format!("{name}/factor");
        let factor = Cholesky::from_numbers(self.numbers(&name, d * d)?, d).ok_or_else(|| self.name(&name))?;
        Ok(Gaussian { mean, factor })
    }

    fn forest(&self) -> Result<Forest, String> {
        let [cols, width, normal] = self.numbers("forest/shape", 3)? else { return Err(self.name("forest/shape")) };
        let sizes = *cols == self.cols as f64 && width.fract() == 0.0 && (1.0..=*cols).contains(width);
        if !sizes {
            return Err(self.name("forest/shape"));
        }
        let width = *width as usize;
        let nodes = self.arrays.get(self.name("forest/value").as_str()).map_or(0, |(_, v)| v.len());
        let trees = self.arrays.get(self.name("forest/roots").as_str()).map_or(0, |(_, v)| v.len());
        let single = |v: &[f64]| v.iter().map(|x| *x as f32).collect::<Vec<_>>();
        let mut left = self.whole("forest/children", 2 * nodes)?;
        let right = left.split_off(nodes);
        let forest = Forest {
            cols: self.cols,
            width,
            normal: *normal as f32,
            roots: self.whole("forest/roots", trees)?,
            left,
            right,
            value: single(self.numbers("forest/value", nodes)?),
            columns: self.whole("forest/columns", nodes * width)?,
            weights: single(self.numbers("forest/weights", nodes * width)?),
        };
        if forest.is_sound() { Ok(forest) } else { Err(self.name("forest/children")) }
    }
}
