//! The members of a request body, taken one by one; what is wrong is collected with its path.

use serde_json::{Map, Value};

use crate::rest::code::Code;

/// What is wrong with one field. Never quotes the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldError {
    /// Path of the field, e.g. `headers.X-Team`.
    pub(crate) field: String,
    /// Stable code.
    pub(crate) code: Code,
    /// One sentence.
    pub(crate) detail: String,
}

/// Code and sentence for a value that does not fit its field.
pub(crate) type Wrong = (Code, String);

/// What a PATCH says about one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change<T> {
    /// Absent: keep.
    Keep,
    /// `null`: back to the default.
    Clear,
    /// A value, false and "" among them.
    Set(T),
}

impl<T> Change<T> {
    /// The new value, if there is one: `default` stands for a cleared field.
    pub(crate) fn or_default(self, default: impl FnOnce() -> T) -> Option<T> {
        match self {
            Self::Keep => None,
            Self::Clear => Some(default()),
            Self::Set(value) => Some(value),
        }
    }

    /// The new value of a field that may be empty: `Some(None)` for a cleared one.
    pub(crate) fn nullable(self) -> Option<Option<T>> {
        match self {
            Self::Keep => None,
            Self::Clear => Some(None),
            Self::Set(value) => Some(Some(value)),
        }
    }
}

/// An object whose members have not all been taken yet.
#[derive(Default)]
pub(crate) struct Fields {
    members: Map<String, Value>,
    wrong: Vec<FieldError>,
    /// Every member that was asked for, and whether it must be there.
    #[cfg(test)]
    pub(crate) known: std::collections::BTreeMap<String, bool>,
}

impl Fields {
    /// Takes an object; anything else is a field error without a path.
    pub(crate) fn of(body: Value) -> Result<Self, Vec<FieldError>> {
        match body {
            Value::Object(members) => Ok(Self { members, ..Self::default() }),
            _ => Err(vec![FieldError {
                field: String::new(),
                code: Code::Type,
                detail: "the body must be an object".to_owned(),
            }]),
        }
    }

    /// Notes a mistake.
    pub(crate) fn wrong(&mut self, field: impl Into<String>, (code, detail): Wrong) {
        self.wrong.push(FieldError { field: field.into(), code, detail });
    }

    /// Refuses members that exist but can't be changed.
    pub(crate) fn immutable(&mut self, names: &[&str]) {
        for name in names {
            if self.members.remove(*name).is_some() {
                self.wrong(*name, (Code::ImmutableField, "can't be changed".to_owned()));
            }
        }
    }

    /// Refuses what the service itself gives to a record that is made.
    pub(crate) fn given_by_us(&mut self) {
        self.immutable(&["id", "tenant", "tenant_id", "generation", "created_at", "updated_at", "deleted_at"]);
    }

    /// A member that may be absent or null.
    pub(crate) fn optional<T>(&mut self, name: &str, read: impl FnOnce(Value) -> Result<T, Wrong>) -> Option<T> {
        match self.change(name, read) {
            Change::Set(value) => Some(value),
            Change::Keep | Change::Clear => None,
        }
    }

    /// A member that must be there.
    pub(crate) fn required<T>(&mut self, name: &str, read: impl FnOnce(Value) -> Result<T, Wrong>) -> Option<T> {
        let absent = self.members.get(name).is_none_or(Value::is_null);
        let given = self.optional(name, read);
        if absent {
            self.wrong(name, (Code::Required, "is required".to_owned()));
        }
        #[cfg(test)]
        self.known.insert(name.to_owned(), true);
        given
    }

    /// A member of a PATCH whose null means: back to the default.
    pub(crate) fn change<T>(&mut self, name: &str, read: impl FnOnce(Value) -> Result<T, Wrong>) -> Change<T> {
        #[cfg(test)]
        self.known.insert(name.to_owned(), false);
        match self.members.remove(name) {
            None => Change::Keep,
            Some(Value::Null) => Change::Clear,
            Some(value) => match read(value) {
                Ok(value) => Change::Set(value),
                Err(wrong) => {
                    self.wrong(name, wrong);
                    Change::Keep
                }
            },
        }
    }

    /// A member of a PATCH that has no default to go back to.
    pub(crate) fn replace<T>(&mut self, name: &str, read: impl FnOnce(Value) -> Result<T, Wrong>) -> Option<T> {
        match self.change(name, read) {
            Change::Set(value) => Some(value),
            Change::Keep => None,
            Change::Clear => {
                self.wrong(name, (Code::NotClearable, "can't be null".to_owned()));
                None
            }
        }
    }

