//! The proxy's configuration: one TOML file plus `GATEHOUSE_*` variables, parsed whole, all mistakes at once.

use std::fs::Metadata;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use daemon::{Certificate, CertificateFiles, ConfigError, Program, Settings};
use http::uri::Authority;
use model::EgressRule;
use url::Url;

/// What a proxy needs to start. Every field is a key of the file, and `GATEHOUSE_` plus its name in
/// capitals a variable that goes before the file.
#[derive(Debug, Clone)]
pub struct Config {
    /// MCP and the internal calls; default `127.0.0.1:5011`.
    pub listen: SocketAddr,
    /// Prometheus metrics, and the health of the process for those who can't reach MCP; default `127.0.0.1:5013`.
    pub metrics_listen: SocketAddr,
    /// Where other proxies of the pool come, under mutual TLS with the certificates of the link; default
    /// `127.0.0.1:5015`.
    pub peer_listen: SocketAddr,
    /// Where they find it, `host:port`; default `peer_listen`.
    pub peer_address: String,
    /// TLS on `listen`: `tls_cert` and `tls_key`, both or none.
    pub tls: Option<CertificateFiles>,
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
    /// What upstreams may be besides public and https, for all tenants.
    pub egress_rules: Vec<EgressRule>,
    /// Gatehouse's own listeners, never dialled as upstreams: those given, and this process's own.
    pub own_listeners: Vec<SocketAddr>,
}

impl Config {
    /// Reads the file and the environment, and refuses files that can't be used. What was given comes
    /// with it, one line each.
    pub fn load(file: Option<&Path>) -> Result<(Self, Vec<String>), ConfigError> {
        let mut settings = Settings::load(Program::Proxy, file);
        let config = Self::take(&mut settings);
        config.check_files(&mut settings);
        settings.finish(config)
    }

    fn take(settings: &mut Settings) -> Self {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let peer_listen = settings.address("peer_listen").unwrap_or(loopback(5015));
        let mut config = Self {
            listen: settings.address("listen").unwrap_or(loopback(5011)),
            metrics_listen: settings.address("metrics_listen").unwrap_or(loopback(5013)),
            peer_listen,
            peer_address: peer_address(settings, peer_listen),
            tls: settings.certificate(),
            control: control(settings),
            link_ca: settings.required("link_ca").into(),
            link_cert: settings.required("link_cert").into(),
            link_key: settings.required("link_key").into(),
            pool: settings.text("pool").unwrap_or_else(|| "default".to_owned()),
            data_dir: settings.required("data_dir").into(),
            dev: settings.flag("dev"),
            public_url: settings.url("public_url"),
            egress_rules: settings.egress_rules(),
            own_listeners: settings.addresses("own_listeners"),
        };
        config.check(settings);
        for own in [config.listen, config.metrics_listen, config.peer_listen] {
            if !config.own_listeners.contains(&own) {
                config.own_listeners.push(own);
            }
        }
        config
    }

    /// Mistakes that no single key shows.
    fn check(&self, settings: &mut Settings) {
        let off_loopback = |address: SocketAddr| !address.ip().to_canonical().is_loopback();
        let listeners =
            [("listen", self.listen), ("metrics_listen", self.metrics_listen), ("peer_listen", self.peer_listen)];
        for (key, address) in listeners {
            if self.dev && off_loopback(address) {
                settings.wrong(key, "with `dev = true` every listener must be on loopback");
            }
        }
        if !self.dev && off_loopback(self.listen) && self.public_url.is_none() {
            settings.wrong("public_url", "required when `listen` is not on loopback");
        }
    }

    /// Files that can't be used. One that a missing key should name is no further mistake.
    fn check_files(&self, settings: &mut Settings) {
        for (key, path) in [("link_ca", &self.link_ca), ("link_cert", &self.link_cert), ("link_key", &self.link_key)] {
            if !path.as_os_str().is_empty()
                && let Err(error) = std::fs::read(path)
            {
                settings.wrong(key, format_args!("{}: {error}", path.display()));
            }
        }
        if let Ok(about) = std::fs::metadata(&self.link_key)
            && !is_closed(&about)
        {
            let path = self.link_key.display();
            settings.wrong("link_key", format_args!("{path} can be read by others: its mode must be 0600"));
        }
        if let Some(files) = &self.tls
            && let Err(error) = Certificate::load(files.clone())
        {
            settings.wrong("tls_cert", telemetry::chain(&error));
        }
    }
}

