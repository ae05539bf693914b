use rand::RngExt;

use super::sequences::*;
use crate::config::Sequence;
#[cfg(feature = "neural")]
use crate::detectors::sequence::Network;
use crate::detectors::sequence::vocabulary::{FIRST, UNKNOWN};
use crate::seed::Seed;

const SYMBOLS: u32 = FIRST + 12;

/// Sequences of two groups of people: each walks in circles through six tokens of its own, with stumbles.
fn walks(n: usize, seed: u64) -> Vec<(Vec<u32>, &'static str)> {
    let mut rng = Seed(seed).derive("walks", 0);
    (0..n)
        .map(|i| {
            let (name, from) = [("ann", 0), ("bob", 6)][i % 2];
            let mut at = rng.random_range(0..6_u32);
            let length = rng.random_range(3..30);
            let step = |_| {
                at = if rng.random_bool(0.9) { (at + 1) % 6 } else { rng.random_range(0..6) };
                FIRST + from + at
            };
            ((0..length).map(step).collect(), name)
        })
        .collect()
}

fn family(of: &[(Vec<u32>, &str)], with_names: bool) -> Family {
    let tokens: Vec<&[u32]> = of.iter().map(|(s, _)| s.as_slice()).collect();
    let names: Vec<&str> = of.iter().map(|(_, n)| *n).collect();
    let of = Sequences { tokens: &tokens, entities: with_names.then_some(&names[..]), symbols: SYMBOLS };
    Family::fit(of, &Sequence::default(), Seed(1), &|_| {}).unwrap()
}

#[cfg(feature = "neural")]
fn with(networks: &[Network], of: &[(Vec<u32>, &str)]) -> Family {
    let tokens: Vec<&[u32]> = of.iter().map(|(s, _)| s.as_slice()).collect();
    let of = Sequences { tokens: &tokens, entities: None, symbols: SYMBOLS };
    let asked = |network| networks.contains(&network);
    let settings = Sequence {
        lstm_autoencoder: asked(Network::Lstm),
        transformer: asked(Network::Transformer),
        ..Sequence::default()
    };
    Family::fit(of, &settings, Seed(1), &|_| {}).unwrap()
}

/// What a reader finds in a file that lacks one array.
fn read_without(
    drop: &str,
    arrays: &[(String, Vec<usize>, Vec<f64>)],
    records: &[(String, Vec<f64>)],
    symbols: u32,
) -> Result<Family, String> {
    let arrays: std::collections::BTreeMap<&str, (&[usize], &[f64])> = arrays
        .iter()
        .filter(|(name, ..)| name != drop)
        .map(|(name, shape, values)| (name.as_str(), (shape.as_slice(), values.as_slice())))
        .collect();
    let records: Vec<(&str, &[f64])> = records.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
    Family::from_parts(&arrays, &records, symbols)
}

fn p(family: &Family, sequence: &[u32], name: Option<&str>) -> f64 {
    family.score(&[sequence], name.as_ref().map(std::slice::from_ref)).p[0]
}

fn circle(from: u32, n: u32) -> Vec<u32> {
    (0..n).map(|i| FIRST + from + i % 6).collect()
}

#[test]
fn fresh_ordinary_sequences_have_uniform_p_values() {
    let model = family(&walks(3_000, 1), true);
    let fresh = walks(4_000, 2);
    let tokens: Vec<&[u32]> = fresh.iter().map(|(s, _)| s.as_slice()).collect();
    let names: Vec<&str> = fresh.iter().map(|(_, n)| *n).collect();
    let scores = model.score(&tokens, Some(&names));
    for level in [0.1, 0.01] {
        let hit = scores.p.iter().filter(|p| **p <= level).count() as f64 / fresh.len() as f64;
        assert!((0.6..1.6).contains(&(hit / level)), "{level}: {hit}");
    }
}

