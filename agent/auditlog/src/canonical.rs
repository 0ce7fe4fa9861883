//! The bytes that stand for a record when it is hashed.
//!
//! Text to text: numbers keep their digits, strings are decoded and written again as the form wants them, members
//! are sorted by code point. Decoded strings are WTF-8, for Python writes lone surrogates into its logs and hashes
//! them; the order of WTF-8 bytes is the order of code points. Of a key that occurs twice the last value counts, as
//! in Python's `json.loads`.

use std::borrow::Cow;
use std::ops::Range;

use crate::json::{self, Member};
use crate::options::Canonical;

/// What a form could not express.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unwritable {
    /// Half of a surrogate pair has no UTF-8.
    LoneSurrogate,
}

/// What was met on the way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Met {
    /// A key occurs twice in one object.
    pub(crate) duplicate: bool,
}

/// Writes the canonical form of the record `text`, whose `members` a scan found, without those that `covered`
/// refuses.
pub(crate) fn write(
    form: Canonical,
    text: &[u8],
    members: &[Member],
    covered: impl Fn(&[u8]) -> bool,
    out: &mut Vec<u8>,
) -> Result<Met, Unwritable> {
    let mut writer = Writer {
        form,
        out,
        met: Met::default(),
    };
    let covered = |member: &Member| covered(&text[member.key.clone()]);
    match form {
        Canonical::LinksOnly => {}
        Canonical::RawWithoutHash => writer.raw(text, members, covered),
        _ => writer.object(text, members.iter().filter(|member| covered(member)))?,
    }
    Ok(writer.met)
}

struct Writer<'a> {
    form: Canonical,
    out: &'a mut Vec<u8>,
    met: Met,
}

