//! The eighteen attacks, as published incidents and hunting guides describe them.
//!
//! Numbers are those of full intensity; `Stage::scaled` takes half or a fifth of them at the lower levels.

use super::calls::Call;
use super::days::job_number;
use super::schedule::Kind;
use super::stage::{Change, Guise, Stage, Who};

/// Plays an attack.
pub(super) fn play(id: &str, stage: &mut Stage) {
    match id {
        "S1" => slow_recon_then_bulk(stage),
        "S2" => paging_theft(stage, None),
        "S3" => same_volume(stage),
        "S4" => loader(stage, 0, 1.0),
        "S5" => test_chunks(stage),
        "S6" => rotating_exits(stage),
        "S7" => low_and_slow(stage),
        "S8" => shifted_run(stage),
        "S9" => weekend(stage),
        "S10" => stuffing(stage),
        "S11" => error_climb(stage),
        "S12" => runaway(stage),
        "S13" => shadow_app(stage),
        "S14" => leaver(stage),
        "S15" => composite_hiding(stage),
        "S16" => job_deletion(stage),
        "S17" => multi_org(stage),
        _ => {
            let request = u128::from(stage.dice.bits()) << 64 | u128::from(stage.dice.bits());
            paging_theft(stage, Some(request));
        }
    }
}

/// The reconnaissance of S1 and S17: (day, minute of the day, call, object).
const RECON: [(i32, f64, Call, &str); 18] = [
    (0, 1334.13, Call::DescribeGlobal, ""),
    (0, 1334.16, Call::Limits, ""),
    (1, 1173.03, Call::DescribeGlobal, ""),
    (1, 1173.06, Call::Describe, "Case"),
    (1, 1173.10, Call::Describe, "Case"),
    (1, 1173.15, Call::Query, "Case"),
    (1, 1173.18, Call::Query, "Case"),
    (2, 17.66, Call::DescribeGlobal, ""),
    (2, 17.78, Call::Query, "Account"),
    (2, 17.85, Call::Query, "Contact"),
    (2, 18.00, Call::Query, "User"),
    (2, 274.65, Call::Query, "CaseTeamMemberHistory__c"),
    (2, 669.15, Call::Query, "Organization"),
    (2, 669.20, Call::Query, "User"),
    (2, 669.28, Call::Query, "User"),
    (2, 669.36, Call::Limits, ""),
    (4, 1166.61, Call::Query, "Case"),
    (4, 1168.13, Call::Query, "Case"),
];

/// About 45 rows in all: recon over days from the app's own cloud, then one bulk query job from another provider,
/// deleted within a minute of its end.
fn slow_recon_then_bulk(stage: &mut Stage) {
    let guise = Guise::of(&stage.target);
    let last = stage.span - 1;
    let neighbour = stage.neighbour();
    let shift = stage.dice.uniform(-240.0, 100.0);
    let every = stage.level.of(4, 2, 1);
    for (day, minute, call, object) in RECON.into_iter().step_by(every) {
        let entity = stage.objects(&[object])[0];
        let ms = stage.utc(day.min(last), (minute + shift).rem_euclid(1440.0));
        stage.put(guise, ms, neighbour, call, entity);
    }
    let address = stage.servers(1, 1)[0];
    let case = stage.objects(&["Case"])[0];
    let mut ms = stage.utc(last, (671.4 + shift).rem_euclid(1300.0));
    stage.put(guise, ms, address, Call::Query, case);
    ms += 1_000;
    let job = stage.dice.bits() >> 22;
    stage.put_full(guise, ms, address, Call::JobCreate, case, job, None);
    for _ in 0..stage.scaled(12.0, 3) {
        ms += stage.dice.between(15_000, 20_000);
        stage.put_full(guise, ms, address, Call::JobPoll, case, job, None);
    }
    for _ in 0..stage.scaled(8.0, 2) {
        ms += stage.dice.between(900, 4_000);
        stage.put_full(guise, ms, address, Call::JobResult, case, job, None);
    }
    ms += stage.dice.between(15_000, 50_000);
    stage.put_full(guise, ms, address, Call::JobDelete, case, job, None);
}

