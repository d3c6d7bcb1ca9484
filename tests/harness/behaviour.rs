//! The ways in which an upstream can misbehave.

/// What an upstream does instead of answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Takes the request and never sends a byte.
    Hang,
    /// Sends a head and the start of a body, and never ends it.
    NeverFinish,
    /// Sends one byte of a good answer every tenth of a second.
    Drip,
    /// Breaks the connection in the middle of a JSON body.
    TruncateJson,
    /// Ends the stream in the middle of an event.
    TruncateSse,
    /// Ends the stream well, without any answer in it.
    EmptySse,
    /// 200 `application/json` with something else in it.
    Garbage,
    /// 200 `text/html` with a login page.
    LoginPage,
    /// A JSON body of 32 MiB.
    HugeBody,
    /// One event that goes on for 64 MiB.
    EndlessEvent,
    /// A redirect to the metadata address of a cloud.
    Redirect,
    /// 50,000 frames of junk, then the answer.
    JunkFrames,
    /// 401 with a challenge.
    Unauthorized,
    /// 500 with a stack trace.
    ServerError,
    /// A body that says it is gzip.
    Gzip,
    /// An answer to an id that nobody asked with.
    WrongId,
    /// The same answer twice, the second with another content.
    DuplicateId,
    /// Comments four times a second for four seconds, then the answer.
    Heartbeats,
    /// 400 with a JSON-RPC error of the tool's own that speaks of some session.
    SessionWords,
    /// An event stream with an error that carries no id.
    NullId,
}

/// Every behaviour with its word, by which a call of the tool `bad` asks for it.
pub const BEHAVIOURS: &[(&str, Behaviour)] = &[
    ("hang", Behaviour::Hang),
    ("never_finish", Behaviour::NeverFinish),
    ("drip", Behaviour::Drip),
    ("truncate_json", Behaviour::TruncateJson),
    ("truncate_sse", Behaviour::TruncateSse),
    ("empty_sse", Behaviour::EmptySse),
    ("garbage", Behaviour::Garbage),
    ("login_page", Behaviour::LoginPage),
    ("huge_body", Behaviour::HugeBody),
    ("endless_event", Behaviour::EndlessEvent),
    ("redirect", Behaviour::Redirect),
    ("junk_frames", Behaviour::JunkFrames),
    ("unauthorized", Behaviour::Unauthorized),
    ("server_error", Behaviour::ServerError),
    ("gzip", Behaviour::Gzip),
    ("wrong_id", Behaviour::WrongId),
    ("duplicate_id", Behaviour::DuplicateId),
    ("heartbeats", Behaviour::Heartbeats),
    ("session_words", Behaviour::SessionWords),
    ("null_id", Behaviour::NullId),
];

impl Behaviour {
    /// Reads the word of [`BEHAVIOURS`].
    pub fn parse(word: &str) -> Option<Self> {
        BEHAVIOURS.iter().find(|(name, _)| *name == word).map(|(_, behaviour)| *behaviour)
    }
}
