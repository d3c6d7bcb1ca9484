//! Texts with holes: which holes there are, and what fills them.

use model::{ContextUse, Secret};
use serde_json::{Map, Value, json};

use super::compose::{ComposeError, Context, Material};
use super::secret::{SecretJson, is_secret_name};
use crate::rest::code::Code;
use crate::rest::fields::{FieldError, Wrong};

/// Bytes of one text with its placeholders.
const MAX_TEXT: usize = 8 << 10;
/// Members, entries and texts of one template, all levels together.
const MAX_LEAVES: usize = 256;
/// Levels of a template. What is stored was read from a body, which is bounded too.
const MAX_DEPTH: usize = 16;

/// A value of a request that is yet to be filled in. Holds no secret: a literal one stands in the server's sealed
/// secrets, under its path.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Template {
    /// A text, with placeholders or without.
    Text(Vec<Part>),
    /// A literal secret: its path within the server's secrets.
    Sealed(String),
    /// A number, a flag or null.
    Plain(Value),
    /// One by one.
    List(Vec<Template>),
    /// One by one, in this order.
    Map(Vec<(String, Template)>),
}

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// As it stands.
    Literal(String),
    /// To be filled in.
    Placeholder(Placeholder),
}

/// What fills a hole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Placeholder {
    /// `${context.user_id}`, `${context.department_id}`, `${context.work_id}`.
    Context(ContextField),
    /// `${secret.<path>}`: of the credential.
    Secret(String),
    /// `${token.<path>}`: of what was obtained with it.
    Token(String),
    /// `${access_token}`.
    AccessToken,
}

/// A value of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContextField {
    /// The user's id.
    User,
    /// The department's id.
    Department,
    /// The user's login.
    Login,
}

impl ContextField {
    const ALL: [Self; 3] = [Self::User, Self::Department, Self::Login];

    /// The word after `context.`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::User => "user_id",
            Self::Department => "department_id",
            Self::Login => "work_id",
        }
    }
}

impl Placeholder {
    /// Reads what stands between the braces.
    fn parse(expression: &str) -> Option<Self> {
        if expression == "access_token" {
            return Some(Self::AccessToken);
        }
        let (root, path) = expression.split_once('.')?;
        if path.split('.').any(|segment| segment.is_empty() || segment.trim() != segment) {
            return None;
        }
        match root {
            "context" => ContextField::ALL.into_iter().find(|field| field.as_str() == path).map(Self::Context),
            "secret" => Some(Self::Secret(path.to_owned())),
            "token" => Some(Self::Token(path.to_owned())),
            _ => None,
        }
    }

    /// What stands between the braces.
    pub(crate) fn expression(&self) -> String {
        match self {
            Self::Context(field) => format!("context.{}", field.as_str()),
            Self::Secret(path) => format!("secret.{path}"),
            Self::Token(path) => format!("token.{path}"),
            Self::AccessToken => "access_token".to_owned(),
        }
    }
}

impl Template {
    /// A text. The mistake names the placeholder, never anything that stands around it.
    pub(crate) fn text(text: &str) -> Result<Self, Wrong> {
        if text.len() > MAX_TEXT {
            return Err((Code::TooLong, format!("at most {MAX_TEXT} bytes")));
        }
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((literal, after)) = rest.split_once("${") {
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            let Some((expression, after)) = after.split_once('}') else {
                return Err((Code::Template, "a placeholder has no closing brace".to_owned()));
            };
            parts.push(Part::Placeholder(Placeholder::parse(expression).ok_or_else(|| unknown(expression))?));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Self::Text(parts))
    }

    /// `Bearer ${access_token}`.
    pub(crate) fn bearer() -> Self {
        Self::Text(vec![Part::Literal("Bearer ".to_owned()), Part::Placeholder(Placeholder::AccessToken)])
    }

    /// A text that is secret unless it has placeholders: then the secret comes from elsewhere. `path` is where it
    /// stands, `name` what it is called there.
    pub(crate) fn member(value: Value, name: &str, path: &str, taken: &mut Taken) -> Option<Self> {
        match value {
            Value::String(text) => {
                let template = match Self::text(&text) {
                    Ok(template) => template,
                    Err(wrong) => {
                        taken.wrong(path, wrong);
                        return None;
                    }
                };
                if template.is_literal() && !text.is_empty() && is_secret_name(name) {
                    taken.seal(path, text);
                    return Some(Self::Sealed(path.to_owned()));
                }
                Some(template)
            }
            value if is_configured(&value) => Some(Self::Sealed(path.to_owned())),
            Value::Array(_) | Value::Object(_) => {
                taken.wrong(path, (Code::Type, "must be a text".to_owned()));
                None
            }
            plain => Some(Self::Plain(plain)),
        }
    }

