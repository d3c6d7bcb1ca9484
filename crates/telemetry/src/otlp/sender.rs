//! One call to the collector, with its headers, its time limit, and a word in the log when it keeps failing.

use std::time::Duration;

use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{IntoRequest, Request, Status};

use super::settings::Target;

/// A collector that stays away is told of this often.
const REMIND: Duration = Duration::from_secs(60);

/// The way to the collector of one signal.
pub(super) struct Sender {
    target: Target,
    signal: &'static str,
    told: Option<Instant>,
}

impl Sender {
    /// The way, and the channel that goes it; connects when it is first used, and again when it broke.
    pub(super) fn new(target: Target, signal: &'static str) -> (Self, Channel) {
        let channel = target.endpoint.clone().connect_timeout(target.timeout).connect_lazy();
        (Self { target, signal, told: None }, channel)
    }

    /// A request with the headers of the signal.
    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = message.into_request();
        *request.metadata_mut() = self.target.headers.clone();
        request
    }

    /// Waits for one export, for as long as it may take. Whether it was taken.
    pub(super) async fn sent<T>(&mut self, export: impl Future<Output = Result<T, Status>>) -> bool {
        let failed = match tokio::time::timeout(self.target.timeout, export).await {
            Ok(Ok(_)) => None,
            // Of the status only the code: the rest is the collector's own words.
            Ok(Err(status)) => Some(status.code().description()),
            Err(_) => Some("it took too long"),
        };
        match failed {
            None if self.told.take().is_some() => tracing::info!(signal = self.signal, "the collector is back"),
            Some(reason) if self.told.is_none_or(|told| told.elapsed() > REMIND) => {
                self.told = Some(Instant::now());
                tracing::warn!(signal = self.signal, reason, "the collector took nothing");
            }
            _ => (),
        }
        failed.is_none()
    }
}
