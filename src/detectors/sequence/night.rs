//! The order of calls on nights: what is known of the sessions of one organisation, and the detector that asks whether one of
//! a user's sessions is strange, strange in a part, or strange for this user.
//!
//! A step of a session is a verb class and an object. Objects of steps that few sessions have are left out of it: that an
//! object is new is for the family novelty to say, and that a call failed for the family rate.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::corpus::{Corpus, LONGEST};
use super::habits::Habits;
use super::ngram::Ngrams;
use super::tail::Tail;
use super::usual::Usual;
use super::vocabulary::{END, FIRST, UNKNOWN, Vocabulary};
use super::votes;
use crate::anomaly::Category;
use crate::baseline::stats::ln_sidak;
use crate::config::Sequence;
use crate::detectors::{Detector, Fact, Findings, SessionOf, Slot, UserDay};
use crate::features::catalog::Family;
use crate::tables::Steps;

/// Fewest sessions that an organisation's order is learned from.
const FEWEST: usize = 300;

/// Sessions with a step before its object is a part of it: so many, and so large a share of all.
const COMMON: u32 = 10;
const COMMON_SHARE: f64 = 0.001;

/// Fewest steps that have an order.
const SHORTEST: usize = 3;

/// Steps of the part of a session that is looked at by itself, and how far apart two such parts begin.
const PART: usize = 12;
const STRIDE: usize = 4;

/// A word or a user's habits as a record: kind (`word` or `habit`), name, numbers.
pub type Named<'a> = (&'a str, &'a str, &'a [f64]);

/// What is known of the sessions of one organisation.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    vocabulary: Vocabulary,
    ngrams: Ngrams,
    habits: Habits,
    /// Of training sessions, each left out: mean surprise, that of the most surprising part, and how strange to their users.
    tails: [Tail; 3],
    usual: Usual,
}

impl Order {
    /// Learns sessions; `None` if there are too few.
    pub fn fit(of: &Corpus, settings: &Sequence) -> Option<Self> {
        if of.sessions.len() < FEWEST {
            return None;
        }
        let vocabulary = vocabulary(of, settings.vocabulary as usize);
        let numbers: Vec<u32> = of.words.iter().map(|(full, coarse)| number(&vocabulary, full, coarse)).collect();
        let marked: Vec<u32> = of.steps.iter().map(|w| numbers[*w as usize]).collect();
        let encoded = unmarked(&marked);
        let starts = || std::iter::once(0).chain(of.sessions.iter().map(|s| s.1));
        let cut = |from: usize, to: usize| (&encoded[from..to], &marked[from..to]);
        let (sessions, marks): (Vec<&[u32]>, Vec<&[u32]>) =
            starts().zip(&of.sessions).map(|(from, (_, to))| cut(from, *to)).unzip();
        let users = || of.sessions.iter().map(|(user, _)| of.users[*user as usize].as_str());
        let (order, most, symbols) =
            (settings.night_order as usize, settings.night_ngrams as usize, vocabulary.symbols());
        let alike = vec![1.0; sessions.len()];
        let plain = Ngrams::fit(&sessions, &alike, symbols, order, most);
        let oddness: Vec<f64> = left_out(&plain, &sessions, &marks, &alike).into_iter().map(|(mean, _)| mean).collect();
        let weights = votes(&oddness, settings.odd_share);
        let ngrams = Ngrams::fit(&sessions, &weights, symbols, order, most);
        let habits = Habits::fit(&sessions, users(), &weights, symbols, Habits::HIGHEST_ORDER);
        let (means, parts): (Vec<f64>, Vec<f64>) = left_out(&ngrams, &sessions, &marks, &weights).into_iter().unzip();
        let users: Vec<&str> = users().collect();
        let strange: Vec<f64> =
            (0..sessions.len()).into_par_iter().map(|i| habits.stranger(users[i], sessions[i], weights[i])).collect();
        let lengths: Vec<usize> = sessions.iter().map(|s| s.len()).collect();
        let tails = [means, parts, strange].map(|scores| Tail::fit(&scores, &lengths));
        let usual = Usual::fit(sessions.iter().zip(&weights).filter(|(_, w)| **w == 1.0).map(|(s, _)| *s));
        Some(Self { vocabulary, ngrams, habits, tails, usual })
    }

