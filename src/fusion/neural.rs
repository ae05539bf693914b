//! The neural member of the family sequence. `worth` trains it and measures whether it counts; a build without neural detectors only
//! knows that it has none.

use super::calibrate::Calibrator;
use crate::detectors::geometry::members::{Arrays, NamedArray};
#[cfg(feature = "neural")]
use crate::detectors::sequence::lstm::LstmAutoencoder;

/// Name of the member, which is its column.
pub const LSTM: &str = "lstm_autoencoder";

/// What the network counts where it does: as much as distance, half of surprise by n-grams.
pub(super) const COUNTS: f64 = 1.0;

/// What was measured: without the network and with it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Worth {
    /// Sequences it was measured on; 0 if there were too few to tell.
    pub sequences: usize,
    /// Average precision.
    pub precision: (f64, f64),
    /// Share of the copies found at 1 % false alarms.
    pub detected: (f64, f64),
    /// Weight of the network.
    pub weight: f64,
}

/// A trained network with its calibration.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Neural {
    #[cfg(feature = "neural")]
    pub(super) model: LstmAutoencoder,
    /// Per stratum of lengths.
    pub(super) calibrators: Vec<Calibrator>,
    pub(super) worth: Worth,
}

/// A network, which sequences it has not seen, and what it adds to their statistic.
pub(super) struct Trained {
    pub(super) neural: Neural,
    pub(super) held_out: Vec<usize>,
    pub(super) adds: Vec<f64>,
}

impl Neural {
    /// Raw scores, higher = odder.
    #[cfg_attr(not(feature = "neural"), expect(clippy::unused_self, reason = "there is none"))]
    pub(super) fn score(&self, tokens: &[&[u32]]) -> Vec<f64> {
        #[cfg(feature = "neural")]
        return self.model.score(tokens);
        #[cfg(not(feature = "neural"))]
        vec![0.0; tokens.len()]
    }

    /// What the network adds to the statistic of a sequence of a stratum.
    pub(super) fn adds(&self, raw: f64, stratum: usize) -> f64 {
        if self.worth.weight > 0.0 { -self.worth.weight * self.calibrators[stratum].p(raw).ln() } else { 0.0 }
    }

    /// What a model file keeps.
    pub(super) fn to_arrays(&self) -> Vec<NamedArray> {
        let w = self.worth;
        let about = vec![w.sequences as f64, w.precision.0, w.precision.1, w.detected.0, w.detected.1, w.weight];
        let mut out = vec![(ABOUT.to_owned(), vec![about.len()], about)];
        for (k, c) in self.calibrators.iter().enumerate() {
            let numbers = c.to_numbers();
            out.push((format!("sequence/calibration/{LSTM}/{k}"), vec![numbers.len()], numbers));
        }
        #[cfg(feature = "neural")]
        out.extend(self.model.to_arrays("sequence"));
        out
    }

    /// The inverse of [`Self::to_arrays`]; none if there is no network. `Err` names what is missing or makes no sense.
    #[cfg_attr(not(feature = "neural"), expect(unused_variables, reason = "there is no network to read"))]
    pub(super) fn from_arrays(arrays: &Arrays<'_>, strata: usize, symbols: u32) -> Result<Option<Self>, String> {
        if !arrays.keys().any(|name| name.starts_with("sequence/lstm/")) {
            return Ok(None);
        }
        if cfg!(not(feature = "neural")) {
            let message = "sequence/lstm needs neural detectors, and this build has no feature `neural`: score with a build that \
                           has them";
            return Err(message.to_owned());
        }
        let numbers = |name: &str| arrays.get(name).map(|(_, v)| *v).ok_or_else(|| name.to_owned());
        let [sequences, p0, p1, d0, d1, weight] = *numbers(ABOUT)? else { return Err(ABOUT.into()) };
        let is_share = |x: &f64| (0.0..=1.0).contains(x);
        if ![p0, p1, d0, d1].iter().all(is_share)
            || ![0.0, COUNTS].contains(&weight)
            || !(0.0..1e9).contains(&sequences)
        {
            return Err(ABOUT.into());
        }
        let calibrator = |k: usize| {
            let name = format!("sequence/calibration/{LSTM}/{k}");
            Calibrator::from_numbers(numbers(&name)?).ok_or(name)
        };
        let calibrators = (0..strata).map(calibrator).collect::<Result<Vec<_>, String>>()?;
        let worth = Worth { sequences: sequences as usize, precision: (p0, p1), detected: (d0, d1), weight };
        Ok(Some(Self {
            #[cfg(feature = "neural")]
            model: LstmAutoencoder::from_arrays("sequence", arrays, symbols)?,
            calibrators,
            worth,
        }))
    }
}

const ABOUT: &str = "sequence/lstm/about";
