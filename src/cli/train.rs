//! `train`: learn what is normal, and add a model version.

use std::fmt::Write as _;
use std::io::Write;

use serde_json::json;

use super::args::TrainArgs;
use super::{cannot_print, layers, now, print_json, sequences, table, terminal};
use crate::config::Config;
use crate::date::Date;
use crate::error::Result;
use crate::models::{Array, Draft, Manifest, Registry};
use crate::pipeline::{self, Days, Trained};
use crate::seed::Seed;

pub(super) fn run(args: &TrainArgs, out: &mut dyn Write) -> Result<()> {
    if let Some(path) = args.table.path()? {
        return table::train(path, args, out);
    }
    if let Some(path) = &args.sequences.sequences {
        return sequences::train(path, args, out);
    }
    let config = args.layers()?.resolve()?;
    // The registry is looked at first: a bad name fails before the work, not after it.
    let registry = layers::registry(&config)?;
    let input = args.input.open(&config)?;
    let (version, trained) = train(&input.store, args.until, &config, &registry)?;
    let (from, until) = trained.window;
    if args.json {
        let body = json!({ "version": version, "from": from, "until": until, "events": trained.events,
            "user_days": trained.user_days, "metrics": trained.metrics, "notes": trained.notes });
        return print_json(out, &body);
    }
    writeln!(out, "version {version}: {} events, {} user-days, {from} to {until}", trained.events, trained.user_days)
        .map_err(cannot_print)?;
    trained.notes.iter().try_for_each(|note| writeln!(out, "note: {note}").map_err(cannot_print))
}

/// Trains on a store and adds the version.
pub(super) fn train(
    days: &dyn Days,
    until: Option<Date>,
    config: &Config,
    registry: &Registry,
) -> Result<(u32, Trained)> {
    let bar = terminal::progress("training", 1);
    let mut trained = pipeline::train(days, until, config.settings(), Seed(config.run().seed), &mut |_, done, of| {
        bar.set_length(of);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    let manifest = Manifest {
        format_version: 0,
        engine_version: env!("CARGO_PKG_VERSION").to_owned(),
        feature_schema: crate::store::feature_schema(),
        settings: config.settings().clone(),
        seed: config.run().seed,
        train_from: Some(trained.window.0),
        train_until: Some(trained.window.1),
        table: None,
        sequences: None,
        orgs: trained.orgs.clone(),
        events: trained.events,
        user_days: trained.user_days,
        input_digest: trained.input_digest.clone(),
        enrichment: trained.enrichment.clone(),
        metrics: trained.metrics.clone(),
        files: std::collections::BTreeMap::new(),
        notes: trained.notes.clone(),
        golden: std::mem::take(&mut trained.golden),
    };
    let arrays = std::mem::take(&mut trained.arrays)
        .into_iter()
        .map(|(name, values)| Array { name, shape: vec![values.len()], values })
        .collect();
    let card = card(&manifest, trained.window);
    let records = std::mem::take(&mut trained.records);
    let version = registry.create_version(Draft { manifest, arrays, records, card }, &now())?;
    Ok((version, trained))
}

/// The model card.
fn card(m: &Manifest, (from, until): (Date, Date)) -> String {
    let mut out = String::from("# Model card\n\n");
    let mut line = |text: String| writeln!(out, "{text}").expect("text grows");
    line(format!("Learned what is normal from {from} to {until}."));
    line(String::new());
    line("| | |".into());
    line("|---|---|".into());
    line(format!("| engine | quietwatch {} |", m.engine_version));
    line(format!("| organisations | {} |", m.orgs.len()));
    line(format!("| events | {} |", m.events));
    line(format!("| user-days | {} |", m.user_days));
    line(format!("| seed | {} |", m.seed));
    line(format!("| input digest | `{}` |", m.input_digest));
    for (name, value) in &m.metrics {
        line(format!("| {} | {value:.4} |", name.replace('_', " ")));
    }
    line(String::new());
    line(
        "Meant for: ranking user-days, apps, addresses and organisations of these logs by how much they differ from"
            .into(),
    );
    line(
        "their own past and their peers. Not meant for: judging people. A score says \"unusual\", never \"guilty\"."
            .into(),
    );
    line(String::new());
    line("p-values are calibrated on the last training nights, each scored by what the days before it taught.".into());
    for note in &m.notes {
        line(format!("\nNote: {note}"));
    }
    out
}
