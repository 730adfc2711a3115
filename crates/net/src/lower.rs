//! Rules as the kernel's expressions: one function for each kind of rule of [`crate::table`].

use std::net::Ipv4Addr;
use std::time::Duration;

use nlink::netlink::nftables::{
    CmpOp, DynsetExpr, DynsetOp, Expr, Family, LookupExpr, MasqExpr, MetaKey, NumgenKind, PayloadBase,
    RawExpr, Register, Verdict,
};

use crate::config::Cidr;
use crate::pods::LINK_PREFIX;
use crate::services::Protocol;
use crate::table::{
    DNS_INNER_PORT, DNS_PORT, EGRESS_MARK, EGRESS_TCP_PORT, EGRESS_UDP_PORT, LOOPBACK, Rule, Source,
};

const ICMP_NET_UNREACHABLE: u8 = 0;
const ICMP_PORT_UNREACHABLE: u8 = 3;
const REJECT_ICMP: u32 = 0;
const REJECT_RESET: u32 = 1;

use Register::{
    Reg32_00 as W0, Reg32_01 as W1, Reg32_02 as W2, Reg32_03 as W3, Reg32_04 as W4, Reg32_05 as W5,
    Reg32_06 as W6,
};

fn saddr(dreg: Register) -> Expr {
    Expr::Payload {
        dreg,
        base: PayloadBase::Network,
        offset: 12,
        len: 4,
    }
}

fn daddr(dreg: Register) -> Expr {
    Expr::Payload {
        dreg,
        base: PayloadBase::Network,
        offset: 16,
        len: 4,
    }
}

fn protocol(dreg: Register) -> Expr {
    Expr::Meta {
        dreg,
        key: MetaKey::L4Proto,
    }
}

fn dport(dreg: Register) -> Expr {
    Expr::Payload {
        dreg,
        base: PayloadBase::Transport,
        offset: 2,
        len: 2,
    }
}

fn draw(dreg: Register, modulus: u32) -> Expr {
    Expr::Numgen {
        dreg,
        kind: NumgenKind::Random,
        modulus,
        offset: 0,
    }
}

fn lookup(set: &str, sreg: Register, dreg: Option<Register>) -> Expr {
    let expr = LookupExpr::new(set, sreg);
    match dreg {
        Some(dreg) => expr.dreg(dreg).into(),
        None => expr.into(),
    }
}

fn equals(sreg: Register, data: Vec<u8>) -> Expr {
    Expr::Cmp {
        sreg,
        op: CmpOp::Eq,
        data,
    }
}

fn in_network(address: Expr, network: Cidr, inside: bool) -> [Expr; 3] {
    let op = if inside { CmpOp::Eq } else { CmpOp::Neq };
    [
        address,
        Expr::Bitwise {
            sreg: W0,
            dreg: W0,
            len: 4,
            mask: network.mask().octets().to_vec(),
            xor: vec![0; 4],
        },
        Expr::Cmp {
            sreg: W0,
            op,
            data: network.base().octets().to_vec(),
        },
    ]
}

/// The link's name begins with `name`.
fn link(key: MetaKey, name: &str) -> [Expr; 2] {
    [Expr::Meta { dreg: W0, key }, equals(W0, name.as_bytes().to_vec())]
}

fn marked(op: CmpOp) -> [Expr; 2] {
    [
        Expr::Meta {
            dreg: W0,
            key: MetaKey::Mark,
        },
        Expr::Cmp {
            sreg: W0,
            op,
            data: EGRESS_MARK.to_ne_bytes().to_vec(),
        },
    ]
}

/// `dnat ip to <addr register>:<port register>`; nlink's own form takes no registers.
fn dnat(addr: Register, port: Register) -> Expr {
    const DNAT: u32 = 1;
    const NAT_REG_PROTO_MIN: u16 = 5;
    nat(DNAT, addr, &[(NAT_REG_PROTO_MIN, port as u32)])
}

fn dnat_to(ip: Ipv4Addr, port: u16) -> [Expr; 3] {
    [
        load(W4, &ip.octets()),
        load(W5, &port.to_be_bytes()),
        dnat(W4, W5),
    ]
}

