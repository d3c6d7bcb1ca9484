//! The OpenAPI document: what each handler says of itself, and what the route table says of all of them
//! (who may, which headers, which refusals).

use std::sync::LazyLock;

use axum::http::StatusCode;
use utoipa::OpenApi as _;
use utoipa::openapi::header::Header;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Ref, Schema, SchemaType, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, OpenApi, RefOr, Required, Response};

use crate::rest::seed::SeedProblem;
use crate::rest::views::ProblemView;
use crate::rest::{
    Access, Route, audit, connections, credentials, departments, docs, egress_rules, grants, health, import, issuers,
    keys, login, me, proxies, recover, routes, seed, servers, sessions, sign_in_links, tenants, tokens, tools,
    toolsets, users, vault,
};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Gatehouse",
        description = "The management service of Gatehouse, a gateway for MCP. Keys are sent as `Authorization: Bearer \
            ghk_…`. Changes name the `ETag` that was read in `If-Match`; creates may carry an `Idempotency-Key`. \
            A platform admin names the tenant in `Gatehouse-Tenant`. Pages of this service may send the cookie of a \
            session instead of a key, and then its CSRF token in `Gatehouse-CSRF` with every change. Errors are `application/problem+json` with a \
            stable `code`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    paths(
        health::page,
        health::livez,
        health::readyz,
        docs::page,
        docs::asset,
        docs::document,
        docs::document_v1,
        login::client_metadata,
        me::show,
        tenants::create,
        tenants::list,
        tenants::show,
        tenants::change,
        tenants::remove,
        tenants::restore,
        tenants::enable,
        tenants::disable,
        departments::create,
        departments::list,
        departments::show,
        departments::change,
        departments::remove,
        departments::restore,
        users::create,
        users::list,
        users::show,
        users::change,
        users::remove,
        users::restore,
        sign_in_links::create,
        sessions::list,
        sessions::end,
        grants::list,
        grants::revoke,
        users::enable,
        users::disable,
        keys::create,
        keys::list,
        keys::show,
        keys::change,
        keys::revoke,
        keys::rotate,
        tokens::issue,
        issuers::create,
        issuers::list,
        issuers::show,
        issuers::change,
        issuers::remove,
        issuers::enable,
        issuers::disable,
        issuers::refresh,
        servers::add,
        servers::list,
        servers::show,
        servers::change,
        servers::remove,
        servers::enable,
        servers::disable,
        servers::restore,
        servers::test,
        servers::dependencies,
        tools::list,
        tools::refresh,
        tools::enable,
        tools::disable,
        tools::call,
        credentials::change,
        credentials::remove,
        connections::list,
        connections::create,
        connections::show,
        connections::change,
        connections::remove,
        connections::status,
        connections::test,
        connections::revoke,
        login::begin,
        login::show,
        connections::find_by_secret,
        toolsets::create,
        toolsets::list,
        toolsets::show,
        toolsets::change,
        toolsets::remove,
        egress_rules::create,
        egress_rules::list,
        egress_rules::show,
        egress_rules::remove,
        audit::list,
        proxies::list,
        vault::show,
        vault::start,
        recover::run,
        import::run,
        seed::tools,
        seed::add,
        seed::list,
        seed::recover,
        seed::recover_by_get,
        seed::remove
    ),
    components(schemas(ProblemView, SeedProblem))
)]
struct Said;

/// The document as JSON.
pub(crate) fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| document().to_json().unwrap_or_default());
    &TEXT
}

/// The whole document.
pub(crate) fn document() -> OpenApi {
    let mut document = Said::openapi();
    let mut bearer = Http::new(HttpAuthScheme::Bearer);
    bearer.description = Some("A key: `ghk_…`".to_owned());
    let cookie = "The session of somebody who has signed in at `/signin`: over plain http on loopback the cookie is \
                  `gatehouse`. What changes anything also needs the header `Gatehouse-CSRF` of the session and a page \
                  of the same origin. A request with a key is judged by the key alone.";
    let session = ApiKey::Cookie(ApiKeyValue::with_description("__Host-gatehouse", cookie));
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("key", SecurityScheme::Http(bearer));
    components.add_security_scheme("session", SecurityScheme::ApiKey(session));
    for route in routes() {
        let item = document.paths.paths.get_mut(route.path);
        if let Some(operation) = item.and_then(|item| operation(item, route.method)) {
            complete(&route, operation);
        }
    }
    document
}

/// The operation of one method of a path.
fn operation<'a>(item: &'a mut PathItem, method: &str) -> Option<&'a mut Operation> {
    match method {
        "GET" => item.get.as_mut(),
        "POST" => item.post.as_mut(),
        "PUT" => item.put.as_mut(),
        "PATCH" => item.patch.as_mut(),
        "DELETE" => item.delete.as_mut(),
        _ => None,
    }
}

