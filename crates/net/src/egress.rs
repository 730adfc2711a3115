//! The way out for pods: a relay in user space. The rules bring connections to the outside to a socket here;
//! the relay opens them again from the host's own namespace, so the host needs no NAT rule and no forwarding.
//!
//! A TCP client sees its connection accepted before the other side is dialled; when that fails, a reset.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, getsockopt, recvmsg, setsockopt, sockopt};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::cluster::ClusterNet;
use crate::config::EgressConfig;
use crate::relay::{DATAGRAM_BYTES, Flows, accept, pump, reset, within_dial_timeout};
use crate::sockets::Sockets;
use crate::table::{EGRESS_TCP_PORT, EGRESS_UDP_PORT};

/// Connections to the outside at once; further ones wait in the listener's backlog.
const CONNECTIONS_LIMIT: usize = 2048;

/// Why a destination is not dialled for a pod.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error("{0} is not an address that a pod may reach outside the cluster")]
    Special(Ipv4Addr),
    #[error("{0} is denied by the cluster's configuration")]
    Configured(Ipv4Addr),
}

/// Where a pod's connection to `original` goes, seen from the host.
pub fn destination(config: &EgressConfig, original: SocketAddrV4) -> Result<SocketAddrV4, Denied> {
    let ip = *original.ip();
    if config.host_alias == Some(ip) {
        return Ok(SocketAddrV4::new(Ipv4Addr::LOCALHOST, original.port()));
    }
    let special = ip.is_loopback() || ip.is_link_local() || ip.is_multicast() || ip.is_broadcast();
    if special || ip.octets()[0] == 0 {
        return Err(Denied::Special(ip));
    }
    if config.denied.iter().any(|net| net.contains(ip)) {
        return Err(Denied::Configured(ip));
    }
    Ok(original)
}

/// The running relay; dropping it ends it and its connections.
pub struct Egress {
    _ended: DropGuard,
}

impl Egress {
    /// Starts the relay. `None` when the cluster's configuration has no way out.
    pub async fn start(net: &ClusterNet) -> io::Result<Option<Self>> {
        let Some(mut config) = net.config().egress.clone() else {
            return Ok(None);
        };
        let ended = CancellationToken::new();
        let node_ip = net.config().node_ip;
        let tcp = net.listen(SocketAddrV4::new(node_ip, EGRESS_TCP_PORT)).await?;
        let udp = transparent(
            net.sockets(),
            SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, EGRESS_UDP_PORT),
            true,
        )
        .await?;
        // Destinations in here were not brought by the rules but asked for by somebody inside.
        config
            .denied
            .extend([net.config().pod_cidr, net.config().service_cidr]);
        config.denied.extend(crate::config::Cidr::new(node_ip, 32));
        let config = Arc::new(config);
        spawn(&ended, serve(tcp, config.clone(), ended.clone()));
        spawn(&ended, receive(udp, net.sockets().clone(), config, ended.clone()));
        Ok(Some(Self {
            _ended: ended.drop_guard(),
        }))
    }
}

fn spawn(ended: &CancellationToken, work: impl Future<Output = ()> + Send + 'static) {
    let ended = ended.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = work => {}
            () = ended.cancelled() => {}
        }
    });
}

async fn serve(listener: TcpListener, config: Arc<EgressConfig>, ended: CancellationToken) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_LIMIT));
    loop {
        let Ok(permit) = connections.clone().acquire_owned().await else {
            return;
        };
        let client = accept(&listener, "a pod's connection to the outside").await;
        tokio::spawn(forward(client, config.clone(), ended.clone(), permit));
    }
}

async fn forward(
    client: TcpStream,
    config: Arc<EgressConfig>,
    ended: CancellationToken,
    permit: OwnedSemaphorePermit,
) {
    let dial = async {
        let original = original_destination(&client)?;
        let target =
            destination(&config, original).map_err(|e| io::Error::new(io::ErrorKind::PermissionDenied, e))?;
        let server = within_dial_timeout(TcpStream::connect(SocketAddr::V4(target))).await?;
        server.set_nodelay(true)?;
        client.set_nodelay(true)?;
        Ok::<_, io::Error>(server)
    };
    let result = tokio::select! {
        result = dial => result,
        () = ended.cancelled() => return,
    };
    match result {
        Ok(server) => pump(client, server, ended).await,
        Err(e) => {
            tracing::debug!("a pod's connection to the outside failed: {e}");
            reset(&client);
        }
    }
    drop(permit);
}

fn original_destination(client: &TcpStream) -> io::Result<SocketAddrV4> {
    let raw = getsockopt(client, sockopt::OriginalDst)?;
    Ok(SocketAddrV4::from(SockaddrIn::from(raw)))
}

