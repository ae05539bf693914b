//! When: half-hours, weekdays, hour profile and long silences, beside the user's own clock.
//!
//! A user's day is 48 half-hours, each active or not. How often each was active before (smoothed over an hour to either
//! side, so that a daylight-saving shift stays ordinary, and shrunk to the peers) gives the day two surprises: of what was
//! active, and of what was not. Surprises are compared with the user's own history of them, so that people without
//! habits do not alarm and a nightly job that ran at 19:00 does. Half-hours in which nobody of the organisation called are
//! asked of nobody.

use crate::anomaly::Category;
use crate::baseline::user::{HABIT_FLOOR, HALF_HOURS, Habit, half_hours};
use crate::detectors::{Detector, Fact, Findings, Slot, UserDay};
use crate::features::catalog::{Family, user_day as f};

/// Hours, weekdays, silences.
#[derive(Debug)]
pub struct Hours;

const UNUSUAL: usize = 0;
const MISSING: usize = 1;
const PROFILE: usize = 2;
const WEEKDAY: usize = 3;
const DORMANT: usize = 4;
const NEVER: usize = 5;

/// Weight of the neighbours when smoothing, by distance in half-hours.
const NEIGHBOURS: [f64; 3] = [1.0, 2.0 / 3.0, 1.0 / 3.0];

/// How often each half-hour is active on such a day, 0..1.
fn activity(s: &UserDay<'_>) -> [f64; HALF_HOURS] {
    const PRIOR_DAYS: f64 = 2.0;
    let k = usize::from(s.day.date.is_weekend());
    let own = &s.user.hours[k];
    let days = s.user.hour_days[k];
    std::array::from_fn(|h| {
        let mut count = 0.0_f64;
        for (distance, weight) in NEIGHBOURS.into_iter().enumerate() {
            count = count.max(weight * own[(h + distance) % HALF_HOURS]);
            count = count.max(weight * own[(h + HALF_HOURS - distance) % HALF_HOURS]);
        }
        let prior = s.priors().hours[k][h].clamp(0.002, 0.9);
        ((count + PRIOR_DAYS * prior) / (days + PRIOR_DAYS)).clamp(1e-4, 1.0 - 1e-3)
    })
}

impl Detector for Hours {
    fn slots(&self) -> Vec<Slot> {
        [
            "time/unusual_hours",
            "time/missing_hours",
            "time/hour_profile",
            "time/weekday",
            "time/dormant",
            "rule/never_seen_hour",
        ]
        .into_iter()
        .map(|name| Slot { name: name.into(), family: Family::Time, category: Category::Temporal })
        .collect()
    }

