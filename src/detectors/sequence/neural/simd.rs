//! Vector arithmetic below the network: matrix products in tiles that stay in registers, and the gates' functions.
//!
//! Every number of a result is one chain of multiply-adds in a fixed order, whatever tile it falls into. So rows give the same
//! bits in any company and on any number of threads. Vectors have eight lanes on every machine; `pulp` chooses at run time
//! whether the processor has them or they are made of smaller ones.

use pulp::{Simd, WithSimd};

/// Numbers in a vector.
pub(super) const LANES: usize = 8;

/// Most vectors of a row that are computed together.
const WIDEST: usize = 4;

/// Runs work with the vectors of this machine.
pub(super) fn run<W: WithSimd>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V3::try_new() {
        return Simd::vectorize(simd, work);
    }
    Simd::vectorize(pulp::Scalar256b, work)
}

/// A matrix of `depth` rows as the right-hand side of products: columns in panels of a few vectors, panel by panel.
#[derive(Debug, Clone)]
pub(super) struct Panels {
    depth: usize,
    /// Vectors of each panel; the last may be part empty.
    widths: Vec<usize>,
    values: Vec<f32>,
}

impl Panels {
    /// Packs a matrix given by its cells (row, column).
    pub(super) fn pack(depth: usize, cols: usize, cell: impl Fn(usize, usize) -> f32) -> Self {
        let vectors = cols.div_ceil(LANES);
        let panels = vectors.div_ceil(WIDEST).max(1);
        let widths: Vec<usize> = (0..panels).map(|p| vectors / panels + usize::from(p < vectors % panels)).collect();
        let mut values = Vec::with_capacity(depth * vectors * LANES);
        let mut from = 0;
        for width in &widths {
            let to = from + width * LANES;
            for k in 0..depth {
                values.extend((from..to).map(|c| if c < cols { cell(k, c) } else { 0.0 }));
            }
            from = to;
        }
        Self { depth, widths, values }
    }

    /// Rows of the matrix.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Numbers in a row of the product.
    pub(super) fn width(&self) -> usize {
        self.widths.iter().sum::<usize>() * LANES
    }

    /// Panel of four vectors.
    #[inline(always)]
    pub(super) fn four<S: Simd>(&self, p: usize) -> &[S::f32s] {
        let size = self.depth * 4 * LANES;
        S::as_simd_f32s(&self.values[p * size..(p + 1) * size]).0
    }

    /// Writes the product of `rows` rows of `a`, each of this matrix's depth, to rows of [`Self::width`].
    #[inline(always)]
    pub(super) fn product<S: Simd>(&self, simd: S, a: &[f32], rows: usize, out: &mut [f32]) {
        let stride = self.width();
        let mut from = 0;
        let mut values = self.values.as_slice();
        for &width in &self.widths {
            let (panel, rest) = values.split_at(self.depth * width * LANES);
            values = rest;
            let panel = S::as_simd_f32s(panel).0;
            let out = &mut out[from..];
            match width {
                4 => columns::<S, 3, 4>(simd, a, self.depth, rows, panel, out, stride),
                3 => columns::<S, 4, 3>(simd, a, self.depth, rows, panel, out, stride),
                2 => columns::<S, 6, 2>(simd, a, self.depth, rows, panel, out, stride),
                _ => columns::<S, 8, 1>(simd, a, self.depth, rows, panel, out, stride),
            }
            from += width * LANES;
        }
    }
}

/// One panel's columns of a product, `R` rows at a time.
#[inline(always)]
fn columns<S: Simd, const R: usize, const W: usize>(
    simd: S,
    a: &[f32],
    depth: usize,
    rows: usize,
    panel: &[S::f32s],
    out: &mut [f32],
    stride: usize,
) {
    let mut r = 0;
    while r + R <= rows {
        let mut sums = [[simd.splat_f32s(0.0); W]; R];
        tile(simd, &a[r * depth..], depth, panel, &mut sums);
        store(simd, &sums, &mut out[r * stride..], stride);
        r += R;
    }
    while r + 2 <= rows {
        let mut sums = [[simd.splat_f32s(0.0); W]; 2];
        tile(simd, &a[r * depth..], depth, panel, &mut sums);
        store(simd, &sums, &mut out[r * stride..], stride);
        r += 2;
    }
    if r < rows {
        let mut sums = [[simd.splat_f32s(0.0); W]; 1];
        tile(simd, &a[r * depth..], depth, panel, &mut sums);
        store(simd, &sums, &mut out[r * stride..], stride);
    }
}

