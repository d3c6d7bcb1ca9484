//! Commands that control gives to a proxy, and their answers.

use std::sync::Arc;
use std::time::Duration;

use model::{Digest, Principal, ResourceName, ServerId, ServerSpec, TenantId, Transport, UpstreamUrl};
use prost::Message as _;

use crate::fields::{digest, held, held_messages, parsed, parsed_option, principal, principal_message};
use crate::resolve::challenge;
use crate::resource::{header_messages, headers, millis, server, transport, url};
use crate::{Challenge, HeaderLines, Malformed, generated};

/// Something that a proxy is asked to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Names the command in its answer.
    pub id: u64,
    /// Single use, 60 s: evidence in the resolves that the command causes.
    pub ticket: String,
    /// How long the proxy has for the answer.
    pub deadline: Duration,
    /// The span that waits for the answer, as W3C trace context writes it.
    pub traceparent: Option<String>,
    /// What is to be done.
    pub work: Work,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// Speak to a server that is not mounted.
    Probe(Probe),
    /// The tools of a mount.
    List {
        /// Whose mount.
        tenant: TenantId,
        /// Which mount.
        server: ServerId,
        /// Who asked control.
        principal: Principal,
    },
    /// Call a tool.
    Call {
        /// Who asked control.
        principal: Principal,
        /// Which mount.
        server: ServerId,
        /// The tool's name as the upstream has it.
        tool: String,
        /// A JSON object.
        arguments: String,
    },
    /// Say what is mounted.
    Observe,
    /// Remove mounts that control does not know; `None` for every tenant.
    PruneInternal(Option<TenantId>),
    /// Say what the table holds.
    Resync,
}

impl Work {
    /// The word for it in spans.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Probe(_) => "probe",
            Self::List { .. } => "list",
            Self::Call { .. } => "call",
            Self::Observe => "observe",
            Self::PruneInternal(_) => "prune",
            Self::Resync => "resync",
        }
    }
}

/// A server to be probed.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// For whom; its egress rules apply.
    pub tenant: TenantId,
    /// Where it is.
    pub url: UpstreamUrl,
    /// How it is spoken to.
    pub transport: Transport,
    /// Public headers.
    pub headers: Vec<(String, String)>,
    /// Limit for connecting.
    pub connect_timeout: Duration,
    /// Limit for the first byte of an answer.
    pub read_timeout: Duration,
    /// The credential to try, if one is tried.
    pub lines: Option<Arc<HeaderLines>>,
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandAnswer {
    /// The command's id.
    pub id: u64,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It failed.
    Failed {
        /// The class, e.g. `timeout`.
        class: String,
        /// For people.
        message: String,
    },
    /// The probe's report.
    Probed(Probed),
    /// A JSON array of tools.
    Listed(Vec<u8>),
    /// `{"result":…}` or `{"error":…}`.
    Called(Vec<u8>),
    /// What is mounted.
    Observed(Vec<ObservedMount>),
    /// How many mounts were removed.
    Pruned(u32),
    /// What the table holds.
    Resynced(Vec<(ResourceName, Digest)>),
}

/// What a probe found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// How the server is spoken to.
    pub transport: Transport,
    /// The protocol revision it speaks.
    pub revision: String,
    /// Which eras of the protocol it speaks.
    pub eras: model::Eras,
    /// What it says of itself, JSON.
    pub server_info: String,
    /// Its tools, a JSON array.
    pub tools: String,
    /// How long it took, in milliseconds.
    pub latency_ms: u64,
    /// It answered 401 or 403: it is there, and not content with the credential, or with none.
    pub challenge: Option<Challenge>,
}

/// A mount as a proxy has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedMount {
    /// Whose it is.
    pub tenant: TenantId,
    /// The server's id.
    pub server: ServerId,
    /// The slug.
    pub name: String,
    /// Free text for people.
    pub title: String,
    /// Where the upstream is.
    pub url: String,
    /// Digest of its resource.
    pub digest: Digest,
    /// Added through the proxy's internal calls, not by control.
    pub internal: bool,
    /// Milliseconds until the upstream is tried again, if it is cooling.
    pub cooling_ms: Option<u64>,
    /// Of an internal mount: all that a record of it needs. Control has the others itself.
    pub spec: Option<Box<ServerSpec>>,
}

