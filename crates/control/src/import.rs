//! Rows of the systems that Gatehouse replaces, made into servers and connections.
//!
//! [`plan`] says what a row becomes, without IO: the body with which somebody would have made the record here. So every
//! rule of a create holds for an import too. Whether a text is encrypted is asked here and nowhere else.

mod nexent;
mod weknora;
mod yuxi;

use model::{Scope, Secret};
use serde_json::{Map, Value, json};
use vault::legacy::LegacyError;
use zeroize::Zeroizing;

use crate::auth::SecretJson;

/// Characters of a value that are shown in a reason.
const SHOWN: usize = 80;

/// Whose rows these are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// `mcp_servers` and `mcp_connections`.
    Yuxi,
    /// `mcp_services`, `mcp_oauth_tokens`, and what is passed over.
    Weknora,
    /// `mcp_record_t`.
    Nexent,
}

impl Source {
    pub(crate) fn parse(word: &str) -> Option<Self> {
        match word {
            "yuxi" => Some(Self::Yuxi),
            "weknora" => Some(Self::Weknora),
            "nexent" => Some(Self::Nexent),
            _ => None,
        }
    }
}

/// What a row becomes.
pub(crate) enum Planned {
    Server(ServerPlan),
    Connection(ConnectionPlan),
    /// Nothing, and nothing is lost by it, or it can't be had here.
    Skipped(String),
}

/// A server to be made.
pub(crate) struct ServerPlan {
    /// What the row is called in the reports and in other rows.
    pub(crate) key: String,
    /// The body of the create.
    pub(crate) body: SecretJson,
    pub(crate) warnings: Vec<String>,
}

/// A connection to be made.
pub(crate) struct ConnectionPlan {
    /// [`ServerPlan::key`] of its server.
    pub(crate) server: String,
    pub(crate) scope: Scope,
    /// A user or a department, as the other system called them.
    pub(crate) holder: Option<String>,
    pub(crate) display_name: Option<String>,
    pub(crate) external_subject: Option<String>,
    pub(crate) disabled: bool,
    /// As a body gives it; `None` where there is none.
    pub(crate) credential: Option<SecretJson>,
}

/// Why a row can't be imported.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RowError {
    #[error("`{0}` is missing, or not what that system writes")]
    Member(&'static str),
    #[error("`{member}` can't be opened: {why}")]
    Ciphertext { member: &'static str, why: LegacyError },
    #[error("`{0}` is encrypted: give the key of the old system")]
    NoKey(&'static str),
    #[error("`{member}` holds `{value}`, which is no word of that system")]
    Word { member: &'static str, value: String },
    #[error("not a row of a table of that system")]
    Table,
}

/// Says what a row becomes. `key` is the old system's, for what is encrypted.
pub(crate) fn plan(from: Source, row: SecretJson, key: Option<&Secret>) -> Result<Planned, RowError> {
    let row = Row { members: row, key };
    match from {
        Source::Yuxi => yuxi::plan(&row),
        Source::Weknora => weknora::plan(&row),
        Source::Nexent => nexent::plan(&row),
    }
}

/// A row, read member by member.
struct Row<'a> {
    members: SecretJson,
    key: Option<&'a Secret>,
}

impl Row<'_> {
    fn has(&self, name: &str) -> bool {
        self.members.expose().get(name).is_some()
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.members.expose().get(name).filter(|value| !value.is_null())
    }

    /// A text that is not empty.
    fn text(&self, name: &'static str) -> Result<Option<&str>, RowError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.trim().is_empty())),
            Some(_) => Err(RowError::Member(name)),
        }
    }

    fn required(&self, name: &'static str) -> Result<&str, RowError> {
        self.text(name)?.ok_or(RowError::Member(name))
    }

    /// A number or a text, as a text: ids.
    fn id(&self, name: &'static str) -> Result<Option<String>, RowError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(_) => Err(RowError::Member(name)),
        }
    }

    /// `true`, `1`, `"Y"` and the like; `default` where it isn't there.
    fn flag(&self, name: &'static str, default: bool) -> Result<bool, RowError> {
        match self.get(name) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(Value::Number(number)) => Ok(number.as_i64() != Some(0)),
            Some(Value::String(text)) => match text.as_str() {
                "Y" | "y" | "true" | "t" | "1" => Ok(true),
                "N" | "n" | "false" | "f" | "0" | "" => Ok(false),
                _ => Err(RowError::Member(name)),
            },
            Some(_) => Err(RowError::Member(name)),
        }
    }

    /// A column of JSON: the value itself, or its text.
    fn json(&self, name: &'static str) -> Result<Option<SecretJson>, RowError> {
        let read = match self.get(name) {
            None => return Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => return Ok(None),
            Some(Value::String(text)) => SecretJson::parse(text.as_bytes()).ok_or(RowError::Member(name))?,
            Some(value) => SecretJson::new(value.clone()),
        };
        Ok(Some(read).filter(|read| !read.expose().is_null()))
    }

    /// The same, of an object.
    fn object(&self, name: &'static str) -> Result<Option<SecretJson>, RowError> {
        match self.json(name)? {
            Some(json) if json.expose().is_object() => Ok(Some(json)),
            Some(_) => Err(RowError::Member(name)),
            None => Ok(None),
        }
    }
}

