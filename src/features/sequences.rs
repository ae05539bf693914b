//! Token sequences from Parquet or CSV: `sequence_id`, `tokens` (a list, or one text whose tokens stand apart) and, where it is
//! known who made them, `entity`.

use std::path::Path;

use hashbrown::HashMap;
use polars_arrow::array::{Array, ListArray, PrimitiveArray};
use polars_arrow::offset::Offset;
use rustc_hash::FxBuildHasher;

use super::table::{self, Key, Wanted, listed};
use crate::config::settings::Limits;
use crate::detectors::sequence::vocabulary::{Vocabulary, abbreviated};
use crate::error::{Error, Kind, Result};

/// The columns.
const ID: &str = "sequence_id";
const TOKENS: &str = "tokens";
const ENTITY: &str = "entity";

/// Sequences that were read.
#[derive(Debug)]
pub struct Sequences {
    /// `sequence_id`, and `entity` where there is one, as they came.
    pub keys: Vec<Key>,
    /// Who made each.
    pub entities: Option<Vec<String>>,
    /// The distinct tokens, as a vocabulary names them, in the order in which they were met.
    pub words: Vec<String>,
    /// All tokens, each the number of a word, one sequence after the other.
    tokens: Vec<u32>,
    /// Where each sequence ends.
    ends: Vec<usize>,
    /// Columns that nobody asked for.
    pub unused: Vec<String>,
}

impl Sequences {
    /// Number of sequences.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no sequence.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Number of tokens of all sequences.
    pub fn tokens(&self) -> usize {
        self.tokens.len()
    }

    /// The tokens of each sequence as numbers of words.
    pub fn iter(&self) -> impl Iterator<Item = &[u32]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(from, to)| &self.tokens[from..*to])
    }

    /// The tokens of one sequence.
    pub fn tokens_of(&self, sequence: usize) -> Vec<&str> {
        let tokens = self.iter().nth(sequence).unwrap_or_default();
        tokens.iter().map(|&word| self.words[word as usize].as_str()).collect()
    }

    /// The words that are in most sequences, at most so many; of words in equally many, those met first.
    pub fn vocabulary(&self, most: usize) -> Vocabulary {
        let mut holders = vec![(0_u32, usize::MAX); self.words.len()];
        for (i, sequence) in self.iter().enumerate() {
            for &word in sequence {
                let (count, last) = &mut holders[word as usize];
                if *last != i {
                    *count += 1;
                    *last = i;
                }
            }
        }
        let mut order: Vec<usize> = (0..self.words.len()).collect();
        order.sort_by_key(|&w| std::cmp::Reverse(holders[w].0));
        order.truncate(most);
        Vocabulary::new(order.into_iter().map(|w| self.words[w].clone()).collect()).expect("words are distinct")
    }

    /// All tokens as numbers of a vocabulary; cut with [`Self::cut`].
    pub fn encode(&self, vocabulary: &Vocabulary) -> Vec<u32> {
        let numbers: Vec<u32> = self.words.iter().map(|w| vocabulary.number(w)).collect();
        self.tokens.iter().map(|&w| numbers[w as usize]).collect()
    }

    /// Cuts what [`Self::encode`] gave into sequences.
    pub fn cut<'e>(&self, encoded: &'e [u32]) -> Vec<&'e [u32]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(from, to)| &encoded[from..*to]).collect()
    }

    /// Digest of the sequences and their makers. Ids are no part of it: nothing is learned from them.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut add = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        for (i, sequence) in self.iter().enumerate() {
            add(self.entities.as_ref().map_or("", |e| e[i].as_str()));
            add(&sequence.len().to_string());
            sequence.iter().for_each(|&word| add(&self.words[word as usize]));
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// Distinct words as they are met.
#[derive(Default)]
struct Reader {
    numbers: HashMap<String, u32, FxBuildHasher>,
    words: Vec<String>,
    tokens: Vec<u32>,
    ends: Vec<usize>,
}

impl Reader {
    fn push(&mut self, token: &str) {
        let token = abbreviated(token);
        let number = self.numbers.get(token.as_ref()).copied().unwrap_or_else(|| {
            let number = self.words.len() as u32;
            self.words.push(token.clone().into_owned());
            self.numbers.insert(token.into_owned(), number);
            number
        });
        self.tokens.push(number);
    }

    fn end(&mut self) {
        self.ends.push(self.tokens.len());
    }
}

/// Reads sequences. Errors: [`Kind::Input`] if a column is missing or the file cannot be read.
pub fn read(path: &Path, limits: &Limits) -> Result<Sequences> {
    let columns = table::columns(path, limits)?;
    let has = |name: &str| columns.iter().any(|c| c == name);
    if let Some(missing) = [ID, TOKENS].into_iter().find(|name| !has(name)) {
        let message = format!(
            "{}: expected the columns {ID:?}, {TOKENS:?} and, if it is known who made a sequence, {ENTITY:?}; found no \
             {missing:?} among {}",
            path.display(),
            listed(&columns)
        );
        return Err(Error::new(Kind::Input, message));
    }
    let lists = table::lists(path, TOKENS, limits)?;
    let mut keys: Vec<String> = vec![ID.to_owned()];
    keys.extend(has(ENTITY).then(|| ENTITY.to_owned()));
    let with_text = [keys.clone(), vec![TOKENS.to_owned()]].concat();
    let wanted = if lists.is_some() { &keys } else { &with_text };
    let mut table = table::read(path, Wanted { keys: wanted, excluded: &[], learned: Some(&[]) }, limits)?;
    let mut reader = Reader::default();
    if let Some(parts) = lists {
        for part in parts {
            push_lists(part.as_ref(), &mut reader).ok_or_else(|| {
                let message = format!(
                    "{}: expected {TOKENS:?} to be lists of texts or numbers, or texts, found {:?}",
                    path.display(),
                    part.dtype()
                );
                Error::new(Kind::Input, message)
            })?;
        }
        table.unused.retain(|c| c != TOKENS);
    } else {
        let text = table.keys.pop().expect("it was asked for");
        for row in 0..text.values.len() {
            text.text(row).split_ascii_whitespace().for_each(|token| reader.push(token));
            reader.end();
        }
    }
    let rows = table.numbers.rows;
    if reader.ends.len() != rows {
        let message = format!("{}: damaged Parquet file; fetch it again", path.display());
        return Err(Error::new(Kind::Input, message));
    }
    let entities = has(ENTITY).then(|| (0..rows).map(|row| table.keys[1].text(row)).collect());
    let Reader { words, tokens, ends, .. } = reader;
    Ok(Sequences { keys: table.keys, entities, words, tokens, ends, unused: table.unused })
}

/// The tokens of lists of texts or numbers; `None` if they are of something else.
fn push_lists(array: &dyn Array, reader: &mut Reader) -> Option<()> {
    if let Some(list) = array.as_any().downcast_ref::<ListArray<i64>>() {
        return push_list(list, reader);
    }
    push_list(array.as_any().downcast_ref::<ListArray<i32>>()?, reader)
}

fn push_list<O: Offset>(list: &ListArray<O>, reader: &mut Reader) -> Option<()> {
    let values = Key { name: TOKENS.to_owned(), values: list.values().clone() };
    if !table::can_be_key(values.values.dtype()) || values.values.as_any().is::<PrimitiveArray<f64>>() {
        return None;
    }
    for row in 0..list.len() {
        if list.is_valid(row) {
            let (from, to) = list.offsets().start_end(row);
            for at in (from..to).filter(|at| values.values.is_valid(*at)) {
                reader.push(&values.text(at));
            }
        }
        reader.end();
    }
    Some(())
}
