//! An anomaly of bearable size, for outputs that are sent: a log can hold names of any length, and who receives a message
//! may refuse it, or pay for it, by its size.

use std::borrow::Cow;

use crate::anomaly::{Anomaly, Evidence};

/// Most characters of one text. Real ids, names and stories are far shorter.
const TEXT: usize = 1_000;
/// Most pieces of evidence.
const EVIDENCE: usize = 8;
/// Most users, addresses, countries and request ids, each.
const LIST: usize = 20;

/// The text, or its first `max` characters and an ellipsis.
pub fn text(text: &str, max: usize) -> Cow<'_, str> {
    // Bytes bound characters, so that the usual short text is not counted.
    if text.len() <= max {
        return Cow::Borrowed(text);
    }
    match text.char_indices().nth(max) {
        None => Cow::Borrowed(text),
        Some((cut, _)) => Cow::Owned(format!("{}…", &text[..cut])),
    }
}

/// The anomaly with every text cut after 1,000 characters, the 8 strongest pieces of evidence, and 20 entries of each list.
#[must_use]
pub fn anomaly(a: &Anomaly) -> Anomaly {
    let cut = |t: &String| text(t, TEXT).into_owned();
    let some = |t: &Option<String>| t.as_ref().map(cut);
    let list = |l: &[String]| l.iter().take(LIST).map(cut).collect();
    let evidence = |e: &Evidence| Evidence {
        detector: cut(&e.detector),
        feature: cut(&e.feature),
        observed: cut(&e.observed),
        expected: cut(&e.expected),
        sentence: cut(&e.sentence),
        ..*e
    };
    Anomaly {
        subject_id: cut(&a.subject_id),
        user_ids: list(&a.user_ids),
        anomaly_key: cut(&a.anomaly_key),
        org_id: cut(&a.org_id),
        user_id: some(&a.user_id),
        user_name: some(&a.user_name),
        app_id: some(&a.app_id),
        app_name: some(&a.app_name),
        source_ips: list(&a.source_ips),
        countries: list(&a.countries),
        title: cut(&a.title),
        story: cut(&a.story),
        evidence: a.evidence.iter().take(EVIDENCE).map(evidence).collect(),
        request_ids: list(&a.request_ids),
        model_name: cut(&a.model_name),
        model_digest: cut(&a.model_digest),
        engine_version: cut(&a.engine_version),
        picture: None,
        ..*a
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn an_ordinary_anomaly_is_whole_and_an_endless_one_is_cut() {
        let plain = sample::anomaly(1);
        assert_eq!(anomaly(&plain), plain);
        let mut endless = sample::hostile(1);
        endless.user_ids = vec!["ü".repeat(70_000); 100];
        endless.evidence = vec![endless.evidence[0].clone(); 16];
        let cut = anomaly(&endless);
        assert_eq!((cut.user_ids.len(), cut.evidence.len()), (LIST, EVIDENCE));
        assert_eq!(cut.user_ids[0], format!("{}…", "ü".repeat(TEXT)));
        assert!(serde_json::to_vec(&cut).unwrap().len() < 100_000);
    }
}
