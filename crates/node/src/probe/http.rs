//! One HTTP GET over a fresh connection. Where a redirect leads is another one: `Get::redirected`.

use super::{MAX_ANSWER_BYTES, tls};
use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, HOST, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper::body::Body as _;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use url::Url;

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
        let slash = if self.path.starts_with('/') { "" } else { "/" };
        format!("{scheme}://{}:{}{slash}{}", self.host, self.port, self.path)
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
        let slash = if self.path.starts_with('/') { "" } else { "/" };
        let mut request = Request::builder()
            .method(Method::GET)
            .uri(format!("{slash}{}", self.path))
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
