//! How a server is authenticated to: its settings, what people give for it, and what that becomes. Pure: no IO, no
//! clock, no database.
//!
//! [`AuthConfig`] is read from a body ([`parse_native`], [`parse_v1`]) or from a row, holds no secret, and says what is
//! needed. A [`Credential`] is what a person gave, a [`Token`] what was obtained with it, and
//! [`AuthConfig::compose`] makes header lines of the three.

mod certificate;
mod compose;
mod credential;
mod native;
mod request;
mod secret;
mod template;
mod token;
mod version1;

#[cfg(test)]
mod tests;

use model::{Binding, ContextUse, Scope};
use serde_json::Value;

use self::template::{Placeholder, Template, context_use};
use crate::rest::code::Code;
use crate::rest::fields::FieldError;

pub(crate) use self::compose::{ComposeError, Composed, Context, Material};
pub(crate) use self::credential::Credential;
pub(crate) use self::native::parse as parse_native;
pub(crate) use self::request::{
    AuthorizationCode, Client, ClientCredentials, ClientMethod, Exchange, Target, TokenCall, TokenRequest,
};
pub(crate) use self::secret::{AuthSecret, MAX_SEALED, SecretJson, is_masked};
pub(crate) use self::token::{MAX_ANSWER, ResponseMap, Token, TokenError, oauth_error};
pub(crate) use self::version1::parse as parse_v1;

/// How a server is authenticated to, without any secret.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AuthConfig {
    way: Way,
    source: TokenSource,
    scopes: Vec<Scope>,
    shared_manifest: bool,
    pre_refresh: u32,
    retry_unauthorized: bool,
    client_certificate: bool,
    headers: Vec<(String, Template)>,
    query: Vec<(String, Template)>,
}

/// Where the secret goes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    None,
    Bearer,
    ApiKey {
        header: String,
    },
    Basic,
    Query {
        parameter: String,
    },
    Headers {
        names: Vec<String>,
    },
    /// Into the handshake.
    Certificate,
    /// Where the templates of headers and parameters say.
    Templates,
}

/// Where the token comes from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TokenSource {
    /// From nowhere: what the person gave is sent.
    Static,
    /// OAuth's client credentials.
    ClientCredentials(ClientCredentials),
    /// A person's sign-in at the upstream's authorization server.
    AuthorizationCode(AuthorizationCode),
    /// A request that the settings describe.
    Custom(TokenRequest),
    /// An exchange of the caller's token.
    Exchange(Exchange),
}

/// The settings of a server that wants nothing.
impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            way: Way::None,
            source: TokenSource::Static,
            scopes: Vec::new(),
            shared_manifest: true,
            pre_refresh: 0,
            retry_unauthorized: true,
            client_certificate: false,
            headers: Vec::new(),
            query: Vec::new(),
        }
    }
}

impl AuthConfig {
    /// Sign-in at the upstream's authorization server, everything about it found out: what an upstream asks for that
    /// answers with the metadata of RFC 9728.
    pub(crate) fn discovered() -> Self {
        Self {
            way: Way::Templates,
            source: TokenSource::AuthorizationCode(AuthorizationCode {
                issuer: None,
                client_id: None,
                client_secret: None,
                scope: None,
            }),
            scopes: vec![Scope::User],
            shared_manifest: false,
            pre_refresh: native::PRE_REFRESH,
            headers: vec![("Authorization".to_owned(), Template::bearer())],
            ..Self::default()
        }
    }

    /// Whether nothing is sent.
    pub(crate) fn is_none(&self) -> bool {
        self.way == Way::None
    }

