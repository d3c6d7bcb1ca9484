//! The arguments of a tool that headers repeat (`Mcp-Param-…`): what a client sent must agree with its call.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::HeaderName;
use mcp::param_headers::HeaderParams;
use mcp::{Era, ListKind, names};

use super::{Ahead, differs, one};
use crate::asked::Asked;
use crate::built_in;
use crate::fault::Fault;
use crate::gate::Gate;
use crate::lists::listed;
use crate::session::Scope;
use crate::table::{Listed, Mount};
use crate::toolsets;

/// How long a call waits for the list that says which of its arguments have headers.
const PATIENCE: Duration = Duration::from_secs(5);

impl Gate {
    /// Whether the headers of a call repeat its arguments, as far as the lists that are here say that they must.
    pub(super) fn known_arguments_agree(&self, asked: &Asked<'_>, headers: &HeaderMap) -> Result<Ahead, Fault> {
        if let Scope::Toolset(_) = asked.session.scope {
            return Ok(Ahead::LookUp);
        }
        let Some(mount) = mount(asked) else { return Ok(Ahead::Serve) };
        match asked.who.known(mount, asked.session.client(), ListKind::Tools) {
            Some(listed) => agree(asked, headers, &listed).map(|()| Ahead::Serve),
            // Who has sessions says nothing of headers to those it was written for.
            None if mount.terms(asked.session.client()).era == Era::Session => Ok(Ahead::Serve),
            None => Ok(Ahead::LookUp),
        }
    }

    /// The same with the list of the server, unless it can't be had: whoever it is asked for learns why by the call.
    pub(super) async fn arguments_agree(&self, asked: &Asked<'_>, headers: &HeaderMap) -> Result<(), Fault> {
        if let Scope::Toolset(id) = asked.session.scope {
            let (Some(toolset), Some(name)) = (toolsets::found(asked.who, id), asked.name()) else { return Ok(()) };
            let client = asked.session.client();
            let shelf = self.shelves.of(&self.sessions, asked.who, asked.shown, client, Some(&toolset)).await;
            let params = shelf.find(&name).and_then(|offer| HeaderParams::of_tool(&offer.item.raw).ok());
            return params.map_or(Ok(()), |params| repeated(&params, headers, arguments(asked)));
        }
        let Some(mount) = mount(asked) else { return Ok(()) };
        let behalf = asked.behalf();
        let asking = listed(&self.sessions, &behalf, mount, ListKind::Tools);
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(Ok(listed)) => agree(asked, headers, &listed),
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    }
}

/// The server whose tool is called, where its name says so.
fn mount<'a>(asked: &Asked<'a>) -> Option<&'a Arc<Mount>> {
    match &asked.session.scope {
        Scope::Server { server, .. } => asked.who.mounts().find(|mount| mount.spec.id == *server),
        Scope::Aggregate => {
            let name = asked.name()?;
            asked.who.mount(names::server(&name).filter(|server| *server != built_in::NAME)?)
        }
        Scope::BuiltIn | Scope::Toolset(_) => None,
    }
}

fn agree(asked: &Asked<'_>, headers: &HeaderMap, listed: &Listed) -> Result<(), Fault> {
    if listed.header_params.is_empty() {
        return Ok(());
    }
    let Some(name) = asked.name() else { return Ok(()) };
    let params = match &asked.session.scope {
        Scope::Server { .. } => listed.header_params.get(&*name),
        _ => listed.find(&name).and_then(|item| listed.header_params.get(&item.key)),
    };
    params.map_or(Ok(()), |params| repeated(params, headers, arguments(asked)))
}

/// The arguments of a call, raw.
fn arguments<'a>(asked: &Asked<'a>) -> Option<&'a [u8]> {
    let span = asked.envelope.params.as_ref()?.arguments?;
    Some(span.of(asked.message))
}

/// Whether the headers repeat these arguments. What is not asked for is not looked at.
fn repeated(params: &HeaderParams, headers: &HeaderMap, arguments: Option<&[u8]>) -> Result<(), Fault> {
    for expected in params.expected(arguments) {
        // An annotation is a token: it is always a name.
        let Ok(name) = HeaderName::from_bytes(expected.header.as_bytes()) else { continue };
        match one(headers, &name)? {
            None => return Err(Fault::Headers(format!("{name} is missing").into())),
            Some(value) if !expected.is(value) => return Err(differs(name.as_str())),
            Some(_) => (),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_repeat_the_arguments_that_have_one() {
        let tool = br#"{"inputSchema":{"properties":{"region":{"type":"string","x-mcp-header":"Region"}}}}"#;
        let params = HeaderParams::of_tool(tool).unwrap();
        for (header, arguments, agrees) in [
            (Some("us"), r#"{"region":"us"}"#, true),
            (Some("=?base64?dXM=?="), r#"{"region":"us"}"#, true),
            (Some("eu"), r#"{"region":"us"}"#, false),
            (Some("=?base64?dXM?="), r#"{"region":"us"}"#, false),
            (None, r#"{"region":"us"}"#, false),
            (None, r#"{"region":null}"#, true),
            (None, "{}", true),
            (Some("us"), "{}", true),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(header) = header {
                headers.insert("mcp-param-region", header.parse().unwrap());
            }
            headers.insert("mcp-param-other", "x".parse().unwrap());
            let outcome = repeated(&params, &headers, Some(arguments.as_bytes()));
            assert_eq!(outcome.is_ok(), agrees, "{header:?} {arguments}");
        }
    }
}
