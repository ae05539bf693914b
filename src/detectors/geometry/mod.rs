//! Family geometry: rows whose every value is ordinary and whose combination is not.
//!
//! Members see scaled, finite rows ([`matrix`]) and give raw scores, higher = odder. The extended isolation forest
//! ([`forest`]) is the first of them; no command uses the family yet.

#[cfg(feature = "neural")]
pub mod autoencoder;
pub mod backend;
pub mod dbscan;
pub mod family;
pub mod forest;
pub mod gaussian;
pub mod knn;
pub mod linalg;
pub mod matrix;
pub mod members;
pub mod svm;
