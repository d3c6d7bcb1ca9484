//! The tenant-handle rule, checked over the source: tenant data is reached through `TenantStore` only.

use std::path::{Path, PathBuf};

/// The tables that hold tenant data.
const TENANT_DATA: [&str; 4] = ["server", "api_key", "audit", "user"];

/// Files outside `tenant/` that may name those tables, each with its reason.
const DOORS: [&str; 5] = [
    "server_record.rs",     // turns rows into records, asks nothing
    "key_record.rs",        // the same
    "change.rs",            // appends audit rows, reads none
    "platform/keys.rs",     // authenticates a key before a tenant is known
    "platform/intended.rs", // the fleet needs every tenant's resources
];

/// What is wrong with one file of the store; `file` is its path below `src`.
pub fn violations(file: &str, source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    if file == "entity.rs" || file.starts_with("entity/") {
        return Vec::new();
    }
    if file == "lib.rs" {
        let public =
            source.lines().any(|line| line.trim().starts_with("pub mod") || line.contains("pub use self::entity"));
        return if public { vec![format!("{file}: a module is public")] } else { Vec::new() };
    }
    if file.starts_with("tenant/") { in_tenant(file, source) } else { elsewhere(file, source) }
}

/// In `tenant/*.rs` public functions are methods of `TenantStore`, and queries begin in a `scoped_…` function.
fn in_tenant(file: &str, source: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let (mut block, mut function) = ("", "");
    for line in source.lines() {
        if !line.starts_with([' ', '}']) && !line.is_empty() {
            block = line;
        }
        if let Some((_, rest)) = line.split_once("fn ").filter(|(before, _)| !before.contains("//")) {
            function = rest.split(['(', '<']).next().unwrap_or_default();
            if line.trim_start().starts_with("pub ") && !block.starts_with("impl TenantStore {") {
                wrong.push(format!("{file}: {function} is public and no method of TenantStore"));
            }
        }
        let queries = [
            "Entity::find",
            "Entity::update_many",
            "Entity::delete",
            "Entity::update(",
            "execute_unprepared",
            "Statement::",
        ];
        if queries.iter().any(|query| line.contains(query)) && !function.starts_with("scoped_") {
            wrong.push(format!("{file}: {function} asks the database without scoped_…"));
        }
    }
    wrong.extend(scopes_without_tenant(file, source));
    wrong
}

/// A `scoped_…` function, or the condition that it calls, must name the handle's tenant.
fn scopes_without_tenant(file: &str, source: &str) -> Option<String> {
    let scoped = source.contains("fn scoped_");
    let filtered = source.contains("TenantId.eq(self.tenant.0)") || source.contains("find_by_id(self.tenant.0)");
    (scoped && !filtered).then(|| format!("{file}: no filter by the handle's tenant"))
}

fn elsewhere(file: &str, source: &str) -> Vec<String> {
    if DOORS.contains(&file) {
        return Vec::new();
    }
    let imports: String = source.lines().filter(|line| line.contains("entity::")).collect();
    let named = |table: &str| imports.split(|ch: char| !(ch.is_alphanumeric() || ch == '_')).any(|word| word == table);
    TENANT_DATA.iter().filter(|table| named(table)).map(|table| format!("{file}: names the table {table}")).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn tenant_data_is_reached_through_the_tenants_handle_only() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for path in files(&src) {
        let file = path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
        wrong.extend(violations(&file, &std::fs::read_to_string(&path).unwrap()));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_rule_objects_to_what_breaks_it() {
    let method = "impl TenantStore {\n    fn scoped_x(&self) {\n        Entity::find().filter(Column::TenantId.eq(self.tenant.0))\n    }\n    pub async fn x(&self) {}\n}\n";
    assert_eq!(violations("tenant/x.rs", method), [""; 0]);
    for (file, source, complaint) in [
        ("tenant/x.rs", "pub async fn all_servers() {}\n".to_owned(), "no method of TenantStore"),
        ("tenant/x.rs", "impl Other {\n    pub fn all(&self) {}\n}\n".to_owned(), "no method of TenantStore"),
        (
            "tenant/x.rs",
            method.replace("fn x(&self) {}", "fn x(&self) {\n        Entity::find()\n    }"),
            "without scoped_",
        ),
        ("tenant/x.rs", method.replace(".filter(Column::TenantId.eq(self.tenant.0))", ""), "no filter"),
        ("platform/x.rs", "use crate::entity::server::Entity;\n".to_owned(), "names the table server"),
        ("platform/x.rs", "use crate::entity::{state, api_key};\n".to_owned(), "names the table api_key"),
        ("lib.rs", "pub mod entity;\n".to_owned(), "public"),
    ] {
        let wrong = violations(file, &source);
        assert!(wrong.iter().any(|text| text.contains(complaint)), "{file} {source}: {wrong:?}");
    }
}
