//! Recognises an append-only log of JSON lines, for discovery: how it is rotated, chained and timed.
//!
//! Fields are found by what they hold, not by name alone: a chain is two fields of which one repeats, record by
//! record, what the other said in the record before; its form is the one under which all sampled records verify.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::capture::{self, capture};
use crate::chain;
use crate::encoding::Encoding;
use crate::json::{self, Member};
use crate::options::{Algorithm, Canonical, CaptureLimits, ChainConfig, Input, LogOptions};
use crate::time;

/// As much of a file as is looked at.
const SAMPLE_BYTES: u64 = 256 << 10;
/// As many records as are looked at.
const SAMPLE_RECORDS: usize = 64;
/// What writers put between the previous hash and the record.
const SEPARATORS: [&str; 5] = ["", "|", ":", "\n", "."];

/// What a log seems to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sniffed {
    /// How sure that is.
    pub confidence: Confidence,
    /// Glob of its rotated segments: one that matches some, or the one that logrotate would use.
    pub rotated: String,
    /// Segments found with it, the active file included.
    pub segments: usize,
    /// Its chain, with [`Canonical::LinksOnly`] where records are linked by a hash of unknown form.
    pub chain: Option<ChainConfig>,
    /// The field that holds its records' time.
    pub time_field: Option<String>,
    /// Records that were looked at.
    pub sampled: usize,
}

/// How sure it is that a file is an append-only log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// Lines of JSON objects: a data set would look the same.
    Low,
    /// Their times do not go back.
    Medium,
    /// They are chained.
    High,
}

/// Looks at a file. `None`: it is no log of JSON lines, or a rotated segment of one that lies beside it. Blocking;
/// reads the first 256 KiB, and the first lines of its neighbours if it is a log.
pub fn sniff(path: &Path) -> Result<Option<Sniffed>, capture::Error> {
    let Some(sample) = Sample::of(path)? else {
        return Ok(None);
    };
    let Some((rotated, segments)) = rotation(path)? else {
        return Ok(None);
    };
    let chain = sample.chain();
    let time_field = sample.time_field();
    let confidence = match (&chain, &time_field) {
        (Some(_), _) => Confidence::High,
        (None, Some(_)) => Confidence::Medium,
        (None, None) => Confidence::Low,
    };
    Ok(Some(Sniffed {
        confidence,
        rotated,
        segments,
        chain,
        time_field,
        sampled: sample.records.len(),
    }))
}

/// The first records of a file.
struct Sample {
    records: Vec<Record>,
}

struct Record {
    line: Vec<u8>,
    members: Vec<Member>,
}

impl Record {
    fn strings(&self) -> BTreeMap<String, String> {
        let name = |member: &Member| std::str::from_utf8(&self.line[member.key.clone()]).ok();
        let names = self.members.iter().filter_map(name);
        names
            .filter_map(|name| {
                Some((
                    name.to_owned(),
                    chain::field(&self.line, &self.members, name)?.into_owned(),
                ))
            })
            .collect()
    }

    fn time(&self, field: &str) -> Option<Timestamp> {
        let named = |member: &&Member| &self.line[member.key.clone()] == field.as_bytes();
        time::parse(&self.line[self.members.iter().find(named)?.value.clone()])
    }
}

