//! The neural members of the family sequence. `worth` trains them and measures whether they count; a build without neural detectors
//! only knows that it has none.

use super::calibrate::Calibrator;
use crate::detectors::geometry::members::{Arrays, NamedArray};
use crate::detectors::sequence::Network;
#[cfg(feature = "neural")]
use crate::detectors::sequence::neural::Model;

/// What a network counts where it does: as much as distance, half of surprise by n-grams.
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
    pub(super) network: Network,
    #[cfg(feature = "neural")]
    pub(super) model: Model,
    /// Per stratum of lengths.
    pub(super) calibrators: Vec<Calibrator>,
    pub(super) worth: Worth,
}

/// Networks, which sequences they have not seen, and what all of them add to the statistic of these.
pub(super) struct Trained {
    pub(super) neural: Vec<Neural>,
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
        let mut out = vec![(about_of(self.network), vec![about.len()], about)];
        for (k, c) in self.calibrators.iter().enumerate() {
            let numbers = c.to_numbers();
            out.push((format!("sequence/calibration/{}/{k}", self.network.column()), vec![numbers.len()], numbers));
        }
        #[cfg(feature = "neural")]
        out.extend(self.model.to_arrays("sequence"));
        out
    }

    /// The inverse of [`Self::to_arrays`] for all networks that there are. `Err` names what is missing or makes no sense.
    pub(super) fn all_from_arrays(arrays: &Arrays<'_>, strata: usize, symbols: u32) -> Result<Vec<Self>, String> {
        let begins = |network: &Network| format!("sequence/{}/", network.arrays());
        let there = |network: &Network| arrays.keys().any(|name| name.starts_with(&begins(network)));
        let networks = Network::ALL.into_iter().filter(there);
        networks.map(|network| Self::from_arrays(network, arrays, strata, symbols)).collect()
    }

    #[cfg_attr(not(feature = "neural"), expect(unused_variables, reason = "there is no network to read"))]
    fn from_arrays(network: Network, arrays: &Arrays<'_>, strata: usize, symbols: u32) -> Result<Self, String> {
        if cfg!(not(feature = "neural")) {
            return Err(format!(
                "it has a network (sequence/{}), and this build has no neural detectors (feature `neural`): score with a build \
                 that has them",
                network.arrays()
            ));
        }
        let numbers = |name: &str| arrays.get(name).map(|(_, v)| *v).ok_or_else(|| name.to_owned());
        let about = about_of(network);
        let [sequences, p0, p1, d0, d1, weight] = *numbers(&about)? else { return Err(about) };
        let is_share = |x: &f64| (0.0..=1.0).contains(x);
        if ![p0, p1, d0, d1].iter().all(is_share)
            || ![0.0, COUNTS].contains(&weight)
            || !(0.0..1e9).contains(&sequences)
        {
            return Err(about);
        }
        let calibrator = |k: usize| {
            let name = format!("sequence/calibration/{}/{k}", network.column());
            Calibrator::from_numbers(numbers(&name)?).ok_or(name)
        };
        let calibrators = (0..strata).map(calibrator).collect::<Result<Vec<_>, String>>()?;
        let worth = Worth { sequences: sequences as usize, precision: (p0, p1), detected: (d0, d1), weight };
        Ok(Self {
            network,
            #[cfg(feature = "neural")]
            model: Model::from_arrays(network, "sequence", arrays, symbols)?,
            calibrators,
            worth,
        })
    }
}

fn about_of(network: Network) -> String {
    format!("sequence/{}/about", network.arrays())
}
