//! `gatehouse department …`.

use serde_json::Value;

use super::body::Body;
use super::records::{Records, items, query};
use crate::api::Api;
use crate::args::{DepartmentCreate, DepartmentSet, DepartmentVerb};
use crate::failure::Failure;
use crate::screen::{Screen, cell, table};

const DEPARTMENTS: Records = Records { path: "departments", name: "name" };

/// Does one verb.
pub(super) async fn run(api: &Api, verb: DepartmentVerb, screen: Screen) -> Result<(), Failure> {
    match verb {
        DepartmentVerb::Create(create) => DEPARTMENTS.create(api, &create_body(&create).value(), screen).await,
        DepartmentVerb::Ls { deleted } => {
            let list = api.list(&["departments"], &query(&[], &[("deleted", deleted)])).await?;
            screen.show(&list, listed)
        }
        DepartmentVerb::Show { name } => DEPARTMENTS.show(api, &name, screen).await,
        DepartmentVerb::Set(set) => DEPARTMENTS.set(api, &set.department, &set_body(&set).change()?, screen).await,
        DepartmentVerb::Rm { names } => DEPARTMENTS.remove(api, &names, screen).await,
        DepartmentVerb::Restore { name } => DEPARTMENTS.act(api, &name, "restore", "restored", screen).await,
    }
}

fn create_body(create: &DepartmentCreate) -> Body {
    Body::default()
        .with("name", Some(create.name.as_str()))
        .with("title", create.title.as_deref())
        .with("external_id", create.external_id.as_deref())
}

fn set_body(set: &DepartmentSet) -> Body {
    Body::default()
        .with("name", set.name.as_deref())
        .with("title", set.title.as_deref())
        .with("external_id", set.external_id.as_deref())
        .cleared("external_id", set.no_external_id)
}

fn listed(document: &Value) -> String {
    let row = |one: &Value| [cell(one, "name"), cell(one, "external_id"), cell(one, "id"), cell(one, "title")];
    table(["NAME", "EXTERNAL ID", "ID", "TITLE"], &items(document).map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::args::{Cli, Verb};

    #[test]
    fn only_what_was_said_is_sent() {
        for (line, expected) in [
            ("g department create labs --external-id 7", json!({"name": "labs", "external_id": "7"})),
            ("g department set labs --title L --no-external-id", json!({"title": "L", "external_id": null})),
        ] {
            let sent = match Cli::try_parse_from(line.split_whitespace()).unwrap().verb {
                Verb::Department(DepartmentVerb::Create(create)) => create_body(&create).value(),
                Verb::Department(DepartmentVerb::Set(set)) => set_body(&set).change().unwrap(),
                other => panic!("{other:?}"),
            };
            assert_eq!(sent, expected, "{line}");
        }
    }
}
