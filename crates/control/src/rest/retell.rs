//! The answer of a create, told again from the record that it made.

use model::ResourceName;
use store::Committed;

use crate::App;
use crate::connections::Changed as ChangedConnection;
use crate::rest::answer::Answer;
use crate::rest::caller::Caller;
use crate::rest::connections;
use crate::rest::issuers::shown;
use crate::rest::problem::Problem;
use crate::rest::toolsets;
use crate::rest::views::{
    AddedView, Changed, DepartmentView, EffectiveView, EgressRuleView, KeyView, NewKeyView, ServerView, TenantView,
    UserView,
};

/// What was answered when `object` (as the audit names it) was made, as far as it can be known: without
/// what is shown once, and without the probe.
pub(crate) async fn retell(app: &App, caller: &Caller, object: &str) -> Result<Answer, Problem> {
    let (noun, id) = object.split_once('/').ok_or(Problem::Internal)?;
    let (tenant, platform) = (caller.store(app), app.store.platform());
    let bad = |_| Problem::Internal;
    match noun {
        "server" => {
            let id = id.parse().map_err(bad)?;
            let record = tenant.server(id).await?.ok_or(Problem::NotFound)?;
            let effective = effective(app, ResourceName::Server(id)).await?;
            let server = ServerView::from(&record);
            let (probe, needs, connection) = (None, None, None);
            let view = AddedView { server, effective, probe, needs, connection, warnings: Vec::new() };
            Ok(Answer::created(format!("/api/v1/servers/{id}"), &view).at(record.spec.generation))
        }
        "key" => {
            let id = id.parse().map_err(bad)?;
            let record = tenant.key(id).await?.ok_or(Problem::NotFound)?;
            let effective = effective(app, ResourceName::Key(id)).await?;
            let view = NewKeyView { record: KeyView::from(&record), key: None, effective };
            Ok(Answer::created(format!("/api/v1/keys/{id}"), &view).at(record.generation))
        }
        "connection" => {
            let id = id.parse().map_err(bad)?;
            let record = tenant.connection(id).await?.ok_or(Problem::NotFound)?;
            let server = tenant.server(record.server).await?.ok_or(Problem::NotFound)?;
            let revision = app.store.platform().revision().await?;
            let effective = app.servers.settled(revision, ResourceName::Connection(id)).await;
            Ok(connections::created(app, &server, &ChangedConnection { record, effective }))
        }
        "department" => {
            let id = id.parse().map_err(bad)?;
            let record = tenant.department(id).await?.ok_or(Problem::NotFound)?;
            let view = DepartmentView::from(&record);
            Ok(Answer::created(format!("/api/v1/departments/{id}"), &view).at(record.generation))
        }
        "user" => {
            let id = id.parse().map_err(bad)?;
            let record = tenant.user(id).await?.ok_or(Problem::NotFound)?;
            let view = UserView::from(&record);
            Ok(Answer::created(format!("/api/v1/users/{id}"), &view).at(record.generation))
        }
        "tenant" => {
            let id = id.parse().map_err(bad)?;
            let record = platform.tenant(id).await?.ok_or(Problem::NotFound)?;
            let effective = effective(app, ResourceName::Tenant(id)).await?;
            let view = Changed { record: TenantView::from(&record), effective };
            Ok(Answer::created(format!("/api/v1/tenants/{id}"), &view).at(record.generation))
        }
        "issuer" => {
            let id = id.parse().map_err(bad)?;
            let record = tenant.issuer(id).await?.ok_or(Problem::NotFound)?;
            let effective = effective(app, ResourceName::Issuer(id)).await?;
            let view = Changed { record: shown(app, &record), effective };
            Ok(Answer::created(format!("/api/v1/issuers/{id}"), &view).at(record.generation))
        }
        "toolset" => {
            let value = tenant.toolset(id.parse().map_err(bad)?).await?.ok_or(Problem::NotFound)?;
            let revision = platform.revision().await?;
            toolsets::created(app, caller, Committed { value, revision }).await
        }
        "egress" => {
            let id = id.parse().map_err(bad)?;
            let record = platform.egress_rule(id).await?.ok_or(Problem::NotFound)?;
            let effective = effective(app, ResourceName::Egress(id)).await?;
            let view = Changed { record: EgressRuleView::from(&record), effective };
            Ok(Answer::created(format!("/api/v1/egress-rules/{id}"), &view).at(record.generation))
        }
        _ => Err(Problem::Internal),
    }
}

/// How far the change has come by now: at least as far as the revision of now.
async fn effective(app: &App, name: ResourceName) -> Result<EffectiveView, Problem> {
    let revision = app.store.platform().revision().await?;
    Ok(app.servers.settled(revision, name).await.into())
}
