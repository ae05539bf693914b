//! Network tables: CSV of prefixes, or MMDB.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use rustc_hash::FxBuildHasher;
use serde::Deserialize;

use crate::error::{Error, Kind, Result};
use crate::events::csv::{Walk, unescape, walk};

/// What one table says of an address; empty where it says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) network: Option<IpNet>,
    pub(super) country: String,
    pub(super) city: String,
    pub(super) asn: Option<u32>,
    pub(super) as_name: String,
    pub(super) class: String,
}

impl Facts {
    /// Takes from `other` what is not known yet; number and name of an autonomous system go together.
    pub(super) fn fill(&mut self, other: Self) {
        let take = |mine: &mut String, theirs: String| {
            if mine.is_empty() {
                *mine = theirs;
            }
        };
        if self.asn.is_none() {
            (self.asn, self.as_name) = (other.asn, other.as_name);
        }
        self.network = self.network.or(other.network);
        take(&mut self.country, other.country);
        take(&mut self.city, other.city);
        take(&mut self.class, other.class);
    }
}

/// A table.
pub(super) enum Table {
    /// Prefixes by length, longest first; within a length by network address.
    Prefixes(BTreeMap<std::cmp::Reverse<(u8, bool)>, HashMap<IpAddr, Facts, FxBuildHasher>>),
    /// A `MaxMind` database.
    Database(Box<maxminddb::Reader<Vec<u8>>>),
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prefixes(_) => "Prefixes",
            Self::Database(_) => "Database",
        })
    }
}

/// The fields of the country, city, ASN and anonymity databases that matter here.
#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    country: Option<Country<'a>>,
    #[serde(borrow)]
    registered_country: Option<Country<'a>>,
    #[serde(borrow)]
    city: Option<City<'a>>,
    autonomous_system_number: Option<u32>,
    autonomous_system_organization: Option<&'a str>,
    #[serde(default)]
    is_tor_exit_node: bool,
    #[serde(default)]
    is_anonymous_vpn: bool,
    #[serde(default)]
    is_hosting_provider: bool,
}

#[derive(Deserialize)]
struct Country<'a> {
    iso_code: Option<&'a str>,
}

#[derive(Deserialize)]
struct City<'a> {
    #[serde(borrow)]
    names: Option<Names<'a>>,
}

#[derive(Deserialize)]
struct Names<'a> {
    en: Option<&'a str>,
}

/// How an MMDB file ends its data: the marker before its metadata.
const MMDB_MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";

impl Table {
    /// A table by content; a file that names itself `.mmdb` must be one.
    pub(super) fn parse(path: &Path, bytes: Vec<u8>) -> Result<Self> {
        let named_mmdb = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("mmdb"));
        if !named_mmdb && memchr::memmem::rfind(&bytes, MMDB_MARKER).is_none() {
            return csv(path, &bytes);
        }
        let damaged = |e| {
            Error::new(Kind::Config, format!("enrich.networks: {}: damaged MMDB file", path.display())).with_source(e)
        };
        let reader = maxminddb::Reader::from_source(bytes).map_err(damaged)?;
        reader.verify().map_err(damaged)?;
        Ok(Self::Database(Box::new(reader)))
    }

    /// What the table says of an address.
    pub(super) fn lookup(&self, ip: IpAddr) -> Facts {
        match self {
            Self::Prefixes(lengths) => lengths
                .iter()
                .filter(|(key, _)| key.0.1 == ip.is_ipv6())
                .find_map(|(key, facts)| facts.get(&IpNet::new(ip, key.0.0).ok()?.network()))
                .cloned()
                .unwrap_or_default(),
            // The file was verified when it was opened; a record of another shape says nothing.
            Self::Database(reader) => reader
                .lookup(ip)
                .ok()
                .and_then(|found| found.decode::<Record<'_>>().ok().flatten())
                .map(Facts::from)
                .unwrap_or_default(),
        }
    }
}

