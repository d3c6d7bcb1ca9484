//! What each MCP method does on each URL.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use mcp::{Envelope, Era, ListKind, Params, Revision, Span, write};
use serde_json::json;

use crate::account::{Account, Ended};
use crate::aggregate;
use crate::answer::refuse_nothing;
use crate::asked::Asked;
use crate::body::Body;
use crate::bridge::initialized;
use crate::built_in;
use crate::client::{Capabilities, Client};
use crate::credentials::{Bearing, Behalf, NoCredential};
use crate::fault::Fault;
use crate::gate::Gate;
use crate::limits::Held;
use crate::lists::listed;
use crate::path::Target;
use crate::pipeline::{passed, shown};
use crate::principal::Authenticated;
use crate::respond::{json_response, refused};
use crate::session::{Scope, Session, Uid};
use crate::table::Mount;
use crate::toolsets;
use crate::upstream::http::SESSION;
use crate::upstream::{Connected, Failure, OWN_INFO, Opened, Opening, open};
use crate::upstream_sessions::settle;
use crate::views::Page;

impl Gate {
    /// Opens a client session. On the aggregate and the built-in service nothing goes upstream; on a
    /// server's own URL the upstream answers, and its session is sealed into the client's.
    pub(crate) async fn initialize(
        &self,
        who: &Authenticated,
        target: Target<'_>,
        headers: &HeaderMap,
        message: &Bytes,
        envelope: &Envelope,
        id: Bytes,
    ) -> Result<Response<Body>, Fault> {
        let params = envelope.params.as_ref();
        let Some(asked) = params.and_then(|params| Params::text(params.protocol_version, message)) else {
            return Ok(refused(self, &Fault::Params("protocolVersion is missing"), Some(&id), None));
        };
        let revision = Revision::negotiate(&asked);
        let declared =
            params.and_then(|params| params.capabilities).map(|span| Capabilities::declared(span.of(message)));
        let client = Client { revision, capabilities: declared.unwrap_or_default() };
        let (scope, result) = match target {
            Target::Aggregate => (Scope::Aggregate, aggregate::initialized(who, revision)),
            Target::BuiltIn => (Scope::BuiltIn, built_in_result(revision)),
            Target::Toolset(name) => toolsets::initialized(who, name, revision).ok_or(Fault::NotFound)?,
            Target::Server(name) => {
                let mount = who.mount(name).ok_or(Fault::NotFound)?;
                let client_info =
                    params.and_then(|params| params.client_info).map_or(OWN_INFO, |span| span.of(message));
                let account = Account::begin(&self.counters, mount);
                let behalf = Behalf::of(who, shown(headers), client);
                match self.open_upstream(who, &behalf, mount, revision, client_info, &passed(headers)).await {
                    Ok(opened) => {
                        account.end(Ended::Answered);
                        opened
                    }
                    Err(failure) => {
                        account.end(Ended::Failed(&failure));
                        match &failure {
                            // The session begins all the same, so that nothing has to be restarted after the login.
                            Failure::NoCredential(why) if why.needs_login => {
                                (Scope::of_nobody(mount.spec.id), waiting_result(revision, mount, why))
                            }
                            _ => return Ok(refused(self, &Fault::of(&failure, false), Some(&id), Some(mount.name()))),
                        }
                    }
                }
            }
        };
        let (unique, _) = uuid::Uuid::new_v4().as_u64_pair();
        let session = Session::new(
            Uid(unique.to_be_bytes()),
            who.tenant.spec.id,
            who.subject(),
            revision,
            self.clock.now_secs(),
            scope,
        );
        let session = session.able_to(client.capabilities).owned_by(self.node);
        self.began(who, &session);
        let sealed = session.seal(&self.sealer).ok_or(Fault::NotReady)?;
        let mut response = json_response(write::result(&id, &result));
        response.headers_mut().insert(SESSION, HeaderValue::try_from(sealed).map_err(|_| Fault::Internal)?);
        Ok(response)
    }

