//! What our own operations of candle share, and the one that all networks end with.

use std::sync::{Arc, Mutex};

use candle_core::{CpuStorage, CustomOp3, Error, Layout, Result, Shape as Dims, Storage, Tensor};

use super::room::Room;
use super::surprise;

/// The numbers of a tensor's storage.
pub(super) fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let all = storage.as_slice::<f32>()?;
    let (from, to) = layout.contiguous_offsets().ok_or_else(|| Error::Msg("expected a contiguous tensor".into()))?;
    Ok(&all[from..to])
}

/// Runs work on the numbers of a tensor.
pub(super) fn with<T>(tensor: &Tensor, work: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(cpu) => work(floats(cpu, layout)?),
        _ => Err(Error::Msg("expected a tensor on the CPU".into())),
    }
}

pub(super) fn used_up() -> Error {
    Error::Msg("a pass goes backward once, after it went forward".into())
}

/// Surprise of each row of hidden states at its target, given weights and bias of the output layer.
pub(super) struct Surprise {
    targets: Arc<Vec<u32>>,
    room: Arc<Room>,
    probabilities: Mutex<Option<Vec<f32>>>,
}

impl Surprise {
    pub(super) fn new(targets: &Arc<Vec<u32>>, room: &Arc<Room>) -> Self {
        Self { targets: Arc::clone(targets), room: Arc::clone(room), probabilities: Mutex::new(None) }
    }
}

impl CustomOp3 for Surprise {
    fn name(&self) -> &'static str {
        "surprise"
    }

    fn cpu_fwd(
        &self,
        hidden: &CpuStorage,
        hidden_layout: &Layout,
        weights: &CpuStorage,
        weights_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Dims)> {
        let output = surprise::Output::new(floats(weights, weights_layout)?, floats(bias, bias_layout)?);
        let (out, probabilities) =
            surprise::forward(&output, floats(hidden, hidden_layout)?, &self.targets, &self.room);
        *self.probabilities.lock().map_err(|_| used_up())? = Some(probabilities);
        let rows = out.len();
        Ok((CpuStorage::F32(out), rows.into()))
    }

    fn bwd(
        &self,
        hidden: &Tensor,
        weights: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        upstream: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let mut kept = self.probabilities.lock().map_err(|_| used_up())?.take().ok_or_else(used_up)?;
        let gradients = with(hidden, |h| {
            with(weights, |w| {
                with(upstream, |g| Ok(surprise::backward(w, bias.dims1()?, h, &self.targets, g, &mut kept)))
            })
        })?;
        self.room.give([kept]);
        Ok((
            Some(Tensor::from_vec(gradients.hidden, hidden.shape(), hidden.device())?),
            Some(Tensor::from_vec(gradients.weights, weights.shape(), weights.device())?),
            Some(Tensor::from_vec(gradients.bias, bias.shape(), bias.device())?),
        ))
    }
}