/// What is made, shown once and kept nowhere: it has no place, no ETag, and asked for twice it is made twice.
const KEPT_NOWHERE: [&str; 1] = ["issueToken"];

/// Says what all routes of a kind have in common.
fn complete(route: &Route, operation: &mut Operation) {
    let guarded = route.access != Access::Anyone;
    let by = |scheme: &str| SecurityRequirement::new::<_, [&str; 0], &str>(scheme, []);
    operation.security = Some(match route.access {
        Access::Anyone => Vec::new(),
        // The seed's clients know no cookie, and no session calls in the name of others.
        Access::Seed | Access::ActAs => vec![by("key")],
        _ => vec![by("key"), by("session")],
    });
    let id = operation.operation_id.clone().unwrap_or_default();
    let traits = Traits {
        guarded,
        native: guarded && route.access != Access::Seed,
        health: id == "livez" || id == "readyz",
        segments: segments(route.path),
        body: operation.request_body.is_some(),
        creates: operation.responses.responses.contains_key("201") && !KEPT_NOWHERE.contains(&id.as_str()),
        paged: id.starts_with("list") && id != "listTools",
        few: id == "listConnections",
        conditional: route.is_conditional(),
        writes: route.method != "GET",
        waits: route.asks_proxies,
    };
    if traits.body
        && let Some(RefOr::T(body)) = &mut operation.request_body
    {
        body.description.get_or_insert_with(|| "At most 256 KiB and 64 levels of nesting".to_owned());
    }
    let parameters = operation.parameters.get_or_insert_default();
    parameters.extend(traits.parameters().into_iter().map(RefOr::T));
    if traits.native {
        parameters.iter_mut().for_each(without_control_characters);
    }
    let content_type = if route.access == Access::Seed { "application/json" } else { "application/problem+json" };
    let schema = if route.access == Access::Seed { "SeedProblem" } else { "Problem" };
    for status in traits.refusals() {
        operation.responses.responses.entry(status.to_string()).or_insert_with(|| RefOr::T(Response::default()));
    }
    let records = ["show", "change", "create", "add", "enable", "disable", "restore", "rotate"];
    let of_record =
        records.iter().any(|verb| id.starts_with(verb)) && !["showMe", "showServerDependencies"].contains(&id.as_str());
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        let number: u16 = status.parse().unwrap_or(200);
        if response.description.is_empty() {
            let reason = StatusCode::from_u16(number).ok().and_then(|status| status.canonical_reason());
            response.description = reason.unwrap_or("Answer").to_owned();
        }
        if number >= 400 && response.content.is_empty() {
            let content = Content::new(Some(Ref::from_schema_name(schema)));
            response.content.insert(content_type.to_owned(), RefOr::T(content));
        }
        for (name, description) in headers(number, of_record, traits.creates) {
            let mut header = Header::new(text_schema());
            header.description = Some((*description).to_owned());
            response.headers.insert((*name).to_owned(), RefOr::T(header));
        }
    }
}

/// What a route has of what routes may have.
struct Traits {
    guarded: bool,
    native: bool,
    health: bool,
    segments: Vec<&'static str>,
    body: bool,
    creates: bool,
    paged: bool,
    /// Its pages are small.
    few: bool,
    conditional: bool,
    writes: bool,
    waits: bool,
}

impl Traits {
    /// The statuses that a refusal may have, besides those that the handler names itself.
    fn refusals(&self) -> Vec<u16> {
        let mut statuses = Vec::new();
        let mut may = |when: bool, some: &[u16]| statuses.extend(when.then_some(some).into_iter().flatten().copied());
        may(!self.health, &[403]);
        may(self.guarded, &[400, 401, 404, 500, 503]);
        may(!self.segments.is_empty(), &[404]);
        may(self.native && self.writes, &[507]);
        may(self.body, &[408, 413, 415, 422]);
        may(self.paged, &[422]);
        may(self.creates, &[409, 422]);
        may(self.conditional, &[412, 428]);
        may(self.native && self.waits, &[502, 504]);
        statuses
    }

    fn parameters(&self) -> Vec<Parameter> {
        let mut parameters: Vec<Parameter> = self.segments.iter().map(|name| segment(name)).collect();
        if self.guarded {
            let description =
                "Name or id of the tenant that the request is about; for others than platform admins only their own";
            parameters.push(header("Gatehouse-Tenant", description, 64, Required::False));
        }
        if self.conditional {
            let description = "The ETag that was read, or `*` for any";
            parameters.push(header("If-Match", description, 64, Required::True));
        }
        if self.creates {
            let description = "Makes the request repeatable for 24 h: 1 to 255 printable ASCII characters";
            parameters.push(header("Idempotency-Key", description, 255, Required::False));
        }
        if self.paged {
            let size = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
            let most = if self.few {
                "Items of the page, cut to 100; 12 when absent"
            } else {
                "Items of the page, cut to 200; 50 when absent"
            };
            parameters.push(query("page_size", most, size));
            let cursor = ObjectBuilder::new().schema_type(Type::String);
            parameters.push(query("cursor", "`next` of the page before", cursor));
        }
        parameters
    }
}

