//! An LSTM layer over whole sequences as one operation of candle, so that the rest of the network is plain candle.

use std::sync::{Arc, Mutex};

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape as Dims, Tensor};

use super::cell::{self, Input, Saved, Shape, Upstream};
use super::ops::{floats, used_up, with};
use super::room::Room;

/// Runs sequences through an LSTM layer: the first argument is the table of what the input adds to the gates, the second the
/// recurrent weights.
pub(super) struct Layer {
    pub(super) shape: Arc<Shape>,
    /// Per row the row of the table.
    pub(super) index: Arc<Vec<u32>>,
    /// Whether the hidden state of every row comes out, or the last one of each sequence.
    pub(super) every: bool,
    room: Arc<Room>,
    saved: Mutex<Option<Saved>>,
}

impl Layer {
    pub(super) fn new(shape: &Arc<Shape>, index: &Arc<Vec<u32>>, every: bool, room: &Arc<Room>) -> Self {
        let (shape, index, room) = (Arc::clone(shape), Arc::clone(index), Arc::clone(room));
        Self { shape, index, every, room, saved: Mutex::new(None) }
    }
}

impl CustomOp2 for Layer {
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
