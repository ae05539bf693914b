//! One spelling per thing: record ids, client addresses, entity sets, and resource templates.
//!
//! Everything here runs once per distinct raw text of a batch, never once per row.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

/// The literal that stands for calls made from inside Salesforce.
pub const SALESFORCE_INTERNAL: &str = "Salesforce.com IP";

/// The 18-character form of a 15-character Salesforce id; anything else is returned as it is.
///
/// 15-character ids differ by case alone; each suffix character encodes which of five characters are upper case.
pub fn id18(id: &str) -> Cow<'_, str> {
    if id.len() != 15 || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Cow::Borrowed(id);
    }
    let mut long = String::with_capacity(18);
    long.push_str(id);
    long.extend(id_suffix(id.as_bytes()));
    Cow::Owned(long)
}

fn id_suffix(id: &[u8]) -> [char; 3] {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
    [0, 5, 10].map(|from| {
        let bits = id[from..from + 5].iter().rev().fold(0, |n, b| (n << 1) | usize::from(b.is_ascii_uppercase()));
        char::from(ALPHABET[bits])
    })
}

/// The canonical text of an address: IPv6 as RFC 5952, IPv4-mapped as IPv4, without brackets or port. The internal
/// literal is canonicalised; what is no address stays as it is (and is of network class `unknown`).
pub fn client_ip(text: &str) -> Cow<'_, str> {
    let bare = text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '‘' | '’' | '“' | '”'));
    if bare.eq_ignore_ascii_case(SALESFORCE_INTERNAL) {
        return Cow::Borrowed(SALESFORCE_INTERNAL);
    }
    let address = bare
        .parse::<IpAddr>()
        .ok()
        .or_else(|| bare.parse::<SocketAddr>().ok().map(|s| s.ip()))
        .or_else(|| bare.strip_prefix('[')?.strip_suffix(']')?.parse().ok());
    match address {
        Some(ip) => {
            let canonical = ip.to_canonical().to_string();
            if canonical == bare { Cow::Borrowed(bare) } else { Cow::Owned(canonical) }
        }
        None => Cow::Borrowed(bare),
    }
}

/// A set of entities in one canonical order, joined by `;` (sources separate by `;`, `,` or `|`).
pub fn entity_set(text: &str) -> Cow<'_, str> {
    if !text.contains([';', ',', '|']) {
        return Cow::Borrowed(text.trim());
    }
    let mut names: Vec<&str> = text.split([';', ',', '|']).map(str::trim).filter(|n| !n.is_empty()).collect();
    names.sort_unstable();
    names.dedup();
    Cow::Owned(names.join(";"))
}

/// An API version as `major.minor` (`62.0` for `62`, `v62.0` and `62.0`); other texts as they are.
pub fn version(text: &str) -> Cow<'_, str> {
    let bare = text.strip_prefix(['v', 'V']).unwrap_or(text);
    if bare.is_empty() || !bare.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Cow::Borrowed(text);
    }
    if bare.contains('.') { Cow::Borrowed(bare) } else { Cow::Owned(format!("{bare}.0")) }
}

/// A resource with its ids and cursors replaced, and the version it carried ("" if none).
///
/// A path becomes a template such as `/sobjects/Account/{id}`; a method name (SOAP) stays as it is.
pub fn resource(raw: &str) -> (String, &str) {
    let raw = raw.trim();
    let raw = &raw[..raw.find(['?', '#']).unwrap_or(raw.len())];
    let path = match raw.find("://") {
        Some(scheme) => raw[scheme + 3..].find('/').map_or("/", |slash| &raw[scheme + 3 + slash..]),
        None => raw,
    };
    if !path.contains('/') {
        return (path.to_owned(), "");
    }
    let mut segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    if segments.first() == Some(&"services") && matches!(segments.get(1), Some(&("data" | "async"))) {
        segments.drain(..2);
    }
    let at = segments.iter().take(4).position(|s| is_version_segment(s));
    let version = at.map_or("", |at| segments.remove(at).trim_start_matches(['v', 'V']));
    let mut template = String::with_capacity(path.len());
    for (i, segment) in segments.iter().enumerate() {
        template.push('/');
        template.push_str(placeholder(&segments[..i], segment).unwrap_or(segment));
    }
    if template.is_empty() {
        template.push('/');
    }
    (template, version)
}

