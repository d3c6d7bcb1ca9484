//! Tables of settings, templates, credentials and tokens.

mod certificates;
mod settings;
mod templates;
mod tokens;

use serde_json::{Value, json};

use super::*;

/// Native settings that are fine.
fn native(value: Value) -> AuthConfig {
    parse_native(value.clone()).unwrap_or_else(|wrong| panic!("{value}: {wrong:?}")).0
}

/// The same with what was taken out of them.
fn native_with_secrets(value: Value) -> (AuthConfig, AuthSecret) {
    parse_native(value.clone()).unwrap_or_else(|wrong| panic!("{value}: {wrong:?}"))
}

/// Paths and codes of what is wrong.
fn wrong<T>(read: Result<T, Vec<FieldError>>) -> Vec<(String, &'static str)> {
    read.err().unwrap_or_default().into_iter().map(|wrong| (wrong.field, wrong.code.as_str())).collect()
}

fn credential(value: Value) -> Credential {
    Credential::parse(value.clone()).unwrap_or_else(|wrong| panic!("{value}: {wrong:?}"))
}

/// Header lines as `name: value`, parameters as `?name=value`.
fn lines(
    config: &AuthConfig,
    given: &Credential,
    token: Option<&Token>,
    context: &Context,
) -> Result<Vec<String>, ComposeError> {
    let auth = AuthSecret::default();
    let composed = config.compose(&Material { auth: &auth, credential: given, token }, context)?;
    let headers = composed.headers.iter().map(|(name, value)| format!("{name}: {}", value.expose()));
    let query = composed.query.iter().map(|(name, value)| format!("?{name}={}", value.expose()));
    Ok(headers.chain(query).collect())
}

fn somebody() -> Context {
    Context { user_id: Some("u-1".into()), department_id: Some("d-1".into()), work_id: Some("ada".into()) }
}

fn token(answer: Value) -> Token {
    Token::from_response(answer.to_string().as_bytes(), &ResponseMap::default(), 0, None).unwrap()
}
