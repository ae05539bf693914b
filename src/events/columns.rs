//! From cells to canonical columns, a tile of rows at a time: times, statuses and users first (they decide which rows
//! stay), then one tight loop per column.

use std::borrow::Cow;

use super::action::Action;
use super::batch::{Events, Field, MISSING, TextColumn};
use super::interner::{Cell, Interner, Store};
use super::profile::{Dialect, Role};
use super::quarantine::Reason;
use super::tile::{Parsed, Plan, TILE_ROWS, Tile};
use super::time::TimeParser;
use super::{cloudtrail, normalise, verbs};

/// What decides whether a row stays.
#[derive(Debug, Clone, Copy)]
struct Head {
    row: u32,
    user: u32,
    status: u16,
    ms: i64,
}

type Normaliser = for<'a> fn(&'a str) -> Cow<'a, str>;

/// Collects the rows of one batch.
#[derive(Debug)]
pub(super) struct Builder<'p> {
    plan: &'p Plan<'p>,
    pub(super) parsed: Parsed,
    heads: Vec<Head>,
    time: TimeParser<'p>,
    second_time: TimeParser<'p>,
    interners: [Interner; Field::ALL.len()],
    statuses: Interner,
    event_types: Interner,
    actions: Interner,
    agents: Interner,
    /// Per distinct raw resource: code of its template, and of the version it carried.
    resources: Vec<(u32, u32)>,
    /// Per distinct user agent: code of its product, and of its version.
    products: Vec<(u32, u32)>,
    fallback_versions: Vec<u32>,
    verb_cache: Vec<([u32; 3], Action)>,
}

#[inline]
fn pick(tile: &Tile, width: usize, row: u32, cells: &[usize]) -> Cell {
    let base = row as usize * width;
    for &cell in cells {
        let cell = tile.cells[base + cell];
        if cell.len() > 0 {
            return cell;
        }
    }
    Cell::default()
}

fn text(raw: &[u8]) -> &str {
    // Rows that are not UTF-8 were set aside before they became cells.
    std::str::from_utf8(raw).unwrap_or("").trim()
}

fn as_is(text: &str) -> Cow<'_, str> {
    Cow::Borrowed(text)
}

fn upper(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|b| b.is_ascii_lowercase()) { Cow::Owned(text.to_ascii_uppercase()) } else { text.into() }
}

fn default_org(text: &str) -> Cow<'_, str> {
    Cow::Borrowed(if text.is_empty() { "default" } else { text })
}

fn salesforce_org(text: &str) -> Cow<'_, str> {
    if text.is_empty() { default_org(text) } else { normalise::id18(text) }
}

fn normaliser(field: Field, dialect: Dialect) -> Normaliser {
    let salesforce = dialect == Dialect::Salesforce;
    match field {
        Field::Org if salesforce => salesforce_org,
        Field::Org => default_org,
        Field::User | Field::AppId if salesforce => normalise::id18,
        Field::Entity if salesforce => normalise::entity_set,
        Field::ApiVersion if salesforce => normalise::version,
        Field::ClientIp => normalise::client_ip,
        Field::HttpMethod => upper,
        _ => as_is,
    }
}