fn snat(addr: Register) -> Expr {
    const SNAT: u32 = 0;
    nat(SNAT, addr, &[])
}

fn nat(kind: u32, addr: Register, more: &[(u16, u32)]) -> Expr {
    const NAT_TYPE: u16 = 1;
    const NAT_FAMILY: u16 = 2;
    const NAT_REG_ADDR_MIN: u16 = 3;
    let attrs = [
        (NAT_TYPE, kind),
        (NAT_FAMILY, Family::Ip as u32),
        (NAT_REG_ADDR_MIN, addr as u32),
    ];
    let mut data = Vec::with_capacity((attrs.len() + more.len()) * 8);
    for (kind, value) in attrs.iter().chain(more) {
        data.extend(8u16.to_ne_bytes());
        data.extend(kind.to_ne_bytes());
        data.extend(value.to_be_bytes());
    }
    RawExpr::new("nat", data).into()
}

fn remember(op: DynsetOp, data: Register, seconds: Option<u32>) -> Expr {
    let expr = DynsetExpr::new(op, "sticky", W0).sreg_data(data);
    match seconds {
        Some(seconds) => expr.timeout(Duration::from_secs(seconds.into())).into(),
        None => expr.into(),
    }
}

fn to_outside(from: Source, inside: &[Cidr]) -> Vec<Expr> {
    let mut exprs = match from {
        Source::Pods => link(MetaKey::IifName, LINK_PREFIX).to_vec(),
        Source::Node => Vec::new(),
    };
    exprs.extend(inside.iter().flat_map(|net| in_network(daddr(W0), *net, false)));
    exprs
}

fn is(number: Protocol) -> [Expr; 2] {
    [protocol(W0), equals(W0, vec![number.number()])]
}

/// The expressions of `rule`. Registers are 4 bytes wide here; a set's key is as many in a row as it has fields.
// LONG: one arm a rule, each the other side of `Rule::to_text`.
pub(crate) fn lower(rule: &Rule) -> Vec<Expr> {
    match rule {
        Rule::Dispatch => with_service([lookup("services", W0, Some(Register::Verdict))]),
        Rule::Random { endpoints } => {
            let choice = [
                draw(W3, *endpoints),
                lookup("backends", W0, Some(W4)),
                dnat(W4, W5),
            ];
            with_service(choice)
        }
        // The endpoint lands right behind the service's key, so that the two together are the key of `live`.
        Rule::StickyKnown { seconds } => with_client([
            lookup("sticky", W0, Some(W4)),
            lookup("live", W1, None),
            remember(DynsetOp::Update, W4, Some(*seconds)),
            dnat(W4, W5),
        ]),
        // The kernel wants a value even for a removal and ignores it.
        Rule::StickyForget => with_client([remember(DynsetOp::Delete, W0, None)]),
        Rule::StickyRandom { endpoints, seconds } => with_client([
            draw(W4, *endpoints),
            lookup("backends", W1, Some(W5)),
            remember(DynsetOp::Update, W5, Some(*seconds)),
            dnat(W5, W6),
        ]),
        Rule::Hairpin => {
            vec![
                saddr(W0),
                daddr(W1),
                lookup("hairpin", W0, None),
                MasqExpr::new().into(),
            ]
        }
        Rule::Dns { dns_ip, protocol } => {
            let mut exprs = vec![daddr(W0), equals(W0, dns_ip.octets().to_vec())];
            exprs.extend(is(*protocol));
            exprs.extend([dport(W0), equals(W0, DNS_PORT.to_be_bytes().to_vec())]);
            exprs.extend(dnat_to(*dns_ip, DNS_INNER_PORT));
            exprs
        }
        Rule::FromLoopback { node_ip } => {
            let mut exprs = in_network(saddr(W0), LOOPBACK, true).to_vec();
            exprs.extend(link(MetaKey::OifName, LINK_PREFIX));
            exprs.extend([load(W4, &node_ip.octets()), snat(W4)]);
            exprs
        }
        Rule::GuardLoopback => {
            let mut exprs = link(MetaKey::IifName, LINK_PREFIX).to_vec();
            exprs.extend(in_network(daddr(W0), LOOPBACK, true));
            exprs.push(Expr::Verdict(Verdict::Drop));
            exprs
        }
        Rule::EgressTcp {
            from,
            inside,
            node_ip,
        } => egress_tcp(*from, inside, *node_ip),
        Rule::EgressUdp { inside } => egress_udp(inside),
        Rule::EgressMark { inside } => {
            let mut exprs = to_outside(Source::Node, inside);
            exprs.extend(is(Protocol::Udp));
            exprs.extend(mark());
            exprs
        }
        Rule::EgressMarked => {
            // With its end: a name like `lo1` is another one.
            let mut exprs = link(MetaKey::IifName, "lo\0").to_vec();
            exprs.extend(marked(CmpOp::Eq));
            exprs.extend(is(Protocol::Udp));
            exprs.extend(tproxy());
            exprs.push(Expr::Verdict(Verdict::Accept));
            exprs
        }
        Rule::RefuseOutside { inside, reset } => {
            let mut exprs = to_outside(Source::Node, inside);
            exprs.extend(marked(CmpOp::Neq));
            exprs.extend(reject(*reset, ICMP_NET_UNREACHABLE));
            exprs
        }
        Rule::Refuse {
            services,
            except,
            reset,
        } => refuse(*services, *except, *reset),
    }
}

