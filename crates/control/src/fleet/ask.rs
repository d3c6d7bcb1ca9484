//! Asking proxies to do things: probe, list, call, observe, resync. Every wait is bounded.

use std::sync::atomic::Ordering;
use std::time::Duration;

use model::{Principal, ServerId, TenantId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use wire::{Command, Outcome, Probe, Work};

use super::stream::Request;
use super::tickets::Ticket;
use super::{Fleet, publish};
use crate::proxies::{CommandError, ObservedMount, ObservedProxy, ProbeReport, ProbeRequest};

/// A list may have to open a session with a slow upstream.
const LIST: Duration = Duration::from_secs(60);
/// Longer than the longest call that tenants are allowed by default.
const CALL: Duration = Duration::from_secs(150);
const OBSERVE: Duration = Duration::from_secs(2);
const RESYNC: Duration = Duration::from_secs(10);
/// What the link itself may take on top of what the proxy takes.
const MARGIN: Duration = Duration::from_secs(1);

/// A command was not answered.
enum Unanswered {
    /// It was never sent.
    NotSent,
    /// The stream ended before the answer came.
    Broken,
    /// The proxy took too long.
    Late,
}

impl Fleet {
    pub(super) async fn ask_probe(&self, request: ProbeRequest) -> Result<ProbeReport, CommandError> {
        // Initialize, its notification and a list, each with its own first byte.
        let deadline = (request.connect_timeout + request.read_timeout * 3).min(Duration::from_secs(120));
        let work = Work::Probe(Probe {
            tenant: request.tenant,
            url: request.url,
            transport: request.transport,
            headers: request.headers,
            connect_timeout: request.connect_timeout,
            read_timeout: request.read_timeout,
        });
        match self.ask_any(work, deadline, None).await? {
            Outcome::Probed(probed) => Ok(ProbeReport {
                transport: probed.transport,
                revision: probed.revision,
                server_info: probed.server_info,
                tools: probed.tools,
                latency_ms: probed.latency_ms,
            }),
            other => Err(failure(other)),
        }
    }

    pub(super) async fn ask_list(
        &self,
        tenant: TenantId,
        server: ServerId,
        principal: Principal,
    ) -> Result<String, CommandError> {
        let work = Work::List { tenant, server, principal: principal.clone() };
        match self.ask_any(work, LIST, Some((principal, server))).await? {
            Outcome::Listed(tools) => text(tools),
            other => Err(failure(other)),
        }
    }

    pub(super) async fn ask_call(
        &self,
        tenant: TenantId,
        server: ServerId,
        principal: Principal,
        tool: &str,
        arguments: &str,
    ) -> Result<String, CommandError> {
        if principal.tenant != tenant {
            return Err(CommandError::Rejected("the principal is of another tenant".to_owned()));
        }
        let (tool, arguments) = (tool.to_owned(), arguments.to_owned());
        let work = Work::Call { principal: principal.clone(), server, tool, arguments };
        match self.ask_any(work, CALL, Some((principal, server))).await? {
            Outcome::Called(result) => text(result),
            other => Err(failure(other)),
        }
    }

    pub(super) async fn ask_observe(&self) -> Vec<ObservedProxy> {
        let asked = self.roster.to_ask().into_iter().map(async |(node, requests)| {
            let answer = self.ask(&requests, Work::Observe, OBSERVE, None).await;
            match answer {
                Ok(Outcome::Observed(mounts)) => {
                    ObservedProxy { node, answered: true, mounts: mounts.into_iter().map(mount).collect() }
                }
                _ => ObservedProxy { node, answered: false, mounts: vec![] },
            }
        });
        futures::future::join_all(asked).await
    }

    /// Asks each proxy what it really holds, which makes its session compare everything anew, and
    /// waits until what differed was pushed and answered.
    pub(super) async fn ask_resync(&self, node: Option<&str>, tenant: Option<TenantId>, prune: bool) {
        if let Err(error) = publish::read(self).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the intended state can't be read");
        }
        let proxies = self.roster.to_ask().into_iter().filter(|(name, _)| node.is_none_or(|node| node == name));
        let resyncs = proxies.map(async |(name, requests)| {
            if prune {
                _ = self.ask(&requests, Work::PruneInternal(tenant), OBSERVE, None).await;
            }
            if self.ask(&requests, Work::Resync, OBSERVE, None).await.is_ok() {
                self.settled(&name).await;
            }
        });
        // A proxy that doesn't answer is found out by the look that follows.
        _ = timeout(RESYNC, futures::future::join_all(resyncs)).await;
    }

    async fn settled(&self, node: &str) {
        let mut progress = self.roster.progress();
        while self.roster.is_unsettled(node) {
            if progress.changed().await.is_err() {
                return;
            }
        }
    }

    /// Asks the proxy that has come furthest. If a command was not even sent, or is safe to repeat
    /// and its answer was lost with the stream, the next one is asked; a call never runs twice.
    async fn ask_any(
        &self,
        work: Work,
        deadline: Duration,
        evidence: Option<(Principal, ServerId)>,
    ) -> Result<Outcome, CommandError> {
        let repeatable = !matches!(work, Work::Call { .. });
        for (_, requests) in self.roster.to_ask() {
            match self.ask(&requests, work.clone(), deadline, evidence.clone()).await {
                Ok(outcome) => return Ok(outcome),
                Err(Unanswered::NotSent) => (),
                Err(Unanswered::Broken) if repeatable => (),
                Err(Unanswered::Broken) => {
                    let message = "the proxy went away before it answered: whether the tool ran is not known";
                    return Err(CommandError::Rejected(message.to_owned()));
                }
                Err(Unanswered::Late) => return Err(CommandError::TimedOut),
            }
        }
        Err(CommandError::NoProxyAttached)
    }

    async fn ask(
        &self,
        requests: &mpsc::Sender<Request>,
        work: Work,
        deadline: Duration,
        evidence: Option<(Principal, ServerId)>,
    ) -> Result<Outcome, Unanswered> {
        let id = self.commands.fetch_add(1, Ordering::Relaxed);
        let issue = |(principal, server)| self.tickets.issue(Ticket { principal, server, command: id });
        let ticket = evidence.map(issue).unwrap_or_default();
        let (reply, answer) = oneshot::channel();
        let command = Command { id, ticket, deadline, work };
        requests.try_send(Request { command, reply }).map_err(|_| Unanswered::NotSent)?;
        match timeout(deadline + MARGIN, answer).await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(_)) => Err(Unanswered::Broken),
            Err(_) => Err(Unanswered::Late),
        }
    }
}

/// What an answer means that is not the one asked for.
fn failure(outcome: Outcome) -> CommandError {
    match outcome {
        Outcome::Failed { class, message } if class == "rejected" => CommandError::Rejected(message),
        Outcome::Failed { class, message } => CommandError::Upstream { class, message },
        _ => CommandError::Rejected("the proxy answered something else than was asked".to_owned()),
    }
}

fn text(bytes: Vec<u8>) -> Result<String, CommandError> {
    String::from_utf8(bytes).map_err(|_| CommandError::Rejected("the proxy's answer is no text".to_owned()))
}

fn mount(mount: wire::ObservedMount) -> ObservedMount {
    ObservedMount {
        tenant: mount.tenant,
        server: mount.server,
        name: mount.name,
        title: mount.title,
        url: mount.url,
        digest: mount.digest,
        internal: mount.internal,
        cooling_ms: mount.cooling_ms,
    }
}
