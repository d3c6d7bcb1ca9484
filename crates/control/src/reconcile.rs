//! Compares what should be mounted with what each proxy says is mounted, and heals the difference.
//!
//! One code path: at start, every 60 s, when a proxy attaches, and when an admin asks. The plan only
//! describes; proxies converge because they are pushed what differs. The passes that nobody asked for are about the
//! proxies of this replica only: each proxy has one stream, so however many replicas there are, each proxy is looked
//! at once, and no lease has to say by whom. A pass that an admin asked for is about the proxies of all.

mod adopt;
mod plan;
mod report;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::{TenantId, crash_here};
use store::{Actor, IntendedState, Store, StoreError};
use telemetry::trace::{self, Span};
use tokio::sync::{Mutex as Turn, Semaphore};
use tracing::Instrument as _;

pub use self::adopt::Adopted;
pub use self::plan::{Difference, Plan, plan};
use self::report::Seen;
pub use self::report::{Counts, ProxyLine, Report, ServerLine, UnreadableLine, UpstreamLine};
use crate::metrics::Counters;
use crate::proxies::{ObservedProxy, Proxies, Reach};
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
    /// Make records of orphans, which are none then.
    pub adopt: bool,
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
    counters: Counters,
    /// Written by every pass over all tenants; read by the status page.
    last: Mutex<Option<Report>>,
}

impl Reconciler {
    /// Most passes that admins may have asked for at once.
    pub(crate) const MOST_ASKED: u64 = MAX_ASKED as u64;

    /// A reconciler that has not looked yet.
    pub(crate) fn new(store: Store, proxies: Arc<dyn Proxies>, counters: Counters) -> Self {
        let (turn, asked) = (Turn::new(()), Semaphore::new(MAX_ASKED));
        Self { store, proxies, turn, asked, counters, last: Mutex::new(None) }
    }

    /// How many passes admins have asked for.
    pub(crate) fn asked(&self) -> u64 {
        (MAX_ASKED - self.asked.available_permits()) as u64
    }

    /// One pass over the proxies of all replicas; `Busy` where 16 are asked for already.
    pub async fn run(&self, scope: Scope) -> Result<Report, RecoverError> {
        self.run_by(&Actor::system("recover"), scope).await
    }

    /// One pass over the proxies of all replicas that `actor` asked for, who is named where records are made.
    pub async fn run_by(&self, actor: &Actor, scope: Scope) -> Result<Report, RecoverError> {
        let _asked = self.asked.try_acquire().map_err(|_| RecoverError::Busy)?;
        self.pass(&trace::step("reconcile"), actor, scope, Reach::All).await
    }

    /// One pass, counted, in its span.
    async fn pass(&self, span: &Span, actor: &Actor, scope: Scope, reach: Reach) -> Result<Report, RecoverError> {
        let begun = Instant::now();
        let result = span.scope(self.healed(actor, scope, reach)).await;
        let outcome = match &result {
            Ok(report) if report.is_complete() => "complete",
            Ok(_) => "incomplete",
            Err(RecoverError::NoProxyAttached) => "nobody",
            Err(_) => "failed",
        };
        self.counters.passed(outcome, begun.elapsed());
        span.describe(|span| span.text("gatehouse.outcome", outcome));
        result
    }

