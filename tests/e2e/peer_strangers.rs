//! Who knocks where proxies speak with each other: strangers get no further than the handshake, and what a proxy of the pool
//! says of others counts nothing.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use serde_json::json;
use tests::replicas::{Plan, Replicas};
use tests::{Mcp, Upstream, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Takes whatever the other end shows.
#[derive(Debug)]
struct Trusting(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _between: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Settings that show the certificate of this folder, or none.
fn shown(folder: Option<&Path>) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let settings = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting(provider)));
    match folder {
        None => settings.with_no_client_auth(),
        Some(folder) => {
            let chain = CertificateDer::pem_file_iter(folder.join("proxy.pem")).unwrap().map(Result::unwrap).collect();
            let key = PrivateKeyDer::from_pem_file(folder.join("proxy.key")).unwrap();
            settings.with_client_auth_cert(chain, key).unwrap()
        }
    }
}

/// The status of one request over TLS, and all that came; an error where there is no conversation.
async fn asked(replicas: &Replicas, proxy: usize, tls: ClientConfig, request: &str) -> std::io::Result<(u16, String)> {
    #[expect(clippy::disallowed_methods, reason = "a client of the listener is no client of egress")]
    let tcp = TcpStream::connect(replicas.peer_address(proxy)).await?;
    let name = ServerName::try_from("any.example").unwrap();
    let mut stream = TlsConnector::from(Arc::new(tls)).connect(name, tcp).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.map(|status| (status, answer)).ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text + &format!("content-length: {}\r\n\r\n{body}", body.len())
}

/// The name of a proxy's node, as itself says to whom asks for another.
async fn node_of(replicas: &Replicas, proxy: usize) -> String {
    let tls = shown(Some(&replicas.folder().join("node")));
    let (status, answer) = asked(replicas, proxy, tls, &request("GET", "/mcp", &[], "")).await.unwrap();
    assert_eq!(status, 421, "{answer}");
    let line = answer.lines().find_map(|line| line.strip_prefix("gatehouse-node: ")).unwrap();
    line.trim().to_owned()
}

#[tokio::test]
async fn strangers_are_nobody_where_proxies_speak_with_each_other() {
    let database = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", database.path().join("gatehouse.db").display());
    let mut replicas = Replicas::start(&Plan { controls: 1, proxies: 2, database: url, redis: None }).await;
    let upstream = Upstream::named("ash").await;
    replicas.admin(0).add("ash", &upstream.url()).await;
    let (key, folder) = (replicas.client_key().to_owned(), replicas.folder().to_owned());
    let path = |name: &str| folder.join(name).display().to_string();

    // Another pool's certificate, another plane's for the same pool, control's own, and none at all.
    replicas.control_job(&["certificate", "issue", "--pool", "edge", "--out", &path("edge")]).await;
    replicas.control_job(&["certificate", "authority", "--pki-dir", &path("other")]).await;
    let other = path("other");
    let issue = ["certificate", "issue", "--pki-dir", &other, "--pool", "default", "--out", &path("stranger")];
    replicas.control_job(&issue).await;
    std::fs::create_dir(folder.join("control")).unwrap();
    for file in ["pem", "key"] {
        std::fs::copy(folder.join(format!("pki/control.{file}")), folder.join(format!("control/proxy.{file}")))
            .unwrap();
    }
    let knock = request("GET", "/mcp", &[], "");
    for stranger in [None, Some("edge"), Some("stranger"), Some("control")] {
        let tls = shown(stranger.map(|name| folder.join(name)).as_deref());
        let answered = asked(&replicas, 0, tls, &knock).await;
        assert!(answered.is_err(), "{stranger:?}: {answered:?}");
    }
    std::fs::remove_dir_all(folder.join("control")).unwrap();

    // A proxy of the pool is spoken with, and has to show what its client showed.
    let own = || shown(Some(&folder.join("node")));
    let nodes = [node_of(&replicas, 0).await, node_of(&replicas, 1).await];
    assert!(nodes[0].starts_with("default/") && nodes[0] != nodes[1]);
    let bearer = format!("Bearer {key}");
    let post = [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).to_string();
    let mcp = Mcp::open(&replicas.at(1, "/mcp"), &key).await;
    let with = |more: &[(&'static str, String)]| {
        let mut headers: Vec<(&str, String)> = post.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        headers.push(("mcp-session-id", mcp.session().to_owned()));
        headers.extend(more.iter().cloned());
        headers
    };
    let to = |node: usize| ("gatehouse-to", nodes[node].clone());
    let authorized = ("authorization", bearer.clone());
    for (what, proxy, headers, expected) in [
        ("its owner, authorized", 1, with(&[to(1), authorized.clone()]), 200),
        ("nobody said who asks", 1, with(&[to(1)]), 401),
        (
            "who asks is said in other words",
            1,
            with(&[
                to(1),
                ("gatehouse-principal", "admin".to_owned()),
                ("gatehouse-tenant", "default".to_owned()),
                ("x-forwarded-user", "admin".to_owned()),
            ]),
            401,
        ),
        ("a made-up key", 1, with(&[to(1), ("authorization", "Bearer ghk_live_x".to_owned())]), 401),
        ("another node is meant", 1, with(&[to(0), authorized.clone()]), 421),
        ("no node is meant", 1, with(std::slice::from_ref(&authorized)), 421),
        // The session is kept at 1, and what came to 0 has had its hop.
        ("a second hop", 0, with(&[to(0), authorized.clone()]), 421),
    ] {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answered = eventually(what, || async {
            let answer = asked(&replicas, proxy, own(), &request("POST", "/mcp", &headers, &list)).await.unwrap();
            // Until each has heard of the other, the one serves what it would refuse.
            (answer.0 == expected || expected != 421).then_some(answer)
        })
        .await;
        assert_eq!(answered.0, expected, "{what}: {}", answered.1);
    }
    // Another key's session is unknown there, too.
    let thief = replicas.admin(0).key("client").await;
    let stolen = with(&[to(1), ("authorization", format!("Bearer {thief}"))]);
    let stolen: Vec<(&str, &str)> = stolen.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(asked(&replicas, 1, own(), &request("POST", "/mcp", &stolen, &list)).await.unwrap().0, 404);
    // Nothing but MCP is served there.
    for path in
        ["/livez", "/readyz", "/healthcheck", "/list-remote-proxies", "/.well-known/oauth-protected-resource/mcp"]
    {
        let headers = [("gatehouse-to", nodes[1].as_str()), ("authorization", bearer.as_str())];
        assert_eq!(asked(&replicas, 1, own(), &request("GET", path, &headers, "")).await.unwrap().0, 404, "{path}");
    }
    // And to clients the words of proxies mean nothing.
    let forged = [("authorization", bearer.as_str()), ("gatehouse-to", nodes[0].as_str())];
    let answer = tests::Http::default().send("GET", &replicas.at(1, "/livez"), &forged, "").await.unwrap();
    assert_eq!(answer.status, 200);
}
