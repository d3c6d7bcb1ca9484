//! The whole configuration of control, read once: a TOML file and `GATEHOUSE_*` variables, every
//! mistake reported together.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::kek::KekSettings;
use crate::pki::Pki;
use crate::references::{ReferenceHttp, ReferenceSources};
use crate::{forwarded, outward};
use daemon::{Certificate, CertificateFiles, ConfigError, Program, Settings};
use ipnet::IpNet;
use model::{EgressRule, Secret};
use url::Url;

/// For how long audit rows are kept where nothing else is said.
const AUDIT_DAYS: u32 = 400;

/// What control needs to start. Every name below is a key of the file; in upper case after
/// `GATEHOUSE_` it is a variable, which wins over the file.
#[derive(Debug)]
pub struct Config {
    /// REST and the status page; default `127.0.0.1:5010`.
    pub listen: SocketAddr,
    /// gRPC for proxies, mutual TLS; default `127.0.0.1:5012`.
    pub link_listen: SocketAddr,
    /// Prometheus `/metrics`, and the health of the process for those who can't reach REST; default `127.0.0.1:5014`.
    pub metrics_listen: SocketAddr,
    /// TLS on `listen`: `tls_cert` and `tls_key`, both or none.
    pub tls: Option<CertificateFiles>,
    /// `sqlite:///path/gatehouse.db` or `postgres://user@host/name`, with `database_password` put in.
    pub database: Secret,
    /// `redis://…` or `rediss://…`; without it replicas wake each other by the database's NOTIFY alone.
    pub redis: Option<Secret>,
    /// The key that encrypts keys, and those that did before: `kek_file` (32 bytes, mode 0600), `kek_env`,
    /// `kek_http_url` with `kek_http_key`, `kek_http_token_file` and `kek_http_ca`, `kek_files_old`.
    pub kek: KekSettings,
    /// The folder with the plane's CA and certificates.
    pub pki_dir: PathBuf,
    /// Days for which audit rows are kept, 1 to 36500; default 400.
    pub audit_days: u32,
    /// Upstreams on loopback over plain http are allowed, listeners off loopback are not.
    pub dev: bool,
    /// Where people reach this service; required when `listen` is not loopback.
    pub public_url: Option<Url>,
    /// Reverse proxies whose word for the address of a client is taken; none by default.
    pub trusted_proxies: Vec<IpNet>,
    /// Where people may be led after they signed in at an upstream, besides pages of ours: below one of these.
    pub login_return_urls: Vec<Url>,
    /// Where credentials by reference lie: `reference_files`, and `reference_http_url` with `reference_http_token_file`
    /// and `reference_http_prefix`.
    pub references: ReferenceSources,
    /// The folder with credentials that other programs write.
    pub import_dir: Option<PathBuf>,
    /// What upstreams may be besides public and https, for all tenants.
    pub egress_rules: Vec<EgressRule>,
    /// Listeners of Gatehouse, which no upstream may name: those given, and this process's own.
    pub own_listeners: Vec<SocketAddr>,
}

/// A configuration, and what was given for it, one line each without secrets.
pub type Read = (Config, Vec<String>);

impl Config {
    /// Reads the file and the environment, and refuses files that control can't work with.
    pub fn load(file: Option<&Path>) -> Result<Read, ConfigError> {
        let mut settings = Settings::load(Program::Control, file);
        let config = Self::take(&mut settings);
        config.check_files(&mut settings);
        settings.finish(config)
    }

    /// The same before `init` has made the files.
    pub fn before_init(file: Option<&Path>) -> Result<Read, ConfigError> {
        let mut settings = Settings::load(Program::Control, file);
        let config = Self::take(&mut settings);
        settings.finish(config)
    }

