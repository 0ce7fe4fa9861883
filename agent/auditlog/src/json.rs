//! One pass over one JSON text: is it valid, and where are the members of its outermost container.
//!
//! A record's hash is over its text, so numbers must keep the digits they were written with and strings the lone
//! surrogates that Python writes; a tree of values would lose both and cost an allocation a member. The scanner
//! allocates nothing once its list of members has grown. Nesting is bounded by [`MAX_DEPTH`].

use std::ops::Range;

/// Containers within containers beyond this are refused.
pub(crate) const MAX_DEPTH: u32 = 128;

/// Bytes at which plain text within a string ends.
const ENDS_PLAIN: [bool; 256] = {
    let mut ends = [false; 256];
    let mut control = 0;
    while control < 0x20 {
        ends[control] = true;
        control += 1;
    }
    ends[b'"' as usize] = true;
    ends[b'\\' as usize] = true;
    ends
};

/// Where and why a text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Syntax {
    /// Byte in the text.
    pub(crate) at: usize,
    /// What is wrong there.
    pub(crate) what: &'static str,
}

/// What kind of text was scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// The outermost value is an object.
    pub(crate) object: bool,
    /// `NaN` or `Infinity` occurs: Python writes and reads them, JSON does not know them.
    pub(crate) nonstandard: bool,
}

/// One member of the outermost object, or one element of the outermost array (with an empty key).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// The key's bytes between the quotes, escapes as written.
    pub(crate) key: Range<usize>,
    /// The value's bytes, without blanks around.
    pub(crate) value: Range<usize>,
}

/// Checks `text` and lists what its outermost container holds.
pub(crate) fn scan(text: &[u8], members: &mut Vec<Member>) -> Result<Shape, Syntax> {
    members.clear();
    if let Err(error) = std::str::from_utf8(text) {
        return Err(Syntax {
            at: error.valid_up_to(),
            what: "bytes that are not UTF-8",
        });
    }
    Scanner {
        text,
        at: 0,
        depth: 0,
        arrays: 0,
        key: 0..0,
        value: 0,
        nonstandard: false,
        members,
    }
    .run()
}

/// What may come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    Value,
    FirstElement,
    Key,
    FirstKey,
    Next,
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    depth: u32,
    /// One bit a level: an array (1) or an object (0).
    arrays: u128,
    key: Range<usize>,
    value: usize,
    nonstandard: bool,
    members: &'a mut Vec<Member>,
}

impl Scanner<'_> {
    fn run(mut self) -> Result<Shape, Syntax> {
        self.blanks();
        let object = self.peek() == Some(b'{');
        let mut expect = Expect::Value;
        loop {
            self.blanks();
            expect = match expect {
                Expect::Value => self.value()?,
                Expect::FirstElement if self.take(b']') => self.close(),
                Expect::FirstElement => self.value()?,
                Expect::FirstKey if self.take(b'}') => self.close(),
                Expect::Key | Expect::FirstKey => self.key()?,
                Expect::Next if self.depth == 0 => break,
                Expect::Next => self.next()?,
            };
        }
        match self.peek() {
            None => Ok(Shape {
                object,
                nonstandard: self.nonstandard,
            }),
            Some(b'{') => Err(self.fault("a second record on the line: an append to an unterminated one")),
            Some(_) => Err(self.fault("something follows the record")),
        }
    }

    fn value(&mut self) -> Result<Expect, Syntax> {
        if self.depth == 1 {
            self.value = self.at;
        }
        match self.peek() {
            Some(b'{') => return self.open(false),
            Some(b'[') => return self.open(true),
            Some(b'"') => self.string()?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.literal(b"true")?,
            Some(b'f') => self.literal(b"false")?,
            Some(b'n') => self.literal(b"null")?,
            Some(b'N') => self.strange(b"NaN")?,
            Some(b'I') => self.strange(b"Infinity")?,
            None => return Err(self.fault("the text ends where a value should be")),
            Some(_) => return Err(self.fault("a value should be here")),
        }
        self.finished();
        Ok(Expect::Next)
    }

    fn open(&mut self, array: bool) -> Result<Expect, Syntax> {
        if self.depth == MAX_DEPTH {
            return Err(self.fault("nested too deep"));
        }
        self.at += 1;
        self.depth += 1;
        self.arrays = self.arrays << 1 | u128::from(array);
        Ok(if array {
            Expect::FirstElement
        } else {
            Expect::FirstKey
        })
    }

    fn close(&mut self) -> Expect {
        self.depth -= 1;
        self.arrays >>= 1;
        self.finished();
        Expect::Next
    }

    /// A value ended here.
    fn finished(&mut self) {
        if self.depth == 1 {
            let key = std::mem::replace(&mut self.key, 0..0);
            self.members.push(Member {
                key,
                value: self.value..self.at,
            });
        }
    }

    fn next(&mut self) -> Result<Expect, Syntax> {
        let array = self.arrays & 1 == 1;
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(if array { Expect::Value } else { Expect::Key })
            }
            Some(b']') if array => {
                self.at += 1;
                Ok(self.close())
            }
            Some(b'}') if !array => {
                self.at += 1;
                Ok(self.close())
            }
            None => Err(self.fault("the text ends within a record")),
            Some(_) => Err(self.fault("a comma or the end of the container should be here")),
        }
    }

    fn key(&mut self) -> Result<Expect, Syntax> {
        if self.peek() != Some(b'"') {
            return Err(self.fault("a key should be here"));
        }
        let start = self.at + 1;
        self.string()?;
        if self.depth == 1 {
            self.key = start..self.at - 1;
        }
        self.blanks();
        if !self.take(b':') {
            return Err(self.fault("a colon should follow the key"));
        }
        Ok(Expect::Value)
    }

    fn string(&mut self) -> Result<(), Syntax> {
        self.at += 1;
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.iter().position(|&byte| ENDS_PLAIN[usize::from(byte)]);
            self.at += plain.unwrap_or(rest.len());
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.fault("a control character within a string")),
                None => return Err(self.fault("the text ends within a string")),
            }
        }
        self.at += 1;
        Ok(())
    }

    fn escape(&mut self) -> Result<(), Syntax> {
        match self.text.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => match self.text.get(self.at + 2..self.at + 6) {
                Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => self.at += 6,
                _ => return Err(self.fault("an escape without four hexadecimal digits")),
            },
            _ => return Err(self.fault("an unknown escape")),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), Syntax> {
        if self.take(b'-') && self.peek() == Some(b'I') {
            return self.strange(b"Infinity");
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(self.fault("a digit should be here")),
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _signed = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Syntax> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start {
            Err(self.fault("a digit should be here"))
        } else {
            Ok(())
        }
    }

    fn strange(&mut self, word: &[u8]) -> Result<(), Syntax> {
        self.nonstandard = true;
        self.literal(word)
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), Syntax> {
        if self.text[self.at..].starts_with(word) {
            self.at += word.len();
            Ok(())
        } else {
            Err(self.fault("a word that JSON does not know"))
        }
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn fault(&self, what: &'static str) -> Syntax {
        Syntax { at: self.at, what }
    }
}

#[cfg(test)]
mod tests;
