//! Rows of WeKnora: `mcp_services` and `mcp_oauth_tokens`; what can't be taken along is said.

use model::Scope;
use serde_json::{Map, Value, json};
use vault::legacy::{is_weknora, open_weknora};
use zeroize::Zeroizing;

use super::{
    ConnectionPlan, Planned, Row, RowError, ServerPlan, body, headers_auth, headers_of, millis, stdio, title, word,
};
use crate::auth::SecretJson;

/// Where its API keys went that nobody said anything about.
const API_KEY: &str = "X-API-Key";

pub(super) fn plan(row: &Row<'_>) -> Result<Planned, RowError> {
    if row.has("transport_type") {
        return server(row);
    }
    if row.has("principal_type") {
        return connection(row);
    }
    if row.has("redirect_uri") {
        return Ok(Planned::Skipped(
            "a registration for the old system's address: Gatehouse registers itself".to_owned(),
        ));
    }
    if row.has("require_approval") {
        return Ok(Planned::Skipped("tool approvals are not taken along".to_owned()));
    }
    Err(RowError::Table)
}

fn server(row: &Row<'_>) -> Result<Planned, RowError> {
    let name = row.required("name")?;
    if row.get("deleted_at").is_some() {
        return Ok(Planned::Skipped(format!("`{name}` is deleted")));
    }
    let transport = match row.required("transport_type")? {
        "stdio" => return Ok(stdio(name)),
        "sse" => "sse",
        "http-streamable" | "http" => "streamable_http",
        other => return Err(word("transport_type", other)),
    };
    let advanced = row.object("advanced_config")?;
    let advanced = |name: &str| advanced.as_ref().and_then(|advanced| advanced.expose().get(name));
    let retries = advanced("retry_count").and_then(Value::as_u64).map_or(Value::Null, |count| count.min(10).into());
    let mut members = body(vec![
        ("title", title(name)),
        ("description", row.text("description")?.map_or(Value::Null, Value::from)),
        ("url", row.required("url")?.into()),
        ("transport", transport.into()),
        ("read_timeout_ms", millis(advanced("timeout"), 1_000, 600_000)),
        ("retry_count", retries),
        ("retry_delay_ms", millis(advanced("retry_delay"), 0, 60_000)),
        ("enabled", row.flag("enabled", true)?.into()),
        ("skip_validation", true.into()),
    ]);
    let mut warnings = Vec::new();
    let (auth, credential) = auth(row, &mut warnings)?;
    members.insert("auth".to_owned(), auth);
    if let Some(mut credential) = credential {
        members.insert("credential".to_owned(), credential.take());
    }
    let key = row.id("id")?.unwrap_or_else(|| name.to_owned());
    Ok(Planned::Server(ServerPlan { key, body: SecretJson::new(Value::Object(members)), warnings }))
}

