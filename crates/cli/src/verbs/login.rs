//! `gatehouse login`: a link for a browser, and a wait until somebody has gone through it.

use std::time::Duration;

use serde_json::{Value, json};

use super::body::Body;
use crate::api::Api;
use crate::args::Login;
use crate::failure::Failure;
use crate::progress;
use crate::screen::{self, Screen, cell};

/// How often it is asked after.
const STEP: Duration = Duration::from_secs(1);
/// The user that `gatehouse up` makes: who signs in where a key is nobody's.
const FIRST_ADMIN: &str = "admin";

/// Prints the link, waits, and says what came of it.
pub(super) async fn run(api: &Api, login: &Login, screen: Screen) -> Result<(), Failure> {
    let (server, holder) = (login.of.server.as_str(), &login.of.holder);
    let body = Body::default()
        .with("scope_type", holder.scope.map(|scope| scope.as_str()))
        .with("scope_id", holder.holder.as_deref());
    let made = match api.post(&["servers", server, "connections", "login"], &body.value()).await {
        Ok(made) => made.body,
        // Whose it is to be, nobody said, and the key does not say either.
        Err(Failure::Refused(problem)) if problem.code == "required" && holder.holder.is_none() => {
            return Err(Failure::Failed(whose(server)));
        }
        Err(failure) => return Err(failure),
    };
    let link = link(api, holder.holder.as_deref(), &made).await;
    if login.no_wait {
        let document =
            json!({ "attempt": made.get("attempt"), "login_url": link, "expires_at": made.get("expires_at") });
        return screen.show(&document, |_| link.clone());
    }
    screen::beside(&format!("open this in a browser:\n\n  {}\n", screen::plain(&link)))?;
    let attempt = cell(&made, "attempt");
    let ended = progress::during("waiting for the sign-in", ended(api, server, &attempt)).await?;
    if cell(&ended, "state") != "authorized" {
        let why = ended.get("error").unwrap_or(&Value::Null);
        return Err(Failure::Failed(format!("{server}: {} ({})", cell(why, "message"), cell(why, "code"))));
    }
    let connection = api.get(&["servers", server, "connections", &cell(&ended, "connection")]).await?.body;
    screen.show(&connection, |connection| told(server, connection))
}

/// What a key of nobody is told.
fn whose(server: &str) -> String {
    let server = screen::plain(server);
    format!(
        "this key is nobody's, and each person logs in to {server} for themselves: say who will, with \
         `gatehouse login {server} --scope user --for LOGIN`, or use a key of theirs"
    )
}

/// Asks after an attempt until it has ended; control ends it after ten minutes by itself.
async fn ended(api: &Api, server: &str, attempt: &str) -> Result<Value, Failure> {
    loop {
        let seen = api.get(&["servers", server, "connections", "login", attempt]).await?.body;
        if cell(&seen, "state") != "pending" {
            return Ok(seen);
        }
        tokio::time::sleep(STEP).await;
    }
}

/// The link. Who has never signed in to Gatehouse gets one that lets them set a password first, if the key may make
/// such a one for them: it is theirs alone, and leads on.
async fn link(api: &Api, named: Option<&str>, made: &Value) -> String {
    let url = cell(made, "login_url");
    match first_time(api, named).await {
        Ok(Some(first)) => match path_of(&url) {
            Some(path) => format!("{first}?return={path}"),
            None => url,
        },
        // Nothing hangs on it: people can sign in otherwise.
        Ok(None) | Err(_) => url,
    }
}

/// A one-time link for whoever must sign in, if they have never done so.
async fn first_time(api: &Api, named: Option<&str>) -> Result<Option<String>, Failure> {
    let me = api.get(&["me"]).await?.body;
    if !matches!(cell(&me, "role").as_str(), "tenant_admin" | "platform_admin") {
        return Ok(None);
    }
    let own = me.get("user").map(|user| cell(user, "login")).filter(|login| !login.is_empty());
    let login = named.map(str::to_owned).or(own).unwrap_or_else(|| FIRST_ADMIN.to_owned());
    let user = api.get(&["users", &login]).await?.body;
    if user.get("has_password") != Some(&Value::Bool(false)) {
        return Ok(None);
    }
    let made = api.post(&["users", &cell(&user, "id"), "sign-in-link"], &json!({})).await?.body;
    Ok(Some(cell(&made, "url")).filter(|url| !url.is_empty()))
}

/// The link's path on control's own site, as a query can hold it.
fn path_of(url: &str) -> Option<String> {
    let (_, path) = url.split_once("/connect/")?;
    Some(url::form_urlencoded::byte_serialize(format!("/connect/{path}").as_bytes()).collect())
}

fn told(server: &str, connection: &Value) -> String {
    let for_whom = match cell(connection, "scope_type").as_str() {
        "global" => "everybody".to_owned(),
        scope => format!("{scope} {}", cell(connection, "scope_name")),
    };
    let subject = Some(cell(connection, "external_subject")).filter(|subject| !subject.is_empty());
    let subject = subject.map(|subject| format!(" as {subject}")).unwrap_or_default();
    let renewed = connection.get("refresh_available") == Some(&Value::Bool(true));
    let until = match (renewed, cell(connection, "token_expires_at")) {
        (true, _) => "; its token is renewed by itself".to_owned(),
        (false, end) if end.is_empty() => String::new(),
        (false, end) => format!("; its token ends {end}, then log in again"),
    };
    screen::plain(&format!("{server} is connected for {for_whom}{subject}{until}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_connected_is_told_in_a_sentence() {
        for (connection, expected) in [
            (
                json!({"scope_type": "user", "scope_name": "ann", "external_subject": "ann@up", "refresh_available": true}),
                "notes is connected for user ann as ann@up; its token is renewed by itself",
            ),
            (json!({"scope_type": "global", "refresh_available": false}), "notes is connected for everybody"),
            (
                json!({"scope_type": "user", "scope_name": "a\u{7}", "token_expires_at": "2027-01-15T08:00:00Z"}),
                "notes is connected for user a?; its token ends 2027-01-15T08:00:00Z, then log in again",
            ),
        ] {
            assert_eq!(told("notes", &connection), expected);
        }
    }

    #[test]
    fn the_way_to_the_login_is_a_path_of_control() {
        let path = path_of("https://gate.example/base/connect/acme/notes?attempt=7&return=%2Fx").unwrap();
        assert_eq!(path, "%2Fconnect%2Facme%2Fnotes%3Fattempt%3D7%26return%3D%252Fx");
        assert_eq!(path_of("https://gate.example/"), None);
    }
}
