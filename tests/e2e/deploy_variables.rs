//! Every setting is documented, and nothing is that isn't one; what the deploy files set is known to whom they set it.

use std::collections::BTreeSet;

use daemon::Program;
use daemon::register::{self, OTHERS, PREFIX};
use serde_json::Value;
use tests::deploy::{document, manifests, pairs, text};
use tests::packages::repository;

fn variables_of(program: Program) -> BTreeSet<String> {
    register::of(program).map(register::Setting::variable).collect()
}

/// Words between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The names in the first column of the table of `deploy/README.md` with this heading.
fn table(heading: &str) -> BTreeSet<String> {
    let readme = text("README.md");
    let rows = readme.lines().skip_while(|line| !line.starts_with(&format!("| {heading} |"))).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.filter_map(|row| row.split('|').nth(1)).flat_map(quoted).map(str::to_owned).collect()
}

#[test]
fn the_tables_of_the_readme_are_the_register() {
    let of = |programs: &[Program]| -> BTreeSet<String> {
        let settings = register::SETTINGS.iter().filter(|setting| setting.of == programs);
        settings.map(|setting| setting.name.to_owned()).collect()
    };
    assert_eq!(table("both processes"), of(&[Program::Control, Program::Proxy]));
    assert_eq!(table("gatehouse-control"), of(&[Program::Control]));
    assert_eq!(table("gatehouse-proxy"), of(&[Program::Proxy]));
    assert_eq!(table("variable"), OTHERS.iter().map(|&name| name.to_owned()).collect());
}

/// The variables that `env.example` has a line for.
fn examples() -> BTreeSet<String> {
    let example = text("env.example");
    let lines = example.lines().filter_map(|line| line.trim_start_matches('#').split_once('='));
    lines
        .map(|(name, _)| name.to_owned())
        .filter(|name| name.starts_with(PREFIX) || name.starts_with("OTEL_"))
        .collect()
}

#[test]
fn the_example_has_every_variable_with_its_default_and_what_happens_without_it() {
    let known: BTreeSet<String> = register::SETTINGS
        .iter()
        .map(register::Setting::variable)
        .chain(OTHERS.iter().map(|&name| name.to_owned()))
        .collect();
    let (ours, standard): (BTreeSet<String>, BTreeSet<String>) =
        examples().into_iter().partition(|name| name.starts_with(PREFIX));
    let ours: BTreeSet<String> = ours.into_iter().filter(|name| !name.ends_with("_PASSWORD_FILE")).collect();
    assert_eq!(ours, known);

    let source = repository().join("crates/telemetry/src/otlp/settings.rs");
    let source = std::fs::read_to_string(source).unwrap();
    let read = source.split_once("#[cfg(test)]").unwrap().0.split('"').filter(|word| word.starts_with("OTEL_"));
    let read: BTreeSet<&str> = read.filter(|word| word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')).collect();
    assert!(read.len() > 5, "the source says what is read: {read:?}");
    for name in read {
        assert!(standard.contains(name), "{name} is read and has no line");
    }

    let example = text("env.example");
    for block in example.split("\n\n").filter(|block| block.contains("GATEHOUSE_") && block.contains('=')) {
        let said = block.contains("Required") || (block.contains("Default") && block.contains("Without"));
        assert!(said, "a default, and what happens without it: {block}");
    }
}

/// What a process gets from a deploy file: name, who, and variables.
fn given() -> Vec<(String, Program, BTreeSet<String>)> {
    let program = |name: &str| if name.contains("proxy") { Program::Proxy } else { Program::Control };
    let names = |value: &Value| pairs(value).into_keys().collect::<BTreeSet<String>>();
    let compose = document("compose.yaml");
    let services = compose["services"].as_object().unwrap().iter().filter(|(_, service)| service["build"].is_object());
    let services = services.map(|(name, service)| {
        let dockerfile = service["build"]["dockerfile"].as_str().unwrap();
        (format!("compose.yaml: {name}"), program(dockerfile), names(&service["environment"]))
    });
    let maps = manifests().into_iter().filter(|(_, object)| object["kind"] == "ConfigMap").map(|(file, object)| {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        (format!("{file}: {name}"), program(&name), names(&object["data"]))
    });
    services.chain(maps).collect()
}

#[test]
fn what_the_deploy_files_set_is_known_to_whom_they_set_it() {
    let given = given();
    assert!(given.len() >= 8, "six services and two maps");
    let documented = examples();
    for (place, program, names) in given {
        for name in names {
            let setting = name.strip_suffix("_FILE").filter(|short| variables_of(program).contains(*short));
            let known = match name.starts_with(PREFIX) {
                true => {
                    let name = setting.unwrap_or(&name);
                    variables_of(program).contains(name) || ["GATEHOUSE_LOG", "GATEHOUSE_LOG_FORMAT"].contains(&name)
                }
                false => documented.contains(&name),
            };
            assert!(known, "{place} sets {name}");
        }
    }
}
