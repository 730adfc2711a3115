//! Connections: one thread each, up to a limit, and an end that loses no request which had arrived.

use std::collections::HashMap;
use std::io::{self, BufReader, ErrorKind, Read};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::app::App;
use crate::http::{self, Answer, Unreadable};

/// More open connections than this are answered with 503 at once.
const CONNECTIONS_LIMIT: usize = 512;
/// A connection may be idle for this long; a peer may take this long to take a part of an answer.
const IDLE_LIMIT: Duration = Duration::from_secs(60);
/// The longest wait after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const STACK_BYTES: usize = 128 * 1024;

pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: JoinHandle<()>,
}

struct Shared {
    app: Arc<App>,
    stopping: AtomicBool,
    open: Mutex<HashMap<u64, Arc<TcpStream>>>,
    one_closed: Condvar,
}

impl Shared {
    /// No code panics with the lock held in a half-done state, so a poisoned lock is as good as another.
    fn open(&self) -> MutexGuard<'_, HashMap<u64, Arc<TcpStream>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// Listens on all addresses, IPv6 and IPv4; on IPv4 alone where there is no IPv6.
    pub fn start(port: u16, app: Arc<App>) -> Result<Self, String> {
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
            .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))
            .map_err(|e| format!("cannot listen on port {port}: {e}"))?;
        let address = listener
            .local_addr()
            .map_err(|e| format!("cannot read the listener's address: {e}"))?;
        let open = Mutex::new(HashMap::new());
        let shared = Arc::new(Shared {
            app,
            stopping: AtomicBool::new(false),
            open,
            one_closed: Condvar::new(),
        });
        let acceptor = thread::Builder::new()
            .name("accept".to_owned())
            .spawn({
                let shared = shared.clone();
                move || accept(&listener, &shared)
            })
            .map_err(|e| format!("cannot start a thread: {e}"))?;
        Ok(Self {
            address,
            shared,
            acceptor,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, answers every request that has arrived, and returns how many connections were still
    /// busy after `limit`. Idle connections are closed at once.
    pub fn stop(self, limit: Duration) -> usize {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // The acceptor waits for a connection: this is one.
        match TcpStream::connect((Ipv4Addr::LOCALHOST, self.address.port())) {
            Ok(_) if self.acceptor.join().is_ok() => {}
            Ok(_) => eprintln!("the accepting thread had panicked"),
            Err(e) => eprintln!("cannot wake the accepting thread: {e}"),
        }
        let open = self.shared.open();
        for stream in open.values() {
            // Reads what has arrived, then sees the end; an error means that the peer was faster.
            stream.shutdown(Shutdown::Read).ok();
        }
        let wait = self
            .shared
            .one_closed
            .wait_timeout_while(open, limit, |open| !open.is_empty());
        wait.unwrap_or_else(PoisonError::into_inner).0.len()
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for id in 0.. {
        match listener.accept() {
            Ok((stream, _)) => admit(id, stream, shared),
            Err(e) if e.kind() == ErrorKind::WouldBlock => return, // stopping, and the queue is empty
            Err(e) => {
                eprintln!("cannot accept a connection: {e}");
                // Out of descriptors, most likely: the next close may help.
                drop(shared.one_closed.wait_timeout(shared.open(), ACCEPT_PAUSE));
            }
        }
        if shared.stopping.load(Ordering::SeqCst)
            && let Err(e) = listener.set_nonblocking(true)
        {
            eprintln!("cannot empty the queue of connections: {e}");
            return;
        }
    }
}

fn admit(id: u64, stream: TcpStream, shared: &Arc<Shared>) {
    let stream = Arc::new(stream);
    let mut open = shared.open();
    if open.len() >= CONNECTIONS_LIMIT {
        drop(open);
        let busy = Answer::text(
            503,
            format!("{CONNECTIONS_LIMIT} connections are open, try again\n"),
        );
        if let Err(e) = busy.write(&mut &*stream, false, false) {
            eprintln!("a connection over the limit left first: {e}");
        }
        return;
    }
    open.insert(id, stream.clone());
    drop(open);
    let spawned = thread::Builder::new()
        .name(format!("connection {id}"))
        .stack_size(STACK_BYTES)
        .spawn({
            let shared = shared.clone();
            move || {
                let _entry = Entry { id, shared: &shared };
                serve(&stream, &shared).unwrap_or_else(|e| eprintln!("connection {id}: {e}"));
            }
        });
    if let Err(e) = spawned {
        eprintln!("cannot start a thread for a connection: {e}");
        shared.open().remove(&id);
    }
}

/// A connection's place in the list of open ones; given back even when its thread panics.
struct Entry<'a> {
    id: u64,
    shared: &'a Shared,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.shared.open().remove(&self.id);
        self.shared.one_closed.notify_all();
    }
}

/// Request after request, until either side wants to close.
fn serve(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(IDLE_LIMIT))?;
    stream.set_write_timeout(Some(IDLE_LIMIT))?;
    let mut input = BufReader::with_capacity(http::HEAD_LIMIT_BYTES, stream);
    loop {
        let request = match http::read(&mut input) {
            Ok(request) => request,
            Err(Unreadable::Gone) => return Ok(()),
            Err(Unreadable::Refused(answer)) => {
                answer.write(&mut &*stream, false, false)?;
                return linger(stream);
            }
        };
        let keep_alive = request.keep_alive && !shared.stopping.load(Ordering::SeqCst);
        shared
            .app
            .answer(&request)
            .write(&mut &*stream, request.method == "HEAD", keep_alive)?;
        if !keep_alive {
            return Ok(());
        }
    }
}

/// Reads some of what is still coming before it closes: a close with unread bytes would take the answer back.
fn linger(stream: &TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    match io::copy(&mut stream.take(256 * 1024), &mut io::sink()) {
        Err(e) if e.kind() != ErrorKind::WouldBlock => Err(e),
        _ => Ok(()),
    }
}
