//! What reaches a terminal: text from logs and files with everything escaped that could steer it, plain tables, colours
//! and progress bars only where a person looks.

use std::borrow::Cow;
use std::fmt::Write;
use std::io::{IsTerminal, stderr, stdout};
use std::time::Duration;

use comfy_table::{Cell, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::messages;
use crate::anomaly::Severity;
use crate::config::LogFormat;
use crate::error::Error;

/// Text on one line without anything that moves the cursor, hides text or turns its direction.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_steering) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_steering(c) => write!(out, "\\u{{{:x}}}", u32::from(c)).expect("text grows"),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Control characters, line separators, and the invisible characters that reorder or hide text (Unicode TR 36).
pub(super) fn is_steering(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A table without lines. Every cell goes through [`add_row`].
pub fn table(headers: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if !headers.is_empty() {
        table.set_header(headers);
    }
    table
}

/// Adds a row of escaped cells.
pub fn add_row(table: &mut Table, cells: impl IntoIterator<Item = String>) {
    table.add_row(cells.into_iter().map(|cell| Cell::new(escape(&cell))));
}

/// The table as text, without the blanks that pad its outer columns.
pub fn render(table: &Table) -> String {
    let lines: Vec<String> =
        table.lines().map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned()).collect();
    lines.join("\n")
}

/// Whether standard output may be coloured: a terminal that can, and nobody said `NO_COLOR` (no-color.org).
pub fn colours() -> bool {
    let said = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    stdout().is_terminal() && !said("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Columns of the terminal, or 100 where there is none (a pipe, a file).
pub fn width() -> usize {
    let asked = std::env::var("COLUMNS").ok().and_then(|c| c.parse::<usize>().ok());
    let seen = terminal_size::terminal_size().map(|(columns, _)| usize::from(columns.0));
    asked.or(seen).unwrap_or(100).clamp(60, 140)
}

/// A severity as text, coloured if `coloured`.
pub fn severity(severity: Severity, coloured: bool) -> String {
    let colour = match severity {
        Severity::Critical | Severity::High => 31,
        Severity::Medium => 33,
        Severity::Low => 36,
        Severity::Info => 2,
    };
    let name = severity.name();
    if coloured { format!("\u{1b}[{colour}m{name}\u{1b}[0m") } else { name.to_owned() }
}

/// A bar on standard error for `length` steps; invisible unless that is a terminal where a person looks.
pub fn progress(what: &'static str, length: u64) -> ProgressBar {
    if !stderr().is_terminal() || messages::format() == LogFormat::Json {
        return ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::hidden());
    }
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}").expect("the template is fixed");
    let bar = ProgressBar::new(length).with_style(style).with_message(what);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// An error and its causes, one on each line.
pub(super) fn error_chain(error: &Error) -> String {
    let mut out = format!("error: {}\n", escape(&error.to_string()));
    for cause in error.causes() {
        writeln!(out, "  because: {}", escape(cause.to_string().trim_end())).expect("text grows");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn text_that_steers_a_terminal_is_escaped() {
        assert!(matches!(escape("Zoë 東京 -> ok"), Cow::Borrowed(_)));
        assert_eq!(escape("a\u{1b}[2Jb\r\n\tc"), "a\\u{1b}[2Jb\\r\\n\\tc");
        assert_eq!(escape("gpj.\u{202e}exe\u{200b}\u{9b}31m"), "gpj.\\u{202e}exe\\u{200b}\\u{9b}31m");
    }

    #[test]
    fn cells_are_escaped_and_lines_not_padded() {
        let mut table = table(&["a", "b"]);
        add_row(&mut table, ["x\ny".into(), String::new()]);
        assert!(render(&table).lines().all(|line| line == line.trim_end()));
        assert!(render(&table).contains("x\\ny"));
    }

    #[test]
    fn causes_stand_on_lines_of_their_own() {
        let error = Error::new(Kind::Input, "outer").with_source(Error::new(Kind::Bug, "in\nner"));
        assert_eq!(error_chain(&error), "error: outer\n  because: in\\nner\n");
    }
}
