//! What clients are told of how to sign in: the metadata of our endpoints (RFC 9728), and the way to it in challenges.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Response};
use identity::SCOPE;
use model::DEFAULT_TENANT;
use serde_json::json;

use crate::body::Body;
use crate::fault::{Fault, SignIn};
use crate::gate::Gate;
use crate::path::Target;
use crate::table::Table;

/// Where a tenant's people can sign in.
struct Servers {
    /// Authorization servers, in the order in which clients should try them.
    urls: Vec<String>,
    /// What to ask the first of them for. One that an issuer does not know would keep everybody out.
    scope: Option<String>,
}

impl Gate {
    /// The metadata of an endpoint. It is there for every name a server might have: nobody learns which there are.
    pub(crate) fn metadata(
        &self,
        method: &Method,
        headers: &HeaderMap,
        tenant: Option<&str>,
        target: Target<'_>,
    ) -> Result<Response<Body>, Fault> {
        if !self.readiness.has_table() {
            return Err(Fault::NotReady);
        }
        let resource = self.hosts.base(headers).url(tenant, target).ok_or(Fault::NotFound)?;
        let Servers { urls, scope } = servers(&self.tables.load(), tenant).ok_or(Fault::NotFound)?;
        if method != Method::GET {
            return Err(Fault::MethodNotAllowed("GET"));
        }
        let mut document = json!({
            "resource": resource,
            "authorization_servers": urls,
            "bearer_methods_supported": ["header"],
            "resource_name": "Gatehouse",
        });
        if let (Some(scope), Some(document)) = (scope, document.as_object_mut()) {
            document.insert("scopes_supported".to_owned(), json!([scope]));
        }
        let mut response = Response::new(Body::full(Bytes::from(document.to_string())));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // It depends on the table, and on the name that we were asked under.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }

    /// Where somebody who may not come in at an endpoint is sent; `None` if nobody can sign in there.
    pub(crate) fn sign_in(&self, headers: &HeaderMap, tenant: Option<&str>, target: Target<'_>) -> Option<SignIn> {
        let metadata = self.hosts.base(headers).metadata_url(tenant, target)?;
        let Servers { scope, .. } = servers(&self.tables.load(), tenant)?;
        Some(SignIn { metadata, scope })
    }
}

/// The tenant's own issuers, then control's authorization server; `None` without any.
fn servers(table: &Table, tenant: Option<&str>) -> Option<Servers> {
    let tenant = table.tenant_named(tenant.unwrap_or(DEFAULT_TENANT))?;
    let issuers = table.issuers_of(tenant.spec.id);
    let mut servers: Vec<(String, Option<String>)> =
        issuers.map(|issuer| (issuer.spec.issuer.clone(), issuer.spec.scope.clone())).collect();
    if let Some(signer) = table.newest_signer().filter(|_| tenant.spec.authorization_server) {
        servers.push((format!("{}/oauth/{}", signer.spec.url, tenant.spec.name), Some(SCOPE.to_owned())));
    }
    let scope = servers.first()?.1.clone();
    Some(Servers { urls: servers.into_iter().map(|(url, _)| url).collect(), scope })
}
