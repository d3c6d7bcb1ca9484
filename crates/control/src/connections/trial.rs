//! A connection is tried: its upstream is asked with this very credential, past every cache, and what it says is noted.

use std::sync::Arc;

use model::{ConnectionStatus, Holder, UserId};
use store::{Actor, ConnectionPatch, ConnectionRecord, ServerRecord, StoreError, TenantStore, Verdict};
use wire::{Challenge, HeaderLines, Unresolved};

use super::{Asker, ConnectionError, accepted, fits};
use crate::App;
use crate::auth::Context;
use crate::proxies::{CommandError, ProbeReport, ProbeRequest};

/// What came of it.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The upstream took it.
    Good {
        /// Its tools, a JSON array.
        tools: String,
    },
    /// It did not, or could not be asked.
    Bad {
        /// Stable code.
        code: String,
        /// One sentence.
        message: String,
    },
}

/// Tries a connection. One that the upstream takes is active from then on, unless it was put aside. Who shares one that
/// names its callers is tried as the asker.
pub(crate) async fn test(
    app: &App,
    tenant: &TenantStore,
    actor: &Actor,
    asker: Asker,
    server: &ServerRecord,
    record: &ConnectionRecord,
) -> Result<(Outcome, ConnectionRecord), ConnectionError> {
    fits(server, record.holder.scope())?;
    let binding = server.spec.binding.as_ref();
    if !record.has_credentials() && !binding.is_some_and(|binding| binding.exchange) {
        return Err(required(server));
    }
    let context = context(tenant, asker, record.holder).await?;
    let (outcome, generation) = match app.credentials.lines(server, Some(record), &context, 0).await {
        Ok(lines) => asked(app, server, record, &context, lines).await?,
        Err(why) => (unresolved(server, record, why)?, record.token_generation),
    };
    match &outcome {
        Outcome::Good { .. } => good(app, tenant, actor, record, generation).await?,
        Outcome::Bad { code, message } => {
            let refused = matches!(code.as_str(), UNAUTHORIZED | FORBIDDEN);
            let login = binding.is_some_and(|binding| binding.login);
            let status = (code == UNAUTHORIZED && login).then_some(ConnectionStatus::ReauthRequired);
            let verdict = Verdict::Refused { status, code: code.clone(), message: message.clone() };
            tracing::info!(connection = %record.id, code, refused, "a connection was tried and failed");
            tenant.verdict(record.id, generation, verdict).await?;
        }
    }
    let now = tenant.connection(record.id).await?.ok_or(StoreError::NotFound)?;
    Ok((outcome, now))
}

/// What an upstream's 401 is noted as.
const UNAUTHORIZED: &str = "unauthorized";
/// What its 403 is noted as, unless it asks for more scope.
const FORBIDDEN: &str = "forbidden";

/// Nothing is there to be tried.
fn required(server: &ServerRecord) -> ConnectionError {
    let login = server.spec.binding.as_ref().is_some_and(|binding| binding.login);
    ConnectionError::Required { scopes: accepted(server).to_vec(), login }
}

/// Asks, and where the upstream refuses once more with a newer token, if there is one.
async fn asked(
    app: &App,
    server: &ServerRecord,
    record: &ConnectionRecord,
    context: &Context,
    lines: HeaderLines,
) -> Result<(Outcome, i64), ConnectionError> {
    let generation = lines.token_generation;
    let first = probed(app, server, lines).await?;
    let Some(challenge) = first.challenge() else { return Ok((first.outcome(), generation)) };
    if challenge.error.as_deref() == Some("insufficient_scope") {
        return Ok((first.outcome(), generation));
    }
    match app.credentials.lines(server, Some(record), context, generation).await {
        Ok(newer) if newer.token_generation > generation => {
            let generation = newer.token_generation;
            Ok((probed(app, server, newer).await?.outcome(), generation))
        }
        // What the upstream said tells more than that there is no newer token.
        Ok(_) | Err(_) => Ok((first.outcome(), generation)),
    }
}

/// What a probe gave.
enum Probed {
    Answered(ProbeReport),
    Failed { class: String, message: String },
}

impl Probed {
    fn challenge(&self) -> Option<&Challenge> {
        match self {
            Self::Answered(report) => report.challenge.as_ref(),
            Self::Failed { .. } => None,
        }
    }

