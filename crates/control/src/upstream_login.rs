//! People sign in at the authorization servers of upstreams, so that their connections get tokens: OAuth 2.1 as a client.
//!
//! [`discovery`] finds the authorization server, [`registration`] says which client we are there, [`scopes`] what is
//! asked for, and [`trip`] is the browser's way there and back. [`exchange`] makes a token of the code and stores it. Each
//! address is somebody else's word: it is asked through [`Outward`] alone, under the tenant's address policy.
//!
//! What holds it together:
//! - A person is shown who connects what before they leave, and only their own browser ends what it began: the page is in
//!   `pages/connect.rs`, the binding in [`trip`].
//! - An authorization server is known by its issuer, byte for byte. Codes, refresh tokens and clients of one are sent to
//!   no other.
//! - A login takes nothing away before it has brought something: the token of before works until the new one is stored.

mod attempts;
mod client;
mod discovery;
mod error;
mod exchange;
mod known;
mod metadata;
mod places;
mod registration;
mod revoke;
mod scopes;
mod settings;
mod trip;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method as Verb, StatusCode, header};
use model::{Clock, Holder, Secret, ServerId, TenantId, UserId};
use ring::digest;
use store::{NewAttempt, NewUpstreamClient, ServerRecord, Store, UpstreamClient, UpstreamMetadata};
use url::Url;
use uuid::Uuid;
use wire::Challenge;

pub(crate) use self::attempts::{Outcome, View as AttemptView};
pub(crate) use self::client::{ClientAuth, document};
pub(crate) use self::error::LoginError;
pub(crate) use self::metadata::Method;
pub(crate) use self::revoke::Told;
pub(crate) use self::trip::{Answer, Connected, Trip};

use self::discovery::Wanted;
use self::known::Known;
use self::metadata::{AuthorizationServer, answers};
use self::registration::{Registered, Way, is_usable};
use self::settings::Settings;
use self::trip::{Asked, For, KIND, LONGEST};
use crate::keyring::{Keyring, Place};
use crate::outward::{Bounds, Outward};
use crate::proxies::{ProbeRequest, Proxies};
use crate::rates::Rate;
use crate::sign_in::session::SignedIn;
use crate::sign_in::token::Token as Random;
use crate::timers::{micros, scaled};

/// How long metadata is believed without another look, for refreshing and revoking; a login always looks.
const FRESH: Duration = Duration::from_secs(60 * 60);
/// How long a proxy may take to say what the server asks for. Without it the well-known places are looked at.
const PROBE: Duration = Duration::from_secs(10);
/// What the answer of a registration, a token endpoint or a revocation may have.
pub(crate) const BOUNDS: Bounds = Bounds { bytes: 64 << 10, time: Duration::from_secs(20) };
/// Logins that one person may begin in a minute.
const BEGINS: u32 = 20;

/// Signing in at upstreams.
pub(crate) struct UpstreamLogin {
    store: Store,
    outward: Outward,
    proxies: Arc<dyn Proxies>,
    keyring: Arc<Keyring>,
    clock: Arc<dyn Clock>,
    /// Our public URL, without a slash at its end.
    base: String,
    dev: bool,
    pub(crate) begins: Rate<UserId>,
}

/// Where and as whom tokens are asked for.
#[derive(Debug)]
pub(crate) struct TokenEndpoint {
    /// Its name: a refresh token goes to the issuer that granted it and nowhere else.
    pub(crate) issuer: String,
    /// Where.
    pub(crate) token_url: Url,
    /// Where tokens are taken back, if anywhere.
    pub(crate) revocation_url: Option<Url>,
    /// As whom.
    pub(crate) client: ClientAuth,
    /// What for (RFC 8707).
    pub(crate) resource: Option<String>,
}

/// What is begun, and by whom.
pub(crate) struct Begin<'a> {
    pub(crate) server: &'a ServerRecord,
    pub(crate) holder: Holder,
    pub(crate) who: &'a SignedIn,
    /// The attempt that is told of the end.
    pub(crate) attempt: Uuid,
    /// Where the person wants to be afterwards; judged by the caller.
    pub(crate) back: Option<String>,
}

