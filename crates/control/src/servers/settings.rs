//! How a server is authenticated to, on its way from a body into its record.

use model::{Holder, ServerId, TenantId, UpstreamUrl};
use store::{ConnectionPage, SecretChange, ServerAuth, ServerRecord, TenantStore};
use vault::VaultError;

use super::ServersError;
use crate::auth::{AuthConfig, AuthSecret, Credential};
use crate::keyring::{Keyring, KeyringError, Place};
use crate::rest::code::Code;
use crate::rest::fields::FieldError;

/// Records that are read at once.
const PAGE: u32 = 500;

/// Settings as somebody gave them.
#[derive(Debug)]
pub(crate) struct GivenAuth {
    /// Without secrets.
    pub(crate) config: AuthConfig,
    /// The secrets that came with them.
    pub(crate) secret: AuthSecret,
    /// The body's member that holds them.
    pub(crate) member: &'static str,
    /// What was passed over.
    pub(crate) warnings: Vec<String>,
}

impl GivenAuth {
    /// Mistakes with the path of the whole body.
    pub(super) fn within(&self, wrong: Vec<FieldError>) -> ServersError {
        ServersError::Fields(within(self.member, wrong))
    }
}

/// Mistakes inside a member, with the path of the whole body.
pub(crate) fn within(member: &str, wrong: Vec<FieldError>) -> Vec<FieldError> {
    let path = |field: &str| if field.is_empty() { member.to_owned() } else { format!("{member}.{field}") };
    wrong.into_iter().map(|wrong| FieldError { field: path(&wrong.field), ..wrong }).collect()
}

/// What happens to the server's own secrets.
pub(super) enum Secrets {
    /// They stay as they are.
    Kept,
    /// These are all of them from now on.
    Given(AuthSecret),
}

/// The settings as they are stored. `version` is that of the secrets which are there.
pub(super) async fn stored(
    keyring: &Keyring,
    (tenant, server): (TenantId, ServerId),
    config: &AuthConfig,
    secrets: &Secrets,
    version: i64,
) -> Result<ServerAuth, KeyringError> {
    let secret = match secrets {
        Secrets::Kept => SecretChange::Keep,
        Secrets::Given(secrets) if secrets.is_empty() => SecretChange::Clear,
        Secrets::Given(secrets) => {
            let version = version + 1;
            let sealed = keyring.seal(Place::auth_secret(tenant, server), version, &secrets.to_json()).await?;
            SecretChange::Set { sealed, version }
        }
    };
    Ok(ServerAuth { config: config.to_stored(), binding: config.binding(), secret })
}

/// The secrets of a server's own settings; none where nothing is sealed.
pub(crate) async fn own_secrets(keyring: &Keyring, record: &ServerRecord) -> Result<AuthSecret, KeyringError> {
    let Some(sealed) = &record.auth_secret else { return Ok(AuthSecret::default()) };
    let place = Place::auth_secret(record.spec.tenant, record.spec.id);
    let plain = keyring.open(place, record.auth_secret_version, sealed).await?;
    AuthSecret::from_json(&plain).ok_or(KeyringError::Unreadable(VaultError::Altered))
}

/// What becomes of the server's own secrets. Those that were left as they are stay only where they go to the same place
/// as before.
pub(super) async fn secrets(
    keyring: &Keyring,
    record: &ServerRecord,
    given: &mut GivenAuth,
    moved: bool,
) -> Result<Secrets, ServersError> {
    let sent = std::mem::take(&mut given.secret);
    if moved {
        let sealed = given.config.sealed().into_iter().map(str::to_owned).collect::<Vec<_>>();
        return match given.config.secrets(sent, None) {
            Ok(secrets) => Ok(Secrets::Given(secrets)),
            Err(_) if record.auth_secret.is_some() => {
                let wrong = sealed.iter().map(|path| again(path)).collect();
                Err(given.within(wrong))
            }
            Err(wrong) => Err(given.within(wrong)),
        };
    }
    let before = AuthConfig::from_stored(&record.auth);
    let same = before.is_some_and(|before| before.sealed() == given.config.sealed());
    if sent.is_empty() && same {
        // Nothing was sent, and nothing is missing: what lies there isn't even opened.
        return Ok(Secrets::Kept);
    }
    let stored = own_secrets(keyring, record).await?;
    given.config.secrets(sent, Some(stored)).map(Secrets::Given).map_err(|wrong| given.within(wrong))
}

/// Whether a secret would go elsewhere than it was given for: to another origin, or there in another way.
pub(super) fn moved(record: &ServerRecord, url: Option<&UpstreamUrl>, config: &AuthConfig) -> bool {
    let elsewhere = url.is_some_and(|url| url.url().origin() != record.spec.url.url().origin());
    let before = AuthConfig::from_stored(&record.auth).unwrap_or_default();
    elsewhere || (!config.is_none() && config.destination() != before.destination())
}

/// Refuses to keep secrets of people that would go elsewhere than they were given for. Those of the global connection
/// may be given again in the same body.
pub(super) async fn given_again(
    tenant: &TenantStore,
    server: ServerId,
    global_is_given: bool,
) -> Result<(), ServersError> {
    let mut page = ConnectionPage { server: Some(server), limit: PAGE, ..ConnectionPage::default() };
    let (mut others, mut global) = (0_u64, false);
    loop {
        let records = tenant.connections(page.clone()).await?;
        let Some(last) = records.last() else { break };
        page.after = Some(last.id);
        for record in records.iter().filter(|record| record.has_credentials()) {
            match record.holder {
                Holder::Global => global = true,
                Holder::Department(_) | Holder::User(_) => others += 1,
            }
        }
    }
    let detail = match (global && !global_is_given, others) {
        (false, 0) => return Ok(()),
        (true, 0) => ELSEWHERE.to_owned(),
        (_, others) => {
            format!("credentials of {others} people or departments would go elsewhere: remove their connections first")
        }
    };
    Err(elsewhere(detail))
}

/// What is said of secrets of connections that would go elsewhere.
pub(super) const ELSEWHERE: &str =
    "the stored credential would go elsewhere: send it again with the change, or null to remove it";

/// A credential that must be given again.
pub(super) fn elsewhere(detail: String) -> ServersError {
    let wrong = FieldError { field: "credential".to_owned(), code: Code::CredentialReentryRequired, detail };
    ServersError::Fields(vec![wrong])
}

/// A secret of the server itself that must be given again.
pub(super) fn again(path: &str) -> FieldError {
    let detail = "the stored secret would go elsewhere: send it again with the change".to_owned();
    FieldError { field: path.to_owned(), code: Code::CredentialReentryRequired, detail }
}

/// Refuses a credential that its settings have no use for, or not enough of.
pub(super) fn fits(config: &AuthConfig, credential: &Credential) -> Result<(), ServersError> {
    let wrong = |code, detail: &str| FieldError { field: String::new(), code, detail: detail.to_owned() };
    let refused = if config.is_none() {
        vec![wrong(Code::Required, "needs `auth`: how it is sent to the server")]
    } else if !config.scopes().contains(&model::Scope::Global) {
        let detail = "the server's settings take no global connection: name `global` among `auth.scopes`";
        vec![wrong(Code::ScopeNotAccepted, detail)]
    } else {
        config.fits(credential).err().unwrap_or_default()
    };
    if refused.is_empty() { Ok(()) } else { Err(ServersError::Fields(within("credential", refused))) }
}
