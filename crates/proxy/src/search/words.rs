//! Text as terms: split where people join words, without those that say nothing, and without their endings.

use rust_stemmers::{Algorithm, Stemmer};

/// Longest term, in bytes; what is longer is no word.
const LONGEST: usize = 40;

/// Words that stand in every question and say nothing about what is wanted.
const EMPTY: &[&str] = &[
    "a", "about", "all", "also", "am", "an", "and", "any", "are", "as", "at", "be", "been", "but", "by", "can",
    "could", "did", "do", "does", "e", "etc", "for", "from", "g", "had", "has", "have", "how", "i", "if", "in", "into",
    "is", "it", "its", "let", "may", "me", "must", "my", "need", "no", "not", "of", "on", "or", "our", "please", "s",
    "should", "so", "some", "such", "t", "than", "that", "the", "their", "them", "then", "there", "these", "they",
    "this", "those", "to", "too", "tool", "us", "use", "used", "using", "via", "want", "was", "we", "were", "what",
    "when", "where", "whether", "which", "while", "who", "whose", "why", "will", "with", "would", "you", "your",
];

/// Makes terms of text.
pub(super) struct Words {
    stemmer: Stemmer,
}

impl Default for Words {
    fn default() -> Self {
        Self { stemmer: Stemmer::create(Algorithm::English) }
    }
}

impl Words {
    /// Adds the terms of a text to `out`, each `weight` times, with a space behind each.
    pub(super) fn add(&self, text: &str, weight: usize, out: &mut String) {
        for run in text.split(|letter: char| !letter.is_alphanumeric()) {
            for word in parts(run) {
                let word = word.to_lowercase();
                if word.len() > LONGEST || EMPTY.binary_search(&word.as_str()).is_ok() {
                    continue;
                }
                let term = self.stemmer.stem(&word);
                for _ in 0..weight {
                    out.push_str(&term);
                    out.push(' ');
                }
            }
        }
    }
}

/// The words of `camelCase`, `HTMLElement` and `v2`, which stay whole where nothing tells them apart.
fn parts(run: &str) -> impl Iterator<Item = &str> {
    let mut rest = run;
    std::iter::from_fn(move || {
        let end = border(rest);
        let (word, behind) = rest.split_at_checked(end).filter(|(word, _)| !word.is_empty())?;
        rest = behind;
        Some(word)
    })
}

/// Where the first word ends: before a capital behind a small letter, and before the last of several capitals that a small
/// letter follows.
fn border(run: &str) -> usize {
    let mut letters = run.char_indices().peekable();
    let mut before: Option<char> = None;
    while let Some((at, letter)) = letters.next() {
        let small_next = letters.peek().is_some_and(|(_, next)| next.is_lowercase());
        let ends = before.is_some_and(|before| {
            letter.is_uppercase() && (before.is_lowercase() || (before.is_uppercase() && small_next))
        });
        if ends {
            return at;
        }
        before = Some(letter);
    }
    run.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_split_where_people_join_words() {
        for (text, terms) in [
            ("create_pull_request", "creat pull request "),
            ("API-post-search", "api post search "),
            ("longRunningOperation", "long run oper "),
            ("getHTMLElement2", "get html element2 "),
            ("Which of the FILES are staged?", "file stage "),
            ("Überblick über Straßen", "überblick über straßen "),
            ("", ""),
            ("the of __ -- ,", ""),
        ] {
            let mut out = String::new();
            Words::default().add(text, 1, &mut out);
            assert_eq!(out, terms, "{text}");
        }
    }

    #[test]
    fn empty_words_are_in_order() {
        assert!(EMPTY.is_sorted());
    }

    #[test]
    fn a_weight_says_a_word_again() {
        let mut out = String::new();
        Words::default().add("two words", 2, &mut out);
        assert_eq!(out, "two two word word ");
    }
}
