//! Orphans become records: what was mounted past control, on however many proxies, is then pushed to all.

use std::collections::HashSet;

use model::{ServerId, ServerName, ServerSpec, TenantId};
use store::{Actor, IntendedState, NewServer, Store, StoreError};

use super::plan::Difference;
use crate::proxies::ObservedProxy;

/// Names and titles that are tried where the orphan's is taken.
const MAX_ATTEMPTS: u32 = 1000;

/// An orphan that was to become a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// The mount as proxies had it.
    pub mount: Difference,
    /// The ids under which proxies had it: each has its own.
    pub mounts: Vec<ServerId>,
    /// The record's id and name, or why there is none.
    pub record: Result<(ServerId, ServerName), String>,
}

/// Makes a record of each orphan of one tenant, or of all. Two proxies' mounts of one name and URL are one orphan.
pub(super) async fn adopt(
    store: &Store,
    actor: &Actor,
    intended: &IntendedState,
    observed: &[ObservedProxy],
    tenant: Option<TenantId>,
) -> Result<Vec<Adopted>, StoreError> {
    let mut adopted = Vec::new();
    for orphan in orphans(intended, observed, tenant) {
        let record = match orphan.spec {
            Some(spec) => match create(store, actor, spec).await {
                Ok(record) => Ok(record),
                Err(error) if is_refusal(&error) => Err(error.to_string()),
                Err(error) => return Err(error),
            },
            None => Err("the proxy does not say all that a record needs".to_owned()),
        };
        adopted.push(Adopted { mount: orphan.mount, mounts: orphan.mounts, record });
    }
    Ok(adopted)
}

/// Whether there are such mounts, and all of them have become records.
pub(super) fn is_all_of(adopted: &[Adopted], orphaned: &[Difference]) -> bool {
    let done: HashSet<ServerId> =
        adopted.iter().filter(|one| one.record.is_ok()).flat_map(|one| one.mounts.iter().copied()).collect();
    !orphaned.is_empty() && orphaned.iter().all(|one| done.contains(&one.server))
}

struct Orphan<'a> {
    mount: Difference,
    mounts: Vec<ServerId>,
    url: &'a str,
    spec: Option<&'a ServerSpec>,
}

fn orphans<'a>(intended: &IntendedState, observed: &'a [ObservedProxy], tenant: Option<TenantId>) -> Vec<Orphan<'a>> {
    let mut orphans: Vec<Orphan<'a>> = Vec::new();
    for proxy in observed {
        for mount in proxy.mounts.iter().filter(|mount| mount.internal) {
            if tenant.is_some_and(|only| only != mount.tenant) {
                continue;
            }
            let served = intended.pools.get(&mount.tenant).is_some_and(|pools| pools.contains(&proxy.pool));
            let spec = mount.spec.as_deref();
            if !served || spec.is_some_and(|spec| spec.tenant != mount.tenant) {
                tracing::error!(node = proxy.node, tenant = %mount.tenant, alarm = true,
                    "a proxy reported a mount of a tenant that its pool does not serve");
                continue;
            }
            let same = |other: &&mut Orphan<'_>| {
                (other.mount.tenant, other.mount.name.as_str(), other.url) == (mount.tenant, &mount.name, &mount.url)
            };
            if let Some(known) = orphans.iter_mut().find(same) {
                known.mounts.push(mount.server);
                continue;
            }
            let difference = Difference { tenant: mount.tenant, server: mount.server, name: mount.name.clone() };
            orphans.push(Orphan { mount: difference, mounts: vec![mount.server], url: &mount.url, spec });
        }
    }
    orphans
}

/// The orphan's own name and title, or the next free ones.
async fn create(store: &Store, actor: &Actor, spec: &ServerSpec) -> Result<(ServerId, ServerName), StoreError> {
    let (mut names, mut titles) = (0, 0);
    loop {
        let name = if names == 0 { spec.name.clone() } else { ServerName::from_title(spec.name.as_str(), names) };
        let title = if titles == 0 { spec.title.clone() } else { format!("{} ({})", spec.title, titles + 1) };
        let new = NewServer {
            transport: spec.transport,
            headers: spec.headers.clone(),
            connect_timeout: spec.connect_timeout,
            read_timeout: spec.read_timeout,
            disabled_tools: spec.disabled_tools.clone(),
            trust_hints: spec.trust_hints,
            ..NewServer::new(name, title, spec.url.clone())
        };
        match store.tenant(spec.tenant).create_server(actor, new).await {
            Err(StoreError::NameTaken) if names < MAX_ATTEMPTS => names += 1,
            Err(StoreError::TitleTaken) if titles < MAX_ATTEMPTS => titles += 1,
            created => return created.map(|made| (made.value.spec.id, made.value.spec.name)),
        }
    }
}

/// Whether the next orphan may fare better.
fn is_refusal(error: &StoreError) -> bool {
    matches!(error, StoreError::Quota { .. } | StoreError::NameTaken | StoreError::TitleTaken | StoreError::NotFound)
}
