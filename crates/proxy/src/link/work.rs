//! Commands of control, done by the proxy's own pipeline.

use std::collections::HashMap;
use std::time::Duration;

use wire::{MESSAGE_LIMIT, ObservedMount, Outcome, Work};

use crate::commands::{CommandFailure, Commands, ProbeSpec};
use crate::table::Tables;

/// Room for the rest of the message around an answer.
const ANSWER_LIMIT: usize = MESSAGE_LIMIT - 1024;

/// Does what needs the pipeline. Two implementations: the pipeline, and a double in tests.
pub(crate) trait Perform: Clone + Send + Sync + 'static {
    /// Does it; the caller bounds the time. `ticket` is the evidence that control asked for it.
    fn perform(&self, work: Work, ticket: String) -> impl Future<Output = Outcome> + Send;
    /// What is mounted.
    fn mounts(&self) -> Vec<crate::commands::ObservedMount>;
}

impl Perform for Commands {
    async fn perform(&self, work: Work, ticket: String) -> Outcome {
        let outcome = match work {
            Work::Probe(probe) => {
                let spec = ProbeSpec {
                    tenant: probe.tenant,
                    url: probe.url,
                    transport: probe.transport,
                    headers: probe.headers,
                    connect_timeout: probe.connect_timeout,
                    read_timeout: probe.read_timeout,
                    lines: probe.lines,
                };
                self.probe(spec).await.map(probed)
            }
            Work::List { tenant, server, principal } => {
                self.list_tools(tenant, server, principal, &ticket).await.map(|tools| Outcome::Listed(tools.into()))
            }
            Work::Call { principal, server, tool, arguments } => self
                .call(principal, &ticket, server, &tool, &arguments)
                .await
                .map(|result| Outcome::Called(result.into())),
            Work::Observe | Work::PruneInternal(_) | Work::Resync => return rejected("not a command of the pipeline"),
        };
        outcome.unwrap_or_else(|CommandFailure { class, message }| Outcome::Failed { class: class.to_owned(), message })
    }

    fn mounts(&self) -> Vec<crate::commands::ObservedMount> {
        self.observe()
    }
}

fn probed(probed: crate::commands::Probed) -> Outcome {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Outcome::Probed(wire::Probed {
        transport: probed.transport,
        revision: probed.revision,
        eras: probed.eras,
        server_info: text(&probed.server_info),
        tools: text(&probed.tools),
        latency_ms: u64::try_from(probed.latency.as_millis()).unwrap_or(u64::MAX),
        challenge: probed.challenge,
    })
}

/// Does a command within its time. What doesn't fit a message of the link is said to be too large.
pub(super) async fn perform(commands: impl Perform, work: Work, ticket: String, deadline: Duration) -> Outcome {
    let Ok(outcome) = tokio::time::timeout(deadline, commands.perform(work, ticket)).await else {
        let message = format!("no answer within {} s", deadline.as_secs());
        return Outcome::Failed { class: "timeout".to_owned(), message };
    };
    let size = match &outcome {
        Outcome::Listed(bytes) | Outcome::Called(bytes) => bytes.len(),
        Outcome::Probed(probed) => probed.tools.len() + probed.server_info.len(),
        Outcome::Failed { message, .. } => message.len(),
        _ => 0,
    };
    if size > ANSWER_LIMIT {
        return rejected("the answer is longer than 4 MiB: call the proxy itself");
    }
    outcome
}

/// What is mounted, with the titles that the table knows.
pub(super) fn observe(commands: &impl Perform, tables: &Tables) -> Outcome {
    let servers = tables.resources().into_iter().filter_map(|resource| match resource {
        model::Resource::Server(server) => Some(server),
        _ => None,
    });
    let titles: HashMap<_, _> =
        servers.chain(tables.internal_mounts()).map(|server| (server.id, server.title)).collect();
    let mounts = commands.mounts().into_iter().map(|mount| ObservedMount {
        title: titles.get(&mount.server).cloned().unwrap_or_default(),
        tenant: mount.tenant,
        server: mount.server,
        name: mount.name,
        url: mount.url,
        digest: mount.digest,
        internal: mount.internal,
        cooling_ms: mount.cooling.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
        spec: mount.spec,
    });
    Outcome::Observed(mounts.collect())
}

/// The command was not done.
pub(super) fn rejected(message: &str) -> Outcome {
    Outcome::Failed { class: "rejected".to_owned(), message: message.to_owned() }
}
