//! The member `auth` of a server: read with every mistake at its path, and shown again.

use http::{HeaderName, Method};
use model::{Scope, UpstreamUrl};
use serde_json::{Map, Value, json};

use super::request::{
    AuthorizationCode, ClientCredentials, ClientMethod, ClientSettings, Exchange, Target, TokenRequest,
};
use super::template::{Part, Taken, Template, shown as printable};
use super::token::ResponseMap;
use super::{AuthConfig, AuthSecret, TokenSource, Way};
use crate::rest::code::Code;
use crate::rest::fields::{Change, FieldError, Fields, Wrong, count, flag, text, texts, upstream_url, words};

/// Seconds ahead of its end at which a token is replaced, unless the settings say otherwise.
pub(super) const PRE_REFRESH: u32 = 300;
/// And at most.
const MAX_PRE_REFRESH: u32 = 24 * 3600;
/// Headers or parameters of one server that hold secrets.
const MAX_ENTRIES: usize = 16;
/// Members of a response map.
const MAX_MAP: usize = 32;
/// Bytes of settings as they are stored.
const MAX_STORED: usize = 32 << 10;
/// Where a key goes that nobody said anything about.
const API_KEY: &str = "X-API-Key";
/// The kind of token that a caller's is, unless the settings say otherwise.
const ACCESS_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";
/// The words of `type`.
const KINDS: [&str; 12] = [
    "none",
    "bearer",
    "api_key",
    "basic",
    "query",
    "headers",
    "template",
    "client_credentials",
    "authorization_code",
    "custom_token",
    "token_exchange",
    "mtls",
];

/// Reads the settings and takes the secrets out of them. The paths of mistakes begin inside the object.
pub(crate) fn parse(value: Value) -> Result<(AuthConfig, AuthSecret), Vec<FieldError>> {
    let mut fields = Fields::of(value)?;
    let mut taken = Taken::default();
    let config = read(&mut fields, &mut taken);
    finish(config, fields.finish().err().unwrap_or_default(), taken)
}

/// The settings, unless something is wrong with them: with one member, or with all of them together.
pub(super) fn finish(
    config: Option<AuthConfig>,
    mut wrong: Vec<FieldError>,
    taken: Taken,
) -> Result<(AuthConfig, AuthSecret), Vec<FieldError>> {
    wrong.extend(taken.wrong);
    let Some(config) = config else {
        if wrong.is_empty() {
            wrong.push(error("", (Code::Type, "can't be read".to_owned())));
        }
        return Err(wrong);
    };
    if wrong.is_empty() {
        wrong.extend(together(&config));
    }
    let secrets = AuthSecret::of(taken.secrets);
    if secrets.to_json().len() > super::MAX_SEALED || config.to_stored().len() > MAX_STORED {
        wrong.push(error("", (Code::TooLong, format!("at most {MAX_STORED} bytes, and half of that of secrets"))));
    }
    if wrong.is_empty() { Ok((config, secrets)) } else { Err(wrong) }
}

/// What fits member by member and not together.
fn together(config: &AuthConfig) -> Vec<FieldError> {
    let mut wrong = Vec::new();
    if config.scopes.is_empty()
        && config.needs_connection()
        && let Some(name) = config.required_secrets().first()
    {
        let detail = format!("must name who has a connection: `{name}` is a secret of one");
        wrong.push(error("scopes", (Code::Required, detail)));
    } else if config.scopes.is_empty() && config.needs_connection() {
        wrong.push(error("scopes", (Code::Required, "must name who can sign in".to_owned())));
    }
    wrong
}

