//! Client certificates: each request shows its own identity's, over connections and TLS sessions that nobody shares.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use egress::{Egress, EgressError, Identity, Limits, Policy, Sent, Upstream};
use futures::future::join_all;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::CertificateDer;
use tokio_rustls::TlsAcceptor;
use url::Url;

use crate::server::Server;
use crate::world::{World, limits, post, tenant, text};

const NAME: &str = "mcp.example.com";

/// Both that are spoken.
const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// Whoever signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    own: CertificateDer<'static>,
}

/// A certificate and its key.
struct Paper {
    shown: CertificateDer<'static>,
    chain: String,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let own = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), own }
    }

    fn signs(&self, name: &str, purpose: ExtendedKeyUsagePurpose) -> Paper {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &self.issuer).unwrap();
        Paper { shown: signed.der().clone(), chain: signed.pem(), key }
    }

    fn client(&self, name: &str) -> Paper {
        self.signs(name, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.own.clone()).unwrap();
        roots
    }
}

/// A request as the server had it.
#[derive(Clone)]
struct Seen {
    /// The body: by the test's agreement, who sent it.
    said: String,
    /// Which of the server's connections it came over.
    connection: usize,
    /// Whether its handshake took up the session of an earlier one.
    resumed: bool,
    shown: Option<CertificateDer<'static>>,
}

/// A TLS server that wants certificates of its authority, and the way to it.
struct Demanding {
    server: Server,
    egress: Egress,
    seen: Arc<Mutex<Vec<Seen>>>,
    failed: Arc<AtomicUsize>,
}

impl Demanding {
    /// `needed`: nobody is let in without a certificate.
    async fn start(authority: &Authority, version: &'static SupportedProtocolVersion, needed: bool) -> Self {
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authority.roots()), provider.clone());
        let verifier = if needed { verifier } else { verifier.allow_unauthenticated() };
        let own = authority.signs(NAME, ExtendedKeyUsagePurpose::ServerAuth);
        let settings = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![own.shown], own.key.serialize_der().try_into().unwrap())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(settings));
        let (seen, failed) = (Arc::<Mutex<Vec<Seen>>>::default(), Arc::<AtomicUsize>::default());
        let (record, failures, turn) = (seen.clone(), failed.clone(), AtomicUsize::new(0));
        let server = Server::start(move |stream, _| {
            let (acceptor, record, failures) = (acceptor.clone(), record.clone(), failures.clone());
            let connection = turn.fetch_add(1, Ordering::SeqCst);
            async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    failures.fetch_add(1, Ordering::SeqCst);
                    return;
                };
                let session = stream.get_ref().1;
                let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
                let shown = session.peer_certificates().map(|chain| chain[0].clone());
                let service = service_fn(|request: Request<Incoming>| {
                    let (record, shown) = (record.clone(), shown.clone());
                    async move {
                        let said = request.into_body().collect().await.unwrap().to_bytes();
                        let said = String::from_utf8(said.to_vec()).unwrap();
                        record.lock().unwrap().push(Seen { said, connection, resumed, shown });
                        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("welcome"))))
                    }
                });
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            }
        })
        .await;
        let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let client = client.with_root_certificates(authority.roots()).with_no_client_auth();
        let world = Arc::new(World::routed_to(server.addr));
        let egress = Egress::with(Policy::default(), world.clone(), world, Some(client));
        Self { server, egress, seen, failed }
    }

    /// The way there of whoever has this certificate, or none.
    fn upstream(&self, paper: Option<&Paper>, limits: Limits) -> Upstream {
        let url = Url::parse(&format!("https://{NAME}/")).unwrap();
        match paper {
            None => self.egress.upstream(tenant(), &url, limits).unwrap(),
            Some(paper) => {
                let identity = Identity::from_pem(&paper.chain, &paper.key.serialize_pem()).unwrap();
                self.egress.upstream_as(tenant(), &url, limits, &identity).unwrap()
            }
        }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How many requests came with another certificate than their sender's.
    fn mismatches(&self, who: &[(&str, Option<&Paper>)]) -> usize {
        let own = |seen: &Seen| who.iter().find(|(name, _)| *name == seen.said).unwrap().1;
        self.seen().iter().filter(|seen| seen.shown.as_ref() != own(seen).map(|paper| &paper.shown)).count()
    }
}

async fn say(upstream: &Upstream, who: &'static str) {
    assert_eq!(text(upstream.send(post("/", who)).await.unwrap()).await.unwrap(), "welcome");
}

#[tokio::test]
async fn who_shows_the_right_certificate_is_answered_and_the_server_has_seen_it() {
    for version in VERSIONS {
        let authority = Authority::new();
        let demanding = Demanding::start(&authority, version, true).await;
        let ann = authority.client("ann");
        say(&demanding.upstream(Some(&ann), limits()), "ann").await;
        let seen = demanding.seen();
        assert_eq!((seen.len(), demanding.failed.load(Ordering::SeqCst)), (1, 0), "{version:?}");
        assert_eq!(seen[0].shown.as_ref(), Some(&ann.shown), "{version:?}");
    }
}

