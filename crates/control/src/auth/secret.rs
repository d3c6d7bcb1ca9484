//! Secrets of a server's settings, and JSON that is wiped when it goes.

use std::collections::BTreeMap;
use std::fmt;

use model::Secret;
use serde_json::{Map, Value};
use zeroize::{Zeroize, Zeroizing};

use super::compose::ComposeError;
use crate::rest::code::Code;
use crate::rest::fields::Wrong;

/// Bytes of what is sealed at once.
pub(crate) const MAX_SEALED: usize = 16 << 10;

/// The server's own secrets, by their paths within its settings: a client's secret, literal secrets of a token request.
#[derive(Default)]
pub(crate) struct AuthSecret(BTreeMap<String, Secret>);

impl AuthSecret {
    /// With these.
    pub(crate) fn of(secrets: impl IntoIterator<Item = (String, Secret)>) -> Self {
        Self(secrets.into_iter().collect())
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one at this path.
    pub(crate) fn get(&self, path: &str) -> Option<&Secret> {
        self.0.get(path)
    }

    /// Takes the one at this path out.
    pub(crate) fn take(&mut self, path: &str) -> Option<Secret> {
        self.0.remove(path)
    }

    /// Adds one.
    pub(crate) fn put(&mut self, path: String, secret: Secret) {
        self.0.insert(path, secret);
    }

    /// Which are configured.
    #[cfg(test)]
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// To be sealed.
    pub(crate) fn to_json(&self) -> Zeroizing<Vec<u8>> {
        let members = self.0.iter().map(|(path, secret)| (path.clone(), Value::String(secret.expose().to_owned())));
        SecretJson::new(Value::Object(members.collect())).to_bytes()
    }

    /// What was sealed; `None` for anything else.
    pub(crate) fn from_json(bytes: &[u8]) -> Option<Self> {
        let mut json = SecretJson::parse(bytes)?;
        let Value::Object(members) = json.take() else { return None };
        let read = |(path, value)| match value {
            Value::String(text) => Some((path, Secret::new(text))),
            _ => None,
        };
        members.into_iter().map(read).collect::<Option<_>>().map(Self)
    }
}

impl fmt::Debug for AuthSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// JSON with secrets in it: never printed, wiped when it goes.
pub(crate) struct SecretJson(Value);

impl SecretJson {
    /// Takes the value.
    pub(crate) fn new(value: Value) -> Self {
        Self(value)
    }

    /// Takes a text.
    pub(crate) fn of(secret: Secret) -> Self {
        Self(Value::String(secret.expose().to_owned()))
    }

    /// Reads bytes; `None` when they are no JSON.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().map(Self)
    }

    /// The only way in.
    pub(crate) fn expose(&self) -> &Value {
        &self.0
    }

    /// The value at a dotted path; a member whose own name has dots is found too.
    pub(crate) fn at(&self, path: &str) -> Option<&Value> {
        at(&self.0, path)
    }

    /// Takes the value out; who takes it wipes it.
    pub(crate) fn take(&mut self) -> Value {
        std::mem::take(&mut self.0)
    }

    /// Adds an item to an array; to anything else nothing.
    pub(crate) fn push(&mut self, mut item: Self) {
        if let Value::Array(items) = &mut self.0 {
            items.push(item.take());
        }
    }

    /// Puts a member into an object; into anything else none.
    pub(crate) fn insert(&mut self, name: &str, mut item: Self) {
        if let Value::Object(members) = &mut self.0 {
            members.insert(name.to_owned(), item.take());
        }
    }

    /// As a text: what is none is written as JSON.
    pub(crate) fn into_text(mut self) -> Result<Secret, ComposeError> {
        Ok(match self.take() {
            Value::String(text) => Secret::new(text),
            other => Secret::new(Self(other).0.to_string()),
        })
    }

    /// Written down. The room is there at once: what grows leaves copies of itself behind.
    pub(crate) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(2 * MAX_SEALED));
        // Writing a value into memory can't fail.
        let written = serde_json::to_writer(&mut *bytes, &self.0);
        debug_assert!(written.is_ok(), "a value of JSON can be written");
        bytes
    }
}

impl Drop for SecretJson {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

impl fmt::Debug for SecretJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(members) => members.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => (),
    }
}

pub(super) fn texts<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(members) => members.values().for_each(|item| texts(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => (),
    }
}

pub(super) fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let members: &Map<String, Value> = value.as_object()?;
    if let Some(found) = members.get(path) {
        return Some(found);
    }
    path.match_indices('.').find_map(|(dot, _)| {
        let (name, rest) = path.split_at_checked(dot)?;
        at(members.get(name)?, rest.get(1..)?)
    })
}

/// Whether what has this name is a secret. Names of what is public about one, such as `token_type`, are not.
pub(crate) fn is_secret_name(name: &str) -> bool {
    const PARTS: [&str; 10] =
        ["secret", "password", "passwd", "pwd", "token", "key", "authorization", "credential", "assertion", "cookie"];
    let name = name.to_ascii_lowercase();
    let about_one = name.ends_with("_type") || name.ends_with("_url") || name.ends_with("_id");
    !about_one && PARTS.iter().any(|part| name.contains(part))
}

/// Whether a value is what somebody shows in the place of a secret, so that a form that was read and
/// sent back doesn't overwrite the real one.
pub(crate) fn is_masked(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    value.contains("***") || value.contains("•••") || value.starts_with("xxxx") || value == "<redacted>"
}

/// What is said to such a value.
pub(crate) fn masked() -> Wrong {
    (Code::MaskedValueRejected, "looks masked: send the value itself, or leave the field away".to_owned())
}
