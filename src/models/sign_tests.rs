//! Signatures against everything that somebody with write access to the models can do without the key.

use std::fs;
use std::path::{Path, PathBuf};

use super::tests::{Fixture, NOW, draft};
use super::*;
use crate::error::{Error, Kind};

/// Made by `openssl genpkey -algorithm ed25519` (3.0.19) and `openssl pkey -pubout`; the id is the beginning of
/// `openssl pkey -pubin -outform DER | sha256sum`.
const OURS: (&str, &str, &str) = (
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIIPJ7Xj9sHnxZiwn4/+VbIvc+nrwit8gKF0hV6caLQpQ\n-----END PRIVATE KEY-----\n",
    "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA9bQIzsIJ7l9JrV6poMMtNPuT9wo7TiZrphkmi+RjEi0=\n-----END PUBLIC KEY-----\n",
    "eaa216be6c4d0993",
);
const THEIRS: (&str, &str, &str) = (
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIImlSS2yUuK4pTPW+S3OnNdijpITDLt+h0QFbUL6ataw\n-----END PRIVATE KEY-----\n",
    "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAi22sW4P4E09aHB5/z0AGas2UsQ4gKAxSwbfJFCJB3wg=\n-----END PUBLIC KEY-----\n",
    "d36aa323f7374dc9",
);

fn because(reason: &str) -> Because<'_> {
    Because { reason, now: NOW, by: None }
}

struct Keys {
    dir: tempfile::TempDir,
}

impl Keys {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, (private, public, _)) in [("ours", OURS), ("theirs", THEIRS)] {
            fs::write(dir.path().join(format!("{name}.pem")), private).unwrap();
            fs::write(dir.path().join(format!("{name}.pub")), public).unwrap();
        }
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn signing(&self, own: Option<&str>, trusted: &[&str]) -> Signing {
        let own = own.map(|name| self.path(name));
        let trusted: Vec<PathBuf> = trusted.iter().map(|name| self.path(name)).collect();
        Signing::read(own.as_deref(), &trusted).unwrap().0
    }

    /// The registry of a fixture with these keys.
    fn registry(&self, fixture: &Fixture, own: Option<&str>, trusted: &[&str]) -> Registry {
        fixture.registry.clone().signing_with(self.signing(own, trusted))
    }
}

fn other_draft(seed: u64) -> Draft {
    let mut other = draft();
    other.manifest.seed = seed;
    other
}

/// Two versions, both signed by us, the second one champion.
fn signed(keys: &Keys) -> Fixture {
    let fixture = Fixture::new(0);
    let registry = keys.registry(&fixture, Some("ours.pem"), &[]);
    registry.create_version(other_draft(1), NOW).unwrap();
    registry.create_version(other_draft(2), NOW).unwrap();
    registry.promote(2, CHAMPION, because("better"), &mut |_| Ok(())).unwrap();
    fixture
}

fn champion() -> Selector {
    Selector::Alias(CHAMPION.to_owned())
}

fn refused<T: std::fmt::Debug>(result: Result<T, Error>, says: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), Kind::Digest, "{error}");
    assert!(error.to_string().contains(says), "{error} should say {says:?}");
}

#[test]
fn a_version_signed_by_a_trusted_key_is_used_and_says_by_which() {
    let keys = Keys::new();
    let fixture = signed(&keys);
    let registry = keys.registry(&fixture, None, &["theirs.pub", "ours.pub"]);
    assert_eq!(registry.load(&champion()).unwrap().version, 2);
    registry.verify(None).unwrap().into_result().unwrap();
    let (list, _) = registry.list().unwrap();
    assert_eq!(list[0].signed_by.as_ref().unwrap().as_deref(), Some(OURS.2));
    registry.rollback(CHAMPION, because("worse"), &mut |_| Ok(())).unwrap();
    assert_eq!(registry.load(&champion()).unwrap().version, 1);
    // The files of the version are the five that they always are.
    assert_eq!(fs::read_dir(fixture.path("versions/000001")).unwrap().count(), 5);
}

