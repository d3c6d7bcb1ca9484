//! The link's three calls, and who may make them. The pool in the peer's certificate is its permission.

use std::sync::Arc;
use std::time::Duration;

use model::{ResourceName, Revision};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, Streaming};
use wire::frame::{
    ControlFrame, ProxyFrame, ReportAnswerFrame, ReportFrame, ResolveAnswerFrame, ResolveFrame, SealingKeysAnswerFrame,
    SealingKeysFrame,
};
use wire::server::Link;
use wire::{Evidence, FromProxy, Hello, PROTOCOL_HIGHEST, PROTOCOL_LOWEST, Report, ResolveQuestion};

use super::peers::Told;
use super::roster::{Arrival, Queues};
use super::session::Session;
use super::stream::{OUTGOING, Stream, too_long};
use super::tickets::Ticket;
use super::{Fleet, Resolver, publish};
use crate::credentials::{Asked, ResolveError};
use crate::pki::{lifetime_of, pool_of};
use crate::timers::scaled;

/// How long a proxy may take to say who it is.
const HELLO: Duration = Duration::from_secs(10);
/// Verdicts of one report.
const VERDICTS: usize = 10_000;
/// Longest address that other proxies are told: a host name has at most 253 characters.
const ADDRESS: usize = 260;
/// Commands that wait to be sent to one proxy.
pub(super) const REQUESTS: usize = 64;

pub(super) struct Service {
    pub(super) fleet: Arc<Fleet>,
    pub(super) shutdown: CancellationToken,
}

#[tonic::async_trait]
impl Link for Service {
    type AttachStream = ReceiverStream<Result<ControlFrame, Status>>;

