//! Who gets which credential, and tokens that are each fetched once, against a token endpoint that a test scripts.

mod endpoint;
mod refreshing;
mod sources;
mod verdicts;
mod who;

use model::{
    ConnectionId, KeyRole, KeyScopes, KeyText, KeyVerifier, ManualClock, Principal, Secret, ServerId, TenantId,
    UpstreamUrl, UserId,
};
use serde_json::{Value, json};
use store::{
    Actor, AuditPage, CredentialChange, NewConnection, NewCredential, NewKey, NewServer, NewTenant, NewUser, Reference,
    SecretChange, ServerAuth,
};
use wire::{Evidence, KeyEvidence};

use self::endpoint::Endpoint;
use super::*;
use crate::auth::parse_native;
use crate::fleet::Fleet;
use crate::keyring::Place;
use crate::keyring::tests::keyring;
use crate::references::ReferenceSources;
use crate::servers::Servers;

const SECOND: i64 = 1_000_000;
const START: i64 = 1_800_000_000 * SECOND;
const NODE: &str = "default/a1";
const URL: &str = "https://crm.example/mcp";

/// A database, a clock, a token endpoint, and replicas of the part that has credentials.
struct House {
    store: Store,
    clock: Arc<ManualClock>,
    tenant: TenantId,
    endpoint: Endpoint,
    one: Credentials,
    dir: tempfile::TempDir,
}

impl House {
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(START));
        let store = connected(&dir, &clock).await;
        let new = NewTenant::new("acme".parse().unwrap());
        let tenant = store.platform().create_tenant(&Actor::system("test"), new).await.unwrap().value.spec.id;
        let endpoint = Endpoint::open().await;
        let one = credentials(&dir, &store, &clock, &endpoint);
        Self { store, clock, tenant, endpoint, one, dir }
    }

    /// Another process on the same database.
    async fn replica(&self) -> Credentials {
        let store = connected(&self.dir, &self.clock).await;
        credentials(&self.dir, &store, &self.clock, &self.endpoint)
    }

    fn pass(&self, seconds: i64) {
        self.clock.advance_micros(seconds * SECOND);
    }

    /// A server that is authenticated to as the settings say.
    async fn server(&self, auth: Value) -> ServerRecord {
        let (config, secret) = parse_native(auth).unwrap();
        let id = ServerId::fresh();
        let place = Place { tenant: self.tenant, kind: "server", record: id.0, field: "auth_secret" };
        let sealed = self.one.inner.keyring.seal(place, 1, &secret.to_json()).await.unwrap();
        let auth = ServerAuth {
            config: config.to_stored(),
            binding: config.binding(),
            secret: SecretChange::Set { sealed, version: 1 },
        };
        let name = format!("s{}", &id.to_string()[24..]);
        let url = UpstreamUrl::parse(URL).unwrap();
        let new = NewServer { id: Some(id), auth: Some(auth), ..NewServer::new(name.parse().unwrap(), name, url) };
        self.store.tenant(self.tenant).create_server(&Actor::system("test"), new).await.unwrap().value
    }

    /// A connection with this credential.
    async fn connection(&self, server: &ServerRecord, holder: Holder, credential: Value) -> ConnectionRecord {
        let credential = Credential::parse(credential).unwrap();
        let new = NewConnection::new(ConnectionId::fresh(), server.spec.id, holder);
        let place = Place { tenant: self.tenant, kind: "connection", record: new.id.0, field: "credential" };
        let sealed = self.one.inner.keyring.seal(place, 1, &credential.to_json()).await.unwrap();
        let new = NewConnection { credential: Some(sealed), ..new };
        self.store.tenant(self.tenant).create_connection(&Actor::system("test"), new).await.unwrap().value
    }

    /// A server where people sign in, and a global connection whose first token ends after an hour.
    async fn signed_in(&self) -> (ServerRecord, ConnectionRecord) {
        let server = self.server(json!({"type": "authorization_code", "scopes": ["global"]})).await;
        let credential = json!({
            "access_token": "at-0", "refresh_token": "rt-0", "expires_at": START / SECOND + 3_600,
            "issuer_url": self.endpoint.base,
        });
        let record = self.connection(&server, Holder::Global, credential).await;
        (server, record)
    }

    async fn now(&self, record: &ConnectionRecord) -> ConnectionRecord {
        self.store.tenant(self.tenant).connection(record.id).await.unwrap().unwrap()
    }

    async fn user(&self, login: &str, departments: &[model::DepartmentId]) -> UserId {
        let new = NewUser {
            login: login.to_owned(),
            title: login.to_owned(),
            external_id: None,
            departments: departments.to_vec(),
            role: KeyRole::User,
            active: true,
        };
        self.store.tenant(self.tenant).create_user(&Actor::system("test"), new).await.unwrap().value.id
    }

    /// A key of a user, or of nobody.
    async fn key(&self, user: Option<UserId>, scopes: KeyScopes) -> KeyText {
        let (id, secret) = (*uuid::Uuid::new_v4().as_bytes(), [7; 32]);
        let text = KeyText::mint("test", id, secret);
        let verifier = KeyVerifier {
            id: text.id(),
            tenant: self.tenant,
            user,
            role: KeyRole::User,
            scopes,
            sha256: text.sha256(),
            servers: None,
            expires_at: None,
        };
        let new = NewKey { verifier, evidence: text.evidence(), label: "test".into() };
        self.store.tenant(self.tenant).create_key(&Actor::system("test"), new).await.unwrap();
        text
    }

    fn question(&self, server: &ServerRecord, connection: Option<&ConnectionRecord>) -> ResolveQuestion {
        ResolveQuestion {
            node: NODE.to_owned(),
            principal: Principal { tenant: self.tenant, user: None, key: None },
            server: server.spec.id,
            connection: connection.map(|record| record.id),
            departments: vec![],
            newer_than: 0,
            challenge: None,
            evidence: Evidence::None,
        }
    }

    /// The question with evidence that was made with the key, for the user.
    fn with_key(&self, question: ResolveQuestion, key: &KeyText, user: Option<UserId>) -> ResolveQuestion {
        let principal = Principal { tenant: self.tenant, user, key: Some(key.id()) };
        let (at, nonce) = (self.clock.now_micros(), *uuid::Uuid::new_v4().as_bytes());
        let lease = identity::evidence::Lease {
            node: &question.node,
            tenant: self.tenant,
            key: key.id(),
            user,
            server: question.server,
            connection: question.connection,
            at,
            nonce,
        };
        let mac = identity::evidence::sign(&key.evidence(), &lease);
        ResolveQuestion { principal, evidence: Evidence::Key(KeyEvidence { at, nonce, mac }), ..question }
    }

    async fn resolve(&self, question: &ResolveQuestion) -> Result<Resolved, ResolveError> {
        self.one.resolve(Asked { question, ticket: false, lately: false }).await
    }

    /// Actions of the audit that begin so, the newest first.
    async fn audit(&self, prefix: &str) -> Vec<store::AuditRow> {
        let page = AuditPage { limit: 500, ..AuditPage::default() };
        let rows = self.store.tenant(self.tenant).audit(page).await.unwrap();
        rows.into_iter().filter(|row| row.action.starts_with(prefix)).collect()
    }
}

