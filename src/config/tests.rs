use std::collections::BTreeSet;

use super::*;

fn sets(pairs: &[&str]) -> Result<Config> {
    Layers::read(None, &pairs.iter().map(|&p| p.to_owned()).collect::<Vec<_>>())?.resolve()
}

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("q.toml");
    fs::write(&path, text).unwrap();
    (dir, path)
}

fn resolve(text: &str) -> Result<Config> {
    let (_dir, path) = file(text);
    Layers::read(Some(&path), &[])?.resolve()
}

fn message(result: Result<Config>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    error.to_string()
}

#[test]
fn the_keys_are_exactly_the_fields_of_the_settings() {
    let settings = serde_json::to_value(Settings::default()).unwrap();
    let mut fields = BTreeSet::new();
    for (section, inner) in settings.as_object().unwrap() {
        fields.extend(inner.as_object().unwrap().keys().map(|name| format!("{section}.{name}")));
    }
    let keys: BTreeSet<String> =
        OPTIONS.iter().filter(|opt| !opt.is_of_installation()).map(|opt| opt.key.to_owned()).collect();
    assert_eq!(keys, fields);
    let sections: BTreeSet<&str> = OPTIONS.iter().map(Opt::section).collect();
    assert_eq!(sections, options::SECTIONS.iter().map(|(section, _)| *section).collect());
}

#[test]
fn every_option_writes_and_reads_the_same_field() {
    for opt in OPTIONS {
        let mut values = Values::default();
        let before = (opt.get)(&values);
        let other = match &before {
            Some(Value::Boolean(b)) => Value::Boolean(!b),
            Some(Value::Integer(i)) if opt.key == "run.seed" => Value::Integer(i + 1),
            Some(Value::Integer(i)) => Value::Integer(i - 1),
            Some(Value::Float(f)) => Value::Float(f * 1.01 + 0.01),
            None if opt.key == "run.fail-on" => Value::String("high".into()),
            Some(Value::String(_)) if opt.key == "geometry.backend" => {
                Value::String("extended-isolation-forest".into())
            }
            Some(Value::String(_)) if opt.key == "run.log-format" => Value::String("json".into()),
            Some(Value::String(_)) if opt.key == "deliver.mail.security" => Value::String("tls".into()),
            Some(Value::String(_)) if opt.key.ends_with("url") => Value::String("https://other.example/x".into()),
            None | Some(Value::String(_)) => Value::String("other".into()),
            Some(Value::Array(_)) if opt.key.ends_with("members") => Value::Array(vec![Value::String("dbscan".into())]),
            Some(Value::Array(_)) if opt.key.ends_with("asns") => Value::Array(vec![Value::Integer(64500)]),
            Some(Value::Array(_)) if opt.key == "expected.changes" => {
                "v = [{ who = [\"*\"], from = \"2026-01-01\", until = \"2026-01-02\", reason = \"r\" }]"
                    .parse::<Table>()
                    .unwrap()
                    .remove("v")
                    .unwrap()
            }
            Some(Value::Array(_)) => Value::Array(vec![Value::String("192.0.2.0/24".into())]),
            other => panic!("{}: {other:?}", opt.key),
        };
        (opt.set)(&mut values, other.clone()).unwrap();
        assert_eq!((opt.get)(&values), Some(other), "{}", opt.key);
        assert!((opt.holds)(&values), "{}", opt.key);
        let changed = OPTIONS.iter().filter(|o| (o.get)(&values) != (o.get)(&Values::default())).count();
        assert_eq!(changed, 1, "{} changes itself alone", opt.key);
    }
}

#[test]
fn defaults_are_in_range_and_the_default_file_says_them() {
    let defaults = Layers::default().resolve().unwrap();
    assert_eq!(*defaults.settings(), Settings::default());
    let back = resolve(&init(&defaults)).unwrap();
    assert_eq!(back.values, Values::default());
    let unset = |config: &Config| config.entries().filter(|(_, value, _)| value.is_none()).count();
    let said = back.entries().filter(|(_, _, origin)| matches!(origin, Origin::File(_))).count();
    assert_eq!(said, OPTIONS.len() - unset(&defaults), "every key that has a default is in the file");
}

