//! Numeric rows as geometry sees them: scaled, complete and finite.

use serde::{Deserialize, Serialize};

/// Rows of equal width, row by row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Matrix {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// `rows × cols` values.
    pub values: Vec<f64>,
}

impl Matrix {
    /// From values row by row; their number must be `rows × cols`.
    pub fn new(rows: usize, cols: usize, values: Vec<f64>) -> Self {
        assert_eq!(values.len(), rows * cols, "a matrix of {rows} × {cols}");
        Self { rows, cols, values }
    }

    /// One row.
    pub fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.cols..(row + 1) * self.cols]
    }

    /// These columns of every row, in this order.
    #[must_use]
    pub fn columns(&self, columns: &[usize]) -> Self {
        let values = (0..self.rows).flat_map(|r| columns.iter().map(move |&c| self.row(r)[c])).collect();
        Self { rows: self.rows, cols: columns.len(), values }
    }

    /// These rows, in this order.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        let values = rows.iter().flat_map(|&r| self.row(r)).copied().collect();
        Self { rows: rows.len(), cols: self.cols, values }
    }
}

/// How raw columns become comparable: centred, scaled, holes filled, constants dropped. Learned once and kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scaler {
    /// Columns that are kept, by their place in the raw rows.
    pub kept: Vec<usize>,
    /// What takes the place of a missing or infinite value, per kept column: its median.
    pub fill: Vec<f64>,
    /// Mean within the winsorised range.
    pub centre: Vec<f64>,
    /// Standard deviation within the winsorised range, > 0.
    pub scale: Vec<f64>,
}

/// Share of a column at either end that does not take part in its mean and deviation: a few huge values must not shrink the
/// rest to a point.
const WINSOR: f64 = 0.005;

/// Farthest a scaled value lies from the centre. Squares of larger ones would drown every other column.
const FARTHEST: f64 = 1e3;

impl Scaler {
    /// Learns from raw rows, which may hold NaN and infinities.
    pub fn fit(raw: &Matrix) -> Self {
        let mut out = Self { kept: Vec::new(), fill: Vec::new(), centre: Vec::new(), scale: Vec::new() };
        for column in 0..raw.cols {
            let mut x: Vec<f64> = (0..raw.rows).map(|r| raw.row(r)[column]).filter(|v| v.is_finite()).collect();
            x.sort_unstable_by(f64::total_cmp);
            let (Some(first), Some(last)) = (x.first().copied(), x.last().copied()) else { continue };
            if first == last {
                continue;
            }
            let at = |q: f64| x[((x.len() - 1) as f64 * q).round() as usize];
            let (low, high, median) = (at(WINSOR), at(1.0 - WINSOR), at(0.5));
            // A column that is constant but for its ends keeps them.
            let (low, high) = if low < high { (low, high) } else { (first, last) };
            let n = x.len() as f64;
            let centre = x.iter().map(|v| v.clamp(low, high) / n).sum::<f64>();
            // Half the range: that of huge values of either sign would overflow.
            let half = high / 2.0 - low / 2.0;
            let from_centre = |v: &f64| (v.clamp(low, high) / 2.0 - centre / 2.0) / half;
            let spread = x.iter().map(|v| from_centre(v).powi(2)).sum::<f64>() / n;
            let scale = spread.sqrt() * half;
            if !(scale > 0.0 && scale.is_finite() && centre.is_finite()) {
                continue;
            }
            out.kept.push(column);
            out.fill.push(median);
            out.centre.push(centre);
            out.scale.push(scale);
        }
        out
    }

    /// Scales raw rows of the width that was learned from.
    pub fn apply(&self, raw: &Matrix) -> Matrix {
        let mut values = Vec::with_capacity(raw.rows * self.kept.len());
        for row in 0..raw.rows {
            let x = raw.row(row);
            for (i, &column) in self.kept.iter().enumerate() {
                let v = if x[column].is_finite() { x[column] } else { self.fill[i] };
                let (centre, scale) = (self.centre[i], self.scale[i]);
                let distance = v - centre;
                // Of two huge values the difference overflows, that of their ratios to the scale does not.
                let scaled = if distance.is_finite() { distance / scale } else { v / scale - centre / scale };
                values.push(scaled.clamp(-FARTHEST, FARTHEST));
            }
        }
        Matrix::new(raw.rows, self.kept.len(), values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_filled_constants_dropped_and_everything_is_finite() {
        let raw = Matrix::new(
            4,
            4,
            vec![
                1.0,
                7.0,
                f64::NAN,
                1e308, //
                2.0,
                7.0,
                5.0,
                -1e308, //
                3.0,
                7.0,
                f64::INFINITY,
                0.0, //
                f64::NAN,
                7.0,
                6.0,
                1.0,
            ],
        );
        let scaler = Scaler::fit(&raw);
        assert!(!scaler.kept.contains(&1), "constant");
        let m = scaler.apply(&raw);
        assert!(m.values.iter().all(|v| v.is_finite() && v.abs() <= FARTHEST));
        assert_eq!(m.row(3)[0], (2.0 - scaler.centre[0]) / scaler.scale[0], "the median stands in for a hole");
    }

    #[test]
    fn the_largest_values_of_either_sign_are_scaled_like_small_ones() {
        let small = Matrix::new(100, 1, (0..100).map(|i| f64::from(i % 10) - 4.5).collect());
        let large = Matrix::new(100, 1, small.values.iter().map(|x| x * 3.9e307).collect());
        let scaled = |m: &Matrix| Scaler::fit(m).apply(m).values;
        assert_eq!(scaled(&small).len(), 100);
        assert!(scaled(&small).iter().zip(scaled(&large)).all(|(a, b)| (a - b).abs() < 1e-9));
    }

    #[test]
    fn nothing_to_learn_from_keeps_no_column() {
        assert!(Scaler::fit(&Matrix::new(0, 3, vec![])).kept.is_empty());
        assert!(Scaler::fit(&Matrix::new(1, 2, vec![1.0, 2.0])).kept.is_empty());
        assert!(Scaler::fit(&Matrix::new(2, 1, vec![f64::NAN, f64::NAN])).kept.is_empty());
    }
}
