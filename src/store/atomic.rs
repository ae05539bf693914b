//! Files and folders that are there whole or not at all, also after a crash or power loss.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::error::{Error, Kind, Result};

/// Ending of a folder being made, and of the one it replaces while both are on their way (where the file system
/// cannot exchange them in one step).
pub(super) const NEW: &str = "new";
pub(super) const OLD: &str = "old";

fn write_failed(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
    |e| Error::io(Kind::Resource, "write", path, e)
}

/// Writes a new file and waits until it is on disk.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = File::options().write(true).create_new(true).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(write_failed(path))
}

/// Creates or replaces a file in one step by way of `temp`, on the same file system.
pub(super) fn replace_file(temp: &Path, path: &Path, bytes: &[u8]) -> Result<()> {
    remove(temp)?;
    write_new(temp, bytes)?;
    fs::rename(temp, path).map_err(write_failed(path))?;
    sync_parent(path)
}

/// Waits until the names in a folder are on disk.
pub(super) fn sync_dir(path: &Path) -> Result<()> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(write_failed(path))
}

fn sync_parent(path: &Path) -> Result<()> {
    path.parent().map_or(Ok(()), sync_dir)
}

/// Creates a folder, and waits until its name is on disk if it is new.
pub(super) fn create_dir(path: &Path) -> Result<()> {
    match fs::create_dir(path) {
        Ok(()) => sync_parent(path),
        Err(e) if e.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(e) => Err(write_failed(path)(e)),
    }
}

/// Removes a file or folder with all in it, if it is there.
pub(super) fn remove(path: &Path) -> Result<()> {
    let kind = match fs::symlink_metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.map_err(write_failed(path))?.file_type(),
    };
    let removed = if kind.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.map_err(write_failed(path))
}

/// Puts the finished folder `new` in the place of `target`, which may exist; a reader finds the one or the other.
/// `old` is used only where the file system cannot exchange two folders; after a crash there, [`recover`] puts it back.
pub(super) fn swap_dir(new: &Path, target: &Path, old: &Path) -> Result<()> {
    if !target.exists() {
        fs::rename(new, target).map_err(write_failed(target))?;
        sync_parent(new)?;
        return sync_parent(target);
    }
    match renameat_with(CWD, new, CWD, target, RenameFlags::EXCHANGE) {
        Ok(()) => {
            sync_parent(target)?;
            remove(new)
        }
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => swap_in_two_steps(new, target, old),
        Err(e) => Err(write_failed(target)(e.into())),
    }
}

fn swap_in_two_steps(new: &Path, target: &Path, old: &Path) -> Result<()> {
    remove(old)?;
    fs::rename(target, old).map_err(write_failed(target))?;
    sync_parent(old)?;
    fs::rename(new, target).map_err(write_failed(target))?;
    sync_parent(target)?;
    remove(old)
}

/// After a crash: puts a folder back that had been moved away before its successor was in place. `target_of` gives
/// the place of a folder by its name without the ending. Then removes everything else that was left behind.
pub(super) fn recover(temp: &Path, target_of: &dyn Fn(&str) -> Option<std::path::PathBuf>) -> Result<()> {
    let read_failed = |e| Error::io(Kind::Resource, "read", temp, e);
    for entry in fs::read_dir(temp).map_err(read_failed)? {
        let left = entry.map_err(read_failed)?.path();
        let name = left.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if let Some(target) = name.strip_suffix(OLD).and_then(|n| n.strip_suffix('.')).and_then(target_of)
            && !target.exists()
        {
            fs::rename(&left, &target).map_err(write_failed(&target))?;
            sync_parent(&target)?;
        }
        remove(&left)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(path: &Path, text: &str) {
        fs::create_dir(path).unwrap();
        fs::write(path.join("f"), text).unwrap();
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path.join("f")).unwrap()
    }

    #[test]
    fn a_folder_is_exchanged_in_one_step_and_in_two() {
        for swap in [swap_dir, swap_in_two_steps] {
            let dir = tempfile::tempdir().unwrap();
            let (new, target, old) = (dir.path().join("x.new"), dir.path().join("x"), dir.path().join("x.old"));
            folder(&target, "before");
            folder(&new, "after");
            swap(&new, &target, &old).unwrap();
            assert_eq!(read(&target), "after");
            assert!(!new.exists() && !old.exists());
        }
    }

    #[test]
    fn a_half_made_exchange_is_undone_and_leftovers_go() {
        let dir = tempfile::tempdir().unwrap();
        let temp = dir.path().join("tmp");
        fs::create_dir(&temp).unwrap();
        // Killed between the two renames: the old folder is away, the new one not yet there.
        folder(&temp.join("a.old"), "old a");
        folder(&temp.join("a.new"), "new a");
        // Killed after both: the new folder is in place.
        folder(&dir.path().join("b"), "new b");
        folder(&temp.join("b.old"), "old b");
        // Killed while being made.
        folder(&temp.join("c.new"), "half of c");
        fs::write(temp.join("stray"), "").unwrap();
        recover(&temp, &|name| Some(dir.path().join(name))).unwrap();
        assert_eq!(read(&dir.path().join("a")), "old a");
        assert_eq!(read(&dir.path().join("b")), "new b");
        assert!(!dir.path().join("c").exists());
        assert_eq!(fs::read_dir(&temp).unwrap().count(), 0);
    }
}
