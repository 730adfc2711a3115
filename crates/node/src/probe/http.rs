//! One HTTP GET over a fresh connection. Where a redirect leads is another one: `Get::redirected`.

use super::{MAX_ANSWER_BYTES, tls};
use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, HOST, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper::body::Body as _;
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use url::Url;

/// What is escaped in a query: what a request cannot carry.
const IN_QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>');
const IN_PATH: &AsciiSet = &IN_QUERY
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'^')
    .add(b'|')
    .add(b'\\');
const IN_LITERAL_PATH: &AsciiSet = &IN_PATH.add(b'%').add(b'#');

/// Each percent sign begins the two digits of a byte, at least as far as the path goes.
fn escapes_are_whole(path: &str) -> bool {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    path.split('%').skip(1).all(|after| {
        let digits = after.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// What to ask for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Get {
    pub https: bool,
    /// For the `Host` header and the server name.
    pub host: String,
    pub port: u16,
    pub path: String,
    pub headers: Vec<(String, String)>,
    /// `kube-probe/1.36` or `kube-lifecycle/1.36`.
    pub agent: &'static str,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub code: u16,
    /// At most `MAX_ANSWER_BYTES`.
    pub body: Bytes,
    /// Where a redirect leads.
    pub location: Option<String>,
}

pub async fn get(stream: TcpStream, ask: &Get) -> Result<Answer, String> {
    let request = ask.request()?;
    match ask.https {
        false => send(stream, request).await,
        true => {
            let stream = tls::connect(stream, &ask.host).await.map_err(|e| e.to_string())?;
            send(stream, request).await
        }
    }
}

impl Get {
    pub fn url(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}:{}{}", self.host, self.port, self.target())
    }

    /// The path as it goes over the wire: what may not stand there as it is, is escaped, and a fragment stays here. A query
    /// goes as it was written. Source: Go's `net/url`, of which upstream's probes are made.
    fn target(&self) -> String {
        let slash = if self.path.starts_with('/') { "" } else { "/" };
        if !escapes_are_whole(&self.path) {
            // Not what it seems to be, so all of it is a path.
            return format!("{slash}{}", utf8_percent_encode(&self.path, IN_LITERAL_PATH));
        }
        let text = self.path.split_once('#').map_or(&*self.path, |(text, _)| text);
        match text.split_once('?') {
            None => format!("{slash}{}", utf8_percent_encode(text, IN_PATH)),
            Some((path, query)) => format!(
                "{slash}{}?{}",
                utf8_percent_encode(path, IN_PATH),
                utf8_percent_encode(query, IN_QUERY)
            ),
        }
    }

    /// What to ask for after this answer: a redirect to the same host. One to another host is an answer like any other.
    pub fn redirected(&self, answer: &Answer) -> Option<Self> {
        if !matches!(answer.code, 301 | 302 | 303 | 307 | 308) {
            return None;
        }
        let from = Url::parse(&self.url()).ok()?;
        let to = from.join(answer.location.as_deref()?).ok()?;
        let https = match to.scheme() {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let query = to.query().map(|query| format!("?{query}")).unwrap_or_default();
        (to.host() == from.host()).then_some(Self {
            https,
            port: to.port_or_known_default()?,
            path: format!("{}{query}", to.path()),
            ..self.clone()
        })
    }

    fn request(&self) -> Result<Request<Empty<Bytes>>, String> {
        let mut request = Request::builder()
            .method(Method::GET)
            .uri(self.target())
            .body(Empty::new())
            .map_err(|e| format!("{}: {e}", self.url()))?;
        *request.headers_mut() = self.headers().map_err(|e| format!("{}: {e}", self.url()))?;
        Ok(request)
    }

    /// Those of the probe win; an empty value takes a default away.
    fn headers(&self) -> Result<HeaderMap, http::Error> {
        let mut headers = HeaderMap::new();
        headers.insert(
            HOST,
            HeaderValue::from_str(&format!("{}:{}", self.host, self.port))?,
        );
        headers.insert(USER_AGENT, HeaderValue::from_static(self.agent));
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        let mut replaced = Vec::new();
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes())?;
            if !replaced.contains(&name) {
                headers.remove(&name);
                replaced.push(name.clone());
            }
            if !(value.is_empty() && matches!(name, USER_AGENT | ACCEPT)) {
                headers.append(name, HeaderValue::from_str(value)?);
            }
        }
        Ok(headers)
    }
}

async fn send<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<Answer, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let text = |e: hyper::Error| e.to_string();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(text)?;
    let exchange = async {
        let mut response = sender.send_request(request).await.map_err(text)?;
        let code = response.status().as_u16();
        let location = response.headers().get(LOCATION);
        let location = location.and_then(|to| to.to_str().ok()).map(str::to_owned);
        let mut body = Vec::new();
        while body.len() < MAX_ANSWER_BYTES && !response.body().is_end_stream() {
            match response.body_mut().frame().await {
                Some(Ok(frame)) => body.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
                Some(Err(_)) | None => break,
            }
        }
        body.truncate(MAX_ANSWER_BYTES);
        Ok(Answer {
            code,
            body: body.into(),
            location,
        })
    };
    tokio::pin!(exchange, connection);
    // The connection is driven until the answer is there, then dropped.
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        ended = &mut connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(error.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_path_may_not_hold_is_escaped() {
        for (path, target) in [
            ("", "/"),
            ("healthz", "/healthz"),
            ("/a b?x=1#f", "/a%20b?x=1"),
            ("/query?query=up{job=\"x\"}|y", "/query?query=up{job=%22x%22}|y"),
            ("/q?a=b c", "/q?a=b%20c"),
            ("/{a}|\"b\"", "/%7Ba%7D%7C%22b%22"),
            ("/ü", "/%C3%BC"),
            ("/a%2Fb;v=1", "/a%2Fb;v=1"),
            ("/100%?x", "/100%25%3Fx"),
        ] {
            let ask = Get {
                path: path.into(),
                ..Get::default()
            };
            assert_eq!(ask.target(), target, "{path}");
            assert!(ask.request().is_ok(), "{path}: {:?}", ask.request());
        }
    }

    #[test]
    fn redirects_to_the_same_host_lead_on() {
        let ask = Get {
            host: "192.0.2.1".into(),
            port: 8080,
            path: "/a/b?x=1".into(),
            ..Get::default()
        };
        for (code, location, url) in [
            (302, "/login?to=b", Some("http://192.0.2.1:8080/login?to=b")),
            (301, "c", Some("http://192.0.2.1:8080/a/c")),
            (308, "https://192.0.2.1/", Some("https://192.0.2.1:443/")),
            (307, "//192.0.2.1:81/x", Some("http://192.0.2.1:81/x")),
            (302, "http://192.0.2.2/", None),
            (302, "ftp://192.0.2.1/", None),
            (200, "/login", None),
            (304, "/login", None),
        ] {
            let location = Some(location.to_owned());
            let answer = Answer {
                code,
                body: Bytes::new(),
                location,
            };
            let next = ask.redirected(&answer).map(|next| next.url());
            assert_eq!(next.as_deref(), url, "{answer:?}");
        }
        let answer = Answer {
            code: 302,
            body: Bytes::new(),
            location: None,
        };
        assert_eq!(ask.redirected(&answer), None, "it leads nowhere");
    }
}
