//! A control that accepts streams and lets the test speak on them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use model::{Digest, Resource, ResourceName, Revision};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use wire::frame::{
    ControlFrame, ProxyFrame, ReportAnswerFrame, ReportFrame, ResolveAnswerFrame, ResolveFrame, SealingKeysAnswerFrame,
    SealingKeysFrame,
};
use wire::server::{Link, LinkServer};
use wire::{
    Answer, Command, CommandAnswer, FleetKeys, FromControl, FromProxy, Heartbeat, Hello, Joiner, Outcome, Push,
    PushHead, Resolved, SealingKey, Work,
};

use super::PATIENCE;

pub(super) struct Control {
    /// The files that a proxy is configured with.
    pub(super) dir: TempDir,
    address: String,
    streams: Mutex<mpsc::Receiver<Attached>>,
    attached: Arc<AtomicUsize>,
    /// How many of the next fetches of sealing keys fail.
    pub(super) failing_keys: Arc<AtomicUsize>,
}

/// One stream of a proxy.
pub(super) struct Attached {
    pub(super) hello: Hello,
    incoming: Streaming<ProxyFrame>,
    outgoing: mpsc::Sender<Result<ControlFrame, Status>>,
    nonce: u64,
    joiner: Joiner,
}

impl Control {
    pub(super) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (ca, cert, key) = certificates(&dir);
        let tls = wire::server_tls(&ca, &cert, &key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (accepted, streams) = mpsc::channel(16);
        let attached = Arc::new(AtomicUsize::new(0));
        let failing_keys = Arc::new(AtomicUsize::new(0));
        let service = Service { accepted, attached: attached.clone(), failing_keys: failing_keys.clone() };
        let service = LinkServer::new(service).max_decoding_message_size(wire::MESSAGE_LIMIT);
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(wire::incoming(listener, watch::channel(Arc::new(tls)).1)));
        Self { dir, address, streams: Mutex::new(streams), attached, failing_keys }
    }

    pub(super) fn address(&self) -> String {
        self.address.clone()
    }

    /// How many streams ever came.
    pub(super) fn attached(&self) -> usize {
        self.attached.load(Ordering::SeqCst)
    }

    /// The next stream that a proxy opens.
    pub(super) async fn accept(&self) -> Attached {
        let mut streams = self.streams.lock().await;
        tokio::time::timeout(PATIENCE, streams.recv()).await.expect("no proxy came").unwrap()
    }
}

impl Attached {
    /// Sends a push and waits for its answer.
    pub(super) async fn push(
        &mut self,
        revision: Revision,
        snapshot: bool,
        urgent: bool,
        upserts: &[Resource],
        removes: Vec<ResourceName>,
    ) -> Answer {
        self.send_push(revision, snapshot, urgent, upserts, removes);
        let answer = self.wait(|message| match message {
            FromProxy::Answer(answer) => Some(answer),
            _ => None,
        });
        let answer = answer.await;
        assert_eq!(answer.nonce, self.nonce);
        answer
    }

    pub(super) fn send_push(
        &mut self,
        revision: Revision,
        snapshot: bool,
        urgent: bool,
        upserts: &[Resource],
        removes: Vec<ResourceName>,
    ) {
        self.nonce += 1;
        let head = PushHead { nonce: self.nonce, revision, snapshot, urgent };
        for frame in Push::split(head, upserts.iter(), removes) {
            self.outgoing.try_send(Ok(frame)).unwrap();
        }
    }

    pub(super) fn command(&self, id: u64, deadline: Duration, work: Work) {
        let command = Command { id, ticket: String::new(), deadline, traceparent: None, work };
        self.outgoing.try_send(Ok(FromControl::Command(command).into())).unwrap();
    }

    /// Says who the proxies of the pool are.
    pub(super) fn peers(&self, peers: Vec<wire::Peer>) {
        self.outgoing.try_send(Ok(FromControl::Peers(peers).into())).unwrap();
    }

