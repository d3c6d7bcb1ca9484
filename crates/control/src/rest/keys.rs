//! `/api/v1/keys`: the keys of a tenant.

use std::fmt;
use std::str::FromStr;

use axum::extract::State;
use axum::response::Response;
use model::{IdError, KeyId, KeyRole, ResourceName};
use store::{KeyPage, KeyPatch, KeyRecord, KeyRotation, TenantStore};

use crate::App;
use crate::keys::{Mint, mint};
use crate::rest::answer::Answer;
use crate::rest::bodies::key::{self, KeyChange, KeyCreate, KeyRotate, Patch};
use crate::rest::body::Body;
use crate::rest::caller::{Admin, Caller, Member};
use crate::rest::code::Code;
use crate::rest::condition::Expected;
use crate::rest::fields::FieldError;
use crate::rest::idempotency::once;
use crate::rest::parameters::{Parameters, bad};
use crate::rest::problem::Problem;
use crate::rest::segment::Segment;
use crate::rest::users;
use crate::rest::views::{Changed, Gone, KeyView, NewKeyView, Page};

/// Makes a key. Its text is in `key`, this once.
#[utoipa::path(post, path = "/api/v1/keys", tag = "keys", operation_id = "createKey", request_body = KeyCreate,
    responses((status = 201, body = NewKeyView), (status = 409)))]
pub(crate) async fn create(State(app): State<App>, Admin(caller): Admin, body: Body) -> Result<Response, Problem> {
    let Body { mut fields, slot, .. } = body;
    let given = key::create(&mut fields, app.clock.now_micros());
    fields.finish()?;
    users::may_give(&caller, Some(given.role))?;
    let tenant = caller.store(&app);
    let user = match &given.user {
        None => None,
        Some(named) => {
            let user = users::find(&tenant, named).await?.ok_or_else(no_user)?;
            // Whoever has the key calls as the user, and ends what is theirs.
            users::may_give(&caller, Some(user.role))?;
            Some(user.id)
        }
    };
    let what = Mint {
        tenant: caller.tenant(),
        user,
        role: given.role,
        scopes: given.scopes,
        servers: given.servers,
        expires_at: Some(given.expires_at),
        label: given.label,
    };
    let by = app.clone();
    let work = move |actor| async move {
        let minted = mint(what).ok_or(Problem::Internal)?;
        let committed = tenant.create_key(&actor, minted.new).await?;
        // The first call with the key comes right after this answer: it should find the key there.
        let made = ResourceName::Key(committed.value.verifier.id);
        let effective = app.servers.settled(committed.revision, made).await;
        Ok(shown_once(&committed.value, minted.text.expose(), effective))
    };
    Ok(once(&by, &caller, slot, work).await)
}

/// Lists keys in the order of their making: for users only their own.
#[utoipa::path(get, path = "/api/v1/keys", tag = "keys", operation_id = "listKeys",
    params(("search" = Option<String>, Query, description = "Only those with this text in the label"),
        ("user" = Option<String>, Query, description = "Only those of this user, by login or id"),
        ("live" = Option<bool>, Query, description = "Only those that are neither revoked nor expired, or only the others")),
    responses((status = 200, body = Page<KeyView>)))]
