//! What a proxy asks for when somebody calls: who may have which credential, what it becomes for a request, and fresh
//! tokens, each fetched once for everybody.
//!
//! [`evidence`] says who stands behind a question, [`material`] opens what is sealed, [`times`] what is to be done about a
//! token, and [`refresher`] does it: one flight here, one lease for all replicas, committed before it is used. [`verdicts`]
//! is what upstreams said afterwards.

mod assertion;
mod evidence;
mod flights;
mod held;
mod issuing;
mod ledger;
mod material;
mod nonces;
mod pauses;
mod refresher;
mod request;
#[cfg(test)]
mod tests;
mod times;
mod verdicts;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::{Clock, ConnectionId, ConnectionStatus, Holder, TenantId};
use store::{ConnectionRecord, ServerRecord, Store, StoreError};
use telemetry::Metrics;
use wire::{ClientCertificate, HeaderLines, Report, ResolveQuestion, Resolved, Unresolved};

use self::evidence::{Caller, Judge, Unproved};
use self::flights::Flights;
use self::held::{Held, HeldKey};
pub(crate) use self::issuing::Issuing;
use self::ledger::Ledger;
pub(crate) use self::material::{credential_place, is_renewable, token_place};
use self::pauses::Pauses;
use self::request::{Asker, Failure, Wanted};
use self::times::{Situation, Step, bound_staleness};
use crate::auth::{AuthConfig, AuthSecret, Composed, Context, Credential, Material, Token, TokenSource};
use crate::keyring::Keyring;
use crate::outward::Outward;
use crate::references::References;
use crate::upstream_login::UpstreamLogin;

/// Connections whose last success is remembered, so that it is written once a minute.
const MINUTES: usize = 65_536;
/// How often a record is read again because a newer token came meanwhile.
const ROUNDS: usize = 4;

/// The part that has credentials. Clones are handles to the same.
#[derive(Clone)]
pub(crate) struct Credentials {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    keyring: Arc<Keyring>,
    asker: Asker,
    issuing: Arc<dyn Issuing>,
    references: References,
    clock: Arc<dyn Clock>,
    judge: Judge,
    ledger: Ledger,
    /// Refreshes under way, of connections and of tokens that are kept in memory alone.
    flights: Flights<ConnectionId, Result<Arc<ConnectionRecord>, Unresolved>>,
    held_flights: Flights<HeldKey, Result<Arc<Held>, Unresolved>>,
    held: held::Shelf,
    /// After answers of token endpoints that were no token.
    pauses: Pauses<refresher::Tried>,
    held_pauses: Pauses<HeldKey>,
    /// After the refusal of a token that was fetched because the one before was refused.
    refused: Pauses<refresher::ShownToken>,
    held_refused: Pauses<HeldKey>,
    seen: verdicts::Minutes,
    shown: material::Shown,
    counts: Counts,
}

/// What the metrics show.
#[derive(Default)]
struct Counts {
    leased: AtomicU64,
    unresolved: AtomicU64,
    denied: AtomicU64,
    renewed: AtomicU64,
    ended: AtomicU64,
    client: AtomicU64,
    temporary: AtomicU64,
    spared: AtomicU64,
}

/// A question that is not answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    /// The node has no business with it.
    #[error("{0}")]
    Denied(&'static str),
    /// It can't be answered now.
    #[error("the database can't be used")]
    Store(#[from] StoreError),
}

/// A question, and what the link knows of it.
pub(crate) struct Asked<'a> {
    pub(crate) question: &'a ResolveQuestion,
    /// Its evidence is a ticket of ours, for this very principal and server.
    pub(crate) ticket: bool,
    /// The connection that it names was the tenant's a while ago: one that was deleted is no attack.
    pub(crate) lately: bool,
}

