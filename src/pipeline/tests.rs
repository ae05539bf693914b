//! The whole flow without files: made-up days in memory, trained and scored.

use std::collections::BTreeMap;
use std::sync::Mutex;

use rand::RngExt;

use super::score::past;
use super::{Days, Night, Scorer, Trained, train};
use crate::anomaly::{Status, SubjectType, anomaly_key};
use crate::config::Settings;
use crate::date::Date;
use crate::detectors::night::facts;
use crate::enrich::Place;
use crate::error::{Error, Kind, Result};
use crate::events::action::Action;
use crate::events::batch::{Events, Field};
use crate::explain::sentence::say;
use crate::features::catalog::Family;
use crate::features::{Options, compute};
use crate::feedback::Feedback;
use crate::seed::Seed;
use crate::tables::{DayTables, Step, Steps, ValueKind};

#[path = "backtest_tests.rs"]
mod backtest;
#[path = "feedback_tests.rs"]
mod feedback;
#[path = "gates_tests.rs"]
mod gates;

const FIRST: i32 = 20_458;
const DAYS: i32 = 40;
const USERS: usize = 30;

/// Days in memory.
struct Memory {
    days: BTreeMap<(Date, String), DayTables>,
    kept: Mutex<BTreeMap<(String, Date), String>>,
    /// From this date on, user03 does what it always does the other way round.
    backwards: Option<Date>,
    feedback: Feedback,
}

impl Days for Memory {
    fn list(&self) -> Result<Vec<(Date, String)>> {
        Ok(self.days.keys().cloned().collect())
    }

    fn load(&self, org: &str, date: Date) -> Result<DayTables> {
        self.days.get(&(date, org.to_owned())).cloned().ok_or_else(|| Error::new(Kind::NoData, "no such day"))
    }

    fn digest(&self, org: &str, date: Date) -> Result<String> {
        Ok(blake3::hash(format!("{:?}", self.load(org, date)?).as_bytes()).to_hex().to_string())
    }

    fn steps(&self, org: &str, date: Date) -> Result<Steps> {
        // Each session goes through the user's objects in the order of their names.
        let day = self.load(org, date)?;
        let mut steps = Steps { ids: vec![String::new()], ..Steps::default() };
        for (row, key) in day.session_keys.iter().enumerate() {
            let mut values: Vec<_> =
                day.values_of(key.user).iter().filter(|v| v.kind == ValueKind::ActionEntity).collect();
            if day.text(day.user_day.ids[key.user as usize]) == "user03" && self.backwards.is_some_and(|b| date >= b) {
                values.reverse();
            }
            for v in values {
                let full = day.text(v.value).to_owned();
                let coarse = full.split(' ').next().unwrap_or_default().to_owned();
                steps.rows.push(Step { session: row as u32, word: steps.words.len() as u32, gap: 3, request_id: 0 });
                steps.words.push((full, coarse));
            }
        }
        Ok(steps)
    }

    fn enrichment(&self, _: &str, _: Date) -> Result<String> {
        Ok(String::new())
    }

    fn kept_night(&self, model: &str, date: Date) -> Result<Option<String>> {
        Ok(self.kept.lock().unwrap().get(&(model.to_owned(), date)).cloned())
    }

    fn keep_night(&self, model: &str, date: Date, text: &str) -> Result<()> {
        self.kept.lock().unwrap().insert((model.to_owned(), date), text.to_owned());
        Ok(())
    }

    fn feedback(&self) -> Result<Feedback> {
        Ok(self.feedback.clone())
    }
}

/// What is odd about one user from a date on.
#[derive(Clone, Copy, PartialEq)]
enum Odd {
    Nothing,
    /// Half of the calls come from another country.
    Country,
    /// Six of ten calls go to objects never used before; volume, hours and address are as usual.
    Objects,
    /// The calls come twelve hours later.
    Hours,
    /// An app with the usual name and another id.
    Imitation,
    /// Failures climb by three points a day.
    Errors,
    /// The same as `Objects`, while a dozen addresses try the passwords of twenty others.
    ObjectsInFlood,
}

