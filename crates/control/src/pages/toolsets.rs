//! `/toolsets` and `/toolsets/{toolset}`: which selections of tools a person's tenant has, and what is in one.

use std::collections::HashMap;

use askama::Template;
use axum::extract::{FromRequestParts as _, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use model::{DEFAULT_TENANT, Listing, ServerId, ServerName, ToolsetTool};
use store::{ToolsetPage, ToolsetRecord};

use crate::App;
use crate::pages::{Frame, Refusal, SignedIn, show};
use crate::rest::toolsets::{find, names};

/// Toolsets of a page: there are no more of one tenant.
const MOST: u32 = 500;

#[derive(Template)]
#[template(path = "toolsets.html")]
struct ListPage {
    frame: Frame,
    rows: Vec<Row>,
}

#[derive(Template)]
#[template(path = "toolset.html")]
struct OnePage {
    frame: Frame,
    row: Row,
    entries: Vec<Entry>,
}

/// One toolset.
struct Row {
    name: String,
    title: String,
    description: Option<String>,
    /// Where proxies serve it, below their address.
    path: String,
    /// It shows no tools but those that find them.
    searched: bool,
    entries: usize,
}

/// One entry of it.
struct Entry {
    /// The server's name; `None` for one that is deleted.
    server: Option<String>,
    tool: String,
    /// All tools of the server that have no entry of their own.
    every: bool,
    name: Option<String>,
    description: Option<String>,
}

/// Shows all.
pub(super) async fn page(State(app): State<App>, who: SignedIn) -> Result<Response, Refusal> {
    let records = who.store(&app).toolsets(ToolsetPage { limit: MOST, ..ToolsetPage::default() }).await?;
    let rows = records.iter().map(|record| Row::of(record, &who)).collect();
    show(StatusCode::OK, &ListPage { frame: Frame::of(&app, Some(&who)), rows })
}

/// Shows one.
pub(super) async fn one(State(app): State<App>, who: SignedIn, mut parts: Parts) -> Result<Response, Refusal> {
    let path = Path::<String>::from_request_parts(&mut parts, &app).await;
    let Path(named) = path.map_err(|_| Refusal::NotFound)?;
    let store = who.store(&app);
    let record = find(&store, &named).await?.ok_or(Refusal::NotFound)?;
    let names = names(&store, std::slice::from_ref(&record)).await?;
    let entries = record.spec.tools.iter().map(|entry| Entry::of(entry, &names)).collect();
    show(StatusCode::OK, &OnePage { frame: Frame::of(&app, Some(&who)), row: Row::of(&record, &who), entries })
}

impl Row {
    fn of(record: &ToolsetRecord, who: &SignedIn) -> Self {
        let (spec, tenant) = (&record.spec, who.tenant().spec.name.as_str());
        let prefix = if tenant == DEFAULT_TENANT { String::new() } else { format!("/t/{tenant}") };
        Self {
            name: spec.name.to_string(),
            title: spec.title.clone(),
            description: spec.description.clone(),
            path: format!("{prefix}/toolsets/{}/mcp", spec.name),
            searched: spec.listing == Listing::Search,
            entries: spec.tools.len(),
        }
    }
}

impl Entry {
    fn of(entry: &ToolsetTool, names: &HashMap<ServerId, ServerName>) -> Self {
        Self {
            server: names.get(&entry.server).map(ToString::to_string),
            tool: entry.tool.clone(),
            every: entry.is_every(),
            name: entry.name.clone(),
            description: entry.description.clone(),
        }
    }
}