fn read(fields: &mut Fields, taken: &mut Taken) -> Option<AuthConfig> {
    let kind = fields.required("type", kind);
    let scopes = fields.optional("scopes", scopes);
    let shared = fields.optional("manifest_scope", manifest_scope);
    let pre_refresh = fields.optional("pre_refresh_seconds", count(0..=MAX_PRE_REFRESH));
    let retry_unauthorized = fields.optional("retry_once_on_401", flag).unwrap_or(true);
    let client_certificate = fields.optional("client_certificate", flag).unwrap_or(false);
    let kind = kind?;
    let mut config = AuthConfig { retry_unauthorized, ..AuthConfig::default() };
    match kind {
        "none" => {
            if client_certificate {
                fields.wrong("client_certificate", (Code::AuthType, "goes with the type `mtls`".to_owned()));
            }
            return Some(config);
        }
        "bearer" => config.way = Way::Bearer,
        "basic" => config.way = Way::Basic,
        "mtls" => config.way = Way::Certificate,
        "api_key" => {
            let header = fields.optional("header", header).unwrap_or_else(|| API_KEY.to_owned());
            config.way = Way::ApiKey { header };
        }
        "query" => config.way = Way::Query { parameter: fields.required("parameter", parameter)? },
        "headers" => config.way = Way::Headers { names: fields.required("names", headers)? },
        _ => config.way = Way::Templates,
    }
    if config.way == Way::Templates {
        config.source = source(kind, fields, taken)?;
        let given = entries(fields, "headers", header, taken);
        config.query = entries(fields, "query", parameter, taken).unwrap_or_default();
        let tokens = config.source != TokenSource::Static;
        if tokens && config.query.is_empty() && given.is_none() {
            config.headers = vec![("Authorization".to_owned(), Template::bearer())];
        } else {
            config.headers = given.unwrap_or_default();
        }
        let read =
            !taken.wrong.iter().any(|wrong| wrong.field.starts_with("headers") || wrong.field.starts_with("query"));
        if config.headers.is_empty() && config.query.is_empty() && read {
            fields.wrong("headers", (Code::Required, "must say where the secret goes".to_owned()));
        }
        config.pre_refresh = pre_refresh.unwrap_or(if tokens { PRE_REFRESH } else { 0 });
    }
    config.client_certificate = client_certificate || config.way == Way::Certificate;
    settle(&mut config, scopes, shared, |wrong| fields.wrong("manifest_scope", wrong));
    Some(config)
}

/// What depends on everything else: who has connections, and who shares a list.
pub(super) fn settle(
    config: &mut AuthConfig,
    scopes: Option<Vec<Scope>>,
    shared: Option<bool>,
    too_wide: impl FnOnce(Wrong),
) {
    config.scopes = scopes.unwrap_or_else(|| match config.source {
        TokenSource::AuthorizationCode(_) => vec![Scope::User],
        _ if config.needs_connection() => vec![Scope::Global],
        _ => Vec::new(),
    });
    let narrow = config.scopes().iter().any(|scope| *scope != Scope::Global);
    let may_share = !narrow && !matches!(config.source, TokenSource::Exchange(_));
    if shared == Some(true) && !may_share {
        too_wide((
            Code::ManifestScope,
            "`server` goes with no connection or a global one: what one person may see is not for all".to_owned(),
        ));
    }
    config.shared_manifest = shared.unwrap_or(true) && may_share;
}

fn source(kind: &str, fields: &mut Fields, taken: &mut Taken) -> Option<TokenSource> {
    Some(match kind {
        "client_credentials" => {
            let mut given = false;
            let mut read = |name: &str| {
                fields.optional(name, |value| {
                    given = true;
                    url(value)
                })
            };
            let (token_url, issuer) = (read("token_url"), read("issuer"));
            if !given {
                fields.wrong("token_url", (Code::Required, "or `issuer` is required".to_owned()));
            }
            let (client, target) = (client(fields, taken), target(fields));
            TokenSource::ClientCredentials(ClientCredentials { token_url, issuer, client, target })
        }
        "authorization_code" => TokenSource::AuthorizationCode(AuthorizationCode {
            issuer: fields.optional("issuer", url),
            client_id: member(fields, "client_id", taken),
            client_secret: member(fields, "client_secret", taken),
            scope: fields.optional("scope", scope),
        }),
        "custom_token" => {
            let request = token_request(fields, "token_request", taken, None);
            if request.is_none() && !taken.wrong.iter().any(|wrong| wrong.field.starts_with("token_request")) {
                fields.wrong("token_request", (Code::Required, "is required".to_owned()));
            }
            TokenSource::Custom(request?)
        }
        "token_exchange" => {
            let token_url = fields.required("token_url", url);
            let (client, target) = (client(fields, taken), target(fields));
            let kind = fields.optional("subject_token_type", words(256));
            let subject_token_type = kind.unwrap_or_else(|| ACCESS_TOKEN_TYPE.to_owned());
            TokenSource::Exchange(Exchange { token_url: token_url?, client, target, subject_token_type })
        }
        _ => TokenSource::Static,
    })
}

