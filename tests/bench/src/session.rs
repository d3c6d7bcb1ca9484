//! One MCP session of the load generator: opens it, asks in it, and checks every answer.

use std::fmt::Write as _;
use std::net::SocketAddr;

use memchr::memmem;

use crate::client::{ClientError, Connection, Head};

/// Whom the load goes to.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// What the report calls it.
    pub(crate) name: &'static str,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The path of its MCP endpoint.
    pub(crate) path: String,
    /// The bearer key; whoever doesn't know keys ignores it.
    pub(crate) key: String,
    /// What stands before a tool's name, e.g. `s0__` on the aggregate.
    pub(crate) prefix: &'static str,
}

/// An open session on a connection of its own.
pub(crate) struct Session {
    connection: Connection,
    /// Everything of a request's head up to the value of Content-Length.
    head: String,
    target: Target,
    next: u64,
    body: String,
    request: Vec<u8>,
    answer: Vec<u8>,
}

const REVISION: &str = "2025-11-25";
/// The revision without sessions.
const STATELESS: &str = "2026-07-28";

impl Session {
    /// Connects, without opening a session yet.
    pub(crate) async fn connect(target: &Target) -> Result<Self, ClientError> {
        Ok(Self {
            connection: Connection::open(target.address).await?,
            head: String::new(),
            target: target.clone(),
            next: 1,
            body: String::new(),
            request: Vec::new(),
            answer: Vec::new(),
        })
    }

    /// Connects, initializes, and says that it is initialized.
    pub(crate) async fn open(target: &Target) -> Result<Self, ClientError> {
        let mut session = Self::connect(target).await?;
        session.initialize().await?;
        Ok(session)
    }

