//! Resources, there and back. Whose tokens are believed stands in [`issuer`], credentials in [`connection`], selections
//! of tools in [`toolset`].

mod connection;
mod issuer;
mod toolset;

use std::time::Duration;

use model::{
    EgressRule, EgressRuleId, Generation, KeyRole, KeyScopes, KeyVerifier, Limits, Resource, ResourceName,
    ServerLimits, ServerSpec, TenantSpec, Transport, UpstreamUrl,
};

use crate::Malformed;
use crate::fields::{digest, parsed, parsed_option};
use crate::generated::{self, resource::Body};

impl From<&Resource> for generated::Resource {
    fn from(resource: &Resource) -> Self {
        let body = match resource {
            Resource::Tenant(tenant) => Body::Tenant(tenant.into()),
            Resource::Server(server) => Body::Server(server.into()),
            Resource::Key(key) => Body::Key(key.into()),
            Resource::Egress(rule) => Body::Egress(rule.into()),
            Resource::User(user) => Body::User(user.into()),
            Resource::Issuer(issuer) => Body::Issuer(issuer.into()),
            Resource::Signer(signer) => Body::Signer(signer.into()),
            Resource::Revoked(grant) => Body::Revoked(grant.into()),
            Resource::Connection(connection) => Body::Connection(connection.into()),
            Resource::Toolset(toolset) => Body::Toolset(toolset.into()),
        };
        Self { name: resource.name().to_string(), body: Some(body) }
    }
}

impl TryFrom<generated::Resource> for Resource {
    type Error = Malformed;

    fn try_from(message: generated::Resource) -> Result<Self, Malformed> {
        let name: ResourceName = parsed("resource.name", &message.name)?;
        match (name, message.body.ok_or_else(|| Malformed::missing("resource.body"))?) {
            (ResourceName::Tenant(id), Body::Tenant(body)) => Ok(Self::Tenant(TenantSpec {
                id,
                name: parsed("tenant.name", &body.name)?,
                limits: body.limits.ok_or_else(|| Malformed::missing("tenant.limits"))?.into(),
                stale_after: body.stale_after_secs.map(Duration::from_secs),
                authorization_server: body.authorization_server,
            })),
            (ResourceName::Server(id), Body::Server(body)) => server(id, body).map(Self::Server),
            (ResourceName::Key(id), Body::Key(body)) => key(id, body).map(Self::Key),
            (ResourceName::Egress(id), Body::Egress(body)) => egress_rule(id, &body).map(Self::Egress),
            (ResourceName::User(id), Body::User(body)) => issuer::user(id, body).map(Self::User),
            (ResourceName::Issuer(id), Body::Issuer(body)) => issuer::issuer(id, body).map(Self::Issuer),
            (ResourceName::Signer(id), Body::Signer(body)) => issuer::signer(id, body).map(Self::Signer),
            (ResourceName::Revoked(id), Body::Revoked(body)) => issuer::revoked(id, &body).map(Self::Revoked),
            (ResourceName::Connection(id), Body::Connection(body)) => {
                connection::connection(id, body).map(Self::Connection)
            }
            (ResourceName::Toolset(id), Body::Toolset(body)) => toolset::toolset(id, body).map(Self::Toolset),
            _ => Err(Malformed::new("resource.body", "is not of the kind that the name says")),
        }
    }
}

impl From<&TenantSpec> for generated::Tenant {
    fn from(tenant: &TenantSpec) -> Self {
        Self {
            name: tenant.name.to_string(),
            limits: Some(tenant.limits.into()),
            stale_after_secs: tenant.stale_after.map(|after| after.as_secs()),
            authorization_server: tenant.authorization_server,
        }
    }
}

impl From<Limits> for generated::Limits {
    fn from(limits: Limits) -> Self {
        Self {
            key_rate: limits.key_rate,
            tenant_rate: limits.tenant_rate,
            concurrent: limits.concurrent,
            streams: limits.streams,
            upstream_concurrent: limits.upstream_concurrent,
            servers: limits.servers,
            request_bytes: limits.request_bytes,
            response_bytes: limits.response_bytes,
            call_secs: limits.call_secs,
        }
    }
}