/// A day of a calm organisation, with one odd user.
fn day(date: Date, odd: Odd, since: Date) -> DayTables {
    let mut rng = Seed(7).derive("day", date.0 as u64);
    let mut events = Events::default();
    let flood = odd == Odd::ObjectsInFlood && date >= since;
    for user in 0..USERS {
        let odd = if user == 3 && date >= since { odd } else { Odd::Nothing };
        let calls = 80 + 10 * (user % 7) + rng.random_range(0..20);
        for call in 0..calls {
            let hour = if odd == Odd::Hours { 21 } else { 8 + (call % 8) as i64 };
            events.timestamp_ms.push(date.start_ms() + hour * 3_600_000 + rng.random_range(0..3_600_000));
            let away = odd == Odd::Country && call % 2 == 0;
            let other = matches!(odd, Odd::Objects | Odd::ObjectsInFlood) && call % 10 < 6;
            let object = if other { format!("Secret{}", call % 3) } else { format!("Object{}", (user + call) % 5) };
            let failing = match odd {
                Odd::Errors => call as i32 % 100 < 2 + 3 * (date.0 - since.0 + 1),
                _ => rng.random_range(0..50) == 0,
            };
            let text: [String; 13] = [
                "org".into(),
                format!("user{user:02}"),
                format!("User {user}"),
                if away { "203.0.113.9".into() } else { format!("198.51.100.{user}") },
                if odd == Odd::Imitation { "0H4666".into() } else { "0H4001".into() },
                "App".into(),
                String::new(),
                "REST".into(),
                "62.0".into(),
                "/query".into(),
                "GET".into(),
                object,
                String::new(),
            ];
            for (field, text) in Field::ALL.into_iter().zip(&text) {
                events.column_mut(field).push(text);
            }
            events.action.push(Action::Query);
            events.status.push(if failing { 400 } else { 200 });
            events.request_id.push(&format!("r{}-{user}-{call}", date.0));
            events.source_row.push(call as u64);
        }
        for address in (0..12).filter(|_| flood && (5..25).contains(&user)) {
            events.timestamp_ms.push(date.start_ms() + 3_600_000 + rng.random_range(0..3_600_000));
            let (user, ip) = (format!("user{user:02}"), format!("192.0.2.{address}"));
            let text = ["org", &user, "", &ip, "", "", "", "SOAP", "62.0", "login", "", "", ""];
            for (field, text) in Field::ALL.into_iter().zip(text) {
                events.column_mut(field).push(text);
            }
            events.action.push(Action::Auth);
            events.status.push(401);
            events.request_id.push(&format!("f{}-{user}-{address}", date.0));
            events.source_row.push(address);
        }
    }
    let place = |ip: &str| Place {
        network: ip.rsplit_once('.').map_or(String::new(), |n| format!("{}.0/24", n.0)),
        country: if ip.starts_with("203") { "DE" } else { "US" }.into(),
        city: String::new(),
        asn: "AS64500 Net".into(),
        class: "public".into(),
    };
    compute("org", date, &events, &place, &Options::default()).tables
}

fn memory(odd: Odd, since: i32, days: i32) -> Memory {
    let since = Date(FIRST + since);
    let days = (0..days).map(|d| ((Date(FIRST + d), "org".to_owned()), day(Date(FIRST + d), odd, since))).collect();
    Memory { days, kept: Mutex::default(), backwards: None, feedback: Feedback::default() }
}

/// Trains on the first 35 days and scores the given ones.
fn run(days: &Memory, wanted: &[i32]) -> Vec<Night> {
    let settings = Settings::default();
    let trained = train(days, Some(Date(FIRST + 34)), &settings, Seed(0), &mut |_, _, _| {}).unwrap();
    score(days, &trained, settings, wanted)
}

