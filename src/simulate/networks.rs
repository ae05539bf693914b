//! The address space of the simulated world: who owns which block, where, and of what class.
//!
//! Everything lies in 198.18.0.0/15 (benchmarking, RFC 2544) and `2001:db8::/32` (documentation, RFC 3849), with
//! autonomous system numbers kept for documentation (RFC 5398). `networks.csv` is this table.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::rows::Address;

/// A block of addresses with one owner and country.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    /// First /24, counted from 198.18.0.0; for IPv6, the third group of `2001:db8:X::/48`.
    pub first: u16,
    /// Number of /24s, a power of two; 0 for an IPv6 /48.
    pub size: u16,
    pub country: &'static str,
    pub asn: u32,
    pub as_name: &'static str,
    pub class: &'static str,
}

macro_rules! blocks {
    ($($first:literal + $size:literal $country:literal $asn:literal $name:literal $class:literal;)*) => {
        /// All blocks, by number.
        pub(super) const BLOCKS: &[Block] = &[$(Block {
            first: $first, size: $size, country: $country, asn: $asn, as_name: $name, class: $class,
        }),*];
    };
}

blocks! {
    // Clouds on which integrations run.
    0 + 4 "US" 64496 "Cumulus Compute" "hosting";
    4 + 4 "US" 64496 "Cumulus Compute" "hosting";
    8 + 4 "US" 64496 "Cumulus Compute" "hosting";
    12 + 4 "US" 64497 "Stratus Cloud" "hosting";
    16 + 4 "US" 64497 "Stratus Cloud" "hosting";
    20 + 4 "IE" 64497 "Stratus Cloud" "hosting";
    24 + 4 "US" 64498 "Nimbus Platform" "hosting";
    28 + 4 "DE" 64498 "Nimbus Platform" "hosting";
    32 + 4 "US" 64499 "Altus Data Centers" "hosting";
    36 + 4 "CA" 64499 "Altus Data Centers" "hosting";
    // Offices.
    40 + 1 "US" 64500 "Halden Fiber Business" "corporate";
    41 + 1 "GB" 64501 "Thames Business Net" "corporate";
    42 + 1 "SG" 64502 "Straits Enterprise" "corporate";
    43 + 1 "US" 64500 "Halden Fiber Business" "corporate";
    44 + 1 "US" 64500 "Halden Fiber Business" "corporate";
    // Mobile carriers.
    48 + 16 "US" 64503 "Prairie Mobile" "mobile";
    64 + 16 "GB" 64504 "Albion Mobile" "mobile";
    80 + 16 "SG" 64505 "Merlion Mobile" "mobile";
    // Homes.
    96 + 16 "US" 64506 "Homestead Cable" "residential";
    112 + 16 "GB" 64507 "Hearth Broadband" "residential";
    128 + 16 "SG" 64508 "Kampong Broadband" "residential";
    // Where people travel.
    144 + 4 "FR" 64509 "Lutece Telecom" "residential";
    148 + 4 "DE" 64510 "Rhein Telecom" "residential";
    152 + 4 "ES" 64511 "Iberica Fibra" "residential";
    156 + 4 "MX" 65536 "Azteca Cable" "residential";
    160 + 4 "CA" 65537 "Maple Cable" "residential";
    164 + 4 "JP" 65538 "Sakura Hikari" "residential";
    168 + 4 "BR" 65539 "Ipanema Net" "residential";
    172 + 4 "PT" 65540 "Lisboa Cabo" "residential";
    // Rented servers that attackers and small vendors use alike.
    176 + 4 "NL" 65541 "Polder Hosting" "hosting";
    180 + 4 "FR" 65542 "Garonne Serveurs" "hosting";
    184 + 4 "DE" 65543 "Elbe Rootserver" "hosting";
    188 + 4 "RO" 65544 "Carpat Host" "hosting";
    192 + 4 "US" 65545 "Lakeside VPS" "hosting";
    196 + 4 "FI" 65546 "Saimaa Servers" "hosting";
    // Commercial VPNs.
    200 + 2 "US" 65547 "Burrow VPN" "vpn";
    202 + 2 "SE" 65547 "Burrow VPN" "vpn";
    204 + 2 "CH" 65547 "Burrow VPN" "vpn";
    206 + 2 "NL" 65548 "Tunnelweasel VPN" "vpn";
    208 + 2 "GB" 65548 "Tunnelweasel VPN" "vpn";
    210 + 2 "US" 65548 "Tunnelweasel VPN" "vpn";
    // Exits of an anonymity network.
    216 + 8 "DE" 65549 "Onion Exit Society" "tor";
    224 + 4 "NL" 65549 "Onion Exit Society" "tor";
    228 + 4 "SE" 65549 "Onion Exit Society" "tor";
    232 + 4 "CH" 65549 "Onion Exit Society" "tor";
    236 + 4 "US" 65549 "Onion Exit Society" "tor";
    240 + 4 "RO" 65549 "Onion Exit Society" "tor";
    // Homes whose devices are rented out as proxies.
    256 + 16 "VN" 65550 "Lotus Broadband" "residential";
    272 + 16 "BR" 65539 "Ipanema Net" "residential";
    288 + 16 "IN" 65551 "Monsoon Broadband" "residential";
    // IPv6.
    1 + 0 "US" 64503 "Prairie Mobile" "mobile";
    2 + 0 "GB" 64504 "Albion Mobile" "mobile";
    3 + 0 "US" 64496 "Cumulus Compute" "hosting";
}