    async fn open_upstream(
        &self,
        who: &Authenticated,
        behalf: &Behalf,
        mount: &Arc<Mount>,
        revision: Revision,
        client_info: &[u8],
        passed: &HeaderMap,
    ) -> Result<(Scope, Bytes), Failure> {
        let server = mount.spec.id;
        let mut bearing = self.credentials().bearing(mount, behalf).await?;
        let part = bearing.part;
        if mount.transport() == model::Transport::Sse || mount.terms(behalf.client).era == Era::Stateless {
            mount.cooldown.admit(Instant::now()).map_err(Failure::Cooling)?;
            return self.in_shared(behalf, mount, revision, &mut bearing).await;
        }
        let _place = mount.places.take().await.ok_or(Failure::Busy)?;
        mount.cooldown.admit(Instant::now()).map_err(Failure::Cooling)?;
        let deadline = tokio::time::Instant::now() + mount.call_time(&who.tenant.usage.limits);
        let opening = async {
            loop {
                let lines = bearing.lines.as_ref();
                let terms = mount.terms(behalf.client);
                let opening = Opening { client_info, revision, terms, passed, lines, complete: false };
                match open(mount, &opening, refuse_nothing(), deadline).await {
                    Ok(opened) => break Ok::<Opened, Failure>(opened),
                    Err(Failure::OtherEra) => break Err(Failure::OtherEra),
                    Err(failure) => self.credentials().renewed(mount, behalf, &mut bearing, failure).await?,
                }
            }
        };
        let opened = tokio::time::timeout_at(deadline, opening).await.unwrap_or(Err(Failure::Deadline));
        settle(mount, &opened);
        if matches!(opened, Err(Failure::OtherEra)) {
            return self.in_shared(behalf, mount, revision, &mut bearing).await;
        }
        let opened = opened?;
        self.credentials().accepted(mount, &bearing);
        mount.offers.said(&opened.result);
        let upstream = match &opened.connected {
            Connected::Http(session) => session.id.as_ref().and_then(|id| id.to_str().ok()).map(Into::into),
            // `auto` has just found the older transport: the shared session serves from here on.
            Connected::Legacy(..) | Connected::Stateless(..) => None,
        };
        let scope =
            Scope::Server { server, identity: mount.identity, upstream_revision: opened.revision, upstream, part };
        Ok((scope, with_version(&opened.result, revision)))
    }

    /// A session that begins with what all of the principal's share: the upstream has none that could be its own.
    async fn in_shared(
        &self,
        behalf: &Behalf,
        mount: &Arc<Mount>,
        revision: Revision,
        bearing: &mut Bearing,
    ) -> Result<(Scope, Bytes), Failure> {
        let opened = self.sessions.shared(mount, behalf, bearing).await?;
        let scope = Scope::Server {
            server: mount.spec.id,
            identity: mount.identity,
            upstream_revision: opened.revision,
            upstream: None,
            part: bearing.part,
        };
        let result = match opened.connected.era() {
            Era::Session => with_version(&opened.result, revision),
            Era::Stateless => initialized(&opened.result, revision, mount.name()),
        };
        Ok((scope, result))
    }

    /// Serves a request inside a session.
    pub(crate) async fn request(&self, asked: &Asked<'_>, call: Held) -> Response<Body> {
        if asked.method() == "ping" {
            return json_response(write::result(&asked.id, b"{}"));
        }
        let served = match &asked.session.scope {
            Scope::BuiltIn => Box::pin(self.on_built_in(asked, call)).await,
            Scope::Toolset(id) => Box::pin(self.on_toolset(asked, *id, call)).await,
            Scope::Server { server, .. } => match asked.who.mounts().find(|mount| mount.spec.id == *server).cloned() {
                Some(mount) => return self.on_server(asked, &mount, call).await,
                None => Err(Fault::SessionUnknown),
            },
            Scope::Aggregate => self.on_aggregate(asked, call).await,
        };
        served.unwrap_or_else(|fault| refused(self, &fault, Some(&asked.id), None))
    }

    async fn on_server(&self, asked: &Asked<'_>, mount: &Arc<Mount>, call: Held) -> Response<Body> {
        if let Some(kind) = ListKind::of_method(asked.method()) {
            if asked.params().is_some_and(|params| params.cursor.is_some()) {
                return refused(self, &Fault::Params("this list has one page"), Some(&asked.id), Some(mount.name()));
            }
            return match Box::pin(listed(&self.sessions, &asked.behalf(), mount, kind)).await {
                Ok(listed) => {
                    json_response(Page::whole(&listed.own, listed.ttl).answer(&asked.id, asked.session.client()))
                }
                Err(failure) => refused(self, &Fault::of(&failure, false), Some(&asked.id), Some(mount.name())),
            };
        }
        if asked.method() == "tools/call" {
            let Some(name) = asked.name() else {
                return refused(self, &Fault::Params("name is missing"), Some(&asked.id), Some(mount.name()));
            };
            if mount.disabled.contains(&*name) {
                return refused(self, &Fault::ToolDisabled, Some(&asked.id), Some(mount.name()));
            }
        }
        if asked.method() == "logging/setLevel" {
            self.remember_level(asked);
        }
        if let Some(uri) = asked.params().and_then(|params| Params::text(params.uri, asked.message)) {
            match self.subscribes_or_not(asked, mount, &uri, &uri) {
                Ok(true) => (),
                Ok(false) => return json_response(write::result(&asked.id, b"{}")),
                Err(fault) => return refused(self, &fault, Some(&asked.id), Some(mount.name())),
            }
        }
        self.relay(asked, mount, None, Some(call)).await
    }

