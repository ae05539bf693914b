//! The crate `extended-isolation-forest` as another grower of forests, for those who trust it and for comparison.
//!
//! Its trees are taken over into our arrays, so that scoring, files and checks are the same. Its limits, for which it is not the
//! default: random numbers of the thread, so that no two trainings are equal; the width is fixed at compile time (here up to
//! [`MAX_WIDTH`] columns); one thread; its own walk, which we do not use, scores a few ten thousand rows a
//! second where ours scores a million (benches/README.md).

use extended_isolation_forest::{Forest as Theirs, ForestOptions};
use serde::Deserialize;

use super::forest::{Forest, Options, average_path};
use super::matrix::Matrix;

/// Widest rows that this backend takes.
pub const MAX_WIDTH: usize = 32;

/// The crate's forest as it serialises.
#[derive(Deserialize)]
struct Dump {
    avg_path_length_c: f64,
    trees: Vec<Tree>,
}

#[derive(Deserialize)]
struct Tree {
    root: Node,
}

#[derive(Deserialize)]
enum Node {
    Ex { num_samples: usize },
    In { left: Box<Node>, right: Box<Node>, n: Vec<f64>, p: Vec<f64> },
}

/// Grows a forest with the crate. `Err` says why it cannot: too wide, or too few rows.
pub fn fit(data: &Matrix, options: Options) -> Result<Forest, String> {
    macro_rules! by_width {
        ($($n:literal)*) => {
            match data.cols {
                $($n => grow::<$n>(data, options),)*
                wide => Err(format!(
                    "the backend extended-isolation-forest takes 1 to {MAX_WIDTH} columns, found {wide}; use geometry.backend = \
                     \"quietwatch\""
                )),
            }
        };
    }
    by_width!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32)
}

fn grow<const N: usize>(data: &Matrix, options: Options) -> Result<Forest, String> {
    let rows: Vec<[f64; N]> = (0..data.rows).map(|r| std::array::from_fn(|c| data.row(r)[c])).collect();
    let level = options.level.min(N - 1);
    let theirs = ForestOptions {
        n_trees: options.trees.max(1),
        sample_size: options.sample.clamp(2, rows.len().max(2)),
        max_tree_depth: None,
        extension_level: level,
    };
    let forest: Theirs<f64, N> = Theirs::from_slice(&rows, &theirs).map_err(|e| e.to_string())?;
    taken(&forest, level).map_err(|e| e.to_string())
}

/// The crate's forest as ours.
fn taken<const N: usize>(forest: &Theirs<f64, N>, level: usize) -> serde_json::Result<Forest> {
    let dump: Dump = serde_json::from_value(serde_json::to_value(forest)?)?;
    let mut out = Forest {
        cols: N,
        width: level + 1,
        normal: dump.avg_path_length_c as f32,
        roots: Vec::new(),
        left: Vec::new(),
        right: Vec::new(),
        value: Vec::new(),
        columns: Vec::new(),
        weights: Vec::new(),
    };
    for tree in dump.trees {
        let root = out.left.len() as u32;
        out.roots.push(root);
        take_over(tree.root, 0, &mut out);
    }
    Ok(out)
}

/// Appends a node and what is below it; returns its number.
fn take_over(node: Node, depth: usize, out: &mut Forest) -> u32 {
    let at = out.left.len();
    out.left.push(0);
    out.right.push(0);
    let first = out.columns.len();
    out.columns.resize(first + out.width, 0);
    out.weights.resize(first + out.width, 0.0);
    match node {
        Node::Ex { num_samples } => out.value.push((depth as f64 + average_path(num_samples)) as f32),
        Node::In { left, right, n, p } => {
            out.value.push(n.iter().zip(&p).map(|(n, p)| n * p).sum::<f64>() as f32);
            let cut = n.iter().enumerate().filter(|(_, n)| **n != 0.0).take(out.width);
            for (k, (column, weight)) in cut.enumerate() {
                out.columns[first + k] = column as u32;
                out.weights[first + k] = *weight as f32;
            }
            out.left[at] = take_over(*left, depth + 1, out);
            out.right[at] = take_over(*right, depth + 1, out);
        }
    }
    at as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use rand_distr::{Distribution, StandardNormal};

    fn rows() -> Matrix {
        let mut rng = Seed(7).derive("backend", 0);
        let scale = |i: usize| if i < 2_000 * 4 { 1.0 } else { 4.0 };
        let normal = |i: usize| -> f64 {
            let x: f64 = StandardNormal.sample(&mut rng);
            x * scale(i)
        };
        Matrix::new(2_050, 4, (0..2_050 * 4).map(normal).collect())
    }

    fn correlation(a: &[f64], b: &[f64]) -> f64 {
        let n = a.len() as f64;
        let (ma, mb) = (a.iter().sum::<f64>() / n, b.iter().sum::<f64>() / n);
        let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
        for (x, y) in a.iter().zip(b) {
            ab += (x - ma) * (y - mb);
            aa += (x - ma).powi(2);
            bb += (y - mb).powi(2);
        }
        ab / (aa * bb).sqrt()
    }

    #[test]
    fn trees_of_the_crate_score_here_as_they_do_there() {
        let data = rows();
        let array: Vec<[f64; 4]> = (0..data.rows).map(|r| std::array::from_fn(|c| data.row(r)[c])).collect();
        let options = ForestOptions { n_trees: 40, sample_size: 128, max_tree_depth: None, extension_level: 1 };
        let theirs: Theirs<f64, 4> = Theirs::from_slice(&array, &options).unwrap();
        let ours = taken(&theirs, 1).unwrap();
        assert!(ours.is_sound() && ours.roots.len() == 40);
        // The same trees. Single precision sends a row the other way now and then, and their harmonic numbers are approximate.
        let there: Vec<f64> = array.iter().map(|x| theirs.score(x)).collect();
        let here = ours.score(&data);
        assert!(correlation(&here, &there) > 0.999, "{}", correlation(&here, &there));
        assert!(here.iter().zip(&there).all(|(a, b)| (a - b).abs() < 0.02));
    }

    #[test]
    fn our_forest_agrees_with_the_crates_as_well_as_the_crates_with_each_other() {
        let data = rows();
        let options = Options { trees: 200, sample: 256, level: 1 };
        let ours = Forest::fit(&data, options, Seed(1)).score(&data);
        let theirs = fit(&data, options).unwrap().score(&data);
        assert!(correlation(&ours, &theirs) > 0.98, "{}", correlation(&ours, &theirs));
        let mean = |s: &[f64]| s.iter().sum::<f64>() / s.len() as f64;
        assert!((mean(&ours) - mean(&theirs)).abs() < 0.01, "{} and {}", mean(&ours), mean(&theirs));
    }

    #[test]
    fn too_wide_and_too_few_rows_are_said() {
        let wide = Matrix::new(300, 33, vec![0.0; 300 * 33]);
        assert!(fit(&wide, Options::default()).unwrap_err().contains("33"));
        assert!(fit(&Matrix::new(1, 2, vec![0.0; 2]), Options::default()).is_err());
    }
}