/// Other version, other countries, a describe of each object, then thousands of pages in bursts within long windows.
fn paging_theft(stage: &mut Stage, request: Option<u128>) {
    let mut guise = Guise { request, ..Guise::of(&stage.target) };
    if guise.version > 40 {
        guise.version -= stage.level.of(0, 5, 5);
    }
    let countries = stage.level.of(1, 2, 3);
    let addresses = stage.servers(stage.level.of(1, 2, 4), countries);
    let objects = stage.objects(&["Account", "Contact", "Opportunity", "Task"]);
    let windows = stage.level.of(1, 2, 3);
    let total = stage.scaled(7_000.0, 1);
    let begin = stage.dice.uniform(30.0, 120.0);
    let mut ms = stage.utc(0, begin);
    stage.put(guise, ms, addresses[0], Call::DescribeGlobal, 0);
    for i in 0..stage.scaled(16.0, 3) {
        ms += stage.dice.between(1_000, 9_000);
        let object = objects[i as usize % objects.len()];
        stage.put(guise, ms, addresses[0], Call::Describe, object);
    }
    for window in 0..windows {
        let from = begin + 5.0 + 420.0 * f64::from(window);
        // Two or three bursts of about fifteen minutes in each six-hour window.
        let bursts = (total / windows as u64).div_ceil(1_050).max(1);
        for burst in 0..bursts {
            let at = from + 360.0 * burst as f64 / bursts as f64 + stage.dice.uniform(0.0, 40.0);
            let n = total / windows as u64 / bursts;
            let span = (stage.utc(0, at), stage.utc(0, at + 15.0 * (n as f64 / 1_000.0).clamp(0.4, 1.1)));
            let address = addresses[(window as u64 * 2 + burst) as usize % addresses.len()];
            stage.page(guise, span, n, &objects, |_, _| address);
        }
    }
}

fn same_volume(stage: &mut Stage) {
    let objects = stage.strange_objects(stage.level.of(1, 2, 3));
    let change = Change::Rewrite { share: 0.6 * stage.level.factor(), objects };
    stage.edit(Who::User(stage.target.user), (0, 0), change);
}

/// Login, describes, then export of whole tables by SOAP within the length of a phone call.
fn loader(stage: &mut Stage, day: i32, times: f64) {
    const NAMES: [&str; 4] = ["My Ticket Portal", "Data Loader Helper", "Support Desk Sync", "Loader Assistant"];
    let name = stage.dice.pick(&NAMES);
    let channel = stage.app("888", name, "DataLoaderPartnerUI/");
    let guise = Guise { channel, version: 60, soap: true, ..Guise::of(&stage.target) };
    let countries: &[&str] = stage.level.of(&["US"], &["SE", "CH", "NL"], &["SE", "CH", "NL"]);
    let address = stage.elsewhere("vpn", countries, 1, 1)[0];
    let minute = stage.dice.uniform(600.0, 870.0);
    let mut ms = stage.local(day, minute);
    let objects = stage.objects(&["Account", "Contact", "Opportunity", "Lead", "Case", "User"]);
    stage.put(guise, ms, address, Call::SoapLogin, 0);
    ms += 3_000;
    stage.put(guise, ms, address, Call::SoapDescribeGlobal, 0);
    for object in objects.iter().take(stage.scaled(6.0, 2) as usize) {
        ms += stage.dice.between(2_000, 15_000);
        stage.put(guise, ms, address, Call::SoapDescribe, *object);
    }
    let n = (stage.scaled(1_900.0, 1) as f64 * times * stage.dice.uniform(0.8, 1.2)) as u64;
    let length = (stage.dice.uniform(40.0, 90.0) * 60_000.0) as i64;
    stage.page(guise, (ms + 20_000, ms + 20_000 + length), n, &objects[..2], |_, _| address);
}

fn test_chunks(stage: &mut Stage) {
    let channel = stage.app("888", "My Ticket Portal", "DataLoaderPartnerUI/");
    let guise = Guise { channel, version: 60, soap: true, ..Guise::of(&stage.target) };
    let address = stage.elsewhere("vpn", &["SE", "CH", "NL"], 1, 1)[0];
    let objects = stage.objects(&["Account", "Contact"]);
    let n = stage.scaled(25.0, 5);
    let from = stage.dice.uniform(780.0, 900.0);
    let ms = stage.local(0, from);
    stage.put(guise, ms, address, Call::SoapLogin, 0);
    for i in 0..n {
        let at = stage.local(0, from + 1.0 + 180.0 * i as f64 / n as f64);
        // Chunks grow: each later query has more pages.
        let pages = 1 + i / 6;
        stage.page(guise, (at, at + pages as i64 * 4_000), pages, &objects[..=(i % 2) as usize], |_, _| address);
    }
    let day = stage.span - 1;
    loader(stage, day, 5.0);
}

