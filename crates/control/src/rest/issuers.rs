//! `/api/v1/issuers`: a tenant's identity providers. Changed by admins, read by viewers too.

use axum::extract::State;
use axum::response::Response;
use model::{ClaimMapping, IssuerId, KeyRole, ResourceName, Secret, SigningAlgorithm, TenantId};
use store::{Committed, IssuerPage, IssuerPatch, IssuerRecord, NewIssuer, StoreError, TenantStore};

use crate::App;
use crate::rest::answer::Answer;
use crate::rest::bodies::issuer::{self, IssuerChange, IssuerCreate, no_client};
use crate::rest::body::Body;
use crate::rest::caller::{Admin, Caller, Viewer};
use crate::rest::condition::Expected;
use crate::rest::fields::FieldError;
use crate::rest::idempotency::once;
use crate::rest::parameters::Parameters;
use crate::rest::problem::Problem;
use crate::rest::segment::Segment;
use crate::rest::users;
use crate::rest::views::{Changed, Gone, IssuerView, Page};

/// Makes an identity provider. Nothing is saved unless it answers, or `unchecked` is true.
#[utoipa::path(post, path = "/api/v1/issuers", tag = "issuers", operation_id = "createIssuer",
    request_body = IssuerCreate, responses((status = 201, body = Changed<IssuerView>), (status = 409)))]
pub(crate) async fn create(State(app): State<App>, Admin(caller): Admin, body: Body) -> Result<Response, Problem> {
    let Body { mut fields, slot, .. } = body;
    let given = issuer::create(&mut fields, app.config.dev);
    fields.finish()?;
    let issuer::Create { name, issuer, unchecked, rest } = given.ok_or(Problem::Internal)?;
    let claims = rest.claims.over(ClaimMapping::default());
    may_map(&caller, &claims)?;
    let (id, tenant) = (IssuerId::fresh(), caller.store(&app));
    let new = NewIssuer {
        id,
        title: rest.title.unwrap_or_else(|| name.to_string()),
        name,
        client_id: rest.client_id.flatten(),
        client_secret: sealed(&app, caller.tenant(), id, rest.client_secret.flatten()).await?,
        audiences: rest.audiences.unwrap_or_default(),
        algorithms: rest.algorithms.unwrap_or_else(|| SigningAlgorithm::ALL.to_vec()),
        claims,
        scope: rest.scope.flatten(),
        unknown_users: rest.unknown_users.unwrap_or(false),
        sign_in: rest.sign_in.unwrap_or(false),
        mcp: rest.mcp.unwrap_or(true),
        enabled: true,
        issuer,
        fetched: None,
    };
    let (by, of) = (app.clone(), caller.tenant());
    let work = move |actor| async move {
        // Inside, so that a create that is sent again asks nobody.
        let fetched = if unchecked { None } else { Some(app.issuers.look(of, &new.issuer).await?) };
        let committed = tenant.create_issuer(&actor, NewIssuer { fetched, ..new }).await?;
        let (location, generation) = (format!("/api/v1/issuers/{id}"), committed.value.generation);
        Ok(Answer::created(location, &told(&app, committed).await).at(generation))
    };
    Ok(once(&by, &caller, slot, work).await)
}

/// Lists identity providers in the order of their making.
#[utoipa::path(get, path = "/api/v1/issuers", tag = "issuers", operation_id = "listIssuers",
    params(("search" = Option<String>, Query, description = "Only those with this text in name, title or issuer"),
        ("enabled" = Option<bool>, Query, description = "Only enabled or only disabled ones")),
    responses((status = 200, body = Page<IssuerView>)))]
pub(crate) async fn list(State(app): State<App>, Viewer(caller): Viewer, query: Parameters) -> Result<Answer, Problem> {
    let query = query.only(&["page_size", "limit", "cursor", "search", "enabled"])?;
    let asked = app.cursors.asked::<IssuerId>("issuers", Some(caller.tenant()), &query)?;
    let page = IssuerPage {
        search: query.text("search").map(str::to_owned),
        enabled: query.flag("enabled")?,
        after: asked.after,
        limit: asked.reads(),
    };
    let mut issuers = caller.store(&app).issuers(page).await?;
    let next = asked.cut(&mut issuers, |issuer| issuer.id);
    Ok(Answer::ok(&Page { items: issuers.iter().map(|record| shown(&app, record)).collect(), next }))
}

/// Shows an identity provider, and whether its keys can be fetched.
#[utoipa::path(get, path = "/api/v1/issuers/{issuer}", tag = "issuers", operation_id = "showIssuer",
    responses((status = 200, body = IssuerView)))]
pub(crate) async fn show(
    State(app): State<App>,
    Viewer(caller): Viewer,
    Segment(named): Segment,
) -> Result<Answer, Problem> {
    let record = find(&caller.store(&app), &named).await?.ok_or(Problem::NotFound)?;
    Ok(Answer::ok(&shown(&app, &record)).at(record.generation))
}

/// Changes an identity provider; absent members stay.
#[utoipa::path(patch, path = "/api/v1/issuers/{issuer}", tag = "issuers", operation_id = "changeIssuer",
    request_body = IssuerChange, responses((status = 200, body = Changed<IssuerView>), (status = 409)))]
