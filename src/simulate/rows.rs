//! Rows: the compact event of the simulator, the tables it points into, and the bytes of a Salesforce log row.

use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::calls::{Call, Family, write_number};
use crate::date::{Date, MS_PER_DAY};

/// Where a call comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Address {
    /// The literal `Salesforce.com IP`.
    Internal,
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Internal => f.write_str("Salesforce.com IP"),
            Self::V4(ip) => ip.fmt(f),
            Self::V6(ip) => ip.fmt(f),
        }
    }
}

/// No user name on this row.
pub(super) const BLANK_NAME: u8 = 1;
/// The call does not count against the limit.
pub(super) const UNCOUNTED: u8 = 2;

/// One call. Numbers point into [`Cast`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    /// UTC, ms since the epoch.
    pub ms: i64,
    /// 128 bits that are written as a 22-character request id.
    pub request: u128,
    pub address: Address,
    pub actor: u32,
    /// 0 for ordinary life (changed by a scenario or not); else the number + 1 of the instance whose row this is.
    pub instance: u16,
    pub channel: u16,
    pub entity: u16,
    pub status: u16,
    pub call: Call,
    pub version: u8,
    pub flags: u8,
    /// Number of the record, cursor or job in the path.
    pub part: u64,
}

/// A user of an organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Actor {
    pub org_id: String,
    pub user_id: String,
    pub user_name: String,
}

/// A program through which calls are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Channel {
    pub app_id: String,
    pub app_name: String,
    pub client: String,
    pub category: String,
    /// Bulk 2.0 calls read `REST`: which of the two a real file shows is unverified, so both occur.
    pub bulk_is_rest: bool,
}

/// What the numbers in an [`Event`] mean.
#[derive(Debug, Default)]
pub(super) struct Cast {
    pub actors: Vec<Actor>,
    pub channels: Vec<Channel>,
    pub entities: Vec<String>,
}

impl Cast {
    /// The number of `channel`, new or known.
    pub(super) fn channel(&mut self, channel: Channel) -> u16 {
        let known = self.channels.iter().position(|c| *c == channel);
        known.unwrap_or_else(|| {
            self.channels.push(channel);
            self.channels.len() - 1
        }) as u16
    }

    /// A new user's number.
    pub(super) fn actor(&mut self, actor: Actor) -> u32 {
        self.actors.push(actor);
        self.actors.len() as u32 - 1
    }
}

/// A column of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    EventType,
    Timestamp,
    RequestId,
    OrganizationId,
    UserId,
    ApiFamily,
    ApiVersion,
    ApiResource,
    ClientName,
    HttpMethod,
    ClientIp,
    Counts,
    AppId,
    EntityName,
    StatusCode,
    AppName,
    UserName,
    Category,
    TimestampDerived,
    /// Always empty here (the agent columns), or unknown to us.
    Blank,
}

/// The header observed since 2026: 22 columns.
pub(super) const HEADER: [(&str, Column); 22] = [
    ("EVENT_TYPE", Column::EventType),
    ("TIMESTAMP", Column::Timestamp),
    ("REQUEST_ID", Column::RequestId),
    ("ORGANIZATION_ID", Column::OrganizationId),
    ("USER_ID", Column::UserId),
    ("API_FAMILY", Column::ApiFamily),
    ("API_VERSION", Column::ApiVersion),
    ("API_RESOURCE", Column::ApiResource),
    ("CLIENT_NAME", Column::ClientName),
    ("HTTP_METHOD", Column::HttpMethod),
    ("CLIENT_IP", Column::ClientIp),
    ("COUNTS_AGAINST_API_LIMIT", Column::Counts),
    ("CONNECTED_APP_ID", Column::AppId),
    ("ENTITY_NAME", Column::EntityName),
    ("STATUS_CODE", Column::StatusCode),
    ("CONNECTED_APP_NAME", Column::AppName),
    ("USER_NAME", Column::UserName),
    ("API_CLIENT_CATEGORY", Column::Category),
    ("BOT_ID", Column::Blank),
    ("BOT_SESSION_ID", Column::Blank),
    ("PLANNER_ID", Column::Blank),
    ("TIMESTAMP_DERIVED", Column::TimestampDerived),
];

const PAIRS: &[u8; 200] =
    b"00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748\
495051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

fn two(n: i64) -> [u8; 2] {
    let at = 2 * (n.rem_euclid(100) as usize);
    [PAIRS[at], PAIRS[at + 1]]
}

/// Writes events as log fields and rows. Holds the text of the date it last wrote.
#[derive(Debug)]
pub(super) struct RowWriter<'a> {
    cast: &'a Cast,
    date: Date,
    /// `YYYY-MM-DD`
    dashed: [u8; 10],
}

impl<'a> RowWriter<'a> {
    pub(super) fn new(cast: &'a Cast) -> Self {
        let mut writer = Self { cast, date: Date(i32::MIN), dashed: [b'0'; 10] };
        writer.turn_to(Date(0));
        writer
    }

