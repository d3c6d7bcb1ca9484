//! Identity providers: never the client's secret.

use std::collections::BTreeMap;

use model::ClaimMapping;
use serde::Serialize;
use store::IssuerRecord;
use utoipa::ToSchema;

use super::{RoleView, instant};

/// An identity provider of a tenant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Issuer)]
pub(crate) struct IssuerView {
    /// UUID; never changes.
    #[schema(format = "uuid")]
    id: String,
    /// Unique in the tenant.
    name: String,
    /// What stands on the button.
    title: String,
    /// The claim `iss` of its tokens.
    issuer: String,
    /// The client that is registered there.
    #[schema(required)]
    client_id: Option<String>,
    /// Whether that client has a secret.
    has_client_secret: bool,
    /// Where it sends people back to: to be registered with the client.
    redirect_uri: String,
    /// Audiences of access tokens that are taken beside the URL.
    audiences: Vec<String>,
    /// How its tokens may be signed.
    algorithms: Vec<&'static str>,
    claims: ClaimsView,
    /// A scope that access tokens must have.
    #[schema(required)]
    scope: Option<String>,
    /// Whether users without a record come in.
    unknown_users: bool,
    /// Whether people may sign in with it here.
    sign_in: bool,
    /// Whether MCP clients may present its access tokens.
    mcp: bool,
    /// Whether it counts at all.
    enabled: bool,
    /// When its keys were fetched last, to the hour.
    #[schema(required, format = "date-time")]
    keys_at: Option<String>,
    /// Until when they are trusted if they can't be fetched again.
    #[schema(required, format = "date-time")]
    keys_until: Option<String>,
    /// When it was asked last.
    #[schema(required, format = "date-time")]
    tried_at: Option<String>,
    /// Why the last try failed; null if it did not.
    #[schema(required)]
    failure: Option<String>,
    /// Raised by every change; the ETag.
    generation: i64,
    #[schema(format = "date-time")]
    created_at: String,
    #[schema(format = "date-time")]
    updated_at: String,
}

/// Which claims say what.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Claims)]
pub(crate) struct ClaimsView {
    /// Of the login.
    login: String,
    /// Of the external id.
    external_id: String,
    /// Of the departments.
    #[schema(required)]
    departments: Option<String>,
    /// Of the role.
    #[schema(required)]
    role: Option<String>,
    /// What the values of the role's claim stand for.
    roles: BTreeMap<String, RoleView>,
}

impl From<&ClaimMapping> for ClaimsView {
    fn from(claims: &ClaimMapping) -> Self {
        Self {
            login: claims.login.clone(),
            external_id: claims.external_id.clone(),
            departments: claims.departments.clone(),
            role: claims.role.clone(),
            roles: claims.roles.iter().map(|(value, role)| (value.clone(), (*role).into())).collect(),
        }
    }
}

impl IssuerView {
    /// `base` is where people reach this service.
    pub(crate) fn of(record: &IssuerRecord, base: &str) -> Self {
        let spec = record.spec();
        Self {
            id: record.id.to_string(),
            name: record.name.to_string(),
            title: record.title.clone(),
            issuer: record.issuer.clone(),
            client_id: record.client_id.clone(),
            has_client_secret: record.client_secret.is_some(),
            redirect_uri: format!("{base}/signin/callback"),
            audiences: record.audiences.clone(),
            algorithms: record.algorithms.iter().map(|algorithm| algorithm.as_str()).collect(),
            claims: ClaimsView::from(&record.claims),
            scope: record.scope.clone(),
            unknown_users: record.unknown_users,
            sign_in: record.sign_in,
            mcp: record.mcp,
            enabled: record.enabled,
            keys_at: record.keys_at.map(instant),
            keys_until: record.keys_at.map(|_| instant(spec.keys_until)),
            tried_at: record.tried_at.map(instant),
            failure: record.failure.clone(),
            generation: record.generation.0,
            created_at: instant(record.created_at),
            updated_at: instant(record.updated_at),
        }
    }
}
