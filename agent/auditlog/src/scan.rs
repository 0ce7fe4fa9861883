//! Reads one segment, front to back, once.
//!
//! A segment is scanned without knowing its neighbours, so that the order of segments can be decided by what is in
//! them; [`crate::verify()`] joins them.

use std::collections::BTreeMap;
use std::io::{self, Read};

use tokio_util::sync::CancellationToken;

use crate::chain::Chain;
use crate::encoding::{Decoder, Encoding, Stop};
use crate::facts::{Fault, Finding, Findings, StepBack, TimeFacts};
use crate::json::{self, Member};
use crate::lines::{Block, Lines};
use crate::options::{Canonical, Format, VerifyOptions};
use crate::prefix::{Positions, Prefix};
use crate::state::{FileIdentity, SegmentState};
use crate::time;
use crate::verify::Error;

/// What one pass over a segment gave.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) state: SegmentState,
    /// Bytes after the last newline.
    pub(crate) unterminated: u64,
    pub(crate) findings: Findings,
    pub(crate) time: TimeFacts,
    /// Records that the chain walk checked.
    pub(crate) checked: u64,
    /// Hashes of what comes before the positions that were asked for.
    pub(crate) hashes: BTreeMap<u64, [u8; 32]>,
    pub(crate) reused: bool,
    /// Whether `state.head` is the hash of the segment's very last line.
    pub(crate) ends_known: bool,
}

impl Scan {
    /// What is known of a segment that is not read again.
    pub(crate) fn reused(name: &str, file: FileIdentity, then: &SegmentState) -> Self {
        let mut hash = [0; 32];
        let decoded = hex::decode_to_slice(&then.hash, &mut hash).is_ok();
        Self {
            state: SegmentState {
                name: name.into(),
                file: Some(file),
                ..then.clone()
            },
            unterminated: 0,
            findings: Findings::default(),
            time: TimeFacts::default(),
            checked: 0,
            hashes: decoded.then_some((then.len, hash)).into_iter().collect(),
            reused: true,
            ends_known: true,
        }
    }

    /// The hash that a successor's first record must name, if it is known.
    pub(crate) fn known_end(&self) -> Option<&str> {
        self.state
            .head
            .as_deref()
            .filter(|_| self.ends_known && self.unterminated == 0)
    }
}

/// A segment to scan.
pub(crate) struct Input<'a, R> {
    pub(crate) name: &'a str,
    pub(crate) encoding: Encoding,
    pub(crate) file: Option<FileIdentity>,
    pub(crate) reader: R,
}

/// Scans one segment; `positions` are where hashes of what comes before are wanted.
pub(crate) fn scan<R: Read>(
    input: Input<'_, R>,
    options: &VerifyOptions,
    positions: &Positions,
    cancel: &CancellationToken,
) -> Result<Scan, Error> {
    let mut scanner = Scanner::new(input.name, options, positions);
    if input.encoding.is_readable() {
        let decoder = Decoder::new(input.encoding, input.reader, options.limits.expanded);
        scanner.read(decoder, cancel)?;
    } else {
        scanner.line = 0;
        scanner.report(Fault::Unreadable {
            format: input.encoding.name().into(),
        });
    }
    Ok(scanner.finish(input.encoding, input.file))
}

struct Scanner<'a> {
    name: &'a str,
    options: &'a VerifyOptions,
    prefix: Prefix<'a>,
    chain: Option<Chain<'a>>,
    findings: Findings,
    time: TimeFacts,
    members: Vec<Member>,
    /// The line that is read, from 1, and where it begins.
    line: u64,
    offset: u64,
    lines: u64,
    records: u64,
    unterminated: u64,
}

impl<'a> Scanner<'a> {
    fn new(name: &'a str, options: &'a VerifyOptions, positions: &'a Positions) -> Self {
        Self {
            name,
            options,
            prefix: Prefix::new(positions),
            chain: options.chain.as_ref().map(Chain::new),
            findings: Findings::default(),
            time: TimeFacts::default(),
            members: Vec::new(),
            line: 0,
            offset: 0,
            lines: 0,
            records: 0,
            unterminated: 0,
        }
    }

    fn read<R: Read>(&mut self, decoder: Decoder<R>, cancel: &CancellationToken) -> Result<(), Error> {
        let store_failed = decoder.store_failed();
        let mut lines = Lines::new(decoder, self.options.limits.longest_line());
        loop {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            match lines.next() {
                Ok(Block::Lines(block)) => self.block(block),
                Ok(Block::Piece { bytes, ends }) => self.piece(bytes, ends),
                Ok(Block::Tail(tail)) => self.unterminated += tail.len() as u64,
                Ok(Block::End) => return Ok(()),
                Err(error) => {
                    self.unterminated += lines.rest() as u64;
                    return self.stopped(Decoder::<R>::judge(&store_failed, error));
                }
            }
        }
    }

    /// The stream can not be read on.
    fn stopped(&mut self, stop: Stop) -> Result<(), Error> {
        self.line = self.lines + 1;
        self.offset = self.prefix.len() + self.unterminated;
        match stop {
            Stop::Store(source) => {
                return Err(Error::Read {
                    segment: self.name.into(),
                    offset: self.offset,
                    source,
                });
            }
            Stop::Damage(error) => self.report(Fault::Compression {
                cut_short: error.kind() == io::ErrorKind::UnexpectedEof,
                reason: error.to_string(),
            }),
            Stop::TooLarge => self.report(Fault::TooLarge {
                limit: self.options.limits.expanded,
            }),
        }
        // What is after the last newline is part of the damage, not a tail of its own.
        self.unterminated = 0;
        self.chain.iter_mut().for_each(Chain::unreadable);
        Ok(())
    }

