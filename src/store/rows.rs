//! User-day and session rows straight from event files, without a store and without values: what remains when only
//! the numbers are wanted.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::PartitionId;
use super::buffer::{Buffers, split};
use crate::config::Settings;
use crate::enrich::Enricher;
use crate::error::Result;
use crate::events::batch::PlainText;
use crate::events::{self, Profile, SourceFile};
use crate::features::{self, DayFeatures, Options, Scope};

/// User-day and session rows of every organisation and date in `sources`, sorted; no table but these two is filled.
/// Files are taken as they are: parts are not merged, and all events are held in memory.
pub fn rows(sources: &[SourceFile], profile: &Profile, settings: &Settings) -> Result<Vec<(PartitionId, DayFeatures)>> {
    let enricher = Enricher::new(&settings.enrich)?;
    let mut buffers = Buffers::in_memory();
    let mut slices: BTreeMap<PartitionId, Vec<usize>> = BTreeMap::new();
    for source in sources {
        events::read_map(
            source,
            profile,
            &settings.limits,
            &mut drop,
            &|mut events| {
                events.request_id = PlainText::default();
                events.source_row = Vec::new();
                let split = split(&events);
                Ok((events, split))
            },
            &mut |(events, split)| {
                for (id, slice, _) in buffers.add(events, split)? {
                    slices.entry(id).or_default().push(slice);
                }
                Ok(())
            },
        )?;
    }
    let jobs: Vec<_> = slices.into_iter().map(|(id, slices)| (id, buffers.take(&slices))).collect();
    let spilled = buffers.into_spilled();
    let gap = profile.session_gap_minutes() * 60_000;
    let options = Options { session_gap_ms: gap, step: profile.step(), scope: Scope::Rows };
    jobs.into_par_iter()
        .map(|(id, slices)| {
            let events = spilled.collect(slices)?;
            let features = features::compute(&id.org, id.date, &events, &|ip| enricher.lookup(ip), &options);
            Ok((id, features))
        })
        .collect()
}
