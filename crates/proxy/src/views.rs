//! The lists of the aggregate: everything that a caller may use, merged, in pages that are ready to be sent.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use mcp::{Era, ListKind, names, write};
use model::TenantId;
use sha2::{Digest as _, Sha256};

use crate::built_in;
use crate::client::{Capabilities, Client};
use crate::credentials::{Behalf, Showing};
use crate::cursors::Place;
use crate::hub::Hub;
use crate::lists::{listed, part};
use crate::principal::Authenticated;
use crate::seal::Sealer;
use crate::table::{Listed, Mount};
use crate::upstream::{Failure, OWN_INFO};
use crate::upstream_sessions::UpstreamSessions;

/// How long the aggregate waits for a slow upstream before it lists without it.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many upstreams are asked at once for one list.
const AT_ONCE: usize = 64;
/// How long a merged list is served before the lists it is made of are looked at again.
pub(crate) const FRESH: Duration = Duration::from_secs(60);
/// The same while something is missing in it.
pub(crate) const FRESH_PARTIAL: Duration = Duration::from_secs(1);
/// Most bytes of merged lists that are kept.
const VIEWS: u64 = 128 << 20;
/// Items of one page. Many clients ask for no second one: nearly every list fits into the first.
const PAGE: usize = 1000;

/// Merged lists by tenant, kind, the servers that a caller may use, and as whom.
pub(crate) struct Views {
    views: moka::sync::Cache<ViewKey, Arc<View>>,
    sealer: Arc<Sealer>,
}

/// Tenant, kind, the servers that the caller may use, if not all, a digest of the parts of those that take a credential,
/// and what the client is to upstreams.
type ViewKey = (TenantId, ListKind, Option<Arc<[Box<str>]>>, [u8; 16], Era, Capabilities);

/// A merged list.
pub(crate) struct View {
    pages: Vec<Page>,
    place: Place,
    epoch: u64,
    until: Instant,
}

/// One page of a list, as the members of its result.
pub(crate) struct Page {
    /// `"tools":[…]` and, if there is another page, `"nextCursor":"…"`.
    members: Bytes,
    /// A member of `_meta` that says what is missing; empty if nothing is.
    missing: Bytes,
    /// For how long the upstreams promise it to be right.
    ttl: Duration,
}

impl Page {
    /// The only page of a list that is ready as a result.
    pub(crate) fn whole(result: &Bytes, ttl: Duration) -> Self {
        let members = result.slice(1..result.len().saturating_sub(1).max(1));
        Self { members, missing: Bytes::new(), ttl }
    }

