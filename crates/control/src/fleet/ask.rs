//! Asking proxies to do things: probe, list, call, observe, resync. Every wait is bounded.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::{Principal, Revision, ServerId, TenantId};
use telemetry::trace::{self, Kind};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use wire::{Command, Outcome, Probe, Work};

use super::stream::Request;
use super::tickets::Ticket;
use super::{Fleet, publish};
use crate::proxies::{CommandError, ObservedMount, ObservedProxy, ProbeReport, ProbeRequest, Reach};

/// A list may have to open a session with a slow upstream.
const LIST: Duration = Duration::from_secs(60);
/// Longer than the longest call that tenants are allowed by default.
const CALL: Duration = Duration::from_secs(150);
const OBSERVE: Duration = Duration::from_secs(2);
const RESYNC: Duration = Duration::from_secs(10);
/// What the link itself may take on top of what the proxy takes.
const MARGIN: Duration = Duration::from_secs(1);

/// A command was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// It was never sent.
    NotSent,
    /// The stream ended before the answer came.
    Broken,
    /// The proxy took too long.
    Late,
}

impl Unanswered {
    const ALL: [Self; 3] = [Self::NotSent, Self::Broken, Self::Late];

    /// The word for it in an answer that one replica gives to another.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::NotSent => "link_not_sent",
            Self::Broken => "link_broken",
            Self::Late => "link_late",
        }
    }

    /// What another replica said.
    pub(super) fn of(outcome: &Outcome) -> Option<Self> {
        let Outcome::Failed { class, .. } = outcome else { return None };
        Self::ALL.into_iter().find(|unanswered| unanswered.class() == class)
    }
}

