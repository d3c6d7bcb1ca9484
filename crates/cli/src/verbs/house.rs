//! Reads what a house holds, for `export` and `apply`.

use serde_json::Value;

use super::records::items;
use crate::api::Api;
use crate::declared::{Kind, Names, Present, Whose, held};
use crate::failure::Failure;
use crate::screen::cell;

/// Reads the tenants and egress rules, and what is in these tenants; `None` for all of them.
pub(super) async fn platform(api: &Api, only: Option<&[String]>) -> Result<Present, Failure> {
    let mut present = whose_key(api).await?;
    let platform = api.of_tenant(None);
    let tenants = listed(&platform, Kind::Tenant).await?;
    let rules = listed(&platform, Kind::Egress).await?;
    let mut names = Names::default();
    names.learn(Kind::Tenant, &tenants);
    add(&mut present, &Whose::Platform, Kind::Tenant, &tenants, &names);
    add(&mut present, &Whose::Platform, Kind::Egress, &rules, &names);
    for tenant in &tenants {
        let name = cell(tenant, "name");
        if only.is_none_or(|only| only.contains(&name)) {
            inside(&api.of_tenant(Some(&name)), &Whose::Tenant(name), &mut present).await?;
        }
    }
    Ok(present)
}

/// Reads what is in the tenant that the command works on.
pub(super) async fn own(api: &Api) -> Result<Present, Failure> {
    let mut present = whose_key(api).await?;
    inside(api, &Whose::Own, &mut present).await?;
    Ok(present)
}

/// Where a record stands, as a tenant to name to control.
pub(super) fn seat(api: &Api, whose: &Whose) -> Api {
    match whose {
        Whose::Platform => api.of_tenant(None),
        Whose::Own => api.of_tenant(api.tenant()),
        Whose::Tenant(name) => api.of_tenant(Some(name)),
    }
}

/// Whose key asks, as far as they stand where the document speaks of.
async fn whose_key(api: &Api) -> Result<Present, Failure> {
    let me = api.of_tenant(None).get(&["me"]).await?.body;
    let name =
        |object: &str, member: &str| me.get(object).map(|object| cell(object, member)).filter(|name| !name.is_empty());
    let (own_tenant, own_id) = (name("tenant", "name"), name("tenant", "id"));
    let elsewhere =
        api.tenant().is_some_and(|tenant| ![own_tenant.as_deref(), own_id.as_deref()].contains(&Some(tenant)));
    let own_user = name("user", "login").filter(|_| !elsewhere);
    Ok(Present { own_tenant, own_user, ..Present::default() })
}

async fn inside(api: &Api, whose: &Whose, present: &mut Present) -> Result<(), Failure> {
    let mut names = Names::default();
    for kind in Kind::OF_A_TENANT {
        let mut records = listed(api, kind).await?;
        if kind == Kind::Key {
            records.retain(is_live);
            let replaced: Vec<String> = records.iter().map(|key| cell(key, "replaces")).collect();
            records.retain(|key| !replaced.contains(&cell(key, "id")));
        }
        names.learn(kind, &records);
        add(present, whose, kind, &records, &names);
    }
    Ok(())
}

async fn listed(api: &Api, kind: Kind) -> Result<Vec<Value>, Failure> {
    let list = api.list(&[kind.path()], &[]).await?;
    Ok(items(&list).cloned().collect())
}

fn add(present: &mut Present, whose: &Whose, kind: Kind, records: &[Value], names: &Names) {
    let records = records.iter().map(|record| held(kind, record, names)).collect();
    present.sections.insert((whose.clone(), kind), records);
}

/// Whether a key still opens anything: a document declares no other.
fn is_live(key: &Value) -> bool {
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;
    let ends = OffsetDateTime::parse(&cell(key, "expires_at"), &Rfc3339).ok();
    cell(key, "revoked_at").is_empty() && ends.is_none_or(|ends| ends > OffsetDateTime::now_utc())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_that_open_nothing_are_not_declared() {
        for (key, live) in [
            (json!({"expires_at": null, "revoked_at": null}), true),
            (json!({"expires_at": "2999-01-01T00:00:00Z"}), true),
            (json!({"expires_at": "2020-01-01T00:00:00Z"}), false),
            (json!({"expires_at": null, "revoked_at": "2020-01-01T00:00:00Z"}), false),
        ] {
            assert_eq!(is_live(&key), live, "{key}");
        }
    }
}
