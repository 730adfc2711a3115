//! From a DNS message to its answer: pure. What the table does not decide is the server's to forward.

use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::table::{Data, DnsTable, Found};

/// As CoreDNS' kubernetes plugin: short, for endpoints come and go.
pub const TTL_SECONDS: u32 = 5;
/// What we say we take, and the most that we send over UDP whatever the client takes.
pub const UDP_PAYLOAD_MAX: u16 = 4096;
/// ExternalNames that point at each other are followed so far.
const CNAMES_MAX: usize = 8;

/// What to do with a message.
#[derive(Debug)]
pub enum Reply {
    /// Send this.
    Message(Box<Message>),
    /// Ask the host's resolvers the same.
    Forward,
    /// Ask the host's resolvers for `query` and append their answers to `partial` (an ExternalName).
    Chase { partial: Box<Message>, query: Query },
    /// Not a request: no answer, so that two servers cannot talk for ever.
    Ignore,
}

/// Answers `request`. `turn` rotates lists of addresses, so that clients spread.
pub fn answer(table: &DnsTable, request: &Message, turn: usize) -> Reply {
    if request.metadata.message_type != MessageType::Query {
        return Reply::Ignore;
    }
    let mut reply = reply_to(request);
    let [query] = request.queries.as_slice() else {
        return failed(reply, ResponseCode::FormErr);
    };
    if request.metadata.op_code != OpCode::Query {
        return failed(reply, ResponseCode::NotImp);
    }
    if request.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
        return failed(reply, ResponseCode::BADVERS);
    }
    if !matches!(query.query_class, DNSClass::IN | DNSClass::ANY) {
        return failed(reply, ResponseCode::Refused);
    }
    let mut owner = query.name.clone();
    for _ in 0..CNAMES_MAX {
        let data = match table.find(&key_of(&owner)) {
            Found::Data(data) => data.to_vec(),
            Found::Pod(ip) => vec![Data::A(ip)],
            Found::Foreign if reply.answers.is_empty() => return Reply::Forward,
            Found::Foreign => {
                let mut query = query.clone();
                query.name = owner;
                return Reply::Chase {
                    partial: Box::new(reply),
                    query,
                };
            }
            Found::Missing => {
                reply.metadata.response_code = ResponseCode::NXDomain;
                return negative(table, reply);
            }
        };
        reply.metadata.authoritative = true;
        match data.first() {
            Some(Data::Cname(target)) if query.query_type != RecordType::CNAME => {
                reply.add_answer(record(&owner, RData::CNAME(CNAME(target.clone()))));
                owner = target.clone();
            }
            _ => {
                return fill(table, reply, &owner, query.query_type, &data, turn);
            }
        }
    }
    reply.answers.clear();
    failed(reply, ResponseCode::ServFail)
}

/// An answer with nothing in it but the question.
pub fn reply_to(request: &Message) -> Message {
    let mut reply = Message::new(
        request.metadata.id,
        MessageType::Response,
        request.metadata.op_code,
    );
    reply.metadata = Metadata::response_from_request(&request.metadata);
    reply.metadata.recursion_available = true;
    reply.queries = request.queries.clone();
    if request.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_PAYLOAD_MAX);
        reply.edns = Some(edns);
    }
    reply
}

/// An answer that says only that it failed.
pub fn failure(request: &Message, code: ResponseCode) -> Message {
    let mut reply = reply_to(request);
    reply.metadata.response_code = code;
    reply
}

/// What the client takes over UDP.
pub fn udp_limit(request: &Message) -> usize {
    usize::from(request.max_payload().clamp(512, UDP_PAYLOAD_MAX))
}

