//! Usual sessions of an organisation, so that a strange one can be shown beside the usual one most like it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::vocabulary::FIRST;

/// Distinct sessions that are kept, the most frequent first.
const MOST: usize = 1_000;

/// Steps of a session that are compared and kept.
const STEPS: usize = 64;

/// Sessions of which a larger share of steps would have to change are not alike.
const ALIKE: f64 = 0.6;

/// Distinct sessions by their first steps, and how often each was seen.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Usual {
    sessions: Vec<(Vec<u32>, f64)>,
}

impl Usual {
    /// Keeps the most frequent of these sessions.
    pub fn fit<'a>(sessions: impl Iterator<Item = &'a [u32]>) -> Self {
        let mut times: BTreeMap<&[u32], f64> = BTreeMap::new();
        for session in sessions.filter(|s| !s.is_empty()) {
            *times.entry(&session[..session.len().min(STEPS)]).or_default() += 1.0;
        }
        let mut sessions: Vec<(&[u32], f64)> = times.into_iter().collect();
        sessions.sort_by_key(|(_, times)| Reverse(*times as u64));
        sessions.truncate(MOST);
        Self { sessions: sessions.into_iter().map(|(s, times)| (s.to_vec(), times)).collect() }
    }

    /// The session with the fewest changes to these steps (Levenshtein, over the longer one's length), and how often it was
    /// seen; of equally near ones the most frequent. `None` if none is alike.
    pub fn nearest(&self, steps: &[u32]) -> Option<(&[u32], f64)> {
        let steps = steps[..steps.len().min(STEPS)].to_vec();
        let mut best = (ALIKE, None);
        for (session, times) in &self.sessions {
            let longer = session.len().max(steps.len()) as f64;
            if session.len().abs_diff(steps.len()) as f64 / longer >= best.0 {
                continue;
            }
            let distance = strsim::generic_levenshtein(session, &steps) as f64 / longer;
            if distance < best.0 {
                best = (distance, Some((session.as_slice(), *times)));
            }
        }
        best.1
    }

    /// What a model file keeps: how often each was seen and its length, in turn; and all steps.
    pub fn to_arrays(&self) -> [Vec<f64>; 2] {
        let about = self.sessions.iter().flat_map(|(s, times)| [*times, s.len() as f64]).collect();
        [about, self.sessions.iter().flat_map(|(s, _)| s.iter().map(|t| f64::from(*t))).collect()]
    }

    /// The inverse of [`Self::to_arrays`] for a vocabulary of so many symbols; `None` if it makes no sense.
    pub fn from_arrays(about: &[f64], tokens: &[f64], symbols: u32) -> Option<Self> {
        let (pairs, []) = about.as_chunks::<2>() else { return None };
        let mut sessions = Vec::with_capacity(pairs.len().min(MOST));
        let mut rest = tokens;
        for [times, length] in pairs {
            if !(*times >= 1.0 && times.is_finite() && (1.0..=STEPS as f64).contains(length)) {
                return None;
            }
            let (of, after) = rest.split_at_checked(*length as usize)?;
            let known = |t: &f64| t.fract() == 0.0 && *t < f64::from(symbols) && *t >= f64::from(FIRST - 1);
            if !of.iter().all(known) {
                return None;
            }
            sessions.push((of.iter().map(|t| *t as u32).collect(), *times));
            rest = after;
        }
        rest.is_empty().then_some(Self { sessions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual() -> Usual {
        let seen: [&[u32]; 5] = [&[3, 4, 5], &[3, 4, 5], &[6, 7, 8, 9], &[3, 4], &[]];
        Usual::fit(seen.into_iter())
    }

    #[test]
    fn the_nearest_session_takes_the_fewest_changes() {
        let usual = usual();
        assert_eq!(usual.nearest(&[6, 7, 9]), Some((&[6, 7, 8, 9][..], 1.0)));
        assert_eq!(
            usual.nearest(&[4, 5]),
            Some((&[3, 4, 5][..], 2.0)),
            "of (3 4 5) one step is taken, of (3 4) two change"
        );
        assert_eq!(usual.nearest(&[3, 11]), Some((&[3, 4][..], 1.0)), "half of it");
        assert_eq!(usual.nearest(&[11, 3, 12]), None, "too little in common");
        assert_eq!(usual.nearest(&[]), None);
        assert_eq!(Usual::default().nearest(&[3]), None);
    }

    #[test]
    fn of_long_sessions_the_beginning_is_kept_and_of_many_the_most_frequent() {
        let long: Vec<u32> = (0..200).map(|i| 3 + i % 5).collect();
        let rare: Vec<Vec<u32>> = (0..1_200).map(|i| vec![3 + i / 40, 3 + i % 40]).collect();
        let all = rare.iter().map(Vec::as_slice).chain([long.as_slice(), long.as_slice()]);
        let usual = Usual::fit(all);
        assert_eq!(usual.sessions.len(), MOST);
        assert_eq!(usual.nearest(&long), Some((&long[..STEPS], 2.0)));
    }

    #[test]
    fn arrays_come_back_and_nonsense_is_refused() {
        let usual = usual();
        let [about, tokens] = usual.to_arrays();
        assert_eq!(Usual::from_arrays(&about, &tokens, 10), Some(usual));
        let refused = |about: &[f64], tokens: &[f64]| Usual::from_arrays(about, tokens, 10).is_none();
        assert!(refused(&about[1..], &tokens) && refused(&about, &tokens[1..]));
        assert!(refused(&[2.0, 1.0], &[10.0]), "no such symbol");
        assert!(refused(&[2.0, 1.0], &[1.0]), "an end inside");
        assert!(refused(&[2.0, 1.0], &[f64::NAN]) && refused(&[f64::NAN, 1.0], &[3.0]) && refused(&[0.0, 1.0], &[3.0]));
        assert!(refused(&[1.0, 1e300], &[3.0]) && refused(&[1.0, -1.0], &[3.0]));
    }
}
