//! As much of HTTP/1.1 as the app needs: read one request with stated limits, write one answer with a length.

use std::fs::File;
use std::io::{self, BufRead, Read, Write};

/// A request's line and headers may have this many bytes; more is answered with 431.
pub const HEAD_LIMIT_BYTES: usize = 8 * 1024;
/// A request's body may have this many bytes (none is used, all are read); more is answered with 413.
pub const BODY_LIMIT_BYTES: u64 = 64 * 1024;
const HEADERS_LIMIT: usize = 64;

#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    /// Without the query.
    pub path: String,
    /// What follows `Authorization: Bearer `.
    pub bearer: Option<String>,
    pub keep_alive: bool,
    body_bytes: u64,
}

/// Why there is no request to answer.
#[derive(Debug)]
pub enum Unreadable {
    /// The peer closed, or was idle too long; nothing to say.
    Gone,
    /// The answer to give before closing.
    Refused(Answer),
}

impl From<io::Error> for Unreadable {
    fn from(_: io::Error) -> Self {
        Self::Gone // nobody is left to be told
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Body,
    /// Further header lines, each with its CRLF.
    pub headers: &'static str,
}

#[derive(Debug)]
pub enum Body {
    Text(String),
    /// So many bytes of a file.
    File(File, u64),
}

impl Answer {
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Self {
            status,
            body: Body::Text(text.into()),
            headers: "",
        }
    }

    pub fn with(mut self, headers: &'static str) -> Self {
        self.headers = headers;
        self
    }

