//! The proxy's configuration: one TOML file plus `GATEHOUSE_*` variables, parsed whole, all mistakes at once.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Format, Toml};
use figment::value::{Dict, Value};
use url::Url;

/// What a proxy needs to start. Every field is a key of the file, and `GATEHOUSE_` plus its name in
/// capitals a variable that goes before the file.
#[derive(Debug, Clone)]
pub struct Config {
    /// MCP and the internal calls; default `127.0.0.1:5011`.
    pub listen: SocketAddr,
    /// Prometheus metrics; default `127.0.0.1:5013`.
    pub metrics_listen: SocketAddr,
    /// Addresses of control's link, tried in turn; default `127.0.0.1:5012`. A list, or texts with commas.
    pub control: Vec<String>,
    /// The plane CA's certificate.
    pub link_ca: PathBuf,
    /// This node's certificate.
    pub link_cert: PathBuf,
    /// This node's private key.
    pub link_key: PathBuf,
    /// The pool that the certificate names; default `default`.
    pub pool: String,
    /// Where the last good table is kept.
    pub data_dir: PathBuf,
    /// Loopback upstreams over plain http; refuses listeners that are not loopback.
    pub dev: bool,
    /// Under which URL clients reach this proxy; needed off loopback.
    pub public_url: Option<Url>,
    /// Gatehouse's own listeners: never dialled as upstreams.
    pub own_listeners: Vec<SocketAddr>,
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub Vec<String>);

const KEYS: [&str; 11] = [
    "listen",
    "metrics_listen",
    "control",
    "link_ca",
    "link_cert",
    "link_key",
    "pool",
    "data_dir",
    "dev",
    "public_url",
    "own_listeners",
];

impl Config {
    /// Reads the file and the environment.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(file).map_err(|error| ConfigError(vec![format!("{}: {error}", file.display())]))?;
        Self::read(Figment::from(Toml::string(&text)).merge(Env::prefixed("GATEHOUSE_").only(&KEYS)))
    }

    fn read(figment: Figment) -> Result<Self, ConfigError> {
        let given: Dict = figment.extract().map_err(|error| ConfigError(vec![error.to_string()]))?;
        let mut reader = Reader { given, wrong: Vec::new() };
        let config = Self {
            listen: reader.parsed("listen", "an address and port").unwrap_or(SocketAddr::from(([127, 0, 0, 1], 5011))),
            metrics_listen: reader
                .parsed("metrics_listen", "an address and port")
                .unwrap_or(SocketAddr::from(([127, 0, 0, 1], 5013))),
            control: reader.texts("control").unwrap_or_else(|| vec!["127.0.0.1:5012".to_owned()]),
            link_ca: reader.required("link_ca"),
            link_cert: reader.required("link_cert"),
            link_key: reader.required("link_key"),
            pool: reader.text("pool").unwrap_or_else(|| "default".to_owned()),
            data_dir: reader.required("data_dir"),
            dev: reader.parsed("dev", "true or false").unwrap_or(false),
            public_url: reader.parsed("public_url", "a URL"),
            own_listeners: reader.addresses("own_listeners"),
        };
        let off_loopback = |address: &SocketAddr| !address.ip().is_loopback();
        if config.dev && [config.listen, config.metrics_listen].iter().any(off_loopback) {
            reader.wrong.push("dev: in dev mode every listener must be on loopback".to_owned());
        }
        if off_loopback(&config.listen) && config.public_url.is_none() {
            reader.wrong.push("public_url: needed when `listen` is not on loopback".to_owned());
        }
        for key in reader.given.keys().filter(|key| !KEYS.contains(&key.as_str())) {
            reader.wrong.push(format!("{key}: unknown key"));
        }
        if reader.wrong.is_empty() { Ok(config) } else { Err(ConfigError(reader.wrong)) }
    }
}

struct Reader {
    given: Dict,
    wrong: Vec<String>,
}

impl Reader {
    fn text(&self, key: &str) -> Option<String> {
        self.given.get(key).map(|value| match value {
            Value::String(_, text) => text.clone(),
            Value::Bool(_, flag) => flag.to_string(),
            Value::Num(_, number) => number.to_u128().map(|number| number.to_string()).unwrap_or_default(),
            _ => String::new(),
        })
    }

    fn parsed<T: std::str::FromStr>(&mut self, key: &str, what: &str) -> Option<T> {
        let parsed = self.text(key)?.parse().ok();
        if parsed.is_none() {
            self.wrong.push(format!("{key}: must be {what}"));
        }
        parsed
    }

    fn required(&mut self, key: &str) -> PathBuf {
        let text = self.text(key).unwrap_or_default();
        if text.is_empty() {
            self.wrong.push(format!("{key}: missing"));
        }
        text.into()
    }

    fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        match self.given.get(key)? {
            Value::Array(_, items) => Some(items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()),
            value => Some(value.as_str()?.split(',').map(|part| part.trim().to_owned()).collect()),
        }
    }

    fn addresses(&mut self, key: &str) -> Vec<SocketAddr> {
        let texts = self.texts(key).unwrap_or_default();
        let addresses: Vec<SocketAddr> = texts.iter().filter_map(|text| text.parse().ok()).collect();
        if addresses.len() != texts.len() {
            self.wrong.push(format!("{key}: must be addresses with ports"));
        }
        addresses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        Config::read(Figment::from(Toml::string(text)))
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let wrong =
            read("listen = \"x\"\nsurprise = 1\ndev = true\nmetrics_listen = \"0.0.0.0:1\"").unwrap_err().0.join("\n");
        for part in
            ["listen: must be", "surprise: unknown", "dev: in dev mode", "link_ca: missing", "data_dir: missing"]
        {
            assert!(wrong.contains(part), "{part} in {wrong}");
        }
    }

    #[test]
    fn a_small_file_is_enough() {
        let config =
            read("link_ca = \"a\"\nlink_cert = \"b\"\nlink_key = \"c\"\ndata_dir = \"d\"\nown_listeners = [\"127.0.0.1:5010\"]")
                .unwrap();
        assert_eq!(config.listen.port(), 5011);
        assert_eq!(config.own_listeners.len(), 1);
        assert!(!config.dev);
    }
}
