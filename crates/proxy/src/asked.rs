//! One request of a client, and whether executing it twice could do harm.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use mcp::{Envelope, ListKind, Params, Span};

use crate::credentials::{Behalf, Showing};
use crate::exposed::Exposed;
use crate::fault::Fault;
use crate::principal::Authenticated;
use crate::seal::Sealer;
use crate::session::Session;
use crate::table::Mount;
use crate::upstream::Failure;

/// One request of a client, read and admitted.
pub(crate) struct Asked<'a> {
    pub(crate) who: &'a Authenticated,
    pub(crate) session: &'a Session,
    /// What let the caller in.
    pub(crate) shown: Showing<'a>,
    /// The headers of the client that may cross.
    pub(crate) passed: &'a HeaderMap,
    pub(crate) message: &'a Bytes,
    pub(crate) envelope: &'a Envelope,
    /// The client's id, raw JSON.
    pub(crate) id: Bytes,
}

/// A member of the params with another value, raw JSON.
pub(crate) type Renamed = Option<(Span, Vec<u8>)>;

impl Asked<'_> {
    pub(crate) fn behalf(&self) -> Behalf {
        Behalf::of(self.who, self.shown, self.session.client())
    }

    /// How what the mount names looks to this client, where several servers stand behind its URL.
    pub(crate) fn exposed(&self, sealer: &Arc<Sealer>, mount: &Arc<Mount>, by_name: bool) -> Exposed {
        let (who, client) = (self.who.clone(), self.session.client());
        Exposed { who, client, mount: mount.clone(), sealer: sealer.clone(), by_name }
    }

    pub(crate) fn method(&self) -> &str {
        self.envelope.method(self.message)
    }

    pub(crate) fn params(&self) -> Option<&Params> {
        self.envelope.params.as_ref()
    }

    /// What a failure of an upstream means for this request.
    pub(crate) fn fault(&self, failure: &Failure, unsafe_call: bool) -> Fault {
        let fault = Fault::of(failure, unsafe_call);
        match (self.method(), self.session.client().is_stateless()) {
            _ if !self.session.capabilities.opens_urls() => fault,
            ("tools/call", false) => fault.elicited(),
            ("tools/call" | "prompts/get" | "resources/read", true) => fault.input_required(),
            _ => fault,
        }
    }

    /// The name of the tool or prompt.
    pub(crate) fn name(&self) -> Option<Cow<'_, str>> {
        Params::text(self.params()?.name, self.message)
    }
}

/// Whether executing the request twice could do harm. Hints are believed only where an admin said so.
pub(crate) fn is_unsafe(asked: &Asked<'_>, mount: &Mount) -> bool {
    match asked.method() {
        "tools/call" => !(mount.spec.trust_hints && asked.name().is_some_and(|name| hinted_safe(asked, mount, &name))),
        "ping" | "prompts/get" | "resources/read" | "completion/complete" | "logging/setLevel" => false,
        method => ListKind::of_method(method).is_none(),
    }
}

fn hinted_safe(asked: &Asked<'_>, mount: &Mount, name: &str) -> bool {
    #[derive(serde::Deserialize, Default)]
    struct Hints {
        #[serde(rename = "readOnlyHint", default)]
        read_only: bool,
        #[serde(rename = "idempotentHint", default)]
        idempotent: bool,
    }
    #[derive(serde::Deserialize)]
    struct Tool {
        #[serde(default)]
        annotations: Hints,
    }
    let Some(listed) = asked.who.known(mount, asked.session.client(), ListKind::Tools) else { return false };
    let Some(item) = listed.items.iter().find(|item| &*item.key == name) else { return false };
    serde_json::from_slice::<Tool>(&item.raw)
        .is_ok_and(|tool| tool.annotations.read_only || tool.annotations.idempotent)
}
