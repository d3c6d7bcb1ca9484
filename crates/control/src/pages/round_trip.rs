//! To a tenant's issuer and back.

use axum::extract::{FromRequestParts as _, Path, State};
use axum::http::header::LOCATION;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use url::form_urlencoded::Serializer;

use crate::App;
use crate::pages::{Query, Refusal, Site, Visit, signin};
use crate::sign_in::failures::{Failures, Reason};
use crate::sign_in::issuer::{self, Answer};
use crate::sign_in::return_to::own_path;

/// Leads to the issuer. Only a click on our own page does: another site could sign somebody in as somebody.
pub(super) async fn begin(
    State(app): State<App>,
    site: Site,
    query: Query,
    mut parts: Parts,
) -> Result<Response, Refusal> {
    let path = Path::<(String, String)>::from_request_parts(&mut parts, &app).await;
    let Path((tenant, named)) = path.map_err(|_| Refusal::NotFound)?;
    let back = query.text("return").and_then(own_path);
    let foreign =
        parts.headers.get("sec-fetch-site").is_some_and(|from| !matches!(from.as_bytes(), b"same-origin" | b"none"));
    if foreign {
        let mut form = Serializer::new(String::new());
        form.append_pair("tenant", &tenant);
        back.map(|back| form.append_pair("return", back));
        return Ok(signin::on(&site, Some(&format!("/signin?{}", form.finish()))));
    }
    // The issuer leads back to the name that it knows; the cookie must be there too.
    if !site.is_public()
        && let Some(public) = &app.config.public_url
    {
        let to = parts.uri.path_and_query().map_or("/signin", |to| to.as_str());
        return away(&format!("{}{to}", public.as_str().trim_end_matches('/')));
    }
    signin::may_leave(&app, &parts)?;
    let tenant = signin::live_tenant(&app, &tenant).await?.ok_or(Refusal::NotFound)?;
    let record = issuer::offered(&app, &tenant, &named).await?.ok_or(Refusal::NotFound)?;
    let visit = Visit::of(&site, &parts)?;
    let to = issuer::begin(&app, &site, visit.binding(), &record, back).await?;
    Ok(visit.kept(&site, away(to.as_str())?))
}

/// Comes back from an issuer: whichever it was, the row of the round trip says.
pub(super) async fn end(State(app): State<App>, site: Site, query: Query, parts: Parts) -> Result<Response, Refusal> {
    let visit = Visit::of(&site, &parts)?;
    let answer = Answer {
        state: query.text("state"),
        code: query.text("code"),
        issuer: query.text("iss"),
        error: query.text("error"),
        description: query.text("error_description"),
    };
    let (proven, back) = issuer::end(&app, visit.binding(), answer).await.inspect_err(|refusal| {
        let login = match refusal {
            Refusal::NoAccount { login: Some(login) } | Refusal::Unbound { login } => login.as_str(),
            _ => "",
        };
        if let Some(reason) = Reason::of(refusal) {
            Failures::note(&app, &parts, reason, "", login);
        }
    })?;
    signin::signed_in(&app, &site, &parts, proven, back.as_deref()).await
}

fn away(to: &str) -> Result<Response, Refusal> {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let to = HeaderValue::from_str(to).map_err(|_| Refusal::Internal)?;
    response.headers_mut().insert(LOCATION, to);
    Ok(response)
}
