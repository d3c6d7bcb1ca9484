//! `/api/v1/vault`: the keys above all secrets, for platform admins.

use std::collections::BTreeMap;

use axum::extract::State;

use crate::App;
use crate::rest::answer::Answer;
use crate::rest::bodies::vault::{RotateBody, rotate};
use crate::rest::body::Body;
use crate::rest::caller::Platform;
use crate::rest::code::Code;
use crate::rest::fields::FieldError;
use crate::rest::problem::Problem;
use crate::rest::tenants;
use crate::rest::views::{JobView, KekView, VaultView};
use crate::rotation::What;

/// Shows which keys wrap data keys, and how far rotations are.
#[utoipa::path(get, path = "/api/v1/vault", tag = "vault", operation_id = "showVault",
    responses((status = 200, body = VaultView)))]
pub(crate) async fn show(State(app): State<App>, _: Platform) -> Result<Answer, Problem> {
    let platform = app.store.platform();
    let named = platform.keks_in_use().await?.into_iter();
    let mut in_use: BTreeMap<_, _> =
        named.map(|(id, keys)| (String::from_utf8_lossy(&id).into_owned(), keys)).collect();
    let mut keks = Vec::new();
    for (at, (id, health)) in app.keyring.keks().health().await.into_iter().enumerate() {
        let data_keys = in_use.remove(&id).unwrap_or(0);
        keks.push(KekView { id, writes: at == 0, configured: true, healthy: health.is_ok(), data_keys });
    }
    let missing = in_use.into_iter().map(|(id, data_keys)| KekView {
        id,
        writes: false,
        configured: false,
        healthy: false,
        data_keys,
    });
    keks.extend(missing);
    let jobs = platform.vault_jobs().await?.iter().map(JobView::from).collect();
    Ok(Answer::ok(&VaultView { keks, jobs }))
}

/// Begins to rotate keys, or tells how far the same rotation is that is under way. Everything goes on being served.
#[utoipa::path(post, path = "/api/v1/vault/rotate", tag = "vault", operation_id = "rotateKeys",
    request_body = RotateBody, responses((status = 200, body = JobView)))]
pub(crate) async fn start(State(app): State<App>, Platform(caller): Platform, body: Body) -> Result<Answer, Problem> {
    let Body { mut fields, .. } = body;
    let given = rotate(&mut fields);
    fields.finish()?;
    let given = given.ok_or(Problem::Internal)?;
    let what = match &given.tenant {
        _ if given.kek => What::Kek,
        None => What::DataKeys(None),
        Some(named) => {
            let found = tenants::find(&app, named).await?.ok_or_else(no_tenant)?;
            What::DataKeys(Some(found.spec.id))
        }
    };
    let actor = caller.actor();
    let job = app.rotation.begin(&actor, what).await?;
    tracing::info!(by = ?actor, what = job.what, tenant = ?given.tenant, "keys are to be rotated");
    Ok(Answer::ok(&JobView::from(&job)))
}

fn no_tenant() -> Problem {
    let detail = "no such tenant".to_owned();
    vec![FieldError { field: "tenant".to_owned(), code: Code::Tenant, detail }].into()
}