pub(crate) async fn list(State(app): State<App>, Member(caller): Member, query: Parameters) -> Result<Answer, Problem> {
    let query = query.only(&["page_size", "limit", "cursor", "search", "user", "live"])?;
    let asked = app.cursors.asked::<Position>("keys", Some(caller.tenant()), &query)?;
    let tenant = caller.store(&app);
    let user = match query.text("user") {
        None => None,
        Some(named) => {
            let found = users::find(&tenant, named).await?.filter(|user| knows(&caller, user.id));
            Some(found.ok_or_else(|| bad(Code::User, "no such user".to_owned()))?.id)
        }
    };
    let page = KeyPage {
        search: query.text("search").map(str::to_owned),
        user,
        live: query.flag("live")?,
        below_platform: caller.role() != KeyRole::PlatformAdmin,
        after: asked.after.as_ref().map(|position| (position.0, position.1)),
        limit: asked.reads(),
    };
    let position = |key: &KeyRecord| Position(key.created_at, key.verifier.id);
    if caller.role() != KeyRole::User {
        let mut keys = tenant.keys(page).await?;
        let next = asked.cut(&mut keys, position);
        return Ok(Answer::ok(&Page { items: keys.iter().map(KeyView::from).collect(), next }));
    }
    let mut keys = match caller.user() {
        Some(id) => tenant.keys(KeyPage { user: Some(id), ..page }).await?,
        // A key of nobody sees itself.
        None if page.after.is_none() && page.live != Some(false) => {
            caller.key().map(|own| own.record.clone()).into_iter().collect()
        }
        None => Vec::new(),
    };
    let next = asked.cut(&mut keys, position);
    Ok(Answer::ok(&Page { items: keys.iter().map(KeyView::from).collect(), next }))
}

/// Shows a key's record, never the key.
#[utoipa::path(get, path = "/api/v1/keys/{key}", tag = "keys", operation_id = "showKey",
    responses((status = 200, body = KeyView)))]
pub(crate) async fn show(
    State(app): State<App>,
    Member(caller): Member,
    Segment(id): Segment,
) -> Result<Answer, Problem> {
    let record = find(&caller, &caller.store(&app), &id).await?;
    Ok(Answer::ok(&KeyView::from(&record)).at(record.generation))
}

/// Changes label, scopes, servers or end of a key; absent members stay.
#[utoipa::path(patch, path = "/api/v1/keys/{key}", tag = "keys", operation_id = "changeKey",
    request_body = KeyChange, responses((status = 200, body = Changed<KeyView>), (status = 409)))]
pub(crate) async fn change(
    State(app): State<App>,
    Admin(caller): Admin,
    Segment(id): Segment,
    Expected(expected): Expected,
    body: Body,
) -> Result<Answer, Problem> {
    let Body { mut fields, .. } = body;
    let given = key::change(&mut fields, app.clock.now_micros());
    let tenant = caller.store(&app);
    let record = find(&caller, &tenant, &id).await?;
    if matches!(given.servers, Some(Some(_))) && record.verifier.role != KeyRole::User {
        fields.wrong("servers", (Code::Role, "restricts keys of users only".to_owned()));
    }
    fields.finish()?;
    let Patch { label, scopes, servers, expires_at } = given;
    let patch = KeyPatch { label, scopes, servers, expires_at: expires_at.map(Some) };
    let committed = tenant.patch_key(&caller.actor(), record.verifier.id, expected, patch).await?;
    let record = committed.value;
    let effective = app.servers.settled(committed.revision, ResourceName::Key(record.verifier.id)).await.into();
    Ok(Answer::ok(&Changed { record: KeyView::from(&record), effective }).at(record.generation))
}

/// Revokes at once on every proxy. A key has one life, so there is no generation to match: revoking
/// needs no `If-Match`. The last live key of a platform admin stays: nobody could make another.
#[utoipa::path(delete, path = "/api/v1/keys/{key}", tag = "keys", operation_id = "revokeKey",
    responses((status = 200, body = Gone), (status = 409)))]
pub(crate) async fn revoke(
    State(app): State<App>,
    Admin(caller): Admin,
    Segment(id): Segment,
) -> Result<Answer, Problem> {
    let tenant = caller.store(&app);
    let id = find(&caller, &tenant, &id).await?.verifier.id;
    let committed = tenant.revoke_key(&caller.actor(), id).await?;
    let effective = app.servers.settled(committed.revision, ResourceName::Key(id)).await.into();
    Ok(Answer::ok(&Gone { id: id.to_string(), name: None, effective }))
}