    /// Says what control believes of the table.
    pub(super) fn heartbeat(&self, revision: Revision, digest: Digest, sealing_key: u32) {
        let heartbeat = FromControl::Heartbeat(Heartbeat { revision, digest, sealing_key });
        self.outgoing.try_send(Ok(heartbeat.into())).unwrap();
    }

    pub(super) async fn outcome(&mut self, expected: u64) -> Outcome {
        self.wait(|message| match message {
            FromProxy::Command(CommandAnswer { id, outcome }) if id == expected => Some(outcome),
            _ => None,
        })
        .await
    }

    /// The next message of the wanted kind.
    pub(super) async fn wait<T>(&mut self, mut wanted: impl FnMut(FromProxy) -> Option<T>) -> T {
        let found = async {
            loop {
                let message = self.next().await.expect("the stream ended");
                if let Some(found) = wanted(message) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.expect("it never came")
    }

    /// The next message; `None` after the proxy has ended the stream.
    pub(super) async fn next(&mut self) -> Option<FromProxy> {
        loop {
            let frame = self.incoming.message().await.unwrap()?;
            match self.joiner.take(frame).unwrap() {
                // They come at any time; who wants one sees the first, which comes at once.
                Some(FromProxy::Heartbeat(_)) if self.nonce > 0 => (),
                Some(message) => return Some(message),
                None => (),
            }
        }
    }

    /// Breaks the stream.
    pub(super) fn end(self) {
        _ = self.outgoing.try_send(Err(Status::unavailable("the test ends this stream")));
    }
}

struct Service {
    accepted: mpsc::Sender<Attached>,
    attached: Arc<AtomicUsize>,
    failing_keys: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl Link for Service {
    type AttachStream = ReceiverStream<Result<ControlFrame, Status>>;

    async fn attach(&self, request: Request<Streaming<ProxyFrame>>) -> Result<Response<Self::AttachStream>, Status> {
        self.attached.fetch_add(1, Ordering::SeqCst);
        let mut incoming = request.into_inner();
        let first = incoming.message().await?.map(|frame| FromProxy::try_from(frame).unwrap());
        let Some(FromProxy::Hello(hello)) = first else { panic!("{first:?}") };
        let (outgoing, answers) = mpsc::channel(256);
        self.accepted.send(Attached { hello, incoming, outgoing, nonce: 0, joiner: Joiner::default() }).await.unwrap();
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    async fn sealing_keys(&self, _: Request<SealingKeysFrame>) -> Result<Response<SealingKeysAnswerFrame>, Status> {
        let one_less = |left: usize| left.checked_sub(1);
        if self.failing_keys.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok() {
            return Err(Status::unavailable("not now"));
        }
        let keys = FleetKeys { current: SealingKey { id: 1, key: [9; 32] }, previous: None };
        Ok(Response::new((&keys).into()))
    }

    async fn resolve(&self, _: Request<ResolveFrame>) -> Result<Response<ResolveAnswerFrame>, Status> {
        Ok(Response::new((&Resolved::NoConnection).into()))
    }

    async fn report(&self, _: Request<ReportFrame>) -> Result<Response<ReportAnswerFrame>, Status> {
        Err(Status::unimplemented("not in this test"))
    }
}

/// A CA of its own with one certificate for each side; answers what the server needs.
fn certificates(dir: &TempDir) -> (String, String, String) {
    let ca_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).unwrap().pem();
    let issuer = Issuer::new(params, ca_key);
    let leaf = |names: Vec<String>, purpose| {
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
    };
    let (cert, key) = leaf(vec![wire::CONTROL_NAME.to_owned()], ExtendedKeyUsagePurpose::ServerAuth);
    let (proxy_cert, proxy_key) = leaf(vec![], ExtendedKeyUsagePurpose::ClientAuth);
    for (name, text) in [("ca.pem", &ca), ("proxy.pem", &proxy_cert), ("proxy.key", &proxy_key)] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    (ca, cert, key)
}
