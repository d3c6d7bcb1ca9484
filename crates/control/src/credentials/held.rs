//! Tokens that are kept in memory alone: of servers that need no connection, and those that are one caller's.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use model::{Clock, Secret};
use ring::digest::{Context as Hash, SHA256};
use store::{ConnectionRecord, ServerRecord};
use wire::{HeaderLines, Unresolved};

use super::evidence::Caller;
use super::request::{Failure, Wanted};
use super::times::Step;
use super::{Credentials, busy, told, unresolved};
use crate::auth::{AuthConfig, AuthSecret, Context, Credential, Material, Token, TokenSource};

const MICROS: i64 = 1_000_000;

/// What tells one of them from all others: server, settings and their secrets, connection, values of the caller, and the
/// caller's own token where that is exchanged.
pub(super) type HeldKey = [u8; 32];

/// A token, and a number that rises with each of its place.
pub(super) struct Held {
    token: Token,
    generation: i64,
}

/// The tokens of this process.
pub(super) struct Shelf {
    clock: Arc<dyn Clock>,
    tokens: Mutex<HashMap<HeldKey, Arc<Held>>>,
}

impl Shelf {
    /// The most tokens; beyond it those that ended go, then all.
    pub(super) const MOST: usize = 8_192;

    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, tokens: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<HeldKey, Arc<Held>>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, key: &HeldKey) -> Option<Arc<Held>> {
        self.lock().get(key).cloned()
    }

    fn put(&self, key: HeldKey, token: Token) -> Arc<Held> {
        let now = self.clock.now_micros();
        let mut tokens = self.lock();
        if tokens.len() >= Self::MOST {
            tokens.retain(|_, held| held.token.expires_at.is_none_or(|end| end > now));
            if tokens.len() >= Self::MOST {
                tokens.clear();
            }
        }
        let before = tokens.get(&key).map_or(0, |held| held.generation);
        let held = Arc::new(Held { token, generation: now.max(before + 1) });
        tokens.insert(key, held.clone());
        held
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }
}

impl Credentials {
    pub(super) async fn held_lines(
        &self,
        server: &ServerRecord,
        connection: Option<&ConnectionRecord>,
        (config, secret): (&AuthConfig, &AuthSecret),
        context: &Context,
        newer_than: i64,
        caller: Option<&Caller>,
    ) -> Result<HeaderLines, Unresolved> {
        let exchanged = matches!(config.source(), TokenSource::Exchange(_));
        let subject = caller.and_then(|caller| caller.token.as_ref()).filter(|_| exchanged);
        if exchanged && subject.is_none() {
            let missing = "the caller's own token is exchanged for one of the server, and the caller came without one";
            return Err(unresolved("context_missing", missing));
        }
        let credential = match connection {
            Some(record) => self.open_credential(record).await?,
            None => None,
        };
        let credential = credential.unwrap_or_else(Credential::empty);
        let key = key(server, connection, context, subject.map(|(token, _)| token));
        let versions = connection.map_or(0, |record| record.credential_version);
        let mut held = self.inner.held.get(&key);
        let mut asked = false;
        loop {
            let token = held.as_ref().map(|held| &held.token);
            let generation = held.as_ref().map_or(0, |held| held.generation);
            let refused = newer_than > 0 && held.is_some() && newer_than >= generation;
            let situation = self.situation(token, true, config.pre_refresh(), refused);
            let spare = match situation.step() {
                Step::Serve => None,
                // The next question finds the new one.
                Step::ServeAndRenew => Some(true),
                Step::Renew { spare } => Some(spare),
                Step::Over => return Err(unresolved("upstream_auth", "there is no way to another token")),
            };
            let done = spare.is_none() || asked;
            if done && let Some(held) = &held {
                let material = Material { auth: secret, credential: &credential, token: Some(&held.token) };
                return self.composed(config, material, context, (versions, held.generation), situation);
            }
            if asked {
                return Err(busy("the token has ended at once", Duration::from_secs(1)));
            }
            let wanted = Owned {
                server: server.clone(),
                connection: connection.cloned(),
                context: context.clone(),
                subject: subject.map(|(token, end)| (Secret::new(token.expose().to_owned()), *end)),
            };
            match self.held_renewed(key, wanted, refused).await {
                Ok(renewed) => (held, asked) = (Some(renewed), true),
                Err(_) if spare == Some(true) => asked = true,
                Err(why) => return Err(why),
            }
        }
    }

