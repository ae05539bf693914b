//! Files that are there whole or not at all: everything the engine leaves on disk is written under a temporary name
//! beside its final one, flushed to the device, and then renamed.
//!
//! A power cut or a kill leaves at most a `.tmp-…` entry, which the next writer removes ([`remove_leftovers`]). A failed
//! flush is never retried: after one, the kernel may have dropped the very pages that were to be written.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use tempfile::{Builder, TempDir};

use crate::error::{Error, Kind, Result};

/// How the names of unfinished files and folders begin.
const TEMPORARY: &str = ".tmp-";

/// Writes `bytes` to `path`, replacing what was there. When this returns, the new content survives a power cut; when
/// it fails, the old content is untouched.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = parent(path);
    let failed = |e| Error::io(Kind::Usage, "write", path, e);
    // The default mode of temporary files is for their owner alone; these are published, so the umask decides.
    let mut file = Builder::new()
        .prefix(TEMPORARY)
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    sync_dir(folder)
}

/// As [`write_atomic`], in a folder that others use too, where nobody may clear up by a prefix: the temporary file has a fixed
/// name, `.NAME.tmp`, and a killed writer's is written over by the next one.
pub fn write_among_others(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |e| Error::io(Kind::Usage, "write", path, e);
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let write = || -> io::Result<()> {
        let mut file = loop {
            let file = File::options().create(true).truncate(false).write(true).open(&temporary)?;
            // Whoever waited may hold what was published meanwhile.
            let held = file.lock().and_then(|()| file.metadata());
            if held.is_err() || fs::metadata(&temporary).is_ok_and(|named| held.is_ok_and(|h| h.ino() == named.ino())) {
                break file;
            }
        };
        file.set_len(0)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(failed)?;
    sync_dir(parent(path))
}

/// The mode of a file that should be a secret, if it lets others than its owner in. [`Kind::Config`] if it cannot be told.
pub fn open_to_others(path: &Path) -> Result<Option<u32>> {
    let about = fs::metadata(path).map_err(|e| Error::io(Kind::Config, "look at", path, e))?;
    Ok(Some(about.mode() & 0o777).filter(|mode| mode & 0o077 != 0))
}

/// A folder under construction, invisible under its final name until [`NewDir::publish`]. Dropping it removes it.
#[derive(Debug)]
pub struct NewDir {
    temporary: TempDir,
    target: PathBuf,
}

impl NewDir {
    /// Starts a folder that shall become `target`; its parent must exist.
    pub fn new(target: &Path) -> Result<Self> {
        let temporary = Builder::new()
            .prefix(TEMPORARY)
            .permissions(Permissions::from_mode(0o777))
            .tempdir_in(parent(target))
            .map_err(|e| Error::io(Kind::Usage, "create", target, e))?;
        Ok(Self { temporary, target: target.to_path_buf() })
    }

    /// Where to put the content meanwhile.
    pub fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Writes one file into the folder.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path().join(name);
        fs::write(&path, bytes).map_err(|e| Error::io(Kind::Usage, "write", &path, e))
    }

    /// Flushes everything in the folder and gives it its final name. Fails if something has that name already.
    pub fn publish(self) -> Result<()> {
        sync_tree(self.path())?;
        rename_new(self.path(), &self.target).map_err(|e| Error::io(Kind::Usage, "publish", &self.target, e))?;
        // The temporary name is gone; there is nothing left to remove.
        let _ = self.temporary.keep();
        sync_dir(parent(&self.target))
    }
}

/// Creates a folder and those above it, each made durable in its parent.
pub fn create_dirs(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = parent(path);
    create_dirs(above)?;
    match fs::create_dir(path) {
        Ok(()) => sync_dir(above),
        // Somebody else was quicker.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(e) => Err(Error::io(Kind::Usage, "create", path, e)),
    }
}

/// Makes the names in a folder durable.
pub fn sync_dir(path: &Path) -> Result<()> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(|e| Error::io(Kind::Resource, "flush", path, e))
}

/// Removes what an interrupted writer left in `folder`. Only for callers that hold the lock of that folder.
pub fn remove_leftovers(folder: &Path) -> Result<()> {
    let failed = |e| Error::io(Kind::Usage, "clean up", folder, e);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if is_temporary(&entry.file_name().to_string_lossy()) {
            let path = entry.path();
            let is_dir = entry.file_type().map_err(failed)?.is_dir();
            if is_dir { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }.map_err(failed)?;
        }
    }
    Ok(())
}

