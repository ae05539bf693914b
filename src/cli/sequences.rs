//! `train --sequences` and `score --sequences`: any token sequences, without days, events or a store.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::args::{ScoreArgs, TrainArgs};
use super::messages::Message;
use super::table::{KEY_WIDTH, exit_code, oddest, print, usage};
use super::{cannot_print, layers, now, print_json, terminal};
use crate::config::Config;
use crate::detectors::sequence::vocabulary::{END, UNKNOWN, Vocabulary};
use crate::error::{Error, Kind, Result};
use crate::features::sequences::{self, Sequences};
use crate::features::table;
use crate::fusion;
use crate::fusion::neural::Worth;
use crate::fusion::reasons::{Nearest, Reasons};
use crate::fusion::table::Scores;
use crate::models::{Draft, LoadedModel, Manifest, SequenceInfo, TrainedOn};
use crate::pipeline::{self, SequenceScorer, TrainedSequences};
use crate::report::escape::{clip, shorten};
use crate::report::scores::{self, ScoresRun};
use crate::report::words;

/// Most sequences of which it is said why they are odd, and the largest p-value of these: an ordinary one has no reasons.
const EXPLAINED: usize = 3;
const ODD: f64 = 0.05;

/// Widest name of a token, and most that are named of a set.
const TOKEN_WIDTH: usize = 40;
const NAMED: usize = 5;

/// Learns sequences and adds the version.
pub(super) fn train(path: &Path, args: &TrainArgs, out: &mut dyn Write) -> Result<()> {
    no_table(&args.table.key, &args.table.exclude)?;
    if args.until.is_some() {
        return Err(usage(
            "--until says up to which day to learn, and sequences have no days; leave it out with --sequences",
        ));
    }
    let config = args.layers()?.resolve()?;
    let registry = layers::registry(&config)?;
    let bar = terminal::progress("reading", 2);
    let read = sequences::read(path, &config.settings().limits)?;
    tell_unused(&read);
    bar.set_message("training");
    bar.set_position(1);
    let vocabulary = read.vocabulary(config.settings().sequence.vocabulary as usize);
    let encoded = read.encode(&vocabulary);
    let tokens = read.cut(&encoded);
    let entities: Option<Vec<&str>> = read.entities.as_ref().map(|e| e.iter().map(String::as_str).collect());
    let of =
        fusion::sequences::Sequences { tokens: &tokens, entities: entities.as_deref(), symbols: vocabulary.symbols() };
    let trained = pipeline::train_sequences(of, config.settings(), config.run().seed, &|p| {
        let (network, pass, most) = (p.network.words(), p.epoch, p.epochs);
        bar.set_message(format!("training the {network}: pass {pass} of at most {most}, loss {:.3}", p.loss));
    })?;
    bar.finish_and_clear();
    let distinct = entities.map(|e| e.into_iter().collect::<BTreeSet<_>>().len() as u64);
    let mut manifest = manifest(&read, &vocabulary, distinct, &config);
    manifest.golden.clone_from(&trained.golden);
    let card = card(&manifest, &trained);
    let info = manifest.sequences.clone().expect("it was trained on sequences");
    let TrainedSequences { arrays, records, .. } = trained;
    let version = registry.create_version(Draft { manifest, arrays, records, card }, &now())?;
    if args.json {
        let about = json!({ "sequences": info.sequences, "tokens": info.tokens, "entities": info.entities,
            "vocabulary": info.vocabulary.len() });
        return print_json(out, &json!({ "version": version, "sequences": about }));
    }
    let by = match info.entities {
        None => String::new(),
        Some(1) => " by one entity".to_owned(),
        Some(n) => format!(" by {} entities", words::thousands(n)),
    };
    let what = words::count(info.sequences, "sequence");
    let of = words::count(info.tokens, "token");
    writeln!(out, "version {version}: {what} of {of}{by}, {} distinct", words::thousands(info.vocabulary.len() as u64))
        .map_err(cannot_print)
}

fn no_table(key: &[String], exclude: &[String]) -> Result<()> {
    if key.is_empty() && exclude.is_empty() {
        return Ok(());
    }
    Err(usage("--key and --exclude name columns of a table; the columns of sequences have fixed names"))
}

fn manifest(read: &Sequences, vocabulary: &Vocabulary, entities: Option<u64>, config: &Config) -> Manifest {
    Manifest {
        enrichment: String::new(),
        format_version: 0,
        engine_version: env!("CARGO_PKG_VERSION").to_owned(),
        feature_schema: table::schema(vocabulary.names()),
        settings: config.settings().clone(),
        seed: config.run().seed,
        train_from: None,
        train_until: None,
        table: None,
        sequences: Some(SequenceInfo {
            vocabulary: vocabulary.names().to_vec(),
            sequences: read.len() as u64,
            tokens: read.tokens() as u64,
            entities,
        }),
        orgs: Vec::new(),
        events: 0,
        user_days: 0,
        input_digest: read.digest(),
        metrics: BTreeMap::new(),
        files: BTreeMap::new(),
        notes: Vec::new(),
        golden: Vec::new(),
    }
}

