//! One `grpc.health.v1.Health/Check` call. Both messages have one field, so they are written and read here by hand.

use super::MAX_ANSWER_BYTES;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, TE, USER_AGENT};
use http::{Method, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

const SERVING: u64 = 1;

/// Asks whether the service (empty: the server as a whole) is serving.
pub async fn health(stream: TcpStream, authority: &str, service: &str) -> Result<(), String> {
    let text = |e: hyper::Error| format!("rpc error: {e}");
    let io = TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .map_err(text)?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{authority}/grpc.health.v1.Health/Check"))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header(USER_AGENT, "kube-probe/1.36")
        .body(Full::new(Bytes::from(request_bytes(service))))
        .map_err(|e| e.to_string())?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(text)?;
        let (head, body) = response.into_parts();
        let limited = Limited::new(body, MAX_ANSWER_BYTES);
        let collected = limited.collect().await.map_err(|e| format!("rpc error: {e}"))?;
        let trailers = collected.trailers().cloned().unwrap_or_default();
        let header = |name: &str| {
            let value = trailers.get(name).or(head.headers.get(name));
            value
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
                .to_owned()
        };
        match header("grpc-status").as_str() {
            "0" | "" => {}
            code => return Err(failure(code, &header("grpc-message"), service)),
        }
        match status(&collected.to_bytes()) {
            Some(SERVING) => Ok(()),
            status => Err(format!("service unhealthy (responded with \"{}\")", name(status))),
        }
    };
    tokio::pin!(exchange, connection);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        ended = &mut connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(text(error)),
        },
    }
}

/// A gRPC frame with `HealthCheckRequest { service = 1 }`.
fn request_bytes(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(service.as_bytes());
    }
    let mut frame = vec![0];
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend(message);
    frame
}

/// Field 1 (`status`) of a framed `HealthCheckResponse`; 0 where it is left out.
fn status(frame: &[u8]) -> Option<u64> {
    let (&compressed, rest) = frame.split_first()?;
    let (length, message) = rest.split_at_checked(4)?;
    let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
    let message = message.get(..length)?;
    if compressed != 0 {
        return None;
    }
    match message {
        [] => Some(0),
        [0x08, value, ..] if *value < 0x80 => Some(u64::from(*value)),
        _ => None,
    }
}

fn name(status: Option<u64>) -> &'static str {
    match status {
        Some(0) => "UNKNOWN",
        Some(2) => "NOT_SERVING",
        Some(3) => "SERVICE_UNKNOWN",
        _ => "an answer that is not one of grpc.health.v1",
    }
}

fn failure(code: &str, message: &str, service: &str) -> String {
    match code {
        "12" => "this server does not implement the grpc health protocol (grpc.health.v1.Health)".to_owned(),
        "5" if !service.is_empty() => {
            format!("service unhealthy (service \"{service}\" is not known to the server)")
        }
        _ => format!("rpc error: code = {code} desc = {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_framed_and_read() {
        assert_eq!(request_bytes(""), [0, 0, 0, 0, 0]);
        assert_eq!(request_bytes("ab"), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(request_bytes(&"x".repeat(300))[5..8], [0x0a, 0xac, 0x02]);
        for (frame, want) in [
            (&[0, 0, 0, 0, 2, 8, 1][..], Some(1)),
            (&[0, 0, 0, 0, 0], Some(0)),
            (&[0, 0, 0, 0, 2, 8], None),
            (&[1, 0, 0, 0, 2, 8, 1], None),
            (&[0, 0], None),
            (&[], None),
        ] {
            assert_eq!(status(frame), want, "{frame:?}");
        }
    }
}
