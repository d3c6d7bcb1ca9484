//! Control's REST API as the verbs use it: one request, one JSON answer or one failure.

use std::time::Duration;

use bytes::Bytes;
use egress::operator::Client;
use http::{HeaderMap, Method, StatusCode, header};
use model::Secret;
use serde_json::Value;
use url::Url;

use crate::access::Target;
use crate::failure::Failure;
use crate::problem::Problem;
use crate::progress;

/// Picks the tenant for a platform admin.
const TENANT: &str = "gatehouse-tenant";
/// Items of one page: the most that control gives.
const PAGE: &str = "200";
/// No list is followed further: that makes two million entries.
const MOST_PAGES: usize = 10_000;
/// A tenant's call may take 120 s by default; control adds waits of a few seconds.
const PATIENCE: Duration = Duration::from_secs(150);

/// A connection to control in the name of one key.
pub(crate) struct Api {
    client: Client,
    told: String,
    authorization: Secret,
    tenant: Option<String>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The JSON body; null where there was none.
    pub(crate) body: Value,
    /// The body's bytes, for what must be shown as it was sent.
    pub(crate) raw: Bytes,
    /// The version that a change must name.
    pub(crate) etag: Option<String>,
}

impl Api {
    /// Needs a key: nothing of REST is open to strangers.
    pub(crate) fn open(target: &Target) -> Result<Self, Failure> {
        let key = target.key.as_ref().ok_or_else(|| {
            Failure::NoKey(format!(
                "no key for {}: set GATEHOUSE_KEY, name a --key-file, or name the --data-dir of a running `gatehouse up`",
                target.control
            ))
        })?;
        Ok(Self {
            client: target.client(&target.control)?.within(PATIENCE),
            told: target.control.to_string(),
            authorization: Secret::new(format!("Bearer {}", key.expose())),
            tenant: target.tenant.clone(),
        })
    }

    /// The same connection, working on another tenant; `None` for the key's.
    pub(crate) fn of_tenant(&self, tenant: Option<&str>) -> Self {
        Self {
            client: self.client.clone(),
            told: self.told.clone(),
            authorization: Secret::new(self.authorization.expose().to_owned()),
            tenant: tenant.map(str::to_owned),
        }
    }

    /// The tenant that was named to work on.
    pub(crate) fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    /// GET of one object.
    pub(crate) async fn get(&self, path: &[&str]) -> Result<Answer, Failure> {
        self.exchange(Method::GET, &rest_path(path, &[]), None, None).await
    }

    /// GET of a list, all its pages together.
    pub(crate) async fn list(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value, Failure> {
        self.first(path, query, usize::MAX).await
    }

    /// GET of the first so many of a list.
    pub(crate) async fn first(&self, path: &[&str], query: &[(&str, &str)], most: usize) -> Result<Value, Failure> {
        let mut items = Vec::new();
        let mut next: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let mut query = query.to_vec();
            query.push(("page_size", PAGE));
            query.extend(next.iter().map(|next| ("cursor", next.as_str())));
            let Answer { mut body, .. } = self.exchange(Method::GET, &rest_path(path, &query), None, None).await?;
            match body.get_mut("items").map(Value::take) {
                Some(Value::Array(page)) => items.extend(page),
                _ => return Err(self.stranger()),
            }
            let cursor = ["next", "next_cursor"].into_iter().find_map(|member| body.get(member)?.as_str());
            match cursor {
                Some(cursor) if items.len() < most => next = Some(cursor.to_owned()),
                _ => {
                    items.truncate(most);
                    return Ok(serde_json::json!({ "items": items, "next": null }));
                }
            }
        }
        Err(Failure::Failed("the list has no end".to_owned()))
    }

    /// POST of a JSON body.
    pub(crate) async fn post(&self, path: &[&str], body: &Value) -> Result<Answer, Failure> {
        self.post_raw(path, body.to_string()).await
    }

    /// POST of JSON text that must arrive as it was typed.
    pub(crate) async fn post_raw(&self, path: &[&str], body: String) -> Result<Answer, Failure> {
        self.exchange(Method::POST, &rest_path(path, &[]), None, Some(body)).await
    }

    /// PATCH of the version that was read.
    pub(crate) async fn patch(&self, path: &[&str], etag: Option<&str>, body: &Value) -> Result<Answer, Failure> {
        self.exchange(Method::PATCH, &rest_path(path, &[]), etag, Some(body.to_string())).await
    }

