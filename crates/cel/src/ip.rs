//! Addresses and networks: Kubernetes' `ip` and `cidr` functions.

use crate::functions::Context;
use crate::strings::quoted;
use crate::value::{Outcome, Value, fail, no_overload};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// A network: an address in it and how many leading bits it fixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    pub address: IpAddr,
    pub bits: u8,
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Cidr {
    fn masked(self) -> Self {
        let address = match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                IpAddr::V4((u32::from(address) & mask).into())
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                IpAddr::V6((u128::from(address) & mask).into())
            }
        };
        Self {
            address,
            bits: self.bits,
        }
    }

    fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4() && Self { address, ..self }.masked() == self.masked()
    }
}

fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some())
}

fn parse_ip(text: &str) -> Outcome<IpAddr> {
    let quote = quoted(text);
    if let Some((address, zone)) = text.split_once('%')
        && address.parse::<Ipv6Addr>().is_ok()
        && !zone.is_empty()
    {
        return fail(format!("IP address {quote} with zone value is not allowed"));
    }
    let Ok(address) = text.parse::<IpAddr>() else {
        let reason = why_no_ip(text);
        return fail(format!(
            "IP Address {quote} parse error during conversion from string: ParseAddr({quote}): {reason}"
        ));
    };
    if is_mapped(address) {
        return fail(format!("IPv4-mapped IPv6 address {quote} is not allowed"));
    }
    Ok(address)
}

/// Go's words for what is wrong with an address.
fn why_no_ip(text: &str) -> String {
    let v4 = text.find('.').is_some_and(|dot| !text[..dot].contains(':'));
    if !v4 && !text.contains(':') {
        return "unable to parse IP".to_string();
    }
    if !v4 {
        return format!(
            "each colon-separated field must have at least one digit (at {})",
            quoted(text)
        );
    }
    let fields: Vec<&str> = text.split('.').collect();
    for field in &fields {
        if let Some(at) = field.find(|c: char| !c.is_ascii_digit()) {
            let rest = &text[text.find(field).unwrap_or(0) + at..];
            return format!("unexpected character (at {})", quoted(rest));
        }
        if field.is_empty() {
            return "IPv4 field must have at least one digit".to_string();
        }
        if field.len() > 1 && field.starts_with('0') {
            return "IPv4 field has octet with leading zero".to_string();
        }
        if field.parse::<u8>().is_err() {
            return "IPv4 field has value >255".to_string();
        }
    }
    if fields.len() > 4 {
        "IPv4 address too long"
    } else {
        "IPv4 address too short"
    }
    .to_string()
}

fn parse_cidr(text: &str) -> Outcome<Cidr> {
    let failed = |reason: &str| {
        let quote = quoted(text);
        fail(format!(
            "network address parse error during conversion from string: netip.ParsePrefix({quote}): {reason}"
        ))
    };
    let Some((address, bits)) = text.rsplit_once('/') else {
        return failed("no '/'");
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        if address.contains('%') {
            return failed("IPv6 zones cannot be present in a prefix");
        }
        return failed(&format!("ParseAddr({}): {}", quoted(address), why_no_ip(address)));
    };
    if bits.len() > 1 && !bits.starts_with(|c: char| ('1'..='9').contains(&c)) {
        return failed(&format!("bad bits after slash: {}", quoted(bits)));
    }
    let Ok(bits) = bits.parse::<u32>() else {
        return failed(&format!("bad bits after slash: {}", quoted(bits)));
    };
    let Some(bits) = u8::try_from(bits)
        .ok()
        .filter(|bits| *bits <= if address.is_ipv4() { 32 } else { 128 })
    else {
        return failed("prefix length out of range");
    };
    if is_mapped(address) {
        return fail(format!(
            "IPv4-mapped IPv6 address {} is not allowed",
            quoted(text)
        ));
    }
    Ok(Cidr { address, bits })
}

fn parse_network<'a>(text: &str) -> Outcome<Value<'a>> {
    match parse_cidr(text) {
        Ok(cidr) => Ok(Value::Cidr(cidr)),
        Err(error) => fail(format!(
            "network address parse error during conversion from string: {error}"
        )),
    }
}

pub(crate) fn call<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Outcome<Value<'a>> {
    match (context.name, args) {
        ("ip", [Value::String(text)]) => parse_ip(text).map(Value::Ip),
        ("ip", [Value::Cidr(cidr)]) => Ok(Value::Ip(cidr.address)),
        ("isIP", [Value::String(text)]) => Ok(Value::Bool(parse_ip(text).is_ok())),
        ("ip.isCanonical", [Value::String(text)]) => Ok(Value::Bool(parse_ip(text)?.to_string() == **text)),
        ("cidr", [Value::String(text)]) => parse_network(text),
        ("isCIDR", [Value::String(text)]) => Ok(Value::Bool(parse_cidr(text).is_ok())),
        ("containsIP", [Value::Cidr(cidr), Value::String(text)]) => match parse_ip(text) {
            Ok(ip) => Ok(Value::Bool(cidr.contains(ip))),
            Err(_) => no_overload(),
        },

        ("containsIP", [Value::Cidr(cidr), Value::Ip(ip)]) => Ok(Value::Bool(cidr.contains(*ip))),
        ("containsCIDR", [Value::Cidr(cidr), Value::String(text)]) => match parse_network(text)? {
            Value::Cidr(other) => Ok(Value::Bool(
                cidr.bits <= other.bits && cidr.contains(other.address),
            )),
            _ => no_overload(),
        },
        ("containsCIDR", [Value::Cidr(cidr), Value::Cidr(other)]) => Ok(Value::Bool(
            cidr.bits <= other.bits && cidr.contains(other.address),
        )),
        ("prefixLength", [Value::Cidr(cidr)]) => Ok(Value::Int(i64::from(cidr.bits))),
        ("masked", [Value::Cidr(cidr)]) => Ok(Value::Cidr(cidr.masked())),
        ("family", [Value::Ip(ip)]) => Ok(Value::Int(if ip.is_ipv4() { 4 } else { 6 })),
        (name, [Value::Ip(ip)]) => Ok(Value::Bool(has_property(name, *ip))),
        _ => no_overload(),
    }
}

fn has_property(name: &str, ip: IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.segments()[0] & 0xffc0 == 0xfe80,
    };
    match name {
        "isUnspecified" => ip.is_unspecified(),
        "isLoopback" => ip.is_loopback(),
        "isLinkLocalUnicast" => link_local,
        "isLinkLocalMulticast" => match ip {
            IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
            IpAddr::V6(ip) => ip.segments()[0] & 0xff0f == 0xff02,
        },
        _ => {
            let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
            !(broadcast || ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || link_local)
        }
    }
}
