//! What is said beside the result: notes, warnings and the error that ended a command, as lines for people or, with
//! `--log-format json`, as one JSON object a line. Nothing else writes to standard error but progress bars, which a log has none of.

use std::any::Any;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::panic;
use std::path::Path;
use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use super::terminal::{error_chain, escape, is_steering};
use crate::config::LogFormat;
use crate::error::{Error, Kind, Result};

static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// Decides how this process speaks. The first call holds.
pub(super) fn speak(format: LogFormat) {
    if FORMAT.set(format).is_ok() && format == LogFormat::Json {
        panic::set_hook(Box::new(|info| {
            let place = info.location().map(|l| ("place".to_owned(), l.to_string().into()));
            say(&line(&super::now(), "error", &told(info.payload()), place.into_iter().collect()));
        }));
    }
}

/// Runs what may panic. That is a bug, and ends the process as an error of that kind does.
pub fn contained<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    panic::catch_unwind(panic::AssertUnwindSafe(run)).unwrap_or_else(|payload| {
        let message = format!("this is a bug in quietwatch, please report it: {}", told(payload.as_ref()));
        Err(Error::new(Kind::Bug, message))
    })
}

/// What a panic says.
fn told(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("no message").to_owned()
}

/// How this process speaks.
pub(super) fn format() -> LogFormat {
    FORMAT.get().copied().unwrap_or_default()
}

/// Something to tell, with what a program may want to know of it.
#[derive(Debug)]
#[must_use = "a message is not told by making it"]
pub(super) struct Message {
    level: &'static str,
    prefix: &'static str,
    text: String,
    below: Vec<String>,
    fields: Map<String, Value>,
}

impl Message {
    fn new(level: &'static str, prefix: &'static str, text: String) -> Self {
        Self { level, prefix, text, below: Vec::new(), fields: Map::new() }
    }

    /// What was done.
    pub(super) fn done(text: impl Into<String>) -> Self {
        Self::new("info", "", text.into())
    }

    /// What may explain a result.
    pub(super) fn note(text: impl Into<String>) -> Self {
        Self::new("info", "note: ", text.into())
    }

    /// What somebody should look at.
    pub(super) fn warning(text: impl Into<String>) -> Self {
        Self::new("warning", "warning: ", text.into())
    }

    /// Why a command that did its work ends with an exit code all the same.
    pub(super) fn ended(kind: Kind, text: impl Into<String>) -> Self {
        Self::new("warning", "", text.into()).with("exit_code", kind.exit_code())
    }

    /// A field of the JSON object; text for people says it in its own words.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    /// As [`Message::with`], of a path.
    pub(super) fn with_path(self, name: &str, path: &Path) -> Self {
        self.with(name, path.to_string_lossy().into_owned())
    }

    /// A further line of the text for people, whose content a field has in JSON.
    pub(super) fn below(mut self, line: impl Into<String>) -> Self {
        self.below.push(line.into());
        self
    }

    /// Says it.
    pub(super) fn tell(self) {
        say(&match format() {
            LogFormat::Text => self.text(),
            LogFormat::Json => self.json(&super::now()),
        });
    }

    fn text(&self) -> String {
        let mut out = format!("{}{}\n", self.prefix, self.text);
        for line in &self.below {
            writeln!(out, "  {line}").expect("text grows");
        }
        out
    }

    fn json(self, now: &str) -> String {
        line(now, self.level, &self.text, self.fields)
    }
}

/// The error that ends the process.
pub fn error(error: &Error) {
    say(&match format() {
        LogFormat::Text => error_chain(error),
        LogFormat::Json => error_line(error, &super::now()),
    });
}

fn error_line(error: &Error, now: &str) -> String {
    let causes = error.causes().map(|cause| Value::from(escape(cause.to_string().trim_end()).into_owned()));
    let fields = Map::from_iter([
        ("causes".to_owned(), causes.collect()),
        ("kind".to_owned(), error.kind().name().into()),
        ("exit_code".to_owned(), error.kind().exit_code().into()),
    ]);
    line(now, "error", &escape(&error.to_string()), fields)
}

