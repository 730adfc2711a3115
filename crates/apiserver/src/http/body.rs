//! Response bodies: one piece, a list that is put together while it is sent, a stream, or what a pod sends.

use super::proxy::links::Page;
use bytes::{BufMut, Bytes, BytesMut};
use codec::protobuf::{ENVELOPE_END, Envelope, ProtobufError};
use futures::StreamExt;
use futures::stream::BoxStream;
use hyper::body::{Frame, Incoming, SizeHint};
use kinds::wire::Wire;
use meta::Object;
use std::iter::Peekable;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Pieces of lists and watches are about this large.
pub const CHUNK_BYTES: usize = 64 * 1024;

pub enum Body {
    Full(Option<Bytes>),
    List(Box<ListBody>),
    Stream(BoxStream<'static, Bytes>),
    Relay(Box<Relay>),
}

/// Why a body breaks off. The connection breaks with it, so that nobody takes the part for the whole.
pub type Broken = Box<dyn std::error::Error + Send + Sync>;

/// What a pod sends, frame by frame, until it or the server ends.
pub struct Relay {
    incoming: Incoming,
    /// The incoming body has ended.
    over: bool,
    page: Option<Page>,
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Relay {
    pub fn new(incoming: Incoming, page: Option<Page>, closing: CancellationToken) -> Self {
        Self {
            incoming,
            over: false,
            page,
            closing: Box::pin(closing.cancelled_owned()),
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.closing.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err("the server is shutting down".into())));
        }
        while !self.over {
            let frame = match ready!(hyper::body::Body::poll_frame(Pin::new(&mut self.incoming), cx)) {
                Some(frame) => frame?,
                None => break,
            };
            let Some(page) = &mut self.page else {
                return Poll::Ready(Some(Ok(frame)));
            };
            // Trailers of a page that was changed would be about another.
            let Ok(piece) = frame.into_data() else { continue };
            let ours = page.write(piece);
            if !ours.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(ours))));
            }
        }
        self.over = true;
        let rest = self.page.take().map(|mut page| page.end());
        let rest = rest.filter(|rest| !rest.is_empty());
        Poll::Ready(rest.map(|rest| Ok(Frame::data(rest))))
    }

    fn is_end_stream(&self) -> bool {
        self.page.is_none() && (self.over || hyper::body::Body::is_end_stream(&self.incoming))
    }

    fn size_hint(&self) -> SizeHint {
        match self.page {
            Some(_) => SizeHint::default(),
            None => hyper::body::Body::size_hint(&self.incoming),
        }
    }
}

/// A list from what is stored: nothing is decoded or encoded as long as it is there in that form, and only one chunk is
/// held at a time.
pub struct ListBody {
    head: Option<Bytes>,
    items: Peekable<std::vec::IntoIter<Item>>,
    pieces: Pieces,
    first: bool,
    tail: Option<Bytes>,
    left: u64,
}

/// How a list is put together.
pub enum Pieces {
    /// `head` ends where the items begin.
    Json { head: String },
    Protobuf {
        /// Of the items.
        wire: Wire,
        outer: Envelope,
        parts: codec::protobuf::List,
    },
}

/// One item of a list.
pub enum Item {
    Made(Bytes),
    /// To be had from the object when it is its turn, of this length.
    Stored(Object, usize),
}

impl Item {
    /// A stored object whose protobuf form is kept, or made again when it is sent.
    pub fn stored(wire: &Wire, object: Object) -> Result<Self, ProtobufError> {
        let size = wire.encode_stored(&object)?.len();
        Ok(Self::Stored(object, size))
    }

    fn size_bytes(&self) -> usize {
        match self {
            Self::Made(bytes) => bytes.len(),
            Self::Stored(_, size) => *size,
        }
    }
}