fn client(fields: &mut Fields, taken: &mut Taken) -> ClientSettings {
    ClientSettings {
        id: member(fields, "client_id", taken),
        secret: member(fields, "client_secret", taken),
        private_key: member(fields, "private_key", taken),
        key_id: fields.optional("key_id", words(256)),
        method: fields.optional("method", method).unwrap_or(ClientMethod::Basic),
    }
}

fn target(fields: &mut Fields) -> Target {
    Target {
        scope: fields.optional("scope", scope),
        audience: fields.optional("audience", words(2048)),
        resource: fields.optional("resource", words(2048)),
    }
}

/// A member that is a text with placeholders or without.
fn member(fields: &mut Fields, name: &str, taken: &mut Taken) -> Option<Template> {
    let value = fields.optional(name, Ok)?;
    Template::member(value, name, name, taken)
}

/// A request for a token, as both shapes of settings write it. What stands under `refresh` has the response map of
/// the request around it unless it has its own.
pub(super) fn token_request(
    fields: &mut Fields,
    path: &str,
    taken: &mut Taken,
    outer: Option<&ResponseMap>,
) -> Option<TokenRequest> {
    let name = path.rsplit('.').next().unwrap_or(path);
    let request = fields.object(name, |inner| {
        let url = inner.required("url", url);
        let method = inner.optional("method", request_method).unwrap_or(Method::POST);
        let form = inner.optional("body_type", body_type).unwrap_or(false);
        let headers = inner.optional("headers", object).map(|members| request_headers(members, path, taken));
        let body = inner.optional("body_template", object).unwrap_or_default();
        let body = Template::value(Value::Object(body), "", &format!("{path}.body_template"), taken);
        let map = inner.optional("response_map", object).map(|members| response_map(members, path, taken));
        let response_map = map.or_else(|| outer.cloned()).unwrap_or_default();
        let refresh = match outer {
            Some(_) => None,
            None => token_request(inner, &format!("{path}.refresh"), taken, Some(&response_map)),
        };
        let headers = headers.unwrap_or_default();
        Some(TokenRequest {
            url: url?,
            method,
            headers,
            form,
            body: body?,
            response_map,
            refresh: refresh.map(Box::new),
        })
    });
    match request {
        Change::Set(request) => request,
        Change::Keep | Change::Clear => None,
    }
}

fn request_headers(members: Map<String, Value>, path: &str, taken: &mut Taken) -> Vec<(String, Template)> {
    let mut headers: Vec<(String, Template)> = Vec::new();
    if members.len() > MAX_ENTRIES {
        taken.wrong(&format!("{path}.headers"), (Code::TooMany, format!("at most {MAX_ENTRIES} headers")));
        return headers;
    }
    for (name, value) in members {
        let path = format!("{path}.headers.{}", printable(&name));
        let free = matches!(name.to_ascii_lowercase().as_str(), "content-type" | "accept") || may_be_injected(&name);
        if !free || HeaderName::try_from(name.as_str()).is_err() {
            taken.wrong(&path, not_allowed());
        } else if headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(&name)) {
            taken.wrong(&path, (Code::HeaderNotAllowed, "stands twice".to_owned()));
        } else if let Some(template) = Template::member(value, &name, &path, taken) {
            literal_fits(&template, &path, taken);
            headers.push((name, template));
        }
    }
    headers
}

