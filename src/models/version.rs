//! One version folder: writing it, and reading it back without trusting a byte of it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::folder::Folder;
use super::{Draft, FORMAT_VERSION, FileDigest, LoadedModel, Manifest, arrays, records};
use crate::error::{Error, Kind, Result};
use crate::fsutil::NewDir;

const MANIFEST: &str = "manifest.json";
const MANIFEST_DIGEST: &str = "manifest.blake3";
const ARRAYS: &str = "model.safetensors";
const RECORDS: &str = "baseline.arrow";
const CARD: &str = "card.md";

/// Everything in a version folder, sorted; anything else there is an error.
const FILES: [&str; 5] = [RECORDS, CARD, MANIFEST_DIGEST, MANIFEST, ARRAYS];

/// Files whose digests stand in the manifest.
const LISTED: [&str; 3] = [RECORDS, CARD, ARRAYS];

const MAX_MANIFEST_BYTES: u64 = 16 << 20;
const MAX_LINE_BYTES: u64 = 256;

/// Writes the files of a version into a folder under construction and returns the digest of its manifest.
pub(super) fn write(mut draft: Draft, dir: &NewDir) -> Result<String> {
    if let Some((name, _)) = draft.manifest.metrics.iter().find(|(_, v)| !v.is_finite()) {
        return Err(Error::new(Kind::Bug, format!("training metric {name:?} is not finite")));
    }
    let contents = [
        (RECORDS, records::encode(&draft.records)?),
        (CARD, draft.card.into_bytes()),
        (ARRAYS, arrays::encode(&draft.arrays)?),
    ];
    if draft.manifest.trained_on().is_none() {
        return Err(Error::new(Kind::Bug, "a version is trained on days, on a table or on sequences"));
    }
    draft.manifest.format_version = FORMAT_VERSION;
    draft.manifest.settings = draft.manifest.settings.portable();
    draft.manifest.files = BTreeMap::new();
    for (name, bytes) in &contents {
        dir.write(name, bytes)?;
        draft.manifest.files.insert((*name).to_owned(), FileDigest { blake3: hex(bytes), bytes: bytes.len() as u64 });
    }
    // Canonical: fields in the order of the type, maps sorted, no time and no path.
    let mut manifest = serde_json::to_vec_pretty(&draft.manifest)
        .map_err(|e| Error::new(Kind::Bug, "cannot serialise the manifest").with_source(e))?;
    manifest.push(b'\n');
    let digest = hex(&manifest);
    dir.write(MANIFEST, &manifest)?;
    // The line that `b3sum --check` reads.
    dir.write(MANIFEST_DIGEST, format!("{digest}  {MANIFEST}\n").as_bytes())?;
    Ok(digest)
}

/// The digest that a version folder claims for its manifest.
pub(super) fn claimed_digest(folder: &Folder) -> Result<String> {
    let line = required(folder, MANIFEST_DIGEST, MAX_LINE_BYTES)?;
    std::str::from_utf8(&line)
        .ok()
        .and_then(|line| line.strip_suffix(&format!("  {MANIFEST}\n")))
        .filter(|digest| is_digest(digest))
        .map(str::to_owned)
        .ok_or_else(|| wrong(folder, MANIFEST_DIGEST, "a BLAKE3 digest and the name of the manifest", "something else"))
}

/// Reads and checks the manifest alone. `digest` is what an alias promised, or what the folder claims.
pub(super) fn read_manifest(folder: &Folder, digest: &str) -> Result<Manifest> {
    let found = folder.names()?;
    if let Some(extra) = found.iter().find(|name| !FILES.contains(&name.as_str())) {
        let message = format!("{}: unexpected {extra:?}; expected only {}", folder.path().display(), FILES.join(", "));
        return Err(Error::new(Kind::Digest, message));
    }
    let claimed = claimed_digest(folder)?;
    if claimed != digest {
        return Err(wrong(folder, MANIFEST_DIGEST, digest, &claimed));
    }
    let bytes = required(folder, MANIFEST, MAX_MANIFEST_BYTES)?;
    check_digest(folder, MANIFEST, digest, &bytes)?;

    let unreadable = |e: serde_json::Error| {
        let message = format!("{}: the manifest was made by an incompatible engine", folder.path().display());
        Error::new(Kind::Model, message).with_source(e)
    };
    // The format is looked at first, so that a newer model is called newer and not malformed.
    let Format { format_version } = serde_json::from_slice(&bytes).map_err(unreadable)?;
    if !(1..=FORMAT_VERSION).contains(&format_version) {
        let message = format!(
            "{}: the model has format {format_version}, this engine reads 1 to {FORMAT_VERSION}; use the engine that wrote \
             it, or train again",
            folder.path().display()
        );
        return Err(Error::new(Kind::Model, message));
    }
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(unreadable)?;
    if manifest.trained_on().is_none() {
        return Err(wrong(folder, MANIFEST, "training days, a table or sequences", "several of them or none"));
    }
    if !manifest.files.keys().map(String::as_str).eq(LISTED) {
        return Err(wrong(folder, MANIFEST, &format!("digests of {}", LISTED.join(", ")), "other files"));
    }
    Ok(manifest)
}

/// Reads a whole version. Every digest is checked before the bytes that it covers are parsed.
pub(super) fn read(folder: &Folder, version: u32, digest: &str) -> Result<LoadedModel> {
    let manifest = read_manifest(folder, digest)?;
    let content = |name: &str| -> Result<Vec<u8>> {
        let listed = &manifest.files[name];
        let bytes = required(folder, name, listed.bytes)?;
        if bytes.len() as u64 != listed.bytes {
            return Err(wrong(folder, name, &format!("{} bytes", listed.bytes), &bytes.len().to_string()));
        }
        check_digest(folder, name, &listed.blake3, &bytes)?;
        Ok(bytes)
    };
    content(CARD)?;
    let arrays = arrays::decode(&content(ARRAYS)?).map_err(|e| at(folder.path(), e))?;
    let records = records::decode(content(RECORDS)?).map_err(|e| at(folder.path(), e))?;
    Ok(LoadedModel { version, digest: digest.to_owned(), manifest, arrays, records })
}

/// Whether a text is a lower-case hex BLAKE3 digest.
pub(super) fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The one field that every format has had and will have.
#[derive(Deserialize)]
struct Format {
    format_version: u32,
}

fn required(folder: &Folder, name: &str, limit: u64) -> Result<Vec<u8>> {
    folder.read(name, limit)?.ok_or_else(|| wrong(folder, name, "a file", "nothing"))
}

fn check_digest(folder: &Folder, name: &str, expected: &str, bytes: &[u8]) -> Result<()> {
    let found = hex(bytes);
    if found == expected { Ok(()) } else { Err(wrong(folder, name, &format!("BLAKE3 {expected}"), &found)) }
}

fn wrong(folder: &Folder, name: &str, expected: &str, found: &str) -> Error {
    let path = folder.path().join(name);
    Error::new(Kind::Digest, format!("{}: expected {expected}, found {found}", path.display()))
}

fn at(path: &Path, error: Error) -> Error {
    Error::new(error.kind(), format!("cannot load {}", path.display())).with_source(error)
}

fn hex(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}
