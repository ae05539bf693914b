//! The day's oddest session beside the user's own sessions; folded into the user-day (Šidák over the day's sessions).

use crate::anomaly::Category;
use crate::baseline::stats::ln_sidak;
use crate::baseline::user::SESSION;
use crate::detectors::{Detector, Fact, Findings, Slot, UserDay};
use crate::features::catalog::{Family, session};

/// Counts of a session, high side.
#[derive(Debug)]
pub struct Sessions;

impl Detector for Sessions {
    fn slots(&self) -> Vec<Slot> {
        SESSION
            .iter()
            .map(|(column, _)| Slot {
                name: format!("session/{}", session::FEATURES[*column].name),
                family: Family::Count,
                category: if *column == session::CALLS { Category::Volume } else { Category::Behavioral },
            })
            .collect()
    }

    fn inspect(&self, s: &UserDay<'_>, base: usize, out: &mut Findings) {
        if s.user.days < 5.0 {
            return;
        }
        let sessions = s.day.sessions_of(s.row as u32);
        let tests = sessions.len() as f64;
        for (i, &(column, shift)) in SESSION.iter().enumerate() {
            let p = s.user.session[i].predict(s.priors().session[i], 1.0, 0);
            for row in sessions.clone() {
                let raw = s.day.session.get(row, column);
                let y = (raw - shift).max(0.0);
                if y <= p.mean {
                    continue;
                }
                out.put(base + i, ln_sidak(p.ln_at_least(y), tests), || {
                    let key = &s.day.session_keys[row];
                    Fact::Session {
                        channel: s.day.text(key.channel).to_owned(),
                        ip: s.day.text(key.ip).to_owned(),
                        start_ms: key.start_ms,
                        end_ms: key.end_ms,
                        calls: s.day.session.get(row, session::CALLS),
                        feature: &session::FEATURES[column],
                        observed: raw,
                        expected: p.mean + shift,
                    }
                });
            }
        }
    }
}
