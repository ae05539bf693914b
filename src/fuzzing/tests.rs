use std::fs;
use std::path::Path;

use super::base::{contents, write};
use super::{TARGETS, run, seeds};

/// What fuzzing found, and what it reached the most code with.
#[test]
fn every_input_of_the_corpus_is_answered() {
    for (target, entry) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/fuzz").join(target);
        let inputs = contents(&folder).unwrap();
        assert!(!inputs.is_empty(), "{target} has no corpus");
        inputs.values().for_each(|data| entry(data));
    }
}

/// `fuzz/run` has them written into the folder that `QUIETWATCH_FUZZ_SEEDS` names.
#[test]
fn every_seed_is_answered() {
    let wanted = std::env::var_os("QUIETWATCH_FUZZ_SEEDS");
    for (target, name, data) in seeds() {
        if let Some(folder) = &wanted {
            write(&Path::new(folder).join(target).join(name), &data);
        }
        run(target, &data);
    }
}

#[test]
fn every_target_has_a_program() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    for (target, _) in TARGETS {
        let program = format!("fuzz_targets/{target}.rs");
        assert!(manifest.contains(&program) && folder.join(&program).is_file(), "{target}");
    }
}
