//! Client certificates: each user's requests show the user's own, and what can't be shown is told without a word of it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use model::{ConnectionSpec, Holder, KeyRole, KeyText, KeyVerifier, Resource, Scope, ServerSpec, UserId};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tests::mcp::code_of;
use tests::{Guard, Http, Mcp, Upstream};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::house::{House, server};
use crate::scripted::{bound, connection};

/// The header line in which the upstream hears whose certificate was shown.
const SHOWN: &str = "x-shown";

/// Whoever signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    own: CertificateDer<'static>,
}

/// A certificate and its key.
struct Paper {
    own: CertificateDer<'static>,
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
        Paper { own: signed.der().clone(), chain: signed.pem(), key }
    }

    fn client(&self, name: &str) -> Paper {
        self.signs(name, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.own.clone()).unwrap();
        roots
    }

    /// A data plane that takes this authority's word for upstreams.
    async fn house(&self) -> House {
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let client = client.with_safe_default_protocol_versions().unwrap();
        House::trusting(client.with_root_certificates(self.roots()).with_no_client_auth()).await
    }
}

fn digest(certificate: &CertificateDer<'_>) -> String {
    Sha256::digest(certificate).iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

/// TLS before an upstream: lets in who shows a certificate of the authority, and says with each request whose it was.
struct Front {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Front {
    async fn before(upstream: &Upstream, authority: &Authority) -> Self {
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authority.roots()), provider.clone());
        let own = authority.signs("127.0.0.1", ExtendedKeyUsagePurpose::ServerAuth);
        let settings = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![own.own], own.key.serialize_der().try_into().unwrap())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(settings));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (http, inner) = (Http::default(), upstream.url().strip_suffix("/mcp").unwrap().to_owned());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, http, inner) = (acceptor.clone(), http.clone(), inner.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let shown = digest(&stream.get_ref().1.peer_certificates().unwrap()[0]);
                    let service = service_fn(|request| passed_on(&http, &inner, &shown, request));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, task }
    }

    fn url(&self) -> String {
        format!("https://{}/mcp", self.address)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn passed_on(
    http: &Http,
    inner: &str,
    shown: &str,
    request: Request<Incoming>,
) -> Result<Response<Incoming>, String> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
    let own = ["host", "content-length", "connection", "transfer-encoding", SHOWN];
    let lines = head.headers.iter().filter(|(name, _)| !own.contains(&name.as_str()));
    let mut lines: Vec<_> = lines.map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    lines.push((SHOWN, shown));
    let mut answer = http.open(head.method.as_str(), &format!("{inner}{}", head.uri), &lines, body).await?;
    for name in ["connection", "transfer-encoding"] {
        answer.headers_mut().remove(name);
    }
    Ok(answer)
}

/// A user's key, and a connection of the user's. All bear the same header line: only certificates tell them apart.
fn connected(house: &House, spec: &ServerSpec, certificate: Option<(&str, &str)>) -> (String, ConnectionSpec) {
    let key = house.key(KeyRole::User);
    let user = UserId::fresh();
    house.put([Resource::Key(KeyVerifier { user: Some(user), ..key.verifier })]);
    let text: KeyText = key.text.parse().unwrap();
    house.control.knows(text.id(), text.evidence());
    let own = connection(spec.id, Holder::User(user));
    if let Some((chain, key)) = certificate {
        house.control.shows(own.id, chain, key);
    }
    house.connect(&own, "Bearer of-everybody", &[]);
    (key.text, own)
}

async fn person_of(mcp: &Mcp, tool: &str) -> String {
    let told: Value = serde_json::from_str(&mcp.text(tool, json!({})).await).unwrap();
    told["person"].as_str().unwrap().to_owned()
}

/// A server behind TLS that knows these by their certificates.
struct Scene {
    house: House,
    guard: Guard,
    authority: Authority,
    spec: ServerSpec,
    _behind: (Upstream, Front),
}

impl Scene {
    async fn new() -> Self {
        let (authority, guard) = (Authority::new(), Guard::shut());
        let house = authority.house().await;
        let upstream = Upstream::guarded("upstream", &guard).await;
        let front = Front::before(&upstream, &authority).await;
        let spec = bound(server("notes", &front.url()), &[Scope::User]);
        house.mount(&spec);
        Self { house, guard, authority, spec, _behind: (upstream, front) }
    }

    /// A certificate whose holder the server knows by this name.
    fn known(&self, person: &str) -> Paper {
        let paper = self.authority.client(person);
        self.guard.accept_header(SHOWN, &digest(&paper.own), person);
        paper
    }

    /// A user who shows it.
    fn user(&self, paper: &Paper) -> (String, ConnectionSpec) {
        connected(&self.house, &self.spec, Some((&paper.chain, &paper.key.serialize_pem())))
    }

    async fn on(&self, path: &str, key: &str) -> Mcp {
        Mcp::open(&self.house.at(path), key).await
    }
}

