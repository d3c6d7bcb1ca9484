//! `gatehouse token`: a signed token in the name of a user.

use model::Secret;
use serde_json::Value;

use super::body::Body;
use crate::api::Api;
use crate::args::{Span, Token};
use crate::failure::Failure;
use crate::screen::{self, Screen, cell};

/// Prints the token and nothing else: it is meant for a variable.
pub(super) async fn run(api: &Api, token: &Token, screen: Screen) -> Result<(), Failure> {
    let made = api.post(&["tokens"], &body(&token.user, token.server.as_deref(), token.ttl)).await?.body;
    screen.show(&made, |made| screen::plain(&cell(made, "token")))
}

/// A token for one call.
pub(super) async fn for_call(api: &Api, user: &str, server: &str) -> Result<Secret, Failure> {
    let made = api.post(&["tokens"], &body(user, Some(server), None)).await?.body;
    match cell(&made, "token") {
        token if token.is_empty() => Err(Failure::Failed("control gave no token".to_owned())),
        token => Ok(Secret::new(token)),
    }
}

fn body(user: &str, server: Option<&str>, ttl: Option<Span>) -> Value {
    Body::default().with("user", Some(user)).with("server", server).with("ttl", ttl.map(Span::seconds)).value()
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::args::{Cli, Verb};

    #[test]
    fn only_what_was_said_is_sent() {
        for (line, expected) in [
            ("g token --as ann", json!({"user": "ann"})),
            ("g token --as ann --server notes --ttl 5m", json!({"user": "ann", "server": "notes", "ttl": 300})),
        ] {
            let Verb::Token(token) = Cli::try_parse_from(line.split_whitespace()).unwrap().verb else { panic!() };
            assert_eq!(body(&token.user, token.server.as_deref(), token.ttl), expected, "{line}");
        }
    }
}
