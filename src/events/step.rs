//! What a step of a session is made of: the columns that a profile lists under `[sequence] token`.

use serde::{Deserialize, Serialize};

use super::batch::Field;

/// One part of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum StepColumn {
    /// The verb class.
    Action,
    /// The text of a column; of an object that holds several, the first.
    Text(Field),
    /// HTTP status by hundreds.
    StatusClass,
    /// Time since the session's call before, on a logarithmic scale.
    Gap,
}

impl StepColumn {
    /// What a step is made of unless a profile says otherwise. That a call failed is no part of it: a fault of the platform
    /// would make everyone's sessions strange. Nor is the pace: it would take most n-grams apart.
    pub const USUAL: [Self; 2] = [Self::Action, Self::Text(Field::Entity)];

    /// A column by its name in a profile.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "action" => Some(Self::Action),
            "status_class" => Some(Self::StatusClass),
            "gap" => Some(Self::Gap),
            text => Field::ALL.into_iter().find(|f| f.name() == text).map(Self::Text),
        }
    }

    /// The name in a profile.
    pub fn name(self) -> &'static str {
        match self {
            Self::Action => "action",
            Self::Text(field) => field.name(),
            Self::StatusClass => "status_class",
            Self::Gap => "gap",
        }
    }

    /// [`Self::USUAL`], as a list.
    pub fn usual() -> Vec<Self> {
        Self::USUAL.to_vec()
    }

    /// Whether a list is [`Self::USUAL`].
    pub fn are_usual(columns: &[Self]) -> bool {
        columns == Self::USUAL
    }
}

impl From<StepColumn> for String {
    fn from(column: StepColumn) -> Self {
        column.name().to_owned()
    }
}

impl TryFrom<String> for StepColumn {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::from_name(&name).ok_or_else(|| format!("no column of a step: {name:?}"))
    }
}
