use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::*;
use crate::error::Kind;

pub(super) const NOW: &str = "2026-05-01T02:00:00Z";

pub(super) fn draft() -> Draft {
    let mut settings = Settings::default();
    settings.enrich.networks = vec!["/somewhere/else/n.csv".into()];
    Draft {
        manifest: Manifest {
            enrichment: String::new(),
            format_version: 0,
            engine_version: "0.1.0".into(),
            feature_schema: "f".repeat(64),
            settings,
            seed: 7,
            train_from: Some("2026-01-01".parse().unwrap()),
            train_until: Some("2026-04-30".parse().unwrap()),
            table: None,
            sequences: None,
            orgs: vec!["o".into()],
            events: 1_000,
            user_days: 100,
            input_digest: "0".repeat(64),
            // A number that a careless JSON reader gets wrong in its last bit.
            metrics: BTreeMap::from([("m".into(), 0.1 + 0.2), ("a".into(), 5e-324)]),
            files: BTreeMap::new(),
            notes: vec![],
            golden: vec![],
        },
        arrays: vec![Array { name: "w".into(), shape: vec![2], values: vec![0.1, -1e300] }],
        records: vec![Record {
            section: "s".into(), key: ["u".into(), "é".into(), String::new()], numbers: vec![1.0]
        }],
        card: "# A model\n".into(),
    }
}

pub(super) struct Fixture {
    pub(super) dir: tempfile::TempDir,
    pub(super) registry: Registry,
}

impl Fixture {
    pub(super) fn new(versions: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::open(&dir.path().join("models"), "m").unwrap();
        for version in 1..=versions {
            assert_eq!(registry.create_version(draft(), NOW).unwrap(), version);
        }
        Self { dir, registry }
    }

    pub(super) fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join("models/m").join(below)
    }

    pub(super) fn load(&self) -> Result<LoadedModel, crate::Error> {
        self.registry.load(&Selector::Alias(CHAMPION.into()))
    }

    pub(super) fn kind(&self) -> Kind {
        self.load().unwrap_err().kind()
    }
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|e| e.unwrap());
    entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap())).collect()
}

/// Rewrites the manifest with fitting digests, as somebody who may write the whole folder could.
fn forge(fixture: &Fixture, from: &str, to: &str) {
    let path = fixture.path("versions/000001/manifest.json");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from));
    let text = text.replacen(from, to, 1);
    let digest = blake3::hash(text.as_bytes());
    fs::write(&path, text).unwrap();
    fs::write(fixture.path("versions/000001/manifest.blake3"), format!("{digest}  manifest.json\n")).unwrap();
    fs::write(fixture.path("aliases/champion"), format!("000001 {digest}\n")).unwrap();
}

#[test]
fn a_version_comes_back_as_it_was_drafted() {
    let fixture = Fixture::new(1);
    let model = fixture.load().unwrap();
    assert_eq!(model.version, 1);
    assert_eq!(model.arrays, draft().arrays);
    assert_eq!(model.records, draft().records);
    assert_eq!(model.manifest.metrics["m"].to_bits(), (0.1f64 + 0.2).to_bits());
    assert_eq!(model.manifest.metrics["a"], 5e-324);
    assert_eq!(model.manifest.format_version, FORMAT_VERSION);
    assert_eq!(model.manifest.settings.enrich.networks, ["n.csv"], "no path of this machine");
    let names: Vec<_> = files(&fixture.path("versions/000001")).into_keys().collect();
    assert_eq!(names, ["baseline.arrow", "card.md", "manifest.blake3", "manifest.json", "model.safetensors"]);
}

#[test]
fn equal_drafts_give_equal_bytes_whatever_the_time_and_number() {
    let fixture = Fixture::new(1);
    let mut other = draft();
    other.manifest.settings.enrich.networks = vec!["/another/place/n.csv".into()];
    fixture.registry.create_version(other, "2027-01-01T00:00:00Z").unwrap();
    assert_eq!(files(&fixture.path("versions/000001")), files(&fixture.path("versions/000002")));
}

