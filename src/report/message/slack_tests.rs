use super::*;
use crate::anomaly::Anomaly;
use crate::report::message::{Wanted, of_run};
use crate::report::sample;

fn payloads(rows: &[Anomaly]) -> Vec<Value> {
    let wanted = Wanted { heartbeat: true, nights: 7, report_url: "https://q.example.com/{date}" };
    of_run(&sample::run(), rows, wanted).iter().map(payload).collect()
}

/// Every text object of a message.
fn texts(value: &Value) -> Vec<(String, String)> {
    let mut out = Vec::new();
    if let (Some(kind), Some(text)) = (value["type"].as_str(), value["text"].as_str()) {
        out.push((kind.to_owned(), text.to_owned()));
    }
    match value {
        Value::Array(values) => out.extend(values.iter().flat_map(texts)),
        Value::Object(map) => out.extend(map.values().flat_map(texts)),
        _ => {}
    }
    out
}

#[test]
fn messages_keep_the_limits_of_block_kit_whatever_they_hold() {
    let mut rows: Vec<Anomaly> = (1..=60).map(|rank| Anomaly { reported: true, ..sample::hostile(rank) }).collect();
    for (i, a) in rows.iter_mut().enumerate() {
        a.story = ["&<>".repeat(40_000), "🔬".repeat(40_000), "*_~`".repeat(40_000)][i % 3].clone();
        a.title = "<&🔬".repeat(1_000);
    }
    for payload in payloads(&rows) {
        let blocks = payload["blocks"].as_array().unwrap();
        assert!(blocks.len() <= 50, "{}", blocks.len());
        let header = blocks[0]["text"]["text"].as_str().unwrap();
        assert!(header.encode_utf16().count() <= 150, "{}", header.len());
        for block in blocks {
            let elements = block["elements"].as_array().map_or(0, Vec::len);
            assert!(elements <= 10 && block["block_id"].as_str().is_none_or(|id| id.len() <= 255));
        }
        for (_, text) in texts(&payload["blocks"]) {
            assert!(!text.is_empty() && text.encode_utf16().count() <= 3_000);
            // No entity is cut in two.
            for (at, _) in text.match_indices('&').filter(|_| !header.contains(&text)) {
                assert!(["&amp;", "&lt;", "&gt;"].iter().any(|e| text[at..].starts_with(e)), "{}", &text[at..]);
            }
        }
    }
}

#[test]
fn text_from_a_log_neither_notifies_nor_formats_nor_links() {
    let hostile = "<!channel> <@U012> <https://evil.example|ok> @here *bold* _it_ ~s~ `code` :skull: #general a&b";
    let mut a = sample::anomaly(1);
    (a.title, a.story) = (hostile.to_owned(), hostile.to_owned());
    for payload in payloads(&[a]) {
        for (kind, text) in texts(&payload["blocks"]) {
            if kind == "plain_text" || !text.contains("channel") {
                continue;
            }
            let own = text.split('\n').next_back().unwrap();
            assert!(own.contains("&lt;!channel&gt; &lt;＠U012&gt; &lt;https://evil.example|ok&gt; ＠here"), "{text}");
            assert!(own.contains("＊bold＊ ＿it＿ ～s～ ˋcodeˋ"), "{text}");
            assert!(own.contains("：skull: ＃general a&amp;b"), "{text}");
        }
        assert!(!payload["text"].as_str().unwrap().contains('<'));
        assert_eq!((&payload["mrkdwn"], &payload["blocks"][0]["text"]["emoji"]), (&json!(false), &json!(false)));
    }
}

#[test]
fn ordinary_names_stay_what_they_are() {
    for text in ["jane_doe@example.com", "14:32:10 UTC", "2001:db8::7", "C++ client 3*4", "O'Brien (R&D)"] {
        let expected = text.replace('&', "&amp;");
        assert_eq!(mrkdwn(text, 100), expected);
    }
}

#[test]
fn a_cut_text_ends_in_a_whole_character() {
    assert_eq!(escaped("ab&cd", 7), "ab…");
    assert_eq!(escaped("ab&&", 8), "ab…");
    assert_eq!(cut("abcd", 3), "ab…");
    assert_eq!(cut("abc", 3), "abc");
}