impl From<generated::Limits> for Limits {
    fn from(limits: generated::Limits) -> Self {
        Self {
            key_rate: limits.key_rate,
            tenant_rate: limits.tenant_rate,
            concurrent: limits.concurrent,
            streams: limits.streams,
            upstream_concurrent: limits.upstream_concurrent,
            servers: limits.servers,
            request_bytes: limits.request_bytes,
            response_bytes: limits.response_bytes,
            call_secs: limits.call_secs,
        }
    }
}

impl From<&ServerSpec> for generated::Server {
    fn from(server: &ServerSpec) -> Self {
        Self {
            tenant: server.tenant.to_string(),
            name: server.name.to_string(),
            title: server.title.clone(),
            generation: server.generation.0,
            transport: server.transport.as_str().to_owned(),
            url: server.url.as_str().to_owned(),
            headers: header_messages(&server.headers),
            connect_timeout_ms: millis(server.connect_timeout),
            read_timeout_ms: millis(server.read_timeout),
            disabled_tools: server.disabled_tools.clone(),
            trust_hints: server.trust_hints,
            retry_count: server.retry_count,
            retry_delay_ms: millis(server.retry_delay),
            limits: Some(server.limits.into()),
            binding: server.binding.as_ref().map(Into::into),
            eras: server.eras.code().into(),
        }
    }
}

impl From<ServerLimits> for generated::ServerLimits {
    fn from(limits: ServerLimits) -> Self {
        let ServerLimits { concurrent, response_bytes, call_secs } = limits;
        Self { concurrent, response_bytes, call_secs }
    }
}

impl From<generated::ServerLimits> for ServerLimits {
    fn from(limits: generated::ServerLimits) -> Self {
        let generated::ServerLimits { concurrent, response_bytes, call_secs } = limits;
        Self { concurrent, response_bytes, call_secs }
    }
}

impl From<&EgressRule> for generated::EgressRule {
    fn from(rule: &EgressRule) -> Self {
        Self {
            tenant: rule.tenant.map(|tenant| tenant.to_string()),
            host: rule.host.to_string(),
            ports: rule.ports.map(|(first, last)| generated::Ports { first: first.into(), last: last.into() }),
            http: rule.http,
        }
    }
}

fn egress_rule(id: EgressRuleId, body: &generated::EgressRule) -> Result<EgressRule, Malformed> {
    let port = |port| u16::try_from(port).map_err(|_| Malformed::new("egress.ports", "no port"));
    let ports = body.ports.as_ref().map(|ports| Ok((port(ports.first)?, port(ports.last)?)));
    Ok(EgressRule {
        id,
        tenant: parsed_option("egress.tenant", body.tenant.as_deref())?,
        host: body.host.parse().map_err(|error| Malformed::new("egress.host", error))?,
        ports: ports.transpose()?,
        http: body.http,
    })
}

/// Reads a server.
pub(crate) fn server(id: model::ServerId, body: generated::Server) -> Result<ServerSpec, Malformed> {
    Ok(ServerSpec {
        id,
        tenant: parsed("server.tenant", &body.tenant)?,
        name: parsed("server.name", &body.name)?,
        title: body.title,
        generation: Generation(body.generation),
        transport: transport("server.transport", &body.transport)?,
        url: url("server.url", &body.url)?,
        headers: headers(body.headers),
        connect_timeout: Duration::from_millis(body.connect_timeout_ms),
        read_timeout: Duration::from_millis(body.read_timeout_ms),
        disabled_tools: body.disabled_tools,
        trust_hints: body.trust_hints,
        retry_count: body.retry_count,
        retry_delay: Duration::from_millis(body.retry_delay_ms),
        limits: body.limits.unwrap_or_default().into(),
        binding: body.binding.map(connection::binding).transpose()?,
        eras: model::Eras::from_code(body.eras),
    })
}

impl From<&KeyVerifier> for generated::KeyVerifier {
    fn from(key: &KeyVerifier) -> Self {
        Self {
            tenant: key.tenant.to_string(),
            user: key.user.map(|user| user.to_string()),
            role: key.role.as_str().to_owned(),
            sha256: key.sha256.to_vec(),
            servers: key.servers.clone().map(|names| generated::ServerNames { names }),
            expires_at: key.expires_at,
            scopes: Some(generated::KeyScopes { words: key.scopes.words().map(str::to_owned).collect() }),
        }
    }
}

