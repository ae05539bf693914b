//! Family novelty: what was never, or hardly ever, seen before, and in which mix.

pub mod mix;
pub mod values;
