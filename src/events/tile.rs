//! Some rows of a source cell by cell, the plan of what each cell is for, and what becomes of a batch.

use std::collections::BTreeSet;

use super::batch::Events;
use super::interner::Cell;
use super::profile::{Profile, Role};
use super::quarantine::Reason;
use super::time::TimeFormat;

/// Rows per tile: their cells stay in the first-level cache while one column after the other is read.
pub(super) const TILE_ROWS: usize = 512;

/// Where each role finds its cells.
#[derive(Debug, Clone)]
pub(super) struct Plan<'p> {
    pub(super) profile: &'p Profile,
    /// How its times are written.
    pub(super) time: &'p TimeFormat,
    /// Cells per row.
    pub(super) width: usize,
    roles: Vec<(Role, Vec<usize>)>,
}

impl<'p> Plan<'p> {
    /// `roles` lists for each bound role the cells tried in order; roles without a cell are left out.
    pub(super) fn new(profile: &'p Profile, width: usize, roles: Vec<(Role, Vec<usize>)>) -> Self {
        Self { profile, time: &profile.time, width, roles }
    }

    /// The same plan over the bound columns alone, and their names (formats that can leave columns unread).
    #[cfg(feature = "frame")]
    pub(super) fn compact(mut self, columns: &[String]) -> (Vec<String>, Self) {
        let mut used: Vec<usize> = self.roles.iter().flat_map(|(_, cells)| cells.iter().copied()).collect();
        used.sort_unstable();
        used.dedup();
        for cell in self.roles.iter_mut().flat_map(|(_, cells)| cells.iter_mut()) {
            *cell = used.partition_point(|u| u < cell);
        }
        self.width = used.len();
        (used.iter().map(|&u| columns[u].clone()).collect(), self)
    }

    /// Cells of the time.
    #[cfg(feature = "frame")]
    pub(super) fn timestamp_cells(&self) -> &[usize] {
        self.cells(Role::Timestamp)
    }

    pub(super) fn cells(&self, role: Role) -> &[usize] {
        self.roles.iter().find(|(r, _)| *r == role).map_or(&[], |(_, cells)| cells)
    }
}

/// Some rows of one source, cell by cell.
#[derive(Debug, Default)]
pub(super) struct Tile {
    /// `records.len() × width` cells, row by row.
    pub(super) cells: Vec<Cell>,
    /// The record number of each row.
    pub(super) records: Vec<u64>,
}

impl Tile {
    pub(super) fn is_full(&self) -> bool {
        self.records.len() >= TILE_ROWS
    }

    pub(super) fn clear(&mut self) {
        self.cells.clear();
        self.records.clear();
    }
}

/// What a batch of rows became.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) events: Events,
    /// Rows set aside, by record number.
    pub(super) bad: Vec<(u64, Reason)>,
    pub(super) blank: u64,
    pub(super) disagreements: u64,
    pub(super) unreadable: u64,
    pub(super) truncated: bool,
    /// JSON: keys that nothing is bound to, and canonical columns that had a value.
    pub(super) unknown_keys: BTreeSet<String>,
    pub(super) filled_slots: Vec<bool>,
}
