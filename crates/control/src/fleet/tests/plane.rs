//! A control of one's own: database, certificates, fleet and listener in a temporary folder.

use std::sync::Arc;

use async_trait::async_trait;
use model::{
    KeyId, KeyRole, KeyScopes, KeyText, KeyVerifier, Limits, Principal, ResourceName, Revision, ServerId, SystemClock,
    TenantId, UpstreamUrl,
};
use store::{Actor, NewKey, NewServer, NewTenant, Store};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wire::{LinkChannel, Report, ResolveQuestion, Resolved};

use crate::credentials::{Asked, ResolveError};
use crate::fleet::{Fleet, Resolver};
use crate::pki::Pki;

pub(super) struct Plane {
    dir: Arc<TempDir>,
    pub(super) store: Store,
    pub(super) pki: Arc<Pki>,
    pub(super) fleet: Arc<Fleet>,
    pub(super) tenant: TenantId,
    address: String,
    /// Whether there are other replicas.
    shared: bool,
    /// The certificates that the link is served with.
    tls: watch::Sender<Arc<rustls::ServerConfig>>,
    serving: Option<(JoinHandle<()>, CancellationToken)>,
}

/// Has nothing for anybody.
struct Nothing;

#[async_trait]
impl Resolver for Nothing {
    async fn resolve(&self, asked: Asked<'_>) -> Result<Resolved, ResolveError> {
        match asked.question.connection {
            None => Ok(Resolved::NoConnection),
            Some(_) if asked.lately => Ok(Resolved::NoConnection),
            Some(_) => Err(ResolveError::Denied("it is nobody's")),
        }
    }

    async fn report(&self, _: &Report) -> Result<(), ResolveError> {
        Ok(())
    }

    async fn refused(&self, _: &ResolveQuestion, _: &'static str) {}
}

pub(super) struct Added {
    pub(super) id: ServerId,
    pub(super) revision: Revision,
}

impl Added {
    pub(super) fn name(&self) -> ResourceName {
        ResourceName::Server(self.id)
    }
}

impl Plane {
    /// Serves, with one tenant, as the only replica.
    pub(super) async fn start() -> Self {
        Self::made(false).await
    }

    /// Serves, with one tenant, as one of several replicas.
    pub(super) async fn start_shared() -> Self {
        Self::made(true).await
    }

    async fn made(shared: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Pki::init(dir.path()).unwrap();
        let store = Self::open(&dir).await;
        let new = NewTenant { limits: Limits::generous(), ..NewTenant::new("default".parse().unwrap()) };
        let tenant = store.platform().create_tenant(&Actor::system("test"), new).await.unwrap().value.spec.id;
        let pki = Arc::new(Pki::load(dir.path()).unwrap());
        Self::on(Arc::new(dir), store, pki, tenant, shared).await
    }

    /// Another replica on the same database, through connections of its own.
    pub(super) async fn replica(&self) -> Self {
        let store = Self::open(&self.dir).await;
        Self::on(self.dir.clone(), store, self.pki.clone(), self.tenant, true).await
    }

    async fn open(dir: &TempDir) -> Store {
        let url = format!("sqlite://{}?mode=rwc", dir.path().join("gatehouse.db").display());
        Store::connect(&url, Arc::new(SystemClock)).await.unwrap()
    }

    async fn on(dir: Arc<TempDir>, store: Store, pki: Arc<Pki>, tenant: TenantId, shared: bool) -> Self {
        let fleet = Self::fleet(&store, &dir, shared);
        let tls = watch::Sender::new(Arc::new(pki.server_tls().unwrap()));
        let mut plane = Self { dir, store, pki, fleet, tenant, address: String::new(), shared, tls, serving: None };
        plane.serve().await;
        plane
    }

    /// A fresh fleet on a fresh port: what a restarted process would be.
    pub(super) async fn serve(&mut self) {
        self.fleet = Self::fleet(&self.store, &self.dir, self.shared);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.address = listener.local_addr().unwrap().to_string();
        let (fleet, tls, shutdown) = (self.fleet.clone(), self.tls.subscribe(), CancellationToken::new());
        let stop = shutdown.clone();
        let serving = tokio::spawn(async move { fleet.serve(listener, tls, stop).await.unwrap() });
        self.serving = Some((serving, shutdown));
    }

    pub(super) async fn stop(&mut self) {
        let (serving, shutdown) = self.serving.take().unwrap();
        shutdown.cancel();
        serving.await.unwrap();
    }

    /// New connections are taken with these certificates.
    pub(super) fn serve_with(&self, tls: rustls::ServerConfig) {
        self.tls.send_replace(Arc::new(tls));
    }

    fn fleet(store: &Store, dir: &TempDir, shared: bool) -> Arc<Fleet> {
        let keyring = crate::keyring::tests::keyring(store, &dir.path().join("kek"), Arc::new(SystemClock));
        let fleet = Fleet::one_of(store.clone(), keyring, Arc::new(SystemClock), shared);
        fleet.resolve_with(Arc::new(Nothing));
        fleet
    }

