//! Verifies a whole log: scans its segments, joins them, and compares with the previous snapshot.
//!
//! # Overview
//! A [`Verifier`] takes segments oldest first, from wherever they can be read: descriptors of a capture, a
//! repository, a restored folder. Memory is one block, or one line where lines are long, whatever the log's size.
//!
//! # Consistency
//! Segments are scanned on their own and joined at the end. Where the chain says that the order the caller gave is
//! not the order of the records, the chain is believed: rotation schemes number in either direction.
//!
//! # Cancellation
//! Between blocks; a reader that waits must give up by itself.

use std::io::{self, Read};

use tokio_util::sync::CancellationToken;

use crate::chain;
use crate::continuity::{self, Continuity, Fate};
use crate::encoding::Encoding;
use crate::facts::{ChainFacts, Fault, Finding, Findings, LogFacts, SegmentFacts, StepBack, TimeFacts};
use crate::options::VerifyOptions;
use crate::prefix::Positions;
use crate::scan::{self, Scan};
use crate::state::{FileIdentity, LogState, SegmentState};

/// Why a log could not be verified. What is wrong with the log itself is a [`Finding`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes could not be had.
    #[error("segment {segment} could not be read at byte {offset}")]
    Read {
        /// The segment.
        segment: String,
        /// Where, in expanded bytes.
        offset: u64,
        /// What the reader said.
        #[source]
        source: io::Error,
    },
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// Verifies one log, segment by segment.
#[derive(Debug)]
pub struct Verifier<'a> {
    options: &'a VerifyOptions,
    previous: Option<&'a LogState>,
    positions: Positions,
    cancel: CancellationToken,
    scans: Vec<Scan>,
}

impl<'a> Verifier<'a> {
    /// Begins a verification; with `previous` it proves continuity.
    pub fn new(
        options: &'a VerifyOptions,
        previous: Option<&'a LogState>,
        cancel: CancellationToken,
    ) -> Self {
        let positions = previous.map(Positions::of).unwrap_or_default();
        Self {
            options,
            previous,
            positions,
            cancel,
            scans: Vec::new(),
        }
    }

    /// Reads the next segment, oldest first. Compression is recognised by content.
    pub fn segment(&mut self, name: &str, reader: impl Read) -> Result<(), Error> {
        self.file(name, None, reader)
    }

    /// The same for a file of this host, which a later verification may recognise.
    pub fn file(
        &mut self,
        name: &str,
        file: Option<FileIdentity>,
        mut reader: impl Read,
    ) -> Result<(), Error> {
        let start = first_bytes(&mut reader).map_err(|source| Error::Read {
            segment: name.into(),
            offset: 0,
            source,
        })?;
        let encoding = Encoding::detect(&start);
        let input = scan::Input {
            name,
            encoding,
            file,
            reader: start.as_slice().chain(reader),
        };
        let scan = scan::scan(input, self.options, &self.positions, &self.cancel)?;
        self.scans.push(scan);
        Ok(())
    }

    /// Takes a segment over from the previous verification without reading it: for a file that is the same by
    /// identity, size and modification time, and had nothing wrong with it.
    pub fn reuse(&mut self, name: &str, file: FileIdentity, then: &SegmentState) {
        self.scans.push(Scan::reused(name, file, then));
    }

    /// Joins what was read.
    pub fn finish(mut self) -> LogFacts {
        let reordered = self.order();
        let most = self.options.limits.findings;
        let mut findings = Findings::default();
        let newest = self
            .scans
            .iter()
            .rposition(|scan| scan.state.len + scan.unterminated > 0);
        let continuity = continuity::judge(self.previous, &self.scans);
        let joints = self.joints(&continuity);
        let chain = self.options.chain.as_ref().map(|_| chain_facts(&self.scans));
        let time = self.options.time_field.as_ref().map(|_| time_facts(&self.scans));
        let mut segments = Vec::new();
        let mut unterminated = 0;
        for (number, (mut scan, joint)) in self.scans.into_iter().zip(joints).enumerate() {
            joint.into_iter().for_each(|finding| findings.add(finding, most));
            findings.append(std::mem::take(&mut scan.findings), most);
            if Some(number) == newest {
                unterminated = scan.unterminated;
            } else if scan.unterminated > 0 {
                findings.add(torn(&scan), most);
                scan.state.sound = false;
            }
            segments.push(SegmentFacts {
                unterminated: scan.unterminated,
                reused: scan.reused,
                state: scan.state,
            });
        }
        LogFacts {
            records: segments.iter().map(|segment| segment.state.records).sum(),
            bytes: segments.iter().map(|segment| segment.state.len).sum(),
            segments,
            unterminated,
            findings,
            chain,
            time,
            continuity,
            reordered,
        }
    }

    /// Puts the segments into the order of the chain, if there is one and it differs. Answers whether it did.
    fn order(&mut self) -> bool {
        let Some(order) = chain_order(&self.scans) else {
            return false;
        };
        let mut scans: Vec<Option<Scan>> = self.scans.drain(..).map(Some).collect();
        self.scans = order
            .into_iter()
            .filter_map(|number| scans[number].take())
            .collect();
        true
    }

