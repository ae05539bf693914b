//! Promotion, rollback, removal, and what a kill leaves of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::change::Because;
use super::tests::{Fixture, NOW, draft};
use super::*;
use crate::error::{Error, Kind, Result};

const WHY: Because<'static> = Because { reason: "because", now: NOW, by: Some("ops") };

fn promote(fixture: &Fixture, version: u32) -> Result<Swapped> {
    fixture.registry.promote(version, CHAMPION, WHY, &mut |_| Ok(()))
}

fn rollback(fixture: &Fixture) -> Result<u32> {
    fixture.registry.rollback(CHAMPION, WHY, &mut |_| Ok(())).map(|swapped| swapped.to)
}

fn gc(fixture: &Fixture, keep: usize) -> Vec<u32> {
    fixture.registry.gc(keep, None, WHY, false).unwrap().removed
}

fn champion(fixture: &Fixture) -> u32 {
    fixture.load().unwrap().version
}

fn verified(fixture: &Fixture) -> Result<()> {
    fixture.registry.verify(None)?.into_result()
}

fn events(fixture: &Fixture) -> Vec<(&'static str, u32, Option<u32>)> {
    let log = fixture.registry.log().unwrap();
    log.entries.iter().map(|e| (e.event.name(), e.version, e.parent)).collect()
}

/// Every file of the model with its content.
fn snapshot(folder: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else {
                found.insert(entry.clone(), fs::read(entry).unwrap());
            }
        }
    }
    found
}

#[test]
fn a_promotion_sets_the_alias_and_says_why() {
    let fixture = Fixture::new(2);
    let swapped = promote(&fixture, 2).unwrap();
    assert_eq!((swapped.from, swapped.to, swapped.changed), (Some(1), 2, true));
    assert_eq!(champion(&fixture), 2);
    verified(&fixture).unwrap();
    let log = fixture.registry.log().unwrap();
    let last = log.entries.last().unwrap();
    assert_eq!(
        (last.event, last.version, last.parent, last.alias.as_deref()),
        (Event::Promote, 2, Some(1), Some(CHAMPION))
    );
    assert_eq!((last.reason.as_str(), last.time.as_str(), last.by.as_deref()), ("because", NOW, Some("ops")));
    assert_eq!(last.digest, swapped.digest);
    let mut names: Vec<String> =
        fs::read_dir(fixture.path("")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, [".lock", "aliases", "log.jsonl", "versions"], "nothing is left over");
}

#[test]
fn promoting_what_is_champion_changes_nothing() {
    let fixture = Fixture::new(1);
    let before = snapshot(&fixture.path(""));
    let swapped = promote(&fixture, 1).unwrap();
    assert_eq!((swapped.from, swapped.to, swapped.changed), (Some(1), 1, false));
    assert!(snapshot(&fixture.path("")) == before);
}

#[test]
fn a_new_alias_begins_with_its_first_promotion() {
    let fixture = Fixture::new(2);
    let set = |version| fixture.registry.promote(version, "challenger", WHY, &mut |_| Ok(())).unwrap();
    assert_eq!(set(2).from, None);
    assert_eq!(
        (champion(&fixture), fixture.registry.resolve(&Selector::Alias("challenger".into())).unwrap().0),
        (1, 2)
    );
    let undo = fixture.registry.rollback("challenger", WHY, &mut |_| Ok(())).unwrap_err();
    assert!(undo.kind() == Kind::Model && undo.to_string().contains("nothing is left to undo"), "{undo}");
}

