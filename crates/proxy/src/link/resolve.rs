//! Questions about credentials, through the connection of whichever stream is open.

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use tonic::{Code, Status};
use uuid::Uuid;
use wire::client::LinkClient;
use wire::frame::{ReportFrame, ResolveFrame};
use wire::{LinkChannel, Report, ResolveQuestion, Resolved, Verdict};

use crate::credentials::{Control, ControlError};

/// The way to control for questions. Cloning gives another handle to the same.
#[derive(Clone)]
pub(crate) struct Line {
    boot: Arc<str>,
    node: Arc<str>,
    open: Arc<Mutex<Option<Numbered>>>,
}

/// A stream's connection, and which stream of the process it is.
type Numbered = (u64, LinkClient<LinkChannel>);

/// Questions are asked through one stream's connection until this is dropped.
pub(super) struct OpenLine {
    line: Line,
    number: u64,
}

impl Line {
    /// The line of a process that begins, which control will know by a name in `pool`.
    pub(crate) fn new(pool: &str) -> Self {
        let boot = Uuid::new_v4().simple().to_string();
        Self { node: format!("{pool}/{boot}").into(), boot: boot.into(), open: Arc::default() }
    }

    pub(super) fn boot(&self) -> String {
        self.boot.to_string()
    }

    /// A stream was opened.
    pub(super) fn begun(&self, client: &LinkClient<LinkChannel>) -> OpenLine {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let number = open.as_ref().map_or(0, |(number, _)| *number) + 1;
        *open = Some((number, client.clone()));
        OpenLine { line: self.clone(), number }
    }

    fn client(&self) -> Result<LinkClient<LinkChannel>, ControlError> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let client = open.as_ref().map(|(_, client)| client.clone());
        client.ok_or_else(|| ControlError::Away("the link is down".to_owned()))
    }
}

impl Drop for OpenLine {
    fn drop(&mut self) {
        let mut open = self.line.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.as_ref().is_some_and(|(number, _)| *number == self.number) {
            *open = None;
        }
    }
}

impl Control for Line {
    fn node(&self) -> String {
        self.node.to_string()
    }

    fn resolve(&self, question: ResolveQuestion) -> BoxFuture<'_, Result<Resolved, ControlError>> {
        Box::pin(async move {
            let answer = self.client()?.resolve(ResolveFrame::from(&question)).await.map_err(failed)?;
            Resolved::try_from(answer.into_inner()).map_err(|error| ControlError::Away(error.to_string()))
        })
    }

    fn report(&self, verdicts: Vec<Verdict>) -> BoxFuture<'_, Result<(), ControlError>> {
        Box::pin(async move {
            let report = Report { node: self.node.to_string(), verdicts };
            self.client()?.report(ReportFrame::from(&report)).await.map_err(failed)?;
            Ok(())
        })
    }
}

/// Who does not believe a question is there; everything else may pass.
fn failed(status: Status) -> ControlError {
    let said = status.message().to_owned();
    match status.code() {
        Code::PermissionDenied | Code::Unauthenticated | Code::InvalidArgument | Code::NotFound => {
            ControlError::Refused(said)
        }
        _ => ControlError::Away(said),
    }
}