    /// PUT of the version that was read.
    pub(crate) async fn put(&self, path: &[&str], etag: Option<&str>, body: &Value) -> Result<Answer, Failure> {
        self.exchange(Method::PUT, &rest_path(path, &[]), etag, Some(body.to_string())).await
    }

    /// DELETE of the version that was read.
    pub(crate) async fn delete(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        etag: Option<&str>,
    ) -> Result<Answer, Failure> {
        self.exchange(Method::DELETE, &rest_path(path, query), etag, None).await
    }

    /// Reads the object and changes what was read: what somebody else changes in between is not overwritten.
    pub(crate) async fn change(&self, path: &[&str], body: &Value) -> Result<Value, Failure> {
        let etag = self.get(path).await?.etag;
        Ok(self.patch(path, etag.as_deref(), body).await?.body)
    }

    /// Reads the object and removes what was read.
    pub(crate) async fn remove(&self, path: &[&str]) -> Result<Value, Failure> {
        let etag = self.get(path).await?.etag;
        Ok(self.delete(path, &[], etag.as_deref()).await?.body)
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        if_match: Option<&str>,
        body: Option<String>,
    ) -> Result<Answer, Failure> {
        match self.asked(method, path, if_match, body).await {
            // A command may name several things; control says only that one is not there.
            Err(Failure::Refused(mut problem)) if problem.status == 404 => {
                self.tenant_exists().await?;
                problem.about = named(path);
                Err(Failure::Refused(problem))
            }
            Err(Failure::Refused(mut problem)) if problem.status == 412 => {
                problem.about = named(path);
                Err(Failure::Refused(problem))
            }
            other => other,
        }
    }

    /// Says so if it is the tenant that is not there: its list of servers always is.
    async fn tenant_exists(&self) -> Result<(), Failure> {
        let Some(tenant) = &self.tenant else { return Ok(()) };
        match self.asked(Method::GET, &rest_path(&["servers"], &[("page_size", "1")]), None, None).await {
            Err(Failure::Refused(problem)) if problem.status == 404 => {
                Err(Failure::NotFound(format!("no tenant `{tenant}`")))
            }
            _ => Ok(()),
        }
    }

    fn stranger(&self) -> Failure {
        Failure::Failed(format!("{} is not Gatehouse's control", self.told))
    }

    async fn asked(
        &self,
        method: Method,
        path: &str,
        if_match: Option<&str>,
        body: Option<String>,
    ) -> Result<Answer, Failure> {
        let mut headers = vec![
            (header::ACCEPT.as_str(), "application/json"),
            (header::AUTHORIZATION.as_str(), self.authorization.expose()),
        ];
        headers.extend(self.tenant.as_deref().map(|tenant| (TENANT, tenant)));
        headers.extend(if_match.map(|version| (header::IF_MATCH.as_str(), version)));
        headers.extend(body.as_ref().map(|_| (header::CONTENT_TYPE.as_str(), "application/json")));
        let exchange = self.client.request(method, path, &headers, body.map(Bytes::from));
        let (status, headers, raw) = progress::during("waiting for control", exchange).await.map_err(|cause| {
            Failure::Unreachable { what: format!("no answer from {}", self.told), cause: Some(Box::new(cause)) }
        })?;
        read(status, &headers, raw).map_err(|refused| refused.map_or_else(|| self.stranger(), Failure::Refused))
    }
}

/// What a path of REST is about, for people: `servers/notes`.
fn named(path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    path.split('/').skip(3).take(2).collect::<Vec<_>>().join("/")
}

/// Names come from the command line: each is one segment, whatever is in it.
fn rest_path(path: &[&str], query: &[(&str, &str)]) -> String {
    #[allow(clippy::expect_used, reason = "the literal is a URL")]
    let mut url = Url::parse("http://control/").expect("a literal URL");
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(["api", "v1"]).extend(path);
    }
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}

/// An answer or a refusal; `Err(None)` for what Gatehouse's control would not say.
fn read(status: StatusCode, headers: &HeaderMap, raw: Bytes) -> Result<Answer, Option<Box<Problem>>> {
    if !status.is_success() {
        let problem = Problem::read(status.as_u16(), &raw);
        // A gateway in between fails with words of its own.
        let known = !problem.code.is_empty() || status.is_server_error();
        return Err(known.then(|| Box::new(problem)));
    }
    let body = if raw.is_empty() { Value::Null } else { serde_json::from_slice(&raw).map_err(|_| None)? };
    let etag = headers.get(header::ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
    Ok(Answer { body, raw, etag })
}

#[cfg(test)]
mod tests;
