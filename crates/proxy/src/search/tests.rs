use bytes::Bytes;
use mcp::{Item, List, ListKind, names};

use super::{Document, FOUND, Index, QUERY};

/// A tool of a server, under the name by which the aggregate knows it.
struct Offered {
    server: String,
    name: String,
    tool: Item,
}

fn offered(server: &str, tools: &str) -> Vec<Offered> {
    let result = Bytes::from(format!(r#"{{"tools":[{tools}]}}"#));
    let list = List::parse(ListKind::Tools, &result, usize::MAX).unwrap();
    list.items
        .into_iter()
        .map(|tool| Offered { server: server.to_owned(), name: names::exposed(server, &tool.key), tool })
        .collect()
}

fn index(all: &[Offered]) -> Index {
    Index::new(all.iter().map(|Offered { server, name, tool }| Document { server, name, tool }))
}

/// The names of what is found, best first.
fn found<'a>(all: &'a [Offered], query: &str) -> Vec<&'a str> {
    index(all).search(query, FOUND).into_iter().map(|(at, _)| all[at].name.as_str()).collect()
}

#[test]
fn of_fifty_questions_to_two_thousand_tools_forty_five_find_theirs_among_five_and_thirty_at_once() {
    let all: Vec<Offered> = tests::tools::two_thousand()
        .iter()
        .flat_map(|offer| {
            let tools: Vec<&str> = offer.tools.iter().map(|tool| tool.get()).collect();
            offered(&offer.server, &tools.join(","))
        })
        .collect();
    assert_eq!(all.len(), tests::tools::TOOLS);
    let index = index(&all);
    let (mut first, mut five) = (0, 0);
    for asked in tests::tools::questions() {
        let found = index.search(&asked.question, FOUND);
        let wanted = names::exposed(&asked.server, &asked.tool);
        let place = found.iter().position(|(at, _)| *all[*at].name == *wanted);
        first += usize::from(place == Some(0));
        five += usize::from(place.is_some_and(|place| place < 5));
        if place.is_none_or(|place| place >= 5) {
            let best: Vec<&str> = found.iter().take(5).map(|(at, _)| all[*at].name.as_str()).collect();
            println!("{}: {wanted} is not among {best:?}", asked.question);
        }
    }
    println!("first {first}, among the first five {five} of 50");
    assert!(five >= 45, "{five} of 50 among the first five");
    assert!(first >= 30, "{first} of 50 first");
}

#[test]
fn a_tool_is_found_by_its_name_its_description_its_parameters_and_its_server() {
    let mut all = offered(
        "shop",
        r#"{"name":"cancelOrder","description":"Revokes a purchase. Asks nobody.","inputSchema":{"type":"object",
            "properties":{"reasonCode":{"description":"An internal number"},"who":{"properties":{"badge":{}}}}}},
           {"name":"ping","inputSchema":{}}"#,
    );
    all.extend(offered("ledger", r#"{"name":"ping","title":"Sonar","inputSchema":{}}"#));
    for (query, name) in [
        ("CANCEL an order", "shop__cancelOrder"),
        ("purchases that were revoked", "shop__cancelOrder"),
        ("nobody", "shop__cancelOrder"),
        ("reason codes", "shop__cancelOrder"),
        ("internal numbers", "shop__cancelOrder"),
        ("badge", "shop__cancelOrder"),
        ("sonar", "ledger__ping"),
        ("ping of the ledger", "ledger__ping"),
        ("ping of the shop", "shop__ping"),
    ] {
        assert_eq!(found(&all, query).first(), Some(&name), "{query}");
    }
}

#[test]
fn words_of_about_the_same_meaning_find_less_well_than_the_words_themselves() {
    let all = offered("disk", r#"{"name":"make_directory"},{"name":"make_folder"},{"name":"unmount"}"#);
    assert_eq!(found(&all, "folder"), ["disk__make_folder", "disk__make_directory"]);
    assert_eq!(found(&all, "directory"), ["disk__make_directory", "disk__make_folder"]);
}

#[test]
fn of_two_that_fit_alike_the_earlier_is_first() {
    let all = offered("s", r#"{"name":"beta_x"},{"name":"alpha_x"},{"name":"gamma_x"}"#);
    for _ in 0..20 {
        assert_eq!(found(&all, "x"), ["s__beta_x", "s__alpha_x", "s__gamma_x"]);
    }
}

#[test]
fn a_search_has_bounds() {
    let many: Vec<String> = (0..200).map(|at| format!(r#"{{"name":"thing_{at}"}}"#)).collect();
    let all = offered("s", &many.join(","));
    let index = index(&all);
    assert_eq!(index.search("thing", usize::MAX).len(), FOUND);
    assert_eq!(index.search("thing", 3).len(), 3);
    assert!(index.search("thing", 0).is_empty());
    let late = |before: usize| format!("{}thing", "ü ".repeat(before / 2));
    assert_eq!(index.search(&late(QUERY - 10), 1).len(), 1);
    assert!(index.search(&late(QUERY), 1).is_empty());
}

#[test]
fn who_asks_for_nothing_or_among_nothing_finds_nothing() {
    let all = offered("s", r#"{"name":"thing"}"#);
    for query in ["", "   ", "what is the", "§$%&", "absent", "\0"] {
        assert!(found(&all, query).is_empty(), "{query:?}");
    }
    assert!(found(&[], "thing").is_empty());
}

#[test]
fn what_a_server_says_in_strange_shapes_is_passed_over() {
    let deep = format!("{}{}", r#"{"properties":{"x":"#.repeat(20), "1".to_owned() + &"}}".repeat(20));
    let long = "long ".repeat(100_000);
    let tools = [
        r#"{"name":"odd_a","description":7,"inputSchema":[1]}"#.to_owned(),
        r#"{"name":"odd_b","description":null,"inputSchema":{"properties":["x"]}}"#.to_owned(),
        r#"{"name":"odd_c","inputSchema":{"properties":{"x":null,"y":{"items":3,"description":{}}}}}"#.to_owned(),
        format!(r#"{{"name":"odd_d","inputSchema":{deep}}}"#),
        format!(r#"{{"name":"odd_e","description":"{long} end"}}"#),
        format!(r#"{{"name":"odd_f","description":"{}ß. ß"}}"#, "x".repeat(299)),
    ];
    let all = offered("s", &tools.join(","));
    assert_eq!(found(&all, "odd").len(), tools.len());
    assert!(found(&all, "end").is_empty());
}