/// A status cell as a number: 0 if blank, `None` if it is no status.
fn status(raw: &[u8]) -> Option<u16> {
    let raw = raw.trim_ascii();
    let raw = raw.strip_suffix(b".0").unwrap_or(raw);
    match raw {
        [] => Some(0),
        [a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9'] => {
            Some(u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0'))
        }
        _ => None,
    }
}

/// A count or size: digits, at most with a fraction, which is cut.
fn number(raw: &[u8]) -> Option<i64> {
    let raw = raw.trim_ascii();
    let whole = memchr::memchr(b'.', raw).map_or(raw, |dot| &raw[..dot]);
    if !(1..=18).contains(&whole.len()) || !raw[whole.len()..].iter().skip(1).all(u8::is_ascii_digit) {
        return None;
    }
    whole.iter().try_fold(0_i64, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
}

impl<'p> Builder<'p> {
    pub(super) fn new(plan: &'p Plan<'p>) -> Self {
        Self {
            plan,
            parsed: Parsed::default(),
            heads: Vec::with_capacity(TILE_ROWS),
            time: TimeParser::new(plan.time),
            second_time: TimeParser::new(plan.time),
            interners: Default::default(),
            statuses: Interner::default(),
            event_types: Interner::default(),
            actions: Interner::default(),
            agents: Interner::default(),
            resources: Vec::new(),
            products: Vec::new(),
            fallback_versions: Vec::with_capacity(TILE_ROWS),
            verb_cache: vec![([u32::MAX; 3], Action::Other); 1024],
        }
    }

    /// Sets a row aside.
    pub(super) fn reject(&mut self, record: u64, reason: Reason) {
        self.parsed.bad.push((record, reason));
    }

    /// Ends the batch. `tail` is the record, if any, that ends with the file and without an end of line: if it is
    /// bad, it was cut off.
    pub(super) fn finish(mut self, tail: Option<u64>) -> Parsed {
        self.parsed.bad.sort_unstable();
        if let Some(last) = self.parsed.bad.last_mut()
            && Some(last.0) == tail
        {
            last.1 = Reason::Truncated;
            self.parsed.truncated = true;
        }
        for numbers in &mut self.parsed.events.numbers {
            if numbers.iter().all(|n| *n == MISSING) {
                *numbers = Vec::new();
            }
        }
        self.parsed
    }

    /// Appends the rows of a tile that can be read.
    pub(super) fn consume(&mut self, store: &Store<'_>, tile: &Tile) {
        let dialect = self.plan.profile.dialect;
        self.times(store, tile);
        if dialect == Dialect::Salesforce {
            self.event_types(store, tile);
        }
        self.statuses(store, tile);
        self.users(store, tile);

        let events = &mut self.parsed.events;
        events.timestamp_ms.extend(self.heads.iter().map(|h| h.ms));
        events.status.extend(self.heads.iter().map(|h| h.status));
        events.column_mut(Field::User).codes.extend(self.heads.iter().map(|h| h.user));
        events.source_row.extend(self.heads.iter().map(|h| tile.records[h.row as usize]));
        for field in [Field::Org, Field::UserName, Field::ClientIp, Field::AppId, Field::AppName] {
            self.text_column(field, store, tile);
        }
        for field in [Field::ApiFamily, Field::HttpMethod, Field::Entity] {
            self.text_column(field, store, tile);
        }
        if dialect == Dialect::CloudTrail {
            self.text_column(Field::Resource, store, tile);
            self.user_agents(store, tile);
            self.role_sessions(store, tile);
        } else {
            self.resources(store, tile);
            self.text_column(Field::ClientName, store, tile);
            self.text_column(Field::SessionId, store, tile);
        }
        self.versions(store, tile);
        self.actions(store, tile);
        self.request_ids(store, tile);
        self.numbers(store, tile);
    }

    fn times(&mut self, store: &Store<'_>, tile: &Tile) {
        let width = self.plan.width;
        let cells = self.plan.cells(Role::Timestamp);
        let compare = self.plan.profile.dialect == Dialect::Salesforce && cells.len() > 1;
        self.heads.clear();
        for (row, record) in tile.records.iter().enumerate() {
            let base = row * width;
            let mut ms = cells.first().and_then(|&c| self.time.parse(store.get(tile.cells[base + c])));
            if compare || ms.is_none() {
                for &cell in cells.iter().skip(1) {
                    let second = store.get(tile.cells[base + cell]);
                    if second.is_empty() {
                        continue;
                    }
                    let second = self.second_time.parse(second);
                    // Only where both are there can they disagree.
                    let first_there = tile.cells[base + cells[0]].len() > 0;
                    self.parsed.disagreements += u64::from(compare && first_there && ms != second);
                    ms = ms.or(second);
                }
            }
            match ms {
                Some(ms) => self.heads.push(Head { row: row as u32, user: 0, status: 0, ms }),
                None => self.parsed.bad.push((*record, Reason::Timestamp)),
            }
        }
    }

    fn event_types(&mut self, store: &Store<'_>, tile: &Tile) {
        let cells = self.plan.cells(Role::EventType);
        if cells.is_empty() {
            return;
        }
        let Self { plan, heads, event_types, parsed, .. } = self;
        heads.retain(|h| {
            let cell = pick(tile, plan.width, h.row, cells);
            let other = event_types.value(store, cell, |raw| {
                let name = text(raw);
                u32::from(!name.is_empty() && !name.eq_ignore_ascii_case("ApiTotalUsage"))
            });
            if other == 1 {
                parsed.bad.push((tile.records[h.row as usize], Reason::EventType));
            }
            other == 0
        });
    }

    fn statuses(&mut self, store: &Store<'_>, tile: &Tile) {
        const UNREADABLE: u32 = u32::MAX;
        let width = self.plan.width;
        let (errors, sign_in) = (self.plan.cells(Role::ErrorCode), self.plan.cells(Role::SignIn));
        let cells = self.plan.cells(Role::Status);
        for head in &mut self.heads {
            if self.plan.profile.dialect == Dialect::CloudTrail && cells.is_empty() {
                let error = store.get(pick(tile, width, head.row, errors));
                let outcome = store.get(pick(tile, width, head.row, sign_in));
                head.status = cloudtrail::status(text(error), text(outcome));
            } else if !cells.is_empty() {
                let cell = pick(tile, width, head.row, cells);
                let value = self.statuses.value(store, cell, |raw| status(raw).map_or(UNREADABLE, u32::from));
                self.parsed.unreadable += u64::from(value == UNREADABLE);
                head.status = u16::try_from(value).unwrap_or(0);
            }
        }
    }

    fn users(&mut self, store: &Store<'_>, tile: &Tile) {
        let Self { plan, heads, interners, parsed, .. } = self;
        let cells = plan.cells(Role::Text(Field::User));
        let (kinds, accounts) = (plan.cells(Role::IdentityType), plan.cells(Role::AccountId));
        let normal = normaliser(Field::User, plan.profile.dialect);
        let interner = &mut interners[Field::User as usize];
        let dictionary = &mut parsed.events.text[Field::User as usize].dictionary;
        let mut missing = false;
        for head in heads.iter_mut() {
            let cell = pick(tile, plan.width, head.row, cells);
            head.user = if kinds.is_empty() {
                interner.value(store, cell, |raw| dictionary.intern(&normal(text(raw))))
            } else {
                let kind = text(store.get(pick(tile, plan.width, head.row, kinds)));
                let account = text(store.get(pick(tile, plan.width, head.row, accounts)));
                dictionary.intern(&cloudtrail::user_id(text(store.get(cell)), kind, account))
            };
            if head.user == 0 && matches!(head.status, 401 | 403) {
                head.user = dictionary.intern(UNKNOWN_USER);
            }
            missing |= head.user == 0;
        }
        if missing {
            heads.retain(|h| {
                if h.user == 0 {
                    parsed.bad.push((tile.records[h.row as usize], Reason::User));
                }
                h.user != 0
            });
        }
    }

    fn text_column(&mut self, field: Field, store: &Store<'_>, tile: &Tile) {
        let Self { plan, heads, interners, parsed, .. } = self;
        let cells = plan.cells(Role::Text(field));
        let normal = normaliser(field, plan.profile.dialect);
        let TextColumn { codes, dictionary } = parsed.events.column_mut(field);
        if cells.is_empty() {
            let code = dictionary.intern(&normal(""));
            codes.resize(codes.len() + heads.len(), code);
            return;
        }
        let interner = &mut interners[field as usize];
        codes.extend(heads.iter().map(|head| {
            let cell = pick(tile, plan.width, head.row, cells);
            interner.value(store, cell, |raw| dictionary.intern(&normal(text(raw))))
        }));
    }

    fn resources(&mut self, store: &Store<'_>, tile: &Tile) {
        let Self { plan, heads, interners, parsed, resources, fallback_versions, .. } = self;
        let cells = plan.cells(Role::Text(Field::Resource));
        let [version, template] = parsed
            .events
            .text
            .get_disjoint_mut([Field::ApiVersion as usize, Field::Resource as usize])
            .expect("two different columns");
        let interner = &mut interners[Field::Resource as usize];
        let normal = normaliser(Field::ApiVersion, plan.profile.dialect);
        fallback_versions.clear();
        for head in heads.iter() {
            let cell = pick(tile, plan.width, head.row, cells);
            let seen = interner.value(store, cell, |raw| {
                let (name, carried) = normalise::resource(text(raw));
                let codes = (template.dictionary.intern(&name), version.dictionary.intern(&normal(carried)));
                resources.push(codes);
                (resources.len() - 1) as u32
            });
            let (template_code, version_code) = resources[seen as usize];
            template.codes.push(template_code);
            fallback_versions.push(version_code);
        }
    }

    fn user_agents(&mut self, store: &Store<'_>, tile: &Tile) {
        let Self { plan, heads, agents, parsed, products, fallback_versions, .. } = self;
        let cells = plan.cells(Role::UserAgent);
        let event_version = plan.cells(Role::EventVersion);
        let [client, version] = parsed
            .events
            .text
            .get_disjoint_mut([Field::ClientName as usize, Field::ApiVersion as usize])
            .expect("two different columns");
        fallback_versions.clear();
        for head in heads.iter() {
            let cell = pick(tile, plan.width, head.row, cells);
            let seen = agents.value(store, cell, |raw| {
                let (product, release) = cloudtrail::user_agent(text(raw));
                products.push((client.dictionary.intern(product), version.dictionary.intern(release)));
                (products.len() - 1) as u32
            });
            let (product, mut release) = products[seen as usize];
            if release == 0 {
                release = version.dictionary.intern(text(store.get(pick(tile, plan.width, head.row, event_version))));
            }
            client.codes.push(product);
            fallback_versions.push(release);
        }
    }

    fn role_sessions(&mut self, store: &Store<'_>, tile: &Tile) {
        let Self { plan, heads, parsed, .. } = self;
        let (arns, starts) = (plan.cells(Role::IdentityArn), plan.cells(Role::SessionStart));
        let TextColumn { codes, dictionary } = parsed.events.column_mut(Field::SessionId);
        codes.extend(heads.iter().map(|head| {
            let session = cloudtrail::role_session(text(store.get(pick(tile, plan.width, head.row, arns))));
            let start = text(store.get(pick(tile, plan.width, head.row, starts)));
            dictionary.intern(if session.is_empty() { start } else { session })
        }));
    }

    /// The version column, and where it is blank what the resource or the user agent carried.
    fn versions(&mut self, store: &Store<'_>, tile: &Tile) {
        self.text_column(Field::ApiVersion, store, tile);
        let codes = &mut self.parsed.events.column_mut(Field::ApiVersion).codes;
        let from = codes.len() - self.heads.len();
        for (code, fallback) in codes[from..].iter_mut().zip(&self.fallback_versions) {
            if *code == 0 {
                *code = *fallback;
            }
        }
    }

    fn actions(&mut self, store: &Store<'_>, tile: &Tile) {
        let Self { plan, heads, actions, parsed, verb_cache, .. } = self;
        let cloudtrail = plan.profile.dialect == Dialect::CloudTrail;
        let (cells, read_only) = (plan.cells(Role::Action), plan.cells(Role::ReadOnly));
        let Events { text: columns, action, .. } = &mut parsed.events;
        let [family, method, resource] =
            [Field::ApiFamily, Field::HttpMethod, Field::Resource].map(|f| &columns[f as usize]);
        let from = action.len();
        for (i, head) in heads.iter().enumerate() {
            if !cells.is_empty() {
                let cell = pick(tile, plan.width, head.row, cells);
                // A blank cell falls through to derivation; a word that is no class is `other`.
                let given = actions.value(store, cell, |raw| {
                    let name = text(raw);
                    if name.is_empty() { u32::MAX } else { Action::from_name(name).unwrap_or_default() as u32 }
                });
                if let Some(given) = Action::ALL.get(given as usize) {
                    action.push(*given);
                    continue;
                }
            }
            let row = from + i;
            let (f, r) = (family.codes[row], resource.codes[row]);
            let mut m = method.codes[row];
            if cloudtrail {
                let flag = store.get(pick(tile, plan.width, head.row, read_only));
                m = flag.first().map_or(0, |b| u32::from(b.to_ascii_lowercase()));
            }
            let at = (f.wrapping_mul(31) ^ m.wrapping_mul(257) ^ r.wrapping_mul(5)) as usize % verb_cache.len();
            let (key, cached) = &mut verb_cache[at];
            if *key != [f, m, r] {
                *key = [f, m, r];
                let (family, resource) = (family.dictionary.get(f), resource.dictionary.get(r));
                *cached = if cloudtrail {
                    let read_only = match m.to_le_bytes()[0] {
                        b't' => "true",
                        b'f' => "false",
                        _ => "",
                    };
                    cloudtrail::action(family, resource, read_only)
                } else {
                    verbs::classify(family, method.dictionary.get(m), resource)
                };
            }
            action.push(*cached);
        }
    }

    fn request_ids(&mut self, store: &Store<'_>, tile: &Tile) {
        let cells = self.plan.cells(Role::RequestId);
        let ids = &mut self.parsed.events.request_id;
        for head in &self.heads {
            ids.bytes.extend_from_slice(store.get(pick(tile, self.plan.width, head.row, cells)));
            ids.ends.push(ids.bytes.len() as u64);
        }
    }

    fn numbers(&mut self, store: &Store<'_>, tile: &Tile) {
        for column in 0..self.parsed.events.numbers.len() {
            let cells = self.plan.cells(Role::Number(column));
            if cells.is_empty() {
                continue;
            }
            for head in &self.heads {
                let raw = store.get(pick(tile, self.plan.width, head.row, cells));
                let value = number(raw);
                self.parsed.unreadable += u64::from(value.is_none() && !raw.is_empty());
                self.parsed.events.numbers[column].push(value.unwrap_or(MISSING));
            }
        }
    }
}

/// The user of calls that failed to authenticate and name none.
pub const UNKNOWN_USER: &str = "(unknown)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_three_digits_from_100_to_599() {
        for (raw, expected) in [
            ("200", Some(200)),
            (" 404 ", Some(404)),
            ("503.0", Some(503)),
            ("", Some(0)),
            ("99", None),
            ("600", None),
            ("-200", None),
            ("OK", None),
        ] {
            assert_eq!(status(raw.as_bytes()), expected, "{raw}");
        }
    }

    #[test]
    fn a_number_is_digits() {
        for (raw, expected) in [
            ("0", Some(0)),
            ("123456789012345678", Some(123456789012345678)),
            ("12.0", Some(12)),
            ("1.2.3", None),
            ("-1", None),
            ("1e5", None),
            ("", None),
            ("NaN", None),
            ("1234567890123456789", None),
        ] {
            assert_eq!(number(raw.as_bytes()), expected, "{raw}");
        }
    }
}
