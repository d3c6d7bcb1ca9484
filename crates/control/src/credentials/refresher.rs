//! One new token for any number of callers and replicas.
//!
//! Here one flight for each connection; among replicas a lease by the database's clock, whose owner has read the record
//! again before the old refresh token is spent. The new token is committed over the generation that it was made of, before
//! anybody gets it. Who waits for another replica's owner looks at the row: correct is what stands there, whatever hints
//! say.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt as _;
use model::{ConnectionId, ConnectionStatus, Generation, crash_here};
use store::{ConnectionRecord, LastError, LeaseOutcome, PutToken, ServerRecord, StoreError, Verdict};
use tokio::time::Instant;
use uuid::Uuid;
use wire::Unresolved;

use super::material::{away, closed, token_place};
use super::request::{Failure, TOKEN_TIME, Wanted};
use super::{Credentials, busy, told, unresolved};
use crate::auth::{AuthConfig, Context, Credential, Material, Token, TokenSource};
use crate::timers::scaled;

/// How long an owner may take: the token request and what comes after it. An owner that was killed blocks its connection
/// so long, and no sign that its replica is gone cuts that short: what it sent may still be on its way, and a refresh token
/// that is shown twice ends the grant at servers that rotate them. Meanwhile a token that has not ended serves, and who
/// needs another one is told when to ask again.
const LEASE: Duration = Duration::from_secs(TOKEN_TIME.as_secs() + 15);
/// How long one waits for another replica's owner.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at the row meanwhile, where no hint comes.
const LOOK: Duration = Duration::from_millis(100);
/// For how long a token that was obtained is tried to be committed: without that the grant may be lost.
const COMMIT: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(200);

impl Credentials {
    /// A record with a newer token than this one's, once there is one.
    pub(super) async fn renew(
        &self,
        server: &ServerRecord,
        record: &ConnectionRecord,
        context: &Context,
        refused: bool,
    ) -> Result<Arc<ConnectionRecord>, Unresolved> {
        let inner = &self.inner;
        if refused && let Some(left) = inner.refused.left(&shown(record)) {
            let message = "the server refused a token that was just fetched; another one is fetched a minute later";
            return Err(Unresolved { retry_after: Some(left), ..unresolved("upstream_auth", message) });
        }
        if let Some(left) = inner.pauses.left(&tried(server, record)) {
            return Err(busy("the token endpoint has just failed and is asked again later", left));
        }
        let flight = || self.flight(record, context).boxed();
        match inner.flights.join(record.tenant, record.id, flight).await {
            Some(renewed) => renewed,
            None => Err(busy("too many tokens are fetched at once", Duration::from_secs(1))),
        }
    }

    /// Fetches the next token while the current one serves.
    pub(super) fn renew_meanwhile(&self, server: &ServerRecord, record: &ConnectionRecord, context: &Context) {
        if self.inner.pauses.left(&tried(server, record)).is_none() {
            // Nobody waits; who needs the token asks.
            let flight = || self.flight(record, context).boxed();
            drop(self.inner.flights.start(record.tenant, record.id, flight));
        }
    }

