//! What a result says beside what was asked for: members that one era demands and the other does not know.

use bytes::Bytes;

use crate::object::{Change, Object, elements};

/// Members that a result gets behind its own unless it has them, and one that its `_meta` gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Additions {
    pub(crate) members: Vec<(&'static str, Bytes)>,
    pub(crate) meta: Option<(&'static str, Bytes)>,
}

impl Additions {
    /// A result gets these members, raw JSON; at most 16.
    pub fn of(members: &[(&'static str, &'static str)]) -> Self {
        Self {
            members: members
                .iter()
                .take(16)
                .map(|(name, value)| (*name, Bytes::from_static(value.as_bytes())))
                .collect(),
            meta: None,
        }
    }

    /// The same, and its `_meta` gets this one.
    pub fn with_meta(self, name: &'static str, value: Bytes) -> Self {
        Self { meta: Some((name, value)), ..self }
    }

    /// A whole result with them. One that is no object stays as it is.
    pub fn to(&self, result: &[u8]) -> Option<Vec<u8>> {
        let result = Object::read(result)?;
        let mut added: Vec<(&str, &[u8])> = self.members.iter().map(|(name, value)| (*name, &**value)).collect();
        let Some((name, value)) = &self.meta else { return Some(result.edited(|_, _| Change::Keep, &added)) };
        let none = Object::read(b"{}")?;
        let meta = match result.get("_meta") {
            None => none,
            // What is no object stays.
            Some(meta) => match Object::read(meta) {
                None => return Some(result.edited(|_, _| Change::Keep, &added)),
                Some(meta) => meta,
            },
        };
        let meta = meta.edited(|_, _| Change::Keep, &[(name, value)]);
        added.push(("_meta", &meta));
        let change = |name: &str, _: &[u8]| if name == "_meta" { Change::Put(meta.clone()) } else { Change::Keep };
        Some(result.edited(change, &added))
    }
}

/// The members that only 2026-07-28 has in its results.
const OF_STATELESS: [&str; 3] = ["resultType", "ttlMs", "cacheScope"];

/// A result without the members that only 2026-07-28 knows; `None` if it has none of them.
pub fn plain(result: &[u8]) -> Option<Vec<u8>> {
    let result = Object::read(result)?;
    let knows = |name: &str| OF_STATELESS.contains(&name);
    result
        .members()
        .any(|(name, _)| knows(name))
        .then(|| result.edited(|name, _| if knows(name) { Change::Drop } else { Change::Keep }, &[]))
}

/// What an answer that asks back wants to know, raw.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InputRequired {
    /// Key, method and params of each question.
    pub requests: Vec<InputRequest>,
    /// What comes back with the answers, exactly as it stands here.
    pub state: Option<Bytes>,
}

/// One question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputRequest {
    /// What the answer is known by.
    pub key: String,
    /// elicitation/create, sampling/createMessage or roots/list; the caller checks.
    pub method: String,
    /// A raw object.
    pub params: Bytes,
}

/// Most questions of one round.
pub const MAX_QUESTIONS: usize = 32;

impl InputRequired {
    /// Reads a result whose `resultType` is `input_required`; `None` if it is malformed, asks more than
    /// [`MAX_QUESTIONS`], or asks nothing and gives no state either.
    pub fn read(result: &[u8]) -> Option<Self> {
        let result = Object::read(result)?;
        let state = result.get("requestState").map(Bytes::copy_from_slice);
        if state.as_ref().is_some_and(|state| !state.starts_with(b"\"")) {
            return None;
        }
        let mut requests = Vec::new();
        if let Some(asked) = result.get("inputRequests") {
            for (key, request) in Object::read(asked)?.members() {
                let request = Object::read(request)?;
                let params = request.get("params").unwrap_or(b"{}");
                if requests.len() >= MAX_QUESTIONS || !params.starts_with(b"{") {
                    return None;
                }
                requests.push(InputRequest {
                    key: key.to_owned(),
                    method: request.text("method")?.into_owned(),
                    params: Bytes::copy_from_slice(params),
                });
            }
        }
        (!requests.is_empty() || state.is_some()).then_some(Self { requests, state })
    }
}

