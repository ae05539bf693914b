//! What every page has: a content policy that allows the one style sheet and nothing else, the head, and tables.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

pub(super) const STYLE: &str = include_str!("../report.css");

/// Classes of table columns.
pub(crate) const TEXT: &str = "text";
pub(crate) const NUMBER: &str = "number";
pub(crate) const BAR: &str = "bar";

/// A page: `meta` stands beside the title, `body` below it. Text in them must have been escaped ([`super::super::escape::clip`]
/// and maud do that).
pub(crate) fn document(title: &str, skip_to: &str, meta: &Markup, body: &Markup) -> String {
    let policy =
        format!("default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'", digest(STYLE));
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (title) " · quietwatch" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href={ "#" (skip_to) } { "Skip to the findings" }
                header {
                    p.brand { "quietwatch" }
                    h1 { (title) }
                    p.meta { (meta) }
                }
                (body)
            }
        }
    };
    markup.into_string()
}

/// The head of a table: class and name of each column. A bar needs no name for the eye.
pub(crate) fn head(columns: &[(&str, &str)]) -> Markup {
    html! {
        thead {
            tr {
                @for (class, name) in columns {
                    th class=(class) scope="col" {
                        @if *class == BAR { span.hidden { (name) } } @else { (name) }
                    }
                }
            }
        }
    }
}

/// Base64 of the SHA-256, as content policies name a style sheet.
pub(super) fn digest(style: &str) -> String {
    STANDARD.encode(Sha256::digest(style))
}
