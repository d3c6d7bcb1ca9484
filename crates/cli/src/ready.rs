//! Asks a plane whether it serves.

use std::time::Duration;

use egress::EgressError;
use egress::operator::Client;
use http::{Method, StatusCode};

/// A plane answers `/readyz` from memory; slower is not ready.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether `/readyz` of this plane answers 200; an error where nobody answers.
pub(crate) async fn is_ready(client: Client) -> Result<bool, EgressError> {
    let (status, _, _) = client.within(PATIENCE).request(Method::GET, "/readyz", &[], None).await?;
    Ok(status == StatusCode::OK)
}
