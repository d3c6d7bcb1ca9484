//! A new connection: judge, resolve, judge every address, dial a judged one, compare the peer, TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use model::TenantId;
use rustls::ClientConfig;
use tokio::time::{Instant, timeout, timeout_at};
use url::{Host, Url};

use crate::live::Live;
use crate::resolve::RESOLVE_LIMIT;
use crate::{Dialed, EgressError, Policy, Refusal, Shared, tls};

/// Addresses of one name that are tried. All of them are judged.
const ATTEMPTS: usize = 8;

/// Where a tenant's upstream is.
pub(crate) struct Destination {
    pub(crate) tenant: TenantId,
    pub(crate) url: Url,
    /// Without the trailing dot of an absolute name.
    pub(crate) host: Host<String>,
    pub(crate) port: u16,
    pub(crate) https: bool,
    /// Its own TLS settings; `None` for everybody's.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// Connects within `limit`, which covers resolving, dialling and TLS together.
pub(crate) async fn connect(shared: &Shared, to: &Destination, limit: Duration) -> Result<Box<Live>, EgressError> {
    // One policy for the whole way: what is judged here is what the connection is marked with.
    let policy = shared.policy.load_full();
    policy.check_url(to.tenant, &to.url)?;
    let deadline = Instant::now() + limit;
    let addresses = resolve(shared, to, deadline).await?;
    for addr in &addresses {
        judge(&policy, to, *addr)?;
    }
    let dialed = dial(shared, &policy, &addresses, deadline).await?;
    let mut socket = dialed.socket;
    if to.https {
        let config = to.tls.clone().or_else(|| shared.tls.clone());
        let config = config.ok_or_else(|| EgressError::Tls(std::io::ErrorKind::Unsupported.into()))?;
        let shaken = timeout_at(deadline, tls::handshake(config, &to.host, socket)).await;
        socket = shaken.map_err(|_| EgressError::ConnectTimeout)??;
    }
    Live::start(socket, policy.revision).await
}

async fn resolve(shared: &Shared, to: &Destination, deadline: Instant) -> Result<Vec<SocketAddr>, EgressError> {
    let name = match &to.host {
        Host::Ipv4(ip) => return Ok(vec![SocketAddr::new((*ip).into(), to.port)]),
        Host::Ipv6(ip) => return Ok(vec![SocketAddr::new((*ip).into(), to.port)]),
        Host::Domain(name) => name.clone(),
    };
    let deadline = deadline.min(Instant::now() + RESOLVE_LIMIT);
    match timeout_at(deadline, shared.resolver.resolve(name, to.port)).await {
        Ok(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
        failed => {
            tracing::debug!(host = %to.host, ?failed, "outgoing name not resolved");
            Err(EgressError::Resolve)
        }
    }
}

/// One address that may not be reached refuses the whole name: which one is dialled is the resolver's choice.
fn judge(policy: &Policy, to: &Destination, addr: SocketAddr) -> Result<(), EgressError> {
    let host = match &to.host {
        Host::Domain(name) => name.as_str(),
        Host::Ipv4(_) | Host::Ipv6(_) => "",
    };
    // A resolver that answers for another port than it was asked for answers something else.
    let checked =
        if addr.port() == to.port { policy.check_address(to.tenant, host, addr, to.https) } else { Err(Refusal::Port) };
    checked.map_err(|refusal| {
        // The only place where the address is told: the platform's log.
        tracing::warn!(tenant = %to.tenant, host = %to.host, %addr, ?refusal, "outgoing address blocked");
        EgressError::Blocked(refusal)
    })
}

/// Tries the addresses in order; each gets an equal share of the time that is left.
async fn dial(
    shared: &Shared,
    policy: &Policy,
    addresses: &[SocketAddr],
    deadline: Instant,
) -> Result<Dialed, EgressError> {
    let mut last = EgressError::Resolve;
    let tried = addresses.len().min(ATTEMPTS);
    for (done, addr) in addresses.iter().take(tried).enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(tried - done).unwrap_or(1);
        last = match timeout(share, shared.dialer.dial(*addr)).await {
            Ok(Ok(dialed)) => return verified(policy, *addr, dialed),
            Ok(Err(error)) => {
                tracing::debug!(%addr, %error, "outgoing connection failed");
                EgressError::from_dial(&error)
            }
            Err(_) => EgressError::ConnectTimeout,
        };
    }
    Err(last)
}

/// Nothing is sent before the peer is known to be the address that was judged.
fn verified(policy: &Policy, addr: SocketAddr, dialed: Dialed) -> Result<Dialed, EgressError> {
    if (dialed.peer.ip(), dialed.peer.port()) != (addr.ip(), addr.port()) {
        return Err(Refusal::Address.into());
    }
    // Both ends on this machine, and a listener of ours on that port of every interface.
    let ours = policy.own.iter().any(|own| own.ip().is_unspecified() && own.port() == addr.port());
    if ours && dialed.local.is_some_and(|local| local.ip() == dialed.peer.ip()) {
        return Err(Refusal::OwnListener.into());
    }
    Ok(dialed)
}