/// Adds to `R × W` sums the product of `R` rows of `a` and a panel.
#[inline(always)]
pub(super) fn tile<S: Simd, const R: usize, const W: usize>(
    simd: S,
    a: &[f32],
    depth: usize,
    panel: &[S::f32s],
    sums: &mut [[S::f32s; W]; R],
) {
    let mut rows = [a; R];
    for r in 0..R {
        rows[r] = &a[r * depth..(r + 1) * depth];
    }
    let panel = &panel[..depth * W];
    for k in 0..depth {
        let weights = &panel[k * W..(k + 1) * W];
        // In either order the sums, the fewer of the two factors and one of the others just fit into sixteen registers.
        if R > W {
            for r in 0..R {
                let x = simd.splat_f32s(rows[r][k]);
                for w in 0..W {
                    sums[r][w] = simd.mul_add_e_f32s(x, weights[w], sums[r][w]);
                }
            }
        } else {
            let mut x = [simd.splat_f32s(0.0); R];
            for r in 0..R {
                x[r] = simd.splat_f32s(rows[r][k]);
            }
            for w in 0..W {
                for r in 0..R {
                    sums[r][w] = simd.mul_add_e_f32s(x[r], weights[w], sums[r][w]);
                }
            }
        }
    }
}

#[inline(always)]
pub(super) fn get<S: Simd>(_: S, from: &[f32], at: usize) -> S::f32s {
    S::as_simd_f32s(&from[at..at + LANES]).0[0]
}

/// Writes a vector to a place.
#[inline(always)]
pub(super) fn set<S: Simd>(_: S, to: &mut [f32], at: usize, x: S::f32s) {
    S::as_mut_simd_f32s(&mut to[at..at + LANES]).0[0] = x;
}

#[inline(always)]
fn store<S: Simd, const R: usize, const W: usize>(simd: S, sums: &[[S::f32s; W]; R], out: &mut [f32], stride: usize) {
    for r in 0..R {
        for w in 0..W {
            set(simd, out, r * stride + w * LANES, sums[r][w]);
        }
    }
}

/// Adds to `out`, `m × n` numbers, the product of the transpose of `a`, rows of `m`, and `b`, as many rows of `n`: what a
/// batch says of the gradient of weights.
#[inline(always)]
pub(super) fn add_outer<S: Simd>(simd: S, a: &[f32], m: usize, b: &[f32], n: usize, out: &mut [f32]) {
    assert!(n.is_multiple_of(LANES) && a.len() / m == b.len() / n);
    let mut c = 0;
    while c < n {
        match (n - c) / LANES {
            1 => outer_columns::<S, 1>(simd, a, m, b, n, c, out),
            2 => outer_columns::<S, 2>(simd, a, m, b, n, c, out),
            3 => outer_columns::<S, 3>(simd, a, m, b, n, c, out),
            _ => outer_columns::<S, 4>(simd, a, m, b, n, c, out),
        }
        c += WIDEST * LANES;
    }
}

#[inline(always)]
fn outer_columns<S: Simd, const W: usize>(
    simd: S,
    a: &[f32],
    m: usize,
    b: &[f32],
    n: usize,
    c: usize,
    out: &mut [f32],
) {
    let mut i = 0;
    while i + 3 <= m {
        outer_tile::<S, 3, W>(simd, a, m, b, n, i, c, out);
        i += 3;
    }
    while i < m {
        outer_tile::<S, 1, W>(simd, a, m, b, n, i, c, out);
        i += 1;
    }
}

