//! A database of its own for each test, and the records that tests begin with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::{KeyId, KeyRole, KeyVerifier, Limits, ManualClock, TenantId, Transport, UpstreamUrl};
use store::{Actor, NewKey, NewServer, NewTenant, Store, TenantRecord, TenantStore};

/// When every house begins.
pub(crate) const START: i64 = 1_800_000_000_000_000;

pub(crate) struct House {
    pub(crate) store: Store,
    pub(crate) clock: Arc<ManualClock>,
    folder: tempfile::TempDir,
}

impl House {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(START));
        let store = Store::connect(&url(&folder), clock.clone()).await.unwrap();
        Self { store, clock, folder }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("gatehouse.db")
    }

    /// Another process on the same file.
    pub(crate) async fn second_process(&self) -> Store {
        Store::connect(&url(&self.folder), self.clock.clone()).await.unwrap()
    }

    pub(crate) async fn tenant(&self, name: &str) -> TenantStore {
        self.store.tenant(self.tenant_with(name, Limits::default()).await.spec.id)
    }

    pub(crate) async fn tenant_with(&self, name: &str, limits: Limits) -> TenantRecord {
        let new = NewTenant { name: name.parse().unwrap(), title: name.to_owned(), limits };
        self.store.platform().create_tenant(&actor(), new).await.unwrap().value
    }
}

fn url(folder: &tempfile::TempDir) -> String {
    format!("sqlite://{}/gatehouse.db?mode=rwc", folder.path().display())
}

pub(crate) fn actor() -> Actor {
    Actor {
        tenant: None,
        key: Some("adminadminadmin0".parse().unwrap()),
        name: "admin".to_owned(),
        ip: Some("127.0.0.1".to_owned()),
        trace_id: Some("trace-1".to_owned()),
        claim: None,
    }
}

pub(crate) fn server(name: &str) -> NewServer {
    NewServer {
        name: name.parse().unwrap(),
        title: format!("{name} for people"),
        transport: Transport::Auto,
        url: UpstreamUrl::parse(&format!("https://{name}.example/mcp?token=hidden")).unwrap(),
        headers: vec![("X-Team".to_owned(), "a \"b\" ☃".to_owned()), ("X-Team".to_owned(), "second".to_owned())],
        connect_timeout: Duration::from_millis(1_500),
        read_timeout: Duration::from_secs(30),
        disabled_tools: vec!["drop_table".to_owned()],
        trust_hints: true,
        enabled: true,
    }
}

pub(crate) fn key_id(number: u32) -> KeyId {
    format!("key{number:013}").parse().unwrap()
}

pub(crate) fn key(tenant: TenantId, number: u32) -> NewKey {
    let verifier = KeyVerifier {
        id: key_id(number),
        tenant,
        user: None,
        role: KeyRole::User,
        sha256: [number as u8; 32],
        servers: Some(vec!["notes".to_owned()]),
        expires_at: None,
    };
    NewKey { verifier, evidence: [7; 32], label: format!("key {number}") }
}