    /// Numbers of a day's words.
    pub fn encode(&self, steps: &Steps) -> Vec<u32> {
        steps.words.iter().map(|(full, coarse)| number(&self.vocabulary, full, coarse)).collect()
    }

    /// What a model file keeps of it under a prefix.
    pub fn to_arrays(&self, prefix: &str) -> Vec<(String, Vec<f64>)> {
        let mut out: Vec<(String, Vec<f64>)> =
            self.ngrams.to_arrays(prefix).into_iter().map(|(name, _, values)| (name, values)).collect();
        for (name, tail) in TAILS.iter().zip(&self.tails) {
            out.push((format!("{prefix}/tail/{name}"), tail.to_numbers()));
        }
        let [about, tokens] = self.usual.to_arrays();
        out.push((format!("{prefix}/usual/about"), about));
        out.push((format!("{prefix}/usual/tokens"), tokens));
        out
    }

    /// And of its names: kind (`word` or `habit`), name, numbers.
    pub fn to_records(&self) -> Vec<(&'static str, String, Vec<f64>)> {
        let words = self.vocabulary.names().iter().enumerate();
        let words = words.map(|(i, name)| ("word", name.clone(), vec![i as f64]));
        words.chain(self.habits.to_records().map(|(name, numbers)| ("habit", name.to_owned(), numbers))).collect()
    }

