//! Compares what should be mounted with what each proxy says is mounted, and heals the difference.
//!
//! One code path: at start, every 60 s, when a proxy attaches, and when an admin asks. The plan only
//! describes; proxies converge because they are pushed what differs.

mod plan;
mod report;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::{Resource, TenantId, crash_here};
use store::{Store, StoreError};
use tokio::sync::{Mutex as Turn, Semaphore};

pub use self::plan::{Difference, Plan, plan};
use self::report::Seen;
pub use self::report::{Counts, ProxyLine, Report, ServerLine, UpstreamLine};
use crate::proxies::{ObservedProxy, Proxies};
use crate::timers::scaled;

/// Time between two passes of the reconciler, before jitter.
const INTERVAL: Duration = Duration::from_secs(60);

/// Passes that admins may have asked for at once, the running one included.
const MAX_ASKED: usize = 16;

/// What a pass is about.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scope {
    /// One tenant's servers; `None` for all.
    pub tenant: Option<TenantId>,
    /// Look only.
    pub dry_run: bool,
    /// Remove orphans: mounts that a proxy was given past control.
    pub prune: bool,
}

/// Why a pass could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// What should be mounted can't be read.
    #[error("the intended state can't be read")]
    Intended(#[from] StoreError),
    /// Nobody to heal.
    #[error("no proxy is attached")]
    NoProxyAttached,
    /// Too many passes wait already.
    #[error("too many passes wait already")]
    Busy,
}

/// Runs passes, one at a time.
pub struct Reconciler {
    store: Store,
    proxies: Arc<dyn Proxies>,
    turn: Turn<()>,
    /// One permit for each pass that an admin asked for, from the question to the answer.
    asked: Semaphore,
    /// Written by every pass over all tenants; read by the status page.
    last: Mutex<Option<Report>>,
}

impl Reconciler {
    /// A reconciler that has not looked yet.
    pub fn new(store: Store, proxies: Arc<dyn Proxies>) -> Self {
        Self { store, proxies, turn: Turn::new(()), asked: Semaphore::new(MAX_ASKED), last: Mutex::new(None) }
    }

    /// One pass that an admin asked for; `Busy` where 16 are asked for already.
    pub async fn run(&self, scope: Scope) -> Result<Report, RecoverError> {
        let _asked = self.asked.try_acquire().map_err(|_| RecoverError::Busy)?;
        self.pass(scope).await
    }

    /// One pass: look, plan, push what differs, look again.
    async fn pass(&self, scope: Scope) -> Result<Report, RecoverError> {
        let _turn = self.turn.lock().await;
        let begun = Instant::now();
        let mut intended = self.store.platform().intended().await?.1;
        let mut observed = self.proxies.observe().await;
        if observed.is_empty() {
            return Err(RecoverError::NoProxyAttached);
        }
        let mut before = plans(&intended, &observed, scope);
        if !all_clean(&before, scope) {
            // What an admin changed during the look is no difference: planned against what is intended now.
            intended = self.store.platform().intended().await?.1;
            before = plans(&intended, &observed, scope);
        }
        crash_here("recover.planned");
        let mut after = before.clone();
        if !scope.dry_run && !all_clean(&before, scope) {
            for proxy in before.iter().filter(|plan| !plan.is_clean(scope.prune)) {
                self.proxies.resync(Some(&proxy.node), scope.tenant, scope.prune).await;
            }
            crash_here("recover.pushed");
            // Read again: what an admin changed meanwhile is no difference that we failed to heal.
            intended = self.store.platform().intended().await?.1;
            observed = self.proxies.observe().await;
            after = plans(&intended, &observed, scope);
        }
        let in_scope = intended.iter().filter(|resource| scope.tenant.is_none_or(|only| resource.tenant() == Some(only)));
        let in_scope = in_scope.map(Resource::name).collect();
        let attached = self.proxies.attached();
        let seen = Seen { observed: &observed, attached: &attached, in_scope: &in_scope, tenant: scope.tenant };
        let report = Report::of(&before, &after, &seen, begun.elapsed());
        if scope.tenant.is_none() {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(report.clone());
        }
        Ok(report)
    }

    /// Takes a pass at start, every 60 s with jitter, and whenever a proxy attaches; never ends.
    pub async fn run_forever(&self) {
        let mut attachments = self.proxies.attachments();
        loop {
            match self.pass(Scope::default()).await {
                Ok(report) if report.is_complete() => tracing::debug!(?report, "mounts are as intended"),
                Ok(report) => tracing::warn!(?report, "mounts differ from what is intended"),
                Err(RecoverError::NoProxyAttached) => tracing::debug!("no proxy is attached"),
                Err(error) => tracing::error!(error = %telemetry::chain(&error), "recover failed"),
            }
            tokio::select! {
                () = tokio::time::sleep(scaled(jittered(INTERVAL))) => (),
                changed = attachments.changed() => if changed.is_err() { return },
            }
        }
    }

    /// The last pass over all tenants.
    pub fn last(&self) -> Option<Report> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn plans(intended: &[Resource], observed: &[ObservedProxy], scope: Scope) -> Vec<Plan> {
    observed.iter().map(|proxy| plan(intended, proxy, scope.tenant)).collect()
}

fn all_clean(plans: &[Plan], scope: Scope) -> bool {
    plans.iter().all(|plan| plan.is_clean(scope.prune))
}

/// Between 0.8 and 1.2 of the duration, so that replicas don't march in step.
fn jittered(duration: Duration) -> Duration {
    let random = uuid::Uuid::new_v4().as_u128() % 401;
    duration * (800 + u32::try_from(random).unwrap_or(0)) / 1000
}
