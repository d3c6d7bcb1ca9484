//! What a credential becomes for a request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::Secret;
use serde_json::Value;
use zeroize::Zeroizing;

use super::certificate::CertificateError;
use super::template::{ContextField, Placeholder, Template};
use super::{AuthConfig, AuthSecret, Credential, SecretJson, Token, Way};

/// Bytes of the value of a header or a parameter.
const MAX_VALUE: usize = 16 << 10;

/// Who calls, as far as templates may say so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Context {
    /// `${context.user_id}`.
    pub(crate) user_id: Option<String>,
    /// `${context.department_id}`.
    pub(crate) department_id: Option<String>,
    /// `${context.work_id}`.
    pub(crate) work_id: Option<String>,
}

impl Context {
    fn get(&self, field: ContextField) -> Option<&str> {
        match field {
            ContextField::User => self.user_id.as_deref(),
            ContextField::Department => self.department_id.as_deref(),
            ContextField::Login => self.work_id.as_deref(),
        }
    }
}

/// What header lines and token requests are made of.
#[derive(Clone, Copy)]
pub(crate) struct Material<'a> {
    /// The server's own secrets.
    pub(crate) auth: &'a AuthSecret,
    /// What a person gave; an empty one where no connection is needed.
    pub(crate) credential: &'a Credential,
    /// What was obtained with it.
    pub(crate) token: Option<&'a Token>,
}

impl Material<'_> {
    /// What fills a hole. Null and nothing are errors: a header never says `null`.
    pub(crate) fn value(&self, placeholder: &Placeholder, context: &Context) -> Result<SecretJson, ComposeError> {
        let value = match placeholder {
            Placeholder::Context(field) => {
                let value = context.get(*field).filter(|value| !value.is_empty());
                return match value {
                    Some(value) => Ok(SecretJson::new(Value::String(value.to_owned()))),
                    None => Err(ComposeError::ContextMissing(field.as_str())),
                };
            }
            Placeholder::Secret(path) => self.credential.secret(path).cloned(),
            Placeholder::Token(path) => match self.token {
                Some(token) => token.member(path),
                None => self.credential.member(path),
            },
            Placeholder::AccessToken => self.access_token().map(|token| Value::String(token.to_owned())),
        };
        let value = SecretJson::new(value.ok_or_else(|| ComposeError::Missing(placeholder.expression()))?);
        match value.expose() {
            Value::Null => Err(ComposeError::Empty(placeholder.expression())),
            Value::String(text) if text.is_empty() => Err(ComposeError::Empty(placeholder.expression())),
            _ => Ok(value),
        }
    }

    /// The token that was obtained, else the one that the person gave.
    pub(crate) fn access_token(&self) -> Option<&str> {
        self.token.map(|token| token.access_token.expose()).or_else(|| self.credential.access_token())
    }
}

/// Header lines, before they know how long they are good.
#[derive(Debug, Default)]
pub(crate) struct Composed {
    /// In this order.
    pub(crate) headers: Vec<(String, Secret)>,
    /// Added to the URL's query.
    pub(crate) query: Vec<(String, Secret)>,
    /// To be shown in the TLS handshake.
    pub(crate) certificate: Option<Certificate>,
}

/// PEM: the certificate and those above it, and its private key.
#[derive(Debug)]
pub(crate) struct Certificate {
    /// The certificate and those above it.
    pub(crate) chain: Secret,
    /// PKCS #8, PKCS #1 or SEC 1.
    pub(crate) key: Secret,
}

/// Why a credential doesn't become header lines. Names what is missing or wrong, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ComposeError {
    /// The caller has no such value.
    #[error("the caller has no {0}, and the server's settings use `context.{0}`")]
    ContextMissing(&'static str),
    /// The credential has no such value.
    #[error("the credential has no value for `{0}`")]
    Missing(String),
    /// It has, and there is nothing in it.
    #[error("`{0}` is empty")]
    Empty(String),
    /// A secret of the server itself is not configured.
    #[error("the server's `auth.{0}` is not configured")]
    NotConfigured(String),
    /// A line break or another character that no header may hold.
    #[error(
        "the value for the header {0} holds a line break or another character that a header can't hold, or is too long"
    )]
    Header(String),
    /// A character that no parameter may hold.
    #[error("the value for the query parameter {0} holds control characters, or is too long")]
    Query(String),
    /// The user's name of a Basic credential has a colon.
    #[error("the user name of a basic credential can't hold a colon")]
    BasicName,
    /// The client certificate is none.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

impl ComposeError {
    /// The reason of an unresolved question.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::ContextMissing(_) => "context_missing",
            _ => "template",
        }
    }
}