#[test]
fn the_first_version_becomes_champion_and_stays_it() {
    let fixture = Fixture::new(2);
    let (version, digest) = fixture.registry.resolve(&Selector::Alias(CHAMPION.into())).unwrap();
    assert_eq!(version, 1);
    assert_eq!(fs::read_to_string(fixture.path("aliases/champion")).unwrap(), format!("000001 {digest}\n"));
    let manifest = fs::read(fixture.path("versions/000001/manifest.json")).unwrap();
    assert_eq!(blake3::hash(&manifest).to_hex().as_str(), digest);

    let (list, _) = fixture.registry.list().unwrap();
    assert_eq!(list[0].aliases, [CHAMPION]);
    assert_eq!((list[1].parent, list[1].created.as_deref()), (Some(1), Some(NOW)));
    assert!(list[1].aliases.is_empty());
}

#[test]
fn what_is_missing_is_told_with_what_there_is() {
    let fixture = Fixture::new(2);
    let error = |selector| fixture.registry.load(&selector).unwrap_err();
    let missing = error(Selector::Version(9));
    assert_eq!(missing.kind(), Kind::Model);
    assert!(missing.to_string().ends_with("there are: 1, 2"), "{missing}");
    assert!(error(Selector::Alias("challenger".into())).to_string().ends_with("there are: champion"));
    assert_eq!(error(Selector::Alias("../champion".into())).kind(), Kind::Usage);

    let models = fixture.dir.path().join("models");
    let other = Registry::open(&models, "other").unwrap().list().unwrap_err();
    assert!(other.to_string().ends_with("there are: m"), "{other}");
    let nowhere = Registry::open(&models.join("nowhere"), "m").unwrap().list().unwrap_err();
    assert_eq!(nowhere.kind(), Kind::Model);
    assert_eq!(names(&models).unwrap(), ["m"]);
}

#[test]
fn names_that_could_be_paths_are_refused() {
    let long = "a".repeat(65);
    for bad in ["", ".", "..", "a/b", "/a", "A", "a b", "é", "a\0", long.as_str()] {
        assert_eq!(Registry::open(Path::new("models"), bad).unwrap_err().kind(), Kind::Usage, "{bad:?}");
    }
    assert!(Registry::open(Path::new("models"), &long[1..]).is_ok());
}

#[test]
fn any_changed_byte_is_refused_by_its_digest() {
    let fixture = Fixture::new(1);
    let folder = fixture.path("versions/000001");
    for (name, bytes) in files(&folder) {
        // Every seventh byte: a sample that reaches every part of every file.
        for at in (0..bytes.len()).step_by(7) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            fs::write(folder.join(&name), damaged).unwrap();
            assert_eq!(fixture.kind(), Kind::Digest, "{name}, byte {at}");
        }
        for cut in (0..bytes.len()).step_by(11) {
            fs::write(folder.join(&name), &bytes[..cut]).unwrap();
            assert_eq!(fixture.kind(), Kind::Digest, "{name}, cut at {cut}");
        }
        fs::write(folder.join(&name), [&bytes[..], b" "].concat()).unwrap();
        assert_eq!(fixture.kind(), Kind::Digest, "{name}, one byte more");
        fs::write(folder.join(&name), bytes).unwrap();
    }
    assert!(fixture.load().is_ok());
}

#[test]
fn a_mismatch_names_file_and_both_digests() {
    let fixture = Fixture::new(1);
    let path = fixture.path("versions/000001/card.md");
    fs::write(&path, "# B model\n").unwrap();
    let message = fixture.load().unwrap_err().to_string();
    let (expected, found) = (blake3::hash(b"# A model\n"), blake3::hash(b"# B model\n"));
    assert_eq!(message, format!("{}: expected BLAKE3 {expected}, found {found}", path.display()));
}

