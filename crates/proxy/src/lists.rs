//! Tools, prompts, resources and templates: fetched on demand, kept raw, merged for the aggregate.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use mcp::{Era, Item, List, ListKind, names, write};
use model::TenantId;
use sha2::{Digest as _, Sha256};

use crate::built_in;
use crate::client::{Capabilities, Client};
use crate::credentials::{Bearing, Behalf, Part, Showing};
use crate::hub::Hub;
use crate::principal::Authenticated;
use crate::retry::Tries;
use crate::table::{Listed, Mount};
use crate::upstream::{Connected, Failure, ask};
use crate::upstream_sessions::{UpstreamSessions, settle};

/// Most items of one list.
const ITEMS: usize = 2000;
/// Most bytes of one list.
const BYTES: usize = 16 << 20;
/// Most pages of one list.
const PAGES: usize = 200;
/// How long one list may take to come in whole.
const ASKING: Duration = Duration::from_secs(60);
/// How long the aggregate waits for a slow upstream before it lists without it.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many upstreams are asked at once for one list.
const AT_ONCE: usize = 64;
/// How long a merged list is served before the lists it is made of are looked at again.
const FRESH: Duration = Duration::from_secs(60);
/// The same while something is missing in it.
const FRESH_PARTIAL: Duration = Duration::from_secs(1);
/// Most bytes of merged lists that are kept.
const VIEWS: u64 = 128 << 20;

/// Merged lists by tenant, kind, the servers that a caller may use, and as whom.
pub(crate) struct Lists {
    views: moka::sync::Cache<ViewKey, Arc<View>>,
}

/// Tenant, kind, the servers that the caller may use, if not all, a digest of the parts of those that take a credential,
/// and what the client is to upstreams.
type ViewKey = (TenantId, ListKind, Option<Arc<[Box<str>]>>, [u8; 16], Era, Capabilities);

/// A merged list.
struct View {
    result: Bytes,
    epoch: u64,
    until: Instant,
}

impl Default for Lists {
    fn default() -> Self {
        let views = moka::sync::Cache::builder()
            .weigher(|_, view: &Arc<View>| u32::try_from(view.result.len()).unwrap_or(u32::MAX))
            .max_capacity(VIEWS)
            .build();
        Self { views }
    }
}

impl Lists {
    /// Most bytes of merged lists, and what tells how many there are.
    pub(crate) fn fill(&self) -> (u64, impl Fn() -> u64 + use<>) {
        let views = self.views.clone();
        (VIEWS, move || views.weighted_size())
    }
}

/// One mount's list: what is known, or what the upstream says now. A list that is merely old is
/// served and asked for in the background; one that the upstream called changed is waited for.
pub(crate) async fn listed(
    sessions: &Arc<UpstreamSessions>,
    behalf: &Behalf,
    mount: &Arc<Mount>,
    kind: ListKind,
) -> Result<Arc<Listed>, Failure> {
    let part = part(sessions, behalf, mount)?;
    let cell = mount.list(part, mount.terms(behalf.client), kind);
    let Some(known) = cell.current.load_full() else { return refreshed(sessions, behalf, mount, part, kind).await };
    if cell.is_stale(&known) {
        // A list that can't be had anew is better than none, unless it is the credential that is not good any more.
        return match refreshed(sessions, behalf, mount, part, kind).await {
            Err(failure @ Failure::NoCredential(_)) => Err(failure),
            refreshed => Ok(refreshed.unwrap_or(known)),
        };
    }
    if known.is_old() && cell.asking.try_lock().is_ok() {
        let (sessions, behalf, mount) = (sessions.clone(), behalf.clone(), mount.clone());
        tokio::spawn(async move {
            if let Err(failure) = refreshed(&sessions, &behalf, &mount, part, kind).await {
                tracing::debug!(server = mount.name(), class = failure.class(), "a list could not be refreshed");
            }
        });
    }
    Ok(known)
}

/// What the upstream offers now, disabled tools included: for those who disable them.
pub(crate) async fn offered(
    sessions: &UpstreamSessions,
    behalf: &Behalf,
    mount: &Arc<Mount>,
    kind: ListKind,
) -> Result<Vec<Item>, Failure> {
    let part = part(sessions, behalf, mount)?;
    let cell = mount.list(part, mount.terms(behalf.client), kind);
    cell.invalidate();
    let _one_asks = cell.asking.lock().await;
    taken(sessions, behalf, mount, part, kind).await.map(|(items, _)| items)
}

