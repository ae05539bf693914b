//! Family geometry: rows whose every value is ordinary and whose combination is not.
//!
//! Members see scaled, finite rows ([`matrix`]) and give raw scores, higher = odder. The extended isolation forest
//! ([`forest`]) is the first of them; no command uses the family yet.

pub mod forest;
pub mod matrix;
