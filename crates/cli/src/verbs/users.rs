//! `gatehouse user …`.

use serde_json::Value;

use super::body::Body;
use super::records::{Records, items, query};
use crate::api::Api;
use crate::args::{Span, UserCreate, UserSet, UserVerb};
use crate::failure::Failure;
use crate::screen::{self, Screen, cell, names, state, table};

const USERS: Records = Records { path: "users", name: "login" };

/// Does one verb.
pub(super) async fn run(api: &Api, verb: UserVerb, screen: Screen) -> Result<(), Failure> {
    match verb {
        UserVerb::Create(create) => USERS.create(api, &create_body(&create).value(), screen).await,
        UserVerb::Ls(ls) => {
            let query = query(&[("search", ls.search.as_deref())], &[("deleted", ls.deleted)]);
            screen.show(&api.list(&["users"], &query).await?, |list| listed(list, ls.deleted))
        }
        UserVerb::Show { login } => USERS.show(api, &login, screen).await,
        UserVerb::Set(set) => USERS.set(api, &set.user, &set_body(&set).change()?, screen).await,
        UserVerb::Rm { logins } => USERS.remove(api, &logins, screen).await,
        UserVerb::Restore { login } => USERS.act(api, &login, "restore", "restored", screen).await,
        UserVerb::Link { login, ttl } => {
            let body = Body::default().with("ttl", ttl.map(Span::seconds));
            let made = api.post(&["users", &login, "sign-in-link"], &body.value()).await?.body;
            screen.show(&made, |made| link(&login, made))
        }
        UserVerb::Enable { login } => USERS.act(api, &login, "enable", "enabled", screen).await,
        UserVerb::Disable { login } => USERS.act(api, &login, "disable", "disabled", screen).await,
    }
}

fn link(login: &str, made: &Value) -> String {
    let (url, end) = (screen::plain(&cell(made, "url")), screen::plain(&cell(made, "expires_at")));
    format!("{url}\n\nIt signs {} in once and lets them set a password, until {end}.", screen::plain(login))
}

fn create_body(create: &UserCreate) -> Body {
    Body::default()
        .with("login", Some(create.login.as_str()))
        .with("title", create.title.as_deref())
        .with("external_id", create.external_id.as_deref())
        .with_all("departments", &create.departments)
        .with("role", create.role.map(|role| role.as_str()))
        .with("active", create.disabled.then_some(false))
}

fn set_body(set: &UserSet) -> Body {
    Body::default()
        .with("login", set.login.as_deref())
        .with("title", set.title.as_deref())
        .with("external_id", set.external_id.as_deref())
        .cleared("external_id", set.no_external_id)
        .anew("departments", &set.departments, set.no_departments)
        .with("role", set.role.map(|role| role.as_str()))
}

fn listed(document: &Value, deleted: bool) -> String {
    if deleted {
        let row = |user: &Value| ["login", "deleted_at", "role", "id", "title"].map(|member| cell(user, member));
        return table(["LOGIN", "REMOVED", "ROLE", "ID", "TITLE"], &items(document).map(row).collect::<Vec<_>>());
    }
    let row = |user: &Value| {
        [
            cell(user, "login"),
            state(user, "active"),
            cell(user, "role"),
            names(user, "departments"),
            cell(user, "id"),
            cell(user, "title"),
        ]
    };
    table(["LOGIN", "STATE", "ROLE", "DEPARTMENTS", "ID", "TITLE"], &items(document).map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::args::{Cli, Verb};

    #[test]
    fn only_what_was_said_is_sent_and_departments_keep_their_order() {
        for (line, expected) in [
            ("g user create ann", json!({"login": "ann"})),
            (
                "g user create ann --title A --department labs --department board --role viewer --disabled",
                json!({"login": "ann", "title": "A", "departments": ["labs", "board"], "role": "viewer", "active": false}),
            ),
            ("g user set ann --no-departments --no-external-id", json!({"departments": [], "external_id": null})),
            ("g user set ann --login anne --role tenant-admin", json!({"login": "anne", "role": "tenant_admin"})),
        ] {
            let sent = match Cli::try_parse_from(line.split_whitespace()).unwrap().verb {
                Verb::User(UserVerb::Create(create)) => create_body(&create).value(),
                Verb::User(UserVerb::Set(set)) => set_body(&set).change().unwrap(),
                other => panic!("{other:?}"),
            };
            assert_eq!(sent, expected, "{line}");
        }
    }

    #[test]
    fn a_list_tells_departments_by_name() {
        let list = json!({"items": [{"login": "ann", "active": false, "role": "user",
            "departments": [{"id": "1", "name": "labs"}, {"id": "2", "name": "board"}]}]});
        let told = listed(&list, false);
        assert!(told.lines().nth(1).unwrap().starts_with("ann    disabled  user  labs,board"), "{told}");
    }
}
