//! What a person gave: read strictly, kept sealed, never shown.

use std::fmt;

use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::secret::{MAX_SEALED, SecretJson, is_masked, masked};
use super::template::{is_configured, shown};
use crate::rest::code::Code;
use crate::rest::fields::{FieldError, Wrong};

/// Secrets of one credential, and bytes of the name of one.
const MAX_SECRETS: usize = 32;
const MAX_NAME: usize = 128;
/// Members beside `secrets`.
const MEMBERS: [&str; 7] =
    ["access_token", "refresh_token", "expires_in", "expires_at", "scope", "token_type", "issuer_url"];

/// A credential: named secrets, and a token if the person had one already.
pub(crate) struct Credential(SecretJson);

impl Credential {
    /// The one of a server that needs none.
    pub(crate) fn empty() -> Self {
        Self(SecretJson::new(json!({"secrets": {}})))
    }

    /// Reads a body's member: an object, or a text that is the token itself. The paths of mistakes begin inside it, and
    /// the path of the whole is empty.
    pub(crate) fn parse(value: Value) -> Result<Self, Vec<FieldError>> {
        let mut wrong = Wrongs::default();
        let read = match value {
            Value::String(text) => {
                wrong.text("", &text);
                Self::of_text(&text)
            }
            Value::Object(members) => Self::of_members(members, &mut wrong),
            _ => {
                wrong.add("", (Code::Type, "must be a text or an object with `secrets`".to_owned()));
                Self::empty()
            }
        };
        if read.to_json().len() > MAX_SEALED {
            wrong.add("", (Code::TooLong, format!("at most {MAX_SEALED} bytes in all")));
        }
        if wrong.0.is_empty() { Ok(read) } else { Err(wrong.0) }
    }

    /// Reads the content of a file or of another system's row: JSON of a credential, or the token itself.
    pub(crate) fn parse_str(text: &str) -> Result<Self, Vec<FieldError>> {
        let text = text.trim_end_matches(['\r', '\n']);
        match SecretJson::parse(text.as_bytes()) {
            Some(mut json) if json.expose().is_object() => Self::parse(json.take()),
            _ => Self::parse(Value::String(text.to_owned())),
        }
    }

    /// To be sealed.
    pub(crate) fn to_json(&self) -> Zeroizing<Vec<u8>> {
        self.0.to_bytes()
    }

    /// What was sealed; `None` for anything else.
    pub(crate) fn from_json(bytes: &[u8]) -> Option<Self> {
        let json = SecretJson::parse(bytes)?;
        json.expose().get("secrets")?.as_object()?;
        Some(Self(json))
    }

    /// The secret at this path.
    pub(crate) fn secret(&self, path: &str) -> Option<&Value> {
        let mut found = None;
        if let Some(secrets) = self.0.expose().get("secrets") {
            found = super::secret::at(secrets, path);
        }
        // `access_token` may stand beside the secrets too.
        found.or_else(|| if path == "access_token" { self.0.expose().get("access_token") } else { None })
    }

