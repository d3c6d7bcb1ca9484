//! What control may ask of a proxy: probe, list, call, observe. Runs the proxy's own pipeline.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt;
use mcp::{Envelope, Era, Kind, ListKind, Revision};
use model::{
    Digest, Generation, Limits, Principal, ServerId, ServerName, ServerSpec, TenantId, Transport, UpstreamUrl,
};

use tokio_util::task::TaskTracker;
use wire::{Challenge, HeaderLines};

use crate::answer::refuse_nothing;
use crate::asked::Asked;
use crate::client::Client;
use crate::credentials::{Behalf, Showing, Shown};
use crate::gate::Gate;
use crate::lists;
use crate::principal::Authenticated;
use crate::session::{Scope, Session, Uid};
use crate::table::Mount;
use crate::upstream::{Connected, Failure, OWN_INFO, Opened, Opening, Refusal, look_for_stateless, open};
use crate::upstream_sessions::end;

/// No try of a probe begins later than this.
const PROBE: Duration = Duration::from_secs(60);

/// An upstream to be looked at before it is saved.
#[derive(Debug, Clone)]
pub struct ProbeSpec {
    /// Whose address rules apply.
    pub tenant: TenantId,
    /// Where it is.
    pub url: UpstreamUrl,
    /// How to speak to it.
    pub transport: Transport,
    /// Public headers.
    pub headers: Vec<(String, String)>,
    /// Limit for connecting.
    pub connect_timeout: Duration,
    /// Limit for each answer.
    pub read_timeout: Duration,
    /// What its requests bear.
    pub lines: Option<Arc<HeaderLines>>,
}

/// What a probe found.
#[derive(Debug, Clone)]
pub struct Probed {
    /// The transport that answered; never `Auto`.
    pub transport: Transport,
    /// The revision that the upstream chose, or that it speaks without a session.
    pub revision: String,
    /// Which eras it speaks.
    pub eras: model::Eras,
    /// Its `serverInfo`, raw JSON.
    pub server_info: Bytes,
    /// Its tools, a raw JSON array; empty array if it has none.
    pub tools: Bytes,
    /// From the first byte out to the list's last byte in.
    pub latency: Duration,
    /// The upstream answered 401 or 403: it is there, and not content with the credential, or with none.
    pub challenge: Option<Challenge>,
}

/// Why a command failed: one of a few classes and a message without raw internals.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CommandFailure {
    /// timeout, refused, auth, not_found, protocol, dns, tls, address_blocked or other.
    pub class: &'static str,
    /// For an admin.
    pub message: String,
}

/// A mount as it is observed.
#[derive(Debug, Clone)]
pub struct ObservedMount {
    /// The server's id.
    pub server: ServerId,
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// The slug.
    pub name: String,
    /// The upstream's URL.
    pub url: String,
    /// The digest of its spec.
    pub digest: Digest,
    /// Added through the internal calls of 5011: an orphan.
    pub internal: bool,
    /// The upstream is cooling for so long.
    pub cooling: Option<Duration>,
    /// Of an internal mount: all that a record of it needs.
    pub spec: Option<Box<ServerSpec>>,
}

/// The commands of one proxy.
#[derive(Clone)]
pub struct Commands {
    gate: Arc<Gate>,
    under_way: TaskTracker,
}

impl Commands {
    /// The commands of this gate.
    pub fn new(gate: Arc<Gate>) -> Self {
        Self { gate, under_way: TaskTracker::new() }
    }

    /// Ends when nothing that control asked for is under way any more.
    pub async fn finished(&self) {
        self.under_way.close();
        self.under_way.wait().await;
    }

    /// Looks at an upstream: opens a session, lists the tools, ends the session. Bears what `spec` brings and nothing else.
    pub async fn probe(&self, spec: ProbeSpec) -> Result<Probed, CommandFailure> {
        let _under_way = self.under_way.token();
        self.gate.probe(&spec).await
    }

    /// The tools of a mounted server as it lists them itself, disabled ones included, a raw JSON array;
    /// asks the upstream.
    /// With the credential of `principal`, if the server takes one and the principal is known here.
    pub async fn list_tools(
        &self,
        tenant: TenantId,
        server: ServerId,
        principal: Principal,
        ticket: &str,
    ) -> Result<Bytes, CommandFailure> {
        let _under_way = self.under_way.token();
        self.gate.tools_of(tenant, server, principal, ticket).await
    }

    /// Calls a tool as `principal`; the raw `{"result":…}` or `{"error":…}`. `ticket` is the evidence that control asked
    /// for it.
    pub async fn call(
        &self,
        principal: Principal,
        ticket: &str,
        server: ServerId,
        tool: &str,
        arguments: &str,
    ) -> Result<Bytes, CommandFailure> {
        let _under_way = self.under_way.token();
        self.gate.call_tool(&principal, ticket, server, tool, arguments).await
    }