    /// The word of its type.
    pub(crate) fn kind(&self) -> &'static str {
        match (&self.way, &self.source) {
            (_, TokenSource::ClientCredentials(_)) => "client_credentials",
            (_, TokenSource::AuthorizationCode(_)) => "authorization_code",
            (_, TokenSource::Custom(_)) => "custom_token",
            (_, TokenSource::Exchange(_)) => "token_exchange",
            (Way::None, _) => "none",
            (Way::Bearer, _) => "bearer",
            (Way::ApiKey { .. }, _) => "api_key",
            (Way::Basic, _) => "basic",
            (Way::Query { .. }, _) => "query",
            (Way::Headers { .. }, _) => "headers",
            (Way::Certificate, _) => "mtls",
            (Way::Templates, _) => "template",
        }
    }

    /// What proxies must know; `None` when nothing is sent.
    pub(crate) fn binding(&self) -> Option<Binding> {
        let exchange = matches!(self.source, TokenSource::Exchange(_));
        (!self.is_none()).then(|| Binding {
            scopes: self.scopes().to_vec(),
            context: context_use(self.placeholders()),
            login: matches!(self.source, TokenSource::AuthorizationCode(_)),
            exchange,
            shared_manifest: self.shared_manifest,
            retry_unauthorized: self.retry_unauthorized,
        })
    }

    /// Scopes whose connections are accepted, in this order; none where no connection is needed.
    pub(crate) fn scopes(&self) -> &[Scope] {
        if self.needs_connection() { &self.scopes } else { &[] }
    }

    /// Where tokens come from.
    pub(crate) fn source(&self) -> &TokenSource {
        &self.source
    }

    /// Seconds ahead of its end at which a token is replaced.
    pub(crate) fn pre_refresh(&self) -> u32 {
        self.pre_refresh
    }

    /// Values of the caller that become part of a token request: a token is then of one caller alone, whoever shares
    /// the connection.
    pub(crate) fn token_context(&self) -> ContextUse {
        let mut found = Vec::new();
        for template in self.token_templates() {
            template.placeholders(&mut found);
        }
        context_use(found)
    }

    /// Whether a new token can be had when this one ends.
    pub(crate) fn is_renewable(&self, token: &Token, credential: &Credential) -> bool {
        match self.source {
            TokenSource::Static => false,
            TokenSource::AuthorizationCode(_) => token.refresh_token.is_some() || credential.refresh_token().is_some(),
            TokenSource::ClientCredentials(_) | TokenSource::Custom(_) | TokenSource::Exchange(_) => true,
        }
    }

    /// The secrets that the credential must have, in the order in which the settings name them.
    pub(crate) fn required_secrets(&self) -> Vec<String> {
        let mut names: Vec<String> = match &self.way {
            Way::Bearer => vec!["access_token".to_owned()],
            Way::ApiKey { .. } | Way::Query { .. } => vec!["api_key".to_owned()],
            Way::Basic => vec!["username".to_owned(), "password".to_owned()],
            Way::Headers { names } => names.iter().map(|name| name.to_ascii_lowercase()).collect(),
            Way::None | Way::Certificate | Way::Templates => Vec::new(),
        };
        names.extend(self.placeholders().into_iter().filter_map(|placeholder| match placeholder {
            Placeholder::Secret(path) => Some(path.clone()),
            // Without a source of tokens this is the one that the person gave.
            Placeholder::AccessToken if self.source == TokenSource::Static => Some("access_token".to_owned()),
            _ => None,
        }));
        let client = match &self.source {
            TokenSource::ClientCredentials(settings) => settings.client.missing(),
            TokenSource::Exchange(settings) => settings.client.missing(),
            _ => Vec::new(),
        };
        names.extend(client.into_iter().map(str::to_owned));
        if self.client_certificate {
            names.extend(["certificate".to_owned(), "private_key".to_owned()]);
        }
        let mut once = Vec::with_capacity(names.len());
        for name in names {
            if !once.contains(&name) {
                once.push(name);
            }
        }
        once
    }

    /// Whether there must be a connection: where no secret is asked for, header lines are made without one.
    pub(crate) fn needs_connection(&self) -> bool {
        matches!(self.source, TokenSource::AuthorizationCode(_)) || !self.required_secrets().is_empty()
    }

    /// Whether this credential has everything that is asked of it. A sign-in brings what it needs.
    pub(crate) fn is_complete(&self, credential: &Credential) -> bool {
        let of_the_certificate = |name: &str| self.client_certificate && matches!(name, "certificate" | "private_key");
        let all = self.required_secrets();
        all.iter().all(|name| credential.has(name, self.way.alone() && !of_the_certificate(name)))
    }

    /// Refuses a credential that would never become header lines: one that lacks a secret which is asked of it, or whose
    /// secrets can't stand where they should. The paths begin inside the credential.
    pub(crate) fn fits(&self, credential: &Credential) -> Result<(), Vec<FieldError>> {
        if self.is_complete(credential) {
            return self.check_credential(credential);
        }
        let missing = self.required_secrets().into_iter().filter(|name| !credential.has(name, false));
        let wrong = missing.map(|name| FieldError {
            field: format!("secrets.{name}"),
            code: Code::Required,
            detail: "is needed by the server's settings".to_owned(),
        });
        Err(wrong.collect())
    }

    /// What is wrong with a credential beyond what it lacks: it would never become header lines. The paths begin
    /// inside the credential.
    pub(crate) fn check_credential(&self, credential: &Credential) -> Result<(), Vec<FieldError>> {
        let none = AuthSecret::default();
        let token = Token::from_credential(credential, 0);
        let material = Material { auth: &none, credential, token: token.as_ref() };
        let context = Context { user_id: sample(), department_id: sample(), work_id: sample() };
        let (code, error) = match self.compose(&material, &context) {
            Err(error @ (ComposeError::Header(_) | ComposeError::Query(_) | ComposeError::BasicName)) => {
                (Code::HeaderValue, error)
            }
            Err(error @ ComposeError::Certificate(_)) => (Code::ClientCertificate, error),
            _ => return Ok(()),
        };
        Err(vec![FieldError { field: String::new(), code, detail: error.to_string() }])
    }

    /// The header lines. Where tokens are obtained, `material` holds one.
    pub(crate) fn compose(&self, material: &Material<'_>, context: &Context) -> Result<Composed, ComposeError> {
        compose::compose(self, material, context)
    }

    /// What stands where a secret goes: another one means that the stored secrets must be given again. Beside the
    /// header lines this is where tokens are asked for.
    pub(crate) fn destination(&self) -> Vec<String> {
        let url = |url: &model::UpstreamUrl| url.url().origin().ascii_serialization();
        let mut parts = vec![self.kind().to_owned()];
        match &self.way {
            Way::ApiKey { header } => parts.push(header.to_ascii_lowercase()),
            Way::Query { parameter } => parts.push(parameter.clone()),
            Way::Headers { names } => parts.extend(names.iter().map(|name| name.to_ascii_lowercase())),
            Way::None | Way::Bearer | Way::Basic | Way::Certificate | Way::Templates => (),
        }
        parts.extend(self.headers.iter().map(|(name, _)| format!("header {}", name.to_ascii_lowercase())));
        parts.extend(self.query.iter().map(|(name, _)| format!("query {name}")));
        match &self.source {
            TokenSource::Static => (),
            TokenSource::ClientCredentials(settings) => {
                parts.extend(settings.token_url.iter().chain(&settings.issuer).map(url));
            }
            TokenSource::AuthorizationCode(settings) => parts.extend(settings.issuer.iter().map(url)),
            TokenSource::Custom(request) => {
                parts.push(url(&request.url));
                parts.extend(request.refresh.iter().map(|refresh| url(&refresh.url)));
            }
            TokenSource::Exchange(settings) => parts.push(url(&settings.token_url)),
        }
        parts
    }

    /// The paths of the server's own secrets.
    pub(crate) fn sealed(&self) -> Vec<&str> {
        let mut found = Vec::new();
        let own = self.headers.iter().chain(&self.query).map(|(_, template)| template);
        own.chain(self.token_templates()).for_each(|template| template.sealed(&mut found));
        found
    }

    /// The server's own secrets: those that were `given`, and for those that were left as they are the `stored` ones.
    /// What is in neither is a mistake.
    pub(crate) fn secrets(
        &self,
        mut given: AuthSecret,
        mut stored: Option<AuthSecret>,
    ) -> Result<AuthSecret, Vec<FieldError>> {
        let (mut all, mut wrong) = (AuthSecret::default(), Vec::new());
        for path in self.sealed() {
            match given.take(path).or_else(|| stored.as_mut()?.take(path)) {
                Some(secret) => all.put(path.to_owned(), secret),
                None => wrong.push(FieldError {
                    field: path.to_owned(),
                    code: Code::Required,
                    detail: "nothing is stored for it: send the value itself".to_owned(),
                }),
            }
        }
        if wrong.is_empty() { Ok(all) } else { Err(wrong) }
    }

    /// Reads what a row holds; `None` for anything that this program did not write.
    pub(crate) fn from_stored(text: &str) -> Option<Self> {
        parse_native(serde_json::from_str(text).ok()?).ok().map(|(config, _)| config)
    }

    /// What a row holds.
    pub(crate) fn to_stored(&self) -> String {
        self.view().to_string()
    }

    /// As reads show it, and as a body may send it back: instead of a secret it says that there is one.
    pub(crate) fn view(&self) -> Value {
        native::shown(self)
    }

    fn placeholders(&self) -> Vec<&Placeholder> {
        let mut found = Vec::new();
        let own = self.headers.iter().chain(&self.query).map(|(_, template)| template);
        own.chain(self.token_templates()).for_each(|template| template.placeholders(&mut found));
        found
    }

    fn token_templates(&self) -> Vec<&Template> {
        match &self.source {
            TokenSource::Static => Vec::new(),
            TokenSource::ClientCredentials(settings) => settings.client.templates().collect(),
            TokenSource::AuthorizationCode(settings) => {
                settings.client_id.iter().chain(&settings.client_secret).collect()
            }
            TokenSource::Custom(request) => request.templates(),
            TokenSource::Exchange(settings) => settings.client.templates().collect(),
        }
    }
}

impl Way {
    /// Whether a credential that is a single text will do, since there is only one place for it.
    fn alone(&self) -> bool {
        match self {
            Self::Bearer | Self::ApiKey { .. } | Self::Query { .. } | Self::Basic => true,
            Self::Headers { names } => names.len() == 1,
            Self::None | Self::Certificate | Self::Templates => false,
        }
    }
}

/// Something that every header can hold.
fn sample() -> Option<String> {
    Some("x".to_owned())
}
