//! The kinds of records that a document declares, field by field: the one table that reading, writing and comparing use.

use model::{ClaimMapping, Limits};
use serde_json::{Value, json};

/// A kind of record. A record refers to records of kinds before its own only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Tenant,
    Egress,
    Department,
    User,
    Server,
    Toolset,
    Issuer,
    Key,
}

/// One member of a record.
pub(crate) struct Field {
    /// As REST and the document call it; `limits.call_secs` is the member `call_secs` of the object `limits`.
    pub(crate) name: &'static str,
    /// What its value may be.
    pub(crate) shape: Shape,
    /// Whether the document must say it.
    pub(crate) required: bool,
    /// What it is in a record of this name that doesn't say it, as control has it.
    pub(crate) default: fn(&str) -> Value,
}

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Text,
    Number,
    Flag,
    /// Texts whose order counts.
    List,
    /// Texts in any order.
    Set,
    /// Names and texts.
    Pairs,
    /// Whatever control makes of it.
    Object,
    /// Entries of a toolset, whose order counts.
    Entries,
}

impl Kind {
    /// The kinds that stand inside of a tenant.
    pub(crate) const OF_A_TENANT: [Self; 6] =
        [Self::Department, Self::User, Self::Server, Self::Toolset, Self::Issuer, Self::Key];

    /// For people.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Egress => "egress rule",
            Self::Department => "department",
            Self::User => "user",
            Self::Server => "server",
            Self::Toolset => "toolset",
            Self::Issuer => "issuer",
            Self::Key => "key",
        }
    }

    /// The section of a document.
    pub(crate) fn section(self) -> &'static str {
        match self {
            Self::Tenant => "tenants",
            Self::Egress => "egress_rules",
            Self::Department => "departments",
            Self::User => "users",
            Self::Server => "servers",
            Self::Toolset => "toolsets",
            Self::Issuer => "issuers",
            Self::Key => "keys",
        }
    }

    /// The path of REST.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Egress => "egress-rules",
            other => other.section(),
        }
    }

    /// The member that names a record; `None` where records are known by what they say.
    pub(crate) fn named_by(self) -> Option<&'static str> {
        match self {
            Self::Tenant | Self::Department | Self::Server | Self::Toolset | Self::Issuer => Some("name"),
            Self::User => Some("login"),
            Self::Egress | Self::Key => None,
        }
    }

    /// The flag that is switched by an action of its own, `enable` or `disable`.
    pub(crate) fn switch(self) -> Option<&'static str> {
        match self {
            Self::Tenant => Some("active"),
            Self::Issuer => Some("enabled"),
            Self::Egress | Self::Department | Self::User | Self::Server | Self::Toolset | Self::Key => None,
        }
    }

    /// The members of a record besides its name.
    pub(crate) fn fields(self) -> &'static [Field] {
        match self {
            Self::Tenant => TENANT,
            Self::Egress => EGRESS,
            Self::Department => DEPARTMENT,
            Self::User => USER,
            Self::Server => SERVER,
            Self::Toolset => TOOLSET,
            Self::Issuer => ISSUER,
            Self::Key => KEY,
        }
    }
}

const fn field(name: &'static str, shape: Shape, default: fn(&str) -> Value) -> Field {
    Field { name, shape, required: false, default }
}

const fn required(name: &'static str) -> Field {
    Field { name, shape: Shape::Text, required: true, default: none }
}

fn none(_: &str) -> Value {
    Value::Null
}

fn own_name(name: &str) -> Value {
    name.into()
}

fn empty_text(_: &str) -> Value {
    "".into()
}

fn empty_list(_: &str) -> Value {
    json!([])
}

fn empty_pairs(_: &str) -> Value {
    json!({})
}

fn yes(_: &str) -> Value {
    true.into()
}

fn no(_: &str) -> Value {
    false.into()
}

fn number<const N: u64>(_: &str) -> Value {
    N.into()
}

static TENANT: &[Field] = &[
    field("title", Shape::Text, own_name),
    field("active", Shape::Flag, yes),
    field("pools", Shape::Set, |_| json!(["default"])),
    field("stale_after_secs", Shape::Number, |_| json!(86_400)),
    field("max_stale_credential_secs", Shape::Number, |_| json!(14_400)),
    field("authorization_server", Shape::Flag, no),
    field("local_accounts", Shape::Flag, yes),
    field("limits.key_rate", Shape::Number, |_| Limits::default().key_rate.into()),
    field("limits.tenant_rate", Shape::Number, |_| Limits::default().tenant_rate.into()),
    field("limits.concurrent", Shape::Number, |_| Limits::default().concurrent.into()),
    field("limits.streams", Shape::Number, |_| Limits::default().streams.into()),
    field("limits.upstream_concurrent", Shape::Number, |_| Limits::default().upstream_concurrent.into()),
    field("limits.servers", Shape::Number, |_| Limits::default().servers.into()),
    field("limits.request_bytes", Shape::Number, |_| Limits::default().request_bytes.into()),
    field("limits.response_bytes", Shape::Number, |_| Limits::default().response_bytes.into()),
    field("limits.call_secs", Shape::Number, |_| Limits::default().call_secs.into()),
];