/// As whom a mount is listed.
fn part(sessions: &UpstreamSessions, behalf: &Behalf, mount: &Mount) -> Result<Part, Failure> {
    let served = behalf.served(mount).map_err(|unserved| sessions.credentials.unserved(mount, unserved))?;
    Ok(served.part)
}

/// Asks the upstream, once for all who wait.
async fn refreshed(
    sessions: &UpstreamSessions,
    behalf: &Behalf,
    mount: &Arc<Mount>,
    part: Part,
    kind: ListKind,
) -> Result<Arc<Listed>, Failure> {
    let cell = mount.list(part, mount.terms(behalf.client), kind);
    let begun = Instant::now();
    let _one_asks = cell.asking.lock().await;
    if let Some(known) = cell.current.load_full()
        && !cell.is_stale(&known)
        && known.is_younger(begun)
    {
        return Ok(known);
    }
    taken(sessions, behalf, mount, part, kind).await.map(|(_, listed)| listed)
}

/// Asks, puts the list in place and tells those who listen. The caller sees to it that one asks at a time.
async fn taken(
    sessions: &UpstreamSessions,
    behalf: &Behalf,
    mount: &Arc<Mount>,
    part: Part,
    kind: ListKind,
) -> Result<(Vec<Item>, Arc<Listed>), Failure> {
    let terms = mount.terms(behalf.client);
    let cell = mount.list(part, terms, kind);
    // Before it is asked whether this is the trial of a cooling upstream: it may come to nothing.
    let mut bearing = sessions.credentials.bearing(mount, behalf).await?;
    if bearing.part != part {
        return Err(Failure::SessionLost);
    }
    mount.cooldown.admit(Instant::now()).map_err(Failure::Cooling)?;
    let asking = cell.ask();
    let deadline = tokio::time::Instant::now() + ASKING;
    let fetching = fetch(sessions, behalf, mount, &mut bearing, kind, deadline);
    let items = tokio::time::timeout_at(deadline, fetching).await.unwrap_or_else(|_| {
        let late = Err(Failure::Deadline);
        settle(mount, &late);
        late
    })?;
    let listed = Arc::new(Listed::new(kind, mount, items.clone(), asking.at));
    match mount.put(part, terms, kind, listed.clone()) {
        None => behalf.hub.bump(),
        Some(true) => behalf.hub.lists_changed(Hub::bit(kind), mount, Some(part)),
        Some(false) => (),
    }
    Ok((items, listed))
}

async fn fetch(
    sessions: &UpstreamSessions,
    behalf: &Behalf,
    mount: &Arc<Mount>,
    bearing: &mut Bearing,
    kind: ListKind,
    deadline: tokio::time::Instant,
) -> Result<Vec<Item>, Failure> {
    // Whether the session could be opened is counted where it is opened, once for all who wait for it.
    let mut opened = sessions.shared(mount, behalf, bearing).await?;
    if !opened.has(kind) {
        mount.cooldown.succeeded();
        return Ok(Vec::new());
    }
    let mut lost = false;
    let fetched = loop {
        match pages(mount, &opened.connected.bearing(bearing.lines.as_ref()), kind, deadline).await {
            Err(Failure::SessionLost) if !std::mem::replace(&mut lost, true) => {
                sessions.forget(mount, behalf, bearing.part).await;
                opened = sessions.shared(mount, behalf, bearing).await?;
            }
            Err(failure @ Failure::Unauthorized(_)) => {
                if let Err(failure) = sessions.credentials.renewed(mount, behalf, bearing, failure).await {
                    break Err(failure);
                }
            }
            fetched => break fetched,
        }
    };
    if fetched.is_ok() {
        sessions.credentials.accepted(mount, bearing);
    }
    settle(mount, &fetched);
    fetched
}

