//! Request bodies, one file for each noun: the struct that the document shows, and beside it the parser
//! that reads the members one by one, so that every mistake is told with its path.

pub(crate) mod call;
pub(crate) mod connection;
pub(crate) mod credentials;
pub(crate) mod department;
pub(crate) mod egress_rule;
mod headers;
pub(crate) mod import;
pub(crate) mod issuer;
pub(crate) mod key;
pub(crate) mod login;
pub(crate) mod recover;
pub(crate) mod server;
pub(crate) mod sign_in_link;
pub(crate) mod tenant;
pub(crate) mod token;
pub(crate) mod toolset;
pub(crate) mod user;
pub(crate) mod vault;

/// Characters of a title, a label, an external id.
const MAX_TITLE: usize = 200;

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};
    use utoipa::PartialSchema;

    use crate::rest::fields::Fields;

    /// Fails unless the document shows exactly the members that the parser knows, and requires the same.
    pub(crate) fn agree<S: PartialSchema, T>(parse: impl FnOnce(&mut Fields) -> T) {
        let mut fields = Fields::of(json!({})).unwrap();
        parse(&mut fields);
        let schema = serde_json::to_value(S::schema()).unwrap();
        let required =
            |name: &String| schema["required"].as_array().is_some_and(|all| all.contains(&Value::String(name.clone())));
        let shown: BTreeMap<String, bool> = schema["properties"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| (name.clone(), required(name)))
            .collect();
        assert_eq!(shown, fields.known);
    }
}