    /// Look, plan, push what differs, look again.
    async fn healed(&self, actor: &Actor, scope: Scope, reach: Reach) -> Result<Report, RecoverError> {
        let _turn = self.turn.lock().await;
        let begun = Instant::now();
        let mut intended = self.store.platform().intended().await?;
        let mut observed = self.observed(&intended, scope, reach).await;
        if observed.is_empty() {
            return Err(RecoverError::NoProxyAttached);
        }
        let mut before = plans(&intended, &observed, scope);
        if !all_clean(&before, scope) {
            // What an admin changed during the look is no difference: planned against what is intended now.
            intended = self.store.platform().intended().await?;
            before = plans(&intended, &observed, scope);
        }
        crash_here("recover.planned");
        let mut after = before.clone();
        let mut adopted = Vec::new();
        if !scope.dry_run && !all_clean(&before, scope) {
            if scope.adopt {
                adopted = adopt::adopt(&self.store, actor, &intended, &observed, scope.tenant).await?;
            }
            let prune = scope.prune.then_some(scope.tenant);
            self.heal(before.iter().filter(|plan| !plan.is_clean(scope)), prune).await;
            crash_here("recover.pushed");
            // Read again: what an admin changed meanwhile is no difference that we failed to heal.
            intended = self.store.platform().intended().await?;
            observed = self.observed(&intended, scope, reach).await;
            after = plans(&intended, &observed, scope);
            // A record under another name doesn't take the place of the mount that it was made of.
            let left: Vec<_> =
                after.iter().filter(|plan| adopt::is_all_of(&adopted, &plan.orphaned)).cloned().collect();
            if !left.is_empty() {
                self.heal(left.iter(), Some(scope.tenant)).await;
                observed = self.observed(&intended, scope, reach).await;
                after = plans(&intended, &observed, scope);
            }
        }
        let in_scope = intended.resources.iter();
        let in_scope = in_scope.filter(|resource| scope.tenant.is_none_or(|only| resource.tenant() == Some(only)));
        let in_scope = in_scope.map(model::Resource::name).collect();
        let attached = self.proxies.attached();
        let unreadable = &intended.unreadable;
        let seen =
            Seen { observed: &observed, attached: &attached, in_scope: &in_scope, tenant: scope.tenant, unreadable };
        let report = Report { adopted, ..Report::of(&before, &after, &seen, begun.elapsed()) };
        if scope.tenant.is_none() {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(report.clone());
        }
        Ok(report)
    }

    /// What the proxies have that may serve whom the pass is about.
    async fn observed(&self, intended: &IntendedState, scope: Scope, reach: Reach) -> Vec<ObservedProxy> {
        let mut observed = self.proxies.observe(reach).await;
        if let Some(tenant) = scope.tenant {
            let pools = intended.pools.get(&tenant);
            observed.retain(|proxy| pools.is_some_and(|pools| pools.contains(&proxy.pool)));
        }
        observed
    }

    async fn heal(&self, plans: impl Iterator<Item = &Plan>, prune: Option<Option<TenantId>>) {
        futures::future::join_all(plans.map(|plan| self.proxies.resync(&plan.node, prune))).await;
    }

    /// Takes a pass over this replica's proxies at start, every 60 s with jitter, and whenever one attaches; never
    /// ends.
    pub async fn run_forever(&self) {
        let actor = Actor::system("recover");
        let mut attachments = self.proxies.attachments();
        loop {
            let span = trace::step("reconcile");
            let logged = tracing::info_span!("pass", trace_id = span.trace_id());
            let passed = self.pass(&span, &actor, Scope::default(), Reach::Own).instrument(logged.clone()).await;
            logged.in_scope(|| match passed {
                Ok(report) if report.is_complete() => tracing::debug!(?report, "mounts are as intended"),
                Ok(report) => tracing::warn!(?report, "mounts differ from what is intended"),
                Err(RecoverError::NoProxyAttached) => tracing::debug!("no proxy is attached"),
                Err(error) => tracing::error!(error = %telemetry::chain(&error), "recover failed"),
            });
            // The pause is no part of it.
            drop(span);
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

fn plans(intended: &IntendedState, observed: &[ObservedProxy], scope: Scope) -> Vec<Plan> {
    observed.iter().map(|proxy| plan(intended, proxy, scope.tenant)).collect()
}

fn all_clean(plans: &[Plan], scope: Scope) -> bool {
    plans.iter().all(|plan| plan.is_clean(scope))
}

/// Between 0.8 and 1.2 of the duration, so that replicas don't march in step.
fn jittered(duration: Duration) -> Duration {
    let random = uuid::Uuid::new_v4().as_u128() % 401;
    duration * (800 + u32::try_from(random).unwrap_or(0)) / 1000
}
