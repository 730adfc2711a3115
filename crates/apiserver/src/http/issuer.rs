//! What others need to check service account tokens: who issues them, and the public keys (OIDC discovery). Who may read
//! it is the roles' business: `system:service-account-issuer-discovery`.

use super::body::Body;
use crate::core::access::Signer;
use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};

const CONFIGURATION: &str = "/.well-known/openid-configuration";
const KEYS: &str = "/openid/v1/jwks";

pub fn answer(signer: Option<&dyn Signer>, path: &str) -> Option<Response<Body>> {
    let signer = signer?;
    match path {
        CONFIGURATION => {
            let issuer = signer.issuer();
            let configuration = json!({
                // Under this name pods reach the server.
                "issuer": issuer, "jwks_uri": format!("{issuer}{KEYS}"),
                "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
            });
            Some(response(&configuration, "application/json"))
        }
        KEYS => Some(response(&signer.public_keys(), "application/jwk-set+json")),
        _ => None,
    }
}

fn response(value: &Value, media_type: &'static str) -> Response<Body> {
    let mut response = super::respond::encoded(http::StatusCode::OK, value, super::negotiate::Form::JSON);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    response
}