#[test]
fn what_cannot_be_promoted_leaves_the_alias_alone() {
    let fixture = Fixture::new(2);
    let empty = Because { reason: " \n", ..WHY };
    let long = "x".repeat(5_000);
    for (kind, result) in [
        (Kind::Model, promote(&fixture, 9)),
        (Kind::Usage, fixture.registry.promote(2, CHAMPION, empty, &mut |_| Ok(()))),
        (Kind::Usage, fixture.registry.promote(2, CHAMPION, Because { reason: &long, ..WHY }, &mut |_| Ok(()))),
        (Kind::Usage, fixture.registry.promote(2, "../../x", WHY, &mut |_| Ok(()))),
        (Kind::Usage, fixture.registry.promote(2, "", WHY, &mut |_| Ok(()))),
        (Kind::Usage, fixture.registry.promote(2, ".tmp-x", WHY, &mut |_| Ok(()))),
        (Kind::Model, fixture.registry.promote(2, CHAMPION, WHY, &mut |_| Err(Error::new(Kind::Model, "no")))),
    ] {
        assert_eq!(result.unwrap_err().kind(), kind);
    }
    let card = fixture.path("versions/000002/card.md");
    fs::write(&card, "# Another\n").unwrap();
    assert_eq!(promote(&fixture, 2).unwrap_err().kind(), Kind::Digest);
    assert_eq!((champion(&fixture), events(&fixture).len()), (1, 3));
}

#[test]
fn every_flipped_bit_of_a_version_stops_its_promotion() {
    let fixture = Fixture::new(2);
    let files = snapshot(&fixture.path("versions/000002"));
    let mut flips = 0;
    for (path, bytes) in &files {
        // A sample that reaches every part of every file; the sweep over all bits is a recipe.
        let step = if std::env::var_os("QUIETWATCH_SLOW").is_some() { 1 } else { 101 };
        for bit in (0..bytes.len() * 8).step_by(step) {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            fs::write(path, damaged).unwrap();
            assert_eq!(promote(&fixture, 2).unwrap_err().kind(), Kind::Digest, "{}, bit {bit}", path.display());
            flips += 1;
        }
        fs::write(path, bytes).unwrap();
    }
    assert!(flips > 200, "{flips}");
    assert_eq!(champion(&fixture), 1);
    promote(&fixture, 2).unwrap();
}

#[test]
fn rolling_back_twice_goes_two_back() {
    let fixture = Fixture::new(3);
    promote(&fixture, 2).unwrap();
    promote(&fixture, 3).unwrap();
    assert_eq!(rollback(&fixture).unwrap(), 2);
    assert_eq!(rollback(&fixture).unwrap(), 1);
    let error = rollback(&fixture).unwrap_err();
    assert!(error.kind() == Kind::Model && error.to_string().contains("nothing is left to undo"), "{error}");
    promote(&fixture, 3).unwrap();
    assert_eq!(rollback(&fixture).unwrap(), 1, "the promotion to 2 was undone before");
    verified(&fixture).unwrap();
    assert_eq!(events(&fixture).last(), Some(&("rollback", 1, Some(3))));
}

#[test]
fn a_rollback_to_what_is_gone_or_damaged_says_so() {
    let fixture = Fixture::new(2);
    promote(&fixture, 2).unwrap();
    let card = fixture.path("versions/000001/card.md");
    let text = fs::read(&card).unwrap();
    fs::write(&card, "# Another\n").unwrap();
    assert_eq!(rollback(&fixture).unwrap_err().kind(), Kind::Digest);
    fs::write(&card, text).unwrap();
    let (version, elsewhere) = (fixture.path("versions/000001"), fixture.path("elsewhere"));
    fs::rename(&version, &elsewhere).unwrap();
    let error = rollback(&fixture).unwrap_err();
    assert!(error.kind() == Kind::Model && error.to_string().contains("promote another version"), "{error}");
    // Another version under the old number, whole in itself.
    fs::create_dir(&version).unwrap();
    let other = Fixture::new(0);
    let mut changed = draft();
    changed.card = "# Not what it was\n".into();
    other.registry.create_version(changed, NOW).unwrap();
    for (path, bytes) in snapshot(&other.path("versions/000001")) {
        fs::write(version.join(path.file_name().unwrap()), bytes).unwrap();
    }
    assert_eq!(rollback(&fixture).unwrap_err().kind(), Kind::Digest);
    assert_eq!(champion(&fixture), 2);
    fs::remove_dir_all(&version).unwrap();
    fs::rename(&elsewhere, &version).unwrap();
    assert_eq!(rollback(&fixture).unwrap(), 1);
}

