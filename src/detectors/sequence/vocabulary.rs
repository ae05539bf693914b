//! Tokens as numbers. The vocabulary is frozen when training ends; whatever comes later is [`UNKNOWN`].

use std::borrow::Cow;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

/// Begins every sequence; never predicted.
pub const START: u32 = 0;
/// Ends every sequence: one that stops early is otherwise invisible.
pub const END: u32 = 1;
/// A token that training has not met.
pub const UNKNOWN: u32 = 2;
/// First number of a token with a name.
pub const FIRST: u32 = 3;

/// Longest name kept whole, in bytes; longer ones are abbreviated to a beginning and a digest.
const LONGEST: usize = 128;
const BEGINNING: usize = 80;

/// Names of tokens by number, from [`FIRST`] on.
#[derive(Debug, Clone, Default)]
pub struct Vocabulary {
    names: Vec<String>,
    numbers: HashMap<String, u32, FxBuildHasher>,
}

impl PartialEq for Vocabulary {
    fn eq(&self, other: &Self) -> bool {
        self.names == other.names
    }
}

impl Vocabulary {
    /// A vocabulary of these names, in this order. `None` if a name is there twice.
    pub fn new(names: Vec<String>) -> Option<Self> {
        let mut numbers = HashMap::with_capacity_and_hasher(names.len(), FxBuildHasher);
        for (i, name) in names.iter().enumerate() {
            if numbers.insert(name.clone(), FIRST + i as u32).is_some() {
                return None;
            }
        }
        Some(Self { names, numbers })
    }

    /// The names, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Number of all symbols: the three special ones and those with names.
    pub fn symbols(&self) -> u32 {
        FIRST + self.names.len() as u32
    }

    /// The number of a token.
    pub fn number(&self, token: &str) -> u32 {
        self.numbers.get(abbreviated(token).as_ref()).copied().unwrap_or(UNKNOWN)
    }

    /// The name of a number, for people.
    pub fn name(&self, number: u32) -> &str {
        match number {
            START => "start",
            END => "end",
            UNKNOWN => "unknown",
            named => self.names.get((named - FIRST) as usize).map_or("unknown", String::as_str),
        }
    }
}

/// A token as the vocabulary keeps it: an attacker who chooses names must not choose the size of the model.
pub fn abbreviated(token: &str) -> Cow<'_, str> {
    if token.len() <= LONGEST {
        return Cow::Borrowed(token);
    }
    let beginning = &token[..token.floor_char_boundary(BEGINNING)];
    let digest = blake3::hash(token.as_bytes()).to_hex();
    Cow::Owned(format!("{beginning}…{}", &digest[..16]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_tokens_stay_distinct_and_short_in_the_vocabulary() {
        let long = |last: char| format!("{}{last}", "é".repeat(40_000));
        let names: Vec<String> = ['a', 'b'].iter().map(|c| abbreviated(&long(*c)).into_owned()).collect();
        assert!(names[0] != names[1] && names.iter().all(|n| n.len() <= LONGEST));
        let v = Vocabulary::new(names).unwrap();
        assert_eq!((v.number(&long('a')), v.number(&long('b')), v.number(&long('c'))), (FIRST, FIRST + 1, UNKNOWN));
    }

    #[test]
    fn a_name_stands_for_one_number() {
        assert_eq!(Vocabulary::new(vec!["a".into(), "a".into()]), None);
    }
}