/// The model card. No token stands in it: they are text from a file.
fn card(m: &Manifest, trained: &TrainedSequences) -> String {
    let info = m.sequences.as_ref().expect("it was trained on sequences");
    let mut out = String::from("# Model card\n\n");
    let mut line = |text: String| writeln!(out, "{text}").expect("text grows");
    line(format!("Learned what is normal from {}.\n", words::count(info.sequences, "sequence")));
    line("| | |\n|---|---|".into());
    line(format!("| engine | quietwatch {} |", m.engine_version));
    line(format!("| sequences | {} |", info.sequences));
    line(format!("| tokens | {} |", info.tokens));
    line(format!("| distinct tokens known | {} |", info.vocabulary.len()));
    let (order, ngrams) = trained.ngrams;
    line(format!("| n-grams | {ngrams}, of up to {order} tokens |"));
    match (info.entities, trained.habit) {
        (Some(n), Some((weight, symbols))) => {
            line(format!("| entities | {n} |"));
            line(format!("| weight of whose a sequence is | {weight:.2} of 1, by {symbols} token(s) at a time |"));
        }
        _ => line("| entities | not told: nobody's own habits were learned |".into()),
    }
    for (network, worth) in &trained.neural {
        line(format!("| weight of the {} | {} |", network.words(), weight(worth)));
    }
    line(format!("| seed | {} |", m.seed));
    line(format!("| input digest | `{}` |", m.input_digest));
    line(
        "\nMeant for: ranking sequences by how much they differ from those learned. Not meant for: judging people."
            .into(),
    );
    line("A score says \"unusual\", never \"guilty\".".into());
    out
}

/// What a network counts, and what was measured of it.
fn weight(w: &Worth) -> String {
    if w.sequences == 0 {
        return "0: too few sequences to tell whether it adds to the others".to_owned();
    }
    format!(
        "{}: {} held-out sequences told from disturbed copies with average precision {:.3} without it, {:.3} with it; {:.3} and {:.3} \
         found at 1 % false alarms{}",
        w.weight,
        w.sequences,
        w.precision.0,
        w.precision.1,
        w.detected.0,
        w.detected.1,
        if w.weight > 0.0 { "" } else { ": not better beyond chance" }
    )
}

/// Scores sequences into a run folder.
pub(super) fn score(path: &Path, args: &ScoreArgs, out: &mut dyn Write) -> Result<ExitCode> {
    no_table(&args.table.key, &args.table.exclude)?;
    if args.date.is_some() || args.from.is_some() || args.to.is_some() {
        return Err(usage(
            "--date, --from and --to say which nights to score, and sequences have none; leave them out with --sequences",
        ));
    }
    let said = args.layers()?;
    let base = said.resolve()?;
    let registry = layers::registry(&base)?;
    let (model, _in_use) = registry.load_in_use(&args.version.selector())?;
    let config = said.resolve_at_score_time(&model.manifest.settings)?;
    let scored = compute(path, &model, &config)?;
    let Scored { read, scores, .. } = &scored;
    let mut run = ScoresRun::of_sequences(registry.name(), model.version, &model.digest);
    run.input_digest = read.digest();
    run.rows = read.len() as u64;
    run.tokens = Some(read.tokens() as u64);
    run.unknown_tokens = Some(scored.unknown);
    let published = scores::publish(&args.out, &run, &read.keys, scores)?;
    if args.json {
        print_json(out, &run)?;
    } else {
        print(out, "sequence", &read.keys, scores).map_err(cannot_print)?;
        print_reasons(out, &scored).map_err(cannot_print)?;
        super::score::tell_published(published, &args.out);
    }
    Ok(exit_code("sequence", scores, config.run().fail_on))
}

/// Sequences and what a model says of them.
pub(super) struct Scored {
    pub(super) read: Sequences,
    pub(super) scores: Scores,
    /// Tokens that the model never met.
    unknown: u64,
    /// Why the oddest are odd, by their row.
    reasons: Vec<(usize, Reasons)>,
    vocabulary: Vocabulary,
}

/// Reads sequences and scores them with a model.
pub(super) fn compute(path: &Path, model: &LoadedModel, config: &Config) -> Result<Scored> {
    let vocabulary = learned(model)?;
    let bar = terminal::progress("reading", 2);
    let read = sequences::read(path, &config.settings().limits)?;
    tell_unused(&read);
    bar.set_message("scoring");
    bar.set_position(1);
    let encoded = read.encode(&vocabulary);
    let tokens = read.cut(&encoded);
    let unknown = encoded.iter().filter(|t| **t == UNKNOWN).count() as u64;
    let entities: Option<Vec<&str>> = read.entities.as_ref().map(|e| e.iter().map(String::as_str).collect());
    tell_entities(model, entities.as_deref());
    let scorer = SequenceScorer::read(&model.arrays, &model.records, &vocabulary)?;
    let scores = scorer.score(&tokens, entities.as_deref())?;
    let odd = oddest(&scores.p, EXPLAINED).into_iter().filter(|i| scores.p[*i] <= ODD);
    let reasons = odd.map(|i| (i, scorer.reasons(&tokens, &scores, i))).collect();
    bar.finish_and_clear();
    if unknown > 0 {
        let all = read.tokens() as u64;
        let text =
            format!("{} of {} tokens were not met in training", words::thousands(unknown), words::thousands(all));
        Message::note(text).with("unknown_tokens", unknown).with("tokens", all).tell();
    }
    Ok(Scored { read, scores, unknown, reasons, vocabulary })
}

