//! Lists that are used again from batch to batch: asking the system for megabytes each time costs as much as filling them.

use std::sync::Mutex;

/// Lists nobody uses.
#[derive(Debug, Default)]
pub(super) struct Room(Mutex<Vec<Vec<f32>>>);

impl Room {
    /// A list of so many numbers, whatever they are: the smallest that is large enough, or a new one.
    pub(super) fn take(&self, len: usize) -> Vec<f32> {
        let mut free = self.0.lock().expect("nobody panics while holding it");
        let fits = (0..free.len()).filter(|k| free[*k].capacity() >= len).min_by_key(|k| free[*k].capacity());
        let mut list = fits.map(|k| free.swap_remove(k)).unwrap_or_default();
        list.resize(len, 0.0);
        list
    }

    /// Takes lists back. Those too small for a batch of today's size are let go once there are many.
    pub(super) fn give(&self, lists: impl IntoIterator<Item = Vec<f32>>) {
        const MOST: usize = 16;
        let mut free = self.0.lock().expect("nobody panics while holding it");
        free.extend(lists.into_iter().filter(|list| list.capacity() > 0));
        if free.len() > MOST {
            free.sort_by_key(|list| std::cmp::Reverse(list.capacity()));
            free.truncate(MOST);
        }
    }
}
