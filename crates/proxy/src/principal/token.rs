//! Tokens: those that control signs, and those of a tenant's issuer.
//!
//! Signature and parsing are remembered for a token that was seen before at the same URL. Everything that
//! can change meanwhile is looked at for every request, and for open streams whenever the table changes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use identity::{Audience, By, Claims, Issued, LEEWAY, OWN_ISSUER, TokenError};
use model::{DEFAULT_TENANT, Digest, IssuerId, KeyRole, Subject, UserSpec};
use moka::Expiry;
use moka::policy::EvictionPolicy;
use ring::digest::{Context, SHA256};

use super::{Authenticated, Caller, Endpoint, Judges, Person, is_over};
use crate::fault::Fault;
use crate::limits::{Rate, SubjectRates};
use crate::path::Target;
use crate::table::{Key, Signer, Table, Tenant, Unknown};

/// Most bytes of tokens of which it is remembered that their signature is good.
const SEEN: u64 = 64 << 20;
/// What one of them takes beside its texts.
const APIECE: usize = 512;
const MICROS: i64 = 1_000_000;

/// What is known of tokens that were shown before. What was refused is not remembered.
pub(crate) struct Tokens {
    seen: moka::sync::Cache<Fingerprint, Arc<Verified>>,
    rates: SubjectRates,
    unknown_keys: UnknownKey,
}

/// Told of an issuer whose token names a key that its set has not.
type UnknownKey = Box<dyn Fn(IssuerId, i64) + Send + Sync>;

/// SHA-256 of a token and the URL that it was shown at. The token itself is not kept.
type Fingerprint = [u8; 32];

/// A token whose signature, audience and claims are right.
pub(super) struct Verified {
    subject: Subject,
    said: Said,
    /// Until when it lives, by the clock of this process when it was verified.
    lives: Duration,
}

/// What the token says, and of whom it has it.
enum Said {
    /// Control.
    Own { claims: Claims, signer: Arc<Signer> },
    /// A tenant's identity provider. Its record is not kept: tokens can live longer than many versions of it.
    Issued { issued: Issued, issuer: IssuerId, likeness: Digest },
}

/// What the table says of a token at this moment.
pub(super) struct Standing {
    tenant: Arc<Tenant>,
    user: Option<Arc<UserSpec>>,
    acting: Option<Arc<Key>>,
    role: KeyRole,
}

