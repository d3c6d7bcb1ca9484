//! The body of a request: only what was said goes into it, defaults are control's.

use serde_json::{Map, Value};

use crate::failure::Failure;

/// A JSON object that grows by what was typed.
#[derive(Debug, Clone, Default)]
pub(super) struct Body(Map<String, Value>);

impl Body {
    /// A member, if it was typed.
    pub(super) fn with(mut self, member: &str, value: Option<impl Into<Value>>) -> Self {
        if let Some(value) = value {
            self.0.insert(member.to_owned(), value.into());
        }
        self
    }

    /// A list, if anything of it was typed.
    pub(super) fn with_all(self, member: &str, items: &[String]) -> Self {
        self.with(member, (!items.is_empty()).then(|| items.to_vec()))
    }

    /// A list that may be emptied by a flag.
    pub(super) fn anew(self, member: &str, items: &[String], none: bool) -> Self {
        let emptied = none.then(|| Value::Array(Vec::new()));
        self.with_all(member, items).with(member, emptied)
    }

    /// `null`, if a flag says so.
    pub(super) fn cleared(self, member: &str, cleared: bool) -> Self {
        self.with(member, cleared.then_some(Value::Null))
    }

    /// An object inside, if it has anything.
    pub(super) fn inside(self, member: &str, inner: Self) -> Self {
        self.with(member, (!inner.0.is_empty()).then_some(inner.0))
    }

    /// The whole.
    pub(super) fn value(self) -> Value {
        Value::Object(self.0)
    }

    /// The whole of a change, which must say something.
    pub(super) fn change(self) -> Result<Value, Failure> {
        if self.0.is_empty() {
            return Err(Failure::Usage("say what to change; --help lists it".to_owned()));
        }
        Ok(self.value())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_was_said_is_sent() {
        let typed = ["a".to_owned()];
        let inner = Body::default().with("c", Some(1_u32)).with("d", None::<u32>);
        let body = Body::default()
            .with("title", Some("T"))
            .with("role", None::<&str>)
            .anew("tags", &typed, false)
            .anew("servers", &[], true)
            .anew("pools", &[], false)
            .cleared("icon", true)
            .cleared("description", false)
            .inside("limits", inner)
            .inside("more", Body::default());
        let expected = json!({"title": "T", "tags": ["a"], "servers": [], "icon": null, "limits": {"c": 1}});
        assert_eq!(body.value(), expected);
    }

    #[test]
    fn a_change_of_nothing_is_wrong_usage() {
        assert_eq!(Body::default().change().unwrap_err().exit_code(), 2);
    }
}
