//! The code map holds: checked on the workspace, and on small workspaces that break it.

use cargo_metadata::MetadataCommand;
use tests::arrows::objections;
use tests::packages::repository;

#[test]
fn the_workspace_keeps_to_the_house_plan() {
    let metadata = MetadataCommand::new().manifest_path(repository().join("Cargo.toml")).exec().unwrap();
    assert_eq!(objections(&metadata), Vec::<String>::new());
}

#[test]
fn each_wrong_arrow_is_objected_to() {
    // Who uses whom; those before the bar are members of the workspace, those after it stand for outside crates.
    for (members, outside, objection) in [
        ("model; wire: model; control: wire model; store: migrations model; migrations", "", None),
        ("wire: egress; egress", "", Some("wire uses egress")),
        ("model: wire; wire", "", Some("model uses wire")),
        ("control: proxy; proxy", "", Some("control uses proxy")),
        ("cli: vault; vault", "", Some("cli uses vault")),
        ("telemetry: migrations; migrations", "", Some("telemetry uses migrations")),
        ("gadget", "", Some("gadget is not on the code map")),
        ("proxy: wire; wire: sqlx-core", "sqlx-core", Some("sqlx-core is below proxy")),
        ("proxy: odd", "odd: rusqlite; rusqlite", Some("rusqlite is below proxy")),
        ("cli: store; store", "", Some("store is below cli")),
        ("control: sea-orm", "sea-orm", Some("control names sea-orm, whose home is elsewhere (sea-orm*)")),
        ("wire: ring", "ring", Some("wire names ring, whose home is elsewhere (ring)")),
        ("mcp: rmcp", "rmcp", Some("mcp names rmcp, whose home is elsewhere (rmcp)")),
        (
            "proxy: opentelemetry-sdk",
            "opentelemetry-sdk",
            Some("proxy names opentelemetry-sdk, whose home is elsewhere (opentelemetry*)"),
        ),
        (
            "control: deadpool-redis",
            "deadpool-redis",
            Some("control names deadpool-redis, whose home is elsewhere (deadpool-redis)"),
        ),
        ("model: tokio", "tokio", Some("model names tokio, which it must not")),
        ("model: serde", "serde", Some("model names serde, which it must not")),
        ("mcp: hyper", "hyper", Some("mcp names hyper, which it must not")),
        ("proxy: identity; control: identity; identity: model ring jsonwebtoken; model", "ring; jsonwebtoken", None),
        (
            "proxy: jsonwebtoken",
            "jsonwebtoken",
            Some("proxy names jsonwebtoken, whose home is elsewhere (jsonwebtoken)"),
        ),
        ("identity: egress; egress", "", Some("identity uses egress")),
        ("identity: tokio", "tokio", Some("identity names tokio, which it must not")),
        ("egress: openssl-sys", "openssl-sys", Some("openssl-sys is in the build")),
    ] {
        let found = judged(members, outside);
        match objection {
            None => assert_eq!(found, Vec::<String>::new(), "{members}"),
            Some(text) => assert!(found.contains(&text.to_owned()), "{members} | {outside}: {found:?}"),
        }
    }
}

/// Writes a workspace and looks at it.
fn judged(members: &str, outside: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let mut names = Vec::new();
    for (krate, is_member) in
        members.split(';').map(|krate| (krate, true)).chain(outside.split(';').map(|krate| (krate, false)))
    {
        let (name, uses) = krate.split_once(':').unwrap_or((krate, ""));
        let name = name.trim();
        if name.is_empty() {
            continue;
        }
        let place = folder.path().join(name);
        std::fs::create_dir_all(place.join("src")).unwrap();
        std::fs::write(place.join("src/lib.rs"), "").unwrap();
        let uses: String =
            uses.split_whitespace().map(|used| format!("{used} = {{ path = \"../{used}\" }}\n")).collect();
        let manifest =
            format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[dependencies]\n{uses}");
        std::fs::write(place.join("Cargo.toml"), manifest).unwrap();
        names.push((name.to_owned(), is_member));
    }
    let list = |members: bool| {
        let chosen = names.iter().filter(|(_, is_member)| *is_member == members);
        chosen.map(|(name, _)| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
    };
    let root = format!("[workspace]\nresolver = \"3\"\nmembers = [{}]\nexclude = [{}]\n", list(true), list(false));
    std::fs::write(folder.path().join("Cargo.toml"), root).unwrap();
    let mut command = MetadataCommand::new();
    command.manifest_path(folder.path().join("Cargo.toml")).other_options(["--offline".to_owned()]);
    objections(&command.exec().unwrap())
}
