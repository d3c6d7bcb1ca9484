//! A tenant's identity providers: what they say of themselves, and their keys, which are kept fresh.
//!
//! Whoever wants to ask one takes the turn by its row first, so that of all replicas one asks. What came of it stands
//! in the row, and proxies have the keys from there: they trust them for a day after they were fetched.

mod discovery;
mod look;
mod secret;
#[cfg(test)]
pub(crate) mod tests;
mod wanted;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use futures::{StreamExt as _, stream};
use model::{Clock, IssuerId, TenantId};
use store::{FetchedKeys, IssuerRecord, Store, StoreError};

pub(crate) use self::discovery::Discovery;
pub(crate) use self::look::LookError;
pub(crate) use self::secret::place as secret_place;
pub(crate) use self::wanted::Wanted;
use crate::keyring::Keyring;
use crate::outward::Outward;
use crate::timers::scaled;

/// Between two times that an issuer is asked for its keys.
const EVERY_MICROS: i64 = 600_000_000;
/// The same where somebody misses a key.
const MISSED_MICROS: i64 = 30_000_000;
/// How often is looked who is due.
const LOOKS: Duration = Duration::from_secs(30);
/// Issuers that are asked at once, so that slow ones keep nobody waiting for long.
const AT_ONCE: usize = 8;
/// Issuers of one look; the next one takes the others.
const SOME: u32 = 200;

/// The issuers of all tenants.
#[derive(Clone)]
pub(crate) struct Issuers {
    store: Store,
    outward: Outward,
    keyring: Arc<Keyring>,
    clock: Arc<dyn Clock>,
    dev: bool,
    seen: Arc<Seen>,
}

/// What the metrics show.
#[derive(Debug, Default)]
struct Seen {
    fetched: AtomicU64,
    failed: AtomicU64,
    /// The oldest fetch of an issuer that was due at the last look, microseconds since 1970; 0 for none.
    oldest: AtomicI64,
}

/// Whether the text can name an issuer.
pub(crate) fn is_issuer(text: &str, dev: bool) -> bool {
    discovery::place(text, dev).is_some()
}

impl Issuers {
    /// Asks nobody until [`Issuers::run_forever`].
    pub(crate) fn new(store: Store, outward: Outward, keyring: Arc<Keyring>, clock: Arc<dyn Clock>, dev: bool) -> Self {
        Self { store, outward, keyring, clock, dev, seen: Arc::default() }
    }

    /// Looks at an issuer that has no record yet.
    pub(crate) async fn look(&self, tenant: TenantId, issuer: &str) -> Result<FetchedKeys, LookError> {
        look::look(&self.outward, self.dev, tenant, issuer, self.clock.now_micros()).await
    }

    /// What an issuer says of itself, as it was fetched last; `None` before, or if it is of no use.
    pub(crate) fn discovery(&self, record: &IssuerRecord) -> Option<Discovery> {
        Discovery::parse(record.metadata.as_deref()?, &record.issuer, self.dev).ok()
    }

    /// Asks for the keys of whoever is due or wanted, for as long as the process lives.
    pub(crate) async fn run_forever(self, wanted: Arc<Wanted>) {
        let mut looks = tokio::time::interval(scaled(LOOKS));
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let asked = tokio::select! {
                _ = looks.tick() => self.renew_due().await,
                issuers = wanted.take() => self.renew_wanted(issuers).await,
            };
            if let Err(error) = asked {
                tracing::warn!(error = %telemetry::chain(&error), "issuers' keys can't be renewed now");
            }
        }
    }

    /// Asks those whose time has come.
    async fn renew_due(&self) -> Result<(), StoreError> {
        let before = self.clock.now_micros() - EVERY_MICROS;
        let due = self.store.platform().issuers_due(before, SOME).await?;
        let oldest = due.iter().filter_map(|record| record.keys_at).min();
        self.seen.oldest.store(oldest.unwrap_or(0), Ordering::Relaxed);
        self.renew_all(due).await
    }

    /// Asks those whom somebody misses a key of, unless they were asked a moment ago.
    async fn renew_wanted(&self, wanted: impl IntoIterator<Item = IssuerId>) -> Result<(), StoreError> {
        let mut records = Vec::new();
        for id in wanted {
            records.extend(self.store.platform().issuer_by_id(id).await?.filter(|record| record.enabled));
        }
        records.retain(|record| self.may_be_asked(record));
        self.renew_all(records).await
    }

    async fn renew_all(&self, records: Vec<IssuerRecord>) -> Result<(), StoreError> {
        let renewal = |record: IssuerRecord| {
            let issuers = self.clone();
            async move { issuers.renew(&record).await.map(drop) }
        };
        let renewals: Vec<_> = records.into_iter().map(renewal).collect();
        let outcomes: Vec<_> = stream::iter(renewals).buffer_unordered(AT_ONCE).collect().await;
        outcomes.into_iter().collect()
    }

    fn may_be_asked(&self, record: &IssuerRecord) -> bool {
        record.tried_at.is_none_or(|tried| tried <= self.clock.now_micros() - MISSED_MICROS)
    }

    /// The record with the keys of now, for a token whose key is none of those that we have. An issuer that was asked
    /// a moment ago is not asked again: the record is as it was read last.
    pub(crate) async fn missing_a_key(&self, record: &IssuerRecord) -> Result<IssuerRecord, StoreError> {
        if self.may_be_asked(record) {
            // What went wrong stands in the record.
            _ = self.renew(record).await?;
        }
        let now = self.store.tenant(record.tenant).issuer(record.id).await?;
        now.ok_or(StoreError::NotFound)
    }

    /// Asks an issuer for its keys, unless another has asked since the record was read, and writes down what came of
    /// it; answers why nothing did.
    pub(crate) async fn renew(&self, record: &IssuerRecord) -> Result<Result<(), LookError>, StoreError> {
        let now = self.clock.now_micros();
        if !self.store.platform().claim_issuer(record.id, record.tried_at, now).await? {
            return Ok(Ok(()));
        }
        let tenant = self.store.tenant(record.tenant);
        let kept = match look::look(&self.outward, self.dev, record.tenant, &record.issuer, now).await {
            Ok(fetched) => {
                self.seen.fetched.fetch_add(1, Ordering::Relaxed);
                tenant.set_issuer_keys(record.id, fetched).await.map(|_| Ok(()))
            }
            Err(why) => {
                self.seen.failed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(issuer = %record.id, tenant = %record.tenant, error = %why, "an issuer's keys can't be had");
                tenant.set_issuer_failure(record.id, &why.to_string(), now).await.map(|()| Err(why))
            }
        };
        match kept {
            // It was deleted while it was asked.
            Err(StoreError::NotFound) => Ok(Ok(())),
            kept => kept,
        }
    }

    /// How often issuers were asked, with success and without.
    pub(crate) fn asked(&self) -> (u64, u64) {
        (self.seen.fetched.load(Ordering::Relaxed), self.seen.failed.load(Ordering::Relaxed))
    }

    /// How old the oldest keys were whose time had come at the last look, in microseconds.
    pub(crate) fn oldest(&self) -> i64 {
        match self.seen.oldest.load(Ordering::Relaxed) {
            0 => 0,
            at => self.clock.now_micros().saturating_sub(at),
        }
    }
}