async fn connected(dir: &tempfile::TempDir, clock: &Arc<ManualClock>) -> Store {
    let url = format!("sqlite://{}?mode=rwc", dir.path().join("db").display());
    Store::connect(&url, clock.clone()).await.unwrap()
}

fn credentials(dir: &tempfile::TempDir, store: &Store, clock: &Arc<ManualClock>, endpoint: &Endpoint) -> Credentials {
    let keyring = keyring(store, &dir.path().join("kek"), clock.clone());
    let fleet = Fleet::new(store.clone(), keyring.clone(), clock.clone());
    let policy = egress::Policy { dev: true, ..egress::Policy::default() };
    let outward = Outward::new(Servers::new(store.clone(), fleet, policy), true);
    let sources = ReferenceSources { files: Some(dir.path().join("references")), http: None };
    let references = References::new(&sources, clock.clone());
    let issuing = Arc::new(endpoint.issuing());
    Credentials::with(store.clone(), keyring, outward, issuing, references, clock.clone())
}

/// The one header line.
fn line(lines: &HeaderLines) -> String {
    let [(name, value)] = &lines.headers[..] else { panic!("{} header lines", lines.headers.len()) };
    format!("{name}: {}", value.expose())
}

fn bearer(lines: &HeaderLines) -> String {
    line(lines).strip_prefix("Authorization: Bearer ").unwrap().to_owned()
}

fn leased(resolved: Result<Resolved, ResolveError>) -> HeaderLines {
    match resolved {
        Ok(Resolved::Lines(lines)) => lines,
        other => panic!("no lines: {other:?}"),
    }
}

fn denied(resolved: &Result<Resolved, ResolveError>) -> bool {
    matches!(resolved, Err(ResolveError::Denied(_)))
}