    /// Serves a notification inside a session; there is never anything to say to it.
    pub(crate) async fn notification(&self, asked: &Asked<'_>) {
        match asked.method() {
            "notifications/cancelled" => self.cancel(asked).await,
            "notifications/initialized" => {
                if let Some(mount) = self.server_of(asked)
                    && asked
                        .who
                        .served(&mount)
                        .is_ok_and(|served| crate::connected::is_own(asked.session, &mount, served.part))
                {
                    let all = asked.params().map(|params| params.all);
                    let body = write::notification(asked.method(), asked.message, all, &[]);
                    self.notify(asked, &mount, body).await;
                }
            }
            "notifications/roots/list_changed" => self.roots_changed(asked).await,
            "notifications/progress" => self.progress_of_client(asked).await,
            method => {
                if let Some(mount) = self.server_of(asked) {
                    let all = asked.params().map(|params| params.all);
                    let body = write::notification(method, asked.message, all, &[]);
                    self.notify(asked, &mount, body).await;
                }
            }
        }
    }

    fn server_of(&self, asked: &Asked<'_>) -> Option<Arc<Mount>> {
        match &asked.session.scope {
            Scope::Server { server, .. } => asked.who.mounts().find(|mount| mount.spec.id == *server).cloned(),
            _ => None,
        }
    }

    async fn cancel(&self, asked: &Asked<'_>) {
        let Some(params) = asked.params() else { return };
        let Some(span) = params.request_id else { return };
        let Some(route) = self.flights.cancel(asked.session.uid, span.of(asked.message)) else { return };
        let Some(connected) = &route.connected else { return };
        let id = route.id.to_string();
        let body = write::notification(
            "notifications/cancelled",
            asked.message,
            Some(params.all),
            &[write::Patch { span, with: id.as_bytes() }],
        );
        if let Err(failure) = connected.tell(&route.mount, asked.passed, body).await {
            tracing::debug!(
                server = route.mount.name(),
                class = failure.class(),
                "a cancellation could not be passed on"
            );
        }
    }
}

/// The upstream's own words, with the version that this client speaks.
fn with_version(result: &Bytes, revision: Revision) -> Bytes {
    let Some(span) = mcp::member(result, "protocolVersion") else { return result.clone() };
    let version = format!("\"{}\"", revision.as_str());
    let mut out = Vec::with_capacity(result.len() + 2);
    write::patched(&mut out, result, Span::whole(result), &[write::Patch { span, with: version.as_bytes() }]);
    out.into()
}

/// What a server is taken to offer before anybody has connected: whatever it turns out to have, and that this changes.
fn waiting_result(revision: Revision, mount: &Mount, why: &NoCredential) -> Bytes {
    let changes = json!({ "listChanged": true });
    let result = json!({
        "protocolVersion": revision.as_str(),
        "capabilities": {
            "tools": changes, "prompts": changes, "resources": { "listChanged": true, "subscribe": true },
            "completions": {}, "logging": {},
        },
        "serverInfo": { "name": mount.name(), "version": env!("CARGO_PKG_VERSION") },
        "instructions": format!(
            "The server \"{}\" was not connected when this session began. {} The session can be used afterwards as it \
             is: its lists are those of the server from then on.",
            mount.name(),
            way(why),
        ),
    });
    result.to_string().into()
}

/// The same for who begins no session.
pub(crate) fn waiting(mount: &Mount, why: &NoCredential) -> String {
    format!("The server \"{}\" is not connected. {} What it has is known from then on.", mount.name(), way(why))
}

/// How a server comes to be connected.
fn way(why: &NoCredential) -> String {
    match &why.login_url {
        Some(url) => format!("The user has to open {url} and sign in."),
        None => "The user, or an administrator, has to give it a working credential.".to_owned(),
    }
}

fn built_in_result(revision: Revision) -> Bytes {
    let result = json!({
        "protocolVersion": revision.as_str(),
        "capabilities": { "tools": {} },
        "serverInfo": { "name": built_in::NAME, "version": env!("CARGO_PKG_VERSION") },
    });
    result.to_string().into()
}
