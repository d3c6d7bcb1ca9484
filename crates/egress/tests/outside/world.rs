//! A world in which nothing is real but the record of what was dialled.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use egress::{Body, Dialed, Dialer, Egress, EgressError, Limits, Policy, Refusal, Resolver, SystemDialer, Upstream};
use futures::future::{BoxFuture, FutureExt};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use model::TenantId;
use url::Url;
use uuid::Uuid;

/// Where names lead that the world doesn't know.
pub(crate) const PUBLIC: &str = "93.184.215.14";

pub(crate) fn tenant() -> TenantId {
    TenantId(Uuid::from_u128(1))
}

#[derive(Default)]
pub(crate) struct World {
    /// Answers of the resolver by name, one after the other; the last one stays.
    answers: Mutex<HashMap<String, Vec<Vec<IpAddr>>>>,
    resolved: Mutex<Vec<String>>,
    dialled: Mutex<Vec<SocketAddr>>,
    /// Where all connections really go; without it they are refused.
    route: Option<SocketAddr>,
    /// The peer that sockets claim to have, if not the one that was asked for.
    pub(crate) claimed_peer: Option<SocketAddr>,
}

impl World {
    pub(crate) fn routed_to(real: SocketAddr) -> Self {
        Self { route: Some(real), ..Self::default() }
    }

    pub(crate) fn answer(self, name: &str, answers: &[&[&str]]) -> Self {
        let parsed = answers.iter().map(|one| one.iter().map(|ip| ip.parse().unwrap()).collect()).collect();
        self.answers.lock().unwrap().insert(name.to_owned(), parsed);
        self
    }

    pub(crate) fn dialled(&self) -> Vec<SocketAddr> {
        self.dialled.lock().unwrap().clone()
    }

    pub(crate) fn resolved(&self) -> Vec<String> {
        self.resolved.lock().unwrap().clone()
    }

    pub(crate) fn egress(self: &Arc<Self>, policy: Policy) -> Egress {
        Egress::with(policy, self.clone(), self.clone(), None)
    }
}

// A newtype isn't needed: the traits are foreign, the type is ours.
impl Resolver for World {
    fn resolve(&self, host: String, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let mut answers = self.answers.lock().unwrap();
        let addresses = match answers.get_mut(&host) {
            Some(list) if list.len() > 1 => list.remove(0),
            Some(list) => list[0].clone(),
            None => vec![PUBLIC.parse().unwrap()],
        };
        self.resolved.lock().unwrap().push(host);
        let addresses = addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
        async move { Ok(addresses) }.boxed()
    }
}

impl Dialer for World {
    fn dial(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Dialed>> {
        self.dialled.lock().unwrap().push(addr);
        let (route, peer) = (self.route, self.claimed_peer.unwrap_or(addr));
        async move {
            let real = route.ok_or(io::ErrorKind::ConnectionRefused)?;
            let dialed = SystemDialer.dial(real).await?;
            Ok(Dialed { peer, local: None, ..dialed })
        }
        .boxed()
    }
}

pub(crate) fn limits() -> Limits {
    Limits { connect: Duration::from_secs(20), first_byte: Duration::from_secs(20), idle_connections: 64 }
}

pub(crate) fn dev() -> Policy {
    Policy { dev: true, ..Policy::default() }
}

pub(crate) fn upstream(egress: &Egress, url: &str) -> Upstream {
    egress.upstream(tenant(), &Url::parse(url).unwrap(), limits()).unwrap()
}

pub(crate) fn post(path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(path).body(Full::new(body.into())).unwrap()
}

pub(crate) async fn text(response: Response<Body>) -> Result<String, EgressError> {
    let bytes = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}

/// Tries to reach a URL: `Err` if the policy refused it, and then nothing was dialled; `Ok` if it was dialled.
pub(crate) async fn reach(world: &Arc<World>, policy: Policy, url: &str) -> Result<(), Refusal> {
    let before = world.dialled().len();
    let egress = world.egress(policy);
    let parsed = Url::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
    let refusal = match egress.upstream(tenant(), &parsed, limits()) {
        Err(refusal) => refusal,
        Ok(upstream) => match upstream.send(post("/", "")).await.map(drop) {
            Err(EgressError::Blocked(refusal)) => refusal,
            Err(EgressError::Refused) if world.dialled().len() > before => return Ok(()),
            other => panic!("{url}: {other:?}"),
        },
    };
    assert_eq!(world.dialled().len(), before, "{url} was dialled though refused");
    Err(refusal)
}
