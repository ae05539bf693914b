//! The twelve look-alikes: ordinary life that a detector may take for an attack.

use super::calls::Call;
use super::schedule::Kind;
use super::stage::{Change, Guise, Stage, Who};

/// Plays a look-alike. B7 (a new integration) is played where the world can be given a user.
pub(super) fn play(id: &str, stage: &mut Stage) {
    let user = Who::User(stage.target.user);
    let org = stage.target.org;
    let to_the_end = stage.days;
    match id {
        "B1" => {
            // Another owner, at the higher levels also another country; at the lowest only half of the calls move.
            let countries: &[&str] = stage.level.of(&["US"], &["US"], &["DE"]);
            let addresses = stage.elsewhere("hosting", countries, 3, 1);
            let share = stage.level.of(0.5, 1.0, 1.0);
            stage.edit(user, (0, to_the_end), Change::Hosts { addresses, share });
        }
        "B2" => {
            let by = stage.level.of(1, 2, 3);
            stage.edit(user, (0, to_the_end), Change::Version { by });
        }
        "B3" => {
            let factor = stage.level.of(6.0, 15.0, 30.0);
            let last = stage.span - 1;
            stage.edit(user, (0, last), Change::Volume { factor });
        }
        "B4" => {
            let f = stage.level.factor();
            let last = stage.span - 1;
            for office in 0..4 {
                stage.edit(Who::People(org, office), (0, last), Change::Volume { factor: 1.0 + 0.6 * f });
            }
            let nightly: Vec<usize> =
                stage.everyone.iter().filter(|c| c.org == org && c.kind == Kind::Nightly).map(|c| c.user).collect();
            for run in nightly {
                stage.edit(Who::User(run), (0, last), Change::Volume { factor: 1.0 + f });
            }
        }
        "B5" => {} // the clock itself, or its emulation: see the caller, who knows the calendar
        "B6" => {
            let minute = stage.dice.uniform(120.0, 1200.0);
            let length = stage.level.of(6.0, 15.0, 30.0);
            let (from_ms, until_ms) = (stage.utc(0, minute), stage.utc(0, minute + length));
            let change = Change::Refuse { from_ms, until_ms, share: 0.8, status: 503, retry: true };
            stage.edit(Who::Org(org), (0, 0), change);
        }
        "B8" => {
            let abroad = stage.elsewhere("residential", &["FR", "DE", "ES", "MX", "CA", "JP", "BR", "PT"], 1, 1);
            let vpn = stage.elsewhere("vpn", &["SE", "CH", "NL"], 1, 1);
            let vpn_days = stage.level.of(1, 1, 2);
            let last = stage.span - 1;
            let guise = Guise::of(&stage.target);
            for day in 0..=last {
                let addresses = if day > last - vpn_days { vpn.clone() } else { abroad.clone() };
                // Travellers look things up more often than those who sit in the office.
                for _ in 0..stage.dice.between(4, 10) {
                    let minute = stage.dice.uniform(540.0, 1140.0);
                    let ms = stage.local(day, minute);
                    let call = stage.dice.pick(&[Call::UiRecord, Call::Composite, Call::Query]);
                    let object =
                        if call == Call::Composite { 0 } else { stage.target.known.first().copied().unwrap_or(1) };
                    stage.put(guise, ms, addresses[0], call, object);
                }
                stage.edit(user, (day, day), Change::Hosts { addresses, share: 1.0 });
            }
        }
        "B9" => {
            let factor = stage.level.of(1.5, 2.0, 3.0);
            stage.edit(user, (0, 0), Change::Volume { factor });
        }
        "B10" => {
            for office in 0..stage.level.of(1, 2, 3) {
                stage.edit(Who::People(org, office), (0, 0), Change::Volume { factor: 0.15 });
            }
        }
        "B11" => {
            let calls = stage.scaled(5_000.0, 500) as f64;
            stage.edit(user, (0, 0), Change::Release { calls });
        }
        _ => {
            let minute = stage.dice.uniform(300.0, 900.0);
            let hours = stage.level.of(1.0, 3.0, 6.0);
            let (from_ms, until_ms) = (stage.utc(0, minute), stage.utc(0, minute + hours * 60.0));
            stage.edit(Who::Org(org), (0, 0), Change::Late { from_ms, until_ms });
        }
    }
}
