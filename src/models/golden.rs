//! Golden rows: a few inputs of a model with the p-values that the engine which trained it computed. An alias names a
//! version only if this engine, on this machine, computes the same.

use serde::{Deserialize, Serialize};

use crate::anomaly::SubjectType;

/// One row and its p-value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Golden {
    /// A subject of the last training night, scored by what the model remembers of it on the day after.
    Subject {
        /// Organisation.
        org: String,
        /// Type.
        subject: SubjectType,
        /// Id within its type.
        id: String,
        /// A user who did not come.
        silent: bool,
        /// Usual calls a day.
        activity: f64,
        /// Raw score per slot.
        scores: Vec<f32>,
        /// Final p-value.
        p_value: f64,
    },
    /// A user, if nobody came on the day after the training.
    Absent {
        /// Organisation.
        org: String,
        /// The user.
        id: String,
        /// How likely the model takes the user to come on that day, 0..=1.
        usual: f64,
        /// Usual calls a day.
        calls: f64,
        /// Final p-value.
        p_value: f64,
    },
    /// A row of the table.
    Row {
        /// The columns learned; none where the table had no number.
        values: Vec<Option<f64>>,
        /// Its p-value.
        p_value: f64,
    },
    /// A sequence, or the beginning of one.
    Sequence {
        /// Numbers of its tokens in the vocabulary.
        tokens: Vec<u32>,
        /// Who made it, if that was learned.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        entity: Option<String>,
        /// Its p-value.
        p_value: f64,
    },
}

/// Largest relative difference of −ln p that still counts as equal: what two types of processor may differ by.
const TOLERANCE: f64 = 1e-6;

/// Whether two p-values are the same but for the rounding of another processor.
pub fn agree(expected: f64, found: f64) -> bool {
    let (a, b) = (expected.ln(), found.ln());
    // Two zeros, whose logarithms have no difference.
    expected == found || (a - b).abs() <= TOLERANCE * a.abs().max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rounding_counts_as_equal() {
        assert!(agree(1e-5, 1e-5) && agree(1e-5, 1e-5 * (1.0 + 1e-6)) && agree(1.0, 1.0 - 1e-9));
        assert!(!agree(1e-5, 1.001e-5) && !agree(0.5, 0.501) && !agree(0.5, f64::NAN) && !agree(f64::NAN, 0.5));
        assert!(!agree(1e-5, 0.0));
    }

    #[test]
    fn golden_rows_come_back_bit_equal() {
        let rows = [
            Golden::Row { values: vec![Some(0.1), None, Some(-1e300)], p_value: 5e-324 },
            Golden::Sequence { tokens: vec![1, 0, 7], entity: Some("é".into()), p_value: 1.0 },
            Golden::Sequence { tokens: vec![], entity: None, p_value: 0.5 },
            Golden::Absent { org: "o".into(), id: "é".into(), usual: 0.95, calls: 7.5, p_value: 0.1 + 0.2 },
            Golden::Subject {
                org: "o".into(),
                subject: SubjectType::AppDay,
                id: "a".into(),
                silent: false,
                activity: 1.0 / 3.0,
                scores: vec![0.1, f32::MIN_POSITIVE, 1.0 / 3.0],
                p_value: 1e-9,
            },
        ];
        let text = serde_json::to_string(&rows).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Golden>>(&text).unwrap(), rows);
    }
}