#[test]
fn an_alias_that_was_changed_by_hand_is_found_and_set_right_by_a_promotion() {
    let fixture = Fixture::new(3);
    let alias = fixture.path("aliases/champion");
    let first = fs::read(&alias).unwrap();
    promote(&fixture, 2).unwrap();
    let second = fs::read(&alias).unwrap();
    promote(&fixture, 3).unwrap();
    for old in [&first, &second] {
        fs::write(&alias, old).unwrap();
        assert_eq!(verified(&fixture).unwrap_err().kind(), Kind::Digest, "an older version came back without a line");
        assert_eq!(rollback(&fixture).unwrap_err().kind(), Kind::Digest);
        assert_eq!(fixture.registry.gc(0, None, WHY, false).unwrap_err().kind(), Kind::Digest);
    }
    promote(&fixture, 3).unwrap();
    verified(&fixture).unwrap();
    fs::write(&alias, "garbage").unwrap();
    assert_eq!(fixture.registry.create_version(draft(), NOW).unwrap(), 4, "no training is lost to it");
    assert_eq!(fs::read(&alias).unwrap(), b"garbage");
    assert_eq!(fixture.registry.gc(0, None, WHY, false).unwrap_err().kind(), Kind::Digest);
    assert_eq!(promote(&fixture, 2).unwrap().from, None);
    verified(&fixture).unwrap();
    fs::remove_file(&alias).unwrap();
    assert_eq!(verified(&fixture).unwrap_err().kind(), Kind::Digest, "the log knows of an alias that is gone");
}