#[test]
fn what_openssl_verifies_is_what_was_signed() {
    let keys = Keys::new();
    let fixture = signed(&keys);
    // openssl pkeyutl -sign -inkey ours.pem -rawin -in MESSAGE: Ed25519 has one signature of a message.
    let digest = fixture.registry.resolve(&Selector::Version(1)).unwrap().1;
    let line = fs::read_to_string(fixture.path("signatures/000001.ed25519")).unwrap();
    use ed25519_dalek::pkcs8::DecodePrivateKey;
    use ed25519_dalek::{Signer, SigningKey};
    let key = SigningKey::from_pkcs8_pem(OURS.0).unwrap();
    let message = format!("quietwatch version\nmodel m\nversion 000001\nmanifest {digest}\n");
    assert_eq!(line, format!("ed25519 {} {:x}\n", OURS.2, key.sign(message.as_bytes())).to_lowercase());
}

#[test]
fn every_tampering_is_refused() {
    let keys = Keys::new();
    let files = ["manifest.json", "manifest.blake3", "model.safetensors", "baseline.arrow", "card.md"];
    for name in files
        .map(|name| format!("versions/000002/{name}"))
        .iter()
        .map(String::as_str)
        .chain(["signatures/000002.ed25519"])
    {
        let fixture = signed(&keys);
        let registry = keys.registry(&fixture, None, &["ours.pub"]);
        let path = fixture.path(name);
        let good = fs::read(&path).unwrap();
        for at in (0..good.len()).step_by(if good.len() > 1_000 { 97 } else { 1 }) {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            fs::write(&path, bad).unwrap();
            refused(registry.load(&champion()), "");
            refused(registry.verify(Some(2)).unwrap().into_result(), "");
        }
        fs::remove_file(&path).unwrap();
        refused(registry.load(&champion()), "");
        fs::write(&path, good).unwrap();
        registry.load(&champion()).unwrap();
    }
}

/// Writes a version anew with digests that fit, alias and log with it, as somebody who may write everything could.
fn forge(fixture: &Fixture) {
    let digest_path = fixture.path("versions/000002/manifest.blake3");
    let old = fs::read_to_string(&digest_path).unwrap()[..64].to_owned();
    let path = fixture.path("versions/000002/manifest.json");
    let text = fs::read_to_string(&path).unwrap().replace("\"seed\": 2", "\"seed\": 3");
    let new = blake3::hash(text.as_bytes()).to_hex().to_string();
    fs::write(path, text).unwrap();
    fs::write(digest_path, format!("{new}  manifest.json\n")).unwrap();
    fs::write(fixture.path("aliases/champion"), format!("000002 {new}\n")).unwrap();
    // The chain has no secret: whoever writes all of it can write another one.
    let log = fs::read_to_string(fixture.path("log.jsonl")).unwrap();
    fs::remove_file(fixture.path("log.jsonl")).unwrap();
    let root = fixture.registry.root().unwrap();
    for line in log.lines() {
        let mut entry: LogEntry = serde_json::from_str(line).unwrap();
        entry.digest = entry.digest.replace(&old, &new);
        let log = Log::read(&root).unwrap();
        log.append(&fixture.path(""), &log.line(&entry).unwrap()).unwrap();
    }
}

#[test]
fn a_version_forged_with_all_its_digests_fails_by_its_signature_alone() {
    let keys = Keys::new();
    let fixture = signed(&keys);
    forge(&fixture);
    fixture.registry.verify(None).unwrap().into_result().unwrap();
    assert_eq!(fixture.load().unwrap().manifest.seed, 3, "without signatures nobody can tell");
    let registry = keys.registry(&fixture, None, &["ours.pub"]);
    refused(registry.load(&champion()), "is not of this version");
    refused(registry.verify(None).unwrap().into_result(), OURS.2);
    refused(registry.promote(2, CHAMPION, because("again"), &mut |_| Ok(())), "is not of this version");
}