/// The message in at most `limit` bytes: first without additional records, then with as many answers as fit and
/// the truncation flag, upon which clients ask again over TCP.
pub fn encode(mut message: Message, limit: usize) -> Result<Vec<u8>, hickory_proto::ProtoError> {
    let bytes = message.to_vec()?;
    if bytes.len() <= limit {
        return Ok(bytes);
    }
    message.additionals.clear();
    let whole = message.to_vec()?;
    if whole.len() <= limit {
        return Ok(whole);
    }
    message.metadata.truncation = true;
    let answers = std::mem::take(&mut message.answers);
    let mut best = message.to_vec()?;
    // The size grows with the number of answers, but not evenly (names are compressed), so it is searched for.
    let (mut fits, mut too_many) = (0, answers.len());
    while fits + 1 < too_many {
        let count = fits.midpoint(too_many);
        message.answers = answers[..count].to_vec();
        let bytes = message.to_vec()?;
        if bytes.len() <= limit {
            (best, fits) = (bytes, count);
        } else {
            too_many = count;
        }
    }
    Ok(best)
}

fn key_of(name: &Name) -> String {
    let mut key = name.to_ascii().to_ascii_lowercase();
    if key.ends_with('.') {
        key.pop();
    }
    key
}

fn record(owner: &Name, data: RData) -> Record {
    Record::from_rdata(owner.clone(), TTL_SECONDS, data)
}

fn failed(mut reply: Message, code: ResponseCode) -> Reply {
    reply.metadata.response_code = code;
    Reply::Message(Box::new(reply))
}

fn fill(
    table: &DnsTable,
    mut reply: Message,
    owner: &Name,
    kind: RecordType,
    data: &[Data],
    turn: usize,
) -> Reply {
    let wanted = |data: &&Data| match data {
        Data::A(_) => matches!(kind, RecordType::A | RecordType::ANY),
        Data::Srv { .. } => matches!(kind, RecordType::SRV | RecordType::ANY),
        Data::Cname(_) => matches!(kind, RecordType::CNAME | RecordType::ANY),
        Data::Ptr(_) => matches!(kind, RecordType::PTR | RecordType::ANY),
        Data::Txt(_) => matches!(kind, RecordType::TXT | RecordType::ANY),
    };
    let mut found: Vec<&Data> = data.iter().filter(wanted).collect();
    if found.is_empty() {
        return negative(table, reply);
    }
    let turn = turn % found.len();
    found.rotate_left(turn);
    // Weights share 100 out among the targets, as CoreDNS does.
    let weight = u16::try_from(100 / found.len().max(1)).unwrap_or(0).max(1);
    for data in found {
        let data = match data {
            Data::A(ip) => RData::A(A(*ip)),
            Data::Srv { port, target } => {
                for data in addresses_of(table, target) {
                    let glue = record(target, data);
                    if !reply.additionals.contains(&glue) {
                        reply.add_additional(glue);
                    }
                }
                RData::SRV(SRV::new(0, weight, *port, target.clone()))
            }
            Data::Cname(target) => RData::CNAME(CNAME(target.clone())),
            Data::Ptr(target) => RData::PTR(PTR(target.clone())),
            Data::Txt(text) => RData::TXT(TXT::new(vec![(*text).to_owned()])),
        };
        reply.add_answer(record(owner, data));
    }
    Reply::Message(Box::new(reply))
}

fn addresses_of(table: &DnsTable, target: &Name) -> Vec<RData> {
    match table.find(&key_of(target)) {
        Found::Data(data) => data
            .iter()
            .filter_map(|data| match data {
                Data::A(ip) => Some(RData::A(A(*ip))),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// No such name, or nothing of this type: the zone's SOA says for how long that may be remembered.
fn negative(table: &DnsTable, mut reply: Message) -> Reply {
    reply.metadata.authoritative = true;
    let domain = &table.zone().domain;
    let name = |prefix: &str| {
        let mut name = Name::from_ascii(format!("{prefix}{domain}")).unwrap_or_else(|_| Name::root());
        name.set_fqdn(true);
        name
    };
    let soa = SOA::new(
        name("ns.dns."),
        name("hostmaster."),
        1,
        7200,
        1800,
        86_400,
        TTL_SECONDS,
    );
    reply.add_authority(record(&name(""), RData::SOA(soa)));
    Reply::Message(Box::new(reply))
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
