//! A message in Slack's Block Kit, within its limits, for an incoming webhook.
//!
//! In `mrkdwn`, `& < >` are escaped, and formatting characters and mentions in text from logs are replaced by characters that look
//! alike: Slack has no other way to have them mean nothing. Where it may be so, `plain_text` is used.

use serde_json::{Value, json};

use super::{Message, Why, about, explain};
use crate::report::escape::visible;
use crate::report::words;

/// Most blocks of a message.
const BLOCKS: usize = 50;
/// Most characters of a header and of a text, below Slack's 150 and 3,000.
const HEADER: usize = 145;
const TEXT: usize = 2_900;

/// The body of the request.
pub fn payload(message: &Message) -> Value {
    let title = match message.why {
        Why::Critical => format!("Critical: {}", message.headline),
        _ => format!("{} {}: {}", message.model_name, message.night, message.headline),
    };
    let title = if message.why == Why::Test { message.headline.clone() } else { title };
    let mut blocks = vec![json!({
        "type": "header",
        // A receiver that keeps messages can know a second sending of this one.
        "block_id": message.id(),
        "text": { "type": "plain_text", "text": cut(&visible(&title), HEADER), "emoji": false },
    })];
    for a in &message.anomalies {
        let mut text = format!("*{} {}*", a.severity.name(), words::score(a.score));
        // The title of the only anomaly is the header.
        if message.why != Why::Critical {
            text = format!("*{}. {} {} · {}*", a.rank, a.severity.name(), words::score(a.score), mrkdwn(&a.title, 400));
        }
        let rest = TEXT.saturating_sub(text.encode_utf16().count() + 1);
        text.push('\n');
        text.push_str(&mrkdwn(&a.story, rest));
        blocks.push(section(&text));
        let line = format!("{} · {} · `{}`", a.date, about(a), explain(a));
        blocks.push(context(&[mrkdwn_text(&line)]));
    }
    if message.left_out > 0 {
        let text = format!("{} more in the report", words::thousands(message.left_out));
        blocks.push(context(&[mrkdwn_text(&text)]));
    }
    let notes: Vec<Value> = message.notes.iter().map(|note| mrkdwn_text(&mrkdwn(note, TEXT))).collect();
    // A context block holds ten elements.
    for notes in notes.chunks(10) {
        blocks.push(context(notes));
    }
    if !message.report_url.is_empty() {
        blocks.push(section(&format!("<{}|Open the report>", message.report_url)));
    }
    blocks.truncate(BLOCKS);
    json!({
        "text": escaped(&visible(&title), TEXT),
        "mrkdwn": false,
        "unfurl_links": false,
        "unfurl_media": false,
        "blocks": blocks,
    })
}

fn section(text: &str) -> Value {
    json!({ "type": "section", "text": mrkdwn_text(text) })
}

fn context(elements: &[Value]) -> Value {
    json!({ "type": "context", "elements": elements })
}

/// `verbatim` keeps Slack from making links and mentions of its own out of plain text.
fn mrkdwn_text(text: &str) -> Value {
    json!({ "type": "mrkdwn", "text": text, "verbatim": true })
}

/// Text from a log for a `mrkdwn` text of at most `max` UTF-16 units.
fn mrkdwn(text: &str, max: usize) -> String {
    escaped(&inert(&visible(text)), max)
}

/// `& < >` as Slack wants them, cut before `max` UTF-16 units.
fn escaped(text: &str, max: usize) -> String {
    fit(text, max, |c, out| match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        c => out.push(c),
    })
}

fn cut(text: &str, max: usize) -> String {
    fit(text, max, |c, out| out.push(c))
}

fn fit(text: &str, max: usize, put: impl Fn(char, &mut String)) -> String {
    let mut out = String::new();
    let (mut length, mut piece) = (0, String::new());
    for c in text.chars() {
        piece.clear();
        put(c, &mut piece);
        length += piece.encode_utf16().count();
        if length > max {
            // Room for the ellipsis, at the price of a whole character, never of half an entity.
            let last =
                out.rfind('&').filter(|&at| out[at..].ends_with(';')).or_else(|| Some(out.char_indices().last()?.0));
            out.truncate(last.unwrap_or(0));
            out.push('…');
            break;
        }
        out.push_str(&piece);
    }
    out
}

/// The text without a character that Slack would format, link or notify by. A character within a word does none of that, so
/// that `jane_doe` stays what it is.
fn inert(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let word = |at: Option<&char>| at.is_some_and(|c| c.is_alphanumeric());
    let mut out = String::with_capacity(text.len());
    for (i, &c) in chars.iter().enumerate() {
        let before = i.checked_sub(1).and_then(|i| chars.get(i));
        let within = word(before) && word(chars.get(i + 1));
        out.push(match c {
            '`' => 'ˋ',
            '*' if !within => '＊',
            '_' if !within => '＿',
            '~' if !within => '～',
            '@' if !within => '＠',
            '#' if !within => '＃',
            ':' if !word(before) && names_emoji(&chars[i + 1..]) => '：',
            c => c,
        });
    }
    out
}

/// Whether what follows a colon is the name of an emoji and a colon; `14:32:10` is a time.
fn names_emoji(after: &[char]) -> bool {
    let name = after.iter().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+')).count();
    name > 0 && after.get(name) == Some(&':') && after[..name].iter().any(|c| c.is_ascii_alphabetic() || *c == '+')
}

#[cfg(test)]
#[path = "slack_tests.rs"]
mod tests;