/// The same token from exits that change every few calls.
fn rotating_exits(stage: &mut Stage) {
    let guise = Guise::of(&stage.target);
    let exits = stage.level.of(4, 10, 22);
    let countries = ["DE", "NL", "SE", "CH", "US", "RO"];
    let addresses = stage.elsewhere("tor", &countries, exits, stage.level.of(2, 4, 6));
    let hours = stage.level.of(8.0, 14.0, 23.0);
    let n = (stage.level.of(60.0, 150.0, 300.0) * hours) as u64;
    let objects = stage.objects(&["Account", "Contact", "Opportunity", "Task"]);
    let minute = stage.dice.uniform(0.0, 1430.0 - hours * 60.0);
    let span = (stage.utc(0, minute), stage.utc(0, minute + hours * 60.0));
    let hold = stage.dice.between(5, 40) as u64;
    let key = stage.dice.bits();
    stage.page(guise, span, n, &objects, |_, i| {
        addresses[(super::dice::mix(key, i / hold) % addresses.len() as u64) as usize]
    });
}

/// A hundred extra pages a night within the victim's own hours and from its own address; a new object every two to
/// three nights.
fn low_and_slow(stage: &mut Stage) {
    let guise = Guise::of(&stage.target);
    let every = stage.level.of(5, 3, 2);
    let objects = stage.strange_objects((stage.span / every + 1) as usize);
    for day in 0..stage.span {
        let n = (stage.scaled(120.0, 1) as f64 * stage.dice.uniform(0.4, 1.0)) as u64;
        let address = stage.own_address();
        // Machines that poll work all day; a nightly run is at three in the morning.
        let minute = if stage.target.kind == Kind::Nightly {
            185.0 - stage.target.offsets[stage.first as usize] as f64
        } else {
            stage.dice.uniform(780.0, 1_300.0)
        };
        let span = (stage.utc(day, minute.max(0.0)), stage.utc(day, minute.max(0.0) + 50.0));
        let object = objects[(day / every) as usize % objects.len()];
        stage.page(guise, span, n, &[object], |_, _| address);
    }
}

fn shifted_run(stage: &mut Stage) {
    let minutes = stage.level.of(3, 8, 16) * 60;
    stage.edit(Who::User(stage.target.user), (0, 0), Change::Delay { minutes });
}

fn weekend(stage: &mut Stage) {
    let guise = Guise::of(&stage.target);
    let address = stage.own_address();
    let n = stage.scaled(350.0, 20);
    let hours = stage.level.of(1.5, 2.5, 3.5);
    let objects = stage.objects(&["Account", "Contact", "Opportunity"]);
    let from = stage.local(0, 780.0);
    for i in 0..n {
        let ms = from + ((i as f64 + stage.dice.unit()) / n as f64 * hours * 3_600_000.0) as i64;
        let call = stage.dice.pick(&[Call::UiRecord, Call::UiRecord, Call::Query, Call::Get, Call::Search]);
        let object = stage.dice.pick(&objects);
        stage.put(guise, ms, address, call, object);
    }
}

