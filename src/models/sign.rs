//! Signatures: who vouches for a version. A digest says that nothing changed since the manifest was written; a signature says
//! by whom it was written.
//!
//! `signatures/000001.ed25519` beside `versions/` holds one line, `ed25519 KEYID SIGNATURE`. Signed are the name of the model, the
//! number of the version and the digest of its manifest, so that no signature is good for anything else. It is written before the
//! version appears and removed after it is gone: one without a version means nothing, and the next writer takes it away.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePublicKey};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

use super::folder::Folder;
use super::registry::{Registry, number, versions};
use crate::error::{Error, Kind, Result};
use crate::fsutil;

pub(super) const SIGNATURES: &str = "signatures";
const SUFFIX: &str = ".ed25519";

/// Longest line of a signature.
const MAX_LINE_BYTES: u64 = 256;

/// Largest key file: a PEM block is some hundred bytes, and people put comments before it.
const MAX_KEY_BYTES: u64 = 64 << 10;

/// Hex digits by which a key is known: the first ones of the SHA-256 of its DER form.
const ID_DIGITS: usize = 16;

/// What signs new versions, and whose signatures count. Neither is in force unless it was asked for.
#[derive(Default)]
pub struct Signing {
    own: Option<(String, SigningKey)>,
    trusted: BTreeMap<String, VerifyingKey>,
}

impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = self.own.as_ref().map(|(id, _)| id);
        f.debug_struct("Signing").field("own", &own).field("trusted", &self.trusted.keys()).finish()
    }
}

