//! Reads settings: a TOML file, before it the environment, every mistake collected.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use model::{EgressRule, Secret};
use toml::{Table, Value};
use url::Url;

use crate::register::{self, PREFIX, Program};
use crate::{CertificateFiles, ConfigError};

/// Largest file that holds one value.
const LARGEST_VALUE: usize = 64 << 10;

/// What was given, taken setting by setting, and what is wrong with it.
pub struct Settings {
    program: Program,
    given: BTreeMap<&'static str, Given>,
    shown: Vec<String>,
    wrong: Vec<String>,
}

/// A value and where it stands.
struct Given {
    value: Value,
    from: String,
}

impl Settings {
    /// Reads the file, if there is one to read, and this process's environment.
    pub fn load(program: Program, file: Option<&Path>) -> Self {
        let text =
            file.map(|file| std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display())));
        match text.transpose() {
            Ok(text) => Self::read(program, text.as_deref().unwrap_or_default(), std::env::vars_os()),
            Err(unreadable) => {
                let mut settings = Self::read(program, "", std::env::vars_os());
                settings.wrong.insert(0, unreadable);
                settings
            }
        }
    }

    /// Reads the text of a file and these variables.
    pub fn read(program: Program, text: &str, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut settings = Self { program, given: BTreeMap::new(), shown: Vec::new(), wrong: Vec::new() };
        match text.parse::<Table>() {
            Ok(table) => settings.take_file(table),
            Err(error) => settings.wrong.push(syntax(text, &error)),
        }
        // In order, so that the same mistakes are told in the same order.
        let variables: BTreeMap<OsString, OsString> = variables.into_iter().collect();
        let mut from_variables = BTreeMap::new();
        for (name, value) in variables {
            let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
            settings.take_variable(name, value, &mut from_variables);
        }
        settings.given.append(&mut from_variables);
        settings
    }

    fn take_file(&mut self, table: Table) {
        for (key, value) in table {
            match register::key(&key) {
                Some((setting, _)) if !setting.of.contains(&self.program) => {
                    self.wrong.push(format!("`{key}`: this process has no such setting, another one has"));
                }
                Some((setting, _)) if self.given.contains_key(setting.name) => {
                    self.wrong.push(format!("`{}`: given both as a value and as a file", setting.name));
                }
                Some((setting, false)) => {
                    self.given.insert(setting.name, Given { value, from: "the file".to_owned() });
                }
                Some((setting, true)) => match value.as_str() {
                    Some(path) => {
                        if let Some(value) = self.read_value(&key, path) {
                            self.given.insert(setting.name, value);
                        }
                    }
                    None => self.wrong.push(format!("`{key}`: must be a path")),
                },
                None => self.wrong.push(format!("`{key}`: unknown key")),
            }
        }
    }

    fn take_variable(&mut self, name: &str, value: OsString, taken: &mut BTreeMap<&'static str, Given>) {
        let key = name.strip_prefix(PREFIX).unwrap_or(name).to_ascii_lowercase();
        // One environment may serve both processes: what the other one reads is none of this one's business.
        let Some((setting, is_file)) = register::key(&key).filter(|(setting, _)| setting.of.contains(&self.program))
        else {
            if !register::is_known(name) {
                self.wrong.push(format!("`{name}`: no Gatehouse program knows this variable"));
            }
            return;
        };
        let Ok(text) = value.into_string() else {
            self.wrong.push(format!("`{name}`: must be UTF-8"));
            return;
        };
        if taken.contains_key(setting.name) {
            self.wrong.push(format!("`{}`: given both as a value and as a file", setting.variable()));
            return;
        }
        let value = match is_file {
            true => self.read_value(name, &text),
            false => Some(Given { value: Value::String(text), from: name.to_owned() }),
        };
        if let Some(value) = value {
            taken.insert(setting.name, value);
        }
    }

    /// The text of a file, without the line's end that editors leave.
    fn read_value(&mut self, key: &str, path: &str) -> Option<Given> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) if text.len() <= LARGEST_VALUE => text,
            Ok(_) => {
                self.wrong.push(format!("`{key}`: {path}: longer than 64 KiB"));
                return None;
            }
            Err(error) => {
                self.wrong.push(format!("`{key}`: {path}: {error}"));
                return None;
            }
        };
        let text = text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text)).unwrap_or(&text);
        Some(Given { value: Value::String(text.to_owned()), from: format!("{key} = {path}") })
    }

    /// Whether nothing was given for it.
    pub fn is_absent(&self, name: &str) -> bool {
        !self.given.contains_key(name)
    }

    /// Notes a mistake. `detail` never shows the value.
    pub fn wrong(&mut self, name: &str, detail: impl std::fmt::Display) {
        self.wrong.push(format!("`{name}`: {detail}"));
    }

    fn take(&mut self, name: &'static str) -> Option<Value> {
        let setting = register::of(self.program).find(|setting| setting.name == name);
        debug_assert!(setting.is_some(), "`{name}` is not in the register");
        let Given { value, from } = self.given.remove(name)?;
        let value_shown = match setting {
            Some(setting) if !setting.secret => value.to_string(),
            _ => "(not shown)".to_owned(),
        };
        self.shown.push(format!("{name} = {value_shown}  # {from}"));
        Some(value)
    }

    /// The value as text; numbers and flags count as their text, since a variable has no type.
    /// What is empty was not given: a container can't unset a variable.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text).filter(|text| !text.is_empty()),
            Value::Boolean(flag) => Some(flag.to_string()),
            Value::Integer(number) => Some(number.to_string()),
            _ => {
                self.wrong(name, "must be a text");
                None
            }
        }
    }

    /// The value as a text that must be there; empty, with a mistake noted, where it isn't.
    pub fn required(&mut self, name: &'static str) -> String {
        let before = self.wrong.len();
        let text = self.text(name).unwrap_or_default();
        if text.is_empty() && self.wrong.len() == before {
            self.wrong(name, "required");
        }
        text
    }

    /// A text that is never shown.
    pub fn secret(&mut self, name: &'static str) -> Option<Secret> {
        self.text(name).map(Secret::new)
    }

    /// A path.
    pub fn path(&mut self, name: &'static str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }

    /// `true` or `false`, also as 1 or 0; false if it isn't there.
    pub fn flag(&mut self, name: &'static str) -> bool {
        match self.text(name).as_deref() {
            None | Some("false" | "0") => false,
            Some("true" | "1") => true,
            Some(_) => {
                self.wrong(name, "must be true or false");
                false
            }
        }
    }

    /// Anything that is read from text; `must` says what it must be.
    pub fn parsed<T: FromStr>(&mut self, name: &'static str, must: &str) -> Option<T> {
        let parsed = self.text(name)?.parse().ok();
        if parsed.is_none() {
            self.wrong(name, must);
        }
        parsed
    }

    /// An address with a port.
    pub fn address(&mut self, name: &'static str) -> Option<SocketAddr> {
        self.parsed(name, "must be an address and a port, e.g. 127.0.0.1:5010")
    }

    /// An http or https URL with a host.
    pub fn url(&mut self, name: &'static str) -> Option<Url> {
        let text = self.text(name)?;
        let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if url.is_none() {
            self.wrong(name, "must be an http or https URL");
        }
        url
    }

    /// A list, or one text with commas, as a variable has it; `None` if it isn't there or is wrong.
    pub fn list<T>(&mut self, name: &'static str, must: &str, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
        let value = self.take(name)?;
        let texts: Option<Vec<&str>> = match &value {
            Value::Array(items) => items.iter().map(Value::as_str).collect(),
            value => {
                value.as_str().map(|text| text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect())
            }
        };
        let list = texts.and_then(|texts| texts.into_iter().map(read).collect());
        if list.is_none() {
            self.wrong(name, must);
        }
        list
    }

    /// Addresses with ports; none if it isn't there.
    pub fn addresses(&mut self, name: &'static str) -> Vec<SocketAddr> {
        let must = "must be addresses with ports, e.g. [\"127.0.0.1:5010\"]";
        self.list(name, must, |text| text.parse().ok()).unwrap_or_default()
    }

    /// `egress_rules`: what upstreams may be besides public and https.
    pub fn egress_rules(&mut self) -> Vec<EgressRule> {
        let must = "must be rules HOST|CIDR[:PORTS][ --http], e.g. [\"10.20.0.0/16:8000-8100 --http\"]";
        self.list("egress_rules", must, |text| text.parse().ok()).unwrap_or_default()
    }

    /// `tls_cert` and `tls_key`: both or none.
    pub fn certificate(&mut self) -> Option<CertificateFiles> {
        match (self.path("tls_cert"), self.path("tls_key")) {
            (Some(cert), Some(key)) => Some(CertificateFiles { cert, key }),
            (Some(_), None) => {
                self.wrong("tls_key", "required with `tls_cert`");
                None
            }
            (None, Some(_)) => {
                self.wrong("tls_cert", "required with `tls_key`");
                None
            }
            (None, None) => None,
        }
    }

    /// The end, when every setting was taken: `read`, if nothing is wrong, and for people what was
    /// given, one line each.
    pub fn finish<T>(mut self, read: T) -> Result<(T, Vec<String>), ConfigError> {
        debug_assert!(self.given.is_empty(), "settings that nobody takes: {:?}", self.given.keys());
        if self.wrong.is_empty() {
            self.shown.sort();
            Ok((read, self.shown))
        } else {
            Err(ConfigError(self.wrong))
        }
    }
}