/// `v62.0`, `v1`, or Bulk API's bare `52.0`.
fn is_version_segment(segment: &str) -> bool {
    let bare = segment.strip_prefix(['v', 'V']);
    let number = bare.unwrap_or(segment);
    number.len() <= 6
        && number.starts_with(|c: char| c.is_ascii_digit())
        && number.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && (bare.is_some() || number.ends_with(".0"))
}

/// What stands for `segment` in the template, if it names one thing rather than a kind of thing.
fn placeholder(before: &[&str], segment: &str) -> Option<&'static str> {
    const JOB_PARTS: [&str; 9] = [
        "results",
        "successfulResults",
        "failedResults",
        "unprocessedrecords",
        "batches",
        "batch",
        "result",
        "request",
        "resultPages",
    ];
    let parent = before.last().copied().unwrap_or("");
    let grandparent = before.len().checked_sub(2).map_or("", |i| before[i]);
    let in_jobs = grandparent.eq_ignore_ascii_case("jobs");
    if !in_jobs && ["query", "queryAll"].iter().any(|q| parent.eq_ignore_ascii_case(q)) {
        return Some("{cursor}");
    }
    let of_job = (in_jobs && (parent == "query" || parent == "ingest")) || matches!(parent, "job" | "batch" | "result");
    if of_job && !JOB_PARTS.iter().any(|p| p.eq_ignore_ascii_case(segment)) {
        return Some("{id}");
    }
    // Upsert by external id: /sobjects/<object>/<field__c>/<value>.
    if before.len() >= 3 && before[before.len() - 3] == "sobjects" && parent.ends_with("__c") {
        return Some("{id}");
    }
    if is_cursor(segment) {
        return Some("{cursor}");
    }
    (is_record_id(segment) || is_opaque(segment)).then_some("{id}")
}

/// `01g…-2000`: a query locator and the row it stands at.
fn is_cursor(segment: &str) -> bool {
    segment.rsplit_once('-').is_some_and(|(locator, row)| {
        !row.is_empty() && row.bytes().all(|b| b.is_ascii_digit()) && is_record_id(locator)
    })
}

/// A 15- or 18-character record id. Words of that length stay: an 18-character id proves itself by its suffix, a
/// 15-character one must have a digit in its key prefix and four in all.
fn is_record_id(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    if !matches!(bytes.len(), 15 | 18) || !bytes.iter().all(u8::is_ascii_alphanumeric) {
        return false;
    }
    let digits = bytes[..15].iter().filter(|b| b.is_ascii_digit()).count();
    if bytes.len() == 18 && digits > 0 && id_suffix(&bytes[..15]).iter().collect::<String>() == segment[15..] {
        return true;
    }
    digits >= 4 && bytes[..3].iter().any(u8::is_ascii_digit)
}

