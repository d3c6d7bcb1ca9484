//! A server as it lives in the table, with what belongs to this version of it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use egress::{Egress, Refusal, Upstream};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use mcp::param_headers::HeaderParams;
use mcp::{Era, Item, ListKind, names};
use model::{Digest, Limits, ServerSpec, Transport};
use moka::policy::EvictionPolicy;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::eras::Eras;
use super::manifest::{Manifest, of_kind};
use super::offers::Offers;
use crate::client::{Client, Terms};
use crate::cooldown::Cooldown;
use crate::credentials::Part;
use crate::limits::{Places, share};
use crate::metrics::{Counters, Series};

/// How long a list is served before the upstream is asked again in the background.
const FRESH: Duration = Duration::from_secs(60);

/// Idle connections kept for one upstream. They rest for 4 s at the most, so this bounds a burst:
/// fewer than there are callers would open and close connections all the time.
const IDLE_CONNECTIONS: usize = 512;

/// Questions of one upstream that are refused at once; of further ones it hears nothing.
const REFUSALS: usize = 64;

/// What an empty partition of lists takes.
const PARTITION: usize = 2048;
/// Lists of a connection that nobody looked at for so long go.
const UNUSED: Duration = Duration::from_secs(24 * 3600);

/// A mounted server. Mounting opens no connection; everything here comes with the first use.
pub(crate) struct Mount {
    pub(crate) spec: ServerSpec,
    pub(crate) digest: Digest,
    /// Unlike any other mount of this process: what is kept for one version of a server never
    /// serves another.
    pub(crate) uid: u64,
    /// Hash of what makes an upstream session belong here (URL, transport, headers, binding): the same after
    /// a restart, so that sealed sessions live on.
    pub(crate) identity: u64,
    pub(crate) internal: bool,
    pub(crate) way: Arc<Way>,
    pub(crate) cooldown: Cooldown,
    /// Those of the server, whichever version of it: a call under way on an older one holds its place.
    pub(crate) places: Arc<Places>,
    pub(crate) disabled: HashSet<Box<str>>,
    refusals: Arc<Semaphore>,
    found: AtomicU8,
    /// Which eras it speaks.
    pub(crate) eras: Eras,
    /// What it offers, as it said last.
    pub(crate) offers: Offers,
    lists: OnceLock<Manifest>,
    /// Those of single connections.
    partitions: OnceLock<Arc<Partitions>>,
    series: OnceLock<Arc<Series>>,
}

/// How requests reach an upstream. Outlives the mount for a goodbye to its sessions.
pub(crate) struct Way {
    pub(crate) upstream: Upstream,
    /// Path and query of the upstream's URL.
    pub(crate) path: Uri,
    /// Public headers, ready to be sent.
    pub(crate) headers: HeaderMap,
}

/// One list of one mount.
pub(crate) struct ListCell {
    pub(crate) current: ArcSwapOption<Listed>,
    /// Held while the upstream is asked: one asks for all.
    pub(crate) asking: tokio::sync::Mutex<()>,
    /// Rises whenever the upstream says that the list has changed.
    changed: Arc<AtomicU64>,
    /// When the question under way was asked.
    asked: Mutex<Option<Instant>>,
}

/// A list as the upstream gave it, disabled tools left out.
pub(crate) struct Listed {
    pub(crate) items: Vec<Item>,
    /// The result of this server's own URL, ready to be sent.
    pub(crate) own: Bytes,
    /// Exposed name to index in `items` (tools and prompts), or the key itself (resources).
    pub(crate) by_name: HashMap<Box<str>, usize>,
    /// The arguments that headers repeat, of tools that have any, by their own names.
    pub(crate) header_params: HashMap<Box<str>, HeaderParams>,
    /// For how long the upstream promises it to be right.
    pub(crate) ttl: Duration,
    kind: ListKind,
    /// The era in which it was asked for.
    era: Era,
    /// As clients of the other era can have it, where that is another list.
    bridged: OnceLock<Option<Arc<Listed>>>,
    since: Instant,
    /// [`ListCell::changed`] before the upstream was asked.
    at: u64,
}