impl Command {
    /// The command as the link writes it, for a replica of control that passes it on.
    pub fn to_bytes(&self) -> Vec<u8> {
        generated::Command::from(self.clone()).encode_to_vec()
    }

    /// Reads what [`Command::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let message = generated::Command::decode(bytes).map_err(|error| Malformed::new("command", error))?;
        message.try_into()
    }
}

impl CommandAnswer {
    /// The answer as the link writes it, for the replica of control that asked.
    pub fn into_bytes(self) -> Vec<u8> {
        generated::CommandAnswer::from(self).encode_to_vec()
    }

    /// Reads what [`CommandAnswer::into_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let message =
            generated::CommandAnswer::decode(bytes).map_err(|error| Malformed::new("command_answer", error))?;
        message.try_into()
    }
}

impl From<Command> for generated::Command {
    fn from(command: Command) -> Self {
        use generated::command::Body;
        let body = match command.work {
            Work::Probe(probe) => Body::Probe(generated::Probe {
                tenant: probe.tenant.to_string(),
                url: probe.url.as_str().to_owned(),
                transport: probe.transport.as_str().to_owned(),
                headers: header_messages(&probe.headers),
                connect_timeout_ms: millis(probe.connect_timeout),
                read_timeout_ms: millis(probe.read_timeout),
                lines: probe.lines.as_deref().map(Into::into),
            }),
            Work::List { tenant, server, principal } => Body::List(generated::List {
                tenant: tenant.to_string(),
                server: server.to_string(),
                principal: principal_message(&principal),
            }),
            Work::Call { principal, server, tool, arguments } => Body::Call(generated::Call {
                principal: principal_message(&principal),
                server: server.to_string(),
                tool,
                arguments,
            }),
            Work::Observe => Body::Observe(generated::Observe {}),
            Work::PruneInternal(tenant) => {
                Body::PruneInternal(generated::PruneInternal { tenant: tenant.map(|tenant| tenant.to_string()) })
            }
            Work::Resync => Body::Resync(generated::Resync {}),
        };
        let Command { id, ticket, deadline, traceparent, .. } = command;
        Self { id, ticket, deadline_ms: millis(deadline), traceparent, body: Some(body) }
    }
}

impl TryFrom<generated::Command> for Command {
    type Error = Malformed;

    fn try_from(message: generated::Command) -> Result<Self, Malformed> {
        use generated::command::Body;
        let work = match message.body.ok_or_else(|| Malformed::missing("command.body"))? {
            Body::Probe(probe) => Work::Probe(Probe {
                tenant: parsed("probe.tenant", &probe.tenant)?,
                url: url("probe.url", &probe.url)?,
                transport: transport("probe.transport", &probe.transport)?,
                headers: headers(probe.headers),
                connect_timeout: Duration::from_millis(probe.connect_timeout_ms),
                read_timeout: Duration::from_millis(probe.read_timeout_ms),
                lines: probe.lines.map(|lines| Arc::new(lines.into())),
            }),
            Body::List(list) => Work::List {
                tenant: parsed("list.tenant", &list.tenant)?,
                server: parsed("list.server", &list.server)?,
                principal: principal(list.principal)?,
            },
            Body::Call(call) => Work::Call {
                principal: principal(call.principal)?,
                server: parsed("call.server", &call.server)?,
                tool: call.tool,
                arguments: call.arguments,
            },
            Body::Observe(generated::Observe {}) => Work::Observe,
            Body::PruneInternal(prune) => {
                Work::PruneInternal(parsed_option("prune_internal.tenant", prune.tenant.as_deref())?)
            }
            Body::Resync(generated::Resync {}) => Work::Resync,
        };
        let generated::Command { id, ticket, deadline_ms, traceparent, .. } = message;
        Ok(Self { id, ticket, deadline: Duration::from_millis(deadline_ms), traceparent, work })
    }
}

