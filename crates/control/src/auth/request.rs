//! Token requests of the settings: what is sent, as far as it can be said without sending it.

use http::Method;
use model::{Secret, UpstreamUrl};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::compose::{ComposeError, Context, Material, setting};
use super::secret::{MAX_SEALED, SecretJson};
use super::template::Template;
use super::token::ResponseMap;

/// A request for a token that the settings describe member by member.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TokenRequest {
    /// Where to.
    pub(crate) url: UpstreamUrl,
    /// How.
    pub(crate) method: Method,
    /// In this order.
    pub(crate) headers: Vec<(String, Template)>,
    /// As a form, not as JSON.
    pub(crate) form: bool,
    /// An object.
    pub(crate) body: Template,
    /// Where the token stands in the answer.
    pub(crate) response_map: ResponseMap,
    /// For a token that can be refreshed.
    pub(crate) refresh: Option<Box<TokenRequest>>,
}

/// A request that is ready to be sent.
#[derive(Debug)]
pub(crate) struct TokenCall {
    /// Where to.
    pub(crate) url: UpstreamUrl,
    /// How.
    pub(crate) method: Method,
    /// With the type of the body.
    pub(crate) headers: Vec<(String, Secret)>,
    /// The body.
    pub(crate) body: Secret,
}

impl TokenRequest {
    /// The request with everything filled in.
    pub(crate) fn fill(&self, material: &Material<'_>, context: &Context) -> Result<TokenCall, ComposeError> {
        let mut headers = Vec::with_capacity(self.headers.len() + 1);
        for (name, template) in &self.headers {
            let value = template.fill_text(material, context)?;
            if !mcp::headers::is_value(value.expose()) || value.expose().is_empty() {
                return Err(ComposeError::Header(name.clone()));
            }
            headers.push((name.clone(), value));
        }
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            let media = if self.form { "application/x-www-form-urlencoded" } else { "application/json" };
            headers.push(("Content-Type".to_owned(), Secret::new(media.to_owned())));
        }
        let body = self.body.fill(material, context)?;
        let body = if self.form { form(body)? } else { body.into_text()? };
        Ok(TokenCall { url: self.url.clone(), method: self.method.clone(), headers, body })
    }

    /// Every template of it, its refresh among them.
    pub(super) fn templates(&self) -> Vec<&Template> {
        let mut all: Vec<&Template> = self.headers.iter().map(|(_, template)| template).collect();
        all.push(&self.body);
        all.extend(self.refresh.iter().flat_map(|refresh| refresh.templates()));
        all
    }

    /// As it is stored and shown.
    pub(super) fn shown(&self) -> Value {
        let headers = self.headers.iter().map(|(name, template)| (name.clone(), template.shown()));
        let map = self.response_map.0.iter().map(|(name, path)| (name.clone(), Value::String(path.clone())));
        let mut shown = json!({
            "url": self.url.as_str(),
            "method": self.method.as_str(),
            "headers": Value::Object(headers.collect()),
            "body_type": if self.form { "form" } else { "json" },
            "body_template": self.body.shown(),
            "response_map": Value::Object(map.collect()),
        });
        if let (Some(members), Some(refresh)) = (shown.as_object_mut(), &self.refresh) {
            members.insert("refresh".to_owned(), refresh.shown());
        }
        shown
    }
}

/// How a client says who it is at a token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientMethod {
    /// In the header `Authorization`.
    Basic,
    /// In the body.
    Post,
    /// With a token that its private key signed (RFC 7523).
    PrivateKeyJwt,
}

impl ClientMethod {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Basic, Self::Post, Self::PrivateKeyJwt];

    /// The word of OAuth.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Basic => "client_secret_basic",
            Self::Post => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
        }
    }
}

