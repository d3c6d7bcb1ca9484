//! Adding, changing and removing servers: check, probe through a proxy, one commit, then see what
//! became effective.
//!
//! What has to do with secrets is in `add`, `change` and `trial`: a secret goes nowhere but where it was given for.

mod add;
mod change;
mod settings;
mod trial;

use std::sync::Arc;
use std::time::Duration;

use egress::{Policy, Refusal};
use model::{
    ConnectionId, EgressRule, Generation, ResourceName, Revision, Scope, ServerId, ServerLimits, ServerName, TenantId,
    Transport, UpstreamUrl, crash_here,
};
use store::{Actor, Committed, EgressRulePage, ServerRecord, Store, StoreError, TenantStore};
use wire::{Challenge, HeaderLines, Unresolved};

use crate::auth::Credential;
use crate::connections::ConnectionError;
use crate::keyring::KeyringError;
use crate::proxies::{CommandError, Effective, ProbeReport, ProbeRequest, Proxies};
use crate::rest::fields::FieldError;

pub(crate) use self::add::add;
pub(crate) use self::change::{ChangeServer, change};
pub(crate) use self::settings::{GivenAuth, own_secrets, within};
pub(crate) use self::trial::{Tried, test};

/// How long an answer waits for proxies to have a change in their tables.
const EFFECTIVE_WAIT: Duration = Duration::from_secs(2);
/// Names and titles that are tried when a made one is taken.
const MAX_ATTEMPTS: u32 = 1000;

/// What an admin wants added.
#[derive(Debug)]
pub(crate) struct AddServer {
    /// The slug; made from the title or the URL's host when absent.
    pub(crate) name: Option<ServerName>,
    /// Free text; the slug or the URL's host when absent.
    pub(crate) title: Option<String>,
    /// Where the upstream is.
    pub(crate) url: UpstreamUrl,
    /// How it is spoken to; the probe resolves `Auto`.
    pub(crate) transport: Transport,
    /// Public headers.
    pub(crate) headers: Vec<(String, String)>,
    /// Limit for connecting.
    pub(crate) connect_timeout: Duration,
    /// Limit for the first byte of an answer.
    pub(crate) read_timeout: Duration,
    /// Tools that are absent and refused.
    pub(crate) disabled_tools: Vec<String>,
    /// Whether the upstream's hints are believed.
    pub(crate) trust_hints: bool,
    /// How often a request that is safe to repeat is tried again.
    pub(crate) retry_count: u32,
    /// The pause before each further try.
    pub(crate) retry_delay: Duration,
    /// Its share of the tenant's limits.
    pub(crate) limits: ServerLimits,
    /// Free text for people.
    pub(crate) description: Option<String>,
    /// Words to find it by.
    pub(crate) tags: Vec<String>,
    /// A word or an https URL.
    pub(crate) icon: Option<String>,
    /// Whether proxies should mount it.
    pub(crate) enabled: bool,
    /// Save without asking the upstream.
    pub(crate) skip_validation: bool,
    /// How it is authenticated to; found out when absent, as far as the upstream says.
    pub(crate) auth: Option<GivenAuth>,
    /// Of the global connection, which is made with it.
    pub(crate) credential: Option<Credential>,
}

/// What a look at the upstream gave.
#[derive(Debug, Clone)]
pub(crate) enum Probe {
    /// Nobody looked.
    Skipped,
    /// It spoke MCP.
    Spoke(ProbeReport),
    /// It answered that it wants a credential: reachable, so it is saved.
    NeedsAuth {
        /// What it said.
        challenge: Challenge,
        /// Whether it was shown one.
        sent: bool,
    },
}

/// A record, and how far its change has come.
#[derive(Debug)]
pub(crate) struct Changed {
    /// As it is stored now.
    pub(crate) record: ServerRecord,
    /// On how many proxies it is.
    pub(crate) effective: Effective,
    /// What the probe of an add gave.
    pub(crate) probe: Probe,
    /// The connection that was made or changed with it.
    pub(crate) connection: Option<ConnectionId>,
    /// What of the settings was passed over.
    pub(crate) warnings: Vec<String>,
}