    /// Reads the text of a file, without the environment and without looking at files.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let mut settings = Settings::read(Program::Control, text, []);
        let config = Self::take(&mut settings);
        settings.finish(config).map(|(config, _)| config)
    }

    fn take(settings: &mut Settings) -> Self {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let mut config = Self {
            listen: settings.address("listen").unwrap_or(loopback(5010)),
            link_listen: settings.address("link_listen").unwrap_or(loopback(5012)),
            metrics_listen: settings.address("metrics_listen").unwrap_or(loopback(5014)),
            tls: settings.certificate(),
            database: database(settings),
            redis: redis(settings),
            kek: KekSettings::take(settings),
            pki_dir: settings.required("pki_dir").into(),
            audit_days: audit_days(settings),
            dev: settings.flag("dev"),
            public_url: settings.url("public_url"),
            trusted_proxies: trusted_proxies(settings),
            login_return_urls: login_return_urls(settings),
            references: references(settings),
            import_dir: settings.path("import_dir"),
            egress_rules: settings.egress_rules(),
            own_listeners: settings.addresses("own_listeners"),
        };
        config.check(settings);
        for own in [config.listen, config.link_listen, config.metrics_listen] {
            if !config.own_listeners.contains(&own) {
                config.own_listeners.push(own);
            }
        }
        config
    }

    /// Where people reach this service, without a slash at its end: the public URL, or loopback.
    pub(crate) fn base_url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let own = || format!("{scheme}://127.0.0.1:{}", self.listen.port());
        self.public_url.as_ref().map_or_else(own, |url| url.as_str().trim_end_matches('/').to_owned())
    }

    /// Mistakes that no single key shows.
    fn check(&self, settings: &mut Settings) {
        let listeners =
            [("listen", self.listen), ("link_listen", self.link_listen), ("metrics_listen", self.metrics_listen)];
        for (key, address) in listeners {
            if self.dev && !is_loopback(address.ip()) {
                settings.wrong(key, "with `dev = true` every listener must be on loopback");
            }
        }
        if !self.dev && !is_loopback(self.listen.ip()) && self.public_url.is_none() {
            settings.wrong("public_url", "required when `listen` is not on loopback");
        }
        if let Some(url) = &self.public_url {
            if url.scheme() == "http" && !outward::is_loopback(url) {
                settings.wrong("public_url", "must use https, but on loopback: passwords and sessions come by it");
            }
            let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
            if !plain || url.password().is_some() {
                settings.wrong("public_url", "must have no query, fragment, user or password");
            }
        }
    }

    /// Files that can't be used. One that a missing key should name is no further mistake.
    fn check_files(&self, settings: &mut Settings) {
        self.kek.check_files(settings, way_out);
        if !self.pki_dir.as_os_str().is_empty()
            && let Err(error) = Pki::load(&self.pki_dir)
        {
            settings.wrong("pki_dir", format_args!("{}{}", telemetry::chain(&error), way_out(&self.pki_dir)));
        }
        if let Some(files) = &self.tls
            && let Err(error) = Certificate::load(files.clone())
        {
            settings.wrong("tls_cert", telemetry::chain(&error));
        }
    }
}

/// What helps where nothing has been made yet.
fn way_out(path: &Path) -> &'static str {
    if path.exists() { "" } else { "; `gatehouse-control init` makes it" }
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// The database's URL, with the password in it that a file of its own may hold.
fn database(settings: &mut Settings) -> Secret {
    let given = Secret::new(settings.required("database"));
    let password = settings.secret("database_password");
    let text = given.expose();
    let url = match text {
        text if text.is_empty() || text.starts_with("sqlite:") => None,
        text if text.starts_with("postgres://") || text.starts_with("postgresql://") => {
            let url = Url::parse(text).ok().filter(Url::has_host);
            if url.is_none() {
                settings.wrong("database", "must be a URL such as postgres://user@host:5432/name");
            }
            url
        }
        _ => {
            settings.wrong("database", "must begin with sqlite: or postgres:");
            None
        }
    };
    let Some(password) = password else { return given };
    match url {
        Some(url) if url.password().is_some() => {
            settings.wrong("database_password", "`database` holds a password already");
            given
        }
        Some(mut url) => match url.set_password(Some(password.expose())) {
            Ok(()) => Secret::new(url.into()),
            Err(()) => given,
        },
        None => {
            settings.wrong("database_password", "only a postgres: database has one");
            given
        }
    }
}