impl Fleet {
    pub(super) async fn ask_probe(&self, request: ProbeRequest) -> Result<ProbeReport, CommandError> {
        // Initialize, its notification, a list, and a look for the other era, each with its own first byte.
        let deadline = (request.connect_timeout + request.read_timeout * 4).min(Duration::from_secs(120));
        let tenant = request.tenant;
        let work = Work::Probe(Probe {
            tenant,
            url: request.url,
            transport: request.transport,
            headers: request.headers,
            connect_timeout: request.connect_timeout,
            read_timeout: request.read_timeout,
            lines: request.lines,
        });
        match self.ask_any(tenant, work, deadline).await? {
            Outcome::Probed(probed) => Ok(ProbeReport {
                transport: probed.transport,
                revision: probed.revision,
                eras: probed.eras,
                server_info: probed.server_info,
                tools: probed.tools,
                latency_ms: probed.latency_ms,
                challenge: probed.challenge,
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
        let work = Work::List { tenant, server, principal };
        match self.ask_any(tenant, work, LIST).await? {
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
        let work = Work::Call { principal, server, tool, arguments };
        match self.ask_any(tenant, work, CALL).await? {
            Outcome::Called(result) => text(result),
            other => Err(failure(other)),
        }
    }

    pub(super) async fn ask_observe(&self, reach: Reach) -> Vec<ObservedProxy> {
        // A control that has just started does not know yet whom each proxy serves.
        let intended = self.published().await.unwrap_or_default();
        let candidates = self.candidates(reach).await.into_iter();
        let asked = candidates.filter(|one| intended.serves_any(&one.pool)).map(async |one| {
            let answer = self.ask_node(&one, Work::Observe, OBSERVE).await;
            let (node, pool) = (one.node, one.pool);
            match answer {
                Ok(Outcome::Observed(mounts)) => {
                    ObservedProxy { node, pool, answered: true, mounts: mounts.into_iter().map(mount).collect() }
                }
                _ => ObservedProxy { node, pool, answered: false, mounts: vec![] },
            }
        });
        let mut observed = futures::future::join_all(asked).await;
        observed.sort_by(|a, b| a.node.cmp(&b.node));
        observed
    }

    /// Asks a proxy what it really holds, which makes its session compare everything anew, and waits until what
    /// differed was pushed and answered. What it was given past control goes first, if that is wanted.
    pub(super) async fn ask_resync(&self, node: &str, prune: Option<Option<TenantId>>) {
        let Some(one) = self.candidates(Reach::All).await.into_iter().find(|one| one.node == node) else { return };
        if let Some(tenant) = prune {
            _ = self.ask_node(&one, Work::PruneInternal(tenant), OBSERVE).await;
        }
        // A proxy that doesn't answer is found out by the look that follows.
        _ = self.ask_node(&one, Work::Resync, RESYNC).await;
    }

    /// Asks a proxy of this replica. What a resync brings to light is healed before it is answered.
    pub(super) async fn ask_here(&self, node: &str, work: Work, deadline: Duration) -> Result<Outcome, Unanswered> {
        let requests = self.roster.requests_of(node).ok_or(Unanswered::NotSent)?;
        if work != Work::Resync {
            return self.ask(node, &requests, work, deadline).await;
        }
        if let Err(error) = publish::read(self).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the intended state can't be read");
        }
        let resynced = self.ask(node, &requests, work, OBSERVE).await?;
        _ = timeout(deadline, self.settled(node)).await;
        // The list is for the session, which has it.
        Ok(if matches!(resynced, Outcome::Resynced(_)) { Outcome::Resynced(vec![]) } else { resynced })
    }

    async fn ask_node(&self, one: &Candidate, work: Work, deadline: Duration) -> Result<Outcome, Unanswered> {
        if one.here {
            return self.ask_here(&one.node, work, deadline).await;
        }
        let outcome = self.ask_elsewhere(&one.node, work, deadline).await?;
        Unanswered::of(&outcome).map_or(Ok(outcome), Err)
    }

    async fn settled(&self, node: &str) {
        let mut progress = self.roster.progress();
        while self.roster.is_unsettled(node) {
            if progress.changed().await.is_err() {
                return;
            }
        }
    }

    /// Asks the proxy of the tenant's pools that has come furthest, one of this replica first. If a command was
    /// not even sent, or is safe to repeat and its answer was lost with the stream, the next one is asked; a call
    /// never runs twice.
    async fn ask_any(&self, tenant: TenantId, work: Work, deadline: Duration) -> Result<Outcome, CommandError> {
        let repeatable = !matches!(work, Work::Call { .. });
        let intended = self.published().await.unwrap_or_default();
        let mut tried = HashSet::new();
        loop {
            // Anew each time: a proxy whose stream broke may have come back to another replica.
            let candidates = self.candidates(Reach::All).await.into_iter();
            let mut candidates = candidates.filter(|one| intended.serves(&one.pool, tenant));
            let Some(one) = candidates.find(|one| !tried.contains(&one.place())) else {
                return Err(CommandError::NoProxyAttached);
            };
            match self.ask_node(&one, work.clone(), deadline).await {
                Ok(outcome) => return Ok(outcome),
                Err(Unanswered::NotSent) => (),
                Err(Unanswered::Broken) if repeatable => (),
                Err(Unanswered::Broken) => {
                    let message = "the proxy went away before it answered: whether the tool ran is not known";
                    return Err(CommandError::Rejected(message.to_owned()));
                }
                Err(Unanswered::Late) => return Err(CommandError::TimedOut),
            }
            tried.insert(one.place());
        }
    }

    /// Whom to ask: those that have everything before those that have not, ours before others.
    async fn candidates(&self, reach: Reach) -> Vec<Candidate> {
        let here = self.roster.candidates().into_iter();
        let here = here.map(|(node, since, pool, settled)| Candidate {
            node,
            pool,
            here: true,
            since,
            at: settled.unwrap_or_default(),
        });
        let mut candidates: Vec<_> = here.collect();
        if reach == Reach::All && self.shared {
            if let Err(error) = self.others.look(&self.roster).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "the proxies of other replicas can't be read");
            }
            let ours: HashSet<String> = candidates.iter().map(|one| one.node.clone()).collect();
            let others = self.others.seen();
            let others = others.iter().filter(|other| other.attached && !ours.contains(&other.node));
            candidates.extend(others.map(|other| Candidate {
                node: other.node.clone(),
                pool: other.pool.clone(),
                here: false,
                since: other.since,
                at: other.applied,
            }));
        }
        candidates.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| b.here.cmp(&a.here)).then_with(|| a.node.cmp(&b.node)));
        candidates
    }

    /// Asks over a stream, in a span that the proxy goes on with.
    async fn ask(
        &self,
        node: &str,
        requests: &mpsc::Sender<Request>,
        work: Work,
        deadline: Duration,
    ) -> Result<Outcome, Unanswered> {
        let span = trace::step("command");
        span.describe(|span| {
            span.kind(Kind::Client);
            span.name(&format!("command {}", work.as_str()));
            span.text("gatehouse.node", node);
        });
        let traceparent = span.context().or_else(trace::current).map(|context| context.to_string());
        let answered = self.ask_of(requests, work, deadline, traceparent).await;
        match &answered {
            Ok(Outcome::Failed { class, .. }) => span.describe(|span| span.failed(class)),
            Ok(_) => (),
            Err(unanswered) => span.describe(|span| span.failed(unanswered.class())),
        }
        answered
    }

    async fn ask_of(
        &self,
        requests: &mpsc::Sender<Request>,
        work: Work,
        deadline: Duration,
        traceparent: Option<String>,
    ) -> Result<Outcome, Unanswered> {
        let id = self.commands.fetch_add(1, Ordering::Relaxed);
        let issue = |(principal, server)| self.tickets.issue(Ticket { principal, server, command: id });
        let ticket = evidence(&work).map(issue).unwrap_or_default();
        let (reply, answer) = oneshot::channel();
        let command = Command { id, ticket, deadline, traceparent, work };
        requests.try_send(Request { command, reply }).map_err(|_| Unanswered::NotSent)?;
        match timeout(deadline + MARGIN, answer).await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(_)) => Err(Unanswered::Broken),
            Err(_) => Err(Unanswered::Late),
        }
    }
}

/// A proxy that may be asked.
struct Candidate {
    node: String,
    pool: String,
    /// Attached to this replica.
    here: bool,
    /// When its stream began, microseconds since 1970.
    since: i64,
    at: Revision,
}

impl Candidate {
    /// The stream that it would be asked over.
    fn place(&self) -> (String, i64) {
        (self.node.clone(), self.since)
    }
}

/// Who stands behind a command, and what it is about.
fn evidence(work: &Work) -> Option<(Principal, ServerId)> {
    match work {
        Work::List { principal, server, .. } | Work::Call { principal, server, .. } => {
            Some((principal.clone(), *server))
        }
        Work::Probe(_) | Work::Observe | Work::PruneInternal(_) | Work::Resync => None,
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
        spec: mount.spec,
    }
}
