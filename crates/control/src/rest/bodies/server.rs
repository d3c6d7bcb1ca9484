//! Servers: create and change.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{ServerLimits, Transport, TransportError, UpstreamUrl};
use serde_json::Value;
use store::{ServerLimitsPatch, ServerPatch};
use utoipa::ToSchema;

use super::MAX_TITLE;
use super::headers::headers;
use crate::auth::{Credential, parse_native, parse_v1};
use crate::rest::code::Code;
use crate::rest::fields::{
    Change, FieldError, Fields, Wrong, count, flag, number, prose, slug, text, texts, upstream_url, words,
};
use crate::rest::views::TransportView;
use crate::servers::{AddServer, ChangeServer, GivenAuth, within};

/// Milliseconds that connecting may take.
const CONNECT: std::ops::RangeInclusive<u64> = 100..=60_000;
/// Milliseconds that the first byte of an answer may take.
const READ: std::ops::RangeInclusive<u64> = 1_000..=600_000;
const CONNECT_DEFAULT: Duration = Duration::from_secs(10);
const READ_DEFAULT: Duration = Duration::from_secs(30);
/// Entries of `disabled_tools`, and characters of one.
const MAX_TOOLS: usize = 2000;
const MAX_TOOL: usize = 256;
/// Characters of a description.
const MAX_DESCRIPTION: usize = 2000;
/// Tags of one server, and characters of one.
const MAX_TAGS: usize = 32;
const MAX_TAG: usize = 64;
/// Tries after the first.
const RETRIES: std::ops::RangeInclusive<u32> = 0..=10;
/// Milliseconds before each of them.
const RETRY_DELAY: std::ops::RangeInclusive<u64> = 0..=60_000;
const RETRY_DELAY_DEFAULT: Duration = Duration::from_secs(1);

/// A new server.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = ServerCreate)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerCreate {
    /// Unique among the tenant's live servers; made from the title or the host when absent.
    #[schema(pattern = "^[a-z0-9][a-z0-9-]{0,31}$")]
    name: Option<String>,
    /// Unique among the tenant's live servers.
    #[schema(min_length = 1, max_length = 200)]
    title: Option<String>,
    /// Free text.
    #[schema(max_length = 2000)]
    description: Option<String>,
    /// Where the upstream is: http or https, without user info and fragment.
    #[schema(pattern = "^https?://", max_length = 2048)]
    url: String,
    /// Found out when absent.
    transport: Option<TransportView>,
    /// Public headers sent with every request; never a secret.
    headers: Option<BTreeMap<String, String>>,
    /// Milliseconds that connecting may take; 10,000 when absent.
    #[schema(minimum = 100, maximum = 60000)]
    connect_timeout_ms: Option<u64>,
    /// Milliseconds until the first byte of an answer; 30,000 when absent.
    #[schema(minimum = 1000, maximum = 600000)]
    read_timeout_ms: Option<u64>,
    /// How often a request that is safe to repeat is tried again; 0 when absent.
    #[schema(minimum = 0, maximum = 10)]
    retry_count: Option<u32>,
    /// Milliseconds before each further try; 1,000 when absent.
    #[schema(minimum = 0, maximum = 60000)]
    retry_delay_ms: Option<u64>,
    /// Tools that are absent from lists and refused by name.
    #[schema(max_items = 2000)]
    disabled_tools: Option<Vec<String>>,
    /// Whether the upstream's read-only and idempotent hints are believed; false when absent.
    trust_hints: Option<bool>,
    /// Words to find it by.
    #[schema(max_items = 32)]
    tags: Option<Vec<String>>,
    /// A word of at most 64 characters, or an https URL.
    #[schema(min_length = 1, max_length = 2048)]
    icon: Option<String>,
    limits: Option<ServerLimitsBody>,
    /// Whether proxies mount it; true when absent.
    enabled: Option<bool>,
    /// Save it without asking the upstream; false when absent.
    skip_validation: Option<bool>,
    auth: Option<AuthBody>,
    /// The same as the system that Gatehouse replaces writes it, version 1; instead of `auth`. What nobody knows in it is
    /// passed over with a warning.
    #[schema(value_type = Option<Object>)]
    auth_config: Option<Value>,
    /// Write-only: becomes the global connection. The token itself, or an object with `secrets` by name.
    credential: Option<Value>,
}

