//! Control, as far as credentials are asked of it, played by the test: it knows one credential for each connection, looks
//! at the evidence, and keeps what it was asked and told.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use identity::evidence::{Lease, verify};
use model::{
    Binding, ConnectionId, ConnectionSpec, ConnectionStatus, Holder, KeyId, Resource, ResourceName, Scope, Secret,
    ServerId, ServerSpec,
};
use proxy::{Control, ControlError};
use wire::{ClientCertificate, Evidence, HeaderLines, ResolveQuestion, Resolved, Unresolved, Verdict};

use crate::house::{House, MORNING, tenant};

/// The double.
#[derive(Default)]
pub(crate) struct Scripted(Mutex<Script>);

#[derive(Default)]
struct Script {
    credentials: HashMap<Option<ConnectionId>, Held>,
    /// The secret values by which evidence of keys is checked.
    keys: HashMap<KeyId, [u8; 32]>,
    away: bool,
    headers_only: bool,
    /// Client certificates and their keys, in PEM.
    certificates: HashMap<ConnectionId, (String, String)>,
    asked: Vec<Asked>,
    told: Vec<Verdict>,
}

#[derive(Clone)]
struct Held {
    text: String,
    version: i64,
    generation: i64,
    /// Those that come after it, for whoever asks for a newer one.
    next: Vec<String>,
    good: Duration,
    stale: Duration,
}

/// A question as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) newer_than: i64,
    /// `key`, `token`, `ticket` or `nothing`, and `key!` if it was not the key's.
    pub(crate) evidence: &'static str,
    pub(crate) departments: Vec<String>,
    /// What the upstream had said.
    pub(crate) scope: Option<String>,
}

impl Scripted {
    /// All questions so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.0.lock().unwrap().asked.clone()
    }

    /// All verdicts so far.
    pub(crate) fn told(&self) -> Vec<Verdict> {
        self.0.lock().unwrap().told.clone()
    }

    /// Answers nobody from now on, or again.
    pub(crate) fn away(&self, away: bool) {
        self.0.lock().unwrap().away = away;
    }

    /// Gives no query parameters.
    pub(crate) fn gives_headers_only(&self) {
        self.0.lock().unwrap().headers_only = true;
    }

    /// What a connection becomes has this client certificate from now on.
    pub(crate) fn shows(&self, connection: ConnectionId, chain: &str, key: &str) {
        self.0.lock().unwrap().certificates.insert(connection, (chain.to_owned(), key.to_owned()));
    }

    /// Knows the secret of a key.
    pub(crate) fn knows(&self, id: KeyId, evidence: [u8; 32]) {
        self.0.lock().unwrap().keys.insert(id, evidence);
    }

    /// What a connection becomes, and after it for whoever asks for newer ones; `None` for lines without a connection.
    pub(crate) fn holds(&self, connection: Option<&ConnectionSpec>, text: &str, next: &[&str]) {
        let (version, generation) = connection.map_or((0, 0), |spec| (spec.credential_version, spec.token_generation));
        let next = next.iter().map(|text| (*text).to_owned()).collect();
        let (good, stale) = (Duration::from_secs(900), Duration::from_secs(3600));
        let held = Held { text: text.to_owned(), version, generation, next, good, stale };
        self.0.lock().unwrap().credentials.insert(connection.map(|spec| spec.id), held);
    }

    /// How long what it gives is good, and may be used while it is away.
    pub(crate) fn lasts(&self, good: Duration, stale: Duration) {
        for held in self.0.lock().unwrap().credentials.values_mut() {
            (held.good, held.stale) = (good, stale);
        }
    }

    /// Forgets what a connection becomes: `reauth_required` from now on.
    pub(crate) fn forgets(&self, connection: ConnectionId) {
        self.0.lock().unwrap().credentials.remove(&Some(connection));
    }

    fn answer(&self, question: &ResolveQuestion) -> Result<Resolved, ControlError> {
        let mut script = self.0.lock().unwrap();
        if script.away {
            return Err(ControlError::Away("the test says so".to_owned()));
        }
        let evidence = match &question.evidence {
            Evidence::None => "nothing",
            Evidence::Ticket(_) => "ticket",
            Evidence::Token(_) => "token",
            Evidence::Key(evidence) => {
                let key = question.principal.key.unwrap();
                let lease = Lease {
                    node: &question.node,
                    tenant: question.principal.tenant,
                    key,
                    user: question.principal.user,
                    server: question.server,
                    connection: question.connection,
                    at: evidence.at,
                    nonce: evidence.nonce,
                };
                let known = script.keys.get(&key);
                if known.is_some_and(|known| verify(known, &lease, &evidence.mac, MORNING)) { "key" } else { "key!" }
            }
        };
        script.asked.push(Asked {
            connection: question.connection,
            newer_than: question.newer_than,
            evidence,
            departments: question.departments.clone(),
            scope: question.challenge.as_ref().and_then(|challenge| challenge.scope.clone()),
        });
        let query = match script.headers_only {
            true => Vec::new(),
            false => vec![("tenant key".to_owned(), Secret::new("a&b".to_owned()))],
        };
        let certificate = question.connection.and_then(|id| script.certificates.get(&id));
        let certificate = certificate
            .map(|(chain, key)| ClientCertificate { chain: Secret::new(chain.clone()), key: Secret::new(key.clone()) });
        let Some(held) = script.credentials.get_mut(&question.connection) else {
            let (reason, message) = ("reauth_required".to_owned(), "the test forgot it".to_owned());
            return Ok(Resolved::Unresolved(Unresolved { reason, message, retry_after: None }));
        };
        let refused = question.challenge.is_some() && question.newer_than >= held.generation;
        if refused && !held.next.is_empty() {
            held.text = held.next.remove(0);
            held.generation += i64::from(question.connection.is_some());
        }
        Ok(Resolved::Lines(HeaderLines {
            credential_version: held.version,
            token_generation: held.generation,
            headers: vec![("Authorization".to_owned(), Secret::new(held.text.clone()))],
            query,
            certificate,
            fresh: held.good.min(Duration::from_secs(60)),
            good: held.good,
            stale: held.stale,
        }))
    }
}