impl Writer<'_> {
    /// The members as they were written. Of what stands around one that was cut out, what preceded it goes with it.
    fn raw(&mut self, text: &[u8], all: &[Member], covered: impl Fn(&Member) -> bool) {
        self.out.push(b'{');
        let mut first = true;
        for (number, member) in all.iter().enumerate().filter(|(_, member)| covered(member)) {
            if !std::mem::take(&mut first) {
                let before = &all[number - 1];
                self.out
                    .extend_from_slice(&text[before.value.end..member.key.start - 1]);
            }
            self.out
                .extend_from_slice(&text[member.key.start - 1..member.value.end]);
        }
        self.out.push(b'}');
    }

    fn object<'m>(
        &mut self,
        text: &[u8],
        members: impl Iterator<Item = &'m Member>,
    ) -> Result<(), Unwritable> {
        let keyed = members.map(|member| (decode(&text[member.key.clone()]), &member.value));
        let mut sorted: Vec<(Cow<'_, [u8]>, &Range<usize>)> = keyed.collect();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        self.out.push(b'{');
        let mut first = true;
        for (number, (key, value)) in sorted.iter().enumerate() {
            if sorted.get(number + 1).is_some_and(|(next, _)| next == key) {
                self.met.duplicate = true;
                continue;
            }
            self.comma(&mut first);
            self.string(key)?;
            self.out.extend_from_slice(if self.form == Canonical::JsonSorted {
                b": "
            } else {
                b":"
            });
            self.value(&text[Range::clone(value)])?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn value(&mut self, text: &[u8]) -> Result<(), Unwritable> {
        match text.first() {
            Some(b'{') => self.object(text, children(text).iter()),
            Some(b'[') => self.array(text),
            Some(b'"') => self.text(&text[1..text.len() - 1]),
            _ => {
                self.out.extend_from_slice(text);
                Ok(())
            }
        }
    }

    fn array(&mut self, text: &[u8]) -> Result<(), Unwritable> {
        self.out.push(b'[');
        let mut first = true;
        for element in children(text) {
            self.comma(&mut first);
            self.value(&text[element.value])?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn comma(&mut self, first: &mut bool) {
        if !std::mem::take(first) {
            self.out.extend_from_slice(if self.form == Canonical::JsonSorted {
                b", "
            } else {
                b","
            });
        }
    }

    /// A string as it stands between quotes; most need no other escapes than they have, which is none.
    fn text(&mut self, raw: &[u8]) -> Result<(), Unwritable> {
        let special = self.special();
        if raw.iter().any(|&byte| special[usize::from(byte)]) {
            return self.string(&decode(raw));
        }
        self.out.push(b'"');
        self.out.extend_from_slice(raw);
        self.out.push(b'"');
        Ok(())
    }

    fn special(&self) -> &'static [bool; 256] {
        if self.form == Canonical::JsonSortedCompactUtf8 {
            &SPECIAL_IN_UTF8
        } else {
            &SPECIAL_IN_ASCII
        }
    }

    /// A decoded string.
    fn string(&mut self, decoded: &[u8]) -> Result<(), Unwritable> {
        self.out.push(b'"');
        let ascii = self.form != Canonical::JsonSortedCompactUtf8;
        let special = self.special();
        let mut rest = decoded;
        while !rest.is_empty() {
            let plain = rest
                .iter()
                .position(|&byte| special[usize::from(byte)])
                .unwrap_or(rest.len());
            self.out.extend_from_slice(&rest[..plain]);
            rest = &rest[plain..];
            if let Some(&byte) = rest.first() {
                let taken = if byte < 0x80 {
                    self.escape(byte)
                } else {
                    self.wide(rest, ascii)?
                };
                rest = &rest[taken..];
            }
        }
        self.out.push(b'"');
        Ok(())
    }

    fn escape(&mut self, byte: u8) -> usize {
        match byte {
            b'"' => self.out.extend_from_slice(b"\\\""),
            b'\\' => self.out.extend_from_slice(b"\\\\"),
            b'\n' => self.out.extend_from_slice(b"\\n"),
            b'\r' => self.out.extend_from_slice(b"\\r"),
            b'\t' => self.out.extend_from_slice(b"\\t"),
            0x08 => self.out.extend_from_slice(b"\\b"),
            0x0c => self.out.extend_from_slice(b"\\f"),
            _ => self.unit(u32::from(byte)),
        }
        1
    }

    /// A character beyond ASCII at the front of `rest`; answers its length in bytes.
    fn wide(&mut self, rest: &[u8], ascii: bool) -> Result<usize, Unwritable> {
        let (code, len) = code_point(rest);
        match (ascii, code) {
            (false, 0xd800..=0xdfff) => return Err(Unwritable::LoneSurrogate),
            (false, _) => self.out.extend_from_slice(&rest[..len]),
            (true, 0x1_0000..) => {
                let above = code - 0x1_0000;
                self.unit(0xd800 + (above >> 10));
                self.unit(0xdc00 + (above & 0x3ff));
            }
            (true, _) => self.unit(code),
        }
        Ok(len)
    }

    fn unit(&mut self, code: u32) {
        self.out.extend_from_slice(b"\\u");
        for shift in [12, 8, 4, 0] {
            self.out.push(b"0123456789abcdef"[(code >> shift & 0xf) as usize]);
        }
    }
}

static SPECIAL_IN_ASCII: [bool; 256] = special(true);
static SPECIAL_IN_UTF8: [bool; 256] = special(false);

/// Bytes that the forms do not write as they are. Beyond ASCII the UTF-8 form looks only for lone surrogates, whose
/// first byte is 0xed.
const fn special(ascii: bool) -> [bool; 256] {
    let mut special = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let beyond = if ascii { byte > 0x7e } else { byte == 0xed };
        special[byte] = byte < 0x20 || byte == b'"' as usize || byte == b'\\' as usize || beyond;
        byte += 1;
    }
    special
}

/// What a container that was scanned as part of its record holds.
fn children(text: &[u8]) -> Vec<Member> {
    let mut members = Vec::new();
    json::scan(text, &mut members).expect("a value within a record that was scanned is valid");
    members
}

/// The first character of WTF-8 text that does not begin with ASCII, and its length.
fn code_point(text: &[u8]) -> (u32, usize) {
    let (len, first) = match text[0] {
        0xf0.. => (4, text[0] & 0x07),
        0xe0.. => (3, text[0] & 0x0f),
        _ => (2, text[0] & 0x1f),
    };
    let code = text[1..len]
        .iter()
        .fold(u32::from(first), |code, byte| code << 6 | u32::from(byte & 0x3f));
    (code, len)
}

/// Decodes a string that a scan found valid, as it stands between quotes, to WTF-8.
pub(crate) fn decode(raw: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\\', raw).is_none() {
        return Cow::Borrowed(raw);
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(plain) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..plain]);
        rest = &rest[plain..];
        let taken = match rest[1] {
            b'u' => unicode_escape(rest, &mut out),
            byte => {
                out.push(short_escape(byte));
                2
            }
        };
        rest = &rest[taken..];
    }
    out.extend_from_slice(rest);
    Cow::Owned(out)
}

fn short_escape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'f' => 0x0c,
        same => same,
    }
}

/// Decodes `\uXXXX`, or a pair of them that is one character; answers how many bytes it took.
fn unicode_escape(rest: &[u8], out: &mut Vec<u8>) -> usize {
    let high = hex4(&rest[2..6]);
    if (0xd800..0xdc00).contains(&high)
        && let Some([b'\\', b'u', digits @ ..]) = rest.get(6..12)
    {
        let low = hex4(digits);
        if (0xdc00..0xe000).contains(&low) {
            push_code_point(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00), out);
            return 12;
        }
    }
    push_code_point(high, out);
    6
}

fn hex4(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |value, &digit| {
        value << 4 | char::from(digit).to_digit(16).unwrap_or(0)
    })
}

fn push_code_point(code: u32, out: &mut Vec<u8>) {
    let tail = |shift: u32| 0x80 | (code >> shift & 0x3f) as u8;
    match code {
        0..0x80 => out.push(code as u8),
        0x80..0x800 => out.extend_from_slice(&[0xc0 | (code >> 6) as u8, tail(0)]),
        0x800..0x1_0000 => out.extend_from_slice(&[0xe0 | (code >> 12) as u8, tail(6), tail(0)]),
        _ => out.extend_from_slice(&[0xf0 | (code >> 18) as u8, tail(12), tail(6), tail(0)]),
    }
}

#[cfg(test)]
mod tests;
