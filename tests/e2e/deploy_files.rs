//! Images, compose file and collector: every name leads to something.

use std::collections::BTreeSet;

use serde_json::Value;
use tests::deploy::{Dockerfile, document, documents, files, folder, pairs, text, texts};
use tests::gatehouse::executable;
use tests::packages::repository;

#[test]
fn every_file_with_structure_can_be_read() {
    let yaml: Vec<String> = [files(".yaml"), files(".yml")].concat();
    assert!(yaml.contains(&"compose.yaml".to_owned()) && yaml.len() >= 8, "{yaml:?}");
    for file in yaml {
        assert!(documents(&file).iter().all(Value::is_object), "{file}");
    }
    for file in files(".json") {
        let read: Result<Value, _> = serde_json::from_str(&text(&file));
        assert!(read.is_ok(), "{file}: {read:?}");
    }
}

#[test]
fn the_images_are_made_of_what_is_here() {
    let workspace: toml_like::Manifest = toml_like::read();
    for (file, package, ports) in
        [("Dockerfile.control", "control", "5010 5012 5014"), ("Dockerfile.proxy", "proxy", "5011 5013 5015")]
    {
        let image = Dockerfile::read(file);
        let program = image.program();
        assert!(executable(&program).exists());
        let built = image.all("RUN").into_iter().find(|run| run.starts_with("cargo build")).unwrap();
        assert_eq!(built, format!("cargo build --release --locked -p {package} --bin {program}"));
        assert!(image.all("FROM")[0].starts_with(&format!("rust:{}-", workspace.rust)), "{file}: {}", workspace.rust);

        let mut copied = BTreeSet::new();
        for copy in image.all("COPY") {
            let words: Vec<&str> = copy.split(' ').filter(|word| !word.starts_with("--chown")).collect();
            match words.as_slice() {
                ["--from=build", from, to] if from.contains("/target/release/") => {
                    assert!(from.ends_with(&format!("/{program}")) && to.ends_with(&format!("/{program}")), "{copy}");
                }
                ["--from=build", from, _] => {
                    let made = image.all("RUN").iter().any(|run| run.split(' ').any(|word| word == *from));
                    assert!(made, "{file}: nothing makes {from}");
                }
                [sources @ .., _] => {
                    for source in sources {
                        assert!(repository().join(source).exists(), "{file} copies {source}");
                        copied.insert(source.to_string());
                    }
                }
                [] => panic!("{copy}"),
            }
        }
        for member in &workspace.members {
            let folder = member.split('/').next().unwrap();
            assert!(copied.contains(folder), "{file} lacks {folder}, a part of the workspace");
        }
        assert_eq!(image.last("EXPOSE"), ports);
        assert_eq!(image.last("USER"), "65532:65532", "not root");
        let health = image.last("HEALTHCHECK").split_once("CMD ").unwrap().1;
        let words: Vec<String> = serde_json::from_str(health).unwrap();
        assert_eq!(words[1..], ["health"], "asked of the program itself: there is no shell");
        let knows = std::process::Command::new(executable(&program)).args(["health", "--help"]).output().unwrap();
        assert!(knows.status.success());
    }
}

/// What the images have to agree with in the root `Cargo.toml`.
mod toml_like {
    use tests::packages::repository;

    pub(super) struct Manifest {
        pub(super) rust: String,
        pub(super) members: Vec<String>,
    }

    pub(super) fn read() -> Manifest {
        let text = std::fs::read_to_string(repository().join("Cargo.toml")).unwrap();
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_prefix('=')).unwrap();
            line.trim().to_owned()
        };
        Manifest {
            rust: value("rust-version").trim_matches('"').to_owned(),
            members: serde_json::from_str(&value("members")).unwrap(),
        }
    }
}

#[test]
fn the_compose_file_names_nothing_that_is_not_there() {
    let compose = document("compose.yaml");
    let services = compose["services"].as_object().unwrap();
    let named = |key: &str| compose[key].as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let (volumes, secrets) = (named("volumes"), named("secrets"));
    for (name, service) in services {
        for volume in texts(&service["volumes"]) {
            let source = volume.split(':').next().unwrap();
            match source.strip_prefix("./") {
                Some(file) => assert!(folder().join(file).exists(), "{name}: {source}"),
                None => assert!(volumes.contains(source), "{name}: {source}"),
            }
        }
        for secret in texts(&service["secrets"]) {
            assert!(secrets.contains(&secret), "{name}: {secret}");
        }
        for need in pairs(&service["depends_on"]).keys() {
            assert!(services.contains_key(need), "{name}: {need}");
        }
        if service["build"].is_null() {
            let image = service["image"].as_str().unwrap();
            assert!(image.contains(':') && !image.ends_with(":latest"), "{name}: {image} is no fixed version");
            continue;
        }
        let dockerfile = service["build"]["dockerfile"].as_str().unwrap();
        assert!(repository().join(dockerfile).exists(), "{name}: {dockerfile}");
        let exposed = Dockerfile::read(dockerfile.strip_prefix("deploy/").unwrap());
        let exposed: Vec<&str> = exposed.last("EXPOSE").split(' ').collect();
        let listens = pairs(&service["environment"]);
        let listens: Vec<&str> = ["LISTEN", "LINK_LISTEN", "METRICS_LISTEN", "PEER_LISTEN"]
            .iter()
            .filter_map(|key| listens.get(&format!("GATEHOUSE_{key}")).and_then(|address| address.rsplit(':').next()))
            .collect();
        assert_eq!(listens, exposed, "{name} listens where its image says");
        for port in texts(&service["ports"]) {
            let inside = port.rsplit(':').next().unwrap();
            assert!(exposed.contains(&inside) && port.starts_with("127.0.0.1:"), "{name}: {port}");
        }
        let grace = service["stop_grace_period"].as_str().unwrap().trim_end_matches('s').parse::<u32>().unwrap();
        assert!(grace > 35, "{name} has 35 s to drain");
        assert_eq!(
            (&service["read_only"], &service["cap_drop"][0]),
            (&Value::Bool(true), &Value::from("ALL")),
            "{name}"
        );
    }
}

#[test]
fn the_collector_takes_what_the_processes_send() {
    let collector = document("collector.yaml");
    for (name, pipeline) in collector["service"]["pipelines"].as_object().unwrap() {
        for kind in ["receivers", "processors", "exporters"] {
            let used = texts(&pipeline[kind]);
            assert!(!used.is_empty(), "{name}: {kind}");
            for used in used {
                assert!(collector[kind].as_object().unwrap().contains_key(&used), "{name}: {kind} {used}");
            }
        }
    }
    let taken = collector["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"].as_str().unwrap();
    let port = taken.rsplit(':').next().unwrap();
    for (name, service) in document("compose.yaml")["services"].as_object().unwrap() {
        if let Some(sent) = pairs(&service["environment"]).get("OTEL_EXPORTER_OTLP_ENDPOINT") {
            assert_eq!(*sent, format!("http://collector:{port}"), "{name}");
        }
    }
}