    /// What is mounted, internal mounts included.
    pub fn observe(&self) -> Vec<ObservedMount> {
        let now = Instant::now();
        let table = self.gate.tables.load();
        table
            .mounts()
            .map(|mount| ObservedMount {
                server: mount.spec.id,
                tenant: mount.spec.tenant,
                name: mount.name().to_owned(),
                url: mount.spec.url.as_str().to_owned(),
                digest: mount.digest,
                internal: mount.internal,
                cooling: mount.cooldown.remaining(now),
                spec: mount.internal.then(|| Box::new(mount.spec.clone())),
            })
            .collect()
    }
}

impl Gate {
    pub(crate) async fn probe(&self, spec: &ProbeSpec) -> Result<Probed, CommandFailure> {
        let began = Instant::now();
        let server = ServerSpec {
            id: ServerId::fresh(),
            tenant: spec.tenant,
            name: ServerName::from_title("probe", 0),
            title: String::new(),
            generation: Generation(1),
            transport: spec.transport,
            url: spec.url.clone(),
            headers: spec.headers.clone(),
            connect_timeout: spec.connect_timeout,
            read_timeout: spec.read_timeout,
            disabled_tools: Vec::new(),
            trust_hints: false,
            retry_count: 0,
            retry_delay: Duration::from_secs(1),
            limits: model::ServerLimits::default(),
            binding: None,
            eras: model::Eras::default(),
        };
        let mount = Mount::new(server, &self.egress, &Limits::default(), false, None)
            .map_err(|refusal| CommandFailure { class: "address_blocked", message: refusal.to_string() })?;
        let mount = Arc::new(mount);
        let brought = |lines: &Arc<HeaderLines>| self.credentials().brought(&mount, lines);
        let lines = spec.lines.as_ref().map(brought).transpose();
        let lines = lines.map_err(|message| CommandFailure { class: "auth", message })?;
        let passed = HeaderMap::new();
        let opening = Opening {
            client_info: OWN_INFO,
            revision: Revision::LATEST,
            terms: Client::GATEWAY.terms(Era::Session),
            passed: &passed,
            lines: lines.as_ref(),
            complete: true,
        };
        let challenged = |refusal: &Refusal, opened: Option<&Opened>| Probed {
            transport: mount.transport(),
            revision: opened.map(|opened| opened.revision.as_str().to_owned()).unwrap_or_default(),
            eras: mount.eras.known(),
            server_info: opened.map_or(Bytes::from_static(b"{}"), Opened::server_info),
            tools: Bytes::from_static(b"[]"),
            latency: began.elapsed(),
            challenge: Some(refusal.challenge.clone()),
        };
        // Control bounds the time of the whole command.
        let deadline = tokio::time::Instant::now() + PROBE;
        let opened = match open(&mount, &opening, refuse_nothing(), deadline).await {
            // It has no sessions.
            Err(Failure::OtherEra) => {
                let terms = Client::GATEWAY.terms(Era::Stateless);
                open(&mount, &Opening { terms, ..opening }, refuse_nothing(), deadline).await
            }
            Ok(opened) => {
                look_for_stateless(&mount, &opening).await;
                Ok(opened)
            }
            opened => opened,
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(Failure::Unauthorized(refusal)) => return Ok(challenged(&refusal, None)),
            Err(failure) => return Err(failed(&failure)),
        };
        let items = if opened.has(ListKind::Tools) {
            match lists::pages(&mount, &opened.connected, ListKind::Tools, deadline).await {
                Ok((items, _)) => items,
                Err(Failure::Unauthorized(refusal)) => return Ok(challenged(&refusal, Some(&opened))),
                Err(failure) => return Err(failed(&failure)),
            }
        } else {
            Vec::new()
        };
        if let Connected::Http(session) = &opened.connected
            && let (Some(id), Some(revision)) = (&session.id, session.revision)
        {
            end(&mount, id.clone(), revision, lines.clone());
        }
        Ok(Probed {
            transport: mount.transport(),
            revision: opened.revision.as_str().to_owned(),
            eras: mount.eras.known(),
            server_info: opened.server_info(),
            tools: array(&items),
            latency: began.elapsed(),
            challenge: None,
        })
    }

    async fn tools_of(
        &self,
        tenant: TenantId,
        server: ServerId,
        principal: Principal,
        ticket: &str,
    ) -> Result<Bytes, CommandFailure> {
        let (mount, hub, who) = {
            let table = self.tables.load();
            let mount =
                table.server(server).filter(|mount| mount.spec.tenant == tenant).cloned().ok_or_else(not_mounted)?;
            // What needs no credential is asked for as control: one session for all who ask.
            let bound = mount.spec.binding.is_some() && principal.tenant == tenant;
            let who = Authenticated::by_control(&table, &principal).filter(|_| bound);
            (mount, table.tenant(tenant).ok_or_else(not_mounted)?.hub.clone(), who)
        };
        let shown = Shown::Ticket(Arc::new((ticket.to_owned(), principal)));
        let behalf = match &who {
            Some(who) => Behalf::of(who, Showing::Kept(&shown), Client::GATEWAY),
            None => Behalf::of_control(hub).showing(shown),
        };
        let offered = lists::offered(&self.sessions, &behalf, &mount, ListKind::Tools).await;
        offered.map(|items| array(&items)).map_err(|failure| failed(&failure))
    }