/// Makes a second key of the same label, role, scopes, user and servers. The first ends after the grace.
#[utoipa::path(post, path = "/api/v1/keys/{key}/rotate", tag = "keys", operation_id = "rotateKey",
    request_body = KeyRotate, responses((status = 201, body = NewKeyView), (status = 409)))]
pub(crate) async fn rotate(
    State(app): State<App>,
    Admin(caller): Admin,
    Segment(id): Segment,
    body: Body,
) -> Result<Response, Problem> {
    let Body { mut fields, slot, .. } = body;
    let grace = key::rotate(&mut fields);
    fields.finish()?;
    let tenant = caller.store(&app);
    let old = find(&caller, &tenant, &id).await?;
    let (by, now) = (app.clone(), app.clock.now_micros());
    let work = move |actor| async move {
        // The new key lives as long as the old one was made for.
        let span = old.verifier.expires_at.map(|at| at.saturating_sub(old.created_at));
        let expires_at = span.map(|span| now.saturating_add(span));
        let what = Mint {
            tenant: old.verifier.tenant,
            user: old.verifier.user,
            role: old.verifier.role,
            scopes: old.verifier.scopes,
            servers: old.verifier.servers.clone(),
            expires_at,
            label: old.label.clone(),
        };
        let minted = mint(what).ok_or(Problem::Internal)?;
        let verifier = minted.new.verifier;
        let rotation =
            KeyRotation { id: verifier.id, sha256: verifier.sha256, evidence: minted.new.evidence, expires_at, grace };
        let committed = tenant.rotate_key(&actor, old.verifier.id, rotation).await?;
        let effective = app.servers.settled(committed.revision, ResourceName::Key(verifier.id)).await;
        Ok(shown_once(&committed.value.new, minted.text.expose(), effective))
    };
    Ok(once(&by, &caller, slot, work).await)
}

fn shown_once(record: &KeyRecord, text: &str, effective: crate::proxies::Effective) -> Answer {
    let view = NewKeyView { record: KeyView::from(record), key: Some(text.to_owned()), effective: effective.into() };
    let location = format!("/api/v1/keys/{}", record.verifier.id);
    Answer::created(location, &view).at(record.generation).shown_once("key")
}

/// A key that the caller may know of. Who is no platform admin is not told of keys that stand above
/// theirs, and a user of their own only.
async fn find(caller: &Caller, tenant: &TenantStore, id: &str) -> Result<KeyRecord, Problem> {
    let id: KeyId = id.parse().map_err(|_| Problem::NotFound)?;
    let found = tenant.key(id).await?.filter(|key| sees(caller, key));
    found.ok_or(Problem::NotFound)
}

fn sees(caller: &Caller, key: &KeyRecord) -> bool {
    match caller.role() {
        KeyRole::PlatformAdmin => true,
        KeyRole::TenantAdmin | KeyRole::Viewer => key.verifier.role != KeyRole::PlatformAdmin,
        KeyRole::User => {
            let itself = caller.key().is_some_and(|own| own.record.verifier.id == key.verifier.id);
            itself || (caller.user().is_some() && key.verifier.user == caller.user())
        }
    }
}

/// Whether the caller may ask for the keys of this user.
fn knows(caller: &Caller, user: model::UserId) -> bool {
    caller.role() != KeyRole::User || caller.user() == Some(user)
}

fn no_user() -> Problem {
    let detail = "is no user of this tenant".to_owned();
    Problem::Fields(vec![FieldError { field: "user".to_owned(), code: Code::User, detail }])
}

/// Where a list of keys goes on: when the last key was made, and which it is.
struct Position(i64, KeyId);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl FromStr for Position {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = IdError { kind: "position" };
        let (made, id) = text.split_once('.').ok_or(wrong.clone())?;
        Ok(Self(made.parse().map_err(|_| wrong)?, id.parse()?))
    }
}
