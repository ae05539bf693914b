//! Token sequences instead of nights: the family sequence alone learns them, and says how odd each one of others is.

use std::collections::BTreeMap;

use crate::config::Settings;
use crate::detectors::geometry::members::NamedArray;
use crate::detectors::sequence::vocabulary::Vocabulary;
use crate::detectors::sequence::{Network, Progress};
use crate::error::{Error, Kind, Result};
use crate::fusion::neural::Worth;
use crate::fusion::reasons::Reasons;
use crate::fusion::sequences::{Family, Sequences};
use crate::fusion::table::Scores;
use crate::models::{Array, Golden, Record};
use crate::pipeline::golden;
use crate::seed::Seed;

/// Section of the records that hold what is known of each entity.
const SECTION: &str = "sequence/habit";

/// What is learned from sequences.
#[derive(Debug)]
pub struct TrainedSequences {
    /// The arrays of the model.
    pub arrays: Vec<Array>,
    /// Its records: the entities' habits.
    pub records: Vec<Record>,
    /// Tokens of the longest n-grams, and how many n-grams there are.
    pub ngrams: (usize, usize),
    /// Some of the sequences with their p-values, for readers to reproduce.
    pub golden: Vec<Golden>,
    /// Weight of whose a sequence is, 0..=1, and symbols looked at together for it; none without entities.
    pub habit: Option<(f64, usize)>,
    /// What each network that was asked for adds.
    pub neural: Vec<(Network, Worth)>,
}

/// Learns sequences of token numbers. [`Kind::NoData`] if there is not enough to learn from, [`Kind::Config`] if the settings ask for
/// what this build cannot do. `progress` hears of the passes of the networks.
pub fn train_sequences(
    of: Sequences<'_>,
    settings: &Settings,
    seed: u64,
    progress: &dyn Fn(Progress),
) -> Result<TrainedSequences> {
    if cfg!(not(feature = "neural"))
        && let Some(network) = Network::wanted(&settings.sequence).first()
    {
        let message = format!(
            "{} is true, but this build has no neural detectors (feature `neural`): set it to false, or train with a build that \
             has them",
            network.setting()
        );
        return Err(Error::new(Kind::Config, message));
    }
    let family = Family::fit(of, &settings.sequence, Seed(seed), progress)
        .map_err(|why| Error::new(Kind::NoData, format!("cannot learn from {} sequences: {why}", of.tokens.len())))?;
    let array = |(name, shape, values): NamedArray| Array { name, shape, values };
    let record = |(entity, numbers)| Record {
        section: SECTION.to_owned(),
        key: [entity, String::new(), String::new()],
        numbers,
    };
    let golden = golden::of_sequences(of.tokens, of.entities, |tokens, entities| family.score(tokens, entities).p);
    Ok(TrainedSequences {
        arrays: family.to_arrays().into_iter().map(array).collect(),
        records: family.to_records().into_iter().map(record).collect(),
        ngrams: (family.ngrams().order(), family.ngrams().len()),
        habit: family.habit(),
        golden,
        neural: family.neural(),
    })
}

/// What a model holds, made ready to score sequences of token numbers.
#[derive(Debug)]
pub struct SequenceScorer(Family);

impl SequenceScorer {
    /// Reads a model. [`Kind::Model`] if it makes no sense.
    pub fn read(arrays: &[Array], records: &[Record], vocabulary: &Vocabulary) -> Result<Self> {
        let arrays: BTreeMap<&str, (&[usize], &[f64])> =
            arrays.iter().map(|a| (a.name.as_str(), (a.shape.as_slice(), a.values.as_slice()))).collect();
        let of_entities = records.iter().filter(|r| r.section == SECTION);
        let of_entities: Vec<(&str, &[f64])> = of_entities.map(|r| (r.key[0].as_str(), r.numbers.as_slice())).collect();
        Family::from_parts(&arrays, &of_entities, vocabulary.symbols())
            .map(Self)
            .map_err(|why| Error::new(Kind::Model, format!("the model cannot be used: {why}; train a new version")))
    }

    /// Scores sequences.
    pub fn score(&self, tokens: &[&[u32]], entities: Option<&[&str]>) -> Result<Scores> {
        let scores = self.0.score(tokens, entities);
        let sound = scores.p.iter().all(|p| (0.0..=1.0).contains(p))
            && scores.members.iter().all(|(_, raw)| raw.iter().all(|x| x.is_finite()));
        if sound { Ok(scores) } else { Err(Error::new(Kind::Bug, "a sequence has no score or one out of its range")) }
    }

    /// Why sequence `i` of those that were scored is odd.
    pub fn reasons(&self, tokens: &[&[u32]], scores: &Scores, i: usize) -> Reasons {
        let raw: Vec<f64> = scores.members.iter().map(|(_, raw)| raw[i]).collect();
        self.0.reasons(tokens[i], &raw)
    }
}