impl ListBody {
    pub fn new(pieces: Pieces, items: Vec<Item>) -> Self {
        let (head, tail, sum) = match &pieces {
            Pieces::Json { head } => {
                let sum: usize = items.iter().map(|i| i.size_bytes() + 1).sum();
                let (head, tail) = (Bytes::from(head.clone()), Bytes::from_static(b"]}\n"));
                (head, tail, sum.saturating_sub(1))
            }
            Pieces::Protobuf { outer, parts, .. } => {
                let sizes = items.iter().map(|i| parts.item_size_bytes(i.size_bytes()));
                let sum: usize = sizes.sum();
                let mut head = outer.head(parts.before.len() + sum + parts.after.len());
                head.extend_from_slice(&parts.before);
                let tail = [&parts.after, ENVELOPE_END].concat();
                (head.into(), tail.into(), sum)
            }
        };
        let left = head.len() + sum + tail.len();
        Self {
            head: Some(head),
            items: items.into_iter().peekable(),
            pieces,
            first: true,
            tail: Some(tail),
            left: left as u64,
        }
    }

    fn next_chunk(&mut self) -> Option<Result<Bytes, Broken>> {
        self.tail.as_ref()?;
        let mut out = BytesMut::with_capacity(CHUNK_BYTES.min(self.left as usize));
        if let Some(head) = self.head.take() {
            out.put_slice(&head);
        }
        // A chunk that had to grow would be copied once more.
        let fits =
            |out: &BytesMut, item: &Item| out.is_empty() || out.len() + item.size_bytes() < CHUNK_BYTES;
        while let Some(item) = self.items.next_if(|item| fits(&out, item)) {
            if let Err(why) = self.put(item, &mut out) {
                return Some(Err(why));
            }
        }
        if self.items.peek().is_none() {
            out.put_slice(&self.tail.take().unwrap_or_default());
        }
        self.left -= out.len() as u64;
        Some(Ok(out.freeze()))
    }

    fn put(&mut self, item: Item, out: &mut BytesMut) -> Result<(), Broken> {
        match &self.pieces {
            Pieces::Json { .. } if self.first => self.first = false,
            Pieces::Json { .. } => out.put_u8(b','),
            Pieces::Protobuf { parts, .. } => out.put_slice(&parts.item_head(item.size_bytes())),
        }
        match (item, &self.pieces) {
            (Item::Made(bytes), _) => out.put_slice(&bytes),
            (Item::Stored(object, size), Pieces::Protobuf { wire, .. }) => {
                let bytes = wire.encode_stored(&object)?;
                // The lengths around it are sent already.
                if bytes.len() != size {
                    return Err("an object was encoded in two ways".into());
                }
                out.put_slice(&bytes);
            }
            (Item::Stored(object, _), Pieces::Json { .. }) => out.put_slice(object.json()),
        }
        Ok(())
    }

    /// The whole list at once.
    pub fn into_bytes(mut self) -> Result<Bytes, Broken> {
        let mut out = BytesMut::with_capacity(self.left as usize);
        while let Some(chunk) = self.next_chunk() {
            out.put_slice(&chunk?);
        }
        Ok(out.freeze())
    }

    pub fn size_bytes(&self) -> u64 {
        self.left
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let piece = match self.get_mut() {
            Self::Full(bytes) => bytes.take(),
            Self::List(list) => return Poll::Ready(list.next_chunk().map(|p| p.map(Frame::data))),
            Self::Stream(stream) => match stream.poll_next_unpin(cx) {
                Poll::Ready(piece) => piece,
                Poll::Pending => return Poll::Pending,
            },
            Self::Relay(relay) => return relay.poll_frame(cx),
        };
        Poll::Ready(piece.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_none(),
            Self::List(list) => list.tail.is_none(),
            Self::Stream(_) => false,
            Self::Relay(relay) => relay.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::List(list) => SizeHint::with_exact(list.left),
            Self::Stream(_) => SizeHint::default(),
            Self::Relay(relay) => relay.size_hint(),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Full(Some(bytes))
    }
}