/// Failed logins for known and unknown users from rented and hijacked machines; at full intensity two succeed, and
/// one of them exports.
fn stuffing(stage: &mut Stage) {
    let channel = stage.plain_channel();
    let unknown = stage.unknown_user();
    let plain = |actor: u32| Guise { actor, channel, version: 49, soap: true, request: None };
    let mut people: Vec<u32> = stage.everyone.iter().filter(|c| c.human && c.org == 0).map(|c| c.actor).collect();
    stage.dice.shuffle(&mut people);
    people.truncate(stage.scaled(60.0, 8) as usize);
    let half = stage.scaled(120.0, 12);
    let mut addresses = stage.elsewhere("residential", &["VN", "BR", "IN", "MX"], half, 4);
    addresses.extend(stage.servers(half / 4 + 1, 4));
    let n = stage.scaled(4_500.0, 100);
    let from = stage.dice.uniform(0.0, 1300.0);
    for i in 0..n {
        let ms = stage.utc(0, from + 120.0 * i as f64 / n as f64);
        let known = stage.dice.chance(0.45) && !people.is_empty();
        let actor = if known { stage.dice.pick(&people) } else { unknown };
        let address = stage.dice.pick(&addresses);
        stage.put_full(plain(actor), ms, address, Call::SoapLogin, 0, 0, Some(401));
    }
    let successes = stage.level.of(0, 1, 2).min(people.len());
    for (i, &actor) in people.iter().take(successes).enumerate() {
        let address = stage.dice.pick(&addresses);
        let ms = stage.utc(0, from + 121.0 + i as f64);
        stage.put(plain(actor), ms, address, Call::SoapLogin, 0);
        if i == 0 {
            let objects = stage.objects(&["Account", "Contact"]);
            let pages = stage.scaled(300.0, 40);
            stage.page(plain(actor), (ms + 9_000, ms + 900_000), pages, &objects, |_, _| address);
        }
    }
}

/// An expired secret and its retries: 2, 3, 5, 9, 12, 14, 18 % of the calls fail.
fn error_climb(stage: &mut Stage) {
    const SHARES: [f64; 7] = [0.02, 0.03, 0.05, 0.09, 0.12, 0.14, 0.18];
    for day in 0..stage.span {
        let at = (f64::from(day) * 6.0 / f64::from((stage.span - 1).max(1))) as usize;
        let share = (0.02 + (SHARES[at.min(6)] - 0.02) * stage.level.factor()).max(0.02);
        stage.edit(Who::User(stage.target.user), (day, day), Change::Errors { share });
    }
}

/// One object patched at a constant rate for hours; then the organisation's limit is used up, and everybody is refused.
fn runaway(stage: &mut Stage) {
    let guise = Guise::of(&stage.target);
    let address = stage.own_address();
    let object = stage.target.known.first().copied().unwrap_or(1);
    let record = stage.dice.bits() >> 22;
    let (hours, rate) = stage.level.of((4.0, 8.0), (6.0, 20.0), (9.0, 40.0));
    let from = stage.dice.uniform(240.0, 600.0);
    let n = (hours * 60.0 * rate) as u64;
    let step = 60_000.0 / rate;
    for i in 0..n {
        let ms = stage.utc(0, from) + (i as f64 * step) as i64 + stage.dice.between(0, 40);
        stage.put_full(guise, ms, address, Call::Update, object, record, None);
    }
    let until = from + hours * 60.0;
    let storm = f64::from(stage.level.of(10, 30, 60));
    for i in 0..(storm * rate) as u64 {
        let ms = stage.utc(0, until) + (i as f64 * step) as i64;
        stage.put_full(guise, ms, address, Call::Update, object, record, Some(403));
    }
    let (from_ms, until_ms) = (stage.utc(0, until), stage.utc(0, until + storm));
    let change = Change::Refuse { from_ms, until_ms, share: 1.0, status: 403, retry: false };
    stage.edit(Who::Org(stage.target.org), (0, 0), change);
}

/// Sixty calls on the first day, then polling every quarter of an hour.
fn shadow_app(stage: &mut Stage) {
    let channel = stage.app("888", "", "");
    let guise = Guise { channel, version: 61, soap: false, ..Guise::of(&stage.target) };
    let address = stage.servers(1, 1)[0];
    let objects = stage.objects(&["Account", "Contact", "Opportunity"]);
    let n = stage.scaled(60.0, 10);
    let mut ms = stage.local(0, 660.0);
    stage.put(guise, ms, address, Call::DescribeGlobal, 0);
    for i in 1..n {
        ms += stage.dice.between(5_000, 60_000);
        let call = if i < 4 { Call::Describe } else { Call::Query };
        stage.put(guise, ms, address, call, objects[i as usize % objects.len()]);
    }
    let every = stage.level.of(60, 30, 15);
    for day in 1..stage.span {
        for poll in 0..1440 / every {
            let ms = stage.utc(day, f64::from(poll * every)) + stage.dice.between(0, 3_000);
            stage.put(guise, ms, address, Call::Query, objects[0]);
        }
    }
}

