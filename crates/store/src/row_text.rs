//! Structured values as JSON text in columns; every reader gives `None` for what it can't read.

use std::time::Duration;

use model::{
    Binding, ClaimMapping, ContextUse, KeyRole, KeyScopes, Limits, Scope, ServerLimits, SigningAlgorithm, TenantSpec,
    ToolsetTool,
};
use serde_json::{Map, Value, json};

use crate::TenantRecord;

pub(crate) fn pairs(pairs: &[(String, String)]) -> String {
    json!(pairs).to_string()
}

pub(crate) fn read_pairs(text: &str) -> Option<Vec<(String, String)>> {
    serde_json::from_str(text).ok()
}

pub(crate) fn list(list: &[String]) -> String {
    json!(list).to_string()
}

pub(crate) fn read_list(text: &str) -> Option<Vec<String>> {
    serde_json::from_str(text).ok()
}

pub(crate) fn scopes(scopes: KeyScopes) -> Value {
    json!(scopes.words().collect::<Vec<_>>())
}

pub(crate) fn read_scopes(text: &str) -> Option<KeyScopes> {
    let words = read_list(text)?;
    KeyScopes::parse(words.iter().map(String::as_str)).ok()
}

pub(crate) fn algorithms(algorithms: &[SigningAlgorithm]) -> Value {
    json!(algorithms.iter().map(|algorithm| algorithm.as_str()).collect::<Vec<_>>())
}

pub(crate) fn read_algorithms(text: &str) -> Option<Vec<SigningAlgorithm>> {
    read_list(text)?.iter().map(|name| SigningAlgorithm::parse(name)).collect()
}

pub(crate) fn claims(claims: &ClaimMapping) -> Value {
    let ClaimMapping { login, external_id, departments, role, roles } = claims;
    let roles: Vec<_> = roles.iter().map(|(value, role)| (value, role.as_str())).collect();
    json!({ "login": login, "external_id": external_id, "departments": departments, "role": role, "roles": roles })
}

pub(crate) fn read_claims(text: &str) -> Option<ClaimMapping> {
    let map = object(text)?;
    let name = |field: &str| map.get(field).and_then(Value::as_str).map(str::to_owned);
    let optional = |field: &str| match map.get(field) {
        None | Some(Value::Null) => Some(None),
        Some(_) => name(field).map(Some),
    };
    let roles: Vec<(String, String)> = serde_json::from_value(map.get("roles")?.clone()).ok()?;
    let roles = roles.into_iter().map(|(value, role)| Some((value, KeyRole::parse(&role)?)));
    Some(ClaimMapping {
        login: name("login")?,
        external_id: name("external_id")?,
        departments: optional("departments")?,
        role: optional("role")?,
        roles: roles.collect::<Option<_>>()?,
    })
}

/// The word for how a server is authenticated to, of what says it all.
pub(crate) fn kind_of_auth(text: &str) -> Value {
    object(text).and_then(|map| map.get("type").cloned()).unwrap_or_default()
}

/// The names of an object's members.
pub(crate) fn names(text: &str) -> Vec<String> {
    object(text).map(|map| map.keys().cloned().collect()).unwrap_or_default()
}

pub(crate) fn binding(binding: &Binding) -> Value {
    // Destructured, so that a new field can't be forgotten here.
    let Binding { scopes, context, login, exchange, shared_manifest, retry_unauthorized } = binding;
    let ContextUse { user, department, login: work } = *context;
    json!({
        "scopes": scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>(),
        "context": { "user": user, "department": department, "login": work },
        "login": login,
        "exchange": exchange,
        "shared_manifest": shared_manifest,
        "retry_unauthorized": retry_unauthorized,
    })
}

