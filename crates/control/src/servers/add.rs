//! A server is added: checked, looked at through a proxy with the credential that came along, and committed with it.

use std::sync::Arc;

use model::{ConnectionId, Holder, ServerId, ServerName, TenantId, UserId, crash_here};
use store::{Actor, Committed, NewConnection, NewServer, ServerAuth, ServerRecord, StoreError, TenantStore};
use wire::HeaderLines;

use super::settings::{Secrets, fits, stored};
use super::{AddServer, Changed, MAX_ATTEMPTS, Probe, ServersError};
use crate::App;
use crate::auth::{AuthConfig, AuthSecret, Context, Credential, TokenSource};
use crate::connections::seal;

/// Adds a server. Nothing is saved unless the upstream answered or the admin wanted no probe. That it wants another
/// credential, or one at all, is an answer: the record says so, and one that names its authorization server gets the
/// settings of a sign-in there.
pub(crate) async fn add(
    app: &App,
    tenant: &TenantStore,
    actor: &Actor,
    user: Option<UserId>,
    mut add: AddServer,
) -> Result<Changed, ServersError> {
    app.servers.check_url(tenant.id(), &add.url).await?;
    if let Some(name) = &add.name
        && tenant.server_by_name(name.as_str()).await?.is_some()
    {
        return Err(StoreError::NameTaken.into());
    }
    if let Some(title) = &add.title
        && tenant.server_by_title(title).await?.is_some()
    {
        return Err(StoreError::TitleTaken.into());
    }
    let secret = match &mut add.auth {
        Some(given) => {
            let sent = std::mem::take(&mut given.secret);
            given.config.secrets(sent, None).map_err(|wrong| given.within(wrong))?
        }
        None => AuthSecret::default(),
    };
    let settled = add.auth.as_ref().map(|given| given.config.clone());
    let config = settled.clone().unwrap_or_default();
    if let Some(credential) = &add.credential {
        fits(&config, credential)?;
    }
    let probe = if add.skip_validation {
        Probe::Skipped
    } else {
        let lines = lines(app, tenant, user, &config, &secret, add.credential.as_ref()).await?;
        app.servers.probe_new(tenant.id(), &add, lines).await?
    };
    crash_here("add.probed");
    let config = match (&settled, &probe) {
        (None, Probe::NeedsAuth { challenge, .. }) if challenge.resource_metadata.is_some() => AuthConfig::discovered(),
        _ => config,
    };
    let id = ServerId::fresh();
    let auth = stored(&app.keyring, (tenant.id(), id), &config, &Secrets::Given(secret), 0).await?;
    let connection = match &add.credential {
        Some(credential) => Some(connection(app, tenant.id(), id, credential).await?),
        None => None,
    };
    let made = connection.as_ref().map(|connection| connection.id);
    let committed = create(tenant, actor, &add, (id, auth), connection, &probe).await?;
    crash_here("add.committed");
    let warnings = add.auth.map(|given| given.warnings).unwrap_or_default();
    Ok(Changed { probe, warnings, connection: made, ..app.servers.told(committed).await })
}

/// What the probe shows: the header lines of the credential that came along, and of settings that need none. `None`
/// where there is nothing to show yet.
async fn lines(
    app: &App,
    tenant: &TenantStore,
    user: Option<UserId>,
    config: &AuthConfig,
    secret: &AuthSecret,
    credential: Option<&Credential>,
) -> Result<Option<Arc<HeaderLines>>, ServersError> {
    let given = credential.is_some() || !config.needs_connection();
    // Nobody's token can be exchanged here.
    if config.is_none() || !given || matches!(config.source(), TokenSource::Exchange(_)) {
        return Ok(None);
    }
    let none = Credential::empty();
    let context = context(tenant, user).await?;
    let asked = app.credentials.lines_of(tenant.id(), config, secret, credential.unwrap_or(&none), &context).await;
    match asked {
        Ok(lines) => Ok(Some(Arc::new(lines))),
        // The admin has no such value, or has yet to sign in: calls will tell.
        Err(why) if matches!(why.reason.as_str(), "context_missing" | "reauth_required") => Ok(None),
        Err(why) => Err(ServersError::Unresolved(why)),
    }
}

/// The admin's own values, for templates that say who calls.
pub(super) async fn context(tenant: &TenantStore, user: Option<UserId>) -> Result<Context, StoreError> {
    let Some(user) = user else { return Ok(Context::default()) };
    let Some(record) = tenant.user(user).await? else { return Ok(Context::default()) };
    Ok(Context {
        user_id: Some(user.to_string()),
        department_id: record.departments.first().map(|department| department.id.to_string()),
        work_id: Some(record.login),
    })
}

/// The global connection that comes with the server.
async fn connection(
    app: &App,
    tenant: TenantId,
    server: ServerId,
    credential: &Credential,
) -> Result<NewConnection, ServersError> {
    let mut new = NewConnection::new(ConnectionId::fresh(), server, Holder::Global);
    let (sealed, fingerprints) = seal(&app.keyring, tenant, new.id, 1, credential).await?;
    (new.credential, new.fingerprints) = (Some(sealed), fingerprints);
    Ok(new)
}

/// Commits the new record, and its connection with it. Where name or title was not given, the next free one is taken.
async fn create(
    tenant: &TenantStore,
    actor: &Actor,
    add: &AddServer,
    (id, auth): (ServerId, ServerAuth),
    connection: Option<NewConnection>,
    probe: &Probe,
) -> Result<Committed<ServerRecord>, StoreError> {
    let host = add.url.url().host_str().unwrap_or("server").to_owned();
    let (mut names, mut titles) = (0, 0);
    loop {
        let base = add.title.clone().unwrap_or_else(|| host.clone());
        let name = add.name.clone().unwrap_or_else(|| ServerName::from_title(&base, names));
        let made = if add.name.is_some() { name.to_string() } else { host.clone() };
        let made = if titles == 0 { made } else { format!("{made} ({})", titles + 1) };
        let new = NewServer {
            id: Some(id),
            auth: Some(auth.clone()),
            name,
            title: add.title.clone().unwrap_or(made),
            transport: match probe {
                Probe::Spoke(report) => report.transport,
                Probe::Skipped | Probe::NeedsAuth { .. } => add.transport,
            },
            url: add.url.clone(),
            headers: add.headers.clone(),
            connect_timeout: add.connect_timeout,
            read_timeout: add.read_timeout,
            disabled_tools: add.disabled_tools.clone(),
            trust_hints: add.trust_hints,
            retry_count: add.retry_count,
            retry_delay: add.retry_delay,
            limits: add.limits,
            eras: match probe {
                Probe::Spoke(report) => report.eras,
                Probe::Skipped | Probe::NeedsAuth { .. } => model::Eras::default(),
            },
            description: add.description.clone(),
            tags: add.tags.clone(),
            icon: add.icon.clone(),
            enabled: add.enabled,
        };
        let created = match connection.clone() {
            Some(connection) => {
                let both = tenant.create_server_with_connection(actor, new, connection).await;
                both.map(|Committed { value: (server, _), revision }| Committed { value: server, revision })
            }
            None => tenant.create_server(actor, new).await,
        };
        match created {
            Err(StoreError::NameTaken) if add.name.is_none() && names < MAX_ATTEMPTS => names += 1,
            Err(StoreError::TitleTaken) if add.title.is_none() && titles < MAX_ATTEMPTS => titles += 1,
            result => return result,
        }
    }
}
