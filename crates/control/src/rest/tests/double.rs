//! Proxies that do what a test says, in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use model::{Principal, Resource, ResourceName, Revision, ServerId, ServerSpec, TenantId, Transport};
use store::{Actor, NewServer, Store};
use tokio::sync::{Semaphore, watch};
use wire::{Challenge, HeaderLines};

use crate::proxies::{
    AttachedProxy, CommandError, Effective, ObservedMount, ObservedProxy, ProbeReport, ProbeRequest, Proxies, Reach,
};

pub(super) const NODE: &str = "default/double";

/// One proxy, or none.
pub(super) struct Double {
    store: Store,
    attachments: watch::Sender<u64>,
    /// Taken by each probe; a test that takes it first holds probes back.
    pub(super) gate: Semaphore,
    /// The same for looks at the mounts.
    pub(super) looking: Semaphore,
    pub(super) state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) attached: bool,
    pub(super) answers: bool,
    pub(super) heals: bool,
    pub(super) rejected: Vec<(ResourceName, String)>,
    /// What upstreams say, by URL; others refuse the connection.
    pub(super) upstreams: HashMap<String, Result<String, CommandError>>,
    pub(super) mounts: Vec<ObservedMount>,
    pub(super) pending: u32,
    pub(super) probes: u32,
    /// The credentials with which upstreams were probed, and what they say to the next of them.
    pub(super) probed: Vec<Option<Arc<HeaderLines>>>,
    pub(super) challenges: Vec<Challenge>,
    pub(super) principals: Vec<Principal>,
    /// Looks at the mounts, and pushes again.
    pub(super) looks: u32,
    pub(super) resyncs: u32,
    /// A server that somebody adds, and control pushes, during the next look.
    pub(super) arrives: Option<(TenantId, NewServer)>,
}

impl Double {
    pub(super) fn new(store: Store) -> Self {
        let state = State { attached: true, answers: true, heals: true, ..State::default() };
        Self {
            store,
            attachments: watch::Sender::new(0),
            gate: Semaphore::new(1),
            looking: Semaphore::new(1),
            state: Mutex::new(state),
        }
    }

    pub(super) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }

    /// An upstream that speaks MCP and has these tools, a JSON array.
    pub(super) fn speaks(&self, url: &str, tools: &str) {
        self.with(|state| state.upstreams.insert(url.to_owned(), Ok(tools.to_owned())));
    }

    pub(super) fn fails(&self, url: &str, class: &str) {
        let error = CommandError::Upstream { class: class.to_owned(), message: "it failed".to_owned() };
        self.with(|state| state.upstreams.insert(url.to_owned(), Err(error)));
    }

    fn upstream(&self, url: &str) -> Result<String, CommandError> {
        self.with(|state| {
            if !state.attached {
                return Err(CommandError::NoProxyAttached);
            }
            let refused = CommandError::Upstream { class: "refused".to_owned(), message: "refused".to_owned() };
            state.upstreams.get(url).cloned().unwrap_or(Err(refused))
        })
    }

    async fn url_of(&self, tenant: TenantId, server: ServerId) -> String {
        self.store.tenant(tenant).server(server).await.unwrap().unwrap().spec.url.as_str().to_owned()
    }
}

#[async_trait]
impl Proxies for Double {
    fn attached(&self) -> Vec<AttachedProxy> {
        self.with(|state| {
            let proxy = AttachedProxy {
                node: NODE.to_owned(),
                pool: "default".to_owned(),
                since: 0,
                applied: Revision::default(),
                digest_matches: true,
                rejected: state.rejected.clone(),
                mounts: u32::try_from(state.mounts.len()).unwrap(),
                ..AttachedProxy::default()
            };
            if state.attached { vec![proxy] } else { Vec::new() }
        })
    }

    fn attachments(&self) -> watch::Receiver<u64> {
        self.attachments.subscribe()
    }

    async fn effective(&self, _: Revision, _: ResourceName, _: Duration) -> Effective {
        self.with(|state| {
            let attached = u32::from(state.attached);
            Effective { live: attached - state.pending.min(attached), pending: state.pending, rejected: Vec::new() }
        })
    }

    async fn probe(&self, request: ProbeRequest) -> Result<ProbeReport, CommandError> {
        self.with(|state| {
            state.probes += 1;
            state.probed.push(request.lines.clone());
        });
        let _turn = self.gate.acquire().await.unwrap();
        let tools = self.upstream(request.url.as_str())?;
        let transport = match request.transport {
            Transport::Auto => Transport::StreamableHttp,
            given => given,
        };
        let server_info = r#"{"name":"double","version":"1"}"#.to_owned();
        Ok(ProbeReport {
            transport,
            revision: "2025-11-25".to_owned(),
            eras: model::Eras { session: Some(true), stateless: Some(false) },
            server_info,
            tools,
            latency_ms: 1,
            challenge: self.with(|state| (!state.challenges.is_empty()).then(|| state.challenges.remove(0))),
        })
    }

    async fn list_tools(
        &self,
        tenant: TenantId,
        server: ServerId,
        requester: Principal,
    ) -> Result<String, CommandError> {
        self.with(|state| state.principals.push(requester));
        self.upstream(&self.url_of(tenant, server).await)
    }

    async fn call(
        &self,
        tenant: TenantId,
        server: ServerId,
        principal: Principal,
        tool: &str,
        arguments_json: &str,
    ) -> Result<String, CommandError> {
        self.with(|state| state.principals.push(principal));
        self.upstream(&self.url_of(tenant, server).await)?;
        Ok(format!(r#"{{"result":{{"tool":"{tool}","arguments":{arguments_json}}}}}"#))
    }

    async fn observe(&self, _: Reach) -> Vec<ObservedProxy> {
        let _turn = self.looking.acquire().await.unwrap();
        if let Some((tenant, new)) = self.with(|state| state.arrives.take()) {
            let made = self.store.tenant(tenant).create_server(&Actor::system("test"), new).await.unwrap();
            self.with(|state| state.mounts.push(mount(&made.value.spec)));
        }
        self.with(|state| {
            state.looks += 1;
            let mounts = if state.answers { state.mounts.clone() } else { Vec::new() };
            let proxy =
                ObservedProxy { node: NODE.to_owned(), pool: "default".to_owned(), answered: state.answers, mounts };
            if state.attached { vec![proxy] } else { Vec::new() }
        })
    }

    async fn resync(&self, _: &str, prune: Option<Option<TenantId>>) {
        let intended = self.store.platform().intended().await.unwrap().resources;
        self.with(|state| {
            state.resyncs += 1;
            if !state.heals {
                return;
            }
            let pruned = |of: TenantId| prune.is_some_and(|only| only.is_none_or(|only| only == of));
            state.mounts.retain(|mount| mount.internal && !pruned(mount.tenant));
            let pushed = intended.iter().filter_map(|resource| match resource {
                Resource::Server(spec) => Some(mount(spec)),
                _ => None,
            });
            state.mounts.extend(pushed);
        });
    }
}

fn mount(spec: &ServerSpec) -> ObservedMount {
    ObservedMount {
        tenant: spec.tenant,
        server: spec.id,
        name: spec.name.to_string(),
        title: spec.title.clone(),
        url: spec.url.as_str().to_owned(),
        digest: spec.digest(),
        internal: false,
        cooling_ms: None,
        spec: None,
    }
}
