//! The day's oddest session beside the user's own sessions; folded into the user-day (Šidák over the day's sessions): feature by
//! feature, and all features of one session together.

use crate::anomaly::Category;
use crate::baseline::stats::{ln_gamma_at_least, ln_sidak};
use crate::baseline::user::SESSION;
use crate::detectors::{Detector, Fact, Findings, SessionOf, Slot, UserDay};
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
                out.put(base + i, ln_sidak(p.ln_at_least(y), tests), || Fact::Session {
                    session: SessionOf::new(s.day, row),
                    feature: &session::FEATURES[column],
                    observed: raw,
                    expected: p.mean + shift,
                });
            }
        }
    }
}

/// All counts of one session together, each of which may be ordinary: Fisher's combination of their tails.
#[derive(Debug)]
pub struct WholeSessions;

impl Detector for WholeSessions {
    fn slots(&self) -> Vec<Slot> {
        let name = "session/combination".to_owned();
        vec![Slot { name, family: Family::Count, category: Category::Behavioral }]
    }

    fn inspect(&self, s: &UserDay<'_>, base: usize, out: &mut Findings) {
        if s.user.days < 5.0 {
            return;
        }
        let sessions = s.day.sessions_of(s.row as u32);
        let tests = sessions.len() as f64;
        let usual: Vec<_> =
            (0..SESSION.len()).map(|i| s.user.session[i].predict(s.priors().session[i], 1.0, 0)).collect();
        for row in sessions {
            // (−ln p, feature, observed, usual) of what is above the usual; the rest says nothing.
            let mut above: Vec<(f64, usize, f64, f64)> = SESSION
                .iter()
                .zip(&usual)
                .filter_map(|(&(column, shift), p)| {
                    let raw = s.day.session.get(row, column);
                    let y = (raw - shift).max(0.0);
                    (y > p.mean).then(|| (-p.ln_at_least(y), column, raw, p.mean + shift))
                })
                .collect();
            if above.len() < 2 {
                continue;
            }
            let statistic: f64 = above.iter().map(|a| a.0).sum();
            out.put(base, ln_sidak(ln_gamma_at_least(SESSION.len() as f64, statistic), tests), || {
                const NAMED: usize = 3;
                above.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
                Fact::WholeSession {
                    session: SessionOf::new(s.day, row),
                    parts: above.iter().take(NAMED).map(|a| (&session::FEATURES[a.1], a.2, a.3)).collect(),
                }
            });
        }
    }
}
