//! The credentials that callers use servers with: which connection serves whom, what it becomes for a request, and what
//! follows when an upstream refuses it.
//!
//! A request of a caller becomes a [`Bearing`]: the part of the server that is the caller's, and header lines. They come
//! from the one [`Cache`], or from control, asked once for all who wait, with evidence that a live caller stands behind
//! the question. The table says which connection serves and which token is the newest; no older one is used.

mod cache;
mod certificates;
mod denial;
mod lines;
mod part;
mod shown;
mod verdicts;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use egress::Egress;
use futures::future::BoxFuture;
use model::{Clock, ConnectionStatus, Principal};
use tokio::sync::{Semaphore, watch};
use wire::{HeaderLines, ResolveQuestion, Resolved, Verdict};

use self::cache::{Cache, Key, Known};
use self::certificates::Certificates;
pub(crate) use self::denial::NoCredential;
pub(crate) use self::lines::Lines;
pub(crate) use self::part::{Part, Served, Unserved, departments, served};
use self::shown::About;
pub(crate) use self::shown::{Showing, Shown};
use self::verdicts::Verdicts;
use crate::client::Client;
use crate::hub::Hub;
use crate::principal::{Authenticated, Caller};
use crate::table::{Mount, Table, Tables, Touched};
use crate::timers::scaled;
use crate::upstream::{Failure, Refusal};
use crate::upstream_sessions::Fill;

/// Questions that wait for control at once; more wait for a place.
const QUESTIONS: usize = 64;
/// How long control may take to answer one, the place included.
const ANSWER: Duration = Duration::from_secs(10);
/// How often control is told which header lines upstreams took.
const REPORT: Duration = Duration::from_secs(60);
/// Most verdicts of one report.
const VERDICTS: usize = 1000;

/// Control, as far as credentials are asked of it.
pub trait Control: Send + Sync + 'static {
    /// Under which name it knows us.
    fn node(&self) -> String;
    /// Asks for header lines.
    fn resolve(&self, question: ResolveQuestion) -> BoxFuture<'_, Result<Resolved, ControlError>>;
    /// Tells what upstreams said to them.
    fn report(&self, verdicts: Vec<Verdict>) -> BoxFuture<'_, Result<(), ControlError>>;
}

/// Control gave no answer to a question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// It can't be reached, or can't do it now.
    #[error("control does not answer: {0}")]
    Away(String),
    /// It does not believe the question.
    #[error("control refuses: {0}")]
    Refused(String),
}

/// All credentials of a process.
pub(crate) struct Credentials {
    /// Absent where nobody can be asked.
    control: OnceLock<Arc<dyn Control>>,
    tables: Arc<Tables>,
    clock: Arc<dyn Clock>,
    egress: Egress,
    cache: Cache,
    certificates: Certificates,
    questions: Semaphore,
    verdicts: Verdicts,
    /// Counts changes by which a connection has ended, whose sessions must end too.
    ended: watch::Sender<u64>,
}

/// Finds the lines of a part later, if they are still there.
pub(crate) struct Finder {
    credentials: Arc<Credentials>,
    key: Key,
}

impl Finder {
    /// The lines, if they may be used now.
    pub(crate) fn find(&self) -> Option<Arc<Lines>> {
        self.credentials.cache.peek(&self.key)
    }
}

/// What a request bears to an upstream.
#[derive(Clone, Default)]
pub(crate) struct Bearing {
    pub(crate) part: Part,
    /// `None` where the server takes no credential.
    pub(crate) lines: Option<Arc<Lines>>,
    /// Another token was tried already.
    renewed: bool,
}

impl Bearing {
    /// Nothing, as somebody of this part.
    pub(crate) fn nothing_as(part: Part) -> Self {
        Self { part, ..Self::default() }
    }
}

/// Who asks for what.
#[derive(Clone)]
pub(crate) struct Behalf {
    /// `None` for what control asks on its own.
    pub(crate) caller: Option<Caller>,
    /// What the client can be asked, and in which era it speaks.
    pub(crate) client: Client,
    pub(crate) hub: Arc<Hub>,
    shown: Shown,
}

