//! `/api/v1/servers/{server}/credentials`: single secrets of a server's global connection, by the names of the system that
//! Gatehouse replaces. Nobody ever reads one.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use model::Secret;

use crate::App;
use crate::rest::answer::Answer;
use crate::rest::bodies::credentials::{self, CredentialsChange};
use crate::rest::body::Body;
use crate::rest::caller::Admin;
use crate::rest::code::Code;
use crate::rest::problem::Problem;
use crate::rest::segment::{Segment, Segments};
use crate::rest::servers::find;
use crate::rest::views::CredentialsView;

/// The fields, and the secrets of a credential that they are.
const FIELDS: [(&str, &str); 2] = [("api_key", "api_key"), ("token", "access_token")];

/// Puts single secrets of the global connection in place; absent and empty ones stay as they are. The connection is made
/// where there is none.
#[utoipa::path(put, path = "/api/v1/servers/{server}/credentials", tag = "connections",
    operation_id = "changeServerCredentials", request_body = CredentialsChange,
    responses((status = 200, body = CredentialsView)))]
pub(crate) async fn change(
    State(app): State<App>,
    Admin(caller): Admin,
    Segment(named): Segment,
    body: Body,
) -> Result<Answer, Problem> {
    let Body { mut fields, .. } = body;
    let given = credentials::change(&mut fields);
    fields.finish()?;
    let tenant = caller.store(&app);
    let server = find(&tenant, &named).await?;
    let secrets: Vec<(&str, Option<Secret>)> = FIELDS
        .iter()
        .zip(given)
        .filter_map(|((_, secret), text)| text.map(|text| (*secret, Some(Secret::new(text)))))
        .collect();
    if !secrets.is_empty() {
        app.connections.set_fields(&tenant, &caller.actor(), &server, &secrets).await?;
    }
    let names = app.connections.fields(&tenant, &server).await?;
    let has =
        |field: &str| FIELDS.iter().any(|(known, secret)| *known == field && names.iter().any(|name| name == secret));
    Ok(Answer::ok(&CredentialsView::new(has("api_key"), has("token"))))
}

/// Takes one secret of the global connection away, if it is there.
#[utoipa::path(delete, path = "/api/v1/servers/{server}/credentials/{field}", tag = "connections",
    operation_id = "deleteServerCredential",
    responses((status = 204, description = "It is gone, or was never there"), (status = 400)))]
pub(crate) async fn remove(
    State(app): State<App>,
    Admin(caller): Admin,
    Segments(named, field): Segments,
) -> Result<Response, Problem> {
    let tenant = caller.store(&app);
    let server = find(&tenant, &named).await?;
    let Some((_, secret)) = FIELDS.iter().find(|(known, _)| *known == field) else {
        return Err(Problem::Query { code: Code::CredentialField, detail: "must be api_key or token".to_owned() });
    };
    app.connections.set_fields(&tenant, &caller.actor(), &server, &[(*secret, None)]).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