#[test]
fn a_missing_and_a_strangers_signature_are_refused_with_the_key() {
    let keys = Keys::new();
    let fixture = signed(&keys);
    let stranger = keys.registry(&fixture, None, &["theirs.pub"]);
    refused(
        stranger.load(&champion()),
        &format!("expected a signature by {} (signing.trusted-keys), found one by {}", THEIRS.2, OURS.2),
    );
    // Signed again by somebody else, with the own id or with the one that is trusted.
    let digest = fixture.registry.resolve(&Selector::Version(2)).unwrap().1;
    keys.registry(&fixture, Some("theirs.pem"), &[]).sign(2, &digest).unwrap();
    let registry = keys.registry(&fixture, None, &["ours.pub"]);
    refused(registry.load(&champion()), THEIRS.2);
    let path = fixture.path("signatures/000002.ed25519");
    let line = fs::read_to_string(&path).unwrap();
    fs::write(&path, line.replace(THEIRS.2, OURS.2)).unwrap();
    refused(registry.load(&champion()), "is not of this version");
    fs::remove_file(&path).unwrap();
    refused(registry.load(&champion()), "found none");
    refused(registry.promote(2, CHAMPION, because("again"), &mut |_| Ok(())), "found none");
    assert!(fixture.load().is_ok(), "who trusts nobody in particular needs no signature");
}

#[test]
fn a_signature_of_another_version_or_of_another_model_is_good_for_nothing() {
    let keys = Keys::new();
    let fixture = signed(&keys);
    let registry = keys.registry(&fixture, None, &["ours.pub"]);
    let (first, second) = (fixture.path("signatures/000001.ed25519"), fixture.path("signatures/000002.ed25519"));
    let good = fs::read(&second).unwrap();
    fs::copy(&first, &second).unwrap();
    refused(registry.load(&champion()), "is not of this version");
    fs::write(&second, good).unwrap();

    // The whole older version under the number of the newer one.
    for name in fs::read_dir(fixture.path("versions/000001")).unwrap().map(|e| e.unwrap().file_name()) {
        fs::copy(fixture.path("versions/000001").join(&name), fixture.path("versions/000002").join(&name)).unwrap();
    }
    fs::copy(&first, &second).unwrap();
    refused(registry.load(&Selector::Version(2)), "is not of this version");

    // The whole model under another name.
    let models = fixture.dir.path().join("models");
    fs::rename(models.join("m"), models.join("other")).unwrap();
    let moved = Registry::open(&models, "other").unwrap().signing_with(keys.signing(None, &["ours.pub"]));
    refused(moved.load(&Selector::Version(1)), "is not of this version of this model");
}

#[test]
fn an_alias_set_by_hand_to_an_older_signed_version_is_refused() {
    let keys = Keys::new();
    let fixture = signed(&keys);
    let registry = keys.registry(&fixture, None, &["ours.pub"]);
    let old = fixture.registry.resolve(&Selector::Version(1)).unwrap().1;
    fs::write(fixture.path("aliases/champion"), format!("000001 {old}\n")).unwrap();
    refused(registry.load(&champion()), "the log's last word is version 2");
    assert!(registry.load(&Selector::Version(1)).is_ok(), "it is signed, and who asks for it by number means it");
    assert_eq!(fixture.load().unwrap().version, 1, "without signatures only `verify` tells");
    // Cutting the log back to that moment leaves the chain whole, but then the log speaks of no second version.
    let log = fs::read_to_string(fixture.path("log.jsonl")).unwrap();
    let lines: Vec<&str> = log.split_inclusive('\n').collect();
    fs::write(fixture.path("log.jsonl"), [lines[1], lines[0]].concat()).unwrap();
    refused(registry.load(&champion()), "line 1");
}