    fn turn_to(&mut self, date: Date) {
        if date != self.date {
            self.date = date;
            let text = date.to_string();
            if let Ok(dashed) = <[u8; 10]>::try_from(text.as_bytes()) {
                self.dashed = dashed;
            }
        }
    }

    /// Appends one field's bare text.
    pub(super) fn field(&mut self, out: &mut Vec<u8>, event: &Event, column: Column) {
        let actor = &self.cast.actors[event.actor as usize];
        let channel = &self.cast.channels[usize::from(event.channel)];
        match column {
            Column::EventType => out.extend_from_slice(b"ApiTotalUsage"),
            Column::Timestamp | Column::TimestampDerived => {
                let date = Date::from_ms(event.ms);
                self.turn_to(date);
                self.time(out, event.ms - i64::from(date.0) * MS_PER_DAY, column == Column::TimestampDerived);
            }
            Column::RequestId => write_request(out, event.request),
            Column::OrganizationId => out.extend_from_slice(actor.org_id.as_bytes()),
            Column::UserId => out.extend_from_slice(actor.user_id.as_bytes()),
            Column::ApiFamily => {
                let family = event.call.family();
                let rest = family == Family::Bulk && channel.bulk_is_rest;
                out.extend_from_slice(if rest { Family::Rest } else { family }.name().as_bytes());
            }
            Column::ApiVersion => {
                write_number(out, u64::from(event.version));
                out.extend_from_slice(b".0");
            }
            Column::ApiResource => {
                let entity = &self.cast.entities[usize::from(event.entity)];
                event.call.write_resource(out, event.version, entity, event.part);
            }
            Column::ClientName => out.extend_from_slice(channel.client.as_bytes()),
            Column::HttpMethod => out.extend_from_slice(event.call.method().as_bytes()),
            Column::ClientIp => match event.address {
                Address::V4(ip) => {
                    for (i, octet) in ip.octets().into_iter().enumerate() {
                        if i > 0 {
                            out.push(b'.');
                        }
                        write_number(out, u64::from(octet));
                    }
                }
                other => write!(out, "{other}").expect("writing to memory does not fail"),
            },
            Column::Counts => out.push(if event.flags & UNCOUNTED == 0 { b'1' } else { b'0' }),
            Column::AppId => out.extend_from_slice(channel.app_id.as_bytes()),
            Column::EntityName => out.extend_from_slice(self.cast.entities[usize::from(event.entity)].as_bytes()),
            Column::StatusCode => write_number(out, u64::from(event.status)),
            Column::AppName => out.extend_from_slice(channel.app_name.as_bytes()),
            Column::UserName if event.flags & BLANK_NAME == 0 => out.extend_from_slice(actor.user_name.as_bytes()),
            Column::Category => out.extend_from_slice(channel.category.as_bytes()),
            Column::UserName | Column::Blank => {}
        }
    }

    fn time(&self, out: &mut Vec<u8>, ms: i64, iso: bool) {
        let (second, milli) = (ms / 1000, ms % 1000);
        let (h, m, s) = (two(second / 3600), two(second / 60 % 60), two(second % 60));
        let d = &self.dashed;
        let thousandth = [b'0' + (milli / 100) as u8, two(milli)[0], two(milli)[1]];
        if iso {
            out.extend_from_slice(d);
            out.extend_from_slice(&[b'T', h[0], h[1], b':', m[0], m[1], b':', s[0], s[1], b'.']);
            out.extend_from_slice(&thousandth);
            out.push(b'Z');
        } else {
            out.extend_from_slice(&[d[0], d[1], d[2], d[3], d[5], d[6], d[8], d[9]]);
            out.extend_from_slice(&[h[0], h[1], m[0], m[1], s[0], s[1], b'.']);
            out.extend_from_slice(&thousandth);
        }
    }

    /// Appends one row as Salesforce writes it: every field quoted, LF.
    pub(super) fn row(&mut self, out: &mut Vec<u8>, event: &Event) {
        for (i, (_, column)) in HEADER.iter().enumerate() {
            out.extend_from_slice(if i == 0 { b"\"" } else { b",\"" });
            // None of our own names holds a quote, so nothing needs doubling.
            self.field(out, event, *column);
            out.push(b'"');
        }
        out.push(b'\n');
    }
}

/// 22 characters of base64url, as request ids look.
pub(super) fn write_request(out: &mut Vec<u8>, request: u128) {
    const CODES: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (high, low) = ((request >> 64) as u64, request as u64);
    for half in [high, low] {
        for i in 0..11 {
            out.push(CODES[(half >> (i * 6) & 63) as usize]);
        }
    }
}

/// The text of a request id.
pub(super) fn request_text(request: u128) -> String {
    let mut out = Vec::with_capacity(22);
    write_request(&mut out, request);
    out.into_iter().map(char::from).collect()
}

/// The header line.
pub(super) fn write_header(out: &mut Vec<u8>) {
    for (i, (name, _)) in HEADER.iter().enumerate() {
        out.extend_from_slice(if i == 0 { b"\"" } else { b",\"" });
        out.extend_from_slice(name.as_bytes());
        out.push(b'"');
    }
    out.push(b'\n');
}
