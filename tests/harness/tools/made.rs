//! Tools as companies have them, made of words by a seed.

use std::collections::HashSet;

use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::Offer;
use super::words::{ACTIONS, Action, Domain, MAKERS, Noun, REMARKS, domains};

/// That many servers with that many tools in all, spread evenly.
pub(super) fn offers(seed: u64, servers: usize, tools: usize) -> Vec<Offer> {
    let mut dice = Dice(seed);
    (0..servers).map(|at| offer(&mut dice, at, tools / servers + usize::from(at < tools % servers))).collect()
}

fn offer(dice: &mut Dice, at: usize, tools: usize) -> Offer {
    let domains = domains();
    let domain = &domains[at % domains.len()];
    // The second server of a kind is another maker's.
    let maker = MAKERS[(at * 7 + at / domains.len() * 3) % MAKERS.len()];
    let style = dice.below(5);
    let mut names = HashSet::new();
    let mut made = Vec::with_capacity(tools);
    while made.len() < tools {
        let (noun, action) = (dice.of(&domain.nouns), dice.of(ACTIONS));
        let name = name(style, action.verb, noun);
        if names.insert(name.clone()) {
            made.push(tool(dice, &name, domain, noun, action));
        }
    }
    Offer {
        server: format!("{}-{}", maker.to_lowercase(), domain.slug),
        title: format!("{maker} {}", domain.title),
        tools: made,
    }
}

fn tool(dice: &mut Dice, name: &str, domain: &Domain, noun: &Noun, action: &Action) -> Box<RawValue> {
    let (first, second) = (dice.of(&noun.fields), dice.of(&noun.fields));
    let mut description = dice
        .of(action.descriptions)
        .replace("{one}", noun.one)
        .replace("{many}", &many(noun.one))
        .replace("{first}", &first.replace('_', " "))
        .replace("{second}", &second.replace('_', " "))
        .replace("{where}", domain.place);
    if dice.below(3) == 0 {
        description.push(' ');
        description.push_str(dice.of::<&str>(REMARKS));
    }
    let mut properties = serde_json::Map::new();
    for (parameter, kind, about) in action.parameters {
        let parameter = parameter.replace("{one}", &noun.one.replace(' ', "_"));
        let about = about.replace("{one}", noun.one).replace("{many}", &many(noun.one));
        properties.insert(parameter, json!({ "type": kind, "description": about }));
    }
    if action.writes {
        for field in &noun.fields {
            let about = format!("The {} of the {}", field.replace('_', " "), noun.one);
            properties.insert((*field).to_owned(), json!({ "type": "string", "description": about }));
        }
    }
    let required: Vec<&String> = properties.keys().take(1).collect();
    let schema = json!({ "type": "object", "properties": properties, "required": required });
    to_raw_value(&json!({ "name": name, "description": description, "inputSchema": schema })).unwrap()
}

/// The ways in which people write names of tools.
fn name(style: usize, verb: &str, noun: &Noun) -> String {
    let plural =
        if matches!(verb, "list" | "search" | "export" | "import") { many(noun.one) } else { noun.one.to_owned() };
    let words: Vec<&str> = std::iter::once(verb).chain(plural.split(' ')).collect();
    match style {
        0 | 1 => words.join("_"),
        2 => words.join("-"),
        3 => words
            .iter()
            .enumerate()
            .map(|(at, word)| if at == 0 { (*word).to_owned() } else { word[..1].to_uppercase() + &word[1..] })
            .collect(),
        _ => format!("{}_{verb}", words[1..].join("_")),
    }
}

fn many(one: &str) -> String {
    match one.as_bytes() {
        [.., b'a' | b'e' | b'i' | b'o' | b'u', b'y'] => format!("{one}s"),
        [.., b'y'] => format!("{}ies", &one[..one.len() - 1]),
        [.., b's' | b'x'] | [.., b'c' | b's', b'h'] => format!("{one}es"),
        _ => format!("{one}s"),
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014): enough to choose words with.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}
