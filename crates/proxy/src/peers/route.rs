//! What of a session is served where: a table, and nothing else.

use crate::session::Scope;

/// A message of a client, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said<'a> {
    /// A request, by its method.
    Request(&'a str),
    /// A notification, by its method.
    Notification(&'a str),
    /// An answer to a question.
    Answer,
    /// GET: the session's stream, begun or resumed.
    Listen,
    /// DELETE.
    End,
}

/// Where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goes {
    /// Whoever got it serves it.
    Anywhere,
    /// To the node that keeps what the session's id can't hold.
    Owner,
    /// Whoever got it serves it and tells all others: nobody knows where what it is about is kept.
    Everywhere,
}

/// Where a message of a session goes, unless it names a node itself.
pub(crate) fn goes(scope: &Scope, said: Said<'_>) -> Goes {
    // At one server's URL all that a call needs stands in the session's id.
    let one = matches!(scope, Scope::Server { .. } | Scope::BuiltIn);
    match said {
        Said::End => Goes::Everywhere,
        Said::Notification("notifications/cancelled") if one => Goes::Everywhere,
        Said::Listen | Said::Answer => Goes::Owner,
        Said::Request("resources/subscribe" | "resources/unsubscribe" | "logging/setLevel") => Goes::Owner,
        Said::Request(_) | Said::Notification(_) if one => Goes::Anywhere,
        Said::Request(_) | Said::Notification(_) => Goes::Owner,
    }
}

/// Whether a request may be served again after it was lost on its way.
pub(crate) fn may_be_repeated(method: &str) -> bool {
    matches!(
        method,
        "ping"
            | "tools/list"
            | "prompts/list"
            | "resources/list"
            | "resources/templates/list"
            | "prompts/get"
            | "resources/read"
            | "resources/subscribe"
            | "resources/unsubscribe"
            | "completion/complete"
            | "logging/setLevel"
    )
}

#[cfg(test)]
mod tests {
    use model::ServerId;

    use super::*;

    #[test]
    fn what_goes_where_stands_in_the_table() {
        use Goes::{Anywhere, Everywhere, Owner};
        use Said::{Answer, End, Listen, Notification, Request};
        let server = Scope::of_nobody(ServerId::fresh());
        let many = [Scope::Aggregate, Scope::Toolset(uuid::Uuid::nil())];
        for (said, at_one, at_many) in [
            (Request("tools/call"), Anywhere, Owner),
            (Request("tools/list"), Anywhere, Owner),
            (Request("ping"), Anywhere, Owner),
            (Request("resources/read"), Anywhere, Owner),
            (Request("completion/complete"), Anywhere, Owner),
            (Request("tasks/result"), Anywhere, Owner),
            (Request("unheard/of"), Anywhere, Owner),
            (Request("resources/subscribe"), Owner, Owner),
            (Request("resources/unsubscribe"), Owner, Owner),
            (Request("logging/setLevel"), Owner, Owner),
            (Notification("notifications/initialized"), Anywhere, Owner),
            (Notification("notifications/roots/list_changed"), Anywhere, Owner),
            (Notification("notifications/cancelled"), Everywhere, Owner),
            (Answer, Owner, Owner),
            (Listen, Owner, Owner),
            (End, Everywhere, Everywhere),
        ] {
            for one in [&server, &Scope::BuiltIn] {
                assert_eq!(goes(one, said), at_one, "{said:?}");
            }
            for many in &many {
                assert_eq!(goes(many, said), at_many, "{said:?}");
            }
        }
    }

    #[test]
    fn what_may_have_acted_is_not_repeated() {
        for (method, again) in [
            ("tools/call", false),
            ("tasks/cancel", false),
            ("unheard/of", false),
            ("tools/list", true),
            ("resources/read", true),
            ("resources/subscribe", true),
            ("ping", true),
        ] {
            assert_eq!(may_be_repeated(method), again, "{method}");
        }
    }
}