#[test]
fn another_order_and_another_maker_are_found_and_either_alone_is_enough() {
    let model = family(&walks(2_000, 3), true);
    let usual = circle(0, 18);
    assert!(p(&model, &usual, Some("ann")) > 0.05);
    let mut backwards = usual.clone();
    backwards.reverse();
    assert!(p(&model, &backwards, Some("ann")) < 0.01, "the same calls, another order");
    assert!(p(&model, &usual, Some("bob")) < 0.02, "an ordinary sequence of somebody else");
    assert!(
        p(&model, &usual, None) > 0.05 && p(&model, &usual, Some("eve")) > 0.05,
        "nothing is held against a stranger"
    );
    assert_eq!(family(&walks(200, 3), false).habit(), None);
}

#[test]
fn sequences_of_any_length_have_an_answer() {
    let model = family(&walks(300, 4), true);
    let long: Vec<u32> = circle(0, 100_000);
    let odd = [vec![], vec![FIRST], vec![UNKNOWN], vec![UNKNOWN; 50], long];
    for sequence in &odd {
        assert!((0.0..=1.0).contains(&p(&model, sequence, Some("ann"))), "{} tokens", sequence.len());
    }
    assert!(p(&model, &odd[3], Some("ann")) < 0.02, "fifty tokens that nobody has met");
    assert!(model.score(&[], None).p.is_empty());
}

#[test]
fn too_little_to_learn_from_is_said() {
    let settings = Sequence::default();
    let few = [&[FIRST][..]; 9];
    let error = |tokens: &[&[u32]]| {
        Family::fit(Sequences { tokens, entities: None, symbols: SYMBOLS }, &settings, Seed(1), &|_| {}).unwrap_err()
    };
    assert!(error(&few).contains("at least 10"));
    assert!(error(&[&[][..]; 20]).contains("only empty ones"));
    let equal = [&[FIRST][..]; 20];
    let all_equal = Sequences { tokens: &equal, entities: Some(&["a"; 20]), symbols: SYMBOLS };
    assert!(
        Family::fit(all_equal, &settings, Seed(1), &|_| {}).is_ok(),
        "twenty equal ones are enough to know what is usual"
    );
}

#[test]
fn the_model_does_not_depend_on_the_number_of_threads() {
    let of = walks(600, 5);
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let model = family(&of, true);
            let scores: Vec<u64> = of.iter().map(|(s, n)| p(&model, s, Some(n)).to_bits()).collect();
            (model, scores)
        })
    };
    let (one, two) = (on(1), on(2));
    assert!(one.0.to_arrays() == two.0.to_arrays() && one.1 == two.1);
}

#[test]
fn a_model_that_was_read_scores_the_same_and_a_damaged_one_is_refused() {
    let of = walks(700, 6);
    let model = family(&of, true);
    let (arrays, records) = (model.to_arrays(), model.to_records());
    let read = |drop: &str, symbols: u32, records: &[(String, Vec<f64>)]| read_without(drop, &arrays, records, symbols);
    let again = read("", SYMBOLS, &records).unwrap();
    for (sequence, name) in &of[..50] {
        assert_eq!(p(&again, sequence, Some(name)), p(&model, sequence, Some(name)));
    }
    for (name, ..) in &arrays {
        assert!(read(name, SYMBOLS, &records).is_err(), "{name} is missing");
    }
    assert!(read("", SYMBOLS + 1, &records).is_err() && read("", SYMBOLS, &[]).is_err());
}

#[cfg(feature = "neural")]
#[test]
fn a_network_is_a_column_and_where_it_has_no_weight_nothing_else_changes() {
    let of = walks(1_500, 8);
    let plain = family(&of, false);
    let tokens: Vec<&[u32]> = of[..100].iter().map(|(s, _)| s.as_slice()).collect();
    let expected = plain.score(&tokens, None);
    for network in Network::ALL {
        let model = with(&[network], &of);
        let [(found, worth)] = model.neural()[..] else { panic!("it was asked for") };
        assert_eq!((found, worth.sequences), (network, 300));
        let found = model.score(&tokens, None);
        assert_eq!(found.members[..2], expected.members[..2]);
        assert_eq!((found.members.len(), found.members[2].0), (3, network.column()));
        assert_eq!(found.p == expected.p, worth.weight == 0.0, "{network:?} {worth:?}");
    }
}