/// Lines that have to be asked for.
struct Wanted {
    key: Key,
    served: Served,
}

/// Whether lines are there.
enum Found {
    Lines(Arc<Lines>),
    Old(Arc<Lines>),
    Nothing,
}

impl Behalf {
    /// A caller's, with what the request showed.
    pub(crate) fn of(who: &Authenticated, shown: Showing<'_>, client: Client) -> Self {
        Self { caller: Some(who.caller().clone()), client, hub: who.tenant.hub.clone(), shown: shown.kept() }
    }

    /// Control's own.
    pub(crate) fn of_control(hub: Arc<Hub>) -> Self {
        Self { caller: None, client: Client::GATEWAY, hub, shown: Shown::Nothing }
    }

    /// The same with something to show.
    pub(crate) fn showing(self, shown: Shown) -> Self {
        Self { shown, ..self }
    }

    /// The same without what was shown, for what goes on after the request: only what is there is used then.
    pub(crate) fn afterwards(&self) -> Self {
        Self { caller: self.caller.clone(), client: self.client, hub: self.hub.clone(), shown: Shown::Nothing }
    }

    /// As whom a mount is used.
    pub(crate) fn served(&self, mount: &Mount) -> Result<Served, Unserved> {
        self.hub.served(mount, self.caller.as_ref())
    }
}

impl Credentials {
    pub(crate) fn new(tables: Arc<Tables>, clock: Arc<dyn Clock>, egress: Egress) -> Arc<Self> {
        let credentials = Arc::new(Self {
            control: OnceLock::new(),
            tables: tables.clone(),
            clock,
            egress,
            cache: Cache::default(),
            certificates: Certificates::default(),
            questions: Semaphore::new(QUESTIONS),
            verdicts: Verdicts::default(),
            ended: watch::Sender::new(0),
        });
        let weak = Arc::downgrade(&credentials);
        tables.tell(move |touched, table| {
            if let Some(credentials) = weak.upgrade() {
                credentials.table_changed(touched, table);
            }
        });
        credentials
    }

    /// Who is asked; the first one stays.
    pub(crate) fn ask_of(&self, control: Arc<dyn Control>) {
        _ = self.control.set(control);
    }

    /// Names of the bounds, the bounds, and what tells how much of each is in use.
    pub(crate) fn fill(self: &Arc<Self>) -> [Fill; 5] {
        let fill = |name, most: usize, used: fn(&Self) -> u64| -> Fill {
            let credentials = self.clone();
            (name, most as u64, Box::new(move || used(&credentials)))
        };
        [
            fill("header_lines", cache::ENTRIES, |own| own.cache.fill()[0]),
            fill("header_lines_bytes", cache::BYTES, |own| own.cache.fill()[1]),
            fill("credential_questions", QUESTIONS, |own| (QUESTIONS - own.questions.available_permits()) as u64),
            fill("credential_verdicts", verdicts::WAITING, |own| own.verdicts.len() as u64),
            fill("client_certificates", certificates::POOLS, |own| own.certificates.fill()),
        ]
    }

    /// What the request of a caller bears to a mount, if that is at hand; `None` if control must be asked.
    pub(crate) fn at_hand(
        self: &Arc<Self>,
        mount: &Arc<Mount>,
        who: &Authenticated,
        shown: Showing<'_>,
    ) -> Result<Option<Bearing>, Failure> {
        let served = who.served(mount).map_err(|unserved| self.unserved(mount, unserved))?;
        let key = key(mount, served.part, shown);
        match self.found(&key, served, None)? {
            Found::Lines(lines) => Ok(Some(Bearing { part: served.part, lines: Some(lines), renewed: false })),
            Found::Old(lines) => {
                self.revalidate(mount, Wanted { key, served }, &Behalf::of(who, shown, Client::GATEWAY), lines.clone());
                Ok(Some(Bearing { part: served.part, lines: Some(lines), renewed: false }))
            }
            Found::Nothing => Ok(None),
        }
    }

