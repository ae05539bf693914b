//! quietwatch learns how every user, integration and app normally uses an organisation's APIs, and each night lists
//! what changed and why it matters.

pub mod anomaly;
pub mod baseline;
#[cfg(feature = "frame")]
pub mod cli;
pub mod config;
pub mod date;
#[cfg(feature = "deliver")]
pub mod deliver;
pub mod detectors;
pub mod enrich;
pub mod error;
pub mod evaluation;
pub mod events;
pub mod explain;
pub mod features;
pub mod feedback;
pub mod fsutil;
pub mod fusion;
#[cfg(all(feature = "frame", any(test, feature = "fuzzing")))]
#[doc(hidden)]
pub mod fuzzing;
pub mod models;
pub mod pipeline;
pub mod report;
pub mod seed;
pub mod simulate;
#[cfg(feature = "frame")]
pub mod store;
pub mod tables;

pub use date::Date;
pub use error::{Error, Kind, Result};
pub use seed::Seed;