impl Mount {
    /// A mount of this version of a server, in the places of the version `before` it.
    pub(crate) fn new(
        spec: ServerSpec,
        egress: &Egress,
        limits: &Limits,
        internal: bool,
        before: Option<&Self>,
    ) -> Result<Self, Refusal> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let url = spec.url.url();
        let connections = egress::Limits {
            connect: spec.connect_timeout,
            first_byte: spec.read_timeout,
            idle_connections: IDLE_CONNECTIONS,
        };
        let upstream = egress.upstream(spec.tenant, url, connections)?;
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let mut headers = HeaderMap::with_capacity(spec.headers.len());
        for (name, value) in &spec.headers {
            // Control refuses anything else before it is saved.
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>())
                && mcp::headers::may_be_configured(name.as_str())
            {
                headers.append(name, value);
            }
        }
        let concurrent = share(spec.limits.concurrent, limits.upstream_concurrent);
        let places = before.map_or_else(|| Places::new(concurrent), |before| before.places.clone());
        places.resize(concurrent);
        // Goes on counting where the version before stopped.
        let series = before.filter(|before| before.spec.name == spec.name).map(|before| before.series.clone());
        Ok(Self {
            digest: spec.digest(),
            uid: NEXT.fetch_add(1, Ordering::Relaxed),
            identity: identity(&spec),
            internal,
            way: Arc::new(Way { upstream, path: path.parse().unwrap_or_default(), headers }),
            cooldown: Cooldown::default(),
            places,
            disabled: spec.disabled_tools.iter().map(|tool| tool.as_str().into()).collect(),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
            found: AtomicU8::new(0),
            eras: eras(&spec, before),
            offers: before
                .filter(|before| before.identity == identity(&spec))
                .map(|before| before.offers.again())
                .unwrap_or_default(),
            lists: OnceLock::new(),
            partitions: OnceLock::new(),
            series: series.unwrap_or_default(),
            spec,
        })
    }

    /// The same version of the server, with nothing that was kept for it.
    pub(super) fn again(&self, egress: &Egress, limits: &Limits) -> Result<Self, Refusal> {
        Self::new(self.spec.clone(), egress, limits, self.internal, Some(self))
    }

    /// Holds the places to what the tenant's limits are now.
    pub(super) fn limited(&self, limits: &Limits) {
        self.places.resize(share(self.spec.limits.concurrent, limits.upstream_concurrent));
    }

    /// How long one call may take in all.
    pub(crate) fn call_time(&self, limits: &Limits) -> Duration {
        Duration::from_secs(u64::from(share(self.spec.limits.call_secs, limits.call_secs)))
    }

    /// Bytes that one answer may have.
    pub(crate) fn answer_bytes(&self, limits: &Limits) -> usize {
        share(self.spec.limits.response_bytes, limits.response_bytes) as usize
    }

    /// The transport to use; for `auto` what was found, once it was.
    pub(crate) fn transport(&self) -> Transport {
        match (self.spec.transport, self.found.load(Ordering::Relaxed)) {
            (Transport::Auto, 1) => Transport::StreamableHttp,
            (Transport::Auto, 2) => Transport::Sse,
            (transport, _) => transport,
        }
    }

    /// Remembers what `auto` turned out to be.
    pub(crate) fn found(&self, transport: Transport) {
        let code = match transport {
            Transport::StreamableHttp => 1,
            Transport::Sse => 2,
            Transport::Auto => 0,
        };
        self.found.store(code, Ordering::Relaxed);
    }

    pub(crate) fn name(&self) -> &str {
        self.spec.name.as_str()
    }

    /// Keeps the lists of single connections where those of all mounts are.
    pub(super) fn within(self, partitions: &Arc<Partitions>) -> Self {
        _ = self.partitions.set(partitions.clone());
        self
    }

    /// On what it is spoken with for this client.
    pub(crate) fn terms(&self, client: Client) -> Terms {
        client.terms(self.eras.for_client(client.era()))
    }

    /// A list as a part of the callers sees it on these terms.
    pub(crate) fn list(&self, part: Part, terms: Terms, kind: ListKind) -> Arc<ListCell> {
        let part = part.of_lists();
        if part == Part::default() {
            return of_kind(&self.lists.get_or_init(Manifest::default).on(terms), kind).clone();
        }
        of_kind(&self.partitions.get_or_init(Arc::default).of(self.uid, part).on(terms), kind).clone()
    }

    /// What is known of a list without asking anybody.
    pub(crate) fn known(&self, part: Part, terms: Terms, kind: ListKind) -> Option<Arc<Listed>> {
        let part = part.of_lists();
        if part == Part::default() {
            return of_kind(&*self.lists.get()?.known_on(terms)?, kind).current.load_full();
        }
        let manifest = self.partitions.get()?.known(self.uid, part)?;
        of_kind(&*manifest.known_on(terms)?, kind).current.load_full()
    }

    /// The upstream said that a list has changed, to this part: on whichever terms.
    pub(crate) fn invalidate(&self, part: Part, kind: ListKind) {
        self.list(part, Terms::default(), kind).invalidate();
    }

    /// Puts a new list of a part in place: whether it differs from the one before, if there was one.
    pub(crate) fn put(&self, part: Part, terms: Terms, kind: ListKind, listed: Arc<Listed>) -> Option<bool> {
        let put = self.list(part, terms, kind).put(listed);
        let part = part.of_lists();
        if part != Part::default() && put != Some(false) {
            self.partitions.get_or_init(Arc::default).weigh(self.uid, part);
        }
        put
    }

    /// A place for telling the upstream that nobody answers a question of its; `None` if it asks faster than it takes that.
    pub(crate) fn refusal(&self) -> Option<OwnedSemaphorePermit> {
        self.refusals.clone().try_acquire_owned().ok()
    }

    /// Names of its bounds, how much of each is in use, and the bounds.
    pub(crate) fn fill(&self) -> [(&'static str, u64, u64); 4] {
        let [places, queue] = self.places.fill();
        let refusals = (REFUSALS - self.refusals.available_permits()) as u64;
        [
            places,
            queue,
            ("upstream_idle_connections", self.way.upstream.idle() as u64, IDLE_CONNECTIONS as u64),
            ("upstream_refusals", refusals, REFUSALS as u64),
        ]
    }

    /// What is counted of this server; made with its first request.
    pub(crate) fn series(&self, counters: &Counters) -> &Series {
        self.series.get_or_init(|| counters.server(&self.spec.tenant.to_string(), self.name()))
    }
}