    async fn held_renewed(&self, key: HeldKey, wanted: Owned, refused: bool) -> Result<Arc<Held>, Unresolved> {
        let inner = &self.inner;
        if refused {
            if let Some(left) = inner.held_refused.left(&key) {
                let message = "the server refused a token that was just fetched; another one is fetched a minute later";
                return Err(Unresolved { retry_after: Some(left), ..unresolved("upstream_auth", message) });
            }
            // One trial a minute, whatever comes of it.
            inner.held_refused.long(key);
        }
        if let Some(left) = inner.held_pauses.left(&key) {
            return Err(busy("the token endpoint has just failed and is asked again later", left));
        }
        let (own, tenant) = (self.clone(), wanted.server.spec.tenant);
        let flight = || async move { own.fetch_held(key, wanted).await }.boxed();
        match inner.held_flights.join(tenant, key, flight).await {
            Some(fetched) => fetched,
            None => Err(busy("too many tokens are fetched at once", Duration::from_secs(1))),
        }
    }

    async fn fetch_held(&self, key: HeldKey, wanted: Owned) -> Result<Arc<Held>, Unresolved> {
        let Owned { server, connection, context, subject } = wanted;
        let config = AuthConfig::from_stored(&server.auth).ok_or_else(super::unreadable_settings)?;
        let secret = self.server_secret(&server).await?;
        let credential = match &connection {
            Some(record) => self.open_credential(record).await?,
            None => None,
        };
        let credential = credential.unwrap_or_else(Credential::empty);
        let before = self.inner.held.get(&key);
        let material = Material { auth: &secret, credential: &credential, token: before.as_ref().map(|it| &it.token) };
        let subject_token = subject.as_ref().map(|(token, _)| token);
        let wanted = Wanted {
            tenant: server.spec.tenant,
            config: &config,
            material,
            context: &context,
            subject: subject_token,
            server: Some(&server),
        };
        let counts = &self.inner.counts;
        match self.inner.asker.ask(wanted).await {
            Ok(mut token) => {
                if let Some((_, end)) = &subject {
                    // What was exchanged for a token ends with it.
                    let end = end.saturating_mul(MICROS);
                    token.expires_at = Some(token.expires_at.map_or(end, |at| at.min(end)));
                }
                self.inner.held_pauses.over(&key);
                counts.renewed.fetch_add(1, Ordering::Relaxed);
                Ok(self.inner.held.put(key, token))
            }
            Err(failure) => {
                let count = match &failure {
                    Failure::Ended(_) => &counts.ended,
                    Failure::Client(_) => &counts.client,
                    Failure::Temporary(_) | Failure::Unresolved(_) => &counts.temporary,
                };
                count.fetch_add(1, Ordering::Relaxed);
                if let Failure::Unresolved(why) = failure {
                    return Err(why);
                }
                let pause = self.inner.held_pauses.failed(key);
                Err(match &failure {
                    Failure::Ended(code) | Failure::Client(code) => {
                        let message = format!("the token endpoint refused: {code}");
                        Unresolved { retry_after: Some(pause), ..unresolved("upstream_auth", &message) }
                    }
                    failure => told(failure, pause),
                })
            }
        }
    }
}

/// What a token is fetched with, by who goes on when the caller has left.
struct Owned {
    server: ServerRecord,
    connection: Option<ConnectionRecord>,
    context: Context,
    subject: Option<(Secret, i64)>,
}

fn key(
    server: &ServerRecord,
    connection: Option<&ConnectionRecord>,
    context: &Context,
    subject: Option<&Secret>,
) -> HeldKey {
    let mut hash = Hash::new(&SHA256);
    let mut add = |part: &[u8]| {
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part);
    };
    add(server.spec.tenant.0.as_bytes());
    add(server.spec.id.0.as_bytes());
    add(server.auth.as_bytes());
    add(&server.auth_secret_version.to_be_bytes());
    add(connection.map_or(&[], |record| record.id.0.as_bytes()));
    add(&connection.map_or(0, |record| record.credential_version).to_be_bytes());
    for value in [&context.user_id, &context.department_id, &context.work_id] {
        add(value.as_deref().unwrap_or_default().as_bytes());
    }
    add(subject.map_or(&[], |token| token.expose().as_bytes()));
    let mut key = [0; 32];
    key.iter_mut().zip(hash.finish().as_ref()).for_each(|(byte, hashed)| *byte = *hashed);
    key
}
