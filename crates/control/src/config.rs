//! The whole configuration of control, read once: a TOML file and `GATEHOUSE_*` variables, every
//! mistake reported together.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Format as _, Toml};
use figment::value::{Dict, Value};
use url::Url;
use vault::Vault;

use crate::pki::Pki;

/// What control needs to start. Every name below is a key of the file; in upper case after
/// `GATEHOUSE_` it is a variable, which wins over the file.
#[derive(Debug, Clone)]
pub struct Config {
    /// REST and the status page; default `127.0.0.1:5010`.
    pub listen: SocketAddr,
    /// gRPC for proxies, mutual TLS; default `127.0.0.1:5012`.
    pub link_listen: SocketAddr,
    /// Prometheus `/metrics`; default `127.0.0.1:5014`.
    pub metrics_listen: SocketAddr,
    /// `sqlite:///path/gatehouse.db`.
    pub database: String,
    /// The file with the key that encrypts keys, 32 bytes, mode 0600.
    pub kek_file: PathBuf,
    /// The folder with the plane's CA and certificates.
    pub pki_dir: PathBuf,
    /// Upstreams on loopback over plain http are allowed, listeners off loopback are not.
    pub dev: bool,
    /// Where people reach this service; required when `listen` is not loopback.
    pub public_url: Option<Url>,
    /// Listeners of Gatehouse itself, which no upstream may name.
    pub own_listeners: Vec<SocketAddr>,
}

/// The keys of the file; anything else is refused.
const KEYS: [&str; 9] = [
    "listen",
    "link_listen",
    "metrics_listen",
    "database",
    "kek_file",
    "pki_dir",
    "dev",
    "public_url",
    "own_listeners",
];

/// Everything that is wrong with a configuration, one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(pub Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration can't be used:")?;
        self.0.iter().try_for_each(|line| write!(f, "\n  - {line}"))
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads the file and the environment.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(file).map_err(|error| ConfigError(vec![format!("{}: {error}", file.display())]))?;
        Self::read(Figment::from(Toml::string(&text)).merge(Env::prefixed("GATEHOUSE_").only(&KEYS)))
    }

    /// Reads the text of a file, without the environment.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        Self::read(Figment::from(Toml::string(text)))
    }

    /// Refuses files that control can't work with, all of them at once.
    pub fn with_usable_files(self) -> Result<Self, ConfigError> {
        let kek = Vault::open(&self.kek_file).err().map(|error| format!("`kek_file`: {}", telemetry::chain(&error)));
        let pki = Pki::load(&self.pki_dir).err().map(|error| format!("`pki_dir`: {}", telemetry::chain(&error)));
        let wrong: Vec<String> = kek.into_iter().chain(pki).collect();
        if wrong.is_empty() { Ok(self) } else { Err(ConfigError(wrong)) }
    }

    fn read(figment: Figment) -> Result<Self, ConfigError> {
        let given: Dict = figment.extract().map_err(|error| ConfigError(vec![error.to_string()]))?;
        let mut reader = Reader { given, wrong: Vec::new() };
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let config = Self {
            listen: reader.address("listen").unwrap_or(loopback(5010)),
            link_listen: reader.address("link_listen").unwrap_or(loopback(5012)),
            metrics_listen: reader.address("metrics_listen").unwrap_or(loopback(5014)),
            database: reader.required("database"),
            kek_file: reader.required("kek_file").into(),
            pki_dir: reader.required("pki_dir").into(),
            dev: reader.flag("dev"),
            public_url: reader.url("public_url"),
            own_listeners: reader.addresses("own_listeners"),
        };
        config.check(&mut reader);
        let unknown = reader.given.keys().map(|key| format!("`{key}`: unknown key"));
        reader.wrong.extend(unknown);
        if reader.wrong.is_empty() { Ok(config) } else { Err(ConfigError(reader.wrong)) }
    }

    /// Mistakes that no single key shows.
    fn check(&self, reader: &mut Reader) {
        let listeners =
            [("listen", self.listen), ("link_listen", self.link_listen), ("metrics_listen", self.metrics_listen)];
        for (key, address) in listeners {
            if self.dev && !is_loopback(address.ip()) {
                reader.wrong(key, "with `dev = true` every listener must be on loopback");
            }
        }
        if !self.dev && !is_loopback(self.listen.ip()) && self.public_url.is_none() {
            reader.wrong("public_url", "required when `listen` is not on loopback");
        }
        if !self.database.is_empty() && !self.database.starts_with("sqlite:") && !self.database.starts_with("postgres")
        {
            reader.wrong("database", "must begin with sqlite: or postgres:");
        }
    }
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Takes keys out of what was given and collects mistakes.
struct Reader {
    given: Dict,
    wrong: Vec<String>,
}

impl Reader {
    fn wrong(&mut self, key: &str, detail: &str) {
        self.wrong.push(format!("`{key}`: {detail}"));
    }

