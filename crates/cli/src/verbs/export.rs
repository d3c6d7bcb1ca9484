//! `gatehouse export`.

use serde_json::json;

use super::house;
use crate::api::Api;
use crate::args::Export;
use crate::declared::write;
use crate::failure::Failure;
use crate::screen::{self, Screen};

/// Prints what is declared: YAML, or with `--json` one JSON document that holds it.
pub(super) async fn run(api: &Api, export: &Export, screen: Screen) -> Result<(), Failure> {
    let present = if export.all_tenants { house::platform(api, None).await? } else { house::own(api).await? };
    let text = write(&present).map_err(|error| Failure::caused("can't write the document", error))?;
    match screen {
        Screen::Text => screen::line(text.trim_end()),
        Screen::Json => screen::line(&json!({ "yaml": text }).to_string()),
    }
}