    async fn call_tool(
        &self,
        principal: &Principal,
        ticket: &str,
        server: ServerId,
        tool: &str,
        arguments: &str,
    ) -> Result<Bytes, CommandFailure> {
        let (who, mount) = {
            let table = self.tables.load();
            let who = Authenticated::by_control(&table, principal)
                .ok_or(CommandFailure { class: "auth", message: "the key or user is not known here".to_owned() })?;
            let mount = who.mounts().find(|mount| mount.spec.id == server).cloned().ok_or_else(not_mounted)?;
            (who, mount)
        };
        let mut message = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"#.to_vec();
        mcp::write::string(&mut message, tool);
        message.extend_from_slice(br#","arguments":"#);
        message.extend_from_slice(arguments.as_bytes());
        message.extend_from_slice(b"}}");
        let message = Bytes::from(message);
        let envelope = Envelope::scan(&message).map_err(|_| CommandFailure {
            class: "protocol",
            message: "the arguments are not valid JSON".to_owned(),
        })?;
        let (unique, _) = uuid::Uuid::new_v4().as_u64_pair();
        let session = Session::new(
            Uid(unique.to_be_bytes()),
            who.tenant.spec.id,
            who.subject(),
            Revision::LATEST,
            self.clock.now_secs(),
            Scope::Aggregate,
        );
        let call = who.tenant.usage.call().ok_or(CommandFailure {
            class: "other",
            message: "the tenant's limit of concurrent requests is reached".to_owned(),
        })?;
        if !who.role().calls_mcp() {
            return Err(CommandFailure { class: "auth", message: "a viewer calls no tools".to_owned() });
        }
        if mount.disabled.contains(tool) {
            return Err(CommandFailure { class: "other", message: "an administrator disabled this tool".to_owned() });
        }
        let passed = HeaderMap::new();
        let shown = Shown::Ticket(Arc::new((ticket.to_owned(), principal.clone())));
        let asked = Asked {
            who: &who,
            session: &session,
            shown: Showing::Kept(&shown),
            passed: &passed,
            message: &message,
            envelope: &envelope,
            id: Bytes::from_static(b"1"),
        };
        let response = self.relay(&asked, &mount, None, Some(call)).await;
        let events = response
            .headers()
            .get(http::header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(|_| CommandFailure { class: "protocol", message: "the answer broke off".to_owned() })?
            .to_bytes();
        answer_in(&body, events).ok_or(CommandFailure { class: "protocol", message: "there was no answer".to_owned() })
    }
}

/// `{"result":…}` or `{"error":…}` of a whole answer.
fn answer_in(body: &Bytes, events: bool) -> Option<Bytes> {
    let message = if events {
        let mut decoder = mcp::sse::Decoder::new(body.len());
        let mut found = Vec::new();
        decoder.push(body, &mut found).ok()?;
        found
            .into_iter()
            .map(|event| event.data)
            .rfind(|data| Envelope::scan(data).is_ok_and(|envelope| envelope.kind == Kind::Response))?
    } else {
        body.clone()
    };
    let envelope = Envelope::scan(&message).ok()?;
    let (name, span) = match (envelope.result, envelope.error) {
        (Some(result), _) => ("result", result),
        (None, error) => ("error", error?),
    };
    let mut out = format!("{{\"{name}\":").into_bytes();
    out.extend_from_slice(span.of(&message));
    out.push(b'}');
    Some(out.into())
}

fn array(items: &[mcp::Item]) -> Bytes {
    let mut out = vec![b'['];
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&item.raw);
    }
    out.push(b']');
    out.into()
}

fn failed(failure: &Failure) -> CommandFailure {
    let message = match failure {
        Failure::Egress(error) => match &**error {
            egress::EgressError::Blocked(refusal) => refusal.to_string(),
            error => error.to_string(),
        },
        Failure::Status { status, .. } => format!("the upstream answered with status {status}"),
        Failure::BadResponse(what) => format!("the upstream's answer can't be used: {what}"),
        Failure::Redirected => "the upstream redirects elsewhere; redirects are not followed".to_owned(),
        Failure::Unauthorized(_) => "the upstream wants a credential".to_owned(),
        Failure::NoCredential(why) => why.message.clone(),
        Failure::Cooling(left) => format!("the upstream failed and is left alone for {} s more", left.as_secs()),
        Failure::SessionLost => "the upstream forgot its session".to_owned(),
        Failure::OtherEra => "the upstream speaks another revision than it did".to_owned(),
        Failure::TooLarge => "the upstream's answer is too large".to_owned(),
        Failure::Deadline => "the upstream did not answer in time".to_owned(),
        Failure::Cancelled => "the call was cancelled".to_owned(),
        Failure::Busy => "too many requests to this upstream are under way".to_owned(),
    };
    CommandFailure { class: failure.class(), message }
}

fn not_mounted() -> CommandFailure {
    CommandFailure { class: "not_found", message: "this server is not mounted here".to_owned() }
}
