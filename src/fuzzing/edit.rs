//! Bytes as a list of small changes to a model: what is deep inside of a file of forty kilobytes is found sooner so than by
//! changing its bytes, most of which say nothing.

use crate::models::{Array, Record};

/// Numbers at which arithmetic goes wrong.
const NUMBERS: [f64; 16] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    2.0,
    255.0,
    65_536.0,
    4_294_967_296.0,
    9_007_199_254_740_992.0,
    1e18,
    1e308,
    -1e308,
    5e-324,
    1e-300,
    -2.5,
];

/// Reads numbers off the front of bytes, zeros when they have ended.
pub(super) struct Taker<'a>(pub(super) &'a [u8]);

impl Taker<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().map_or((0, &[][..]), |(first, rest)| (*first, rest));
        self.0 = rest;
        first
    }

    /// A number below `n`, which is not 0.
    pub(super) fn below(&mut self, n: usize) -> usize {
        usize::from(u16::from_le_bytes([self.byte(), self.byte()])) % n
    }

    fn number(&mut self, old: f64) -> f64 {
        match self.byte() % 6 {
            0 => NUMBERS[self.below(NUMBERS.len())],
            1 => f64::from(self.byte()),
            2 => -f64::from(self.byte()),
            3 => old + 1.0,
            4 => old * 2.0,
            _ => f64::from_le_bytes(std::array::from_fn(|_| self.byte())),
        }
    }
}

/// Changes one list of numbers.
fn change(values: &mut Vec<f64>, data: &mut Taker<'_>) {
    match data.byte() % 8 {
        0 => values.truncate(data.below(values.len() + 1)),
        1 => values.push(data.number(0.0)),
        2 if !values.is_empty() => drop(values.remove(data.below(values.len()))),
        3 => values.clear(),
        _ if !values.is_empty() => {
            let at = data.below(values.len());
            values[at] = data.number(values[at]);
        }
        _ => {}
    }
}

/// Applies changes until there are none left.
pub(super) fn apply(arrays: &mut Vec<Array>, records: &mut Vec<Record>, data: &[u8]) {
    let mut data = Taker(data);
    while !data.is_empty() {
        let what = data.byte();
        if what.is_multiple_of(2) && !arrays.is_empty() {
            let at = data.below(arrays.len());
            let array = &mut arrays[at];
            match what / 2 % 8 {
                0 => drop(arrays.remove(at)),
                1 => array.shape.reverse(),
                2 => array.shape = vec![array.values.len()],
                _ => {
                    let (rows, cols) = (array.shape.first().copied(), array.shape.get(1).copied());
                    change(&mut array.values, &mut data);
                    // The shape follows where it can, so that the container is not all that ever refuses.
                    let n = array.values.len();
                    array.shape = match (rows, cols) {
                        (Some(rows), Some(cols)) if rows * cols == n => vec![rows, cols],
                        (_, Some(cols)) if cols > 0 && n.is_multiple_of(cols) => vec![n / cols, cols],
                        _ => vec![n],
                    };
                }
            }
        } else if !records.is_empty() {
            let at = data.below(records.len());
            let from = data.below(records.len());
            match what / 2 % 8 {
                0 => drop(records.remove(at)),
                1 => records.insert(at, records[from].clone()),
                2 => records[at].key = records[from].key.clone(),
                3 => records[at].section = records[from].section.clone(),
                4 => {
                    records[at].key[usize::from(data.byte() % 3)] =
                        String::from_utf8_lossy(&[data.byte()]).into_owned();
                }
                _ => change(&mut records[at].numbers, &mut data),
            }
        }
    }
}
