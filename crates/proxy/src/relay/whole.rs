//! Whole answers as the client may have them.

use std::sync::Arc;

use bytes::Bytes;
use mcp::references::may_hold_in;
use mcp::{Envelope, Era, Params, Span, write};

use super::Came;
use crate::account::Ended;
use crate::answer::{self, Call};
use crate::asked::Asked;
use crate::bridge;
use crate::fault::Code;
use crate::seal::Sealer;
use crate::session::Scope;
use crate::shape::{Shape, Shaped};
use crate::table::Mount;
use crate::upstream::{Failure, Refusal, answers};
use crate::views::unprefixed;

/// What becomes of an answer that comes in this era.
pub(super) fn shape(asked: &Asked<'_>, mount: &Arc<Mount>, sealer: &Arc<Sealer>, upstream: Era) -> Shape {
    let level = asked.params().and_then(|params| params.meta_log_level).map(|span| span.of(asked.message));
    let exposed = matches!(asked.session.scope, Scope::Aggregate | Scope::Toolset(_)).then(|| {
        let uri = asked.params().and_then(|params| Params::text(params.uri, asked.message));
        asked.exposed(sealer, mount, uri.is_some_and(|uri| unprefixed(&uri).is_some()))
    });
    Shape::of(asked.session.client(), upstream, asked.method()).telling(level).exposing(exposed)
}

/// A whole response as the client may have it.
pub(super) fn whole(message: Bytes, asked: &Asked<'_>, call: &Call) -> Result<Came, Failure> {
    let envelope = bridge::scanned(&message)?;
    if envelope.kind != mcp::Kind::Response || !answers(&envelope, &message, call.id) {
        return Err(Failure::BadResponse("it answers something else"));
    }
    if call.connected.bears()
        && let Some(refusal) = envelope.error.and_then(|error| Refusal::folded(error.of(&message)))
    {
        return Err(Failure::Unauthorized(Arc::new(refusal)));
    }
    let ended = Ended::answered(envelope.error.is_some(), answer::tool_failed(&message, &envelope));
    match call.shape.whole(&message, &envelope, &asked.id) {
        Shaped::Answer(answer) => Ok(Came::Whole(vec![answer], ended)),
        Shaped::AsksBack(_) => Err(Failure::BadResponse("it asks back where nothing may be asked")),
    }
}

/// An error in the words of the client's era.
pub(super) fn reworded(pieces: Vec<Bytes>, asked: &Asked<'_>, call: &Call) -> Vec<Bytes> {
    if !call.shape.rewrites_errors() {
        return pieces;
    }
    let message = Bytes::from(pieces.concat());
    let Ok(envelope) = Envelope::scan(&message) else { return pieces };
    match call.shape.whole(&message, &envelope, &asked.id) {
        Shaped::Answer(answer) => vec![answer],
        Shaped::AsksBack(_) => pieces,
    }
}

/// An answer with what it names as the client may bring it back.
pub(super) fn exposed(pieces: Vec<Bytes>, call: &Call) -> Vec<Bytes> {
    let Some(exposed) = call.shape.exposed().filter(|_| may_hold_in(pieces.iter().map(|piece| &piece[..]))) else {
        return pieces;
    };
    let message = Bytes::from(pieces.concat());
    let result = Envelope::scan(&message).ok().and_then(|envelope| envelope.result);
    let Some((span, with)) = result.and_then(|span| Some((span, exposed.rewritten(span.of(&message))?))) else {
        return vec![message];
    };
    let mut out = Vec::with_capacity(message.len() + with.len());
    write::patched(&mut out, &message, Span::whole(&message), &[write::Patch { span, with: &with }]);
    vec![out.into()]
}

/// A raw result or error of our own as a message.
pub(super) fn said(id: &[u8], answer: Result<&[u8], &[u8]>) -> Bytes {
    match answer {
        Ok(result) => write::result(id, result),
        Err(error) => write::raw_error(id, error),
    }
}

/// The code of an answer that is an error.
pub(super) fn code(pieces: &[Bytes]) -> Option<Code> {
    let message = pieces.concat();
    let envelope = Envelope::scan(&message).ok()?;
    Code::of(envelope.error?.of(&message))
}

/// The refusal of a credential in an answer that is an error.
pub(super) fn folded(pieces: &[Bytes]) -> Option<Refusal> {
    let message = pieces.concat();
    let envelope = Envelope::scan(&message).ok()?;
    Refusal::folded(envelope.error?.of(&message))
}
