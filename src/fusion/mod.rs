//! Raw scores become p-values, p-values of a family one, families one, and the night a ranked list.

pub mod ablation;
pub mod calibrate;
pub mod combine;
pub mod compound;
pub mod drift;
pub mod neural;
pub mod night;
pub mod rank;
pub mod reasons;
pub mod sequences;
#[cfg(test)]
mod sequences_tests;
mod strata;
pub mod table;
#[cfg(test)]
mod table_tests;
pub mod week;
pub mod weights;
#[cfg(feature = "neural")]
mod worth;
