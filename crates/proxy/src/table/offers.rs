//! What an upstream said of itself when it was last spoken with: capabilities and instructions.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// Longest instructions that are kept of one upstream, in bytes.
const INSTRUCTIONS: usize = 4096;

/// What is known; nothing before the first session or discovery.
#[derive(Default)]
pub(crate) struct Offers(ArcSwapOption<Offered>);

/// What an upstream declares.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Offered {
    pub(crate) tools: bool,
    pub(crate) prompts: bool,
    pub(crate) resources: bool,
    /// Clients may subscribe to resources.
    pub(crate) subscribe: bool,
    pub(crate) completions: bool,
    pub(crate) logging: bool,
    /// Tasks of 2025-11-25.
    pub(crate) tasks: bool,
    /// How a model is to use it; empty if it says nothing.
    pub(crate) instructions: Box<str>,
}

impl Offers {
    /// Remembers what the result of `initialize` or `server/discover` says. What can't be read changes nothing.
    pub(crate) fn said(&self, result: &[u8]) {
        if let Some(offered) = Offered::read(result) {
            self.0.store(Some(Arc::new(offered)));
        }
    }

    /// The same for another version of the same upstream.
    pub(super) fn again(&self) -> Self {
        Self(ArcSwapOption::new(self.known()))
    }

    /// What is known.
    pub(crate) fn known(&self) -> Option<Arc<Offered>> {
        self.0.load_full()
    }
}

impl Offered {
    /// Whatever an upstream may turn out to have.
    pub(crate) fn everything() -> Self {
        let (tools, prompts, resources, subscribe, completions, logging) = (true, true, true, true, true, true);
        Self { tools, prompts, resources, subscribe, completions, logging, tasks: false, instructions: "".into() }
    }

    fn read(result: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Said {
            capabilities: Declared,
            instructions: Option<String>,
        }
        #[derive(Deserialize)]
        struct Declared {
            tools: Option<IgnoredAny>,
            prompts: Option<IgnoredAny>,
            resources: Option<Resources>,
            completions: Option<IgnoredAny>,
            logging: Option<IgnoredAny>,
            tasks: Option<IgnoredAny>,
        }
        #[derive(Deserialize)]
        struct Resources {
            #[serde(default)]
            subscribe: bool,
        }
        let Said { capabilities, instructions } = serde_json::from_slice(result).ok()?;
        let instructions = instructions.unwrap_or_default();
        let end = (0..=INSTRUCTIONS.min(instructions.len())).rev().find(|end| instructions.is_char_boundary(*end));
        Some(Self {
            tools: capabilities.tools.is_some(),
            prompts: capabilities.prompts.is_some(),
            resources: capabilities.resources.is_some(),
            subscribe: capabilities.resources.is_some_and(|resources| resources.subscribe),
            completions: capabilities.completions.is_some(),
            logging: capabilities.logging.is_some(),
            tasks: capabilities.tasks.is_some(),
            instructions: instructions.get(..end.unwrap_or_default()).unwrap_or_default().into(),
        })
    }

    /// What either has.
    #[must_use]
    pub(crate) fn or(mut self, other: &Self) -> Self {
        self.tools |= other.tools;
        self.prompts |= other.prompts;
        self.resources |= other.resources;
        self.subscribe |= other.subscribe;
        self.completions |= other.completions;
        self.logging |= other.logging;
        self.tasks |= other.tasks;
        self
    }

    /// The `capabilities` of a server that has these. Lists change whenever a server is mounted or unmounted.
    pub(crate) fn capabilities(&self) -> serde_json::Value {
        let changes = serde_json::json!({ "listChanged": true });
        let mut capabilities = serde_json::Map::new();
        let mut put = |has: bool, name: &str, value: serde_json::Value| {
            if has {
                capabilities.insert(name.to_owned(), value);
            }
        };
        put(self.tools, "tools", changes.clone());
        put(self.prompts, "prompts", changes);
        let resources = match self.subscribe {
            true => serde_json::json!({ "listChanged": true, "subscribe": true }),
            false => serde_json::json!({ "listChanged": true }),
        };
        put(self.resources, "resources", resources);
        put(self.completions, "completions", serde_json::json!({}));
        put(self.logging, "logging", serde_json::json!({}));
        let tasks = serde_json::json!({ "list": {}, "cancel": {}, "requests": { "tools": { "call": {} } } });
        put(self.tasks, "tasks", tasks);
        serde_json::Value::Object(capabilities)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_upstream_says_of_itself_is_remembered_until_it_says_something_else() {
        let offers = Offers::default();
        assert_eq!(offers.known(), None);
        offers.said(br#"{"capabilities":{"tools":{},"resources":{"subscribe":true}},"instructions":"Ask."}"#);
        let before = offers.known().unwrap();
        assert!(before.tools && before.subscribe && !before.prompts && &*before.instructions == "Ask.");
        offers.said(b"[]");
        assert_eq!(offers.known(), Some(before.clone()), "what can't be read changes nothing");
        let long = "\u{e4}".repeat(INSTRUCTIONS);
        offers.said(format!(r#"{{"capabilities":{{"prompts":{{}}}},"instructions":"{long}"}}"#).as_bytes());
        let after = offers.known().unwrap();
        assert!(after.prompts && !after.tools && after.instructions.len() == INSTRUCTIONS);
        let both = Offered::clone(&before).or(&after);
        let names: Vec<String> = both.capabilities().as_object().unwrap().keys().cloned().collect();
        assert_eq!(names, ["prompts", "resources", "tools"]);
    }
}