impl UpstreamLogin {
    /// Asks nobody yet. `base` is our public URL.
    pub(crate) fn new(
        store: Store,
        outward: Outward,
        proxies: Arc<dyn Proxies>,
        keyring: Arc<Keyring>,
        clock: Arc<dyn Clock>,
        (base, dev): (String, bool),
    ) -> Self {
        Self { store, outward, proxies, keyring, clock, base, dev, begins: Rate::new(BEGINS) }
    }

    /// Finds out who signs people in, and says where the browser goes.
    pub(crate) async fn begin(&self, begin: Begin<'_>) -> Result<Url, LoginError> {
        let Begin { server, holder, who, attempt, back } = begin;
        let settings = Settings::of(&self.keyring, server).await?;
        let tenant = server.spec.tenant;
        let (known, scopes, challenged) = self.found_anew(server, &settings).await?;
        if known.is_insatiable(self.clock.now_micros()) {
            return Err(LoginError::Again);
        }
        let scope = scopes::wanted(scopes::Known {
            configured: settings.scope.as_deref(),
            challenged: challenged.as_deref(),
            resource: scopes.as_deref(),
            issuer: known.server.scopes.as_deref(),
            more: &owned(known.more.as_deref()),
        });
        let client = self.client(server, &settings, &known.server, Some(Login { scope: scope.as_deref() })).await?;
        self.keep(server, &known.clone().asking(scope.as_deref())).await?;
        let fresh = || Random::fresh().ok_or(LoginError::Internal);
        let state = fresh()?;
        let of = For {
            tenant: tenant.0,
            server: server.spec.id.0,
            attempt,
            holder,
            user: who.user().id.0,
            url: server.spec.url.as_str().to_owned(),
            back,
        };
        let asked = Asked {
            issuer: known.server,
            client_id: client.id,
            redirect_uri: client::redirect(&self.base),
            resource: known.resource,
            scope,
        };
        let trip = Trip::new(of, asked);
        let new = NewAttempt {
            hash: state.hash(),
            kind: KIND.to_owned(),
            payload: serde_json::to_string(&trip).map_err(|_| LoginError::Internal)?,
            binding: who.derived(BINDING),
            expires_at: self.clock.now_micros().saturating_add(micros(LONGEST)),
        };
        self.store.platform().create_attempt(new).await?;
        Ok(trip.url(&state.text(), &verifier(who, &state)))
    }

    /// Takes the round trip that an answer belongs to, if this very session set out on it. Whatever is said then, it is
    /// used up.
    pub(crate) async fn take(&self, who: &SignedIn, answer: &Answer<'_>) -> Result<Option<(Trip, Secret)>, LoginError> {
        let Some(state) = answer.state.and_then(Random::parse) else { return Ok(None) };
        let taken = self.store.platform().take_attempt(state.hash()).await?.filter(|attempt| attempt.kind == KIND);
        let same = |attempt: &store::Attempt| {
            bool::from(subtle::ConstantTimeEq::ct_eq(&attempt.binding[..], &who.derived(BINDING)[..]))
        };
        let Some(attempt) = taken.filter(same) else { return Ok(None) };
        let trip: Trip = serde_json::from_str(&attempt.payload).map_err(|_| LoginError::Internal)?;
        let own = trip.user == who.user().id.0;
        Ok(own.then(|| (trip, verifier(who, &state))))
    }

    /// What an answer says, once it is known whose it is: that of the issuer that was asked, and no error.
    pub(crate) fn judge(trip: &Trip, answer: &Answer<'_>) -> Result<(), Judged> {
        if !answers(&trip.issuer, answer.issuer) {
            return Err(Judged::OtherIssuer);
        }
        match answer.error {
            None => Ok(()),
            Some(error) => Err(Judged::Error(LoginError::refused(error, answer.description))),
        }
    }

    /// Where tokens of a server are asked for: at `issuer`, who granted the one that is there, or at the one that the
    /// server names now. Asks for metadata only where what is known is old.
    pub(crate) async fn token_endpoint(
        &self,
        server: &ServerRecord,
        issuer: Option<&str>,
    ) -> Result<TokenEndpoint, LoginError> {
        let settings = Settings::of(&self.keyring, server).await?;
        let found = self.known_for(server, &settings, issuer).await?;
        self.check_given(server, &settings, &found.server.issuer).await?;
        let client = self.client(server, &settings, &found.server, None).await?;
        Ok(TokenEndpoint {
            issuer: found.server.issuer,
            token_url: found.server.token_endpoint,
            revocation_url: found.server.revocation_endpoint,
            client,
            resource: found.resource,
        })
    }

