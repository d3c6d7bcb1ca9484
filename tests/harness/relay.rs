//! A wire between two programs that a test can make slow or cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// Passes bytes on to `target`, after a pause for each piece from the client's side.
pub struct Relay {
    address: SocketAddr,
    pause_ms: Arc<AtomicU64>,
    accepting: AbortHandle,
}

impl Relay {
    /// Listens on a free port and passes on at once.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let pause_ms = Arc::new(AtomicU64::new(0));
        let pause = pause_ms.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let pause = pause.clone();
                tokio::spawn(async move {
                    #[allow(clippy::disallowed_methods, reason = "the wire itself, between programs of this machine")]
                    let server = TcpStream::connect(target).await;
                    // A side that goes away ends the other.
                    let Ok(server) = server else { return };
                    let (client_in, client_out) = client.into_split();
                    let (server_in, server_out) = server.into_split();
                    tokio::select! {
                        () = pass(client_in, server_out, Some(pause)) => (),
                        () = pass(server_in, client_out, None) => (),
                    }
                });
            }
        })
        .abort_handle();
        Self { address, pause_ms, accepting }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on each piece that a client sends waits so long.
    pub fn slow(&self, pause: Duration) {
        self.pause_ms.store(u64::try_from(pause.as_millis()).expect("no geological pause"), Ordering::Relaxed);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    pause: Option<Arc<AtomicU64>>,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let pause = pause.as_ref().map_or(0, |pause| pause.load(Ordering::Relaxed));
        if pause > 0 {
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
