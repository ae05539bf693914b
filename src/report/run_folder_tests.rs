use tempfile::TempDir;

use super::super::sample;
use super::*;

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn snapshot(dir: &Path) -> Vec<(String, Vec<u8>, u64)> {
    names(dir)
        .into_iter()
        .filter(|n| dir.join(n).is_file())
        .map(|n| {
            let path = dir.join(&n);
            (n, fs::read(&path).unwrap(), fs::metadata(&path).unwrap().ino())
        })
        .collect()
}

fn out() -> (TempDir, PathBuf) {
    let root = TempDir::new().unwrap();
    let dir = root.path().join("runs/night");
    (root, dir)
}

#[test]
fn a_new_run_has_exactly_its_files_and_reads_back() {
    let (_root, dir) = out();
    let rows = [sample::anomaly(1), sample::hostile(2)];
    assert_eq!(publish(&dir, &sample::run(), &rows, true).unwrap(), Published::Created);
    assert_eq!(names(&dir), FILES);
    assert_eq!(names(dir.parent().unwrap()), ["night"], "nothing is left beside it");
    let (run, read) = load(&dir).unwrap();
    assert_eq!(run, sample::run());
    assert_eq!(read, rows);
}

#[test]
fn the_same_run_again_touches_nothing() {
    let (_root, dir) = out();
    let rows = [sample::anomaly(1)];
    publish(&dir, &sample::run(), &rows, true).unwrap();
    let before = snapshot(&dir);
    assert_eq!(publish(&dir, &sample::run(), &rows, true).unwrap(), Published::Unchanged);
    assert_eq!(snapshot(&dir), before, "bytes and inodes");
    assert_eq!(names(&dir), FILES);
}

#[test]
fn another_run_keeps_the_one_before() {
    let (_root, dir) = out();
    publish(&dir, &sample::run(), &[], true).unwrap();
    let first = snapshot(&dir);
    fs::write(dir.join("notes.txt"), "seen").unwrap();
    assert_eq!(
        publish(&dir, &sample::run(), &[sample::anomaly(1)], true).unwrap(),
        Published::Replaced { revision: 1 }
    );
    assert_eq!(
        publish(&dir, &sample::run(), &[sample::anomaly(2)], true).unwrap(),
        Published::Replaced { revision: 2 }
    );
    assert_eq!(load(&dir).unwrap().1, [sample::anomaly(2)]);
    assert_eq!(names(&dir.join(REVISIONS)), ["000001.tar.gz", "000002.tar.gz"]);
    assert_eq!(fs::read(dir.join("notes.txt")).unwrap(), b"seen", "other files are carried over");
    let kept: Vec<_> = first.iter().map(|(n, bytes, _)| (n.as_str(), bytes.as_slice())).collect();
    assert_eq!(fs::read(dir.join(REVISIONS).join("000001.tar.gz")).unwrap(), archive::tar_gz(&kept).unwrap());
    assert_eq!(names(dir.parent().unwrap()), ["night"]);
}

#[test]
fn a_page_less_run_has_no_page() {
    let (_root, dir) = out();
    publish(&dir, &sample::run(), &[], false).unwrap();
    assert!(!dir.join("report.html").exists());
    assert_eq!(publish(&dir, &sample::run(), &[], true).unwrap(), Published::Replaced { revision: 1 });
}

#[test]
fn folders_that_are_no_run_are_refused_and_untouched() {
    let (_root, dir) = out();
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("thesis.tex"), "x").unwrap();
    fs::write(dir.join("run.json"), "{\"speed\": 3}").unwrap();
    let before = snapshot(&dir);
    let error = publish(&dir, &sample::run(), &[], true).unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    assert!(error.to_string().contains("holds no run"), "{error}");
    assert_eq!(snapshot(&dir), before);

    let file = dir.join("thesis.tex");
    assert_eq!(publish(&file, &sample::run(), &[], true).unwrap_err().kind(), Kind::Usage);
    assert_eq!(publish(Path::new("/"), &sample::run(), &[], true).unwrap_err().kind(), Kind::Usage);
}

#[test]
fn a_run_with_a_foreign_folder_is_refused() {
    let (_root, dir) = out();
    publish(&dir, &sample::run(), &[], true).unwrap();
    fs::create_dir(dir.join("mine")).unwrap();
    assert_eq!(publish(&dir, &sample::run(), &[sample::anomaly(1)], true).unwrap_err().kind(), Kind::Usage);
    assert!(dir.join("mine").is_dir());
    assert_eq!(load(&dir).unwrap().1, []);
}

#[test]
fn an_empty_folder_becomes_a_run() {
    let (_root, dir) = out();
    fs::create_dir_all(&dir).unwrap();
    assert_eq!(publish(&dir, &sample::run(), &[], true).unwrap(), Published::Created);
}

