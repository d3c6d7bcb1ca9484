//! The tools that a caller finds at one place, by the names that they have there: to be listed, searched and described.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use mcp::{Change, Era, Item, ListKind, Object, names, write};
use model::{TenantId, ToolsetId};

use crate::client::{Capabilities, Client};
use crate::credentials::{Behalf, Showing};
use crate::cursors::Place;
use crate::principal::Authenticated;
use crate::seal::Sealer;
use crate::search::{Document, Index};
use crate::table::{Listed, Mount, Toolset};
use crate::upstream_sessions::UpstreamSessions;
use crate::views::{FRESH, FRESH_PARTIAL, Page, Paging, gathered, page_at, parts};

/// Most bytes of shelves that are kept, with what finds their tools.
const SHELVES: u64 = 128 << 20;
/// How many times as much as its tools a shelf takes, with pages and index.
const SHARE: usize = 4;

/// A tool on a shelf.
pub(crate) struct Offer {
    /// What it is called here.
    pub(crate) name: Box<str>,
    /// The name of its server.
    pub(crate) server: Box<str>,
    /// What its server says of it, or what is said here in place of that, under the server's own name.
    pub(crate) item: Item,
}

impl Offer {
    /// The definition under the name that it has here.
    pub(crate) fn definition(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.item.raw.len() + self.name.len());
        self.item.renamed(&self.name, &mut out);
        out
    }
}

/// Tools, each under a name of its own.
pub(crate) struct Shelf {
    pub(crate) offers: Vec<Offer>,
    by_name: HashMap<Box<str>, usize>,
    pages: Vec<Page>,
    place: Place,
    /// Made with the first search.
    index: OnceLock<Index>,
    /// What it was made of.
    of: Vec<(u64, Option<Arc<Listed>>)>,
    toolset: Option<Arc<Toolset>>,
}

impl Shelf {
    /// A tool by its name here.
    pub(crate) fn find(&self, name: &str) -> Option<&Offer> {
        self.offers.get(*self.by_name.get(name)?)
    }

    /// The page of a cursor, or the first one; `None` if the cursor is not of this list.
    pub(crate) fn page(&self, sealer: &Sealer, cursor: Option<&str>) -> Option<Page> {
        page_at(&self.pages, self.place, sealer, ListKind::Tools, cursor)
    }

    /// The tools that fit a question best, best first; with `server` those of that server alone.
    pub(crate) async fn search(self: &Arc<Self>, query: &str, limit: usize, server: Option<&str>) -> Vec<usize> {
        if let Some(server) = server {
            let (shelf, server, query) = (self.clone(), server.to_owned(), query.to_owned());
            let work = move || {
                let of_server = |at: &usize| shelf.offers.get(*at).is_some_and(|offer| *offer.server == *server);
                let own: Vec<usize> = (0..shelf.offers.len()).filter(of_server).collect();
                let index = Index::new(own.iter().filter_map(|at| shelf.offers.get(*at)).map(document));
                let found = index.search(&query, limit);
                found.into_iter().filter_map(|(at, _)| own.get(at).copied()).collect()
            };
            return tokio::task::spawn_blocking(work).await.unwrap_or_default();
        }
        if self.index.get().is_none() {
            // Thousands of tools take a moment, in which others are served.
            let shelf = self.clone();
            let made = tokio::task::spawn_blocking(move || shelf.index().search("", 1));
            if made.await.is_err() {
                return Vec::new();
            }
        }
        self.index().search(query, limit).into_iter().map(|(at, _)| at).collect()
    }

    fn index(&self) -> &Index {
        self.index.get_or_init(|| Index::new(self.offers.iter().map(document)))
    }

    fn weight(&self) -> usize {
        let offers = self.offers.iter().map(|offer| offer.item.raw.len() + 2 * offer.name.len() + 200);
        SHARE * offers.sum::<usize>() + self.pages.iter().map(Page::len).sum::<usize>() + 500
    }