/// A UDP socket that may have an address that is not the machine's: to receive what TPROXY hands over, or to
/// answer in the name of the other side.
async fn transparent(sockets: &Sockets, bind: SocketAddrV4, receive_original: bool) -> io::Result<UdpSocket> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, bind as bind_to, socket};
    let make = move || -> io::Result<std::net::UdpSocket> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
        setsockopt(&fd, sockopt::IpTransparent, &true)?;
        // Several clients may talk to one outside address.
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
        if receive_original {
            setsockopt(&fd, sockopt::Ipv4OrigDstAddr, &true)?;
        }
        bind_to(fd.as_raw_fd(), &SockaddrIn::from(bind))?;
        Ok(fd.into())
    };
    UdpSocket::from_std(sockets.run(make).await??)
}

type FlowKey = (SocketAddrV4, SocketAddrV4);

async fn receive(socket: UdpSocket, sockets: Sockets, config: Arc<EgressConfig>, ended: CancellationToken) {
    let flows = Arc::new(Flows::<FlowKey>::new());
    let mut buffer = vec![0; DATAGRAM_BYTES];
    loop {
        let received = socket
            .async_io(Interest::READABLE, || receive_one(&socket, &mut buffer))
            .await;
        let (length, client, original) = match received {
            Ok(received) => received,
            Err(e) => {
                tracing::debug!("receiving a pod's datagram to the outside: {e}");
                continue;
            }
        };
        let target = match destination(&config, original) {
            Ok(target) => target,
            Err(e) => {
                tracing::debug!(%client, "a pod's datagram was dropped: {e}");
                continue;
            }
        };
        let key = (client, original);
        let upstream = match flows.touch(&key, target) {
            Some(upstream) => upstream,
            None => match open_flow(&sockets, key, target, &flows, &ended).await {
                Ok(upstream) => upstream,
                Err(e) => {
                    tracing::debug!(%client, %target, "cannot open a UDP flow to the outside: {e}");
                    continue;
                }
            },
        };
        if let Err(e) = upstream.send(&buffer[..length]).await {
            tracing::trace!(%target, "a datagram was not sent: {e}");
        }
    }
}

fn receive_one(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddrV4, SocketAddrV4)> {
    let mut control = nix::cmsg_space!(nix::libc::sockaddr_in);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<SockaddrIn>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::MSG_DONTWAIT,
    )?;
    let missing = || io::Error::other("the kernel did not say where a datagram was going");
    let original = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::Ipv4OrigDstAddr(raw) => Some(SocketAddrV4::from(SockaddrIn::from(raw))),
        _ => None,
    });
    let client = message.address.map(SocketAddrV4::from).ok_or_else(missing)?;
    Ok((message.bytes, client, original.ok_or_else(missing)?))
}

async fn open_flow(
    sockets: &Sockets,
    key: FlowKey,
    target: SocketAddrV4,
    flows: &Arc<Flows<FlowKey>>,
    ended: &CancellationToken,
) -> io::Result<Arc<UdpSocket>> {
    let (client, original) = key;
    let inside = transparent(sockets, original, false).await?;
    inside.connect(SocketAddr::V4(client)).await?;
    let upstream = Arc::new(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?);
    upstream.connect(SocketAddr::V4(target)).await?;
    let ended = flows.insert(key, upstream.clone(), target, ended);
    let (flows, outside) = (flows.clone(), upstream.clone());
    tokio::spawn(async move {
        tokio::select! {
            // The kernel prefers the connected socket for the client's further datagrams.
            () = shuttle(&inside, &outside, &flows, &key) => {}
            () = shuttle(&outside, &inside, &flows, &key) => {}
            () = flows.until_idle(&key) => {}
            () = ended.cancelled() => {}
        }
    });
    Ok(upstream)
}

/// Copies datagrams one way; an error is one datagram's (port unreachable), not the flow's.
async fn shuttle(from: &UdpSocket, to: &UdpSocket, flows: &Flows<FlowKey>, key: &FlowKey) {
    let mut buffer = vec![0; DATAGRAM_BYTES];
    loop {
        match from.recv(&mut buffer).await {
            Ok(length) => {
                flows.used(key);
                if let Err(e) = to.send(&buffer[..length]).await {
                    tracing::trace!("a datagram was not relayed: {e}");
                }
            }
            Err(e) => tracing::trace!("a relayed UDP flow: {e}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn destinations() {
        let alias = Ipv4Addr::new(192, 0, 2, 1);
        let config = EgressConfig {
            host_alias: Some(alias),
            denied: vec!["198.51.100.0/24".parse().unwrap()],
        };
        let to = |ip: [u8; 4]| destination(&config, SocketAddrV4::new(ip.into(), 80));
        assert_eq!(
            to([192, 0, 2, 1]).unwrap().to_string(),
            "127.0.0.1:80",
            "the host's alias"
        );
        assert_eq!(to([203, 0, 113, 9]).unwrap().to_string(), "203.0.113.9:80");
        for special in [
            [127, 0, 0, 1],
            [169, 254, 169, 254],
            [224, 0, 0, 1],
            [0, 0, 0, 0],
            [255; 4],
        ] {
            assert!(matches!(to(special), Err(Denied::Special(_))), "{special:?}");
        }
        assert!(matches!(to([198, 51, 100, 7]), Err(Denied::Configured(_))));
    }
}
