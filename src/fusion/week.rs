//! A user's week as the autoencoder sees it: insiders who take little every day show in a week and not in a day (Le &
//! Zincir-Heywood 2021). A row is today's normal scores, and behind them the mean of those of the user's other active days among
//! the six before; 0, which is neither odd nor calm, where there were none. Weekends and silent days are gaps.

use super::night::Sample;
use crate::anomaly::SubjectType;
use crate::baseline::user::WEEK;
use crate::date::Date;

/// Today's normal scores and the mean of those of the days before.
pub fn window(today: &[f64], before: impl Iterator<Item = Vec<f64>>) -> Vec<f64> {
    let mut mean = vec![0.0; today.len()];
    let mut days = 0.0;
    for day in before {
        mean.iter_mut().zip(day).for_each(|(m, z)| *m += z);
        days += 1.0;
    }
    if days > 0.0 {
        mean.iter_mut().for_each(|m| *m /= days);
    }
    [today, &mean].concat()
}

/// Per sample, the samples of the same user's active days among the six before it, oldest first.
pub fn days_before(samples: &[Sample], histories: usize) -> Vec<Vec<usize>> {
    let mut recent: Vec<Vec<(Date, usize)>> = vec![Vec::new(); histories];
    samples
        .iter()
        .enumerate()
        .map(|(i, s)| {
            if s.subject != SubjectType::UserDay || s.silent {
                return Vec::new();
            }
            let recent = &mut recent[s.history];
            recent.retain(|(date, _)| s.date < date.plus(WEEK));
            let before = recent.iter().map(|(_, j)| *j).collect();
            recent.push((s.date, i));
            before
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(date: i32, history: usize, silent: bool) -> Sample {
        let subject = SubjectType::UserDay;
        Sample { subject, silent, activity: 1.0, scores: vec![0.0], history, date: Date(date), fold: 0 }
    }

    #[test]
    fn a_week_has_the_six_days_before_of_the_same_user_and_no_silent_ones() {
        let samples = [
            sample(100, 0, false),
            sample(100, 1, false),
            sample(101, 0, false),
            sample(105, 0, true),
            sample(106, 0, false),
            sample(107, 0, false),
            sample(120, 0, false),
        ];
        let none: Vec<usize> = vec![];
        let expected = [none.clone(), none.clone(), vec![0], none.clone(), vec![0, 2], vec![2, 4], none];
        assert_eq!(days_before(&samples, 2), expected);
    }

    #[test]
    fn a_window_is_today_and_the_mean_of_the_days_before_or_zeros() {
        assert_eq!(window(&[1.0, 2.0], [vec![3.0, 4.0], vec![5.0, 8.0]].into_iter()), [1.0, 2.0, 4.0, 6.0]);
        assert_eq!(window(&[1.0, 2.0], [].into_iter()), [1.0, 2.0, 0.0, 0.0]);
    }
}