/// The parameters of a path: `/a/{b}` has `b`.
fn segments(path: &'static str) -> Vec<&'static str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect()
}

fn segment(name: &str) -> Parameter {
    let description = match name {
        "key" => "The public part of a key",
        "rule" => "Id of a rule",
        "tool" => "The upstream's name of a tool",
        "file" => "Name of a file",
        "user" => "Login or id",
        "session" | "grant" | "connection" => "Id",
        _ => "Name or id",
    };
    let schema = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(256));
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

/// Texts in the query of a native route hold none.
fn without_control_characters(parameter: &mut RefOr<Parameter>) {
    let RefOr::T(Parameter { parameter_in: ParameterIn::Query, schema: Some(RefOr::T(schema)), .. }) = parameter else {
        return;
    };
    let Schema::Object(schema) = schema else { return };
    let is_text = match &schema.schema_type {
        SchemaType::Type(one) => *one == Type::String,
        SchemaType::Array(several) => several.contains(&Type::String),
        SchemaType::AnyValue => false,
    };
    if is_text && schema.format.is_none() {
        schema.pattern.get_or_insert_with(|| "^[^\\u0000-\\u001f\\u007f-\\u009f]*$".to_owned());
    }
}

fn header(name: &str, description: &str, most: usize, required: Required) -> Parameter {
    let schema = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(most));
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(required)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

fn query(name: &str, description: &str, schema: ObjectBuilder) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

/// The headers that an answer of this status has.
fn headers(status: u16, of_record: bool, creates: bool) -> &'static [(&'static str, &'static str)] {
    const ETAG: (&str, &str) = ("ETag", "The record's generation, for If-Match");
    match status {
        200 if of_record => &[ETAG],
        201 if creates => &[
            ETAG,
            ("Location", "Where the record can be read"),
            ("Idempotent-Replayed", "`true` when the answer was given before"),
        ],
        401 => &[("WWW-Authenticate", "`Bearer`")],
        503 => &[("Retry-After", "Seconds after which to try again")],
        _ => &[],
    }
}

fn text_schema() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::new(Type::String))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn shown() -> Value {
        serde_json::from_str(text()).unwrap()
    }

    #[test]
    fn the_table_and_the_document_hold_the_same_routes_with_the_same_security() {
        let table: BTreeSet<(String, String, bool)> = routes()
            .iter()
            .map(|route| (route.method.to_lowercase(), route.path.to_owned(), route.access != Access::Anyone))
            .collect();
        let document = shown();
        let shown: BTreeSet<(String, String, bool)> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, item)| {
                let operations = item.as_object().unwrap().iter();
                operations.map(|(method, operation)| {
                    let guarded = operation["security"].as_array().unwrap().iter().any(|one| one.get("key").is_some());
                    (method.clone(), path.clone(), guarded)
                })
            })
            .collect();
        assert_eq!(table, shown);
        assert_eq!(document["openapi"], "3.1.0");
        let schemes = &document["components"]["securitySchemes"];
        assert_eq!(schemes["key"]["scheme"], "bearer");
        let session = ["type", "in", "name"].map(|member| schemes["session"][member].as_str().unwrap_or_default());
        assert_eq!(session, ["apiKey", "cookie", "__Host-gatehouse"]);
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let by_session =
                    operation["security"].as_array().unwrap().iter().any(|one| one.get("session").is_some());
                let native = path.starts_with("/api/v1/") && path != "/api/v1/tokens" && path != "/api/v1/openapi.json";
                assert_eq!(by_session, native, "{method} {path}");
            }
        }
    }

    #[test]
    fn every_operation_has_its_own_id_and_every_answer_a_description() {
        let document = shown();
        let mut ids = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let id = operation["operationId"].as_str().unwrap();
                assert!(ids.insert(id.to_owned()), "{id}");
                assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}");
                for (status, answer) in operation["responses"].as_object().unwrap() {
                    assert!(answer["description"].as_str().is_some_and(|text| !text.is_empty()), "{id} {status}");
                }
            }
        }
    }

    #[test]
    fn every_schema_that_is_named_is_there() {
        let document = shown();
        let text = text();
        for part in text.split("#/components/schemas/").skip(1) {
            let name: &str = part.split('"').next().unwrap();
            assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
        }
    }
}
