//! Events for tests: written out call by call, or drawn at random from small alphabets so that everything collides.

use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::date::Date;
use crate::enrich::Place;
use crate::events::action::Action;
use crate::events::batch::{Events, Field, MISSING};
use crate::seed::Seed;

/// One event, by ms of the day.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) ms: i64,
    /// By [`Field`]; organisation `o` and user `u` unless said otherwise.
    pub(crate) text: [String; 13],
    pub(crate) action: Action,
    pub(crate) status: u16,
    pub(crate) request: String,
    pub(crate) numbers: [i64; 4],
}

/// The date of all calls.
pub(crate) const DAY: Date = Date(20_000);

impl Call {
    /// A query by user `u` from 198.18.0.1.
    pub(crate) fn at(ms: i64) -> Self {
        let call = Self {
            ms,
            text: Default::default(),
            action: Action::Query,
            status: 200,
            request: String::new(),
            numbers: [MISSING; 4],
        };
        call.with(Field::Org, "o")
            .with(Field::User, "u")
            .with(Field::ClientIp, "198.18.0.1")
            .with(Field::ApiFamily, "REST")
    }

    /// With another text.
    pub(crate) fn with(mut self, field: Field, text: &str) -> Self {
        self.text[field as usize] = text.to_owned();
        self
    }

    /// With another outcome.
    pub(crate) fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// With a request id.
    pub(crate) fn request(mut self, id: &str) -> Self {
        self.request = id.to_owned();
        self
    }

    pub(crate) fn get(&self, field: Field) -> &str {
        &self.text[field as usize]
    }
}

/// The calls as a batch.
pub(crate) fn events(calls: &[Call]) -> Events {
    let mut events = Events::default();
    for (at, call) in calls.iter().enumerate() {
        events.timestamp_ms.push(DAY.start_ms() + call.ms);
        for field in Field::ALL {
            events.column_mut(field).push(call.get(field));
        }
        events.action.push(call.action);
        events.status.push(call.status);
        events.request_id.push(&call.request);
        events.source_row.push(at as u64 + 1);
        for (column, number) in events.numbers.iter_mut().zip(call.numbers) {
            column.push(number);
        }
    }
    events
}

/// A network for every address: /24, two countries, four classes, no system for some.
pub(crate) fn place(ip: &str) -> Place {
    let last = ip.bytes().last().unwrap_or(b'0') - b'0';
    if ip.is_empty() {
        return Place { class: "blank".to_owned(), ..Place::default() };
    }
    Place {
        network: ip.rsplit_once('.').map_or(ip, |(net, _)| net).to_owned(),
        country: if last.is_multiple_of(2) { "DE" } else { "NL" }.to_owned(),
        city: String::new(),
        asn: if last.is_multiple_of(3) { String::new() } else { format!("AS6450{}", last % 2) },
        class: ["vpn", "hosting", "corporate", "internal"][usize::from(last % 4)].to_owned(),
    }
}

/// Calls at random. Many fall into the same minute, some into the same millisecond, and some are equal in everything.
pub(crate) fn random_calls(case: u64, count: usize) -> Vec<Call> {
    let mut rng = Seed(11).derive("random calls", case);
    let mut calls: Vec<Call> = Vec::with_capacity(count);
    for at in 0..count {
        if at > 0 && rng.next_u32().is_multiple_of(16) {
            let again = calls[rng.next_u32() as usize % at].clone();
            calls.push(again);
            continue;
        }
        let mut pick = |options: &[&str]| options[rng.next_u32() as usize % options.len()].to_owned();
        let hour = pick(&["0", "1", "9", "9", "9", "13", "23"]).parse::<i64>().expect("a number");
        let text = Field::ALL.map(|field| match field {
            Field::Org => "o".to_owned(),
            Field::User => pick(&["u1", "u2", "u2", "u2", "u10"]),
            Field::UserName => pick(&["", "ann", "bob"]),
            Field::ClientIp => pick(&["", "10.0.0.1", "10.0.0.2", "10.0.1.3", "10.0.1.4", "Salesforce.com IP7"]),
            Field::AppId => pick(&["", "", "0H4a", "0H4b"]),
            Field::AppName => pick(&["", "", "Flow", "REST"]),
            Field::ClientName => pick(&["", "DataLoader"]),
            Field::ApiFamily => pick(&["", "REST", "Bulk"]),
            Field::ApiVersion => pick(&["", "62.0", "50.0"]),
            Field::Resource => pick(&["", "/query", "/search", "/sobjects/{object}"]),
            Field::HttpMethod => pick(&["", "GET", "POST"]),
            Field::Entity => pick(&["", "Account", "Lead", "Account;Lead", " Lead |Case", ";", "Case,Case"]),
            Field::SessionId => pick(&["", "", "", "s1", "s2"]),
        });
        let minute = i64::from(rng.next_u32() % 3) * 29 + i64::from(rng.next_u32() % 2);
        let ms = i64::from(rng.next_u32() % 3) * 20_000 + i64::from(rng.next_u32() % 3);
        calls.push(Call {
            ms: hour * 3_600_000 + minute * 60_000 + ms,
            text,
            action: Action::ALL[rng.next_u32() as usize % 18],
            status: [0, 200, 204, 302, 400, 401, 403, 403, 404, 429, 500, 503][rng.next_u32() as usize % 12],
            request: ["", "r1", "r2", "r3", "r4", "r5"][rng.next_u32() as usize % 6].to_owned(),
            numbers: [MISSING, 5, -3, i64::from(rng.next_u32())],
        });
    }
    calls
}

/// The calls in another order.
pub(crate) fn shuffled(calls: &[Call], case: u64) -> Vec<Call> {
    let mut calls = calls.to_vec();
    let mut rng: ChaCha8Rng = Seed(12).derive("shuffle", case);
    calls.shuffle(&mut rng);
    calls
}