/// Three parts of base64url with dots between them. No key looks like this.
pub(crate) fn looks_like_token(text: &str) -> bool {
    let mut parts = text.split('.');
    let (Some(head), Some(claims), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let is_base64url =
        |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    !head.is_empty() && !claims.is_empty() && [head, claims, signature].into_iter().all(is_base64url)
}

impl Tokens {
    /// `unknown_keys` hears of issuers whose key sets seem to be too old, and when.
    pub(crate) fn new(unknown_keys: impl Fn(IssuerId, i64) + Send + Sync + 'static) -> Self {
        Self {
            seen: moka::sync::Cache::builder()
                .weigher(|_, token: &Arc<Verified>| u32::try_from(token.size()).unwrap_or(u32::MAX))
                .max_capacity(SEEN)
                // The default would rather not take a new one in than lose one that is asked for often.
                .eviction_policy(EvictionPolicy::lru())
                .expire_after(UntilItsEnd)
                .build(),
            rates: SubjectRates::default(),
            unknown_keys: Box::new(unknown_keys),
        }
    }

    /// Names of the bounds, the bounds, and what tells how much of each is in use.
    pub(crate) fn fill(&self) -> [crate::upstream_sessions::Fill; 2] {
        let seen = self.seen.clone();
        [("verified_token_bytes", SEEN, Box::new(move || seen.weighted_size())), self.rates.fill()]
    }
}

/// Nothing is remembered for longer than the token lives.
struct UntilItsEnd;

impl Expiry<Fingerprint, Arc<Verified>> for UntilItsEnd {
    fn expire_after_create(&self, _: &Fingerprint, token: &Arc<Verified>, _: Instant) -> Option<Duration> {
        Some(token.lives)
    }
}

impl Judges<'_> {
    /// The caller that a token names. One that was never seen costs a bounded amount of work and no IO: nothing is
    /// decoded beyond 8 KiB, and no signature is looked at unless the table has the key that it names.
    pub(super) fn by_token(
        &self,
        text: &str,
        endpoint: &Endpoint<'_>,
        target: Target<'_>,
        now: i64,
    ) -> Result<Authenticated, Fault> {
        let url = endpoint.hosts.base(endpoint.headers).url(endpoint.tenant, target).ok_or_else(refused)?;
        let fingerprint = fingerprint(text, &url);
        if let Some(token) = self.tokens.seen.get(&fingerprint)
            && let Some(standing) = token.standing(self.table, now)
        {
            return self.let_in(token, standing, endpoint, target, &url);
        }
        // Never seen, or what vouched for it has changed.
        let token = Arc::new(self.verified(text, endpoint, &url, now)?);
        let standing = token.standing(self.table, now).ok_or_else(refused)?;
        let who = self.let_in(token.clone(), standing, endpoint, target, &url)?;
        self.tokens.seen.insert(fingerprint, token);
        Ok(who)
    }

    /// Signature and claims.
    fn verified(&self, text: &str, endpoint: &Endpoint<'_>, url: &str, now: i64) -> Result<Verified, Fault> {
        let secs = now.div_euclid(MICROS);
        let peek = identity::peek(text).map_err(refusal)?;
        if peek.issuer == OWN_ISSUER {
            let signer = identity::signer_of(text).ok().and_then(|id| self.table.signer(id)).ok_or_else(refused)?;
            let claims = signer.key.verify(text, secs).map_err(refusal)?;
            let subject = match &claims.by {
                By::Key(key) => Subject::on_behalf(*key, claims.user),
                By::Grant { id, .. } => Subject::of_grant(*id),
            };
            let lives = remaining(claims.expires_at, secs);
            return Ok(Verified { subject, said: Said::Own { claims, signer: signer.clone() }, lives });
        }
        // An issuer speaks for its own tenant only, and on paths that name none for the first one only: else
        // whoever registers somebody else's issuer would be shown that issuer's tokens.
        let tenant = self.table.tenant_named(endpoint.tenant.unwrap_or(DEFAULT_TENANT)).ok_or_else(refused)?;
        let issuer = self.table.issuer_of(tenant.spec.id, &peek.issuer).ok_or_else(refused)?;
        let issued = match issuer.verifier.access_token(text, |audience| audience == url, secs) {
            Ok(issued) => issued,
            Err(TokenError::UnknownKey) => {
                (self.tokens.unknown_keys)(issuer.spec.id, now);
                return Err(refused());
            }
            Err(error) => return Err(refusal(error)),
        };
        let subject = Subject::of_issuer(issuer.spec.id, &issued.subject, &issued.external_id);
        let lives = remaining(issued.expires_at.saturating_add(LEEWAY), secs);
        Ok(Verified {
            subject,
            said: Said::Issued { issued, issuer: issuer.spec.id, likeness: issuer.likeness },
            lives,
        })
    }

    /// The proof, if the token is meant for where it is shown.
    fn let_in(
        &self,
        token: Arc<Verified>,
        standing: Standing,
        endpoint: &Endpoint<'_>,
        target: Target<'_>,
        url: &str,
    ) -> Result<Authenticated, Fault> {
        let tenant = standing.tenant.clone();
        let named = endpoint.tenant.is_none_or(|named| named == tenant.spec.name.as_str());
        let meant = match &token.said {
            // The URL is part of what was verified; which tenant it names may have changed since.
            Said::Issued { .. } => endpoint.tenant.is_some() || tenant.spec.name.as_str() == DEFAULT_TENANT,
            Said::Own { claims, .. } => match &claims.audience {
                Audience::Tenant(id) => *id == tenant.spec.id,
                Audience::Url(audience) => audience == url,
                Audience::Server(id) => match target {
                    Target::Server(name) => tenant.mounts.get(name).is_some_and(|mount| mount.spec.id == *id),
                    Target::Aggregate | Target::BuiltIn | Target::Toolset(_) => false,
                },
            },
        };
        if !named || !meant {
            return Err(refused());
        }
        let rate = self.tokens.rates.of(token.subject, tenant.usage.limits.key_rate);
        let person = standing.person(token, Some(rate));
        Ok(Authenticated { tenant, caller: Caller::Person(Arc::new(person)) })
    }
}

