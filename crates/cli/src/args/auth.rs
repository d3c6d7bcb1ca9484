//! How a server is authenticated to, as it is typed. Secrets are not: files hold them, or standard input.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::connection::{Field, ScopeWord};

/// How a server is authenticated to.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Authentication (secrets come from files or `-`, standard input)")]
pub(crate) struct AuthArgs {
    /// How the server wants to be authenticated to [default: found out; a server that asks for a login gets `oauth`]
    #[arg(long, value_enum, value_name = "TYPE", conflicts_with = "auth_file")]
    pub(crate) auth: Option<AuthWord>,
    /// File with the whole settings instead: the JSON object `auth` of REST, or an `auth_config` of version 1
    #[arg(long, value_name = "FILE|-")]
    pub(crate) auth_file: Option<PathBuf>,
    /// File that holds everybody's credential: the secret itself, or JSON such as {"secrets": {"username": "…"}}
    #[arg(long, value_name = "FILE|-", conflicts_with = "credential_fields")]
    pub(crate) credential_file: Option<PathBuf>,
    /// One secret of everybody's credential, from a file of its own (repeat for more)
    #[arg(long = "credential-field", value_name = "NAME=FILE|-")]
    pub(crate) credential_fields: Vec<Field>,
    /// Whose credentials are accepted, in this order [default: global; for oauth: user]
    #[arg(long = "connections", value_enum, value_delimiter = ',', value_name = "WHO", requires = "auth")]
    pub(crate) scopes: Vec<ScopeWord>,
    /// api-key: the header that holds it [default: X-API-Key]; headers: the secret headers (repeat for more)
    #[arg(long, value_name = "NAME", requires = "auth")]
    pub(crate) auth_header: Vec<String>,
    /// query: the parameter that holds the key
    #[arg(long, value_name = "NAME", requires = "auth")]
    pub(crate) auth_parameter: Option<String>,
    /// Show a client certificate, too: the credential's fields `certificate` and `private_key`, PEM
    #[arg(long, requires = "auth")]
    pub(crate) client_certificate: bool,
    /// Where tokens are asked for
    #[arg(long, value_name = "URL", requires = "auth")]
    pub(crate) token_url: Option<String>,
    /// The authorization server, instead of what the server says
    #[arg(long, value_name = "URL", requires = "auth")]
    pub(crate) issuer: Option<String>,
    /// The client that Gatehouse is there; oauth registers one by itself without
    #[arg(long, value_name = "ID", requires = "auth")]
    pub(crate) client_id: Option<String>,
    /// File with that client's secret
    #[arg(long, value_name = "FILE|-", requires = "auth")]
    pub(crate) client_secret_file: Option<PathBuf>,
    /// File with that client's private key, PEM; it then signs instead of sending a secret
    #[arg(long, value_name = "FILE|-", requires = "auth", conflicts_with = "client_secret_file")]
    pub(crate) client_key_file: Option<PathBuf>,
    /// Send that client's secret in the body, not in a header
    #[arg(long, requires = "auth")]
    pub(crate) client_secret_post: bool,
    /// What tokens are for, words with spaces between
    #[arg(long, value_name = "WORDS", requires = "auth")]
    pub(crate) oauth_scope: Option<String>,
    /// Who is to accept the tokens
    #[arg(long, value_name = "TEXT", requires = "auth")]
    pub(crate) audience: Option<String>,
    /// The same as a URL
    #[arg(long, value_name = "URL", requires = "auth")]
    pub(crate) resource: Option<String>,
}

/// A way to authenticate, as it is typed. Those with templates need a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AuthWord {
    /// Nothing is sent
    None,
    /// A token in the header Authorization
    Bearer,
    /// A key in a header of its own
    #[value(aliases = ["api_key", "apikey"])]
    ApiKey,
    /// User name and password: a file with `name:password`, or the fields `username` and `password`
    Basic,
    /// A key in the URL's query
    Query,
    /// Secrets in headers that --auth-header names
    Headers,
    /// Each person logs in at the server's authorization server
    #[value(aliases = ["authorization-code", "authorization_code", "login"])]
    Oauth,
    /// Tokens for a client of its own
    #[value(alias = "client_credentials")]
    ClientCredentials,
    /// The caller's own token is exchanged for one of the server's
    #[value(alias = "token_exchange")]
    TokenExchange,
    /// A client certificate
    Mtls,
}

impl AuthWord {
    /// The word that REST knows.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Bearer => "bearer",
            Self::ApiKey => "api_key",
            Self::Basic => "basic",
            Self::Query => "query",
            Self::Headers => "headers",
            Self::Oauth => "authorization_code",
            Self::ClientCredentials => "client_credentials",
            Self::TokenExchange => "token_exchange",
            Self::Mtls => "mtls",
        }
    }
}