    /// Whether it would be made of the same again.
    fn is_of(&self, toolset: Option<&Arc<Toolset>>, parts: &[(Arc<Mount>, Option<Arc<Listed>>)]) -> bool {
        let same_toolset = match (&self.toolset, toolset) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        let same_list = |one: &Option<Arc<Listed>>, other: &Option<Arc<Listed>>| match (one, other) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        let mut pairs = self.of.iter().zip(parts);
        same_toolset
            && self.of.len() == parts.len()
            && pairs.all(|((uid, one), (mount, other))| *uid == mount.uid && same_list(one, other))
    }
}

fn document(offer: &Offer) -> Document<'_> {
    Document { server: &offer.server, name: &offer.name, tool: &offer.item }
}

/// Shelves by tenant, toolset (or all that a caller may use), the servers that the caller may use, as whom, and what the
/// client is to upstreams.
pub(crate) struct Shelves {
    shelves: moka::sync::Cache<ShelfKey, Arc<Kept>>,
    sealer: Arc<Sealer>,
}

type ShelfKey = (TenantId, Option<ToolsetId>, Option<Arc<[Box<str>]>>, [u8; 16], Era, Capabilities);

/// A shelf and for how long it is taken as it is.
struct Kept {
    shelf: Arc<Shelf>,
    epoch: u64,
    until: Instant,
}

impl Shelves {
    /// Nothing yet; cursors are sealed by this.
    pub(crate) fn new(sealer: Arc<Sealer>) -> Self {
        let shelves = moka::sync::Cache::builder()
            .weigher(|_, kept: &Arc<Kept>| u32::try_from(kept.shelf.weight()).unwrap_or(u32::MAX))
            .max_capacity(SHELVES)
            .build();
        Self { shelves, sealer }
    }

    /// Most bytes of shelves, and what tells how many there are.
    pub(crate) fn fill(&self) -> (u64, impl Fn() -> u64 + use<>) {
        let shelves = self.shelves.clone();
        (SHELVES, move || shelves.weighted_size())
    }

    /// What the caller may use of a toolset, or of everything.
    pub(crate) async fn of(
        &self,
        sessions: &Arc<UpstreamSessions>,
        who: &Authenticated,
        shown: Showing<'_>,
        client: Client,
        toolset: Option<&Arc<Toolset>>,
    ) -> Arc<Shelf> {
        let (tenant, id) = (who.tenant.spec.id, toolset.map(|toolset| toolset.spec.id));
        let key = (tenant, id, who.view(), parts(who), client.era(), client.capabilities);
        let epoch = who.tenant.hub.epoch();
        let known = self.shelves.get(&key);
        if let Some(kept) = &known
            && kept.epoch == epoch
            && Instant::now() < kept.until
        {
            return kept.shelf.clone();
        }
        let behalf = Behalf::of(who, shown, client);
        let wanted: Option<HashSet<_>> = toolset.map(|toolset| toolset.servers().collect());
        let is_wanted = |mount: &&Arc<Mount>| wanted.as_ref().is_none_or(|wanted| wanted.contains(&mount.spec.id));
        let mounts = who.mounts().filter(is_wanted).cloned().collect();
        let parts = gathered(sessions, &behalf, mounts, ListKind::Tools).await;
        let partial = parts.iter().any(|(_, listed)| listed.is_none());
        let shelf = match known {
            Some(kept) if kept.shelf.is_of(toolset, &parts) => kept.shelf.clone(),
            _ => {
                let place = Place::of(tenant, ListKind::Tools, key.2.as_deref(), client);
                Arc::new(made(toolset, &parts, id.map_or(place, |id| place.within(id)), &self.sealer))
            }
        };
        let until = Instant::now() + if partial { FRESH_PARTIAL } else { FRESH };
        self.shelves.insert(key, Arc::new(Kept { shelf: shelf.clone(), epoch, until }));
        shelf
    }
}