/// What to change of a server; absent members stay, null is the default.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = ServerChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerChange {
    /// Unique among the tenant's live servers.
    #[schema(pattern = "^[a-z0-9][a-z0-9-]{0,31}$", nullable = false)]
    name: Option<String>,
    /// Unique among the tenant's live servers.
    #[schema(min_length = 1, max_length = 200, nullable = false)]
    title: Option<String>,
    /// Free text.
    #[schema(max_length = 2000)]
    description: Option<String>,
    /// Where the upstream is.
    #[schema(pattern = "^https?://", max_length = 2048, nullable = false)]
    url: Option<String>,
    transport: Option<TransportView>,
    /// All public headers anew.
    headers: Option<BTreeMap<String, String>>,
    /// Milliseconds that connecting may take.
    #[schema(minimum = 100, maximum = 60000)]
    connect_timeout_ms: Option<u64>,
    /// Milliseconds until the first byte of an answer.
    #[schema(minimum = 1000, maximum = 600000)]
    read_timeout_ms: Option<u64>,
    /// How often a request that is safe to repeat is tried again.
    #[schema(minimum = 0, maximum = 10)]
    retry_count: Option<u32>,
    /// Milliseconds before each further try.
    #[schema(minimum = 0, maximum = 60000)]
    retry_delay_ms: Option<u64>,
    /// All disabled tools anew.
    #[schema(max_items = 2000)]
    disabled_tools: Option<Vec<String>>,
    /// Whether the upstream's read-only and idempotent hints are believed.
    trust_hints: Option<bool>,
    /// All tags anew.
    #[schema(max_items = 32)]
    tags: Option<Vec<String>>,
    /// A word of at most 64 characters, or an https URL.
    #[schema(min_length = 1, max_length = 2048)]
    icon: Option<String>,
    limits: Option<ServerLimitsBody>,
    /// Whether proxies mount it.
    #[schema(nullable = false)]
    enabled: Option<bool>,
    auth: Option<AuthBody>,
    /// The same as the system that Gatehouse replaces writes it, version 1; instead of `auth`.
    #[schema(value_type = Option<Object>)]
    auth_config: Option<Value>,
    /// Write-only: of the global connection; null removes it. Must come with a change after which a stored secret would
    /// go elsewhere than it was given for.
    credential: Option<Value>,
}

/// How a server is authenticated to. Secrets are write-only: reads show `{"configured": true}` in the place of one, and
/// that sent back keeps it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = ServerAuth)]
pub(crate) struct AuthBody {
    /// none, bearer, api_key, basic, query, headers, template, client_credentials, authorization_code, custom_token,
    /// token_exchange or mtls.
    #[schema(rename = "type")]
    r#type: String,
    /// Whose connections are accepted, in this order: global, department, user.
    scopes: Option<Vec<String>>,
    /// `server`: one list of tools for all; `binding`: one for each connection.
    manifest_scope: Option<String>,
    /// Seconds ahead of its end at which a token is replaced, but never before half of its life.
    pre_refresh_seconds: Option<u32>,
    /// Whether a 401 is answered with one more try under another token; true when absent.
    retry_once_on_401: Option<bool>,
    /// Whether a client certificate is shown, too: the secrets `certificate` and `private_key`, PEM.
    client_certificate: Option<bool>,
    /// api_key: the header; X-API-Key when absent.
    header: Option<String>,
    /// query: the name of the parameter.
    parameter: Option<String>,
    /// headers: the names of secret headers.
    names: Option<Vec<String>>,
    /// template and types with tokens: `[{"name", "value_template"}]`.
    #[schema(value_type = Option<Vec<Object>>)]
    headers: Option<Vec<Value>>,
    /// The same for query parameters.
    #[schema(value_type = Option<Vec<Object>>)]
    query: Option<Vec<Value>>,
    /// client_credentials, token_exchange: where tokens are asked for.
    token_url: Option<String>,
    /// client_credentials, authorization_code: whose documents name the endpoints.
    issuer: Option<String>,
    /// Of the client that Gatehouse is there.
    client_id: Option<String>,
    /// Write-only.
    client_secret: Option<String>,
    /// Write-only, PEM; for private_key_jwt.
    private_key: Option<String>,
    /// The `kid` of that key.
    key_id: Option<String>,
    /// client_secret_basic, client_secret_post or private_key_jwt.
    method: Option<String>,
    /// Words, separated by spaces.
    scope: Option<String>,
    /// Who is to accept the token.
    audience: Option<String>,
    /// The same as a URL.
    resource: Option<String>,
    /// custom_token: `{url, method, headers, body_type, body_template, response_map, refresh}`.
    #[schema(value_type = Option<Object>)]
    token_request: Option<Value>,
    /// token_exchange: the kind of the caller's token.
    subject_token_type: Option<String>,
}