    async fn attach(&self, request: Request<Streaming<ProxyFrame>>) -> Result<Response<Self::AttachStream>, Status> {
        let Peer { pool, certificate_until } = self.peer(&request)?;
        let mut incoming = request.into_inner();
        let hello = tokio::time::timeout(scaled(HELLO), incoming.message()).await;
        let hello = hello.map_err(|_| Status::deadline_exceeded("no Hello came"))?;
        let hello = match hello.map_err(|status| too_long(&status).unwrap_or(status))? {
            Some(frame) => FromProxy::try_from(frame).map_err(|error| Status::invalid_argument(error.to_string()))?,
            None => return Err(Status::invalid_argument("no Hello came")),
        };
        let FromProxy::Hello(hello) = hello else {
            return Err(Status::failed_precondition("the first message must be Hello"));
        };
        self.counted(check_node(&hello.node, &pool).and_then(|()| check_protocol(&hello)))?;
        self.counted(check_instance(&hello.instance))?;
        self.counted(check_address(hello.peer_address.as_deref()))?;
        self.counted(self.check_revision(&hello, &pool).await)?;

        let (outgoing, answers) = mpsc::channel(OUTGOING);
        let (requests, asked) = mpsc::channel(REQUESTS);
        let (node, instance) = (hello.node.as_str(), hello.instance.as_str());
        let queues = Queues { requests, messages: outgoing.downgrade(), commands: Arc::default() };
        let commands = queues.commands.clone();
        let peer_address = hello.peer_address.as_deref();
        let arrival = Arrival { node, pool: &pool, instance, peer_address, certificate_until, queues };
        let entry = self.fleet.roster.enter(arrival);
        self.fleet.counters.sessions.add(1);
        tracing::info!(node = hello.node, build = hello.build, at = %hello.revision, held = hello.held.len(), "a proxy attached");
        let stream = Stream {
            session: Session::new(&hello),
            fleet: self.fleet.clone(),
            entry,
            incoming,
            outgoing,
            requests: asked,
            commands,
            pushing: None,
            intended: self.fleet.intended.subscribe(),
            peers: Told::new(&self.fleet, &pool, peer_address.is_some()),
            pool,
            turn: None,
            shutdown: self.shutdown.clone(),
        };
        tokio::spawn(stream.run());
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    async fn sealing_keys(
        &self,
        request: Request<SealingKeysFrame>,
    ) -> Result<Response<SealingKeysAnswerFrame>, Status> {
        let Peer { pool, .. } = self.peer(&request)?;
        let node = String::from(request.into_inner());
        self.counted(check_node(&node, &pool))?;
        if !self.fleet.published().await?.serves_any(&pool) {
            return Err(Status::permission_denied("this pool serves no tenant"));
        }
        let keys = self.fleet.keys.get().await.map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "the fleet's sealing keys can't be had");
            Status::unavailable("the fleet's sealing keys can't be had now")
        })?;
        Ok(Response::new((&keys).into()))
    }

    async fn resolve(&self, request: Request<ResolveFrame>) -> Result<Response<ResolveAnswerFrame>, Status> {
        let Peer { pool, .. } = self.peer(&request)?;
        let question = ResolveQuestion::try_from(request.into_inner())
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        self.counted(check_node(&question.node, &pool))?;
        if !self.fleet.rates.take(&question.node) {
            self.fleet.counters.refused.add(1);
            return Err(Status::resource_exhausted("this node asks too often"));
        }
        let tenant = question.principal.tenant;
        let known = self.fleet.published().await?;
        if !known.serves(&pool, tenant) {
            self.fleet.counters.foreign.add(1);
            tracing::error!(node = question.node, tenant = %tenant, alarm = true,
                "a proxy asked for a credential of a tenant that its pool does not serve");
            self.resolver()?.refused(&question, "the node's pool does not serve the tenant").await;
            return Err(Status::permission_denied("this pool does not serve the tenant"));
        }
        let ticket = match &question.evidence {
            Evidence::Ticket(ticket) => Some(self.ticket(ticket, &question).await?),
            _ => None,
        };
        let lately = question.connection.is_some_and(|id| known.knows(ResourceName::Connection(id), tenant));
        let asked = Asked { question: &question, ticket: ticket.is_some(), lately };
        let resolved = self.resolver()?.resolve(asked).await.map_err(|error| self.unanswered(&error))?;
        Ok(Response::new((&resolved).into()))
    }

    async fn report(&self, request: Request<ReportFrame>) -> Result<Response<ReportAnswerFrame>, Status> {
        let Peer { pool, .. } = self.peer(&request)?;
        let report =
            Report::try_from(request.into_inner()).map_err(|error| Status::invalid_argument(error.to_string()))?;
        self.counted(check_node(&report.node, &pool))?;
        if report.verdicts.len() > VERDICTS {
            return Err(Status::invalid_argument("too many verdicts at once"));
        }
        let known = self.fleet.published().await?;
        if let Some(verdict) = report.verdicts.iter().find(|verdict| !known.serves(&pool, verdict.tenant)) {
            self.fleet.counters.foreign.add(1);
            tracing::error!(node = report.node, tenant = %verdict.tenant, alarm = true,
                "a proxy reported of a tenant that its pool does not serve");
            return Err(Status::permission_denied("this pool does not serve the tenant"));
        }
        self.resolver()?.report(&report).await.map_err(|error| self.unanswered(&error))?;
        Ok(Response::new(ReportAnswerFrame {}))
    }
}

impl Service {
    /// A proxy that is ahead of the database has seen what the database has lost: a backup was
    /// restored. A new epoch then replaces everything that proxies hold.
    async fn check_revision(&self, hello: &Hello, pool: &str) -> Result<(), Status> {
        let unavailable = |error: store::StoreError| {
            tracing::warn!(error = &error as &dyn std::error::Error, "the revision can't be read");
            Status::unavailable("the database can't be read now")
        };
        if self.published_at_least(hello.revision) {
            return Ok(());
        }
        // One look for all that come back at once: whoever waited for it finds what it has published.
        let _turn = self.fleet.checking.lock().await;
        if self.published_at_least(hello.revision) {
            return Ok(());
        }
        publish::follow(&self.fleet).await.map_err(unavailable)?;
        if self.published_at_least(hello.revision) || !self.fleet.known().serves_any(pool) {
            return Ok(());
        }
        if hello.revision.epoch >= self.fleet.clock.now_micros() {
            return Err(Status::failed_precondition("the proxy's epoch lies in the future"));
        }
        let raised = self.fleet.store.platform().raise_epoch(hello.revision).await.map_err(unavailable)?;
        tracing::error!(node = hello.node, theirs = %hello.revision, raised = %raised, alarm = true,
            "a proxy is ahead of the database, which was restored from a backup: every proxy gets a snapshot");
        publish::follow(&self.fleet).await.map_err(unavailable)
    }