/// Scores the given days.
fn score(days: &Memory, trained: &Trained, settings: Settings, wanted: &[i32]) -> Vec<Night> {
    let arrays = trained.arrays.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
    let from = Date(FIRST + wanted[0]);
    let mut scorer = Scorer::new(days, &arrays, &trained.records, trained.window, "model", settings, from).unwrap();
    wanted.iter().map(|d| scorer.night(Date(FIRST + d), &mut |_, _, _| {}).unwrap().unwrap()).collect()
}

#[test]
fn a_date_before_all_training_is_an_error_that_says_so() {
    let days = memory(Odd::Nothing, 0, DAYS);
    let settings = Settings::default();
    let mut trained = train(&days, Some(Date(FIRST + 34)), &settings, Seed(0), &mut |_, _, _| {}).unwrap();
    trained.window.0 = Date(FIRST + 5);
    let arrays = trained.arrays.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
    let error =
        Scorer::new(&days, &arrays, &trained.records, trained.window, "model", settings, Date(FIRST + 4)).unwrap_err();
    assert_eq!(error.kind(), Kind::Model);
    assert!(error.to_string().contains("before the model's first training day"), "{error}");
}

#[test]
fn a_calm_organisation_is_silent() {
    let nights = run(&memory(Odd::Nothing, 0, DAYS), &[35, 36, 37, 38, 39]);
    let reported: usize = nights.iter().flat_map(|n| &n.anomalies).filter(|a| a.reported).count();
    assert!(reported <= 1, "{reported} reported");
}

#[test]
fn a_flood_of_failed_logins_is_one_finding_and_hides_no_theft() {
    let night = &run(&memory(Odd::ObjectsInFlood, 35, DAYS), &[35])[0];
    let reported: Vec<&str> = night.anomalies.iter().filter(|a| a.reported).map(|a| a.subject_id.as_str()).collect();
    assert!(reported.contains(&"user03"), "{reported:?}");
    assert!(reported.contains(&"org"), "{reported:?}");
    assert!(reported.len() <= 3, "{reported:?}");
    let flood = night.anomalies.iter().find(|a| a.subject_id == "org").unwrap();
    assert_eq!(flood.user_ids.len(), 20, "{}", flood.story);
    assert!(flood.story.contains("passwords or tokens are being tried"), "{}", flood.story);
}

#[test]
fn the_usual_calls_in_another_order_are_first_of_their_night() {
    let mut days = memory(Odd::Nothing, 0, DAYS);
    days.backwards = Some(Date(FIRST + 35));
    let night = &run(&days, &[35])[0];
    let first = &night.anomalies[0];
    assert!(first.reported && first.subject_id == "user03", "{}", first.story);
    assert_eq!(first.evidence[0].family, Family::Sequence);
    assert!(
        first.story.contains("within the usual") && first.story.contains("usually follows there"),
        "{}",
        first.story
    );
}

#[test]
fn what_limits_cannot_see_is_first_of_its_night() {
    for (odd, words) in
        [(Odd::Country, "DE"), (Odd::Objects, "Secret"), (Odd::Hours, "21:00"), (Odd::Imitation, "0H4666")]
    {
        let night = &run(&memory(odd, 35, DAYS), &[35])[0];
        let top = &night.anomalies[0];
        assert_eq!(top.subject_id, "user03", "{words}: {}", top.title);
        assert!(top.reported, "{words}: score {} q {}", top.score, top.q_value);
        let told = format!("{} {}", top.title, top.story);
        assert!(told.contains(words), "{words} is missing in: {told}");
    }
}

#[test]
fn a_slow_climb_of_errors_leads_the_list_within_days() {
    let nights = run(&memory(Odd::Errors, 33, DAYS), &[35, 36, 37, 38, 39]);
    let first = nights.iter().filter(|n| n.anomalies[0].subject_id == "user03").count();
    assert!(first >= 4, "{:?}", nights.iter().map(|n| &n.anomalies[0].title).collect::<Vec<_>>());
}

