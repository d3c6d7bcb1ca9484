//! Token requests: how each kind of source is asked, and what an answer means. Nothing of an answer is ever quoted but
//! OAuth's own codes.

use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use model::{Clock, Secret, TenantId};
use store::ServerRecord;
use url::Url;
use wire::Unresolved;
use zeroize::Zeroizing;

use super::issuing::{Grantor, Issuing};
use super::{assertion, unresolved};
use crate::auth::{
    AuthConfig, Client, ClientCredentials, ClientMethod, Context, Exchange, MAX_ANSWER, Material, ResponseMap, Target,
    Token, TokenCall, TokenError, TokenRequest, TokenSource, oauth_error,
};
use crate::outward::{Bounds, Form, Outward, OutwardError, basic};

/// How long a token request may take, from the first step to the last byte.
pub(super) const TOKEN_TIME: Duration = Duration::from_secs(30);
const BOUNDS: Bounds = Bounds { bytes: MAX_ANSWER, time: TOKEN_TIME };
/// Codes that say that what the token was asked for with is worth nothing any more.
const ENDED: [&str; 4] = ["invalid_grant", "invalid_token", "bad_refresh_token", "expired_token"];
/// Codes that say that the client is nobody any more.
const NOBODY: [&str; 2] = ["invalid_client", "unauthorized_client"];
/// The grant of RFC 8693.
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const REFRESH: &str = "refresh_token";

/// Why there is no new token.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What it was asked for with is worth nothing any more; OAuth's code.
    Ended(String),
    /// The client is nobody any more; OAuth's code.
    Client(String),
    /// It may go better next time; a sentence.
    Temporary(String),
    /// It can't even be asked for.
    Unresolved(Unresolved),
}

/// What a request is about.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) tenant: TenantId,
    pub(super) config: &'a AuthConfig,
    pub(super) material: Material<'a>,
    pub(super) context: &'a Context,
    /// The caller's own token, where that is exchanged.
    pub(super) subject: Option<&'a Secret>,
    /// Whose record it is; `None` before there is one.
    pub(super) server: Option<&'a ServerRecord>,
}

/// Asks for tokens.
#[derive(Clone)]
pub(super) struct Asker {
    pub(super) outward: Outward,
    pub(super) issuing: std::sync::Arc<dyn Issuing>,
    pub(super) clock: std::sync::Arc<dyn Clock>,
}

impl Asker {
    /// Asks once for a new token.
    pub(super) async fn ask(&self, wanted: Wanted<'_>) -> Result<Token, Failure> {
        match wanted.config.source() {
            TokenSource::Static => Err(Failure::Unresolved(reauth("the credential can't be renewed"))),
            TokenSource::ClientCredentials(settings) => self.client_credentials(wanted, settings).await,
            TokenSource::AuthorizationCode(_) => self.refresh(wanted).await,
            TokenSource::Custom(request) => self.custom(wanted, request).await,
            TokenSource::Exchange(settings) => self.exchange(wanted, settings).await,
        }
    }

    async fn client_credentials(&self, wanted: Wanted<'_>, settings: &ClientCredentials) -> Result<Token, Failure> {
        let client = settings.client.fill(&wanted.material, wanted.context).map_err(uncomposed)?;
        let (url, audience) = match (&settings.token_url, &settings.issuer) {
            (Some(url), _) => (url.url().clone(), url.as_str().to_owned()),
            (None, Some(issuer)) => {
                let url = self.issuing.token_url(wanted.tenant, issuer.as_str()).await.map_err(Failure::Temporary)?;
                (url, issuer.as_str().trim_end_matches('/').to_owned())
            }
            (None, None) => return Err(Failure::Unresolved(unresolved("template", "the settings name no token URL"))),
        };
        let mut form = Form::of(&[("grant_type", "client_credentials")]);
        target(&mut form, &settings.target);
        self.post(wanted, &url, &client, &audience, form).await
    }

