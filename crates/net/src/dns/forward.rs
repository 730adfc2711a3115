//! Names that are not the cluster's go to the host's resolvers, from the host's own namespace.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::resolv::parse_resolv_conf;

/// How long one resolver may take; then the next one is asked.
const RESOLVER_TIMEOUT: Duration = Duration::from_secs(2);
/// Resolvers asked at most, as C libraries do.
const RESOLVERS_MAX: usize = 3;
const DNS_PORT: u16 = 53;

/// Who answers for the rest of the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upstreams {
    /// The nameservers in this file, read anew for each question (the host may move between networks).
    ResolvConf(PathBuf),
    Fixed(Vec<SocketAddr>),
}

impl Default for Upstreams {
    fn default() -> Self {
        Self::ResolvConf("/etc/resolv.conf".into())
    }
}

impl Upstreams {
    async fn list(&self) -> io::Result<Vec<SocketAddr>> {
        let mut list = match self {
            Self::Fixed(list) => list.clone(),
            Self::ResolvConf(path) => {
                let text = tokio::fs::read_to_string(path).await?;
                let servers = parse_resolv_conf(&text).nameservers;
                // A scope id (fe80::1%eth0) is not understood here; such a resolver is left out.
                servers
                    .iter()
                    .filter_map(|s| s.parse::<IpAddr>().ok())
                    .map(|ip| SocketAddr::new(ip, DNS_PORT))
                    .collect()
            }
        };
        list.truncate(RESOLVERS_MAX);
        Ok(list)
    }

    /// Asks one after the other and returns the first answer, as it came.
    pub(super) async fn ask(&self, question: &[u8], over_tcp: bool) -> io::Result<Vec<u8>> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no resolver to forward to");
        for server in self.list().await? {
            let asked = async {
                if over_tcp {
                    ask_tcp(server, question).await
                } else {
                    ask_udp(server, question).await
                }
            };
            last = match tokio::time::timeout(RESOLVER_TIMEOUT, asked).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(e)) => e,
                Err(_) => io::ErrorKind::TimedOut.into(),
            };
            tracing::debug!(%server, "a resolver of the host did not answer: {last}");
        }
        Err(last)
    }
}

async fn ask_udp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr = if server.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    // A new socket, and so a new random port, for each question: a forged answer must guess it.
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; 65_535];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let answer = &buffer[..length];
        if answers(question, answer) {
            return Ok(answer.to_vec());
        }
    }
}

async fn ask_tcp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    write_message(&mut stream, question).await?;
    let answer = read_message(&mut stream).await?;
    if answers(question, &answer) {
        Ok(answer)
    } else {
        Err(io::Error::other("an answer to another question"))
    }
}

/// The same id, a response, and the same question (byte for byte but for case).
fn answers(question: &[u8], answer: &[u8]) -> bool {
    if answer.len() < 12 || answer[..2] != question[..2] || answer[2] & 0x80 == 0 {
        return false;
    }
    let name = |message: &[u8]| -> Vec<u8> {
        let end = message
            .get(12..)
            .and_then(|rest| rest.iter().position(|b| *b == 0))
            .map_or(12, |n| 12 + n + 5);
        message.get(12..end).unwrap_or_default().to_ascii_lowercase()
    };
    name(question) == name(answer)
}

/// DNS over TCP: two bytes of length, then the message.
pub(super) async fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

pub(super) async fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let too_long = |_| io::Error::new(io::ErrorKind::InvalidData, "a DNS message of more than 64 KiB");
    let length = u16::try_from(message.len()).map_err(too_long)?;
    let mut framed = Vec::with_capacity(message.len() + 2);
    framed.extend(length.to_be_bytes());
    framed.extend(message);
    stream.write_all(&framed).await
}
