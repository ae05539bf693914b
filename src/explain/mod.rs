//! Evidence and stories: from the facts of the detectors to what a person reads. Every sentence states something that
//! can be checked in the log.

mod order;
pub mod picture;
pub mod sentence;
pub mod story;
pub mod words;