/// A server's share of its tenant's limits; null is the tenant's limit.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = ServerLimitsChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerLimitsBody {
    /// Requests under way at once to the upstream.
    #[schema(minimum = 1, maximum = 1000000)]
    concurrent: Option<u32>,
    /// Bytes of one JSON answer.
    #[schema(minimum = 1, maximum = 67108864)]
    response_bytes: Option<u32>,
    /// Seconds that one call may take in all.
    #[schema(minimum = 1, maximum = 3600)]
    call_secs: Option<u32>,
}

/// Reads a create; `None` when something is wrong, which `fields` then knows.
pub(crate) fn create(fields: &mut Fields) -> Option<AddServer> {
    fields.given_by_us();
    fields.immutable(&["created_by", "updated_by", "required_secrets", "eras"]);
    let name = fields.optional("name", slug);
    let title = fields.optional("title", words(MAX_TITLE));
    let url = fields.required("url", url);
    let transport = fields.optional("transport", transport).unwrap_or(Transport::Auto);
    Some(AddServer {
        name,
        title,
        transport,
        headers: headers(fields).or_default(Vec::new).unwrap_or_default(),
        connect_timeout: timeout(fields, "connect_timeout_ms", CONNECT)
            .or_default(|| CONNECT_DEFAULT)
            .unwrap_or(CONNECT_DEFAULT),
        read_timeout: timeout(fields, "read_timeout_ms", READ).or_default(|| READ_DEFAULT).unwrap_or(READ_DEFAULT),
        disabled_tools: fields.optional("disabled_tools", texts(MAX_TOOLS, MAX_TOOL)).unwrap_or_default(),
        trust_hints: fields.optional("trust_hints", flag).unwrap_or(false),
        retry_count: fields.optional("retry_count", count(RETRIES)).unwrap_or(0),
        retry_delay: timeout(fields, "retry_delay_ms", RETRY_DELAY)
            .or_default(|| RETRY_DELAY_DEFAULT)
            .unwrap_or(RETRY_DELAY_DEFAULT),
        limits: whole(limits(fields)),
        description: fields.optional("description", prose(MAX_DESCRIPTION)),
        tags: fields.optional("tags", texts(MAX_TAGS, MAX_TAG)).unwrap_or_default(),
        icon: fields.optional("icon", icon),
        enabled: fields.optional("enabled", flag).unwrap_or(true),
        skip_validation: fields.optional("skip_validation", flag).unwrap_or(false),
        auth: auth(fields),
        credential: match credential(fields) {
            Change::Set(credential) => Some(credential),
            Change::Keep | Change::Clear => None,
        },
        url: url?,
    })
}

