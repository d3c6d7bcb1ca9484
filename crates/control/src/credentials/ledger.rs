//! What the audit knows of credentials that left control: before the first goes out to a proxy in a minute, a row says so.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use model::{Clock, ConnectionId, TenantId};
use serde_json::json;
use store::{Actor, Store, StoreError};
use tokio::sync::OnceCell;

const MINUTE: i64 = 60_000_000;

/// Whose credential went where, in which minute.
type Line = (ConnectionId, String, i64);

/// The rows of this minute.
pub(super) struct Ledger {
    store: Store,
    clock: Arc<dyn Clock>,
    lines: Mutex<HashMap<Line, Arc<OnceCell<()>>>>,
}

impl Ledger {
    /// The most lines that are remembered; beyond it there are more rows than one a minute, never fewer.
    pub(super) const MOST: usize = 65_536;

    pub(super) fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, lines: Mutex::default() }
    }

    /// Returns once a row of this minute is committed.
    pub(super) async fn leased(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
        node: &str,
        by: &'static str,
    ) -> Result<(), StoreError> {
        let line = self.line(connection, node);
        let write = || async move {
            let said = json!({ "node": node, "evidence": by });
            let object = format!("connection/{connection}");
            self.store.tenant(tenant).note(&Actor::system("link"), "credential.leased", object, said).await
        };
        line.get_or_try_init(write).await.map(drop)
    }

    /// Writes down that a node asked for what it may not have; at most once in a minute for a connection and a node.
    pub(super) async fn refused(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
        node: &str,
        why: &str,
    ) -> Result<(), StoreError> {
        let line = self.line(connection, &format!("{node} "));
        let write = || async move {
            let said = json!({ "node": node, "reason": why });
            let object = format!("connection/{connection}");
            self.store.tenant(tenant).note(&Actor::system("link"), "credential.refused", object, said).await
        };
        line.get_or_try_init(write).await.map(drop)
    }

    fn line(&self, connection: ConnectionId, node: &str) -> Arc<OnceCell<()>> {
        let minute = self.clock.now_micros().div_euclid(MINUTE);
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= Self::MOST {
            lines.retain(|(_, _, of), _| *of == minute);
            if lines.len() >= Self::MOST {
                lines.clear();
            }
        }
        lines.entry((connection, node.to_owned(), minute)).or_default().clone()
    }

    /// How many lines are remembered.
    pub(super) fn len(&self) -> usize {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}
