use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use crate::continuity::Standing;
use crate::fixture;
use crate::options::{CaptureLimits, ChainConfig};

/// A log in a folder of its own.
struct Log {
    folder: tempfile::TempDir,
    options: LogOptions,
}

impl Log {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = LogOptions::new(folder.path().join("audit.log")).rotated("audit.log[.-]*");
        options.limits = CaptureLimits {
            attempts: 6,
            pause: Duration::from_millis(2),
            ..options.limits
        };
        Self { folder, options }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), bytes).unwrap();
    }

    fn capture(&self) -> Captured {
        capture(&self.options).unwrap()
    }

    fn names(&self) -> Vec<String> {
        self.capture()
            .segments
            .into_iter()
            .map(|segment| segment.name)
            .collect()
    }
}

fn chained() -> VerifyOptions {
    VerifyOptions {
        chain: Some(ChainConfig::default()),
        ..VerifyOptions::default()
    }
}

fn facts(captured: &Captured, previous: Option<&LogState>) -> LogFacts {
    captured
        .verify(&chained(), previous, &CancellationToken::new())
        .unwrap()
}

/// A line with a time, so that order can be seen.
fn at(second: u64) -> String {
    format!("{{\"ts\":{}}}\n", 1_772_000_000 + second)
}

#[test]
fn a_half_line_belongs_to_the_next_snapshot() {
    let log = Log::new();
    let whole = at(1) + &at(2);
    log.write("audit.log", whole.clone() + "{\"ts\":17");
    let captured = log.capture();
    let segment = &captured.segments[0];
    assert_eq!((segment.len, segment.unterminated), (whole.len() as u64, 8));
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut segment.reader(), &mut bytes).unwrap();
    assert_eq!(bytes, whole.as_bytes());
    assert_eq!(facts(&captured, None).unterminated, 8);
}

#[test]
fn a_half_line_longer_than_a_block_is_left_whole() {
    let log = Log::new();
    log.write("audit.log", [at(1).into_bytes(), vec![b'x'; 200_000]].concat());
    assert_eq!(log.capture().segments[0].unterminated, 200_000);
    log.write("audit.log", vec![b'x'; 200_000]);
    assert_eq!(log.capture().segments[0].len, 0);
}

#[test]
fn what_is_written_later_is_not_read() {
    let log = Log::new();
    log.write("audit.log", at(1));
    let captured = log.capture();
    fixture::append(&log.path("audit.log"), at(2).as_bytes());
    assert_eq!(
        captured.moved().unwrap(),
        Movement {
            grown: at(2).len() as u64,
            ..Movement::default()
        }
    );
    assert_eq!(facts(&captured, None).bytes, at(1).len() as u64);
}

#[test]
fn segments_are_ordered_by_what_their_numbers_mean() {
    let falling = Log::new();
    for (name, second) in [
        ("audit.log", 40),
        ("audit.log.1", 30),
        ("audit.log.2", 20),
        ("audit.log.10", 10),
    ] {
        falling.write(name, at(second));
    }
    assert_eq!(
        falling.names(),
        ["audit.log.10", "audit.log.2", "audit.log.1", "audit.log"]
    );

    let rising = Log::new();
    for (name, second) in [
        ("audit.log", 40),
        ("audit.log.9", 20),
        ("audit.log.10", 30),
        ("audit.log.8", 10),
    ] {
        rising.write(name, at(second));
    }
    assert_eq!(
        rising.names(),
        ["audit.log.8", "audit.log.9", "audit.log.10", "audit.log"]
    );

    let dated = Log::new();
    for (name, second) in [
        ("audit.log", 40),
        ("audit.log-20260302", 30),
        ("audit.log-20260301", 20),
    ] {
        dated.write(name, at(second));
    }
    dated.write("audit.log-20251231.gz", fixture::gzip(at(10).as_bytes()));
    assert_eq!(
        dated.names(),
        [
            "audit.log-20251231.gz",
            "audit.log-20260301",
            "audit.log-20260302",
            "audit.log"
        ]
    );
}

#[test]
fn segments_that_names_do_not_order_are_ordered_by_their_records() {
    let log = Log::new();
    for (name, second) in [("audit.log", 40), ("audit.log.old", 30), ("audit.log.older", 20)] {
        log.write(name, at(second));
    }
    let captured = log.capture();
    assert_eq!(captured.notes, [Note::OrderGuessed]);
    assert_eq!(log.names(), ["audit.log.older", "audit.log.old", "audit.log"]);
}

