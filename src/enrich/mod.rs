//! What is known about an address.

/// Where an address is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Network.
    pub network: String,
    /// Country.
    pub country: String,
    /// City.
    pub city: String,
    /// Autonomous system.
    pub asn: String,
    /// Class of the network.
    pub class: String,
}

/// Looks up addresses.
#[derive(Debug, Default)]
pub struct Enricher;

impl Enricher {
    /// New.
    pub fn new(_: &crate::config::settings::Enrich) -> crate::error::Result<Self> {
        Ok(Self)
    }

    /// The place of an address.
    pub fn lookup(&self, client_ip: &str) -> Place {
        let network = client_ip.rsplit_once('.').map_or("blank", |(net, _)| net).to_owned();
        Place { network, country: "ZZ".into(), class: "unknown".into(), ..Place::default() }
    }

    /// Digest.
    pub fn digest(&self) -> String {
        "none".into()
    }
}