    /// Spares the database when a whole fleet comes back at once.
    fn published_at_least(&self, revision: Revision) -> bool {
        self.fleet.intended.borrow().as_ref().is_some_and(|intended| intended.revision >= revision)
    }

    /// What has credentials; there from the start of the process on.
    fn resolver(&self) -> Result<&Arc<dyn Resolver>, Status> {
        self.fleet.resolver.get().ok_or_else(|| Status::unavailable("credentials can't be resolved yet"))
    }

    /// Takes one use of a ticket that was made for this very principal and server.
    async fn ticket(&self, ticket: &str, question: &ResolveQuestion) -> Result<Ticket, Status> {
        let fits = |ticket: &Ticket| ticket.principal == question.principal && ticket.server == question.server;
        let Some(ticket) = self.fleet.tickets.redeem(ticket, fits) else {
            self.fleet.counters.foreign.add(1);
            tracing::error!(node = question.node, alarm = true, "a resolve came with a ticket that is not its own");
            self.resolver()?.refused(question, "the ticket is used up, too old, or another's").await;
            return Err(Status::permission_denied("the ticket is used up, too old, or another's"));
        };
        tracing::debug!(command = ticket.command, "a ticket was redeemed");
        Ok(ticket)
    }

    /// Why there is no answer. Who was denied learns no more than that: the reason is in the audit.
    fn unanswered(&self, error: &ResolveError) -> Status {
        match error {
            ResolveError::Denied(_) => {
                self.fleet.counters.foreign.add(1);
                Status::permission_denied("no live caller who may have it stands behind the question")
            }
            ResolveError::Store(error) => {
                tracing::warn!(error = error as &dyn std::error::Error, "a proxy's question can't be answered");
                Status::unavailable("the database can't be used now")
            }
        }
    }

    /// Who asks, as its certificate says.
    fn peer<T>(&self, request: &Request<T>) -> Result<Peer, Status> {
        self.counted(peer(request))
    }

    fn counted<T>(&self, result: Result<T, Status>) -> Result<T, Status> {
        result.inspect_err(|status| {
            self.fleet.counters.refused.add(1);
            if status.code() == Code::PermissionDenied {
                self.fleet.counters.foreign.add(1);
            }
        })
    }
}

/// What a peer's certificate says.
struct Peer {
    pool: String,
    /// When it ends, microseconds since 1970.
    certificate_until: Option<i64>,
}

fn peer<T>(request: &Request<T>) -> Result<Peer, Status> {
    let certificates = request.peer_certs().ok_or_else(|| Status::unauthenticated("no client certificate"))?;
    let leaf = certificates.first().ok_or_else(|| Status::unauthenticated("no client certificate"))?;
    let pool = pool_of(leaf).map_err(|error| Status::permission_denied(error.to_string()))?;
    Ok(Peer { pool, certificate_until: lifetime_of(leaf).ok().map(|lifetime| lifetime.until) })
}

/// `pool/random`, and the pool must be the certificate's.
fn check_node(node: &str, pool: &str) -> Result<(), Status> {
    let fits = node.split_once('/').is_some_and(|(named, boot)| {
        named == pool
            && (1..=64).contains(&boot.len())
            && boot.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    });
    if fits {
        return Ok(());
    }
    tracing::error!(pool, alarm = true, "a node named itself after another pool than its certificate does");
    Err(Status::permission_denied(format!("the node id must be {pool}/ and 1 to 64 of a-z, 0-9 and -")))
}