fn made(
    toolset: Option<&Arc<Toolset>>,
    parts: &[(Arc<Mount>, Option<Arc<Listed>>)],
    place: Place,
    sealer: &Sealer,
) -> Shelf {
    let listed: Vec<Offers<'_>> =
        parts.iter().filter_map(|(mount, listed)| Some(Offers { mount, items: &listed.as_ref()?.items })).collect();
    let mut offers = match toolset {
        Some(toolset) => chosen(toolset, &listed),
        None => listed.iter().flat_map(|of| of.items.iter().map(|item| of.plain(item))).collect(),
    };
    let mut by_name = HashMap::with_capacity(offers.len());
    offers.retain(|offer| {
        let at = by_name.len();
        let first = !by_name.contains_key(&offer.name);
        if first {
            by_name.insert(offer.name.clone(), at);
        }
        first
    });
    let mut paging = Paging::new(ListKind::Tools, parts, |page| place.cursor(sealer, page));
    // Those of everything are listed elsewhere.
    for offer in offers.iter().filter(|_| toolset.is_some()) {
        offer.item.renamed(&offer.name, paging.item());
    }
    let of = parts.iter().map(|(mount, listed)| (mount.uid, listed.clone())).collect();
    let (pages, index) = (paging.finish(), OnceLock::new());
    Shelf { offers, by_name, pages, place, index, of, toolset: toolset.cloned() }
}

/// What one server lists.
struct Offers<'a> {
    mount: &'a Mount,
    items: &'a [Item],
}

impl Offers<'_> {
    fn plain(&self, item: &Item) -> Offer {
        let (server, name) = (self.mount.name(), names::exposed(self.mount.name(), &item.key));
        Offer { name: name.into(), server: server.into(), item: item.clone() }
    }
}