/// How the server is authenticated to, in either shape. Null is nothing.
fn auth(fields: &mut Fields) -> Option<GivenAuth> {
    let native = fields.change("auth", Ok).nullable();
    let version1 = fields.change("auth_config", Ok).nullable();
    let (member, value) = match (native, version1) {
        (Some(_), Some(Some(_))) => {
            fields.wrong("auth_config", (Code::Duplicate, "says the same as `auth`: send one of them".to_owned()));
            return None;
        }
        (Some(value), _) => ("auth", value),
        (None, Some(value)) => ("auth_config", value),
        (None, None) => return None,
    };
    let read = match value {
        None => {
            return Some(GivenAuth {
                config: Default::default(),
                secret: Default::default(),
                member,
                warnings: Vec::new(),
            });
        }
        Some(value) if member == "auth" => parse_native(value).map(|(config, secret)| (config, secret, Vec::new())),
        Some(value) => parse_v1(value),
    };
    match read {
        Ok((config, secret, warnings)) => Some(GivenAuth { config, secret, member, warnings }),
        Err(wrong) => {
            for FieldError { field, code, detail } in within(member, wrong) {
                fields.wrong(field, (code, detail));
            }
            None
        }
    }
}

fn credential(fields: &mut Fields) -> Change<Credential> {
    let value = match fields.change("credential", Ok) {
        Change::Keep => return Change::Keep,
        Change::Clear => return Change::Clear,
        Change::Set(value) => value,
    };
    match Credential::parse(value) {
        Ok(credential) => Change::Set(credential),
        Err(wrong) => {
            for FieldError { field, code, detail } in within("credential", wrong) {
                fields.wrong(field, (code, detail));
            }
            Change::Keep
        }
    }
}

/// What the seed's surface adds: a URL under a title, everything else by default.
pub(crate) fn plain(url: UpstreamUrl, title: Option<String>) -> AddServer {
    AddServer {
        name: None,
        title,
        url,
        transport: Transport::Auto,
        headers: Vec::new(),
        connect_timeout: CONNECT_DEFAULT,
        read_timeout: READ_DEFAULT,
        disabled_tools: Vec::new(),
        trust_hints: false,
        retry_count: 0,
        retry_delay: RETRY_DELAY_DEFAULT,
        limits: ServerLimits::default(),
        description: None,
        tags: Vec::new(),
        icon: None,
        enabled: true,
        skip_validation: false,
        auth: None,
        credential: None,
    }
}

/// Reads a PATCH: absent keeps, null goes back to the default where there is one.
pub(crate) fn change(fields: &mut Fields) -> ChangeServer {
    fields.given_by_us();
    fields.immutable(&["created_by", "updated_by", "required_secrets", "eras"]);
    let (auth, credential) = (auth(fields), credential(fields));
    ChangeServer { patch: patch(fields), auth, credential }
}

fn patch(fields: &mut Fields) -> ServerPatch {
    ServerPatch {
        eras: None,
        name: fields.replace("name", slug),
        title: fields.replace("title", words(MAX_TITLE)),
        transport: fields.change("transport", transport).or_default(|| Transport::Auto),
        url: fields.replace("url", url),
        headers: headers(fields).or_default(Vec::new),
        connect_timeout: timeout(fields, "connect_timeout_ms", CONNECT).or_default(|| CONNECT_DEFAULT),
        read_timeout: timeout(fields, "read_timeout_ms", READ).or_default(|| READ_DEFAULT),
        disabled_tools: fields.change("disabled_tools", texts(MAX_TOOLS, MAX_TOOL)).or_default(Vec::new),
        trust_hints: fields.change("trust_hints", flag).or_default(|| false),
        retry_count: fields.change("retry_count", count(RETRIES)).or_default(|| 0),
        retry_delay: timeout(fields, "retry_delay_ms", RETRY_DELAY).or_default(|| RETRY_DELAY_DEFAULT),
        limits: limits(fields),
        description: fields.change("description", prose(MAX_DESCRIPTION)).nullable(),
        tags: fields.change("tags", texts(MAX_TAGS, MAX_TAG)).or_default(Vec::new),
        icon: fields.change("icon", icon).nullable(),
        enabled: fields.replace("enabled", flag),
        auth: None,
        bare: false,
    }
}