/// What the parser says, without the line that it stumbled over: there may be a password in it.
fn syntax(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    // The first line of the message; what follows may quote the text.
    let message = error.message().lines().next().unwrap_or("no TOML");
    let message = message.split('`').next().unwrap_or(message).trim_end();
    format!("line {line} of the file is no TOML: {message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "hunter2";

    fn control(text: &str, variables: &[(&str, &str)]) -> Settings {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        Settings::read(Program::Control, text, variables)
    }

    /// What is wrong after `take` took what it wanted.
    fn wrong(mut settings: Settings, take: impl FnOnce(&mut Settings)) -> Vec<String> {
        take(&mut settings);
        settings.given.clear();
        settings.finish(()).err().map(|error| error.0).unwrap_or_default()
    }

    #[test]
    fn a_variable_goes_before_the_file() {
        let mut settings = control("listen = \"127.0.0.1:1\"\n", &[("GATEHOUSE_LISTEN", "127.0.0.1:2")]);
        assert_eq!(settings.address("listen").unwrap().port(), 2);
    }

    #[test]
    fn a_value_may_stand_in_a_file_of_its_own_whichever_way_it_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("database");
        std::fs::write(&path, format!("postgres://{SECRET}\n")).unwrap();
        let path = path.to_str().unwrap();
        let read = |mut settings: Settings| settings.secret("database").unwrap().expose().to_owned();
        assert_eq!(read(control("", &[("GATEHOUSE_DATABASE_FILE", path)])), "postgres://hunter2");
        assert_eq!(read(control(&format!("database_file = {path:?}\n"), &[])), "postgres://hunter2");
        assert_eq!(read(control("database = \"x\"\n", &[("GATEHOUSE_DATABASE_FILE", path)])), "postgres://hunter2");
        let both = control("", &[("GATEHOUSE_DATABASE", "x"), ("GATEHOUSE_DATABASE_FILE", path)]);
        assert_eq!(wrong(both, |_| ()), ["`GATEHOUSE_DATABASE`: given both as a value and as a file"]);
        let both = control(&format!("database = \"x\"\ndatabase_file = {path:?}\n"), &[]);
        assert_eq!(wrong(both, |_| ()), ["`database`: given both as a value and as a file"]);
        let missing = wrong(control("", &[("GATEHOUSE_REDIS_FILE", "/nowhere/redis")]), |_| ());
        assert!(missing[0].starts_with("`GATEHOUSE_REDIS_FILE`: /nowhere/redis: "), "{missing:?}");
    }

    #[test]
    fn what_nobody_knows_is_refused_and_what_another_process_reads_is_not() {
        let variables = [
            ("GATEHOUSE_PUBLIC_ULR", "x"),
            ("GATEHOUSE_DATA_DIR", "the proxy's"),
            ("GATEHOUSE_LOG", "info"),
            ("PATH", "x"),
        ];
        assert_eq!(
            wrong(control("owner = 1\ndata_dir = \"x\"\n", &variables), |_| ()),
            [
                "`data_dir`: this process has no such setting, another one has",
                "`owner`: unknown key",
                "`GATEHOUSE_PUBLIC_ULR`: no Gatehouse program knows this variable",
            ]
        );
    }

    #[test]
    fn an_empty_value_was_not_given() {
        let mut settings = control("", &[("GATEHOUSE_PUBLIC_URL", ""), ("GATEHOUSE_OWN_LISTENERS", "")]);
        assert!(settings.url("public_url").is_none());
        assert_eq!(settings.addresses("own_listeners"), []);
        assert!(settings.finish(()).is_ok());
    }

    #[test]
    fn a_list_may_be_one_text_with_commas() {
        for (own, read) in [
            ("\"127.0.0.1:5010\"", Some(1)),
            ("\"127.0.0.1:5010, [::1]:5011,\"", Some(2)),
            ("[\"127.0.0.1:5010\"]", Some(1)),
            ("[]", Some(0)),
            ("[\"127.0.0.1:5010\", 7]", None),
            ("\"nowhere\"", None),
            ("7", None),
        ] {
            let mut settings = control(&format!("own_listeners = {own}\n"), &[]);
            let addresses = settings.addresses("own_listeners");
            assert_eq!(settings.finish(addresses.len()).ok().map(|(count, _)| count), read, "{own}");
        }
    }

    #[test]
    fn no_value_of_a_secret_is_ever_shown() {
        let text = format!("database = \"postgres://u:{SECRET}@db/x\"\nredis = \"redis://:{SECRET}@r\"\n");
        let mut settings = control(&text, &[]);
        settings.secret("database");
        settings.secret("redis");
        let (_, shown) = settings.finish(()).unwrap();
        assert_eq!(shown, ["database = (not shown)  # the file", "redis = (not shown)  # the file"]);
        for broken in [
            format!("database = \"postgres://u:{SECRET}@db"),
            format!("database = postgres://u:{SECRET}@db/x\n"),
            format!("database = \"x\"\ndatabase = \"{SECRET}\"\n"),
            format!("[{SECRET}"),
            format!("listen = {{ {SECRET} }}\n"),
        ] {
            let told = wrong(control(&broken, &[]), |_| ());
            assert!(told.len() == 1 && !told[0].contains(SECRET), "{told:?}");
        }
        let told = wrong(control(&format!("database = [\"{SECRET}\"]\n"), &[]), |settings| {
            settings.secret("database");
        });
        assert_eq!(told, ["`database`: must be a text"]);
    }

    #[test]
    fn a_syntax_error_names_its_line() {
        let told = wrong(control("listen = \"127.0.0.1:1\"\n\npublic_url = \n", &[]), |_| ());
        assert!(told[0].starts_with("line 3 of the file is no TOML"), "{told:?}");
    }
}