#[test]
fn a_group_of_keys_may_stand_in_a_table_of_its_own() {
    let config = resolve(
        "[deliver]\nheartbeat = true\nslack.url-file = \"/etc/url\"\n[deliver.mail]\nserver = \"mx.example.com\"\n\
         from = \"q@example.com\"\nto = [\"soc@example.com\"]\n",
    )
    .unwrap();
    let deliver = config.deliver();
    assert_eq!((deliver.heartbeat, deliver.slack.url_file.as_str()), (true, "/etc/url"));
    assert_eq!(deliver.mail.to, ["soc@example.com"]);
    assert!(message(resolve("[deliver.mail]\nsever = \"x\"\n")).contains("did you mean deliver.mail.server?"));
    assert!(message(resolve("deliver.mail = 3\n")).contains("unknown key \"deliver.mail\""));
}

#[test]
fn what_would_send_in_the_clear_or_to_nobody_is_refused() {
    let refused = |pairs: &[&str], key: &str| {
        let said = message(sets(pairs));
        assert!(said.starts_with(key), "{said}");
    };
    let server = "deliver.mail.server=mx.example.com";
    refused(&[server, "deliver.mail.security=plain"], "deliver.mail.security");
    refused(&[server], "deliver.mail.from");
    refused(&[server, "deliver.mail.from=a@b", "deliver.mail.to=[\"c@d\\r\\nBcc: e@f\"]"], "deliver.mail.to");
    refused(&["deliver.mail.user=u"], "deliver.mail.password-file");
    refused(&["deliver.webhook.url=http://example.com/"], "deliver.webhook.url");
    refused(&["deliver.webhook.url=https://example.com/"], "deliver.webhook.secret-file");
    assert!(
        sets(&[
            "deliver.mail.server=127.0.0.1:2525",
            "deliver.mail.security=plain",
            "deliver.mail.from=a@b",
            "deliver.mail.to=[\"c@d\"]"
        ])
        .is_ok()
    );
}

#[test]
fn the_reference_manual_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/config.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, reference()).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == reference(), "docs/config.md is stale; run this test with UPDATE_DOCS=1 and look at the diff");
}

#[test]
fn the_stronger_layer_wins_and_origins_tell() {
    let (_dir, path) = file("[alerts]\nper-night = 5\nq = 0.2\n[ranking]\nkeep = 7\n");
    let layers = Layers::read(Some(&path), &["alerts.q=0.3".into(), "ranking.keep=8".into()]).unwrap();
    let config = layers.flag("ranking.keep", Some(9)).flag("run.seed", None::<i64>).resolve().unwrap();
    let settings = config.settings();
    assert_eq!((settings.alerts.per_night, settings.alerts.q, settings.ranking.keep), (5, 0.3, 9));
    assert_eq!(config.origins["alerts.per-night"], Origin::File(path));
    assert_eq!(config.origins["alerts.q"], Origin::Set);
    assert_eq!(config.origins["ranking.keep"], Origin::Flag);
    assert_eq!(config.origins["run.seed"], Origin::Default);
}

#[test]
fn unknown_keys_name_the_nearest_one() {
    assert_eq!(
        message(sets(&["alerts.per-nigth=3"])),
        "unknown key \"alerts.per-nigth\"; did you mean alerts.per-night?"
    );
    assert!(message(resolve("[alert]\nq = 0.1\n")).contains("did you mean alerts.q?"));
    assert!(message(resolve("keep = 3\n")).contains("did you mean ranking.keep?"));
    assert!(message(resolve("[alerts]\nq = 0.1\n[zzz.yyy]\nxxxxxxxx = 1\n")).contains("config show"));
    assert!(message(resolve("alerts = 3\n")).contains("unknown key \"alerts\""));
}

#[test]
fn values_out_of_range_name_key_range_and_value() {
    assert_eq!(message(sets(&["alerts.q=1"])), "alerts.q (--set) must be a number above 0 and below 1, found 1.0");
    for bad in [
        "alerts.q=nan",
        "alerts.q=inf",
        "alerts.q=0",
        "alerts.q=text",
        "limits.bad-row-share=-0.1",
        "limits.line-bytes=-1",
        "rules.window-days=31",
        "rules.window-days=14.5",
        "baseline.fast-half-life-days=29",
        "baseline.half-life-days=nan",
        "enrich.corporate-ranges=[\"10.0.0.0/33\"]",
        "enrich.corporate-ranges=10.0.0.0/8",
        "enrich.vpn-asns=[-1]",
        "enrich.allowed-apps=[\" \"]",
        "geometry.backend=other",
        "geometry.sample=1",
        "geometry.references=19",
        "geometry.members=[]",
        "geometry.members=[\"svm\"]",
        "geometry.night-trim=0.6",
        "geometry.trim=nan",
        "run.fail-on=severe",
        "run.strict=yes",
        "expected.changes=[{ who = [\"*\"], from = 2026-01-02, until = 2026-01-01, reason = \"r\" }]",
        "expected.changes=[{ who = [\"*\"], from = 2026-01-02, until = 2026-01-03, reason = \"r\", extra = 1 }]",
        "alerts.q",
    ] {
        let text = message(sets(&[bad]));
        assert!(text.contains("must be") || text.contains("KEY=VALUE"), "{bad}: {text}");
    }
    let all_off = ["count", "rate", "time", "novelty", "sequence", "geometry"].map(|f| format!("fusion.{f}=0"));
    assert!(message(sets(&all_off.each_ref().map(String::as_str))).contains("not all weights 0"));
}

