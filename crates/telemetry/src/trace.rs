//! Spans: what one request makes both processes and an upstream do, under one trace id.
//!
//! A span that is not recorded costs an id or nothing at all; what describes it is not even computed. The span
//! at work is known to everything in its task, so nothing on the way of a request has to hand it on.

mod context;
mod sampler;
mod span;

use std::sync::{Arc, OnceLock};

pub use self::context::Context;
pub(crate) use self::context::fresh_trace;
pub(crate) use self::sampler::Sampler;
use self::span::Recording;
pub use self::span::{Details, Kind, Span};

tokio::task_local! {
    static CURRENT: Current;
}

/// The span at work in a task.
#[derive(Clone, Default)]
struct Current {
    /// The id for errors and logs, whether or not anything is recorded.
    trace: u128,
    context: Option<Context>,
    recording: Option<Arc<Recording>>,
}

/// Takes finished spans. It must neither wait nor grow: what it can't take is lost.
pub(crate) type Sink = Box<dyn Fn(Details) + Send + Sync>;

/// The tracer of the process, as the subscriber of logs is; none until an exporter starts.
static INSTALLED: OnceLock<Tracer> = OnceLock::new();

/// Begins spans. The default records none.
#[derive(Clone, Default)]
pub(crate) struct Tracer(Option<Arc<Source>>);

struct Source {
    sampler: Sampler,
    sink: Sink,
}

impl Tracer {
    pub(crate) fn new(sampler: Sampler, sink: Sink) -> Self {
        Self(Some(Arc::new(Source { sampler, sink })))
    }

    /// From here on, spans of this process begin with it. A second one changes nothing.
    pub(crate) fn install(self) {
        let _second = INSTALLED.set(self);
    }

    fn server(&self, traceparent: Option<&str>, tracestate: Option<&str>) -> Span {
        let parent = traceparent.and_then(Context::parse);
        let Some(source) = &self.0 else { return Span::silent(parent) };
        let trace = parent.map_or_else(fresh_trace, Context::trace);
        let sampled = source.sampler.samples(parent, trace);
        if !sampled {
            // The next ones are told not to record it either.
            let unsampled = parent.map_or_else(|| Context::root(trace, false), |parent| parent.with_sampled(false));
            return Span::silent(Some(unsampled));
        }
        let own = parent.map_or_else(|| Context::root(trace, true), |parent| parent.child().with_sampled(true));
        let state = tracestate.filter(|_| parent.is_some()).unwrap_or_default();
        Span::recorded(source.clone(), own, parent.map(Context::span), Kind::Server, state)
    }
}

/// The span of a request that came with these two headers. Where nothing is recorded it keeps the caller's
/// trace id, for errors and logs.
pub fn server(traceparent: Option<&str>, tracestate: Option<&str>) -> Span {
    match INSTALLED.get() {
        Some(tracer) => tracer.server(traceparent, tracestate),
        None => Span::silent(traceparent.and_then(Context::parse)),
    }
}

/// The span of a step of our own: within the one at work, or one that begins a trace.
pub fn step(name: &'static str) -> Span {
    let at_work = CURRENT.try_with(|current| current.context.is_some()).unwrap_or_default();
    let span = if at_work { child(Kind::Internal, |_| ()) } else { server(None, None) };
    span.describe(|details| {
        details.kind(Kind::Internal);
        details.name(name);
    });
    span
}

/// A span within the one that is at work here; silent if that one is.
pub fn child(kind: Kind, describe: impl FnOnce(&mut Details)) -> Span {
    let Ok(Some(span)) = CURRENT.try_with(|current| {
        let recording = current.recording.as_ref()?;
        Some(recording.child(current.context?, kind))
    }) else {
        return Span::silent(None);
    };
    span.describe(describe);
    span
}

/// Says more about the span that is at work here; what is said is computed only if it is recorded.
pub fn describe(describe: impl FnOnce(&mut Details)) {
    // Nothing is at work outside of requests, and then there is nothing to say it of.
    let _nothing_at_work = CURRENT.try_with(|current| {
        if let Some(recording) = &current.recording {
            recording.describe(describe);
        }
    });
}

/// The span that is at work here, for whoever is asked next; of a trace that has begun somewhere.
pub fn current() -> Option<Context> {
    CURRENT.try_with(|current| current.context).ok().flatten()
}

/// The id of the trace that is at work here, or a new one, so that an error can be found again in the log.
pub fn trace_id() -> String {
    let trace = CURRENT.try_with(|current| current.trace).unwrap_or_default();
    format!("{:032x}", if trace == 0 { fresh_trace() } else { trace })
}

/// Takes the span that is at work here along into another task.
pub fn carried<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let current = CURRENT.try_with(Clone::clone).unwrap_or_default();
    CURRENT.scope(current, future)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn recorded(sampler: Sampler) -> (Tracer, Arc<Mutex<Vec<Details>>>) {
        let spans = Arc::<Mutex<Vec<Details>>>::default();
        let sink = spans.clone();
        (Tracer::new(sampler, Box::new(move |span| sink.lock().unwrap().push(span))), spans)
    }

    #[tokio::test]
    async fn a_child_belongs_to_the_span_at_work_and_that_to_the_caller() {
        let (tracer, spans) = recorded(Sampler::default());
        let span = tracer.server(Some(PARENT), Some("vendor=1"));
        let handed_on = span
            .scope(async {
                describe(|details| details.name("tools/call"));
                assert_eq!(trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
                let child = child(Kind::Client, |details| details.name("POST"));
                child.context().unwrap()
            })
            .await;
        drop(span);
        let spans = spans.lock().unwrap();
        let [client, server] = &spans[..] else { panic!("{} spans", spans.len()) };
        assert_eq!((client.span.name.as_str(), server.span.name.as_str()), ("POST", "tools/call"));
        assert_eq!(client.span.parent_span_id, server.span.span_id);
        assert_eq!(client.span.span_id, handed_on.span().to_be_bytes());
        assert_eq!(server.span.parent_span_id, 0x00f0_67aa_0ba9_02b7u64.to_be_bytes());
        assert_eq!(server.span.trace_state, "vendor=1");
        assert!(server.span.end_time_unix_nano >= server.span.start_time_unix_nano);
    }

    #[tokio::test]
    async fn what_is_not_sampled_is_not_described_and_tells_the_next_ones() {
        let (tracer, spans) = recorded(Sampler::read(Some("always_off"), None).unwrap());
        for tracer in [tracer, Tracer::default()] {
            let span = tracer.server(Some(PARENT), None);
            span.scope(async {
                describe(|_| panic!("described"));
                let child = child(Kind::Client, |_| panic!("described"));
                assert!(child.context().is_none());
                assert_eq!(trace_id(), trace_id());
                assert_eq!(current().unwrap().trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
            })
            .await;
        }
        assert!(spans.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_task_can_take_its_span_along() {
        let (tracer, _spans) = recorded(Sampler::default());
        let span = tracer.server(Some(PARENT), None);
        let carried = span.within(|| tokio::spawn(carried(async { trace_id() }))).await.unwrap();
        assert_eq!(carried, "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_ne!(trace_id(), trace_id(), "outside of a trace each error has its own");
    }
}
