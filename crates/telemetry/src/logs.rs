//! The tracing subscriber: to standard error, for people or as JSON lines.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// What is logged when nothing else is said: our own steps, and of libraries what should worry somebody.
const DEFAULT: &str = "info,rmcp=warn,sea_orm_migration=warn,sqlx=warn";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people; colours on a terminal.
    #[default]
    Human,
    /// One JSON object per line.
    Json,
}

impl Format {
    /// Reads `human` or `json`.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "human" => Some(Self::Human),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// What is logged and how.
#[derive(Debug, Clone)]
pub struct Config {
    /// How lines look.
    pub format: Format,
    /// Directives of `tracing_subscriber::EnvFilter`, e.g. `info,control=debug`.
    pub filter: String,
    /// A format that was asked for and doesn't exist; told once, in the log.
    pub refused_format: Option<String>,
}

impl Config {
    /// Reads `GATEHOUSE_LOG` (default `info`) and `GATEHOUSE_LOG_FORMAT` (`human`, the default, or `json`).
    pub fn from_env() -> Self {
        Self::read(std::env::var("GATEHOUSE_LOG_FORMAT").ok(), std::env::var("GATEHOUSE_LOG").ok())
    }

    fn read(format: Option<String>, filter: Option<String>) -> Self {
        let known = format.as_deref().and_then(Format::parse);
        Self {
            format: known.unwrap_or_default(),
            filter: filter.unwrap_or_else(|| DEFAULT.to_owned()),
            refused_format: format.filter(|word| known.is_none() && !word.is_empty()),
        }
    }
}

/// Starts logging as the environment says. A second call changes nothing.
pub fn init(service: &str) {
    init_with(service, &Config::from_env());
}

/// Starts logging. A filter that can't be read becomes `info` and is reported in the log: logging
/// never keeps a process from starting. A second call changes nothing.
pub fn init_with(service: &str, config: &Config) {
    let (filter, refused) = match EnvFilter::try_new(&config.filter) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new(DEFAULT), Some(error)),
    };
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_span_events(FmtSpan::NONE);
    let started = match config.format {
        Format::Human => builder.with_ansi(io::stderr().is_terminal()).try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
    if started.is_ok() {
        tracing::debug!(service, version = env!("CARGO_PKG_VERSION"), "logging started");
    }
    if let Some(error) = refused {
        tracing::warn!(%error, "GATEHOUSE_LOG can't be read, logging at info");
    }
    if let Some(word) = &config.refused_format {
        tracing::warn!(%word, "GATEHOUSE_LOG_FORMAT must be human or json, logging for people");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_that_does_not_exist_is_remembered() {
        for (word, format, refused) in [
            (None, Format::Human, false),
            (Some(""), Format::Human, false),
            (Some("json"), Format::Json, false),
            (Some("xml"), Format::Human, true),
        ] {
            let config = Config::read(word.map(str::to_owned), None);
            assert_eq!((config.format, config.refused_format.is_some()), (format, refused), "{word:?}");
        }
    }
}