#[test]
fn a_broken_log_is_told_and_stops_what_relies_on_it_alone() {
    let fixture = Fixture::new(2);
    promote(&fixture, 2).unwrap();
    let path = fixture.path("log.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("because", "be cause", 1)).unwrap();
    let report = fixture.registry.verify(None).unwrap();
    let verdicts: Vec<_> = report.checks.iter().map(|c| (c.what.as_str(), c.outcome.is_ok())).collect();
    assert_eq!(
        verdicts,
        [("version 000001", true), ("version 000002", true), ("alias champion", true), ("log", false)]
    );
    assert_eq!(report.into_result().unwrap_err().kind(), Kind::Digest);
    assert_eq!(rollback(&fixture).unwrap_err().kind(), Kind::Digest);
    assert_eq!(fixture.registry.gc(0, None, WHY, false).unwrap_err().kind(), Kind::Digest);
    assert_eq!(champion(&fixture), 2, "scoring goes on");
    promote(&fixture, 1).unwrap();
    assert_eq!(fixture.registry.create_version(draft(), NOW).unwrap(), 3, "no training is lost to it");
    assert!(fixture.registry.log().unwrap().broken.unwrap().starts_with("line 4 "), "and it stays told");
}

#[test]
fn a_version_that_was_exchanged_is_found_by_the_log() {
    let fixture = Fixture::new(1);
    let other = Fixture::new(0);
    let mut changed = draft();
    changed.card = "# Not what it was\n".into();
    other.registry.create_version(changed, NOW).unwrap();
    for (path, bytes) in snapshot(&other.path("versions/000001")) {
        fs::write(fixture.path("versions/000001").join(path.file_name().unwrap()), bytes).unwrap();
    }
    fs::write(fixture.path("aliases/champion"), fs::read(other.path("aliases/champion")).unwrap()).unwrap();
    assert!(fixture.load().is_ok(), "whole in itself");
    assert_eq!(verified(&fixture).unwrap_err().kind(), Kind::Digest);
}

/// The model folder of a fixture, as a kill at each step of `change` leaves it: what was before, what each step writes.
fn states_of_a_kill(
    before: &BTreeMap<std::path::PathBuf, Vec<u8>>,
    after: &BTreeMap<std::path::PathBuf, Vec<u8>>,
    model: &Path,
) -> Vec<(bool, BTreeMap<std::path::PathBuf, Vec<u8>>)> {
    let log = model.join("log.jsonl");
    let line = after[&log][before[&log].len()..].to_vec();
    let pending = model.join(".pending");
    let mut states = vec![(false, before.clone())];
    let mut state = before.clone();
    // A half-written temporary file of any of the steps.
    state.insert(model.join(".tmp-abc"), line[..line.len() / 2].to_vec());
    states.push((false, state.clone()));
    state = before.clone();
    state.insert(pending.clone(), line.clone());
    states.push((false, state.clone()));
    state.insert(model.join("aliases/.tmp-def"), b"0000".to_vec());
    states.push((false, state.clone()));
    // The rename: everything of the end state but the log.
    state = after.clone();
    state.insert(pending.clone(), line.clone());
    state.insert(log.clone(), before[&log].clone());
    states.push((true, state.clone()));
    for cut in [1, line.len() / 2, line.len() - 1, line.len()] {
        state.insert(log.clone(), [&before[&log][..], &line[..cut]].concat());
        states.push((true, state.clone()));
    }
    state.remove(&pending);
    states.push((true, state));
    states
}

fn restore(model: &Path, state: &BTreeMap<std::path::PathBuf, Vec<u8>>) {
    fs::remove_dir_all(model).unwrap();
    for (path, bytes) in state {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn a_kill_at_any_step_leaves_the_old_or_the_new_state_and_the_next_writer_makes_the_log_true() {
    type Step = fn(&Fixture);
    let steps: [(&str, Step, Step); 4] = [
        ("promote", |f| drop(promote(f, 2).unwrap()), |f| drop(promote(f, 3).unwrap())),
        ("rollback", |f| drop(promote(f, 2).unwrap()), |f| assert_eq!(rollback(f).unwrap(), 1)),
        ("create", |_| (), |f| assert_eq!(f.registry.create_version(draft(), NOW).unwrap(), 4)),
        ("remove", |f| drop(promote(f, 3).unwrap()), |f| assert_eq!(gc(f, 0), [2])),
    ];
    for (what, prepare, act) in steps {
        let fixture = Fixture::new(3);
        prepare(&fixture);
        let model = fixture.path("");
        let (before, old) = (snapshot(&model), champion(&fixture));
        act(&fixture);
        let (after, new) = (snapshot(&model), champion(&fixture));
        let logged = events(&fixture);
        for (i, (took_effect, state)) in states_of_a_kill(&before, &after, &model).into_iter().enumerate() {
            restore(&model, &state);
            assert_eq!(champion(&fixture), if took_effect { new } else { old }, "{what}, state {i}");
            verified(&fixture).unwrap_or_else(|e| panic!("{what}, state {i}: {e}"));
            // Any writer settles what was begun.
            let next = fixture.registry.promote(champion(&fixture), "challenger", WHY, &mut |_| Ok(())).unwrap();
            let mut expected = logged[..logged.len() - usize::from(!took_effect)].to_vec();
            expected.push(("promote", next.to, None));
            assert_eq!(events(&fixture), expected, "{what}, state {i}");
            assert!(fixture.registry.leftover_files().unwrap().is_empty(), "{what}, state {i}");
            assert!(!model.join(".pending").exists(), "{what}, state {i}");
            verified(&fixture).unwrap_or_else(|e| panic!("{what}, state {i}: {e}"));
        }
    }
}

#[test]
fn a_change_that_was_begun_by_somebody_else_is_not_believed() {
    let fixture = Fixture::new(2);
    fs::write(fixture.path(".pending"), "{\"event\":\"promote\",\"version\":2}\n").unwrap();
    verified(&fixture).unwrap();
    promote(&fixture, 2).unwrap();
    assert_eq!(events(&fixture).len(), 4);
}

#[test]
fn writers_exclude_each_other_and_readers_none() {
    let fixture = Fixture::new(2);
    let lock = fs::File::options().write(true).open(fixture.path(".lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(promote(&fixture, 2).unwrap_err().kind(), Kind::Locked);
    assert_eq!(rollback(&fixture).unwrap_err().kind(), Kind::Locked);
    assert_eq!(fixture.registry.gc(0, None, WHY, false).unwrap_err().kind(), Kind::Locked);
    assert_eq!(fixture.registry.gc(0, None, WHY, true).unwrap().removed, [2], "a dry run writes nothing");
    verified(&fixture).unwrap();
    assert_eq!(champion(&fixture), 1);
}

#[test]
fn who_comes_second_does_not_overwrite_who_came_first() {
    let fixture = Fixture::new(3);
    let slow = fixture.registry.promote(2, CHAMPION, WHY, &mut |_| promote(&fixture, 3).map(drop));
    assert_eq!(slow.unwrap_err().kind(), Kind::Locked);
    assert_eq!(champion(&fixture), 3);
    let slow = fixture.registry.rollback(CHAMPION, WHY, &mut |_| promote(&fixture, 2).map(drop));
    assert_eq!(slow.unwrap_err().kind(), Kind::Locked);
    assert_eq!(champion(&fixture), 2);
}

#[test]
fn gc_leaves_what_an_alias_a_rollback_a_run_or_the_last_few_need() {
    let fixture = Fixture::new(7);
    promote(&fixture, 3).unwrap();
    fixture.registry.promote(5, "challenger", WHY, &mut |_| Ok(())).unwrap();
    let (_, in_use) = fixture.registry.load_in_use(&Selector::Version(2)).unwrap();
    let dry = fixture.registry.gc(1, None, WHY, true).unwrap();
    assert_eq!(dry.removed, [4, 6]);
    let kept: Vec<u32> = dry.kept.iter().map(|k| k.version).collect();
    assert_eq!(kept, [1, 2, 3, 5, 7], "rollback, use, champion, challenger, last");
    assert_eq!(fixture.registry.list().unwrap().0.len(), 7);
    assert_eq!(gc(&fixture, 1), [4, 6]);
    drop(in_use);
    assert_eq!(gc(&fixture, 1), [2]);
    assert_eq!(gc(&fixture, 1), [0; 0]);
    verified(&fixture).unwrap();
    assert_eq!(rollback(&fixture).unwrap(), 1);
    assert_eq!(fixture.registry.create_version(draft(), NOW).unwrap(), 8, "numbers are not used again");
}

#[test]
fn gc_of_one_version_refuses_what_is_needed() {
    let fixture = Fixture::new(3);
    let only = |version| fixture.registry.gc(0, Some(version), WHY, false);
    let error = only(1).unwrap_err();
    assert!(error.kind() == Kind::Usage && error.to_string().contains("alias champion names it"), "{error}");
    assert_eq!(only(9).unwrap_err().kind(), Kind::Model);
    let (_, in_use) = fixture.registry.load_in_use(&Selector::Version(3)).unwrap();
    assert_eq!(only(3).unwrap_err().kind(), Kind::Locked);
    drop(in_use);
    assert_eq!(only(3).unwrap().removed, [3]);
    assert_eq!(fixture.registry.list().unwrap().0.iter().map(|v| v.version).collect::<Vec<_>>(), [1, 2]);
    // A damaged version can go.
    fs::write(fixture.path("versions/000002/manifest.blake3"), "").unwrap();
    assert_eq!(only(2).unwrap().removed, [2]);
    verified(&fixture).unwrap();
}

#[test]
fn gc_sweeps_up_after_killed_writers() {
    let fixture = Fixture::new(1);
    fs::create_dir(fixture.path("versions/.tmp-abc")).unwrap();
    fs::write(fixture.path("versions/.tmp-abc/half"), "").unwrap();
    fs::write(fixture.path("aliases/.tmp-def"), "").unwrap();
    let left = ["aliases/.tmp-def", "versions/.tmp-abc"];
    assert_eq!(fixture.registry.gc(5, None, WHY, true).unwrap().leftovers, left);
    assert!(fixture.path("versions/.tmp-abc").exists());
    assert_eq!(fixture.registry.gc(5, None, WHY, false).unwrap().leftovers, left);
    assert!(fixture.registry.leftover_files().unwrap().is_empty());
}

#[test]
fn a_link_in_place_of_a_registry_folder_is_not_followed() {
    let fixture = Fixture::new(2);
    for name in ["aliases", "versions"] {
        let (path, moved) = (fixture.path(name), fixture.dir.path().join("moved"));
        fs::rename(&path, &moved).unwrap();
        std::os::unix::fs::symlink(&moved, &path).unwrap();
        let before = snapshot(&moved);
        assert_eq!(promote(&fixture, 2).unwrap_err().kind(), Kind::Digest, "{name}");
        assert_eq!(fixture.registry.gc(0, None, WHY, false).unwrap_err().kind(), Kind::Digest, "{name}");
        assert_eq!(fixture.registry.create_version(draft(), NOW).unwrap_err().kind(), Kind::Digest, "{name}");
        assert!(snapshot(&moved) == before, "{name}");
        fs::remove_file(&path).unwrap();
        fs::rename(&moved, &path).unwrap();
    }
    let alias = fixture.path("aliases/champion");
    let elsewhere = fixture.dir.path().join("elsewhere");
    fs::rename(&alias, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &alias).unwrap();
    assert_eq!(promote(&fixture, 2).unwrap_err().kind(), Kind::Digest);
    let log = fixture.path("log.jsonl");
    fs::remove_file(&alias).unwrap();
    fs::rename(&elsewhere, &alias).unwrap();
    fs::rename(&log, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &log).unwrap();
    assert_eq!(promote(&fixture, 2).unwrap_err().kind(), Kind::Digest);
}

/// While one thread sets the alias to and fro, another resolves and loads: what it gets is always one version whole, under
/// the digest that this version has.
#[test]
fn a_reader_beside_promotions_always_gets_one_version_whole() {
    let fixture = Fixture::new(0);
    for version in 1..=2 {
        let mut draft = draft();
        draft.manifest.seed = version;
        draft.arrays[0].values[0] = version as f64;
        fixture.registry.create_version(draft, NOW).unwrap();
    }
    let digests: Vec<String> =
        [1, 2].map(|v| fixture.registry.resolve(&Selector::Version(v)).unwrap().1).into_iter().collect();
    assert_ne!(digests[0], digests[1]);
    let rounds = if std::env::var_os("QUIETWATCH_SLOW").is_some() { 1000 } else { 20 };
    let done = std::sync::atomic::AtomicBool::new(false);
    let (seen, loads) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut seen, mut loads) = ([0_u32; 2], 0);
            while !done.load(std::sync::atomic::Ordering::Relaxed) || loads < 20 {
                let model = fixture.load().unwrap();
                assert_eq!(model.digest, digests[model.version as usize - 1]);
                assert_eq!(model.manifest.seed, u64::from(model.version));
                assert_eq!(model.arrays[0].values[0], f64::from(model.version));
                seen[model.version as usize - 1] += 1;
                verified(&fixture).unwrap();
                loads += 1;
            }
            (seen, loads)
        });
        for round in 0..rounds {
            promote(&fixture, 2 - round % 2).unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert_eq!(seen[0] + seen[1], loads);
    assert_eq!(events(&fixture).len() as u32, 3 + rounds);
    verified(&fixture).unwrap();
}

#[test]
fn a_first_training_killed_before_its_version_was_champion_is_completed_by_the_next_writer() {
    let whole = Fixture::new(1);
    let fixture = Fixture::new(1);
    fs::remove_file(fixture.path("aliases/champion")).unwrap();
    let log = fs::read_to_string(fixture.path("log.jsonl")).unwrap();
    let first = log.split_inclusive('\n').next().unwrap();
    fs::write(fixture.path("log.jsonl"), first).unwrap();
    verified(&fixture).unwrap();
    assert_eq!(gc(&fixture, 0), [0; 0]);
    let bytes = |fixture: &Fixture| snapshot(&fixture.path("")).into_values().collect::<Vec<_>>();
    assert_eq!(bytes(&fixture), bytes(&whole));
    // A champion that somebody took away stays away.
    fs::remove_file(fixture.path("aliases/champion")).unwrap();
    fixture.registry.settle().unwrap();
    assert!(!fixture.path("aliases/champion").exists());
}