/// Whether others can't read a file: nobody else may at all, or it is root's and mounted for this process's group, as
/// Kubernetes does with secrets.
fn is_closed(about: &Metadata) -> bool {
    about.mode() & 0o077 == 0 || (about.uid() == 0 && about.mode() & 0o037 == 0)
}

/// A name or an address with a port.
fn place(text: &str) -> Option<String> {
    let place: Authority = text.parse().ok()?;
    place.port_u16().filter(|_| !place.host().is_empty() && !text.contains('@')).map(|_| text.to_owned())
}

/// Where other proxies find us: what was given, else where we listen, if that is one address.
fn peer_address(settings: &mut Settings, listen: SocketAddr) -> String {
    match settings.text("peer_address") {
        Some(text) => {
            let found = place(&text).filter(|text| !text.ends_with(":0"));
            if found.is_none() {
                settings.wrong("peer_address", "must be a place with a port, e.g. 10.0.0.7:5015");
            }
            found.unwrap_or_default()
        }
        None => {
            if listen.ip().is_unspecified() {
                settings.wrong("peer_address", "required when `peer_listen` is no single address");
            }
            listen.to_string()
        }
    }
}

/// Where control's link is: at least one place, each a name or an address with a port.
fn control(settings: &mut Settings) -> Vec<String> {
    if settings.is_absent("control") {
        return vec!["127.0.0.1:5012".to_owned()];
    }
    let places = settings.list("control", "must be places with ports, e.g. [\"control.example:5012\"]", place);
    if places.as_ref().is_some_and(Vec::is_empty) {
        settings.wrong("control", "must name at least one place");
    }
    places.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        let mut settings = Settings::read(Program::Proxy, text, []);
        let config = Config::take(&mut settings);
        settings.finish(config).map(|(config, _)| config)
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
        assert!(!config.dev && config.tls.is_none());
        assert_eq!(config.own_listeners, [config.listen, config.metrics_listen, config.peer_listen]);
        assert_eq!((config.peer_listen.port(), config.peer_address.as_str()), (5015, "127.0.0.1:5015"));
    }

    #[test]
    fn each_setting_of_the_register_is_taken() {
        let all: String = daemon::register::of(Program::Proxy).map(|s| format!("{} = \"x\"\n", s.name)).collect();
        let mut settings = Settings::read(Program::Proxy, &all, []);
        Config::take(&mut settings);
        assert!(daemon::register::of(Program::Proxy).all(|setting| settings.is_absent(setting.name)));
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
            ("peer_listen = \"10.0.0.7:5015\"", true),
            ("peer_listen = \"0.0.0.0:5015\"", false),
            ("peer_listen = \"0.0.0.0:5015\"\npeer_address = \"proxy-1:5015\"", true),
            ("peer_listen = \"10.0.0.7:5015\"\ndev = true", false),
            ("peer_address = \"[fd00::1]:5015\"", true),
            ("peer_address = \"proxy-1\"", false),
            ("peer_address = \"proxy-1:0\"", false),
            ("peer_address = \"https://proxy-1:5015\"", false),
            ("dev = \"1\"", true),
            ("dev = \"maybe\"", false),
            ("tls_cert = \"c\"\ntls_key = \"k\"", true),
            ("tls_cert = \"c\"", false),
            ("egress_rules = [\"10.0.0.0/8 --http\"]", true),
            ("egress_rules = [\"10.0.0.0/8 --https\"]", false),
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
        let file = dir.path().join("proxy.toml");
        std::fs::write(&file, format!("{LEAST}tls_cert = \"c\"\ntls_key = \"k\"\n")).unwrap();
        let told = Config::load(Some(&file)).unwrap_err().to_string();
        assert!(told.contains("`link_ca`: ") && told.contains("`tls_cert`: "), "{told}");
    }
}