    /// Any value; texts in it are templates, and literal ones with the name of a secret are taken out.
    pub(crate) fn value(value: Value, name: &str, path: &str, taken: &mut Taken) -> Option<Self> {
        let mut leaves = 0;
        Self::walk(value, name, path, taken, 0, &mut leaves)
    }

    fn walk(value: Value, name: &str, path: &str, taken: &mut Taken, depth: usize, leaves: &mut usize) -> Option<Self> {
        *leaves += 1;
        if *leaves > MAX_LEAVES || depth > MAX_DEPTH {
            taken.wrong(path, (Code::TooMany, format!("at most {MAX_LEAVES} values on {MAX_DEPTH} levels")));
            return None;
        }
        match value {
            value if is_configured(&value) => Some(Self::Sealed(path.to_owned())),
            Value::Array(items) => {
                let mut list = Vec::with_capacity(items.len());
                for (at, item) in items.into_iter().enumerate() {
                    list.push(Self::walk(item, name, &format!("{path}.{at}"), taken, depth + 1, leaves)?);
                }
                Some(Self::List(list))
            }
            Value::Object(members) => {
                let mut map = Vec::with_capacity(members.len());
                for (key, item) in members {
                    let inner = format!("{path}.{}", shown(&key));
                    // All mistakes of one object are told, not only the first.
                    if let Some(template) = Self::walk(item, &key, &inner, taken, depth + 1, leaves) {
                        map.push((key, template));
                    }
                }
                Some(Self::Map(map))
            }
            leaf => Self::member(leaf, name, path, taken),
        }
    }

    /// As it is stored and shown: a secret that was taken out is `{"configured": true}`.
    pub(crate) fn shown(&self) -> Value {
        match self {
            Self::Sealed(_) => configured(),
            Self::Plain(value) => value.clone(),
            Self::List(items) => Value::Array(items.iter().map(Self::shown).collect()),
            Self::Map(members) => {
                Value::Object(members.iter().map(|(name, item)| (name.clone(), item.shown())).collect())
            }
            Self::Text(parts) => {
                let mut text = String::new();
                for part in parts {
                    match part {
                        Part::Literal(literal) => text.push_str(literal),
                        Part::Placeholder(placeholder) => {
                            text.push_str(&format!("${{{}}}", placeholder.expression()));
                        }
                    }
                }
                Value::String(text)
            }
        }
    }

    /// Keeps a literal secret under another path than the one at which it was read.
    pub(crate) fn keep_under(&mut self, path: &str, taken: &mut Taken) {
        let Self::Sealed(old) = self else { return };
        for (kept, _) in &mut taken.secrets {
            if kept == old {
                path.clone_into(kept);
            }
        }
        path.clone_into(old);
    }

    /// Whether nothing of it is to be filled in.
    pub(crate) fn is_literal(&self) -> bool {
        matches!(self, Self::Text(parts) if parts.iter().all(|part| matches!(part, Part::Literal(_))))
    }

