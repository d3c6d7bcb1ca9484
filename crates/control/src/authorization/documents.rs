//! Documents of clients, fetched from addresses that clients name: through the tenant's address policy, small,
//! seldom, and kept for a while.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use model::{TenantId, UserId};

use crate::App;
use crate::authorization::client::Client;
use crate::authorization::document::{self, MAX_DOCUMENT};
use crate::authorization::refusal::{Reason, Refusal};
use crate::outward::Bounds;
use crate::rates::Rate;

/// Documents that are kept.
pub(crate) const MOST: usize = 256;
/// How long one is believed, and how long one that can't be had is not asked for again; microseconds.
const FRESH: i64 = 600_000_000;
const SPARED: i64 = 30_000_000;
/// From the first step to the last byte.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was fetched.
pub(crate) struct Documents {
    /// Of each tenant apart: whether an address may be dialled is each one's own question.
    kept: Mutex<HashMap<(TenantId, String), Kept>>,
    /// Of a user: fetches of one minute.
    fetches: Rate<UserId>,
}

#[derive(Clone)]
struct Kept {
    until: i64,
    client: Result<Client, Refusal>,
}

impl Default for Documents {
    fn default() -> Self {
        Self { kept: Mutex::default(), fetches: Rate::new(10) }
    }
}

impl Documents {
    /// The client that a document describes.
    pub(crate) async fn get(&self, app: &App, tenant: TenantId, id: &str, user: UserId) -> Result<Client, Refusal> {
        let now = app.clock.now_micros();
        let key = (tenant, id.to_owned());
        if let Some(kept) = self.kept(&key, now) {
            return kept.client;
        }
        if !self.fetches.take(user, now) {
            return Err(Refusal::new(Reason::SlowDown, "too many clients were looked at; try again in a minute"));
        }
        let client = fetched(app, tenant, id).await;
        let until = now.saturating_add(if client.is_ok() { FRESH } else { SPARED });
        self.keep(key, Kept { until, client: client.clone() }, now);
        client
    }

    fn kept(&self, key: &(TenantId, String), now: i64) -> Option<Kept> {
        let kept = self.kept.lock().ok()?;
        kept.get(key).filter(|kept| kept.until > now).cloned()
    }

    fn keep(&self, key: (TenantId, String), new: Kept, now: i64) {
        let Ok(mut kept) = self.kept.lock() else { return };
        if kept.len() >= MOST && !kept.contains_key(&key) {
            kept.retain(|_, kept| kept.until > now);
            let first = kept.iter().min_by_key(|(_, kept)| kept.until).map(|(key, _)| key.clone());
            if let Some(first) = first.filter(|_| kept.len() >= MOST) {
                kept.remove(&first);
            }
        }
        kept.insert(key, new);
    }

    /// How many are kept.
    pub(crate) fn used(&self) -> u64 {
        self.kept.lock().map_or(0, |kept| kept.len() as u64)
    }
}

async fn fetched(app: &App, tenant: TenantId, id: &str) -> Result<Client, Refusal> {
    let bad_id = Refusal::new(Reason::InvalidClient, "the client_id is no https URL with a path, in its normal form");
    let url = document::url(id, app.config.dev).ok_or(bad_id)?;
    let bounds = Bounds { bytes: MAX_DOCUMENT, time: PATIENCE };
    // Not elsewhere: whoever can redirect there is not yet whoever has the host.
    match app.outward.get_here(tenant, &url, bounds).await {
        Ok(body) => document::read(id, &url, &body),
        Err(error) => {
            tracing::info!(error = %telemetry::chain(&error), "a client's metadata can't be had");
            Err(Refusal::new(Reason::InvalidClient, "the client's metadata can't be fetched from its client_id"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorization::client::Kind;

    #[test]
    fn what_is_kept_is_bounded_and_the_oldest_goes() {
        let documents = Documents::default();
        let tenant = TenantId::fresh();
        let key = |at: usize| (tenant, format!("https://a.example/{at}"));
        let kept = |until| {
            let id = "https://a.example/x".to_owned();
            Kept { until, client: Ok(Client { id, name: String::new(), redirects: Vec::new(), kind: Kind::Document }) }
        };
        for at in 0..=MOST {
            documents.keep(key(at), kept(100 + at as i64), 1);
        }
        assert_eq!(documents.used(), MOST as u64);
        assert!(documents.kept(&key(0), 1).is_none() && documents.kept(&key(1), 1).is_some());
        assert!(documents.kept(&key(1), 101).is_none(), "one that is old is not believed");
        documents.keep(key(MOST + 1), kept(9_999), 9_000);
        assert_eq!(documents.used(), 1, "old ones go first");
        let other = TenantId::fresh();
        assert!(documents.kept(&(other, key(MOST + 1).1), 9_000).is_none(), "another tenant's is another");
    }
}