impl Control for Scripted {
    fn node(&self) -> String {
        "default/test".to_owned()
    }

    fn resolve(&self, question: ResolveQuestion) -> BoxFuture<'_, Result<Resolved, ControlError>> {
        async move { self.answer(&question) }.boxed()
    }

    fn report(&self, verdicts: Vec<Verdict>) -> BoxFuture<'_, Result<(), ControlError>> {
        let mut script = self.0.lock().unwrap();
        let told = if script.away {
            Err(ControlError::Away("the test says so".to_owned()))
        } else {
            script.told.extend(verdicts);
            Ok(())
        };
        async move { told }.boxed()
    }
}

/// A server that takes credentials of these scopes.
pub(crate) fn bound(server: ServerSpec, scopes: &[Scope]) -> ServerSpec {
    let binding = Binding { scopes: scopes.to_vec(), retry_unauthorized: true, ..Binding::default() };
    ServerSpec { binding: Some(binding), ..server }
}

/// A connection of a server for somebody.
pub(crate) fn connection(server: ServerId, holder: Holder) -> ConnectionSpec {
    ConnectionSpec {
        id: ConnectionId::fresh(),
        tenant: tenant().id,
        server,
        holder,
        department: matches!(holder, Holder::Department(_)).then(|| "sales".to_owned()),
        status: ConnectionStatus::Active,
        credential_version: 1,
        token_generation: 1,
    }
}

impl House {
    /// Makes a connection part of the table and lets control hold this for it.
    pub(crate) fn connect(&self, spec: &ConnectionSpec, text: &str, next: &[&str]) {
        self.control.holds(Some(spec), text, next);
        self.put([Resource::Connection(spec.clone())]);
    }

    /// Takes a connection out of the table.
    pub(crate) fn disconnect(&self, spec: &ConnectionSpec) {
        self.remove([ResourceName::Connection(spec.id)]);
    }
}