/// Asks for all pages of a list. No try begins after `deadline`.
pub(crate) async fn pages(
    mount: &Mount,
    connected: &Connected,
    kind: ListKind,
    deadline: tokio::time::Instant,
) -> Result<Vec<Item>, Failure> {
    let mut tries = Tries::of(mount, deadline);
    let (mut items, mut bytes, mut cursor) = (Vec::new(), 0, None::<Bytes>);
    for _ in 0..PAGES {
        let params = match &cursor {
            None => Bytes::from_static(b"{}"),
            Some(cursor) => [&b"{\"cursor\":"[..], cursor, b"}"].concat().into(),
        };
        let asked = loop {
            match ask(mount, connected, kind.method(), &params).await {
                Err(failure) => tries.next(failure, true).await?,
                Ok(asked) => break asked,
            }
        };
        let result = match asked {
            Ok(result) => result,
            // A server may declare resources and know no templates.
            Err(error) if cursor.is_none() && kind != ListKind::Tools && code(&error) == Some(METHOD_NOT_FOUND) => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(Failure::Status { status: 400, retry_after: None, error: Some(error) }),
        };
        bytes += result.len();
        if bytes > BYTES {
            return Err(Failure::TooLarge);
        }
        let page = List::parse(kind, &result, ITEMS - items.len())
            .map_err(|_| Failure::BadResponse("its list is malformed or too long"))?;
        items.extend(page.items);
        match page.next_cursor {
            Some(next) if cursor.as_ref() != Some(&next) => cursor = Some(next),
            _ => return Ok(items),
        }
    }
    Ok(items)
}

/// JSON-RPC's code for a method that is not there.
const METHOD_NOT_FOUND: i64 = -32601;

/// The code of a raw JSON-RPC error.
fn code(error: &[u8]) -> Option<i64> {
    std::str::from_utf8(mcp::member(error, "code")?.of(error)).ok()?.parse().ok()
}

impl Lists {
    /// The merged list of everything that the caller may use, as a ready result.
    pub(crate) async fn merged(
        &self,
        sessions: &Arc<UpstreamSessions>,
        who: &Authenticated,
        shown: Showing<'_>,
        client: Client,
        kind: ListKind,
    ) -> Bytes {
        let key = (who.tenant.spec.id, kind, who.view(), parts(who), client.era(), client.capabilities);
        let hub = &who.tenant.hub;
        let epoch = hub.epoch();
        if let Some(view) = self.views.get(&key)
            && view.epoch == epoch
            && Instant::now() < view.until
        {
            return view.result.clone();
        }
        let behalf = Behalf::of(who, shown, client);
        let mounts: Vec<Arc<Mount>> = who.mounts().cloned().collect();
        // One deadline for all of them together: many slow servers cost no more than one.
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let asked = stream::iter(mounts.into_iter().enumerate()).map(|(at, mount)| {
            let (sessions, behalf) = (sessions.clone(), behalf.clone());
            async move { (at, patiently(sessions, behalf, &mount, kind, deadline).await, mount) }
        });
        let mut parts: Vec<_> = asked.buffer_unordered(AT_ONCE).collect().await;
        parts.sort_unstable_by_key(|(at, _, _)| *at);
        let parts: Vec<(Arc<Mount>, Option<Arc<Listed>>)> =
            parts.into_iter().map(|(_, listed, mount)| (mount, listed)).collect();
        let (served, missing): (Vec<_>, Vec<_>) = parts.iter().partition(|(_, listed)| listed.is_some());
        tracing::debug!(
            kind = kind.member(),
            selected = parts.len(),
            served = served.len(),
            failed = ?missing.iter().map(|(mount, _)| mount.name()).collect::<Vec<_>>(),
            "list"
        );
        let result = merge(kind, &parts);
        let until = Instant::now() + if missing.is_empty() { FRESH } else { FRESH_PARTIAL };
        self.views.insert(key, Arc::new(View { result: result.clone(), epoch, until }));
        result
    }
}

/// What tells the lists of this caller from those of others: as whom each server that takes a credential is used, if at
/// all. Zeros where there is none.
fn parts(who: &Authenticated) -> [u8; 16] {
    let mut digest = [0; 16];
    if who.tenant.bound.is_empty() {
        return digest;
    }
    let mut hash = Sha256::new();
    for mount in who.tenant.bound.iter().filter(|mount| who.may_use(mount.name())) {
        hash.update(mount.uid.to_be_bytes());
        match who.served(mount).map(|served| served.part.of_lists()) {
            Ok(part) => {
                hash.update([u8::from(part.connection.is_some()) + 1]);
                hash.update(part.connection.map(|id| *id.0.as_bytes()).unwrap_or_default());
                hash.update(part.credential_version.to_be_bytes());
                hash.update(part.context);
            }
            Err(_) => hash.update([0]),
        }
    }
    digest.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
    digest
}