#[test]
fn promote_signs_what_nobody_signed_and_only_that() {
    let keys = Keys::new();
    let fixture = Fixture::new(2);
    let trusting = keys.registry(&fixture, None, &["ours.pub"]);
    refused(trusting.promote(2, CHAMPION, because("new"), &mut |_| Ok(())), "found none");
    let wrong = keys.registry(&fixture, Some("theirs.pem"), &["ours.pub"]);
    refused(wrong.promote(2, CHAMPION, because("new"), &mut |_| Ok(())), "is not among those trusted");
    assert!(!fixture.path("signatures").exists());
    // A version that fails its checks is not signed.
    let officer = keys.registry(&fixture, Some("ours.pem"), &["ours.pub"]);
    let mut no = |_: &LoadedModel| Err(Error::new(Kind::Model, "no"));
    assert_eq!(officer.promote(2, CHAMPION, because("new"), &mut no).unwrap_err().kind(), Kind::Model);
    assert!(!fixture.path("signatures").exists());
    officer.promote(2, CHAMPION, because("new"), &mut |_| Ok(())).unwrap();
    assert_eq!(trusting.load(&champion()).unwrap().version, 2);
    let line = fs::read(fixture.path("signatures/000002.ed25519")).unwrap();
    keys.registry(&fixture, Some("theirs.pem"), &[]).promote(2, CHAMPION, because("more"), &mut |_| Ok(())).unwrap();
    assert_eq!(fs::read(fixture.path("signatures/000002.ed25519")).unwrap(), line, "a signature is not replaced");
}

#[test]
fn signatures_go_with_their_versions_and_orphans_with_the_next_writer() {
    let keys = Keys::new();
    let fixture = signed(&keys);
    let registry = keys.registry(&fixture, None, &["ours.pub"]);
    registry.create_version(other_draft(3), NOW).unwrap();
    registry.promote(2, CHAMPION, because("x"), &mut |_| Ok(())).unwrap();
    // Killed between the removal of a version and that of its signature, and in the middle of writing one.
    fs::copy(fixture.path("signatures/000002.ed25519"), fixture.path("signatures/000009.ed25519")).unwrap();
    fs::write(fixture.path("signatures/.tmp-half"), "ed255").unwrap();
    fs::write(fixture.path("signatures/README"), "ours").unwrap();
    registry.verify(Some(2)).unwrap().into_result().unwrap();
    assert!(registry.leftover_files().unwrap().contains(&"signatures/.tmp-half".to_owned()));
    registry.gc(0, Some(3), because("x"), false).unwrap();
    let mut names: Vec<_> = fs::read_dir(fixture.path("signatures"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["000001.ed25519", "000002.ed25519", "README"]);
    // The first one is what a rollback would go to; with nothing to go back to it goes, and its signature too.
    fs::remove_file(fixture.path("aliases/champion")).unwrap();
    registry.gc(0, Some(1), because("x"), false).unwrap();
    assert!(!fixture.path("signatures/000001.ed25519").exists() && fixture.path("signatures/000002.ed25519").exists());
}

#[test]
fn key_files_that_are_none_are_configuration_errors_that_show_no_key() {
    let keys = Keys::new();
    let none: [&Path; 0] = [];
    for (name, text) in [("empty", ""), ("public", OURS.1), ("cut", &OURS.0[..90]), ("noise", "secret-secret")] {
        let path = keys.path(name);
        fs::write(&path, text).unwrap();
        let error = Signing::read(Some(&path), &none).unwrap_err();
        assert_eq!(error.kind(), Kind::Config, "{name}");
        assert!(!format!("{error:?}").contains("secret-secret"), "{error:?}");
    }
    assert_eq!(Signing::read(None, &[keys.path("ours.pem")]).unwrap_err().kind(), Kind::Config, "a private key");
    assert_eq!(Signing::read(None, &[keys.path("nothing")]).unwrap_err().kind(), Kind::Config);
    let signing = keys.signing(Some("ours.pem"), &["theirs.pub"]);
    let shown = format!("{signing:?}");
    assert!(shown.contains(OURS.2) && shown.contains(THEIRS.2) && shown.len() < 100, "{shown}");
}

#[test]
fn a_private_key_that_others_may_read_is_told() {
    use std::os::unix::fs::PermissionsExt;
    let keys = Keys::new();
    let path = keys.path("ours.pem");
    for (mode, exposed) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let none: [&Path; 0] = [];
        assert_eq!(Signing::read(Some(&path), &none).unwrap().1, exposed, "{mode:o}");
    }
}
