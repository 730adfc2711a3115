//! Frames of SPDY/3.1, as far as Kubernetes' clients use them: streams with headers, data, and the few words around them.

use super::words::DICTIONARY;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use flate2::{Decompress, FlushDecompress, Status as Inflate};
use std::collections::HashMap;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
pub const FIN: u8 = 1;

/// A frame may not be longer: clients send 32 KiB at a time.
const MAX_FRAME_BYTES: usize = 1 << 20;
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error("a SPDY frame is malformed: {0}")]
    Frame(&'static str),
    #[error("the headers of a SPDY stream cannot be read: {0}")]
    Headers(String),
    #[error("too many streams are open")]
    TooMany,
    #[error("the client is gone")]
    Gone,
}

/// What the client says.
#[derive(Debug)]
pub enum Frame {
    Open {
        stream: u32,
        headers: HashMap<String, String>,
    },
    Data {
        stream: u32,
        /// The client sends no more on this stream.
        ends: bool,
        bytes: Bytes,
    },
    Reset {
        stream: u32,
    },
    /// To be sent back as it is.
    Ping(Bytes),
    GoAway,
    Other,
}

/// One direction's state: headers of all streams are one compressed text.
pub struct Frames {
    inflate: Decompress,
    dictionary_set: bool,
    first_reply: bool,
}

impl Frames {
    pub fn new() -> Self {
        Self {
            inflate: Decompress::new(true),
            dictionary_set: false,
            first_reply: true,
        }
    }

    /// Takes one whole frame out of `buffer`; `None` when there is none yet.
    pub fn take(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, Broken> {
        if buffer.len() < 8 {
            return Ok(None);
        }
        let length = u32::from_be_bytes([0, buffer[5], buffer[6], buffer[7]]) as usize;
        if length > MAX_FRAME_BYTES {
            return Err(Broken::Frame("it is too long"));
        }
        if buffer.len() < 8 + length {
            return Ok(None);
        }
        let mut head = buffer.split_to(8);
        let body = buffer.split_to(length).freeze();
        let first = head.get_u32();
        let flags = head.get_u8();
        if first & 0x8000_0000 == 0 {
            return Ok(Some(Frame::Data {
                stream: first,
                ends: flags & FIN != 0,
                bytes: body,
            }));
        }
        Ok(Some(match first as u16 {
            SYN_STREAM if body.len() < 10 => return Err(Broken::Frame("SYN_STREAM is too short")),
            SYN_STREAM => Frame::Open {
                stream: stream_id(&body) & 0x7fff_ffff,
                headers: self.headers(&body[10..])?,
            },
            RST_STREAM if body.len() >= 4 => Frame::Reset {
                stream: stream_id(&body),
            },
            PING => Frame::Ping(control(PING, 0, &body)),
            GOAWAY => Frame::GoAway,
            _ => Frame::Other,
        }))
    }

    /// Headers are one zlib stream over all SYN_STREAMs of the connection, with SPDY's dictionary.
    fn headers(&mut self, block: &[u8]) -> Result<HashMap<String, String>, Broken> {
        let failed = |e: flate2::DecompressError| Broken::Headers(e.to_string());
        let mut out = Vec::with_capacity(MAX_HEADER_BYTES);
        let mut at = 0;
        loop {
            let before = self.inflate.total_in();
            let step = self
                .inflate
                .decompress_vec(&block[at..], &mut out, FlushDecompress::Sync);
            at += (self.inflate.total_in() - before) as usize;
            match step {
                Err(e) if e.needs_dictionary().is_some() && !self.dictionary_set => {
                    self.inflate.set_dictionary(&DICTIONARY).map_err(failed)?;
                    self.dictionary_set = true;
                }
                Err(e) => return Err(failed(e)),
                Ok(Inflate::StreamEnd) => break,
                Ok(_) if at >= block.len() || out.len() == out.capacity() => break,
                Ok(Inflate::BufError) => break,
                Ok(Inflate::Ok) => {}
            }
        }
        parse_headers(&out).ok_or(Broken::Frame("a header block is malformed"))
    }

    /// SYN_REPLY without headers. The block is stored, not compressed: only its frame is zlib's.
    pub fn reply(&mut self, stream: u32) -> Bytes {
        let mut body = BytesMut::new();
        body.put_u32(stream);
        let block = 0u32.to_be_bytes();
        if std::mem::take(&mut self.first_reply) {
            // zlib header with a dictionary, and the dictionary's Adler-32.
            body.put_slice(&[0x78, 0xbb]);
            body.put_u32(adler32(&DICTIONARY));
        }
        body.put_u8(0);
        body.put_u16_le(block.len() as u16);
        body.put_u16_le(!(block.len() as u16));
        body.put_slice(&block);
        // An empty block tells Go's reader to hand out what it has, as a flush does.
        body.put_slice(&[0, 0, 0, 0xff, 0xff]);
        control(SYN_REPLY, 0, &body)
    }
}

fn stream_id(body: &[u8]) -> u32 {
    u32::from_be_bytes([body[0], body[1], body[2], body[3]])
}

pub fn data(stream: u32, flags: u8, body: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(8 + body.len());
    frame.put_u32(stream);
    frame.put_u32(u32::from(flags) << 24 | body.len() as u32);
    frame.put_slice(body);
    frame.freeze()
}

fn control(kind: u16, flags: u8, body: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(8 + body.len());
    frame.put_u16(0x8003);
    frame.put_u16(kind);
    frame.put_u32(u32::from(flags) << 24 | body.len() as u32);
    frame.put_slice(body);
    frame.freeze()
}

/// Count, then name and value, each with a length of 32 bits.
fn parse_headers(mut block: &[u8]) -> Option<HashMap<String, String>> {
    let text = |block: &mut &[u8]| -> Option<String> {
        let length = block.try_get_u32().ok()? as usize;
        let bytes = block.get(..length)?;
        let text = String::from_utf8(bytes.to_vec()).ok()?;
        block.advance(length);
        Some(text)
    };
    let count = block.try_get_u32().ok()?;
    let mut headers = HashMap::new();
    for _ in 0..count.min(100) {
        let name = text(&mut block)?;
        headers.insert(name.to_ascii_lowercase(), text(&mut block)?);
    }
    Some(headers)
}

fn adler32(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (1u32, 0u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    b << 16 | a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dictionary_is_the_protocols() {
        assert_eq!((DICTIONARY.len(), adler32(&DICTIONARY)), (1423, 0xe3c6_a7c2));
    }
}
