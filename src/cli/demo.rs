//! `demo`: the whole story in a minute. A made-up organisation with attacks is simulated, learned and scored; then a real
//! capture of an attack goes through the same pipeline, and what so short a log cannot support is said plainly.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::args::{DemoArgs, InputArgs};
use super::score::{Nights, print, publish, score};
use super::{cannot_print, terminal, train};
use crate::anomaly::{Anomaly, RunInfo};
use crate::config::{Config, Layers};
use crate::error::{Error, Kind, Result};
use crate::evaluation;
use crate::features::catalog::user_day as f;
use crate::fsutil;
use crate::models::{CHAMPION, Registry, Selector};
use crate::pipeline::Days;
use crate::seed::Seed;
use crate::simulate::{self, Format, Options};
use crate::store::Store;
use crate::tables::DayTables;

/// The attacks and look-alikes of the demo: one of each category, and two that must stay quiet.
const SCENARIOS: [&str; 8] =
    ["S3@high", "S4@high", "S8@high", "S11@high", "S1@high", "S12@high", "B2@medium", "B8@medium"];

/// Seed of the demo's organisation. Nothing depends on it being this one.
const SEED: u64 = 20;

/// Files of the bundled capture.
const CAPTURE: &str = "datasets/cloudtrail_invictus";

/// Marks a folder as one that a demo made, so that the next demo may replace it.
const MARK: &str = ".quietwatch-demo";

pub(super) fn run(args: &DemoArgs, out: &mut dyn Write) -> Result<()> {
    let dir = args.out.clone().unwrap_or_else(|| PathBuf::from("quietwatch-demo"));
    prepare(&dir)?;
    let mut say = |text: &str| writeln!(out, "{text}").map_err(cannot_print);
    say(
        "1. A made-up organisation: integrations, people, offices, six weeks of API calls, and attacks in the last two.",
    )?;
    let simulated = dir.join("simulated");
    let options = Options {
        preset: simulate::Preset::Small,
        users: Some(40),
        days: None,
        start: super::simulate::default_start(),
        seed: Seed(SEED),
        scenarios: SCENARIOS
            .iter()
            .map(|s| simulate::ScenarioSpec::parse_list(s))
            .collect::<Result<Vec<_>>>()?
            .concat(),
        format: Format::Csv,
    };
    let summary = simulate::run(&options, &simulated, &mut |_| {})?;
    let until = summary.train_until.ok_or_else(|| Error::new(Kind::Bug, "the demo plants attacks"))?;
    say(&format!(
        "   {} events of {} users over {} days, in {}",
        summary.events,
        summary.users,
        summary.days,
        simulated.display()
    ))?;
    let config = Layers::read(Some(&simulated.join("quietwatch.toml")), &[])?.resolve()?;
    let input = InputArgs { events: vec![simulated.join("events").display().to_string()], ..InputArgs::default() };
    let (store, report) = input.ingest(&config, Store::create(&dir.join("store"))?, true)?;
    say(&format!("   features of {} events, {} rows set aside", report.events, report.quarantined))?;

    say(&format!("\n2. Learn what is normal from the days up to {until}, which are clean."))?;
    let registry = Registry::open(&dir.join("models"), "demo")?;
    let (version, trained) = train::train(&store, Some(until), &config, &registry)?;
    say(&format!("   model version {version}: {} user-days", trained.user_days))?;

    say("\n3. Score the nights after that, each by what the days before it taught.\n")?;
    let model = registry.load(&Selector::Alias(CHAMPION.into()))?;
    let last = store.list()?.last().map_or(until, |d| d.0);
    let (info, anomalies) = score(&store, &model, "demo", &config, Nights::Range(until.plus(1), last))?;
    let run_dir = dir.join("run");
    publish(&run_dir, &info, &anomalies, &config)?;
    print(out, &info, &anomalies)?;

    found_and_missed(out, &simulated, &info, &anomalies)?;
    let mut say = |text: &str| writeln!(out, "{text}").map_err(cannot_print);
    say(&format!("\nReport: {}", run_dir.join("report.html").display()))?;
    say("\n4. The same pipeline on a real log: 55 minutes of AWS CloudTrail from a red-team exercise (datasets/).")?;
    capture(out, &dir)?;
    writeln!(
        out,
        "\nNext: `quietwatch simulate`, `features`, `train` and `score` do these steps on their own; README.md shows a real night."
    )
    .map_err(cannot_print)
}

/// An empty folder, or what an earlier demo left, which is replaced.
fn prepare(dir: &Path) -> Result<()> {
    let failed = |e| Error::io(Kind::Usage, "use the folder", dir, e);
    if dir.exists() {
        let empty = fs::read_dir(dir).map_err(failed)?.next().is_none();
        if !empty && !dir.join(MARK).exists() {
            let message = format!("{} is not empty and was not made by a demo; give another --out", dir.display());
            return Err(Error::new(Kind::Usage, message));
        }
        fs::remove_dir_all(dir).map_err(failed)?;
    }
    fsutil::create_dirs(dir)?;
    fsutil::write_atomic(&dir.join(MARK), b"made by quietwatch demo; the next demo replaces this folder\n")
}