/// Why a server was not added or changed. Nothing was saved.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServersError {
    /// The store refused or failed.
    #[error("the store refused")]
    Store(#[from] StoreError),
    /// The address policy refused the URL.
    #[error("the address is not allowed")]
    Blocked {
        /// The command that allows it, where one can.
        hint: Option<String>,
    },
    /// Plain http where nobody allowed it.
    #[error("the URL must use https")]
    Https {
        /// The command that allows it.
        hint: String,
    },
    /// The probe failed.
    #[error("the upstream can't be reached")]
    Probe(#[source] CommandError),
    /// What was given doesn't fit, or must be given again.
    #[error("fields don't fit")]
    Fields(Vec<FieldError>),
    /// Secrets can't be sealed or opened.
    #[error("the keyring refused")]
    Keyring(#[from] KeyringError),
    /// The global connection could not be changed.
    #[error("the connection could not be changed")]
    Connection(#[from] ConnectionError),
    /// The credential becomes no header lines.
    #[error("there are no header lines: {}", .0.reason)]
    Unresolved(Unresolved),
    /// The caller has no usable connection.
    #[error("there is no usable connection")]
    ConnectionRequired {
        /// What the server accepts, in its order.
        scopes: Vec<Scope>,
        /// Whether somebody can log in at its authorization server.
        login: bool,
    },
}

/// The one way to change servers.
#[derive(Clone)]
pub(crate) struct Servers {
    store: Store,
    proxies: Arc<dyn Proxies>,
    policy: Arc<Policy>,
}

impl Servers {
    /// `policy`, with the rules of the database, judges URLs before a proxy is asked; the proxy judges again
    /// what it dials.
    pub(crate) fn new(store: Store, proxies: Arc<dyn Proxies>, policy: Policy) -> Self {
        Self { store, proxies, policy: Arc::new(policy) }
    }

    /// Removes a record; a tombstone stays.
    pub(crate) async fn delete(
        &self,
        tenant: &TenantStore,
        actor: &Actor,
        id: ServerId,
        expected: Option<Generation>,
    ) -> Result<Effective, ServersError> {
        let committed = tenant.delete_server(actor, id, expected).await?;
        crash_here("delete.committed");
        Ok(self.effective(committed.revision, id).await)
    }

    /// Looks at an upstream that has no record.
    pub(crate) async fn look(
        &self,
        tenant: TenantId,
        add: &AddServer,
        lines: Option<Arc<HeaderLines>>,
    ) -> Result<ProbeReport, ServersError> {
        self.check_url(tenant, &add.url).await?;
        let request = ProbeRequest {
            tenant,
            url: add.url.clone(),
            transport: add.transport,
            headers: add.headers.clone(),
            connect_timeout: add.connect_timeout,
            read_timeout: add.read_timeout,
            lines,
        };
        self.proxies.probe(request).await.map_err(|error| match &error {
            CommandError::Upstream { class, .. } if class == "address_blocked" => {
                ServersError::Blocked { hint: hint(&add.url) }
            }
            _ => ServersError::Probe(error),
        })
    }

    async fn probe_new(
        &self,
        tenant: TenantId,
        add: &AddServer,
        lines: Option<Arc<HeaderLines>>,
    ) -> Result<Probe, ServersError> {
        let sent = lines.is_some();
        let mut report = self.look(tenant, add, lines).await?;
        Ok(match report.challenge.take() {
            Some(challenge) => Probe::NeedsAuth { challenge, sent },
            None => Probe::Spoke(report),
        })
    }

    async fn check_url(&self, tenant: TenantId, url: &UpstreamUrl) -> Result<(), ServersError> {
        self.policy_now().await?.check_url(tenant, url.url()).map_err(|refusal| match refusal {
            Refusal::HttpsRequired => ServersError::Https { hint: allow_command(url) },
            Refusal::Metadata | Refusal::OwnListener => ServersError::Blocked { hint: None },
            Refusal::Scheme | Refusal::UserInfo | Refusal::HostName | Refusal::Port | Refusal::Address => {
                ServersError::Blocked { hint: hint(url) }
            }
        })
    }

    /// The policy with the rules of the database as they are now: one that was just made counts for the next add.
    pub(crate) async fn policy_now(&self) -> Result<Policy, StoreError> {
        let mut policy = Policy::clone(&self.policy);
        policy.rules.extend(self.stored_rules().await?);
        Ok(policy)
    }

    async fn stored_rules(&self) -> Result<Vec<EgressRule>, StoreError> {
        let mut rules = Vec::new();
        let mut page = EgressRulePage { limit: 500, ..EgressRulePage::default() };
        loop {
            let records = self.store.platform().egress_rules(page.clone()).await?;
            let Some(last) = records.last() else { return Ok(rules) };
            page.after = Some(last.rule.id);
            rules.extend(records.into_iter().map(|record| record.rule));
        }
    }

    /// A change that was committed, and how far it has come.
    pub(crate) async fn told(&self, committed: Committed<ServerRecord>) -> Changed {
        let record = committed.value;
        let effective = self.effective(committed.revision, record.spec.id).await;
        Changed { record, effective, probe: Probe::Skipped, connection: None, warnings: Vec::new() }
    }

    async fn effective(&self, revision: Revision, id: ServerId) -> Effective {
        self.settled(revision, ResourceName::Server(id)).await
    }

    /// How far any change has come, after a wait of at most 2 s.
    pub(crate) async fn settled(&self, revision: Revision, resource: ResourceName) -> Effective {
        self.proxies.effective(revision, resource, EFFECTIVE_WAIT).await
    }
}

/// The command that allows an address; none for loopback, which only dev mode opens.
fn hint(url: &UpstreamUrl) -> Option<String> {
    let loopback = match url.url().host()? {
        url::Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        url::Host::Ipv4(ip) => ip.is_loopback(),
        url::Host::Ipv6(ip) => ip.to_canonical().is_loopback(),
    };
    (!loopback).then(|| allow_command(url))
}

fn allow_command(url: &UpstreamUrl) -> String {
    let url = url.url();
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let http = if url.scheme() == "http" { " --http" } else { "" };
    format!("gatehouse egress allow {host}{port}{http} --reason '…'")
}