impl Sample {
    /// `None` unless every whole line of the beginning is a JSON object.
    fn of(path: &Path) -> Result<Option<Self>, capture::Error> {
        let Some(file) = capture::open_regular(path)? else {
            return Ok(None);
        };
        let start = beginning(file).map_err(|source| capture::Error::Read {
            path: path.to_owned(),
            source,
        })?;
        if Encoding::detect(&start) != Encoding::Plain {
            return Ok(None);
        }
        let Some(end) = memchr::memrchr(b'\n', &start) else {
            return Ok(None);
        };
        let mut records = Vec::new();
        for line in start[..end].split(|&byte| byte == b'\n').take(SAMPLE_RECORDS) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let mut members = Vec::new();
            match json::scan(line, &mut members) {
                Ok(shape) if shape.object && !members.is_empty() => {
                    records.push(Record {
                        line: line.to_vec(),
                        members,
                    });
                }
                _ => return Ok(None),
            }
        }
        Ok(Some(Self { records }))
    }

    fn chain(&self) -> Option<ChainConfig> {
        let (hash, previous) = self.linked()?;
        let stated = chain::field(&self.records[0].line, &self.records[0].members, &hash)?;
        let digits = stated
            .rsplit_once(':')
            .map_or(stated.len(), |(_, digits)| digits.len());
        let base = ChainConfig {
            hash,
            previous,
            ..ChainConfig::default()
        };
        let known = forms(&base)
            .filter(|config| config.algorithm.hex_len() == digits)
            .find(|config| self.verifies(config));
        known.or(Some(ChainConfig {
            canonical: Canonical::LinksOnly,
            ..base
        }))
    }

    /// Two fields of which one repeats what the other said in the record before.
    fn linked(&self) -> Option<(String, String)> {
        let strings: Vec<_> = self.records.iter().map(Record::strings).collect();
        let (first, second) = (strings.first()?, strings.get(1)?);
        let repeats = |hash: &str, previous: &str| {
            strings.windows(2).all(|pair| {
                let said = pair[0].get(hash).filter(|said| is_digest(said));
                said.is_some() && said == pair[1].get(previous)
            })
        };
        let hashes = first
            .iter()
            .filter(|(_, value)| is_digest(value))
            .map(|(name, _)| name);
        hashes
            .flat_map(|hash| second.keys().map(move |previous| (hash, previous)))
            .find(|(hash, previous)| hash != previous && repeats(hash, previous))
            .map(|(hash, previous)| (hash.clone(), previous.clone()))
    }

    fn verifies(&self, config: &ChainConfig) -> bool {
        let mut bytes = Vec::new();
        self.records.iter().all(|record| {
            let field = |name: &str| chain::field(&record.line, &record.members, name);
            let (Some(stated), Some(previous)) = (field(&config.hash), field(&config.previous)) else {
                return false;
            };
            let digits = stated.rsplit_once(':').map_or(&*stated, |(_, digits)| digits);
            chain::digest(config, &record.line, &record.members, &previous, &mut bytes)
                .is_ok_and(|(expected, _)| chain::same(expected.as_str(), digits))
        })
    }

    /// The field whose times are there in each record and never go back; a usual name before any other.
    fn time_field(&self) -> Option<String> {
        let first = self.records.first()?;
        let own = first
            .members
            .iter()
            .filter_map(|member| std::str::from_utf8(&first.line[member.key.clone()]).ok());
        // A number under an unusual name is more likely a counter than a time.
        let texts = own.filter(|name| chain::field(&first.line, &first.members, name).is_some());
        time::FIELDS
            .into_iter()
            .chain(texts)
            .find(|name| self.is_timed_by(name))
            .map(str::to_owned)
    }

    fn is_timed_by(&self, field: &str) -> bool {
        let mut before = Timestamp::MIN;
        self.records.iter().all(|record| {
            record
                .time(field)
                .is_some_and(|now| now >= std::mem::replace(&mut before, now))
        })
    }
}

/// All forms of a chain over two known fields, the likeliest first.
fn forms(base: &ChainConfig) -> impl Iterator<Item = ChainConfig> + '_ {
    let inputs = [Input::PreviousThenRecord, Input::Record];
    inputs.into_iter().flat_map(move |input| {
        SEPARATORS
            .into_iter()
            .filter(move |text| text.is_empty() || input == Input::PreviousThenRecord)
            .flat_map(move |separator| {
                Canonical::COMPUTED.into_iter().flat_map(move |canonical| {
                    Algorithm::ALL.into_iter().map(move |algorithm| ChainConfig {
                        algorithm,
                        canonical,
                        input,
                        separator: separator.to_owned(),
                        ..base.clone()
                    })
                })
            })
    })
}

fn is_digest(value: &str) -> bool {
    let digits = value.rsplit_once(':').map_or(value, |(_, digits)| digits);
    digits.len() >= 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn beginning(file: File) -> std::io::Result<Vec<u8>> {
    let mut start = Vec::new();
    file.take(SAMPLE_BYTES).read_to_end(&mut start)?;
    Ok(start)
}

/// The glob of a log's rotated segments and how many segments it finds; `None` if `path` is itself rotated.
fn rotation(path: &Path) -> Result<Option<(String, usize)>, capture::Error> {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    if is_rotated(path, &name) {
        return Ok(None);
    }
    let patterns = patterns(&name);
    let mut best = (patterns[0].clone(), 1);
    for pattern in patterns {
        let limits = CaptureLimits {
            attempts: 1,
            ..CaptureLimits::default()
        };
        let options = LogOptions {
            limits,
            ..LogOptions::new(path).rotated(pattern.clone())
        };
        match capture(&options) {
            Ok(captured) if captured.segments.len() > best.1 => best = (pattern, captured.segments.len()),
            Ok(_) | Err(capture::Error::Unstable { .. } | capture::Error::TooMany { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(best))
}

/// Globs of the usual ways to rotate a file of that name.
fn patterns(name: &str) -> Vec<String> {
    let escaped = glob::Pattern::escape(name);
    let mut patterns = vec![format!("{escaped}.*"), format!("{escaped}-[0-9]*")];
    if let Some((stem, extension)) = name.rsplit_once('.') {
        let (stem, extension) = (glob::Pattern::escape(stem), glob::Pattern::escape(extension));
        patterns.push(format!("{stem}[-._][0-9]*.{extension}*"));
    }
    patterns
}

/// Whether a file beside it, of a shorter name, would be rotated to a file of this name.
fn is_rotated(path: &Path, name: &str) -> bool {
    let digits = || name.bytes().any(|byte| byte.is_ascii_digit());
    let Some(Ok(beside)) = path.parent().filter(|_| digits()).map(std::fs::read_dir) else {
        return false;
    };
    let names = beside
        .filter_map(Result::ok)
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut shorter = names.filter(|other| !other.is_empty() && other.len() < name.len());
    shorter.any(|other| {
        let matches =
            |pattern: &String| glob::Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(name));
        patterns(&other).iter().any(matches)
    })
}

#[cfg(test)]
mod tests;
