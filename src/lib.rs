//! quietwatch learns how every user, integration and app normally uses an organisation's APIs, and each night lists
//! what changed and why it matters.

pub mod anomaly;
pub mod config;
pub mod date;
pub mod enrich;
pub mod error;
pub mod events;
pub mod features;
pub mod seed;
pub mod tables;

pub use date::Date;
pub use error::{Error, Kind, Result};
pub use seed::Seed;
