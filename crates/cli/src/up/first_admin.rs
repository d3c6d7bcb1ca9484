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
/// Control has just said that it is ready: these are two reads and a small change.
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

/// The id of the user `admin`, whom `init` made, if that one has no password yet. Whoever removed or demoted it, or gave
/// its login to somebody else, meant to.
async fn first_admin(api: &Api) -> Result<Option<String>, Failure> {
    let found = api.list(&["users"], &[("search", LOGIN), ("active", "true")]).await?;
    let Some(user) = items(&found).find(|user| cell(user, "login") == LOGIN && cell(user, "role") == ROLE) else {
        return Ok(None);
    };
    let id = cell(user, "id");
    let shown = api.get(&["users", &id]).await?.body;
    Ok((shown.get("has_password") == Some(&Value::Bool(false))).then_some(id))
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.get("items").and_then(Value::as_array).into_iter().flatten()
}
