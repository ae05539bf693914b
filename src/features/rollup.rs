//! App-day, IP-day and org-day rows.

use super::catalog::{app_day, ip_day, org_day};
use super::day::{ACTIONS, Day, OUTCOMES, Outcome, Row, calls_of, grouped};
use super::tally::Seen;
use crate::events::action::Action;

/// Rows by code, ascending; the features of all rows, one after the other.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) codes: Vec<u32>,
    pub(super) values: Vec<f64>,
}

/// What [`compute`] makes.
#[derive(Debug)]
pub(super) struct Rollups {
    pub(super) apps: Rows,
    pub(super) ips: Rows,
    pub(super) org: Vec<f64>,
}

/// Roll-ups of a day. Calls without an address or without any channel have no row there.
pub(super) fn compute(day: &Day<'_>) -> Rollups {
    let ((apps, ips), org) = rayon::join(|| rayon::join(|| by_app(day), || by_ip(day)), || by_org(day));
    Rollups { apps, ips, org }
}

/// Counts that all roll-ups share.
#[derive(Debug, Default)]
struct Totals {
    calls: u32,
    actions: [u32; ACTIONS],
    outcomes: [u32; OUTCOMES],
    hours: u32,
}

impl Totals {
    fn add(&mut self, row: &Row) {
        self.calls += 1;
        self.actions[row.action as usize] += 1;
        self.outcomes[row.outcome as usize] += 1;
        self.hours |= 1 << (row.ms / 3_600_000);
    }

    fn action(&self, wanted: impl Fn(Action) -> bool) -> f64 {
        f64::from(calls_of(&self.actions, wanted))
    }

    fn outcome(&self, outcome: Outcome) -> f64 {
        f64::from(self.outcomes[outcome as usize])
    }

    fn forbidden(&self) -> f64 {
        self.outcome(Outcome::Forbidden) + self.outcome(Outcome::LimitExceeded)
    }

    fn errors(&self) -> f64 {
        f64::from(self.outcomes[Outcome::Unauthorised as usize..].iter().sum::<u32>())
    }

    fn active_hours(&self) -> f64 {
        f64::from(self.hours.count_ones())
    }
}

fn by_app(day: &Day<'_>) -> Rows {
    use app_day as f;
    let mut users = Seen::new(day.users.len());
    let mut ips = Seen::new(day.ips.len());
    let mut networks = Seen::new(day.networks.len());
    let mut countries = Seen::new(day.countries.len());
    let mut entities = Seen::new(day.entities.len());
    let mut resources = Seen::new(day.resources.len());
    let mut versions = Seen::new(day.versions.len());
    let (order, ends) = grouped(&day.rows, day.channels.len(), |row| row.channel);
    let mut out = Rows::default();
    for channel in 1..day.channels.len() {
        for seen in [&mut users, &mut ips, &mut networks, &mut countries, &mut entities, &mut resources, &mut versions]
        {
            seen.clear();
        }
        let mut totals = Totals::default();
        for &at in &order[ends[channel] as usize..ends[channel + 1] as usize] {
            let row = &day.rows[at as usize];
            let place = day.places[row.ip as usize];
            totals.add(row);
            users.add(row.user);
            ips.add(row.ip);
            networks.add(place.network);
            countries.add(place.country);
            day.set(row.set()).iter().for_each(|&e| entities.add(e));
            resources.add(row.resource);
            versions.add(day.identities[row.identity as usize].version);
        }
        if totals.calls == 0 {
            continue;
        }
        let mut values = [0.0; f::COUNT];
        values[f::CALLS] = f64::from(totals.calls);
        values[f::USERS] = f64::from(users.distinct());
        values[f::IPS] = f64::from(ips.distinct());
        values[f::NETWORKS] = f64::from(networks.distinct());
        values[f::COUNTRIES] = f64::from(countries.distinct());
        values[f::ENTITIES] = f64::from(entities.distinct());
        values[f::RESOURCES] = f64::from(resources.distinct());
        values[f::API_VERSIONS] = f64::from(versions.distinct());
        values[f::READS] = totals.action(Action::is_read);
        values[f::WRITES] = totals.action(Action::is_write);
        values[f::DELETES] = totals.action(Action::is_delete);
        values[f::QUERY_MORES] = totals.action(|a| a == Action::QueryMore);
        values[f::BULK_CALLS] = totals.action(Action::is_bulk);
        values[f::ERRORS] = totals.errors();
        values[f::ERRORS_401] = totals.outcome(Outcome::Unauthorised);
        values[f::ERRORS_403] = totals.forbidden();
        values[f::ERRORS_5XX] = totals.outcome(Outcome::ServerError);
        values[f::ACTIVE_HOURS] = totals.active_hours();
        out.codes.push(channel as u32);
        out.values.extend_from_slice(&values);
    }
    out
}

