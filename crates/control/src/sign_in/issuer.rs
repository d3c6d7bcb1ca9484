//! Signing in at a tenant's issuer: OpenID Connect, authorization code with PKCE. A round trip is a row that is
//! good once, for ten minutes, in one browser; it says which issuer was meant, so that no other can answer for it.

mod exchange;
mod provider;

use std::time::Duration;

use identity::{TokenError, Verifier};
use model::{IssuerId, TenantId};
use oauth2::{CsrfToken, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope};
use serde::{Deserialize, Serialize};
use store::{IssuerRecord, NewAttempt, TenantRecord};
use subtle::ConstantTimeEq as _;
use url::Url;

use self::provider::Provider;
use super::account;
use super::session::Proven;
use super::site::Site;
use super::token::Token;
use crate::App;
use crate::pages::Refusal;
use crate::timers::micros;

/// How long a round trip may take.
const LONGEST: Duration = Duration::from_secs(10 * 60);
/// What the rows of our round trips are called.
const KIND: &str = "issuer";
/// Most of what an issuer says about itself that is shown.
const MAX_SAID: usize = 300;

const NO_STATE: Refusal = Refusal::State(
    "It was begun in another browser, more than ten minutes ago, or it has been finished already. Nothing was done.",
);
const OTHER_ISSUER: Refusal = Refusal::State("The answer came from another issuer than the one that was asked.");
const NO_ANSWER: Refusal = Refusal::IssuerDown("It did not confirm the sign-in. Try again in a moment.");
const NOT_READY: Refusal = Refusal::IssuerDown("It has not been reached yet. Try again in a moment.");

/// What is kept between leaving and coming back.
#[derive(Serialize, Deserialize)]
struct RoundTrip {
    tenant: String,
    issuer: String,
    /// The issuer's own name, as it was when it was asked.
    iss: String,
    nonce: String,
    verifier: String,
    redirect_uri: String,
    #[serde(rename = "return")]
    back: Option<String>,
}

/// What the browser brings back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer<'a> {
    pub(crate) state: Option<&'a str>,
    pub(crate) code: Option<&'a str>,
    pub(crate) issuer: Option<&'a str>,
    pub(crate) error: Option<&'a str>,
    pub(crate) description: Option<&'a str>,
}

/// The issuer of this name or id, if people of the tenant may sign in there.
pub(crate) async fn offered(app: &App, tenant: &TenantRecord, named: &str) -> Result<Option<IssuerRecord>, Refusal> {
    let store = app.store.tenant(tenant.spec.id);
    let found = if named.chars().any(char::is_control) { None } else { store.issuer_named(named).await? };
    Ok(found.filter(is_offered))
}

/// Whether people may sign in there.
pub(crate) fn is_offered(issuer: &IssuerRecord) -> bool {
    issuer.enabled && issuer.sign_in && issuer.client_id.is_some()
}

/// Begins a round trip for one browser; answers where it leads.
pub(crate) async fn begin(
    app: &App,
    site: &Site,
    binding: [u8; 32],
    issuer: &IssuerRecord,
    back: Option<&str>,
) -> Result<Url, Refusal> {
    let provider = Provider::of(&app.issuers, issuer).ok_or(NOT_READY)?;
    let fresh = || Token::fresh().ok_or(Refusal::Internal);
    let (state, nonce, verifier) = (fresh()?, fresh()?, fresh()?);
    let verifier = PkceCodeVerifier::new(verifier.text().expose().to_owned());
    let trip = RoundTrip {
        tenant: issuer.tenant.to_string(),
        issuer: issuer.id.to_string(),
        iss: issuer.issuer.clone(),
        nonce: nonce.text().expose().to_owned(),
        verifier: verifier.secret().clone(),
        redirect_uri: site.url("/signin/callback"),
        back: back.map(str::to_owned),
    };
    let challenge = PkceCodeChallenge::from_code_verifier_sha256(&verifier);
    let redirect = RedirectUrl::new(trip.redirect_uri.clone()).map_err(|_| Refusal::Internal)?;
    let client = provider.client(None).set_redirect_uri(redirect);
    let state_text = state.text();
    let mut request = client
        .authorize_url(|| CsrfToken::new(state_text.expose().to_owned()))
        .set_pkce_challenge(challenge)
        .add_scopes(provider.scopes().into_iter().map(Scope::new))
        .add_extra_param("nonce", trip.nonce.clone());
    if let Some(claims) = provider.wanted_claims(&issuer.claims) {
        request = request.add_extra_param("claims", claims);
    }
    let (to, _) = request.url();
    let attempt = NewAttempt {
        hash: state.hash(),
        kind: KIND.to_owned(),
        payload: serde_json::to_string(&trip).map_err(|_| Refusal::Internal)?,
        binding,
        expires_at: app.clock.now_micros().saturating_add(micros(LONGEST)),
    };
    app.store.platform().create_attempt(attempt).await?;
    Ok(to)
}

