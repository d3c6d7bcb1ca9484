//! Makes what an embedded installation needs in one folder: database, keys, certificates, a first
//! tenant, and the configuration of both processes. [`deployment`] does it for one that is configured.

mod deployment;

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{DEFAULT_TENANT, KeyRole, KeyScopes, Limits, Secret, SystemClock, TenantId, TenantName};
use store::{Actor, KeyPage, NewTenant, NewUser, Store, StoreError, UserPage};
use toml::{Table, Value};
use vault::{LocalKek, VaultError};

use crate::keys::{Mint, mint};
use crate::pki::{Pki, PkiError};

pub use self::deployment::prepare;

/// Login of the first user.
const ADMIN: &str = "admin";
/// Names that are tried where that tenant can't be used.
const MAX_ATTEMPTS: u32 = 100;
/// Labels of the two keys, by which new ones replace them.
const ADMIN_LABEL: &str = "admin key of gatehouse up";
const CLIENT_LABEL: &str = "client key of gatehouse up";

/// Where the listeners of both processes are to be. `None` keeps what the folder has; in a new one
/// it stands for the known port on loopback.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked {
    /// REST.
    pub rest: Option<SocketAddr>,
    /// The link.
    pub link: Option<SocketAddr>,
    /// Control's metrics.
    pub metrics: Option<SocketAddr>,
    /// MCP.
    pub mcp: Option<SocketAddr>,
    /// The proxy's metrics.
    pub mcp_metrics: Option<SocketAddr>,
    /// Where other proxies reach it.
    pub mcp_peers: Option<SocketAddr>,
}

#[derive(Clone, Copy)]
struct Listeners {
    rest: SocketAddr,
    link: SocketAddr,
    metrics: SocketAddr,
    mcp: SocketAddr,
    mcp_metrics: SocketAddr,
    mcp_peers: SocketAddr,
}

impl Asked {
    fn or_kept(self, control: &Table, proxy: &Table) -> Listeners {
        let settle = |asked: Option<SocketAddr>, table: &Table, key: &str, port: u16| {
            let kept = || table.get(key).and_then(Value::as_str).and_then(|text| text.parse().ok());
            asked.or_else(kept).unwrap_or(SocketAddr::from(([127, 0, 0, 1], port)))
        };
        Listeners {
            rest: settle(self.rest, control, "listen", 5010),
            link: settle(self.link, control, "link_listen", 5012),
            metrics: settle(self.metrics, control, "metrics_listen", 5014),
            mcp: settle(self.mcp, proxy, "listen", 5011),
            mcp_metrics: settle(self.mcp_metrics, proxy, "metrics_listen", 5013),
            mcp_peers: settle(self.mcp_peers, proxy, "peer_listen", 5015),
        }
    }
}

/// What `init` made.
pub enum Made {
    /// The folder or database was known: its keys stay.
    Existing,
    /// Two keys that are shown now and never again.
    Keys {
        /// A platform admin's.
        admin: Secret,
        /// A client's.
        client: Secret,
    },
}

