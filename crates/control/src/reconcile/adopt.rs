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
            eras: spec.eras,
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{Limits, SystemClock, UpstreamUrl};
    use store::NewTenant;

    use super::*;
    use crate::proxies::ObservedMount;

    struct House {
        store: Store,
        tenant: TenantId,
        _dir: tempfile::TempDir,
    }

    async fn house(servers: u32) -> House {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}?mode=rwc", dir.path().join("db").display());
        let store = Store::connect(&url, Arc::new(SystemClock)).await.unwrap();
        let limits = Limits { servers, ..Limits::default() };
        let new = NewTenant { limits, ..NewTenant::new("acme".parse().unwrap()) };
        let tenant = store.platform().create_tenant(&Actor::system("test"), new).await.unwrap().value.spec.id;
        House { store, tenant, _dir: dir }
    }

    impl House {
        /// A mount that was made past control, as a proxy has it.
        fn mount(&self, name: &str, url: &str) -> ObservedMount {
            let new = NewServer::new(name.parse().unwrap(), name.to_owned(), UpstreamUrl::parse(url).unwrap());
            let spec = ServerSpec {
                id: ServerId::fresh(),
                tenant: self.tenant,
                name: new.name,
                title: new.title,
                generation: model::Generation(1),
                transport: model::Transport::Sse,
                url: new.url,
                headers: new.headers,
                connect_timeout: new.connect_timeout,
                read_timeout: new.read_timeout,
                disabled_tools: new.disabled_tools,
                trust_hints: new.trust_hints,
                retry_count: new.retry_count,
                retry_delay: new.retry_delay,
                limits: new.limits,
                binding: None,
                eras: model::Eras::default(),
            };
            ObservedMount {
                tenant: self.tenant,
                server: spec.id,
                name: spec.name.to_string(),
                title: spec.title.clone(),
                url: spec.url.as_str().to_owned(),
                digest: spec.digest(),
                internal: true,
                cooling_ms: None,
                spec: Some(Box::new(spec)),
            }
        }

        async fn adopt(&self, observed: &[ObservedProxy]) -> Vec<Adopted> {
            let intended = self.store.platform().intended().await.unwrap();
            let actor = Actor::system("test");
            adopt(&self.store, &actor, &intended, observed, Some(self.tenant)).await.unwrap()
        }

        async fn names(&self) -> Vec<(String, String)> {
            let intended = self.store.platform().intended().await.unwrap();
            let servers = intended.resources.into_iter().filter_map(|resource| match resource {
                model::Resource::Server(spec) => Some((spec.name.to_string(), spec.url.as_str().to_owned())),
                _ => None,
            });
            let mut names: Vec<_> = servers.collect();
            names.sort();
            names
        }
    }

    fn proxy(pool: &str, mounts: Vec<ObservedMount>) -> ObservedProxy {
        ObservedProxy { node: format!("{pool}/1"), pool: pool.to_owned(), answered: true, mounts }
    }

    const ONE: &str = "https://one.example/";
    const TWO: &str = "https://two.example/";

    #[tokio::test]
    async fn the_same_mount_on_two_proxies_is_one_record_and_another_gets_the_next_name() {
        let house = house(10).await;
        let mounts = [house.mount("notes", ONE), house.mount("notes", ONE), house.mount("notes", TWO)];
        let ids: Vec<_> = mounts.iter().map(|mount| mount.server).collect();
        let [first, second, third] = mounts;
        let adopted = house
            .adopt(&[proxy("default", vec![first]), proxy("default", vec![second]), proxy("default", vec![third])])
            .await;
        let expected = [("notes", ONE), ("notes-2", TWO)].map(|(name, url)| (name.to_owned(), url.to_owned()));
        assert_eq!(house.names().await, expected);
        assert_eq!((adopted.len(), adopted[0].mounts.as_slice()), (2, &ids[..2]));
        let orphan = |server| Difference { tenant: house.tenant, server, name: "notes".to_owned() };
        assert!(is_all_of(&adopted, &[orphan(ids[1]), orphan(ids[2])]));
        assert!(!is_all_of(&adopted, &[orphan(ServerId::fresh())]) && !is_all_of(&adopted, &[]));
    }

    #[tokio::test]
    async fn what_cannot_become_a_record_says_why_and_holds_up_no_other() {
        let house = house(1).await;
        let silent = ObservedMount { spec: None, ..house.mount("silent", ONE) };
        let mounts = vec![silent, house.mount("notes", ONE), house.mount("more", TWO)];
        let adopted = house.adopt(&[proxy("default", mounts)]).await;
        let made: Vec<_> = adopted.iter().map(|one| one.record.is_ok()).collect();
        assert_eq!(made, [false, true, false]);
        assert!(adopted[2].record.as_ref().unwrap_err().contains("at most 1"), "{adopted:?}");
    }

    #[tokio::test]
    async fn a_proxy_makes_no_records_for_tenants_that_its_pool_does_not_serve() {
        let house = house(10).await;
        assert_eq!(house.adopt(&[proxy("edge", vec![house.mount("notes", ONE)])]).await, []);
        let mut foreign = house.mount("notes", ONE);
        foreign.spec.as_mut().unwrap().tenant = TenantId::fresh();
        assert_eq!(house.adopt(&[proxy("default", vec![foreign])]).await, []);
        assert_eq!(house.names().await, []);
    }
}
