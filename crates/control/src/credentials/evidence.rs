//! Who stands behind a question for a credential, as far as that can be proved: a node that was taken over says anything.

use std::sync::Arc;

use identity::evidence::{Lease, verify};
use identity::{Audience, By, Claims, Issued, LEEWAY, OWN_ISSUER, SignerKey, TokenError, Verifier};
use model::{Clock, Holder, KeyId, KeyRole, Principal, Secret, UserId};
use store::{IssuerPage, ServerRecord, Store, StoreError, TenantRecord, TenantStore, UserRecord};
use wire::{Evidence, KeyEvidence, ResolveQuestion};

use super::nonces::Nonces;
use crate::authorization::Resource;

/// Issuers of a tenant that are looked through for the one of a token.
const ISSUERS: u32 = 500;

/// Who was proved to call.
#[derive(Debug, Default)]
pub(super) struct Caller {
    /// How, in a word for logs and the audit.
    pub(super) by: &'static str,
    /// The user; `None` for nobody, or for a key without one.
    pub(super) user: Option<UserRecord>,
    /// Names of the caller's departments, in the caller's order.
    pub(super) departments: Vec<String>,
    /// The token that was shown, and when it ends, seconds since 1970.
    pub(super) token: Option<(Secret, i64)>,
}

/// Why evidence is worth nothing. Says nothing of what was shown.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unproved {
    /// It proves nothing of this question.
    #[error("{0}")]
    Refused(&'static str),
    /// It can't be judged now.
    #[error("the database can't be read")]
    Store(#[from] StoreError),
}

/// Judges evidence.
#[derive(Clone)]
pub(super) struct Judge {
    store: Store,
    clock: Arc<dyn Clock>,
    nonces: Arc<Nonces>,
}

impl Caller {
    /// Nobody in particular: enough for what is everybody's.
    pub(super) fn nobody(by: &'static str) -> Self {
        Self { by, ..Self::default() }
    }

    /// Whether what this holder has may be used for the caller. `department` is the name of the holder's department.
    pub(super) fn may_use(&self, holder: Holder, department: Option<&str>) -> bool {
        match holder {
            Holder::Global => true,
            Holder::User(id) => self.user.as_ref().is_some_and(|user| user.id == id),
            Holder::Department(_) => {
                department.is_some_and(|name| self.departments.iter().any(|department| department == name))
            }
        }
    }
}

impl Judge {
    pub(super) fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { nonces: Arc::new(Nonces::new(clock.clone())), store, clock }
    }

    pub(super) fn nonces(&self) -> Arc<Nonces> {
        self.nonces.clone()
    }

    /// Whom the question's evidence proves to call `server`. `ticket` says that the evidence is a ticket, and good.
    pub(super) async fn judge(
        &self,
        question: &ResolveQuestion,
        server: &ServerRecord,
        ticket: bool,
    ) -> Result<Caller, Unproved> {
        match &question.evidence {
            Evidence::None => Ok(Caller::nobody("nothing")),
            Evidence::Ticket(_) if ticket => self.recorded("ticket", &question.principal).await,
            Evidence::Ticket(_) => Err(Unproved::Refused("the ticket is used up, too old, or another's")),
            Evidence::Key(evidence) => self.by_key(question, server, evidence).await,
            Evidence::Token(token) => self.by_token(question, server, token).await,
        }
    }

    /// The principal as the records have it.
    async fn recorded(&self, by: &'static str, principal: &Principal) -> Result<Caller, Unproved> {
        let Some(user) = principal.user else { return Ok(Caller::nobody(by)) };
        let user = live_user(&self.store.tenant(principal.tenant), user).await?;
        let departments = departments_of(&user);
        Ok(Caller { by, user: Some(user), departments, token: None })
    }

    async fn by_key(
        &self,
        question: &ResolveQuestion,
        server: &ServerRecord,
        evidence: &KeyEvidence,
    ) -> Result<Caller, Unproved> {
        let principal = &question.principal;
        let key = principal.key.ok_or(Unproved::Refused("the evidence is of a key, and the principal has none"))?;
        let known = self.store.platform().key_evidence(key).await?;
        let lease = Lease {
            node: &question.node,
            tenant: principal.tenant,
            key,
            user: principal.user,
            server: question.server,
            connection: question.connection,
            at: evidence.at,
            nonce: evidence.nonce,
        };
        if !known.is_some_and(|known| verify(&known, &lease, &evidence.mac, self.clock.now_micros())) {
            return Err(Unproved::Refused("the evidence was not made with the key for this question a moment ago"));
        }
        self.check_key(key, principal, server).await?;
        // Last: what is refused must not fill the book.
        if !self.nonces.is_new(evidence.nonce) {
            return Err(Unproved::Refused("the evidence was shown before"));
        }
        self.recorded("key", principal).await
    }

    /// Whether the key lives, is of the tenant, may call the server, and may speak for the principal's user.
    async fn check_key(&self, key: KeyId, principal: &Principal, server: &ServerRecord) -> Result<(), Unproved> {
        let live = self.store.platform().live_key(key).await?;
        let verifier = live.map(|live| live.record.verifier).filter(|verifier| verifier.tenant == principal.tenant);
        let verifier = verifier.ok_or(Unproved::Refused("the key is not a live one of the tenant"))?;
        let own = verifier.user == principal.user && verifier.scopes.mcp;
        let acts = verifier.scopes.act_as && principal.user.is_some();
        if !own && !acts {
            return Err(Unproved::Refused("the key is another user's"));
        }
        let servers = verifier.servers.as_ref();
        if servers.is_some_and(|servers| !servers.iter().any(|name| name == server.spec.name.as_str())) {
            return Err(Unproved::Refused("the key may not use this server"));
        }
        Ok(())
    }

    async fn by_token(
        &self,
        question: &ResolveQuestion,
        server: &ServerRecord,
        token: &Secret,
    ) -> Result<Caller, Unproved> {
        let peek = identity::peek(token.expose()).map_err(refused)?;
        if peek.issuer == OWN_ISSUER {
            self.by_own_token(question, server, token).await
        } else {
            self.by_issued_token(question, server, token, &peek.issuer).await
        }
    }

    /// A token that control signed itself.
    async fn by_own_token(
        &self,
        question: &ResolveQuestion,
        server: &ServerRecord,
        token: &Secret,
    ) -> Result<Caller, Unproved> {
        let signer = identity::signer_of(token.expose()).map_err(refused)?;
        let signers = self.store.platform().signers().await?;
        let signer = signers.iter().find(|row| row.spec.id == signer);
        let signer = signer.ok_or(Unproved::Refused("the token is signed with no key of ours"))?;
        let claims = SignerKey::new(&signer.spec).verify(token.expose(), self.clock.now_secs()).map_err(refused)?;
        let principal = &question.principal;
        if claims.tenant != principal.tenant || Some(claims.user) != principal.user {
            return Err(Unproved::Refused("the token is somebody else's"));
        }
        let tenant = self.store.tenant(principal.tenant);
        let record = live_tenant(&tenant).await?;
        let meant = match &claims.audience {
            Audience::Tenant(id) => *id == principal.tenant,
            Audience::Server(id) => *id == question.server,
            Audience::Url(url) => Resource::parse(url, &record.spec.name)
                .is_some_and(|url| url.server().is_none_or(|name| name == server.spec.name.as_str())),
        };
        if !meant {
            return Err(Unproved::Refused("the token is for something else"));
        }
        match &claims.by {
            By::Key(key) => self.check_key(*key, principal, server).await?,
            By::Grant { id, .. } => {
                let revoked = tenant.grant(*id).await?.is_none_or(|grant| grant.revoked_at.is_some());
                if revoked || !record.spec.authorization_server {
                    return Err(Unproved::Refused("what the user allowed was taken back"));
                }
            }
        }
        let user = live_user(&tenant, claims.user).await?;
        let departments = said_and_recorded(&claims, &user);
        let token = Some((Secret::new(token.expose().to_owned()), claims.expires_at));
        Ok(Caller { by: "token", user: Some(user), departments, token })
    }

    /// A token of one of the tenant's issuers.
    async fn by_issued_token(
        &self,
        question: &ResolveQuestion,
        server: &ServerRecord,
        token: &Secret,
        issuer: &str,
    ) -> Result<Caller, Unproved> {
        let principal = &question.principal;
        let tenant = self.store.tenant(principal.tenant);
        let name = live_tenant(&tenant).await?.spec.name;
        let issuers = tenant.issuers(IssuerPage { limit: ISSUERS, ..IssuerPage::default() }).await?;
        let known = issuers.into_iter().find(|known| known.issuer == issuer && known.enabled);
        let known = known.ok_or(Unproved::Refused("the token is of an issuer that the tenant has not"))?;
        let spec = known.spec();
        let verifier = Verifier::new(&spec).map_err(|_| Unproved::Refused("the issuer's keys can't be read"))?;
        let ours = |audience: &str| {
            Resource::parse(audience, &name)
                .is_some_and(|url| url.server().is_none_or(|named| named == server.spec.name.as_str()))
        };
        let issued = verifier.access_token(token.expose(), ours, self.clock.now_secs()).map_err(refused)?;
        let user = user_of(&tenant, &issued).await?;
        let is_principal = match (&user, principal.user) {
            (Some(user), Some(id)) => user.id == id,
            (None, None) => spec.unknown_users,
            _ => false,
        };
        if !is_principal {
            return Err(Unproved::Refused("the token is somebody else's"));
        }
        let recorded = || user.as_ref().map(departments_of).unwrap_or_default();
        let departments = issued.departments.clone().unwrap_or_else(recorded);
        let token = Some((Secret::new(token.expose().to_owned()), issued.expires_at.saturating_add(LEEWAY)));
        Ok(Caller { by: "token", user, departments, token })
    }
}