impl Credentials {
    /// Asks nobody until it is asked.
    pub(crate) fn new(
        store: Store,
        keyring: Arc<Keyring>,
        outward: Outward,
        logins: Arc<UpstreamLogin>,
        references: References,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let issuing = Arc::new(issuing::Issuers { logins });
        Self::with(store, keyring, outward, issuing, references, clock)
    }

    fn with(
        store: Store,
        keyring: Arc<Keyring>,
        outward: Outward,
        issuing: Arc<dyn Issuing>,
        references: References,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let inner = Inner {
            judge: Judge::new(store.clone(), clock.clone()),
            ledger: Ledger::new(store.clone(), clock.clone()),
            asker: Asker { outward, issuing: issuing.clone(), clock: clock.clone() },
            flights: Flights::new(),
            held_flights: Flights::new(),
            held: held::Shelf::new(clock.clone()),
            pauses: Pauses::new(clock.clone()),
            held_pauses: Pauses::new(clock.clone()),
            refused: Pauses::new(clock.clone()),
            held_refused: Pauses::new(clock.clone()),
            seen: verdicts::Minutes::new(clock.clone()),
            shown: material::Shown::default(),
            counts: Counts::default(),
            store,
            keyring,
            issuing,
            references,
            clock,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Answers a proxy whose pool serves the tenant.
    pub(crate) async fn resolve(&self, asked: Asked<'_>) -> Result<Resolved, ResolveError> {
        let mut resolved = self.resolved(&asked).await;
        if let Ok(Resolved::Lines(lines)) = &mut resolved {
            let tenant = self.inner.store.tenant(asked.question.principal.tenant).tenant().await?;
            bound_staleness(lines, tenant.map_or(Duration::ZERO, |tenant| tenant.max_stale_credential));
        }
        let counts = &self.inner.counts;
        let count = match &resolved {
            Ok(Resolved::Lines(_)) => &counts.leased,
            Ok(Resolved::Unresolved(_)) => &counts.unresolved,
            Ok(Resolved::NoConnection) => return resolved,
            Err(ResolveError::Store(_)) => return resolved,
            Err(ResolveError::Denied(why)) => {
                let ResolveQuestion { node, principal, connection, .. } = asked.question;
                tracing::error!(node, tenant = %principal.tenant, connection = ?connection, reason = why, alarm = true,
                    "a proxy asked for a credential that it may not have");
                if let Some(connection) = connection {
                    self.inner.ledger.refused(principal.tenant, *connection, node, why).await?;
                }
                &counts.denied
            }
        };
        count.fetch_add(1, Ordering::Relaxed);
        resolved
    }

    /// Writes down a question that was refused before it came here; a tenant that there is not has no audit.
    pub(crate) async fn refused(&self, question: &ResolveQuestion, why: &'static str) {
        let ResolveQuestion { node, principal, connection, .. } = question;
        let note = async {
            if self.inner.store.tenant(principal.tenant).tenant().await?.is_none() {
                return Ok(());
            }
            let connection = connection.unwrap_or(ConnectionId(uuid::Uuid::nil()));
            self.inner.ledger.refused(principal.tenant, connection, node, why).await
        };
        if let Err(error) = note.await {
            tracing::warn!(node, error = %telemetry::chain(&error), "a refused question can't be written down now");
        }
    }

    async fn resolved(&self, asked: &Asked<'_>) -> Result<Resolved, ResolveError> {
        let question = asked.question;
        let tenant = self.inner.store.tenant(question.principal.tenant);
        let live = tenant.server(question.server).await?.filter(|server| server.enabled);
        let Some(server) = live else {
            // It may have gone while the call was under way.
            return Ok(Resolved::Unresolved(unresolved("connection_required", "the server is gone")));
        };
        let Some(config) = AuthConfig::from_stored(&server.auth) else {
            return Ok(Resolved::Unresolved(unreadable_settings()));
        };
        if config.is_none() {
            return Ok(Resolved::NoConnection);
        }
        let caller = self.inner.judge.judge(question, &server, asked.ticket).await;
        let Some(id) = question.connection else {
            let caller = match caller {
                Ok(caller) => caller,
                Err(Unproved::Refused(why)) => {
                    tracing::debug!(node = question.node, reason = why, "evidence for nobody's credential is none");
                    Caller::nobody("refused")
                }
                Err(Unproved::Store(error)) => return Err(error.into()),
            };
            if config.needs_connection() {
                return Ok(Resolved::Unresolved(unresolved("connection_required", "the server needs a connection")));
            }
            let context = self.context(&config, question, &caller, None).await?;
            let lines = self.lines_for(&server, None, &context, question.newer_than, Some(&caller)).await;
            return Ok(lines.map_or_else(Resolved::Unresolved, Resolved::Lines));
        };
        let record = match tenant.connection(id).await? {
            Some(record) if record.server == question.server => record,
            Some(_) => return Err(ResolveError::Denied("the connection is for another server")),
            None if asked.lately => {
                return Ok(Resolved::Unresolved(unresolved("connection_required", "the connection is gone")));
            }
            None => return Err(ResolveError::Denied("the tenant has no such connection")),
        };
        let caller = match (caller, record.holder) {
            (Ok(caller), holder) if caller.may_use(holder, record.holder_name.as_deref()) => caller,
            (Ok(_), _) => return Err(ResolveError::Denied("nobody was proved to call who may use the connection")),
            (Err(Unproved::Refused(why)), Holder::Global) => {
                tracing::warn!(node = question.node, reason = why, "evidence for everybody's credential is none");
                Caller::nobody("refused")
            }
            (Err(Unproved::Refused(why)), _) => return Err(ResolveError::Denied(why)),
            (Err(Unproved::Store(error)), _) => return Err(error.into()),
        };
        if let Some(why) = unusable(&record, &config) {
            return Ok(Resolved::Unresolved(why));
        }
        let context = self.context(&config, question, &caller, Some(record.holder)).await?;
        let lines = self.lines_for(&server, Some(&record), &context, question.newer_than, Some(&caller)).await;
        match lines {
            Ok(lines) => {
                self.inner.ledger.leased(record.tenant, record.id, &question.node, caller.by).await?;
                Ok(Resolved::Lines(lines))
            }
            Err(why) => Ok(Resolved::Unresolved(why)),
        }
    }

    /// The values of the caller that the settings use, as far as they were proved: a server that takes everybody's
    /// credential may believe of whom it is told that they call.
    async fn context(
        &self,
        config: &AuthConfig,
        question: &ResolveQuestion,
        caller: &Caller,
        holder: Option<Holder>,
    ) -> Result<Context, StoreError> {
        let used = config.binding().unwrap_or_default().context;
        let mut context = Context::default();
        if used.user {
            context.user_id = caller.user.as_ref().map(|user| user.id.to_string());
        }
        if used.login {
            context.work_id = caller.user.as_ref().map(|user| user.login.clone());
        }
        if used.department {
            let tenant = self.inner.store.tenant(question.principal.tenant);
            context.department_id = match (holder, caller.departments.first()) {
                (Some(Holder::Department(id)), _) => Some(id.to_string()),
                (_, Some(name)) => tenant.department_by_name(name).await?.map(|department| department.id.to_string()),
                (_, None) => None,
            };
        }
        Ok(context)
    }

    /// What a connection becomes for requests, as tests and probes ask for it: through the same refresher and lease.
    pub(crate) async fn lines(
        &self,
        server: &ServerRecord,
        connection: Option<&ConnectionRecord>,
        context: &Context,
        newer_than: i64,
    ) -> Result<HeaderLines, Unresolved> {
        self.lines_for(server, connection, context, newer_than, None).await
    }

    async fn lines_for(
        &self,
        server: &ServerRecord,
        connection: Option<&ConnectionRecord>,
        context: &Context,
        newer_than: i64,
        caller: Option<&Caller>,
    ) -> Result<HeaderLines, Unresolved> {
        let config = AuthConfig::from_stored(&server.auth).ok_or_else(unreadable_settings)?;
        let secret = self.server_secret(server).await?;
        let exchanged = matches!(config.source(), TokenSource::Exchange(_));
        let own = config.token_context() != model::ContextUse::default();
        let obtained = !matches!(config.source(), TokenSource::Static);
        match connection {
            Some(record) if !exchanged && !own => {
                self.connection_lines(server, record, (&config, &secret), context, newer_than).await
            }
            // Tokens of one caller, or of no connection, are kept in memory alone.
            connection if obtained => {
                self.held_lines(server, connection, (&config, &secret), context, newer_than, caller).await
            }
            _ => {
                let credential = Credential::empty();
                let material = Material { auth: &secret, credential: &credential, token: None };
                let situation = self.situation(None, false, 0, false);
                self.composed(&config, material, context, (0, 0), situation)
            }
        }
    }

    async fn connection_lines(
        &self,
        server: &ServerRecord,
        record: &ConnectionRecord,
        (config, secret): (&AuthConfig, &AuthSecret),
        context: &Context,
        newer_than: i64,
    ) -> Result<HeaderLines, Unresolved> {
        // Nobody was given a later one: a database that was restored, or a question that was made up.
        let newer_than = newer_than.min(record.token_generation);
        let mut record = std::borrow::Cow::Borrowed(record);
        for _ in 0..ROUNDS {
            let refused = newer_than > 0 && newer_than >= record.token_generation;
            if let Some(newer) = self.followed(&record, refused).await? {
                record = std::borrow::Cow::Owned(newer);
                continue;
            }
            let credential = self.open_credential(&record).await?.unwrap_or_else(Credential::empty);
            let token = self.token_of(&record, &credential).await?;
            let renewable = material::is_renewable(config, token.as_ref(), &credential);
            let situation = self.situation(token.as_ref(), renewable, config.pre_refresh(), refused);
            let step = match (config.source(), &token) {
                // What the person gave is sent as it is.
                (TokenSource::Static, None) if refused => Step::Over,
                (TokenSource::Static, None) => Step::Serve,
                _ => situation.step(),
            };
            let versions = (record.credential_version, record.token_generation);
            let material = Material { auth: secret, credential: &credential, token: token.as_ref() };
            let compose = || self.composed(config, material, context, versions, situation);
            match step {
                Step::Serve => return compose(),
                Step::ServeAndRenew => {
                    self.renew_meanwhile(server, &record, context);
                    return compose();
                }
                Step::Renew { spare } => match self.renew(server, &record, context, refused).await {
                    Ok(newer) => record = std::borrow::Cow::Owned((*newer).clone()),
                    Err(_) if spare => {
                        self.inner.counts.spared.fetch_add(1, Ordering::Relaxed);
                        return compose();
                    }
                    Err(why) => return Err(why),
                },
                Step::Over => return Err(self.over(&record, config, token.as_ref(), refused).await),
            }
        }
        Err(busy("the token changes too fast", Duration::from_secs(1)))
    }

    /// There is no way to another token: who was signed in has to sign in again, and of what a person gave nobody knows
    /// whether it will be accepted later.
    async fn over(
        &self,
        record: &ConnectionRecord,
        config: &AuthConfig,
        token: Option<&Token>,
        refused: bool,
    ) -> Unresolved {
        let signed_in = matches!(config.source(), TokenSource::AuthorizationCode(_));
        if refused && !signed_in {
            let (refused, token) = (&self.inner.refused, refresher::shown(record));
            let left = refused.left(&token).unwrap_or_else(|| refused.long(token));
            let message = "the server refused the credential, and there is no other";
            let (code, said) = ("auth_failed".to_owned(), message.to_owned());
            self.note(record, store::Verdict::Refused { status: None, code, message: said }).await;
            return Unresolved { retry_after: Some(left), ..unresolved("upstream_auth", message) };
        }
        let message = match token {
            Some(_) if refused => "the server refused the token, and it can't be renewed",
            Some(_) => "the token has ended, and it can't be renewed",
            None if signed_in => "nobody has signed in yet",
            None => "the connection has no token",
        };
        if token.is_some() {
            let verdict = store::Verdict::Refused {
                status: signed_in.then_some(ConnectionStatus::ReauthRequired),
                code: if refused { "token_refused" } else { "token_ended" }.to_owned(),
                message: message.to_owned(),
            };
            self.note(record, verdict).await;
        }
        unresolved("reauth_required", message)
    }

    /// Header lines of a credential that came with a request. Nothing is stored, and nobody else gets them.
    pub(crate) async fn lines_of(
        &self,
        tenant: TenantId,
        config: &AuthConfig,
        secret: &AuthSecret,
        credential: &Credential,
        context: &Context,
    ) -> Result<HeaderLines, Unresolved> {
        let given = Token::from_credential(credential, self.inner.clock.now_micros());
        let renewable = material::is_renewable(config, given.as_ref(), credential);
        let situation = self.situation(given.as_ref(), renewable, config.pre_refresh(), false);
        let obtained = !matches!(config.source(), TokenSource::Static);
        let token = match situation.step() {
            Step::Renew { .. } if obtained => {
                let material = Material { auth: secret, credential, token: given.as_ref() };
                let wanted = Wanted { tenant, config, material, context, subject: None, server: None };
                Some(self.inner.asker.ask(wanted).await.map_err(|failure| told(&failure, Duration::from_secs(1)))?)
            }
            Step::Over if obtained => return Err(unresolved("reauth_required", "somebody has to sign in first")),
            _ => given,
        };
        let material = Material { auth: secret, credential, token: token.as_ref() };
        let situation = self.situation(token.as_ref(), renewable, config.pre_refresh(), false);
        self.composed(config, material, context, (0, 0), situation)
    }

    /// Takes what upstreams said, of tenants that the proxy's pool serves.
    pub(crate) async fn report(&self, report: &Report) -> Result<(), ResolveError> {
        for verdict in &report.verdicts {
            self.take(verdict).await?;
        }
        Ok(())
    }

    fn situation<'a>(
        &self,
        token: Option<&'a Token>,
        renewable: bool,
        pre_refresh: u32,
        refused: bool,
    ) -> Situation<'a> {
        Situation { token, renewable, pre_refresh, refused, now: self.inner.clock.now_micros() }
    }

