//! Waits until both planes serve.

use std::time::Duration;

use egress::operator::Client;
use url::Url;

use crate::failure::Failure;
use crate::ports::Ports;
use crate::ready::is_ready;

/// Pause between two questions: short against the time that a start takes.
const PAUSE: Duration = Duration::from_millis(20);

/// Returns when both planes have answered `/readyz` with 200 in one round. The caller bounds the wait.
pub(super) async fn both(ports: &Ports) -> Result<(), Failure> {
    let client = |text: String| {
        let url = Url::parse(&text).map_err(|error| Failure::caused("can't ask the planes", error))?;
        Client::new(url).map_err(|error| Failure::caused("can't ask the planes", error))
    };
    let (control, mcp) = (client(ports.control_url())?, client(ports.mcp_url())?);
    loop {
        let (control, mcp) = tokio::join!(is_ready(control.clone()), is_ready(mcp.clone()));
        if matches!((control, mcp), (Ok(true), Ok(true))) {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
}