fn response_map(members: Map<String, Value>, path: &str, taken: &mut Taken) -> ResponseMap {
    let mut map = Vec::with_capacity(members.len());
    if members.len() > MAX_MAP {
        taken.wrong(&format!("{path}.response_map"), (Code::TooMany, format!("at most {MAX_MAP} members")));
        return ResponseMap(map);
    }
    for (name, value) in members {
        let path = format!("{path}.response_map.{}", printable(&name));
        match words(256)(value) {
            Ok(dotted) => map.push((name, dotted)),
            Err(wrong) => taken.wrong(&path, wrong),
        }
    }
    ResponseMap(map)
}

/// `[{name, value_template}]`, as both shapes of settings write it.
fn entries(
    fields: &mut Fields,
    member: &str,
    name: fn(Value) -> Result<String, Wrong>,
    taken: &mut Taken,
) -> Option<Vec<(String, Template)>> {
    let items = fields.optional(member, list)?;
    let mut unknown = Vec::new();
    let entries = read_entries(items, member, member, name, taken, &mut unknown);
    for path in unknown {
        taken.wrong(&path, (Code::UnknownField, "unknown field".to_owned()));
    }
    Some(entries)
}

/// The same; the paths of members that nobody knows come into `unknown`. A literal secret is kept under `member` and the
/// name of its entry, wherever the entry stands.
pub(super) fn read_entries(
    items: Vec<Value>,
    path: &str,
    member: &str,
    name: fn(Value) -> Result<String, Wrong>,
    taken: &mut Taken,
    unknown: &mut Vec<String>,
) -> Vec<(String, Template)> {
    let mut entries: Vec<(String, Template)> = Vec::new();
    if items.len() > MAX_ENTRIES {
        taken.wrong(path, (Code::TooMany, format!("at most {MAX_ENTRIES} entries")));
        return entries;
    }
    for (at, item) in items.into_iter().enumerate() {
        let path = format!("{path}.{at}");
        let Value::Object(mut members) = item else {
            taken.wrong(&path, (Code::Type, "must be an object with `name` and `value_template`".to_owned()));
            continue;
        };
        let given = members.remove("name").unwrap_or(Value::Null);
        let name = match name(given) {
            Ok(name) => Some(name),
            Err(wrong) => {
                taken.wrong(&format!("{path}.name"), wrong);
                None
            }
        };
        let value_path = format!("{path}.value_template");
        let template = match members.remove("value_template") {
            None | Some(Value::Null) => {
                taken.wrong(&value_path, (Code::Required, "is required".to_owned()));
                None
            }
            // Its name decides whether a literal one is a secret.
            Some(value) => Template::member(value, name.as_deref().unwrap_or_default(), &value_path, taken),
        };
        unknown.extend(members.keys().map(|member| format!("{path}.{}", printable(member))));
        let (Some(name), Some(mut template)) = (name, template) else { continue };
        literal_fits(&template, &value_path, taken);
        template.keep_under(&format!("{member}.{name}"), taken);
        if entries.iter().any(|(other, _)| other.eq_ignore_ascii_case(&name)) {
            taken.wrong(&format!("{path}.name"), (Code::Duplicate, "stands twice".to_owned()));
        } else {
            entries.push((name, template));
        }
    }
    entries
}

/// What stands literally in a header must be able to stand there.
fn literal_fits(template: &Template, path: &str, taken: &mut Taken) {
    let sealed = match template {
        Template::Sealed(path) => taken.secrets.iter().find(|(other, _)| other == path).map(|(_, secret)| secret),
        _ => None,
    };
    let fits = match (template, sealed) {
        (Template::Text(parts), _) => parts.iter().all(|part| match part {
            Part::Literal(text) => mcp::headers::is_value(text),
            Part::Placeholder(_) => true,
        }),
        (_, Some(secret)) => mcp::headers::is_value(secret.expose()),
        _ => true,
    };
    if !fits {
        taken.wrong(path, (Code::HeaderValue, "holds characters that a header can't hold".to_owned()));
    }
}

// === single values ===