    fn composed(
        &self,
        config: &AuthConfig,
        material: Material<'_>,
        context: &Context,
        (credential_version, token_generation): (i64, i64),
        situation: Situation<'_>,
    ) -> Result<HeaderLines, Unresolved> {
        let composed = config.compose(&material, context);
        let composed = composed.map_err(|error| unresolved(error.reason(), &error.to_string()))?;
        let Composed { headers, query, certificate } = composed;
        let certificate = certificate.map(|it| ClientCertificate { chain: it.chain, key: it.key });
        let (fresh, good, stale) = situation.lifetimes();
        Ok(HeaderLines { credential_version, token_generation, headers, query, certificate, fresh, good, stale })
    }

    /// Shows what is counted and how full things are.
    pub(crate) fn show(&self, metrics: &Metrics) {
        let inner = self.inner.clone();
        metrics.observe_counts(
            &[("gatehouse_credential_leases_total", "Questions of proxies for header lines, by outcome.")],
            &["outcome"],
            move |readings| {
                let Counts { leased, unresolved, denied, .. } = &inner.counts;
                for (outcome, count) in [("leased", leased), ("unresolved", unresolved), ("denied", denied)] {
                    readings.put(0, &[outcome], count.load(Ordering::Relaxed) as f64);
                }
            },
        );
        let inner = self.inner.clone();
        metrics.observe_counts(
            &[("gatehouse_token_refreshes_total", "Token requests for connections, by outcome.")],
            &["outcome"],
            move |readings| {
                let Counts { renewed, ended, client, temporary, spared, .. } = &inner.counts;
                let all = [
                    ("ok", renewed),
                    ("ended", ended),
                    ("client", client),
                    ("temporary", temporary),
                    ("spared", spared),
                ];
                for (outcome, count) in all {
                    readings.put(0, &[outcome], count.load(Ordering::Relaxed) as f64);
                }
            },
        );
        let inner = self.inner.clone();
        metrics.observe(
            &[("gatehouse_token_waiters", "Callers that wait for a token request that is under way.")],
            &[],
            move |readings| readings.put(0, &[], (inner.flights.waiters() + inner.held_flights.waiters()) as f64),
        );
        self.show_bounds(metrics);
    }