    /// A client that an admin gave is shown to the issuer that the admin or the server names, and to no other: who has
    /// a token from elsewhere says alone whose it is.
    async fn check_given(&self, server: &ServerRecord, settings: &Settings, issuer: &str) -> Result<(), LoginError> {
        if settings.client_id.is_none() {
            return Ok(());
        }
        let meant = match &settings.issuer {
            Some(given) => places::are_same(given, issuer),
            None => {
                let known = match self.kept(server).await? {
                    Some((known, _)) => known,
                    None => {
                        let (known, ..) = self.found_anew(server, settings).await?;
                        self.keep(server, &known).await?;
                        known
                    }
                };
                known.server.issuer == issuer
            }
        };
        if meant { Ok(()) } else { Err(LoginError::OtherServer) }
    }

    /// A token endpoint does not know our client any more: it is registered anew with the next login. One that an admin
    /// gave stays.
    pub(crate) async fn forget_client(
        &self,
        server: &ServerRecord,
        issuer: &str,
        client: &ClientAuth,
    ) -> Result<(), LoginError> {
        if !client.fixed {
            let tenant = self.store.tenant(server.spec.tenant);
            tenant.drop_upstream_client(server.spec.id, issuer, &client.id).await?;
        }
        Ok(())
    }

    /// Notes what a server asked for when it refused a call with 403: the next login asks for it too.
    pub(crate) async fn challenged(&self, server: &ServerRecord, challenge: &Challenge) -> Result<(), LoginError> {
        let Some(scope) = challenge.scope.as_deref() else { return Ok(()) };
        if challenge.error.as_deref() != Some("insufficient_scope") {
            return Ok(());
        }
        let Some((mut known, until)) = self.kept(server).await? else { return Ok(()) };
        known.challenged(scope, self.clock.now_micros());
        self.keep_until(server, &known, until).await
    }

    // === finding ===

    /// Looks for the authorization server, whatever was known: for a login. With it the server's own scopes, and those
    /// that it challenges with.
    async fn found_anew(
        &self,
        server: &ServerRecord,
        settings: &Settings,
    ) -> Result<(Known, Option<Vec<String>>, Option<String>), LoginError> {
        let challenge = self.challenge(server).await;
        let before = self.kept(server).await?.map(|(known, _)| known);
        let wanted = Wanted {
            tenant: server.spec.tenant,
            url: server.spec.url.url(),
            said: challenge.as_ref().and_then(|challenge| challenge.resource_metadata.as_deref()),
            issuer: settings.issuer.as_deref(),
            before: before.as_ref().map(|known| known.server.issuer.as_str()),
            dev: self.dev,
        };
        let found = discovery::find(&self.outward, &wanted).await?;
        let client = settings.client_id.as_deref();
        if settings.issuer.is_none()
            && before.as_ref().is_some_and(|known| known.binds_elsewhere(client, &found.server.issuer))
        {
            return Err(LoginError::OtherServer);
        }
        let url = server.spec.url.as_str();
        let known = Known::new(url, client, found.resource, found.server, before.as_ref());
        Ok((known, found.scopes, challenge.and_then(|challenge| challenge.scope)))
    }