/// How a server that is shown the same headers whoever asks is authenticated to, and with what. A header's value is a
/// secret, as nobody said that it is none.
fn headers_auth(headers: &[(String, Zeroizing<String>)]) -> (Value, Option<SecretJson>) {
    match headers {
        [] => (json!({"type": "none"}), None),
        [(name, value)]
            if name.eq_ignore_ascii_case("authorization")
                && value.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer ")) =>
        {
            let token = value.get(7..).unwrap_or_default().trim().to_owned();
            (json!({"type": "bearer", "scopes": ["global"]}), Some(SecretJson::new(Value::String(token))))
        }
        headers => {
            let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
            let secrets: Map<String, Value> = headers
                .iter()
                .map(|(name, value)| (name.to_ascii_lowercase(), Value::String(value.as_str().to_owned())))
                .collect();
            let auth = json!({"type": "headers", "names": names, "scopes": ["global"]});
            (auth, Some(SecretJson::new(json!({"secrets": secrets}))))
        }
    }
}

/// Headers out of a column of JSON; what holds no text is passed over.
fn headers_of(json: Option<&SecretJson>) -> Vec<(String, Zeroizing<String>)> {
    let members = json.and_then(|json| json.expose().as_object());
    let texts = members.into_iter().flatten().filter_map(|(name, value)| Some((name, value.as_str()?)));
    let there = texts.filter(|(_, value)| !value.trim().is_empty());
    there.map(|(name, value)| (name.clone(), Zeroizing::new(value.trim().to_owned()))).collect()
}

/// A body's members, without those that are null.
fn body(members: Vec<(&str, Value)>) -> Map<String, Value> {
    members.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A name that may not be ours: the slug is made from it, as from a title.
fn title(name: &str) -> Value {
    let title: String = name.chars().filter(|c| !c.is_control()).take(200).collect();
    Value::String(title.trim().to_owned())
}

/// Seconds as milliseconds within these bounds.
fn millis(seconds: Option<&Value>, least: u64, most: u64) -> Value {
    match seconds.and_then(Value::as_f64) {
        Some(seconds) if seconds > 0.0 => {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded right after")]
            let millis = (seconds.min(1e9) * 1000.0) as u64;
            json!(millis.clamp(least, most))
        }
        _ => Value::Null,
    }
}

fn word(member: &'static str, value: &str) -> RowError {
    RowError::Word { member, value: value.chars().take(SHOWN).collect() }
}

/// The reason for rows of local programs.
fn stdio(name: &str) -> Planned {
    Planned::Skipped(format!("stdio_disabled: `{name}` is a program on the old machine; Gatehouse starts none"))
}

#[cfg(test)]
mod tests;
