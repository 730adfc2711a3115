//! Sockets inside the cluster's namespace for a program that stays outside: one thread lives in
//! there and only makes sockets; tokio uses them from anywhere.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;

use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::sync::{mpsc, oneshot};

use crate::namespace::{self, NamespaceError};

/// Requests waiting for the thread; a caller beyond that waits for a place.
const QUEUE_LIMIT: usize = 256;
/// Connections that a listener's owner has not accepted yet.
const BACKLOG: u32 = 1024;

type Job = Box<dyn FnOnce() + Send>;

/// Makes sockets inside one network namespace. Cheap to clone; the thread ends with the last clone.
#[derive(Debug, Clone)]
pub struct Sockets {
    jobs: mpsc::Sender<Job>,
}

impl Sockets {
    /// Starts the thread inside `namespace`.
    pub async fn start(namespace: File) -> Result<Self, NamespaceError> {
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE_LIMIT);
        let (entered, ready) = oneshot::channel();
        let body = move || {
            let result = namespace::enter(&namespace);
            let inside = result.is_ok();
            if entered.send(result).is_err() || !inside {
                return;
            }
            while let Some(job) = queue.blocking_recv() {
                job();
            }
        };
        std::thread::Builder::new()
            .name("net-sockets".into())
            .spawn(body)
            .map_err(NamespaceError::Thread)?;
        ready.await.map_err(|_| NamespaceError::ThreadDied)??;
        Ok(Self { jobs })
    }

    /// Runs `job` on the thread inside. It must be short and must not block.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let died = || io::Error::other("the thread inside the cluster's network namespace has ended");
        let (reply, result) = oneshot::channel();
        let job: Job = Box::new(move || {
            if reply.send(job()).is_err() {
                tracing::trace!("nobody waits for the socket any more");
            }
        });
        self.jobs.send(job).await.map_err(|_| died())?;
        result.await.map_err(|_| died())
    }

    /// Connects to a pod, a Service or the node from inside. The caller sets the time limit.
    pub async fn dial(&self, addr: SocketAddrV4) -> io::Result<TcpStream> {
        let socket = self.run(TcpSocket::new_v4).await??;
        socket.set_nodelay(true)?;
        socket.connect(addr.into()).await
    }

    pub async fn listen(&self, addr: SocketAddrV4) -> io::Result<TcpListener> {
        let make = move || {
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseaddr(true)?;
            socket.bind(addr.into())?;
            Ok::<_, io::Error>(socket)
        };
        self.run(make).await??.listen(BACKLOG)
    }

    pub async fn udp_bind(&self, addr: SocketAddrV4) -> io::Result<UdpSocket> {
        let make = move || {
            let socket = std::net::UdpSocket::bind(addr)?;
            socket.set_nonblocking(true)?;
            Ok::<_, io::Error>(socket)
        };
        UdpSocket::from_std(self.run(make).await??)
    }

    /// A socket that talks to `addr` only.
    pub async fn udp_connect(&self, addr: SocketAddrV4) -> io::Result<UdpSocket> {
        let socket = self.udp_bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)).await?;
        socket.connect(SocketAddr::V4(addr)).await?;
        Ok(socket)
    }
}

/// Connects to 127.0.0.1:`port` inside the pod whose network namespace is at `netns` (port-forward).
pub async fn dial_pod_loopback(netns: &Path, port: u16) -> io::Result<TcpStream> {
    let file = File::open(netns)?;
    let make = move || namespace::run_inside(file, TcpSocket::new_v4).map_err(io::Error::other);
    let socket = tokio::task::spawn_blocking(make)
        .await
        .map_err(io::Error::other)???;
    socket.set_nodelay(true)?;
    socket
        .connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .await
}