/// Its own rules: a key or a token as the type says; without a type both, each if it is there; other headers over them.
fn auth(row: &Row<'_>, warnings: &mut Vec<String>) -> Result<(Value, Option<SecretJson>), RowError> {
    let config = row.object("auth_config")?;
    let member = |name: &str| config.as_ref().and_then(|config| config.expose().get(name));
    let text = |name: &str| member(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
    let api_key = text("api_key").map(|text| opened(row, "auth_config.api_key", text)).transpose()?;
    let token = text("token").map(|text| opened(row, "auth_config.token", text)).transpose()?;
    let mut custom = headers_of(row.object("headers")?.as_ref());
    let further = member("custom_headers").cloned().map(SecretJson::new);
    lay_over(&mut custom, headers_of(further.as_ref()));
    for (_, value) in &mut custom {
        if is_weknora(value) {
            *value = opened(row, "auth_config.custom_headers", value)?;
        }
    }
    let header = text("api_key_header").unwrap_or(API_KEY).to_owned();
    let bearer = |token: &str| Zeroizing::new(format!("Bearer {token}"));
    let mut headers = Vec::new();
    match text("auth_type").unwrap_or("") {
        "api_key" => match api_key {
            Some(key) if custom.is_empty() => {
                let credential = SecretJson::new(json!({"secrets": {"api_key": key.as_str()}}));
                return Ok((json!({"type": "api_key", "header": header, "scopes": ["global"]}), Some(credential)));
            }
            key => headers.extend(key.map(|key| (header, key))),
        },
        "bearer" => headers.extend(token.map(|token| ("Authorization".to_owned(), bearer(&token)))),
        "oauth" => return Ok((oauth(member("scopes"), text("auth_server_metadata_url"), &custom, warnings), None)),
        "" => {
            headers.extend(api_key.map(|key| (header, key)));
            headers.extend(token.map(|token| ("Authorization".to_owned(), bearer(&token))));
        }
        other => return Err(word("auth_config.auth_type", other)),
    }
    lay_over(&mut headers, custom);
    Ok(headers_auth(&headers))
}

fn oauth(
    scopes: Option<&Value>,
    metadata: Option<&str>,
    custom: &[(String, Zeroizing<String>)],
    warnings: &mut Vec<String>,
) -> Value {
    let scopes: Vec<&str> = scopes.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let mut auth = Map::new();
    auth.insert("type".to_owned(), "authorization_code".into());
    auth.insert("scopes".to_owned(), json!(["user"]));
    if !scopes.is_empty() {
        auth.insert("scope".to_owned(), scopes.join(" ").into());
    }
    // The issuer is what stands before the well-known part.
    match metadata.and_then(|url| url.split_once("/.well-known/")) {
        Some((before, after)) => {
            let path = after.split_once('/').map_or("", |(_, path)| path);
            let issuer = if path.is_empty() { before.to_owned() } else { format!("{before}/{path}") };
            auth.insert("issuer".to_owned(), issuer.into());
        }
        None if metadata.is_some() => {
            warnings.push("`auth_server_metadata_url` names no well-known document: it is found out anew".to_owned());
        }
        None => (),
    }
    if !custom.is_empty() {
        let own = json!({"name": "Authorization", "value_template": "Bearer ${access_token}"});
        let rest = custom.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("authorization"));
        let rest = rest.map(|(name, value)| json!({"name": name, "value_template": value.as_str()}));
        auth.insert("headers".to_owned(), std::iter::once(own).chain(rest).collect());
    }
    Value::Object(auth)
}

fn connection(row: &Row<'_>) -> Result<Planned, RowError> {
    if row.required("principal_type")? != "user" {
        return Ok(Planned::Skipped("only tokens of users are taken along".to_owned()));
    }
    let server = row.id("service_id")?.ok_or(RowError::Member("service_id"))?;
    let holder = row.id("principal_id")?.ok_or(RowError::Member("principal_id"))?;
    let access = row.required("access_token")?;
    let mut credential = Map::new();
    credential.insert("secrets".to_owned(), json!({}));
    credential.insert("access_token".to_owned(), opened(row, "access_token", access)?.as_str().into());
    if let Some(refresh) = row.text("refresh_token")? {
        credential.insert("refresh_token".to_owned(), opened(row, "refresh_token", refresh)?.as_str().into());
    }
    for name in ["token_type", "expires_at"] {
        if let Some(value) = row.text(name)? {
            credential.insert(name.to_owned(), value.into());
        }
    }
    Ok(Planned::Connection(ConnectionPlan {
        server,
        scope: Scope::User,
        holder: Some(holder),
        display_name: None,
        external_subject: None,
        disabled: false,
        credential: Some(SecretJson::new(Value::Object(credential))),
    }))
}

/// A value that is a ciphertext if it says so, and itself if not: that system wrote both.
fn opened(row: &Row<'_>, member: &'static str, text: &str) -> Result<Zeroizing<String>, RowError> {
    if !is_weknora(text) {
        return Ok(Zeroizing::new(text.to_owned()));
    }
    let key = row.key.ok_or(RowError::NoKey(member))?;
    let plain = open_weknora(key.expose().as_bytes(), text).map_err(|why| RowError::Ciphertext { member, why })?;
    let text = std::str::from_utf8(&plain).map_err(|_| RowError::Member(member))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// The later ones win.
fn lay_over(headers: &mut Vec<(String, Zeroizing<String>)>, over: Vec<(String, Zeroizing<String>)>) {
    headers.retain(|(name, _)| !over.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)));
    headers.extend(over);
}