/// Lists that are not everybody's, of all mounts: the longest unused go first.
pub(crate) struct Partitions(moka::sync::Cache<(u64, Part), Arc<Manifest>>);

impl Default for Partitions {
    fn default() -> Self {
        let cells = moka::sync::Cache::builder()
            .weigher(|_, manifest: &Arc<Manifest>| u32::try_from(weight(manifest)).unwrap_or(u32::MAX))
            .max_capacity(Self::MOST)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(UNUSED)
            .build();
        Self(cells)
    }
}

impl Partitions {
    /// Most bytes of them, more or less.
    pub(super) const MOST: u64 = 256 << 20;

    fn of(&self, mount: u64, part: Part) -> Arc<Manifest> {
        self.0.get_with((mount, part), Arc::default)
    }

    fn known(&self, mount: u64, part: Part) -> Option<Arc<Manifest>> {
        self.0.get(&(mount, part))
    }

    /// What is in them has changed.
    fn weigh(&self, mount: u64, part: Part) {
        if let Some(cells) = self.0.get(&(mount, part)) {
            self.0.insert((mount, part), cells);
        }
    }

    pub(super) fn fill(&self) -> u64 {
        self.0.weighted_size()
    }
}

/// What lists take, their items and names included.
fn weight(manifest: &Manifest) -> usize {
    let bytes = |cell: &Arc<ListCell>| cell.current.load().as_ref().map_or(0, |listed| 3 * listed.own.len());
    manifest.all().iter().map(|cells| PARTITION + cells.iter().map(bytes).sum::<usize>()).sum()
}

impl ListCell {
    /// An empty cell that counts changes there.
    pub(super) fn counting(changed: Arc<AtomicU64>) -> Self {
        Self {
            current: ArcSwapOption::empty(),
            asking: tokio::sync::Mutex::default(),
            changed,
            asked: Mutex::default(),
        }
    }

    /// The upstream said that the list has changed.
    pub(crate) fn invalidate(&self) {
        self.changed.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether the upstream said that this list is no longer right.
    pub(crate) fn is_stale(&self, listed: &Listed) -> bool {
        listed.at < self.changed.load(Ordering::Acquire)
    }

    /// Begins a question: what the upstream says to it knows of every change up to here.
    pub(crate) fn ask(&self) -> Asking<'_> {
        *self.asked() = Some(Instant::now());
        Asking { cell: self, at: self.changed.load(Ordering::Acquire) }
    }

    /// Whether a question has been waiting for longer than `patience`.
    pub(crate) fn is_stuck(&self, patience: Duration) -> bool {
        self.asked().is_some_and(|since| since.elapsed() > patience)
    }

    fn asked(&self) -> MutexGuard<'_, Option<Instant>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a new list in place: whether it differs from the one before, if there was one.
    fn put(&self, listed: Arc<Listed>) -> Option<bool> {
        let own = listed.own.clone();
        self.current.swap(Some(listed)).map(|before| before.own != own)
    }
}

/// A question under way; dropped, it is over.
pub(crate) struct Asking<'a> {
    cell: &'a ListCell,
    pub(crate) at: u64,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        *self.cell.asked() = None;
    }
}