/// A command line that cannot be parsed. `args` are looked at as they stand: what they ask for is not known otherwise.
pub fn usage_error(error: &clap::Error, args: impl IntoIterator<Item = impl AsRef<OsStr>>) {
    if !asks_for_json(args) {
        // Colours are clap's business. Nothing is left to say it to if standard error is gone.
        let _ = error.print();
        return;
    }
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let (message, help) = text.split_once('\n').unwrap_or((text, ""));
    let fields = json!({ "help": help.trim(), "kind": Kind::Usage.name(), "exit_code": error.exit_code() });
    let Value::Object(fields) = fields else { unreachable!("it was written as an object") };
    say(&line(&super::now(), "error", message, fields));
}

fn asks_for_json(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> bool {
    let mut before = false;
    for arg in args {
        let arg = arg.as_ref();
        if arg == "--log-format=json" || (before && arg == "json") {
            return true;
        }
        before = arg == "--log-format";
    }
    false
}

fn line(now: &str, level: &str, message: &str, fields: Map<String, Value>) -> String {
    let mut object = Map::from_iter([
        ("time".to_owned(), now.into()),
        ("level".to_owned(), level.into()),
        ("message".to_owned(), message.into()),
    ]);
    object.extend(fields);
    let mut out = String::new();
    // A log is read in a terminal too.
    for c in Value::Object(object).to_string().chars() {
        if is_steering(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}").expect("text grows");
            }
        } else {
            out.push(c);
        }
    }
    out.push('\n');
    out
}

/// In one piece, so that lines of processes that share a log do not mix. Nothing is left to say it to if standard error is gone.
fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Value {
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        serde_json::from_str(line).unwrap()
    }

    #[test]
    fn text_begins_with_its_level_and_goes_on_below() {
        let message = Message::warning("2 rows").with("rows", 2).below("a.csv: 1").below("and more");
        assert_eq!(message.text(), "warning: 2 rows\n  a.csv: 1\n  and more\n");
        assert_eq!(Message::note("n").text(), "note: n\n");
        assert_eq!(Message::done("run written").text(), "run written\n");
    }

    #[test]
    fn json_is_one_object_a_line_and_steers_no_terminal() {
        let hostile = "a\u{1b}[2J\nb\u{202e}\u{e0001}\"";
        let text = Message::ended(Kind::FailOn, hostile).with_path("path", Path::new(hostile)).json("T");
        assert!(!text.trim_end().contains(is_steering), "{text}");
        let object = read(&text);
        assert_eq!((&object["message"], &object["path"]), (&hostile.into(), &hostile.into()));
        assert_eq!(object["exit_code"], 10);
        let keys: Vec<&String> = object.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["time", "level", "message", "exit_code", "path"]);
    }

    #[test]
    fn an_error_says_its_causes_and_exit_code() {
        let error = Error::new(Kind::Input, "outer").with_source(Error::new(Kind::Bug, "inner"));
        let object = read(&error_line(&error, "T"));
        assert_eq!(object["causes"], json!(["inner"]));
        assert_eq!(
            (&object["level"], &object["kind"], &object["exit_code"]),
            (&"error".into(), &"input".into(), &4.into())
        );
    }

    #[test]
    fn a_panic_ends_as_a_bug_and_a_result_passes() {
        let number = [1_usize; 3].len();
        let error = contained(|| -> Result<()> { panic!("rank {number} is gone") }).unwrap_err();
        assert_eq!((error.kind(), error.kind().exit_code()), (Kind::Bug, 1));
        assert!(error.to_string().ends_with("rank 3 is gone"), "{error}");
        assert_eq!(contained(|| Ok(7)).unwrap(), 7);
        assert_eq!(contained(|| -> Result<()> { Err(Error::new(Kind::Input, "i")) }).unwrap_err().kind(), Kind::Input);
    }

    #[test]
    fn what_cannot_be_parsed_is_still_asked_for_its_format() {
        assert!(asks_for_json(["q", "--log-format", "json", "x"]) && asks_for_json(["q", "--log-format=json"]));
        assert!(!asks_for_json(["q", "--json", "json"]) && !asks_for_json(["q", "--log-format", "text", "json"]));
    }
}