#[tokio::test]
async fn two_users_of_one_server_show_each_their_own_certificate() {
    let scene = Scene::new().await;
    let [ann, bob] = ["ann", "bob"].map(|person| scene.user(&scene.known(person)).0);
    for (path, tool) in [("/mcp", "notes__whoami"), ("/servers/notes/mcp", "whoami")] {
        let (on_ann, on_bob) = (scene.on(path, &ann).await, scene.on(path, &bob).await);
        for _ in 0..10 {
            assert_eq!(person_of(&on_ann, tool).await, "ann", "{path}");
            assert_eq!(person_of(&on_bob, tool).await, "bob", "{path}");
        }
        for _ in 0..10 {
            let both = tokio::join!(person_of(&on_ann, tool), person_of(&on_bob, tool));
            assert_eq!(both, ("ann".to_owned(), "bob".to_owned()), "{path}: at once");
        }
    }
    let seen = scene.guard.seen();
    assert_eq!(scene.guard.calls().len(), 80);
    assert!(seen.iter().all(|seen| seen.person.is_some()), "{seen:?}");
    // A session over there is of one certificate.
    let mut owners = std::collections::HashMap::new();
    for seen in seen.iter().filter(|seen| !seen.header("mcp-session-id").is_empty()) {
        let owner = owners.entry(seen.header("mcp-session-id")).or_insert(seen.header(SHOWN));
        assert_eq!(*owner, seen.header(SHOWN));
    }
}

#[tokio::test]
async fn a_certificate_that_was_rotated_is_shown_by_the_next_call() {
    let scene = Scene::new().await;
    let (key, own) = scene.user(&scene.known("ann-before"));
    let mcp = scene.on("/mcp", &key).await;
    assert_eq!(person_of(&mcp, "notes__whoami").await, "ann-before");
    let new = scene.known("ann-after");
    scene.house.control.shows(own.id, &new.chain, &new.key.serialize_pem());
    scene.house.connect(&ConnectionSpec { token_generation: 2, ..own }, "Bearer of-everybody", &[]);
    assert_eq!(person_of(&mcp, "notes__whoami").await, "ann-after");
}

#[tokio::test]
async fn a_user_without_a_certificate_goes_over_no_connection_of_one_who_has_one() {
    let scene = Scene::new().await;
    let (ann, _) = scene.user(&scene.known("ann"));
    let on_ann = scene.on("/mcp", &ann).await;
    assert_eq!(person_of(&on_ann, "notes__whoami").await, "ann");
    let (nobody, _) = connected(&scene.house, &scene.spec, None);
    let before = scene.guard.seen().len();
    let answer = scene.on("/mcp", &nobody).await.call("notes__whoami", json!({})).await;
    assert_eq!(code_of(&answer), -31001, "{answer}");
    assert_eq!(scene.guard.seen().len(), before, "the server let somebody in");
}

#[tokio::test]
async fn a_certificate_that_an_upstream_refuses_closes_the_server_to_nobody_else() {
    let scene = Scene::new().await;
    let (ann, _) = scene.user(&scene.known("ann"));
    let (stranger, _) = scene.user(&Authority::new().client("stranger"));
    let (on_ann, on_stranger) = (scene.on("/mcp", &ann).await, scene.on("/mcp", &stranger).await);
    for _ in 0..5 {
        let answer = on_stranger.call("notes__whoami", json!({})).await;
        assert_eq!(code_of(&answer), -31001, "{answer}");
        assert_eq!(person_of(&on_ann, "notes__whoami").await, "ann");
    }
}

#[tokio::test]
async fn a_certificate_that_cannot_be_shown_is_minus_31005_and_no_pem_stands_in_the_answer() {
    let scene = Scene::new().await;
    let (ann, bob) = (scene.known("ann"), scene.known("bob"));
    let (chain, own, others) = (ann.chain.as_str(), ann.key.serialize_pem(), bob.key.serialize_pem());
    let broken = own.replace("PRIVATE KEY", "PRIVATE CAT");
    for (what, chain, key) in [
        ("the key of another", chain, others.as_str()),
        ("no certificate", "", own.as_str()),
        ("a key for a certificate", own.as_str(), own.as_str()),
        ("a certificate for a key", chain, chain),
        ("a key that is none", chain, broken.as_str()),
    ] {
        let (user, _) = connected(&scene.house, &scene.spec, Some((chain, key)));
        let answer = scene.on("/mcp", &user).await.call("notes__whoami", json!({})).await;
        assert_eq!(code_of(&answer), -31005, "{what}: {answer}");
        assert_eq!(answer["error"]["data"]["reason"], "template", "{what}: {answer}");
        let told = answer.to_string();
        for line in [chain, key].iter().flat_map(|pem| pem.lines()).filter(|line| line.len() > 16) {
            assert!(!told.contains(line), "{what}: {line} stands in {told}");
        }
        assert!(!told.contains("-----"), "{what}: {told}");
    }
    assert_eq!((scene.house.street.dials(), scene.guard.seen().len()), (0, 0), "nothing was tried without it");
}