/// What a toolset has of what its servers list, in the order of its entries.
fn chosen(toolset: &Toolset, listed: &[Offers<'_>]) -> Vec<Offer> {
    let by_id: HashMap<_, _> = listed.iter().map(|of| (of.mount.spec.id, of)).collect();
    let mut items: HashMap<_, HashMap<&str, &Item>> = HashMap::new();
    for of in listed {
        items.insert(of.mount.spec.id, of.items.iter().map(|item| (&*item.key, item)).collect());
    }
    let mut offers = Vec::new();
    for entry in &toolset.spec.tools {
        let Some(of) = by_id.get(&entry.server) else { continue };
        if entry.is_every() {
            let others = of.items.iter().filter(|item| !toolset.has_own(entry.server, &item.key));
            let plain = others.map(|item| of.plain(item));
            // A name that is given to another tool is that one's.
            offers.extend(plain.filter(|offer| !toolset.is_given(&offer.name)));
            continue;
        }
        let found = items.get(&entry.server).and_then(|items| items.get(entry.tool.as_str()).copied());
        let Some(item) = found else { continue };
        let plain = of.plain(item);
        let name = entry.name.as_deref().map_or(plain.name.clone(), Into::into);
        if entry.name.is_none() && toolset.is_given(&name) {
            continue;
        }
        let item = entry.description.as_deref().and_then(|text| described(item, text)).unwrap_or(plain.item);
        offers.push(Offer { name, item, ..plain });
    }
    offers
}

/// The tool with another description.
fn described(item: &Item, description: &str) -> Option<Item> {
    let mut text = Vec::with_capacity(description.len() + 2);
    write::string(&mut text, description);
    let change = |name: &str, _: &[u8]| if name == "description" { Change::Put(text.clone()) } else { Change::Keep };
    let raw: Bytes = Object::read(&item.raw)?.edited(change, &[("description", &text)]).into();
    let key_span = mcp::member(&raw, ListKind::Tools.key())?;
    Some(Item { raw, key: item.key.clone(), key_span })
}

#[cfg(test)]
mod tests {
    use mcp::List;
    use model::{Generation, Listing, ServerId, ToolsetSpec, ToolsetTool};

    use super::*;

    fn mount(name: &str) -> Mount {
        let spec = model::ServerSpec {
            id: ServerId::fresh(),
            tenant: TenantId::fresh(),
            name: name.parse().unwrap(),
            title: String::new(),
            generation: Generation(1),
            transport: model::Transport::StreamableHttp,
            url: model::UpstreamUrl::parse("https://example.com/mcp").unwrap(),
            headers: Vec::new(),
            connect_timeout: std::time::Duration::from_secs(1),
            read_timeout: std::time::Duration::from_secs(1),
            disabled_tools: Vec::new(),
            trust_hints: false,
            retry_count: 0,
            retry_delay: std::time::Duration::from_secs(1),
            limits: model::ServerLimits::default(),
            binding: None,
            eras: model::Eras::default(),
        };
        let policy = egress::Policy { dev: false, own: Vec::new(), rules: Vec::new(), revision: 1 };
        Mount::new(spec, &egress::Egress::new(policy).unwrap(), &model::Limits::default(), false, None).unwrap()
    }

    fn items(names: &[&str]) -> Vec<Item> {
        let tools: Vec<_> = names
            .iter()
            .map(|name| serde_json::json!({"name": name, "description": format!("Does {name}"), "inputSchema": {}}))
            .collect();
        let result = Bytes::from(serde_json::json!({ "tools": tools }).to_string());
        List::parse(ListKind::Tools, &result, 100).unwrap().items
    }

    fn toolset(tools: Vec<ToolsetTool>) -> Toolset {
        let spec = ToolsetSpec {
            id: ToolsetId::fresh(),
            tenant: TenantId::fresh(),
            name: "office".parse().unwrap(),
            title: String::new(),
            description: None,
            generation: Generation(1),
            listing: Listing::Tools,
            tools,
        };
        Toolset::new(spec).unwrap_or_else(|(at, error)| panic!("{at}: {error}"))
    }

    fn entry(mount: &Mount, tool: &str, name: Option<&str>) -> ToolsetTool {
        ToolsetTool { server: mount.spec.id, tool: tool.to_owned(), name: name.map(str::to_owned), description: None }
    }

    #[test]
    fn a_toolset_has_what_it_chooses_in_its_own_order() {
        let (notes, wiki) = (mount("notes"), mount("wiki"));
        let (of_notes, of_wiki) = (items(&["search", "drop", "list"]), items(&["read", "write"]));
        let gone = entry(&mount("gone"), "*", None);
        let described =
            ToolsetTool { description: Some("Finds \"all\"".to_owned()), ..entry(&notes, "search", Some("find")) };
        let tools = vec![
            entry(&wiki, "read", None),
            described,
            gone,
            entry(&notes, "*", None),
            entry(&notes, "drop", Some("wiki__read")),
            entry(&wiki, "nothing", Some("none")),
        ];
        let listed = [Offers { mount: &notes, items: &of_notes }, Offers { mount: &wiki, items: &of_wiki }];
        let offers = chosen(&toolset(tools), &listed);
        let names: Vec<_> = offers.iter().map(|offer| (&*offer.name, &*offer.server)).collect();
        assert_eq!(names, [("find", "notes"), ("notes__list", "notes"), ("wiki__read", "notes")]);
        let find: serde_json::Value = serde_json::from_slice(&offers[0].definition()).unwrap();
        assert_eq!(find, serde_json::json!({"name": "find", "description": "Finds \"all\"", "inputSchema": {}}));
    }

    #[test]
    fn a_description_is_replaced_wherever_it_stands_and_added_where_there_is_none() {
        for (raw, expected) in [
            (r#"{"description":"old","name":"a","x":1}"#, r#"{"description":"new","name":"a","x":1}"#),
            (
                r#"{"name":"a","inputSchema":{"description":"in"}}"#,
                r#"{"name":"a","inputSchema":{"description":"in"},"description":"new"}"#,
            ),
            (
                r#"{"name":"a","description":"1","d\u0065scription":"2"}"#,
                r#"{"name":"a","description":"new","d\u0065scription":"new"}"#,
            ),
        ] {
            let result = Bytes::from(format!("{{\"tools\":[{raw}]}}"));
            let list = List::parse(ListKind::Tools, &result, 1).unwrap();
            let item = described(&list.items[0], "new").unwrap();
            assert_eq!((std::str::from_utf8(&item.raw).unwrap(), &*item.key), (expected, "a"));
            let mut renamed = Vec::new();
            item.renamed("b", &mut renamed);
            assert_eq!(String::from_utf8(renamed).unwrap(), expected.replace("\"name\":\"a\"", "\"name\":\"b\""));
        }
    }
}