impl From<CommandAnswer> for generated::CommandAnswer {
    fn from(answer: CommandAnswer) -> Self {
        use generated::command_answer::Body;
        let body = match answer.outcome {
            Outcome::Failed { class, message } => Body::Failure(generated::Failure { class, message }),
            Outcome::Probed(probed) => Body::Probed(generated::Probed {
                transport: probed.transport.as_str().to_owned(),
                revision: probed.revision,
                server_info: probed.server_info,
                tools: probed.tools,
                latency_ms: probed.latency_ms,
                challenge: probed.challenge.as_ref().map(Into::into),
                eras: probed.eras.code().into(),
            }),
            Outcome::Listed(tools) => Body::Listed(tools),
            Outcome::Called(result) => Body::Called(result),
            Outcome::Observed(mounts) => {
                Body::Observed(generated::Observed { mounts: mounts.into_iter().map(Into::into).collect() })
            }
            Outcome::Pruned(count) => Body::Pruned(count),
            Outcome::Resynced(held) => Body::Resynced(generated::Resynced { held: held_messages(&held) }),
        };
        Self { id: answer.id, body: Some(body) }
    }
}

impl TryFrom<generated::CommandAnswer> for CommandAnswer {
    type Error = Malformed;

    fn try_from(message: generated::CommandAnswer) -> Result<Self, Malformed> {
        use generated::command_answer::Body;
        let outcome = match message.body.ok_or_else(|| Malformed::missing("command_answer.body"))? {
            Body::Failure(failure) => Outcome::Failed { class: failure.class, message: failure.message },
            Body::Probed(probed) => Outcome::Probed(Probed {
                transport: transport("probed.transport", &probed.transport)?,
                revision: probed.revision,
                server_info: probed.server_info,
                tools: probed.tools,
                latency_ms: probed.latency_ms,
                challenge: probed.challenge.map(challenge).transpose()?,
                eras: model::Eras::from_code(probed.eras),
            }),
            Body::Listed(tools) => Outcome::Listed(tools),
            Body::Called(result) => Outcome::Called(result),
            Body::Observed(observed) => {
                Outcome::Observed(observed.mounts.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?)
            }
            Body::Pruned(count) => Outcome::Pruned(count),
            Body::Resynced(resynced) => Outcome::Resynced(held(&resynced.held)?),
        };
        Ok(Self { id: message.id, outcome })
    }
}

impl From<ObservedMount> for generated::ObservedMount {
    fn from(mount: ObservedMount) -> Self {
        Self {
            tenant: mount.tenant.to_string(),
            server: mount.server.to_string(),
            name: mount.name,
            title: mount.title,
            url: mount.url,
            digest: mount.digest.0.to_vec(),
            internal: mount.internal,
            cooling_ms: mount.cooling_ms,
            spec: mount.spec.as_deref().map(Into::into),
        }
    }
}

impl TryFrom<generated::ObservedMount> for ObservedMount {
    type Error = Malformed;

