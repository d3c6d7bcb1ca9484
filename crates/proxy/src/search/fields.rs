//! What a tool says of itself, as weighted terms.

use serde_json::Value;

use super::Document;
use super::words::Words;

/// How often a word of the name counts; one of the server's name, of the parameters and of the rest counts once.
const NAME: usize = 2;
/// The same for the title, and for the first sentence of the description.
const SUMMARY: usize = 2;
/// Most bytes of a description that count.
const DESCRIPTION: usize = 1200;
/// Most bytes of its first sentence, and of a title.
const SENTENCE: usize = 300;
/// Most bytes of a parameter's name, and of what is said of it.
const ABOUT: usize = 100;
/// Most parameters that count, nested ones included.
const PARAMETERS: usize = 64;
/// How deep parameters may stand in others.
const DEPTH: usize = 3;

/// All that counts of a document, as terms.
pub(super) fn text(words: &Words, document: &Document<'_>) -> String {
    let Document { server, name, tool } = document;
    let mut out = String::new();
    let own = name.strip_prefix(server).and_then(|rest| rest.strip_prefix("__")).unwrap_or(name);
    words.add(own, NAME, &mut out);
    words.add(server, 1, &mut out);
    // What can't be read is found by its name.
    let Ok(tool) = serde_json::from_slice::<Value>(&tool.raw) else { return out };
    words.add(cut(text_of(&tool, "title"), SENTENCE), SUMMARY, &mut out);
    let description = cut(text_of(&tool, "description").trim(), DESCRIPTION);
    let (first, rest) = description.split_at_checked(sentence(description)).unwrap_or((description, ""));
    words.add(first, SUMMARY, &mut out);
    words.add(rest, 1, &mut out);
    if let Some(schema) = tool.get("inputSchema") {
        let mut left = PARAMETERS;
        parameters(words, schema, DEPTH, &mut left, &mut out);
    }
    out
}

/// The parameters of an object's schema, and theirs.
fn parameters(words: &Words, schema: &Value, depth: usize, left: &mut usize, out: &mut String) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object).filter(|_| depth > 0) else { return };
    for (name, property) in properties {
        if *left == 0 {
            return;
        }
        *left -= 1;
        words.add(cut(name, ABOUT), 1, out);
        words.add(cut(text_of(property, "description"), ABOUT), 1, out);
        parameters(words, property, depth - 1, left, out);
        if let Some(items) = property.get("items") {
            parameters(words, items, depth - 1, left, out);
        }
    }
}

fn text_of<'a>(object: &'a Value, member: &str) -> &'a str {
    object.get(member).and_then(Value::as_str).unwrap_or_default()
}

/// Where the first sentence or paragraph ends.
fn sentence(text: &str) -> usize {
    let ends = [". ", ".\n", "\n\n", "\n"].into_iter().filter_map(|end| text.find(end)).min();
    cut(text, ends.unwrap_or(text.len()).min(SENTENCE)).len()
}

/// At most that many bytes, and no half of a letter.
fn cut(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or(text)
}
