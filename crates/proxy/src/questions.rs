//! Requests of upstreams to clients (elicitation, sampling, roots) that wait for an answer: under an id of this node's, and
//! for the session that was asked and nobody else.
//!
//! A question that comes in the course of a call goes out on that call's own stream and waits no longer than the call. One
//! that belongs to no call goes to one open GET stream of the same subject. [`words`] is what all of them look like.

pub(crate) mod asking;
mod outside;
pub(crate) mod words;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use mcp::{Span, write};
use model::Subject;
use tokio::sync::oneshot;
use tokio::time::Instant;

pub(crate) use self::asking::{Answer, Asking, ClientSide, Unasked};
pub(crate) use self::outside::Heard;
pub(crate) use self::words::node_in;
use crate::asked::Asked;
use crate::credentials::Part;
use crate::gate::Gate;
use crate::session::{NodeTag, Scope, Session, Uid};
use crate::table::Mount;
use crate::upstream::{Connected, Failure};

/// Most questions that wait in this process.
pub(crate) const WAITING: usize = 10_000;
/// Most questions that wait for one session.
const OF_SESSION: usize = 64;

/// The questions that wait for clients.
pub(crate) struct Questions {
    node: AtomicU64,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, Waiting>>,
}

/// A question that was put to a client.
struct Waiting {
    uid: Uid,
    subject: Subject,
    to: To,
    until: Instant,
}

/// Where its answer goes.
enum To {
    /// To the upstream that asked.
    Upstream(Inquirer),
    /// To who asks in the gateway itself.
    Here(oneshot::Sender<Answer>),
}

/// An upstream that asked, and how.
#[derive(Clone)]
pub(crate) struct Inquirer {
    /// Weak: a question keeps no mount alive.
    mount: Weak<Mount>,
    connected: Connected,
    /// As whom the session with it was opened.
    part: Part,
    /// The id that it gave the question, raw JSON.
    id: Bytes,
    /// The token under which it wants to hear of progress, raw JSON.
    token: Option<Bytes>,
}

/// The place of a question that waits as long as a call; given back on drop.
pub(crate) struct Question {
    questions: Arc<Questions>,
    number: u64,
    /// The id that the client knows, raw JSON.
    pub(crate) id: String,
    /// The id that the upstream gave it, raw JSON.
    pub(crate) theirs: Bytes,
    /// It waits on, up to its deadline.
    stays: bool,
}

impl Question {
    /// The call on whose stream it went out is over, and it may be another's.
    pub(crate) fn stay(mut self) {
        self.stays = true;
    }

    /// Whether nobody has answered it yet.
    pub(crate) fn waits(&self) -> bool {
        self.questions.waiting().contains_key(&self.number)
    }
}

impl Default for Questions {
    fn default() -> Self {
        // A number that no earlier process has used: a late answer must not be taken for one to a question of ours.
        let (first, _) = uuid::Uuid::new_v4().as_u64_pair();
        Self { node: AtomicU64::new(0), next: AtomicU64::new(first), waiting: Mutex::default() }
    }
}

impl Questions {
    /// The node that ids name from here on.
    pub(crate) fn of_node(&self, node: NodeTag) {
        self.node.store(u64::from_be_bytes(node.0), Ordering::Relaxed);
    }

    fn node(&self) -> NodeTag {
        NodeTag(self.node.load(Ordering::Relaxed).to_be_bytes())
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting().len()
    }

    /// A place for one more question, and the id that the client is to know; `None` if too many wait.
    fn put(&self, waiting: Waiting) -> Option<(u64, String)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut all = self.waiting();
        let of_session = || all.values().filter(|other| other.uid == waiting.uid).count();
        if all.len() >= WAITING || of_session() >= OF_SESSION {
            return None;
        }
        all.insert(number, waiting);
        Some((number, words::id(self.node(), number)))
    }

    /// The question with this id, if it waits for this session; it waits no more.
    fn take(&self, session: &Session, id: &[u8]) -> Option<Waiting> {
        let number = self.number(id)?;
        let mut all = self.waiting();
        all.get(&number).filter(|waiting| waiting.is_for(session))?;
        all.remove(&number)
    }

    /// Who asked the question with this id, if it waits for this session.
    fn inquirer(&self, session: &Session, id: &[u8]) -> Option<Inquirer> {
        let number = self.number(id)?;
        let all = self.waiting();
        match &all.get(&number).filter(|waiting| waiting.is_for(session))?.to {
            To::Upstream(inquirer) => Some(inquirer.clone()),
            To::Here(_) => None,
        }
    }

    fn number(&self, id: &[u8]) -> Option<u64> {
        words::parse(id).filter(|(node, _)| *node == self.node()).map(|(_, number)| number)
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells upstreams whose questions waited too long. Called every now and then.
    pub(crate) fn tidy(&self) {
        let now = Instant::now();
        self.give_up(|waiting| waiting.until <= now);
    }

    /// A session has ended: nobody answers for it any more.
    pub(crate) fn forget(&self, uid: Uid) {
        self.give_up(|waiting| waiting.uid == uid);
    }

    fn give_up(&self, goes: impl Fn(&Waiting) -> bool) {
        let gone: Vec<Waiting> = {
            let mut all = self.waiting();
            if all.is_empty() {
                return;
            }
            let numbers: Vec<u64> =
                all.iter().filter(|(_, waiting)| goes(waiting)).map(|(number, _)| *number).collect();
            numbers.iter().filter_map(|number| all.remove(number)).collect()
        };
        for waiting in gone {
            if let To::Upstream(inquirer) = waiting.to {
                inquirer.refuse("the client gave no answer");
            }
        }
    }
}