#[test]
fn dates_may_be_written_as_toml_dates() {
    let config =
        resolve("[[expected.changes]]\nwho = [\"*\"]\nfrom = 2026-01-01\nuntil = \"2026-01-02\"\nreason = \"move\"\n")
            .unwrap();
    assert_eq!(config.settings().expected.changes[0].from.to_string(), "2026-01-01");
}

#[test]
fn paths_in_a_file_start_at_its_folder() {
    let (dir, path) = file(
        "[enrich]\nnetworks = [\"n.csv\", \"/abs/m.mmdb\"]\n[run]\nstore = \"store\"\nprofile = \"okta.toml\"\nmodels = \"\"\n",
    );
    let layers = Layers::read(Some(&path), &["run.models=m".into()]).unwrap();
    let config = layers.resolve().unwrap();
    let beside = dir.path().join("n.csv").to_string_lossy().into_owned();
    assert_eq!(config.settings().enrich.networks, [beside, "/abs/m.mmdb".into()]);
    assert_eq!(config.run().store, Some(dir.path().join("store")));
    assert_eq!(config.run().models, Some("m".into()));
    assert_eq!(Path::new(&config.run().profile), dir.path().join("okta.toml"));
    assert_eq!(resolve("[run]\nprofile = \"generic\"\n").unwrap().run().profile, "generic");
    assert_eq!(config.settings().portable().enrich.networks, ["n.csv", "m.mmdb"]);
}

#[test]
fn a_file_for_a_newer_engine_says_so_before_anything_else() {
    let text = message(resolve("required-version = \">=99.0\"\nfrom-the-future = 1\n"));
    assert!(text.contains("needs quietwatch >=99.0"), "{text}");
    assert!(message(resolve("required-version = 3\n")).contains("must be text like"));
    assert!(resolve("required-version = \">=0.1\"\n").is_ok());
    assert!(check_required_version(&Value::String("1.2.3".into()), "1.2.4").is_err());
    assert!(check_required_version(&Value::String(">=1.2".into()), "1.2.4").is_ok());
}

#[test]
fn broken_toml_names_file_and_line() {
    let text = message(resolve("[alerts]\nq = 0.1\nper-night = = 3\n"));
    assert!(text.contains("q.toml, line 3:") && !text.contains('\n'), "{text}");
}

#[test]
fn at_score_time_only_what_is_reported_may_change() {
    let mut model = Settings::default();
    model.rules.sigmas = 4.0;
    model.alerts.per_night = 3;
    let score = |pairs: &[&str]| {
        let pairs: Vec<String> = pairs.iter().map(|&p| p.to_owned()).collect();
        Layers::read(None, &pairs).unwrap().resolve_at_score_time(&model)
    };
    let config = score(&["alerts.q=0.2", "outputs.report=false", "run.strict=true"]).unwrap();
    assert_eq!(
        (config.settings().rules.sigmas, config.settings().alerts.per_night, config.settings().alerts.q),
        (4.0, 3, 0.2)
    );
    assert_eq!(config.origins["rules.sigmas"], Origin::Model);
    assert_eq!(config.origins["run.seed"], Origin::Default);

    let text = message(score(&["rules.sigmas=3"]));
    assert!(text.starts_with("rules.sigmas (--set): expected 4.0") && text.contains("found 3.0"), "{text}");
    assert!(score(&["rules.sigmas=4"]).is_ok(), "saying what the model says is no change");
}

#[test]
fn networks_of_the_model_must_be_named_again() {
    let mut model = Settings::default();
    assert!(Layers::default().resolve_at_score_time(&model).unwrap().require_networks().is_ok());
    model.enrich.networks = vec!["n.csv".into()];
    let silent = Layers::default().resolve_at_score_time(&model).unwrap();
    assert_eq!(silent.require_networks().unwrap_err().kind(), Kind::Config);
    let said = Layers::read(None, &["enrich.networks=[]".into()]).unwrap().resolve_at_score_time(&model).unwrap();
    assert!(said.require_networks().is_ok());
}