#[test]
fn a_repeat_is_ongoing_and_no_new_alert() {
    let nights = run(&memory(Odd::Country, 35, DAYS), &[35, 36]);
    let second = nights[1].anomalies.iter().find(|a| a.subject_id == "user03").unwrap();
    assert!(nights[0].anomalies[0].reported);
    assert!(second.status == Status::Ongoing && !second.reported, "{second:?}");
}

#[test]
fn a_picture_adds_up_to_what_the_story_counts() {
    let night = &run(&memory(Odd::Hours, 40, 41), &[40])[0];
    let pictures: Vec<_> = night.anomalies.iter().filter_map(|a| Some((a, a.picture.as_ref()?))).collect();
    assert_eq!(pictures.len(), night.anomalies.iter().filter(|a| a.subject_type == SubjectType::UserDay).count());
    for (a, p) in &pictures {
        let sums = (p.calls.iter().sum::<u64>(), p.errors.iter().sum::<u64>());
        assert_eq!(sums, (a.event_count, a.error_count), "{}", a.subject_id);
        assert!(p.past.iter().all(|(date, _)| *date < a.date));
    }
    let (_, moved) = pictures.iter().find(|(a, _)| a.subject_id == "user03").unwrap();
    let usual = moved.usual.as_ref().unwrap();
    assert!((0..48).filter(|h| moved.calls[*h] > 0).all(|h| usual.hardly(h)), "calls at 21:00");
    assert!((16..32).all(|h| !usual.hardly(h)), "always at 08:00 to 16:00");
}

#[test]
fn a_night_does_not_depend_on_later_days_on_kept_nights_or_on_threads() {
    let alone = run(&memory(Odd::Country, 36, 38), &[37]);
    let with_later = memory(Odd::Country, 36, DAYS);
    let later = run(&with_later, &[37]);
    assert_eq!(alone[0].anomalies, later[0].anomalies);
    // The second run finds the nights in between as the first one kept them.
    assert!(!with_later.kept.lock().unwrap().is_empty());
    assert_eq!(run(&with_later, &[37])[0].anomalies, later[0].anomalies);
    // A range scores as its nights one by one.
    assert_eq!(run(&memory(Odd::Country, 36, DAYS), &[35, 36, 37])[2].anomalies, later[0].anomalies);
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(one.install(|| run(&memory(Odd::Country, 36, DAYS), &[37]))[0].anomalies, later[0].anomalies);
}

/// With the autoencoder, which looks at weeks.
fn weekly() -> Settings {
    let mut settings = Settings::default();
    settings.fusion.geometry = 1.0;
    settings.geometry.night_members = vec!["knn".into(), "autoencoder".into()];
    settings
}

