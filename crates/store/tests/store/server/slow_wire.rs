//! A way to a server on which every answer can be made late.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Forwards connections; ends with the test's runtime.
pub(crate) struct SlowWire {
    pub(crate) address: SocketAddr,
    late: Arc<AtomicU64>,
}

impl SlowWire {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, late) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
        let shared = late.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, server, shared.clone()));
            }
        });
        Self { address, late }
    }

    /// From now on every piece of an answer is this late.
    pub(crate) fn be_late(&self, by: Duration) {
        self.late.store(by.as_millis() as u64, Ordering::Relaxed);
    }
}

async fn forward(client: TcpStream, server: SocketAddr, late: Arc<AtomicU64>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let asked = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
    });
    let mut piece = vec![0; 1 << 16];
    while let Ok(bytes @ 1..) = from_server.read(&mut piece).await {
        tokio::time::sleep(Duration::from_millis(late.load(Ordering::Relaxed))).await;
        if to_client.write_all(&piece[..bytes]).await.is_err() {
            break;
        }
    }
    asked.abort();
}