/// The tenant, if it is a live one.
async fn live_tenant(tenant: &TenantStore) -> Result<TenantRecord, Unproved> {
    let record = tenant.tenant().await?.filter(|record| record.active && record.deleted_at.is_none());
    record.ok_or(Unproved::Refused("the tenant is not a live one"))
}

/// The user whom an issuer means, as proxies find them: by what it calls them for ever, else by login.
async fn user_of(tenant: &TenantStore, issued: &Issued) -> Result<Option<UserRecord>, Unproved> {
    let mut user = tenant.user_by_external_id(&issued.external_id).await?;
    if user.is_none() {
        user = tenant.deleted_user_by_external_id(&issued.external_id).await?;
    }
    if user.is_none()
        && let Some(login) = &issued.login
    {
        user = tenant.user_by_login(login).await?;
        // A login is what the issuer lets people be called: it makes nobody an admin, nor somebody whom another
        // system calls otherwise.
        if user.as_ref().is_some_and(|user| user.external_id.is_some() || user.role >= KeyRole::TenantAdmin) {
            return Err(Unproved::Refused("the login is somebody else's"));
        }
    }
    match user {
        Some(user) if !user.active || user.deleted_at.is_some() => {
            Err(Unproved::Refused("the user is not an active one"))
        }
        user => Ok(user),
    }
}

async fn live_user(tenant: &TenantStore, id: UserId) -> Result<UserRecord, Unproved> {
    let user = tenant.user(id).await?.filter(|user| user.active && user.deleted_at.is_none());
    user.ok_or(Unproved::Refused("the user is not an active one of the tenant"))
}

fn departments_of(user: &UserRecord) -> Vec<String> {
    user.departments.iter().map(|department| department.name.to_string()).collect()
}

/// In the token's order, those that the record still knows.
fn said_and_recorded(claims: &Claims, user: &UserRecord) -> Vec<String> {
    let recorded = |name: &&String| user.departments.iter().any(|department| department.name.as_str() == name.as_str());
    claims.departments.iter().filter(recorded).cloned().collect()
}

fn refused(error: TokenError) -> Unproved {
    tracing::debug!(%error, "a token that was shown as evidence is none");
    Unproved::Refused("the token is not a good one")
}
