//! What a test upstream asks its client.
//!
//! `ask {questions: [{method, params}], outside, withdraw, complete, error}` puts all questions at once, on its own stream or
//! (`outside`) on the session's, and answers with what came back, a result or an error each, in their order. Questions count
//! from 1 in each session, so that all upstreams use the same ids. `withdraw`: it cancels each at once and waits for nothing.
//! `complete`: it says before its answer that this elicitation is complete. `error`: it answers with this error.

use futures::future::join_all;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::State;

/// Asks, and returns what to answer.
pub(crate) async fn ask(state: &State, session: &str, arguments: &Value, emit: &mpsc::Sender<Value>) -> Value {
    let questions = arguments["questions"].as_array().cloned().unwrap_or_default();
    let outside = arguments["outside"] == true && !questions.is_empty();
    let stream = if outside { state.stream(session).await } else { emit.clone() };
    let withdraws = arguments["withdraw"] == true;
    let mut answers = Vec::new();
    for question in questions {
        let (id, answered) = state.ask(session);
        let mut message = json!({"jsonrpc": "2.0", "id": id, "method": question["method"]});
        if question.get("params").is_some() {
            message["params"] = question["params"].clone();
        }
        let _ = stream.send(message).await;
        if withdraws {
            let params = json!({"requestId": id, "reason": "never mind"});
            let _ = stream.send(json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})).await;
        } else {
            answers.push(answered);
        }
    }
    let answers: Vec<Value> = join_all(answers).await.into_iter().map(Result::unwrap_or_default).collect();
    if let Some(id) = arguments["complete"].as_str() {
        let params = json!({"elicitationId": id});
        let method = "notifications/elicitation/complete";
        let _ = stream.send(json!({"jsonrpc": "2.0", "method": method, "params": params})).await;
    }
    json!({"session": session, "text": arguments["text"], "answers": answers})
}

impl State {
    /// The stream of a session, once it is open.
    async fn stream(&self, session: &str) -> mpsc::Sender<Value> {
        crate::eventually("the session has a stream", async || {
            let script = self.script.lock().unwrap();
            script.streams.get(session).filter(|stream| !stream.is_closed()).cloned()
        })
        .await
    }

    fn ask(&self, session: &str) -> (u64, oneshot::Receiver<Value>) {
        let (answer, answered) = oneshot::channel();
        let mut script = self.script.lock().unwrap();
        let count = script.questions.entry(session.to_owned()).or_default();
        *count += 1;
        let id = *count;
        script.asked.insert((session.to_owned(), id), answer);
        (id, answered)
    }

    /// A client answers.
    pub(crate) fn answered(&self, session: &str, message: &Value) {
        let Some(id) = message["id"].as_u64() else { return };
        if let Some(asked) = self.script.lock().unwrap().asked.remove(&(session.to_owned(), id)) {
            let _ = asked.send(message.clone());
        }
    }
}
