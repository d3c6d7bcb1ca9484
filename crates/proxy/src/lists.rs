//! The tools, prompts, resources and templates of one server: fetched on demand, kept raw.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mcp::{Item, List, ListKind};

use crate::credentials::{Bearing, Behalf, Part};
use crate::hub::Hub;
use crate::retry::Tries;
use crate::table::{Listed, Mount};
use crate::upstream::{Connected, Failure, ask};
use crate::upstream_sessions::{UpstreamSessions, settle};

/// Most items of one list.
const ITEMS: usize = 2000;
/// Most bytes of one list.
const BYTES: usize = 16 << 20;
/// No list is promised to be right for longer, whatever its upstream says.
const TTL: Duration = Duration::from_secs(3600);
/// Most pages of one list.
const PAGES: usize = 200;
/// How long one list may take to come in whole.
const ASKING: Duration = Duration::from_secs(60);

/// One mount's list: what is known, or what the upstream says now. A list that is merely old is
/// served and asked for in the background; one that the upstream called changed is waited for.
pub(crate) async fn listed(
    sessions: &Arc<UpstreamSessions>,
    behalf: &Behalf,
    mount: &Arc<Mount>,
    kind: ListKind,
) -> Result<Arc<Listed>, Failure> {
    let listed = listed_there(sessions, behalf, mount, kind).await?;
    Ok(listed.for_client(behalf.client))
}

async fn listed_there(
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

/// Looks at the lists that are known of a mount, which may be others now: who listens hears of those that are.
pub(crate) async fn look_again(sessions: &UpstreamSessions, behalf: &Behalf, mount: &Arc<Mount>, part: Part) {
    let terms = mount.terms(behalf.client);
    for kind in ListKind::ALL.into_iter().filter(|kind| mount.known(part, terms, *kind).is_some()) {
        mount.invalidate(part, kind);
        if let Err(failure) = refreshed(sessions, behalf, mount, part, kind).await {
            tracing::debug!(server = mount.name(), class = failure.class(), "a list could not be looked at again");
        }
    }
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
pub(crate) fn part(sessions: &UpstreamSessions, behalf: &Behalf, mount: &Mount) -> Result<Part, Failure> {
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
    let cell = mount.list(part, mount.terms(behalf.client), kind);
    // Before it is asked whether this is the trial of a cooling upstream: it may come to nothing.
    let mut bearing = sessions.credentials.bearing(mount, behalf).await?;
    if bearing.part != part {
        return Err(Failure::SessionLost);
    }
    mount.cooldown.admit(Instant::now()).map_err(Failure::Cooling)?;
    let asking = cell.ask();
    let deadline = tokio::time::Instant::now() + ASKING;
    let fetching = fetch(sessions, behalf, mount, &mut bearing, kind, deadline);
    let (items, ttl) = tokio::time::timeout_at(deadline, fetching).await.unwrap_or_else(|_| {
        let late = Err(Failure::Deadline);
        settle(mount, &late);
        late
    })?;
    // Known for sure only now: it may have been asked in an era that it does not speak.
    let terms = mount.terms(behalf.client);
    let listed = Arc::new(Listed::new(kind, mount, terms.era, items.clone(), ttl, asking.at));
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
) -> Result<(Vec<Item>, Duration), Failure> {
    // Whether the session could be opened is counted where it is opened, once for all who wait for it.
    let mut opened = sessions.shared(mount, behalf, bearing).await?;
    if !opened.has(kind) {
        mount.cooldown.succeeded();
        return Ok((Vec::new(), Duration::ZERO));
    }
    let mut lost = false;
    let fetched = loop {
        match pages(mount, &opened.connected.bearing(bearing.lines.as_ref()), kind, deadline).await {
            Err(failure @ (Failure::SessionLost | Failure::OtherEra)) if !std::mem::replace(&mut lost, true) => {
                sessions.forget(mount, behalf, bearing.part).await;
                if matches!(failure, Failure::OtherEra) {
                    mount.eras.proved_wrong(opened.connected.era());
                }
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

/// Asks for all pages of a list; says for how long the upstream promises that it is right. No try begins after `deadline`.
pub(crate) async fn pages(
    mount: &Mount,
    connected: &Connected,
    kind: ListKind,
    deadline: tokio::time::Instant,
) -> Result<(Vec<Item>, Duration), Failure> {
    let mut tries = Tries::of(mount, deadline);
    let (mut items, mut bytes, mut cursor, mut ttl) = (Vec::new(), 0, None::<Bytes>, TTL);
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
                return Ok((Vec::new(), Duration::ZERO));
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
        ttl = ttl.min(page.ttl_ms.map_or(Duration::ZERO, Duration::from_millis));
        match page.next_cursor {
            Some(next) if cursor.as_ref() != Some(&next) => cursor = Some(next),
            _ => return Ok((items, ttl)),
        }
    }
    Ok((items, ttl))
}

/// JSON-RPC's code for a method that is not there.
const METHOD_NOT_FOUND: i64 = -32601;

/// The code of a raw JSON-RPC error.
fn code(error: &[u8]) -> Option<i64> {
    std::str::from_utf8(mcp::member(error, "code")?.of(error)).ok()?.parse().ok()
}