/// Ends a round trip: who the issuer says it is, and where they wanted to go. Whatever happens, it can't be ended
/// again.
pub(crate) async fn end(app: &App, binding: [u8; 32], answer: Answer<'_>) -> Result<(Proven, Option<String>), Refusal> {
    let state = answer.state.and_then(Token::parse).ok_or(NO_STATE)?;
    let taken = app.store.platform().take_attempt(state.hash()).await?.filter(|attempt| attempt.kind == KIND);
    let same_browser = |attempt: &store::Attempt| bool::from(attempt.binding.ct_eq(&binding));
    let attempt = taken.filter(same_browser).ok_or(NO_STATE)?;
    let trip: RoundTrip = serde_json::from_str(&attempt.payload).map_err(|_| Refusal::Internal)?;
    let id = trip.issuer.parse::<IssuerId>().map_err(|_| Refusal::Internal)?;
    let tenant = trip.tenant.parse::<TenantId>().map_err(|_| Refusal::Internal)?;
    let store = app.store.tenant(tenant);
    // Still the one that was asked, and still trusted.
    let issuer = store.issuer(id).await?.filter(is_offered).filter(|issuer| issuer.issuer == trip.iss);
    let issuer = issuer.ok_or(NO_STATE)?;
    let provider = Provider::of(&app.issuers, &issuer).ok_or(NOT_READY)?;
    match answer.issuer {
        Some(named) if named == trip.iss => (),
        None if !provider.names_itself() => (),
        _ => return Err(OTHER_ISSUER),
    }
    if let Some(error) = answer.error {
        let cut = |text: &str| text.chars().take(MAX_SAID).collect::<String>();
        return Err(Refusal::Issuer { error: cut(error), description: answer.description.map(cut) });
    }
    let code = answer.code.ok_or(Refusal::Malformed("The answer has no code."))?;
    let token = exchange::id_token(app, &issuer, &provider, code, &trip).await?;
    let issued = verified(app, issuer.clone(), &token, &trip.nonce).await?;
    let user = account::of(&store, &issuer, &issued).await?;
    Ok((Proven { tenant, user, issuer: Some(issuer.id) }, trip.back))
}

/// Verifies an ID token. A key that is not known yet is asked for once: issuers change theirs.
async fn verified(app: &App, issuer: IssuerRecord, token: &str, nonce: &str) -> Result<identity::Issued, Refusal> {
    let judge = |issuer: &IssuerRecord| {
        let spec = issuer.spec();
        let client = issuer.client_id.as_deref().unwrap_or_default();
        let verifier = Verifier::new(&spec).map_err(|_| TokenError::UnknownKey)?;
        verifier.id_token(token, client, nonce, app.clock.now_secs())
    };
    let first = judge(&issuer);
    let judged = match first {
        Err(TokenError::UnknownKey) => {
            let renewed = app.issuers.missing_a_key(&issuer).await?;
            judge(&renewed)
        }
        other => other,
    };
    judged.map_err(|error| {
        tracing::warn!(issuer = %issuer.id, %error, "an ID token is not good");
        match error {
            TokenError::UnknownKey => NO_ANSWER,
            _ => Refusal::Issuer {
                error: "its confirmation is not valid".to_owned(),
                description: Some("an administrator finds the reason in the log of the service".to_owned()),
            },
        }
    })
}
