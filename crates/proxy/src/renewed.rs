//! What follows when an upstream has lost a session and another one was begun in its place: what it lists is looked at, since
//! it may be another now, and what clients had subscribed to is subscribed to again. Nobody waits for either.

use std::sync::Arc;
use std::time::Duration;

use mcp::write;

use crate::asked::Asked;
use crate::credentials::Part;
use crate::gate::Gate;
use crate::lists::look_again;
use crate::table::Mount;
use crate::timers::scaled;
use crate::upstream::{Connected, Failure, ask};

/// How long the upstream may take for all subscriptions.
const PATIENCE: Duration = Duration::from_secs(30);

impl Gate {
    /// The session that `connected` is was begun in place of one that `asked` found lost; `shared`: of all that the
    /// principal has there, not of the client's session alone.
    pub(crate) fn begun_anew(
        &self,
        asked: &Asked<'_>,
        mount: &Arc<Mount>,
        part: Part,
        connected: &Connected,
        shared: bool,
    ) {
        let behalf = asked.behalf();
        let of_all = if shared { Some(behalf.subject()) } else { None };
        let uris = self.client_sessions.subscribed(asked.session, of_all, mount.spec.id);
        let (sessions, mount, connected) = (self.sessions.clone(), mount.clone(), connected.clone());
        tokio::spawn(async move {
            let subscribing = async {
                for uri in uris {
                    let mut params = b"{\"uri\":".to_vec();
                    write::string(&mut params, &uri);
                    params.push(b'}');
                    if let Err(refused) = ask(&mount, &connected, "resources/subscribe", &params).await? {
                        let said = String::from_utf8_lossy(&refused).into_owned();
                        tracing::debug!(server = mount.name(), said, "what was subscribed to is not any more");
                    }
                }
                Ok(())
            };
            let subscribed = tokio::time::timeout(scaled(PATIENCE), subscribing).await;
            if let Err(failure) = subscribed.unwrap_or(Err(Failure::Deadline)) {
                tracing::warn!(
                    server = mount.name(),
                    class = failure.class(),
                    "subscriptions were lost with a session"
                );
            }
            look_again(&sessions, &behalf, &mount, part).await;
        });
    }
}