    /// What a request bears to a mount; control is asked if need be.
    pub(crate) async fn bearing(self: &Arc<Self>, mount: &Arc<Mount>, behalf: &Behalf) -> Result<Bearing, Failure> {
        if mount.spec.binding.is_none() {
            return Ok(Bearing::default());
        }
        let served = behalf.served(mount).map_err(|unserved| self.unserved(mount, unserved))?;
        let wanted = Wanted { key: key(mount, served.part, Showing::Kept(&behalf.shown)), served };
        let lines = match self.found(&wanted.key, served, None)? {
            Found::Lines(lines) => Some(lines),
            Found::Old(lines) => {
                self.revalidate(mount, wanted, behalf, lines.clone());
                Some(lines)
            }
            Found::Nothing => Some(self.asked(mount, &wanted, behalf, None).await?),
        };
        Ok(Bearing { part: served.part, lines, renewed: false })
    }

    /// The lines of a part, if they are there and good. Those that are made of a caller's token only in place of `held`
    /// ones that were made of the same.
    pub(crate) fn lines_of(&self, mount: &Mount, part: Part, held: Option<&Lines>) -> Option<Arc<Lines>> {
        let token = held.and_then(|held| held.token);
        self.cache.peek(&Key { token, ..key(mount, part, Showing::Nothing) })
    }

    /// Lines that came meanwhile take the place of older ones.
    pub(crate) fn freshen(&self, mount: &Mount, bearing: &mut Bearing, behalf: &Behalf) {
        let Some(lines) = &bearing.lines else { return };
        let newest = self.cache.peek(&key(mount, bearing.part, Showing::Kept(&behalf.shown)));
        if let Some(newest) = newest.filter(|newest| newest.differ_from(lines)) {
            bearing.lines = Some(newest);
            bearing.renewed = true;
        }
    }

    /// After `failure`: whether to try once more, with what `bearing` is then; else what to tell of it.
    pub(crate) async fn renewed(
        self: &Arc<Self>,
        mount: &Arc<Mount>,
        behalf: &Behalf,
        bearing: &mut Bearing,
        failure: Failure,
    ) -> Result<(), Failure> {
        let Failure::Unauthorized(refusal) = &failure else { return Err(failure) };
        let Some(lines) = bearing.lines.clone() else { return Err(failure) };
        // It answers: whatever is wrong with the credential, the server is well.
        mount.cooldown.succeeded();
        if refusal.is_insufficient_scope() {
            // Who follows the link is asked for what is wanted here: control knows of it before.
            self.verdicts.tell(&lines, refusal.challenge.clone()).await;
            let login_url = self.login_url(mount);
            let why = NoCredential::insufficient(&refusal.challenge, mount.name(), login_url);
            return Err(Failure::NoCredential(Arc::new(why)));
        }
        if refusal.challenge.status != 401 {
            let Refusal { challenge, error } = &**refusal;
            return Err(Failure::Status { status: challenge.status, retry_after: None, error: error.clone() });
        }
        let key = key(mount, bearing.part, Showing::Kept(&behalf.shown));
        let retries = mount.spec.binding.as_ref().is_some_and(|binding| binding.retry_unauthorized);
        if retries && !bearing.renewed {
            let served = behalf.served(mount).map_err(|unserved| self.unserved(mount, unserved))?;
            // Somebody has put another credential in place meanwhile: it begins with sessions of its own.
            if served.part != bearing.part {
                return Err(self.refused_for_good(mount, &key, &lines, refusal));
            }
            // If another token is there already, nobody is asked.
            let newer = match self.found(&key, served, Some(&lines))? {
                Found::Lines(newer) | Found::Old(newer) => newer,
                Found::Nothing => {
                    self.asked(mount, &Wanted { key, served }, behalf, Some((&*lines, &**refusal))).await?
                }
            };
            bearing.lines = Some(newer);
            bearing.renewed = true;
            return Ok(());
        }
        Err(self.refused_for_good(mount, &key, &lines, refusal))
    }

    /// An upstream took what a request bore.
    pub(crate) fn accepted(&self, mount: &Mount, bearing: &Bearing) {
        if let Some(lines) = &bearing.lines
            && lines.is_first_success()
        {
            self.cache.accept(&Key { token: lines.token, ..key(mount, bearing.part, Showing::Nothing) });
            self.verdicts.note(lines, None);
        }
    }

