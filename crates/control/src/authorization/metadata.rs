//! What a client reads first (RFC 8414): where the endpoints are, and what they can do.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use crate::App;
use crate::authorization::refusal::Refusal;
use crate::authorization::server::Server;
use crate::authorization::{SCOPE, answer};
use crate::rest::Segment;

/// Answers whoever asks.
pub(crate) async fn show(State(app): State<App>, Segment(tenant): Segment) -> Result<Response, Refusal> {
    let server = Server::of(&app, &tenant).await?;
    Ok(answer::json(StatusCode::OK, &document(&server.issuer)))
}

fn document(issuer: &str) -> Value {
    json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "registration_endpoint": format!("{issuer}/register"),
        "revocation_endpoint": format!("{issuer}/revoke"),
        "scopes_supported": [SCOPE],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
        "code_challenge_methods_supported": ["S256"],
        "client_id_metadata_document_supported": true,
        "authorization_response_iss_parameter_supported": true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_below_the_issuer() {
        let issuer = "https://gate.example/oauth/acme";
        let document = document(issuer);
        assert_eq!(document["issuer"], issuer);
        for endpoint in ["authorization_endpoint", "token_endpoint", "registration_endpoint", "revocation_endpoint"] {
            assert!(document[endpoint].as_str().unwrap().starts_with(&format!("{issuer}/")), "{endpoint}");
        }
    }
}