    /// The response for the request `id` of such a client. What its list holds depends on who asks: no cache may
    /// show it to anybody else.
    pub(crate) fn answer(&self, id: &[u8], client: Client) -> Bytes {
        let mut out = Vec::with_capacity(self.members.len() + self.missing.len() + id.len() + 256);
        out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
        out.extend_from_slice(id);
        out.extend_from_slice(br#","result":{"#);
        let stateless = client.is_stateless();
        if stateless {
            let ttl = if self.missing.is_empty() { self.ttl.as_millis() } else { 0 };
            out.extend_from_slice(br#""resultType":"complete","cacheScope":"private","ttlMs":"#);
            out.extend_from_slice(ttl.to_string().as_bytes());
            out.push(b',');
        }
        out.extend_from_slice(&self.members);
        if stateless || !self.missing.is_empty() {
            out.extend_from_slice(br#","_meta":{"#);
            if stateless {
                out.extend_from_slice(br#""io.modelcontextprotocol/serverInfo":"#);
                out.extend_from_slice(OWN_INFO);
                if !self.missing.is_empty() {
                    out.push(b',');
                }
            }
            out.extend_from_slice(&self.missing);
            out.push(b'}');
        }
        out.extend_from_slice(b"}}");
        out.into()
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len() + self.missing.len()
    }
}

impl View {
    /// The page of a cursor, or the first one; `None` if the cursor is not of this list.
    pub(crate) fn page(&self, sealer: &Sealer, kind: ListKind, cursor: Option<&str>) -> Option<Page> {
        page_at(&self.pages, self.place, sealer, kind, cursor)
    }
}

/// The page of a cursor, or the first one; `None` if the cursor is not of this list. A list that has become shorter
/// meanwhile ends with an empty page.
pub(crate) fn page_at(
    pages: &[Page],
    place: Place,
    sealer: &Sealer,
    kind: ListKind,
    cursor: Option<&str>,
) -> Option<Page> {
    let at = match cursor {
        None => 0,
        Some(cursor) => place.page(sealer, cursor)? as usize,
    };
    Some(match pages.get(at) {
        Some(page) => Page { members: page.members.clone(), missing: page.missing.clone(), ttl: page.ttl },
        None => {
            let members = format!("\"{}\":[]", kind.member()).into();
            Page { members, missing: Bytes::new(), ttl: Duration::ZERO }
        }
    })
}

impl Views {
    /// Nothing yet; cursors are sealed by this.
    pub(crate) fn new(sealer: Arc<Sealer>) -> Self {
        let weight = |view: &Arc<View>| view.pages.iter().map(Page::len).sum::<usize>();
        let views = moka::sync::Cache::builder()
            .weigher(move |_, view: &Arc<View>| u32::try_from(weight(view)).unwrap_or(u32::MAX))
            .max_capacity(VIEWS)
            .build();
        Self { views, sealer }
    }

    /// Most bytes of merged lists, and what tells how many there are.
    pub(crate) fn fill(&self) -> (u64, impl Fn() -> u64 + use<>) {
        let views = self.views.clone();
        (VIEWS, move || views.weighted_size())
    }

    /// The merged list of everything that the caller may use.
    pub(crate) async fn merged(
        &self,
        sessions: &Arc<UpstreamSessions>,
        who: &Authenticated,
        shown: Showing<'_>,
        client: Client,
        kind: ListKind,
    ) -> Arc<View> {
        let key = (who.tenant.spec.id, kind, who.view(), parts(who), client.era(), client.capabilities);
        let hub = &who.tenant.hub;
        let epoch = hub.epoch();
        if let Some(view) = self.views.get(&key)
            && view.epoch == epoch
            && Instant::now() < view.until
        {
            return view;
        }
        let behalf = Behalf::of(who, shown, client);
        let mounts: Vec<Arc<Mount>> = who.mounts().cloned().collect();
        let parts = gathered(sessions, &behalf, mounts, kind).await;
        let partial = parts.iter().any(|(_, listed)| listed.is_none());
        let place = Place::of(who.tenant.spec.id, kind, key.2.as_deref(), client);
        let pages = merge(kind, &parts, |page| place.cursor(&self.sealer, page));
        let until = Instant::now() + if partial { FRESH_PARTIAL } else { FRESH };
        let view = Arc::new(View { pages, place, epoch, until });
        self.views.insert(key, view.clone());
        view
    }
}

/// The lists of these mounts as far as they can be had within the patience, in the order of the mounts.
pub(crate) async fn gathered(
    sessions: &Arc<UpstreamSessions>,
    behalf: &Behalf,
    mounts: Vec<Arc<Mount>>,
    kind: ListKind,
) -> Vec<(Arc<Mount>, Option<Arc<Listed>>)> {
    // One deadline for all of them together: many slow servers cost no more than one.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let asked = stream::iter(mounts.into_iter().enumerate()).map(|(at, mount)| {
        let (sessions, behalf) = (sessions.clone(), behalf.clone());
        async move {
            let client = behalf.client;
            let listed = patiently(sessions, behalf, &mount, kind, deadline).await;
            (at, listed.map(|listed| listed.for_client(client)), mount)
        }
    });
    let mut parts: Vec<_> = asked.buffer_unordered(AT_ONCE).collect().await;
    parts.sort_unstable_by_key(|(at, _, _)| *at);
    let parts: Vec<(Arc<Mount>, Option<Arc<Listed>>)> =
        parts.into_iter().map(|(_, listed, mount)| (mount, listed)).collect();
    let missing = parts.iter().filter(|(_, listed)| listed.is_none()).map(|(mount, _)| mount.name());
    let missing: Vec<&str> = missing.collect();
    tracing::debug!(
        kind = kind.member(),
        selected = parts.len(),
        served = parts.len() - missing.len(),
        failed = ?missing,
        "list"
    );
    parts
}

/// What tells the lists of this caller from those of others: as whom each server that takes a credential is used, if at
/// all. Zeros where there is none.
pub(crate) fn parts(who: &Authenticated) -> [u8; 16] {
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
    let terms = mount.terms(behalf.client);
    let known = mount.known(part, terms, kind);
    let cell = mount.list(part, terms, kind);
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

fn merge(
    kind: ListKind,
    parts: &[(Arc<Mount>, Option<Arc<Listed>>)],
    cursor: impl Fn(u32) -> Option<String>,
) -> Vec<Page> {
    let mut paging = Paging::new(kind, parts, cursor);
    let mut uris = HashSet::new();
    for (mount, listed) in parts {
        for item in listed.iter().flat_map(|listed| &listed.items) {
            let out = paging.item();
            match kind {
                ListKind::Tools | ListKind::Prompts => item.renamed(&names::exposed(mount.name(), &item.key), out),
                ListKind::Resources | ListKind::Templates if uris.insert(item.key.clone()) => {
                    out.extend_from_slice(&item.raw)
                }
                ListKind::Resources | ListKind::Templates => item.renamed(&prefixed(mount.name(), &item.key), out),
            }
        }
    }
    if kind == ListKind::Tools {
        for tool in built_in::tools() {
            tool.renamed(&names::exposed(built_in::NAME, &tool.key), paging.item());
        }
    }
    paging.finish()
}

/// A list in the making, cut into pages.
pub(crate) struct Paging<C> {
    kind: ListKind,
    /// The cursor of a page, counted from 0.
    cursor: C,
    missing: Bytes,
    ttl: Duration,
    pages: Vec<Page>,
    out: Vec<u8>,
    /// Items of the page in the making.
    items: usize,
}

impl<C: Fn(u32) -> Option<String>> Paging<C> {
    /// A list that is made of these.
    pub(crate) fn new(kind: ListKind, parts: &[(Arc<Mount>, Option<Arc<Listed>>)], cursor: C) -> Self {
        let ttl = parts.iter().filter_map(|(_, listed)| Some(listed.as_ref()?.ttl)).min().unwrap_or_default();
        let (missing, out) = (missing(parts), begun(kind));
        Self { kind, cursor, missing, ttl, pages: Vec::new(), out, items: 0 }
    }

    /// Where the next item is to be written.
    pub(crate) fn item(&mut self) -> &mut Vec<u8> {
        if self.items == PAGE
            && let Some(cursor) = (self.cursor)(self.pages.len() as u32 + 1)
        {
            self.out.extend_from_slice(b"],\"nextCursor\":");
            write::string(&mut self.out, &cursor);
            let page = std::mem::replace(&mut self.out, begun(self.kind));
            self.close(page);
        }
        if self.items > 0 {
            self.out.push(b',');
        }
        self.items += 1;
        &mut self.out
    }

    fn close(&mut self, members: Vec<u8>) {
        self.pages.push(Page { members: members.into(), missing: self.missing.clone(), ttl: self.ttl });
        self.items = 0;
    }

    /// All pages; one if there is no item.
    pub(crate) fn finish(mut self) -> Vec<Page> {
        let mut last = std::mem::take(&mut self.out);
        last.push(b']');
        self.close(last);
        self.pages
    }
}

/// The member that holds the items, up to the first of them.
fn begun(kind: ListKind) -> Vec<u8> {
    format!("\"{}\":[", kind.member()).into_bytes()
}

/// The member of `_meta` that names the servers whose part is missing.
fn missing(parts: &[(Arc<Mount>, Option<Arc<Listed>>)]) -> Bytes {
    let mut names = parts.iter().filter(|(_, listed)| listed.is_none()).map(|(mount, _)| mount.name()).peekable();
    if names.peek().is_none() {
        return Bytes::new();
    }
    let mut out = br#""gatehouse/missing":["#.to_vec();
    for (at, name) in names.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write::string(&mut out, name);
    }
    out.push(b']');
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
