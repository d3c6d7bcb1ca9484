//! The members of a request body, taken one by one; what is wrong is collected with its path.

use serde_json::{Map, Value};

/// What is wrong with one field. Never quotes the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldError {
    /// Path of the field, e.g. `headers.X-Team`.
    pub(crate) field: String,
    /// Stable code, e.g. `url_scheme`.
    pub(crate) code: &'static str,
    /// One sentence.
    pub(crate) detail: String,
}

/// Code and sentence for a value that does not fit its field.
pub(crate) type Wrong = (&'static str, String);

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
}

/// An object whose members have not all been taken yet.
pub(crate) struct Fields {
    members: Map<String, Value>,
    wrong: Vec<FieldError>,
}

impl Fields {
    /// Takes an object; anything else is a field error without a path.
    pub(crate) fn of(body: Value) -> Result<Self, Vec<FieldError>> {
        match body {
            Value::Object(members) => Ok(Self { members, wrong: Vec::new() }),
            _ => Err(vec![FieldError {
                field: String::new(),
                code: "type",
                detail: "the body must be an object".to_owned(),
            }]),
        }
    }

    /// Notes a mistake.
    pub(crate) fn wrong(&mut self, field: impl Into<String>, (code, detail): Wrong) {
        self.wrong.push(FieldError { field: field.into(), code, detail });
    }

    /// Refuses a member that exists but can't be changed.
    pub(crate) fn immutable(&mut self, name: &str) {
        if self.members.remove(name).is_some() {
            self.wrong(name, ("immutable_field", "can't be changed".to_owned()));
        }
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
        if self.members.get(name).is_none_or(Value::is_null) {
            self.members.remove(name);
            self.wrong(name, ("required", "is required".to_owned()));
            return None;
        }
        self.optional(name, read)
    }

    /// A member of a PATCH whose null means: back to the default.
    pub(crate) fn change<T>(&mut self, name: &str, read: impl FnOnce(Value) -> Result<T, Wrong>) -> Change<T> {
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
                self.wrong(name, ("not_clearable", "can't be null".to_owned()));
                None
            }
        }
    }

    /// Everything that was wrong; members that nobody took are unknown.
    pub(crate) fn finish(mut self) -> Result<(), Vec<FieldError>> {
        for name in std::mem::take(&mut self.members).into_iter().map(|(name, _)| name) {
            self.wrong(cut(&name), ("unknown_field", "unknown field".to_owned()));
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
        let Value::String(text) = value else { return Err(("type", "must be a text".to_owned())) };
        if text.chars().count() > max {
            return Err(("too_long", format!("at most {max} characters")));
        }
        if text.chars().any(char::is_control) {
            return Err(("control_character", "must not hold control characters".to_owned()));
        }
        Ok(text)
    }
}

/// true or false.
pub(crate) fn flag(value: Value) -> Result<bool, Wrong> {
    value.as_bool().ok_or_else(|| ("type", "must be true or false".to_owned()))
}

/// A whole number within a range.
pub(crate) fn number(range: std::ops::RangeInclusive<u64>) -> impl FnOnce(Value) -> Result<u64, Wrong> {
    move |value| {
        let number = value.as_u64().ok_or_else(|| ("type", "must be a whole number".to_owned()))?;
        if range.contains(&number) {
            Ok(number)
        } else {
            Err(("range", format!("must be {} to {}", range.start(), range.end())))
        }
    }
}

/// A list of at most `max` texts of at most `length` characters each.
pub(crate) fn texts(max: usize, length: usize) -> impl FnOnce(Value) -> Result<Vec<String>, Wrong> {
    move |value| {
        let Value::Array(items) = value else { return Err(("type", "must be a list of texts".to_owned())) };
        if items.len() > max {
            return Err(("too_many", format!("at most {max} entries")));
        }
        items.into_iter().map(|item| text(length)(item)).collect()
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
        let mut fields = Fields::of(json!({"a": 1, "b": "toolong", "n": 99, "x": 1, "id": 1, "z": null})).unwrap();
        fields.optional("a", text(3));
        fields.optional("b", text(3));
        fields.optional("n", number(1..=9));
        fields.required("m", flag);
        fields.immutable("id");
        fields.replace("z", flag);
        let wrong = fields.finish().unwrap_err();
        let codes: Vec<_> = wrong.iter().map(|wrong| (wrong.field.as_str(), wrong.code)).collect();
        assert_eq!(
            codes,
            [
                ("a", "type"),
                ("b", "too_long"),
                ("n", "range"),
                ("m", "required"),
                ("id", "immutable_field"),
                ("z", "not_clearable"),
                ("x", "unknown_field")
            ]
        );
    }
}
