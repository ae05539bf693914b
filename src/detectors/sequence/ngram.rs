//! n-gram surprise: how improbable each next token is, given those before it.
//!
//! Interpolated Witten–Bell back-off (Witten & Bell 1991; Chen & Goodman 1998, eq. 16) over a trie of all n-grams up to an
//! order: p(w | h) = (c(hw) + T(h) · p(w | h′)) / (c(h) + T(h)), where T(h) counts the distinct continuations of h and h′ is h
//! without its oldest token; below the unigrams lies the uniform distribution. A sequence votes once for each n-gram that it
//! holds, however often, so that one loop of thousands of calls does not decide what is usual; odd training sequences
//! vote with a fraction ([`super::ODD_WEIGHT`]).
//!
//! The probability of every n-gram that was seen is a constant, and each node of the trie knows the node of its own
//! suffix. One walk through a sequence therefore takes about one look-up a token, whatever the order. Training
//! sequences are scored as if they were not part of the training, exactly: the votes that are theirs are taken back.

use hashbrown::HashMap;
use rayon::prelude::*;
use rustc_hash::FxBuildHasher;

use super::vocabulary::{END, START};

/// No node.
const NONE: u32 = u32::MAX;

const ROOT: u32 = 0;

/// Most tokens that an n-gram may have.
pub const HIGHEST_ORDER: usize = 32;

/// A fitted model.
#[derive(Debug, Clone)]
pub struct Ngrams {
    order: usize,
    /// Symbols that can follow: all but [`START`].
    predicted: f64,
    nodes: Vec<Node>,
    edges: HashMap<u64, u32, FxBuildHasher>,
    /// What scoring needs of a node, side by side.
    steps: Vec<Step>,
}

/// An n-gram: the one of its parent, and a token more.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Node {
    parent: u32,
    token: u32,
    /// Votes.
    count: f64,
    /// Sequences that hold it; only known while it is being fitted.
    sequences: u32,
}

#[derive(Debug, Clone, Copy)]
struct Step {
    /// ln p(token | parent).
    ln_p: f64,
    /// ln of the weight of the next shorter context.
    ln_back: f64,
    /// Node of the n-gram without its oldest token.
    suffix: u32,
    order: u32,
    /// Votes for its continuations, and how many distinct ones there are.
    total: f64,
    types: f64,
}

impl PartialEq for Ngrams {
    fn eq(&self, other: &Self) -> bool {
        let same = |(a, b): (&Node, &Node)| (a.parent, a.token, a.count) == (b.parent, b.token, b.count);
        self.order == other.order
            && self.predicted == other.predicted
            && self.nodes.len() == other.nodes.len()
            && self.nodes.iter().zip(&other.nodes).all(same)
    }
}

fn edge(parent: u32, token: u32) -> u64 {
    u64::from(parent) << 32 | u64::from(token)
}

impl Ngrams {
    /// Fits to sequences with a weight each in 0 < w ≤ 1. `symbols` is the number of all symbols. If there are more n-grams than
    /// `most`, the order ends where they would be.
    pub fn fit(sequences: &[&[u32]], weights: &[f64], symbols: u32, order: usize, most: usize) -> Self {
        assert_eq!(sequences.len(), weights.len(), "a weight per sequence");
        let order = order.clamp(1, HIGHEST_ORDER);
        let mut nodes = vec![Node { parent: ROOT, token: START, count: 0.0, sequences: 0 }];
        let mut edges: HashMap<u64, u32, FxBuildHasher> = HashMap::default();
        // Per position, START and END included, the node of the n-gram of the current order that ends there.
        let mut ends: Vec<Vec<u32>> = sequences.iter().map(|s| vec![ROOT; s.len() + 2]).collect();
        let mut reached = 0;
        for level in 0..order {
            let mut found: Vec<(u64, u32, u32)> = Vec::with_capacity(ends.iter().map(Vec::len).sum());
            for (s, (sequence, ends)) in sequences.iter().zip(&ends).enumerate() {
                let first = usize::from(level > 0);
                for at in first..ends.len() {
                    let context = if at == 0 { ROOT } else { ends[at - 1] };
                    if context != NONE {
                        found.push((edge(context, symbol(sequence, at)), s as u32, at as u32));
                    }
                }
            }
            found.par_sort_unstable();
            let distinct = found.chunk_by(|a, b| a.0 == b.0).count();
            if level > 0 && nodes.len() + distinct > most {
                break;
            }
            if distinct == 0 {
                break;
            }
            for ends in &mut ends {
                ends.fill(NONE);
            }
            edges.reserve(distinct);
            for group in found.chunk_by(|a, b| a.0 == b.0) {
                let (mut count, mut holding, mut last) = (0.0, 0, NONE);
                let id = nodes.len() as u32;
                for &(_, s, at) in group {
                    if s != last {
                        count += weights[s as usize];
                        holding += 1;
                        last = s;
                    }
                    ends[s as usize][at as usize] = id;
                }
                let key = group[0].0;
                nodes.push(Node { parent: (key >> 32) as u32, token: key as u32, count, sequences: holding });
                edges.insert(key, id);
            }
            reached = level + 1;
        }
        let predicted = f64::from(symbols - 1);
        Self::of_nodes(nodes, edges, reached.max(1), predicted).expect("every n-gram's suffix was seen with it")
    }