#[test]
fn extra_missing_and_linked_files_are_refused() {
    let fixture = Fixture::new(1);
    let folder = fixture.path("versions/000001");
    fs::write(folder.join("extra"), b"").unwrap();
    assert_eq!(fixture.kind(), Kind::Digest);
    fs::remove_file(folder.join("extra")).unwrap();

    let card = folder.join("card.md");
    let elsewhere = fixture.dir.path().join("card.md");
    fs::rename(&card, &elsewhere).unwrap();
    assert_eq!(fixture.kind(), Kind::Digest, "missing");
    symlink(&elsewhere, &card).unwrap();
    assert_eq!(fixture.kind(), Kind::Digest, "a link, though its content is right");
    fs::remove_file(&card).unwrap();
    fs::create_dir(&card).unwrap();
    assert_eq!(fixture.kind(), Kind::Digest, "a folder");
    fs::remove_dir(&card).unwrap();
    fs::rename(&elsewhere, &card).unwrap();

    let moved = fixture.dir.path().join("moved");
    fs::rename(&folder, &moved).unwrap();
    symlink(&moved, &folder).unwrap();
    assert_eq!(fixture.kind(), Kind::Digest, "a version that is a link");
}

#[test]
fn a_newer_format_is_called_newer() {
    let fixture = Fixture::new(1);
    forge(&fixture, "\"format_version\": 1,", "\"format_version\": 2, \"unheard_of\": 1,");
    let error = fixture.load().unwrap_err();
    assert_eq!(error.kind(), Kind::Model);
    assert!(error.to_string().contains("format 2, this engine reads 1 to 1"), "{error}");
}

#[test]
fn forged_manifests_end_in_errors() {
    let cases = [
        ("\"card.md\"", "\"../card.md\"", Kind::Digest),
        ("\"seed\": 7", "\"seed\": -7", Kind::Model),
        ("\"seed\": 7", "\"seed\": 7, \"extra\": 1", Kind::Model),
        ("\"bytes\": ", "\"bytes\": 1844674407370955161", Kind::Model),
        ("{", "", Kind::Model),
    ];
    for (from, to, kind) in cases {
        let fixture = Fixture::new(1);
        forge(&fixture, from, to);
        assert_eq!(fixture.kind(), kind, "{to}");
    }
}

#[test]
fn an_alias_holds_its_version_to_one_digest() {
    let fixture = Fixture::new(1);
    let alias = fs::read_to_string(fixture.path("aliases/champion")).unwrap();
    forge(&fixture, "\"seed\": 7", "\"seed\": 8");
    assert!(fixture.load().is_ok(), "the forger changed the alias too");
    fs::write(fixture.path("aliases/champion"), alias).unwrap();
    assert_eq!(fixture.kind(), Kind::Digest);

    let report = fixture.registry.verify(None).unwrap();
    let verdicts: Vec<_> = report.checks.iter().map(|c| (c.what.as_str(), c.outcome.is_ok())).collect();
    // The forger did not think of the log.
    assert_eq!(verdicts, [("version 000001", false), ("alias champion", false), ("log", true)]);
    assert_eq!(report.into_result().unwrap_err().kind(), Kind::Digest);
    for garbage in ["", "1 x", "000001", "000001 short\n", "../000001 x\n"] {
        fs::write(fixture.path("aliases/champion"), garbage).unwrap();
        assert_eq!(fixture.kind(), Kind::Digest, "{garbage:?}");
    }
}

#[test]
fn verify_looks_at_every_version_and_goes_on_after_a_bad_one() {
    let fixture = Fixture::new(3);
    assert!(fixture.registry.verify(None).unwrap().into_result().is_ok());
    fs::write(fixture.path("versions/000002/card.md"), "").unwrap();
    let report = fixture.registry.verify(None).unwrap();
    assert_eq!(report.checks.iter().map(|c| c.outcome.is_ok()).collect::<Vec<_>>(), [true, false, true, true, true]);
    assert!(fixture.registry.verify(Some(3)).unwrap().into_result().is_ok());
    assert!(fixture.registry.verify(Some(2)).unwrap().into_result().is_err());
    assert_eq!(fixture.registry.verify(Some(4)).unwrap_err().kind(), Kind::Model);
    assert!(fixture.registry.list().unwrap().0[1].manifest.is_ok(), "a list reads manifests only");
}