    /// The inverse of [`Self::to_arrays`] and [`Self::to_records`]; `Err` names what is missing or makes no sense.
    pub fn from_parts(arrays: &BTreeMap<&str, &[f64]>, prefix: &str, records: &[Named<'_>]) -> Result<Self, String> {
        let numbers = |name: &str| {
            let name = format!("{prefix}/{name}");
            arrays.get(name.as_str()).copied().ok_or(name)
        };
        let mut words = Vec::new();
        for (_, name, at) in records.iter().filter(|r| r.0 == "word") {
            if *at != [words.len() as f64] {
                return Err(format!("the words of {prefix}"));
            }
            words.push((*name).to_owned());
        }
        let vocabulary = Vocabulary::new(words).ok_or_else(|| format!("the words of {prefix}"))?;
        let ngrams = Ngrams::from_arrays(numbers("ngram/about")?, numbers("ngram/nodes")?)
            .filter(|m| m.predicted() == f64::from(vocabulary.symbols() - 1))
            .ok_or_else(|| format!("{prefix}/ngram/nodes"))?;
        let of_users = records.iter().filter(|r| r.0 == "habit").map(|r| (r.1, r.2));
        let habits = Habits::from_records(of_users, vocabulary.symbols(), Habits::HIGHEST_ORDER)
            .ok_or_else(|| format!("the habits of {prefix}"))?;
        let tail = |name: &str| {
            let name = format!("tail/{name}");
            Tail::from_numbers(numbers(&name)?).ok_or(format!("{prefix}/{name}"))
        };
        let tails = [tail(TAILS[0])?, tail(TAILS[1])?, tail(TAILS[2])?];
        let usual = Usual::from_arrays(numbers("usual/about")?, numbers("usual/tokens")?, vocabulary.symbols())
            .ok_or_else(|| format!("{prefix}/usual"))?;
        Ok(Self { vocabulary, ngrams, habits, tails, usual })
    }
}

const TAILS: [&str; 3] = ["order", "part", "habit"];

/// Steps that are in enough sessions, with their objects; of the others what is left without.
fn vocabulary(of: &Corpus, most: usize) -> Vocabulary {
    let mut holders = vec![(0_u32, usize::MAX); of.words.len()];
    let mut from = 0;
    for (i, (_, to)) in of.sessions.iter().enumerate() {
        for word in &of.steps[from..*to] {
            let (count, last) = &mut holders[*word as usize];
            if *last != i {
                *count += 1;
                *last = i;
            }
        }
        from = *to;
    }
    let common = COMMON.max((COMMON_SHARE * of.sessions.len() as f64) as u32);
    let mut names: BTreeMap<&str, u32> = BTreeMap::new();
    for ((full, coarse), (count, _)) in of.words.iter().zip(&holders) {
        let name = if *count >= common { full } else { coarse };
        *names.entry(name).or_default() += count;
    }
    let mut order: Vec<(&str, u32)> = names.into_iter().filter(|(_, count)| *count > 1).collect();
    order.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    order.truncate(most);
    Vocabulary::new(order.into_iter().map(|(name, _)| name.to_owned()).collect()).expect("names are distinct")
}

/// Marks the number of a step whose object was left out. Neither it nor what follows it is judged: it would only say
/// once more that the object is new.
const BARE: u32 = 1 << 31;

fn number(vocabulary: &Vocabulary, full: &str, coarse: &str) -> u32 {
    match vocabulary.number(full) {
        UNKNOWN => vocabulary.number(coarse) | BARE,
        known => known,
    }
}

/// The numbers without their marks.
fn unmarked(marked: &[u32]) -> Vec<u32> {
    marked.iter().map(|n| n & !BARE).collect()
}

/// Where a session is judged: the places of its steps, and of its end, that are no bare step and follow none.
fn judged(marked: &[u32]) -> impl Iterator<Item = usize> {
    let bare = |at: usize| marked.get(at).is_some_and(|n| n & BARE != 0);
    (0..=marked.len()).filter(move |&at| !bare(at) && (at == 0 || !bare(at - 1)))
}

/// Mean surprise of each session, and that of its most surprising part, as if it had not been learned.
fn left_out(ngrams: &Ngrams, sessions: &[&[u32]], marks: &[&[u32]], weights: &[f64]) -> Vec<(f64, f64)> {
    sessions
        .par_iter()
        .zip(marks)
        .zip(weights)
        .map_init(Vec::new, |out, ((s, marked), w)| {
            ngrams.surprise_left_out(s, *w, out);
            let (mean, part) = summary(&judged(marked).map(|at| out[at]).collect::<Vec<_>>());
            (mean, part)
        })
        .collect()
}

/// Mean surprise, and the highest mean of a part.
fn summary(surprise: &[f64]) -> (f64, f64) {
    let mean = |s: &[f64]| s.iter().sum::<f64>() / s.len().max(1) as f64;
    let whole = mean(surprise);
    let mut best = whole;
    if surprise.len() > PART {
        for from in (0..=surprise.len() - PART).step_by(STRIDE).chain([surprise.len() - PART]) {
            best = best.max(mean(&surprise[from..from + PART]));
        }
    }
    (whole, best)
}

/// A session of a user-day that stands out, and by what.
struct Found {
    row: usize,
    ln_p: f64,
    score: f64,
}

/// Asks of a user's sessions whether their order is strange.
#[derive(Debug)]
pub struct Sequences;

impl Detector for Sequences {
    fn slots(&self) -> Vec<Slot> {
        TAILS
            .iter()
            .map(|name| Slot {
                name: format!("sequence/{name}"),
                family: Family::Sequence,
                category: Category::Behavioral,
            })
            .collect()
    }

