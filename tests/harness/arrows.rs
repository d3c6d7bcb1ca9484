//! The code map as a check: which crate may use which, and what may never come near the proxy.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata};

/// Our crates and their rows; a crate uses rows above it only.
const ROWS: &[(&str, u8)] = &[
    ("model", 1),
    ("wire", 2),
    ("egress", 2),
    ("identity", 2),
    ("coordination", 2),
    ("telemetry", 2),
    ("daemon", 2),
    ("vault", 2),
    ("store", 2),
    ("mcp", 2),
    ("control", 3),
    ("proxy", 3),
    ("cli", 3),
];

/// Stand outside the rows: the schema history, and what tests.
const OUTSIDE: &[&str] = &["migrations", "tests", "bench"];

/// Crates with exactly these users (tests apart).
const USERS: &[(&str, &[&str])] = &[("vault", &["control"]), ("store", &["control"]), ("migrations", &["store"])];

/// Outside crates with a home: only these may name them. A trailing `*` stands for any ending.
const HOMES: &[(&str, &[&str])] = &[
    ("sea-orm*", &["store", "migrations"]),
    ("sqlx*", &[]),
    ("deadpool-redis", &["coordination"]),
    ("redis", &["coordination"]),
    ("opentelemetry*", &["telemetry"]),
    ("rmcp", &["proxy"]),
    ("ring", &["vault", "identity", "proxy", "control"]),
    ("jsonwebtoken", &["identity"]),
    ("reqwest", &[]),
    ("rcgen", &["control"]),
];

/// What a crate may not name: `model` has no IO, async or serde, `mcp` and `identity` no IO.
const ABSENT: &[(&str, &[&str])] = &[
    ("model", &["tokio", "futures", "hyper", "serde", "serde_json", "async-trait"]),
    ("mcp", &["tokio", "hyper", "hyper-util", "axum"]),
    ("identity", &["tokio", "futures", "hyper", "hyper-util", "axum", "egress"]),
];

/// What may not be anywhere below a crate.
const CLOSURES: &[(&str, &[&str])] = &[
    ("proxy", &["vault", "store", "migrations", "sea-orm*", "sqlx*", "libsqlite3-sys", "rusqlite", "tokio-postgres"]),
    ("cli", &["vault", "store", "migrations", "control", "proxy", "sea-orm*", "sqlx*", "libsqlite3-sys"]),
];

/// Not allowed anywhere: one TLS stack, one provider of cryptography.
const NOWHERE: &[&str] = &["openssl-sys", "aws-lc-sys", "aws-lc-rs", "native-tls"];

/// Who uses whom, normal and build dependencies only.
struct Graph {
    edges: BTreeMap<String, BTreeSet<String>>,
    ours: BTreeSet<String>,
}

impl Graph {
    fn of(metadata: &Metadata) -> Self {
        let name = |id| metadata[id].name.to_string();
        let ours = metadata.workspace_members.iter().map(name).collect();
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in metadata.resolve.iter().flat_map(|resolve| &resolve.nodes) {
            let used = node
                .deps
                .iter()
                .filter(|dep| dep.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development));
            edges.entry(name(&node.id)).or_default().extend(used.map(|dep| name(&dep.pkg)));
        }
        Self { edges, ours }
    }

    fn used_by(&self, krate: &str) -> impl Iterator<Item = &String> {
        self.edges.get(krate).into_iter().flatten()
    }

    fn below(&self, krate: &str) -> BTreeSet<String> {
        let (mut found, mut open) = (BTreeSet::new(), vec![krate.to_owned()]);
        while let Some(next) = open.pop() {
            for used in self.used_by(&next) {
                if found.insert(used.clone()) {
                    open.push(used.clone());
                }
            }
        }
        found
    }
}

fn row(krate: &str) -> Option<u8> {
    ROWS.iter().find(|(name, _)| *name == krate).map(|(_, row)| *row)
}

fn fits(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start))
}

/// Everything in the workspace that breaks the code map, one sentence each.
pub fn objections(metadata: &Metadata) -> Vec<String> {
    let graph = Graph::of(metadata);
    let mut found = Vec::new();
    for krate in graph.ours.iter().filter(|krate| !matches!(krate.as_str(), "tests" | "bench")) {
        let Some(from) = row(krate).or_else(|| OUTSIDE.contains(&krate.as_str()).then_some(0)) else {
            found.push(format!("{krate} is not on the code map"));
            continue;
        };
        for used in graph.used_by(krate) {
            let allowed = USERS.iter().find(|(name, _)| name == used).map(|(_, users)| users.contains(&krate.as_str()));
            let rule = allowed.or_else(|| row(used).map(|to| to < from));
            if rule == Some(false) || (graph.ours.contains(used) && rule.is_none()) {
                found.push(format!("{krate} uses {used}"));
            }
            for (pattern, homes) in HOMES.iter().filter(|(pattern, _)| fits(pattern, used)) {
                if !homes.contains(&krate.as_str()) {
                    found.push(format!("{krate} names {used}, whose home is elsewhere ({pattern})"));
                }
            }
            if ABSENT.iter().any(|(name, absent)| name == krate && absent.contains(&used.as_str())) {
                found.push(format!("{krate} names {used}, which it must not"));
            }
        }
    }
    for (krate, never) in CLOSURES {
        for below in graph.below(krate).iter().filter(|below| never.iter().any(|pattern| fits(pattern, below))) {
            found.push(format!("{below} is below {krate}"));
        }
    }
    for name in NOWHERE.iter().filter(|name| graph.edges.contains_key(**name)) {
        found.push(format!("{name} is in the build"));
    }
    found
}
