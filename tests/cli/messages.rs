//! What is said on standard error, for people and as JSON; completions and man pages.

use std::process::Command;

use serde_json::Value;

use crate::world::{ATTACK, UNTIL};
use crate::{CliTest, Outcome};

/// Every line of standard error as an object.
fn objects(stderr: &str) -> Vec<Value> {
    let read = |line: &str| {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(object["time"].is_string() && object["level"].is_string() && object["message"].is_string(), "{line}");
        object
    };
    stderr.lines().map(read).collect()
}

#[test]
fn messages_become_json_and_the_result_stays_as_it_is() {
    let test = CliTest::new();
    let text = test.score("run", &["--date", UNTIL]);
    let json = test.score("run", &["--date", UNTIL, "--log-format", "json"]);
    assert_eq!((text.code, json.code), (0, 0));
    assert_eq!(text.stdout, json.stdout);
    let warning = text.stderr.lines().find_map(|line| line.strip_prefix("warning: ")).unwrap();
    assert!(text.stderr.ends_with("run written to run\n"), "{}", text.stderr);
    let said = objects(&json.stderr);
    assert_eq!((&said[0]["level"], &said[0]["date"]), (&"warning".into(), &UNTIL.into()));
    assert_eq!(said[0]["message"], warning);
    let last = said.last().unwrap();
    assert_eq!((&last["level"], &last["message"]), (&"info".into(), &"run unchanged in run".into()));
    assert_eq!(last["path"], "run");
}

#[test]
fn the_last_message_says_why_the_exit_code_is_not_0() {
    let test = CliTest::new();
    let last = |outcome: &Outcome| {
        let last = objects(&outcome.stderr).pop().unwrap();
        assert_eq!(last["exit_code"], outcome.code, "{last}");
        last
    };
    test.write("json.toml", "[run]\nlog-format = \"json\"\n");
    let error = last(&test.run(&["models", "show", "--models", "nowhere", "--name", "n", "--config", "json.toml"]));
    assert_eq!((&error["level"], &error["kind"]), (&"error".into(), &"model".into()));
    assert!(error["causes"].is_array());
    let usage = last(&test.run(&["--log-format", "json", "scroe"]));
    assert!(usage["message"].as_str().unwrap().contains("scroe") && usage["help"].as_str().unwrap().contains("Usage:"));
    let loud = test.score("run", &["--date", ATTACK, "--fail-on", "info", "--strict", "--log-format=json"]);
    assert_eq!(last(&loud)["level"], "warning");
    let flag = test.run(&["config", "show", "--config", "json.toml", "--set", "no.key=1", "--log-format", "text"]);
    assert!(flag.stderr.starts_with("error: "), "the flag is stronger: {}", flag.stderr);
    assert!(test.failure(2, &["--log-format", "xml", "config", "show"]).contains("xml"));
}

#[test]
fn the_completions_of_bash_parse_and_know_every_command() {
    let test = CliTest::new();
    let script = test.stdout(&["completions", "bash"]);
    let bash = Command::new("bash").arg("-n").arg(test.write("q.bash", &script)).output().unwrap();
    assert!(bash.status.success() && bash.stderr.is_empty(), "{}", String::from_utf8_lossy(&bash.stderr));
    for command in ["score", "models", "rollback", "--log-format"] {
        assert!(script.contains(command), "{command}");
    }
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(test.stdout(&["completions", shell]).contains("rollback"), "{shell}");
    }
    test.failure(2, &["completions", "tcsh"]);
}

#[test]
fn every_command_has_a_man_page() {
    let test = CliTest::new();
    let outcome = test.run(&["man", "--out", "man"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, ""), "{}", outcome.stderr);
    let page = |name: &str| std::fs::read_to_string(test.path().join("man").join(format!("{name}.1"))).unwrap();
    let mut pages = 0;
    let mut commands = vec![Vec::<String>::new()];
    while let Some(path) = commands.pop() {
        pages += 1;
        let name = [&["quietwatch".to_owned()][..], &path].concat();
        let text = page(&name.join("-"));
        let usage = name.join(" ").replace('-', "\\-");
        assert!(text.contains(".SH SYNOPSIS") && text.contains(&usage), "{name:?}: {text}");
        let count = |request: &str| text.lines().filter(|line| *line == request).count();
        assert!(!text.contains(".SH EXTRA") && count(".nf") == count(".fi"), "{name:?}");
        // The help of a command lists its own.
        let args: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
        let help = test.stdout(&args);
        let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
        let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        let names = names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
        commands.extend(names.map(|name| [&path[..], &[name.to_owned()]].concat()));
    }
    assert!(pages > 20, "{pages}");
    assert_eq!(std::fs::read_dir(test.path().join("man")).unwrap().count(), pages);
    assert!(outcome.stderr.contains(&format!("{pages} man pages")), "{}", outcome.stderr);
}
