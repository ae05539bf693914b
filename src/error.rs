//! The crate's error: what went wrong, of which kind, and what to do about it.
//!
//! The kind decides the process exit code (`docs/contracts.md`), so that schedulers can tell "retry" from "call
//! someone". Messages say what was expected, what was found and where, and never repeat the contents of an event.

use std::fmt;
use std::path::Path;

/// What kind of thing went wrong. Each kind has one stable exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A broken invariant inside quietwatch (exit 1).
    Bug,
    /// Flags or arguments that cannot be carried out (exit 2).
    Usage,
    /// Configuration that is unknown, out of range or not allowed here (exit 3).
    Config,
    /// Input that cannot be read, or too many bad rows (exit 4).
    Input,
    /// Features that cannot be computed under the model's schema, or a gate under `--strict` (exit 5).
    Features,
    /// A model that is missing or made by an incompatible engine (exit 6).
    Model,
    /// A digest or signature that does not match (exit 7).
    Digest,
    /// None of the requested dates has data (exit 8).
    NoData,
    /// Another process holds the lock (exit 9).
    Locked,
    /// `--fail-on` severity reached (exit 10).
    FailOn,
    /// Out of disk or memory, or the device failed (exit 11).
    Resource,
    /// A message that could not be delivered, of `deliver` or under `--strict` (exit 12).
    Undelivered,
}

impl Kind {
    /// The word for it in a log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bug => "bug",
            Self::Usage => "usage",
            Self::Config => "config",
            Self::Input => "input",
            Self::Features => "features",
            Self::Model => "model",
            Self::Digest => "digest",
            Self::NoData => "no-data",
            Self::Locked => "locked",
            Self::FailOn => "fail-on",
            Self::Resource => "resource",
            Self::Undelivered => "undelivered",
        }
    }

    /// The process exit code of this kind.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Bug => 1,
            Self::Usage => 2,
            Self::Config => 3,
            Self::Input => 4,
            Self::Features => 5,
            Self::Model => 6,
            Self::Digest => 7,
            Self::NoData => 8,
            Self::Locked => 9,
            Self::FailOn => 10,
            Self::Resource => 11,
            Self::Undelivered => 12,
        }
    }
}

/// An error of a known [`Kind`] with a message for people and, where there is one, its cause.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Result with the crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of `kind`; `message` is lower case, without a full stop, and says what to do when we know.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Adds the cause, printed on a line of its own.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// A failed read or write of `path`: a full or failing device is [`Kind::Resource`], the rest is `otherwise`.
    pub fn io(otherwise: Kind, action: &str, path: &Path, source: std::io::Error) -> Self {
        use std::io::ErrorKind as E;
        let kind = match source.kind() {
            E::StorageFull | E::QuotaExceeded | E::OutOfMemory | E::FileTooLarge => Kind::Resource,
            // EIO has no `io::ErrorKind` of its own; wrapped with a path, as `tempfile` does, it has no number either.
            kind if source.raw_os_error().map_or(kind == eio().kind(), |number| number == EIO) => Kind::Resource,
            _ => otherwise,
        };
        Self::new(kind, format!("cannot {action} {}", path.display())).with_source(source)
    }

    /// Adds to what it says.
    #[must_use]
    pub fn and(mut self, more: &str) -> Self {
        self.message = format!("{}; {more}", self.message);
        self
    }

    /// The kind, which decides the exit code.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What caused it, from the nearest cause on.
    pub fn causes(&self) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
        std::iter::successors(std::error::Error::source(self), |cause| cause.source())
    }

    /// It and its causes in one line, for a message that goes on.
    pub fn in_one_line(&self) -> String {
        self.causes().fold(self.to_string(), |text, cause| format!("{text}: {cause}"))
    }
}

const EIO: i32 = 5;

fn eio() -> std::io::Error {
    std::io::Error::from_raw_os_error(EIO)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|s| s as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_cross_threads() {
        fn check<T: Send + Sync + 'static>() {}
        check::<Error>();
    }

    #[test]
    fn a_full_disk_is_a_resource_error() {
        let full = std::io::Error::from_raw_os_error(28);
        assert_eq!(Error::io(Kind::Input, "write", Path::new("x"), full).kind().exit_code(), 11);
    }

    #[test]
    fn a_failing_device_is_a_resource_error_also_where_a_path_is_wrapped_around_it() {
        let kind = |e| Error::io(Kind::Input, "write", Path::new("x"), e).kind();
        assert_eq!(kind(eio()), Kind::Resource);
        assert_eq!(kind(std::io::Error::new(eio().kind(), "at path x")), Kind::Resource);
        assert_eq!(kind(std::io::ErrorKind::PermissionDenied.into()), Kind::Input);
        assert_eq!(kind(std::io::Error::from_raw_os_error(21)), Kind::Input);
    }
}