fn probability(p: f64) -> String {
    if p < 0.01 { format!("{p:.2e}") } else { format!("{p:.2}") }
}

/// Why the oddest sequences are odd.
fn print_reasons(out: &mut dyn Write, of: &Scored) -> std::io::Result<()> {
    for (row, reasons) in &of.reasons {
        let keys: Vec<_> = of.read.keys.iter().map(|key| clip(&key.text(*row), KEY_WIDTH).into_owned()).collect();
        let members: Vec<_> = reasons.members.iter().map(|(name, p)| format!("{name} p {}", probability(*p))).collect();
        writeln!(out, "\n{}: {}", keys.join(", "), members.join(", "))?;
        let tokens = of.read.tokens_of(*row);
        let quoted = |token: &str| format!("\"{}\"", shorten(token, TOKEN_WIDTH));
        let named = |number: u32| quoted(of.vocabulary.name(number));
        for step in &reasons.steps {
            let what = match tokens.get(step.at) {
                Some(token) => {
                    format!("token {} of {}, {}", words::thousands(step.at as u64 + 1), tokens.len(), quoted(token))
                }
                None => "the end".to_owned(),
            };
            let before = match step.at.checked_sub(1).map(|at| tokens[at]) {
                Some(token) => format!("after {}", quoted(token)),
                None => "at the beginning".to_owned(),
            };
            let usual = step.usual.map_or(String::new(), |(number, p)| match number {
                END => format!(", usually the end (p {})", probability(p)),
                number => format!(", usually {} (p {})", named(number), probability(p)),
            });
            writeln!(out, "  {what}, {before}: p {}{usual}", probability(step.p))?;
        }
        let listed = |numbers: &[u32], else_unknown: bool| {
            let mut names: Vec<String> = numbers.iter().filter(|n| **n != UNKNOWN).map(|n| named(*n)).collect();
            names.truncate(NAMED);
            if else_unknown && numbers.contains(&UNKNOWN) {
                names.push("tokens never met".to_owned());
            }
            let left = numbers.len() - names.len();
            let more = if left > 0 { format!(" and {left} more") } else { String::new() };
            format!("{}{more}", names.join(", "))
        };
        match &reasons.nearest {
            None if tokens.is_empty() => {}
            None => writeln!(out, "  no known set of tokens shares one with it")?,
            Some(Nearest { more, less }) if more.is_empty() && less.is_empty() => {
                writeln!(out, "  its set of tokens is known")?;
            }
            Some(Nearest { more, less }) => {
                let without = (!more.is_empty()).then(|| format!("without {}", listed(more, true)));
                let with = (!less.is_empty()).then(|| format!("with {}", listed(less, false)));
                let parts: Vec<String> = without.into_iter().chain(with).collect();
                writeln!(out, "  the nearest known set of tokens is {}", parts.join(" and "))?;
            }
        }
    }
    Ok(())
}

/// The vocabulary of a model of sequences; [`Kind::Model`] for another model.
fn learned(model: &LoadedModel) -> Result<Vocabulary> {
    let Some(TrainedOn::Sequences(info)) = model.manifest.trained_on() else {
        let message = format!(
            "version {} was trained on {} and cannot score sequences; expected the kind of input that it was trained on, or a \
             model that was trained with --sequences",
            model.version,
            model.manifest.trained_on().map_or("something else", |on| on.kind())
        );
        return Err(Error::new(Kind::Model, message));
    };
    let vocabulary = Vocabulary::new(info.vocabulary.clone());
    vocabulary.filter(|v| table::schema(v.names()) == model.manifest.feature_schema).ok_or_else(|| {
        let message = format!(
            "the vocabulary of version {} is not the one it was trained with; train a new version",
            model.version
        );
        Error::new(Kind::Model, message)
    })
}

/// Says so if who made a sequence cannot play the part that it played in training.
fn tell_entities(model: &LoadedModel, entities: Option<&[&str]>) {
    let learned = model.manifest.sequences.as_ref().and_then(|s| s.entities).is_some();
    match (learned, entities) {
        (true, None) => Message::note(
            "the model knows who makes which sequences, and the file does not say it: there is no column \"entity\"",
        )
        .tell(),
        (false, Some(_)) => {
            Message::note("the column \"entity\" is ignored: the model learned sequences without it").tell();
        }
        _ => {}
    }
}

fn tell_unused(read: &Sequences) {
    if !read.unused.is_empty() {
        let names: Vec<_> = read.unused.iter().map(|name| clip(name, KEY_WIDTH)).collect();
        let text = format!("ignored {}", terminal::escape(&table::listed(&names)));
        Message::note(text).with("columns", read.unused.clone()).tell();
    }
}
