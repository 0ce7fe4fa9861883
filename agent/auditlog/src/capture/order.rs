//! Which segment is older, and which is only a copy of another.
//!
//! Numbers in names say it, but not in which direction: logrotate counts up as segments age, others count up as time
//! goes by. The times of first records decide, or the files' own. The chain has the last word, where there is one,
//! when the log is verified.

use std::cmp::Ordering;
use std::io::Read;
use std::path::Path;

use super::Note;
use super::segment::Opened;
use crate::encoding::Encoding;

/// Drops each segment that is a whole or partial copy of another: what gzip or `copytruncate` is still making.
pub(super) fn drop_duplicates(rotated: &mut Vec<Opened>, active: Option<&Opened>, notes: &mut Vec<Note>) {
    let mut number = 0;
    while number < rotated.len() {
        let candidate = &rotated[number];
        let others = rotated
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != number)
            .map(|(_, opened)| opened);
        let original = active
            .into_iter()
            .chain(others)
            .find(|other| is_copy(candidate, other));
        match original {
            Some(original) => {
                notes.push(Note::Duplicate {
                    name: candidate.name.clone(),
                    of: original.name.clone(),
                });
                rotated.remove(number);
            }
            None => number += 1,
        }
    }
}

/// Whether all of `copy`, as far as it can be read, is what `original` begins with. Of two equal ones the compressed
/// is the copy.
pub(super) fn is_copy(copy: &Opened, original: &Opened) -> bool {
    let unfinished =
        copy.encoding == Encoding::Gzip && copy.id.is_empty() && is_compression_of(copy, original);
    if unfinished {
        return true;
    }
    let begun = copy.encoding == Encoding::Plain && copy.id.is_empty();
    if !begun && !copy.is_akin(original) {
        return false;
    }
    match compare(copy.lines(), original.lines()) {
        Compared::Same => copy.encoding == Encoding::Gzip || original.encoding != Encoding::Gzip,
        Compared::FirstIsShorter => true,
        Compared::SecondIsShorter | Compared::Differ => false,
    }
}

/// Whether `copy` is by its name the compressed form of `original`.
fn is_compression_of(copy: &Opened, original: &Opened) -> bool {
    original.encoding == Encoding::Plain && copy.name.strip_suffix(".gz") == Some(&original.name)
}

#[derive(Debug, PartialEq, Eq)]
enum Compared {
    Same,
    FirstIsShorter,
    SecondIsShorter,
    Differ,
}

/// Compares two streams to the end of the shorter one; one that can not be read on ends there.
fn compare(mut first: impl Read, mut second: impl Read) -> Compared {
    let (mut a, mut b) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let (in_a, in_b) = (fill(&mut first, &mut a), fill(&mut second, &mut b));
        let common = in_a.min(in_b);
        if a[..common] != b[..common] {
            return Compared::Differ;
        }
        match in_a.cmp(&in_b) {
            Ordering::Less => return Compared::FirstIsShorter,
            Ordering::Greater => return Compared::SecondIsShorter,
            Ordering::Equal if in_a == 0 => return Compared::Same,
            Ordering::Equal => {}
        }
    }
}

fn fill(reader: &mut impl Read, into: &mut [u8]) -> usize {
    let mut filled = 0;
    while filled < into.len() {
        match reader.read(&mut into[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    filled
}

/// Sorts segments oldest first. Answers whether the names left it open.
pub(super) fn sort(rotated: &mut [Opened], active: &Path) -> bool {
    let stem = active
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let numbers: Vec<Vec<u64>> = rotated
        .iter()
        .map(|opened| numbers(&opened.name, &stem))
        .collect();
    if rotated.len() < 2 {
        return false;
    }
    let mut told_apart = numbers.clone();
    told_apart.sort();
    let clear =
        told_apart.iter().all(|key| !key.is_empty()) && told_apart.windows(2).all(|pair| pair[0] != pair[1]);
    if !clear {
        rotated.sort_by(|a, b| by_time(a, b).then_with(|| a.name.cmp(&b.name)));
        return true;
    }
    let dates = numbers
        .iter()
        .all(|key| key.iter().any(|&number| number >= 100_000) || key.len() >= 3);
    rotated.sort_by_key(|opened| numbers_of(opened, &stem));
    let (mut rising, mut falling) = (0, 0);
    for pair in rotated.windows(2) {
        match by_time(&pair[0], &pair[1]) {
            Ordering::Less => rising += 1,
            Ordering::Greater => falling += 1,
            Ordering::Equal => {}
        }
    }
    if falling > rising || (falling == rising && !dates) {
        rotated.reverse();
    }
    false
}

/// The times of both first records, or of both files.
fn by_time(a: &Opened, b: &Opened) -> Ordering {
    match (a.first_time, b.first_time) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => a.identity.mtime_ns.cmp(&b.identity.mtime_ns),
    }
}

fn numbers_of(opened: &Opened, stem: &str) -> Vec<u64> {
    numbers(&opened.name, stem)
}

/// The numbers in what rotation added to the log's name.
fn numbers(name: &str, stem: &str) -> Vec<u64> {
    let name = name.rsplit_once('/').map_or(name, |(_, name)| name);
    let added = name.strip_prefix(stem).unwrap_or_else(|| {
        let common = name
            .bytes()
            .zip(stem.bytes())
            .take_while(|(a, b)| a == b && !a.is_ascii_digit())
            .count();
        name.get(common..).unwrap_or(name)
    });
    added
        .split(|byte: char| !byte.is_ascii_digit())
        .filter(|digits| !digits.is_empty())
        .map(|digits| digits.parse().unwrap_or(u64::MAX))
        .collect()
}