/// Growing use of a browser tool, reports and deleted records; the last evening is the largest.
fn leaver(stage: &mut Stage) {
    const CALLS: [f64; 5] = [60.0, 150.0, 320.0, 650.0, 1_800.0];
    let known = stage.cast.channels.iter().find(|c| c.app_name == "Salesforce Inspector Reloaded").cloned();
    let channel = match known {
        Some(channel) => stage.cast.channel(channel),
        None => stage.app("0H4", "Salesforce Inspector Reloaded", ""),
    };
    let guise = Guise { channel, version: 62, soap: false, ..Guise::of(&stage.target) };
    let address = stage.own_address();
    let mut objects = stage.objects(&["Account", "Contact", "Opportunity", "Report"]);
    objects.extend(stage.strange_objects(stage.level.of(1, 2, 4)));
    for day in 0..stage.span {
        let at = (day + 5 - stage.span).clamp(0, 4) as usize;
        let n = stage.scaled(CALLS[at], 8);
        let (from, length) = if day == stage.span - 1 { (1080.0, 240.0) } else { (900.0, 150.0) };
        for i in 0..n {
            let minute = from + length * (i as f64 + stage.dice.unit()) / n as f64;
            let ms = stage.local(day, minute);
            let call = stage.dice.pick(&[Call::QueryAll, Call::QueryAll, Call::Query, Call::QueryMore, Call::Report]);
            let object = if call == Call::Report { objects[3] } else { stage.dice.pick(&objects) };
            stage.put(guise, ms, address, call, object);
        }
    }
}

fn composite_hiding(stage: &mut Stage) {
    let guise = Guise { soap: false, ..Guise::of(&stage.target) };
    let address = stage.own_address();
    let minute = stage.dice.uniform(60.0, 1380.0);
    let n = stage.scaled(120.0, 10);
    for i in 0..n {
        let at = minute + 20.0 * (i as f64 + stage.dice.unit()) / n as f64;
        let ms = stage.utc(0, at);
        stage.put(guise, ms, address, Call::CompositeBatch, 0);
    }
}

/// Three deletes, shortly after the legitimate jobs of another user.
fn job_deletion(stage: &mut Stage) {
    let guise = Guise { soap: false, ..Guise::of(&stage.target) };
    let address = stage.own_address();
    let mut ms = stage.local(0, stage.level.of(11.0, 14.0, 16.0) * 60.0 + 38.0);
    let owner =
        stage.everyone.iter().find(|c| c.kind == Kind::Hourly && c.org == stage.target.org).map_or(0, |c| c.actor);
    let hour = ms.rem_euclid(86_400_000) / 3_600_000;
    for earlier in 0..stage.level.of(1, 2, 3) {
        ms += stage.dice.between(4_000, 40_000);
        let job = job_number(owner, stage.first, (hour - earlier).max(0), 0);
        stage.put_full(guise, ms, address, Call::JobDelete, 0, job, None);
    }
}

/// The recon rows of S1 from one address in three organisations, within ten minutes.
fn multi_org(stage: &mut Stage) {
    let address = stage.servers(1, 1)[0];
    let minute = stage.dice.uniform(60.0, 1400.0);
    let mut victims = vec![stage.target.clone()];
    let orgs = stage.everyone.iter().map(|c| c.org).max().unwrap_or(0);
    for org in 1..=orgs {
        let fit = stage.everyone.iter().filter(|c| c.org == org && c.kind == Kind::Poller && c.app);
        victims.extend(fit.min_by(|a, b| a.daily.total_cmp(&b.daily)).cloned());
    }
    let every = stage.level.of(4, 2, 1);
    for (i, victim) in victims.iter().enumerate() {
        let guise = Guise { soap: false, ..Guise::of(victim) };
        let mut ms = stage.utc(0, minute + 3.0 * i as f64);
        for (_, _, call, object) in RECON.into_iter().step_by(every) {
            let entity = stage.objects(&[object])[0];
            stage.put(guise, ms, address, call, entity);
            ms += stage.dice.between(2_000, 9_000);
        }
    }
}
