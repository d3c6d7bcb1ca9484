//! The toolsets that were pushed, ready to be asked what a name stands for.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use mcp::names;
use model::{ServerId, TenantId, ToolsetError, ToolsetId, ToolsetSpec, ToolsetTool};

/// One toolset.
pub(crate) struct Toolset {
    pub(crate) spec: ToolsetSpec,
    /// Entries with a name of their own, by it.
    called: HashMap<Box<str>, usize>,
    servers: HashMap<ServerId, OfServer>,
}

/// What a toolset has of one server.
#[derive(Default)]
struct OfServer {
    /// All tools that have no entry of their own.
    every: bool,
    /// Entries by the server's own name of the tool, in their order.
    tools: HashMap<Box<str>, Vec<usize>>,
}

/// What a name at a server stands for in a toolset.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Plain<'a> {
    /// This entry.
    Entry(&'a ToolsetTool),
    /// Whatever tool the server has under it, if it has no entry of its own.
    Every,
}

impl Toolset {
    /// What was pushed, or which of its entries can't be served and why.
    pub(crate) fn new(spec: ToolsetSpec) -> Result<Self, (usize, ToolsetError)> {
        ToolsetSpec::check(&spec.tools)?;
        let (mut called, mut servers) = (HashMap::new(), HashMap::<ServerId, OfServer>::new());
        for (at, entry) in spec.tools.iter().enumerate() {
            let of_server = servers.entry(entry.server).or_default();
            if entry.is_every() {
                of_server.every = true;
                continue;
            }
            of_server.tools.entry(entry.tool.as_str().into()).or_default().push(at);
            if let Some(name) = &entry.name {
                called.insert(name.as_str().into(), at);
            }
        }
        Ok(Self { spec, called, servers })
    }

    /// The entry that was given this name.
    pub(crate) fn called(&self, name: &str) -> Option<&ToolsetTool> {
        self.spec.tools.get(*self.called.get(name)?)
    }

    /// What the exposed name of a tool of a server stands for, if it is not given to another one.
    pub(crate) fn plain(&self, server: ServerId, slug: &str, name: &str) -> Option<Plain<'_>> {
        let of_server = self.servers.get(&server)?;
        let rest = name.strip_prefix(slug).and_then(|rest| rest.strip_prefix("__"))?;
        let is_plain = |at: &usize| self.spec.tools.get(*at).filter(|entry| entry.name.is_none());
        let entry_of = |tool: &str| of_server.tools.get(tool)?.iter().find_map(is_plain);
        let exact = entry_of(rest).filter(|entry| names::exposed(slug, &entry.tool) == name);
        // Names that were cleaned or cut lead back only by trying them.
        let found = exact.or_else(|| {
            let entries = of_server.tools.values().flatten().filter_map(is_plain);
            entries.into_iter().find(|entry| names::exposed(slug, &entry.tool) == name)
        });
        match found {
            Some(entry) => Some(Plain::Entry(entry)),
            None => of_server.every.then_some(Plain::Every),
        }
    }

    /// Whether a tool has an entry of its own, and so is not among all of its server.
    pub(crate) fn has_own(&self, server: ServerId, tool: &str) -> bool {
        self.servers.get(&server).is_some_and(|of_server| of_server.tools.contains_key(tool))
    }

    /// Whether a name was given to an entry.
    pub(crate) fn is_given(&self, name: &str) -> bool {
        self.called.contains_key(name)
    }

    /// The servers that it has anything of.
    pub(crate) fn servers(&self) -> impl Iterator<Item = ServerId> {
        self.servers.keys().copied()
    }
}

/// Toolsets by their ids.
#[derive(Clone, Default)]
pub(super) struct Toolsets(HashMap<ToolsetId, Arc<Toolset>>);

impl Toolsets {
    /// Takes over a toolset in place of the one with the same id; says whose were touched. One that can't be served
    /// changes nothing.
    pub(super) fn put(&mut self, spec: ToolsetSpec) -> Result<Vec<TenantId>, String> {
        let (id, tenant) = (spec.id, spec.tenant);
        let toolset = Toolset::new(spec).map_err(|(at, error)| format!("its entry {at} can't be served: {error}"))?;
        let before = self.0.insert(id, Arc::new(toolset)).map(|before| before.spec.tenant);
        Ok(std::iter::once(tenant).chain(before).collect())
    }

    /// Takes one away; says whose it was.
    pub(super) fn remove(&mut self, id: ToolsetId) -> Option<TenantId> {
        self.0.remove(&id).map(|toolset| toolset.spec.tenant)
    }

