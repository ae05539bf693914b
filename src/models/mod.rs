//! stub replaced on merge
/// One row of a baseline: a section, three text keys, numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Section.
    pub section: String,
    /// Keys.
    pub key: [String; 3],
    /// Numbers.
    pub numbers: Vec<f64>,
}
