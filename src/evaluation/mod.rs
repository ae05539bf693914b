//! How good a run was, measured against labels that no feature has ever seen.

pub mod backtest;
pub mod compare;
pub mod labels;
pub mod matching;
pub mod metrics;
pub mod print;
pub mod report;
#[cfg(feature = "frame")]
pub mod source;

pub use labels::{Label, LabelCategory};
pub use report::{Evaluation, evaluate};
