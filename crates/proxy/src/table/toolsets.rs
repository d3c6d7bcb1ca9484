//! The toolsets that were pushed, found by tenant and name.

use std::collections::HashMap;
use std::sync::Arc;

use model::{TenantId, ToolsetId, ToolsetSpec};

/// Toolsets by their ids, and by what stands in their URLs.
#[derive(Clone, Default)]
pub(crate) struct Toolsets {
    by_id: HashMap<ToolsetId, Arc<ToolsetSpec>>,
    by_name: HashMap<TenantId, HashMap<Box<str>, ToolsetId>>,
}

impl Toolsets {
    /// Takes over toolsets in place of those with the same ids; two of them may have traded names. One that nobody
    /// could serve is refused and keeps its last good version.
    pub(super) fn put(&mut self, specs: Vec<ToolsetSpec>) -> Vec<(ToolsetId, String)> {
        let mut refused = Vec::new();
        let specs = specs.into_iter().filter_map(|spec| match ToolsetSpec::check(&spec.tools) {
            Ok(()) => Some(Arc::new(spec)),
            Err((at, error)) => {
                refused.push((spec.id, format!("its entry {at} can't be served: {error}")));
                None
            }
        });
        let specs: Vec<_> = specs.collect();
        for spec in &specs {
            self.remove(spec.id);
        }
        for spec in specs {
            self.by_name.entry(spec.tenant).or_default().insert(spec.name.as_str().into(), spec.id);
            self.by_id.insert(spec.id, spec);
        }
        refused
    }

    pub(super) fn remove(&mut self, id: ToolsetId) {
        let Some(spec) = self.by_id.remove(&id) else { return };
        let Some(names) = self.by_name.get_mut(&spec.tenant) else { return };
        // Another one may have taken its name before it was removed.
        if names.get(spec.name.as_str()) == Some(&id) {
            names.remove(spec.name.as_str());
        }
        if names.is_empty() {
            self.by_name.remove(&spec.tenant);
        }
    }

    /// Without a copy where all stay.
    pub(super) fn retain(this: &mut Arc<Self>, stays: impl Fn(&ToolsetSpec) -> bool) {
        let gone: Vec<ToolsetId> = this.iter().filter(|spec| !stays(spec)).map(|spec| spec.id).collect();
        if !gone.is_empty() {
            let toolsets = Arc::make_mut(this);
            gone.into_iter().for_each(|id| toolsets.remove(id));
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<ToolsetSpec>> {
        self.by_id.values()
    }

    /// By its id, whoever's it is.
    pub(crate) fn get(&self, id: ToolsetId) -> Option<&Arc<ToolsetSpec>> {
        self.by_id.get(&id)
    }

    /// By what stands in its URL.
    pub(crate) fn named(&self, tenant: TenantId, name: &str) -> Option<&Arc<ToolsetSpec>> {
        self.by_id.get(self.by_name.get(&tenant)?.get(name)?)
    }
}

#[cfg(test)]
mod tests {
    use model::{Generation, Listing, ServerId, ToolsetTool};
    use uuid::Uuid;

    use super::*;

    fn tenant(number: u128) -> TenantId {
        TenantId(Uuid::from_u128(number))
    }

    fn id(number: u128) -> ToolsetId {
        ToolsetId(Uuid::from_u128(number))
    }

    fn toolset(number: u128, of: u128, name: &str) -> ToolsetSpec {
        ToolsetSpec {
            id: id(number),
            tenant: tenant(of),
            name: name.parse().unwrap(),
            title: String::new(),
            description: None,
            generation: Generation(1),
            listing: Listing::Tools,
            tools: vec![],
        }
    }

    fn found(toolsets: &Toolsets, of: u128, name: &str) -> Option<ToolsetId> {
        toolsets.named(tenant(of), name).map(|spec| spec.id)
    }

    #[test]
    fn a_name_leads_to_the_toolset_of_its_tenant() {
        let mut toolsets = Toolsets::default();
        toolsets.put(vec![toolset(1, 1, "office"), toolset(2, 2, "office")]);
        assert_eq!((found(&toolsets, 1, "office"), found(&toolsets, 2, "office")), (Some(id(1)), Some(id(2))));
        assert_eq!((found(&toolsets, 3, "office"), found(&toolsets, 1, "other")), (None, None));
        toolsets.remove(id(1));
        assert_eq!((found(&toolsets, 1, "office"), found(&toolsets, 2, "office")), (None, Some(id(2))));
    }

    #[test]
    fn toolsets_may_trade_names_and_one_may_take_the_name_of_one_that_goes() {
        let mut toolsets = Toolsets::default();
        toolsets.put(vec![toolset(1, 1, "a"), toolset(2, 1, "b")]);
        toolsets.put(vec![toolset(1, 1, "b"), toolset(2, 1, "a")]);
        assert_eq!((found(&toolsets, 1, "a"), found(&toolsets, 1, "b")), (Some(id(2)), Some(id(1))));
        toolsets.put(vec![toolset(3, 1, "a")]);
        toolsets.remove(id(2));
        assert_eq!(found(&toolsets, 1, "a"), Some(id(3)));
    }

    #[test]
    fn what_cannot_be_served_keeps_its_last_good_version() {
        let mut toolsets = Toolsets::default();
        toolsets.put(vec![toolset(1, 1, "a")]);
        let entry = ToolsetTool {
            server: ServerId::fresh(),
            tool: "x".to_owned(),
            name: Some(String::new()),
            description: None,
        };
        let bad = ToolsetSpec { tools: vec![entry], ..toolset(1, 1, "b") };
        let refused = toolsets.put(vec![bad]);
        assert_eq!(refused.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [id(1)]);
        assert_eq!((found(&toolsets, 1, "a"), found(&toolsets, 1, "b")), (Some(id(1)), None));
    }

    #[test]
    fn those_that_stay_are_not_copied() {
        let mut toolsets = Arc::new(Toolsets::default());
        Arc::make_mut(&mut toolsets).put(vec![toolset(1, 1, "a"), toolset(2, 2, "a")]);
        let before = toolsets.clone();
        Toolsets::retain(&mut toolsets, |_| true);
        assert!(Arc::ptr_eq(&before, &toolsets));
        Toolsets::retain(&mut toolsets, |spec| spec.tenant == tenant(2));
        assert_eq!((found(&toolsets, 1, "a"), found(&toolsets, 2, "a")), (None, Some(id(2))));
        assert_eq!(before.iter().count(), 2);
    }
}
