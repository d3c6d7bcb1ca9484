//! The link's three calls, and who may make them. The pool in the peer's certificate is its permission.

use std::sync::Arc;
use std::time::Duration;

use model::Revision;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use wire::frame::{
    ControlFrame, ProxyFrame, ResolveAnswerFrame, ResolveFrame, SealingKeysAnswerFrame, SealingKeysFrame,
};
use wire::server::Link;
use wire::{FromProxy, Hello, PROTOCOL_HIGHEST, PROTOCOL_LOWEST, ResolveQuestion, Resolved};

use super::Fleet;
use super::session::Session;
use super::stream::{OUTGOING, Stream};
use crate::pki::pool_of;
use crate::timers::scaled;

/// How long a proxy may take to say who it is.
const HELLO: Duration = Duration::from_secs(10);
/// Commands that wait to be sent to one proxy.
const REQUESTS: usize = 64;

pub(super) struct Service {
    pub(super) fleet: Arc<Fleet>,
    pub(super) shutdown: CancellationToken,
}

#[tonic::async_trait]
impl Link for Service {
    type AttachStream = ReceiverStream<Result<ControlFrame, Status>>;

    async fn attach(&self, request: Request<Streaming<ProxyFrame>>) -> Result<Response<Self::AttachStream>, Status> {
        let pool = peer_pool(&request)?;
        let mut incoming = request.into_inner();
        let hello = tokio::time::timeout(scaled(HELLO), incoming.message()).await;
        let hello = match hello.map_err(|_| Status::deadline_exceeded("no Hello came"))?? {
            Some(frame) => FromProxy::try_from(frame).map_err(|error| Status::invalid_argument(error.to_string()))?,
            None => return Err(Status::invalid_argument("no Hello came")),
        };
        let FromProxy::Hello(hello) = hello else {
            return Err(Status::failed_precondition("the first message must be Hello"));
        };
        check_node(&hello.node, &pool)?;
        check_protocol(&hello)?;
        self.check_revision(&hello, &pool).await?;

        let (outgoing, answers) = mpsc::channel(OUTGOING);
        let (requests, asked) = mpsc::channel(REQUESTS);
        let entry = self.fleet.roster.enter(&hello.node, &pool, &hello.instance, requests);
        tracing::info!(node = hello.node, build = hello.build, at = %hello.revision, held = hello.held.len(), "a proxy attached");
        let stream = Stream {
            session: Session::new(&hello),
            fleet: self.fleet.clone(),
            entry,
            incoming,
            outgoing,
            requests: asked,
            intended: self.fleet.intended.subscribe(),
            serves: Fleet::pool_serves(&pool),
            shutdown: self.shutdown.clone(),
        };
        tokio::spawn(stream.run());
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    async fn sealing_keys(
        &self,
        request: Request<SealingKeysFrame>,
    ) -> Result<Response<SealingKeysAnswerFrame>, Status> {
        let pool = peer_pool(&request)?;
        check_node(&String::from(request.into_inner()), &pool)?;
        if !Fleet::pool_serves(&pool) {
            return Err(Status::permission_denied("this pool serves no tenant"));
        }
        let keys = self.fleet.keys.get().await.map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "the fleet's sealing keys can't be had");
            Status::unavailable("the fleet's sealing keys can't be had now")
        })?;
        Ok(Response::new((&keys).into()))
    }

    /// Nothing is bound to anything until connections exist.
    async fn resolve(&self, request: Request<ResolveFrame>) -> Result<Response<ResolveAnswerFrame>, Status> {
        let pool = peer_pool(&request)?;
        let question = ResolveQuestion::try_from(request.into_inner())
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        check_node(&question.node, &pool)?;
        if !Fleet::pool_serves(&pool) {
            return Err(Status::permission_denied("this pool serves no tenant"));
        }
        if !question.ticket.is_empty() {
            let ticket = self.fleet.tickets.redeem(&question.ticket);
            let fits = |ticket: &super::tickets::Ticket| {
                ticket.principal == question.principal && ticket.server == question.server
            };
            let Some(ticket) = ticket.filter(fits) else {
                tracing::error!(node = question.node, alarm = true, "a resolve came with a ticket that is not its own");
                return Err(Status::permission_denied("the ticket is used, too old, or another's"));
            };
            tracing::debug!(command = ticket.command, "a ticket was redeemed");
        }
        Ok(Response::new(Resolved::NoConnection.into()))
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
        let ours = match self.published_at_least(hello.revision) {
            true => return Ok(()),
            false => self.fleet.store.platform().revision().await.map_err(unavailable)?,
        };
        if hello.revision <= ours || !Fleet::pool_serves(pool) {
            return Ok(());
        }
        if hello.revision.epoch >= self.fleet.clock.now_micros() {
            return Err(Status::failed_precondition("the proxy's epoch lies in the future"));
        }
        let raised = self.fleet.store.platform().raise_epoch(hello.revision).await.map_err(unavailable)?;
        tracing::error!(node = hello.node, theirs = %hello.revision, ours = %ours, raised = %raised, alarm = true,
            "a proxy is ahead of the database, which was restored from a backup: every proxy gets a snapshot");
        Ok(())
    }

    /// Spares the database when a whole fleet comes back at once.
    fn published_at_least(&self, revision: Revision) -> bool {
        self.fleet.intended.borrow().as_ref().is_some_and(|intended| intended.revision >= revision)
    }
}

/// The pool that the peer's certificate names.
fn peer_pool<T>(request: &Request<T>) -> Result<String, Status> {
    let certificates = request.peer_certs().ok_or_else(|| Status::unauthenticated("no client certificate"))?;
    let leaf = certificates.first().ok_or_else(|| Status::unauthenticated("no client certificate"))?;
    pool_of(leaf).map_err(|error| Status::permission_denied(error.to_string()))
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
    fn disjoint_protocols_are_refused_with_both_ranges() {
        let hello = |protocol| Hello {
            node: "default/1".into(),
            boot: "1".into(),
            instance: "1".into(),
            build: "x".into(),
            protocol,
            revision: Revision::default(),
            held: vec![],
        };
        assert!(check_protocol(&hello((1, 3))).is_ok());
        let status = check_protocol(&hello((2, 3))).unwrap_err();
        assert_eq!(status.code(), tonic::Code::FailedPrecondition);
        assert!(status.message().contains("2 to 3") && status.message().contains("1 to 1"), "{status}");
    }
}
