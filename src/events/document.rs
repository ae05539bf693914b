//! JSON documents that hold a list of records: where each record begins and ends, without parsing it.

/// Where in a document of records the scan stands: `[…]`, or `{…, "Records": […], …}`, any number of them in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Document {
    /// Before a document.
    #[default]
    Start,
    /// In the list of records; whether an object is around it.
    List { in_object: bool },
    /// After the list, before the end of the object.
    AfterList,
}

impl Document {
    /// Adds the elements that lie whole within `bytes` and returns how many bytes are done with, and whether the
    /// file ends before the document does. `ended` says that nothing follows.
    pub(super) fn elements(
        &mut self,
        bytes: &[u8],
        ended: bool,
        found: &mut Vec<(u32, u32)>,
    ) -> Result<(usize, bool), &'static str> {
        let mut at = 0;
        loop {
            at = skip_space(bytes, at);
            let Some(&byte) = bytes.get(at) else {
                return Ok((at, ended && *self != Self::Start));
            };
            match (*self, byte) {
                (Self::Start, b'[') => {
                    *self = Self::List { in_object: false };
                    at += 1;
                }
                (Self::Start, b'{') => match find_records(bytes, at) {
                    Prelude::List(inside) => {
                        *self = Self::List { in_object: true };
                        at = inside;
                    }
                    Prelude::More if !ended => return Ok((at, false)),
                    Prelude::More => return Err("the file ends before its list of Records begins"),
                    Prelude::None(what) => return Err(what),
                },
                (Self::Start, _) => return Err("expected a JSON array or an object with a list Records"),
                (Self::List { in_object }, b']') => {
                    *self = if in_object { Self::AfterList } else { Self::Start };
                    at += 1;
                }
                (Self::List { .. }, b',') | (Self::AfterList, b',' | b':') => at += 1,
                (Self::List { .. }, b'}' | b':') | (Self::AfterList, b']') => {
                    return Err("the JSON document is damaged");
                }
                (Self::AfterList, b'}') => {
                    *self = Self::Start;
                    at += 1;
                }
                (Self::List { .. } | Self::AfterList, _) => match skip_value(bytes, at) {
                    Some(end) => {
                        if *self != Self::AfterList {
                            found.push((at as u32, end as u32));
                        }
                        at = end;
                    }
                    None if !ended => return Ok((at, false)),
                    None => {
                        if *self != Self::AfterList {
                            found.push((at as u32, bytes.len() as u32));
                        }
                        return Ok((bytes.len(), true));
                    }
                },
            }
        }
    }
}

/// What the beginning of a JSON object says about a list of records in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prelude {
    /// The list begins at this position.
    List(usize),
    /// There is none, for this reason.
    None(&'static str),
    /// The bytes end too early to tell.
    More,
}

/// Looks for the key `Records` in the object at `at`.
pub(super) fn find_records(bytes: &[u8], at: usize) -> Prelude {
    const DAMAGED: Prelude = Prelude::None("the JSON document is damaged");
    let mut at = at + 1;
    loop {
        at = skip_space(bytes, at);
        match bytes.get(at) {
            Some(b',') => at += 1,
            Some(b'"') => {
                let Some(end) = skip_value(bytes, at) else { return Prelude::More };
                let is_records = &bytes[at..end] == b"\"Records\"";
                at = skip_space(bytes, end);
                match bytes.get(at) {
                    Some(b':') => at = skip_space(bytes, at + 1),
                    Some(_) => return DAMAGED,
                    None => return Prelude::More,
                }
                match bytes.get(at) {
                    None => return Prelude::More,
                    Some(b'[') if is_records => return Prelude::List(at + 1),
                    Some(_) if is_records => return Prelude::None("expected Records to be a list"),
                    Some(b',' | b':' | b'}' | b']') => return DAMAGED,
                    Some(_) => match skip_value(bytes, at) {
                        Some(end) => at = end,
                        None => return Prelude::More,
                    },
                }
            }
            Some(b'}') => return Prelude::None("expected a list named Records"),
            Some(_) => return DAMAGED,
            None => return Prelude::More,
        }
    }
}

fn skip_space(bytes: &[u8], at: usize) -> usize {
    at + bytes[at..].iter().take_while(|b| b.is_ascii_whitespace()).count()
}

/// The end of the JSON value at `at`, by strings and nesting alone; `None` if the bytes end within it.
fn skip_value(bytes: &[u8], at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut i = at;
    while i < bytes.len() {
        match bytes[i] {
            b'"' => {
                i += 1;
                loop {
                    i += memchr::memchr2(b'"', b'\\', bytes.get(i..)?)?;
                    if bytes[i] == b'"' {
                        break;
                    }
                    i += 2;
                }
                if depth == 0 {
                    return Some(i + 1);
                }
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                if depth <= 1 {
                    // A bare value ends before the bracket that is not its own.
                    return Some(if depth == 0 { i } else { i + 1 });
                }
                depth -= 1;
            }
            b',' if depth == 0 => return Some(i),
            b if depth == 0 && b.is_ascii_whitespace() => return Some(i),
            _ => {}
        }
        i += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(text: &str) -> Result<(Vec<&str>, bool), &'static str> {
        let mut found = Vec::new();
        let (_, torn) = Document::default().elements(text.as_bytes(), true, &mut found)?;
        Ok((found.iter().map(|&(a, b)| &text[a as usize..b as usize]).collect(), torn))
    }

    #[test]
    fn the_elements_of_a_document_are_its_records() {
        for (text, expected, torn) in [
            ("[]", vec![], false),
            (r#" [ {"a":1} , {"b":"]}"} ] "#, vec![r#"{"a":1}"#, r#"{"b":"]}"}"#], false),
            (r#"{"Records":[{"a":[1,{}]},2]}"#, vec![r#"{"a":[1,{}]}"#, "2"], false),
            (r#"{"x":{"Records":[1]},"Records":[{"c":"\""}],"y":[3]}"#, vec![r#"{"c":"\""}"#], false),
            (r#"{"Records":[1]}{"Records":[2]}"#, vec!["1", "2"], false),
            (r#"{"Records":[{"a":1},{"b"#, vec![r#"{"a":1}"#, r#"{"b"#], true),
            (r#"[{"a":1},"#, vec![r#"{"a":1}"#], true),
        ] {
            assert_eq!(elements(text), Ok((expected, torn)), "{text}");
        }
    }

    #[test]
    fn what_is_no_list_of_records_is_refused() {
        for text in [
            r#"{"Records":5}"#,
            r#"{"Records":{"a":1}}"#,
            r#"{"a":1}"#,
            "7",
            r"{]",
            r#"{"a" 1}"#,
            "[}",
            r#"{"Records":[]]"#,
        ] {
            assert!(elements(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_document_cut_anywhere_continues_where_it_stopped() {
        let text = br#"{"v":"[","Records":[{"a":"x,]}"},{"b":[1,2,{"c":null}]},{"d":"\\\""}],"w":{"z":[]}}"#;
        for cut in 0..text.len() {
            let mut document = Document::default();
            let mut first = Vec::new();
            let (done, _) = document.elements(&text[..cut], false, &mut first).unwrap();
            let mut second = Vec::new();
            let (_, torn) = document.elements(&text[done..], true, &mut second).unwrap();
            assert_eq!((first.len() + second.len(), torn), (3, false), "cut at {cut}");
        }
    }
}
