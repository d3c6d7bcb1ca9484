//! Rows of Nexent: `mcp_record_t`.

use serde_json::Value;
use zeroize::Zeroizing;

use super::{Planned, Row, RowError, ServerPlan, body, headers_auth, headers_of, title};
use crate::auth::SecretJson;

pub(super) fn plan(row: &Row<'_>) -> Result<Planned, RowError> {
    if !row.has("mcp_server") || !row.has("mcp_name") {
        return Err(RowError::Table);
    }
    let name = row.required("mcp_name")?;
    if row.flag("delete_flag", false)? {
        return Ok(Planned::Skipped(format!("`{name}` is deleted")));
    }
    if row.get("container_id").is_some_and(|id| id.as_str() != Some("")) {
        return Ok(Planned::Skipped(format!(
            "stdio_disabled: `{name}` is a container that the old system ran; Gatehouse starts none"
        )));
    }
    let mut headers = headers_of(row.object("custom_headers")?.as_ref());
    if let Some(token) = row.text("authorization_token")? {
        headers.retain(|(name, _)| !name.eq_ignore_ascii_case("authorization"));
        headers.push(("Authorization".to_owned(), Zeroizing::new(token.trim().to_owned())));
    }
    let mut members = body(vec![
        ("title", title(name)),
        ("description", row.text("description")?.map_or(Value::Null, Value::from)),
        ("url", row.required("mcp_server")?.into()),
        ("enabled", row.flag("enabled", true)?.into()),
        ("skip_validation", true.into()),
    ]);
    let (auth, credential) = headers_auth(&headers);
    members.insert("auth".to_owned(), auth);
    if let Some(mut credential) = credential {
        members.insert("credential".to_owned(), credential.take());
    }
    let body = SecretJson::new(Value::Object(members));
    Ok(Planned::Server(ServerPlan { key: name.to_owned(), body, warnings: Vec::new() }))
}
