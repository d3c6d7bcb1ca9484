//! What is in `tests/fuzz/corpus`: seeds, and what fuzzing has found.

use std::fs;
use std::path::{Path, PathBuf};

use crate::checks;

/// Largest file of the corpus in bytes.
const LARGEST: u64 = 16 << 10;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus")
}

#[test]
fn the_whole_corpus_holds() {
    let mut failed = Vec::new();
    for (name, check) in checks::ALL {
        let mut files: Vec<PathBuf> =
            fs::read_dir(folder().join(name)).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        assert!(files.len() >= 8, "{name} has {} seeds", files.len());
        for file in files {
            assert!(file.metadata().unwrap().len() <= LARGEST, "{} is large", file.display());
            let bytes = fs::read(&file).unwrap();
            if std::panic::catch_unwind(|| check(&bytes)).is_err() {
                failed.push(file);
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn each_folder_of_the_corpus_has_its_check_and_each_check_its_fuzz_target() {
    let mut folders: Vec<String> =
        fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    folders.sort();
    let names: Vec<&str> = checks::ALL.iter().map(|(name, _)| *name).collect();
    assert_eq!(folders, names);
    for name in names {
        let target = fs::read_to_string(folder().join(format!("../targets/{name}.rs"))).unwrap();
        assert!(target.contains(&format!("checks::{name}::check")), "{name}");
        let manifest = fs::read_to_string(folder().join("../Cargo.toml")).unwrap();
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}
