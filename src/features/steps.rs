//! Objects of steps where a profile makes them of other columns than the object's name.

use hashbrown::HashMap;
use rustc_hash::{FxBuildHasher, FxHashMap};

use super::status_class;
use crate::events::batch::{Events, Field};
use crate::events::step::StepColumn;
use crate::tables::Sym;

/// Times since the call before, by `gap_bucket`.
const GAPS: [&str; 8] = ["first", "<10ms", "<100ms", "<1s", "<10s", "<100s", "<1000s", ">=1000s"];

/// The texts that stand for an object in steps, and which of them each event has.
#[derive(Debug)]
pub(super) struct Objects {
    texts: Vec<String>,
    of: Vec<u32>,
    with_action: bool,
    with_gap: bool,
}

impl Objects {
    /// `None` if the steps are made of the usual columns.
    pub(super) fn new(events: &Events, columns: &[StepColumn]) -> Option<Self> {
        if StepColumn::are_usual(columns) {
            return None;
        }
        let mut rows: HashMap<Vec<u32>, u32, FxBuildHasher> = HashMap::default();
        let mut numbers: HashMap<String, u32, FxBuildHasher> = HashMap::default();
        let mut texts = Vec::new();
        let of = (0..events.len())
            .map(|row| {
                let key: Vec<u32> = columns.iter().map(|column| code(events, *column, row)).collect();
                *rows.entry(key).or_insert_with(|| {
                    let text = text(events, columns, row);
                    *numbers.entry(text).or_insert_with_key(|text| {
                        texts.push(text.clone());
                        texts.len() as u32 - 1
                    })
                })
            })
            .collect();
        let has = |wanted| columns.contains(&wanted);
        Some(Self { texts, of, with_action: has(StepColumn::Action), with_gap: has(StepColumn::Gap) })
    }

    /// The number of an event's object, a time `gap` after the call before.
    pub(super) fn code(&self, event: u32, gap: u8) -> u32 {
        self.of[event as usize] * GAPS.len() as u32 + if self.with_gap { u32::from(gap) } else { 0 }
    }

    /// Whether the verb class is a part of the steps.
    pub(super) fn with_action(&self) -> bool {
        self.with_action
    }

    /// The symbol of a number; `known` are those that already have one.
    pub(super) fn symbol(&self, code: u32, known: &mut FxHashMap<u32, Sym>, text: &mut Vec<String>) -> Sym {
        *known.entry(code).or_insert_with(|| {
            let (object, gap) = (&self.texts[code as usize / GAPS.len()], GAPS[code as usize % GAPS.len()]);
            let name = match (object.as_str(), self.with_gap) {
                (object, false) => object.to_owned(),
                ("", true) => gap.to_owned(),
                (object, true) => format!("{object} {gap}"),
            };
            if name.is_empty() {
                return 0;
            }
            text.push(name);
            text.len() as u32 - 1
        })
    }
}

/// Tells events with different texts of a column apart.
fn code(events: &Events, column: StepColumn, row: usize) -> u32 {
    match column {
        StepColumn::Text(field) => events.column(field).codes[row],
        StepColumn::StatusClass => status_class(events.status[row]).into(),
        StepColumn::Action | StepColumn::Gap => 0,
    }
}

/// What the columns of a row say but its verb class and pace, with spaces between.
fn text(events: &Events, columns: &[StepColumn], row: usize) -> String {
    let mut out = String::new();
    for column in columns {
        let class;
        let part = match column {
            StepColumn::Text(field) => {
                let all = events.column(*field);
                let whole = all.dictionary.get(all.codes[row]);
                if *field == Field::Entity { super::day::members(whole).min().unwrap_or("") } else { whole }
            }
            StepColumn::StatusClass => {
                class = match status_class(events.status[row]) {
                    0 => String::new(),
                    hundreds => format!("{hundreds}xx"),
                };
                &class
            }
            StepColumn::Action | StepColumn::Gap => "",
        };
        if !part.is_empty() {
            if !out.is_empty() {
                out.push(' ');
            }
            out.push_str(part);
        }
    }
    out
}