    fn try_from(message: generated::ObservedMount) -> Result<Self, Malformed> {
        let id = parsed("mount.server", &message.server)?;
        Ok(Self {
            tenant: parsed("mount.tenant", &message.tenant)?,
            server: id,
            name: message.name,
            title: message.title,
            url: message.url,
            digest: digest("mount.digest", &message.digest)?,
            internal: message.internal,
            cooling_ms: message.cooling_ms,
            spec: message.spec.map(|spec| server(id, spec).map(Box::new)).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use model::UserId;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn tenants() -> impl Strategy<Value = TenantId> {
        any::<u128>().prop_map(|id| TenantId(Uuid::from_u128(id)))
    }

    fn servers() -> impl Strategy<Value = ServerId> {
        any::<u128>().prop_map(|id| ServerId(Uuid::from_u128(id)))
    }

    fn principals() -> impl Strategy<Value = Principal> {
        (tenants(), any::<Option<u128>>(), prop::option::of("[0-9A-Za-z]{16}")).prop_map(|(tenant, user, key)| {
            Principal {
                tenant,
                user: user.map(|user| UserId(Uuid::from_u128(user))),
                key: key.map(|key| key.parse().unwrap()),
            }
        })
    }

    fn works() -> impl Strategy<Value = Work> {
        let probe = (tenants(), prop::collection::vec(any::<(String, String)>(), 0..3), any::<(u32, u32)>());
        prop_oneof![
            probe.prop_map(|(tenant, headers, ms)| Work::Probe(Probe {
                tenant,
                url: UpstreamUrl::parse("http://127.0.0.1:9/mcp").unwrap(),
                transport: Transport::Auto,
                headers,
                connect_timeout: Duration::from_millis(ms.0.into()),
                read_timeout: Duration::from_millis(ms.1.into()),
                lines: (ms.0 % 2 == 0).then(|| Arc::new(lines())),
            })),
            (tenants(), servers(), principals()).prop_map(|(tenant, server, principal)| Work::List {
                tenant,
                server,
                principal
            }),
            (principals(), servers(), any::<String>(), any::<String>())
                .prop_map(|(principal, server, tool, arguments)| Work::Call { principal, server, tool, arguments }),
            Just(Work::Observe),
            prop::option::of(tenants()).prop_map(Work::PruneInternal),
            Just(Work::Resync),
        ]
    }

    fn lines() -> HeaderLines {
        let header = ("authorization".to_owned(), model::Secret::new("Bearer x".into()));
        HeaderLines {
            credential_version: 1,
            token_generation: 2,
            headers: vec![header],
            query: vec![],
            certificate: None,
            fresh: Duration::from_secs(60),
            good: Duration::from_secs(900),
            stale: Duration::ZERO,
        }
    }

    fn outcomes() -> impl Strategy<Value = Outcome> {
        let said = (any::<[String; 3]>(), any::<[u8; 32]>(), any::<(bool, Option<u64>)>());
        let spec = prop::option::of(crate::resource::tests::server());
        let mount = (tenants(), servers(), said, spec).prop_map(
            |(tenant, server, ([name, title, url], digest, (internal, cooling_ms)), spec)| ObservedMount {
                tenant,
                server,
                name,
                title,
                url,
                digest: Digest(digest),
                internal,
                cooling_ms,
                spec: spec.and_then(|resource| match resource {
                    model::Resource::Server(spec) => Some(Box::new(ServerSpec { id: server, ..spec })),
                    _ => None,
                }),
            },
        );
        let held = (servers(), any::<[u8; 32]>()).prop_map(|(id, digest)| (ResourceName::Server(id), Digest(digest)));
        prop_oneof![
            any::<(String, String)>().prop_map(|(class, message)| Outcome::Failed { class, message }),
            (any::<[String; 3]>(), any::<u64>(), any::<Option<[Option<String>; 3]>>()).prop_map(
                |([revision, server_info, tools], latency_ms, challenge)| {
                    let challenge = challenge.map(|[resource_metadata, scope, error]| Challenge {
                        status: 401,
                        resource_metadata,
                        scope,
                        error,
                    });
                    let (transport, eras) = (Transport::Sse, model::Eras::from_code(latency_ms as u32));
                    Outcome::Probed(Probed { transport, revision, eras, server_info, tools, latency_ms, challenge })
                }
            ),
            any::<Vec<u8>>().prop_map(Outcome::Listed),
            any::<Vec<u8>>().prop_map(Outcome::Called),
            prop::collection::vec(mount, 0..4).prop_map(Outcome::Observed),
            any::<u32>().prop_map(Outcome::Pruned),
            prop::collection::vec(held, 0..4).prop_map(Outcome::Resynced),
        ]
    }

    proptest! {
        #[test]
        fn commands_survive_the_wire(
            id: u64, ticket: String, ms: u32, traceparent: Option<String>, work in works()
        ) {
            let command = Command { id, ticket, deadline: Duration::from_millis(ms.into()), traceparent, work };
            prop_assert_eq!(Command::from_bytes(&command.to_bytes()).unwrap(), command);
        }

        #[test]
        fn command_answers_survive_the_wire(id: u64, outcome in outcomes()) {
            let answer = CommandAnswer { id, outcome };
            prop_assert_eq!(CommandAnswer::from_bytes(&answer.clone().into_bytes()).unwrap(), answer);
        }
    }
}
