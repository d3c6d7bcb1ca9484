//! Everything that is wrong with a configuration, at once.

/// What is wrong with a configuration, one line each. A line names the setting and never shows a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration can't be used:\n  - {}", .0.join("\n  - "))]
pub struct ConfigError(pub Vec<String>);