/// A server's limits, each by itself.
fn limits(fields: &mut Fields) -> ServerLimitsPatch {
    let read = |inner: &mut Fields| ServerLimitsPatch {
        concurrent: inner.change("concurrent", count(1..=1_000_000)).nullable(),
        response_bytes: inner.change("response_bytes", count(1..=64 << 20)).nullable(),
        call_secs: inner.change("call_secs", count(1..=3_600)).nullable(),
    };
    match fields.object("limits", read) {
        Change::Keep => ServerLimitsPatch::default(),
        Change::Set(patch) => patch,
        Change::Clear => {
            ServerLimitsPatch { concurrent: Some(None), response_bytes: Some(None), call_secs: Some(None) }
        }
    }
}

/// The limits of a server that is made.
fn whole(patch: ServerLimitsPatch) -> ServerLimits {
    ServerLimits {
        concurrent: patch.concurrent.flatten(),
        response_bytes: patch.response_bytes.flatten(),
        call_secs: patch.call_secs.flatten(),
    }
}

/// A word of at most 64 characters, or an https URL of at most 2048: never another scheme, since pages
/// show it.
fn icon(value: Value) -> Result<String, Wrong> {
    let icon = words(2048)(value)?;
    let is_url = UpstreamUrl::parse(&icon).is_ok_and(|url| url.url().scheme() == "https");
    let is_word = icon.chars().count() <= 64 && !icon.contains(':') && !icon.contains('<');
    match is_url || is_word {
        true => Ok(icon),
        false => Err((Code::Icon, "must be a word of at most 64 characters or an https URL".to_owned())),
    }
}

fn url(value: Value) -> Result<UpstreamUrl, Wrong> {
    let Value::String(text) = value else { return Err((Code::Type, "must be a text".to_owned())) };
    upstream_url(&text)
}

fn transport(value: Value) -> Result<Transport, Wrong> {
    Transport::parse(&text(64)(value)?).map_err(|error| match error {
        TransportError::Stdio => (Code::StdioDisabled, error.to_string()),
        TransportError::Unknown => (Code::Transport, error.to_string()),
    })
}

