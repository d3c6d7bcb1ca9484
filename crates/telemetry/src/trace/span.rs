//! A piece of work that is timed and described while it goes on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span as Wire, Status, span::SpanKind};

use super::context::{Context, fresh_trace};
use super::{CURRENT, Current, Source};

/// Longest text in a span: names come from clients.
const TEXT: usize = 256;
/// Most attributes of a span.
const ATTRIBUTES: usize = 32;

/// Who works for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A request that came from outside.
    Server,
    /// A request that goes out.
    Client,
    /// Work of our own.
    Internal,
}

/// A piece of work; it ends when this is dropped.
#[must_use = "a span that is dropped has ended"]
pub struct Span(Current);

/// What a span says of itself.
pub struct Details {
    pub(crate) span: Wire,
}

/// A span that is being recorded; sent when nobody works for it any more.
pub(crate) struct Recording {
    source: Arc<Source>,
    /// Locked for a moment, by the one task that works for it.
    details: Mutex<Option<Details>>,
}

impl Span {
    /// A span that nobody records.
    pub(super) fn silent(context: Option<Context>) -> Self {
        Self(Current { trace: context.map_or_else(fresh_trace, Context::trace), context, recording: None })
    }

    pub(super) fn recorded(source: Arc<Source>, own: Context, parent: Option<u64>, kind: Kind, state: &str) -> Self {
        let span = Wire {
            trace_id: own.trace().to_be_bytes().to_vec(),
            span_id: own.span().to_be_bytes().to_vec(),
            parent_span_id: parent.map(|parent| parent.to_be_bytes().to_vec()).unwrap_or_default(),
            trace_state: cut(state).to_owned(),
            flags: 1,
            start_time_unix_nano: now(),
            ..Wire::default()
        };
        let mut details = Details { span };
        details.kind(kind);
        let recording = Recording { source, details: Mutex::new(Some(details)) };
        Self(Current { trace: own.trace(), context: Some(own), recording: Some(Arc::new(recording)) })
    }

    /// Runs a future for this span.
    pub fn scope<F: Future>(&self, future: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self.0.clone(), future)
    }

    /// Runs a function for this span.
    pub fn within<R>(&self, work: impl FnOnce() -> R) -> R {
        CURRENT.sync_scope(self.0.clone(), work)
    }

    /// Who it is, for whoever is asked next.
    pub fn context(&self) -> Option<Context> {
        self.0.context
    }

    /// The id of its trace, 32 hex digits.
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.0.trace)
    }

    /// Whether it is recorded.
    pub fn is_recorded(&self) -> bool {
        self.0.recording.is_some()
    }

    /// Says more about it, if it is recorded.
    pub fn describe(&self, describe: impl FnOnce(&mut Details)) {
        if let Some(recording) = &self.0.recording {
            recording.describe(describe);
        }
    }
}

impl Default for Span {
    /// A span of a trace of its own that nobody records.
    fn default() -> Self {
        Self::silent(None)
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        self.describe(|details| details.span.end_time_unix_nano = now());
    }
}

impl Recording {
    pub(super) fn child(&self, parent: Context, kind: Kind) -> Span {
        Span::recorded(self.source.clone(), parent.child(), Some(parent.span()), kind, "")
    }

    pub(super) fn describe(&self, describe: impl FnOnce(&mut Details)) {
        if let Some(details) = self.lock().as_mut() {
            describe(details);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Details>> {
        self.details.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let details = self.lock().take();
        if let Some(details) = details {
            (self.source.sink)(details);
        }
    }
}

impl Details {
    /// Its name: of few values, so that spans can be grouped by it.
    pub fn name(&mut self, name: &str) {
        self.span.name = cut(name).to_owned();
    }

    /// Who works for whom.
    pub fn kind(&mut self, kind: Kind) {
        let kind = match kind {
            Kind::Server => SpanKind::Server,
            Kind::Client => SpanKind::Client,
            Kind::Internal => SpanKind::Internal,
        };
        self.span.kind = kind.into();
    }

    /// An attribute; a text longer than 256 bytes is cut. Never arguments, results or secrets.
    pub fn text(&mut self, key: &'static str, value: impl AsRef<str>) {
        self.attribute(key, Value::StringValue(cut(value.as_ref()).to_owned()));
    }

    /// An attribute that is a number.
    pub fn number(&mut self, key: &'static str, value: i64) {
        self.attribute(key, Value::IntValue(value));
    }

    /// It failed; `kind` is one of few words.
    pub fn failed(&mut self, kind: &str) {
        self.text("error.type", kind);
        self.span.status = Some(Status { message: String::new(), code: StatusCode::Error.into() });
    }

    fn attribute(&mut self, key: &'static str, value: Value) {
        let value = Some(AnyValue { value: Some(value) });
        let attributes = &mut self.span.attributes;
        if let Some(same) = attributes.iter_mut().find(|attribute| attribute.key == key) {
            same.value = value;
        } else if attributes.len() < ATTRIBUTES {
            attributes.push(KeyValue { key: key.to_owned(), value, ..KeyValue::default() });
        } else {
            self.span.dropped_attributes_count += 1;
        }
    }
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT)).unwrap_or_default()
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