    /// Whether the oldest segment should be the log's first: not if older ones have been rotated away, now or before.
    fn begins_here(&self, genesis: &str, continuity: &Continuity) -> bool {
        let began = |previous: &LogState| {
            let oldest = previous
                .segments
                .iter()
                .find_map(|segment| segment.first_previous.as_deref());
            oldest.is_none_or(|first| chain::same(first, genesis))
        };
        self.previous.is_none_or(began) && continuity.segments.iter().all(|fate| fate.fate != Fate::AgedOut)
    }

    /// What is wrong where each segment meets the one before it.
    fn joints(&self, continuity: &Continuity) -> Vec<Option<Finding>> {
        let Some(config) = &self.options.chain else {
            return vec![None; self.scans.len()];
        };
        let mut before: Option<&Scan> = None;
        let mut joints = Vec::new();
        for scan in &self.scans {
            let fault = match (before, &scan.state.first_previous) {
                (None, Some(found)) => config
                    .genesis
                    .clone()
                    .filter(|expected| {
                        !chain::same(expected, found) && self.begins_here(expected, continuity)
                    })
                    .map(|expected| Fault::Genesis {
                        expected,
                        found: found.clone(),
                    }),
                (Some(before), Some(found)) => before
                    .known_end()
                    .filter(|expected| !chain::same(expected, found))
                    .map(|expected| Fault::ChainLink {
                        expected: expected.into(),
                        found: found.clone(),
                    }),
                (_, None) => None,
            };
            let at = |fault| Finding {
                segment: scan.state.name.clone(),
                line: 1,
                offset: 0,
                fault,
            };
            joints.push(fault.map(at));
            if scan.state.len + scan.unterminated > 0 || !scan.ends_known {
                before = Some(scan);
            }
        }
        joints
    }
}

/// Verifies a log whose segments come as readers, oldest first.
pub fn verify<R: Read>(
    segments: impl IntoIterator<Item = (String, R)>,
    options: &VerifyOptions,
    previous: Option<&LogState>,
    cancel: &CancellationToken,
) -> Result<LogFacts, Error> {
    let mut verifier = Verifier::new(options, previous, cancel.clone());
    for (name, reader) in segments {
        verifier.segment(&name, reader)?;
    }
    Ok(verifier.finish())
}

/// Enough of the stream to tell its encoding.
fn first_bytes(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(8);
    reader.take(8).read_to_end(&mut start)?;
    Ok(start)
}

fn torn(scan: &Scan) -> Finding {
    Finding {
        segment: scan.state.name.clone(),
        line: scan.state.lines + 1,
        offset: scan.state.len,
        fault: Fault::TornTail {
            bytes: scan.unterminated,
        },
    }
}

fn chain_facts(scans: &[Scan]) -> ChainFacts {
    ChainFacts {
        checked: scans.iter().map(|scan| scan.checked).sum(),
        first_previous: scans.iter().find_map(|scan| scan.state.first_previous.clone()),
        head: scans.iter().rev().find_map(|scan| scan.state.head.clone()),
    }
}

fn time_facts(scans: &[Scan]) -> TimeFacts {
    let mut all = TimeFacts::default();
    for scan in scans {
        let part = &scan.time;
        if let (Some(before), Some(now)) = (all.last, part.first)
            && now < before
        {
            let millis = before
                .duration_since(now)
                .as_millis()
                .try_into()
                .unwrap_or(i64::MAX);
            all.step_back(millis, || StepBack {
                segment: scan.state.name.clone(),
                line: 1,
                millis,
            });
        }
        all.read += part.read;
        all.unread += part.unread;
        all.first = all.first.or(part.first);
        all.last = part.last.or(all.last);
        all.latest = all.latest.max(part.latest);
        all.disordered += part.disordered;
        if let Some(step) = &part.longest_step_back
            && all
                .longest_step_back
                .as_ref()
                .is_none_or(|longest| longest.millis < step.millis)
        {
            all.longest_step_back = Some(step.clone());
        }
    }
    all
}

/// The order in which each segment's first record names the last of the one before, if the present order is not
/// already that. Segments without records go last; where the chain has gaps, its parts keep their order.
fn chain_order(scans: &[Scan]) -> Option<Vec<usize>> {
    let follows =
        |later: usize, earlier: usize| match (&scans[later].state.first_previous, scans[earlier].known_end())
        {
            (Some(previous), Some(head)) => chain::same(previous, head),
            _ => false,
        };
    let full: Vec<usize> = (0..scans.len())
        .filter(|&number| scans[number].state.records > 0)
        .collect();
    if full.windows(2).all(|pair| follows(pair[1], pair[0])) {
        return None;
    }
    let before = |later: usize| {
        full.iter()
            .copied()
            .find(|&number| number != later && follows(later, number))
    };
    let after = |earlier: usize| {
        full.iter()
            .copied()
            .find(|&number| number != earlier && follows(number, earlier))
    };
    let mut order = Vec::with_capacity(scans.len());
    let mut taken = vec![false; scans.len()];
    for start in full.iter().copied().filter(|&number| before(number).is_none()) {
        let mut next = Some(start);
        while let Some(number) = next.filter(|&number| !std::mem::replace(&mut taken[number], true)) {
            order.push(number);
            next = after(number);
        }
    }
    // What is left goes round in circles, or is empty.
    order.extend((0..scans.len()).filter(|&number| !taken[number]));
    let unchanged = order
        .iter()
        .copied()
        .filter(|number| full.contains(number))
        .eq(full.iter().copied());
    (!unchanged).then_some(order)
}

#[cfg(test)]
mod tests;