#[test]
fn segments_may_lie_in_another_folder() {
    let mut log = Log::new();
    log.options.rotated = Some("archive/audit-*.log".into());
    log.write("audit.log", at(3));
    log.write("archive/audit-2026-03-01.log", at(1));
    log.write("archive/audit-2026-03-02.log", at(2));
    assert_eq!(
        log.names(),
        [
            "archive/audit-2026-03-01.log",
            "archive/audit-2026-03-02.log",
            "audit.log"
        ]
    );
}

#[test]
fn what_is_no_segment_is_left_out_and_named() {
    let log = Log::new();
    log.write("audit.log", at(2));
    log.write("audit.log.1", at(1));
    log.write("audit.log.lock", "1");
    fs::create_dir(log.path("audit.log.d")).unwrap();
    std::os::unix::fs::symlink("audit.log.1", log.path("audit.log.2")).unwrap();
    let captured = log.capture();
    assert_eq!(captured.segments.len(), 2);
    let left_out: Vec<_> = captured
        .notes
        .iter()
        .map(|note| match note {
            Note::LeftOut { name, .. } => name.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(left_out, ["audit.log.2", "audit.log.d", "audit.log.lock"]);
    assert!(captured.moved().unwrap().is_still());
}

#[test]
fn what_is_no_log_is_refused_with_a_reason() {
    let log = Log::new();
    let refused = |options: &LogOptions| capture(options).unwrap_err();
    assert!(matches!(refused(&log.options), Error::Missing { .. }));
    fs::create_dir(log.path("audit.log")).unwrap();
    assert!(matches!(
        refused(&log.options),
        Error::NotAFile {
            found: "a folder",
            ..
        }
    ));
    fs::remove_dir(log.path("audit.log")).unwrap();
    std::os::unix::fs::symlink("elsewhere", log.path("audit.log")).unwrap();
    assert!(matches!(
        refused(&log.options),
        Error::NotAFile {
            found: "a symbolic link",
            ..
        }
    ));
    fs::remove_file(log.path("audit.log")).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        log.path("audit.log"),
        rustix::fs::FileType::Fifo,
        mode,
        0,
    )
    .unwrap();
    assert!(matches!(
        refused(&log.options),
        Error::NotAFile {
            found: "no regular file",
            ..
        }
    ));
    for pattern in ["*", "archive/", "../audit.log.*", "*/audit.log.*", "audit.log.[1"] {
        let options = LogOptions::new(log.path("audit.log")).rotated(pattern);
        let error = refused(&options);
        assert!(
            matches!(error, Error::Pattern { .. } | Error::PatternPlace { .. }),
            "{pattern}: {error}"
        );
    }
}

#[test]
fn an_active_file_that_is_away_is_waited_for_then_noted() {
    let log = Log::new();
    log.write("audit.log.1", at(1) + "{\"half");
    let captured = log.capture();
    assert_eq!(captured.attempts, 6);
    assert_eq!(
        captured.notes,
        [Note::ActiveMissing {
            path: log.path("audit.log")
        }]
    );
    assert_eq!(
        captured.segments[0].unterminated, 6,
        "the writer may be in it still"
    );
}

#[test]
fn a_compression_under_way_is_not_a_second_segment() {
    let lines = fixture::joined(&fixture::chained(0, 2000, ""));
    let compressed = fixture::gzip(&lines);
    for written in [0, 5, 30, compressed.len() / 2, compressed.len()] {
        let log = Log::new();
        log.write("audit.log", "");
        log.write("audit.log.1", &lines);
        log.write("audit.log.1.gz", &compressed[..written]);
        let captured = log.capture();
        let names: Vec<_> = captured
            .segments
            .iter()
            .map(|segment| segment.name.as_str())
            .collect();
        assert_eq!(
            names,
            ["audit.log.1", "audit.log"],
            "with {written} bytes compressed"
        );
        assert_eq!(facts(&captured, None).records, 2000);
    }
}

#[test]
fn a_copy_under_way_is_not_a_second_segment() {
    let lines = fixture::joined(&fixture::chained(0, 2000, ""));
    for copied in [1, 200, lines.len() / 2, lines.len()] {
        let log = Log::new();
        log.write("audit.log", &lines);
        log.write("audit.log.1", &lines[..copied]);
        let captured = log.capture();
        let found = facts(&captured, None);
        assert_eq!(found.records, 2000, "with {copied} bytes copied");
        assert!(
            found.is_sound(),
            "with {copied} bytes copied: {:?}",
            found.findings
        );
    }
}

#[test]
fn a_truncation_under_a_descriptor_is_told() {
    let log = Log::new();
    log.write("audit.log", at(1) + &at(2));
    let captured = log.capture();
    fs::copy(log.path("audit.log"), log.path("audit.log.1")).unwrap();
    log.write("audit.log", "");
    let moved = captured.moved().unwrap();
    assert!(moved.invalidates() && moved.rotated, "{moved:?}");
    let error = captured
        .verify(&chained(), None, &CancellationToken::new())
        .unwrap_err();
    assert!(matches!(error, verify::Error::Read { .. }));
    log.write("audit.log", at(3) + &at(4) + &at(5));
    assert_eq!(
        captured.moved().unwrap().truncated,
        ["audit.log"],
        "though it is longer now"
    );
    assert_eq!(log.names(), ["audit.log.1", "audit.log"]);
}

#[test]
fn a_pinned_log_outlives_a_truncation() {
    let log = Log::new();
    let lines = fixture::joined(&fixture::chained(0, 50, ""));
    log.write("audit.log", [&lines[..], b"{\"half"].concat());
    let mut captured = log.capture();
    assert_eq!(
        captured.clone().pin(log.folder.path(), 10).unwrap(),
        Pin::Descriptor,
        "too long to copy"
    );
    assert!(matches!(
        captured.clone().pin(&log.path("missing"), 1 << 20),
        Err(Error::Pin { .. })
    ));
    assert_ne!(captured.pin(log.folder.path(), 1 << 20).unwrap(), Pin::Descriptor);
    log.write("audit.log", "");
    assert!(!captured.moved().unwrap().invalidates());
    let found = facts(&captured, None);
    assert_eq!((found.records, found.bytes), (50, lines.len() as u64));
    assert_eq!(
        fs::read_dir(log.folder.path()).unwrap().count(),
        1,
        "the copy has no name"
    );
}

#[test]
fn a_rotation_after_the_capture_is_harmless() {
    let log = Log::new();
    let lines = fixture::chained(0, 20, "");
    log.write("audit.log", fixture::joined(&lines[..10]));
    let captured = log.capture();
    fs::rename(log.path("audit.log"), log.path("audit.log.1")).unwrap();
    log.write("audit.log", fixture::joined(&lines[10..]));
    let moved = captured.moved().unwrap();
    assert!(moved.rotated && !moved.invalidates());
    assert_eq!(facts(&captured, None).records, 10);
}

/// Writes, rotates as logrotate does (rename all, create), compresses, and says how many lines are acknowledged.
fn rotate_wildly(folder: &Path, stop: &AtomicBool, written: &AtomicU64) {
    let path = |number: u32, end: &str| match number {
        0 => folder.join("audit.log"),
        number => folder.join(format!("audit.log.{number}{end}")),
    };
    let (mut head, mut seq, mut rotations) = (String::new(), 0, 0);
    while !stop.load(Ordering::SeqCst) {
        for _ in 0..3 {
            let lines = fixture::chained(seq, 20, &head);
            head = fixture::head(&lines[19]);
            fixture::append(&path(0, ""), &fixture::joined(&lines));
            seq += 20;
            written.store(seq, Ordering::SeqCst);
        }
        rotations += 1;
        if rotations > 80 {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        }
        for number in (0..rotations).rev() {
            for end in ["", ".gz"] {
                if path(number, end).exists() && (number > 0 || end.is_empty()) {
                    fs::rename(path(number, end), path(number + 1, end)).unwrap();
                }
            }
        }
        fs::write(path(0, ""), "").unwrap();
        if let Ok(bytes) = fs::read(path(2, "")) {
            let compressed = fixture::gzip(&bytes);
            for part in compressed.chunks(400) {
                fixture::append(&path(2, ".gz"), part);
            }
            fs::remove_file(path(2, "")).unwrap();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn captures_during_rotation_miss_nothing() {
    let log = Log::new();
    let mut options = log.options.clone();
    options.limits = CaptureLimits {
        attempts: 200,
        pause: Duration::from_millis(1),
        ..options.limits
    };
    log.write("audit.log", "");
    let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| rotate_wildly(log.folder.path(), &stop, &written));
        let _stops = StopOnDrop(&stop);
        let mut previous: Option<LogState> = None;
        for round in 0..20 {
            let before = written.load(Ordering::SeqCst);
            let captured = capture(&options).unwrap();
            let after = written.load(Ordering::SeqCst) + 20;
            let found = facts(&captured, previous.as_ref());
            assert!(
                found.is_sound(),
                "round {round}: {:?} {:?}",
                found.findings,
                found.continuity
            );
            assert!(
                (before..=after).contains(&found.records),
                "{before} {} {after}",
                found.records
            );
            assert!(!found.reordered, "round {round}: the names gave another order");
            assert!(found.continuity.standing <= Standing::GzipRotated);
            previous = Some(found.state());
        }
    });
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
