//! Family geometry: rows whose every value is ordinary and whose combination is not.
//!
//! Members see scaled, finite rows ([`matrix`]) and give raw scores, higher = odder; [`members`] fits them together, and
//! [`family`] makes one p-value of what they say. `docs/detectors.md` describes each of them.

#[cfg(feature = "neural")]
pub mod autoencoder;
pub mod backend;
pub mod dbscan;
pub mod family;
#[cfg(test)]
mod family_tests;
pub mod forest;
pub mod gaussian;
pub mod knn;
pub mod linalg;
pub mod matrix;
pub mod members;
#[cfg(test)]
mod oracle_tests;
pub mod svm;
