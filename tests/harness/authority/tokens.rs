//! The authorization server's tokens: who gets one, and what becomes of those that were used.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::Response;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Family, Fault, Refresh, Shape, State};
use crate::upstream::body::{self, Body};

/// An OAuth error.
type Refusal = (u16, &'static str);

/// What the script says about the next request; an answer, or `None` to go on.
async fn met(state: &State) -> Result<Option<Response<Body>>, std::io::Error> {
    let fault = state.book.lock().unwrap().script.pop_front();
    match fault {
        None => Ok(None),
        Some(Fault::Status(status)) => Ok(Some(body::whole(status, "text/plain", "it is broken"))),
        Some(Fault::Error(error)) => Ok(Some(refused((400, error)))),
        Some(Fault::Garbage) => Ok(Some(body::whole(200, "text/html", "<p>Welcome to the captive portal"))),
        Some(Fault::Cut) => Err(std::io::Error::other("cut")),
        Some(Fault::Held) => {
            state.waiting.fetch_add(1, Ordering::Relaxed);
            let mut gate = state.gate.subscribe();
            let _ = gate.wait_for(|open| *open).await;
            state.waiting.fetch_sub(1, Ordering::Relaxed);
            Ok(None)
        }
        Some(Fault::Slow(pause)) => {
            tokio::time::sleep(pause).await;
            Ok(None)
        }
    }
}

fn refused((status, error): Refusal) -> Response<Body> {
    body::whole(status, "application/json", json!({"error": error}).to_string())
}

/// The token endpoint.
pub(super) async fn token(
    state: &State,
    shape: &Shape,
    fields: &BTreeMap<String, String>,
    authorization: Option<&str>,
) -> Result<Response<Body>, std::io::Error> {
    if let Some(answer) = met(state).await? {
        return Ok(answer);
    }
    let answered = client_of(state, shape, fields, authorization).and_then(|client| {
        match fields.get("grant_type").map_or("", String::as_str) {
            "authorization_code" => exchange(state, fields, &client),
            "refresh_token" => refresh(state, shape, fields, &client),
            "client_credentials" => Ok(by_itself(state, fields, client.clone(), client)),
            "urn:ietf:params:oauth:grant-type:token-exchange" => {
                let subject = fields.get("subject_token").ok_or((400, "invalid_request"))?;
                Ok(by_itself(state, fields, client, format!("subject {}", fingerprint(subject))))
            }
            _ => Err((400, "unsupported_grant_type")),
        }
    });
    Ok(match answered {
        Ok(answer) => body::json(&answer),
        Err(refusal) => {
            if refusal.1 == "invalid_grant" {
                state.book.lock().unwrap().grants_refused += 1;
            }
            refused(refusal)
        }
    })
}

/// Eight characters that tell tokens apart without telling them.
pub(crate) fn fingerprint(token: &str) -> String {
    Sha256::digest(token.as_bytes()).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// Who asks, if they are who they say.
fn client_of(
    state: &State,
    shape: &Shape,
    fields: &BTreeMap<String, String>,
    authorization: Option<&str>,
) -> Result<String, Refusal> {
    let nobody = (401, "invalid_client");
    let (method, id, secret) = if let Some(basic) = authorization.and_then(|text| text.strip_prefix("Basic ")) {
        let pair = STANDARD.decode(basic).ok().and_then(|pair| String::from_utf8(pair).ok()).ok_or(nobody)?;
        let (id, secret) = pair.split_once(':').ok_or(nobody)?;
        ("client_secret_basic", unescaped(id), Some(unescaped(secret)))
    } else if let Some(assertion) = fields.get("client_assertion") {
        let claims = claims(assertion).ok_or(nobody)?;
        let id = claims["iss"].as_str().unwrap_or_default().to_owned();
        let fine = claims["sub"] == id.as_str() && claims["exp"].is_number() && claims["jti"].is_string();
        if !fine || !shape.methods.contains(&"private_key_jwt") {
            return Err(nobody);
        }
        return if state.book.lock().unwrap().clients.contains_key(&id) { Ok(id) } else { Err(nobody) };
    } else {
        let id = fields.get("client_id").cloned().ok_or(nobody)?;
        match fields.get("client_secret") {
            Some(secret) => ("client_secret_post", id, Some(secret.clone())),
            None => ("none", id, None),
        }
    };
    let book = state.book.lock().unwrap();
    match book.clients.get(&id) {
        Some(client) if client.secret == secret && shape.methods.contains(&method) => Ok(id),
        None if shape.client_documents && id.starts_with("http") && secret.is_none() => Ok(id),
        _ => Err(nobody),
    }
}

/// The claims of a JWT, unchecked.
fn claims(jwt: &str) -> Option<Value> {
    let body = jwt.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).ok()?).ok()
}

