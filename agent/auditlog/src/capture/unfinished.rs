//! Compressions that are still being made.
//!
//! # Overview
//! Until gzip is done, what stands in its place ends too early, just as a segment does that was cut short. Beside its
//! original it is known as a copy: by its first line, or by the original's name. Neither helps where an application
//! counts its segments up as it compresses them (`log.1` becomes `log.2.gz`) and no line has left the compressor yet.
//! Time tells then: what was written to since the cut, or shortly before, is under way and belongs to the next
//! snapshot; what no longer changes is damaged.
//!
//! # Consistency
//! Its original is part of the cut, or the records are in none of this snapshot: then the chain says so. A segment
//! that was whole at the snapshot before has no such excuse.

use std::io;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{Captured, Note, Segment};
use crate::encoding::Encoding;
use crate::facts::{Fault, LogFacts};
use crate::options::VerifyOptions;
use crate::state::LogState;
use crate::verify;

/// A compression that nobody has written to for this long is not under way any more.
const UNDER_WAY: i128 = 60 * 1_000_000_000;

impl Captured {
    /// Verifies what was captured at `at`, as [`Captured::verify`] does, and leaves compressions that are still being
    /// made to the next snapshot, with a [`Note::Unfinished`].
    ///
    /// # Errors
    /// [`verify::Error`] if a segment could not be read, or the caller cancelled.
    pub fn settle(
        &mut self,
        options: &VerifyOptions,
        previous: Option<&LogState>,
        at: Timestamp,
        cancel: &CancellationToken,
    ) -> Result<LogFacts, verify::Error> {
        let facts = self.verify(options, previous, cancel)?;
        let mut unfinished = Vec::new();
        for segment in self
            .segments
            .iter()
            .filter(|segment| is_cut_short(segment, &facts))
        {
            let under_way = is_under_way(segment, at).map_err(|source| verify::Error::Read {
                segment: segment.name.clone(),
                offset: 0,
                source,
            })?;
            if under_way && !was_whole(segment, previous) {
                unfinished.push(segment.name.clone());
            }
        }
        if unfinished.is_empty() {
            return Ok(facts);
        }
        self.segments
            .retain(|segment| !unfinished.contains(&segment.name));
        self.notes
            .extend(unfinished.into_iter().map(|name| Note::Unfinished { name }));
        self.verify(options, previous, cancel)
    }
}

fn is_cut_short(segment: &Segment, facts: &LogFacts) -> bool {
    let cut_short = |fault: &Fault| matches!(fault, Fault::Compression { cut_short: true, .. });
    segment.encoding == Encoding::Gzip
        && facts
            .findings
            .kept()
            .iter()
            .any(|finding| finding.segment == segment.name && cut_short(&finding.fault))
}

/// Whether it has changed since the cut, or had shortly before. A time that is still to come is no proof of rest.
fn is_under_way(segment: &Segment, at: Timestamp) -> io::Result<bool> {
    let now = super::segment::identity(&segment.live)?;
    let age = at.as_nanosecond() - i128::from(segment.identity.mtime_ns);
    Ok(now != segment.identity || age < UNDER_WAY)
}