#[inline(always)]
fn outer_tile<S: Simd, const R: usize, const W: usize>(
    simd: S,
    a: &[f32],
    m: usize,
    b: &[f32],
    n: usize,
    i: usize,
    c: usize,
    out: &mut [f32],
) {
    let mut sums = [[simd.splat_f32s(0.0); W]; R];
    for r in 0..R {
        for w in 0..W {
            sums[r][w] = get(simd, out, (i + r) * n + c + w * LANES);
        }
    }
    for k in 0..a.len() / m {
        let a = &a[k * m + i..k * m + i + R];
        let b = S::as_simd_f32s(&b[k * n + c..k * n + c + W * LANES]).0;
        let mut x = [simd.splat_f32s(0.0); R];
        for r in 0..R {
            x[r] = simd.splat_f32s(a[r]);
        }
        for w in 0..W {
            for r in 0..R {
                sums[r][w] = simd.mul_add_e_f32s(x[r], b[w], sums[r][w]);
            }
        }
    }
    for r in 0..R {
        for w in 0..W {
            set(simd, out, (i + r) * n + c + w * LANES, sums[r][w]);
        }
    }
}

/// e^x for −80 ≤ x ≤ 80, within two units in the last place: 2^n times the polynomial of Cephes' `expf` (Moshier 1989) on
/// what is left.
#[inline(always)]
pub(super) fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    // Adding 1.5 · 2^23 rounds to a whole number, which then stands in the lowest bits.
    let shifted = simd.mul_add_e_f32s(x, simd.splat_f32s(std::f32::consts::LOG2_E), simd.splat_f32s(12_582_912.0));
    let n = simd.sub_f32s(shifted, simd.splat_f32s(12_582_912.0));
    let r = simd.mul_add_e_f32s(n, simd.splat_f32s(-0.693_359_4), x);
    let r = simd.mul_add_e_f32s(n, simd.splat_f32s(2.121_944_4e-4), r);
    let mut p = simd.splat_f32s(1.987_569_2e-4);
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = simd.mul_add_e_f32s(p, r, simd.splat_f32s(c));
    }
    let p = simd.mul_add_e_f32s(simd.mul_f32s(r, r), p, simd.add_f32s(r, simd.splat_f32s(1.0)));
    let n = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(23));
    let scale = simd.transmute_f32s_u32s(simd.add_u32s(n, simd.splat_u32s(127 << 23)));
    simd.mul_f32s(p, scale)
}

#[inline(always)]
fn clamped_exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    // Beyond ±20 the logistic function is 0 or 1 to the last bit, and four factors of e^20 do not overflow.
    exp(simd, simd.min_f32s(simd.max_f32s(x, simd.splat_f32s(-20.0)), simd.splat_f32s(20.0)))
}

/// Logistic function of the gates i, f and o, tanh of g, with one division for all of them.
#[inline(always)]
pub(super) fn gates<S: Simd>(simd: S, [i, f, g, o]: [S::f32s; 4]) -> [S::f32s; 4] {
    let (one, minus) = (simd.splat_f32s(1.0), simd.splat_f32s(-1.0));
    let a = simd.add_f32s(clamped_exp(simd, simd.mul_f32s(i, minus)), one);
    let b = simd.add_f32s(clamped_exp(simd, simd.mul_f32s(f, minus)), one);
    let e = clamped_exp(simd, simd.mul_f32s(g, simd.splat_f32s(-2.0)));
    let c = simd.add_f32s(e, one);
    let d = simd.add_f32s(clamped_exp(simd, simd.mul_f32s(o, minus)), one);
    let (ab, cd) = (simd.mul_f32s(a, b), simd.mul_f32s(c, d));
    let inverse = simd.div_f32s(one, simd.mul_f32s(ab, cd));
    let (of_ab, of_cd) = (simd.mul_f32s(inverse, cd), simd.mul_f32s(inverse, ab));
    let g = simd.mul_f32s(simd.sub_f32s(one, e), simd.mul_f32s(of_cd, d));
    [simd.mul_f32s(of_ab, b), simd.mul_f32s(of_ab, a), g, simd.mul_f32s(of_cd, c)]
}

#[inline(always)]
pub(super) fn tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    let e = clamped_exp(simd, simd.mul_f32s(x, simd.splat_f32s(-2.0)));
    simd.div_f32s(simd.sub_f32s(one, e), simd.add_f32s(one, e))
}
