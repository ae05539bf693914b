//! When to try again: waits that double, with jitter, within bounds of number and time.

use std::error::Error as StdError;
use std::iter;
use std::time::Duration;

use rand::RngExt;

use super::Clock;
use crate::config::Deliver;
use crate::seed::Seed;

/// Longest wait that is not the receiver's wish.
const LONGEST: Duration = Duration::from_mins(1);

/// Why one attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// It may go well later.
    Passing {
        /// What was found.
        why: String,
        /// How long the receiver wants to be left alone.
        after: Option<Duration>,
    },
    /// It will not go well with this message as it is.
    Final(String),
}

impl Failure {
    pub(super) fn passing(why: impl Into<String>) -> Self {
        Self::Passing { why: why.into(), after: None }
    }

    /// Of a connection. A peer with a wrong certificate is no other one in a minute.
    pub(super) fn of_connection(error: &(dyn StdError + 'static), why: String) -> Self {
        let mut causes = iter::successors(Some(error), |&e| e.source());
        // The words of rustls, which wraps whatever goes wrong in the same kind of error.
        if causes.any(|e| e.to_string().contains("invalid peer certificate")) {
            Self::Final(format!("{why}; `ca-file` of the channel says which authorities are trusted"))
        } else {
            Self::passing(why)
        }
    }

    pub(super) fn into_why(self) -> String {
        match self {
            Self::Passing { why, .. } | Self::Final(why) => why,
        }
    }
}

/// How often and how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    attempts: u32,
    back_off: Duration,
    give_up: Duration,
    pub(super) timeout: Duration,
    seed: Seed,
}

impl Policy {
    pub(super) fn new(config: &Deliver, seed: Seed) -> Self {
        Self {
            attempts: config.attempts,
            back_off: Duration::from_millis(u64::from(config.back_off_ms)),
            give_up: Duration::from_secs(u64::from(config.give_up_seconds)),
            timeout: Duration::from_secs(u64::from(config.timeout_seconds)),
            seed,
        }
    }

    /// Tries until it goes well, cannot, or the bounds are met.
    pub(super) fn attempt(
        &self,
        id: &str,
        clock: &dyn Clock,
        mut send: impl FnMut() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let start = clock.monotonic();
        let mut number = 1;
        loop {
            let (why, after) = match send() {
                Err(Failure::Passing { why, after }) => (why, after),
                other => return other,
            };
            let gave_up = |how: &str| Failure::passing(format!("{why} ({number} of {} attempts{how})", self.attempts));
            if number >= self.attempts {
                return Err(gave_up(""));
            }
            let wait = after.unwrap_or_else(|| self.wait(id, number));
            if clock.monotonic().saturating_sub(start).saturating_add(wait) > self.give_up {
                return Err(gave_up(", then deliver.give-up-seconds were over"));
            }
            clock.wait(wait);
            number += 1;
        }
    }

    /// The wait after this attempt, give or take half: receivers that come back are not met by all senders at once.
    fn wait(&self, id: &str, number: u32) -> Duration {
        let doubled = self.back_off.saturating_mul(1 << (number - 1).min(16)).min(LONGEST);
        let jitter = self.seed.derive(id, u64::from(number)).random_range(0.5..1.5);
        doubled.mul_f64(jitter)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::deliver::testing::TestClock;

    fn policy(attempts: u32, give_up_seconds: u32) -> Policy {
        Policy::new(&Deliver { attempts, give_up_seconds, ..Deliver::default() }, Seed(7))
    }

    fn passing(after: Option<u64>) -> Result<(), Failure> {
        Err(Failure::Passing { why: "busy".into(), after: after.map(Duration::from_secs) })
    }

    #[test]
    fn waits_double_with_jitter_and_repeat_by_seed() {
        let waits = |id: &str| {
            let clock = TestClock::default();
            assert_eq!(
                policy(4, 600).attempt(id, &clock, || passing(None)).unwrap_err().into_why(),
                "busy (4 of 4 attempts)"
            );
            clock.waits()
        };
        let (a, b) = (waits("a"), waits("b"));
        for (i, wait) in a.iter().enumerate() {
            let middle = f64::from(1 << i);
            assert!((0.5 * middle..1.5 * middle).contains(&wait.as_secs_f64()), "{a:?}");
        }
        assert_eq!((a.len(), &a), (3, &waits("a")));
        assert_ne!(a, b);
    }

    #[test]
    fn a_receiver_decides_how_long_within_the_bound() {
        let clock = TestClock::default();
        let answers = RefCell::new(vec![Ok(()), passing(Some(90)), passing(Some(0))]);
        assert_eq!(policy(5, 120).attempt("a", &clock, || answers.borrow_mut().pop().unwrap()), Ok(()));
        assert_eq!(clock.waits(), [Duration::ZERO, Duration::from_secs(90)]);
        let clock = TestClock::default();
        let why = policy(5, 120).attempt("a", &clock, || passing(Some(121))).unwrap_err().into_why();
        assert!(why.contains("1 of 5 attempts, then deliver.give-up-seconds"), "{why}");
        assert!(clock.waits().is_empty());
    }

    #[test]
    fn what_cannot_go_well_is_tried_once() {
        let clock = TestClock::default();
        let mut tries = 0;
        let result = policy(5, 120).attempt("a", &clock, || {
            tries += 1;
            Err(Failure::Final("no".into()))
        });
        assert_eq!((result, tries), (Err(Failure::Final("no".into())), 1));
    }
}
