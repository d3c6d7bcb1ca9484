//! In which session with the upstream a request goes out, and what it bears.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::HeaderValue;
use mcp::Era;

use crate::answer::Call;
use crate::asked::Asked;
use crate::credentials::{Bearing, Credentials, Part};
use crate::gate::Gate;
use crate::session::{Scope, Session};
use crate::table::Mount;
use crate::upstream::http::HttpSession;
use crate::upstream::stateless::Stateless;
use crate::upstream::{Connected, Failure};

impl Gate {
    /// The upstream session for this request: the client session's own where it still fits, else the shared one.
    pub(crate) async fn connected(
        &self,
        asked: &Asked<'_>,
        mount: &Arc<Mount>,
        bearing: &mut Bearing,
    ) -> Result<Connected, Failure> {
        if let Some(own) = self.own(asked, mount, bearing) {
            return Ok(own);
        }
        let shared = Box::pin(self.sessions.shared(mount, &asked.behalf(), bearing)).await?;
        let connected = shared.connected.bearing(bearing.lines.as_ref());
        // A session that was opened after its client had said a level: who has none said none.
        if !asked.session.client().is_stateless() && !shared.level_told.swap(true, Ordering::AcqRel) {
            Box::pin(self.tell_level(asked, mount, &shared, &connected)).await;
        }
        Ok(connected)
    }

    /// What the request bears to a mount that takes a credential.
    pub(crate) async fn bearing(
        &self,
        asked: &Asked<'_>,
        mount: &Arc<Mount>,
        deadline: tokio::time::Instant,
    ) -> Result<Bearing, Failure> {
        if let Some(bearing) = self.credentials().at_hand(mount, asked.who, asked.shown)? {
            return Ok(bearing);
        }
        let behalf = asked.behalf();
        let asking = Box::pin(self.credentials().bearing(mount, &behalf));
        tokio::time::timeout_at(deadline, asking).await.unwrap_or(Err(Failure::Deadline))
    }

    pub(crate) fn credentials(&self) -> &Arc<Credentials> {
        &self.sessions.credentials
    }

    /// What needs nothing to be opened: the client session's own upstream session, where it still fits, or the way to an
    /// upstream that is known to have none.
    pub(crate) fn own(&self, asked: &Asked<'_>, mount: &Mount, bearing: &Bearing) -> Option<Connected> {
        let terms = mount.terms(asked.session.client());
        if terms.era == Era::Stateless {
            let stateless = || Stateless { capabilities: terms.capabilities, lines: bearing.lines.clone() };
            return (mount.eras.speaks(Era::Stateless) == Some(true)).then(|| Connected::Stateless(stateless()));
        }
        let session = own_session(asked.session, mount, bearing)?;
        (!self.sessions.is_replaced(asked.session.uid)).then_some(Connected::Http(session))
    }

    pub(crate) async fn connected_anew(
        &self,
        asked: &Asked<'_>,
        mount: &Arc<Mount>,
        bearing: &mut Bearing,
    ) -> Result<Connected, Failure> {
        let own = self.own(asked, mount, bearing).is_some();
        let first = match own {
            true => self.sessions.replace(asked.session.uid),
            false => self.sessions.forget(mount, &asked.behalf(), bearing.part).await,
        };
        let shared = self.sessions.shared(mount, &asked.behalf(), bearing).await?;
        let connected = shared.connected.bearing(bearing.lines.as_ref());
        if first {
            self.begun_anew(asked, mount, bearing.part, &connected, !own);
        }
        Ok(connected)
    }

    /// The same in the other era than that of the call, which the upstream does not know.
    pub(crate) async fn connected_otherwise(
        &self,
        asked: &Asked<'_>,
        mount: &Arc<Mount>,
        bearing: &mut Bearing,
        call: &Call,
    ) -> Result<Connected, Failure> {
        let era = call.connected.era();
        tracing::info!(server = mount.name(), ?era, "it does not speak the era in which it was spoken to");
        if era == Era::Session && own_session(asked.session, mount, bearing).is_some() {
            _ = self.sessions.replace(asked.session.uid);
        }
        _ = self.sessions.forget(mount, &asked.behalf(), bearing.part).await;
        mount.eras.proved_wrong(era);
        self.connected(asked, mount, bearing).await
    }
}

/// The upstream session that was opened for this client session, if it belongs to the mount as it is now and to what the
/// request bears.
pub(crate) fn own_session(session: &Session, mount: &Mount, bearing: &Bearing) -> Option<HttpSession> {
    match &session.scope {
        Scope::Server { identity, upstream_revision, upstream, part, .. }
            if *identity == mount.identity
                && upstream_revision.era() == Era::Session
                && part.is(&bearing.part)
                && mount.transport() != model::Transport::Sse
                // Of a session without an id only the transport tells what it was, and `auto` forgets it.
                && (upstream.is_some() || mount.transport() != model::Transport::Auto) =>
        {
            let id = match upstream {
                Some(id) => Some(HeaderValue::from_str(id).ok()?),
                None => None,
            };
            Some(HttpSession { id, revision: Some(*upstream_revision), lines: bearing.lines.clone() })
        }
        _ => None,
    }
}

/// Whether the client session has an upstream session of its own there, for this part.
pub(crate) fn is_own(session: &Session, mount: &Mount, part: Part) -> bool {
    own_session(session, mount, &Bearing::nothing_as(part)).is_some()
}
