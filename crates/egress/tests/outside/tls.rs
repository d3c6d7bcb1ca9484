//! TLS: the certificate must be the original name's, and HTTP/1.1 is what is spoken.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use egress::{Egress, EgressError, Policy, Sent};
use http::Response;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::server::Server;
use crate::world::{World, post, text, upstream};

/// What a client asked for in its handshake: server name and protocol.
type Asked = Arc<Mutex<Vec<(Option<String>, Option<Vec<u8>>)>>>;

/// A server with a certificate for `name`, and a client that trusts it.
async fn certified(name: &str) -> (Server, ClientConfig, Asked) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name.to_owned()]).unwrap();
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    let server = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = signing_key.serialize_der().try_into().unwrap();
    let mut server = server.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let asked = Asked::default();
    let record = Arc::clone(&asked);
    let server = Server::start(move |stream, _| {
        let (acceptor, record) = (acceptor.clone(), Arc::clone(&record));
        async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let session = stream.get_ref().1;
            let protocol = session.alpn_protocol().map(<[u8]>::to_vec);
            record.lock().unwrap().push((session.server_name().map(str::to_owned), protocol));
            let service = service_fn(|_| async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("safe")))) });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        }
    })
    .await;
    (server, client, asked)
}

#[tokio::test]
async fn the_name_of_the_url_is_asked_for_and_checked() {
    let (server, client, asked) = certified("mcp.example.com").await;
    let world = Arc::new(World::routed_to(server.addr));
    let egress = Egress::with(Policy::default(), world.clone(), world.clone(), Some(client));
    for url in ["https://mcp.example.com/", "https://MCP.example.com./"] {
        let upstream = upstream(&egress, url);
        for _ in 0..2 {
            assert_eq!(text(upstream.send(post("/", "x")).await.unwrap()).await.unwrap(), "safe");
        }
    }
    let expected = (Some("mcp.example.com".to_owned()), Some(b"http/1.1".to_vec()));
    assert_eq!(*asked.lock().unwrap(), [expected.clone(), expected], "one handshake for each upstream");
}

#[tokio::test]
async fn another_name_s_certificate_is_refused_and_nothing_is_sent() {
    let (server, client, asked) = certified("mcp.example.com").await;
    let world = Arc::new(World::routed_to(server.addr));
    let egress = Egress::with(Policy::default(), world.clone(), world.clone(), Some(client));
    for url in ["https://other.example.com/", "https://example.com/", "https://8.8.8.8/"] {
        let error = upstream(&egress, url).send(post("/", "secret")).await.err().unwrap();
        assert!(matches!(error, EgressError::Tls(_)), "{url}: {error:?}");
        assert_eq!((error.sent(), error.class()), (Sent::No, "tls"));
    }
    assert!(asked.lock().unwrap().is_empty(), "no handshake came to its end");
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let (server, _, _) = certified("mcp.example.com").await;
    let world = Arc::new(World::routed_to(server.addr));
    let egress = world.egress(Policy::default());
    let error = upstream(&egress, "https://mcp.example.com/").send(post("/", "secret")).await.err().unwrap();
    assert!(matches!(error, EgressError::Tls(_)), "{error:?}");
}