/// Kinds of content that came after the first revision, and the revision they came with.
const CONTENT_SINCE: [(&str, crate::Revision); 2] =
    [("audio", crate::Revision::V2025_03_26), ("resource_link", crate::Revision::V2025_06_18)];

/// The result of a tool or prompt for a client of an older revision: content of a kind that it can't know becomes a text
/// that names it, and structured content that is no object, which no session knows, becomes text if nothing else says
/// it. `None` if there is nothing to repair.
pub fn repaired(result: &[u8], revision: crate::Revision) -> Option<Vec<u8>> {
    let object = Object::read(result)?;
    let structured = object.get("structuredContent").filter(|value| !value.starts_with(b"{"));
    let content = object.get("content").and_then(|content| blocks(content, revision));
    let messages = object.get("messages").and_then(|messages| messages_of(messages, revision));
    if structured.is_none() && content.is_none() && messages.is_none() {
        return None;
    }
    let silent =
        structured.filter(|_| object.get("content").and_then(elements).is_none_or(|content| content.is_empty()));
    let content = match silent {
        Some(value) => Some([&b"["[..], &text_block(&String::from_utf8_lossy(value)), b"]"].concat()),
        None => content,
    };
    let change = |name: &str, _: &[u8]| match name {
        "structuredContent" if structured.is_some() => Change::Drop,
        "content" => content.clone().map_or(Change::Keep, Change::Put),
        "messages" => messages.clone().map_or(Change::Keep, Change::Put),
        _ => Change::Keep,
    };
    let added = content.as_deref().map(|content| [("content", content)]);
    Some(object.edited(change, added.as_ref().map_or(&[], |added| &added[..])))
}

/// Whether answers of tools and prompts have to be looked at for such a client.
pub fn may_need_repair(revision: crate::Revision) -> bool {
    CONTENT_SINCE.iter().any(|(_, since)| revision < *since)
}

/// An array of content, if any of it had to be replaced.
fn blocks(content: &[u8], revision: crate::Revision) -> Option<Vec<u8>> {
    let blocks = elements(content)?;
    let repaired: Vec<_> = blocks.iter().map(|block| repaired_block(block, revision)).collect();
    joined(&blocks, repaired)
}

/// An array of messages of a prompt, each with one block or several.
fn messages_of(messages: &[u8], revision: crate::Revision) -> Option<Vec<u8>> {
    let messages = elements(messages)?;
    let repaired: Vec<_> = messages
        .iter()
        .map(|message| {
            let message = Object::read(message)?;
            let content = message.get("content")?;
            let content = repaired_block(content, revision).or_else(|| blocks(content, revision))?;
            let change =
                |name: &str, _: &[u8]| if name == "content" { Change::Put(content.clone()) } else { Change::Keep };
            Some(message.edited(change, &[]))
        })
        .collect();
    joined(&messages, repaired)
}

fn joined(before: &[&[u8]], after: Vec<Option<Vec<u8>>>) -> Option<Vec<u8>> {
    if after.iter().all(Option::is_none) {
        return None;
    }
    let mut out = vec![b'['];
    for (before, after) in before.iter().zip(after) {
        if out.len() > 1 {
            out.push(b',');
        }
        out.extend_from_slice(after.as_deref().unwrap_or(before));
    }
    out.push(b']');
    Some(out)
}

fn repaired_block(block: &[u8], revision: crate::Revision) -> Option<Vec<u8>> {
    let object = Object::read(block)?;
    let kind = object.text("type")?;
    CONTENT_SINCE.iter().find(|(name, since)| *name == kind && revision < *since)?;
    let said = |name| object.text(name).map(|text| text.into_owned());
    let text = match &*kind {
        "resource_link" => {
            let uri = said("uri").unwrap_or_default();
            said("name")
                .map_or_else(|| format!("[resource_link: {uri}]"), |name| format!("[resource_link: {name} {uri}]"))
        }
        kind => said("mimeType").map_or_else(|| format!("[{kind}]"), |media| format!("[{kind}: {media}]")),
    };
    Some(text_block(&text))
}

fn text_block(text: &str) -> Vec<u8> {
    let mut out = br#"{"type":"text","text":"#.to_vec();
    crate::write::string(&mut out, text);
    out.push(b'}');
    out
}

