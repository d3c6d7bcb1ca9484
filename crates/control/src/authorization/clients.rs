//! Finding a client by its id, and keeping the one that somebody has let in.

use model::UserId;
use store::{ClientKind, ClientRecord, StoreError};

use crate::App;
use crate::authorization::client::{Client, Kind};
use crate::authorization::document::is_document;
use crate::authorization::redirect::RedirectUri;
use crate::authorization::refusal::{FAULT, Reason, Refusal};
use crate::authorization::server::Server;

const DAY: i64 = 24 * 3600 * 1_000_000;
/// How long a client is known that nobody uses.
pub(crate) const UNUSED: i64 = 30 * DAY;

/// What a client is told that nobody knows: SDKs register again then.
pub(crate) const UNKNOWN: Refusal = Refusal::new(
    Reason::InvalidClient,
    "this client is not registered here, or its registration has ended: it must register again",
);

/// A client that registered itself.
pub(crate) async fn registered(app: &App, server: &Server, id: &str) -> Result<Client, Refusal> {
    let record = server.store(app).client(id).await?.filter(|record| record.kind == ClientKind::Registered);
    let record = record.ok_or(UNKNOWN)?;
    let redirects: Result<_, _> = record.redirect_uris.iter().map(|text| RedirectUri::parse(text)).collect();
    let redirects = redirects.map_err(|_| FAULT)?;
    Ok(Client { id: record.id, name: record.name, redirects, kind: Kind::Registered })
}

/// Any client. Documents are fetched for people who are signed in only: strangers can't make us fetch.
pub(crate) async fn find(app: &App, server: &Server, id: &str, user: UserId) -> Result<Client, Refusal> {
    if is_document(id) {
        app.authorization.documents.get(app, server.tenant.spec.id, id, user).await
    } else {
        registered(app, server, id).await
    }
}

/// Keeps the client that a person has just let in.
pub(crate) async fn keep(app: &App, server: &Server, client: &Client) -> Result<(), StoreError> {
    let store = server.store(app);
    let now = app.clock.now_micros();
    let expires_at = now.saturating_add(UNUSED);
    if client.kind == Kind::Document {
        let record = ClientRecord { kind: ClientKind::Document, ..record(client, now, expires_at) };
        match store.create_client(record).await {
            // Only its name is lost: its host stands for it.
            Ok(()) | Err(StoreError::QuotaClients { .. }) => (),
            Err(error) => return Err(error),
        }
    }
    store.touch_client(&client.id, expires_at).await
}

/// A client's row.
pub(crate) fn record(client: &Client, now: i64, expires_at: i64) -> ClientRecord {
    ClientRecord {
        id: client.id.clone(),
        kind: ClientKind::Registered,
        name: client.name.clone(),
        redirect_uris: client.redirects.iter().map(|uri| uri.as_str().to_owned()).collect(),
        created_at: now,
        used_at: None,
        expires_at,
    }
}
