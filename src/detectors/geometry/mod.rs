//! Family geometry: rows whose every value is ordinary and whose combination is not.
//!
//! Members see scaled, finite rows ([`matrix`]) and give raw scores, higher = odder; [`members`] fits them together, and
//! `fusion` makes one p-value of what they say: `fusion::compound` on nights, `fusion::table` on tables. `docs/detectors.md` describes
//! each of them.

#[cfg(feature = "neural")]
pub mod autoencoder;
pub mod backend;
pub mod dbscan;
pub mod forest;
pub mod gaussian;
pub mod knn;
pub mod linalg;
pub mod matrix;
pub mod members;
#[cfg(test)]
mod oracle_tests;
pub mod svm;