/// The header lines of these settings.
pub(super) fn compose(
    config: &AuthConfig,
    material: &Material<'_>,
    context: &Context,
) -> Result<Composed, ComposeError> {
    let mut composed = Composed::default();
    let credential = material.credential;
    match &config.way {
        Way::None | Way::Certificate => (),
        Way::Bearer => {
            let token = first(material, &["access_token"])?;
            composed.header("Authorization", joined(&["Bearer ", token]))?;
        }
        Way::ApiKey { header } => {
            composed.header(header, joined(&[first(material, &["api_key", "access_token"])?]))?;
        }
        Way::Query { parameter } => {
            composed.parameter(parameter, joined(&[first(material, &["api_key", "access_token"])?]))?;
        }
        Way::Basic => composed.header("Authorization", basic(credential)?)?,
        Way::Headers { names } => {
            for name in names {
                let secret = match credential.text(&name.to_ascii_lowercase()) {
                    // A single header's value may be given as a text.
                    None if names.len() == 1 => credential.access_token(),
                    secret => secret,
                };
                let secret = filled(secret, &format!("secret.{}", name.to_ascii_lowercase()))?;
                composed.header(name, joined(&[secret]))?;
            }
        }
        Way::Templates => (),
    }
    for (name, template) in &config.headers {
        composed.header(name, template.fill_text(material, context)?)?;
    }
    for (name, template) in &config.query {
        composed.parameter(name, template.fill_text(material, context)?)?;
    }
    if config.client_certificate {
        let chain = filled(credential.text("certificate"), "secret.certificate")?;
        let key = filled(credential.text("private_key"), "secret.private_key")?;
        super::certificate::check(chain, key)?;
        composed.certificate = Some(Certificate { chain: joined(&[chain]), key: joined(&[key]) });
    }
    Ok(composed)
}

/// The text of a client's setting, or the credential's secret of that name when the settings are silent.
pub(super) fn setting(
    template: Option<&Template>,
    name: &str,
    material: &Material<'_>,
    context: &Context,
) -> Result<Secret, ComposeError> {
    match template {
        Some(template) => template.fill_text(material, context),
        None => Ok(joined(&[filled(material.credential.text(name), &format!("secret.{name}"))?])),
    }
}

impl Composed {
    fn header(&mut self, name: &str, value: Secret) -> Result<(), ComposeError> {
        let text = value.expose();
        let fits = text.bytes().all(|byte| byte == b'\t' || (0x20..0x7f).contains(&byte)) && text.trim() == text;
        if text.is_empty() {
            return Err(ComposeError::Empty(format!("the header {name}")));
        }
        if !fits || text.len() > MAX_VALUE {
            return Err(ComposeError::Header(name.to_owned()));
        }
        self.headers.push((name.to_owned(), value));
        Ok(())
    }

    fn parameter(&mut self, name: &str, value: Secret) -> Result<(), ComposeError> {
        if value.expose().len() > MAX_VALUE || value.expose().chars().any(char::is_control) {
            return Err(ComposeError::Query(name.to_owned()));
        }
        self.query.push((name.to_owned(), value));
        Ok(())
    }
}

/// The first of these secrets that there is; `access_token` is what was obtained, or what was given as a text.
fn first<'a>(material: &'a Material<'_>, names: &[&str]) -> Result<&'a str, ComposeError> {
    let found = names.iter().find_map(|name| match *name {
        "access_token" => material.access_token(),
        name => material.credential.text(name),
    });
    let expression = names.first().map(|name| format!("secret.{name}")).unwrap_or_default();
    filled(found, &expression)
}

fn filled<'a>(value: Option<&'a str>, expression: &str) -> Result<&'a str, ComposeError> {
    match value {
        None => Err(ComposeError::Missing(expression.to_owned())),
        Some("") => Err(ComposeError::Empty(expression.to_owned())),
        Some(value) => Ok(value),
    }
}

/// `Basic` of name and password, or of `name:password` when the credential is a text.
fn basic(credential: &Credential) -> Result<Secret, ComposeError> {
    let pair = match (credential.text("username"), credential.access_token()) {
        (Some(name), _) if name.contains(':') => return Err(ComposeError::BasicName),
        (Some(name), _) => {
            let password =
                credential.text("password").ok_or_else(|| ComposeError::Missing("secret.password".into()))?;
            joined(&[name, ":", password])
        }
        (None, Some(pair)) if pair.contains(':') => joined(&[pair]),
        (None, _) => return Err(ComposeError::Missing("secret.username".to_owned())),
    };
    let encoded = Zeroizing::new(STANDARD.encode(pair.expose()));
    Ok(joined(&["Basic ", &encoded]))
}

/// One text of these, made without growing.
fn joined(parts: &[&str]) -> Secret {
    let mut text = String::with_capacity(parts.iter().map(|part| part.len()).sum());
    parts.iter().for_each(|part| text.push_str(part));
    Secret::new(text)
}
