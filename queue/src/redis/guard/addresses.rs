//! Where a connection may lead. Addresses are checked after a name is resolved, so that no spelling and no name server gets
//! around it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use redis::{ErrorKind, RedisError};

/// A range of addresses, in the notation `10.0.0.0/8`; without a slash it is one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// The network of this one address.
    pub fn of(address: IpAddr) -> Self {
        let address = plain(address);
        Self { address, prefix: if address.is_ipv4() { 32 } else { 128 } }
    }

    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                u32::from(network) & mask == u32::from(address) & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                u128::from(network) & mask == u128::from(address) & mask
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text}: not a range of addresses such as 10.0.0.0/8 or fd00::/8");
        let (address, prefix) = text.trim().split_once('/').unwrap_or((text.trim(), ""));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = if prefix.is_empty() { longest } else { prefix.parse().map_err(|_| wrong())? };
        if prefix > longest { Err(wrong()) } else { Ok(Self { address, prefix }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Which addresses may be dialled. Link-local ones (and with them the metadata service of a cloud), multicast and the
/// unspecified address are denied unless allowed by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressPolicy {
    /// Denied too, loopback included.
    pub deny_loopback: bool,
    /// More networks that are denied.
    pub denied: Vec<Network>,
    /// Networks that are allowed although a rule denies them.
    pub allowed: Vec<Network>,
}

/// Services of clouds that are not link-local but known to all machines of one.
const METADATA: [IpAddr; 3] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
];

impl AddressPolicy {
    /// Whether `address` may be dialled.
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = plain(address);
        let within = |networks: &[Network]| networks.iter().any(|network| network.contains(address));
        within(&self.allowed) || !(self.is_special(address) || within(&self.denied))
    }

    fn is_special(&self, address: IpAddr) -> bool {
        let is_local = match address {
            IpAddr::V4(address) => {
                address.is_link_local() || address.is_multicast() || address.is_broadcast() || address.octets()[0] == 0
            }
            IpAddr::V6(address) => {
                address.is_unicast_link_local() || address.is_multicast() || address.is_unspecified()
            }
        };
        is_local || METADATA.contains(&address) || (self.deny_loopback && address.is_loopback())
    }
}

/// The IPv4 address that an IPv6 one stands for (mapped, compatible, NAT64 or 6to4), else the address itself.
fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(six) = address else { return address };
    let segments = six.segments();
    let four = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match segments {
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => four(high, low),
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            four(high, low)
        }
        _ => address,
    }
}

/// What is said of an address that may not be dialled. It is never tried, so that the sentence tells nothing of what is there.
pub(crate) fn refused() -> RedisError {
    RedisError::from((ErrorKind::InvalidClientConfig, "it leads to an address that the operator does not connect to"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(policy: &AddressPolicy, address: &str) -> bool {
        policy.allows(address.parse().unwrap())
    }

    #[test]
    fn what_is_local_to_the_machine_is_denied_in_every_spelling() {
        let policy = AddressPolicy { deny_loopback: true, ..AddressPolicy::default() };
        for address in [
            "127.0.0.1",
            "127.8.8.8",
            "::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "fe80::1",
            "febf::1",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "fd00:ec2::254",
            "168.63.129.16",
        ] {
            assert!(!allows(&policy, address), "{address}");
        }
        for address in ["10.0.0.1", "192.168.0.1", "8.8.8.8", "fd00::1", "2001:db8::1", "::ffff:10.0.0.1"] {
            assert!(allows(&policy, address), "{address}");
        }
    }

    #[test]
    fn lists_add_and_except() {
        let network = |text: &str| text.parse::<Network>().unwrap();
        let policy = AddressPolicy {
            deny_loopback: true,
            denied: vec![network("10.96.0.1"), network("fd00::/8"), network("0.0.0.0/0")],
            allowed: vec![network("127.0.0.0/8"), network("10.1.0.0/16")],
        };
        for (address, expected) in [
            ("10.96.0.1", false),
            ("::ffff:10.96.0.1", false),
            ("fd12::1", false),
            ("127.0.0.1", true),
            ("10.1.2.3", true),
            ("10.2.2.3", false),
            ("2001:db8::1", true),
        ] {
            assert_eq!(allows(&policy, address), expected, "{address}");
        }
        assert!("10.0.0.0/33".parse::<Network>().is_err() && "somewhere".parse::<Network>().is_err());
        assert_eq!(network("10.0.0.0/8").to_string(), "10.0.0.0/8");
    }
}