fn unescaped(text: &str) -> String {
    let pair = format!("v={text}");
    url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

fn exchange(state: &State, fields: &BTreeMap<String, String>, client: &str) -> Result<Value, Refusal> {
    let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
    let granted = state.book.lock().unwrap().codes.remove(&field("code")).ok_or((400, "invalid_grant"))?;
    let proof = URL_SAFE_NO_PAD.encode(Sha256::digest(field("code_verifier").as_bytes()));
    if granted.client != client || granted.redirect != field("redirect_uri") || granted.challenge != proof {
        return Err((400, "invalid_grant"));
    }
    Ok(state.begin(Family {
        client: granted.client,
        person: granted.person,
        scope: granted.scope,
        resource: granted.resource,
        revoked: false,
    }))
}

fn refresh(state: &State, shape: &Shape, fields: &BTreeMap<String, String>, client: &str) -> Result<Value, Refusal> {
    let token = fields.get("refresh_token").ok_or((400, "invalid_request"))?;
    let gone = (400, "invalid_grant");
    let (family, scope) = {
        let mut book = state.book.lock().unwrap();
        let (family, used) = *book.refresh.get(token).ok_or(gone)?;
        let known = book.families.get(&family).cloned().ok_or(gone)?;
        if used {
            book.reused += 1;
            if let Some(family) = book.families.get_mut(&family) {
                family.revoked = true;
            }
            return Err(gone);
        }
        if known.revoked || known.client != client {
            return Err(gone);
        }
        if shape.refresh == Refresh::Rotated {
            book.refresh.insert(token.clone(), (family, true));
        }
        (family, known.scope)
    };
    Ok(state.issue(family, &scope, false))
}

/// A token that nobody signed in for, so without a refresh token.
fn by_itself(state: &State, fields: &BTreeMap<String, String>, client: String, person: String) -> Value {
    let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
    let family = Family { client, person, scope: field("scope"), resource: field("resource"), revoked: false };
    let mut answer = state.begin(family);
    if let Some(token) = answer["refresh_token"].take().as_str() {
        state.book.lock().unwrap().refresh.remove(token);
    }
    if let Some(members) = answer.as_object_mut() {
        members.remove("refresh_token");
    }
    answer
}

/// An answer of no standard to a request of no standard.
pub(super) async fn custom(state: &State, fields: &BTreeMap<String, String>) -> Result<Response<Body>, std::io::Error> {
    if let Some(answer) = met(state).await? {
        return Ok(answer);
    }
    let person = fields.get("user").cloned().unwrap_or_else(|| "custom".to_owned());
    let answer = by_itself(state, &BTreeMap::new(), "custom".to_owned(), person);
    Ok(body::json(&json!({"data": {"token": answer["access_token"], "lives": answer["expires_in"]}})))
}

/// Revokes everything that came from the same sign-in.
pub(super) fn revoke(state: &State, fields: &BTreeMap<String, String>) -> Response<Body> {
    let token = fields.get("token").cloned().unwrap_or_default();
    let mut book = state.book.lock().unwrap();
    let family =
        book.refresh.get(&token).map(|(family, _)| *family).or_else(|| book.access.get(&token).map(|one| one.family));
    if let Some(family) = family.and_then(|family| book.families.get_mut(&family)) {
        family.revoked = true;
    }
    body::whole(200, "text/plain", "")
}
