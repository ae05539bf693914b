//! A clock that does not wait.

use std::cell::RefCell;
use std::time::Duration;

use super::Clock;

/// Time that passes only by waiting.
#[derive(Debug, Default)]
pub(super) struct TestClock(RefCell<Vec<Duration>>);

impl TestClock {
    pub(super) fn waits(&self) -> Vec<Duration> {
        self.0.borrow().clone()
    }
}

impl Clock for TestClock {
    fn seconds(&self) -> i64 {
        1_776_800_000 + self.monotonic().as_secs() as i64
    }

    fn monotonic(&self) -> Duration {
        self.0.borrow().iter().sum()
    }

    fn wait(&self, time: Duration) {
        self.0.borrow_mut().push(time);
    }
}