    /// Derives what scoring needs; `None` if a suffix is missing.
    fn of_nodes(
        nodes: Vec<Node>,
        edges: HashMap<u64, u32, FxBuildHasher>,
        order: usize,
        predicted: f64,
    ) -> Option<Self> {
        let mut steps =
            vec![Step { ln_p: 0.0, ln_back: 0.0, suffix: ROOT, order: 0, total: 0.0, types: 0.0 }; nodes.len()];
        for (i, node) in nodes.iter().enumerate().skip(1) {
            let parent = steps[node.parent as usize];
            steps[i].order = parent.order + 1;
            if parent.order > 0 {
                steps[i].suffix = *edges.get(&edge(parent.suffix, node.token))?;
            }
            // START is a context and nothing that follows.
            if node.token != START {
                let parent = &mut steps[node.parent as usize];
                parent.total += node.count;
                parent.types += 1.0;
            }
        }
        let mut p = vec![0.0; nodes.len()];
        for (i, node) in nodes.iter().enumerate().skip(1) {
            let (parent, step) = (steps[node.parent as usize], steps[i]);
            let shorter = if step.order == 1 { 1.0 / predicted } else { p[step.suffix as usize] };
            p[i] = (node.count + parent.types * shorter) / (parent.total + parent.types);
            steps[i].ln_p = f64::ln(p[i]);
        }
        for step in &mut steps {
            step.ln_back = if step.types > 0.0 { (step.types / (step.total + step.types)).ln() } else { 0.0 };
        }
        Some(Self { order, predicted, nodes, edges, steps })
    }

    /// Tokens of the longest n-grams.
    pub fn order(&self) -> usize {
        self.order
    }

    /// Symbols that can follow.
    pub fn predicted(&self) -> f64 {
        self.predicted
    }

    /// Number of n-grams.
    pub fn len(&self) -> usize {
        self.nodes.len() - 1
    }

    /// Whether nothing was learned.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// −ln p of each token of a sequence and of its end, in nats.
    pub fn surprise(&self, sequence: &[u32], out: &mut Vec<f64>) {
        out.clear();
        out.reserve(sequence.len() + 1);
        let mut context = self.start();
        for at in 1..=sequence.len() + 1 {
            let token = symbol(sequence, at);
            let mut ln_p = 0.0;
            let mut h = context;
            context = loop {
                if let Some(&node) = self.edges.get(&edge(h, token)) {
                    let step = &self.steps[node as usize];
                    ln_p += step.ln_p;
                    break if step.order as usize == self.order { step.suffix } else { node };
                }
                ln_p += self.steps[h as usize].ln_back;
                if h == ROOT {
                    ln_p -= self.predicted.ln();
                    break ROOT;
                }
                h = self.steps[h as usize].suffix;
            };
            out.push(-ln_p);
        }
    }

    fn start(&self) -> u32 {
        if self.order == 1 { ROOT } else { self.edges.get(&edge(ROOT, START)).copied().unwrap_or(ROOT) }
    }

    /// As [`Self::surprise`] of a training sequence, as if it had not been one; `weight` is the one that it was fitted with.
    ///
    /// # Panics
    /// If the model was read from a file: it then no longer knows which n-grams were in one sequence alone.
    pub fn surprise_left_out(&self, sequence: &[u32], weight: f64, out: &mut Vec<f64>) {
        out.clear();
        // For each position the nodes of the n-grams that end there, by their order.
        let mut paths: Vec<Vec<u32>> = Vec::with_capacity(sequence.len() + 2);
        paths.push(vec![ROOT, self.edges.get(&edge(ROOT, START)).copied().unwrap_or(NONE)]);
        let mut own: Vec<u32> = Vec::new();
        for at in 1..=sequence.len() + 1 {
            let token = symbol(sequence, at);
            let contexts = &paths[at - 1];
            let mut here = vec![ROOT];
            for &h in contexts.iter().take(self.order) {
                let node = if h == NONE { NONE } else { self.edges.get(&edge(h, token)).copied().unwrap_or(NONE) };
                if node == NONE {
                    break;
                }
                here.push(node);
            }
            own.extend_from_slice(&here[1..]);
            paths.push(here);
        }
        own.sort_unstable();
        own.dedup();
        // Per context: its own continuations, and those of them that nobody else has. Nodes stand in the order of their parents.
        let mut lost: HashMap<u32, (f64, f64), FxBuildHasher> = HashMap::default();
        for &node in &own {
            let Node { parent, sequences, .. } = self.nodes[node as usize];
            assert!(sequences > 0, "a model that was read from a file cannot leave out a sequence");
            let entry = lost.entry(parent).or_default();
            entry.0 += 1.0;
            entry.1 += f64::from(u8::from(sequences == 1));
        }
        for at in 1..=sequence.len() + 1 {
            let (contexts, nodes) = (&paths[at - 1], &paths[at]);
            let mut p = 1.0 / self.predicted;
            for (k, &h) in contexts.iter().take(self.order).enumerate() {
                if h == NONE || (h != ROOT && self.nodes[h as usize].sequences == 1) {
                    break;
                }
                let (mine, alone) = lost.get(&h).copied().unwrap_or_default();
                let step = &self.steps[h as usize];
                let types = step.types - alone;
                if types <= 0.0 {
                    break;
                }
                let total = (step.total - mine * weight).max(0.0);
                let count = match nodes.get(k + 1).map(|n| &self.nodes[*n as usize]) {
                    Some(node) if node.sequences > 1 => (node.count - weight).max(0.0),
                    _ => 0.0,
                };
                p = (count + types * p) / (total + types);
            }
            out.push(-p.ln());
        }
    }