fn key(id: model::KeyId, body: generated::KeyVerifier) -> Result<KeyVerifier, Malformed> {
    Ok(KeyVerifier {
        id,
        tenant: parsed("key.tenant", &body.tenant)?,
        user: parsed_option("key.user", body.user.as_deref())?,
        role: role("key.role", &body.role)?,
        scopes: match &body.scopes {
            None => KeyScopes::PLAIN,
            Some(scopes) => KeyScopes::parse(scopes.words.iter().map(String::as_str))
                .map_err(|word| Malformed::new("key.scopes", format!("no such scope: {word}")))?,
        },
        sha256: digest("key.sha256", &body.sha256)?.0,
        servers: body.servers.map(|servers| servers.names),
        expires_at: body.expires_at,
    })
}

/// Reads a role's word.
fn role(field: &'static str, word: &str) -> Result<KeyRole, Malformed> {
    KeyRole::parse(word).ok_or_else(|| Malformed::new(field, "no such role"))
}

/// Reads a transport word.
pub(crate) fn transport(field: &'static str, word: &str) -> Result<Transport, Malformed> {
    Transport::parse(word).map_err(|error| Malformed::new(field, error))
}

/// Reads an upstream's URL.
pub(crate) fn url(field: &'static str, text: &str) -> Result<UpstreamUrl, Malformed> {
    UpstreamUrl::parse(text).map_err(|error| Malformed::new(field, error))
}

/// Reads public headers.
pub(crate) fn headers(messages: Vec<generated::Header>) -> Vec<(String, String)> {
    messages.into_iter().map(|header| (header.name, header.value)).collect()
}