    /// Writes it all; `head_only` is for HEAD, `keep_alive` for what the peer may expect next.
    pub fn write(self, out: &mut impl Write, head_only: bool, keep_alive: bool) -> io::Result<()> {
        let length = match &self.body {
            Body::Text(text) => text.len() as u64,
            Body::File(_, length) => *length,
        };
        let mut bytes = format!(
            "HTTP/1.1 {} {}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {length}\r\nconnection: {}\r\n{}\r\n",
            self.status,
            reason(self.status),
            if keep_alive { "keep-alive" } else { "close" },
            self.headers,
        )
        .into_bytes();
        match self.body {
            Body::Text(text) if !head_only => {
                bytes.extend_from_slice(text.as_bytes());
                out.write_all(&bytes) // one write, one packet
            }
            Body::File(file, length) if !head_only => {
                out.write_all(&bytes)?;
                let sent = io::copy(&mut file.take(length), out)?;
                if sent == length {
                    Ok(())
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                }
            }
            _ => out.write_all(&bytes),
        }
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}

/// Reads one request and its body. What follows it stays in `input` for the next call.
pub fn read(input: &mut impl BufRead) -> Result<Request, Unreadable> {
    let head = read_head(input)?;
    let request = parse(&head).map_err(Unreadable::Refused)?;
    let skipped = io::copy(&mut input.by_ref().take(request.body_bytes), &mut io::sink())?;
    if skipped < request.body_bytes {
        Err(Unreadable::Gone)
    } else {
        Ok(request)
    }
}

/// Up to and including the empty line.
fn read_head(input: &mut impl BufRead) -> Result<Vec<u8>, Unreadable> {
    let mut head = Vec::new();
    loop {
        let left = (HEAD_LIMIT_BYTES - head.len()) as u64;
        let line = input.by_ref().take(left).read_until(b'\n', &mut head)?;
        if head.ends_with(b"\r\n\r\n") || head.ends_with(b"\n\n") {
            return Ok(head);
        }
        if head.len() == HEAD_LIMIT_BYTES {
            let text = format!("the request's head is over {HEAD_LIMIT_BYTES} bytes\n");
            return Err(Unreadable::Refused(Answer::text(431, text)));
        }
        if line == 0 {
            return Err(Unreadable::Gone);
        }
        if head == b"\r\n" || head == b"\n" {
            head.clear(); // an empty line before a request is to be ignored
        }
    }
}

fn parse(head: &[u8]) -> Result<Request, Answer> {
    let refused = |why: &str| Answer::text(400, format!("bad request: {why}\n"));
    let mut slots = [httparse::EMPTY_HEADER; HEADERS_LIMIT];
    let mut parsed = httparse::Request::new(&mut slots);
    let done = parsed
        .parse(head)
        .map_err(|e| refused(&e.to_string()))?
        .is_complete();
    let (true, Some(method), Some(target), Some(version)) =
        (done, parsed.method, parsed.path, parsed.version)
    else {
        return Err(refused("it is not complete"));
    };
    let mut request = Request {
        method: method.to_owned(),
        path: target.split('?').next().unwrap_or(target).to_owned(),
        bearer: None,
        keep_alive: version == 1,
        body_bytes: 0,
    };
    let mut length: Option<u64> = None;
    for header in parsed.headers.iter() {
        let value = str::from_utf8(header.value)
            .map_err(|_| refused("a header is not text"))?
            .trim();
        match header.name.to_ascii_lowercase().as_str() {
            "connection" if value.eq_ignore_ascii_case("close") => request.keep_alive = false,
            "connection" if value.eq_ignore_ascii_case("keep-alive") => request.keep_alive = true,
            "authorization" => {
                request.bearer = value.strip_prefix("Bearer ").map(|token| token.trim().to_owned())
            }
            "transfer-encoding" => return Err(Answer::text(501, "a body needs a content-length\n")),
            "content-length" => {
                let valid =
                    !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) && length.is_none();
                length = value.parse().ok().filter(|_| valid);
                if length.is_none() {
                    return Err(refused("content-length is not one number"));
                }
            }
            _ => {}
        }
    }
    request.body_bytes = length.unwrap_or(0);
    if request.body_bytes > BODY_LIMIT_BYTES {
        return Err(Answer::text(
            413,
            format!("the body is over {BODY_LIMIT_BYTES} bytes\n"),
        ));
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(mut text: &[u8]) -> Result<Request, Unreadable> {
        read(&mut text)
    }

    fn status(text: &[u8]) -> Option<u16> {
        match read_text(text) {
            Err(Unreadable::Refused(answer)) => Some(answer.status),
            _ => None,
        }
    }

    #[test]
    fn a_request_is_read_and_the_next_one_is_left() {
        let mut input: &[u8] = b"\r\nPOST /reset?a=b HTTP/1.1\r\nAuthorization: Bearer s3 \r\nContent-Length: 2\r\n\r\nhiGET / HTTP/1.0\r\n\r\n";
        let first = read(&mut input).expect("first");
        assert_eq!((first.method.as_str(), first.path.as_str()), ("POST", "/reset"));
        assert_eq!((first.bearer.as_deref(), first.keep_alive), (Some("s3"), true));
        let second = read(&mut input).expect("second");
        assert_eq!((second.path.as_str(), second.keep_alive), ("/", false));
        assert!(matches!(read(&mut input), Err(Unreadable::Gone)));
    }

    #[test]
    fn connection_headers_are_heard() {
        assert!(
            !read_text(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
                .expect("valid")
                .keep_alive
        );
        assert!(
            read_text(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
                .expect("valid")
                .keep_alive
        );
    }

    #[test]
    fn what_is_too_big_or_broken_is_refused_with_a_reason() {
        let big_head = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(HEAD_LIMIT_BYTES));
        assert_eq!(status(big_head.as_bytes()), Some(431));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(HEADERS_LIMIT + 1));
        assert_eq!(status(many.as_bytes()), Some(400));
        assert_eq!(
            status(b"POST / HTTP/1.1\r\nContent-Length: 65537\r\n\r\n"),
            Some(413)
        );
        assert_eq!(
            status(b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n"),
            Some(400)
        );
        assert_eq!(
            status(b"POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n"),
            Some(400)
        );
        assert_eq!(
            status(b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
            Some(400)
        );
        assert_eq!(
            status(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"),
            Some(501)
        );
        assert_eq!(status(b"\x00\x01\x02\r\n\r\n"), Some(400));
        assert_eq!(status(b"GET / HTTP/1.1\r\nx: \xff\r\n\r\n"), Some(400));
    }

    #[test]
    fn a_request_that_is_cut_short_gets_no_answer() {
        for cut in [
            &b""[..],
            b"GET / HT",
            b"GET / HTTP/1.1\r\n",
            b"PUT / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc",
        ] {
            assert!(matches!(read_text(cut), Err(Unreadable::Gone)));
        }
    }

    #[test]
    fn an_answer_is_text_with_its_length_and_head_has_no_body() {
        let mut out = Vec::new();
        let answer = Answer::text(405, "no\n").with("allow: GET\r\n");
        answer.write(&mut out, false, true).expect("written");
        let head = "HTTP/1.1 405 Method Not Allowed\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 3\r\n";
        assert_eq!(
            String::from_utf8_lossy(&out),
            format!("{head}connection: keep-alive\r\nallow: GET\r\n\r\nno\n")
        );
        out.clear();
        Answer::text(405, "no\n")
            .write(&mut out, true, false)
            .expect("written");
        assert_eq!(
            String::from_utf8_lossy(&out),
            format!("{head}connection: close\r\n\r\n")
        );
    }
}
