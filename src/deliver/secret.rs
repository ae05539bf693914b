//! Secrets: read from files of their own, shown nowhere.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::{Error, Kind, Result};
use crate::fsutil;

/// Longest secret.
const LONGEST: u64 = 4096;

/// Something to be shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// The only line of a file. A file that others can read is told in `warnings`.
    pub(super) fn read(path: &str, warnings: &mut Vec<String>) -> Result<Self> {
        let path = Path::new(path);
        let failed = |e| Error::io(Kind::Config, "read the secret in", path, e);
        let mut bytes = Vec::new();
        File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes)).map_err(failed)?;
        if let Some(mode) = fsutil::open_to_others(path)? {
            warnings.push(format!(
                "{} holds a secret and can be read by others (mode {mode:o}); chmod 600 it",
                path.display()
            ));
        }
        let line = std::str::from_utf8(&bytes).ok().map(str::trim).filter(|line| {
            !line.is_empty() && bytes.len() as u64 <= LONGEST && line.bytes().all(|b| (b' '..=b'~').contains(&b))
        });
        line.map(|line| Self(line.as_bytes().to_vec())).ok_or_else(|| {
            let message = format!(
                "{}: expected one line of 1 to {LONGEST} printable ASCII characters, found something else",
                path.display()
            );
            Error::new(Kind::Config, message)
        })
    }

    /// The key of a signature: what follows `whsec_` is base64, anything else is the key as it stands.
    pub(super) fn into_key(self) -> Result<Self> {
        let Some(coded) = self.0.strip_prefix(b"whsec_") else { return Ok(self) };
        let key =
            std::str::from_utf8(coded).ok().and_then(|coded| STANDARD.decode(coded).ok()).filter(|key| !key.is_empty());
        key.map(Self).ok_or_else(|| {
            Error::new(Kind::Config, "deliver.webhook.secret-file: expected base64 after whsec_, found something else")
        })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn read(content: &[u8], mode: u32) -> (Result<Secret>, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let mut warnings = Vec::new();
        (Secret::read(path.to_str().unwrap(), &mut warnings), warnings)
    }

    #[test]
    fn a_secret_is_one_line_and_nothing_shows_it() {
        let (secret, warnings) = read(b" s3cret\r\n", 0o600);
        let secret = secret.unwrap();
        assert_eq!((secret.text(), warnings.len()), (Some("s3cret"), 0));
        assert!(!format!("{secret:?}").contains("s3cret"));
        for content in [&b""[..], b" \n", b"two\nlines", b"\xffx", &[b'x'; 5000]] {
            let error = read(content, 0o600).0.unwrap_err();
            assert_eq!(error.kind(), Kind::Config);
            assert!(!error.to_string().contains("two"));
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_told() {
        let (_, warnings) = read(b"s3cret", 0o640);
        assert!(warnings[0].contains("can be read by others (mode 640)"), "{warnings:?}");
        assert!(!warnings[0].contains("s3cret"));
    }

    #[test]
    fn a_key_may_be_coded() {
        let key = |text: &[u8]| read(text, 0o600).0.unwrap().into_key().map(|key| key.bytes().to_vec());
        assert_eq!(key(b"whsec_Zm9v").unwrap(), b"foo");
        assert_eq!(key(b"plain").unwrap(), b"plain");
        assert!(key(b"whsec_Zm9").is_err() && key(b"whsec_").is_err());
    }
}
