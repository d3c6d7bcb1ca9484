//! The member `auth_config` of a server, version 1: the shape of the system that Gatehouse replaces, read as it was
//! written. Members that nobody knows are passed over, and told.

use model::Scope;
use serde_json::Value;

use super::native::{finish, header, list, manifest_scope, read_entries, settle, token_request, url};
use super::request::AuthorizationCode;
use super::template::{Taken, Template};
use super::{AuthConfig, AuthSecret, TokenSource, Way};
use crate::rest::code::Code;
use crate::rest::fields::{Change, FieldError, Fields, Wrong, count, flag, number, text};

/// Reads the settings and takes the secrets out of them; with what was passed over. The paths of mistakes begin inside
/// the object.
pub(crate) fn parse(value: Value) -> Result<(AuthConfig, AuthSecret, Vec<String>), Vec<FieldError>> {
    let mut fields = Fields::of(value)?;
    let (mut taken, mut warnings) = (Taken::default(), Vec::new());
    let config = read(&mut fields, &mut taken, &mut warnings);
    let (unknown, wrong): (Vec<_>, Vec<_>) =
        fields.finish().err().unwrap_or_default().into_iter().partition(|wrong| wrong.code == Code::UnknownField);
    warnings.extend(unknown.into_iter().map(|unknown| format!("`{}` is unknown and was ignored", unknown.field)));
    let (config, secret) =
        finish(config, wrong, taken).map_err(|wrong| wrong.into_iter().map(own_path).collect::<Vec<_>>())?;
    Ok((config, secret, warnings))
}

/// Paths of what is called otherwise here.
fn own_path(mut wrong: FieldError) -> FieldError {
    if wrong.field == "scopes" {
        "binding_scope".clone_into(&mut wrong.field);
    }
    wrong
}

fn read(fields: &mut Fields, taken: &mut Taken, warnings: &mut Vec<String>) -> Option<AuthConfig> {
    fields.optional("version", version);
    let provider = fields.required("provider", text(64));
    let scope = fields.optional("binding_scope", binding_scope);
    let shared = fields.optional("manifest_scope", manifest_scope);
    let entries = inject(fields, taken, warnings);
    let policy = fields.object("refresh_policy", |inner| {
        let ahead = inner.optional("pre_refresh_seconds", count(0..=24 * 3600));
        (ahead.unwrap_or(0), inner.optional("retry_once_on_401", flag))
    });
    let (pre_refresh, retry) = if let Change::Set(policy) = policy { policy } else { (0, None) };
    let provider = provider?;
    let source = match provider.as_str() {
        "legacy_static" | "bound_secret" => {
            fields.optional("token_request", |_| Ok(()));
            TokenSource::Static
        }
        "client_credentials" | "custom_http_token" => {
            let known = taken.wrong.len();
            let request = token_request(fields, "token_request", taken, None);
            if request.is_none() && taken.wrong.len() == known {
                required(fields);
            }
            TokenSource::Custom(request?)
        }
        "authorization_code" => TokenSource::AuthorizationCode(authorization_code(fields, taken)?),
        "stdio_env" => {
            fields.wrong("provider", stdio());
            return None;
        }
        _ => {
            let words = "legacy_static, bound_secret, client_credentials, custom_http_token, authorization_code";
            fields.wrong("provider", (Code::AuthType, format!("must be one of {words}")));
            return None;
        }
    };
    let inline = matches!(scope, Some(None)) || scope.is_none() && provider == "legacy_static";
    let mut config = AuthConfig {
        way: Way::Templates,
        source,
        pre_refresh,
        retry_unauthorized: retry.unwrap_or(true),
        headers: entries.unwrap_or_default(),
        ..AuthConfig::default()
    };
    if config.headers.is_empty() {
        match provider.as_str() {
            // Its headers are the server's own.
            "legacy_static" => return Some(AuthConfig::default()),
            "bound_secret" => {
                let template = Template::text("Bearer ${secret.access_token}").ok()?;
                config.headers.push(("Authorization".to_owned(), template));
            }
            _ => config.headers.push(("Authorization".to_owned(), Template::bearer())),
        }
    }
    let scopes = if inline { Vec::new() } else { vec![scope.flatten().unwrap_or(Scope::Global)] };
    settle(&mut config, Some(scopes), shared, |_| {
        warnings.push("`manifest_scope` is `binding`: what one person may see is not for all".to_owned());
    });
    Some(config)
}

/// Where the values go. Processes are never started, so nothing goes into the environment of one.
fn inject(fields: &mut Fields, taken: &mut Taken, warnings: &mut Vec<String>) -> Option<Vec<(String, Template)>> {
    let mut unknown = Vec::new();
    let read = fields.object("inject", |inner| {
        inner.optional("target", target);
        let items = inner.optional("entries", list)?;
        Some(read_entries(items, "inject.entries", "headers", header, taken, &mut unknown))
    });
    warnings.extend(unknown.into_iter().map(|path| format!("`{path}` is unknown and was ignored")));
    if let Change::Set(entries) = read { entries } else { None }
}

fn authorization_code(fields: &mut Fields, taken: &mut Taken) -> Option<AuthorizationCode> {
    let read = fields.object("token_request", |inner| {
        let issuer = inner.optional("issuer_url", url);
        let mut member = |name: &str| {
            let value = inner.optional(name, Ok)?;
            let mut template = Template::member(value, name, &format!("token_request.{name}"), taken)?;
            template.keep_under(name, taken);
            Some(template)
        };
        let (client_id, client_secret) = (member("client_id"), member("client_secret"));
        AuthorizationCode { issuer, client_id, client_secret, scope: None }
    });
    match read {
        Change::Set(settings) => Some(settings),
        Change::Keep | Change::Clear => {
            required(fields);
            None
        }
    }
}

fn required(fields: &mut Fields) {
    fields.wrong("token_request", (Code::Required, "is required for this provider".to_owned()));
}

fn version(value: Value) -> Result<(), Wrong> {
    number(1..=1)(value).map(|_| ())
}

/// `None`: without a connection.
fn binding_scope(value: Value) -> Result<Option<Scope>, Wrong> {
    let word = text(32)(value)?;
    match (word.as_str(), Scope::parse(&word)) {
        ("inline", _) => Ok(None),
        (_, Some(scope)) => Ok(Some(scope)),
        _ => Err((Code::ConnectionScope, "must be inline, system, department or user".to_owned())),
    }
}

fn target(value: Value) -> Result<(), Wrong> {
    match text(32)(value)?.as_str() {
        "headers" => Ok(()),
        "env" => Err(stdio()),
        _ => Err((Code::AuthType, "must be headers".to_owned())),
    }
}

fn stdio() -> Wrong {
    (Code::StdioDisabled, "no process is ever started, so there is no environment to put a secret into".to_owned())
}
