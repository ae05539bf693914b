//! A campaign: a few addresses that try many users and mostly fail (password spraying, credential stuffing).
//!
//! Left alone it would be one finding per victim and per address, and an attacker could hide a quiet theft behind it. It
//! is one finding of the organisation instead. Its addresses are no subjects of their own that night; its victims are
//! judged by what they read and changed, which failed log-ins do not touch; and nothing of it is learned at once.

use std::collections::BTreeSet;

use super::Slot;
use crate::features::catalog::ip_day;
use crate::tables::{DayTables, Sym, ValueKind};

/// Fewest users with failed log-ins behind an address of a campaign.
const MIN_USERS_PER_ADDRESS: f64 = 3.0;

/// Share of an address's calls that fail with 401. An office's address has its users' odd mistyped password.
const MIN_FAILING: f64 = 0.5;

/// Fewest victims of a campaign.
const MIN_VICTIMS: usize = 5;

/// Share of an app's calls from which on the app's day is the campaign's.
const APP_SHARE: f64 = 0.3;

/// Who tried whom.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Campaign {
    /// The addresses.
    pub addresses: BTreeSet<Sym>,
    /// Rows of the users that were tried.
    pub victims: BTreeSet<usize>,
    /// Channels through which most of it came.
    pub channels: BTreeSet<Sym>,
    /// Calls from the addresses, and how many of these failed.
    pub calls: u64,
    /// Of these, calls with status 400 or above.
    pub errors: u64,
}

impl Campaign {
    /// Finds the night's campaign; empty if there is none.
    pub fn find(day: &DayTables) -> Self {
        let mut out = Self::default();
        for row in 0..day.ip_day.len() {
            let x = day.ip_day.row(row);
            if x[ip_day::FAILED_USERS] >= MIN_USERS_PER_ADDRESS
                && x[ip_day::ERRORS_401] >= MIN_FAILING * x[ip_day::CALLS]
            {
                out.addresses.insert(day.ip_day.ids[row]);
                out.calls += x[ip_day::CALLS] as u64;
                out.errors += x[ip_day::ERRORS] as u64;
            }
        }
        if out.addresses.is_empty() {
            return out;
        }
        let tried = day.values.iter().filter(|v| v.kind == ValueKind::Ip && out.addresses.contains(&v.value));
        out.victims = tried.filter(|v| v.errors > 0).map(|v| v.user as usize).collect();
        if out.victims.len() < MIN_VICTIMS {
            return Self::default();
        }
        // Failed log-ins of the victims by channel, which the day's tables do not tell apart from others; but where they
        // are a large share of all calls of a channel, its day is the campaign's.
        let mut channels: std::collections::BTreeMap<Sym, (f64, f64)> = std::collections::BTreeMap::new();
        for v in day.values.iter().filter(|v| v.kind == ValueKind::Channel) {
            let of = channels.entry(v.value).or_default();
            of.0 += f64::from(v.calls);
            if out.victims.contains(&(v.user as usize)) {
                of.1 += f64::from(v.errors);
            }
        }
        out.channels =
            channels.into_iter().filter(|(_, (all, failed))| *failed >= APP_SHARE * all).map(|c| c.0).collect();
        out
    }

    /// No campaign.
    pub fn is_empty(&self) -> bool {
        self.victims.is_empty()
    }

    /// Whether failed log-ins leave this score of a user-day as it is: what was read, changed, or asked for by name.
    pub fn leaves(slot: &Slot) -> bool {
        const UNTOUCHED: [&str; 12] = [
            "count/reads",
            "count/writes",
            "count/deletes",
            "count/describes",
            "count/queries",
            "count/query_mores",
            "count/bulk_calls",
            "count/composite_calls",
            "count/metadata_calls",
            "count/entities",
            "level/entities",
            "level/query_mores",
        ];
        let of_objects = slot.name.ends_with("/entity") || slot.name.ends_with("/action_entity");
        UNTOUCHED.contains(&slot.name.as_str()) || (of_objects && !slot.name.starts_with("mix/"))
    }
}
