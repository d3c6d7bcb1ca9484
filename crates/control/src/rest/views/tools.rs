//! A server's tools as the upstream describes them, each with what an admin said about it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// The tools that a server offered when it was asked last.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tools)]
pub(crate) struct ToolsView {
    /// Each as the upstream describes it, and whether it is enabled.
    #[schema(value_type = Vec<ToolView>)]
    pub(crate) items: Vec<Box<RawValue>>,
    /// Always null: tools come in one page.
    #[schema(required)]
    pub(crate) next: Option<String>,
    /// When the upstream was asked.
    #[schema(format = "date-time")]
    pub(crate) fetched_at: String,
}

/// A tool: the upstream's own members, and one of Gatehouse's.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tool)]
pub(crate) struct ToolView {
    /// The upstream's name of it.
    name: String,
    /// Whether clients see it and may call it.
    enabled: bool,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

/// Writes into each tool of a JSON array whether it is enabled, and leaves its bytes alone otherwise.
/// What is no tool is left out.
pub(crate) fn enabled_tools(tools: &str, disabled: &[String]) -> Vec<Box<RawValue>> {
    let tools: Vec<&RawValue> = serde_json::from_str(tools).unwrap_or_default();
    tools.into_iter().filter_map(|tool| marked(tool.get(), disabled)).collect()
}

fn marked(tool: &str, disabled: &[String]) -> Option<Box<RawValue>> {
    let Named { name } = serde_json::from_str(tool).ok()?;
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(tool).ok()?;
    let enabled = !disabled.contains(&name);
    let text = if members.contains_key("enabled") {
        // The word is taken: the admin's wins over the upstream's.
        let own = members.iter().filter(|(name, _)| *name != "enabled");
        let own: Vec<String> =
            own.map(|(name, value)| format!("{}:{}", serde_json::Value::from(name.as_str()), value)).collect();
        format!("{{\"enabled\":{enabled},{}}}", own.join(","))
    } else {
        format!("{{\"enabled\":{enabled},{}", tool.trim_start().strip_prefix('{')?)
    };
    RawValue::from_string(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tool_says_whether_it_is_enabled_and_is_otherwise_as_it_was() {
        let tools = r#"[ {"name":"a","n":1.50}, { "name":"b" }, {"enabled":"x","name":"c"}, 7, {"title":"none"} ]"#;
        let shown = enabled_tools(tools, &["b".to_owned()]);
        let shown: Vec<&str> = shown.iter().map(|tool| tool.get()).collect();
        assert_eq!(
            shown,
            [
                r#"{"enabled":true,"name":"a","n":1.50}"#,
                r#"{"enabled":false, "name":"b" }"#,
                r#"{"enabled":true,"name":"c"}"#,
            ]
        );
    }
}
