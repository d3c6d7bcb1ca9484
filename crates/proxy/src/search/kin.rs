//! Words for the same thing, since who asks for a tool seldom knows how it calls what it does.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::words::Words;

/// Each line holds words that people use for one another when they talk about what programs do.
const KIN: &[&str] = &[
    "create make new open",
    "add append insert attach put",
    "delete remove drop erase",
    "update change edit modify patch",
    "get read retrieve fetch show view display see",
    "list enumerate browse",
    "search find look query lookup",
    "send post publish submit",
    "run execute start launch trigger",
    "stop cancel abort end kill terminate",
    "retry rerun again repeat",
    "copy clone fork duplicate",
    "move rename relocate",
    "upload import",
    "download export save",
    "reply answer respond",
    "watch monitor observe track follow",
    "connect link relate relation",
    "describe explain detail info",
    "convert translate transform",
    "validate check verify",
    "issue ticket bug",
    "directory folder",
    "repository repo",
    "image picture photo",
    "user person people member",
    "log history",
    "count number many total",
    "schema structure type",
    "status state",
    "url link address",
    "comment note remark",
    "error failure problem broken",
    "performance speed fast slow",
    "email mail",
    "coordinate latitude longitude geocode",
    "table spreadsheet sheet",
    "purchase buy order",
];

/// The kin of a term, itself left out; terms as [`Words`] makes them.
pub(super) fn of(words: &Words, term: &str) -> &'static [String] {
    static KIN_OF: OnceLock<HashMap<String, Vec<String>>> = OnceLock::new();
    let all = KIN_OF.get_or_init(|| {
        let mut all: HashMap<String, Vec<String>> = HashMap::new();
        for line in KIN {
            let mut terms = String::new();
            words.add(line, 1, &mut terms);
            let terms: Vec<&str> = terms.split_ascii_whitespace().collect();
            for term in &terms {
                let kin = terms.iter().filter(|other| *other != term).map(|other| (*other).to_owned());
                all.entry((*term).to_owned()).or_default().extend(kin);
            }
        }
        all
    });
    all.get(term).map(Vec::as_slice).unwrap_or_default()
}