/// It is kept beside those of all other proxies, so one must not spoil the rest.
fn check_instance(instance: &str) -> Result<(), Status> {
    let fits = instance.len() <= 128 && instance.bytes().all(|byte| byte.is_ascii_graphic());
    if fits {
        Ok(())
    } else {
        Err(Status::invalid_argument("the instance must be at most 128 printable characters of ASCII"))
    }
}

/// Other proxies connect to it, and only by what the certificate there says do they know whom they have.
fn check_address(address: Option<&str>) -> Result<(), Status> {
    let fits = |address: &str| {
        let authority: Option<http::uri::Authority> = address.parse().ok();
        let authority = authority.filter(|_| address.len() <= ADDRESS && !address.contains('@'));
        authority
            .is_some_and(|authority| !authority.host().is_empty() && authority.port_u16().is_some_and(|port| port > 0))
    };
    match address {
        Some(address) if !fits(address) => {
            Err(Status::invalid_argument("the address for other proxies must be host:port"))
        }
        _ => Ok(()),
    }
}

fn check_protocol(hello: &Hello) -> Result<(), Status> {
    let (lowest, highest) = hello.protocol;
    if lowest <= PROTOCOL_HIGHEST && highest >= PROTOCOL_LOWEST {
        return Ok(());
    }
    Err(Status::failed_precondition(format!(
        "the proxy speaks revisions {lowest} to {highest} of the link, control {PROTOCOL_LOWEST} to {PROTOCOL_HIGHEST}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_named_after_its_pool() {
        for (node, pool, fits) in [
            ("default/0a1b", "default", true),
            ("edge/0a1b", "default", false),
            ("default", "default", false),
            ("default/", "default", false),
            ("default/../x", "default", false),
            ("default/a/b", "default", false),
        ] {
            assert_eq!(check_node(node, pool).is_ok(), fits, "{node}");
        }
        assert!(check_node(&format!("p/{}", "x".repeat(65)), "p").is_err());
    }

    #[test]
    fn an_instance_is_a_short_word_or_nothing() {
        let long = "x".repeat(129);
        for (instance, fits) in
            [("", true), ("default/0a1b-2c", true), ("a\0", false), ("a b", false), (long.as_str(), false)]
        {
            assert_eq!(check_instance(instance).is_ok(), fits, "{instance:?}");
        }
    }

    #[test]
    fn an_address_for_other_proxies_is_a_host_and_a_port() {
        for (address, fits) in [
            (None, true),
            (Some("10.0.0.1:5015"), true),
            (Some("proxy-1:5015"), true),
            (Some("[fd00::1]:5015"), true),
            (Some(""), false),
            (Some("10.0.0.1"), false),
            (Some("10.0.0.1:0"), false),
            (Some(":5015"), false),
            (Some("user@proxy-1:5015"), false),
            (Some("https://proxy-1:5015"), false),
            (Some("a b:1"), false),
        ] {
            assert_eq!(check_address(address).is_ok(), fits, "{address:?}");
        }
        assert!(check_address(Some(&format!("{}:5015", "x".repeat(256)))).is_err());
    }

    #[test]
    fn disjoint_protocols_are_refused_with_both_ranges() {
        let hello = |protocol| Hello {
            node: "default/1".into(),
            boot: "1".into(),
            instance: "1".into(),
            build: "x".into(),
            protocol,
            revision: Revision::default(),
            held: vec![],
            peer_address: None,
        };
        let (lowest, highest) = (PROTOCOL_LOWEST, PROTOCOL_HIGHEST);
        assert!(check_protocol(&hello((lowest, highest + 2))).is_ok());
        let status = check_protocol(&hello((highest + 1, highest + 2))).unwrap_err();
        assert_eq!(status.code(), tonic::Code::FailedPrecondition);
        let (theirs, ours) = (format!("{} to {}", highest + 1, highest + 2), format!("{lowest} to {highest}"));
        assert!(status.message().contains(&theirs) && status.message().contains(&ours), "{status}");
    }
}