#[cfg(feature = "neural")]
#[test]
fn a_week_does_not_depend_on_kept_nights_and_a_range_scores_as_its_nights() {
    let days = memory(Odd::Country, 36, DAYS);
    let mut trained = train(&days, Some(Date(FIRST + 34)), &weekly(), Seed(0), &mut |_, _, _| {}).unwrap();
    let alone = score(&days, &trained, weekly(), &[38]);
    let kept = days.kept.lock().unwrap().clone();
    assert!(!kept.is_empty() && kept.values().all(|text| text.contains(r#""scores":["#)));
    // The second time finds the nights in between as the first one kept them.
    assert_eq!(score(&days, &trained, weekly(), &[38])[0].anomalies, alone[0].anomalies);
    let range = memory(Odd::Country, 36, DAYS);
    let nights = score(&range, &trained, weekly(), &[35, 36, 37, 38]);
    assert_eq!(nights[3].anomalies, alone[0].anomalies);
    assert_eq!(*range.kept.lock().unwrap(), kept);
    // The model remembers the week before its first night, and the night depends on it.
    let all = trained.records.len();
    trained.records.retain(|r| r.section != "recent");
    assert_eq!(all - trained.records.len(), USERS);
    let forgotten = score(&memory(Odd::Country, 36, DAYS), &trained, weekly(), &[35]);
    assert_ne!(forgotten[0].p_values, nights[0].p_values);
}

#[test]
fn without_the_autoencoder_no_weeks_are_remembered() {
    let days = memory(Odd::Nothing, 0, 37);
    let trained = train(&days, Some(Date(FIRST + 34)), &Settings::default(), Seed(0), &mut |_, _, _| {}).unwrap();
    assert!(trained.records.iter().all(|r| r.section != "recent"));
    run(&days, &[35, 36]);
    assert!(days.kept.lock().unwrap().values().all(|text| !text.contains(r#""scores":["#)));
}

#[cfg(not(feature = "neural"))]
#[test]
fn a_build_without_neural_detectors_says_so_before_it_trains() {
    let days = memory(Odd::Nothing, 0, 5);
    let error = train(&days, None, &weekly(), Seed(0), &mut |_, _, _| {}).unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.to_string().contains("no neural detectors"), "{error}");
}

#[test]
fn equal_training_gives_equal_numbers_at_any_thread_count() {
    let days = memory(Odd::Nothing, 0, 30);
    let fit = || {
        let t = train(&days, None, &Settings::default(), Seed(0), &mut |_, _, _| {}).unwrap();
        (t.arrays, t.records, t.input_digest)
    };
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(fit(), one.install(fit));
}

#[test]
fn too_short_a_history_is_an_error_that_says_so() {
    let days = memory(Odd::Nothing, 0, 3);
    let error = train(&days, None, &Settings::default(), Seed(0), &mut |_, _, _| {}).unwrap_err();
    assert_eq!(error.kind(), Kind::NoData);
    assert!(error.to_string().contains("found 3"), "{error}");
}

#[test]
fn without_its_reasons_an_alert_is_an_ordinary_day() {
    let settings = Settings::default();
    for odd in [Odd::Country, Odd::Objects, Odd::Hours, Odd::Imitation] {
        let days = memory(odd, 35, 36);
        let trained = train(&days, Some(Date(FIRST + 34)), &settings, Seed(0), &mut |_, _, _| {}).unwrap();
        let arrays = trained.arrays.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
        let date = Date(FIRST + 35);
        let scorer =
            Scorer::new(&days, &arrays, &trained.records, trained.window, "model", settings.clone(), date).unwrap();
        let table = days.load("org", date).unwrap();
        let raw = scorer.engine.evaluate(std::slice::from_ref(&table), &settings).remove(0);
        let subject = raw.subjects.iter().find(|s| s.id == "user03").unwrap();
        let class = scorer.calibration.class(subject.subject, false, subject.activity);
        let past = past(&scorer.engine.orgs["org"], &raw, subject, date);
        let p = |scores: &[f32]| scorer.calibration.apply(class, scores, past, &settings).p;
        assert!(p(&subject.scores) < 1e-3);
        let told = &run(&days, &[35])[0].anomalies[0];
        // Every slot whose fact is told, also where two say the same.
        let told_of: Vec<usize> =
            facts(&table, &scorer.engine.orgs["org"], &raw, subject, &BTreeMap::new(), None, &settings)
                .into_iter()
                .filter(|(_, fact)| told.evidence.iter().any(|e| e.sentence == say(fact).sentence))
                .map(|(slot, _)| slot)
                .collect();
        let mut without = subject.scores.clone();
        told_of.iter().for_each(|slot| without[*slot] = 0.0);
        assert!(p(&without) > 0.05, "{}: {}", told.title, p(&without));
    }
}

#[test]
fn a_backend_that_is_too_narrow_for_nights_is_refused() {
    let mut settings = Settings::default();
    settings.fusion.geometry = 1.0;
    settings.geometry.backend = crate::config::settings::ForestBackend::ExtendedIsolationForest;
    let error = train(&memory(Odd::Nothing, 0, 8), None, &settings, Seed(0), &mut |_, _, _| {}).unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.to_string().contains("at most 32 columns"), "{error}");
}