    /// The same, if it is a text.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.secret(path)?.as_str()
    }

    /// The token that the person gave.
    pub(crate) fn access_token(&self) -> Option<&str> {
        self.member_text("access_token").or_else(|| self.text("access_token"))
    }

    /// What the person gave to get new tokens with.
    pub(crate) fn refresh_token(&self) -> Option<&str> {
        self.member_text("refresh_token").or_else(|| self.text("refresh_token"))
    }

    /// A member beside the secrets.
    pub(crate) fn member(&self, name: &str) -> Option<Value> {
        MEMBERS.contains(&name).then(|| self.0.expose().get(name).cloned()).flatten()
    }

    /// The same as a text.
    pub(crate) fn member_text(&self, name: &str) -> Option<&str> {
        self.0.expose().get(name)?.as_str()
    }

    /// Whether it has this secret. Where there is `one` place for a secret, a single text will do for it.
    pub(crate) fn has(&self, name: &str, one: bool) -> bool {
        let there = self.secret(name).is_some_and(|value| !value.is_null() && value.as_str() != Some(""));
        there || (one || name == "access_token") && self.access_token().is_some()
    }

    /// Names of its secrets.
    pub(crate) fn names(&self) -> Vec<&str> {
        let secrets = self.0.expose().get("secrets").and_then(Value::as_object);
        secrets.into_iter().flat_map(Map::keys).map(String::as_str).collect()
    }

    /// Puts a secret in the place of the one of that name; `None` takes it away.
    pub(crate) fn set(&mut self, name: &str, secret: Option<&str>) {
        let mut value = self.0.take();
        if let Some(members) = value.as_object_mut() {
            let secrets = members.entry("secrets").or_insert_with(|| json!({}));
            if let Some(secrets) = secrets.as_object_mut() {
                let old = match secret {
                    Some(secret) => secrets.insert(name.to_owned(), Value::String(secret.to_owned())),
                    None => secrets.remove(name),
                };
                drop(old.map(SecretJson::new));
            }
            if name == "access_token" {
                let old = match secret {
                    Some(secret) => members.insert(name.to_owned(), Value::String(secret.to_owned())),
                    None => members.remove(name),
                };
                drop(old.map(SecretJson::new));
            }
        }
        self.0 = SecretJson::new(value);
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.names().is_empty() && MEMBERS.iter().all(|name| self.0.expose().get(name).is_none())
    }

    /// Every secret text in it, each once: what fingerprints are made of.
    pub(crate) fn secret_values(&self) -> Vec<&str> {
        let mut found = Vec::new();
        if let Some(secrets) = self.0.expose().get("secrets") {
            super::secret::texts(secrets, &mut found);
        }
        found.extend(["access_token", "refresh_token"].into_iter().filter_map(|name| self.member_text(name)));
        let mut once = Vec::new();
        for text in found {
            if !text.is_empty() && !once.contains(&text) {
                once.push(text);
            }
        }
        once
    }

    fn of_text(text: &str) -> Self {
        Self(SecretJson::new(json!({"secrets": {"access_token": text}, "access_token": text})))
    }

    fn of_members(mut members: Map<String, Value>, wrong: &mut Wrongs) -> Self {
        let secrets = match members.remove("secrets") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(secrets)) => secrets,
            Some(_) => {
                wrong.add("secrets", (Code::Type, "must be an object of names and values".to_owned()));
                Map::new()
            }
        };
        if secrets.len() > MAX_SECRETS {
            wrong.add("secrets", (Code::TooMany, format!("at most {MAX_SECRETS} secrets")));
        }
        for (name, value) in &secrets {
            let path = format!("secrets.{}", shown(name));
            if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
                wrong.add(&path, (Code::TooLong, format!("a name is 1 to {MAX_NAME} bytes to be seen")));
            }
            wrong.value(&path, value);
        }
        let mut read = Map::new();
        for (name, value) in members {
            let path = shown(&name);
            match (name.as_str(), &value) {
                (name, _) if !MEMBERS.contains(&name) => {
                    wrong.add(&path, (Code::UnknownField, "unknown field".to_owned()));
                }
                (_, Value::Null) => (),
                ("expires_in" | "expires_at", Value::Number(_)) => drop(read.insert(name, value)),
                (_, Value::String(text)) => {
                    wrong.text(&path, text);
                    read.insert(name, value);
                }
                _ => wrong.add(&path, (Code::Type, "must be a text".to_owned())),
            }
        }
        read.insert("secrets".to_owned(), Value::Object(secrets));
        Self(SecretJson::new(Value::Object(read)))
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[derive(Default)]
struct Wrongs(Vec<FieldError>);

impl Wrongs {
    fn add(&mut self, field: &str, (code, detail): Wrong) {
        self.0.push(FieldError { field: field.to_owned(), code, detail });
    }

    fn text(&mut self, field: &str, text: &str) {
        if text.is_empty() {
            self.add(field, (Code::Required, "must not be empty".to_owned()));
        } else if is_masked(text) {
            self.add(field, masked());
        }
    }

    fn value(&mut self, field: &str, value: &Value) {
        match value {
            Value::Null => self.add(field, (Code::Required, "must not be empty".to_owned())),
            Value::String(text) => self.text(field, text),
            value if is_configured(value) => self.add(field, masked()),
            Value::Object(members) => {
                for (name, value) in members {
                    self.value(&format!("{field}.{}", shown(name)), value);
                }
            }
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    self.value(&format!("{field}.{at}"), item);
                }
            }
            Value::Bool(_) | Value::Number(_) => (),
        }
    }
}
