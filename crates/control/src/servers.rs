//! Adding, changing and removing servers: check, probe through a proxy, one commit, then see what
//! became effective.

use std::sync::Arc;
use std::time::Duration;

use egress::{Policy, Refusal};
use model::{
    EgressRule, Generation, ResourceName, Revision, ServerId, ServerLimits, ServerName, TenantId, Transport,
    UpstreamUrl, crash_here,
};
use store::{Actor, Committed, EgressRulePage, NewServer, ServerPatch, ServerRecord, Store, StoreError, TenantStore};

use crate::proxies::{CommandError, Effective, ProbeReport, ProbeRequest, Proxies};

/// How long an answer waits for proxies to have a change in their tables.
const EFFECTIVE_WAIT: Duration = Duration::from_secs(2);
/// Names and titles that are tried when a made one is taken.
const MAX_ATTEMPTS: u32 = 1000;

/// What an admin wants added.
#[derive(Debug, Clone)]
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
}

/// What a look at the upstream gave.
#[derive(Debug, Clone)]
pub(crate) enum Probe {
    /// Nobody looked.
    Skipped,
    /// It spoke MCP.
    Spoke(ProbeReport),
    /// It answered that it wants a credential: reachable, so it is saved.
    NeedsAuth,
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

    /// Adds a server. Nothing is saved unless the upstream answered or the admin wanted no probe.
    pub(crate) async fn add(
        &self,
        tenant: &TenantStore,
        actor: &Actor,
        add: AddServer,
    ) -> Result<Changed, ServersError> {
        let id = tenant.id();
        self.check_url(id, &add.url).await?;
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
        let probe = if add.skip_validation { Probe::Skipped } else { self.probe_new(id, &add).await? };
        crash_here("add.probed");
        let committed = create(tenant, actor, add, &probe).await?;
        crash_here("add.committed");
        Ok(Changed { probe, ..self.told(committed).await })
    }

    /// Changes a record. Another URL without a transport is found out about again; the same one is not.
    pub(crate) async fn change(
        &self,
        tenant: &TenantStore,
        actor: &Actor,
        record: &ServerRecord,
        expected: Option<Generation>,
        mut patch: ServerPatch,
    ) -> Result<Changed, ServersError> {
        if let Some(url) = &patch.url {
            self.check_url(tenant.id(), url).await?;
            if *url != record.spec.url {
                patch.transport = patch.transport.or(Some(Transport::Auto));
            }
        }
        let committed = tenant.patch_server(actor, record.spec.id, expected, patch).await?;
        crash_here("change.committed");
        Ok(self.told(committed).await)
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

    /// Looks at the upstream of a record, past every cache.
    pub(crate) async fn test(&self, record: &ServerRecord) -> Result<ProbeReport, CommandError> {
        let spec = record.spec.clone();
        self.proxies
            .probe(ProbeRequest {
                tenant: spec.tenant,
                url: spec.url,
                transport: spec.transport,
                headers: spec.headers,
                connect_timeout: spec.connect_timeout,
                read_timeout: spec.read_timeout,
                lines: None,
            })
            .await
    }

    /// Looks at an upstream that has no record.
    pub(crate) async fn look(&self, tenant: TenantId, add: &AddServer) -> Result<ProbeReport, ServersError> {
        self.check_url(tenant, &add.url).await?;
        let request = ProbeRequest {
            tenant,
            url: add.url.clone(),
            transport: add.transport,
            headers: add.headers.clone(),
            connect_timeout: add.connect_timeout,
            read_timeout: add.read_timeout,
            lines: None,
        };
        self.proxies.probe(request).await.map_err(|error| match &error {
            CommandError::Upstream { class, .. } if class == "address_blocked" => {
                ServersError::Blocked { hint: hint(&add.url) }
            }
            _ => ServersError::Probe(error),
        })
    }

    async fn probe_new(&self, tenant: TenantId, add: &AddServer) -> Result<Probe, ServersError> {
        match self.look(tenant, add).await {
            Ok(report) if report.challenge.is_some() => Ok(Probe::NeedsAuth),
            Ok(report) => Ok(Probe::Spoke(report)),
            Err(error) => Err(error),
        }
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
        Changed { record, effective, probe: Probe::Skipped }
    }

    async fn effective(&self, revision: Revision, id: ServerId) -> Effective {
        self.settled(revision, ResourceName::Server(id)).await
    }

    /// How far any change has come, after a wait of at most 2 s.
    pub(crate) async fn settled(&self, revision: Revision, resource: ResourceName) -> Effective {
        self.proxies.effective(revision, resource, EFFECTIVE_WAIT).await
    }
}

/// Commits the new record. Where name or title was not given, the next free one is taken.
async fn create(
    tenant: &TenantStore,
    actor: &Actor,
    add: AddServer,
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
            id: None,
            auth: None,
            name,
            title: add.title.clone().unwrap_or(made),
            transport: match probe {
                Probe::Spoke(report) => report.transport,
                Probe::Skipped | Probe::NeedsAuth => add.transport,
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
            description: add.description.clone(),
            tags: add.tags.clone(),
            icon: add.icon.clone(),
            enabled: add.enabled,
        };
        match tenant.create_server(actor, new).await {
            Err(StoreError::NameTaken) if add.name.is_none() && names < MAX_ATTEMPTS => names += 1,
            Err(StoreError::TitleTaken) if add.title.is_none() && titles < MAX_ATTEMPTS => titles += 1,
            result => return result,
        }
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
