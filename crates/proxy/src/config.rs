//! The proxy's configuration: one TOML file plus `GATEHOUSE_*` variables, parsed whole, all mistakes at once.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Format, Toml};
use figment::value::{Dict, Value};
use http::uri::Authority;
use url::Url;

/// What a proxy needs to start. Every field is a key of the file, and `GATEHOUSE_` plus its name in
/// capitals a variable that goes before the file.
#[derive(Debug, Clone)]
pub struct Config {
    /// MCP and the internal calls; default `127.0.0.1:5011`.
    pub listen: SocketAddr,
    /// Prometheus metrics; default `127.0.0.1:5013`.
    pub metrics_listen: SocketAddr,
    /// Addresses of control's link, tried in turn; default `127.0.0.1:5012`. A list, or one text with commas.
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
#[error("the configuration can't be used:\n  - {}", .0.join("\n  - "))]
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

    /// Refuses files that can't be read, all of them at once.
    pub fn with_usable_files(self) -> Result<Self, ConfigError> {
        let files = [("link_ca", &self.link_ca), ("link_cert", &self.link_cert), ("link_key", &self.link_key)];
        let unreadable = |(key, path): (&str, &PathBuf)| {
            let error = std::fs::read(path).err()?;
            Some(format!("`{key}`: {}: {error}", path.display()))
        };
        let wrong: Vec<String> = files.into_iter().filter_map(unreadable).collect();
        if wrong.is_empty() { Ok(self) } else { Err(ConfigError(wrong)) }
    }

    fn read(figment: Figment) -> Result<Self, ConfigError> {
        let given: Dict = figment.extract().map_err(|error| ConfigError(vec![error.to_string()]))?;
        let mut reader = Reader { given, wrong: Vec::new() };
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let config = Self {
            listen: reader.parsed("listen", ADDRESS).unwrap_or(loopback(5011)),
            metrics_listen: reader.parsed("metrics_listen", ADDRESS).unwrap_or(loopback(5013)),
            control: reader.control(),
            link_ca: reader.required("link_ca"),
            link_cert: reader.required("link_cert"),
            link_key: reader.required("link_key"),
            pool: reader.text("pool").unwrap_or_else(|| "default".to_owned()),
            data_dir: reader.required("data_dir"),
            dev: reader.flag("dev"),
            public_url: reader.url("public_url"),
            own_listeners: reader.list("own_listeners", ADDRESSES, |text| text.parse().ok()).unwrap_or_default(),
        };
        config.check(&mut reader);
        let unknown = reader.given.keys().map(|key| format!("`{key}`: unknown key"));
        reader.wrong.extend(unknown);
        if reader.wrong.is_empty() { Ok(config) } else { Err(ConfigError(reader.wrong)) }
    }

    /// Mistakes that no single key shows.
    fn check(&self, reader: &mut Reader) {
        let off_loopback = |address: SocketAddr| !address.ip().to_canonical().is_loopback();
        for (key, address) in [("listen", self.listen), ("metrics_listen", self.metrics_listen)] {
            if self.dev && off_loopback(address) {
                reader.wrong(key, "with `dev = true` every listener must be on loopback");
            }
        }
        if !self.dev && off_loopback(self.listen) && self.public_url.is_none() {
            reader.wrong("public_url", "required when `listen` is not on loopback");
        }
    }
}