    /// Where people connect to a server, if there is a way to sign in.
    pub(crate) fn login_url(&self, mount: &Mount) -> Option<String> {
        let table = self.tables.load();
        login_url(&table, mount)
    }

    /// Lines that a command brought for an upstream that is not mounted.
    pub(crate) fn brought(&self, mount: &Mount, lines: &HeaderLines) -> Result<Arc<Lines>, String> {
        self.made(mount, &key(mount, Part::default(), Showing::Nothing), lines)
    }

    /// Changes whenever a connection has ended.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.ended.subscribe()
    }

    /// What finds the lines of a part later.
    pub(crate) fn finder(self: &Arc<Self>, mount: &Mount, part: Part) -> Finder {
        Finder { credentials: self.clone(), key: key(mount, part, Showing::Nothing) }
    }

    /// Tells control what upstreams say. Never ends.
    pub(crate) async fn report(&self) {
        let mut every = tokio::time::interval(scaled(REPORT));
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = every.tick() => (),
                () = self.verdicts.urgent() => (),
            }
            let Some(control) = self.control.get() else { continue };
            let (time, mut waiting) = self.verdicts.take();
            let mut heard = true;
            while !waiting.is_empty() {
                let rest = waiting.split_off(waiting.len().min(VERDICTS));
                let told = tokio::time::timeout(ANSWER, control.report(waiting.clone())).await;
                if !matches!(told, Ok(Ok(()))) {
                    tracing::debug!(?told, "control could not be told what upstreams say to credentials");
                    waiting.extend(rest);
                    self.verdicts.put_back(waiting);
                    heard = false;
                    break;
                }
                waiting = rest;
            }
            if heard {
                self.verdicts.told(time);
            }
        }
    }

    fn found(&self, key: &Key, served: Served, failed: Option<&Lines>) -> Result<Found, Failure> {
        match self.cache.known(key, served.token_generation, failed) {
            Known::Good { lines, old: false } => Ok(Found::Lines(lines)),
            Known::Good { lines, old: true } => Ok(Found::Old(lines)),
            Known::Denied(why) => Err(Failure::NoCredential(why)),
            Known::Nothing => Ok(Found::Nothing),
        }
    }

    /// What to tell somebody who is not served.
    pub(crate) fn unserved(&self, mount: &Mount, unserved: Unserved) -> Failure {
        let login_url = self.login_url(mount);
        Failure::NoCredential(Arc::new(NoCredential::unserved(unserved, mount.name(), login_url)))
    }

    /// Asks for lines that take the place of `old` ones; nobody waits for them.
    fn revalidate(self: &Arc<Self>, mount: &Arc<Mount>, wanted: Wanted, behalf: &Behalf, old: Arc<Lines>) {
        if self.cache.is_denied(&wanted.key) {
            return;
        }
        // Whoever holds this asks already.
        let Ok(turn) = self.cache.asking(&wanted.key).try_lock_owned() else { return };
        let (own, mount, behalf) = (self.clone(), mount.clone(), behalf.clone());
        tokio::spawn(async move {
            if let Err(failure) = own.answered(&mount, &wanted, &behalf, None).await {
                tracing::debug!(server = mount.name(), class = failure.class(), "header lines could not be renewed");
            }
            drop((turn, old));
        });
    }

    /// Asks, once for all who wait.
    async fn asked(
        &self,
        mount: &Mount,
        wanted: &Wanted,
        behalf: &Behalf,
        failed: Failed<'_>,
    ) -> Result<Arc<Lines>, Failure> {
        let turn = self.cache.asking(&wanted.key);
        let _one_asks = turn.lock().await;
        let lines = failed.map(|(lines, _)| lines);
        if let Found::Lines(lines) | Found::Old(lines) = self.found(&wanted.key, wanted.served, lines)? {
            return Ok(lines);
        }
        match self.answered(mount, wanted, behalf, failed).await {
            Err(Failure::NoCredential(why)) if why.reason == AWAY => {
                let stale = self.cache.stale(&wanted.key, wanted.served.token_generation, lines);
                stale.ok_or(Failure::NoCredential(why))
            }
            answered => answered,
        }
    }

    /// Asks control. Whoever calls holds the turn of the key.
    async fn answered(
        &self,
        mount: &Mount,
        wanted: &Wanted,
        behalf: &Behalf,
        failed: Failed<'_>,
    ) -> Result<Arc<Lines>, Failure> {
        let answering = async {
            let control = self.control.get().ok_or_else(|| ControlError::Away("there is no link".to_owned()))?;
            let _one_of_few = self.questions.acquire().await;
            control.resolve(self.question(mount, wanted, behalf, failed, &control.node())).await
        };
        let answer = tokio::time::timeout(scaled(ANSWER), answering).await;
        let answer = answer.unwrap_or_else(|_| Err(ControlError::Away("it takes too long".to_owned())));
        let deny = |why: NoCredential, final_word: bool| {
            let why = Arc::new(why);
            self.cache.deny(&wanted.key, &why, final_word);
            Failure::NoCredential(why)
        };
        let (name, part) = (mount.name(), wanted.served.part);
        let soon = Some(cache::DENIED);
        let take = |lines: &HeaderLines| {
            let made = self.made(mount, &wanted.key, lines);
            let made = made.map_err(|why| deny(NoCredential::unavailable("template", name, &why, None), true))?;
            self.cache.put(&wanted.key, &made);
            // It may be gone since it was asked for: then nothing else takes these away.
            if !is_there(&self.tables.load(), &wanted.key) {
                self.cache.remove(&wanted.key);
                made.withdraw();
                return Err(Failure::NoCredential(Arc::new(NoCredential::withdrawn())));
            }
            match failed {
                // There is no other token. Here, so that whoever waits does not ask too.
                Some((lines, refusal)) if !made.differ_from(lines) => {
                    Err(self.refused_for_good(mount, &wanted.key, lines, refusal))
                }
                _ => Ok(made),
            }
        };
        match answer {
            Ok(Resolved::Lines(lines)) if lines.token_generation < wanted.served.token_generation => {
                let why = "control does not know the newest one yet";
                Err(deny(NoCredential::unavailable("busy", name, why, soon), false))
            }
            Ok(Resolved::Lines(lines)) => take(&lines),
            // Of a server that needs none: nothing to be sent along, which is worth remembering.
            Ok(Resolved::NoConnection) if part.connection.is_none() => take(&nothing()),
            Ok(Resolved::NoConnection) => Err(self.unserved(mount, Unserved::NoConnection)),
            Ok(Resolved::Unresolved(why)) => {
                let lasts = why.retry_after.is_none();
                Err(deny(NoCredential::unresolved(&why, name, self.login_url(mount)), lasts))
            }
            // Of one caller; another one may be believed.
            Err(ControlError::Refused(why)) => {
                tracing::warn!(server = name, why, "control refused a question for header lines");
                let why = "the management service does not believe who asks";
                Err(Failure::NoCredential(Arc::new(NoCredential::unavailable("refused", name, why, None))))
            }
            Err(ControlError::Away(why)) => {
                tracing::debug!(server = name, why, "header lines can't be asked for");
                let why = "the management service does not answer";
                Err(deny(NoCredential::unavailable(AWAY, name, why, soon), false))
            }
        }
    }

    fn question(
        &self,
        mount: &Mount,
        wanted: &Wanted,
        behalf: &Behalf,
        failed: Failed<'_>,
        node: &str,
    ) -> ResolveQuestion {
        let own = || match &behalf.caller {
            Some(caller) => caller.principal(mount.spec.tenant),
            None => Principal { tenant: mount.spec.tenant, user: None, key: None },
        };
        let principal = behalf.shown.principal().cloned().unwrap_or_else(own);
        let (server, connection) = (mount.spec.id, wanted.served.part.connection);
        let about = About { node, principal: &principal, server, connection, at: self.clock.now_micros() };
        let evidence = behalf.shown.evidence(&about);
        let departments = behalf.caller.as_ref().map(|caller| behalf.hub.departments(caller)).unwrap_or_default();
        ResolveQuestion {
            node: node.to_owned(),
            server,
            connection,
            departments,
            newer_than: failed.map_or(0, |(lines, _)| lines.token_generation),
            challenge: failed.map(|(_, refusal)| refusal.challenge.clone()),
            evidence,
            principal,
        }
    }

    fn made(&self, mount: &Mount, key: &Key, lines: &HeaderLines) -> Result<Arc<Lines>, String> {
        let shows = |certificate| self.certificates.pool(&self.egress, mount, certificate);
        let upstream = lines.certificate.as_ref().map(shows).transpose()?;
        Lines::new(lines, key, upstream).map(Arc::new).map_err(|error| error.to_string())
    }

    /// Control is told, and nobody tries for a while.
    fn refused_for_good(&self, mount: &Mount, key: &Key, lines: &Lines, refusal: &Refusal) -> Failure {
        let why = Arc::new(NoCredential::reauth(mount.name(), self.login_url(mount)));
        self.cache.refuse(key, lines, &why);
        self.verdicts.note(lines, Some(refusal.challenge.clone()));
        Failure::NoCredential(why)
    }

    /// Lets go of what nobody may use any more. Called every now and then.
    pub(crate) fn tidy(&self) {
        self.cache.sweep();
    }

    /// Lets go of what belongs to connections, servers and tenants that are gone; no request under way bears it from here
    /// on.
    fn table_changed(&self, touched: &Touched, table: &Table) {
        let connections = table.connections();
        let stays = |key: &Key, lines: Option<&Lines>| {
            if !is_there(table, key) {
                if let Some(lines) = lines {
                    lines.withdraw();
                }
                return false;
            }
            let spec = key.part.connection.and_then(|id| connections.get(id));
            spec.zip(lines).is_none_or(|(spec, lines)| lines.token_generation >= spec.token_generation)
        };
        for id in &touched.connections {
            // Control counts from further back than it did: what it says now is newer whatever its number.
            let restored = touched.restored.contains(id);
            self.cache.retain_of(*id, |key, lines| stays(key, lines) && !restored);
        }
        if touched.servers {
            self.cache.retain(|key, lines| {
                let same = table.server(key.server).is_some_and(|mount| mount.spec.generation == key.generation);
                stays(key, lines) && same
            });
        }
        if touched.ended {
            self.ended.send_modify(|ended| *ended += 1);
        }
    }
}