/// Why the folder can't be made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// A file or folder can't be used.
    #[error("can't use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// A configuration that is there can't be read.
    #[error("{} is no TOML", path.display())]
    Toml {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        #[source]
        cause: Box<toml::de::Error>,
    },
    /// What a known folder's data can't be read without is not there.
    #[error("{} is gone: put it back; {loss}", path.display())]
    Gone {
        /// Which.
        path: PathBuf,
        /// What a new one would lose.
        loss: &'static str,
    },
    /// The configurations name places beside the folder's old one.
    #[error("the folder was moved from {}: change the paths in control.toml and proxy.toml", from.display())]
    Moved {
        /// Where the configurations say that it is.
        from: PathBuf,
    },
    /// The database refused or failed.
    #[error("can't use the database")]
    Store(#[from] StoreError),
    /// The key that encrypts keys can't be made.
    #[error("can't make the key file")]
    Vault(#[from] VaultError),
    /// The certificates can't be made.
    #[error("can't make the certificates")]
    Pki(#[from] PkiError),
    /// The system has no random bytes.
    #[error("the system gives no random bytes")]
    Random,
    /// The keys can't be shown.
    #[error("can't show the keys")]
    Show(#[source] io::Error),
}

/// Makes what the folder lacks. `show` gets the keys before the folder counts as made: if it fails,
/// or the process dies, the next run makes new keys and revokes these.
pub async fn init(
    dir: &Path,
    asked: Asked,
    new_keys: bool,
    show: impl FnOnce(&Made) -> io::Result<()>,
) -> Result<(), InitError> {
    let file_error = |path: &Path| {
        let path = path.to_owned();
        move |cause| InitError::File { path, cause }
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(file_error(dir))?;
    let dir = dir.canonicalize().map_err(file_error(dir))?;
    let (control_toml, proxy_toml) = (dir.join("control.toml"), dir.join("proxy.toml"));
    let (mut control, mut proxy) = (read_toml(&control_toml)?, read_toml(&proxy_toml)?);
    let known = control_toml.exists();
    let listeners = asked.or_kept(&control, &proxy);
    control_settings(&mut control, &dir, listeners);
    proxy_settings(&mut proxy, &dir, listeners);
    if known {
        nothing_gone(&dir, &control, &proxy)?;
    } else if !dir.join("kek").exists() {
        LocalKek::init(&dir.join("kek"))?;
    }
    Pki::init(&dir.join("pki"))?;
    let made = if known && !new_keys {
        Made::Existing
    } else {
        let store = Store::connect(text(&control, "database"), Arc::new(SystemClock)).await?;
        let made = first_tenant(&store).await?;
        store.close().await?;
        made
    };
    write_toml(&proxy_toml, &proxy)?;
    show(&made).map_err(InitError::Show)?;
    write_toml(&control_toml, &control)
}

/// Whether a known folder still has what can't be made again, and is where its configurations say.
fn nothing_gone(dir: &Path, control: &Table, proxy: &Table) -> Result<(), InitError> {
    let database = text(control, "database").strip_prefix("sqlite://").map(|url| url.split('?').next().unwrap_or(url));
    let kek = Some(text(control, "kek_file"));
    for (path, file) in [
        (kek, "kek"),
        (database, "gatehouse.db"),
        (Some(text(control, "pki_dir")), "pki"),
        (Some(text(proxy, "link_ca")), "pki/ca.pem"),
        (Some(text(proxy, "link_cert")), "pki/proxy.pem"),
        (Some(text(proxy, "link_key")), "pki/proxy.key"),
        (Some(text(proxy, "data_dir")), "proxy"),
    ] {
        let Some(path) = path.map(Path::new).filter(|path| path.is_absolute() && !path.exists()) else { continue };
        // A path that somebody wrote by hand doesn't end like ours.
        let old = path.ancestors().nth(Path::new(file).components().count());
        if let Some(from) = old.filter(|old| path.ends_with(file) && *old != dir) {
            return Err(InitError::Moved { from: from.to_owned() });
        }
    }
    for (path, loss) in [
        (kek, "what it sealed can't be read without it"),
        (database, "every server and key is in it (for an empty one take a new folder)"),
    ] {
        if let Some(path) = path.map(Path::new).filter(|path| path.is_absolute() && !path.exists()) {
            return Err(InitError::Gone { path: path.to_owned(), loss });
        }
    }
    Ok(())
}

fn text<'a>(table: &'a Table, key: &str) -> &'a str {
    table.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The address of the folder's database.
fn database(dir: &Path) -> String {
    format!("sqlite://{}?mode=rwc", dir.join("gatehouse.db").display())
}

/// The first tenant, made if it isn't there. One that is disabled or deleted lets no key in and is left so:
/// `default-2` and so on stand in for it.
async fn home(store: &Store, actor: &Actor) -> Result<TenantId, StoreError> {
    for number in 1..=MAX_ATTEMPTS {
        let name = if number == 1 { DEFAULT_TENANT.to_owned() } else { format!("{DEFAULT_TENANT}-{number}") };
        match store.platform().tenant_by_name(&name).await? {
            Some(tenant) if tenant.active => return Ok(tenant.spec.id),
            Some(_) => continue,
            None => (),
        }
        let name: TenantName = name.parse().map_err(|_| StoreError::Corrupt { what: "the default tenant" })?;
        let new = NewTenant {
            title: "Default".to_owned(),
            limits: Limits::generous(),
            // On one machine nobody has an issuer: MCP clients sign people in here.
            authorization_server: true,
            ..NewTenant::new(name)
        };
        match store.platform().create_tenant(actor, new).await {
            Err(StoreError::NameTaken) => (),
            made => return Ok(made?.value.spec.id),
        }
    }
    Err(StoreError::NameTaken)
}

/// The first user, where the tenant has none: somebody who can sign in, once a link was made for them.
async fn first_user(store: &Store, actor: &Actor, tenant: TenantId) -> Result<(), StoreError> {
    let users = store.tenant(tenant);
    let any = async |deleted| users.users(UserPage { deleted, limit: 1, ..UserPage::default() }).await;
    if !any(false).await?.is_empty() || !any(true).await?.is_empty() {
        return Ok(());
    }
    let new = NewUser {
        login: ADMIN.to_owned(),
        title: "Administrator".to_owned(),
        external_id: None,
        departments: Vec::new(),
        role: KeyRole::PlatformAdmin,
        active: true,
    };
    users.create_user(actor, new).await.map(drop)
}

/// Makes the first tenant, unless it is there, its first user and its two keys; earlier ones of these are revoked.
async fn first_tenant(store: &Store) -> Result<Made, InitError> {
    let actor = Actor::system("init");
    let tenant = home(store, &actor).await?;
    first_user(store, &actor, tenant).await?;
    let keys = store.tenant(tenant);
    let mut earlier = Vec::new();
    for label in [ADMIN_LABEL, CLIENT_LABEL] {
        let page = KeyPage { search: Some(label.to_owned()), live: Some(true), limit: 500, ..KeyPage::default() };
        earlier.extend(keys.keys(page).await?.into_iter().filter(|key| key.label == label));
    }
    let admin = new_key(store, &actor, tenant, KeyRole::PlatformAdmin, ADMIN_LABEL).await?;
    let client = new_key(store, &actor, tenant, KeyRole::User, CLIENT_LABEL).await?;
    // Only now: the last platform admin's key can't be revoked.
    for old in earlier {
        keys.revoke_key(&actor, old.verifier.id).await?;
    }
    Ok(Made::Keys { admin, client })
}

async fn new_key(
    store: &Store,
    actor: &Actor,
    tenant: TenantId,
    role: KeyRole,
    label: &str,
) -> Result<Secret, InitError> {
    let what = Mint {
        tenant,
        user: None,
        role,
        scopes: KeyScopes::PLAIN,
        servers: None,
        expires_at: None,
        label: label.to_owned(),
    };
    let minted = mint(what).ok_or(InitError::Random)?;
    store.tenant(tenant).create_key(actor, minted.new).await?;
    Ok(minted.text)
}

fn control_settings(table: &mut Table, dir: &Path, listeners: Listeners) {
    set(table, "listen", address(listeners.rest));
    set(table, "link_listen", address(listeners.link));
    set(table, "metrics_listen", address(listeners.metrics));
    set(table, "own_listeners", own(listeners));
    default(table, "database", database(dir).into());
    default(table, "kek_file", path(dir, "kek"));
    default(table, "pki_dir", path(dir, "pki"));
    default(table, "dev", true.into());
}

fn proxy_settings(table: &mut Table, dir: &Path, listeners: Listeners) {
    set(table, "listen", address(listeners.mcp));
    set(table, "metrics_listen", address(listeners.mcp_metrics));
    set(table, "peer_listen", address(listeners.mcp_peers));
    set(table, "control", Value::Array(vec![address(listeners.link)]));
    set(table, "own_listeners", own(listeners));
    default(table, "link_ca", path(dir, "pki/ca.pem"));
    default(table, "link_cert", path(dir, "pki/proxy.pem"));
    default(table, "link_key", path(dir, "pki/proxy.key"));
    default(table, "data_dir", path(dir, "proxy"));
    default(table, "dev", true.into());
}

fn set(table: &mut Table, key: &str, value: Value) {
    table.insert(key.to_owned(), value);
}

/// Keeps what somebody wrote there by hand.
fn default(table: &mut Table, key: &str, value: Value) {
    table.entry(key).or_insert(value);
}

fn address(address: SocketAddr) -> Value {
    address.to_string().into()
}

fn path(dir: &Path, file: &str) -> Value {
    dir.join(file).display().to_string().into()
}

fn own(listeners: Listeners) -> Value {
    let Listeners { rest, link, metrics, mcp, mcp_metrics, mcp_peers } = listeners;
    Value::Array([rest, link, metrics, mcp, mcp_metrics, mcp_peers].map(address).to_vec())
}

/// The file's settings; none if there is no file.
fn read_toml(file: &Path) -> Result<Table, InitError> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => String::new(),
        Err(cause) => return Err(InitError::File { path: file.to_owned(), cause }),
    };
    text.parse().map_err(|cause| InitError::Toml { path: file.to_owned(), cause: Box::new(cause) })
}

/// Brings a file up to date; untouched when nothing changes, replaced as a whole otherwise.
fn write_toml(file: &Path, table: &Table) -> Result<(), InitError> {
    if file.exists() && read_toml(file)? == *table {
        return Ok(());
    }
    let error = |cause| InitError::File { path: file.to_owned(), cause };
    let mut text = String::from("# Written by `gatehouse-control init`, which changes addresses only.\n");
    _ = write!(text, "{table}");
    let staged = file.with_extension("toml.new");
    let mut staging =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&staged).map_err(error)?;
    staging.write_all(text.as_bytes()).and_then(|()| staging.sync_all()).map_err(error)?;
    fs::rename(&staged, file).map_err(error)
}

#[cfg(test)]
mod tests;