fn redis(settings: &mut Settings) -> Option<Secret> {
    let redis = settings.secret("redis")?;
    let url = Url::parse(redis.expose()).ok();
    if !url.is_some_and(|url| matches!(url.scheme(), "redis" | "rediss") && url.has_host()) {
        settings.wrong("redis", "must be a redis: or rediss: URL");
    }
    Some(redis)
}

fn trusted_proxies(settings: &mut Settings) -> Vec<IpNet> {
    const MUST: &str = "must be networks or addresses of reverse proxies, at most 64, e.g. [\"10.0.0.0/8\"]";
    let nets = settings.list("trusted_proxies", MUST, forwarded::net).unwrap_or_default();
    if nets.len() > 64 {
        settings.wrong("trusted_proxies", MUST);
    }
    nets
}

fn login_return_urls(settings: &mut Settings) -> Vec<Url> {
    const MUST: &str = "must be https URLs (http on loopback), at most 64, e.g. [\"https://app.example/connected\"]";
    let urls = settings.list("login_return_urls", MUST, login_return_url).unwrap_or_default();
    if urls.len() > 64 {
        settings.wrong("login_return_urls", MUST);
    }
    urls
}

fn login_return_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let scheme = url.scheme() == "https" || (url.scheme() == "http" && outward::is_loopback(&url));
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    (scheme && plain && url.has_host()).then_some(url)
}

fn references(settings: &mut Settings) -> ReferenceSources {
    const PREFIX: &str = "must be a path of letters, digits, `-`, `_`, `.` and single slashes, e.g. gatehouse";
    let files = settings.path("reference_files");
    let url = settings.url("reference_http_url");
    let (token_file, prefix) = (settings.path("reference_http_token_file"), settings.text("reference_http_prefix"));
    let segment = |segment: &str| {
        let plain = segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        plain && !segment.is_empty() && !segment.starts_with('.')
    };
    if prefix.as_ref().is_some_and(|prefix| prefix.len() > 256 || !prefix.split('/').all(segment)) {
        settings.wrong("reference_http_prefix", PREFIX);
    }
    let Some(url) = url else {
        for (key, given) in
            [("reference_http_token_file", token_file.is_some()), ("reference_http_prefix", prefix.is_some())]
        {
            if given {
                settings.wrong(key, "only `reference_http_url` has one");
            }
        }
        return ReferenceSources { files, http: None };
    };
    let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if !plain || url.password().is_some() || !(url.scheme() == "https" || outward::is_loopback(&url)) {
        settings.wrong("reference_http_url", "must use https, but on loopback, and have no query, fragment or user");
    }
    let Some(token_file) = token_file else {
        settings.wrong("reference_http_token_file", "required with `reference_http_url`");
        return ReferenceSources { files, http: None };
    };
    let prefix = prefix.unwrap_or_else(|| "gatehouse".to_owned());
    ReferenceSources { files, http: Some(ReferenceHttp { url, token_file, prefix }) }
}