static EGRESS: &[Field] = &[
    required("host"),
    field("ports", Shape::Text, none),
    field("http", Shape::Flag, no),
    field("tenant", Shape::Text, none),
    required("reason"),
];

static DEPARTMENT: &[Field] = &[field("title", Shape::Text, own_name), field("external_id", Shape::Text, none)];

static USER: &[Field] = &[
    field("title", Shape::Text, own_name),
    field("external_id", Shape::Text, none),
    field("departments", Shape::List, empty_list),
    field("role", Shape::Text, |_| "user".into()),
    field("active", Shape::Flag, yes),
];

static SERVER: &[Field] = &[
    field("title", Shape::Text, own_name),
    field("description", Shape::Text, none),
    field("tags", Shape::Set, empty_list),
    field("icon", Shape::Text, none),
    required("url"),
    field("transport", Shape::Text, |_| "auto".into()),
    field("headers", Shape::Pairs, empty_pairs),
    field("connect_timeout_ms", Shape::Number, number::<10_000>),
    field("read_timeout_ms", Shape::Number, number::<30_000>),
    field("retry_count", Shape::Number, number::<0>),
    field("retry_delay_ms", Shape::Number, number::<1_000>),
    field("limits.concurrent", Shape::Number, none),
    field("limits.response_bytes", Shape::Number, none),
    field("limits.call_secs", Shape::Number, none),
    field("disabled_tools", Shape::Set, empty_list),
    field("trust_hints", Shape::Flag, no),
    field(AUTH, Shape::Object, none),
    field(CREDENTIAL, Shape::Text, none),
    field("enabled", Shape::Flag, yes),
];

/// The field of a server that says how it is authenticated to, without secrets; absent, it stays as it is.
pub(crate) const AUTH: &str = "auth";
/// Its members of which the document says where they are.
pub(crate) const AUTH_SECRETS: [&str; 2] = ["client_secret", "private_key"];
/// The field of a server that says where the credential for everybody is. Nobody can read it back: it is sent when the
/// server is made, and with settings that change.
pub(crate) const CREDENTIAL: &str = "credential";
/// What stands in the place of a secret that is there: nobody can read it back.
pub(crate) const HELD: &str = "held";
/// The field of an issuer that says where its client's secret is.
pub(crate) const CLIENT_SECRET: &str = "client_secret";

/// Where a document says that a secret is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reference<'a> {
    Variable(&'a str),
    File(&'a str),
}

/// Reads `env:VARIABLE` or `file:PATH`.
pub(crate) fn reference(text: &str) -> Option<Reference<'_>> {
    let (kind, place) = text.split_once(':').filter(|(_, place)| !place.is_empty())?;
    match kind {
        "env" => Some(Reference::Variable(place)),
        "file" => Some(Reference::File(place)),
        _ => None,
    }
}

static ISSUER: &[Field] = &[
    field("title", Shape::Text, own_name),
    required("issuer"),
    field("client_id", Shape::Text, none),
    field(CLIENT_SECRET, Shape::Text, none),
    field("audiences", Shape::Set, empty_list),
    field("algorithms", Shape::Set, |_| json!(["ES256", "EdDSA", "RS256"])),
    field("claims.login", Shape::Text, |_| ClaimMapping::default().login.into()),
    field("claims.external_id", Shape::Text, |_| ClaimMapping::default().external_id.into()),
    field("claims.departments", Shape::Text, none),
    field("claims.role", Shape::Text, none),
    field("claims.roles", Shape::Pairs, empty_pairs),
    field("scope", Shape::Text, none),
    field("unknown_users", Shape::Flag, no),
    field("sign_in", Shape::Flag, no),
    field("mcp", Shape::Flag, yes),
    field("enabled", Shape::Flag, yes),
];

static TOOLSET: &[Field] = &[
    field("title", Shape::Text, own_name),
    field("description", Shape::Text, none),
    field("listing", Shape::Text, |_| "tools".into()),
    field(TOOLS, Shape::Entries, empty_list),
];

/// What is in a toolset.
pub(crate) const TOOLS: &str = "tools";
/// The members of an entry there; of the first two both must be said.
pub(crate) const ENTRY: [&str; 4] = ["server", "tool", "name", "description"];

static KEY: &[Field] = &[
    field("label", Shape::Text, empty_text),
    field("user", Shape::Text, none),
    field("role", Shape::Text, |_| "user".into()),
    field("scopes", Shape::Set, |_| json!(["mcp", "rest"])),
    field("servers", Shape::Set, none),
    field("expires_at", Shape::Text, none),
];
