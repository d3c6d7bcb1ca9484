//! `gatehouse session …`.

use serde_json::Value;

use super::records::{each, items};
use crate::api::Api;
use crate::args::SessionVerb;
use crate::declared::{Kind, Names};
use crate::failure::Failure;
use crate::screen::{Screen, cell, table};

/// Does one verb.
pub(super) async fn run(api: &Api, verb: SessionVerb, screen: Screen) -> Result<(), Failure> {
    match verb {
        SessionVerb::Ls => {
            let sessions = api.list(&["sessions"], &[]).await?;
            let logins = if screen == Screen::Text { logins(api).await? } else { Names::default() };
            screen.show(&sessions, |document| listed(document, &logins))
        }
        SessionVerb::Rm { ids } => {
            each(&ids, "ended", screen, async |id| Ok(api.delete(&["sessions", id], &[], None).await?.body)).await
        }
    }
}

/// The logins of those whom this key may see.
pub(super) async fn logins(api: &Api) -> Result<Names, Failure> {
    let mut names = Names::default();
    match api.list(&["users"], &[]).await {
        Ok(users) => names.learn(Kind::User, items(&users)),
        // A user sees nobody else's.
        Err(Failure::Refused(problem)) if problem.status == 403 => {
            names.learn(Kind::User, api.get(&["me"]).await?.body.get("user"));
        }
        Err(failure) => return Err(failure),
    }
    Ok(names)
}

fn listed(document: &Value, logins: &Names) -> String {
    let row = |session: &Value| {
        let [id, seen, end, ip, agent] =
            ["id", "seen_at", "expires_at", "ip", "agent"].map(|member| cell(session, member));
        [id, logins.of(session, "user"), seen, end, ip, agent]
    };
    let rows: Vec<_> = items(document).map(row).collect();
    if rows.is_empty() {
        "nobody is signed in".to_owned()
    } else {
        table(["ID", "USER", "LAST SEEN", "ENDS", "FROM", "BROWSER"], &rows)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_tells_who_is_signed_in_and_with_what() {
        let mut logins = Names::default();
        logins.learn(Kind::User, [&json!({"id": "u1", "login": "ann"})]);
        let list = json!({"items": [{"id": "s", "user": "u1", "seen_at": "then", "expires_at": "later", "ip": "::1",
            "agent": "Browser\u{1b}[2J"}]});
        let told = listed(&list, &logins);
        assert!(told.contains("s   ann   then       later  ::1   Browser?[2J"), "{told}");
        assert_eq!(listed(&json!({"items": []}), &logins), "nobody is signed in");
    }
}