    /// The members of an object inside, whose mistakes come with its path.
    pub(crate) fn object<T>(&mut self, name: &str, read: impl FnOnce(&mut Self) -> T) -> Change<T> {
        let members = self.change(name, |value| match value {
            Value::Object(members) => Ok(members),
            _ => Err((Code::Type, "must be an object".to_owned())),
        });
        let members = match members {
            Change::Keep => return Change::Keep,
            Change::Clear => return Change::Clear,
            Change::Set(members) => members,
        };
        let mut inner = Self { members, ..Self::default() };
        let value = read(&mut inner);
        for wrong in inner.finish().err().unwrap_or_default() {
            self.wrong(format!("{name}.{}", wrong.field), (wrong.code, wrong.detail));
        }
        Change::Set(value)
    }

    /// Everything that was wrong; members that nobody took are unknown.
    pub(crate) fn finish(mut self) -> Result<(), Vec<FieldError>> {
        for name in std::mem::take(&mut self.members).into_iter().map(|(name, _)| name) {
            self.wrong(cut(&name), (Code::UnknownField, "unknown field".to_owned()));
        }
        if self.wrong.is_empty() { Ok(()) } else { Err(self.wrong) }
    }
}

/// Names come back to the sender, but not without end.
fn cut(name: &str) -> String {
    name.chars().take(64).collect()
}

// === readers of single values ===

/// A text of at most `max` characters without control characters.
pub(crate) fn text(max: usize) -> impl FnOnce(Value) -> Result<String, Wrong> {
    move |value| {
        let Value::String(text) = value else { return Err((Code::Type, "must be a text".to_owned())) };
        if text.chars().count() > max {
            return Err((Code::TooLong, format!("at most {max} characters")));
        }
        if text.chars().any(char::is_control) {
            return Err((Code::ControlCharacter, "must not hold control characters".to_owned()));
        }
        Ok(text)
    }
}

/// The same, with something to see in it.
pub(crate) fn words(max: usize) -> impl FnOnce(Value) -> Result<String, Wrong> {
    move |value| {
        let text = text(max)(value)?;
        if text.trim().is_empty() { Err((Code::Required, "must not be empty".to_owned())) } else { Ok(text) }
    }
}

/// A text of several lines.
pub(crate) fn prose(max: usize) -> impl FnOnce(Value) -> Result<String, Wrong> {
    move |value| {
        let Value::String(prose) = value else { return Err((Code::Type, "must be a text".to_owned())) };
        if prose.chars().count() > max {
            return Err((Code::TooLong, format!("at most {max} characters")));
        }
        if prose.chars().any(|ch| ch.is_control() && !matches!(ch, '\n' | '\r' | '\t')) {
            return Err((Code::ControlCharacter, "must not hold control characters but line breaks".to_owned()));
        }
        Ok(prose)
    }
}

/// A slug of any noun.
pub(crate) fn slug<T: std::str::FromStr<Err = model::NameError>>(value: Value) -> Result<T, Wrong> {
    text(256)(value)?.parse().map_err(|error: model::NameError| (Code::Slug, error.to_string()))
}

/// The word of a role.
pub(crate) fn role(value: Value) -> Result<model::KeyRole, Wrong> {
    model::KeyRole::parse(&text(32)(value)?)
        .ok_or_else(|| (Code::Role, "must be viewer, user, tenant_admin or platform_admin".to_owned()))
}

/// true or false.
pub(crate) fn flag(value: Value) -> Result<bool, Wrong> {
    value.as_bool().ok_or_else(|| (Code::Type, "must be true or false".to_owned()))
}

/// A whole number within a range.
pub(crate) fn number(range: std::ops::RangeInclusive<u64>) -> impl FnOnce(Value) -> Result<u64, Wrong> {
    move |value| {
        // 1e3 and 2.0 are whole numbers too; beyond 2^53 such a text no longer says which.
        let whole =
            value.as_f64().filter(|number| number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(number));
        let negative = value.as_i64().is_some_and(i64::is_negative);
        let number = value.as_u64().or(whole.map(|number| number as u64));
        match number {
            Some(number) if range.contains(&number) => Ok(number),
            None if !negative && !value.as_f64().is_some_and(|number| number.fract() == 0.0) => {
                Err((Code::Type, "must be a whole number".to_owned()))
            }
            _ => Err((Code::Range, format!("must be {} to {}", range.start(), range.end()))),
        }
    }
}

/// The same for what is kept in 32 bits.
pub(crate) fn count(range: std::ops::RangeInclusive<u32>) -> impl FnOnce(Value) -> Result<u32, Wrong> {
    move |value| {
        let number = number(u64::from(*range.start())..=u64::from(*range.end()))(value)?;
        Ok(u32::try_from(number).unwrap_or(u32::MAX))
    }
}

