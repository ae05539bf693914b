//! Versions and what a store keeps for their nights: loaded, replayed, and scored with.

use std::collections::BTreeMap;

use super::base::{BASE, KINDS, Version, in_folder, lay_out};
use super::{edit, no_bug};
use crate::config::Layers;
use crate::detectors::geometry::matrix::Matrix;
use crate::detectors::sequence::vocabulary::Vocabulary;
use crate::fusion::table::Scores;
use crate::models::{
    CHAMPION, FileDigest, LoadedModel, Manifest, Registry, Selector, TrainedOn, encode_arrays, encode_records,
};
use crate::pipeline::{self, Scorer};

const ARRAYS: &str = "model.safetensors";
const RECORDS: &str = "baseline.arrow";
const MANIFEST: &str = "manifest.json";

/// Stands for the digests of the files, which only this process knows.
const FILES: &str = "\"@files@\"";

fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// Loads a version of these files with fitting digests, and does what the commands do with it.
fn exercise(version: &Version, arrays: &[u8], records: &[u8], manifest: &[u8]) {
    let digest = digest(manifest);
    let line = format!("{digest}  {MANIFEST}\n");
    let replaced = [(ARRAYS, arrays), (RECORDS, records), (MANIFEST, manifest), ("manifest.blake3", line.as_bytes())];
    let card = ("card.md", version.files["card.md"].as_slice());
    in_folder(|dir| {
        let models = lay_out(dir, replaced.into_iter().chain([card]), &digest);
        let registry = Registry::open(&models, "m").expect("it is a name");
        let Some(model) = no_bug(registry.load(&Selector::Alias(CHAMPION.into()))) else { return };
        no_bug(pipeline::replay(&model));
        match model.manifest.trained_on() {
            Some(TrainedOn::Days(from, until)) => score_nights(&model, (from, until)),
            Some(TrainedOn::Table(_)) => score_table(&model),
            Some(TrainedOn::Sequences(_)) => score_sequences(&model),
            None => panic!("a loaded model was trained on something"),
        }
    });
}

fn score_nights(model: &LoadedModel, window: (crate::Date, crate::Date)) {
    let arrays: BTreeMap<&str, &[f64]> = model.arrays.iter().map(|a| (a.name.as_str(), a.values.as_slice())).collect();
    let Some(config) = no_bug(Layers::default().resolve_at_score_time(&model.manifest.settings)) else { return };
    let days = &BASE.days;
    let last = days.last();
    let settings = config.settings().clone();
    let scorer = Scorer::new(days, &arrays, &model.records, window, &model.digest, settings, last);
    let Some(mut scorer) = no_bug(scorer) else { return };
    let Some(Some(night)) = no_bug(scorer.night(last, &mut |_, _, _| {})) else { return };
    assert!(night.anomalies.iter().all(|a| (0.0..=1.0).contains(&a.p_value) && (0.0..=100.0).contains(&a.score)));
    // The row and its story are plain data; a number that is none would be `null` here.
    for anomaly in &night.anomalies {
        assert!(!anomaly.title.is_empty() && !anomaly.story.is_empty());
    }
}

fn sound(scores: &Scores, rows: usize) {
    assert!(scores.p.len() == rows && scores.p.iter().all(|p| (0.0..=1.0).contains(p)));
}

fn score_table(model: &LoadedModel) {
    let arrays = model.arrays.iter().map(|a| (a.name.as_str(), (a.shape.as_slice(), a.values.as_slice()))).collect();
    let values = vec![1.0, -3.5, f64::NAN, 1e300, 0.0, f64::INFINITY];
    if let Some(scores) = no_bug(pipeline::score_table(&arrays, &Matrix::new(2, 3, values))) {
        sound(&scores, 2);
    }
}

fn score_sequences(model: &LoadedModel) {
    let Some(info) = &model.manifest.sequences else { return };
    let Some(vocabulary) = Vocabulary::new(info.vocabulary.clone()) else { return };
    let known = vocabulary.symbols().saturating_sub(1);
    let sequences: [&[u32]; 3] = [&[], &[known], &[0, known, known, 0]];
    let by: Option<&[&str]> = info.entities.map(|_| &["e1", "", "nobody"][..]);
    let scores = pipeline::SequenceScorer::read(&model.arrays, &model.records, &vocabulary)
        .and_then(|scorer| scorer.score(&sequences, by));
    if let Some(scores) = no_bug(scores) {
        sound(&scores, 3);
    }
}

fn listing<'a>(files: impl Iterator<Item = (&'a str, &'a [u8])>) -> BTreeMap<String, FileDigest> {
    files.map(|(name, b)| (name.to_owned(), FileDigest { blake3: digest(b), bytes: b.len() as u64 })).collect()
}