impl Verified {
    /// What the table says of the token now; `None` if anything that it rests on is gone. At the beginning of
    /// time (`i64::MIN`) nothing has expired.
    pub(super) fn standing(&self, table: &Table, now: i64) -> Option<Standing> {
        match &self.said {
            Said::Own { claims, signer } => {
                let known = table.signer(signer.spec.id)?;
                if known.spec.public != signer.spec.public || known.spec.until <= now || self.ends_at() <= now {
                    return None;
                }
                let tenant = table.tenant(claims.tenant)?;
                let user = table.user(claims.user).filter(|user| user.active && user.tenant == claims.tenant)?;
                let acting = match &claims.by {
                    By::Key(id) => Some(table.key(*id).filter(|key| {
                        let key = &key.verifier;
                        key.tenant == claims.tenant && key.scopes.act_as && !is_over(key, now)
                    })?),
                    By::Grant { id, .. } => {
                        // A tenant that has no authorization server any more lets in nobody whom it let in.
                        if !tenant.spec.authorization_server || table.is_revoked(*id) {
                            return None;
                        }
                        None
                    }
                };
                let role = user.role.min(KeyRole::User);
                Some(Standing { tenant: tenant.clone(), user: Some(user.clone()), acting: acting.cloned(), role })
            }
            Said::Issued { issued, issuer, likeness } => {
                let known = table.issuer(*issuer).filter(|known| known.likeness == *likeness)?;
                let over = self.ends_at().saturating_add(LEEWAY * MICROS) <= now;
                if !known.verifier.holds(&issued.key) || !known.spec.mcp || known.spec.keys_until <= now || over {
                    return None;
                }
                let tenant = table.tenant(known.spec.tenant)?;
                let user = match table.user_called(tenant.spec.id, &issued.external_id, issued.login.as_deref()) {
                    Ok(user) if user.active => Some(user),
                    Ok(_) => return None,
                    Err(Unknown::Nobody) if known.spec.unknown_users => None,
                    Err(_) => return None,
                };
                let recorded = user.map_or(KeyRole::User, |user| user.role);
                let role = recorded.min(issued.role.unwrap_or(KeyRole::User)).min(KeyRole::User);
                Some(Standing { tenant: tenant.clone(), user: user.cloned(), acting: None, role })
            }
        }
    }

    /// How much memory it takes, more or less.
    fn size(&self) -> usize {
        let names = |names: &[String]| names.iter().map(|name| name.len() + size_of::<String>()).sum::<usize>();
        let texts = match &self.said {
            Said::Own { claims, .. } => {
                let audience = if let Audience::Url(url) = &claims.audience { url.len() } else { 0 };
                let client = if let By::Grant { client, .. } = &claims.by { client.len() } else { 0 };
                audience + client + names(&claims.departments)
            }
            Said::Issued { issued, .. } => {
                let login = issued.login.as_ref().map_or(0, String::len);
                let departments = issued.departments.as_ref().map_or(0, |departments| names(departments));
                issued.subject.len() + issued.external_id.len() + login + departments
            }
        };
        APIECE + texts
    }

    /// When it ends, microseconds since 1970.
    pub(super) fn ends_at(&self) -> i64 {
        let secs = match &self.said {
            Said::Own { claims, .. } => claims.expires_at,
            Said::Issued { issued, .. } => issued.expires_at,
        };
        secs.saturating_mul(MICROS)
    }

    /// The login that it tells; control's tokens tell none.
    pub(super) fn login(&self) -> Option<&str> {
        match &self.said {
            Said::Own { .. } => None,
            Said::Issued { issued, .. } => issued.login.as_deref(),
        }
    }

    /// The departments of a user with this record, in the token's order. Control's tokens name those of which the
    /// record knew; one that it has lost since is lost to the token. An issuer knows better than the record,
    /// if it says anything of them at all.
    pub(super) fn departments<'a>(&'a self, recorded: &'a [String]) -> Vec<&'a str> {
        let all = |names: &'a [String]| names.iter().map(String::as_str).collect();
        match &self.said {
            Said::Own { claims, .. } => {
                claims.departments.iter().filter(|name| recorded.contains(name)).map(String::as_str).collect()
            }
            Said::Issued { issued, .. } => all(issued.departments.as_deref().unwrap_or(recorded)),
        }
    }
}

impl Standing {
    pub(super) fn person(self, token: Arc<Verified>, rate: Option<Arc<Rate>>) -> Person {
        let Self { tenant: _, user, acting, role } = self;
        Person { subject: token.subject, token: Some(token), user, acting, role, rate }
    }
}

fn fingerprint(text: &str, url: &str) -> Fingerprint {
    let mut hash = Context::new(&SHA256);
    hash.update(url.as_bytes());
    hash.update(&[0]);
    hash.update(text.as_bytes());
    let mut fingerprint = [0; 32];
    fingerprint.iter_mut().zip(hash.finish().as_ref()).for_each(|(byte, hashed)| *byte = *hashed);
    fingerprint
}

fn remaining(until: i64, now: i64) -> Duration {
    Duration::from_secs(u64::try_from(until.saturating_sub(now)).unwrap_or_default())
}

/// The one answer to every token that is not good: which of its many faults it has helps nobody but a forger.
fn refused() -> Fault {
    Fault::invalid("invalid_token")
}

fn refusal(error: TokenError) -> Fault {
    tracing::debug!(%error, "a token was refused");
    match error {
        TokenError::Scope(scope) => Fault::insufficient(&scope),
        _ => refused(),
    }
}

#[cfg(test)]
mod tests;