fn timeout(fields: &mut Fields, name: &str, range: std::ops::RangeInclusive<u64>) -> Change<Duration> {
    fields.change(name, |value| number(range)(value).map(Duration::from_millis))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(body: Value) -> Vec<(String, &'static str)> {
        let mut fields = Fields::of(body).unwrap();
        create(&mut fields);
        fields.finish().err().unwrap_or_default().into_iter().map(|wrong| (wrong.field, wrong.code.as_str())).collect()
    }

    #[test]
    fn the_document_and_the_parser_know_the_same_members() {
        super::super::tests::agree::<ServerCreate, _>(create);
        super::super::tests::agree::<ServerChange, _>(change);
    }

    #[test]
    fn an_icon_is_a_word_or_an_https_url() {
        for (text, fits) in [
            ("book", true),
            ("📚", true),
            ("https://h.example/a.svg", true),
            ("http://h.example/a.svg", false),
            ("javascript:alert(1)", false),
            ("data:image/png;base64,x", false),
            ("", false),
        ] {
            assert_eq!(icon(json!(text)).is_ok(), fits, "{text}");
        }
    }

    #[test]
    fn a_url_alone_is_enough() {
        let mut fields = Fields::of(json!({"url": "https://h.example/mcp"})).unwrap();
        let add = create(&mut fields).unwrap();
        assert!(fields.finish().is_ok());
        assert_eq!(add.transport, Transport::Auto);
        assert_eq!((add.connect_timeout, add.read_timeout), (CONNECT_DEFAULT, READ_DEFAULT));
        assert!(add.enabled && !add.skip_validation && !add.trust_hints);
    }

    #[test]
    fn each_bad_field_is_named_with_its_code() {
        let url = "https://h.example/mcp";
        for (body, field, code) in [
            (json!({}), "url", "required"),
            (json!({"url": "file:///etc/passwd"}), "url", "url_scheme"),
            (json!({"url": "gopher://h"}), "url", "url_scheme"),
            (json!({"url": "ws://h"}), "url", "url_scheme"),
            (json!({"url": ""}), "url", "url_scheme"),
            (json!({"url": "https://user:pw@h/"}), "url", "url_userinfo"),
            (json!({"url": "https://h/#f"}), "url", "url_fragment"),
            (json!({"url": format!("https://h/{}", "x".repeat(2048))}), "url", "url_too_long"),
            (json!({"url": url, "transport": "stdio"}), "transport", "stdio_disabled"),
            (json!({"url": url, "transport": "pigeon"}), "transport", "transport"),
            (json!({"url": url, "name": "Upper"}), "name", "slug"),
            (json!({"url": url, "name": "../x"}), "name", "slug"),
            (json!({"url": url, "name": "x".repeat(65)}), "name", "slug"),
            (json!({"url": url, "name": "gatehouse"}), "name", "slug"),
            (json!({"url": url, "headers": {"Host": "x"}}), "headers.Host", "header_not_allowed"),
            (json!({"url": url, "headers": {"Content-Length": "1"}}), "headers.Content-Length", "header_not_allowed"),
            (json!({"url": url, "headers": {"MCP-Session-Id": "1"}}), "headers.MCP-Session-Id", "header_not_allowed"),
            (json!({"url": url, "headers": {":authority": "1"}}), "headers.:authority", "header_not_allowed"),
            (
                json!({"url": url, "headers": {"Authorization": "Bearer x"}}),
                "headers.Authorization",
                "header_not_allowed",
            ),
            (json!({"url": url, "headers": {"Proxy-Foo": "x"}}), "headers.Proxy-Foo", "header_not_allowed"),
            (json!({"url": url, "headers": {"X-A": "1\r\nX-B: 2"}}), "headers.X-A", "header_value"),
            (json!({"url": url, "headers": {"X-A": 1}}), "headers.X-A", "type"),
            (json!({"url": url, "headers": {"X-Api-Key": "1"}}), "headers.X-Api-Key", "header_not_allowed"),
            (json!({"url": url, "headers": {"X-Auth-Token": "1"}}), "headers.X-Auth-Token", "header_not_allowed"),
            (json!({"url": url, "headers": {"X-Our-Secret": "1"}}), "headers.X-Our-Secret", "header_not_allowed"),
            (json!({"url": url, "headers": {"X-A": "abcd***"}}), "headers.X-A", "masked_value_rejected"),
            (json!({"url": url, "headers": {"X-A": "••••9f3a"}}), "headers.X-A", "masked_value_rejected"),
            (json!({"url": url, "headers": {"X-A": "xxxxxxxx"}}), "headers.X-A", "masked_value_rejected"),
            (json!({"url": url, "headers": {"X-A": "<redacted>"}}), "headers.X-A", "masked_value_rejected"),
            (json!({"url": url, "connect_timeout_ms": 99}), "connect_timeout_ms", "range"),
            (json!({"url": url, "read_timeout_ms": 600_001}), "read_timeout_ms", "range"),
            (json!({"url": url, "read_timeout_ms": "1"}), "read_timeout_ms", "type"),
            (json!({"url": url, "tenant_id": "x"}), "tenant_id", "immutable_field"),
            (json!({"url": url, "id": "x"}), "id", "immutable_field"),
            (json!({"url": url, "retry_count": 11}), "retry_count", "range"),
            (json!({"url": url, "limits": {"concurrent": 0}}), "limits.concurrent", "range"),
            (json!({"url": url, "tags": ["a", "a"]}), "tags", "duplicate"),
            (json!({"url": url, "colour": "x"}), "colour", "unknown_field"),
        ] {
            assert_eq!(refused(body.clone()), [(field.to_owned(), code)], "{body}");
        }
    }
}
