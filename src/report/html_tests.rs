use super::super::sample;
use super::card::window;
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
        "Gate volume: </strong>",
        "1 tripped, shown at their nights",
        "its weight is 0 (fusion.geometry)",
        "from 12:00 to 24:00",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

fn pictured(mut a: Anomaly) -> Anomaly {
    a.picture = Some(Box::new(sample::picture()));
    a
}

#[test]
fn names_in_pictures_are_text() {
    let page = page(&sample::run(), &[pictured(sample::hostile(1)), pictured(sample::hostile(5))]);
    assert!(page.contains("aria-label=\"Calls per half-hour of =&lt;script&gt;alert(1)&lt;/script&gt;\\u{202e}"));
    assert!(!page.to_ascii_lowercase().contains("<script"));
    for forbidden in ["url(", " style=", "\u{202e}", "\u{1b}"] {
        assert!(!page.contains(forbidden), "{forbidden:?}");
    }
}

#[test]
fn a_day_without_numbers_has_no_picture() {
    let page = page(&sample::run(), &[sample::anomaly(1), sample::anomaly(5)]);
    assert!(page.contains("First calls ever from Germany") && !page.contains("<figure"));
}

#[test]
fn request_ids_can_be_copied_line_by_line() {
    let page = page(&sample::run(), &[sample::anomaly(1)]);
    assert!(page.contains("<summary>2 request ids</summary>"));
    assert!(page.contains(">TID:4711\nTID:4712\n</pre>"));
}

#[test]
fn a_month_of_long_lists_stays_a_page() {
    let (mut run, mut rows) = (sample::run(), Vec::new());
    run.nights.clear();
    for night in 0..30 {
        let date = sample::date().plus(night);
        run.nights.push(NightSummary { date, ..sample::summary() });
        for rank in 1..=100 {
            let mut a = pictured(sample::anomaly(rank));
            let picture = a.picture.as_mut().unwrap();
            // The longest paths: every half-hour by itself, with errors.
            picture.calls = std::array::from_fn(|h| 1_000 + 37 * h as u64 % 411);
            picture.errors = std::array::from_fn(|h| 100 + 31 * h as u64 % 97);
            picture.usual.as_mut().unwrap().active = std::array::from_fn(|h| (h % 2) as f64);
            picture.past = (0..45).map(|n| (date.plus(n - 45), 12_345 + 77 * n as u64)).collect();
            a.date = date;
            rows.push(a);
        }
    }
    let one = page(&run, &rows[..1]).len() - page(&run, &[Anomaly { picture: None, ..rows[0].clone() }]).len();
    assert!(one < 8_000, "{one} bytes of pictures");
    let whole = page(&run, &rows);
    assert!(whole.len() < 2_000_000, "{}", whole.len());
    assert_eq!(whole.matches("<figure class=\"hours\"").count(), 90, "every alert");
    assert_eq!(whole.matches("class=\"strip\"").count(), 210, "and the rest of the first ten of a night");
}

#[test]
fn silent_nights_and_missing_dates_are_seen_in_the_overview() {
    let mut run = sample::run();
    for (n, announced) in [(1, 0), (3, 2)] {
        let date = sample::date().plus(n);
        run.nights.push(NightSummary { date, reported: 0, announced, ..sample::summary() });
    }
    run.missing_dates = vec![sample::date().plus(2)];
    let rows: Vec<_> = (1..=3).map(sample::anomaly).collect();
    let page = page(&run, &rows);
    assert!(page.contains("3 alerts on 1 of 3 nights, nothing reported on the other 2</h2>"));
    for said in [
        "Tuesday 2026-04-21: 3 alerts",
        "Wednesday 2026-04-22: nothing reported</title>",
        "Thursday 2026-04-23: no data",
        "Friday 2026-04-24: nothing reported, something held back",
    ] {
        assert!(page.contains(said), "{said}");
    }
    assert_eq!(page.matches("circle class=\"ring\"").count(), 1, "what was held back is not calm");
}

#[test]
fn the_strongest_evidence_is_open_and_the_rest_is_folded() {
    let mut a = sample::anomaly(1);
    a.evidence = vec![sample::evidence(crate::features::catalog::Family::Count); 7];
    let page = page(&sample::run(), &[a]);
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text}"));
    assert_eq!(page[..at("2 more of the evidence")].matches("span class=\"sentence\"").count(), 5);
    assert_eq!(page.matches("span class=\"sentence\"").count(), 7);
}
