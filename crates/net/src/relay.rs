//! What the publisher and the way out share: pumping a TCP connection, and a bounded table of UDP flows.

use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::net::SocketAddrV4;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Bytes buffered in each direction of a connection.
const BUFFER_BYTES: usize = 64 * 1024;
/// The largest UDP payload over IPv4.
pub(crate) const DATAGRAM_BYTES: usize = 65_507;
/// A UDP flow without a datagram in either direction for so long ends.
pub(crate) const UDP_IDLE: Duration = Duration::from_secs(60);
/// Flows of one UDP socket; the one unused for longest makes place for a new one.
pub(crate) const UDP_FLOWS_LIMIT: usize = 1024;
/// How long a connection to the other side may take to open.
pub(crate) const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// After accept has failed (out of file descriptors), so that it does not fail a million times a second.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The next connection; what fails is reported and tried again.
pub(crate) async fn accept(listener: &TcpListener, what: &str) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(e) => {
                tracing::warn!("accepting {what} failed: {e}");
                // pause: nothing announces that a file descriptor is free again
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Copies both ways until both sides have ended, half-closed connections included, or `ended` fires.
pub(crate) async fn pump(mut a: TcpStream, mut b: TcpStream, ended: CancellationToken) {
    let copy = tokio::io::copy_bidirectional_with_sizes(&mut a, &mut b, BUFFER_BYTES, BUFFER_BYTES);
    let result = tokio::select! {
        result = copy => result,
        () = ended.cancelled() => return,
    };
    if let Err(e) = result {
        // One side reset; the other one must see the same, not an orderly end.
        tracing::trace!("a forwarded connection was reset: {e}");
        reset(&a);
        reset(&b);
    }
}

/// Makes the peer see a reset when `stream` is dropped.
pub(crate) fn reset(stream: &TcpStream) {
    if let Err(e) = stream.set_zero_linger() {
        tracing::debug!("cannot reset a connection: {e}");
    }
}

/// Opens the other side of a connection within [`DIAL_TIMEOUT`].
pub(crate) async fn within_dial_timeout(
    dial: impl Future<Output = io::Result<TcpStream>>,
) -> io::Result<TcpStream> {
    match tokio::time::timeout(DIAL_TIMEOUT, dial).await {
        Ok(result) => result,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// One client's datagrams to one target.
pub(crate) struct Flow {
    pub upstream: Arc<UdpSocket>,
    pub target: SocketAddrV4,
    pub ended: CancellationToken,
    last: Instant,
}

/// The flows of one UDP socket, at most [`UDP_FLOWS_LIMIT`].
pub(crate) struct Flows<K>(Mutex<HashMap<K, Flow>>);

impl<K: Eq + Hash + Copy> Flows<K> {
    pub fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Flow>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The flow's socket, when there is one that goes to `target`; marks it as used.
    pub fn touch(&self, key: &K, target: SocketAddrV4) -> Option<Arc<UdpSocket>> {
        let mut flows = self.lock();
        let flow = flows.get_mut(key).filter(|flow| flow.target == target)?;
        flow.last = Instant::now();
        Some(flow.upstream.clone())
    }

    /// Adds a flow and returns the token that ends it. An older one of the same client ends.
    pub fn insert(
        &self,
        key: K,
        upstream: Arc<UdpSocket>,
        target: SocketAddrV4,
        parent: &CancellationToken,
    ) -> CancellationToken {
        let ended = parent.child_token();
        let flow = Flow {
            upstream,
            target,
            ended: ended.clone(),
            last: Instant::now(),
        };
        let mut flows = self.lock();
        if !flows.contains_key(&key) && flows.len() >= UDP_FLOWS_LIMIT {
            let oldest = flows
                .iter()
                .min_by_key(|(_, flow)| flow.last)
                .map(|(key, _)| *key);
            if let Some(old) = oldest.and_then(|key| flows.remove(&key)) {
                old.ended.cancel();
            }
        }
        if let Some(old) = flows.insert(key, flow) {
            old.ended.cancel();
        }
        ended
    }

    /// Waits until `key`'s flow has been idle for [`UDP_IDLE`] or is gone, then forgets it. A timer
    /// per idle period, set for the moment it can be over.
    pub async fn until_idle(&self, key: &K) {
        loop {
            let deadline = match self.lock().get(key) {
                Some(flow) => flow.last + UDP_IDLE,
                None => return,
            };
            if deadline <= Instant::now() {
                self.lock().remove(key);
                return;
            }
            // pause: the event is that nothing happens until then
            tokio::time::sleep_until(deadline).await;
        }
    }

    /// Marks the flow as used by an answer.
    pub fn used(&self, key: &K) {
        if let Some(flow) = self.lock().get_mut(key) {
            flow.last = Instant::now();
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.lock().len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test]
    async fn flows_are_bounded_and_the_least_used_one_goes() {
        let flows = Flows::<u32>::new();
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let target = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1);
        let parent = CancellationToken::new();
        let limit = u32::try_from(UDP_FLOWS_LIMIT).unwrap();
        let tokens: Vec<_> = (0..limit)
            .map(|i| flows.insert(i, socket.clone(), target, &parent))
            .collect();
        assert!(flows.touch(&0, target).is_some());
        flows.insert(limit, socket.clone(), target, &parent);
        assert_eq!(flows.len(), UDP_FLOWS_LIMIT);
        assert!(!tokens[0].is_cancelled() && tokens[1].is_cancelled());
        let elsewhere = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 2);
        assert!(
            flows.touch(&0, elsewhere).is_none(),
            "another target needs another flow"
        );
    }
}
