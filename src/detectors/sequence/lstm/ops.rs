//! The fused passes as custom operations of candle, so that the rest of the network is plain candle.

use std::sync::{Arc, Mutex};

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Error, Layout, Result, Shape as Dims, Storage, Tensor};

use super::cell::{self, Input, Saved, Shape, Upstream};
use super::room::Room;
use super::surprise;

/// Runs sequences through an LSTM layer: the first argument is the table of what the input adds to the gates, the second the
/// recurrent weights.
pub(super) struct Lstm {
    pub(super) shape: Arc<Shape>,
    /// Per row the row of the table.
    pub(super) index: Arc<Vec<u32>>,
    /// Whether the hidden state of every row comes out, or the last one of each sequence.
    pub(super) every: bool,
    room: Arc<Room>,
    saved: Mutex<Option<Saved>>,
}

impl Lstm {
    pub(super) fn new(shape: &Arc<Shape>, index: &Arc<Vec<u32>>, every: bool, room: &Arc<Room>) -> Self {
        let (shape, index, room) = (Arc::clone(shape), Arc::clone(index), Arc::clone(room));
        Self { shape, index, every, room, saved: Mutex::new(None) }
    }
}

fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let all = storage.as_slice::<f32>()?;
    let (from, to) = layout.contiguous_offsets().ok_or_else(|| Error::Msg("expected a contiguous tensor".into()))?;
    Ok(&all[from..to])
}

/// Runs work on the numbers of a tensor.
fn with<T>(tensor: &Tensor, work: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(cpu) => work(floats(cpu, layout)?),
        _ => Err(Error::Msg("expected a tensor on the CPU".into())),
    }
}

fn used_up() -> Error {
    Error::Msg("a pass goes backward once, after it went forward".into())
}

impl CustomOp2 for Lstm {
    fn name(&self) -> &'static str {
        "lstm"
    }

    fn cpu_fwd(
        &self,
        table: &CpuStorage,
        table_layout: &Layout,
        weights: &CpuStorage,
        weights_layout: &Layout,
    ) -> Result<(CpuStorage, Dims)> {
        let (_, h) = weights_layout.shape().dims2()?;
        let table = cell::to_blocks(floats(table, table_layout)?, h);
        let input = Input { hidden: h, table: &table, index: &self.index };
        let mut saved = cell::forward(&self.shape, input, floats(weights, weights_layout)?, &self.room);
        let (out, rows) = if self.every {
            (std::mem::take(&mut saved.hidden), self.shape.rows)
        } else {
            (self.shape.last(&saved.hidden, h), self.shape.sequences)
        };
        *self.saved.lock().map_err(|_| used_up())? = Some(saved);
        Ok((CpuStorage::F32(out), (rows, h).into()))
    }

    fn bwd(
        &self,
        table: &Tensor,
        weights: &Tensor,
        out: &Tensor,
        upstream: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (_, h) = weights.dims2()?;
        let mut saved = self.saved.lock().map_err(|_| used_up())?.take().ok_or_else(used_up)?;
        let hidden = std::mem::take(&mut saved.hidden);
        let input = (self.index.as_slice(), table.dims2()?.0);
        let mut run = |hidden: &[f32]| {
            with(upstream, |g| {
                let g = if self.every { Upstream::Every(g) } else { Upstream::Last(g) };
                with(weights, |w| Ok(cell::backward(&self.shape, &mut saved, hidden, h, input, w, g)))
            })
        };
        let gradients = if self.every { with(out, run)? } else { run(&hidden)? };
        self.room.give([saved.gates, saved.cells, saved.squashed, hidden]);
        Ok((
            Some(Tensor::from_vec(gradients.table, table.shape(), table.device())?),
            Some(Tensor::from_vec(gradients.weights, weights.shape(), weights.device())?),
        ))
    }
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
