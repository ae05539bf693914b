//! Makes text from logs safe to look at: nothing in it can move the cursor, reorder the line, hide, or flood the page.

use std::borrow::Cow;
use std::fmt::Write;

use super::words::thousands;

/// Characters that a reader cannot see but that change what is seen: controls (with ESC, newline and tab),
/// bidirectional marks and overrides, zero-width and filler characters, separators and tag characters (Unicode TR 36
/// and TR 39).
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// The text with every hidden character spelled out (`\n`, `\t`, `\r`, else `\u{202e}`), on one line.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => out.extend(c.escape_default()),
            c if is_hidden(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// As [`visible`], cut after `max` characters of the original; a cut text says how long the whole is.
pub fn clip(text: &str, max: usize) -> Cow<'_, str> {
    // Bytes bound characters, so that the usual short text is not counted.
    if text.len() <= max {
        return visible(text);
    }
    match text.char_indices().nth(max) {
        None => visible(text),
        Some((cut, _)) => {
            let mut out = visible(&text[..cut]).into_owned();
            let _ = write!(out, "… ({} characters)", thousands(text.chars().count() as u64));
            Cow::Owned(out)
        }
    }
}

/// As [`visible`], at most `max` characters wide with an ellipsis where it was cut: for table cells.
pub fn shorten(text: &str, max: usize) -> String {
    // What is visible is never shorter than the original, so what lies beyond cannot be seen anyway.
    let head: String = text.chars().take(max + 1).collect();
    let shown = visible(&head);
    match shown.char_indices().nth(max) {
        None => shown.into_owned(),
        Some(_) => shown.chars().take(max.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_is_untouched_in_any_script() {
        for text in ["", "Marketing Automation", "Zoë O'Brien <z@x>", "数据 → données", "שלום", "👩 🔬"] {
            assert_eq!(visible(text), text);
        }
    }

    #[test]
    fn hidden_characters_are_spelled_out() {
        assert_eq!(visible("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(visible("one\ntwo\r\tthree\0"), "one\\ntwo\\r\\tthree\\u{0}");
        assert_eq!(visible("\u{202e}gpj.exe\u{2066}"), "\\u{202e}gpj.exe\\u{2066}");
        assert_eq!(visible("ad\u{200b}min\u{feff}\u{e0041}\u{9b}"), "ad\\u{200b}min\\u{feff}\\u{e0041}\\u{9b}");
        assert_eq!(visible("a\u{2028}b"), "a\\u{2028}b");
    }

    #[test]
    fn long_text_is_cut_and_says_so() {
        assert_eq!(clip("abcdef", 6), "abcdef");
        assert_eq!(clip("ééé", 3), "ééé", "six bytes are three characters");
        assert_eq!(clip(&"x".repeat(65_536), 3), "xxx… (65,536 characters)");
        assert_eq!(clip("\u{202e}bcd", 1), "\\u{202e}… (4 characters)");
    }

    #[test]
    fn a_cell_never_exceeds_its_width() {
        assert_eq!(shorten("abcdef", 6), "abcdef");
        assert_eq!(shorten("abcdefg", 6), "abcde…");
        assert_eq!(shorten("ab\u{202e}cdefg", 6), "ab\\u{…");
        assert_eq!(shorten(&"x".repeat(65_536), 4), "xxx…");
    }
}