    fn inspect(&self, s: &UserDay<'_>, base: usize, out: &mut Findings) {
        let (Some((order, numbers)), Some(steps)) = (s.order, &s.day.steps) else { return };
        let user = s.day.text(s.day.user_day.ids[s.row]);
        let sessions = s.day.sessions_of(s.row as u32);
        let tests = sessions.len() as f64;
        // Habits of a few sessions say little, and say it of a young user every day.
        let known = order.habits.history(user, 0.0) >= 5.0;
        let mut best: [Option<Found>; 3] = [None, None, None];
        let mut surprise = Vec::new();
        for row in sessions {
            let marked: Vec<u32> =
                steps.of(row as u32).iter().take(LONGEST).map(|t| numbers[t.word as usize]).collect();
            let tokens = unmarked(&marked);
            order.ngrams.surprise(&tokens, &mut surprise);
            let said: Vec<f64> = judged(&marked).map(|at| surprise[at]).collect();
            // With its end a session has one place more than steps.
            if said.len() <= SHORTEST {
                continue;
            }
            let (mean, part) = summary(&said);
            let strange = if known { order.habits.stranger(user, &tokens, 0.0) } else { f64::NEG_INFINITY };
            for (k, score) in [mean, part, strange].into_iter().enumerate() {
                let ln_p = order.tails[k].ln_p(score, tokens.len());
                if best[k].as_ref().is_none_or(|b| ln_p < b.ln_p) {
                    best[k] = Some(Found { row, ln_p, score });
                }
            }
        }
        for (k, found) in best.into_iter().enumerate() {
            let Some(Found { row, ln_p, score }) = found else { continue };
            if ln_p > 0.5_f64.ln() {
                continue;
            }
            out.put(base + k, ln_sidak(ln_p, tests), || {
                if k == 2 {
                    Fact::Stranger { session: SessionOf::new(s.day, row), likelier: score.exp() }
                } else {
                    order_fact(s, order, numbers, row)
                }
            });
        }
    }
}

fn order_fact(s: &UserDay<'_>, order: &Order, numbers: &[u32], row: usize) -> Fact {
    const NAMED: usize = 3;
    let steps = s.day.steps.as_ref().expect("the detector looked at them");
    let of = steps.of(row as u32);
    let of = &of[..of.len().min(LONGEST)];
    let marked: Vec<u32> = of.iter().map(|t| numbers[t.word as usize]).collect();
    let tokens = unmarked(&marked);
    let mut surprise = Vec::new();
    order.ngrams.surprise(&tokens, &mut surprise);
    let mut odd: Vec<usize> = judged(&marked).collect();
    odd.sort_by(|a, b| surprise[*b].total_cmp(&surprise[*a]).then(a.cmp(b)));
    odd.truncate(NAMED);
    let word = |at: usize| of.get(at).map_or_else(String::new, |t| steps.words[t.word as usize].0.clone());
    let at = odd[0];
    let usual = order.ngrams.likeliest(&tokens[..at.min(tokens.len())]).filter(|(token, p)| {
        let seen = tokens.get(at).copied().unwrap_or(END);
        *token != seen && *p > 2.0 * (-surprise[at]).exp()
    });
    let name = |token: u32| if token >= FIRST { order.vocabulary.name(token).to_owned() } else { String::new() };
    let nearest = order.usual.nearest(&tokens);
    Fact::Order {
        session: SessionOf::new(s.day, row),
        before: if at == 0 { String::new() } else { word(at - 1) },
        step: word(at),
        gap: of.get(at).map_or(0, |t| t.gap),
        p: (-surprise[at]).exp(),
        usual: usual.map(|(token, p)| (name(token), p)),
        nearest: nearest
            .map(|(tokens, times)| (tokens.iter().map(|t| order.vocabulary.name(*t).to_owned()).collect(), times)),
        request_ids: {
            let mut at: Vec<usize> = odd.into_iter().filter(|at| *at < of.len()).collect();
            at.sort_unstable();
            let ids = at.into_iter().map(|at| steps.ids[of[at].request_id as usize].clone());
            ids.filter(|id| !id.is_empty()).collect()
        },
    }
}

#[cfg(test)]
#[path = "night_tests.rs"]
mod tests;
