//! Opening a session with an upstream: in its transport, and in an era that it knows.

use std::sync::Arc;

use ::http::HeaderMap;
use bytes::Bytes;
use mcp::{Era, Revision};
use model::Transport;

use super::http::{self, HttpSession};
use super::legacy::{self, LegacySession};
use super::stateless::{self, Stateless};
use super::{Connected, Failure, Opened, Refusal, Said, answer_of, mint_id};
use crate::client::Terms;
use crate::credentials::Lines;
use crate::retry::Tries;
use crate::table::Mount;

/// Longest session id of an upstream: it is sealed into ours, which must fit a header.
const SESSION_ID: usize = 1024;
/// What can be done neither with a session nor without one.
const SESSIONLESS: Failure = Failure::BadResponse("it chose a version that has no sessions, and speaks none without");

/// How a session is opened.
pub(crate) struct Opening<'a> {
    /// The client's `clientInfo`, or our own; raw JSON.
    pub(crate) client_info: &'a [u8],
    /// The revision to ask for.
    pub(crate) revision: Revision,
    /// The era to speak, and what to declare.
    pub(crate) terms: Terms,
    pub(crate) passed: &'a HeaderMap,
    /// What its requests bear.
    pub(crate) lines: Option<&'a Arc<Lines>>,
    /// Whether to send notifications/initialized at once (no client will).
    pub(crate) complete: bool,
}

/// Opens a session: Streamable HTTP, or HTTP+SSE, or whichever of them answers. No try begins after `deadline`.
pub(crate) async fn open(
    mount: &Arc<Mount>,
    opening: &Opening<'_>,
    notify: legacy::Notify,
    deadline: tokio::time::Instant,
) -> Result<Opened, Failure> {
    let mut tries = Tries::of(mount, deadline);
    loop {
        match open_once(mount, opening, notify.clone()).await {
            Err(failure) => tries.next(failure, true).await?,
            opened => return opened,
        }
    }
}

/// One try. What it shows of the upstream's eras is remembered; the other one than that of the terms is
/// [`Failure::OtherEra`].
async fn open_once(mount: &Arc<Mount>, opening: &Opening<'_>, notify: legacy::Notify) -> Result<Opened, Failure> {
    if opening.terms.era == Era::Stateless {
        return discovered(mount, opening).await;
    }
    let opened = match mount.transport() {
        Transport::Sse => open_legacy(mount, opening, notify).await,
        transport => match open_http(mount, opening).await {
            Err(failure) if matches!(failure, Failure::OtherEra) || stateless::may_know_no_sessions(&failure) => {
                match discovered(mount, opening).await {
                    Ok(_) => {
                        mount.eras.proved_wrong(Era::Session);
                        mount.eras.found(Era::Stateless, true);
                        return Err(Failure::OtherEra);
                    }
                    // It knows the question, and wants to know first who asks.
                    Err(refused @ Failure::Unauthorized(_)) => return Err(refused),
                    // What shows nothing is no.
                    Err(_) => (),
                }
                if matches!(failure, Failure::OtherEra) {
                    return Err(SESSIONLESS);
                }
                if transport == Transport::StreamableHttp {
                    return Err(failure);
                }
                let opened = open_legacy(mount, opening, notify).await?;
                mount.found(Transport::Sse);
                Ok(opened)
            }
            opened => {
                if opened.is_ok() {
                    mount.found(Transport::StreamableHttp);
                }
                opened
            }
        },
    }?;
    mount.eras.found(Era::Session, true);
    Ok(opened)
}

/// `server/discover` in place of a session.
async fn discovered(mount: &Mount, opening: &Opening<'_>) -> Result<Opened, Failure> {
    let stateless = Stateless { capabilities: opening.terms.capabilities, lines: opening.lines.cloned() };
    match stateless.discover(mount, opening.passed).await {
        Ok(result) => {
            mount.eras.found(Era::Stateless, true);
            mount.found(Transport::StreamableHttp);
            Opened::new(Connected::Stateless(stateless), result, Revision::STATELESS)
        }
        Err(Failure::OtherEra) => {
            mount.eras.proved_wrong(Era::Stateless);
            Err(Failure::OtherEra)
        }
        Err(failure) => Err(failure),
    }
}

/// Finds out whether an upstream with sessions speaks without them, too, for a record of it. What shows nothing leaves it
/// unknown.
pub(crate) async fn look_for_stateless(mount: &Mount, opening: &Opening<'_>) {
    if mount.eras.speaks(Era::Stateless).is_none()
        && let Err(failure) = discovered(mount, opening).await
    {
        tracing::debug!(class = failure.class(), "it was not found to speak without sessions");
    }
}

/// `initialize` with the capabilities of the client.
fn initialize(id: u64, opening: &Opening<'_>) -> Bytes {
    let mut body = format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"initialize","params":{{"protocolVersion":"{}","capabilities":{},"clientInfo":"#,
        opening.revision.as_str(),
        opening.terms.capabilities.declare()
    )
    .into_bytes();
    body.extend_from_slice(opening.client_info);
    body.extend_from_slice(b"}}");
    Bytes::from(body)
}

fn initialized() -> Bytes {
    Bytes::from_static(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)
}

async fn open_http(mount: &Mount, opening: &Opening<'_>) -> Result<Opened, Failure> {
    let id = mint_id();
    let fresh = HttpSession { lines: opening.lines.cloned(), ..HttpSession::default() };
    let (answer, session) = http::post(mount, &fresh, opening.passed, initialize(id, opening)).await?;
    let result = answer_of(answer, id).await?.map_err(|error| match Refusal::folded(&error) {
        Some(refusal) => Failure::Unauthorized(Arc::new(refusal)),
        None => Failure::Status { status: 400, retry_after: None, error: Some(error) },
    })?;
    let revision = chosen_revision(&result)?;
    // It was asked for a session, and answers with a version that has none.
    if revision.era() == Era::Stateless {
        return Err(Failure::OtherEra);
    }
    if session.as_ref().is_some_and(|id| id.len() > SESSION_ID || id.to_str().is_err()) {
        return Err(Failure::BadResponse("its session id is malformed"));
    }
    let session = HttpSession { id: session, revision: Some(revision), lines: opening.lines.cloned() };
    if opening.complete {
        http::post(mount, &session, opening.passed, initialized()).await?;
    }
    Opened::new(Connected::Http(session), result, revision)
}

async fn open_legacy(mount: &Arc<Mount>, opening: &Opening<'_>, notify: legacy::Notify) -> Result<Opened, Failure> {
    let session = LegacySession::connect(mount, opening.passed, opening.lines, notify).await?;
    let id = mint_id();
    let result =
        session.ask(mount, opening.lines, id, initialize(id, opening)).await?.map_err(
            |error| match Refusal::folded(&error) {
                Some(refusal) => Failure::Unauthorized(Arc::new(refusal)),
                None => Failure::BadResponse("it refused to initialize"),
            },
        )?;
    let revision = chosen_revision(&result)?;
    if revision.era() == Era::Stateless {
        return Err(SESSIONLESS);
    }
    session.post(mount, opening.lines, initialized()).await?;
    Opened::new(Connected::Legacy(session, opening.lines.cloned()), result, revision)
}

fn chosen_revision(result: &Bytes) -> Result<Revision, Failure> {
    let said: Said =
        serde_json::from_slice(result).map_err(|_| Failure::BadResponse("its answer to initialize is malformed"))?;
    Revision::parse(&said.protocol_version).ok_or(Failure::BadResponse("it chose a version that is not known"))
}
