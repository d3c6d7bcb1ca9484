//! TLS on the listeners that people and MCP clients come to, with certificates that are replaced on the way.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tests::gatehouse::{Plane, executable};
use tests::{Gatehouse, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Writes a new certificate for `localhost`, the key first, and returns it.
pub(crate) fn write_certificate(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("tls.crt"), made.cert.pem()).unwrap();
    CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).unwrap()
}

/// The status line of `GET path` over TLS from whoever has this certificate.
async fn status(address: &str, trusted: &CertificateDer<'static>, path: &str) -> std::io::Result<String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    #[expect(clippy::disallowed_methods, reason = "a client of the listener is no client of egress")]
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_listener_serves_tls_and_takes_a_replaced_certificate_without_a_restart() {
    for plane in [Plane::Control, Plane::Proxy] {
        let mut house = Gatehouse::plan().no_restart().start().await;
        let base = if plane == Plane::Control { house.control().to_owned() } else { house.proxy() };
        let address = base.trim_start_matches("http://").to_owned();
        house.kill(plane).await;

        let folder = tempfile::tempdir().unwrap();
        let first = write_certificate(folder.path());
        let path = |file: &str| folder.path().join(file).display().to_string();
        let env = [
            ("GATEHOUSE_TLS_CERT".to_owned(), path("tls.crt")),
            ("GATEHOUSE_TLS_KEY".to_owned(), path("tls.key")),
            ("GATEHOUSE_TIME_SCALE".to_owned(), "20".to_owned()),
        ];
        house.start_alone(plane, &env);
        if plane == Plane::Control {
            let status = async |trusting: &[&str]| {
                let mut command = tokio::process::Command::new(executable("gatehouse"));
                let url = format!("https://localhost:{}", address.rsplit(':').next().unwrap());
                let asked = command.args(["status", "--url", &url]).args(trusting).env_remove("GATEHOUSE_KEY");
                let output = asked.env("GATEHOUSE_HOME", folder.path().join("none")).output().await.unwrap();
                (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
            };
            let trusting = path("tls.crt");
            eventually("the command trusts whom it is told to", || async {
                (status(&["--ca-file", &trusting]).await.0 == 0).then_some(())
            })
            .await;
            let (code, told) = status(&[]).await;
            assert!(code == 5 && told.contains("certificate"), "{told}");
        }
        let served = |trusted: CertificateDer<'static>| {
            let address = address.clone();
            async move { (status(&address, &trusted, "/livez").await.ok()? == "HTTP/1.1 200 OK").then_some(()) }
        };
        eventually("it serves under the first certificate", || served(first.clone())).await;
        assert!(!Gatehouse::answers(&base, "/livez").await, "no plain text under TLS");

        // The program's own health check needs no certificate.
        let program = executable(&format!("gatehouse-{}", plane.word()));
        let config = house.dir().join(format!("{}.toml", plane.word()));
        eventually("it calls itself healthy", || async {
            let mut health = tokio::process::Command::new(&program);
            let asked = health.arg("--config").arg(&config).arg("health").envs(env.clone()).output().await.unwrap();
            asked.status.success().then_some(())
        })
        .await;

        std::fs::write(folder.path().join("tls.crt"), "no certificate").unwrap();
        assert!(served(first.clone()).await.is_some(), "what is broken is not taken");
        let second = write_certificate(folder.path());
        eventually("it serves under the second certificate", || served(second.clone())).await;
        assert!(served(first).await.is_none());
    }
}