    /// What is known of an issuer, from before where that is not old, and where nobody answers even if it is.
    async fn known_for(
        &self,
        server: &ServerRecord,
        settings: &Settings,
        issuer: Option<&str>,
    ) -> Result<Known, LoginError> {
        let kept = self.kept(server).await?;
        let wanted = issuer.or(kept.as_ref().map(|(known, _)| known.server.issuer.as_str()));
        let Some(wanted) = wanted else {
            // Nothing was ever looked for, e.g. of a token that came from elsewhere.
            let (known, ..) = self.found_anew(server, settings).await?;
            self.keep(server, &known).await?;
            return Ok(known);
        };
        let now = self.clock.now_micros();
        let same = kept.as_ref().filter(|(known, _)| known.server.issuer == wanted);
        if let Some((known, _)) = same.filter(|(_, until)| *until > now) {
            return Ok(known.clone());
        }
        let found = discovery::authorization_server(&self.outward, server.spec.tenant, wanted, self.dev).await;
        match (found, same) {
            (Ok(Some(found)), same) => {
                let resource = match &kept {
                    Some((known, _)) => known.resource.clone(),
                    None => Some(metadata::canonical(server.spec.url.url())),
                };
                let client = settings.client_id.as_deref();
                let before = kept.as_ref().map(|(known, _)| known);
                let known = Known::new(server.spec.url.as_str(), client, resource, found, before);
                // What is known of the issuer of today is not overwritten with that of an old token, and what somebody's
                // token says of its issuer is nobody else's.
                if same.is_some() {
                    self.keep(server, &known).await?;
                }
                Ok(known)
            }
            (Err(error), Some((known, _))) => {
                tracing::info!(server = %server.spec.id, error = %telemetry::chain(&error), "metadata of an authorization server can't be renewed; what was known counts on");
                Ok(known.clone())
            }
            (Ok(None), Some((known, _))) => Ok(known.clone()),
            (Ok(None), None) => Err(LoginError::NoMetadata),
            (Err(error), None) => Err(error),
        }
    }

    /// What a server says to somebody without a token, from where a proxy stands.
    async fn challenge(&self, server: &ServerRecord) -> Option<Challenge> {
        let spec = &server.spec;
        let request = ProbeRequest {
            tenant: spec.tenant,
            url: spec.url.clone(),
            transport: spec.transport,
            headers: spec.headers.clone(),
            connect_timeout: spec.connect_timeout.min(PROBE),
            read_timeout: spec.read_timeout.min(PROBE),
            lines: None,
        };
        match tokio::time::timeout(scaled(PROBE), self.proxies.probe(request)).await {
            Ok(Ok(report)) => report.challenge,
            Ok(Err(error)) => {
                tracing::info!(server = %spec.id, %error, "a server does not say what it wants; well-known places are looked at");
                None
            }
            Err(_) => None,
        }
    }

    async fn kept(&self, server: &ServerRecord) -> Result<Option<(Known, i64)>, LoginError> {
        let found = self.store.tenant(server.spec.tenant).upstream_metadata(server.spec.id).await?;
        let read = |kept: UpstreamMetadata| Some((Known::read(&kept.document, server.spec.url.as_str())?, kept.until));
        Ok(found.and_then(read))
    }

    async fn keep(&self, server: &ServerRecord, known: &Known) -> Result<(), LoginError> {
        self.keep_until(server, known, self.clock.now_micros().saturating_add(micros(FRESH))).await
    }

    async fn keep_until(&self, server: &ServerRecord, known: &Known, until: i64) -> Result<(), LoginError> {
        let document = serde_json::to_string(known).map_err(|_| LoginError::Internal)?;
        let tenant = self.store.tenant(server.spec.tenant);
        Ok(tenant.put_upstream_metadata(server.spec.id, UpstreamMetadata { document, until }).await?)
    }

    // === which client we are ===

    /// Who we are at an authorization server. Registers us there only for a login, and only where the registration that we
    /// have is of no more use.
    async fn client(
        &self,
        server: &ServerRecord,
        settings: &Settings,
        issuer: &AuthorizationServer,
        for_login: Option<Login<'_>>,
    ) -> Result<ClientAuth, LoginError> {
        match registration::way(settings.client_id.as_deref(), issuer, &self.base) {
            Way::Given => {
                let secret = settings.client_secret.as_ref().map(|secret| Secret::new(secret.expose().to_owned()));
                Ok(registration::given(settings.client_id.as_deref().unwrap_or_default(), secret, issuer))
            }
            Way::Document => {
                let id = client::document_url(&self.base);
                Ok(ClientAuth { id, secret: None, method: Method::None, fixed: true })
            }
            Way::Register(method) => {
                let tenant = self.store.tenant(server.spec.tenant);
                let kept = tenant.upstream_client(server.spec.id, &issuer.issuer).await?;
                let (redirect, now) = (client::redirect(&self.base), self.clock.now_micros());
                match (kept, for_login) {
                    (Some(kept), None) => self.opened(server, kept).await,
                    (Some(kept), Some(_)) if is_usable(&redirect, &kept.redirect_uri, kept.secret_expires_at, now) => {
                        self.opened(server, kept).await
                    }
                    (kept, Some(login)) => {
                        let replaces = kept.map(|kept| kept.client_id);
                        self.register(server, issuer, method, login.scope, replaces).await
                    }
                    (None, None) => Err(LoginError::NoClient),
                }
            }
            Way::Nobody => Err(LoginError::NoClient),
        }
    }