/// A tool as clients of sessions can have it, from an upstream without sessions: an output schema that is not one of an
/// object would make their readers refuse the whole list. `None` if it is as it should be.
pub fn tool_for_sessions(tool: &[u8]) -> Option<Vec<u8>> {
    let tool = Object::read(tool)?;
    let schema = tool.get("outputSchema")?;
    let of_object = Object::read(schema).and_then(|schema| schema.text("type")).is_some_and(|kind| kind == "object");
    (!of_object).then(|| tool.edited(|name, _| if name == "outputSchema" { Change::Drop } else { Change::Keep }, &[]))
}

/// A tool as clients without sessions can have it, from an upstream with sessions: how it runs as a task is said
/// otherwise there. `None` if it says nothing of it.
pub fn tool_for_stateless(tool: &[u8]) -> Option<Vec<u8>> {
    let tool = Object::read(tool)?;
    let execution = Object::read(tool.get("execution")?)?;
    execution.get("taskSupport")?;
    let rest = execution.edited(|name, _| if name == "taskSupport" { Change::Drop } else { Change::Keep }, &[]);
    let change = |name: &str, _: &[u8]| match name {
        "execution" if rest == b"{}" => Change::Drop,
        "execution" => Change::Put(rest.clone()),
        _ => Change::Keep,
    };
    Some(tool.edited(change, &[]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Revision;

    fn text(out: Option<Vec<u8>>) -> Option<String> {
        out.map(|out| String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_result_gets_what_it_lacks() {
        let additions = Additions::of(&[("resultType", "\"complete\""), ("ttlMs", "0")]);
        let meta = additions.clone().with_meta("info", Bytes::from_static(b"{}"));
        for (result, plain, with_meta) in [
            (
                "{}",
                r#"{"resultType":"complete","ttlMs":0}"#,
                r#"{"resultType":"complete","ttlMs":0,"_meta":{"info":{}}}"#,
            ),
            (
                r#"{"a":1,"_meta":{"b":2}}"#,
                r#"{"a":1,"_meta":{"b":2},"resultType":"complete","ttlMs":0}"#,
                r#"{"a":1,"_meta":{"b":2,"info":{}},"resultType":"complete","ttlMs":0}"#,
            ),
            (
                r#"{"ttlMs":5,"_meta":{"info":7}}"#,
                r#"{"ttlMs":5,"_meta":{"info":7},"resultType":"complete"}"#,
                r#"{"ttlMs":5,"_meta":{"info":7},"resultType":"complete"}"#,
            ),
            (
                r#"{"_meta":1}"#,
                r#"{"_meta":1,"resultType":"complete","ttlMs":0}"#,
                r#"{"_meta":1,"resultType":"complete","ttlMs":0}"#,
            ),
        ] {
            assert_eq!(text(additions.to(result.as_bytes())).as_deref(), Some(plain), "{result}");
            assert_eq!(text(meta.to(result.as_bytes())).as_deref(), Some(with_meta), "{result}");
        }
        assert_eq!(additions.to(b"[]"), None);
    }

    #[test]
    fn a_session_hears_nothing_of_types_and_caches() {
        for (result, expected) in [
            (
                r#"{"resultType":"complete","content":[],"ttlMs":1,"cacheScope":"public","x":{"ttlMs":1}}"#,
                Some(r#"{"content":[],"x":{"ttlMs":1}}"#),
            ),
            (r#"{"content":[]}"#, None),
        ] {
            assert_eq!(text(plain(result.as_bytes())).as_deref(), expected, "{result}");
        }
    }

    #[test]
    fn what_an_answer_asks_back_is_read_whole_or_not_at_all() {
        let read = InputRequired::read(
            br#"{"resultType":"input_required","inputRequests":{"a":{"method":"roots/list"},"b":{"method":"elicitation/create","params":{"x":1}}},"requestState":"s\u0061"}"#,
        )
        .unwrap();
        assert_eq!(read.state.as_deref(), Some(&br#""s\u0061""#[..]));
        assert_eq!(
            read.requests.iter().map(|request| (&*request.key, &*request.method, &*request.params)).collect::<Vec<_>>(),
            [("a", "roots/list", &b"{}"[..]), ("b", "elicitation/create", b"{\"x\":1}")]
        );
        assert!(InputRequired::read(br#"{"requestState":"s"}"#).unwrap().requests.is_empty());
        for bad in [
            "{}",
            r#"{"requestState":7}"#,
            r#"{"inputRequests":[]}"#,
            r#"{"inputRequests":{}}"#,
            r#"{"inputRequests":{"a":{}}}"#,
            r#"{"inputRequests":{"a":{"method":"roots/list","params":[]}}}"#,
        ] {
            assert_eq!(InputRequired::read(bad.as_bytes()), None, "{bad}");
        }
        let many: Vec<String> = (0..=MAX_QUESTIONS).map(|at| format!(r#""{at}":{{"method":"roots/list"}}"#)).collect();
        assert_eq!(InputRequired::read(format!(r#"{{"inputRequests":{{{}}}}}"#, many.join(",")).as_bytes()), None);
    }

    #[test]
    fn older_clients_are_told_of_content_that_they_cannot_know() {
        use Revision::{V2024_11_05, V2025_03_26, V2025_06_18};
        let audio = r#"{"type":"audio","data":"AA==","mimeType":"audio/wav"}"#;
        let link = r#"{"type":"resource_link","uri":"a:b","name":"n"}"#;
        let image = r#"{"type":"image","data":"AA==","mimeType":"image/png"}"#;
        for (revision, block, expected) in [
            (V2024_11_05, audio, Some(r#"{"type":"text","text":"[audio: audio/wav]"}"#)),
            (V2025_03_26, audio, None),
            (V2025_03_26, link, Some(r#"{"type":"text","text":"[resource_link: n a:b]"}"#)),
            (V2025_06_18, link, None),
            (V2024_11_05, image, None),
            (V2024_11_05, r#"{"type":"of-tomorrow"}"#, None),
        ] {
            let result = format!(r#"{{"content":[{image},{block}],"x":1}}"#);
            let expected_result = expected.map(|block| format!(r#"{{"content":[{image},{block}],"x":1}}"#));
            assert_eq!(text(repaired(result.as_bytes(), revision)), expected_result, "{result}");
            for content in [block.to_owned(), format!("[{image},{block}]")] {
                let result = format!(r#"{{"messages":[{{"role":"user","content":{content}}}]}}"#);
                let expected = expected.map(|with| result.replace(block, with));
                assert_eq!(text(repaired(result.as_bytes(), revision)), expected, "{result}");
            }
        }
    }

    #[test]
    fn structured_content_that_no_session_knows_becomes_text() {
        for (result, expected) in [
            (
                r#"{"content":[],"structuredContent":[1,"a"]}"#,
                Some(r#"{"content":[{"type":"text","text":"[1,\"a\"]"}]}"#),
            ),
            (r#"{"structuredContent":7}"#, Some(r#"{"content":[{"type":"text","text":"7"}]}"#)),
            (
                r#"{"content":[{"type":"text","text":"7"}],"structuredContent":7}"#,
                Some(r#"{"content":[{"type":"text","text":"7"}]}"#),
            ),
            (r#"{"content":[],"structuredContent":{}}"#, None),
        ] {
            assert_eq!(text(repaired(result.as_bytes(), Revision::LATEST)).as_deref(), expected, "{result}");
        }
    }

    #[test]
    fn tools_say_what_the_other_era_can_read() {
        for (tool, sessions, stateless) in [
            (r#"{"name":"a","outputSchema":{"type":"array"}}"#, Some(r#"{"name":"a"}"#), None),
            (r#"{"name":"a","outputSchema":true}"#, Some(r#"{"name":"a"}"#), None),
            (r#"{"name":"a","outputSchema":{"type":"object"}}"#, None, None),
            (r#"{"name":"a","execution":{"taskSupport":"optional"}}"#, None, Some(r#"{"name":"a"}"#)),
            (
                r#"{"execution":{"taskSupport":"required","x":1},"name":"a"}"#,
                None,
                Some(r#"{"execution":{"x":1},"name":"a"}"#),
            ),
            (r#"{"name":"a","execution":{}}"#, None, None),
        ] {
            assert_eq!(text(tool_for_sessions(tool.as_bytes())).as_deref(), sessions, "{tool}");
            assert_eq!(text(tool_for_stateless(tool.as_bytes())).as_deref(), stateless, "{tool}");
        }
    }
}
