//! Two thousand tools over a hundred servers: those that others wrote, made ones beside them, and questions for the former.

mod made;
mod words;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use serde_json::value::RawValue;

/// Servers of [`two_thousand`].
pub const SERVERS: usize = 100;
/// Tools of [`two_thousand`].
pub const TOOLS: usize = 2000;
/// What [`two_thousand`] makes tools with.
const SEED: u64 = 0x006a_7e40_05e0;

/// A server and its tools.
#[derive(Debug, Clone)]
pub struct Offer {
    /// A slug, as servers are named.
    pub server: String,
    /// What people call it.
    pub title: String,
    /// Each tool as it stands in an answer to `tools/list`, byte for byte.
    pub tools: Vec<Box<RawValue>>,
}

/// What somebody might look for, and what they should find.
#[derive(Debug, Clone)]
pub struct Question {
    /// What is asked.
    pub question: String,
    /// The server whose tool is meant.
    pub server: String,
    /// The name that this server gives it.
    pub tool: String,
}

/// The servers of `fixtures/tools`, by name.
pub fn real() -> Vec<Offer> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(fixtures().join("tools"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .collect();
    files.sort();
    files.iter().map(|path| offer(path)).collect()
}

/// The real ones and as many made ones as are missing to [`SERVERS`] and [`TOOLS`]; the same each time.
pub fn two_thousand() -> Vec<Offer> {
    let mut offers = real();
    let tools: usize = offers.iter().map(|offer| offer.tools.len()).sum();
    offers.extend(made::offers(SEED, SERVERS - offers.len(), TOOLS - tools));
    offers
}

/// `fixtures/questions.json`.
pub fn questions() -> Vec<Question> {
    let text = std::fs::read_to_string(fixtures().join("questions.json")).unwrap();
    let rows: Vec<HashMap<String, String>> = serde_json::from_str(&text).unwrap();
    rows.into_iter()
        .map(|mut row| {
            let mut take = |member: &str| row.remove(member).unwrap();
            Question { question: take("question"), server: take("server"), tool: take("tool") }
        })
        .collect()
}

/// The name of a tool.
pub fn name_of(tool: &RawValue) -> String {
    let tool: Value = serde_json::from_str(tool.get()).unwrap();
    tool["name"].as_str().unwrap().to_owned()
}

fn offer(path: &Path) -> Offer {
    let text = std::fs::read_to_string(path).unwrap();
    let mut members: HashMap<String, Box<RawValue>> = serde_json::from_str(&text).unwrap();
    let mut text_of = |member: &str| serde_json::from_str(members.remove(member).unwrap().get()).unwrap();
    Offer {
        server: text_of("server"),
        title: text_of("title"),
        tools: serde_json::from_str(members.remove("tools").unwrap().get()).unwrap(),
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn there_are_two_thousand_tools_over_a_hundred_servers_and_no_name_twice() {
        let offers = two_thousand();
        assert_eq!(offers.len(), SERVERS);
        assert_eq!(offers.iter().map(|offer| offer.tools.len()).sum::<usize>(), TOOLS);
        let servers: HashSet<&str> = offers.iter().map(|offer| offer.server.as_str()).collect();
        assert_eq!(servers.len(), SERVERS);
        for offer in &offers {
            let slug = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            assert!(offer.server.len() <= 32 && offer.server.bytes().all(slug), "{}", offer.server);
            let names: HashSet<String> = offer.tools.iter().map(|tool| name_of(tool)).collect();
            assert_eq!(names.len(), offer.tools.len(), "{}", offer.server);
        }
    }

    #[test]
    fn at_least_two_hundred_of_them_are_of_a_dozen_servers_with_source_and_licence() {
        let real = real();
        assert!(real.len() >= 12 && real.iter().map(|offer| offer.tools.len()).sum::<usize>() >= 200);
        for offer in real {
            let path = fixtures().join("tools").join(format!("{}.json", offer.server));
            let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
            assert!(file["source"].as_str().is_some_and(|source| source.contains("https://")), "{}", offer.server);
            assert!(matches!(file["licence"].as_str(), Some("MIT" | "Apache-2.0")), "{}", offer.server);
            assert!(file["notice"].as_str().is_some_and(|notice| !notice.is_empty()), "{}", offer.server);
        }
    }

    #[test]
    fn what_is_made_is_the_same_each_time() {
        let texts = || -> Vec<String> {
            two_thousand().iter().flat_map(|offer| offer.tools.iter().map(|tool| tool.get().to_owned())).collect()
        };
        assert_eq!(texts(), texts());
    }

    #[test]
    fn each_of_fifty_questions_asks_for_a_real_tool_without_its_name() {
        let (questions, real) = (questions(), real());
        assert_eq!(questions.len(), 50);
        assert_eq!(questions.iter().map(|asked| &asked.question).collect::<HashSet<_>>().len(), 50);
        let asked: HashSet<&str> = questions.iter().map(|asked| asked.server.as_str()).collect();
        assert_eq!(asked.len(), real.len(), "a server that nobody asks for");
        for Question { question, server, tool } in &questions {
            let offer = real.iter().find(|offer| offer.server == *server).unwrap();
            assert!(offer.tools.iter().any(|known| name_of(known) == *tool), "{server} has no {tool}");
            let (question, tool) = (question.to_lowercase(), tool.to_lowercase());
            for name in [tool.clone(), tool.replace(['_', '-'], " ")] {
                assert!(!question.contains(&name), "{question:?} says {name:?}");
            }
        }
    }
}