impl Waiting {
    fn is_for(&self, session: &Session) -> bool {
        self.uid == session.uid && self.subject == session.subject
    }
}

impl Inquirer {
    /// Says why there is no answer; nobody waits for that to arrive.
    fn refuse(self, why: &'static str) {
        let Some(mount) = self.mount.upgrade() else { return };
        let Some(place) = mount.refusal() else { return };
        let body = write::error(Some(&self.id), -32603, why, None);
        tokio::spawn(async move {
            let _place = place;
            told(&mount, self.connected.tell(&mount, &http::HeaderMap::new(), body).await);
        });
    }
}

fn told(mount: &Mount, told: Result<(), Failure>) {
    if let Err(failure) = told {
        tracing::debug!(server = mount.name(), class = failure.class(), "an upstream's question could not be answered");
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if !self.stays {
            self.questions.waiting().remove(&self.number);
        }
    }
}

impl Gate {
    /// The client of a session, as the answers that stream to it know it.
    pub(crate) fn client_side(&self, session: &Session) -> ClientSide {
        ClientSide {
            questions: self.questions.clone(),
            events: self.events.clone(),
            uid: session.uid,
            subject: session.subject,
            client: session.client(),
            several: !matches!(session.scope, Scope::Server { .. }),
        }
    }

    /// A client answers a question. Answers to nothing, and to what was put to another session, are dropped.
    pub(crate) async fn answered_by_client(&self, asked: &Asked<'_>) {
        let Some(waiting) = self.questions.take(asked.session, &asked.id) else {
            return tracing::debug!(session = ?asked.session.uid, "an answer to no question");
        };
        let cut = |span: Span| asked.message.slice(span.start()..span.end());
        let answer = match (asked.envelope.result, asked.envelope.error) {
            (Some(result), _) => Ok(cut(result)),
            (None, Some(error)) => Err(cut(error)),
            (None, None) => return,
        };
        match waiting.to {
            // Whoever asked may have left.
            To::Here(inquirer) => _ = inquirer.send(answer),
            To::Upstream(inquirer) => {
                let body = match &answer {
                    Ok(result) => write::result(&inquirer.id, result),
                    Err(error) => write::raw_error(&inquirer.id, error),
                };
                self.pass_to(asked, inquirer, body).await;
            }
        }
    }

    /// A client tells how far it is with a question.
    pub(crate) async fn progress_of_client(&self, asked: &Asked<'_>) {
        let Some(params) = asked.params() else { return };
        let Some(span) = params.progress_token_here else { return };
        let inquirer = self.questions.inquirer(asked.session, span.of(asked.message));
        let Some((inquirer, token)) = inquirer.and_then(|inquirer| Some((inquirer.clone(), inquirer.token?))) else {
            return;
        };
        let patch = [write::Patch { span, with: &token }];
        let body = write::notification(asked.method(), asked.message, Some(params.all), &patch);
        self.pass_to(asked, inquirer, body).await;
    }

    /// Posts what a client said to the upstream that asked it, with what the client's user bears there now. It goes on if
    /// the client does not wait for it.
    async fn pass_to(&self, asked: &Asked<'_>, inquirer: Inquirer, body: Bytes) {
        let Some(mount) = inquirer.mount.upgrade() else { return };
        let (name, credentials, behalf) = (mount.clone(), self.credentials().clone(), asked.behalf());
        let posting = async move {
            let mut bearing = credentials.bearing(&mount, &behalf).await?;
            // Somebody has put another credential in place: the session that asked is not this one's.
            if !bearing.part.is(&inquirer.part) {
                return Err(Failure::SessionLost);
            }
            loop {
                let connected = inquirer.connected.bearing(bearing.lines.as_ref());
                match connected.tell(&mount, &http::HeaderMap::new(), body.clone()).await {
                    Err(failure @ Failure::Unauthorized(_)) => {
                        credentials.renewed(&mount, &behalf, &mut bearing, failure).await?;
                    }
                    told => return told,
                }
            }
        };
        // Nobody else knows of the answer any more: it must not be lost with the client's connection.
        let posted = tokio::spawn(async move { told(&name, posting.await) });
        _ = posted.await;
    }

    /// A client's roots have changed: the upstreams that its subject has sessions with hear of it.
    pub(crate) async fn roots_changed(&self, asked: &Asked<'_>) {
        if !asked.session.capabilities.has_roots() {
            return;
        }
        let all = asked.params().map(|params| params.all);
        let body = write::notification(asked.method(), asked.message, all, &[]);
        if let Scope::Server { server, .. } = &asked.session.scope {
            let mount = asked.who.mounts().find(|mount| mount.spec.id == *server).cloned();
            if let Some(mount) = mount {
                self.notify(asked, &mount, body).await;
            }
            return;
        }
        let telling = asked.who.mounts().map(async |mount| {
            let Ok(bearing) = self.credentials().bearing(mount, &asked.behalf()).await else { return };
            let Some(opened) = self.sessions.known(mount, &asked.behalf(), bearing.part).await else { return };
            let connected = opened.connected.bearing(bearing.lines.as_ref());
            told(mount, connected.tell(mount, asked.passed, body.clone()).await);
        });
        futures::future::join_all(telling).await;
    }
}
