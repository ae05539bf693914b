//! The layers as operations of candle, so that the rest of the network is plain candle. None keeps anything for the way back.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape as Dims, Tensor};

use super::attention::{self, Rows};
use super::ops::{floats, with};
use super::{dense, norm};

/// Rows, then the gain.
pub(super) struct Norm;

impl CustomOp2 for Norm {
    fn name(&self) -> &'static str {
        "norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        of_x: &Layout,
        gain: &CpuStorage,
        of_gain: &Layout,
    ) -> Result<(CpuStorage, Dims)> {
        let out = norm::forward(floats(x, of_x)?, floats(gain, of_gain)?);
        Ok((CpuStorage::F32(out), of_x.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, gain: &Tensor, _: &Tensor, g: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (of_x, of_gain) = with(x, |numbers| with(gain, |gain| with(g, |g| Ok(norm::backward(numbers, gain, g)))))?;
        Ok((
            Some(Tensor::from_vec(of_x, x.shape(), x.device())?),
            Some(Tensor::from_vec(of_gain, gain.shape(), gain.device())?),
        ))
    }
}

/// Rows, then weights and bias.
pub(super) struct Dense {
    pub(super) rectified: bool,
}

impl CustomOp3 for Dense {
    fn name(&self) -> &'static str {
        "dense"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        of_x: &Layout,
        weights: &CpuStorage,
        of_weights: &Layout,
        bias: &CpuStorage,
        of_bias: &Layout,
    ) -> Result<(CpuStorage, Dims)> {
        let layer = dense::Dense::new(floats(weights, of_weights)?, floats(bias, of_bias)?, self.rectified);
        let out = dense::forward(&layer, floats(x, of_x)?);
        let rows = out.len() / layer.width();
        Ok((CpuStorage::F32(out), (rows, layer.width()).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weights: &Tensor,
        bias: &Tensor,
        y: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let width = bias.dims1()?;
        let gradients = with(x, |x| {
            with(weights, |w| {
                with(g, |g| with(y, |y| Ok(dense::backward(w, width, x, self.rectified.then_some(y), g))))
            })
        })?;
        Ok((
            Some(Tensor::from_vec(gradients.x, x.shape(), x.device())?),
            Some(Tensor::from_vec(gradients.weights, weights.shape(), weights.device())?),
            Some(Tensor::from_vec(gradients.bias, bias.shape(), bias.device())?),
        ))
    }
}

/// Rows of queries, keys and values, then the biases of distances.
pub(super) struct Attention {
    pub(super) rows: Arc<Rows>,
}

impl CustomOp2 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        rows: &CpuStorage,
        of_rows: &Layout,
        distance: &CpuStorage,
        of_distance: &Layout,
    ) -> Result<(CpuStorage, Dims)> {
        let (n, width) = of_rows.shape().dims2()?;
        let out = attention::forward(&self.rows, floats(rows, of_rows)?, floats(distance, of_distance)?);
        Ok((CpuStorage::F32(out), (n, width / 3).into()))
    }

    fn bwd(
        &self,
        rows: &Tensor,
        distance: &Tensor,
        _: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (of_rows, of_distance) = with(rows, |numbers| {
            with(distance, |distance| with(g, |g| Ok(attention::backward(&self.rows, numbers, distance, g))))
        })?;
        Ok((
            Some(Tensor::from_vec(of_rows, rows.shape(), rows.device())?),
            Some(Tensor::from_vec(of_distance, distance.shape(), distance.device())?),
        ))
    }
}
