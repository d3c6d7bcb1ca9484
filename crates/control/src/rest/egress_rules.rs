//! `/api/v1/egress-rules`: what a platform admin allows beyond the default address policy.

use axum::extract::State;
use axum::response::Response;
use model::{EgressRuleId, ResourceName};
use store::{EgressRulePage, EgressRuleRecord, NewEgressRule};

use crate::App;
use crate::rest::answer::Answer;
use crate::rest::bodies::egress_rule::{self, EgressRuleCreate};
use crate::rest::body::Body;
use crate::rest::caller::Platform;
use crate::rest::code::Code;
use crate::rest::condition::Expected;
use crate::rest::fields::FieldError;
use crate::rest::idempotency::once;
use crate::rest::parameters::{Parameters, bad};
use crate::rest::problem::Problem;
use crate::rest::segment::Segment;
use crate::rest::tenants;
use crate::rest::views::{Changed, EgressRuleView, Gone, Page};

/// Allows a host or a network.
#[utoipa::path(post, path = "/api/v1/egress-rules", tag = "egress rules", operation_id = "createEgressRule",
    request_body = EgressRuleCreate, responses((status = 201, body = Changed<EgressRuleView>), (status = 409)))]
pub(crate) async fn create(
    State(app): State<App>,
    Platform(caller): Platform,
    body: Body,
) -> Result<Response, Problem> {
    let Body { mut fields, slot, .. } = body;
    let given = egress_rule::create(&mut fields);
    fields.finish()?;
    let given = given.ok_or(Problem::Internal)?;
    let tenant = match &given.tenant {
        None => None,
        Some(named) => Some(tenants::find(&app, named).await?.ok_or_else(no_tenant)?.spec.id),
    };
    let new = NewEgressRule { tenant, host: given.host, ports: given.ports, http: given.http, reason: given.reason };
    let by = app.clone();
    let work = move |actor| async move {
        let committed = app.store.platform().create_egress_rule(&actor, new).await?;
        let record = committed.value;
        let effective = app.servers.settled(committed.revision, ResourceName::Egress(record.rule.id)).await.into();
        let view = Changed { record: EgressRuleView::from(&record), effective };
        Ok(Answer::created(format!("/api/v1/egress-rules/{}", record.rule.id), &view).at(record.generation))
    };
    Ok(once(&by, &caller, slot, work).await)
}

/// Lists rules in the order of their making.
#[utoipa::path(get, path = "/api/v1/egress-rules", tag = "egress rules", operation_id = "listEgressRules",
    params(("search" = Option<String>, Query, description = "Only those with this text in host or reason"),
        ("for" = Option<String>, Query, description = "Only those of this tenant, by name or id")),
    responses((status = 200, body = Page<EgressRuleView>)))]
pub(crate) async fn list(State(app): State<App>, _: Platform, query: Parameters) -> Result<Answer, Problem> {
    let query = query.only(&["page_size", "limit", "cursor", "search", "for"])?;
    let asked = app.cursors.asked::<EgressRuleId>("egress-rules", None, &query)?;
    let tenant = match query.text("for") {
        None => None,
        Some(named) => {
            let found = tenants::find(&app, named).await?;
            Some(found.ok_or_else(|| bad(Code::Tenant, "no such tenant".to_owned()))?.spec.id)
        }
    };
    let search = query.text("search").map(str::to_owned);
    let page = EgressRulePage { tenant, search, after: asked.after, limit: asked.reads() };
    let mut rules = app.store.platform().egress_rules(page).await?;
    let next = asked.cut(&mut rules, |rule| rule.rule.id);
    Ok(Answer::ok(&Page { items: rules.iter().map(EgressRuleView::from).collect(), next }))
}

/// Shows a rule.
#[utoipa::path(get, path = "/api/v1/egress-rules/{rule}", tag = "egress rules", operation_id = "showEgressRule",
    responses((status = 200, body = EgressRuleView)))]
pub(crate) async fn show(State(app): State<App>, _: Platform, Segment(id): Segment) -> Result<Answer, Problem> {
    let record = find(&app, &id).await?;
    Ok(Answer::ok(&EgressRuleView::from(&record)).at(record.generation))
}

/// Removes a rule: servers that need it are refused from then on.
#[utoipa::path(delete, path = "/api/v1/egress-rules/{rule}", tag = "egress rules", operation_id = "deleteEgressRule",
    responses((status = 200, body = Gone)))]
pub(crate) async fn remove(
    State(app): State<App>,
    Platform(caller): Platform,
    Segment(id): Segment,
    Expected(expected): Expected,
) -> Result<Answer, Problem> {
    let id = find(&app, &id).await?.rule.id;
    let committed = app.store.platform().delete_egress_rule(&caller.actor(), id, expected).await?;
    let effective = app.servers.settled(committed.revision, ResourceName::Egress(id)).await.into();
    Ok(Answer::ok(&Gone { id: id.to_string(), name: None, effective }))
}

async fn find(app: &App, id: &str) -> Result<EgressRuleRecord, Problem> {
    let id = id.parse().map_err(|_| Problem::NotFound)?;
    app.store.platform().egress_rule(id).await?.ok_or(Problem::NotFound)
}

fn no_tenant() -> Problem {
    let detail = "is no tenant".to_owned();
    Problem::Fields(vec![FieldError { field: "tenant".to_owned(), code: Code::Tenant, detail }])
}