fn egress_tcp(from: Source, inside: &[Cidr], node_ip: Ipv4Addr) -> Vec<Expr> {
    let mut exprs = to_outside(from, inside);
    exprs.extend(is(Protocol::Tcp));
    exprs.extend(dnat_to(node_ip, EGRESS_TCP_PORT));
    exprs
}

fn egress_udp(inside: &[Cidr]) -> Vec<Expr> {
    let mut exprs = to_outside(Source::Pods, inside);
    exprs.extend(is(Protocol::Udp));
    exprs.extend(tproxy());
    exprs.extend(mark());
    exprs.push(Expr::Verdict(Verdict::Accept));
    exprs
}

fn tproxy() -> [Expr; 2] {
    [
        load(W4, &EGRESS_UDP_PORT.to_be_bytes()),
        Expr::Tproxy {
            family: Family::Ip as u8,
            sreg_addr: None,
            sreg_port: Some(W4),
        },
    ]
}

fn mark() -> [Expr; 2] {
    [
        load(W5, &EGRESS_MARK.to_ne_bytes()),
        Expr::MetaSet {
            key: MetaKey::Mark,
            sreg: W5,
        },
    ]
}

fn refuse(services: Cidr, except: Ipv4Addr, reset: bool) -> Vec<Expr> {
    let mut exprs = in_network(daddr(W0), services, true).to_vec();
    exprs.extend([
        daddr(W0),
        Expr::Cmp {
            sreg: W0,
            op: CmpOp::Neq,
            data: except.octets().to_vec(),
        },
    ]);
    exprs.extend(reject(reset, ICMP_PORT_UNREACHABLE));
    exprs
}

/// `reset`: TCP only.
fn reject(reset: bool, icmp_code: u8) -> Vec<Expr> {
    let mut exprs = Vec::new();
    let (reject_type, icmp_code) = match reset {
        true => (REJECT_RESET, 0),
        false => (REJECT_ICMP, icmp_code),
    };
    if reset {
        exprs.extend(is(Protocol::Tcp));
    }
    exprs.push(Expr::Reject {
        reject_type,
        icmp_code,
    });
    exprs
}

/// `ip daddr . meta l4proto . th dport` from `W0` on, then `rest`.
fn with_service<const N: usize>(rest: [Expr; N]) -> Vec<Expr> {
    [daddr(W0), protocol(W1), dport(W2)]
        .into_iter()
        .chain(rest)
        .collect()
}

/// `ip saddr . ip daddr . meta l4proto . th dport` from `W0` on, then `rest`.
fn with_client<const N: usize>(rest: [Expr; N]) -> Vec<Expr> {
    [saddr(W0), daddr(W1), protocol(W2), dport(W3)]
        .into_iter()
        .chain(rest)
        .collect()
}

fn load(dreg: Register, data: &[u8]) -> Expr {
    Expr::Immediate {
        dreg,
        data: data.to_vec(),
    }
}