/// The client that Gatehouse is at an authorization server. What the settings don't say is taken from the credential's
/// secrets `client_id`, `client_secret` and `private_key`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ClientSettings {
    /// Its id.
    pub(crate) id: Option<Template>,
    /// Its secret.
    pub(crate) secret: Option<Template>,
    /// Its private key, PEM.
    pub(crate) private_key: Option<Template>,
    /// The `kid` of that key.
    pub(crate) key_id: Option<String>,
    /// How it says who it is.
    pub(crate) method: ClientMethod,
}

/// A client with its secrets.
#[derive(Debug)]
pub(crate) struct Client {
    /// Its id.
    pub(crate) id: Secret,
    /// Its secret, or its private key, as the method says.
    pub(crate) proof: Secret,
    /// The `kid` of the private key.
    pub(crate) key_id: Option<String>,
    /// How it says who it is.
    pub(crate) method: ClientMethod,
}

impl ClientSettings {
    /// The client with everything filled in.
    pub(crate) fn fill(&self, material: &Material<'_>, context: &Context) -> Result<Client, ComposeError> {
        let (template, name) = match self.method {
            ClientMethod::Basic | ClientMethod::Post => (self.secret.as_ref(), "client_secret"),
            ClientMethod::PrivateKeyJwt => (self.private_key.as_ref(), "private_key"),
        };
        Ok(Client {
            id: setting(self.id.as_ref(), "client_id", material, context)?,
            proof: setting(template, name, material, context)?,
            key_id: self.key_id.clone(),
            method: self.method,
        })
    }

    pub(super) fn templates(&self) -> impl Iterator<Item = &Template> {
        [&self.id, &self.secret, &self.private_key].into_iter().flatten()
    }

    /// Secrets that must be in the credential, since the settings don't hold them.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        let (proof, name) = match self.method {
            ClientMethod::Basic | ClientMethod::Post => (&self.secret, "client_secret"),
            ClientMethod::PrivateKeyJwt => (&self.private_key, "private_key"),
        };
        let mut names = Vec::new();
        names.extend(self.id.is_none().then_some("client_id"));
        names.extend(proof.is_none().then_some(name));
        names
    }
}

/// OAuth's client credentials.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ClientCredentials {
    /// Where tokens are asked for; found out from the issuer when absent.
    pub(crate) token_url: Option<UpstreamUrl>,
    /// Whose document names the token endpoint.
    pub(crate) issuer: Option<UpstreamUrl>,
    /// Who asks.
    pub(crate) client: ClientSettings,
    /// What for.
    pub(crate) target: Target,
}

/// What a token is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Target {
    /// Words, separated by spaces.
    pub(crate) scope: Option<String>,
    /// Who is to accept it.
    pub(crate) audience: Option<String>,
    /// The same as a URL (RFC 8707).
    pub(crate) resource: Option<String>,
}

/// People sign in at the upstream's authorization server.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AuthorizationCode {
    /// Found out from the upstream when absent.
    pub(crate) issuer: Option<UpstreamUrl>,
    /// Registered with the issuer when absent.
    pub(crate) client_id: Option<Template>,
    /// Of that client.
    pub(crate) client_secret: Option<Template>,
    /// Found out from the upstream when absent.
    pub(crate) scope: Option<String>,
}

/// The caller's own token is exchanged for one of the upstream's (RFC 8693).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Exchange {
    /// Where.
    pub(crate) token_url: UpstreamUrl,
    /// Who asks.
    pub(crate) client: ClientSettings,
    /// What for.
    pub(crate) target: Target,
    /// What kind of token the caller's is.
    pub(crate) subject_token_type: String,
}

/// A form of the members of an object; what is no text is written as JSON.
fn form(mut body: SecretJson) -> Result<Secret, ComposeError> {
    let mut form = form_urlencoded::Serializer::new(String::with_capacity(2 * MAX_SEALED));
    if let Value::Object(members) = body.take() {
        for (name, value) in members {
            let text = SecretJson::new(value).into_text()?;
            form.append_pair(&name, text.expose());
        }
    }
    Ok(Secret::new(form.finish()))
}