/// Whether a file name is that of something unfinished.
pub fn is_temporary(name: &str) -> bool {
    name.starts_with(TEMPORARY)
}

/// The process that holds a file's lock, as Linux tells it. Asked so, and not by trying, because a lock that is tried is
/// held for a moment, and a writer that comes just then would be turned away.
pub fn lock_holder(path: &Path) -> Option<u32> {
    let inode = fs::metadata(path).ok()?.ino();
    // `1: FLOCK  ADVISORY  WRITE 4711 08:01:131073 0 EOF`; a process that waits has `->` before its kind.
    let holder = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        (words.next() == Some("FLOCK")).then_some(())?;
        let (pid, place) = (words.nth(2)?, words.next()?);
        (place.rsplit(':').next()?.parse() == Ok(inode)).then(|| pid.parse().ok())?
    };
    fs::read_to_string("/proc/locks").ok()?.lines().find_map(holder)
}

/// Flushes every file and folder below and including `path`. Links are not followed.
fn sync_tree(path: &Path) -> Result<()> {
    let failed = |e| Error::io(Kind::Resource, "flush", path, e);
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            sync_tree(&entry.path())?;
        } else if kind.is_file() {
            File::open(entry.path()).and_then(|file| file.sync_all()).map_err(failed)?;
        }
    }
    sync_dir(path)
}

/// Renames without ever replacing.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // File systems without the flag (some network ones): callers hold a lock, so looking first is enough.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            if to.symlink_metadata().is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::rename(from, to)
        }
        result => result.map_err(Into::into),
    }
}

/// The folder that holds `path`; a bare name lies in the current one.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_whole_and_leaves_no_temporary() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write_atomic(&path, b"old and longer").unwrap();
        write_atomic(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn what_a_killed_writer_left_among_others_is_used_by_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.prom");
        fs::write(dir.path().join(".a.prom.tmp"), b"half of something that is longer").unwrap();
        fs::write(dir.path().join(".tmp-of-others"), b"").unwrap();
        write_among_others(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(dir.path()), [".tmp-of-others", "a.prom"]);
    }

    #[test]
    fn several_writers_among_others_each_publish_a_whole_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.prom");
        let texts: Vec<Vec<u8>> = (0..4_usize).map(|i| vec![b'a' + i as u8; 1 + 40_000 * i]).collect();
        std::thread::scope(|scope| {
            for text in &texts {
                let path = &path;
                scope.spawn(move || (0..20).for_each(|_| write_among_others(path, text).unwrap()));
            }
            for _ in 0..200 {
                if let Ok(found) = fs::read(&path) {
                    assert!(texts.contains(&found), "a mixture of {} bytes", found.len());
                }
            }
        });
        assert_eq!(names(dir.path()), ["a.prom"]);
    }

    #[test]
    fn a_folder_appears_only_when_published_and_never_replaces() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("v");
        let first = NewDir::new(&target).unwrap();
        first.write("f", b"1").unwrap();
        assert!(!target.exists());
        first.publish().unwrap();
        assert_eq!(fs::read(target.join("f")).unwrap(), b"1");

        let second = NewDir::new(&target).unwrap();
        second.write("f", b"2").unwrap();
        assert!(second.publish().is_err());
        assert_eq!(fs::read(target.join("f")).unwrap(), b"1");
        assert_eq!(names(dir.path()), ["v"], "the refused folder is removed");
    }

    #[test]
    fn leftovers_of_a_killed_writer_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".tmp-x")).unwrap();
        fs::write(dir.path().join(".tmp-x/half"), b"").unwrap();
        fs::write(dir.path().join(".tmp-y"), b"").unwrap();
        fs::write(dir.path().join("kept"), b"").unwrap();
        remove_leftovers(dir.path()).unwrap();
        assert_eq!(names(dir.path()), ["kept"]);
    }

    #[test]
    fn who_holds_a_lock_is_told_without_touching_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let file = File::create(&path).unwrap();
        assert_eq!(lock_holder(&path), None);
        file.lock().unwrap();
        // Where there is no such list, nothing is known.
        if fs::read_to_string("/proc/locks").is_ok_and(|text| !text.is_empty()) {
            assert_eq!(lock_holder(&path), Some(std::process::id()));
        }
        file.unlock().unwrap();
        assert_eq!(lock_holder(&path), None);
    }

    #[test]
    fn a_missing_folder_is_the_callers_error_not_the_disks() {
        let error = write_atomic(Path::new("/nonexistent/folder/file"), b"").unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
    }
}