    /// The value of a key as text; numbers and flags count as their text, since a variable has no type.
    fn text(&mut self, key: &str) -> Option<String> {
        let value = self.given.remove(key)?;
        match &value {
            Value::String(_, text) => Some(text.clone()),
            Value::Bool(_, flag) => Some(flag.to_string()),
            Value::Num(_, number) => number.to_u128().map(|number| number.to_string()),
            _ => {
                self.wrong(key, "must be a text");
                None
            }
        }
    }

    fn required(&mut self, key: &str) -> String {
        let before = self.wrong.len();
        let text = self.text(key).unwrap_or_default();
        if text.is_empty() && self.wrong.len() == before {
            self.wrong(key, "required");
        }
        text
    }

    fn flag(&mut self, key: &str) -> bool {
        match self.text(key).as_deref() {
            None | Some("false" | "0") => false,
            Some("true" | "1") => true,
            Some(_) => {
                self.wrong(key, "must be true or false");
                false
            }
        }
    }

    fn address(&mut self, key: &str) -> Option<SocketAddr> {
        let text = self.text(key)?;
        let address = text.parse().ok();
        if address.is_none() {
            self.wrong(key, "must be an address and a port, e.g. 127.0.0.1:5010");
        }
        address
    }

    fn url(&mut self, key: &str) -> Option<Url> {
        let text = self.text(key)?;
        let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if url.is_none() {
            self.wrong(key, "must be an http or https URL");
        }
        url
    }

    /// A list, or one text with commas, as a variable has it.
    fn addresses(&mut self, key: &str) -> Vec<SocketAddr> {
        let texts: Option<Vec<&str>> = match self.given.get(key) {
            None => Some(Vec::new()),
            Some(Value::Array(_, items)) => items.iter().map(Value::as_str).collect(),
            Some(value) => value.as_str().map(|text| text.split(',').map(str::trim).collect()),
        };
        let addresses = texts.and_then(|texts| texts.iter().map(|text| text.parse().ok()).collect());
        self.given.remove(key);
        addresses.unwrap_or_else(|| {
            self.wrong(key, "must be addresses with ports, e.g. [\"127.0.0.1:5010\"]");
            Vec::new()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "database = \"sqlite:///x.db\"\nkek_file = \"kek\"\npki_dir = \"pki\"\n";

    #[test]
    fn the_least_configuration_listens_on_loopback() {
        let config = Config::parse(LEAST).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:5010");
        assert_eq!(config.link_listen.to_string(), "127.0.0.1:5012");
        assert_eq!(config.metrics_listen.to_string(), "127.0.0.1:5014");
        assert!(!config.dev);
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let error = Config::parse("listen = \"nowhere\"\nkek_file = 7\nowner = \"me\"\ndev = \"maybe\"\n").unwrap_err();
        let text = error.to_string();
        for key in ["`listen`", "`database`: required", "`pki_dir`: required", "`owner`: unknown key", "`dev`"] {
            assert!(text.contains(key), "{key} in {text}");
        }
    }

    #[test]
    fn dev_mode_refuses_listeners_off_loopback() {
        for (key, address, fits) in [
            ("listen", "0.0.0.0:5010", false),
            ("link_listen", "192.0.2.1:1", false),
            ("metrics_listen", "[::]:1", false),
            ("listen", "127.0.0.2:1", true),
            ("listen", "[::1]:1", true),
        ] {
            let read = Config::parse(&format!("{LEAST}dev = true\n{key} = \"{address}\"\n"));
            assert_eq!(read.is_ok(), fits, "{key} {address}: {read:?}");
        }
    }

    #[test]
    fn a_public_listener_needs_a_public_url() {
        let open = format!("{LEAST}listen = \"0.0.0.0:5010\"\n");
        assert!(Config::parse(&open).unwrap_err().to_string().contains("`public_url`: required"));
        assert!(Config::parse(&format!("{open}public_url = \"https://gatehouse.example\"\n")).is_ok());
    }

    #[test]
    fn a_list_may_be_one_text_with_commas_as_in_a_variable() {
        for (own, read) in [
            ("\"127.0.0.1:5010\"", Some(1)),
            ("\"127.0.0.1:5010, [::1]:5011\"", Some(2)),
            ("[\"127.0.0.1:5010\"]", Some(1)),
            ("[]", Some(0)),
            ("[\"127.0.0.1:5010\", 7]", None),
            ("\"nowhere\"", None),
            ("7", None),
        ] {
            let config = Config::parse(&format!("{LEAST}own_listeners = {own}\n"));
            assert_eq!(config.ok().map(|config| config.own_listeners.len()), read, "{own}");
        }
    }

    #[test]
    fn files_that_are_not_there_are_mistakes_too() {
        let dir = tempfile::tempdir().unwrap();
        let (kek, pki) = (dir.path().join("kek"), dir.path().join("pki"));
        let text = format!("database = \"sqlite:///x.db\"\nkek_file = {kek:?}\npki_dir = {pki:?}\n");
        let read = || Config::parse(&text).unwrap().with_usable_files();
        let told = read().unwrap_err().to_string();
        assert!(told.contains("`kek_file`: ") && told.contains("`pki_dir`: "), "{told}");
        Vault::init_kek(&kek).unwrap();
        Pki::init(&pki).unwrap();
        assert!(read().is_ok());
    }
}