    async fn exchange(&self, wanted: Wanted<'_>, settings: &Exchange) -> Result<Token, Failure> {
        let missing = "the caller's own token is exchanged for one of the server, and the caller came without one";
        let subject = wanted.subject.ok_or_else(|| Failure::Unresolved(unresolved("context_missing", missing)))?;
        let client = settings.client.fill(&wanted.material, wanted.context).map_err(uncomposed)?;
        let mut form = Form::of(&[
            ("grant_type", EXCHANGE),
            ("subject_token", subject.expose()),
            ("subject_token_type", &settings.subject_token_type),
        ]);
        target(&mut form, &settings.target);
        let url = settings.token_url.url().clone();
        self.post(wanted, &url, &client, settings.token_url.as_str(), form).await
    }

    async fn post(
        &self,
        wanted: Wanted<'_>,
        url: &Url,
        client: &Client,
        audience: &str,
        mut form: Form,
    ) -> Result<Token, Failure> {
        let mut headers = HeaderMap::new();
        self.sign(client, audience, &mut headers, &mut form)?;
        let answer = self.outward.post(wanted.tenant, url, headers, form.bytes(), BOUNDS).await;
        self.judge(answer, &ResponseMap::default(), None)
    }

    /// Says who asks.
    fn sign(&self, client: &Client, audience: &str, headers: &mut HeaderMap, form: &mut Form) -> Result<(), Failure> {
        let (id, proof) = (client.id.expose(), client.proof.expose());
        match client.method {
            ClientMethod::Basic => {
                headers.extend(basic(id, proof).map(|line| (AUTHORIZATION, line)));
            }
            ClientMethod::Post => {
                form.put("client_id", id);
                form.put("client_secret", proof);
            }
            ClientMethod::PrivateKeyJwt => {
                let signed = assertion::sign(proof, client.key_id.as_deref(), id, audience, self.clock.now_secs());
                let token = signed.map_err(|error| Failure::Unresolved(unresolved("template", &error.to_string())))?;
                form.put("client_id", id);
                form.put("client_assertion_type", assertion::KIND);
                form.put("client_assertion", &token);
            }
        }
        Ok(())
    }

    /// The refresh token of a person's sign-in, to the issuer that granted it and nowhere else.
    async fn refresh(&self, wanted: Wanted<'_>) -> Result<Token, Failure> {
        let gone = || Failure::Unresolved(reauth("somebody has to sign in again: there is no refresh token"));
        let Wanted { material, server, .. } = wanted;
        let own = material.token.and_then(|token| token.refresh_token.as_ref()).map(Secret::expose);
        let refresh_token = own.or_else(|| material.credential.refresh_token()).ok_or_else(gone)?;
        let server = server.ok_or_else(gone)?;
        let token = material.token;
        let issuer = token.and_then(|token| token.issuer.as_deref());
        let issuer = issuer.or_else(|| material.credential.member_text("issuer_url"));
        let grantor = self.issuing.grantor(server, issuer).await?;
        if issuer.is_some_and(|issuer| !same_issuer(issuer, &grantor.issuer)) {
            let moved = "somebody has to sign in again: the server names another authorization server than the one that \
                         granted the token";
            return Err(Failure::Unresolved(reauth(moved)));
        }
        if token.and_then(|token| token.client_id.as_ref()).is_some_and(|client| *client != grantor.client.id) {
            let other = "somebody has to sign in again: the token was granted to another client";
            return Err(Failure::Unresolved(reauth(other)));
        }
        let mut form = Form::of(&[("grant_type", REFRESH), (REFRESH, refresh_token)]);
        if let Some(resource) = &grantor.resource {
            form.put("resource", resource);
        }
        let mut headers = HeaderMap::new();
        grantor.client.sign(&mut headers, &mut form);
        let answer = self.outward.post(wanted.tenant, &grantor.token_url, headers, form.bytes(), BOUNDS).await;
        match self.judge(answer, &ResponseMap::default(), token) {
            Ok(mut renewed) => {
                // An answer without one: the old one stays good.
                renewed.refresh_token.get_or_insert_with(|| Secret::new(refresh_token.to_owned()));
                renewed.issuer = Some(grantor.issuer);
                renewed.client_id = Some(grantor.client.id);
                Ok(renewed)
            }
            Err(Failure::Client(code)) => {
                self.forget(server, &grantor).await;
                Err(Failure::Client(code))
            }
            Err(failure) => Err(failure),
        }
    }