/// Numbers, UUIDs, digests and tokens: no word of any API.
fn is_opaque(segment: &str) -> bool {
    let (mut digits, mut letters, mut other) = (0, 0, 0);
    for b in segment.bytes() {
        match b {
            b'0'..=b'9' => digits += 1,
            b'g'..=b'z' | b'G'..=b'Z' => letters += 1,
            b'a'..=b'f' | b'A'..=b'F' | b'-' | b'_' => {}
            _ => other += 1,
        }
    }
    let length = segment.len();
    if digits == length {
        return true;
    }
    // A UUID or digest is at least 16 of hex alone; a token is long with many digits (custom names have `__`).
    (letters == 0 && other == 0 && digits > 0 && length >= 16)
        || (other == 0 && length >= 22 && digits * 8 > length && !segment.contains("__"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifteen_character_ids_become_eighteen() {
        for (short, long) in [
            ("8888Z000000pihz", "8888Z000000pihzQAA"),
            ("0055j000000utlP", "0055j000000utlPAAQ"),
            ("0ATVS000003zTTF", "0ATVS000003zTTF4A2"),
            ("0AT5j00002GVrfn", "0AT5j00002GVrfnGAD"),
        ] {
            assert_eq!(id18(short), long);
            assert_eq!(id18(long), long, "already canonical");
        }
        for odd in ["", "005", "0055j000000utl!", "0055j000000utlPAA", "xxx"] {
            assert_eq!(id18(odd), odd);
        }
    }

    #[test]
    fn an_address_has_one_spelling() {
        for (raw, canonical) in [
            ("198.18.0.1", "198.18.0.1"),
            ("::ffff:198.18.0.1", "198.18.0.1"),
            ("2001:0DB8:0000:0000:0000:0000:0000:0001", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("198.18.0.1:8080", "198.18.0.1"),
            (" “Salesforce.com ip” ", "Salesforce.com IP"),
            ("", ""),
            ("999.1.1.1", "999.1.1.1"),
        ] {
            assert_eq!(client_ip(raw), canonical, "{raw}");
        }
    }

    #[test]
    fn an_entity_set_has_one_order() {
        assert_eq!(entity_set("Contact; Account,Account | "), "Account;Contact");
        assert_eq!(entity_set(" Account "), "Account");
        assert_eq!(entity_set(" "), "");
    }

    #[test]
    fn versions_have_one_spelling() {
        for (raw, canonical) in [("62.0", "62.0"), ("21", "21.0"), ("v58.0", "58.0"), ("beta", "beta"), ("", "")] {
            assert_eq!(version(raw), canonical);
        }
    }

    #[test]
    fn resources_become_templates() {
        for (raw, template, version) in [
            ("/v62.0/query", "/query", "62.0"),
            ("/services/data/v62.0/query?q=SELECT+Id", "/query", "62.0"),
            ("/v59.0/query/01gxx0000004CxzAAE-2000", "/query/{cursor}", "59.0"),
            ("/v59.0/query/0r8xx3d4fAbCdEfGAA-500", "/query/{cursor}", "59.0"),
            ("/v52.0/queryAll", "/queryAll", "52.0"),
            ("/v62.0/sobjects", "/sobjects", "62.0"),
            ("/v62.0/sobjects/Lead/describe", "/sobjects/Lead/describe", "62.0"),
            ("/v21.0/sobjects/Account/001xx000003DGQW", "/sobjects/Account/{id}", "21.0"),
            ("/v21.0/sobjects/Account/001xx000003DGQWAA2/Contacts", "/sobjects/Account/{id}/Contacts", "21.0"),
            ("/v60.0/sobjects/Account/ExtId__c/ACME 7", "/sobjects/Account/ExtId__c/{id}", "60.0"),
            ("/v60.0/sobjects/Custom1Object23/listviews", "/sobjects/Custom1Object23/listviews", "60.0"),
            ("/v58.0/jobs/query", "/jobs/query", "58.0"),
            ("/v58.0/jobs/query/7505e000003XyZaAAK", "/jobs/query/{id}", "58.0"),
            ("/v58.0/jobs/query/750x/results", "/jobs/query/{id}/results", "58.0"),
            ("/v58.0/jobs/ingest/7505e000003XyZa/successfulResults", "/jobs/ingest/{id}/successfulResults", "58.0"),
            (
                "/services/async/52.0/job/7505e000003XyZa/batch/7515e000003AbCd/result/7525e000003AbCd",
                "/job/{id}/batch/{id}/result/{id}",
                "52.0",
            ),
            ("/v60.0/composite/batch", "/composite/batch", "60.0"),
            ("/services/apexrest/orders/12345", "/services/apexrest/orders/{id}", ""),
            ("https://api.example.com/v1/users/7d444840-9dc0-11d1-b245-5ffdce74fad2", "/users/{id}", "1"),
            ("/v62.0", "/", "62.0"),
            ("//v62.0//query", "/query", "62.0"),
            ("/", "/", ""),
            ("login", "login", ""),
            ("describeSObjects", "describeSObjects", ""),
            ("", "", ""),
        ] {
            assert_eq!(resource(raw), (template.to_owned(), version), "{raw}");
        }
    }
}
