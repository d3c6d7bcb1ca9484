//! From an address to a connected socket.

use std::io;
use std::net::SocketAddr;

use futures::future::{BoxFuture, FutureExt};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpSocket, TcpStream};

use crate::Socket;

/// A connected socket, and what it is connected to.
pub struct Dialed {
    /// Bytes in and out.
    pub socket: Socket,
    /// The peer as the socket reports it: must be the address that was judged.
    pub peer: SocketAddr,
    /// Our end. Equal to the peer's address, the connection goes to this machine.
    pub local: Option<SocketAddr>,
}

/// Opens connections.
pub trait Dialer: Send + Sync + 'static {
    /// Connects to exactly this address. May take as long as it likes: the caller has a limit.
    fn dial(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Dialed>>;
}

/// TCP of the operating system, with `TCP_NODELAY` and keepalive.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemDialer;

impl Dialer for SystemDialer {
    fn dial(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Dialed>> {
        async move {
            let stream = connect(addr).await?;
            let (peer, local) = (stream.peer_addr()?, stream.local_addr().ok());
            Ok(Dialed { socket: Socket::Tcp(stream), peer, local })
        }
        .boxed()
    }
}

/// A TCP connection; a peer that vanished without a word is noticed within two minutes.
async fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_nodelay(true)?;
    socket.set_keepalive(true)?;
    setsockopt(&socket, sockopt::TcpKeepIdle, &60)?;
    setsockopt(&socket, sockopt::TcpKeepInterval, &15)?;
    setsockopt(&socket, sockopt::TcpKeepCount, &4)?;
    socket.connect(addr).await
}