    /// Without a copy where all stay. Says whose went.
    pub(super) fn retain(this: &mut Arc<Self>, stays: impl Fn(&ToolsetSpec) -> bool) -> Vec<TenantId> {
        let gone: Vec<ToolsetId> = this.iter().filter(|spec| !stays(spec)).map(|spec| spec.id).collect();
        if gone.is_empty() {
            return Vec::new();
        }
        let toolsets = Arc::make_mut(this);
        gone.into_iter().filter_map(|id| toolsets.remove(id)).collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &ToolsetSpec> {
        self.0.values().map(|toolset| &toolset.spec)
    }

    /// Those of one tenant by what stands in their URLs; of two with one name the later one.
    pub(super) fn of(&self, tenant: TenantId) -> BTreeMap<Box<str>, Arc<Toolset>> {
        let mut own: Vec<_> = self.0.values().filter(|toolset| toolset.spec.tenant == tenant).collect();
        own.sort_unstable_by_key(|toolset| toolset.spec.id);
        own.into_iter().map(|toolset| (toolset.spec.name.as_str().into(), toolset.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use model::{Generation, Listing};
    use uuid::Uuid;

    use super::*;

    fn tenant(number: u128) -> TenantId {
        TenantId(Uuid::from_u128(number))
    }

    fn id(number: u128) -> ToolsetId {
        ToolsetId(Uuid::from_u128(number))
    }

    fn server(number: u128) -> ServerId {
        ServerId(Uuid::from_u128(number))
    }

    fn toolset(number: u128, of: u128, name: &str, tools: Vec<ToolsetTool>) -> ToolsetSpec {
        ToolsetSpec {
            id: id(number),
            tenant: tenant(of),
            name: name.parse().unwrap(),
            title: String::new(),
            description: None,
            generation: Generation(1),
            listing: Listing::Tools,
            tools,
        }
    }

    fn entry(of: u128, tool: &str, name: Option<&str>) -> ToolsetTool {
        ToolsetTool { server: server(of), tool: tool.to_owned(), name: name.map(str::to_owned), description: None }
    }

    fn found(toolsets: &Toolsets, of: u128, name: &str) -> Option<ToolsetId> {
        toolsets.of(tenant(of)).get(name).map(|toolset| toolset.spec.id)
    }

    #[test]
    fn a_name_leads_to_the_toolset_of_its_tenant() {
        let mut toolsets = Toolsets::default();
        for (number, of) in [(1, 1), (2, 2)] {
            assert_eq!(toolsets.put(toolset(number, of, "office", vec![])), Ok(vec![tenant(of)]));
        }
        assert_eq!((found(&toolsets, 1, "office"), found(&toolsets, 2, "office")), (Some(id(1)), Some(id(2))));
        assert_eq!((found(&toolsets, 3, "office"), found(&toolsets, 1, "other")), (None, None));
        assert_eq!((toolsets.remove(id(1)), toolsets.remove(id(1))), (Some(tenant(1)), None));
        assert_eq!((found(&toolsets, 1, "office"), found(&toolsets, 2, "office")), (None, Some(id(2))));
    }

    #[test]
    fn what_cannot_be_served_keeps_its_last_good_version() {
        let mut toolsets = Toolsets::default();
        toolsets.put(toolset(1, 1, "a", vec![])).unwrap();
        let refused = toolsets.put(toolset(1, 1, "b", vec![entry(1, "x", Some(""))])).unwrap_err();
        assert!(refused.starts_with("its entry 0"), "{refused}");
        assert_eq!((found(&toolsets, 1, "a"), found(&toolsets, 1, "b")), (Some(id(1)), None));
    }

    #[test]
    fn those_that_stay_are_not_copied() {
        let mut toolsets = Arc::new(Toolsets::default());
        for (number, of) in [(1, 1), (2, 2)] {
            Arc::make_mut(&mut toolsets).put(toolset(number, of, "a", vec![])).unwrap();
        }
        let before = toolsets.clone();
        assert_eq!(Toolsets::retain(&mut toolsets, |_| true), []);
        assert!(Arc::ptr_eq(&before, &toolsets));
        assert_eq!(Toolsets::retain(&mut toolsets, |spec| spec.tenant == tenant(2)), [tenant(1)]);
        assert_eq!((found(&toolsets, 1, "a"), found(&toolsets, 2, "a")), (None, Some(id(2))));
    }

    #[test]
    fn a_name_stands_for_the_entry_that_has_it_or_for_what_the_server_lists() {
        let tools = vec![
            entry(1, "search", Some("find")),
            entry(1, "read.all", None),
            entry(1, "write", None),
            entry(1, "write", Some("put")),
            entry(2, "*", None),
            entry(2, "drop", Some("remove")),
        ];
        let toolset = Toolset::new(toolset(1, 1, "a", tools.clone())).unwrap();
        assert_eq!(toolset.called("find"), Some(&tools[0]));
        assert_eq!((toolset.called("search"), toolset.called("notes__write")), (None, None));
        let cleaned = names::exposed("notes", "read.all");
        for (server_id, slug, name, expected) in [
            (1, "notes", "notes__write", Some(Plain::Entry(&tools[2]))),
            (1, "notes", cleaned.as_str(), Some(Plain::Entry(&tools[1]))),
            (1, "notes", "notes__search", None),
            (1, "notes", "notes__read.all", None),
            (1, "notes", "wiki__write", None),
            (2, "wiki", "wiki__anything", Some(Plain::Every)),
            (3, "mail", "mail__send", None),
        ] {
            assert_eq!(toolset.plain(server(server_id), slug, name), expected, "{name}");
        }
        assert!(toolset.has_own(server(2), "drop") && !toolset.has_own(server(2), "anything"));
        assert!(toolset.is_given("put") && !toolset.is_given("write"));
        assert_eq!(toolset.servers().count(), 2);
    }
}
