//! Texts of others on a terminal: names, paths, reasons and messages come from hosts, plans and data.
//!
//! A control character in them could move the cursor, clear the screen, or write over a verdict. It is shown as what it
//! is instead, as JSON writes it, so that documents for programs stay what they are. Colours stay: they are ours, and
//! can not hide anything.

use std::borrow::Cow;

/// A text in which nothing but line feeds, tabs and colours acts on a terminal.
pub(crate) fn text(raw: &str) -> Cow<'_, str> {
    if !raw.contains(is_unruly) {
        return Cow::Borrowed(raw);
    }
    let mut tame = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(next) = rest.chars().next() {
        let taken = match color(rest) {
            Some(length) => {
                tame.push_str(&rest[..length]);
                length
            }
            None if is_unruly(next) => {
                tame.push_str(&format!("\\u{:04x}", u32::from(next)));
                next.len_utf8()
            }
            None => {
                tame.push(next);
                next.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    Cow::Owned(tame)
}

/// The same, in one line: for what stands in a row with others.
pub fn line(raw: &str) -> Cow<'_, str> {
    match text(raw) {
        tame if tame.contains(['\n', '\t']) => Cow::Owned(tame.replace(['\n', '\t'], " ")),
        tame => tame,
    }
}

/// Control characters, and those that turn the direction of writing around.
fn is_unruly(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The length of the colour that a text begins with: `ESC [ digits and semicolons m`.
fn color(text: &str) -> Option<usize> {
    let inner = text.strip_prefix("\u{1b}[")?;
    let end = inner.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    inner[end..]
        .starts_with('m')
        .then_some(text.len() - inner.len() + end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_moves_no_cursor() {
        let calm = "a reason, größe 東京\tand\nmore";
        assert_eq!(text(calm), calm);
        assert_eq!(
            text("evil\u{1b}[2J\rPASSED\u{7}"),
            r"evil\u001b[2J\u000dPASSED\u0007"
        );
        assert_eq!(text("\u{9b}31m\u{202e}dessap"), r"\u009b31m\u202edessap");
        assert_eq!(text("\u{1b}"), r"\u001b");
        assert_eq!(text("\u{1b}[31;1"), r"\u001b[31;1");
    }

    #[test]
    fn a_document_stays_the_same_document() {
        let said = serde_json::json!({ "reason": "a\u{1b}[2J\u{7f}\u{9b}\u{202e}b\n" });
        let written = serde_json::to_string_pretty(&said).unwrap();
        let tame = text(&written);
        assert!(!tame.contains(is_unruly), "{tame}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&tame).unwrap(), said);
    }

    #[test]
    fn colours_stay() {
        let ours = "\u{1b}[31;1mfailed\u{1b}[0m";
        assert_eq!(text(ours), ours);
        assert_eq!(text(&format!("{ours}\u{1b}[H")), format!("{ours}\\u001b[H"));
    }

    #[test]
    fn a_line_stays_one() {
        assert_eq!(line("x\nrun 0192: passed"), "x run 0192: passed");
    }
}
