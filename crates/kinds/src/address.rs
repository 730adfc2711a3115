//! Addresses and ranges of addresses in fields of today, which take the canonical form only, and warnings about those in
//! older fields, which take others too. Source: upstream's `util/validation/ip.go`.

use crate::check::{cidr_message, ip_message};
use meta::Path;
use std::net::{IpAddr, Ipv4Addr};

/// What is wrong with an address that must be in its canonical form.
pub(crate) fn canonical_ip_message(text: &str) -> Option<String> {
    if let Some(message) = ip_message(text) {
        return Some(message.to_string());
    }
    let canonical = text.parse::<IpAddr>().ok()?.to_string();
    (canonical != text).then(|| format!("must be in canonical form ({canonical:?})"))
}

/// The same of a range.
pub(crate) fn canonical_cidr_message(text: &str) -> Option<String> {
    if let Some(message) = cidr_message(text) {
        return Some(message.to_string());
    }
    let (address, bits) = text.split_once('/')?;
    let canonical = format!("{}/{bits}", address.parse::<IpAddr>().ok()?);
    (canonical != text).then(|| format!("must be in canonical form ({canonical:?})"))
}

/// A range as its first address and the number of bits that all of its addresses share; also one whose numbers have
/// leading zeros, or an IPv4 one in the form of IPv6.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    address: IpAddr,
    /// As written, and those that are left.
    bits: u32,
    rest: u32,
}

impl Range {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let digits = !bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit());
        let (address, bits) = (sloppy(address)?, bits.parse::<u32>().ok().filter(|_| digits)?);
        let most = if address.is_ipv4() { 32 } else { 128 };
        let rest = u32::checked_sub(most, bits)?;
        let address = address.to_canonical();
        Some(Self { address, bits, rest })
    }

    pub(crate) fn is_ipv4(self) -> bool {
        self.address.is_ipv4()
    }

    /// All of the other's addresses are in here, and others too.
    pub(crate) fn is_wider_than(self, other: Self) -> bool {
        let head = |address| match address {
            IpAddr::V4(ip) => u128::from(u32::from(ip)).checked_shr(self.rest),
            IpAddr::V6(ip) => u128::from(ip).checked_shr(self.rest),
        };
        let same = head(self.address).unwrap_or(0) == head(other.address).unwrap_or(0);
        self.is_ipv4() == other.is_ipv4() && self.bits < other.bits && same
    }
}

/// An address whose parts may have leading zeros.
fn sloppy(text: &str) -> Option<IpAddr> {
    let plain = |part: &str| match part.trim_start_matches('0') {
        "" if !part.is_empty() => "0".to_string(),
        rest => rest.to_string(),
    };
    let zeroless = text.split('.').map(plain).collect::<Vec<_>>().join(".");
    text.parse::<IpAddr>()
        .ok()
        .or_else(|| zeroless.parse::<Ipv4Addr>().map(IpAddr::V4).ok())
}

pub(crate) fn is_ip(text: &str) -> bool {
    sloppy(text).is_some()
}

/// A range that is valid, but not written as it should be.
pub(crate) fn cidr_warning(path: &Path, text: &str) -> Option<String> {
    let (address, bits) = text.split_once('/')?;
    let address = address.parse::<IpAddr>().ok().filter(IpAddr::is_ipv6)?;
    let canonical = format!("{address}/{bits}");
    (canonical != text).then(|| {
        format!("{path}: IPv6 CIDR value {text:?} should be in RFC 5952 canonical format ({canonical:?})")
    })
}

/// The same of an address.
pub(crate) fn ip_warning(path: &Path, text: &str) -> Option<String> {
    let address = text.parse::<IpAddr>().ok().filter(IpAddr::is_ipv6)?;
    let canonical = address.to_string();
    (canonical != text).then(|| {
        format!("{path}: IPv6 address {text:?} should be in RFC 5952 canonical format ({canonical:?})")
    })
}