    fn outcome(self) -> Outcome {
        match self {
            Self::Answered(ProbeReport { challenge: None, tools, .. }) => Outcome::Good { tools },
            Self::Answered(ProbeReport { challenge: Some(challenge), .. }) => refused(&challenge),
            Self::Failed { class, message } => Outcome::Bad { code: class, message },
        }
    }
}

async fn probed(app: &App, server: &ServerRecord, lines: HeaderLines) -> Result<Probed, ConnectionError> {
    let spec = &server.spec;
    let request = ProbeRequest {
        tenant: spec.tenant,
        url: spec.url.clone(),
        transport: spec.transport,
        headers: spec.headers.clone(),
        connect_timeout: spec.connect_timeout,
        read_timeout: spec.read_timeout,
        lines: Some(Arc::new(lines)),
    };
    match app.proxies.probe(request).await {
        Ok(report) => Ok(Probed::Answered(report)),
        Err(CommandError::Upstream { class, message }) => Ok(Probed::Failed { class, message }),
        Err(error) => Err(ConnectionError::Command(error)),
    }
}

fn refused(challenge: &Challenge) -> Outcome {
    let (code, message) = match (challenge.status, challenge.error.as_deref()) {
        (_, Some("insufficient_scope")) => ("insufficient_scope", "the upstream wants more scope than the token has"),
        (403, _) => (FORBIDDEN, "the upstream knows the credential and refuses it (403)"),
        _ => (UNAUTHORIZED, "the upstream refuses the credential (401)"),
    };
    Outcome::Bad { code: code.to_owned(), message: message.to_owned() }
}

/// Why there are no header lines: an answer of the test, unless nobody could have tried.
fn unresolved(server: &ServerRecord, record: &ConnectionRecord, why: Unresolved) -> Result<Outcome, ConnectionError> {
    match why.reason.as_str() {
        "connection_required" => Err(required(server)),
        // What a reference leads to is the operator's, and the message says what is wrong with it.
        "credential_unreadable" if record.reference.is_none() => Err(ConnectionError::Unreadable),
        "sealed" => Err(ConnectionError::Sealed),
        _ => Ok(Outcome::Bad { code: why.reason, message: why.message }),
    }
}

/// Notes that the upstream took it.
async fn good(
    app: &App,
    tenant: &TenantStore,
    actor: &Actor,
    record: &ConnectionRecord,
    generation: i64,
) -> Result<(), ConnectionError> {
    let now = tenant.connection(record.id).await?.ok_or(StoreError::NotFound)?;
    // Somebody replaced the credential meanwhile: that one was not tried.
    if now.credential_version != record.credential_version {
        return Ok(());
    }
    if matches!(now.status, ConnectionStatus::ReauthRequired | ConnectionStatus::Invalid) {
        let patch = ConnectionPatch {
            status: Some(ConnectionStatus::Active),
            last_success_at: Some(app.clock.now_micros()),
            ..ConnectionPatch::default()
        };
        let committed = tenant.patch_connection(actor, record.id, Some(now.generation), patch).await?;
        app.connections.told(committed).await;
        return Ok(());
    }
    tenant.verdict(record.id, generation, Verdict::Accepted).await?;
    Ok(())
}

/// Who calls, for templates that name the caller: the holder, and what a holder leaves open is the asker.
async fn context(tenant: &TenantStore, asker: Asker, holder: Holder) -> Result<Context, StoreError> {
    Ok(match holder {
        Holder::User(user) => of_user(tenant, Some(user)).await?,
        Holder::Department(department) => {
            Context { department_id: Some(department.to_string()), ..of_user(tenant, asker.user()).await? }
        }
        Holder::Global => of_user(tenant, asker.user()).await?,
    })
}

async fn of_user(tenant: &TenantStore, user: Option<UserId>) -> Result<Context, StoreError> {
    let Some(user) = user else { return Ok(Context::default()) };
    let Some(record) = tenant.user(user).await? else { return Ok(Context::default()) };
    Ok(Context {
        user_id: Some(user.to_string()),
        department_id: record.departments.first().map(|department| department.id.to_string()),
        work_id: Some(record.login),
    })
}
