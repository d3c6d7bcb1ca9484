//! What the authorization server answers at its paths, but for tokens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::Request;
use http::Response;
use http::header::{AUTHORIZATION, LOCATION};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use super::{Asked, Client, Discovery, Granted, Iss, Registration, Shape, State, tokens};
use crate::canary;
use crate::upstream::body::{self, Body};

/// Answers one HTTP request; `Err` cuts the connection.
pub(super) async fn route(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Body>, std::io::Error> {
    let (head, incoming) = request.into_parts();
    let bytes = incoming.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let path = head.uri.path().to_owned();
    let fields = match head.method.as_str() {
        "GET" => form(head.uri.query().unwrap_or("").as_bytes()),
        _ => fields_of(&bytes),
    };
    let authorization = head.headers.get(AUTHORIZATION).and_then(|text| text.to_str().ok()).map(str::to_owned);
    let index = {
        let mut book = state.book.lock().unwrap();
        let asked = Asked {
            at: Instant::now(),
            path: path.clone(),
            fields: fields.clone(),
            authorization: authorization.clone(),
            status: 0,
        };
        book.asked.push(asked);
        book.asked.len() - 1
    };
    let shape = state.shape.lock().unwrap().clone();
    let answer = match (head.method.as_str(), path.strip_prefix(&shape.path).unwrap_or(&path)) {
        ("GET", _) if is_metadata(&shape, &path) => Ok(body::json(&metadata(&state, &shape))),
        ("GET", "/authorize") => Ok(authorize(&state, &shape, &fields)),
        ("POST", "/register") => Ok(register(&state, &shape, &bytes)),
        ("POST", "/token") => tokens::token(&state, &shape, &fields, authorization.as_deref()).await,
        ("POST", "/custom") => tokens::custom(&state, &fields).await,
        ("POST", "/revoke") => Ok(tokens::revoke(&state, &fields)),
        _ => Ok(body::whole(404, "text/plain", "nothing is here")),
    };
    let status = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
    state.book.lock().unwrap().asked[index].status = status;
    answer
}

fn form(bytes: &[u8]) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(bytes).into_owned().collect()
}

fn fields_of(bytes: &Bytes) -> BTreeMap<String, String> {
    match serde_json::from_slice::<Value>(bytes) {
        Ok(Value::Object(members)) => members
            .into_iter()
            .map(|(name, value)| (name, value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
            .collect(),
        _ => form(bytes),
    }
}

fn is_metadata(shape: &Shape, path: &str) -> bool {
    let known = match shape.discovery {
        Discovery::Rfc8414 => format!("/.well-known/oauth-authorization-server{}", shape.path),
        Discovery::Oidc => format!("{}/.well-known/openid-configuration", shape.path),
        Discovery::OidcInserted => format!("/.well-known/openid-configuration{}", shape.path),
        Discovery::Nowhere => return false,
    };
    path == known
}

fn metadata(state: &State, shape: &Shape) -> Value {
    let issuer = format!("{}{}", state.origin(), shape.path);
    let mut metadata = json!({
        "issuer": shape.names_itself.clone().unwrap_or_else(|| issuer.clone()),
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "token_endpoint_auth_methods_supported": shape.methods,
    });
    if shape.pkce {
        metadata["code_challenge_methods_supported"] = json!(["S256"]);
    }
    if shape.registration != Registration::None {
        metadata["registration_endpoint"] = json!(format!("{issuer}/register"));
    }
    if shape.client_documents {
        metadata["client_id_metadata_document_supported"] = json!(true);
    }
    if matches!(shape.iss, Iss::Right | Iss::Missing | Iss::Wrong) {
        metadata["authorization_response_iss_parameter_supported"] = json!(true);
    }
    if shape.revocation {
        metadata["revocation_endpoint"] = json!(format!("{issuer}/revoke"));
    }
    if !shape.scopes.is_empty() {
        metadata["scopes_supported"] = json!(shape.scopes);
    }
    metadata
}

fn register(state: &State, shape: &Shape, bytes: &Bytes) -> Response<Body> {
    match shape.registration {
        Registration::Open => (),
        Registration::None => return body::whole(404, "text/plain", "nothing is here"),
        Registration::Refuses => {
            let error = json!({"error": "invalid_client_metadata"});
            return body::whole(400, "application/json", error.to_string());
        }
        Registration::Fails => return body::whole(500, "text/plain", "registration is broken"),
    }
    let mut client: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let redirects: Vec<String> = client["redirect_uris"].as_array().into_iter().flatten().filter_map(text).collect();
    if redirects.is_empty() {
        let error = json!({"error": "invalid_redirect_uri"});
        return body::whole(400, "application/json", error.to_string());
    }
    let wanted = client["token_endpoint_auth_method"].as_str().unwrap_or("client_secret_basic");
    let method = if shape.methods.contains(&wanted) { wanted } else { shape.methods[0] }.to_owned();
    let secret = (method != "none").then(|| canary::secret("client-secret"));
    let id = format!("registered-{}", Uuid::new_v4().simple());
    client["client_id"] = json!(id);
    client["token_endpoint_auth_method"] = json!(method);
    if let Some(secret) = &secret {
        client["client_secret"] = json!(secret);
    }
    state.book.lock().unwrap().clients.insert(id, Client { secret, redirects });
    body::whole(201, "application/json", client.to_string())
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn authorize(state: &State, shape: &Shape, fields: &BTreeMap<String, String>) -> Response<Body> {
    let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
    let refuse = |why: &str| body::whole(400, "text/plain", why.to_owned());
    let (client, redirect) = (field("client_id"), field("redirect_uri"));
    let known = state.book.lock().unwrap().clients.get(&client).cloned();
    match known {
        Some(known) if known.redirects.is_empty() || known.redirects.contains(&redirect) => (),
        Some(_) => return refuse("redirect_uri is not registered"),
        // The document at that URL would have to be fetched from a host that is not there.
        None if shape.client_documents && client.starts_with("http") => (),
        None => return refuse("client_id is unknown"),
    }
    if field("response_type") != "code"
        || field("code_challenge_method") != "S256"
        || field("code_challenge").len() != 43
    {
        return refuse("a code with PKCE and S256 it has to be");
    }
    let Ok(mut back) = Url::parse(&redirect) else { return refuse("redirect_uri is no URL") };
    back.query_pairs_mut().append_pair("state", &field("state"));
    match shape.iss {
        Iss::Right => _ = back.query_pairs_mut().append_pair("iss", &format!("{}{}", state.origin(), shape.path)),
        Iss::Wrong | Iss::UnannouncedWrong => {
            back.query_pairs_mut().append_pair("iss", "https://somebody-else.example");
        }
        Iss::Missing | Iss::Unannounced => (),
    }
    if let Some(error) = shape.denies {
        back.query_pairs_mut().append_pair("error", error);
    } else {
        let code = canary::secret("code");
        let granted = Granted {
            client,
            redirect,
            challenge: field("code_challenge"),
            scope: field("scope"),
            resource: field("resource"),
            person: shape.person.clone(),
        };
        back.query_pairs_mut().append_pair("code", &code);
        state.book.lock().unwrap().codes.insert(code, granted);
    }
    let mut response = body::whole(302, "text/plain", "");
    response.headers_mut().insert(LOCATION, back.as_str().parse().unwrap());
    response
}
