//! Framing: a record is what stands before a `\n`, and nothing else is.
//!
//! The reader hands out blocks of whole lines, so that hashing and searching run over long stretches; a line that
//! crosses two reads costs one move. Memory is the chunk, or the longest line allowed. `\r`, `U+2028` and a missing
//! newline at the end do not end a line: what follows the last `\n` is a tail, never a record.

use std::io::{self, Read};

const CHUNK: usize = 256 << 10;

/// What comes next in the stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Block<'a> {
    /// One or more whole lines, the last `\n` included.
    Lines(&'a [u8]),
    /// Part of a line longer than allowed; `ends` with the part that holds its `\n`.
    Piece { bytes: &'a [u8], ends: bool },
    /// What follows the last `\n`. Nothing comes after it.
    Tail(&'a [u8]),
    /// The stream is over.
    End,
}

/// Cuts a stream into blocks of lines.
pub(crate) struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
    /// What was handed out, and what has been read.
    start: usize,
    filled: usize,
    longest: usize,
    /// Within a line longer than allowed.
    overlong: bool,
    over: bool,
}

impl<R: Read> Lines<R> {
    /// Lines of at most `longest` bytes.
    pub(crate) fn new(reader: R, longest: usize) -> Self {
        let longest = longest.max(1);
        Self {
            reader,
            buffer: vec![0; CHUNK.min(longest + 1)],
            start: 0,
            filled: 0,
            longest,
            overlong: false,
            over: false,
        }
    }

    /// The next block. After an error the stream must not be read on.
    pub(crate) fn next(&mut self) -> io::Result<Block<'_>> {
        loop {
            let found = memchr::memrchr(b'\n', &self.buffer[self.start..self.filled]);
            if self.overlong {
                if let Some(end) = memchr::memchr(b'\n', &self.buffer[self.start..self.filled]) {
                    self.overlong = false;
                    return Ok(Block::Piece {
                        bytes: self.hand_out(end + 1),
                        ends: true,
                    });
                }
                if self.start < self.filled {
                    let all = self.filled - self.start;
                    return Ok(Block::Piece {
                        bytes: self.hand_out(all),
                        ends: false,
                    });
                }
            } else if let Some(end) = found {
                return Ok(Block::Lines(self.hand_out(end + 1)));
            } else if self.filled - self.start > self.longest {
                self.overlong = true;
                continue;
            }
            if self.over {
                let rest = self.filled - self.start;
                return Ok(if rest == 0 {
                    Block::End
                } else {
                    Block::Tail(self.hand_out(rest))
                });
            }
            self.fill()?;
        }
    }

    /// The bytes that were read but not handed out: what a damaged stream gave last.
    pub(crate) fn rest(&self) -> usize {
        self.filled - self.start
    }

    fn hand_out(&mut self, len: usize) -> &[u8] {
        let start = self.start;
        self.start += len;
        &self.buffer[start..start + len]
    }

    fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.filled, 0);
        self.filled -= self.start;
        self.start = 0;
        if self.filled == self.buffer.len() {
            let longer = (self.buffer.len() * 2).min(self.longest + 1).max(self.filled + 1);
            self.buffer.resize(longer, 0);
        }
        while self.filled < self.buffer.len() {
            match self.reader.read(&mut self.buffer[self.filled..]) {
                Ok(0) => {
                    self.over = true;
                    break;
                }
                Ok(read) => {
                    self.filled += read;
                    if memchr::memchr(b'\n', &self.buffer[self.filled - read..self.filled]).is_some() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Gives at most `step` bytes a read.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let len = self.1.min(into.len()).min(self.0.len());
            into[..len].copy_from_slice(&self.0[..len]);
            self.0 = &self.0[len..];
            Ok(len)
        }
    }

    /// Lines, `None` for one that is too long; and the tail.
    fn framed(bytes: &[u8], step: usize, longest: usize) -> (Vec<Option<Vec<u8>>>, Vec<u8>) {
        let (mut lines, mut tail) = (Vec::new(), Vec::new());
        let mut reader = Lines::new(Slow(bytes, step), longest);
        loop {
            match reader.next().expect("reading memory") {
                Block::Lines(block) => {
                    assert_eq!(block.last(), Some(&b'\n'));
                    let whole = &block[..block.len() - 1];
                    lines.extend(
                        whole
                            .split(|&byte| byte == b'\n')
                            .map(|line| (line.len() <= longest).then(|| line.to_vec())),
                    );
                }
                Block::Piece { bytes, ends } => {
                    tail.extend_from_slice(bytes);
                    if ends {
                        tail.clear();
                        lines.push(None);
                    }
                }
                Block::Tail(rest) => tail.extend_from_slice(rest),
                Block::End => return (lines, tail),
            }
        }
    }

    proptest! {
        #[test]
        fn frames_as_a_split_does(text in "[ab\n\r\u{2028}]{0,300}", step in 1usize..40, longest in 1usize..50) {
            let bytes = text.as_bytes();
            let mut expected: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
            let tail = expected.pop().unwrap_or_default();
            let expected: Vec<_> =
                expected.into_iter().map(|line| (line.len() <= longest).then(|| line.to_vec())).collect();
            prop_assert_eq!(framed(bytes, step, longest), (expected, tail.to_vec()));
        }
    }

    #[test]
    fn memory_is_bounded_by_the_longest_line() {
        let long = [vec![b'x'; 3 << 20], b"\nshort\n".to_vec()].concat();
        let mut reader = Lines::new(&long[..], 1 << 20);
        let mut pieces = 0;
        loop {
            match reader.next().unwrap() {
                Block::Piece { ends, .. } => pieces += usize::from(ends),
                Block::Lines(lines) => assert_eq!(lines, b"short\n"),
                Block::Tail(_) => panic!("no tail there"),
                Block::End => break,
            }
        }
        assert_eq!(pieces, 1);
        assert!(reader.buffer.len() <= (1 << 20) + 1);
    }
}
