//! What is normal: learned behaviour of every identity, folded day by day.
//!
//! A baseline for day D is a fold over the days before D and nothing else. [`org::OrgState`] holds one organisation:
//! its users ([`user::UserState`]), apps, addresses and the organisation itself, and the values that anyone ever used.
//! Short histories lean on the peer group and the group on the organisation ([`priors`]).

pub mod cells;
pub mod org;
pub mod priors;
pub mod records;
pub mod stats;
pub mod user;