impl From<Record<'_>> for Facts {
    fn from(record: Record<'_>) -> Self {
        let country = record.country.and_then(|c| c.iso_code).or(record.registered_country.and_then(|c| c.iso_code));
        let class = match (record.is_tor_exit_node, record.is_anonymous_vpn, record.is_hosting_provider) {
            (true, _, _) => "tor",
            (_, true, _) => "vpn",
            (_, _, true) => "hosting",
            _ => "",
        };
        Self {
            // Databases split networks as their data needs; that is no network anyone would recognise.
            network: None,
            country: country.unwrap_or("").to_owned(),
            city: record.city.and_then(|c| c.names?.en).unwrap_or("").to_owned(),
            asn: record.autonomous_system_number,
            as_name: record.autonomous_system_organization.unwrap_or("").to_owned(),
            class: class.to_owned(),
        }
    }
}

/// A prefix, or an address as the prefix of its full length; host bits are cut, IPv4-mapped IPv6 is IPv4.
pub(super) fn parse_network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    let net = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?.trunc();
    match net.addr().to_canonical() {
        IpAddr::V4(v4) if net.prefix_len() >= 96 && net.addr().is_ipv6() => {
            Some(IpNet::new(v4.into(), net.prefix_len() - 96).ok()?.trunc())
        }
        _ => Some(net),
    }
}

fn csv(path: &Path, bytes: &[u8]) -> Result<Table> {
    let fail = |line: usize, what: &str| {
        Error::new(Kind::Config, format!("enrich.networks: {}: record {line}: {what}", path.display()))
    };
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|_| fail(0, "expected UTF-8 CSV or an MMDB file"))?;
    let mut columns: Vec<String> = Vec::new();
    let mut lengths: BTreeMap<_, HashMap<IpAddr, Facts, FxBuildHasher>> = BTreeMap::new();
    let (mut at, mut line) = (0, 0);
    while at < text.len() {
        let mut fields: Vec<String> = Vec::new();
        let walked = walk(bytes, at, true, bytes.len(), |field| {
            let mut out = Vec::new();
            unescape(&bytes[field.start..field.end], &mut out);
            let raw = if field.doubled { &out } else { &bytes[field.start..field.end] };
            fields.push(String::from_utf8_lossy(raw).trim().to_owned());
        });
        let Walk::Record { next, well_formed } = walked else { unreachable!("the text is complete") };
        at = next;
        if well_formed && fields.iter().all(String::is_empty) {
            continue;
        }
        if columns.is_empty() {
            columns = fields.iter().map(|f| f.to_ascii_lowercase()).collect();
            if !columns.iter().any(|c| c == "network") {
                return Err(fail(
                    0,
                    "expected a header with the column network (and country, asn, as_name, class, city)",
                ));
            }
            continue;
        }
        line += 1;
        if !well_formed || fields.len() != columns.len() {
            return Err(fail(line, "quotes or number of fields do not match the header"));
        }
        let get = |name: &str| columns.iter().position(|c| c == name).map_or("", |i| fields[i].as_str());
        let network =
            parse_network(get("network")).ok_or_else(|| fail(line, "expected a network such as 192.0.2.0/24"))?;
        let asn = get("asn");
        let number = asn.strip_prefix("AS").or_else(|| asn.strip_prefix("as")).unwrap_or(asn);
        let facts = Facts {
            network: Some(network),
            country: get("country").to_ascii_uppercase(),
            city: get("city").to_owned(),
            asn: match number {
                "" => None,
                n => Some(n.parse().map_err(|_| fail(line, "expected an autonomous system number in asn"))?),
            },
            as_name: get("as_name").to_owned(),
            class: get("class").to_ascii_lowercase(),
        };
        let key = std::cmp::Reverse((network.prefix_len(), network.addr().is_ipv6()));
        lengths.entry(key).or_default().insert(network.addr(), facts);
    }
    if columns.is_empty() {
        return Err(fail(0, "expected a header with the column network, found an empty file"));
    }
    Ok(Table::Prefixes(lengths))
}
