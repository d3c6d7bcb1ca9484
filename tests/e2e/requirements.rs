//! `tests/README.md` says which test proves which requirement: the tests that it names exist, and no requirement is left out.

use std::collections::BTreeSet;
use std::path::Path;

use tests::packages::repository;

/// The requirements that the table tells of, and the acceptance lists.
const REQUIREMENTS: std::ops::RangeInclusive<u32> = 24..=101;
const LISTS: [&str; 4] = ["1e", "2e", "3e", "4e"];

fn read(file: &str) -> String {
    std::fs::read_to_string(repository().join(file)).unwrap()
}

fn document() -> String {
    read("tests/README.md")
}

/// The rows of the document's tables, cell by cell.
fn rows(document: &str) -> Vec<Vec<String>> {
    let rows = document.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---"));
    rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// What stands in backticks and may be the name of a test.
fn named(text: &str) -> Vec<String> {
    let inside = text.split('`').skip(1).step_by(2);
    let is_name =
        |text: &&str| text.contains('_') && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    inside.filter(is_name).map(str::to_owned).collect()
}

/// The names of all functions behind a test attribute, in every source of the repository.
fn tests_of(folder: &Path, all: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap().filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            tests_of(&path, all);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let source = std::fs::read_to_string(&path).unwrap();
            let mut is_test = false;
            for line in source.lines().map(str::trim) {
                if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                    is_test = true;
                } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| !line.starts_with("//")) {
                    if is_test {
                        all.extend(rest.split('(').next().map(str::to_owned));
                    }
                    is_test = false;
                }
            }
        }
    }
}

#[test]
fn every_test_that_the_table_names_exists() {
    let mut known = BTreeSet::new();
    for folder in ["crates", "migrations", "tests"] {
        tests_of(&repository().join(folder), &mut known);
    }
    assert!(known.contains("every_test_that_the_table_names_exists"), "{}", known.len());
    let document = document();
    let named: BTreeSet<String> = rows(&document).iter().flat_map(|row| named(&row[row.len() - 1])).collect();
    assert!(named.len() > 50, "{}", named.len());
    let missing: Vec<&String> = named.difference(&known).collect();
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
    // The map names tests among other things: what has so many words is one.
    let map = named_in_the_map();
    let missing: Vec<&String> = map.difference(&known).collect();
    assert!(map.len() > 20 && missing.is_empty(), "no such tests: {missing:#?}");
}

fn named_in_the_map() -> BTreeSet<String> {
    const WORDS: usize = 5;
    named(&read("crates/README.md")).into_iter().filter(|name| name.split('_').count() >= WORDS).collect()
}

#[test]
fn every_requirement_has_a_test_and_every_line_of_the_acceptance_lists_an_answer() {
    let document = document();
    let rows = rows(&document);
    for number in REQUIREMENTS {
        let row = rows.iter().find(|row| row[0].split(' ').next() == Some(&format!("R{number}")));
        let row = row.unwrap_or_else(|| panic!("R{number} is missing"));
        assert!(!named(row.last().unwrap()).is_empty(), "R{number} has no test");
    }
    for list in LISTS {
        let of: Vec<_> = rows.iter().filter(|row| row[0].starts_with(&format!("{list}."))).collect();
        assert!(of.len() >= 10, "{list} has {} rows", of.len());
        for row in of {
            let answer = row.last().unwrap();
            assert!(!named(answer).is_empty() || answer.starts_with("Not applicable: "), "{row:?}");
        }
    }
}