fn kind(value: Value) -> Result<&'static str, Wrong> {
    let word = text(64)(value)?;
    let known = KINDS.into_iter().find(|kind| *kind == word);
    known.ok_or_else(|| (Code::AuthType, format!("must be one of {}", KINDS.join(", "))))
}

fn scopes(value: Value) -> Result<Vec<Scope>, Wrong> {
    let read = texts(3, 32)(value)?.iter().map(|word| Scope::parse(word)).collect::<Option<Vec<_>>>();
    let read = read.ok_or_else(|| (Code::ConnectionScope, "must be global, department or user".to_owned()))?;
    let twice = read.iter().enumerate().any(|(at, scope)| read.iter().take(at).any(|other| other == scope));
    if twice { Err((Code::Duplicate, "an entry stands twice".to_owned())) } else { Ok(read) }
}

/// `server`: one list for all.
pub(super) fn manifest_scope(value: Value) -> Result<bool, Wrong> {
    match text(32)(value)?.as_str() {
        "server" => Ok(true),
        "binding" => Ok(false),
        _ => Err((Code::ManifestScope, "must be server or binding".to_owned())),
    }
}

/// The name of a header that may hold a secret.
pub(super) fn header(value: Value) -> Result<String, Wrong> {
    let name = words(64)(value)?;
    if may_be_injected(&name) { Ok(name) } else { Err(not_allowed()) }
}

fn headers(value: Value) -> Result<Vec<String>, Wrong> {
    let names = texts(MAX_ENTRIES, 64)(value)?;
    let twice =
        names.iter().enumerate().any(|(at, name)| names.iter().take(at).any(|other| other.eq_ignore_ascii_case(name)));
    match names.iter().all(|name| may_be_injected(name)) {
        _ if names.is_empty() => Err((Code::Required, "must name a header".to_owned())),
        _ if twice => Err((Code::Duplicate, "an entry stands twice".to_owned())),
        true => Ok(names),
        false => Err(not_allowed()),
    }
}

/// Whether a credential may be sent in this header: not in one that the gateway or HTTP itself owns.
fn may_be_injected(name: &str) -> bool {
    let credential = ["authorization", "cookie"].iter().any(|own| name.eq_ignore_ascii_case(own));
    mcp::headers::is_name(name) && (credential || mcp::headers::may_be_configured(name))
}

fn not_allowed() -> Wrong {
    (Code::HeaderNotAllowed, "is no name of a header, or the gateway's own".to_owned())
}

fn parameter(value: Value) -> Result<String, Wrong> {
    let name = words(64)(value)?;
    let fits = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~[]$:".contains(&byte));
    if fits { Ok(name) } else { Err((Code::Type, "must be a name: letters, digits and -._~[]$:".to_owned())) }
}

/// An address that tokens are asked for at: without placeholders, which could lead anywhere.
pub(super) fn url(value: Value) -> Result<UpstreamUrl, Wrong> {
    let Value::String(text) = value else { return Err((Code::Type, "must be a text".to_owned())) };
    if text.contains("${") {
        return Err((Code::Template, "can't hold placeholders".to_owned()));
    }
    upstream_url(&text)
}

fn method(value: Value) -> Result<ClientMethod, Wrong> {
    let word = text(64)(value)?;
    let known = ClientMethod::ALL.into_iter().find(|method| method.as_str() == word);
    let words = ClientMethod::ALL.map(ClientMethod::as_str).join(", ");
    known.ok_or_else(|| (Code::AuthType, format!("must be one of {words}")))
}

fn request_method(value: Value) -> Result<Method, Wrong> {
    let methods = [Method::POST, Method::GET, Method::PUT, Method::PATCH];
    let word = text(16)(value)?.to_ascii_uppercase();
    let known = methods.into_iter().find(|method| method.as_str() == word);
    known.ok_or_else(|| (Code::AuthType, "must be POST, GET, PUT or PATCH".to_owned()))
}

fn body_type(value: Value) -> Result<bool, Wrong> {
    match text(16)(value)?.as_str() {
        "form" => Ok(true),
        "json" => Ok(false),
        _ => Err((Code::AuthType, "must be json or form".to_owned())),
    }
}

