//! Canonical events in, feature rows out.

pub mod catalog;