/// What was planted, and what became of it.
fn found_and_missed(out: &mut dyn Write, simulated: &Path, info: &RunInfo, anomalies: &[Anomaly]) -> Result<()> {
    let labels = super::evaluate::read_labels(&simulated.join("labels.csv"))?;
    let evaluation = evaluation::evaluate(info, anomalies, &labels);
    writeln!(out, "\nWhat was planted, and what became of it (top 10 = within the first ten of its night):\n")
        .map_err(cannot_print)?;
    let mut table = terminal::table(&["", "scenario", "outcome", "best rank", "score", "first night"]);
    for (incident, benign) in
        evaluation.attacks.iter().map(|i| (i, false)).chain(evaluation.look_alikes.iter().map(|i| (i, true)))
    {
        let title = simulate::catalog().iter().find(|c| c.id == incident.scenario).map_or("", |c| c.title);
        let verdict = match (benign, incident.found_reported, incident.found_top10) {
            (false, true, _) => "found, reported",
            (false, false, true) => "found in the top 10",
            (false, false, false) => "missed",
            (true, true, _) => "reported (false alarm)",
            (true, false, _) => "kept quiet",
        };
        let row = [
            incident.scenario.clone(),
            format!("{title}{}", if benign { " (benign)" } else { "" }),
            verdict.to_owned(),
            incident.best_rank.map_or("-".into(), |r| r.to_string()),
            incident.best_score.map_or("-".into(), crate::report::words::score),
            incident.first_alert.or(incident.first_top10).map_or("-".into(), |d| d.to_string()),
        ];
        terminal::add_row(&mut table, row);
    }
    let alerts = &evaluation.alerts;
    writeln!(
        out,
        "{}\n\nOf {} alerts {} are on attacks, {} on look-alikes and {} on nothing that was planted (a small organisation gives \
         coarse p-values).",
        terminal::render(&table),
        alerts.reported,
        alerts.attacks,
        alerts.look_alikes,
        alerts.false_alarms
    )
    .map_err(cannot_print)
}

/// The bundled capture, if it is where the sources are.
fn capture(out: &mut dyn Write, dir: &Path) -> Result<()> {
    let places = [PathBuf::from(CAPTURE), Path::new(env!("CARGO_MANIFEST_DIR")).join(CAPTURE)];
    let Some(folder) = places.iter().find(|p| p.is_dir()) else {
        return writeln!(out, "   {CAPTURE} is not here; run the demo from a clone to see this part.")
            .map_err(cannot_print);
    };
    let config: Config = Layers::default().flag("run.profile", Some("aws-cloudtrail")).resolve()?;
    let input = InputArgs { events: vec![format!("{}/*.json.gz", folder.display())], ..InputArgs::default() };
    let (store, report) = input.ingest(&config, Store::create(&dir.join("capture-store"))?, true)?;
    writeln!(out, "   {} files, {} events, {} rows set aside\n", report.files, report.events, report.quarantined)
        .map_err(cannot_print)?;
    let days: Vec<DayTables> =
        store.list()?.into_iter().map(|(date, org)| Days::load(&store, org.as_str(), date)).collect::<Result<_>>()?;
    let mut rows: Vec<(f64, [String; 7])> = Vec::new();
    for day in &days {
        for row in 0..day.user_day.len() {
            let x = day.user_day.row(row);
            let share = 100.0 * x[f::ERRORS] / x[f::CALLS].max(1.0);
            let id = day.text(day.user_day.ids[row]);
            let short = id.rsplit(['/', ':']).next().unwrap_or(id);
            rows.push((
                x[f::CALLS],
                [
                    short.to_owned(),
                    format!("{:.0}", x[f::CALLS]),
                    format!("{share:.0} %"),
                    format!("{:.0}", x[f::RESOURCES]),
                    format!("{:.0}", x[f::API_FAMILIES]),
                    format!("{:.0}", x[f::IPS]),
                    format!("{:.0}", x[f::PEAK_5MIN_CALLS]),
                ],
            ));
        }
    }
    rows.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let mut table =
        terminal::table(&["who", "calls", "failed", "kinds of call", "services", "addresses", "most in 5 min"]);
    for (_, row) in rows.into_iter().take(8) {
        terminal::add_row(&mut table, row);
    }
    writeln!(out, "{}", terminal::render(&table)).map_err(cannot_print)?;
    let verdict =
        match crate::pipeline::train(&store, None, config.settings(), Seed(config.run().seed), &mut |_, _, _| {}) {
            Ok(_) => "it trained".to_owned(),
            Err(e) => e.to_string(),
        };
    writeln!(
        out,
        "\n   What this log cannot support: a score. One part of one day has no usual volume, no usual hour and no earlier day \
         on which\n   an address or a call could have been seen, so \"new\" would mean \"everything\". Asked to learn from it, \
         quietwatch says:\n   {}\n   What it does show is who did how much of what; two weeks of such logs make a baseline.",
        terminal::escape(&verdict)
    )
    .map_err(cannot_print)
}