#[test]
fn two_writers_do_not_meet() {
    let fixture = Fixture::new(1);
    let lock = fs::File::options().write(true).open(fixture.path(".lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(fixture.registry.create_version(draft(), NOW).unwrap_err().kind(), Kind::Locked);
    assert!(fixture.load().is_ok(), "readers need no lock");
    drop(lock);
    assert_eq!(fixture.registry.create_version(draft(), NOW).unwrap(), 2);
}

#[test]
fn the_remains_of_a_killed_training_are_ignored_and_removed() {
    let fixture = Fixture::new(1);
    let remains = fixture.path("versions/.tmp-abc");
    fs::create_dir(&remains).unwrap();
    fs::write(fixture.path("aliases/.tmp-def"), "half").unwrap();
    fs::write(fixture.path("log.jsonl"), "{\"time\":\"cut").unwrap();
    assert!(fixture.registry.verify(None).unwrap().into_result().is_ok());
    assert_eq!(fixture.registry.create_version(draft(), NOW).unwrap(), 2);
    assert!(!remains.exists());
    let (list, _) = fixture.registry.list().unwrap();
    assert_eq!((list[0].created.as_deref(), list[1].created.as_deref()), (None, Some(NOW)));
}

#[test]
fn numbers_that_are_not_finite_never_reach_the_disk() {
    let fixture = Fixture::new(0);
    let mut bad = draft();
    bad.manifest.metrics.insert("x".into(), f64::NAN);
    assert_eq!(fixture.registry.create_version(bad, NOW).unwrap_err().kind(), Kind::Bug);
    assert!(files(&fixture.path("aliases")).is_empty());
    assert_eq!(fs::read_dir(fixture.path("versions")).unwrap().count(), 0);
    assert_eq!(fixture.registry.verify(None).unwrap_err().kind(), Kind::Model, "nothing to verify is no success");
}

#[test]
fn a_version_number_is_never_used_again() {
    let fixture = Fixture::new(2);
    fs::remove_dir_all(fixture.path("versions/000002")).unwrap();
    assert_eq!(fixture.registry.create_version(draft(), NOW).unwrap(), 3);
}

#[test]
fn a_list_says_which_alias_is_broken() {
    let fixture = Fixture::new(1);
    assert!(fixture.registry.list().unwrap().1.is_empty());
    fs::write(fixture.path("aliases/champion"), format!("000001 {}\n", "0".repeat(64))).unwrap();
    let (versions, broken) = fixture.registry.list().unwrap();
    assert!(versions[0].aliases.is_empty());
    assert!(broken[0].contains("another digest"), "{broken:?}");
    fs::write(fixture.path("aliases/champion"), "first\n").unwrap();
    assert!(fixture.registry.list().unwrap().1[0].contains("expected a version"));
}

#[test]
fn without_its_alias_a_version_is_asked_for_by_number() {
    let fixture = Fixture::new(1);
    fs::remove_file(fixture.path("aliases/champion")).unwrap();
    let error = fixture.load().unwrap_err();
    assert!(error.to_string().contains("--version 1"), "{error}");
}

#[test]
fn a_version_is_of_days_or_of_a_table_and_of_nothing_else() {
    let table = TableInfo {
        keys: vec!["k".into()],
        columns: vec!["x".into()],
        excluded: vec![],
        dropped: vec![],
        rows: 3,
        missing: MISSING_RULE.into(),
    };
    let fixture = Fixture::new(1);
    assert!(matches!(fixture.load().unwrap().manifest.trained_on(), Some(TrainedOn::Days(..))));
    let mut both = draft();
    both.manifest.table = Some(table.clone());
    assert_eq!(fixture.registry.create_version(both.clone(), NOW).unwrap_err().kind(), Kind::Bug);
    both.manifest.train_from = None;
    both.manifest.train_until = None;
    let version = fixture.registry.create_version(both, NOW).unwrap();
    let model = fixture.registry.load(&Selector::Version(version)).unwrap();
    assert_eq!(model.manifest.trained_on(), Some(TrainedOn::Table(&table)));
    forge(&fixture, "  \"train_until\": \"2026-04-30\",\n", "");
    assert_eq!(fixture.kind(), Kind::Digest);
}
