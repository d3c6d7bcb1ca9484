//! `/api/v1/keys`: the keys of a tenant.

use axum::extract::{Path, State};
use axum::response::Response;
use model::{KeyId, KeyRole, UserId};
use serde_json::{Value, json};

use crate::App;
use crate::keys::{Mint, mint};
use crate::rest::admin::Admin;
use crate::rest::answer::Answer;
use crate::rest::body::Body;
use crate::rest::fields::{number, text, texts};
use crate::rest::problem::Problem;
use crate::rest::query::{Query, bad};
use crate::rest::views;

/// Days until a key ends when nobody says.
const DEFAULT_DAYS: u64 = 90;
const DAY_MICROS: i64 = 86_400 * 1_000_000;

pub(crate) async fn create(State(app): State<App>, admin: Admin, body: Body) -> Result<Response, Problem> {
    let Body { mut fields, slot } = body;
    let label = fields.optional("label", text(200)).unwrap_or_default();
    let role = fields.optional("role", |value| {
        let word = text(32)(value)?;
        KeyRole::parse(&word).ok_or_else(|| ("role", "must be client, tenant_admin or platform_admin".to_owned()))
    });
    let role = role.unwrap_or(KeyRole::Client);
    let user = fields
        .optional("user", |value| text(64)(value)?.parse::<UserId>().map_err(|error| ("user", error.to_string())));
    let servers = fields.optional("servers", texts(200, 32));
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
    let limit = query.limit()? as usize;
    let mut keys = admin.store(&app).keys().await?;
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
/// needs no `If-Match`.
pub(crate) async fn revoke(State(app): State<App>, admin: Admin, Path(key): Path<String>) -> Result<Answer, Problem> {
    let id: KeyId = key.parse().map_err(|_| Problem::NotFound)?;
    let committed = admin.store(&app).revoke_key(&admin.actor(), id).await?;
    let effective = app.servers.settled(committed.revision, model::ResourceName::Key(id)).await;
    Ok(Answer::ok(json!({"id": id.as_str(), "effective": views::effective(&effective)})))
}
