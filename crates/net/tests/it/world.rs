//! Pods and a cluster for the tests. Everything made here goes away on drop, also when a test fails.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use net::{ClusterNet, Endpoint, NetConfig, Protocol, Service, ServicePort};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{Shutdown, shutdown};

/// Long enough for a loaded machine; nothing waits for it unless it has failed.
pub const PATIENCE: Duration = Duration::from_secs(5);

pub fn v4(ip: Ipv4Addr, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(ip, port)
}

/// One cluster in a directory of its own.
pub struct World {
    pub net: Option<ClusterNet>,
    pub dir: tempfile::TempDir,
    config: NetConfig,
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut NetConfig)) -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut config = NetConfig::new("test", dir.path().join("data"));
        change(&mut config);
        let net = ClusterNet::open(config.clone())
            .await
            .expect("open (root is needed)");
        Self {
            net: Some(net),
            dir,
            config,
        }
    }

    pub fn net(&self) -> &ClusterNet {
        self.net.as_ref().expect("open")
    }

    /// The server dies and another one starts.
    pub async fn restart(&mut self) {
        self.net = None;
        self.net = Some(ClusterNet::open(self.config.clone()).await.expect("open again"));
    }

    /// A pod named `name`, attached.
    pub async fn pod(&self, name: &str) -> Pod {
        let mut pod = Pod::new(self.dir.path(), name);
        pod.ip = self.net().attach(name, &pod.netns).await.expect("attach");
        pod
    }

    /// A pod on the host's network: it shares the cluster's own namespace.
    pub fn on_host(&self, name: &str) -> Pod {
        let mut pod = Pod::sharing(self.dir.path(), name, &self.net().namespace_path());
        pod.ip = self.config.node_ip;
        pod
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.net = None;
        if let Err(e) = ClusterNet::remove(&self.config.data_dir) {
            eprintln!("removing the network failed: {e}");
        }
    }
}

/// A network namespace with servers in it.
pub struct Pod {
    pub name: String,
    pub netns: PathBuf,
    pub ip: Ipv4Addr,
    servers: Vec<Server>,
}

struct Server {
    stop: Arc<AtomicBool>,
    wake: Box<dyn Fn() + Send>,
    thread: Option<JoinHandle<()>>,
}

impl Pod {
    pub fn new(dir: &Path, name: &str) -> Self {
        let target = dir.to_owned();
        let name = name.to_owned();
        let made = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("unshare");
            Self::sharing(&target, &name, Path::new("/proc/thread-self/ns/net"))
        });
        made.join().expect("namespace thread")
    }

    /// In a namespace that there is.
    fn sharing(dir: &Path, name: &str, namespace: &Path) -> Self {
        let netns = dir.join(format!("pod-{name}"));
        File::create(&netns).expect("create");
        let flags = MsFlags::MS_BIND;
        mount(Some(namespace), &netns, None::<&str>, flags, None::<&str>).expect("bind mount");
        Self {
            name: name.to_owned(),
            netns,
            ip: Ipv4Addr::UNSPECIFIED,
            servers: Vec::new(),
        }
    }

    /// Runs `job` on a thread inside the pod.
    pub fn inside<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let file = File::open(&self.netns).expect("namespace");
        std::thread::spawn(move || {
            setns(&file, CloneFlags::CLONE_NEWNET).expect("setns");
            job()
        })
    }

    /// Each connection gets the pod's name and the client's address, then an echo.
    pub fn serve_tcp(&mut self, port: u16) -> Endpoint {
        let listener = self.inside(move || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).expect("bind"));
        let listener = Arc::new(listener.join().expect("listener"));
        let stop = Arc::new(AtomicBool::new(false));
        let (name, accept, stopped) = (self.name.clone(), listener.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            while let Ok((mut stream, peer)) = accept.accept() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let hello = format!("{name} {}\n", peer.ip());
                std::thread::spawn(move || {
                    if stream.write_all(hello.as_bytes()).is_err() {
                        return;
                    }
                    let mut buffer = [0; 4096];
                    while let Ok(n @ 1..) = stream.read(&mut buffer) {
                        if stream.write_all(&buffer[..n]).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        let wake = Box::new(move || shutdown(listener.as_raw_fd(), Shutdown::Both).unwrap_or(()));
        self.servers.push(Server {
            stop,
            wake,
            thread: Some(thread),
        });
        Endpoint { ip: self.ip, port }
    }

    /// Each datagram is answered with the pod's name.
    pub fn serve_udp(&mut self, port: u16) -> Endpoint {
        let socket = self.inside(move || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).expect("bind"));
        let socket = socket.join().expect("socket");
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("timeout");
        let stop = Arc::new(AtomicBool::new(false));
        let (name, stopped) = (self.name.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while !stopped.load(Ordering::SeqCst) {
                if let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                    socket.send_to(name.as_bytes(), peer).expect("answer");
                }
            }
        });
        self.servers.push(Server {
            stop,
            wake: Box::new(|| {}),
            thread: Some(thread),
        });
        Endpoint { ip: self.ip, port }
    }

    /// Connects from the pod and returns the first line, or the error.
    pub fn get(&self, to: SocketAddrV4) -> std::io::Result<String> {
        self.inside(move || get(to)).join().expect("client")
    }

    pub fn get_many(&self, to: SocketAddrV4, count: usize) -> Vec<String> {
        self.inside(move || (0..count).map(|_| get(to).expect("answer")).collect())
            .join()
            .expect("client")
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        for server in &mut self.servers {
            server.stop.store(true, Ordering::SeqCst);
            (server.wake)();
            if let Some(thread) = server.thread.take()
                && thread.join().is_err()
            {
                eprintln!("a server thread of {} panicked", self.name);
            }
        }
        if let Err(e) = umount2(&self.netns, MntFlags::MNT_DETACH) {
            eprintln!("unmounting {}: {e}", self.netns.display());
        }
        fs::remove_file(&self.netns).unwrap_or_else(|e| eprintln!("removing {}: {e}", self.netns.display()));
    }
}

/// Connects from where the calling thread is; the first line that comes.
pub fn get(to: SocketAddrV4) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::V4(to), PATIENCE)?;
    first_line(&mut stream)
}

pub fn first_line(stream: &mut TcpStream) -> std::io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte)? == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    if line.is_empty() {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8(line).expect("text"))
}

/// Sends one datagram and waits for the answer.
pub fn ask(socket: &UdpSocket) -> std::io::Result<String> {
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.send(b"?")?;
    let mut buffer = [0; 2048];
    let n = socket.recv(&mut buffer)?;
    Ok(String::from_utf8(buffer[..n].to_vec()).expect("text"))
}

/// A Service with one port.
pub fn service(ip: Ipv4Addr, protocol: Protocol, port: u16, endpoints: Vec<Endpoint>) -> Service {
    let port = ServicePort {
        name: String::new(),
        protocol,
        port,
        node_port: None,
        endpoints,
    };
    Service {
        namespace: "default".into(),
        name: format!("svc-{ip}"),
        cluster_ips: vec![ip],
        ports: vec![port],
        affinity: None,
    }
}