/// A list of at most `max` texts of at most `length` characters each, none empty, none twice.
pub(crate) fn texts(max: usize, length: usize) -> impl FnOnce(Value) -> Result<Vec<String>, Wrong> {
    move |value| {
        let Value::Array(items) = value else { return Err((Code::Type, "must be a list of texts".to_owned())) };
        if items.len() > max {
            return Err((Code::TooMany, format!("at most {max} entries")));
        }
        let texts: Vec<String> = items.into_iter().map(|item| words(length)(item)).collect::<Result<_, _>>()?;
        let twice = texts.iter().enumerate().any(|(at, text)| texts.iter().take(at).any(|other| other == text));
        if twice { Err((Code::Duplicate, "an entry stands twice".to_owned())) } else { Ok(texts) }
    }
}

/// Parses a URL; a text without a scheme, or an empty one, has the wrong scheme.
pub(crate) fn upstream_url(text: &str) -> Result<model::UpstreamUrl, Wrong> {
    model::UpstreamUrl::parse(text).map_err(|error| {
        let schemeless = error == model::UrlError::Invalid && !text.contains("://");
        let error = if schemeless { model::UrlError::Scheme } else { error };
        (url_code(&error), error.to_string())
    })
}

/// The stable code of a text that is no URL of an upstream.
fn url_code(error: &model::UrlError) -> Code {
    match error {
        model::UrlError::Invalid => Code::UrlInvalid,
        model::UrlError::TooLong => Code::UrlTooLong,
        model::UrlError::Scheme => Code::UrlScheme,
        model::UrlError::UserInfo => Code::UrlUserinfo,
        model::UrlError::Fragment => Code::UrlFragment,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn absent_keeps_null_clears_and_empty_is_a_value() {
        let mut fields = Fields::of(json!({"b": null, "c": "", "d": false})).unwrap();
        assert_eq!(fields.change("a", text(9)), Change::Keep);
        assert_eq!(fields.change("b", text(9)), Change::Clear);
        assert_eq!(fields.change("c", text(9)), Change::Set(String::new()));
        assert_eq!(fields.change("d", flag), Change::Set(false));
        assert_eq!(fields.finish(), Ok(()));
    }

    #[test]
    fn all_mistakes_come_with_their_paths() {
        let body = json!({"a": 1, "b": "toolong", "n": 99, "x": 1, "id": 1, "z": null, "o": {"p": 1, "q": 1}});
        let mut fields = Fields::of(body).unwrap();
        fields.optional("a", text(3));
        fields.optional("b", text(3));
        fields.optional("n", number(1..=9));
        fields.required("m", flag);
        fields.immutable(&["id"]);
        fields.replace("z", flag);
        fields.object("o", |inner| inner.optional("p", flag));
        let wrong = fields.finish().unwrap_err();
        let codes: Vec<_> = wrong.iter().map(|wrong| (wrong.field.as_str(), wrong.code)).collect();
        assert_eq!(
            codes,
            [
                ("a", Code::Type),
                ("b", Code::TooLong),
                ("n", Code::Range),
                ("m", Code::Required),
                ("id", Code::ImmutableField),
                ("z", Code::NotClearable),
                ("o.p", Code::Type),
                ("o.q", Code::UnknownField),
                ("x", Code::UnknownField)
            ]
        );
    }

    #[test]
    fn a_whole_number_may_be_written_in_any_way() {
        for (value, expected) in [
            (json!(3), Ok(3)),
            (json!(3.0), Ok(3)),
            (json!(0), Err(Code::Range)),
            (json!(-1), Err(Code::Range)),
            (json!(1e30), Err(Code::Range)),
            (json!(u64::MAX), Err(Code::Range)),
            (json!(2.5), Err(Code::Type)),
            (json!("3"), Err(Code::Type)),
        ] {
            assert_eq!(number(1..=9)(value.clone()).map_err(|(code, _)| code), expected, "{value}");
        }
    }

    #[test]
    fn a_list_of_texts_has_no_empty_and_no_double_entry() {
        for (value, expected) in [
            (json!(["a", "b"]), None),
            (json!(["a", "a"]), Some(Code::Duplicate)),
            (json!(["a", " "]), Some(Code::Required)),
            (json!(["a", "b", "c", "d"]), Some(Code::TooMany)),
            (json!("a"), Some(Code::Type)),
        ] {
            assert_eq!(texts(3, 9)(value.clone()).err().map(|(code, _)| code), expected, "{value}");
        }
    }
}