    /// Another tenant, for the proxies of these pools.
    pub(super) async fn add_tenant(&self, name: &str, pools: &[&str]) -> TenantId {
        let pools = pools.iter().map(|pool| (*pool).to_owned()).collect();
        let new = NewTenant { limits: Limits::generous(), pools, ..NewTenant::new(name.parse().unwrap()) };
        self.store.platform().create_tenant(&Actor::system("test"), new).await.unwrap().value.spec.id
    }

    /// The text of one of the plane's files.
    pub(super) fn dir_file(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(name)).unwrap()
    }

    /// All bytes that the database has on disk.
    pub(super) fn dir_bytes(&self) -> Vec<u8> {
        let files = std::fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let database = files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("gatehouse.db"));
        database.flat_map(|path| std::fs::read(path).unwrap()).collect()
    }

    pub(super) fn client_tls(&self, pool: &str) -> rustls::ClientConfig {
        let node = self.pki.issue_node(pool).unwrap();
        wire::client_tls(self.pki.ca(), &node.cert, &node.key).unwrap()
    }

    /// Our certificate, but `other`'s CA is trusted.
    pub(super) fn client_tls_trusting(&self, other: &Self) -> rustls::ClientConfig {
        let node = self.pki.issue_node("default").unwrap();
        wire::client_tls(other.pki.ca(), &node.cert, &node.key).unwrap()
    }

    pub(super) fn client_tls_without_certificate(&self) -> rustls::ClientConfig {
        use rustls::pki_types::pem::PemObject as _;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(rustls::pki_types::CertificateDer::from_pem_slice(self.pki.ca().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }

    /// Waits until the fleet knows what is in the database.
    pub(super) async fn published(&self) {
        let revision = self.store.platform().revision().await.unwrap();
        let mut intended = self.fleet.intended.subscribe();
        let known =
            intended.wait_for(|intended| intended.as_ref().is_some_and(|intended| intended.revision >= revision));
        tokio::time::timeout(super::PATIENCE, known).await.unwrap().unwrap();
    }

    pub(super) async fn channel(&self, pool: &str) -> LinkChannel {
        wire::connect(&self.address, Arc::new(self.client_tls(pool))).await.unwrap()
    }

    /// A channel is only good if a call over it gets an answer: in TLS 1.3 the server's refusal of a
    /// client's certificate comes after the client's handshake is done.
    pub(super) async fn try_channel(&self, tls: rustls::ClientConfig) -> Result<(), String> {
        let channel = wire::connect(&self.address, Arc::new(tls)).await.map_err(|error| error.to_string())?;
        let mut client = wire::client::LinkClient::new(channel);
        let asked = client.sealing_keys(wire::frame::SealingKeysFrame::from("default/a".to_owned()));
        asked.await.map(|_| ()).map_err(|status| status.to_string())
    }

    pub(super) async fn add_server(&self, name: &str) -> Added {
        self.add_server_of(self.tenant, name).await
    }

    pub(super) async fn add_server_of(&self, tenant: TenantId, name: &str) -> Added {
        let url = UpstreamUrl::parse(&format!("http://127.0.0.1:9/{name}")).unwrap();
        let new = NewServer::new(name.parse().unwrap(), name.to_owned(), url);
        let committed = self.store.tenant(tenant).create_server(&Actor::system("test"), new).await.unwrap();
        Added { id: committed.value.spec.id, revision: committed.revision }
    }

    pub(super) async fn remove_server(&self, id: ServerId) -> Revision {
        let tenant = self.store.tenant(self.tenant);
        tenant.delete_server(&Actor::system("test"), id, None).await.unwrap().revision
    }

    pub(super) async fn add_key(&self) -> (KeyId, Revision) {
        let text = KeyText::mint("test", [3; 16], [4; 32]);
        let verifier = KeyVerifier {
            id: text.id(),
            tenant: self.tenant,
            user: None,
            role: KeyRole::User,
            scopes: KeyScopes::PLAIN,
            sha256: text.sha256(),
            servers: None,
            expires_at: None,
        };
        let new = NewKey { verifier, evidence: text.evidence(), label: "test".into() };
        let committed = self.store.tenant(self.tenant).create_key(&Actor::system("test"), new).await.unwrap();
        (text.id(), committed.revision)
    }

    pub(super) async fn revoke_key(&self, key: KeyId) -> Revision {
        self.store.tenant(self.tenant).revoke_key(&Actor::system("test"), key).await.unwrap().revision
    }

    pub(super) fn principal(&self) -> Principal {
        Principal { tenant: self.tenant, user: None, key: "0123456789abcdef".parse().ok() }
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        if let Some((_, shutdown)) = &self.serving {
            shutdown.cancel();
        }
    }
}
