//! `subscriptions/listen`: one stream for what a client without a session wants to hear of. It says first what of that it
//! will, tags everything with the id of its request, and ends with a result when nothing more will come.

mod upstream;
mod wanted;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::Response;
use mcp::{ListKind, sse};
use tokio::time::Instant;

use self::upstream::Held;
pub(crate) use self::upstream::{Subscribers, updated};
pub(crate) use self::wanted::Wanted;
use self::wanted::{Filter, Resource};
use crate::asked::Asked;
use crate::body::{Body, Gauge};
use crate::fault::Fault;
use crate::gate::Gate;
use crate::hub::{Hears, Hub, Stream};
use crate::limits::Held as Place;
use crate::messages::KeptAlive;
use crate::respond::{event_response, refused};
use crate::session::Scope;
use crate::table::{Mount, Offered};
use crate::timers::scaled;
use crate::toolsets;

/// How often it is looked whether upstreams still know what was subscribed to there.
const LOOK: Duration = Duration::from_secs(10);

/// An open stream.
struct Subscribed {
    wanted: Arc<Wanted>,
    /// What is said before anything else.
    first: Option<Bytes>,
    stream: Stream,
    held: Vec<Held>,
    /// Until the key or token of the listener expires.
    until: Option<Instant>,
    over: bool,
    _place: Place,
    _gauge: Gauge,
}

impl Gate {
    /// Opens the stream of a client without a session.
    pub(crate) async fn subscribed(&self, asked: &Asked<'_>) -> Response<Body> {
        match self.subscribe(asked).await {
            Ok(response) => response,
            Err(fault) => refused(self, &fault, Some(&asked.id), None),
        }
    }

    async fn subscribe(&self, asked: &Asked<'_>) -> Result<Response<Body>, Fault> {
        let raw = asked.params().and_then(|params| params.notifications).map(|span| span.of(asked.message));
        let filter = Filter::read(raw.ok_or(Fault::Params("notifications is missing"))?)?;
        let (who, hub) = (asked.who, &asked.who.tenant.hub);
        let place = who.tenant.usage.stream();
        let place = place.ok_or(Fault::Quota { what: "open streams", retry_after: Duration::from_secs(5) })?;
        let hears = match &asked.session.scope {
            Scope::Server { server, .. } => Hears::Server(*server),
            Scope::Aggregate => Hears::All(who.view()),
            Scope::Toolset(id) => toolsets::hears(who, *id)?,
            Scope::BuiltIn => Hears::Nothing,
        };
        let lists = filter.lists() & told_of(&hears, &self.offered(asked));
        let wanted = Arc::new(Wanted::new(asked.id.clone(), lists));
        let uid = asked.session.uid;
        let stream = hub.listen_for(uid, who.caller().clone(), hears.clone(), Some(wanted.clone()));
        let stream = stream.ok_or(Fault::StreamTaken)?;
        // Only who is known to the hub is found when something is taken away; it may have been a moment ago.
        if !self.is_as_before(who) {
            return Err(Fault::invalid("unauthenticated"));
        }
        let held = Box::pin(self.hold(asked, filter.resources(), &wanted)).await;
        self.hear_upstreams(asked, &hears);
        let subscribed = Subscribed {
            first: Some(sse::frame(&wanted.acknowledged())),
            wanted,
            stream,
            held,
            until: self.until(who),
            over: false,
            _place: place,
            _gauge: Gauge::one_more(&self.counters.streams),
        };
        let events = Box::pin(stream::unfold(subscribed, async |mut subscribed| {
            let event = subscribed.next().await?;
            Some((Ok::<_, std::convert::Infallible>(event), subscribed))
        }));
        Ok(event_response(Body::stream(KeptAlive::new(events))))
    }

    /// Listens to the upstreams for as long as the stream is open. The server of the URL is begun with for it, those of an
    /// aggregate are heard once they are used.
    fn hear_upstreams(&self, asked: &Asked<'_>, hears: &Hears) {
        let (behalf, sessions) = (asked.behalf(), self.sessions.clone());
        let alone = matches!(hears, Hears::Server(_));
        let heard = |mount: &&Arc<Mount>| hears.of(mount.spec.id, mount.name());
        let mounts: Vec<Arc<Mount>> = asked.who.mounts().filter(heard).cloned().collect();
        tokio::spawn(async move {
            for mount in mounts {
                if alone
                    && let Ok(mut bearing) = sessions.credentials.bearing(&mount, &behalf).await
                    && let Err(failure) = sessions.shared(&mount, &behalf, &mut bearing).await
                {
                    tracing::debug!(server = mount.name(), class = failure.class(), "nothing is heard");
                }
                sessions.watch(&mount, &behalf).await;
            }
        });
    }

    /// Subscribes to resources where they are, and says which of that worked.
    async fn hold(&self, asked: &Asked<'_>, uris: Vec<String>, wanted: &Wanted) -> Vec<Held> {
        let mut resources = Vec::new();
        for uri in uris {
            let owner = match &asked.session.scope {
                Scope::Server { server, .. } => {
                    let mount = asked.who.mounts().find(|mount| mount.spec.id == *server);
                    mount.map(|mount| (mount.clone(), uri.clone()))
                }
                Scope::Aggregate => Box::pin(self.owner(asked, &uri)).await,
                Scope::BuiltIn | Scope::Toolset(_) => None,
            };
            if let Some((mount, own)) = owner {
                resources.push((mount, Resource { uri: uri.into(), own: own.into() }));
            }
        }
        let mut mounts: Vec<(Arc<Mount>, Vec<Resource>)> = Vec::new();
        for (mount, resource) in resources {
            match mounts.iter_mut().find(|(there, _)| there.uid == mount.uid) {
                Some((_, of)) => of.push(resource),
                None => mounts.push((mount, vec![resource])),
            }
        }
        let held = mounts.into_iter().map(async |(mount, resources)| {
            // Before anything can come of it; what came to nothing goes again.
            wanted.hears_of(mount.spec.id, &resources);
            let held = Held::begin(self, asked, &mount, &resources).await;
            let worked = held.as_ref().map(Held::resources).unwrap_or_default();
            wanted.hears_of(mount.spec.id, worked);
            held
        });
        futures::future::join_all(held).await.into_iter().flatten().collect()
    }
}

/// The kinds of lists of which there is something to tell.
fn told_of(hears: &Hears, offered: &Offered) -> u8 {
    if *hears == Hears::Nothing {
        return 0;
    }
    let kinds = [
        (offered.tools, Hub::bit(ListKind::Tools)),
        (offered.prompts, Hub::bit(ListKind::Prompts)),
        (offered.resources, Hub::bit(ListKind::Resources) | Hub::bit(ListKind::Templates)),
    ];
    hears.lists() & kinds.into_iter().filter(|(there, _)| *there).fold(0, |all, (_, bits)| all | bits)
}

impl Subscribed {
    /// The next event; the result of the request is the last one.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        while !self.over {
            tokio::select! {
                event = self.stream.events.recv() => match event {
                    Some(event) => return Some(event),
                    None => self.over = true,
                },
                () = passed(self.until) => self.over = true,
                () = lost(&self.held) => self.over = true,
            }
            if self.over {
                return Some(sse::frame(&self.wanted.ended()));
            }
        }
        None
    }
}

/// Waits for a moment that may never come.
async fn passed(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// Waits until an upstream does not know of its subscriptions any more: the client has to subscribe anew.
async fn lost(held: &[Held]) {
    if held.is_empty() {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(scaled(LOOK)).await;
        for held in held {
            if held.is_lost().await {
                return;
            }
        }
    }
}
