//! What scoring keeps of a night for the nights after it: text of one line of JSON per subject, led by its own digest.

use serde::{Deserialize, Serialize};

use crate::anomaly::SubjectType;
use crate::baseline::user::HABITS;
use crate::features::catalog::Family;
use crate::fusion::drift::Counted;

/// One subject of a scored night, as kept for the nights after it. Numbers are IEEE bits: they must come back exactly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct KeptSubject {
    pub(super) org: String,
    pub(super) subject: SubjectType,
    pub(super) id: String,
    pub(super) silent: bool,
    pub(super) p: u64,
    pub(super) fused: u64,
    pub(super) families: [u64; 6],
    pub(super) habits: [u64; HABITS],
    /// It was expected, so that it is not learned.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) expected: bool,
    /// Raw scores of an active user, if the model looks at weeks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) scores: Vec<u32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct KeptHeader {
    pub(super) chain: String,
    pub(super) subjects: usize,
    pub(super) counted: Counted,
    pub(super) reported: Vec<(String, SubjectType, String, Family, u64)>,
}

/// What is kept of a night; `None` if not every byte of it is what was written.
pub(super) fn read_kept(text: &str) -> Option<(KeptHeader, Vec<KeptSubject>)> {
    let (digest, body) = text.split_once('\n')?;
    if blake3::hash(body.as_bytes()).to_hex().as_str() != digest {
        return None;
    }
    let mut lines = body.lines();
    let header: KeptHeader = serde_json::from_str(lines.next()?).ok()?;
    let subjects: Vec<KeptSubject> = lines.map(|l| serde_json::from_str(l).ok()).collect::<Option<_>>()?;
    (subjects.len() == header.subjects).then_some((header, subjects))
}

/// The text to keep.
pub(super) fn write_kept(header: &KeptHeader, subjects: &[KeptSubject]) -> String {
    let mut body = serde_json::to_string(header).expect("plain data serialises");
    for s in subjects {
        body.push('\n');
        body.push_str(&serde_json::to_string(s).expect("plain data serialises"));
    }
    // The digest leads: what is kept is used only if every byte of it is what was written.
    format!("{}\n{body}", blake3::hash(body.as_bytes()).to_hex())
}
