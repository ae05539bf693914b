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
