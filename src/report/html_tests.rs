use super::super::sample;
use super::document::{STYLE, digest};
use super::*;

#[test]
fn the_page_can_load_and_run_nothing() {
    let page = page(&sample::run(), &[sample::anomaly(1), sample::hostile(2), sample::hostile(7)]);
    assert!(!page.to_ascii_lowercase().contains("<script"), "a tag from the log is text");
    assert!(page.contains("=&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(page.contains("default-src &#39;none&#39;") || page.contains("default-src 'none'"));
    for forbidden in
        ["src=", "href=\"http", "url(", "@import", "javascript:", " style=", " onload", "http://", "https://"]
    {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn hidden_characters_and_floods_are_shown_as_such() {
    let page = page(&sample::run(), &[sample::hostile(1)]);
    for hidden in ['\u{202e}', '\u{1b}', '\0', '\u{feff}', '\r'] {
        assert!(!page.contains(hidden), "{hidden:?}");
    }
    assert!(page.contains("\\u{202e}\\u{1b}[2J&quot;'\\r\\n,;&amp;\\u{0}\\u{feff}"), "they are spelled out");
    assert!(page.contains("characters)"), "a long name says its length");
    assert!(!page.contains(&"A".repeat(200)));
    assert!(page.len() < 40_000, "{}", page.len());
}

#[test]
fn the_style_is_allowed_by_its_digest() {
    // printf %s abc | openssl dgst -sha256 -binary | base64 (OpenSSL 3.0.17)
    assert_eq!(digest("abc"), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
    let page = page(&sample::run(), &[]);
    assert!(page.contains(&format!("sha256-{}", digest(STYLE))));
    assert!(page.contains(STYLE), "and stands in the page unchanged");
    assert!(!STYLE.contains("</"));
}

#[test]
fn each_night_has_its_headline() {
    let mut run = sample::run();
    let mut calm = sample::summary();
    calm.date = calm.date.plus(1);
    calm.reported = 0;
    calm.notes.clear();
    calm.gates.clear();
    run.nights.push(calm);
    let page = page(&run, &[sample::anomaly(1)]);
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text}"));
    assert!(at("Anomalies of 2026-04-21 to 2026-04-22") < at("Calm: nothing to report"));
    assert!(at("Calm: nothing to report") < at("3 of 214 subjects stand out"), "the latest night comes first");
    assert!(at("Gate volume") < at("First calls ever from Germany</bdi></h3>"));
}

#[test]
fn warnings_and_gaps_are_told() {
    let mut run = sample::run();
    run.in_sample = true;
    run.missing_dates = vec![sample::date().plus(3), sample::date().plus(4)];
    let page = page(&run, &[]);
    assert!(page.contains("In sample."));
    assert!(page.contains("2026-04-24, 2026-04-25"));
    assert!(page.contains(&run.model_digest));
}

#[test]
fn a_long_watch_list_is_cut_and_says_so() {
    let rows: Vec<_> = (1..=100).map(sample::anomaly).collect();
    let page = page(&sample::run(), &rows);
    assert!(page.contains("Watch list: 97 subjects"));
    assert!(page.contains("77 more in anomalies.csv"));
}

#[test]
fn windows_read_as_clock_times() {
    let mut a = sample::anomaly(1);
    assert_eq!(window(&a), "14:32–15:32 UTC");
    a.window_end = a.window_start + 10_000;
    assert_eq!(window(&a), "14:32 UTC");
    a.window_start = a.date.start_ms();
    a.window_end = a.date.plus(1).start_ms() - 1;
    assert_eq!(window(&a), "all day");
}

#[test]
fn what_was_muted_is_never_called_calm() {
    let mut run = sample::run();
    run.nights[0].reported = 0;
    run.nights[0].announced = 1;
    let page = page(&run, &[]);
    assert!(page.contains("Nothing reported</h2>") && !page.contains("Calm"));
    assert!(page.contains("found to be expected: 1 finding"));
}

#[test]
fn what_was_not_seen_is_told() {
    let mut run = sample::run();
    run.nights[0].coverage.silent = vec!["from 12:00 to 24:00 UTC (usually 9 users at a time)".into()];
    let page = page(&run, &[]);
    for part in [
        "Gate volume. </strong>",
        "1 tripped, shown at their nights",
        "its weight is 0 (fusion.geometry)",
        "from 12:00 to 24:00",
    ] {
        assert!(page.contains(part), "{part}");
    }
}