#[tokio::test]
async fn without_a_certificate_or_with_a_strangers_the_handshake_fails_and_nothing_is_served() {
    for version in VERSIONS {
        let authority = Authority::new();
        let demanding = Demanding::start(&authority, version, true).await;
        let strangers = Authority::new().client("ann");
        for (turn, paper) in [None, Some(&strangers)].into_iter().enumerate() {
            let upstream = demanding.upstream(paper, limits());
            let error = upstream.send(post("/", "secret")).await.err().unwrap();
            match error {
                EgressError::Tls(_) => assert_eq!(error.sent(), Sent::No),
                // In TLS 1.3 a client is done before the server has looked at what it shows.
                EgressError::Closed(_) => assert!(*version == TLS13, "{version:?}"),
                error => panic!("{version:?}: {error:?}"),
            }
            demanding.server.closed(turn + 1).await;
            assert_eq!((demanding.failed.load(Ordering::SeqCst), upstream.idle()), (turn + 1, 0), "{version:?}");
        }
        assert!(demanding.seen().is_empty(), "{version:?}");
    }
}

#[tokio::test]
async fn two_certificates_for_one_origin_never_share_a_connection() {
    for version in VERSIONS {
        let authority = Authority::new();
        let demanding = Demanding::start(&authority, version, true).await;
        let (ann, bob) = (authority.client("ann"), authority.client("bob"));
        let who = [("ann", Some(&ann)), ("bob", Some(&bob))];
        let upstreams = who.map(|(name, paper)| (demanding.upstream(paper, limits()), name));
        for turn in 0..100 {
            let (upstream, name) = &upstreams[turn % 2];
            say(upstream, name).await;
        }
        assert_eq!((demanding.server.connections(), demanding.mismatches(&who)), (2, 0), "{version:?}: in turns");
        join_all((0..100).map(|turn| say(&upstreams[turn % 2].0, upstreams[turn % 2].1))).await;
        let seen = demanding.seen();
        assert_eq!((seen.len(), demanding.mismatches(&who)), (200, 0), "{version:?}: all at once");
        for connection in 0..demanding.server.connections() {
            let mut over: Vec<_> = seen.iter().filter(|seen| seen.connection == connection).map(|s| &s.said).collect();
            over.dedup();
            assert!(over.len() <= 1, "{version:?}: connection {connection} served {over:?}");
        }
    }
}

#[tokio::test]
async fn two_certificates_for_one_origin_never_share_a_tls_session() {
    for version in VERSIONS {
        let authority = Authority::new();
        let demanding = Demanding::start(&authority, version, false).await;
        let (ann, bob) = (authority.client("ann"), authority.client("bob"));
        let who = [("ann", Some(&ann)), ("bob", Some(&bob)), ("nobody", None)];
        // Nothing is kept, so that each request has a handshake, which may take up an earlier session.
        let none_kept = Limits { idle_connections: 0, ..limits() };
        let upstreams = who.map(|(name, paper)| (demanding.upstream(paper, none_kept), name));
        for turn in 0..30 {
            let (upstream, name) = &upstreams[turn % 3];
            say(upstream, name).await;
        }
        assert_eq!((demanding.server.connections(), demanding.mismatches(&who)), (30, 0), "{version:?}");
        for (name, _) in who {
            let seen = demanding.seen().into_iter().filter(|seen| seen.said == name);
            let resumed: Vec<_> = seen.map(|seen| seen.resumed).collect();
            assert!(!resumed[0], "{version:?}: {name} began with a session that was another's");
            assert!(resumed[1..].iter().all(|resumed| *resumed), "{version:?}: {name} took up no session of its own");
        }
    }
}

#[tokio::test]
async fn a_certificate_that_was_rotated_is_shown_by_the_next_request() {
    for version in VERSIONS {
        let authority = Authority::new();
        let demanding = Demanding::start(&authority, version, true).await;
        let (old, new) = (authority.client("ann"), authority.client("ann"));
        let before = demanding.upstream(Some(&old), limits());
        for _ in 0..3 {
            say(&before, "before").await;
        }
        // While a connection of the old one still rests.
        let after = demanding.upstream(Some(&new), limits());
        assert_eq!(before.idle(), 1);
        for _ in 0..3 {
            say(&after, "after").await;
        }
        assert_eq!(demanding.mismatches(&[("before", Some(&old)), ("after", Some(&new))]), 0, "{version:?}");
        assert!(demanding.seen().iter().all(|seen| !seen.resumed), "{version:?}");
        drop(before);
        demanding.server.closed(1).await;
        assert_eq!(demanding.server.connections(), 2, "{version:?}");
    }
}
