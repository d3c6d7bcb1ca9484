//! What is in `deploy/`, as the tests look at it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::packages::repository;

/// The folder.
pub fn folder() -> PathBuf {
    repository().join("deploy")
}

/// The text of a file of the folder.
pub fn text(file: &str) -> String {
    let path = folder().join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every document of a YAML file of the folder.
pub fn documents(file: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&text(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The one document of a YAML file of the folder.
pub fn document(file: &str) -> Value {
    let mut documents = documents(file);
    assert_eq!(documents.len(), 1, "{file} holds one document");
    documents.remove(0)
}

/// Every file of the folder with this ending, as paths below it.
pub fn files(ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![folder()];
    while let Some(place) = open.pop() {
        for entry in std::fs::read_dir(&place).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.to_str().is_some_and(|path| path.ends_with(ending)) {
                let below: &Path = path.strip_prefix(folder()).expect("below deploy/");
                found.push(below.display().to_string());
            }
        }
    }
    found.sort();
    found
}

/// All objects of the Kubernetes manifests that `kustomization.yaml` names, with their file.
pub fn manifests() -> Vec<(String, Value)> {
    let named = document("kubernetes/kustomization.yaml");
    let files = texts(&named["resources"]);
    let read =
        |file: String| documents(&format!("kubernetes/{file}")).into_iter().map(move |object| (file.clone(), object));
    files.into_iter().flat_map(read).collect()
}

/// A mapping of names to scalars, as texts.
pub fn pairs(value: &Value) -> BTreeMap<String, String> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), scalar(value))).collect()
}

/// A list of texts; empty for none.
pub fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(scalar).collect()
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A Dockerfile: its instructions in order, each word for word.
pub struct Dockerfile(Vec<(String, String)>);

impl Dockerfile {
    /// Reads one of the folder's.
    pub fn read(file: &str) -> Self {
        let lines = text(file);
        let lines = lines.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self(
            lines
                .filter_map(|line| line.split_once(' '))
                .map(|(word, rest)| (word.to_owned(), rest.to_owned()))
                .collect(),
        )
    }

    /// What follows each instruction of this name.
    pub fn all(&self, instruction: &str) -> Vec<&str> {
        self.0.iter().filter(|(word, _)| word == instruction).map(|(_, rest)| rest.as_str()).collect()
    }

    /// The last one, which counts.
    pub fn last(&self, instruction: &str) -> &str {
        self.all(instruction).last().copied().unwrap_or_else(|| panic!("no {instruction}"))
    }

    /// The name of the program that the image runs.
    pub fn program(&self) -> String {
        let words: Vec<String> = serde_json::from_str(self.last("ENTRYPOINT")).expect("words, not a shell's line");
        let path = Path::new(words.first().expect("a program"));
        path.file_name().expect("a file").to_str().expect("UTF-8").to_owned()
    }
}
