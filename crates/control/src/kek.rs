//! Where this process has its KEKs from: a file, a variable, a service; and older files that are only read.

mod handed;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use daemon::Settings;
use url::Url;
use vault::{KekProvider, Keks, LocalKek, VaultError};

use crate::kek_http::{HttpKek, HttpKekError};
use crate::outward;

/// Older key files that can be named.
const OLD: usize = 16;
/// Characters of a transit key's name.
const KEY_NAME: usize = 64;

/// The keys of the configuration that are about KEKs. The first of file, variable and service that is given writes;
/// all are read.
pub struct KekSettings {
    /// The key file.
    pub file: Option<PathBuf>,
    /// Files of before, which are read until nothing is wrapped under them.
    pub old: Vec<PathBuf>,
    /// What the variable of that name held.
    env: Option<FromVariable>,
    http: Option<HttpSettings>,
}

struct FromVariable {
    name: String,
    kek: Option<Arc<LocalKek>>,
}

#[derive(Clone)]
pub(crate) struct HttpSettings {
    pub(crate) url: Url,
    pub(crate) key: String,
    pub(crate) token_file: PathBuf,
    pub(crate) ca: Option<PathBuf>,
}

/// Why the KEKs can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KekOpenError {
    /// A key file, or none at all.
    #[error("a key can't be used")]
    Vault(#[from] VaultError),
    /// The service.
    #[error("`kek_http_url` can't be used")]
    Http(#[from] HttpKekError),
    /// Nothing is configured.
    #[error("no key is configured")]
    None,
}

impl KekSettings {
    pub(crate) fn take(settings: &mut Settings) -> Self {
        const MUST: &str = "must be paths of key files, at most 16";
        let file = settings.path("kek_file");
        let old = settings.list("kek_files_old", MUST, |text| Some(PathBuf::from(text))).unwrap_or_default();
        if old.len() > OLD || old.iter().any(|path| path.as_os_str().is_empty()) {
            settings.wrong("kek_files_old", MUST);
        }
        let env = settings.text("kek_env").map(|name| variable(settings, name));
        let http = http(settings);
        if file.is_none() && env.is_none() && http.is_none() {
            settings.wrong("kek_file", "required, unless `kek_env` or `kek_http_url` is given");
        }
        Self { file, old, env, http }
    }

    /// Says of each file that can't be used why.
    pub(crate) fn check_files(&self, settings: &mut Settings, way_out: fn(&Path) -> &'static str) {
        let mut check = |key: &str, path: &Path| {
            if let Err(error) = LocalKek::open(path) {
                settings.wrong(key, format_args!("{}{}", telemetry::chain(&error), way_out(path)));
            }
        };
        self.file.iter().for_each(|path| check("kek_file", path));
        self.old.iter().for_each(|path| check("kek_files_old", path));
        if let Some(http) = &self.http
            && let Err(error) = HttpKek::open(http)
        {
            settings.wrong("kek_http_url", telemetry::chain(&error));
        }
    }

    /// All KEKs, the writing one first.
    pub(crate) fn open(&self) -> Result<Keks, KekOpenError> {
        let mut all: Vec<Arc<dyn KekProvider>> = Vec::new();
        if let Some(file) = &self.file {
            all.push(LocalKek::open(file)?.shared());
        }
        if let Some(FromVariable { kek: Some(kek), name }) = &self.env {
            tracing::warn!(
                variable = name,
                "a key comes from the environment: whoever started this process may have kept it; a file is better"
            );
            all.push(kek.clone());
        }
        if let Some(http) = &self.http {
            all.push(Arc::new(HttpKek::open(http)?));
        }
        for old in &self.old {
            all.push(LocalKek::open(old)?.shared());
        }
        let mut all = all.into_iter();
        let writing = all.next().ok_or(KekOpenError::None)?;
        Ok(Keks::new(writing, all.collect()))
    }

    /// Begins this process anew without the variable that held a key, so that nobody finds it in the list of its
    /// environment; the key goes by a pipe. Comes back only if there is nothing to hide, or it can't be hidden.
    pub fn hide(&self) -> std::io::Result<()> {
        match &self.env {
            Some(env) => handed::over(&env.name),
            None => Ok(()),
        }
    }
}

fn variable(settings: &mut Settings, name: String) -> FromVariable {
    let fits = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if name.is_empty() || !name.bytes().all(fits) || name.starts_with(daemon::register::PREFIX) {
        settings.wrong("kek_env", "must be the name of a variable, in capitals, that does not begin with GATEHOUSE_");
        return FromVariable { name, kek: None };
    }
    let kek = match handed::read(&name) {
        None => {
            settings.wrong("kek_env", "names a variable that is not there");
            None
        }
        Some(text) => match LocalKek::from_text(&text) {
            Ok(kek) => Some(Arc::new(kek)),
            Err(error) => {
                settings.wrong("kek_env", telemetry::chain(&error));
                None
            }
        },
    };
    FromVariable { name, kek }
}

fn http(settings: &mut Settings) -> Option<HttpSettings> {
    let url = settings.url("kek_http_url");
    let key = settings.text("kek_http_key");
    let token_file = settings.path("kek_http_token_file");
    let ca = settings.path("kek_http_ca");
    let Some(url) = url else {
        for (given, name) in [
            (key.is_some(), "kek_http_key"),
            (token_file.is_some(), "kek_http_token_file"),
            (ca.is_some(), "kek_http_ca"),
        ] {
            if given {
                settings.wrong(name, "only `kek_http_url` has one");
            }
        }
        return None;
    };
    if url.scheme() == "http" && !outward::is_loopback(&url) {
        settings.wrong("kek_http_url", "must use https, but on loopback: keys go by it");
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    match &key {
        Some(key) if (1..=KEY_NAME).contains(&key.len()) && key.bytes().all(fits) => {}
        Some(_) => settings.wrong("kek_http_key", "must be the name of a transit key: letters, digits, -, _ and ."),
        None => settings.wrong("kek_http_key", "required with `kek_http_url`"),
    }
    if token_file.is_none() {
        settings.wrong("kek_http_token_file", "required with `kek_http_url`");
    }
    Some(HttpSettings { url, key: key?, token_file: token_file?, ca })
}

impl fmt::Debug for KekSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KekSettings")
            .field("file", &self.file)
            .field("old", &self.old)
            .field("env", &self.env.as_ref().map(|env| &env.name))
            .field("http", &self.http.as_ref().map(|http| http.url.as_str()))
            .finish()
    }
}
