//! Reading folders that somebody else may have prepared: relative to an open handle, never through a link, never
//! more than a limit.

use std::fs::{File, TryLockError};
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dir, Mode, OFlags, openat};
use rustix::io::Errno;

use crate::error::{Error, Kind, Result};

/// Held while a version is read or scored with: `gc` leaves it where it is. Ends with the process.
#[derive(Debug)]
pub struct InUse {
    _handle: Option<File>,
}

/// An open folder.
#[derive(Debug)]
pub(super) struct Folder {
    handle: File,
    path: PathBuf,
}

impl Folder {
    /// Opens the folder that a user named; links on the way to it are the user's business. None if there is none.
    pub(super) fn open(path: &Path) -> Result<Option<Self>> {
        match openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(handle) => Ok(Some(Self { handle: handle.into(), path: path.to_path_buf() })),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(Error::io(Kind::Model, "open", path, e.into())),
        }
    }

    /// Opens a folder in this one. None if there is none; a link or a file in its place is an error.
    pub(super) fn folder(&self, name: &str) -> Result<Option<Self>> {
        let path = self.path.join(name);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(&self.handle, name, flags, Mode::empty()) {
            Ok(handle) => Ok(Some(Self { handle: handle.into(), path })),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR) => Err(not_a(&path, "folder")),
            Err(e) => Err(Error::io(Kind::Model, "open", &path, e.into())),
        }
    }

    /// The names of everything in this folder, sorted. Names that are not UTF-8 are shown with replacement characters.
    pub(super) fn names(&self) -> Result<Vec<String>> {
        let failed = |e: Errno| Error::io(Kind::Model, "list", &self.path, e.into());
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.handle).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// The bytes of a plain file in this folder; None if there is none. A link, a device, or a file of more than
    /// `limit` bytes is an error.
    pub(super) fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let path = self.path.join(name);
        let failed = |e: std::io::Error| Error::io(Kind::Model, "read", &path, e);
        // Without NONBLOCK, opening a planted pipe would wait for ever.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.handle, name, flags, Mode::empty()) {
            Ok(handle) => File::from(handle),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(not_a(&path, "plain file")),
            Err(e) => return Err(failed(e.into())),
        };
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(not_a(&path, "plain file"));
        }
        let mut bytes = Vec::new();
        if metadata.len() <= limit {
            bytes.reserve_exact(usize::try_from(metadata.len()).unwrap_or(0));
            file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
        }
        if metadata.len() > limit || bytes.len() as u64 > limit {
            let message = format!("{}: expected at most {limit} bytes, found {}", path.display(), metadata.len());
            return Err(Error::new(Kind::Digest, message));
        }
        Ok(Some(bytes))
    }

    /// Says that the folder is in use until the guard goes away. A file system without locks cannot be told; there it is
    /// for people not to remove what is being used.
    pub(super) fn in_use(&self) -> InUse {
        let handle = self.handle.try_clone().ok().filter(|handle| handle.try_lock_shared().is_ok());
        InUse { _handle: handle }
    }

    /// Nobody uses the folder, and nobody will as long as the guard lives; none if somebody does.
    pub(super) fn unused(&self) -> Option<InUse> {
        let handle = self.handle.try_clone().ok()?;
        match handle.try_lock() {
            Err(TryLockError::WouldBlock) => None,
            _ => Some(InUse { _handle: Some(handle) }),
        }
    }

    /// Where it is, for messages and for writing.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn not_a(path: &Path, expected: &str) -> Error {
    Error::new(Kind::Digest, format!("{}: expected a {expected}, found a link or something else", path.display()))
}
