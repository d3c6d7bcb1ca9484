//! How the first person gets in with a browser: a one-time link for the user `admin`, until that one has a password.

use std::time::Duration;

use model::Secret;
use serde_json::{Value, json};
use tracing::warn;
use url::Url;

use crate::access::Target;
use crate::api::Api;
use crate::failure::Failure;
use crate::keys::Keys;
use crate::ports::Ports;
use crate::screen::cell;

/// The login of the first admin.
pub(super) const LOGIN: &str = "admin";
const ROLE: &str = "platform_admin";
/// Control has just said that it is ready: these are a few reads and two small changes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A link, if the first admin needs one. That there is none is no reason not to serve.
pub(super) async fn link(ports: &Ports, keys: &Keys) -> Option<Secret> {
    match tokio::time::timeout(PATIENCE, asked(ports, keys)).await {
        Ok(Ok(link)) => link,
        Ok(Err(failure)) => {
            warn!("no sign-in link for {LOGIN}: {failure}");
            None
        }
        Err(_) => {
            warn!("no sign-in link for {LOGIN}: control does not answer");
            None
        }
    }
}

async fn asked(ports: &Ports, keys: &Keys) -> Result<Option<Secret>, Failure> {
    let control = Url::parse(&ports.control_url()).map_err(|error| Failure::caused("no URL of control", error))?;
    let key = Secret::new(keys.admin.expose().to_owned());
    let api = Api::open(&Target { control, mcp: None, key: Some(key), tenant: None, authority: None })?;
    let Some(id) = first_admin(&api).await? else { return Ok(None) };
    match api.post(&["users", &id, "sign-in-link"], &json!({})).await {
        Ok(made) => Ok(Some(cell(&made.body, "url")).filter(|url| !url.is_empty()).map(Secret::new)),
        // The tenant has no accounts of its own.
        Err(Failure::Refused(problem)) if problem.status == 409 => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// The id of the user `admin`, if that one has no password yet. It is made once: whoever removed or demoted it, or
/// gave its login to somebody else, meant to.
async fn first_admin(api: &Api) -> Result<Option<String>, Failure> {
    match named(api, false).await? {
        Some(user) if cell(&user, "role") != ROLE || cell(&user, "active") != "true" => Ok(None),
        Some(user) => {
            let id = cell(&user, "id");
            let shown = api.get(&["users", &id]).await?.body;
            Ok((shown.get("has_password") == Some(&Value::Bool(false))).then_some(id))
        }
        None if named(api, true).await?.is_some() => Ok(None),
        None => {
            let body = json!({"login": LOGIN, "title": "Administrator", "role": ROLE});
            Ok(Some(cell(&api.post(&["users"], &body).await?.body, "id")))
        }
    }
}

/// The user of this login among the live ones, or among those that were removed.
async fn named(api: &Api, deleted: bool) -> Result<Option<Value>, Failure> {
    let deleted = if deleted { "true" } else { "false" };
    let found = api.list(&["users"], &[("search", LOGIN), ("deleted", deleted)]).await?;
    let items = found.get("items").and_then(Value::as_array);
    Ok(items.into_iter().flatten().find(|user| cell(user, "login") == LOGIN).cloned())
}