impl Listed {
    /// A list of an upstream that is spoken with in this era.
    pub(crate) fn new(kind: ListKind, mount: &Mount, era: Era, mut items: Vec<Item>, ttl: Duration, at: u64) -> Self {
        let mut header_params = HashMap::new();
        if kind == ListKind::Tools {
            items.retain(|item| {
                !mount.disabled.contains(&item.key)
                    && match HeaderParams::of_tool(&item.raw) {
                        Ok(params) if params.is_empty() => true,
                        Ok(params) => {
                            header_params.insert(item.key.clone(), params);
                            true
                        }
                        // Where nobody asks for headers, they are no fault of the tool.
                        Err(_) if era == Era::Session => true,
                        Err(error) => {
                            tracing::warn!(server = mount.name(), tool = &*item.key, %error, "a tool is left out");
                            false
                        }
                    }
            });
        }
        let own = own(kind, items.iter().map(|item| &*item.raw));
        let by_name = items
            .iter()
            .enumerate()
            .map(|(at, item)| match kind {
                ListKind::Tools | ListKind::Prompts => (names::exposed(mount.name(), &item.key).into(), at),
                ListKind::Resources | ListKind::Templates => (item.key.clone(), at),
            })
            .collect();
        let (bridged, since) = (OnceLock::new(), Instant::now());
        Self { items, own, by_name, header_params, ttl, kind, era, bridged, since, at }
    }

    /// The list as such a client can have it: of tools, those of the other era say some things otherwise.
    pub(crate) fn for_client(self: &Arc<Self>, client: Client) -> Arc<Self> {
        if self.kind != ListKind::Tools || self.era == client.era() {
            return self.clone();
        }
        self.bridged.get_or_init(|| self.bridged().map(Arc::new)).as_ref().unwrap_or(self).clone()
    }

    fn bridged(&self) -> Option<Self> {
        let other = match self.era {
            Era::Session => mcp::result::tool_for_stateless,
            Era::Stateless => mcp::result::tool_for_sessions,
        };
        let changed: Vec<Option<Vec<u8>>> = self.items.iter().map(|item| other(&item.raw)).collect();
        if changed.iter().all(Option::is_none) {
            return None;
        }
        let raws = self.items.iter().zip(&changed).map(|(item, changed)| changed.as_deref().unwrap_or(&item.raw));
        let own = own(self.kind, raws);
        // Made of items that were read before.
        let items = mcp::List::parse(self.kind, &own, self.items.len()).ok()?.items;
        Some(Self {
            items,
            own,
            by_name: self.by_name.clone(),
            header_params: self.header_params.clone(),
            bridged: OnceLock::new(),
            ..*self
        })
    }

    /// Whether it is time to ask again in the background.
    pub(crate) fn is_old(&self) -> bool {
        self.since.elapsed() > FRESH
    }

    /// Whether it came in after `begun`, or is fresh.
    pub(crate) fn is_younger(&self, begun: Instant) -> bool {
        self.since >= begun || !self.is_old()
    }

    /// Whether a name that is not in it is worth a question: at most one a second, whoever guesses names.
    pub(crate) fn may_be_asked_again(&self) -> bool {
        self.since.elapsed() > Duration::from_secs(1)
    }

    /// The item behind an exposed name or a URI.
    pub(crate) fn find(&self, name: &str) -> Option<&Item> {
        self.items.get(*self.by_name.get(name)?)
    }
}

/// The result of a list of these items.
fn own<'a>(kind: ListKind, raws: impl Iterator<Item = &'a [u8]> + Clone) -> Bytes {
    let mut own = Vec::with_capacity(64 + raws.clone().map(|raw| raw.len() + 1).sum::<usize>());
    own.extend_from_slice(b"{\"");
    own.extend_from_slice(kind.member().as_bytes());
    own.extend_from_slice(b"\":[");
    for (at, raw) in raws.enumerate() {
        if at > 0 {
            own.push(b',');
        }
        own.extend_from_slice(raw);
    }
    own.extend_from_slice(b"]}");
    own.into()
}

/// What the record says, what was found out since if it is the same upstream, and what the transport alone says: HTTP+SSE
/// is of the session era.
fn eras(spec: &ServerSpec, before: Option<&Mount>) -> Eras {
    let eras = Eras::default();
    let same = before.filter(|before| before.identity == identity(spec));
    for known in [Some(spec.eras), same.map(|before| before.eras.known())].into_iter().flatten() {
        for (era, spoken) in [(Era::Session, known.session), (Era::Stateless, known.stateless)] {
            if let Some(spoken) = spoken {
                eras.found(era, spoken);
            }
        }
    }
    if spec.transport == Transport::Sse {
        eras.found(Era::Session, true);
        eras.found(Era::Stateless, false);
    }
    eras
}

fn identity(spec: &ServerSpec) -> u64 {
    let mut hash = Sha256::new();
    for text in [spec.url.as_str(), spec.transport.as_str()] {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    for (name, value) in &spec.headers {
        hash.update((name.len() as u64).to_be_bytes());
        hash.update(name);
        hash.update((value.len() as u64).to_be_bytes());
        hash.update(value);
    }
    if let Some(binding) = &spec.binding {
        // A session that was opened without a credential is not continued with one, nor the other way round.
        hash.update(b"binding");
        hash.update(format!("{:?}", binding.scopes));
    }
    hash.finalize().iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte))
}