pub(crate) fn read_binding(text: &str) -> Option<Binding> {
    let map = object(text)?;
    let flag = |map: &Map<String, Value>, name: &str| map.get(name)?.as_bool();
    let context = map.get("context")?.as_object()?;
    let scopes = map.get("scopes")?.as_array()?.iter().map(|word| Scope::parse(word.as_str()?));
    Some(Binding {
        scopes: scopes.collect::<Option<_>>()?,
        context: ContextUse {
            user: flag(context, "user")?,
            department: flag(context, "department")?,
            login: flag(context, "login")?,
        },
        login: flag(&map, "login")?,
        exchange: flag(&map, "exchange")?,
        shared_manifest: flag(&map, "shared_manifest")?,
        retry_unauthorized: flag(&map, "retry_unauthorized")?,
    })
}

pub(crate) fn limits(limits: &Limits) -> Value {
    // Destructured, so that a new limit can't be forgotten here.
    let Limits {
        key_rate,
        tenant_rate,
        concurrent,
        streams,
        upstream_concurrent,
        servers,
        request_bytes,
        response_bytes,
        call_secs,
    } = *limits;
    json!({
        "key_rate": key_rate,
        "tenant_rate": tenant_rate,
        "concurrent": concurrent,
        "streams": streams,
        "upstream_concurrent": upstream_concurrent,
        "servers": servers,
        "request_bytes": request_bytes,
        "response_bytes": response_bytes,
        "call_secs": call_secs,
    })
}

/// A limit that an older program didn't know has its default.
pub(crate) fn read_limits(text: &str) -> Option<Limits> {
    let map = object(text)?;
    let read = |name: &str, default: u32| match map.get(name) {
        None => Some(default),
        Some(value) => value.as_u64().and_then(|number| u32::try_from(number).ok()),
    };
    let default = Limits::default();
    Some(Limits {
        key_rate: read("key_rate", default.key_rate)?,
        tenant_rate: read("tenant_rate", default.tenant_rate)?,
        concurrent: read("concurrent", default.concurrent)?,
        streams: read("streams", default.streams)?,
        upstream_concurrent: read("upstream_concurrent", default.upstream_concurrent)?,
        servers: read("servers", default.servers)?,
        request_bytes: read("request_bytes", default.request_bytes)?,
        response_bytes: read("response_bytes", default.response_bytes)?,
        call_secs: read("call_secs", default.call_secs)?,
    })
}

pub(crate) fn server_limits(limits: &ServerLimits) -> Value {
    let ServerLimits { concurrent, response_bytes, call_secs } = *limits;
    json!({ "concurrent": concurrent, "response_bytes": response_bytes, "call_secs": call_secs })
}

/// An absent limit is the tenant's.
pub(crate) fn read_server_limits(text: &str) -> Option<ServerLimits> {
    let map = object(text)?;
    let read = |name: &str| match map.get(name) {
        None | Some(Value::Null) => Some(None),
        Some(value) => value.as_u64().and_then(|number| u32::try_from(number).ok()).map(Some),
    };
    Some(ServerLimits {
        concurrent: read("concurrent")?,
        response_bytes: read("response_bytes")?,
        call_secs: read("call_secs")?,
    })
}

/// What a tenant has beside its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The pools that may have it.
    pub(crate) pools: Vec<String>,
    /// How long they may serve it without control.
    pub(crate) stale_after: Option<Duration>,
    /// How long header lines may.
    pub(crate) max_stale_credential: Duration,
    pub(crate) authorization_server: bool,
    pub(crate) local_accounts: bool,
}

pub(crate) fn settings(settings: &Settings) -> Value {
    let Settings { pools, stale_after, max_stale_credential, authorization_server, local_accounts } = settings;
    json!({
        "pools": pools,
        "stale_after_secs": stale_after.map(|after| after.as_secs()),
        "max_stale_credential_secs": max_stale_credential.as_secs(),
        "authorization_server": authorization_server,
        "local_accounts": local_accounts,
    })
}

