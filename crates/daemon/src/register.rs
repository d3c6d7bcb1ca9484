//! Every setting of the two processes, and every other variable that a Gatehouse program reads: what
//! is not here is a slip of the pen, and refused.
//!
//! `deploy/README.md` and `deploy/env.example` say the same for people; a test holds them together.

use self::Program::{Control, Proxy};

/// A process with a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `gatehouse-control`
    Control,
    /// `gatehouse-proxy`
    Proxy,
}

/// A key of a configuration file; in capitals after `GATEHOUSE_` a variable; with `_file` behind it,
/// in either place, the name of a file that holds the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The key.
    pub name: &'static str,
    /// Who reads it.
    pub of: &'static [Program],
    /// Its value is never shown.
    pub secret: bool,
}

const fn setting(name: &'static str, of: &'static [Program]) -> Setting {
    Setting { name, of, secret: false }
}

const fn secret(name: &'static str, of: &'static [Program]) -> Setting {
    Setting { name, of, secret: true }
}

/// All settings.
pub const SETTINGS: &[Setting] = &[
    setting("listen", &[Control, Proxy]),
    setting("metrics_listen", &[Control, Proxy]),
    setting("tls_cert", &[Control, Proxy]),
    setting("tls_key", &[Control, Proxy]),
    setting("public_url", &[Control, Proxy]),
    setting("egress_rules", &[Control, Proxy]),
    setting("own_listeners", &[Control, Proxy]),
    setting("dev", &[Control, Proxy]),
    setting("link_listen", &[Control]),
    secret("database", &[Control]),
    secret("database_password", &[Control]),
    secret("redis", &[Control]),
    setting("kek_file", &[Control]),
    setting("kek_files_old", &[Control]),
    setting("kek_env", &[Control]),
    setting("kek_http_url", &[Control]),
    setting("kek_http_key", &[Control]),
    setting("kek_http_token_file", &[Control]),
    setting("kek_http_ca", &[Control]),
    setting("pki_dir", &[Control]),
    setting("audit_days", &[Control]),
    setting("trusted_proxies", &[Control]),
    setting("reference_files", &[Control]),
    setting("reference_http_url", &[Control]),
    setting("reference_http_token_file", &[Control]),
    setting("reference_http_prefix", &[Control]),
    setting("import_dir", &[Control]),
    setting("login_return_urls", &[Control]),
    setting("control", &[Proxy]),
    setting("link_ca", &[Proxy]),
    setting("link_cert", &[Proxy]),
    setting("link_key", &[Proxy]),
    setting("pool", &[Proxy]),
    setting("data_dir", &[Proxy]),
    setting("peer_listen", &[Proxy]),
    setting("peer_address", &[Proxy]),
];

/// Variables that are no settings, for people who run Gatehouse.
pub const OTHERS: &[&str] = &[
    "GATEHOUSE_LOG",
    "GATEHOUSE_LOG_FORMAT",
    "GATEHOUSE_CONTROL_CONFIG",
    "GATEHOUSE_PROXY_CONFIG",
    "GATEHOUSE_PARENT_PIPE",
    "GATEHOUSE_URL",
    "GATEHOUSE_KEY",
    "GATEHOUSE_HOME",
    "GATEHOUSE_CA_FILE",
    "GATEHOUSE_MCP_URL",
    "GATEHOUSE_BIN_DIR",
];

/// Variables that only tests set; those of [`TEST_PREFIX`] too.
const OF_TESTS: &[&str] = &[
    "GATEHOUSE_TIME_SCALE",
    "GATEHOUSE_CLOCK_OFFSET",
    "GATEHOUSE_CRASH_AT",
    "GATEHOUSE_LONG",
    "GATEHOUSE_NODE_MODULES",
];

/// What the test suite calls its own variables.
const TEST_PREFIX: &str = "GATEHOUSE_TEST_";

/// What every variable of Gatehouse begins with.
pub const PREFIX: &str = "GATEHOUSE_";

impl Setting {
    /// The name of its variable.
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.name.to_ascii_uppercase())
    }
}

/// The setting of that name.
pub fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// Settings that this process reads.
pub fn of(program: Program) -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().filter(move |setting| setting.of.contains(&program))
}

/// The setting that a key stands for, and whether the key names a file that holds its value.
pub fn key(name: &str) -> Option<(&'static Setting, bool)> {
    match find(name) {
        Some(setting) => Some((setting, false)),
        None => name.strip_suffix("_file").and_then(find).map(|setting| (setting, true)),
    }
}

/// Whether some Gatehouse program, or nobody of us at all, gives the variable its meaning.
pub fn is_known(variable: &str) -> bool {
    let Some(name) = variable.strip_prefix(PREFIX) else { return true };
    OTHERS.contains(&variable)
        || OF_TESTS.contains(&variable)
        || variable.starts_with(TEST_PREFIX)
        || key(&name.to_ascii_lowercase()).is_some()
        || is_service_link(name)
}

/// Kubernetes tells each container where the services of its namespace are: a service called
/// `gatehouse-control` becomes `GATEHOUSE_CONTROL_SERVICE_HOST`, `GATEHOUSE_CONTROL_PORT_5010_TCP` and the like.
fn is_service_link(name: &str) -> bool {
    let port = name.split_once("_PORT_").is_some_and(|(_, port)| port.starts_with(|c: char| c.is_ascii_digit()));
    port || name.contains("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || ["PORT", "SERVICE_HOST", "SERVICE_PORT"].contains(&name)
        || name.starts_with("PORT_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        for (variable, known) in [
            ("PATH", true),
            ("GATEHOUSE_LISTEN", true),
            ("GATEHOUSE_DATABASE_FILE", true),
            ("GATEHOUSE_KEK_FILE", true),
            ("GATEHOUSE_KEK_FILE_FILE", true),
            ("GATEHOUSE_KEK", false),
            ("GATEHOUSE_LOG", true),
            ("GATEHOUSE_LOG_FILE", false),
            ("GATEHOUSE_PUBLIC_ULR", false),
            ("GATEHOUSE_Listen", true),
            ("GATEHOUSE_CONTROL_PORT", true),
            ("GATEHOUSE_CONTROL_PORT_5010_TCP_ADDR", true),
            ("GATEHOUSE_CONTROL_SERVICE_PORT_REST", true),
            ("GATEHOUSE_PORT_RANGE", true),
            ("GATEHOUSE_TEST_ANYTHING", true),
        ] {
            assert_eq!(is_known(variable), known, "{variable}");
        }
    }

    #[test]
    fn no_name_stands_for_two_things() {
        for (at, setting) in SETTINGS.iter().enumerate() {
            assert!(SETTINGS.iter().skip(at + 1).all(|other| other.name != setting.name), "{}", setting.name);
            assert!(find(&format!("{}_file", setting.name)).is_none(), "{}", setting.name);
            assert!(!setting.of.is_empty());
        }
    }
}
