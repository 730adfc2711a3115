//! Writes of one HTTP/2 connection, gathered: h2 writes and flushes each frame of 16 KiB by itself, which as TLS would be
//! two records (the frame's head makes it just too large for one) and a system call of its own.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is gathered goes out at this size, also in the middle of a poll: four full TLS records.
const LIMIT_BYTES: usize = 64 * 1024;
/// An idle connection keeps no more room than this.
const KEPT_BYTES: usize = 4 * 1024;

/// A stream that keeps what is written until `send`. Whoever polls the connection calls that after each poll, which is
/// right only where nobody else writes: not on connections that can be upgraded.
pub struct Gather<S>(Arc<Mutex<Gathered<S>>>);

struct Gathered<S> {
    stream: S,
    /// Written by the connection, from `sent` on not yet by the stream.
    bytes: Vec<u8>,
    sent: usize,
    /// The stream has bytes that it may not have sent on: TLS keeps records that the socket had no room for.
    unflushed: bool,
}

impl<S> Clone for Gather<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: AsyncWrite + Unpin> Gather<S> {
    pub fn new(stream: S) -> Self {
        Self(Arc::new(Mutex::new(Gathered {
            stream,
            bytes: Vec::new(),
            sent: 0,
            unflushed: false,
        })))
    }

    /// Sends what was gathered.
    pub fn send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathered = self.lock();
        ready!(gathered.drain(cx))?;
        gathered.bytes.shrink_to(KEPT_BYTES);
        if gathered.unflushed {
            ready!(Pin::new(&mut gathered.stream).poll_flush(cx))?;
            gathered.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn lock(&self) -> MutexGuard<'_, Gathered<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    fn drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.bytes.len() {
            let rest = &self.bytes[self.sent..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => (self.sent, self.unflushed) = (self.sent + count, true),
            }
        }
        self.sent = 0;
        self.bytes.clear();
        Poll::Ready(Ok(()))
    }

    /// Room for up to `wanted` bytes; waits for the stream when the limit is reached.
    fn room(&mut self, wanted: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.bytes.len() >= LIMIT_BYTES {
            ready!(self.drain(cx))?;
        }
        let room = LIMIT_BYTES - self.bytes.len();
        let large = wanted.min(room) + self.bytes.len() > KEPT_BYTES;
        // Much at once is followed by more.
        self.bytes.reserve_exact(if large { room } else { 0 });
        Poll::Ready(Ok(room))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gather<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut gathered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Pin::new(&mut gathered.stream).poll_read(cx, out)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gather<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut gathered = self.lock();
        let wanted = pieces.iter().map(|piece| piece.len()).sum();
        let room = ready!(gathered.room(wanted, cx))?;
        let mut left = room;
        for piece in pieces {
            let taken = &piece[..piece.len().min(left)];
            gathered.bytes.extend_from_slice(taken);
            left -= taken.len();
        }
        Poll::Ready(Ok(room - left))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What is flushed goes out with the poll's end.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathered = self.lock();
        ready!(gathered.drain(cx))?;
        Pin::new(&mut gathered.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    /// Writes pieces as h2 does, a flush after each, and sends at the end.
    async fn write(gather: &mut Gather<DuplexStream>, pieces: usize) {
        for n in 0..pieces {
            let piece = [n as u8; 10_000];
            gather.write_all(&piece).await.expect("written");
            gather.flush().await.expect("flushed");
        }
        std::future::poll_fn(|cx| gather.send(cx)).await.expect("sent");
    }

    #[tokio::test]
    async fn all_comes_in_order_through_a_narrow_stream() {
        let (ours, mut theirs) = duplex(4096);
        let mut gather = Gather::new(ours);
        let writer = tokio::spawn(async move {
            write(&mut gather, 30).await;
            assert_eq!(
                gather.lock().bytes.capacity(),
                KEPT_BYTES,
                "an idle one keeps little"
            );
            gather.write_all(b"end").await.expect("written");
            gather.shutdown().await.expect("what is left goes out first");
        });
        let mut read = Vec::new();
        theirs.read_to_end(&mut read).await.expect("read");
        writer.await.expect("no panic");
        let expected: Vec<u8> = (0..30).flat_map(|n| [n; 10_000]).chain(*b"end").collect();
        assert!(read == expected, "{} bytes", read.len());
    }

    #[tokio::test]
    async fn nothing_goes_out_before_the_end_of_a_poll_unless_it_is_much() {
        let (ours, mut theirs) = duplex(1 << 20);
        let mut gather = Gather::new(ours);
        gather.write_all(&[1; 100]).await.expect("written");
        gather.flush().await.expect("flushed");
        let mut out = [0; 200];
        assert!(futures::poll!(std::pin::pin!(theirs.read(&mut out))).is_pending());
        std::future::poll_fn(|cx| gather.send(cx)).await.expect("sent");
        assert_eq!(theirs.read(&mut out).await.expect("read"), 100);
        gather.write_all(&[2; LIMIT_BYTES + 1]).await.expect("written");
        assert!(theirs.read(&mut out).await.expect("read") > 0);
    }

    /// As TLS does: takes everything at once, and needs a flush that may have to wait.
    #[tokio::test]
    async fn what_the_stream_keeps_is_flushed_to_the_end() {
        let (ours, mut theirs) = duplex(10);
        let mut gather = Gather::new(tokio::io::BufWriter::with_capacity(4096, ours));
        gather.write_all(&[1; 1000]).await.expect("written");
        let sender = gather.clone();
        let sending = tokio::spawn(async move { std::future::poll_fn(|cx| sender.send(cx)).await });
        let mut read = [0; 1000];
        let all = tokio::time::timeout(std::time::Duration::from_secs(20), theirs.read_exact(&mut read));
        all.await.expect("nothing is kept back").expect("read");
        sending.await.expect("no panic").expect("sent");
    }

    #[tokio::test]
    async fn a_broken_stream_is_told() {
        let (ours, theirs) = duplex(10);
        drop(theirs);
        let mut gather = Gather::new(ours);
        gather.write_all(b"x").await.expect("gathered");
        std::future::poll_fn(|cx| gather.send(cx))
            .await
            .expect_err("broken");
    }
}