/// Writes public headers.
pub(crate) fn header_messages(headers: &[(String, String)]) -> Vec<generated::Header> {
    headers.iter().map(|(name, value)| generated::Header { name: name.clone(), value: value.clone() }).collect()
}

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use model::{ServerId, TenantId, UserId};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn slug() -> impl Strategy<Value = String> {
        "[a-z0-9][a-z0-9-]{0,31}".prop_filter("reserved", |slug| slug != "gatehouse")
    }

    fn tenant() -> impl Strategy<Value = Resource> {
        let stale = prop::option::of(any::<u32>());
        (any::<u128>(), slug(), any::<[u32; 9]>(), stale, any::<bool>()).prop_map(|(id, name, n, stale, signs_in)| {
            Resource::Tenant(TenantSpec {
                id: TenantId(Uuid::from_u128(id)),
                name: name.parse().unwrap(),
                limits: Limits {
                    key_rate: n[0],
                    tenant_rate: n[1],
                    concurrent: n[2],
                    streams: n[3],
                    upstream_concurrent: n[4],
                    servers: n[5],
                    request_bytes: n[6],
                    response_bytes: n[7],
                    call_secs: n[8],
                },
                stale_after: stale.map(|secs| Duration::from_secs(secs.into())),
                authorization_server: signs_in,
            })
        })
    }

    /// A server.
    pub(crate) fn server() -> impl Strategy<Value = Resource> {
        let transports = prop_oneof![Just(Transport::Auto), Just(Transport::Sse), Just(Transport::StreamableHttp)];
        let names = (any::<u128>(), any::<u128>(), slug(), ".{0,20}", "[a-z]{1,12}");
        let rest = (
            any::<i64>(),
            transports,
            prop::collection::vec((".{0,8}", ".{0,8}"), 0..4),
            any::<(u32, u32)>(),
            prop::collection::vec(".{0,8}", 0..4),
            any::<bool>(),
            (any::<u32>(), any::<u32>(), any::<[Option<u32>; 3]>(), super::connection::tests::binding()),
        );
        (names, rest).prop_map(
            |((id, tenant, name, title, host), (generation, transport, headers, ms, disabled, trust, more))| {
                Resource::Server(ServerSpec {
                    id: ServerId(Uuid::from_u128(id)),
                    tenant: TenantId(Uuid::from_u128(tenant)),
                    name: name.parse().unwrap(),
                    title,
                    generation: Generation(generation),
                    transport,
                    url: UpstreamUrl::parse(&format!("https://{host}.example/mcp?x={name}")).unwrap(),
                    headers,
                    connect_timeout: Duration::from_millis(u64::from(ms.0)),
                    read_timeout: Duration::from_millis(u64::from(ms.1)),
                    disabled_tools: disabled,
                    trust_hints: trust,
                    retry_count: more.0,
                    retry_delay: Duration::from_millis(more.1.into()),
                    limits: ServerLimits { concurrent: more.2[0], response_bytes: more.2[1], call_secs: more.2[2] },
                    binding: more.3,
                    eras: model::Eras::from_code(more.1),
                })
            },
        )
    }

    fn key() -> impl Strategy<Value = Resource> {
        let roles = prop::sample::select(KeyRole::ALL.to_vec());
        let servers = prop::option::of(prop::collection::vec(slug(), 0..4));
        (
            "[0-9A-Za-z]{16}",
            any::<u128>(),
            any::<Option<u128>>(),
            roles,
            any::<[u8; 32]>(),
            servers,
            any::<Option<i64>>(),
            any::<[bool; 3]>(),
        )
            .prop_map(|(id, tenant, user, role, sha256, servers, expires_at, [mcp, rest, act_as])| {
                Resource::Key(KeyVerifier {
                    id: id.parse().unwrap(),
                    tenant: TenantId(Uuid::from_u128(tenant)),
                    user: user.map(|user| UserId(Uuid::from_u128(user))),
                    role,
                    scopes: KeyScopes { mcp, rest, act_as },
                    sha256,
                    servers,
                    expires_at,
                })
            })
    }

    fn egress() -> impl Strategy<Value = Resource> {
        let hosts = prop_oneof![
            "[a-z]{1,12}(\\.[a-z]{1,8})?",
            any::<[u8; 4]>().prop_map(|ip| std::net::Ipv4Addr::from(ip).to_string())
        ];
        (any::<u128>(), any::<Option<u128>>(), hosts, any::<Option<(u16, u16)>>(), any::<bool>()).prop_map(
            |(id, tenant, host, ports, http)| {
                Resource::Egress(EgressRule {
                    id: EgressRuleId(Uuid::from_u128(id)),
                    tenant: tenant.map(|id| TenantId(Uuid::from_u128(id))),
                    host: host.parse().unwrap(),
                    ports,
                    http,
                })
            },
        )
    }

    /// Any resource that `model` can hold.
    pub(crate) fn resource() -> impl Strategy<Value = Resource> {
        prop_oneof![
            tenant(),
            server(),
            key(),
            egress(),
            super::issuer::tests::trusted(),
            super::connection::tests::connection(),
            super::toolset::tests::toolset()
        ]
    }

    proptest! {
        #[test]
        fn every_resource_survives_the_wire(resource in resource()) {
            let message = generated::Resource::from(&resource);
            let read = Resource::try_from(message).unwrap();
            prop_assert_eq!(read.digest(), resource.digest());
            prop_assert_eq!(read, resource);
        }
    }

    #[test]
    fn an_unreadable_field_is_named() {
        let name = "server/00000000-0000-0000-0000-000000000000".to_owned();
        let good = generated::Server {
            tenant: "00000000-0000-0000-0000-000000000001".into(),
            name: "notes".into(),
            transport: "auto".into(),
            url: "https://notes.example/mcp".into(),
            ..Default::default()
        };
        type Spoil = fn(&mut generated::Server);
        let table: [(&str, Spoil); 4] = [
            ("server.tenant", |server| server.tenant = "x".into()),
            ("server.name", |server| server.name = "No Slug".into()),
            ("server.transport", |server| server.transport = "stdio".into()),
            ("server.url", |server| server.url = "ftp://x".into()),
        ];
        for (field, spoil) in table {
            let mut server = good.clone();
            spoil(&mut server);
            let message = generated::Resource { name: name.clone(), body: Some(Body::Server(server)) };
            assert_eq!(Resource::try_from(message).unwrap_err().field, field);
        }
        let other = generated::Resource { name: name.replace("server", "tenant"), body: Some(Body::Server(good)) };
        assert_eq!(Resource::try_from(other).unwrap_err().field, "resource.body");
    }
}