    async fn opened(&self, server: &ServerRecord, kept: UpstreamClient) -> Result<ClientAuth, LoginError> {
        let secret = match &kept.secret {
            None => None,
            Some(sealed) => {
                let place = client_place(server.spec.tenant, server.spec.id, &kept.issuer);
                let plain = self.keyring.open_row(place, sealed).await?;
                Some(Secret::new(std::str::from_utf8(&plain).map_err(|_| LoginError::Internal)?.to_owned()))
            }
        };
        let method = Method::parse(&kept.auth_method).ok_or(LoginError::Internal)?;
        Ok(ClientAuth { id: kept.client_id, secret, method, fixed: false })
    }

    /// Registers us, and keeps what came of it.
    async fn register(
        &self,
        server: &ServerRecord,
        issuer: &AuthorizationServer,
        method: Method,
        scope: Option<&str>,
        replaces: Option<String>,
    ) -> Result<ClientAuth, LoginError> {
        const WHAT: &str = "a registration at the authorization server";
        let url = issuer.registration_endpoint.as_ref().ok_or(LoginError::NoClient)?;
        let body = registration::request(&self.base, method, scope).to_string();
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let sent = self.outward.exchange(server.spec.tenant, url, Verb::POST, headers, body.into(), BOUNDS).await;
        let (status, answer) = sent.map_err(|why| LoginError::Fetch { what: WHAT, why })?;
        if !matches!(status, StatusCode::OK | StatusCode::CREATED) {
            let code = crate::auth::oauth_error(&answer);
            return Err(LoginError::refused(code.as_deref().unwrap_or("the registration was refused"), None));
        }
        let registered = Registered::parse(&answer, method)
            .ok_or_else(|| LoginError::refused("the registration has no usable client", None))?;
        let secret = match &registered.secret {
            None => None,
            Some(secret) => {
                let place = client_place(server.spec.tenant, server.spec.id, &issuer.issuer);
                let plain = secret.expose().as_bytes();
                Some(self.keyring.seal_row(place, self.clock.now_micros(), plain).await?)
            }
        };
        let new = NewUpstreamClient {
            server: server.spec.id,
            issuer: issuer.issuer.clone(),
            client_id: registered.id,
            secret,
            auth_method: registered.method.as_str().to_owned(),
            redirect_uri: client::redirect(&self.base),
            secret_expires_at: registered.secret_until,
            replaces,
        };
        // Another replica may have been first: then its client is ours too.
        let there = self.store.tenant(server.spec.tenant).put_upstream_client(new).await?;
        self.opened(server, there).await
    }
}

/// What a client is wanted for.
#[derive(Clone, Copy)]
struct Login<'a> {
    scope: Option<&'a str>,
}

/// What an answer can be beside a code.
#[derive(Debug)]
pub(crate) enum Judged {
    /// It is not of the issuer that was asked.
    OtherIssuer,
    /// It says no.
    Error(LoginError),
}

/// What of a session round trips are bound to.
const BINDING: &str = "upstream login";

/// The code verifier of a round trip: only the browser's session and its state together make it.
fn verifier(who: &SignedIn, state: &Random) -> Secret {
    let purpose = zeroize::Zeroizing::new(format!("upstream verifier {}", state.text().expose()));
    Secret::new(who.derived_text(&purpose))
}

/// Where the secret of our client at an issuer lies sealed, its version in front of it: server and issuer together are the
/// record.
pub(crate) fn client_place(tenant: TenantId, server: ServerId, issuer: &str) -> Place {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(server.0.as_bytes());
    context.update(issuer.as_bytes());
    let mut record = [0; 16];
    record.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    Place { tenant, kind: "upstream_client", record: Uuid::from_bytes(record), field: "client_secret" }
}

fn owned(scopes: Option<&str>) -> Vec<String> {
    scopes.map(scopes::words).unwrap_or_default().into_iter().map(str::to_owned).collect()
}
