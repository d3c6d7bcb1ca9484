//! Which tools fit a question: BM25 over what tools say of themselves. Pure: no table, no clock, no IO.

mod fields;
mod kin;
#[cfg(test)]
mod tests;
mod words;

use std::collections::{HashMap, HashSet};

use bm25::{Embedder, EmbedderBuilder, Embedding, Scorer, Tokenizer};
use mcp::Item;

use self::words::Words;

/// Most characters of a question that are looked at.
pub(crate) const QUERY: usize = 1000;
/// Most tools that a search gives.
pub(crate) const FOUND: usize = 50;
/// Most different words of a question that count.
const ASKED: usize = 64;
/// Most different words of a tool that count, from its name on.
const SAID: usize = 256;
/// How soon a word that is said again counts no more (BM25's k1).
const SATURATION: f32 = 0.9;
/// How much a long text is held against a tool (BM25's b): little, since thorough descriptions are no fault.
const LENGTH: f32 = 0.3;
/// How much a word counts that only means about the same as one of the question.
const KIN: f32 = 0.4;

/// A tool as it is looked for.
#[derive(Debug, Clone, Copy)]
pub struct Document<'a> {
    /// The name of the server that offers it.
    pub server: &'a str,
    /// The name by which it is called here.
    pub name: &'a str,
    /// What the server says of it.
    pub tool: &'a Item,
}

/// What can be searched; knows its documents by their place in the order in which they came.
pub struct Index {
    words: Words,
    embedder: Embedder<u32, Ready>,
    scorer: Scorer<usize>,
    /// Different words of all documents, added up.
    said: usize,
}

impl Index {
    /// Reads all documents.
    pub fn new<'a>(documents: impl Iterator<Item = Document<'a>>) -> Self {
        let words = Words::default();
        let texts: Vec<String> = documents.map(|document| fields::text(&words, &document)).collect();
        let terms: usize = texts.iter().map(|text| text.split_ascii_whitespace().count()).sum();
        let mean = terms as f32 / texts.len().max(1) as f32;
        let embedder = EmbedderBuilder::with_avgdl(mean).k1(SATURATION).b(LENGTH).build();
        let (mut scorer, mut said) = (Scorer::new(), 0);
        for (at, text) in texts.iter().enumerate() {
            let words = each_once(embedder.embed(text), SAID);
            said += words.len();
            scorer.upsert(&at, words);
        }
        Self { words, embedder, scorer, said }
    }

    /// About how many bytes it holds, rather more than less: what weighs it in a cache.
    pub fn bytes(&self) -> usize {
        // A word of a document is 8 bytes there, and 8 and one more in a set that is at least 7/16 full; the rest is for
        // what each word and each document needs once. Measured: 33 with 2,000 tools.
        self.said.saturating_mul(40)
    }

    /// The places of the documents that fit best and how well they do, best first; of two that fit alike the earlier.
    /// At most [`FOUND`], for the first [`QUERY`] characters of the question.
    pub fn search(&self, query: &str, limit: usize) -> Vec<(usize, f32)> {
        let end = query.char_indices().nth(QUERY).map_or(query.len(), |(end, _)| end);
        let mut terms = String::new();
        self.words.add(query.get(..end).unwrap_or_default(), 1, &mut terms);
        let mut kin = String::new();
        for other in terms.split_ascii_whitespace().flat_map(|term| kin::of(&self.words, term)) {
            kin.push_str(other);
            kin.push(' ');
        }
        let (asked, mut kin) = (self.asked(&terms), self.asked(&kin));
        kin.0.retain(|other| asked.iter().all(|word| word.index != other.index));
        let mut scores: HashMap<usize, f32> = HashMap::new();
        for (words, counts) in [(asked, 1.0), (kin, KIN)] {
            for found in self.scorer.matches(&words) {
                *scores.entry(found.id).or_default() += counts * found.score;
            }
        }
        let mut found: Vec<(usize, f32)> = scores.into_iter().collect();
        found.sort_by(|(a, better), (b, worse)| worse.total_cmp(better).then(a.cmp(b)));
        found.truncate(limit.min(FOUND));
        found
    }

    /// The words of a question, each once, as far as they count.
    fn asked(&self, terms: &str) -> Embedding {
        each_once(self.embedder.embed(terms), ASKED)
    }
}

/// The first `most` different words: the crate gives a value for each time that a word is said, and they are all the same.
fn each_once(mut embedding: Embedding, most: usize) -> Embedding {
    let mut seen = HashSet::new();
    embedding.0.retain(|word| seen.insert(word.index));
    embedding.0.truncate(most);
    embedding.0.shrink_to_fit();
    embedding
}

/// Text that [`Words`] has made: terms with spaces between them.
#[derive(Default)]
struct Ready;

impl Tokenizer for Ready {
    fn tokenize(&self, text: &str) -> Vec<String> {
        text.split_ascii_whitespace().map(str::to_owned).collect()
    }
}
