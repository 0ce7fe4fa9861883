//! Walks a hash chain record by record.
//!
//! After a break the walk goes on from what the record itself states, so that one altered line is one finding and
//! not a thousand. After a line that is no record the next link can not be judged and is not.

use std::borrow::Cow;

use sha2::Digest as _;

use crate::canonical::{self, Unwritable};
use crate::facts::Fault;
use crate::json::Member;
use crate::options::{Algorithm, Canonical, ChainConfig, Input};

/// Where a walk stands within one segment.
#[derive(Debug)]
pub(crate) struct Chain<'a> {
    config: &'a ChainConfig,
    /// What the next record must name.
    head: Head,
    /// What the segment's first record names.
    pub(crate) first_previous: Option<String>,
    /// Hash that the newest record states; empty before the first.
    last: String,
    /// Records whose hash or link was checked.
    pub(crate) checked: u64,
    bytes: Vec<u8>,
}

#[derive(Debug)]
enum Head {
    /// Nothing was read: the link is judged where segments are joined.
    Start,
    /// A line could not be read.
    Unknown,
    /// [`Chain::last`].
    Last,
}

impl<'a> Chain<'a> {
    pub(crate) fn new(config: &'a ChainConfig) -> Self {
        Self {
            config,
            head: Head::Start,
            first_previous: None,
            last: String::new(),
            checked: 0,
            bytes: Vec::new(),
        }
    }

    /// Whether the newest line was a record.
    pub(crate) fn is_known(&self) -> bool {
        !matches!(self.head, Head::Unknown)
    }

    /// The hash that the newest record states.
    pub(crate) fn last(&self) -> Option<&str> {
        (self.checked > 0).then_some(self.last.as_str())
    }

    /// A line that is no record stands here.
    pub(crate) fn unreadable(&mut self) {
        self.head = Head::Unknown;
    }

    /// Checks one record; calls `report` for each thing wrong with it.
    pub(crate) fn record(&mut self, line: &[u8], members: &[Member], mut report: impl FnMut(Fault)) {
        let config = self.config;
        let (Some(hash), Some(previous)) = (
            field(line, members, &config.hash),
            field(line, members, &config.previous),
        ) else {
            let missing = if field(line, members, &config.hash).is_none() {
                &config.hash
            } else {
                &config.previous
            };
            report(Fault::ChainField {
                field: missing.clone(),
            });
            return self.unreadable();
        };
        self.checked += 1;
        self.link(&previous, &mut report);
        if config.canonical != Canonical::LinksOnly {
            self.own(line, members, &previous, &hash, &mut report);
        }
        hash.as_ref().clone_into(&mut self.last);
        self.head = Head::Last;
    }

    fn link(&mut self, previous: &str, report: &mut impl FnMut(Fault)) {
        match self.head {
            Head::Start => self.first_previous = Some(previous.to_owned()),
            Head::Last if !same(&self.last, previous) => {
                report(Fault::ChainLink {
                    expected: self.last.clone(),
                    found: previous.to_owned(),
                });
            }
            Head::Last | Head::Unknown => {}
        }
    }

    fn own(
        &mut self,
        line: &[u8],
        members: &[Member],
        previous: &str,
        stated: &str,
        report: &mut impl FnMut(Fault),
    ) {
        match digest(self.config, line, members, previous, &mut self.bytes) {
            Ok((expected, met)) => {
                let stated_digest = stated
                    .strip_prefix(self.config.algorithm.name())
                    .and_then(|rest| rest.strip_prefix(':'))
                    .unwrap_or(stated);
                if !same(expected.as_str(), stated_digest) {
                    report(Fault::ChainHash {
                        expected: expected.as_str().to_owned(),
                        found: stated.to_owned(),
                    });
                }
                if met.duplicate {
                    report(Fault::DuplicateKey);
                }
            }
            Err(Unwritable::LoneSurrogate) => report(Fault::Uncanonical),
        }
    }
}

/// A record's hash in hexadecimal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hex {
    digits: [u8; 128],
    len: usize,
}

impl Hex {
    fn of(digest: &[u8]) -> Self {
        let mut digits = [0; 128];
        let nibble = |value: u8| b"0123456789abcdef"[usize::from(value)];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(digest) {
            pair.copy_from_slice(&[nibble(byte >> 4), nibble(byte & 0xf)]);
        }
        Self {
            digits,
            len: digest.len() * 2,
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.digits[..self.len]).unwrap_or_default()
    }
}

/// The hash that a record should state.
pub(crate) fn digest(
    config: &ChainConfig,
    line: &[u8],
    members: &[Member],
    previous: &str,
    bytes: &mut Vec<u8>,
) -> Result<(Hex, canonical::Met), Unwritable> {
    bytes.clear();
    let both = config.input == Input::PreviousThenRecord;
    if both {
        bytes.extend_from_slice(previous.as_bytes());
        bytes.extend_from_slice(config.separator.as_bytes());
    }
    let covered = |key: &[u8]| key != config.hash.as_bytes() && !(both && key == config.previous.as_bytes());
    let met = canonical::write(config.canonical, line, members, covered, bytes)?;
    let hex = match config.algorithm {
        Algorithm::Sha256 => Hex::of(&sha2::Sha256::digest(&bytes)),
        Algorithm::Sha512 => Hex::of(&sha2::Sha512::digest(&bytes)),
        Algorithm::Blake3 => Hex::of(blake3::hash(bytes).as_bytes()),
    };
    Ok((hex, met))
}

/// The last member of that name, if it is a string or `null` (which stands for "none before").
pub(crate) fn field<'a>(line: &'a [u8], members: &[Member], name: &str) -> Option<Cow<'a, str>> {
    let member = members
        .iter()
        .rev()
        .find(|member| &line[member.key.clone()] == name.as_bytes())?;
    match &line[member.value.clone()] {
        b"null" => Some(Cow::Borrowed("")),
        [b'"', raw @ .., b'"'] => match canonical::decode(raw) {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
        },
        _ => None,
    }
}

/// Hexadecimal in either case.
pub(crate) fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}