fn audit_days(settings: &mut Settings) -> u32 {
    const MUST: &str = "must be a number of days, 1 to 36500";
    let days = settings.parsed("audit_days", MUST).unwrap_or(AUDIT_DAYS);
    if !(1..=36_500).contains(&days) {
        settings.wrong("audit_days", MUST);
    }
    days
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "database = \"sqlite:///x.db\"\nkek_file = \"kek\"\npki_dir = \"pki\"\n";

    fn told(text: &str) -> String {
        Config::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn the_least_configuration_listens_on_loopback() {
        let config = Config::parse(LEAST).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:5010");
        assert_eq!(config.link_listen.to_string(), "127.0.0.1:5012");
        assert_eq!(config.metrics_listen.to_string(), "127.0.0.1:5014");
        assert!(!config.dev && config.tls.is_none() && config.redis.is_none());
        assert_eq!(config.own_listeners, [config.listen, config.link_listen, config.metrics_listen]);
        assert_eq!(config.audit_days, 400);
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let text = told("listen = \"nowhere\"\nkek_file = 7\nowner = \"me\"\ndev = \"maybe\"\naudit_days = 0\n");
        for key in
            ["`listen`", "`database`: required", "`pki_dir`: required", "`owner`: unknown key", "`dev`", "`audit_days`"]
        {
            assert!(text.contains(key), "{key} in {text}");
        }
    }

    #[test]
    fn each_setting_of_the_register_is_taken() {
        let all: String = daemon::register::of(Program::Control).map(|s| format!("{} = \"x\"\n", s.name)).collect();
        let mut settings = Settings::read(Program::Control, &all, []);
        Config::take(&mut settings);
        assert!(daemon::register::of(Program::Control).all(|setting| settings.is_absent(setting.name)));
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
        assert!(told(&open).contains("`public_url`: required"));
        assert!(Config::parse(&format!("{open}public_url = \"https://gatehouse.example\"\n")).is_ok());
        for (url, fits) in [
            ("https://gatehouse.example:8443/base/", true),
            ("http://localhost:5010", true),
            ("http://[::1]:5010", true),
            ("http://gatehouse.example", false),
            ("http://localhost.example", false),
            ("https://gatehouse.example/?a=b", false),
            ("https://gatehouse.example/#a", false),
            ("https://ann@gatehouse.example/", false),
            ("https://ann:secret@gatehouse.example/", false),
        ] {
            let read = Config::parse(&format!("{LEAST}public_url = \"{url}\"\n"));
            assert_eq!(read.is_ok(), fits, "{url}");
            assert!(!format!("{:?}", read.err()).contains("secret"), "{url}");
        }
    }

    #[test]
    fn each_key_takes_what_it_can_mean_and_nothing_else() {
        for (line, wrong) in [
            ("redis = \"redis://cache:6379/1\"", None),
            ("redis = \"rediss://:pass@cache\"", None),
            ("redis = \"cache:6379\"", Some("`redis`")),
            ("tls_cert = \"c\"\ntls_key = \"k\"", None),
            ("tls_cert = \"c\"", Some("`tls_key`: required with `tls_cert`")),
            ("tls_key = \"k\"", Some("`tls_cert`: required with `tls_key`")),
            ("audit_days = 30", None),
            ("audit_days = \"30\"", None),
            ("audit_days = 40000", Some("`audit_days`")),
            ("egress_rules = [\"10.0.0.0/8:8000-8100 --http\", \"wiki.internal\"]", None),
            ("egress_rules = \"10.0.0.0/8:8000-8100 --http, wiki.internal\"", None),
            ("egress_rules = \"http://wiki\"", Some("`egress_rules`: must be rules HOST|CIDR")),
            ("trusted_proxies = [\"10.0.0.0/8\", \"::1\"]", None),
            ("trusted_proxies = \"10.0.0.0/8, 192.0.2.1\"", None),
            ("trusted_proxies = \"0.0.0.0/0\"", Some("`trusted_proxies`")),
            ("reference_files = \"/secrets\"\nimport_dir = \"/imports\"", None),
            ("reference_http_url = \"https://vault:8200/v1/kv/data\"", Some("`reference_http_token_file`: required")),
            ("reference_http_token_file = \"t\"", Some("`reference_http_token_file`: only")),
            (
                "reference_http_url = \"http://vault/v1/kv/data\"\nreference_http_token_file = \"t\"",
                Some("`reference_http_url`: must use https"),
            ),
            (
                "reference_http_url = \"https://vault/v1/kv/data\"\nreference_http_token_file = \"t\"\n\
                 reference_http_prefix = \"a/../b\"",
                Some("`reference_http_prefix`: must be a path"),
            ),
            ("trusted_proxies = \"proxy.example\"", Some("`trusted_proxies`")),
            ("login_return_urls = [\"https://app.example/done\", \"http://127.0.0.1:3000\"]", None),
            ("login_return_urls = \"http://app.example/done\"", Some("`login_return_urls`")),
            ("login_return_urls = \"javascript:alert(1)\"", Some("`login_return_urls`")),
            ("kek_files_old = [\"a\", \"b\"]", None),
            ("kek_files_old = 7", Some("`kek_files_old`")),
            ("kek_env = \"GATEHOUSE_KEK\"", Some("`kek_env`: must be the name")),
            ("kek_env = \"NO_SUCH_VARIABLE\"", Some("`kek_env`: names a variable that is not there")),
            ("kek_http_key = \"k\"", Some("`kek_http_key`: only `kek_http_url`")),
            ("kek_http_url = \"https://vault/v1/transit\"", Some("`kek_http_key`: required")),
            ("kek_http_url = \"https://vault/v1/transit\"\nkek_http_key = \"k\"\nkek_http_token_file = \"t\"", None),
            (
                "kek_http_url = \"http://vault/v1/transit\"\nkek_http_key = \"k\"\nkek_http_token_file = \"t\"",
                Some("`kek_http_url`: must use https"),
            ),
            (
                "kek_http_url = \"https://vault/v1/transit\"\nkek_http_key = \"a/../b\"\nkek_http_token_file = \"t\"",
                Some("`kek_http_key`: must be the name"),
            ),
            ("database_password = \"p\"", Some("`database_password`: only a postgres: database has one")),
        ] {
            let read = Config::parse(&format!("{LEAST}{line}\n"));
            match wrong {
                None => assert!(read.is_ok(), "{line}: {read:?}"),
                Some(wrong) => assert!(read.as_ref().is_err_and(|e| e.to_string().contains(wrong)), "{line}: {read:?}"),
            }
        }
    }

    #[test]
    fn the_password_of_the_database_may_stand_beside_its_url() {
        let with = |database: &str, password: &str| {
            Config::parse(&format!(
                "database = \"{database}\"\ndatabase_password = \"{password}\"\nkek_file = \"k\"\npki_dir = \"p\"\n"
            ))
        };
        let config = with("postgres://gatehouse@db:5432/gatehouse?sslmode=require", "p@ss/word").unwrap();
        assert_eq!(config.database.expose(), "postgres://gatehouse:p%40ss%2Fword@db:5432/gatehouse?sslmode=require");
        assert!(!format!("{config:?}").contains("word"));
        let twice = with("postgres://gatehouse:one@db/gatehouse", "two").unwrap_err().to_string();
        assert!(twice.contains("holds a password already") && !twice.contains("one") && !twice.contains("two"));
        assert!(with("postgres://", "p").unwrap_err().to_string().contains("`database`: must be a URL"));
    }

    #[test]
    fn files_that_are_not_there_are_mistakes_too() {
        let dir = tempfile::tempdir().unwrap();
        let (kek, pki, file) = (dir.path().join("kek"), dir.path().join("pki"), dir.path().join("control.toml"));
        let text = format!(
            "database = \"sqlite:///x.db\"\nkek_file = {kek:?}\npki_dir = {pki:?}\ntls_cert = {kek:?}\ntls_key = \"/no\"\n"
        );
        std::fs::write(&file, &text).unwrap();
        let told = Config::load(Some(&file)).unwrap_err().to_string();
        for key in ["`kek_file`: ", "`pki_dir`: ", "`tls_cert`: "] {
            assert!(told.contains(key), "{told}");
        }
        vault::LocalKek::init(&kek).unwrap();
        Pki::init(&pki).unwrap();
        std::fs::write(&file, text.split("tls_cert").next().unwrap()).unwrap();
        let (_, given) = Config::load(Some(&file)).unwrap();
        assert!(given.iter().any(|line| line == "database = (not shown)  # the file"), "{given:?}");
    }
}
