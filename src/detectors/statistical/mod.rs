//! Families count, rate and time: how much, which share, and when, beside the user's own history and peers.

pub mod continuous;
pub mod counts;
pub mod hours;
pub mod rates;
pub mod rules;
pub mod sessions;
pub mod trend;