/// The offices' blocks, by office.
pub(super) const OFFICE_BLOCKS: [&str; 3] = ["US", "GB", "SG"];

impl Block {
    /// The address with this number, wrapped into the block (host parts 0 and 255 are never used).
    pub(super) fn address(&self, number: u64) -> Address {
        if self.size == 0 {
            let (a, b) = ((number >> 16) as u16, number as u16);
            return Address::V6(Ipv6Addr::new(0x2001, 0xdb8, self.first, a & 0xff, 0, 0, 0, b | 1));
        }
        let third = self.first + (number / 254 % u64::from(self.size)) as u16;
        let host = (number % 254) as u8 + 1;
        Address::V4(Ipv4Addr::new(198, 18 + (third >> 8) as u8, third as u8, host))
    }

    /// In CIDR notation.
    pub(super) fn cidr(&self) -> String {
        if self.size == 0 {
            return format!("2001:db8:{:x}::/48", self.first);
        }
        let length = 24 - self.size.trailing_zeros();
        format!("198.{}.{}.0/{length}", 18 + (self.first >> 8), self.first & 0xff)
    }

    fn holds(&self, address: Address) -> bool {
        match address {
            Address::V4(ip) if self.size > 0 => {
                let [a, b, c, _] = ip.octets();
                let third = (u16::from(b).wrapping_sub(18) << 8) | u16::from(c);
                a == 198 && (18..=19).contains(&b) && (self.first..self.first + self.size).contains(&third)
            }
            Address::V6(ip) => self.size == 0 && ip.segments()[..3] == [0x2001, 0xdb8, self.first],
            _ => false,
        }
    }
}

/// The block that holds an address, if it is one of ours.
pub(super) fn block_of(address: Address) -> Option<&'static Block> {
    BLOCKS.iter().find(|b| b.holds(address))
}

/// The numbers of the blocks for which `keep` holds.
pub(super) fn blocks_where(keep: impl Fn(&Block) -> bool) -> Vec<usize> {
    BLOCKS.iter().enumerate().filter(|(_, b)| keep(b)).map(|(i, _)| i).collect()
}

/// The first block of this class in this country.
pub(super) fn block(class: &str, country: &str) -> usize {
    BLOCKS
        .iter()
        .position(|b| b.class == class && b.country == country && b.size > 0)
        .expect("every office country has each class of access")
}

/// `networks.csv`: a row per block.
pub(super) fn csv() -> String {
    let mut text = String::from("network,country,asn,as_name,class\n");
    for b in BLOCKS {
        text.extend([&b.cidr(), ",", b.country, ",", &b.asn.to_string(), ",", b.as_name, ",", b.class, "\n"]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_do_not_overlap_and_hold_their_own_addresses() {
        let mut seen = std::collections::BTreeSet::new();
        for b in BLOCKS {
            assert!(b.size == 0 || b.size.is_power_of_two() && b.first % b.size == 0, "{}", b.cidr());
            for third in b.first..b.first + b.size {
                assert!(third < 512 && seen.insert(third), "{}", b.cidr());
            }
            for n in [0, 1, 253, 254, 1_000_000, u64::MAX] {
                assert_eq!(block_of(b.address(n)).map(Block::cidr), Some(b.cidr()));
            }
        }
    }
}