fn by_ip(day: &Day<'_>) -> Rows {
    use ip_day as f;
    let mut users = Seen::new(day.users.len());
    let mut failed_users = Seen::new(day.users.len());
    let mut apps = Seen::new(day.channels.len());
    let mut entities = Seen::new(day.entities.len());
    let mut resources = Seen::new(day.resources.len());
    let (order, ends) = grouped(&day.rows, day.ips.len(), |row| row.ip);
    let mut out = Rows::default();
    for ip in 1..day.ips.len() {
        for seen in [&mut users, &mut failed_users, &mut apps, &mut entities, &mut resources] {
            seen.clear();
        }
        let mut totals = Totals::default();
        for &at in &order[ends[ip] as usize..ends[ip + 1] as usize] {
            let row = &day.rows[at as usize];
            totals.add(row);
            users.add(row.user);
            if row.outcome == Outcome::Unauthorised {
                failed_users.add(row.user);
            }
            apps.add(row.channel);
            day.set(row.set()).iter().for_each(|&e| entities.add(e));
            resources.add(row.resource);
        }
        if totals.calls == 0 {
            continue;
        }
        let mut values = [0.0; f::COUNT];
        values[f::CALLS] = f64::from(totals.calls);
        values[f::USERS] = f64::from(users.distinct());
        values[f::FAILED_USERS] = f64::from(failed_users.distinct());
        values[f::APPS] = f64::from(apps.distinct());
        values[f::ENTITIES] = f64::from(entities.distinct());
        values[f::RESOURCES] = f64::from(resources.distinct());
        values[f::AUTH_CALLS] = totals.action(|a| a == Action::Auth);
        values[f::ERRORS] = totals.errors();
        values[f::ERRORS_401] = totals.outcome(Outcome::Unauthorised);
        values[f::ERRORS_403] = totals.forbidden();
        values[f::ACTIVE_HOURS] = totals.active_hours();
        out.codes.push(ip as u32);
        out.values.extend_from_slice(&values);
    }
    out
}

fn by_org(day: &Day<'_>) -> Vec<f64> {
    use org_day as f;
    let mut users = Seen::new(day.users.len());
    let mut failed_users = Seen::new(day.users.len());
    let mut apps = Seen::new(day.apps.len());
    let mut ips = Seen::new(day.ips.len());
    let mut failed_ips = Seen::new(day.ips.len());
    let mut networks = Seen::new(day.networks.len());
    let mut countries = Seen::new(day.countries.len());
    let mut entities = Seen::new(day.entities.len());
    let mut totals = Totals::default();
    for row in &day.rows {
        let place = day.places[row.ip as usize];
        totals.add(row);
        users.add(row.user);
        apps.add(day.identities[row.identity as usize].app);
        ips.add(row.ip);
        if row.outcome == Outcome::Unauthorised {
            failed_users.add(row.user);
            failed_ips.add(row.ip);
        }
        networks.add(place.network);
        countries.add(place.country);
        day.set(row.set()).iter().for_each(|&e| entities.add(e));
    }
    let mut values = vec![0.0; f::COUNT];
    values[f::CALLS] = f64::from(totals.calls);
    values[f::USERS] = f64::from(users.distinct());
    values[f::FAILED_USERS] = f64::from(failed_users.distinct());
    values[f::APPS] = f64::from(apps.distinct());
    values[f::IPS] = f64::from(ips.distinct());
    values[f::FAILED_IPS] = f64::from(failed_ips.distinct());
    values[f::NETWORKS] = f64::from(networks.distinct());
    values[f::COUNTRIES] = f64::from(countries.distinct());
    values[f::ENTITIES] = f64::from(entities.distinct());
    values[f::READS] = totals.action(Action::is_read);
    values[f::WRITES] = totals.action(Action::is_write);
    values[f::DELETES] = totals.action(Action::is_delete);
    values[f::BULK_CALLS] = totals.action(Action::is_bulk);
    values[f::AUTH_CALLS] = totals.action(|a| a == Action::Auth);
    values[f::ERRORS] = totals.errors();
    values[f::ERRORS_401] = totals.outcome(Outcome::Unauthorised);
    values[f::ERRORS_403_LIMIT] = totals.outcome(Outcome::LimitExceeded);
    values[f::ERRORS_403_OTHER] = totals.outcome(Outcome::Forbidden);
    values[f::ERRORS_5XX] = totals.outcome(Outcome::ServerError);
    values
}