    fn block(&mut self, block: &[u8]) {
        let begins = self.prefix.len();
        self.prefix.extend(block);
        let mut from = 0;
        for end in memchr::memchr_iter(b'\n', block) {
            self.lines += 1;
            self.line = self.lines;
            self.offset = begins + from as u64;
            self.one(&block[from..end]);
            from = end + 1;
        }
    }

    /// Part of an overlong line: hashed only once its newline is known to be there.
    fn piece(&mut self, bytes: &[u8], ends: bool) {
        self.prefix.hold(bytes);
        self.unterminated += bytes.len() as u64;
        if ends {
            self.offset = self.prefix.len();
            self.prefix.release();
            self.unterminated = 0;
            self.lines += 1;
            self.line = self.lines;
            self.report(Fault::OverlongLine {
                limit: self.options.limits.longest_line() as u64,
            });
            self.chain.iter_mut().for_each(Chain::unreadable);
        }
    }

    fn one(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return self.report(Fault::BlankLine);
        }
        if self.options.format == Format::Lines {
            self.records += 1;
            return;
        }
        let mut members = std::mem::take(&mut self.members);
        if self.json(line, &mut members) {
            self.records += 1;
            self.timed(line, &members);
            self.chained(line, &members);
        }
        self.members = members;
    }

    /// Whether the line is a record.
    fn json(&mut self, line: &[u8], members: &mut Vec<Member>) -> bool {
        match json::scan(line, members) {
            Ok(shape) => {
                if shape.nonstandard {
                    self.report(Fault::NonstandardNumber);
                }
                if shape.object {
                    if !self.sees_duplicates() && repeats_key(line, members) {
                        self.report(Fault::DuplicateKey);
                    }
                    return true;
                }
                self.report(Fault::NotAnObject);
            }
            Err(syntax) => self.report(Fault::Json {
                at: syntax.at as u64,
                reason: syntax.what.into(),
            }),
        }
        self.chain.iter_mut().for_each(Chain::unreadable);
        false
    }

    /// Whether the chain's canonical form finds keys that occur twice, nested ones too.
    fn sees_duplicates(&self) -> bool {
        self.options
            .chain
            .as_ref()
            .is_some_and(|chain| !matches!(chain.canonical, Canonical::LinksOnly | Canonical::RawWithoutHash))
    }

    fn chained(&mut self, line: &[u8], members: &[Member]) {
        if let Some(mut chain) = self.chain.take() {
            chain.record(line, members, |fault| self.report(fault));
            self.chain = Some(chain);
        }
    }

    fn timed(&mut self, line: &[u8], members: &[Member]) {
        let Some(field) = &self.options.time_field else {
            return;
        };
        let value = members
            .iter()
            .rev()
            .find(|member| &line[member.key.clone()] == field.as_bytes());
        let Some(now) = value.and_then(|member| time::parse(&line[member.value.clone()])) else {
            self.time.unread += 1;
            return;
        };
        self.time.read += 1;
        self.time.first.get_or_insert(now);
        if let Some(before) = self.time.last.replace(now)
            && now < before
        {
            let at = || StepBack {
                segment: self.name.into(),
                line: self.line,
                millis: 0,
            };
            let millis = before
                .duration_since(now)
                .as_millis()
                .try_into()
                .unwrap_or(i64::MAX);
            self.time.step_back(millis, at);
        }
        self.time.latest = self.time.latest.max(Some(now));
    }

    fn report(&mut self, fault: Fault) {
        let finding = Finding {
            segment: self.name.into(),
            line: self.line,
            offset: self.offset,
            fault,
        };
        self.findings.add(finding, self.options.limits.findings);
    }

    fn finish(self, encoding: Encoding, file: Option<FileIdentity>) -> Scan {
        let prefix = self.prefix.finish();
        let ends_known = encoding.is_readable() && self.chain.as_ref().is_none_or(Chain::is_known);
        let (first_previous, head, checked) = match self.chain {
            Some(chain) => (
                chain.first_previous.clone(),
                chain.last().map(str::to_owned),
                chain.checked,
            ),
            None => (None, None, 0),
        };
        Scan {
            state: SegmentState {
                name: self.name.into(),
                id: prefix.id,
                encoding,
                len: prefix.len,
                hash: prefix.hash,
                records: self.records,
                lines: self.lines,
                first_previous,
                head,
                marks: prefix.marks,
                file,
                sound: self.findings.total() == 0,
            },
            unterminated: self.unterminated,
            findings: self.findings,
            time: self.time,
            checked,
            hashes: prefix.hashes,
            reused: false,
            ends_known,
        }
    }
}

impl TimeFacts {
    /// Counts a step back, and keeps it if it is the longest.
    pub(crate) fn step_back(&mut self, millis: i64, at: impl FnOnce() -> StepBack) {
        self.disordered += 1;
        if self
            .longest_step_back
            .as_ref()
            .is_none_or(|longest| longest.millis < millis)
        {
            self.longest_step_back = Some(StepBack { millis, ..at() });
        }
    }
}

/// Whether two members of a record have one name, as written.
fn repeats_key(line: &[u8], members: &[Member]) -> bool {
    let key = |member: &Member| &line[member.key.clone()];
    if members.len() <= 24 {
        return members
            .iter()
            .enumerate()
            .any(|(n, a)| members[..n].iter().any(|b| key(a) == key(b)));
    }
    let mut keys: Vec<&[u8]> = members.iter().map(key).collect();
    keys.sort_unstable();
    keys.windows(2).any(|pair| pair[0] == pair[1])
}
