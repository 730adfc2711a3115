//! Rules as the kernel's expressions: one function for each kind of rule of [`crate::ruleset`].

use std::net::Ipv4Addr;
use std::time::Duration;

use nlink::netlink::nftables::{
    CmpOp, DynsetExpr, DynsetOp, Expr, Family, LookupExpr, MasqExpr, MetaKey, NumgenKind, PayloadBase,
    RawExpr, Register, Verdict,
};

use crate::config::Cidr;
use crate::ruleset::{EGRESS_MARK, EGRESS_TCP_PORT, EGRESS_UDP_PORT, Rule};
use crate::services::Protocol;

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

fn in_network(network: Cidr, inside: bool) -> [Expr; 3] {
    let op = if inside { CmpOp::Eq } else { CmpOp::Neq };
    [
        daddr(W0),
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

/// `dnat ip to <addr register>:<port register>`; nlink's own form takes no registers.
fn dnat(addr: Register, port: Register) -> Expr {
    const NAT_TYPE: u16 = 1;
    const NAT_FAMILY: u16 = 2;
    const NAT_REG_ADDR_MIN: u16 = 3;
    const NAT_REG_PROTO_MIN: u16 = 5;
    const DNAT: u32 = 1;
    let attrs = [
        (NAT_TYPE, DNAT),
        (NAT_FAMILY, Family::Ip as u32),
        (NAT_REG_ADDR_MIN, addr as u32),
        (NAT_REG_PROTO_MIN, port as u32),
    ];
    let mut data = Vec::with_capacity(attrs.len() * 8);
    for (kind, value) in attrs {
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

fn from_pods_to_outside(inside: &[Cidr], number: u8) -> Vec<Expr> {
    let prefix = crate::pods::LINK_PREFIX.as_bytes().to_vec();
    let mut exprs = vec![
        Expr::Meta {
            dreg: W0,
            key: MetaKey::IifName,
        },
        equals(W0, prefix),
    ];
    exprs.extend(inside.iter().flat_map(|network| in_network(*network, false)));
    exprs.extend([protocol(W0), equals(W0, vec![number])]);
    exprs
}

/// The expressions of `rule`. Registers are 4 bytes wide here; a set's key is as many in a row as it has fields.
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
        Rule::EgressTcp { inside, node_ip } => egress_tcp(inside, *node_ip),
        Rule::EgressUdp { inside } => egress_udp(inside),
        Rule::Refuse {
            services,
            except,
            reset,
        } => refuse(*services, *except, *reset),
    }
}

fn egress_tcp(inside: &[Cidr], node_ip: Ipv4Addr) -> Vec<Expr> {
    let mut exprs = from_pods_to_outside(inside, Protocol::Tcp.number());
    exprs.extend([
        load(W4, &node_ip.octets()),
        load(W5, &EGRESS_TCP_PORT.to_be_bytes()),
        dnat(W4, W5),
    ]);
    exprs
}

fn egress_udp(inside: &[Cidr]) -> Vec<Expr> {
    let mut exprs = from_pods_to_outside(inside, Protocol::Udp.number());
    exprs.push(load(W4, &EGRESS_UDP_PORT.to_be_bytes()));
    exprs.push(Expr::Tproxy {
        family: Family::Ip as u8,
        sreg_addr: None,
        sreg_port: Some(W4),
    });
    exprs.push(load(W5, &EGRESS_MARK.to_ne_bytes()));
    exprs.push(Expr::MetaSet {
        key: MetaKey::Mark,
        sreg: W5,
    });
    exprs.push(Expr::Verdict(Verdict::Accept));
    exprs
}

fn refuse(services: Cidr, except: Ipv4Addr, reset: bool) -> Vec<Expr> {
    let mut exprs = in_network(services, true).to_vec();
    exprs.extend([
        daddr(W0),
        Expr::Cmp {
            sreg: W0,
            op: CmpOp::Neq,
            data: except.octets().to_vec(),
        },
    ]);
    let (reject_type, icmp_code) = if reset {
        (REJECT_RESET, 0)
    } else {
        (REJECT_ICMP, ICMP_PORT_UNREACHABLE)
    };
    if reset {
        exprs.extend([protocol(W0), equals(W0, vec![Protocol::Tcp.number()])]);
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
