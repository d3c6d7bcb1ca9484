//! `gatehouse grant …`.

use serde_json::Value;

use super::records::{each, items};
use super::sessions::logins;
use crate::api::Api;
use crate::args::GrantVerb;
use crate::declared::Names;
use crate::failure::Failure;
use crate::screen::{Screen, cell, table};

/// Does one verb.
pub(super) async fn run(api: &Api, verb: GrantVerb, screen: Screen) -> Result<(), Failure> {
    match verb {
        GrantVerb::Ls => {
            let grants = api.list(&["grants"], &[]).await?;
            let logins = if screen == Screen::Text { logins(api).await? } else { Names::default() };
            screen.show(&grants, |document| listed(document, &logins))
        }
        GrantVerb::Rm { ids } => {
            each(&ids, "revoked", screen, async |id| Ok(api.delete(&["grants", id], &[], None).await?.body)).await
        }
    }
}

fn listed(document: &Value, logins: &Names) -> String {
    let row = |grant: &Value| {
        let state = if cell(grant, "revoked_at").is_empty() { "live" } else { "revoked" };
        let name = Some(cell(grant, "client_name")).filter(|name| !name.is_empty());
        [
            cell(grant, "id"),
            logins.of(grant, "user"),
            name.unwrap_or_else(|| cell(grant, "client")),
            state.to_owned(),
            cell(grant, "resource"),
            cell(grant, "used_at"),
            cell(grant, "expires_at"),
        ]
    };
    let rows: Vec<_> = items(document).map(row).collect();
    if rows.is_empty() {
        "no client was let in".to_owned()
    } else {
        table(["ID", "USER", "CLIENT", "STATE", "FOR", "LAST USED", "ENDS"], &rows)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::declared::Kind;

    #[test]
    fn a_list_tells_which_client_may_do_what_for_whom() {
        let mut logins = Names::default();
        logins.learn(Kind::User, [&json!({"id": "u1", "login": "ann"})]);
        let list = json!({"items": [
            {"id": "a", "user": "u1", "client": "c1", "client_name": "Studio", "resource": "http://h/mcp", "revoked_at": null},
            {"id": "b", "user": "u2", "client": "c2", "client_name": "", "revoked_at": "2026-01-01T00:00:00Z"},
        ]});
        let told = listed(&list, &logins);
        let words = |line: usize| told.lines().nth(line).unwrap().split_whitespace().collect::<Vec<_>>();
        assert_eq!(words(1), ["a", "ann", "Studio", "live", "http://h/mcp"]);
        assert_eq!(words(2), ["b", "u2", "c2", "revoked"]);
    }
}