    /// Opens a new session on the same connection: `initialize` and `notifications/initialized`.
    pub(crate) async fn initialize(&mut self) -> Result<(), ClientError> {
        self.head = self.head_for("POST", None);
        let id = self.take_id();
        self.body.clear();
        // Writing to a String cannot fail.
        let _ = write!(
            self.body,
            r#"{{"jsonrpc":"2.0","id":{id},"method":"initialize","params":{{"protocolVersion":"{REVISION}","capabilities":{{}},"clientInfo":{{"name":"bench","version":"1"}}}}}}"#
        );
        let head = self.send("initialize", 200).await?;
        self.check_id("initialize", id)?;
        let session = head.session.ok_or_else(|| self.wrong("initialize: no session id"))?;
        self.head = self.head_for("POST", Some(&session));
        self.body.clear();
        self.body.push_str(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        self.send("initialized", 202).await?;
        Ok(())
    }

    /// A call that gives back `text`, which should be unique; by the tool `echo` or `sse`.
    pub(crate) async fn echo(&mut self, tool: &str, text: &str) -> Result<(), ClientError> {
        let prefix = self.target.prefix;
        self.echo_at(prefix, tool, text).await
    }

    /// The same with another prefix than the target's, e.g. to go round all the upstreams.
    pub(crate) async fn echo_at(&mut self, prefix: &str, tool: &str, text: &str) -> Result<(), ClientError> {
        let id = self.take_id();
        self.body.clear();
        let _ = write!(
            self.body,
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{prefix}{tool}","arguments":{{"text":"{text}"}}}}}}"#
        );
        self.send("echo", 200).await?;
        self.check_id("echo", id)?;
        self.check_text("echo", text.as_bytes(), 0)
    }

    /// A call that gives back `bytes` bytes, of which the first are `tag`.
    pub(crate) async fn big(&mut self, bytes: usize, tag: &str) -> Result<(), ClientError> {
        let id = self.take_id();
        let prefix = self.target.prefix;
        self.body.clear();
        let _ = write!(
            self.body,
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{prefix}big","arguments":{{"bytes":{bytes},"tag":"{tag}"}}}}}}"#
        );
        self.send("big", 200).await?;
        self.check_id("big", id)?;
        self.check_text("big", tag.as_bytes(), bytes - tag.len())
    }

    /// Lists the tools and checks that `echo` is among at least `least` of them.
    pub(crate) async fn list(&mut self, least: usize) -> Result<(), ClientError> {
        let id = self.take_id();
        self.body.clear();
        let _ = write!(self.body, r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/list"}}"#);
        self.send("list", 200).await?;
        self.check_id("list", id)?;
        let echo = format!(r#""name":"{}echo""#, self.target.prefix);
        let listed = memmem::find_iter(&self.answer, b"\"inputSchema\"").count();
        if listed < least || memmem::find(&self.answer, echo.as_bytes()).is_none() {
            return Err(self.wrong("list"));
        }
        Ok(())
    }

    /// [`Session::echo`] as a request of the stateless era, for which only a connection is needed.
    pub(crate) async fn stateless(&mut self, text: &str) -> Result<(), ClientError> {
        let prefix = self.target.prefix;
        self.echo_stateless(prefix, text).await
    }

    /// The same with another prefix than the target's.
    pub(crate) async fn echo_stateless(&mut self, prefix: &str, text: &str) -> Result<(), ClientError> {
        let id = self.take_id();
        self.head = self.head_for_stateless("tools/call", &format!("{prefix}echo"));
        self.body.clear();
        let _ = write!(
            self.body,
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"_meta":{{"io.modelcontextprotocol/protocolVersion":"{STATELESS}","io.modelcontextprotocol/clientCapabilities":{{}},"io.modelcontextprotocol/clientInfo":{{"name":"bench","version":"1"}}}},"name":"{prefix}echo","arguments":{{"text":"{text}"}}}}}}"#
        );
        self.send("stateless echo", 200).await?;
        self.check_id("stateless echo", id)?;
        if memmem::find(&self.answer, br#""resultType":"complete""#).is_none() {
            return Err(self.wrong("stateless echo: no resultType"));
        }
        self.check_text("stateless echo", text.as_bytes(), 0)
    }

    /// Lists the tools page by page and checks that there are at least `least` of them.
    pub(crate) async fn pages(&mut self, least: usize) -> Result<(), ClientError> {
        let mut listed = 0;
        let mut cursor: Option<String> = None;
        loop {
            let id = self.take_id();
            self.body.clear();
            let _ = write!(self.body, r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/list""#);
            if let Some(cursor) = &cursor {
                let _ = write!(self.body, r#","params":{{"cursor":"{cursor}"}}"#);
            }
            self.body.push('}');
            self.send("pages", 200).await?;
            self.check_id("pages", id)?;
            listed += memmem::find_iter(&self.answer, b"\"inputSchema\"").count();
            cursor = self.next_cursor();
            if cursor.is_none() {
                return if listed >= least { Ok(()) } else { Err(self.wrong("pages: tools are missing")) };
            }
        }
    }

    /// Looks for tools and checks that some were found.
    pub(crate) async fn search(&mut self, question: &str) -> Result<(), ClientError> {
        let id = self.take_id();
        self.body.clear();
        let _ = write!(
            self.body,
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"gatehouse__search_tools","arguments":{{"query":"{question}"}}}}}}"#
        );
        self.send("search", 200).await?;
        self.check_id("search", id)?;
        let refused = memmem::find(&self.answer, br#""isError":true"#).is_some();
        // Names of tools that were found, whether as text in text or as they are.
        if refused || memmem::find(&self.answer, b"__").is_none() { Err(self.wrong("search")) } else { Ok(()) }
    }

    /// Asks for `n` progress events, `gap_us` apart, and gives for each the nanoseconds from its
    /// making to its arrival.
    pub(crate) async fn ticks(&mut self, n: u32, gap_us: u64) -> Result<Vec<u64>, ClientError> {
        let id = self.take_id();
        let prefix = self.target.prefix;
        self.body.clear();
        let _ = write!(
            self.body,
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"_meta":{{"progressToken":"t{id}"}},"name":"{prefix}ticks","arguments":{{"n":{n},"gap_us":{gap_us}}}}}}}"#
        );
        self.write_request();
        self.answer.clear();
        let head = self.connection.begin(&self.request).await?;
        self.check_status("ticks", 200, &head)?;
        let token = format!(r#""progressToken":"t{id}""#);
        let mut passed = Vec::with_capacity(n as usize);
        let mut read = 0;
        while self.connection.piece(&mut self.answer).await? {
            let now = bench::now_ns();
            while let Some(end) = memmem::find(self.answer.get(read..).unwrap_or_default(), b"\n\n") {
                let event = self.answer.get(read..read + end).unwrap_or_default();
                if memmem::find(event, token.as_bytes()).is_some() {
                    let made = made_at(event).ok_or_else(|| self.wrong("ticks"))?;
                    passed.push(now.saturating_sub(made));
                }
                read += end + 2;
            }
        }
        self.check_id("ticks", id)?;
        if passed.len() == n as usize { Ok(passed) } else { Err(self.wrong("ticks: events are missing")) }
    }

    /// Asks for something that must be refused by a JSON-RPC error with one of these codes.
    pub(crate) async fn refused(&mut self, codes: &[i32]) -> Result<(), ClientError> {
        self.head = self.head_for("POST", None);
        let id = self.take_id();
        self.body.clear();
        let _ = write!(
            self.body,
            r#"{{"jsonrpc":"2.0","id":{id},"method":"initialize","params":{{"protocolVersion":"{REVISION}","capabilities":{{}},"clientInfo":{{"name":"bench","version":"1"}}}}}}"#
        );
        self.send("refused", 200).await?;
        self.check_id("refused", id)?;
        let listed = |code: &i32| memmem::find(&self.answer, format!(r#""code":{code}"#).as_bytes()).is_some();
        if codes.iter().any(listed) { Ok(()) } else { Err(self.wrong("refused")) }
    }

    /// Calls a tool, or opens a session, that policy must deny.
    pub(crate) async fn denied(target: &Target, tool: &str) -> Result<(), ClientError> {
        let asked = async { Self::open(target).await?.echo(tool, "denied").await };
        match asked.await {
            Ok(()) => Err(ClientError::Wrong { what: "denied", body: format!("{tool} answered at {}", target.path) }),
            Err(ClientError::Wrong { .. } | ClientError::Status { status: 403 | 404, .. }) => Ok(()),
            Err(other) => Err(other),
        }
    }

    /// Ends the session. Whoever has none to end may say so.
    pub(crate) async fn close(mut self) -> Result<(), ClientError> {
        let session = self.head.split_once("mcp-session-id: ").and_then(|(_, rest)| rest.split_once("\r\n"));
        let head = self.head_for("DELETE", session.map(|(session, _)| session));
        self.request.clear();
        self.request.extend_from_slice(head.as_bytes());
        self.request.extend_from_slice(b"0\r\n\r\n");
        let head = self.connection.exchange(&self.request, &mut self.answer).await?;
        if matches!(head.status, 200 | 202 | 204) { Ok(()) } else { self.check_status("close", 200, &head) }
    }

    fn head_for(&self, method: &str, session: Option<&str>) -> String {
        let Target { path, address, key, .. } = &self.target;
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\naccept: application/json, text/event-stream\r\n"
        );
        if let Some(session) = session {
            let _ = write!(head, "mcp-session-id: {session}\r\nmcp-protocol-version: {REVISION}\r\n");
        }
        head.push_str("content-length: ");
        head
    }

    /// Everything of a request of the stateless era up to the value of Content-Length.
    fn head_for_stateless(&self, method: &str, name: &str) -> String {
        let Target { path, address, key, .. } = &self.target;
        format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\naccept: application/json, text/event-stream\r\n\
             mcp-protocol-version: {STATELESS}\r\nmcp-method: {method}\r\nmcp-name: {name}\r\ncontent-length: "
        )
    }

    /// The cursor of the answer's next page.
    fn next_cursor(&self) -> Option<String> {
        const MEMBER: &[u8] = b"\"nextCursor\":\"";
        let rest = self.answer.get(memmem::rfind(&self.answer, MEMBER)? + MEMBER.len()..)?;
        let cursor = rest.get(..memchr::memchr(b'"', rest)?)?;
        String::from_utf8(cursor.to_vec()).ok()
    }

    fn take_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn write_request(&mut self) {
        self.request.clear();
        self.request.extend_from_slice(self.head.as_bytes());
        self.request.extend_from_slice(self.body.len().to_string().as_bytes());
        self.request.extend_from_slice(b"\r\n\r\n");
        self.request.extend_from_slice(self.body.as_bytes());
    }

    async fn send(&mut self, what: &'static str, status: u16) -> Result<Head, ClientError> {
        self.write_request();
        let head = self.connection.exchange(&self.request, &mut self.answer).await?;
        self.check_status(what, status, &head)?;
        Ok(head)
    }

    fn check_status(&self, what: &'static str, status: u16, head: &Head) -> Result<(), ClientError> {
        if head.status == status {
            return Ok(());
        }
        Err(ClientError::Status { what, status: head.status, body: begin_of(&self.answer) })
    }

    fn check_id(&self, what: &'static str, id: u64) -> Result<(), ClientError> {
        let member = format!(r#""id":{id}"#);
        let ends = |at: usize| matches!(self.answer.get(at + member.len()), Some(b',' | b'}'));
        // The id stands before or behind what may be a mebibyte of result.
        let near = self.answer.get(..256).unwrap_or(&self.answer);
        let found = memmem::find(near, member.as_bytes()).is_some_and(ends)
            || memmem::rfind(&self.answer, member.as_bytes()).is_some_and(ends);
        if found { Ok(()) } else { Err(self.wrong(what)) }
    }

    fn check_text(&self, what: &'static str, text: &[u8], filler: usize) -> Result<(), ClientError> {
        const MEMBER: &[u8] = b"\"text\":\"";
        let rest = memmem::find(&self.answer, MEMBER).and_then(|at| self.answer.get(at + MEMBER.len()..));
        let filled = rest.and_then(|rest| rest.strip_prefix(text)).and_then(|rest| rest.split_at_checked(filler));
        match filled {
            Some((filler, rest)) if rest.first() == Some(&b'"') && filler.iter().all(|byte| *byte == b'x') => Ok(()),
            _ => Err(self.wrong(what)),
        }
    }

    fn wrong(&self, what: &'static str) -> ClientError {
        ClientError::Wrong { what, body: begin_of(&self.answer) }
    }
}

fn begin_of(body: &[u8]) -> String {
    String::from_utf8_lossy(body.get(..400).unwrap_or(body)).into_owned()
}

fn made_at(event: &[u8]) -> Option<u64> {
    const MEMBER: &[u8] = b"\"message\":\"";
    let digits = event.get(memmem::find(event, MEMBER)? + MEMBER.len()..)?;
    let digits = digits.get(..memchr::memchr(b'"', digits)?)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
