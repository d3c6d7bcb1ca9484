//! `/api/v1/keys`: the keys of a tenant.

use axum::extract::State;
use axum::response::Response;
use model::{KeyId, KeyRole, ServerName, UserId};
use serde_json::{Value, json};
use store::{KeyRecord, StoreError};

use crate::App;
use crate::keys::{Mint, mint};
use crate::rest::admin::{Admin, is_live};
use crate::rest::answer::Answer;
use crate::rest::body::Body;
use crate::rest::fields::{number, text, texts};
use crate::rest::path::Path;
use crate::rest::problem::Problem;
use crate::rest::query::{Query, bad};
use crate::rest::views;

/// Days until a key ends when nobody says.
const DEFAULT_DAYS: u64 = 90;
const DAY_MICROS: i64 = 86_400 * 1_000_000;

pub(crate) async fn create(State(app): State<App>, admin: Admin, body: Body) -> Result<Response, Problem> {
    let Body { mut fields, slot, .. } = body;
    let label = fields.optional("label", text(200)).unwrap_or_default();
    let role = fields.optional("role", |value| {
        let word = text(32)(value)?;
        KeyRole::parse(&word).ok_or_else(|| ("role", "must be client, tenant_admin or platform_admin".to_owned()))
    });
    let role = role.unwrap_or(KeyRole::User);
    let user = fields
        .optional("user", |value| text(64)(value)?.parse::<UserId>().map_err(|error| ("user", error.to_string())));
    let servers = fields.optional("servers", |value| {
        let names = texts(200, 32)(value)?;
        let slugs = names.iter().try_for_each(|name| name.parse::<ServerName>().map(drop));
        slugs.map_err(|error| ("slug", error.to_string())).map(|()| names)
    });
    if servers.is_some() && role != KeyRole::User {
        fields.wrong("servers", ("role", "restricts keys of clients only".to_owned()));
    }
    let days = fields.optional("expires_in_days", number(1..=3650)).unwrap_or(DEFAULT_DAYS);
    fields.finish()?;
    if role == KeyRole::PlatformAdmin && admin.role() != KeyRole::PlatformAdmin {
        return Err(Problem::Forbidden("platform_admin"));
    }
    let lifetime = i64::try_from(days).unwrap_or(0).saturating_mul(DAY_MICROS);
    let expires_at = Some(app.clock.now_micros().saturating_add(lifetime));
    let (book, caller) = (app.idempotency.clone(), admin.clone());
    let work = async move {
        let minted =
            mint(Mint { tenant: admin.tenant(), user, role, servers, expires_at, label }).ok_or(Problem::Internal)?;
        let committed = admin.store(&app).create_key(&admin.actor(), minted.new).await?;
        let record = committed.value;
        // The first call with the key comes right after this answer: it should find the key there.
        let effective = app.servers.settled(committed.revision, model::ResourceName::Key(record.verifier.id)).await;
        let mut body = views::key(&record);
        if let Value::Object(members) = &mut body {
            members.insert("key".to_owned(), minted.text.expose().into());
            members.insert("effective".to_owned(), views::effective(&effective));
        }
        Ok(Answer::created(format!("/api/v1/keys/{}", record.verifier.id), body).shown_once("key"))
    };
    Ok(book.once(&caller, slot, work).await)
}

pub(crate) async fn list(State(app): State<App>, admin: Admin, query: Query) -> Result<Answer, Problem> {
    let query = query.only(&["limit", "page_size", "cursor"])?;
    let limit = query.limit()? as usize;
    let mut keys = admin.store(&app).keys().await?;
    keys.retain(|key| sees(&admin, key));
    keys.sort_by_key(|key| key.verifier.id);
    if let Some(cursor) = query.text("cursor") {
        let after: KeyId = cursor.parse().map_err(|_| bad("cursor", "not a cursor of this list".to_owned()))?;
        keys.retain(|key| key.verifier.id > after);
    }
    let more = keys.len() > limit;
    keys.truncate(limit);
    let next = keys.last().filter(|_| more).map(|last| last.verifier.id.to_string());
    Ok(Answer::page(keys.iter().map(views::key).collect(), next))
}

/// Revokes at once on every proxy. A key has one life, so there is no generation to match: revoking
/// needs no `If-Match`. The last live key of a platform admin stays: nobody could make another.
pub(crate) async fn revoke(State(app): State<App>, admin: Admin, Path(key): Path) -> Result<Answer, Problem> {
    let id: KeyId = key.parse().map_err(|_| Problem::NotFound)?;
    let found = app.store.platform().key(id).await?;
    let found = found.filter(|key| key.verifier.tenant == admin.tenant() && sees(&admin, key));
    let record = found.ok_or(Problem::NotFound)?;
    // One at a time: two that revoke each other's key would both find another one.
    let _turn = match record.verifier.role {
        KeyRole::PlatformAdmin => Some(app.last_admin.lock().await),
        KeyRole::TenantAdmin | KeyRole::User | KeyRole::Viewer => None,
    };
    if record.verifier.role == KeyRole::PlatformAdmin && !another_platform_admin(&app, id).await? {
        return Err(Problem::LastAdmin);
    }
    let committed = admin.store(&app).revoke_key(&admin.actor(), id).await?;
    let effective = app.servers.settled(committed.revision, model::ResourceName::Key(id)).await;
    Ok(Answer::ok(json!({"id": id.as_str(), "effective": views::effective(&effective)})))
}

/// Whether the caller may know of the key. A tenant admin is not told of keys that stand above theirs.
fn sees(admin: &Admin, key: &KeyRecord) -> bool {
    key.verifier.role != KeyRole::PlatformAdmin || admin.role() == KeyRole::PlatformAdmin
}

/// Whether some tenant has a live key of a platform admin besides this one.
async fn another_platform_admin(app: &App, id: KeyId) -> Result<bool, StoreError> {
    let now = app.clock.now_micros();
    let counts =
        |key: &KeyRecord| key.verifier.role == KeyRole::PlatformAdmin && key.verifier.id != id && is_live(key, now);
    for tenant in app.store.platform().tenants().await? {
        if app.store.tenant(tenant.spec.id).keys().await?.iter().any(counts) {
            return Ok(true);
        }
    }
    Ok(false)
}