/// Whether lines may still be used: the server is mounted, and the connection serves with the same credential.
fn is_there(table: &Table, key: &Key) -> bool {
    table.server(key.server).is_some_and(|mount| mount.spec.tenant == key.tenant)
        && key.part.connection.is_none_or(|id| {
            table.connections().get(id).is_some_and(|spec| {
                spec.status == ConnectionStatus::Active && spec.credential_version == key.part.credential_version
            })
        })
}

/// Lines that an upstream refused, and how.
type Failed<'a> = Option<(&'a Lines, &'a Refusal)>;

/// For how long it is remembered that a server needs nothing.
const NOTHING: Duration = Duration::from_secs(60);

/// Lines that say nothing.
fn nothing() -> HeaderLines {
    HeaderLines {
        credential_version: 0,
        token_generation: 0,
        headers: Vec::new(),
        query: Vec::new(),
        certificate: None,
        fresh: NOTHING,
        good: NOTHING,
        stale: NOTHING,
    }
}

/// The word for control's being away.
const AWAY: &str = "control_away";

/// Where people connect to a server, if there is a way to sign in.
pub(crate) fn login_url(table: &Table, mount: &Mount) -> Option<String> {
    let tenant =
        table.tenant(mount.spec.tenant).filter(|_| mount.spec.binding.as_ref().is_some_and(|own| own.login))?;
    let signer = table.newest_signer()?;
    Some(format!("{}/connect/{}/{}", signer.spec.url.trim_end_matches('/'), tenant.spec.name, mount.name()))
}

fn key(mount: &Mount, part: Part, shown: Showing<'_>) -> Key {
    let exchange = mount.spec.binding.as_ref().is_some_and(|binding| binding.exchange);
    Key {
        tenant: mount.spec.tenant,
        server: mount.spec.id,
        generation: mount.spec.generation,
        part,
        token: if exchange { shown.token_digest() } else { None },
    }
}
