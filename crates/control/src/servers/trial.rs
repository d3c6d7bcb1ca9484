//! A server is tried: its upstream is asked past every cache, with the caller's own connection.

use std::sync::Arc;

use model::{ConnectionStatus, Holder, Scope, UserId};
use store::{ConnectionRecord, ServerRecord, StoreError, TenantStore};
use wire::HeaderLines;

use super::{ServersError, add::context};
use crate::App;
use crate::proxies::{CommandError, ProbeReport, ProbeRequest};

/// What a trial found, and whether a credential was shown.
#[derive(Debug)]
pub(crate) struct Tried {
    /// What the upstream said, or why it said nothing.
    pub(crate) outcome: Result<ProbeReport, CommandError>,
    /// Whether a credential was shown.
    pub(crate) sent: bool,
}

/// Looks at the upstream of a record as the caller would: with the first connection that serves them. Without one there
/// is nothing to try. An upstream that refuses is asked once more, if there is a newer token.
pub(crate) async fn test(
    app: &App,
    tenant: &TenantStore,
    user: Option<UserId>,
    record: &ServerRecord,
) -> Result<Tried, ServersError> {
    let Some(binding) = &record.spec.binding else {
        return Ok(Tried { outcome: probe(app, record, None).await, sent: false });
    };
    let connection = match serving(tenant, user, record, &binding.scopes).await? {
        None if !binding.scopes.is_empty() => {
            return Err(ServersError::ConnectionRequired { scopes: binding.scopes.clone(), login: binding.login });
        }
        connection => connection,
    };
    let mut context = context(tenant, user).await?;
    if let Some(ConnectionRecord { holder: Holder::Department(id), .. }) = &connection {
        context.department_id = Some(id.to_string());
    }
    let lines = |newer_than| app.credentials.lines(record, connection.as_ref(), &context, newer_than);
    let first = lines(0).await.map_err(ServersError::Unresolved)?;
    let generation = first.token_generation;
    let outcome = probe(app, record, Some(first)).await;
    let refused = matches!(&outcome, Ok(report) if report.challenge.as_ref().is_some_and(|told| told.status == 401));
    if refused && let Ok(newer) = lines(generation).await {
        return Ok(Tried { outcome: probe(app, record, Some(newer)).await, sent: true });
    }
    Ok(Tried { outcome, sent: true })
}

/// The first connection of these scopes that serves the caller.
async fn serving(
    tenant: &TenantStore,
    user: Option<UserId>,
    server: &ServerRecord,
    scopes: &[Scope],
) -> Result<Option<ConnectionRecord>, StoreError> {
    let person = match user {
        Some(user) => tenant.user(user).await?,
        None => None,
    };
    for scope in scopes {
        let holders: Vec<Holder> = match (scope, &person) {
            (Scope::Global, _) => vec![Holder::Global],
            (Scope::User, Some(person)) => vec![Holder::User(person.id)],
            (Scope::Department, Some(person)) => {
                person.departments.iter().map(|department| Holder::Department(department.id)).collect()
            }
            (Scope::User | Scope::Department, None) => Vec::new(),
        };
        for holder in holders {
            let found = tenant.connection_of(server.spec.id, holder).await?;
            let usable =
                |record: &ConnectionRecord| record.status == ConnectionStatus::Active && record.has_credentials();
            if let Some(record) = found.filter(usable) {
                return Ok(Some(record));
            }
        }
    }
    Ok(None)
}

async fn probe(app: &App, record: &ServerRecord, lines: Option<HeaderLines>) -> Result<ProbeReport, CommandError> {
    let spec = record.spec.clone();
    let request = ProbeRequest {
        tenant: spec.tenant,
        url: spec.url,
        transport: spec.transport,
        headers: spec.headers,
        connect_timeout: spec.connect_timeout,
        read_timeout: spec.read_timeout,
        lines: lines.map(Arc::new),
    };
    app.proxies.probe(request).await
}