    fn flight(
        &self,
        record: &ConnectionRecord,
        context: &Context,
    ) -> impl Future<Output = Result<Arc<ConnectionRecord>, Unresolved>> + Send + 'static {
        let (own, record, context) = (self.clone(), record.clone(), context.clone());
        async move { own.fly(&record, &context).await }
    }

    async fn fly(&self, seen: &ConnectionRecord, context: &Context) -> Result<Arc<ConnectionRecord>, Unresolved> {
        let owner = Uuid::new_v4();
        match self.lease(seen, owner).await? {
            Leased::Newer(record) => Ok(Arc::new(record)),
            Leased::Ours(record) => {
                let renewed = self.spend(&record, context, owner).await;
                if renewed.is_err() {
                    self.release(&record, owner).await;
                }
                renewed.map(Arc::new)
            }
        }
    }

    /// Waits for the turn, or for what another owner brings.
    async fn lease(&self, seen: &ConnectionRecord, owner: Uuid) -> Result<Leased, Unresolved> {
        let tenant = self.inner.store.tenant(seen.tenant);
        let until = Instant::now() + scaled(PATIENCE);
        let mut changes = self.inner.store.changes();
        loop {
            changes.borrow_and_update();
            let outcome = tenant.lease_refresh(seen.id, owner, seen.token_generation, scaled(LEASE)).await;
            let left = match outcome {
                Ok(LeaseOutcome::Leased(record)) => return Ok(Leased::Ours(record)),
                Ok(LeaseOutcome::Newer(record)) => return Ok(Leased::Newer(record)),
                Ok(LeaseOutcome::Busy { left, .. }) => left,
                Err(StoreError::NotFound) => return Err(unresolved("connection_required", "the connection is gone")),
                Err(error) => return Err(away(&error)),
            };
            if Instant::now() >= until {
                return Err(busy("another process fetches the token", left.clamp(Duration::from_secs(1), LEASE)));
            }
            // A hint saves waiting; the row is looked at without one.
            _ = tokio::time::timeout(left.min(LOOK), changes.changed()).await;
        }
    }

    async fn release(&self, record: &ConnectionRecord, owner: Uuid) {
        if let Err(error) = self.inner.store.tenant(record.tenant).release_refresh(record.id, owner).await {
            tracing::warn!(connection = %record.id, error = %telemetry::chain(&error), "a lease ends by its time");
        }
    }

    /// Spends what the record, read with the lease in hand, has.
    async fn spend(
        &self,
        record: &ConnectionRecord,
        context: &Context,
        owner: Uuid,
    ) -> Result<ConnectionRecord, Unresolved> {
        // One that was refused may be tested: that is a way out of it.
        if record.status == ConnectionStatus::Disabled {
            return Err(unresolved("connection_required", "the connection is disabled"));
        }
        // Settings may have been changed since, and this credential given for those of now.
        let server = self.inner.store.tenant(record.tenant).server(record.server).await;
        let gone = || unresolved("connection_required", "the server is gone");
        let server = &server.map_err(|error| away(&error))?.ok_or_else(gone)?;
        let config = AuthConfig::from_stored(&server.auth).ok_or_else(super::unreadable_settings)?;
        let secret = self.server_secret(server).await?;
        let credential = self.open_credential(record).await?.unwrap_or_else(Credential::empty);
        let token = self.token_of(record, &credential).await?;
        let material = Material { auth: &secret, credential: &credential, token: token.as_ref() };
        let wanted =
            Wanted { tenant: record.tenant, config: &config, material, context, subject: None, server: Some(server) };
        // A refresh token is spent for a token that can be kept, or not at all.
        self.inner.keyring.check_sealing(record.tenant).await.map_err(closed)?;
        crash_here("refresh.leased");
        match self.inner.asker.ask(wanted).await {
            Ok(token) => {
                crash_here("refresh.answered");
                let renewed = self.commit(&config, record, &credential, &token, owner).await?;
                crash_here("refresh.committed");
                self.inner.pauses.over(&tried(server, record));
                self.inner.counts.renewed.fetch_add(1, Ordering::Relaxed);
                Ok(renewed)
            }
            Err(failure) => self.failed(server, &config, record, failure).await,
        }
    }

    /// Stores a token over the generation that it was made of.
    async fn commit(
        &self,
        config: &AuthConfig,
        record: &ConnectionRecord,
        credential: &Credential,
        token: &Token,
        owner: Uuid,
    ) -> Result<ConnectionRecord, Unresolved> {
        let until = Instant::now() + scaled(COMMIT);
        let mut lease = Some(owner);
        loop {
            let put = self.sealed(config, record, credential, token, lease).await;
            let error = match put {
                Ok(put) => match self.inner.store.tenant(record.tenant).put_token(record.id, put).await {
                    Ok(committed) => return Ok(committed.value),
                    // The lease is over, and nobody has brought a newer token yet: the old one is spent.
                    Err(StoreError::LeaseLost) if lease.take().is_some() => continue,
                    Err(StoreError::TokenStale { .. }) => return self.newer(record).await,
                    Err(StoreError::NotFound) => {
                        return Err(unresolved("connection_required", "the connection is gone"));
                    }
                    Err(error) => away(&error),
                },
                Err(error) => error,
            };
            if Instant::now() >= until {
                tracing::error!(connection = %record.id, alarm = true, "a token that was obtained can't be stored");
                return Err(error);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn sealed(
        &self,
        config: &AuthConfig,
        record: &ConnectionRecord,
        credential: &Credential,
        token: &Token,
        lease: Option<Uuid>,
    ) -> Result<PutToken, Unresolved> {
        let keyring = &self.inner.keyring;
        let place = token_place(record);
        let sealed = keyring.seal(place, record.token_generation + 1, &token.to_json()).await.map_err(closed)?;
        let mut fingerprints = Vec::new();
        for secret in token.secret_values() {
            fingerprints.push(keyring.fingerprint(record.tenant, secret.as_bytes()).await.map_err(closed)?);
        }
        Ok(PutToken {
            lease,
            expected_generation: record.token_generation,
            token: sealed,
            expires_at: token.expires_at,
            refreshable: config.is_renewable(token, credential),
            fingerprints,
        })
    }

    /// The record as somebody else has changed it meanwhile: what stands there counts.
    async fn newer(&self, record: &ConnectionRecord) -> Result<ConnectionRecord, Unresolved> {
        let read = self.inner.store.tenant(record.tenant).connection(record.id).await.map_err(|error| away(&error))?;
        read.ok_or_else(|| unresolved("connection_required", "the connection is gone"))
    }

    /// What a failure does to the connection. A grant is lost by OAuth's own word for it alone, and only while nobody has
    /// brought a newer token.
    async fn failed(
        &self,
        server: &ServerRecord,
        config: &AuthConfig,
        record: &ConnectionRecord,
        failure: Failure,
    ) -> Result<ConnectionRecord, Unresolved> {
        let counts = &self.inner.counts;
        let signed_in = matches!(config.source(), TokenSource::AuthorizationCode(_));
        let mut pause = Duration::ZERO;
        let (code, status) = match &failure {
            Failure::Ended(code) => {
                counts.ended.fetch_add(1, Ordering::Relaxed);
                if signed_in {
                    return self.ended(record, code, told(&failure, pause)).await;
                }
                pause = self.inner.pauses.failed(tried(server, record));
                (code.clone(), None)
            }
            Failure::Client(code) => {
                counts.client.fetch_add(1, Ordering::Relaxed);
                pause = self.inner.pauses.failed(tried(server, record));
                (code.clone(), None)
            }
            Failure::Temporary(_) => {
                counts.temporary.fetch_add(1, Ordering::Relaxed);
                pause = self.inner.pauses.failed(tried(server, record));
                ("token_endpoint".to_owned(), None)
            }
            Failure::Unresolved(why) => (why.reason.clone(), None),
        };
        let mut why = told(&failure, pause);
        if !signed_in && matches!(failure, Failure::Ended(_) | Failure::Client(_)) {
            // Nobody signs in for these: an admin has to look, and it is tried again.
            let message = format!("the token endpoint refused the credential: {code}");
            why = Unresolved { retry_after: Some(pause), ..unresolved("upstream_auth", &message) };
        }
        self.note(record, Verdict::Refused { status, code, message: why.message.clone() }).await;
        Err(why)
    }

    /// The refresh token is worth nothing any more: somebody has to sign in again.
    async fn ended(
        &self,
        record: &ConnectionRecord,
        code: &str,
        why: Unresolved,
    ) -> Result<ConnectionRecord, Unresolved> {
        let error =
            LastError { code: code.to_owned(), message: why.message.clone(), at: self.inner.clock.now_micros() };
        let tenant = self.inner.store.tenant(record.tenant);
        match tenant.drop_token(record.id, record.token_generation, ConnectionStatus::ReauthRequired, error).await {
            Ok(_) => {
                tracing::warn!(connection = %record.id, tenant = %record.tenant, code, "a grant has ended");
                Err(why)
            }
            // Who lost a race is told no; what the winner brought counts.
            Err(StoreError::TokenStale { .. }) => self.newer(record).await,
            Err(error) => Err(away(&error)),
        }
    }

    /// Notes what was said to a token; what can't be noted now is said again.
    pub(super) async fn note(&self, record: &ConnectionRecord, verdict: Verdict) {
        let tenant = self.inner.store.tenant(record.tenant);
        if let Err(error) = tenant.verdict(record.id, record.token_generation, verdict).await {
            tracing::warn!(connection = %record.id, error = %telemetry::chain(&error), "a verdict can't be noted now");
        }
    }

    /// For [`Credentials::take`]: the token that was fetched in place of a refused one was refused too.
    pub(super) fn refused_again(&self, record: &ConnectionRecord) {
        self.inner.refused.long(shown(record));
    }
}

/// A token that was refused: the next one is another.
pub(super) type ShownToken = (ConnectionId, i64);
/// What a token was asked for with: what somebody changes of it may be asked for with at once.
pub(super) type Tried = (ConnectionId, i64, Generation);

pub(super) fn shown(record: &ConnectionRecord) -> ShownToken {
    (record.id, record.token_generation)
}

fn tried(server: &ServerRecord, record: &ConnectionRecord) -> Tried {
    (record.id, record.token_generation, server.spec.generation)
}

enum Leased {
    Ours(ConnectionRecord),
    Newer(ConnectionRecord),
}
