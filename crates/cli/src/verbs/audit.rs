//! `gatehouse audit …`.

use serde_json::Value;
use time::OffsetDateTime;

use super::records::{items, query};
use crate::api::Api;
use crate::args::{AuditLs, AuditVerb, Instant};
use crate::failure::Failure;
use crate::screen::{Screen, cell, table};

/// Does one verb.
pub(super) async fn run(api: &Api, verb: AuditVerb, screen: Screen) -> Result<(), Failure> {
    let AuditVerb::Ls(ls) = verb;
    let now = OffsetDateTime::now_utc();
    let (since, until) = (told(ls.since, now)?, told(ls.until, now)?);
    let list = api.first(&["audit"], &asked(&ls, since.as_deref(), until.as_deref()), ls.limit as usize).await?;
    screen.show(&list, listed)
}

fn told(instant: Option<Instant>, now: OffsetDateTime) -> Result<Option<String>, Failure> {
    let too_far = || Failure::Usage("that instant is too far away".to_owned());
    instant.map(|instant| instant.told(now).ok_or_else(too_far)).transpose()
}

fn asked<'a>(ls: &'a AuditLs, since: Option<&'a str>, until: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
    let said = [
        ("since", since),
        ("until", until),
        ("actor", ls.actor.as_deref()),
        ("action", ls.action.as_deref()),
        ("object", ls.object.as_deref()),
    ];
    query(&said, &[])
}

fn listed(document: &Value) -> String {
    let row = |entry: &Value| {
        let [at, actor, action, object] = ["at", "actor", "action", "object"].map(|member| cell(entry, member));
        [at, actor, action, name(entry), object]
    };
    let rows: Vec<_> = items(document).map(row).collect();
    if rows.is_empty() {
        "nothing was changed".to_owned()
    } else {
        table(["WHEN", "WHO", "WHAT", "NAME", "OBJECT"], &rows)
    }
}

/// How people call the object: as it was called after the change, or before its end.
fn name(entry: &Value) -> String {
    let told = ["after", "before"].into_iter().filter_map(|state| entry.get(state));
    let names = told.flat_map(|state| ["name", "login", "label", "host"].map(|member| cell(state, member)));
    names.into_iter().find(|name| !name.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_told_by_what_people_call_it() {
        for (entry, called) in [
            (json!({"before": null, "after": {"name": "notes"}}), "notes"),
            (json!({"before": {"login": "ann"}, "after": null}), "ann"),
            (json!({"before": {"label": "old"}, "after": {"label": "new"}}), "new"),
            (json!({"object": "server/1"}), ""),
        ] {
            assert_eq!(name(&entry), called, "{entry}");
        }
    }
}
