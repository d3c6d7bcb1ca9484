//! What an admin said of signing in at a server.

use model::Secret;
use store::ServerRecord;

use super::error::LoginError;
use crate::auth::{AuthConfig, Context, Credential, Material, TokenSource};
use crate::keyring::Keyring;
use crate::servers::own_secrets;

/// What an admin said; all of it may be absent.
pub(super) struct Settings {
    /// Who gives tokens.
    pub(super) issuer: Option<String>,
    /// Our name there.
    pub(super) client_id: Option<String>,
    /// What proves it.
    pub(super) client_secret: Option<Secret>,
    /// What is asked for.
    pub(super) scope: Option<String>,
}

impl Settings {
    /// Of a server where people sign in; `NotSupported` for every other.
    pub(super) async fn of(keyring: &Keyring, server: &ServerRecord) -> Result<Self, LoginError> {
        let config = AuthConfig::from_stored(&server.auth).ok_or(LoginError::NotSupported)?;
        let TokenSource::AuthorizationCode(settings) = config.source() else { return Err(LoginError::NotSupported) };
        let secret = own_secrets(keyring, server).await?;
        let (credential, context) = (Credential::empty(), Context::default());
        let material = Material { auth: &secret, credential: &credential, token: None };
        // What stands in no setting but in people's credentials is nobody's before they have signed in.
        let client_id = settings.client_id.as_ref().map(|id| id.fill_text(&material, &context)).transpose();
        let client_secret = settings.client_secret.as_ref().map(|it| it.fill_text(&material, &context)).transpose();
        Ok(Self {
            issuer: settings.issuer.as_ref().map(|url| url.as_str().to_owned()),
            client_id: client_id.map_err(|_| LoginError::NoClient)?.map(|id| id.expose().to_owned()),
            client_secret: client_secret.map_err(|_| LoginError::NoClient)?,
            scope: settings.scope.clone(),
        })
    }
}