#[test]
fn a_link_keeps_pointing_at_its_run() {
    let (root, dir) = out();
    publish(&dir, &sample::run(), &[], true).unwrap();
    let latest = root.path().join("latest");
    std::os::unix::fs::symlink(&dir, &latest).unwrap();
    publish(&latest, &sample::run(), &[sample::anomaly(1)], true).unwrap();
    assert!(fs::symlink_metadata(&latest).unwrap().is_symlink());
    assert_eq!(load(&dir).unwrap().1.len(), 1);
}

#[test]
fn leftovers_of_a_killed_run_are_swept() {
    let (_root, dir) = out();
    publish(&dir, &sample::run(), &[], true).unwrap();
    let place = Place::of(&dir).unwrap();
    fs::create_dir(&place.next).unwrap();
    fs::write(place.next.join("run.json"), "{").unwrap();
    fs::write(&place.lock, "").unwrap();
    assert_eq!(publish(&dir, &sample::run(), &[], true).unwrap(), Published::Unchanged);
    assert_eq!(names(&place.parent), ["night"]);
}

#[test]
fn a_kill_between_two_renames_is_undone() {
    let (_root, dir) = out();
    publish(&dir, &sample::run(), &[sample::anomaly(1)], true).unwrap();
    let place = Place::of(&dir).unwrap();
    fs::rename(&dir, &place.old).unwrap();
    assert_eq!(
        publish(&dir, &sample::run(), &[sample::anomaly(2)], true).unwrap(),
        Published::Replaced { revision: 1 }
    );
    assert_eq!(names(&place.parent), ["night"]);
}

#[test]
fn two_renames_do_what_the_exchange_does() {
    let (_root, dir) = out();
    publish(&dir, &sample::run(), &[], true).unwrap();
    let place = Place::of(&dir).unwrap();
    fs::create_dir(&place.next).unwrap();
    fs::write(place.next.join("new"), "").unwrap();
    place.rename_twice().unwrap();
    assert_eq!(names(&dir), ["new"]);
    assert_eq!(names(&place.parent), ["night"]);
}

#[test]
fn a_second_publisher_is_told_to_come_back() {
    let (_root, dir) = out();
    publish(&dir, &sample::run(), &[], true).unwrap();
    let lock = Lock::take(&Place::of(&dir).unwrap()).unwrap();
    assert_eq!(publish(&dir, &sample::run(), &[], true).unwrap_err().kind(), Kind::Locked);
    drop(lock);
    assert_eq!(publish(&dir, &sample::run(), &[], true).unwrap(), Published::Unchanged);
}

#[test]
fn numbers_out_of_range_are_never_published() {
    let (_root, dir) = out();
    for break_it in [
        (|a: &mut Anomaly| a.score = f64::NAN) as fn(&mut Anomaly),
        |a| a.p_value = 1.5,
        |a| a.evidence[0].high = f64::INFINITY,
    ] {
        let mut row = sample::anomaly(1);
        break_it(&mut row);
        assert_eq!(publish(&dir, &sample::run(), &[row], true).unwrap_err().kind(), Kind::Bug);
        assert!(!dir.exists());
    }
}

#[test]
fn what_is_no_run_folder_is_an_input_error() {
    let (root, dir) = out();
    assert_eq!(load(&dir).unwrap_err().kind(), Kind::Input);
    publish(&dir, &sample::run(), &[sample::anomaly(1)], true).unwrap();
    let text = fs::read_to_string(dir.join("run.json")).unwrap();
    fs::write(dir.join("run.json"), text.replace("\"format_version\": 1", "\"format_version\": 2")).unwrap();
    let error = load(&dir).unwrap_err();
    assert_eq!(error.kind(), Kind::Input);
    assert!(error.to_string().contains("layout 2"), "{error}");
    drop(root);
}

#[test]
fn a_key_is_found_by_its_beginning() {
    let mut other = sample::anomaly(2);
    other.anomaly_key = format!("{}ff", &sample::anomaly(1).anomaly_key[..62]);
    let rows = [sample::anomaly(1), other];
    let key = rows[0].anomaly_key.as_str();
    assert_eq!(find(&rows, key).unwrap().rank, 1);
    assert_eq!(find(&rows, &key[..8]).unwrap_err().kind(), Kind::Usage, "two begin so");
    assert_eq!(find(&rows[..1], &key[..8]).unwrap().rank, 1);
    assert_eq!(find(&rows[..1], &key[..3]).unwrap_err().kind(), Kind::Usage);
}

#[test]
fn no_run_stands_within_another() {
    let (_root, dir) = out();
    publish(&dir, &sample::run(), &[], true).unwrap();
    let error = publish(&dir.join("sub/deep"), &sample::run(), &[], true).unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    assert_eq!(names(&dir), FILES);
}
