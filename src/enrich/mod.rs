//! What is known about a client address: country, city, network, autonomous system, and the class of the network.
//!
//! Without configuration the country comes from a table built into the program. `enrich.networks` names tables of
//! one's own, CSV or MMDB; of several tables the first that says something about a field wins, and a table always
//! answers with its longest matching prefix.

mod table;

use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;

use crate::config::settings::Enrich;
use crate::error::{Error, Kind, Result};
use crate::events::normalise::SALESFORCE_INTERNAL;
use table::{Facts, Table};

/// What is known about one address. Unknown texts are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The network: the matching prefix of a CSV table, else /24 (IPv4) or /48 (IPv6); "" if it is no address.
    pub network: String,
    /// ISO 3166-1 alpha-2, upper case.
    pub country: String,
    /// City name.
    pub city: String,
    /// `AS64500 Name`, or `AS64500` if it has no name.
    pub asn: String,
    /// `internal`, `blank`, `corporate`, `tor`, `vpn`, a class of a table, `private`, `unknown` or `public`.
    pub class: String,
}

/// Looks addresses up. Immutable, and the same for any order of lookups.
#[derive(Debug)]
pub struct Enricher {
    tables: Vec<Table>,
    corporate: Vec<IpNet>,
    vpn_asns: Vec<u32>,
    tor_asns: Vec<u32>,
    digest: String,
}

impl Enricher {
    /// Reads the tables and ranges of the settings.
    ///
    /// [`Kind::Config`] for a table that is missing, damaged or of another format, and for a range that is no CIDR.
    pub fn new(settings: &Enrich) -> Result<Self> {
        let mut hasher = blake3::Hasher::new();
        let mut part = |label: &str, bytes: &[u8]| {
            for piece in [label.as_bytes(), bytes] {
                hasher.update(&(piece.len() as u64).to_le_bytes());
                hasher.update(piece);
            }
        };
        part("country-table", COUNTRY_TABLE.as_bytes());
        let mut tables = Vec::with_capacity(settings.networks.len());
        for name in &settings.networks {
            let path = Path::new(name);
            let bytes = std::fs::read(path)
                .map_err(|e| Error::io(Kind::Config, "read the file of enrich.networks:", path, e))?;
            part("networks", &bytes);
            tables.push(Table::parse(path, bytes)?);
        }
        let mut corporate = Vec::with_capacity(settings.corporate_ranges.len());
        for range in &settings.corporate_ranges {
            part("corporate-range", range.as_bytes());
            corporate.push(table::parse_network(range).ok_or_else(|| {
                Error::new(
                    Kind::Config,
                    format!("enrich.corporate-ranges: expected a range such as 192.0.2.0/24, found {range:?}"),
                )
            })?);
        }
        for (label, asns) in [("vpn-asn", &settings.vpn_asns), ("tor-asn", &settings.tor_asns)] {
            for asn in asns {
                part(label, &asn.to_le_bytes());
            }
        }
        Ok(Self {
            tables,
            corporate,
            vpn_asns: settings.vpn_asns.clone(),
            tor_asns: settings.tor_asns.clone(),
            digest: hasher.finalize().to_hex().to_string(),
        })
    }

    /// BLAKE3, lower-case hex, of everything that answers depend on: contents of tables, lists, and the built-in
    /// country table's version; no paths.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// What is known about a canonical client address. Anything may be asked; what is no address has a class alone.
    pub fn lookup(&self, client_ip: &str) -> Place {
        let only = |class: &str| Place { class: class.to_owned(), ..Place::default() };
        let text = client_ip.trim();
        if text.is_empty() {
            return only("blank");
        }
        if is_internal(text) {
            return only("internal");
        }
        let Ok(ip) = text.parse::<IpAddr>() else { return only("unknown") };
        let ip = ip.to_canonical();

        let mut facts = Facts::default();
        for table in &self.tables {
            facts.fill(table.lookup(ip));
        }
        let class = self.class(ip, &facts).to_owned();
        let Facts { network, country, city, asn, as_name, .. } = facts;
        Place {
            network: network.unwrap_or_else(|| default_network(ip)).to_string(),
            country: if country.is_empty() { iptocc::country_code(ip).unwrap_or("").to_owned() } else { country },
            city,
            asn: match asn {
                None => String::new(),
                Some(n) if as_name.is_empty() => format!("AS{n}"),
                Some(n) => format!("AS{n} {as_name}"),
            },
            class,
        }
    }

    fn class<'f>(&self, ip: IpAddr, facts: &'f Facts) -> &'f str {
        let listed = |asns: &[u32]| facts.asn.is_some_and(|asn| asns.contains(&asn));
        if self.corporate.iter().any(|range| range.contains(&ip)) {
            "corporate"
        } else if listed(&self.tor_asns) {
            "tor"
        } else if listed(&self.vpn_asns) {
            "vpn"
        } else if !facts.class.is_empty() {
            &facts.class
        } else if is_private(ip) {
            "private"
        } else {
            "public"
        }
    }
}

/// Which table of countries is built in; part of the digest, so that an update of the table is seen.
const COUNTRY_TABLE: &str = "iptocc 1.4.175";

/// Calls from inside the provider: Salesforce's literal, and the service names that AWS writes for its own calls.
fn is_internal(text: &str) -> bool {
    text == SALESFORCE_INTERNAL
        || text == "AWS Internal"
        || (text.ends_with(".amazonaws.com") && text.parse::<IpAddr>().is_err())
}

fn default_network(ip: IpAddr) -> IpNet {
    let length = if ip.is_ipv4() { 24 } else { 48 };
    IpNet::new(ip, length).expect("24 and 48 are prefix lengths").trunc()
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unspecified() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests;