/// The first byte says which kind of model, and whether the rest is `model.safetensors`, `baseline.arrow`, or changes to both.
pub(super) fn model(data: &[u8]) {
    let Some((&first, rest)) = data.split_first() else { return };
    let version = &BASE.versions[usize::from(first) % KINDS.len()];
    let (mut arrays, mut records) = (version.files[ARRAYS].clone(), version.files[RECORDS].clone());
    match usize::from(first) / KINDS.len() % 3 {
        0 => arrays = rest.to_vec(),
        1 => records = rest.to_vec(),
        _ => {
            let (mut a, mut r) = (version.loaded.arrays.clone(), version.loaded.records.clone());
            edit::apply(&mut a, &mut r, rest);
            // A number that is not finite is refused already when it is written.
            let (Ok(a), Ok(r)) = (encode_arrays(&a), encode_records(&r)) else { return };
            (arrays, records) = (a, r);
        }
    }
    let card = version.files["card.md"].as_slice();
    let files = listing([(ARRAYS, arrays.as_slice()), (RECORDS, records.as_slice()), ("card.md", card)].into_iter());
    let manifest = Manifest { files, ..version.loaded.manifest.clone() };
    let manifest = serde_json::to_vec(&manifest).expect("plain data serialises");
    exercise(version, &arrays, &records, &manifest);
}

/// The first byte says which kind of model; the rest is `manifest.json`, where `"@files@"` stands for the digests.
pub(super) fn manifest(data: &[u8]) {
    let Some((&first, rest)) = data.split_first() else { return };
    let version = &BASE.versions[usize::from(first) % KINDS.len()];
    let files = serde_json::to_string(&version.loaded.manifest.files).expect("plain data serialises");
    let manifest = match memchr::memmem::find(rest, FILES.as_bytes()) {
        Some(at) => [&rest[..at], files.as_bytes(), &rest[at + FILES.len()..]].concat(),
        None => rest.to_vec(),
    };
    exercise(version, &version.files[ARRAYS], &version.files[RECORDS], &manifest);
}

/// What a store keeps of a night, below its digest. `@chain@` stands for what the night was scored with.
pub(super) fn kept(data: &[u8]) {
    let version = &BASE.versions[0];
    let model = &version.loaded;
    let Some(TrainedOn::Days(from, until)) = model.manifest.trained_on() else { return };
    let arrays: BTreeMap<&str, &[f64]> = model.arrays.iter().map(|a| (a.name.as_str(), a.values.as_slice())).collect();
    let settings = model.manifest.settings.clone();
    let scorer = || {
        Scorer::new(&BASE.days, &arrays, &model.records, (from, until), &model.digest, settings.clone(), until.plus(1))
    };
    let Some(mut first) = no_bug(scorer()) else { return };
    // Serialised, so that tests in other threads do not take each other's text.
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _turn = TURN.lock();
    let keep = |text: Option<String>| *BASE.days.kept.lock().expect("nobody panics with it") = text;
    keep(None);
    no_bug(first.night(until.plus(1), &mut |_, _, _| {}));
    let body = String::from_utf8_lossy(data).replace("@chain@", first.input_digest());
    keep(Some(format!("{}\n{body}", digest(body.as_bytes()))));
    let Some(mut second) = no_bug(scorer()) else { return };
    no_bug(second.night(until.plus(2), &mut |_, _, _| {}));
    keep(None);
}

pub(super) fn seeds() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for (kind, version) in BASE.versions.iter().enumerate() {
        let name = KINDS[kind];
        let of = |part: usize, bytes: &[u8]| [&[(part * KINDS.len() + kind) as u8], bytes].concat();
        seeds.push(("model", format!("{name}-arrays"), of(0, &version.files[ARRAYS])));
        seeds.push(("model", format!("{name}-records"), of(1, &version.files[RECORDS])));
        for (i, changes) in
            [&[][..], &[6, 1, 0, 4, 0, 0, 0, 5, 0], &[11, 3, 0, 0, 0, 4, 1, 0, 0, 9, 0]].iter().enumerate()
        {
            seeds.push(("model", format!("{name}-changes-{i}"), of(2, changes)));
        }
        let mut value: serde_json::Value =
            serde_json::from_slice(&version.files[MANIFEST]).expect("a manifest is JSON");
        value["files"] = serde_json::json!("@files@");
        seeds.push(("manifest", name.to_owned(), of(0, value.to_string().as_bytes())));
    }
    seeds.push(("kept", "night".to_owned(), kept_seed().into_bytes()));
    seeds
}

fn kept_seed() -> String {
    let (habits, families) = (["0"; crate::baseline::user::HABITS].join(","), "0,0,0,0,0,0");
    format!(
        "{{\"chain\":\"@chain@\",\"subjects\":1,\"counted\":{},\"reported\":[[\"default\",\"user-day\",\"u1\",\"count\",0]]}}\n\
         {{\"org\":\"default\",\"subject\":\"user-day\",\"id\":\"u1\",\"silent\":false,\"p\":4602678819172646912,\
         \"fused\":4602678819172646912,\"families\":[{families}],\"habits\":[{habits}]}}",
        serde_json::to_string(&crate::fusion::drift::Counted::default()).expect("plain data serialises")
    )
}
