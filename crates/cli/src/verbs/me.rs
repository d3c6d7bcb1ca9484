//! `gatehouse whoami`.

use serde_json::Value;

use crate::api::Api;
use crate::failure::Failure;
use crate::screen::{Screen, cell, table};

/// Tells whose key this is and what it may do.
pub(super) async fn run(api: &Api, screen: Screen) -> Result<(), Failure> {
    screen.show(&api.get(&["me"]).await?.body, told)
}

fn told(me: &Value) -> String {
    let inside = |object: &str, member: &str| me.get(object).map(|object| cell(object, member)).unwrap_or_default();
    let rows = [
        ["role".to_owned(), cell(me, "role")],
        ["tenant".to_owned(), inside("tenant", "name")],
        ["user".to_owned(), Some(inside("user", "login")).filter(|user| !user.is_empty()).unwrap_or("nobody's".into())],
        ["key".to_owned(), inside("key", "id")],
        ["label".to_owned(), inside("key", "label")],
        ["ends".to_owned(), Some(inside("key", "expires_at")).filter(|at| !at.is_empty()).unwrap_or("never".into())],
    ];
    table(["", ""], &rows).trim_start().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_and_what_is_told_line_by_line() {
        let me = json!({"key": {"id": "k1", "label": "laptop", "expires_at": null}, "user": {"login": "ann"},
            "tenant": {"name": "acme", "limits": {}}, "role": "user"});
        assert_eq!(told(&me), "role    user\ntenant  acme\nuser    ann\nkey     k1\nlabel   laptop\nends    never\n");
        let nobodys = json!({"key": {"id": "k1"}, "user": null, "tenant": {"name": "acme"}, "role": "user"});
        assert!(told(&nobodys).contains("user    nobody's"));
    }
}
