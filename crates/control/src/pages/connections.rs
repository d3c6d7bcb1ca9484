//! `/connections`: which servers a person has a connection of their own to, and which want a login.

use std::collections::HashMap;

use askama::Template;
use axum::extract::{FromRequestParts as _, Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use model::{ConnectionId, ConnectionStatus, Holder, Scope, ServerId};
use store::{ConnectionHealth, ConnectionPage, ConnectionRecord, ServerPage, ServerRecord, TenantStore};

use crate::App;
use crate::connections::{self, ConnectionError, accepted};
use crate::pages::account::at;
use crate::pages::{Frame, Refusal, Signed, SignedIn, show, signin};

/// Servers and connections that a page shows; who has more finds them with the command line.
const MOST: u32 = 500;

#[derive(Template)]
#[template(path = "connections.html")]
struct ConnectionsPage<'a> {
    frame: Frame,
    csrf: String,
    tenant: &'a str,
    rows: Vec<Row>,
    more: bool,
}

/// A server that takes connections of single users.
struct Row {
    name: String,
    title: String,
    /// How the connection does, in words.
    state: &'static str,
    good: bool,
    /// Who the upstream says that the person is.
    subject: Option<String>,
    last_good: Option<String>,
    error: Option<String>,
    /// People log in at its authorization server.
    login: bool,
    /// The connection, if there is one.
    connection: Option<String>,
}

/// Shows it.
pub(super) async fn page(State(app): State<App>, who: SignedIn) -> Result<Response, Refusal> {
    let store = who.store(&app);
    let servers = store.servers(ServerPage { enabled: Some(true), limit: MOST, ..ServerPage::default() }).await?;
    let more = servers.len() == MOST as usize;
    let mut own = own(&store, Holder::User(who.user().id)).await?;
    let mut rows = Vec::new();
    for server in servers {
        let record = own.remove(&server.spec.id);
        if record.is_some() || accepted(&server).contains(&Scope::User) {
            rows.push(Row::of(&server, record.as_ref()));
        }
    }
    let page = ConnectionsPage {
        frame: Frame::of(&app, Some(&who)),
        csrf: who.csrf(),
        tenant: who.tenant().spec.name.as_str(),
        rows,
        more,
    };
    show(StatusCode::OK, &page)
}

/// Takes the tokens of a connection back where they were granted, and removes the connection.
pub(super) async fn disconnect(State(app): State<App>, sent: Signed) -> Result<Response, Refusal> {
    let Signed { who, mut form } = sent;
    let path = Path::<String>::from_request_parts(&mut form.parts, &app).await;
    let id: ConnectionId = path.ok().and_then(|Path(text)| text.parse().ok()).ok_or(Refusal::NotFound)?;
    let store = who.store(&app);
    let found = store.connection(id).await?.filter(|record| record.holder == Holder::User(who.user().id));
    let record = found.ok_or(Refusal::NotFound)?;
    let server = store.server(record.server).await?.ok_or(Refusal::NotFound)?;
    connections::revoke(&app, &store, &who.actor(), &server, &record).await.map_err(refusal)?;
    match app.connections.remove(&store, &who.actor(), id, None).await {
        // What somebody else removed in the same moment is removed.
        Ok(_) | Err(ConnectionError::Store(store::StoreError::NotFound)) => (),
        Err(error) => return Err(refusal(error)),
    }
    Ok(signin::on(&form.site, Some("/connections")))
}

/// The connections of a person, by server.
async fn own(store: &TenantStore, holder: Holder) -> Result<HashMap<ServerId, ConnectionRecord>, Refusal> {
    let page = ConnectionPage { holder: Some(holder), limit: MOST, ..ConnectionPage::default() };
    let records = store.connections(page).await?;
    Ok(records.into_iter().map(|record| (record.server, record)).collect())
}

fn refusal(error: ConnectionError) -> Refusal {
    match error {
        ConnectionError::Store(error) => error.into(),
        other => {
            tracing::error!(error = %telemetry::chain(&other), "a connection could not be removed");
            Refusal::Internal
        }
    }
}

impl Row {
    fn of(server: &ServerRecord, record: Option<&ConnectionRecord>) -> Self {
        let binding = server.spec.binding.as_ref();
        let good = record.is_some_and(|record| record.health(binding) == ConnectionHealth::Active);
        let state = match record {
            None => "not connected",
            Some(_) if good => "connected",
            Some(record) => match record.status {
                ConnectionStatus::Disabled => "put aside",
                ConnectionStatus::ReauthRequired => "wants a new sign-in",
                _ if !accepted(server).contains(&Scope::User) => "not accepted any more",
                _ => "without a credential",
            },
        };
        Self {
            name: server.spec.name.to_string(),
            title: server.spec.title.clone(),
            state,
            good,
            subject: record.and_then(|record| record.external_subject.clone()),
            last_good: record.and_then(|record| record.last_success_at).map(at),
            error: record.and_then(|record| record.last_error.as_ref()).map(|error| error.message.clone()),
            login: binding.is_some_and(|binding| binding.login && binding.scopes.contains(&Scope::User)),
            connection: record.map(|record| record.id.to_string()),
        }
    }
}