    /// Registers anew next time; what an admin gave is left alone.
    async fn forget(&self, server: &ServerRecord, grantor: &Grantor) {
        if let Err(error) = self.issuing.forget_client(server, grantor).await {
            tracing::warn!(server = %server.spec.id, error = %telemetry::chain(&error), "a dead client can't be forgotten");
        }
    }

    /// The request of the settings; the refresh request first, if there is one and something to refresh with.
    async fn custom(&self, wanted: Wanted<'_>, request: &TokenRequest) -> Result<Token, Failure> {
        let Wanted { material, context, tenant, .. } = wanted;
        let own = material.token.is_some_and(|token| token.refresh_token.is_some());
        let given = material.token.is_none() && material.credential.refresh_token().is_some();
        if let (Some(refresh), true) = (&request.refresh, own || given) {
            let call = refresh.fill(&material, context).map_err(uncomposed)?;
            match self.call(tenant, call, &refresh.response_map, material.token).await {
                // What it was asked for with is over; the credential may still be good for another.
                Err(Failure::Ended(code)) => tracing::debug!(code, "a refresh was refused, a new token is asked for"),
                answered => return answered,
            }
        }
        let fresh = Material { token: None, ..material };
        let call = request.fill(&fresh, context).map_err(uncomposed)?;
        self.call(tenant, call, &request.response_map, None).await
    }

    async fn call(
        &self,
        tenant: TenantId,
        call: TokenCall,
        map: &ResponseMap,
        previous: Option<&Token>,
    ) -> Result<Token, Failure> {
        let mut headers = HeaderMap::new();
        for (name, value) in &call.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
                Failure::Unresolved(unresolved("template", "a header's name of the token request is none"))
            })?;
            headers.insert(name, sensitive(value.expose())?);
        }
        // Where nothing may be in a body, nothing is.
        let empty = call.method == Method::GET;
        let body = if empty { Bytes::new() } else { Bytes::copy_from_slice(call.body.expose().as_bytes()) };
        let answer = self.outward.exchange(tenant, call.url.url(), call.method, headers, body, BOUNDS).await;
        self.judge(answer, map, previous)
    }

    /// What an answer means. Only codes of OAuth, in answers that are no server's failure, mean that something is over.
    fn judge(
        &self,
        answer: Result<(StatusCode, Bytes), OutwardError>,
        map: &ResponseMap,
        previous: Option<&Token>,
    ) -> Result<Token, Failure> {
        let (status, body) =
            answer.map_err(|error| Failure::Temporary(format!("the token endpoint can't be asked: {error}")))?;
        let body = Zeroizing::new(body.to_vec());
        if status.is_success() {
            return match Token::from_response(&body, map, self.clock.now_micros(), previous) {
                Ok(token) => Ok(token),
                Err(TokenError::Refused(code)) => Err(classed(code)),
                Err(error) => Err(Failure::Temporary(error.to_string())),
            };
        }
        match oauth_error(&body).filter(|_| status.is_client_error()) {
            Some(code) => Err(classed(code)),
            None => Err(Failure::Temporary(format!("the token endpoint answered with the status {}", status.as_u16()))),
        }
    }
}

fn classed(code: String) -> Failure {
    match code.as_str() {
        ended if ENDED.contains(&ended) => Failure::Ended(code),
        nobody if NOBODY.contains(&nobody) => Failure::Client(code),
        _ => Failure::Temporary(format!("the token endpoint refused: {code}")),
    }
}

/// What a token is asked for.
fn target(form: &mut Form, target: &Target) {
    let words = [("scope", &target.scope), ("audience", &target.audience), ("resource", &target.resource)];
    for (name, value) in words {
        if let Some(value) = value {
            form.put(name, value);
        }
    }
}

fn sensitive(text: &str) -> Result<HeaderValue, Failure> {
    let wrong = || Failure::Unresolved(unresolved("template", "a value of the token request can't stand in a header"));
    let mut value = HeaderValue::from_str(text).map_err(|_| wrong())?;
    value.set_sensitive(true);
    Ok(value)
}

fn uncomposed(error: crate::auth::ComposeError) -> Failure {
    Failure::Unresolved(unresolved(error.reason(), &error.to_string()))
}

fn reauth(message: &str) -> Unresolved {
    unresolved("reauth_required", message)
}

fn same_issuer(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}
