//! The tenant is the door handle: a look at the store's source for ways around it.

use std::path::Path;

/// Entities whose rows belong to a tenant.
const TENANT_DATA: &[&str] = &[
    "server",
    "manifest",
    "api_key",
    "audit",
    "user",
    "department",
    "membership",
    "idempotency",
    "password",
    "sign_in_link",
    "session",
    "oauth_client",
    "oauth_code",
    "oauth_grant",
    "refresh_token",
    "connection",
    "connection_fingerprint",
    "upstream_client",
    "upstream_metadata",
    "login_attempt",
    "tenant_key",
];

/// The doors that must see all tenants, with what they may do there.
const DOORS: &[(&str, &[&str])] = &[
    ("platform/intended.rs", &["find"]),
    ("platform/keys.rs", &["find"]),
    ("platform/last_admin.rs", &["find"]),
    ("platform/idempotency.rs", &["find", "insert", "update", "delete"]),
    ("platform/purge.rs", &["find", "delete"]),
    ("platform/sessions.rs", &["find", "update", "delete"]),
    ("platform/sign_in_links.rs", &["find", "delete"]),
    ("platform/grants.rs", &["find", "delete"]),
    ("platform/sealed_values.rs", &["find", "update"]),
    ("platform/tenant_keys.rs", &["find", "insert", "update", "delete"]),
    ("change.rs", &["insert"]),
];

/// Ways past the entities.
const RAW: &[&str] = &["Statement::from", "execute_raw", "query_one_raw", "query_all_raw", "from_raw_sql"];

/// Files that hand on what others ask (deadlines), or speak to the database of no data (hints between processes).
const CARRIERS: &[&str] = &["timed.rs", "hints.rs"];

/// A source file below `crates/store/src`.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its path there, e.g. `tenant/servers.rs`.
    pub path: String,
    /// What stands in it.
    pub text: String,
}

/// Reads every source file below a folder.
pub fn sources(folder: &Path) -> Vec<Source> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).expect("a folder of sources").flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = std::fs::read_to_string(&path).expect("a readable source");
                let path = path.strip_prefix(folder).expect("below it").to_string_lossy().into_owned();
                found.push(Source { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Every way to a tenant's data that is not through `TenantStore`, one sentence each.
pub fn objections(sources: &[Source]) -> Vec<String> {
    sources.iter().flat_map(|source| if tested(&source.path) { Vec::new() } else { of_file(source) }).collect()
}

fn tested(path: &str) -> bool {
    path.contains("tests") || path.starts_with("entity")
}

fn of_file(source: &Source) -> Vec<String> {
    let path = source.path.as_str();
    let handle = path == "tenant.rs" || path.starts_with("tenant/");
    let door = DOORS.iter().find(|(door, _)| *door == path).map(|(_, verbs)| *verbs);
    let text = source.text.split("#[cfg(test)]").next().unwrap_or_default();
    let (mut found, mut block, mut function) = (Vec::new(), String::new(), String::new());
    let mut bodies: Vec<(String, String)> = Vec::new();
    for line in text.lines().map(|line| line.split("//").next().unwrap_or_default()) {
        if line.starts_with("impl") {
            block = line.trim_end_matches('{').trim().to_owned();
        }
        if let Some(name) = declared(line) {
            function = name.to_owned();
            bodies.push((function.clone(), String::new()));
            let public = line.trim_start().starts_with("pub fn") || line.trim_start().starts_with("pub async fn");
            if handle && public && block != "impl TenantStore" {
                found.push(format!("{path}: `{name}` is public and no method of the handle"));
            }
        }
        if let Some((_, body)) = bodies.last_mut() {
            body.push_str(line);
        }
        if line.contains("entity") && line.trim_start().starts_with("pub ") {
            found.push(format!("{path}: entities leave the crate: {}", line.trim()));
        }
        if !CARRIERS.contains(&path) && RAW.iter().any(|raw| line.contains(raw)) {
            found.push(format!("{path}: `{function}` speaks SQL past the entities"));
        }
        for verb in ["find", "insert", "update", "delete"] {
            if !line.contains(&format!("Entity::{verb}")) || !on_tenant_data(line, text) {
                continue;
            }
            match (handle, door) {
                (true, _) if verb == "insert" || function.starts_with("scoped_") => (),
                (true, _) => found.push(format!("{path}: `{function}` queries without a scope")),
                (false, Some(verbs)) if verbs.contains(&verb) => (),
                (false, _) => found.push(format!("{path}: `{function}` does {verb} on a tenant's data")),
            }
        }
    }
    if handle {
        found.extend(unscoped(path, &bodies));
    }
    found
}

/// The name of the function that a line declares.
fn declared(line: &str) -> Option<&str> {
    let before = line.split_once("fn ")?;
    let plain = |word: &str| matches!(word, "pub" | "async" | "const") || word.starts_with("pub(");
    before.0.split_whitespace().all(plain).then(|| before.1.split(['(', '<']).next().unwrap_or_default())
}

/// A scope has to name the tenant of the handle, itself or in a filter that it uses.
fn unscoped<'a>(path: &'a str, bodies: &'a [(String, String)]) -> impl Iterator<Item = String> + 'a {
    let filters = bodies.iter().filter(|(_, body)| body.contains("self.tenant"));
    let filters: Vec<String> = filters.map(|(name, _)| format!("self.{name}(")).collect();
    let names_tenant =
        move |body: &str| body.contains("self.tenant") || filters.iter().any(|filter| body.contains(filter));
    let scopes = bodies.iter().filter(|(name, _)| name.starts_with("scoped_"));
    let broken = scopes.filter(move |(_, body)| !names_tenant(body));
    broken.map(move |(name, _)| format!("{path}: `{name}` does not filter by the tenant"))
}

/// Whether the entity of this line is a tenant's: by its path, or by what a bare `Entity` stands for.
fn on_tenant_data(line: &str, text: &str) -> bool {
    let qualified = TENANT_DATA.iter().any(|entity| line.contains(&format!("{entity}::Entity")));
    let bare = !line.contains("::Entity::");
    let imported = TENANT_DATA.iter().any(|entity| text.contains(&format!("entity::{entity}::")));
    qualified || (bare && imported)
}
