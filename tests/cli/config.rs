//! `config show` and `config init`.

use crate::CliTest;

#[test]
fn show_tells_value_and_origin_of_every_key() {
    let test = CliTest::new();
    test.write("q.toml", "[alerts]\nper-night = 5\n");
    let text = test.stdout(&["config", "show", "--config", "q.toml", "--set", "alerts.q=0.05"]);
    let line = |key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("{key} in {text}"));
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("alerts.per-night"), "alerts.per-night = 5 # file q.toml");
    assert_eq!(line("alerts.q"), "alerts.q = 0.05 # --set");
    assert_eq!(line("ranking.keep"), "ranking.keep = 100 # default");
}

#[test]
fn what_show_prints_is_a_configuration_file() {
    let test = CliTest::new();
    let text = test.stdout(&["config", "show", "--set", "enrich.vpn-asns=[64500]", "--set", "run.name=nightly"]);
    test.write("again.toml", &text);
    let values = |args: &[&str]| {
        let json: serde_json::Value = serde_json::from_str(&test.stdout(args)).unwrap();
        let entries = json.as_array().unwrap().clone();
        entries.into_iter().map(|e| (e["key"].clone(), e["value"].clone())).collect::<Vec<_>>()
    };
    let again = values(&["config", "show", "--json", "--config", "again.toml"]);
    let first = values(&["config", "show", "--json", "--set", "enrich.vpn-asns=[64500]", "--set", "run.name=nightly"]);
    assert_eq!(again, first);
}

#[test]
fn init_prints_a_file_with_the_defaults() {
    let test = CliTest::new();
    let text = test.stdout(&["config", "init"]);
    assert!(text.contains("[alerts]\n") && text.contains("per-night = 10\n"), "{text}");
    test.write("q.toml", &text);
    let show = |args: &[&str]| -> Vec<String> {
        let text = test.stdout(args);
        text.lines().map(|line| line.split("  #").next().unwrap().trim().to_owned()).collect()
    };
    assert_eq!(show(&["config", "show", "--config", "q.toml"]), show(&["config", "show"]));
}

#[test]
fn mistakes_in_the_configuration_exit_3() {
    let test = CliTest::new();
    let error = test.failure(3, &["config", "show", "--set", "alerts.per-nigth=3"]);
    assert_eq!(error, "error: unknown key \"alerts.per-nigth\"; did you mean alerts.per-night?\n");
    let error = test.failure(3, &["config", "show", "--set", "alerts.q=2"]);
    assert_eq!(error, "error: alerts.q (--set) must be a number above 0 and below 1, found 2.0\n");
    test.write("bad.toml", "[alerts]\nq = 0.1\nq = 0.2\n");
    let error = test.failure(3, &["config", "show", "--config", "bad.toml"]);
    assert!(error.starts_with("error: bad.toml, line 3: "), "{error}");
    let error = test.failure(3, &["config", "show", "--config", "missing.toml"]);
    assert!(error.starts_with("error: cannot read missing.toml\n  because: "), "{error}");
    test.write("new.toml", "required-version = \">=99.1\"\n[galaxy]\n");
    assert!(test.failure(3, &["config", "show", "--config", "new.toml"]).contains("needs quietwatch >=99.1"));
}

#[test]
fn hostile_text_in_a_configuration_cannot_steer_the_terminal() {
    let test = CliTest::new();
    test.write("q.toml", "\"x\\u001b[2J\" = 1\n");
    let error = test.failure(3, &["config", "show", "--config", "q.toml"]);
    assert!(!error.contains('\u{1b}') && error.contains("u{1b}"), "{error}");
}