const ADDRESS: &str = "must be an address and a port, e.g. 127.0.0.1:5011";
const ADDRESSES: &str = "must be addresses with ports, e.g. [\"127.0.0.1:5010\"]";

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
        let text = match self.given.remove(key)? {
            Value::String(_, text) => Some(text),
            Value::Bool(_, flag) => Some(flag.to_string()),
            Value::Num(_, number) => number.to_u128().map(|number| number.to_string()),
            _ => None,
        };
        if text.is_none() {
            self.wrong(key, "must be a text");
        }
        text
    }

    fn parsed<T: std::str::FromStr>(&mut self, key: &str, wrong: &str) -> Option<T> {
        let parsed = self.text(key)?.parse().ok();
        if parsed.is_none() {
            self.wrong(key, wrong);
        }
        parsed
    }

    fn required(&mut self, key: &str) -> PathBuf {
        let before = self.wrong.len();
        let text = self.text(key).unwrap_or_default();
        if text.is_empty() && self.wrong.len() == before {
            self.wrong(key, "required");
        }
        text.into()
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

    fn url(&mut self, key: &str) -> Option<Url> {
        let text = self.text(key)?;
        let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if url.is_none() {
            self.wrong(key, "must be an http or https URL");
        }
        url
    }

    /// A list, or one text with commas, as a variable has it.
    fn list<T>(&mut self, key: &str, wrong: &str, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
        let value = self.given.remove(key)?;
        let texts: Option<Vec<&str>> = match &value {
            Value::Array(_, items) => items.iter().map(Value::as_str).collect(),
            value => value.as_str().map(|text| text.split(',').map(str::trim).collect()),
        };
        let list = texts.and_then(|texts| texts.into_iter().map(read).collect());
        if list.is_none() {
            self.wrong(key, wrong);
        }
        list
    }

    /// Where control's link is: at least one place, each a name or an address with a port.
    fn control(&mut self) -> Vec<String> {
        if !self.given.contains_key("control") {
            return vec!["127.0.0.1:5012".to_owned()];
        }
        let place = |text: &str| {
            let place: Authority = text.parse().ok()?;
            place.port_u16().filter(|_| !place.host().is_empty() && !text.contains('@')).map(|_| text.to_owned())
        };
        let places = self.list("control", "must be places with ports, e.g. [\"control.example:5012\"]", place);
        if places.as_ref().is_some_and(Vec::is_empty) {
            self.wrong("control", "must name at least one place");
        }
        places.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        Config::read(Figment::from(Toml::string(text)))
    }

    const LEAST: &str = "link_ca = \"a\"\nlink_cert = \"b\"\nlink_key = \"c\"\ndata_dir = \"d\"\n";

    #[test]
    fn all_mistakes_are_told_at_once() {
        let error = read("listen = \"x\"\nsurprise = 1\ndev = true\nmetrics_listen = \"0.0.0.0:1\"").unwrap_err();
        let told = error.to_string();
        assert!(told.starts_with("the configuration can't be used:\n  - "), "{told}");
        for part in [
            "`listen`: must be",
            "`surprise`: unknown",
            "`metrics_listen`: with `dev = true`",
            "`link_ca`: required",
            "`data_dir`: required",
        ] {
            assert!(told.contains(part), "{part} in {told}");
        }
    }

    #[test]
    fn a_small_file_is_enough() {
        let config = read(LEAST).unwrap();
        assert_eq!((config.listen.port(), config.metrics_listen.port()), (5011, 5013));
        assert_eq!(config.control, ["127.0.0.1:5012"]);
        assert!(!config.dev && config.own_listeners.is_empty());
    }

    #[test]
    fn each_key_takes_what_it_can_mean_and_nothing_else() {
        for (line, fits) in [
            ("control = \"a:1, [::1]:2\"", true),
            ("control = [\"control.example:5012\", \"127.0.0.1:5012\"]", true),
            ("control = 7", false),
            ("control = []", false),
            ("control = [\"nonsense\"]", false),
            ("control = [\"a:1\", 7]", false),
            ("control = \"a:70000\"", false),
            ("own_listeners = \"127.0.0.1:5010,127.0.0.1:5011\"", true),
            ("own_listeners = [\"127.0.0.1:5010\", 7]", false),
            ("own_listeners = 7", false),
            ("public_url = \"https://mcp.example\"", true),
            ("public_url = \"ftp://mcp.example\"", false),
            ("public_url = \"mcp.example\"", false),
            ("pool = [\"a\"]", false),
            ("dev = \"1\"", true),
            ("dev = \"maybe\"", false),
        ] {
            let config = read(&format!("{LEAST}{line}\n"));
            assert_eq!(config.is_ok(), fits, "{line}: {config:?}");
        }
    }

    #[test]
    fn a_public_listener_needs_a_public_url() {
        let open = format!("{LEAST}listen = \"0.0.0.0:5011\"\n");
        assert!(read(&open).unwrap_err().to_string().contains("`public_url`: required"));
        assert!(read(&format!("{open}public_url = \"https://mcp.example\"\n")).is_ok());
    }

    #[test]
    fn files_that_are_not_there_are_mistakes_too() {
        let dir = tempfile::tempdir().unwrap();
        let told = read(&LEAST.replace("\"a\"", &format!("{:?}", dir.path().join("ca.pem")))).unwrap();
        assert!(told.with_usable_files().unwrap_err().to_string().contains("`link_ca`: "));
    }
}
