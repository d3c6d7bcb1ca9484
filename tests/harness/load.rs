//! A steady load of tool calls, each of them with a text of its own, each answer checked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::Mcp;

/// One stream of calls.
#[derive(Debug, Clone)]
pub struct Target {
    /// The MCP URL.
    pub url: String,
    /// The client key.
    pub key: String,
    /// The tool's name at that URL.
    pub tool: String,
    /// What the upstream puts before the text: its name.
    pub says: String,
}

/// A load that runs until it is finished.
pub struct Load {
    stop: CancellationToken,
    tasks: JoinSet<()>,
    tally: Arc<Tally>,
    since: std::time::Instant,
}

#[derive(Default)]
struct Tally {
    verified: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Load {
    /// Opens a session for each target, then calls each once per `every`; late calls are caught up.
    pub async fn start(targets: Vec<Target>, every: Duration) -> Self {
        let (stop, tally, mut tasks) = (CancellationToken::new(), Arc::<Tally>::default(), JoinSet::new());
        for (index, target) in targets.into_iter().enumerate() {
            let mcp = Mcp::open(&target.url, &target.key).await;
            let (stop, tally) = (stop.clone(), tally.clone());
            tasks.spawn(async move {
                let mut ticks = tokio::time::interval(every);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
                let mut count = 0u64;
                while !stop.is_cancelled() {
                    ticks.tick().await;
                    count += 1;
                    call(&mcp, &target, &format!("load-{index}-{count}"), &tally).await;
                }
            });
        }
        Self { stop, tasks, tally, since: std::time::Instant::now() }
    }

    /// Verified calls per second since the beginning, to be printed: tests never assert on time.
    pub fn rate(&self) -> f64 {
        self.verified() as f64 / self.since.elapsed().as_secs_f64()
    }

    /// How many answers were right so far.
    pub fn verified(&self) -> u64 {
        self.tally.verified.load(Ordering::Relaxed)
    }

    /// Waits until this many more answers were right, or a call failed.
    pub async fn more(&self, calls: u64) {
        let goal = self.verified() + calls;
        crate::eventually("the load goes on", || async {
            let failed = !self.tally.failures.lock().unwrap().is_empty();
            (failed || self.verified() >= goal).then_some(())
        })
        .await;
    }

    /// Lets the calls under way finish; returns how many were right, and what was wrong.
    pub async fn finish(mut self) -> (u64, Vec<String>) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("a stream of calls does not panic");
        }
        (self.verified(), self.tally.failures.lock().unwrap().clone())
    }
}

async fn call(mcp: &Mcp, target: &Target, text: &str, tally: &Tally) {
    let params = json!({"name": target.tool, "arguments": {"text": text}});
    let wanted = format!("{}: {text}", target.says);
    let answered = tokio::time::timeout(crate::patience::PATIENCE, mcp.try_request("tools/call", params)).await;
    let wrong = match answered {
        Ok(Ok((_, answer))) if answer["result"]["content"][0]["text"] == wanted.as_str() => {
            tally.verified.fetch_add(1, Ordering::Relaxed);
            return;
        }
        Ok(Ok((_, answer))) => answer.to_string(),
        Ok(Err(error)) => error,
        Err(_) => "no answer".to_owned(),
    };
    tally.failures.lock().unwrap().push(format!("{text} at {}: {wrong}", target.url));
}