    /// Every placeholder, in the order of reading.
    pub(crate) fn placeholders<'a>(&'a self, found: &mut Vec<&'a Placeholder>) {
        match self {
            Self::Text(parts) => found.extend(parts.iter().filter_map(|part| match part {
                Part::Placeholder(placeholder) => Some(placeholder),
                Part::Literal(_) => None,
            })),
            Self::List(items) => items.iter().for_each(|item| item.placeholders(found)),
            Self::Map(members) => members.iter().for_each(|(_, item)| item.placeholders(found)),
            Self::Sealed(_) | Self::Plain(_) => (),
        }
    }

    /// The paths of the secrets that were taken out of it.
    pub(crate) fn sealed<'a>(&'a self, found: &mut Vec<&'a str>) {
        match self {
            Self::Sealed(path) => found.push(path),
            Self::List(items) => items.iter().for_each(|item| item.sealed(found)),
            Self::Map(members) => members.iter().for_each(|(_, item)| item.sealed(found)),
            Self::Text(_) | Self::Plain(_) => (),
        }
    }

    /// The value with every hole filled in. A text that is one placeholder keeps the type of its value.
    pub(crate) fn fill(&self, material: &Material<'_>, context: &Context) -> Result<SecretJson, ComposeError> {
        let value = match self {
            Self::Plain(value) => value.clone(),
            Self::Sealed(path) => {
                let secret = material.auth.get(path).ok_or_else(|| ComposeError::NotConfigured(path.clone()))?;
                Value::String(secret.expose().to_owned())
            }
            Self::List(items) => {
                let mut list = SecretJson::new(Value::Array(Vec::with_capacity(items.len())));
                for item in items {
                    list.push(item.fill(material, context)?);
                }
                return Ok(list);
            }
            Self::Map(members) => {
                let mut map = SecretJson::new(Value::Object(Map::new()));
                for (name, item) in members {
                    map.insert(name, item.fill(material, context)?);
                }
                return Ok(map);
            }
            Self::Text(parts) => match parts.as_slice() {
                [Part::Placeholder(placeholder)] => return material.value(placeholder, context),
                _ => return self.fill_text(material, context).map(SecretJson::of),
            },
        };
        Ok(SecretJson::new(value))
    }

    /// The same as a text: what a header or a parameter is made of.
    pub(crate) fn fill_text(&self, material: &Material<'_>, context: &Context) -> Result<Secret, ComposeError> {
        let Self::Text(parts) = self else { return self.fill(material, context)?.into_text() };
        let mut pieces: Vec<Secret> = Vec::with_capacity(parts.len());
        for part in parts {
            pieces.push(match part {
                Part::Literal(literal) => Secret::new(literal.clone()),
                Part::Placeholder(placeholder) => material.value(placeholder, context)?.into_text()?,
            });
        }
        // Of the right size at once: a text that grows leaves copies of itself behind.
        let mut text = String::with_capacity(pieces.iter().map(|piece| piece.expose().len()).sum());
        for piece in &pieces {
            text.push_str(piece.expose());
        }
        Ok(Secret::new(text))
    }
}

/// What is taken out of a body while its templates are read.
#[derive(Default)]
pub(crate) struct Taken {
    /// Literal secrets by their paths.
    pub(crate) secrets: Vec<(String, Secret)>,
    /// What is wrong.
    pub(crate) wrong: Vec<FieldError>,
}

impl Taken {
    /// Notes a mistake.
    pub(crate) fn wrong(&mut self, path: &str, (code, detail): Wrong) {
        self.wrong.push(FieldError { field: path.to_owned(), code, detail });
    }

    /// Takes a secret; one that looks masked is a mistake.
    pub(crate) fn seal(&mut self, path: &str, text: String) {
        if super::secret::is_masked(&text) {
            return self.wrong(path, super::secret::masked());
        }
        self.secrets.push((path.to_owned(), Secret::new(text)));
    }
}

/// What stands for a secret that is stored: reads show it, and sent back it keeps the secret.
pub(crate) fn configured() -> Value {
    json!({"configured": true})
}

/// Whether a value is that.
pub(crate) fn is_configured(value: &Value) -> bool {
    value.as_object().is_some_and(|members| members.len() == 1 && members.get("configured") == Some(&Value::Bool(true)))
}

/// Which values of the caller these placeholders use.
pub(crate) fn context_use<'a>(placeholders: impl IntoIterator<Item = &'a Placeholder>) -> ContextUse {
    let mut uses = ContextUse::default();
    for placeholder in placeholders {
        match placeholder {
            Placeholder::Context(ContextField::User) => uses.user = true,
            Placeholder::Context(ContextField::Department) => uses.department = true,
            Placeholder::Context(ContextField::Login) => uses.login = true,
            Placeholder::Secret(_) | Placeholder::Token(_) | Placeholder::AccessToken => (),
        }
    }
    uses
}

fn unknown(expression: &str) -> Wrong {
    (Code::Template, format!("Unknown template placeholder: {}", shown(expression)))
}

/// A name as it may come back to its sender: not without end, without control characters.
pub(crate) fn shown(name: &str) -> String {
    name.chars().filter(|ch| !ch.is_control()).take(64).collect()
}