pub(crate) async fn change(
    State(app): State<App>,
    Admin(caller): Admin,
    Segment(named): Segment,
    Expected(expected): Expected,
    body: Body,
) -> Result<Answer, Problem> {
    let Body { mut fields, .. } = body;
    let given = issuer::change(&mut fields);
    fields.finish()?;
    let tenant = caller.store(&app);
    let record = mine(&caller, &tenant, &named).await?;
    let claims = given.claims.over(record.claims.clone());
    may_map(&caller, &claims)?;
    let client = given.client_id.as_ref().unwrap_or(&record.client_id);
    if given.sign_in.unwrap_or(record.sign_in) && client.is_none() {
        let (code, detail) = no_client();
        return Err(vec![FieldError { field: "client_id".to_owned(), code, detail }].into());
    }
    let secret = match given.client_secret {
        None => None,
        Some(secret) => Some(sealed(&app, record.tenant, record.id, secret).await?),
    };
    let patch = IssuerPatch {
        name: given.name,
        title: given.title,
        client_id: given.client_id,
        client_secret: secret,
        audiences: given.audiences,
        algorithms: given.algorithms,
        claims: Some(claims),
        scope: given.scope,
        unknown_users: given.unknown_users,
        sign_in: given.sign_in,
        mcp: given.mcp,
        enabled: None,
    };
    let committed = tenant.change_issuer(&caller.actor(), record.id, expected, patch).await?;
    Ok(changed(&app, committed).await)
}

/// Deletes an identity provider for good: its tokens open nothing any more.
#[utoipa::path(delete, path = "/api/v1/issuers/{issuer}", tag = "issuers", operation_id = "deleteIssuer",
    responses((status = 200, body = Gone)))]
pub(crate) async fn remove(
    State(app): State<App>,
    Admin(caller): Admin,
    Segment(named): Segment,
    Expected(expected): Expected,
) -> Result<Answer, Problem> {
    let tenant = caller.store(&app);
    let record = mine(&caller, &tenant, &named).await?;
    let committed = tenant.delete_issuer(&caller.actor(), record.id, expected).await?;
    let effective = app.servers.settled(committed.revision, ResourceName::Issuer(record.id)).await.into();
    Ok(Answer::ok(&Gone { id: record.id.to_string(), name: Some(record.name.to_string()), effective }))
}

/// Believes an identity provider's tokens again.
#[utoipa::path(post, path = "/api/v1/issuers/{issuer}/enable", tag = "issuers", operation_id = "enableIssuer",
    responses((status = 200, body = Changed<IssuerView>)))]
pub(crate) async fn enable(app: State<App>, caller: Admin, named: Segment) -> Result<Answer, Problem> {
    switch(app, caller, named, true).await
}

/// Believes no token of an identity provider; the record stays.
#[utoipa::path(post, path = "/api/v1/issuers/{issuer}/disable", tag = "issuers", operation_id = "disableIssuer",
    responses((status = 200, body = Changed<IssuerView>)))]
pub(crate) async fn disable(app: State<App>, caller: Admin, named: Segment) -> Result<Answer, Problem> {
    switch(app, caller, named, false).await
}

async fn switch(
    State(app): State<App>,
    Admin(caller): Admin,
    Segment(named): Segment,
    enabled: bool,
) -> Result<Answer, Problem> {
    let tenant = caller.store(&app);
    let record = mine(&caller, &tenant, &named).await?;
    let patch = IssuerPatch { enabled: Some(enabled), ..IssuerPatch::default() };
    let committed = tenant.change_issuer(&caller.actor(), record.id, None, patch).await?;
    Ok(changed(&app, committed).await)
}

/// Asks an identity provider for its keys now.
#[utoipa::path(post, path = "/api/v1/issuers/{issuer}/refresh", tag = "issuers", operation_id = "refreshIssuer",
    responses((status = 200, body = IssuerView), (status = 422)))]
pub(crate) async fn refresh(
    State(app): State<App>,
    Admin(caller): Admin,
    Segment(named): Segment,
) -> Result<Answer, Problem> {
    let tenant = caller.store(&app);
    let record = find(&tenant, &named).await?.ok_or(Problem::NotFound)?;
    app.issuers.renew(&record).await??;
    let record = tenant.issuer(record.id).await?.ok_or(Problem::NotFound)?;
    Ok(Answer::ok(&shown(&app, &record)).at(record.generation))
}

async fn changed(app: &App, committed: Committed<IssuerRecord>) -> Answer {
    let generation = committed.value.generation;
    Answer::ok(&told(app, committed).await).at(generation)
}

async fn told(app: &App, committed: Committed<IssuerRecord>) -> Changed<IssuerView> {
    let name = ResourceName::Issuer(committed.value.id);
    let effective = app.servers.settled(committed.revision, name).await.into();
    Changed { record: shown(app, &committed.value), effective }
}

pub(crate) fn shown(app: &App, record: &IssuerRecord) -> IssuerView {
    IssuerView::of(record, &app.config.base_url())
}

async fn sealed(app: &App, tenant: TenantId, id: IssuerId, secret: Option<Secret>) -> Result<Option<Vec<u8>>, Problem> {
    let Some(secret) = secret else { return Ok(None) };
    Ok(Some(app.issuers.seal_secret(tenant, id, &secret).await?))
}

/// The tenant's identity provider of this id or name. Another tenant's looks like none.
async fn find(tenant: &TenantStore, named: &str) -> Result<Option<IssuerRecord>, StoreError> {
    let by_id = match named.parse() {
        Ok(id) => tenant.issuer(id).await?,
        Err(_) => None,
    };
    match by_id {
        // A name may look like an id.
        None => tenant.issuer_named(named).await,
        found => Ok(found),
    }
}

/// One that the caller may change: who says who is a platform admin is changed by platform admins only.
async fn mine(caller: &Caller, tenant: &TenantStore, named: &str) -> Result<IssuerRecord, Problem> {
    let record = find(tenant, named).await?.ok_or(Problem::NotFound)?;
    may_map(caller, &record.claims)?;
    Ok(record)
}

fn may_map(caller: &Caller, claims: &ClaimMapping) -> Result<(), Problem> {
    let strongest: Option<KeyRole> = claims.roles.iter().map(|(_, role)| *role).max();
    users::may_give(caller, strongest)
}