/// What an older program didn't write is as for a new tenant.
pub(crate) fn read_settings(text: &str) -> Option<Settings> {
    let map = object(text)?;
    let switch = |name: &str, default: bool| map.get(name).map_or(Some(default), Value::as_bool);
    let pools = match map.get("pools") {
        None => default_pools(),
        Some(pools) => serde_json::from_value(pools.clone()).ok()?,
    };
    let stale_after = match map.get("stale_after_secs") {
        None => Some(TenantSpec::STALE_AFTER),
        Some(Value::Null) => None,
        Some(secs) => Some(Duration::from_secs(secs.as_u64()?)),
    };
    let max_stale_credential = match map.get("max_stale_credential_secs") {
        None => TenantRecord::MAX_STALE_CREDENTIAL,
        Some(secs) => Duration::from_secs(secs.as_u64()?),
    };
    Some(Settings {
        pools,
        stale_after,
        max_stale_credential,
        authorization_server: switch("authorization_server", false)?,
        local_accounts: switch("local_accounts", true)?,
    })
}

/// The one pool of those who never named any.
pub(crate) fn default_pools() -> Vec<String> {
    vec!["default".to_owned()]
}

/// `443` or `8000-8100`.
pub(crate) fn ports((first, last): (u16, u16)) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

pub(crate) fn read_ports(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// What stands in a toolset.
pub(crate) fn toolset_tools(tools: &[ToolsetTool]) -> String {
    let entries = tools.iter().map(|entry| {
        // Destructured, so that a new field can't be forgotten here.
        let ToolsetTool { server, tool, name, description } = entry;
        json!({ "server": server.to_string(), "tool": tool, "name": name, "description": description })
    });
    Value::Array(entries.collect()).to_string()
}

pub(crate) fn read_toolset_tools(text: &str) -> Option<Vec<ToolsetTool>> {
    let entries: Vec<Map<String, Value>> = serde_json::from_str(text).ok()?;
    let optional = |map: &Map<String, Value>, name: &str| match map.get(name) {
        None | Some(Value::Null) => Some(None),
        Some(value) => value.as_str().map(|text| Some(text.to_owned())),
    };
    let entries = entries.iter().map(|map| {
        Some(ToolsetTool {
            server: map.get("server")?.as_str()?.parse().ok()?,
            tool: map.get("tool")?.as_str()?.to_owned(),
            name: optional(map, "name")?,
            description: optional(map, "description")?,
        })
    });
    entries.collect()
}

fn object(text: &str) -> Option<Map<String, Value>> {
    match serde_json::from_str(text) {
        Ok(Value::Object(map)) => Some(map),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_read_back_and_unknown_ones_have_their_default() {
        let generous = Limits::generous();
        assert_eq!(read_limits(&limits(&generous).to_string()), Some(generous));
        assert_eq!(read_limits("{}"), Some(Limits::default()));
        assert_eq!(read_limits(r#"{"servers":3,"new":true}"#).map(|limits| limits.servers), Some(3));
        for bad in ["", "[]", "1", r#"{"servers":-1}"#, r#"{"servers":4294967296}"#, r#"{"servers":"3"}"#] {
            assert_eq!(read_limits(bad), None, "{bad}");
        }
    }

    #[test]
    fn headers_keep_order_repetition_and_every_character() {
        let headers: Vec<(String, String)> = [("b", "1"), ("a", "2"), ("b", "\"\\\u{0}é☃")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
        assert_eq!(read_pairs(&pairs(&headers)), Some(headers));
        assert_eq!(read_pairs("{}"), None);
        assert_eq!(read_list("null"), None);
    }

    #[test]
    fn a_servers_limits_read_back_and_absent_ones_are_the_tenants() {
        let limits = ServerLimits { concurrent: Some(0), response_bytes: None, call_secs: Some(u32::MAX) };
        assert_eq!(read_server_limits(&server_limits(&limits).to_string()), Some(limits));
        assert_eq!(read_server_limits("{}"), Some(ServerLimits::default()));
        for bad in ["", "[]", r#"{"concurrent":-1}"#, r#"{"call_secs":"1"}"#] {
            assert_eq!(read_server_limits(bad), None, "{bad}");
        }
    }

    #[test]
    fn settings_tell_never_from_not_said() {
        let pools = vec!["eu".to_owned(), "us".to_owned()];
        for (stale_after, on) in [(None, true), (Some(Duration::ZERO), false), (Some(Duration::from_secs(7)), true)] {
            let pools = pools.clone();
            let max_stale_credential = stale_after.unwrap_or_default();
            let said =
                Settings { pools, stale_after, max_stale_credential, authorization_server: on, local_accounts: !on };
            assert_eq!(read_settings(&settings(&said).to_string()), Some(said));
        }
        let unsaid = Settings {
            pools: default_pools(),
            stale_after: Some(TenantSpec::STALE_AFTER),
            max_stale_credential: TenantRecord::MAX_STALE_CREDENTIAL,
            authorization_server: false,
            local_accounts: true,
        };
        assert_eq!(read_settings("{}"), Some(unsaid));
        for bad in ["", r#"{"pools":"eu"}"#, r#"{"stale_after_secs":-1}"#, r#"{"local_accounts":1}"#] {
            assert_eq!(read_settings(bad), None, "{bad}");
        }
    }

    #[test]
    fn scopes_read_back_and_a_word_that_is_none_is_not_read() {
        for bits in 0..8 {
            let all = KeyScopes { mcp: bits & 1 != 0, rest: bits & 2 != 0, act_as: bits & 4 != 0 };
            assert_eq!(read_scopes(&scopes(all).to_string()), Some(all));
        }
        assert_eq!(read_scopes(r#"["mcp","rest"]"#), Some(KeyScopes::PLAIN), "what the migration gives old keys");
        for bad in ["", "null", r#"["everything"]"#, r#"[1]"#] {
            assert_eq!(read_scopes(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_mapping_of_claims_reads_back_and_what_is_none_is_not_read() {
        let full = ClaimMapping {
            departments: Some("groups".to_owned()),
            role: Some("realm_access.roles".to_owned()),
            roles: vec![("b".to_owned(), KeyRole::User), ("a".to_owned(), KeyRole::TenantAdmin)],
            ..ClaimMapping::default()
        };
        for mapping in [ClaimMapping::default(), full] {
            assert_eq!(read_claims(&claims(&mapping).to_string()), Some(mapping));
        }
        for bad in [
            "{}",
            r#"{"login":"a","external_id":"b"}"#,
            r#"{"login":"a","external_id":"b","roles":[["x","king"]]}"#,
            r#"{"login":"a","external_id":"b","departments":1,"roles":[]}"#,
        ] {
            assert_eq!(read_claims(bad), None, "{bad}");
        }
        assert_eq!(
            read_algorithms(&algorithms(&SigningAlgorithm::ALL).to_string()),
            Some(SigningAlgorithm::ALL.into())
        );
        assert_eq!(read_algorithms(r#"["RS256","none"]"#), None);
    }

    #[test]
    fn entries_of_a_toolset_read_back() {
        let server = model::ServerId::fresh();
        let plain = ToolsetTool { server, tool: "*".to_owned(), name: None, description: None };
        let full = ToolsetTool {
            server,
            tool: "a\"b.☃".to_owned(),
            name: Some("ab".to_owned()),
            description: Some("two\nlines".to_owned()),
        };
        for tools in [vec![], vec![plain, full]] {
            assert_eq!(read_toolset_tools(&toolset_tools(&tools)), Some(tools));
        }
        for bad in ["", "{}", "[1]", r#"[{"server":"x","tool":"a"}]"#, r#"[{"tool":"a"}]"#] {
            assert_eq!(read_toolset_tools(bad), None, "{bad}");
        }
    }

    #[test]
    fn ports_are_one_or_a_range() {
        for (range, text) in [((443, 443), "443"), ((8000, 8100), "8000-8100"), ((0, u16::MAX), "0-65535")] {
            assert_eq!(ports(range), text);
            assert_eq!(read_ports(text), Some(range));
        }
        for bad in ["", "-", "1-", "65536", "1-2-3", "x"] {
            assert_eq!(read_ports(bad), None, "{bad}");
        }
    }
}