fn key_id(key: &VerifyingKey) -> Result<String> {
    let der = key.to_public_key_der().map_err(|e| Error::new(Kind::Bug, "a key has no DER form").with_source(e))?;
    let digest = Sha256::digest(der.as_bytes());
    Ok(hex::encode(digest)[..ID_DIGITS].to_owned())
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    // There is one way to write a line: with small letters.
    let small = !text.contains(|c: char| c.is_ascii_uppercase());
    (small && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

fn read_key(path: &Path, what: &str) -> Result<String> {
    let failed = |e| Error::io(Kind::Config, "read the key", path, e);
    let bytes = fs::metadata(path).map_err(failed)?.len();
    if bytes > MAX_KEY_BYTES {
        return Err(no_key(path, what));
    }
    fs::read_to_string(path).map_err(failed)
}

fn no_key(path: &Path, what: &str) -> Error {
    Error::new(Kind::Config, format!("{}: expected {what}", path.display()))
}

impl Signing {
    /// Reads key files. [`Kind::Config`] for one that is none. With it comes whether others may read the private key.
    pub fn read(key_file: Option<&Path>, trusted: &[impl AsRef<Path>]) -> Result<(Self, bool)> {
        let mut signing = Self::default();
        let mut exposed = false;
        if let Some(path) = key_file {
            let what = "an Ed25519 private key as PKCS#8 PEM, as `openssl genpkey -algorithm ed25519` writes it";
            // The error of the parser is not passed on: no part of a private key shall be shown.
            let key = SigningKey::from_pkcs8_pem(&read_key(path, what)?).map_err(|_| no_key(path, what))?;
            signing.own = Some((key_id(&key.verifying_key())?, key));
            exposed = fsutil::open_to_others(path)?.is_some();
        }
        for path in trusted.iter().map(AsRef::as_ref) {
            let what = "an Ed25519 public key as PEM, as `openssl pkey -pubout` writes it";
            let key = VerifyingKey::from_public_key_pem(&read_key(path, what)?).map_err(|_| no_key(path, what))?;
            signing.trusted.insert(key_id(&key)?, key);
        }
        Ok((signing, exposed))
    }

    /// Whether only signed versions may be used.
    pub(super) fn demands(&self) -> bool {
        !self.trusted.is_empty()
    }

    fn trusted_ids(&self) -> String {
        self.trusted.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

/// What is signed.
fn message(model: &str, version: u32, digest: &str) -> Vec<u8> {
    format!("quietwatch version\nmodel {model}\nversion {}\nmanifest {digest}\n", number(version)).into_bytes()
}

fn file_name(version: u32) -> String {
    format!("{}{SUFFIX}", number(version))
}

/// Removes signatures of versions that are not there. Only for the holder of the lock.
pub(super) fn remove_orphans(root: &Folder) -> Result<()> {
    let Some(folder) = root.folder(SIGNATURES)? else { return Ok(()) };
    let kept: Vec<String> = versions(root)?.into_iter().map(file_name).collect();
    let mut orphans = folder.names()?;
    orphans.retain(|name| name.ends_with(SUFFIX) && !kept.contains(name));
    for name in &orphans {
        let path = folder.path().join(name);
        fs::remove_file(&path).map_err(|e| Error::io(Kind::Usage, "remove", &path, e))?;
    }
    if orphans.is_empty() { Ok(()) } else { fsutil::sync_dir(folder.path()) }
}

impl Registry {
    /// The key that signed a version: as the file says where nobody is trusted in particular, else checked. None if there is no
    /// signature and none is asked for.
    pub(super) fn signed_by(&self, root: &Folder, version: u32, digest: &str) -> Result<Option<String>> {
        let trusted = &self.signing().trusted;
        let name = file_name(version);
        let wrong = |what: String| Err(Error::new(Kind::Digest, format!("version {}: {what}", number(version))));
        let asked = || format!("expected a signature by {} (signing.trusted-keys)", self.signing().trusted_ids());
        let folder = root.folder(SIGNATURES)?;
        let Some(line) = folder.map(|folder| folder.read(&name, MAX_LINE_BYTES)).transpose()?.flatten() else {
            return if trusted.is_empty() { Ok(None) } else { wrong(format!("{}, found none", asked())) };
        };
        let parse = || {
            let (id, signature) =
                std::str::from_utf8(&line).ok()?.strip_prefix("ed25519 ")?.strip_suffix('\n')?.split_once(' ')?;
            Some((unhex::<{ ID_DIGITS / 2 }>(id).map(|_| id)?, Signature::from_bytes(&unhex(signature)?)))
        };
        let Some((id, signature)) = parse() else {
            return wrong(format!(
                "{SIGNATURES}/{name}: expected a line with a key and a signature, found something else"
            ));
        };
        if trusted.is_empty() {
            return Ok(Some(id.to_owned()));
        }
        let Some(key) = trusted.get(id) else { return wrong(format!("{}, found one by {id}", asked())) };
        if key.verify_strict(&message(self.name(), version, digest), &signature).is_err() {
            return wrong(format!(
                "{SIGNATURES}/{name}: the signature by {id} is not of this version of this model: one of them was exchanged or changed"
            ));
        }
        Ok(Some(id.to_owned()))
    }

    /// Fails unless a trusted key signed the version, if there are any.
    pub(super) fn vouched(&self, root: &Folder, version: u32, digest: &str) -> Result<()> {
        if self.signing().demands() { self.signed_by(root, version, digest).map(drop) } else { Ok(()) }
    }

    /// Whether [`Self::sign`] would sign it: there is a key, and nobody has signed.
    pub(super) fn would_sign(&self, root: &Folder, version: u32) -> Result<bool> {
        let Some((own, _)) = &self.signing().own else { return Ok(false) };
        if root
            .folder(SIGNATURES)?
            .map(|f| f.read(&file_name(version), MAX_LINE_BYTES))
            .transpose()?
            .flatten()
            .is_some()
        {
            return Ok(false);
        }
        if self.signing().demands() && !self.signing().trusted.contains_key(own) {
            let message = format!(
                "version {} is not signed, and the key that would sign it, {own}, is not among those trusted: {} \
                 (signing.trusted-keys)",
                number(version),
                self.signing().trusted_ids()
            );
            return Err(Error::new(Kind::Digest, message));
        }
        Ok(true)
    }

    /// Signs a version, if there is a key. Only for the holder of the lock.
    pub(super) fn sign(&self, version: u32, digest: &str) -> Result<()> {
        let Some((id, key)) = &self.signing().own else { return Ok(()) };
        let signature = hex::encode(key.sign(&message(self.name(), version, digest)).to_bytes());
        let folder = self.path().join(SIGNATURES);
        fsutil::create_dirs(&folder)?;
        fsutil::write_atomic(&folder.join(file_name(version)), format!("ed25519 {id} {signature}\n").as_bytes())
    }
}