/// One mount's part of a merged list, by the deadline at the latest.
async fn patiently(
    sessions: Arc<UpstreamSessions>,
    behalf: Behalf,
    mount: &Arc<Mount>,
    kind: ListKind,
    deadline: tokio::time::Instant,
) -> Option<Arc<Listed>> {
    let part = part(&sessions, &behalf, mount).ok()?;
    let known = mount.known(part, mount.terms(behalf.client), kind);
    let cell = mount.list(part, mount.terms(behalf.client), kind);
    if known.as_ref().is_some_and(|known| !known.is_old() && !cell.is_stale(known)) {
        return known;
    }
    // Somebody has been waiting for an answer for longer than we would.
    if cell.is_stuck(PATIENCE) || mount.cooldown.remaining(Instant::now()).is_some() {
        return known;
    }
    let hub = behalf.hub.clone();
    // In a task of its own: it goes on when the aggregate loses patience.
    let mut asking = {
        let mount = mount.clone();
        tokio::spawn(async move { listed(&sessions, &behalf, &mount, kind).await })
    };
    match tokio::time::timeout_at(deadline, &mut asking).await {
        Ok(Ok(Err(Failure::NoCredential(_)))) => None,
        Ok(asked) => asked.ok().and_then(Result::ok).or(known),
        Err(_) => {
            let mount = mount.clone();
            tokio::spawn(async move {
                if matches!(asking.await, Ok(Ok(_))) {
                    hub.lists_changed(Hub::bit(kind), &mount, Some(part));
                }
            });
            known
        }
    }
}

fn merge(kind: ListKind, parts: &[(Arc<Mount>, Option<Arc<Listed>>)]) -> Bytes {
    let mut out = Vec::with_capacity(
        64 + parts.iter().filter_map(|(_, listed)| Some(listed.as_ref()?.own.len() * 9 / 8)).sum::<usize>(),
    );
    out.extend_from_slice(b"{\"");
    out.extend_from_slice(kind.member().as_bytes());
    out.extend_from_slice(b"\":[");
    let mut first = true;
    let mut separate = |out: &mut Vec<u8>| {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
    };
    let mut uris = HashSet::new();
    for (mount, listed) in parts {
        for item in listed.iter().flat_map(|listed| &listed.items) {
            separate(&mut out);
            match kind {
                ListKind::Tools | ListKind::Prompts => item.renamed(&names::exposed(mount.name(), &item.key), &mut out),
                ListKind::Resources | ListKind::Templates if uris.insert(item.key.clone()) => {
                    out.extend_from_slice(&item.raw)
                }
                ListKind::Resources | ListKind::Templates => item.renamed(&prefixed(mount.name(), &item.key), &mut out),
            }
        }
    }
    if kind == ListKind::Tools {
        for tool in built_in::tools() {
            separate(&mut out);
            tool.renamed(&names::exposed(built_in::NAME, &tool.key), &mut out);
        }
    }
    out.push(b']');
    let missing: Vec<&str> =
        parts.iter().filter(|(_, listed)| listed.is_none()).map(|(mount, _)| mount.name()).collect();
    if !missing.is_empty() {
        out.extend_from_slice(br#","_meta":{"gatehouse/missing":["#);
        for (at, name) in missing.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write::string(&mut out, name);
        }
        out.extend_from_slice(b"]}");
    }
    out.push(b'}');
    out.into()
}

/// A URI that two servers use: the later one carries its server's name.
pub(crate) fn prefixed(server: &str, uri: &str) -> String {
    format!("gw+{server}:{uri}")
}

/// The server and the original of a [`prefixed`] URI.
pub(crate) fn unprefixed(uri: &str) -> Option<(&str, &str)> {
    uri.strip_prefix("gw+")?.split_once(':')
}

/// Whether a URI can come of a template: the same text up to the first expression, and of
/// several the longest such text wins.
pub(crate) fn template_match(template: &str, uri: &str) -> Option<usize> {
    let literal = template.split('{').next().unwrap_or_default();
    uri.starts_with(literal).then_some(literal.len())
}