    fn show_bounds(&self, metrics: &Metrics) {
        let most = |most: usize| u64::try_from(most).unwrap_or(u64::MAX);
        type Used = fn(&Inner) -> usize;
        let bounds: [(&'static str, usize, Used); 8] = [
            ("token_requests", Flights::<ConnectionId, ()>::MOST, |inner| inner.flights.len()),
            ("held_token_requests", Flights::<HeldKey, ()>::MOST, |inner| inner.held_flights.len()),
            ("held_tokens", held::Shelf::MOST, |inner| inner.held.len()),
            ("token_pauses", Pauses::<refresher::Tried>::MOST, |inner| inner.pauses.len().max(inner.refused.len())),
            ("evidence_nonces", nonces::Nonces::MOST, |inner| inner.judge.nonces().len()),
            ("lease_rows", Ledger::MOST, |inner| inner.ledger.len()),
            ("connection_successes", MINUTES, |inner| inner.seen.len()),
            ("references", References::MOST, |inner| inner.references.len()),
        ];
        for (name, limit, used) in bounds {
            let inner = self.inner.clone();
            metrics.bound(name, most(limit), move || most(used(&inner)));
        }
    }
}

/// Why there are no header lines; `retry_after` only where trying again may help.
fn unresolved(reason: &str, message: &str) -> Unresolved {
    Unresolved { reason: reason.to_owned(), message: message.to_owned(), retry_after: None }
}

fn busy(message: &str, retry_after: Duration) -> Unresolved {
    Unresolved { retry_after: Some(retry_after), ..unresolved("busy", message) }
}

fn unreadable_settings() -> Unresolved {
    unresolved("template", "the server's auth settings can't be read")
}

/// What a failure means to who waits for header lines.
fn told(failure: &Failure, retry_after: Duration) -> Unresolved {
    match failure {
        Failure::Ended(code) => {
            unresolved("reauth_required", &format!("somebody has to sign in again: the token endpoint answered {code}"))
        }
        Failure::Client(code) => unresolved(
            "reauth_required",
            &format!(
                "the authorization server does not know Gatehouse any more ({code}): somebody has to sign in again"
            ),
        ),
        Failure::Temporary(why) => busy(why, retry_after),
        Failure::Unresolved(why) => why.clone(),
    }
}

/// Why a record is of no use as it is.
fn unusable(record: &ConnectionRecord, config: &AuthConfig) -> Option<Unresolved> {
    match record.status {
        ConnectionStatus::Disabled => Some(unresolved("connection_required", "the connection is disabled")),
        ConnectionStatus::ReauthRequired => {
            Some(unresolved("reauth_required", "somebody has to sign in again, or give a new credential"))
        }
        ConnectionStatus::Invalid => Some(unresolved("connection_required", "the connection does not fit its server")),
        ConnectionStatus::Active if !config.scopes().contains(&record.holder.scope()) => {
            Some(unresolved("connection_required", "the server accepts no connection of this scope"))
        }
        ConnectionStatus::Active => None,
    }
}