#[cfg(feature = "neural")]
#[test]
fn a_family_with_networks_is_equal_on_any_number_of_threads_and_after_reading() {
    let of = interleaved(600, 9);
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| with(&Network::ALL, &of))
    };
    let model = on(1);
    let arrays = model.to_arrays();
    assert!(arrays == on(2).to_arrays());
    let read = |drop: &str| read_without(drop, &arrays, &[], SYMBOLS);
    let tokens: Vec<&[u32]> = of.iter().map(|(s, _)| s.as_slice()).collect();
    let scores = model.score(&tokens, None);
    let columns: Vec<&str> = scores.members.iter().map(|(name, _)| *name).collect();
    assert_eq!(columns, ["ngram", "bag", "lstm_autoencoder", "transformer"]);
    assert!(read("").unwrap().score(&tokens, None) == scores);
    for (name, ..) in &arrays {
        assert!(read(name).is_err(), "{name} is missing");
    }
}

/// Two people at once: what each does next is clear, and whose turn it is is not.
#[cfg(feature = "neural")]
fn interleaved(n: usize, seed: u64) -> Vec<(Vec<u32>, &'static str)> {
    let mut rng = Seed(seed).derive("interleaved", 0);
    (0..n)
        .map(|_| {
            let mut at = [rng.random_range(0..6_u32), rng.random_range(0..6_u32)];
            let step = |_| {
                let who = rng.random_range(0..2_usize);
                at[who] = (at[who] + 1) % 6;
                FIRST + 6 * who as u32 + at[who]
            };
            ((0..12).map(step).collect(), "")
        })
        .collect()
}

#[cfg(feature = "neural")]
#[test]
fn streams_that_are_interleaved_are_where_networks_count_and_p_values_stay_uniform() {
    let (of, fresh) = (interleaved(2_000, 1), interleaved(4_000, 2));
    let tokens: Vec<&[u32]> = fresh.iter().map(|(s, _)| s.as_slice()).collect();
    for network in Network::ALL {
        let model = with(&[network], &of);
        let worth = model.neural()[0].1;
        assert!(worth.weight > 0.0, "{network:?} {worth:?}");
        let p = model.score(&tokens, None).p;
        // Four hundred sequences calibrate: only four of them are as rare as the last.
        for (level, most) in [(0.1, 1.5), (0.01, 2.5)] {
            let hit = p.iter().filter(|p| **p <= level).count() as f64 / p.len() as f64;
            assert!((0.5..most).contains(&(hit / level)), "{network:?} {level}: {hit}");
        }
    }
}

#[cfg(not(feature = "neural"))]
#[test]
fn a_build_without_neural_detectors_says_what_is_missing() {
    let of = walks(50, 1);
    let tokens: Vec<&[u32]> = of.iter().map(|(s, _)| s.as_slice()).collect();
    let asked = Sequences { tokens: &tokens, entities: None, symbols: SYMBOLS };
    for settings in [
        Sequence { lstm_autoencoder: true, ..Sequence::default() },
        Sequence { transformer: true, ..Sequence::default() },
    ] {
        assert!(Family::fit(asked, &settings, Seed(1), &|_| {}).unwrap_err().contains("`neural`"));
    }
    for (arrays_of, column) in [("lstm", "lstm_autoencoder"), ("transformer", "transformer")] {
        let mut arrays = family(&of, false).to_arrays();
        arrays.push((format!("sequence/{arrays_of}/about"), vec![6], vec![0.0; 6]));
        arrays.push((format!("sequence/calibration/{column}/0"), vec![0], vec![]));
        let error = read_without("", &arrays, &[], SYMBOLS).unwrap_err();
        assert!(error.contains("`neural`") && error.contains(arrays_of), "{error}");
    }
}
