//! Waits until both planes serve.

use std::time::Duration;

use url::Url;

use crate::failure::Failure;
use crate::ports::Ports;
use crate::ready::is_ready;

/// Pause between two questions: short against the time that a start takes.
const PAUSE: Duration = Duration::from_millis(20);

/// Returns when both planes have answered `/readyz` with 200 in one round. The caller bounds the wait.
pub(super) async fn both(ports: &Ports) -> Result<(), Failure> {
    let url = |text: String| Url::parse(&text).map_err(|error| Failure::caused("can't ask the planes", error));
    let (control, mcp) = (url(ports.control_url())?, url(ports.mcp_url())?);
    loop {
        let (control, mcp) = tokio::join!(is_ready(&control), is_ready(&mcp));
        if matches!((control, mcp), (Ok(true), Ok(true))) {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
}
