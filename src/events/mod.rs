//! Raw logs in, canonical events out.

pub mod action;
pub mod batch;