/// Words of OAuth, as a text with spaces or as a list.
fn scope(value: Value) -> Result<String, Wrong> {
    match value {
        Value::Array(_) => texts(64, 256)(value).map(|words| words.join(" ")),
        value => words(4096)(value),
    }
}

pub(super) fn object(value: Value) -> Result<Map<String, Value>, Wrong> {
    if let Value::Object(members) = value { Ok(members) } else { Err((Code::Type, "must be an object".to_owned())) }
}

pub(super) fn list(value: Value) -> Result<Vec<Value>, Wrong> {
    if let Value::Array(items) = value { Ok(items) } else { Err((Code::Type, "must be a list".to_owned())) }
}

pub(super) fn error(field: &str, (code, detail): Wrong) -> FieldError {
    FieldError { field: field.to_owned(), code, detail }
}

// === shown again ===

/// The settings as [`parse`] reads them.
pub(super) fn shown(config: &AuthConfig) -> Value {
    if config.is_none() {
        return json!({"type": "none"});
    }
    let mut members = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            members.insert(name.to_owned(), value);
        }
    };
    put("type", Some(config.kind().into()));
    put("scopes", Some(config.scopes.iter().map(|scope| scope.as_str()).collect()));
    put("manifest_scope", Some(if config.shared_manifest { "server" } else { "binding" }.into()));
    put("retry_once_on_401", Some(config.retry_unauthorized.into()));
    if config.client_certificate && config.way != Way::Certificate {
        put("client_certificate", Some(true.into()));
    }
    match &config.way {
        Way::ApiKey { header } => put("header", Some(header.as_str().into())),
        Way::Query { parameter } => put("parameter", Some(parameter.as_str().into())),
        Way::Headers { names } => put("names", Some(names.iter().map(String::as_str).collect())),
        Way::Templates => {
            put("pre_refresh_seconds", Some(config.pre_refresh.into()));
            put("headers", shown_entries(&config.headers));
            put("query", shown_entries(&config.query));
        }
        Way::None | Way::Bearer | Way::Basic | Way::Certificate => (),
    }
    let url = |url: &Option<UpstreamUrl>| url.as_ref().map(|url| Value::from(url.as_str()));
    let template = |template: &Option<Template>| template.as_ref().map(Template::shown);
    let text = |text: &Option<String>| text.as_deref().map(Value::from);
    let mut target = Target::default();
    match &config.source {
        TokenSource::Static => (),
        TokenSource::Custom(request) => put("token_request", Some(request.shown())),
        TokenSource::AuthorizationCode(settings) => {
            put("issuer", url(&settings.issuer));
            put("client_id", template(&settings.client_id));
            put("client_secret", template(&settings.client_secret));
            put("scope", text(&settings.scope));
        }
        TokenSource::ClientCredentials(settings) => {
            put("token_url", url(&settings.token_url));
            put("issuer", url(&settings.issuer));
            target = settings.target.clone();
        }
        TokenSource::Exchange(settings) => {
            put("token_url", Some(settings.token_url.as_str().into()));
            put("subject_token_type", Some(settings.subject_token_type.as_str().into()));
            target = settings.target.clone();
        }
    }
    if let TokenSource::ClientCredentials(ClientCredentials { client, .. })
    | TokenSource::Exchange(Exchange { client, .. }) = &config.source
    {
        put("client_id", template(&client.id));
        put("client_secret", template(&client.secret));
        put("private_key", template(&client.private_key));
        put("key_id", text(&client.key_id));
        put("method", Some(client.method.as_str().into()));
        put("scope", text(&target.scope));
        put("audience", text(&target.audience));
        put("resource", text(&target.resource));
    }
    Value::Object(members)
}

fn shown_entries(entries: &[(String, Template)]) -> Option<Value> {
    let shown = |(name, template): &(String, Template)| json!({"name": name, "value_template": template.shown()});
    (!entries.is_empty()).then(|| entries.iter().map(shown).collect())
}
