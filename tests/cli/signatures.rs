//! Signed versions from the command line: who signs, what is refused, and what is told.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::CliTest;
use crate::world::flip_bit;

/// As `openssl genpkey -algorithm ed25519` writes it; its id is the beginning of `openssl pkey -pubout -outform DER | sha256sum`.
const OURS: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIIPJ7Xj9sHnxZiwn4/+VbIvc+nrwit8gKF0hV6caLQpQ\n-----END PRIVATE KEY-----\n";
const OURS_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA9bQIzsIJ7l9JrV6poMMtNPuT9wo7TiZrphkmi+RjEi0=\n-----END PUBLIC KEY-----\n";
const OURS_ID: &str = "eaa216be6c4d0993";
const THEIRS_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAi22sW4P4E09aHB5/z0AGas2UsQ4gKAxSwbfJFCJB3wg=\n-----END PUBLIC KEY-----\n";
const THEIRS_ID: &str = "d36aa323f7374dc9";

const MODEL: [&str; 4] = ["--models", "models", "--name", "m"];
const TRAIN: [&str; 5] = ["train", "--table", "table.csv", "--key", "id"];

/// Version 1 without a signature, version 2 with one; `ours.toml` and `theirs.toml` trust a key.
fn signed() -> CliTest {
    let test = CliTest::new();
    let mut table = String::from("id,a,b\n");
    for row in 0..40 {
        writeln!(table, "k{row},{},{}", row * 37 % 41, row * row % 29).unwrap();
    }
    test.write("table.csv", &table);
    test.write("keys/ours.pub", OURS_PUBLIC);
    test.write("keys/theirs.pub", THEIRS_PUBLIC);
    let key = test.write("keys/ours.pem", OURS);
    fs::set_permissions(key, fs::Permissions::from_mode(0o600)).unwrap();
    test.write("keys/ours.toml", "[signing]\ntrusted-keys = [\"ours.pub\"]\n");
    test.write("keys/theirs.toml", "[signing]\ntrusted-keys = [\"theirs.pub\"]\n");
    test.stdout(&[&TRAIN[..], &MODEL].concat());
    test.stdout(&[&TRAIN[..], &MODEL, &["--seed", "2", "--set", "signing.key-file=keys/ours.pem"]].concat());
    test
}

fn score<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["score", "--table", "table.csv", "--out", "run"], &MODEL[..], more].concat()
}

fn models<'a>(command: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["models", command], &MODEL[..], more].concat()
}

#[test]
fn who_trusts_a_key_uses_what_it_signed_and_nothing_else() {
    let test = signed();
    assert_eq!(test.run(&score(&[])).code, 0, "nobody in particular is trusted");
    let said = test.failure(7, &score(&["--config", "keys/ours.toml"]));
    assert!(said.contains(&format!("expected a signature by {OURS_ID}")) && said.contains("found none"), "{said}");
    let second = ["--version", "2", "--config", "keys/ours.toml"];
    assert_eq!(test.run(&score(&second)).code, 0);
    let said = test.failure(7, &score(&["--version", "2", "--config", "keys/theirs.toml"]));
    assert!(said.contains(THEIRS_ID) && said.contains(OURS_ID), "{said}");
    test.failure(7, &models("promote", &["--version", "2", "--reason", "x", "--config", "keys/theirs.toml"]));
    test.stdout(&models("promote", &["--version", "2", "--reason", "x", "--config", "keys/ours.toml"]));
    assert_eq!(test.run(&score(&["--config", "keys/ours.toml"])).code, 0);
    // Back to the version before, which nobody signed.
    test.failure(7, &models("rollback", &["--reason", "x", "--config", "keys/ours.toml"]));
    let sign = ["--set", "signing.key-file=keys/ours.pem", "--config", "keys/ours.toml"];
    test.stdout(&models("promote", &[&["--version", "1", "--reason", "vouched for"], &sign[..]].concat()));
    test.stdout(&models("verify", &["--config", "keys/ours.toml"]));
    test.stdout(&models("rollback", &["--reason", "x", "--config", "keys/ours.toml"]));
    flip_bit(&test.path().join("models/m/signatures/000002.ed25519"));
    test.failure(7, &score(&second));
    assert_eq!(test.run(&models("verify", &["--config", "keys/ours.toml"])).code, 7);
    fs::write(test.path().join("models/m/signatures/000002.ed25519"), "no line of a signature").unwrap();
    assert_eq!(test.run(&score(&["--version", "2"])).code, 0, "who trusts nobody in particular scores as ever");
    test.failure(7, &score(&second));
    assert_eq!(test.run(&models("verify", &[])).code, 7, "but what is damaged is told");
}

#[test]
fn an_alias_turned_back_by_hand_to_a_signed_version_is_refused_where_keys_are_trusted() {
    let test = signed();
    let sign = ["--set", "signing.key-file=keys/ours.pem"];
    test.stdout(&models("promote", &[&["--version", "1", "--reason", "x"], &sign[..]].concat()));
    let alias = test.path().join("models/m/aliases/champion");
    let old = fs::read(&alias).unwrap();
    test.stdout(&models("promote", &["--version", "2", "--reason", "x"]));
    fs::write(&alias, old).unwrap();
    assert_eq!(test.run(&score(&[])).code, 0);
    let said = test.failure(7, &score(&["--config", "keys/ours.toml"]));
    assert!(said.contains("names version 1, but the log's last word is version 2"), "{said}");
}

#[test]
fn who_signed_is_told_and_no_key_is_kept_in_a_model() {
    let test = signed();
    let list: Value = serde_json::from_str(&test.stdout(&models("list", &["--json"]))).unwrap();
    assert_eq!((list[0].get("signed_by"), &list[1]["signed_by"]), (None, &Value::from(OURS_ID)));
    let text = test.stdout(&models("list", &[]));
    assert!(
        text.lines().next().unwrap().ends_with("signed by") && text.lines().nth(2).unwrap().ends_with(OURS_ID),
        "{text}"
    );
    assert!(test.stdout(&models("show", &["--version", "2"])).contains(&format!("signed by    {OURS_ID}")));
    let doctor = test.run(&["doctor", "--models", "models"]).stdout;
    assert!(doctor.contains(&format!("model m signatures: version 2 by {OURS_ID}")), "{doctor}");
    let folder = test.path().join("models/m/versions");
    let manifests = ["000001", "000002"].map(|v| fs::read_to_string(folder.join(v).join("manifest.json")).unwrap());
    assert!(manifests.iter().all(|m| !m.contains("signing") && !m.contains(".pem")), "neither key nor path");
}

#[test]
fn a_private_key_that_others_may_read_is_warned_of_and_what_is_no_key_refused() {
    let test = signed();
    let train = |key: &str| {
        let set = format!("signing.key-file={key}");
        test.run(&[&TRAIN[..], &MODEL, &["--set", &set]].concat())
    };
    fs::set_permissions(test.path().join("keys/ours.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    let outcome = train("keys/ours.pem");
    assert_eq!(outcome.code, 0);
    assert!(outcome.stderr.contains("warning: keys/ours.pem: others than its owner may read this private key"));
    for none in ["keys/ours.pub", "table.csv", "keys/missing.pem"] {
        let outcome = train(none);
        assert_eq!(outcome.code, 3, "{none}: {}", outcome.stderr);
    }
    assert_eq!(fs::read_dir(test.path().join("models/m/versions")).unwrap().count(), 3);
}
