//! Questions that belong to no call: to one open GET stream of the same subject whose client can take them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mcp::{Envelope, sse};
use model::Subject;
use tokio::time::Instant;

use super::asking::{cancelled, kept_token};
use super::{Inquirer, Questions, To, Waiting, words};
use crate::answer::refuse;
use crate::credentials::Part;
use crate::hub::Hub;
use crate::session::Uid;
use crate::table::Mount;
use crate::timers::scaled;
use crate::upstream::Connected;

/// How long a client may take for an answer to what no call waits for.
const ANSWER: Duration = Duration::from_secs(300);

/// The session with an upstream that somebody listens to.
pub(crate) struct Heard<'a> {
    pub(crate) mount: &'a Arc<Mount>,
    pub(crate) connected: Connected,
    pub(crate) subject: Subject,
    pub(crate) part: Part,
    pub(crate) hub: &'a Hub,
    /// The client session whose own it is.
    pub(crate) only: Option<Uid>,
}

impl Questions {
    /// Puts a question to whoever takes it; if nobody does, the upstream hears so.
    pub(crate) fn ask_outside(&self, heard: Heard<'_>, message: &Bytes, envelope: &Envelope) {
        // Copied: what waits must not keep the whole message.
        let Some(theirs) = envelope.id.map(|span| Bytes::copy_from_slice(span.of(message))) else { return };
        let (method, params) = (envelope.method(message), envelope.params.as_ref());
        let text = params.map_or(&[][..], |params| params.all.of(message));
        let takes = |capabilities| words::takes(capabilities, method, text);
        let Some((uid, several)) = heard.hub.who_takes(heard.subject, heard.mount, heard.only, takes) else {
            return refuse(heard.mount, &heard.connected, message, envelope);
        };
        let token = params.and_then(|params| params.progress_token);
        let inquirer = Inquirer {
            mount: Arc::downgrade(heard.mount),
            connected: heard.connected,
            part: heard.part,
            id: theirs,
            token: token.and_then(|span| kept_token(span.of(message))),
        };
        let refusing = inquirer.clone();
        let until = Instant::now() + scaled(ANSWER);
        let waiting = Waiting { uid, subject: heard.subject, to: To::Upstream(inquirer), until };
        let Some((number, id)) = self.put(waiting) else {
            return refusing.refuse("too many questions wait for the client");
        };
        let out = words::question(message, envelope, &id, several.then(|| heard.mount.name()));
        if !heard.hub.put(uid, sse::frame(&out)) {
            self.waiting().remove(&number);
            refusing.refuse("the client can't be reached");
        }
    }

    /// An upstream does not want to know any more what it asked outside of any call.
    pub(crate) fn withdraw_outside(&self, heard: Heard<'_>, message: &Bytes, envelope: &Envelope) {
        let Some((params, span)) = envelope.params.as_ref().and_then(|params| Some((params, params.request_id?)))
        else {
            return;
        };
        let theirs = span.of(message);
        let (uid, id) = {
            let mut all = self.waiting();
            let meant = |waiting: &Waiting| {
                waiting.subject == heard.subject
                    && matches!(&waiting.to, To::Upstream(inquirer) if *inquirer.id == *theirs
                        && inquirer.connected.is_session(&heard.connected)
                        && inquirer.mount.as_ptr() == Arc::as_ptr(heard.mount))
            };
            let Some(number) = all.iter().find(|(_, waiting)| meant(waiting)).map(|(number, _)| *number) else {
                return;
            };
            let Some(waiting) = all.remove(&number) else { return };
            (waiting.uid, words::id(self.node(), number))
        };
        let out = cancelled(message, params.all, span, &id);
        // Who does not hear of it answers what nobody waits for.
        _ = heard.hub.put(uid, sse::frame(&out));
    }
}
