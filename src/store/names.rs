//! Folder names of organisations. An organisation's id is whatever the log says, so every byte that could mean
//! something to a file system is percent-escaped.

use std::fmt::Write;

/// Names in a store that are no organisations.
pub(super) const RESERVED: [&str; 4] = ["quarantine", "nights", "store", "feedback"];

/// Longest escaped name; file systems end at 255 bytes.
const LONGEST: usize = 180;

/// Beginning of the name of an organisation too long to be spelled out, followed by a digest.
const DIGEST: &str = "%%";

/// The folder name of an organisation.
pub(super) fn folder(org: &str) -> String {
    // The empty id and reserved words must look different from what they would spell.
    let reserved = RESERVED.contains(&org);
    let mut name = String::with_capacity(org.len());
    if org.is_empty() {
        name.push('%');
    }
    for (at, byte) in org.bytes().enumerate() {
        if (byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') && !(reserved && at == 0) {
            name.push(char::from(byte));
        } else {
            write!(name, "%{byte:02x}").expect("writing to memory cannot fail");
        }
    }
    if name.len() > LONGEST {
        name = format!("{DIGEST}{}", &blake3::hash(org.as_bytes()).to_hex()[..32]);
    }
    name
}

/// What a folder name stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// This organisation.
    Org(String),
    /// An organisation whose name only its manifests say.
    Digest,
    /// Nothing of ours.
    Other,
}

/// What a folder name stands for.
pub(super) fn organisation(name: &str) -> Named {
    if name == "%" {
        return Named::Org(String::new());
    }
    if name.starts_with(DIGEST) {
        return Named::Digest;
    }
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = tail;
            continue;
        }
        let Some(byte) = tail.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok())
        else {
            return Named::Other;
        };
        bytes.push(byte);
        rest = &tail[2..];
    }
    match String::from_utf8(bytes) {
        // Only what `folder` writes counts: no second spelling, no reserved word.
        Ok(org) if folder(&org) == name => Named::Org(org),
        _ => Named::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_become_harmless_folders_and_come_back() {
        for org in [
            "00D000000000001AAA",
            "",
            ".",
            "..",
            "../../etc",
            "a/b",
            "a\\b",
            "nights",
            "quarantine",
            "ü",
            "%",
            "%%",
            "a b",
            "\0",
            "con.",
            "-",
            "@",
        ] {
            let name = folder(org);
            assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-%".contains(&b)), "{org:?} -> {name}");
            assert!(!name.is_empty() && !RESERVED.contains(&name.as_str()));
            assert_eq!(organisation(&name), Named::Org(org.to_owned()), "{name}");
        }
        assert_eq!(folder("../x"), "%2e%2e%2fx");
        assert_eq!(folder("nights"), "%6eights");
    }

    #[test]
    fn endless_names_are_shortened_to_a_digest() {
        let (a, b) = ("a".repeat(100_000), "b".repeat(100_000));
        assert!(folder(&a).len() < 64);
        assert_ne!(folder(&a), folder(&b));
        assert_eq!(organisation(&folder(&a)), Named::Digest);
    }

    #[test]
    fn other_folders_are_not_organisations() {
        for name in ["nights", "%2", "%zz", "%41", "a.b", "lost+found", "%ff"] {
            assert_eq!(organisation(name), Named::Other, "{name}");
        }
    }
}
