//! Rows of Yuxi: `mcp_servers` and `mcp_connections`.

use model::{Scope, Secret};
use serde_json::{Value, json};
use vault::legacy::{YuxiCiphertext, open_yuxi};

use super::{
    ConnectionPlan, Planned, Row, RowError, ServerPlan, body, headers_auth, headers_of, millis, stdio, title, word,
};
use crate::auth::SecretJson;

pub(super) fn plan(row: &Row<'_>) -> Result<Planned, RowError> {
    if row.has("scope_type") {
        return connection(row);
    }
    if row.has("transport") && row.has("name") { server(row) } else { Err(RowError::Table) }
}

fn server(row: &Row<'_>) -> Result<Planned, RowError> {
    let name = row.required("name")?;
    let transport = match row.required("transport")? {
        "stdio" => return Ok(stdio(name)),
        "sse" => "sse",
        "streamable_http" => "streamable_http",
        other => return Err(word("transport", other)),
    };
    let config = row.object("auth_config_json")?;
    let provider = config.as_ref().and_then(|config| config.expose().get("provider")).and_then(Value::as_str);
    if provider == Some("stdio_env") {
        return Ok(stdio(name));
    }
    let headers = headers_of(row.object("headers")?.as_ref());
    let mut members = body(vec![
        ("title", title(name)),
        ("description", row.text("description")?.map_or(Value::Null, Value::from)),
        ("url", row.required("url")?.into()),
        ("transport", transport.into()),
        ("connect_timeout_ms", millis(row.get("timeout"), 100, 60_000)),
        ("read_timeout_ms", millis(row.get("sse_read_timeout").or(row.get("timeout")), 1_000, 600_000)),
        ("disabled_tools", row.json("disabled_tools")?.map_or(Value::Null, |mut tools| tools.take())),
        ("tags", row.json("tags")?.map_or(Value::Null, |mut tags| tags.take())),
        ("enabled", row.flag("enabled", true)?.into()),
        ("skip_validation", true.into()),
    ]);
    match config {
        // The headers of the row go with what the settings inject.
        Some(mut config) => {
            let mut config = config.take();
            if !headers.is_empty() {
                let entries =
                    headers.iter().map(|(name, value)| json!({"name": name, "value_template": value.as_str()}));
                let inject = config.get("inject").cloned().unwrap_or_else(|| json!({"target": "headers"}));
                let mut inject = inject;
                let given = inject.get("entries").and_then(Value::as_array).cloned().unwrap_or_default();
                let all: Vec<Value> = entries.chain(given).collect();
                if let Some(inject) = inject.as_object_mut() {
                    inject.insert("entries".to_owned(), all.into());
                }
                if let Some(config) = config.as_object_mut() {
                    config.insert("inject".to_owned(), inject);
                }
            }
            members.insert("auth_config".to_owned(), config);
        }
        None => {
            let (auth, credential) = headers_auth(&headers);
            members.insert("auth".to_owned(), auth);
            if let Some(mut credential) = credential {
                members.insert("credential".to_owned(), credential.take());
            }
        }
    }
    let body = SecretJson::new(Value::Object(members));
    Ok(Planned::Server(ServerPlan { key: name.to_owned(), body, warnings: Vec::new() }))
}

fn connection(row: &Row<'_>) -> Result<Planned, RowError> {
    let server = row.required("server_name")?.to_owned();
    let scope = match row.required("scope_type")? {
        "system" => Scope::Global,
        "department" => Scope::Department,
        "user" => Scope::User,
        other => return Err(word("scope_type", other)),
    };
    let holder = match scope {
        Scope::Global => None,
        Scope::Department | Scope::User => Some(row.id("scope_id")?.ok_or(RowError::Member("scope_id"))?),
    };
    let disabled = match row.text("status")?.unwrap_or("active") {
        "active" | "reauth_required" | "invalid" => false,
        "disabled" => true,
        other => return Err(word("status", other)),
    };
    Ok(Planned::Connection(ConnectionPlan {
        server,
        scope,
        holder,
        display_name: row.text("display_name")?.map(str::to_owned),
        external_subject: row.text("external_subject")?.map(str::to_owned),
        disabled,
        credential: match row.text("credential_blob")? {
            Some(blob) => Some(credential(blob, row.key)?),
            None => None,
        },
    }))
}

/// Encrypted in one of two forms, or as it is: JSON of a credential, or the token itself.
fn credential(blob: &str, key: Option<&Secret>) -> Result<SecretJson, RowError> {
    const MEMBER: &str = "credential_blob";
    let raw = |text: &str| SecretJson::new(Value::String(text.to_owned()));
    let Some(json) = SecretJson::parse(blob.as_bytes()).filter(|json| json.expose().is_object()) else {
        return Ok(raw(blob));
    };
    let text = |name: &str| json.expose().get(name).and_then(Value::as_str);
    let (Some(version), Some(nonce), Some(ciphertext)) =
        (json.expose().get("v").and_then(Value::as_u64), text("nonce"), text("ciphertext"))
    else {
        return Ok(json);
    };
    let key = key.ok_or(RowError::NoKey(MEMBER))?;
    let sealed = YuxiCiphertext { version, salt: text("salt"), nonce, ciphertext };
    let plain =
        open_yuxi(key.expose().as_bytes(), &sealed).map_err(|why| RowError::Ciphertext { member: MEMBER, why })?;
    match SecretJson::parse(&plain).filter(|json| json.expose().is_object()) {
        Some(json) => Ok(json),
        None => Ok(raw(std::str::from_utf8(&plain).map_err(|_| RowError::Member(MEMBER))?)),
    }
}