/// Whether the snapshot before had the same file and found nothing wrong with it.
fn was_whole(segment: &Segment, previous: Option<&LogState>) -> bool {
    let then = previous.into_iter().flat_map(|previous| &previous.segments);
    then.filter(|then| then.sound && then.encoding == Encoding::Gzip)
        .any(|then| {
            let same_file = then.file.is_some_and(|file| file.is_same_file(&segment.identity));
            same_file || (!segment.id.is_empty() && then.id == segment.id)
        })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Write;
    use std::path::{Path, PathBuf};

    use flate2::write::GzEncoder;
    use jiff::SignedDuration;

    use super::*;
    use crate::capture::capture;
    use crate::fixture;
    use crate::options::{ChainConfig, LogOptions};

    /// A log whose application compresses `audit.log.1` in place, under the next number.
    struct Log {
        folder: tempfile::TempDir,
        lines: Vec<String>,
    }

    impl Log {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let lines = fixture::chained(0, 200, "");
            let log = Self { folder, lines };
            fs::write(log.path("audit.log.1"), fixture::joined(&log.lines[..150])).unwrap();
            fs::write(log.path("audit.log"), fixture::joined(&log.lines[150..])).unwrap();
            log
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn settled(&self, previous: Option<&LogState>, at: Timestamp) -> (Captured, LogFacts) {
            let options = LogOptions::new(self.path("audit.log")).rotated("audit.log.*");
            let mut captured = capture(&options).unwrap();
            let options = VerifyOptions {
                chain: Some(ChainConfig::default()),
                ..VerifyOptions::default()
            };
            let facts = captured.settle(&options, previous, at, &CancellationToken::new());
            (captured, facts.unwrap())
        }
    }

    fn changed(path: &Path) -> Timestamp {
        Timestamp::try_from(fs::metadata(path).unwrap().modified().unwrap()).unwrap()
    }

    fn names(captured: &Captured) -> Vec<&str> {
        captured
            .segments
            .iter()
            .map(|segment| segment.name.as_str())
            .collect()
    }

    #[test]
    fn a_compression_under_way_is_left_to_the_next_snapshot() {
        let log = Log::new();
        let path = log.path("audit.log.2.gz");
        let mut slow = GzEncoder::new(File::create(&path).unwrap(), flate2::Compression::default());
        for lines in log.lines[..150].chunks(50) {
            slow.write_all(&fixture::joined(lines)).unwrap();
            assert!(fs::metadata(&path).unwrap().len() > 0, "its header is out");
            let (captured, facts) = log.settled(None, changed(&path) + SignedDuration::from_secs(1));
            assert_eq!(names(&captured), ["audit.log.1", "audit.log"]);
            let left = Note::Unfinished {
                name: "audit.log.2.gz".into(),
            };
            assert_eq!(captured.notes, [left]);
            assert!(facts.is_sound() && facts.records == 200, "{facts:?}");
            assert!(!captured.moved().unwrap().invalidates());
        }
        let (_, before) = log.settled(None, changed(&path));
        slow.finish().unwrap();
        fs::remove_file(log.path("audit.log.1")).unwrap();
        let (captured, facts) = log.settled(Some(&before.state()), changed(&path));
        assert_eq!(names(&captured), ["audit.log.2.gz", "audit.log"]);
        assert!(facts.is_sound() && facts.records == 200, "{facts:?}");
        assert!(!facts.continuity.is_broken(), "{:?}", facts.continuity);
    }

    #[test]
    fn a_segment_that_was_cut_short_and_rests_is_damaged() {
        let log = Log::new();
        let path = log.path("audit.log.2.gz");
        let whole = fixture::gzip(&fixture::joined(&log.lines[..100]));
        for len in [10, whole.len() - 1] {
            fs::write(log.path("audit.log.1"), fixture::joined(&log.lines[100..150])).unwrap();
            fs::write(&path, &whole[..len]).unwrap();
            let (captured, facts) = log.settled(None, changed(&path) + SignedDuration::from_mins(2));
            assert!(names(&captured).contains(&"audit.log.2.gz"));
            let cut_short = |finding: &crate::Finding| matches!(finding.fault, Fault::Compression { .. });
            assert!(facts.findings.kept().iter().any(cut_short), "{facts:?}");
        }
    }

    #[test]
    fn what_was_whole_before_has_no_excuse() {
        let log = Log::new();
        let path = log.path("audit.log.1.gz");
        fs::remove_file(log.path("audit.log.1")).unwrap();
        let whole = fixture::gzip(&fixture::joined(&log.lines[..150]));
        fs::write(&path, &whole).unwrap();
        let (_, before) = log.settled(None, changed(&path));
        assert!(before.is_sound());
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(40)
            .unwrap();
        let (captured, facts) = log.settled(Some(&before.state()), changed(&path));
        assert!(names(&captured).contains(&"audit.log.1.gz"));
        assert!(!facts.is_sound(), "{facts:?}");
    }
}