    /// The most probable continuation of a context, the tokens before a position (at most the order of them count), and its
    /// probability. `None` if nothing was learned.
    pub fn likeliest(&self, before: &[u32]) -> Option<(u32, f64)> {
        let from = before.len().saturating_sub(self.order.saturating_sub(1));
        let whole = from == 0;
        let mut h = if whole { self.start() } else { ROOT };
        for &token in &before[from..] {
            h = loop {
                if let Some(&node) = self.edges.get(&edge(h, token)) {
                    break if self.steps[node as usize].order as usize == self.order {
                        self.steps[node as usize].suffix
                    } else {
                        node
                    };
                }
                if h == ROOT {
                    break ROOT;
                }
                h = self.steps[h as usize].suffix;
            };
        }
        while self.steps[h as usize].types == 0.0 && h != ROOT {
            h = self.steps[h as usize].suffix;
        }
        // Children of a node stand together, in the order of their parents.
        let first = self.nodes.partition_point(|n| n.parent < h).max(1);
        let children = self.nodes[first..].iter().enumerate().take_while(|(_, n)| n.parent == h);
        let best = children.filter(|(_, n)| n.token != START).map(|(i, n)| (n.token, self.steps[first + i].ln_p)).fold(
            None,
            |best: Option<(u32, f64)>, next| if best.is_some_and(|b| b.1 >= next.1) { best } else { Some(next) },
        );
        best.map(|(token, ln_p)| (token, ln_p.exp()))
    }

    /// What a model file keeps: order, symbols that can follow; then parents, tokens and votes of all n-grams.
    pub fn to_arrays(&self, prefix: &str) -> Vec<(String, Vec<usize>, Vec<f64>)> {
        let nodes = &self.nodes[1..];
        let column = |f: fn(&Node) -> f64| nodes.iter().map(f);
        let values = column(|n| n.parent.into()).chain(column(|n| n.token.into())).chain(column(|n| n.count));
        vec![
            (format!("{prefix}/ngram/about"), vec![2], vec![self.order as f64, self.predicted]),
            (format!("{prefix}/ngram/nodes"), vec![3, nodes.len()], values.collect()),
        ]
    }

    /// The inverse of [`Self::to_arrays`]; `None` if the numbers make no model.
    pub fn from_arrays(about: &[f64], values: &[f64]) -> Option<Self> {
        let [order, predicted] = *about else { return None };
        let whole = |x: f64, least: f64, most: f64| (least..=most).contains(&x) && x.fract() == 0.0;
        if !whole(order, 1.0, HIGHEST_ORDER as f64)
            || !whole(predicted, 2.0, f64::from(u32::MAX))
            || !values.len().is_multiple_of(3)
        {
            return None;
        }
        let n = values.len() / 3;
        let mut nodes = vec![Node { parent: ROOT, token: START, count: 0.0, sequences: 0 }];
        nodes.reserve(n);
        let mut edges: HashMap<u64, u32, FxBuildHasher> = HashMap::with_capacity_and_hasher(n, FxBuildHasher);
        let mut orders = vec![0_u8];
        let mut before = None;
        for i in 0..n {
            let (parent, token, count) = (values[i], values[n + i], values[2 * n + i]);
            let holds =
                whole(parent, 0.0, i as f64) && whole(token, 0.0, predicted) && 0.0 < count && count.is_finite();
            if !holds {
                return None;
            }
            let key = edge(parent as u32, token as u32);
            let at = orders[parent as usize] + 1;
            // Ascending, so that no n-gram is there twice, its parent is there before it, and children stand together.
            if before.is_some_and(|b| b >= key) || f64::from(at) > order || (token as u32 == START && parent != 0.0) {
                return None;
            }
            before = Some(key);
            orders.push(at);
            edges.insert(key, nodes.len() as u32);
            nodes.push(Node { parent: parent as u32, token: token as u32, count, sequences: 0 });
        }
        Self::of_nodes(nodes, edges, order as usize, predicted)
    }
}

/// The symbol at a place of a sequence with START before it and END behind it.
fn symbol(sequence: &[u32], at: usize) -> u32 {
    if at == 0 { START } else { sequence.get(at - 1).copied().unwrap_or(END) }
}