    fn inspect(&self, s: &UserDay<'_>, base: usize, out: &mut Findings) {
        let bins = half_hours(s.day, s.row);
        let rate = activity(s);
        let calls = s.x()[f::CALLS].max(1.0);
        let nobody = &s.surge.nobody;
        let mut surprise = [0.0; 2];
        for h in 0..HALF_HOURS {
            if bins[h] > 0.0 {
                surprise[0] -= rate[h].ln();
            } else if !nobody[h] {
                surprise[1] -= (-rate[h]).ln_1p();
            }
        }
        let days = s.user.days.max(1.0);
        // The share of a usual day that could be seen.
        let hidden = s.user.profile.iter().zip(nobody).filter(|(_, nobody)| **nobody).map(|(share, _)| share / days);
        let seen = (1.0 - hidden.sum::<f64>()).clamp(0.05, 1.0);
        // The clocks of offices move by an hour twice a year and those of programs do not: a whole day moved by one hour
        // is the usual day.
        let overlap = |shift: usize| -> f64 {
            (0..HALF_HOURS).map(|h| (bins[h] / calls).min(smooth_profile(s, h + shift) / (days * seen))).sum()
        };
        let profile = (1.0 - overlap(0).max(overlap(2)).max(overlap(HALF_HOURS - 2))).clamp(0.0, 1.0);
        // Surprises add up over half-hours: per root of their number, a busy day is not odd for being busy.
        let active_bins = bins.iter().filter(|b| **b > 0.0).count().max(1) as f64;
        surprise[0] /= active_bins.sqrt();
        out.habits[Habit::UnusualHours as usize] = surprise[0];
        out.habits[Habit::MissingHours as usize] = surprise[1];
        out.habits[Habit::HourProfile as usize] = profile;
        if s.user.days < 5.0 {
            return;
        }
        let predict = |habit: Habit| {
            let i = habit as usize;
            s.user.habits[i].predict(s.priors().habits[i], HABIT_FLOOR[i])
        };
        let fact_hours = || Fact::Hours {
            active: (0..HALF_HOURS).filter(|&h| bins[h] > 0.0 && rate[h] < 0.25).map(|h| (h as u8, bins[h])).collect(),
            usual: (0..HALF_HOURS).filter(|&h| rate[h] >= 0.5).map(|h| h as u8).collect(),
            days: s.user.days,
        };
        let unusual = predict(Habit::UnusualHours);
        if surprise[0] > unusual.mean && (0..HALF_HOURS).any(|h| bins[h] > 0.0 && rate[h] < 0.1) {
            out.put(base + UNUSUAL, unusual.ln_at_least(surprise[0]), fact_hours);
        }
        let missing = predict(Habit::MissingHours);
        if surprise[1] > missing.mean {
            out.put(base + MISSING, missing.ln_at_least(surprise[1]), || Fact::MissingHours {
                missing: (0..HALF_HOURS)
                    .filter(|&h| bins[h] <= 0.0 && rate[h] > 0.8 && !nobody[h])
                    .map(|h| h as u8)
                    .collect(),
            });
        }
        let usual = predict(Habit::HourProfile);
        if profile > usual.mean {
            let bins_used = (0..HALF_HOURS).filter(|&h| s.user.profile[h] > 0.002 * days).count() as f64;
            let ln_p = usual.with_noise(sampling_noise(bins_used, calls)).ln_at_least(profile);
            out.put(base + PROFILE, ln_p, || Fact::Profile { distance: profile, expected: usual.mean.clamp(0.0, 1.0) });
        }
        let active = s.user.activity(s.day.date, s.priors());
        let k = usize::from(s.day.date.is_weekend());
        if active < 0.5 && s.user.seen[k] >= 2.0 {
            out.put(base + WEEKDAY, active.max(1e-3).ln(), || Fact::Weekday {
                weekend: k == 1,
                usual: active,
                seen: s.user.seen[k],
            });
        }
        let gap = s.day.date.0 - s.user.last.0;
        if gap >= 7 {
            // Independent days would make a silence of `gap` days this unlikely; holidays do not follow that, which is
            // what the calibration corrects.
            let busy =
                ((s.user.active[0] + s.user.active[1]) / (s.user.seen[0] + s.user.seen[1]).max(1.0)).clamp(0.02, 0.9);
            let score = f64::from(gap - 1) * -(1.0 - busy).ln();
            out.put_score(base + DORMANT, score, || Fact::Dormant { last: s.user.last, days: gap });
        }
        // The rule: calls in half-hours never used before on such a day, with a minimum activity.
        let never: f64 = (0..HALF_HOURS).filter(|&h| rate[h] < 0.03).map(|h| bins[h]).sum();
        if never >= f64::from(s.settings.rules.new_value_min_calls) && s.user.hour_days[k] >= 5.0 {
            let score = (never / calls) * (1.0 + never).ln();
            out.put_score(base + NEVER, score, fact_hours);
        }
    }
}

/// How far the shares of `n` calls over `k` values lie from their expectation by chance alone (half the expected total
/// variation distance of a multinomial).
pub fn sampling_noise(k: f64, n: f64) -> f64 {
    0.5 * (k / (2.0 * std::f64::consts::PI * (1.0 + n))).sqrt()
}

/// Σ of the usual shares of half-hour `h`, smoothed over one half-hour to either side.
fn smooth_profile(s: &UserDay<'_>, h: usize) -> f64 {
    let p = &s.user.profile;
    let at = |h: usize| p[h % HALF_HOURS];
    at(h).max(0.7 * at(h + 1)).max(0.7 * at(h % HALF_HOURS + HALF_HOURS - 1))
}
