use tokio_util::sync::CancellationToken;

use super::*;
use crate::facts::LogFacts;
use crate::fixture;
use crate::options::{ChainConfig, VerifyOptions};
use crate::verify::verify;

type Files<'a> = &'a [(&'a str, &'a [u8])];

fn facts(files: Files<'_>, previous: Option<&LogState>) -> LogFacts {
    facts_with(files, previous, &VerifyOptions::default())
}

fn facts_with(files: Files<'_>, previous: Option<&LogState>, options: &VerifyOptions) -> LogFacts {
    let files = files.iter().map(|(name, bytes)| ((*name).to_owned(), *bytes));
    verify(files, options, previous, &CancellationToken::new()).unwrap()
}

fn from_to(before: Files<'_>, after: Files<'_>) -> Continuity {
    facts(after, Some(&facts(before, None).state())).continuity
}

fn fates(continuity: &Continuity) -> Vec<Fate> {
    continuity.segments.iter().map(|fate| fate.fate).collect()
}

/// Three segments' worth of lines.
fn parts() -> [Vec<u8>; 3] {
    let lines = fixture::chained(0, 300, "");
    [&lines[..100], &lines[100..200], &lines[200..]].map(fixture::joined)
}

#[test]
fn nothing_before_is_a_first() {
    let [a, ..] = parts();
    assert_eq!(from_to(&[], &[("log", &a)]).standing, Standing::First);
    assert_eq!(from_to(&[("log", b"")], &[("log", &a)]).standing, Standing::First);
}

#[test]
fn growth_continues_and_is_counted() {
    let [a, b, c] = parts();
    let grown = [&b[..], &c].concat();
    let found = from_to(&[("log.1", &a), ("log", &b)], &[("log.1", &a), ("log", &grown)]);
    assert_eq!(found.standing, Standing::Continues);
    assert_eq!(
        fates(&found),
        [
            Fate::Unchanged,
            Fate::Grown {
                bytes: c.len() as u64
            }
        ]
    );
    assert_eq!((found.new_records, found.new_bytes), (100, c.len() as u64));
}

#[test]
fn a_half_line_that_was_left_is_no_difference() {
    let [a, b, _] = parts();
    let torn = [&a[..], &b[..40]].concat();
    let state = facts(&[("log", &torn)], None).state();
    assert_eq!(state.bytes(), a.len() as u64);
    let whole = [&a[..], &b].concat();
    assert_eq!(
        facts(&[("log", &whole)], Some(&state)).continuity.standing,
        Standing::Continues
    );
    let other_half = [&a[..], &b"{}\n"[..]].concat();
    assert_eq!(
        facts(&[("log", &other_half)], Some(&state)).continuity.standing,
        Standing::Continues
    );
}

#[test]
fn rotation_and_compression_are_known_again() {
    let [a, b, c] = parts();
    let both = [&b[..], &c[..]].concat();
    let found = from_to(
        &[("log.1", &a), ("log", &b)],
        &[("log.2", &a), ("log.1", &both), ("log", b"")],
    );
    assert_eq!(found.standing, Standing::Rotated);
    assert_eq!(
        fates(&found),
        [
            Fate::Renamed { bytes: 0 },
            Fate::Renamed {
                bytes: c.len() as u64
            }
        ]
    );
    let compressed = fixture::gzip(&a);
    let found = from_to(
        &[("log.1", &a), ("log", &b)],
        &[("log.2.gz", &compressed), ("log.1", &b), ("log", &c)],
    );
    assert_eq!(found.standing, Standing::GzipRotated);
    assert_eq!(found.segments[0].now.as_deref(), Some("log.2.gz"));
    assert_eq!(found.new_records, 100);
}

#[test]
fn the_oldest_may_go_but_not_one_between() {
    let [a, b, c] = parts();
    let before: Files<'_> = &[("log.2", &a), ("log.1", &b), ("log", &c)];
    let found = from_to(before, &[("log.1", &b), ("log", &c)]);
    assert_eq!(found.standing, Standing::AgedOut);
    assert_eq!(found.vanished().count(), 1);
    let found = from_to(before, &[("log.2", &a), ("log", &c)]);
    assert_eq!(
        (found.standing, found.segments[1].fate),
        (Standing::Hole, Fate::Missing)
    );
    assert!(found.is_broken());
}

#[test]
fn the_newest_may_go_only_if_its_successor_names_it() {
    let [a, b, c] = parts();
    let chained = VerifyOptions {
        chain: Some(ChainConfig::default()),
        ..VerifyOptions::default()
    };
    let state = facts_with(&[("log.1", &a), ("log", &b)], None, &chained).state();
    let found = facts_with(&[("log", &c)], Some(&state), &chained).continuity;
    assert_eq!(found.standing, Standing::AgedOut, "{found:?}");
    let other = fixture::joined(&fixture::chained(900, 50, "ab"));
    let found = facts_with(&[("log", &other)], Some(&state), &chained).continuity;
    assert_eq!(found.standing, Standing::NewIdentity);
    let unchained = from_to(&[("log", &b)], &[("log", &[&c[..], b"{}\n"].concat())]);
    assert_eq!(unchained.standing, Standing::NewIdentity);
}

#[test]
fn a_lost_tail_is_found_at_each_line() {
    let [a, ..] = parts();
    let state = facts(&[("log", &a)], None).state();
    let ends: Vec<usize> = memchr::memchr_iter(b'\n', &a).map(|at| at + 1).collect();
    for &end in &ends[..ends.len() - 1] {
        let found = facts(&[("log", &a[..end])], Some(&state)).continuity;
        let expected = Fate::LostTail {
            at: end as u64,
            lost: (a.len() - end) as u64,
        };
        assert_eq!(fates(&found), [expected]);
    }
}

#[test]
fn each_rewritten_byte_is_found_and_placed() {
    let [a, ..] = parts();
    let state = facts(&[("log", &a)], None).state();
    for at in (0..a.len()).step_by(97).filter(|&at| a[at] != b'\n') {
        let mut altered = a.clone();
        altered[at] ^= 1;
        let found = facts(&[("log", &altered)], Some(&state)).continuity;
        let Fate::Rewritten {
            same_until,
            different_by,
        } = found.segments[0].fate
        else {
            panic!("byte {at}: {found:?}");
        };
        let near = same_until..different_by;
        assert!(
            near.contains(&(at as u64)) && different_by - same_until <= 8192,
            "byte {at} in {near:?}"
        );
    }
}

#[test]
fn an_emptied_log_is_told_from_a_rotated_one() {
    let [a, b, _] = parts();
    let found = from_to(&[("log", &a)], &[("log", b"")]);
    assert!(found.is_broken());
    assert_eq!(
        from_to(&[("log", &a)], &[("log.1", &a), ("log", &b)]).standing,
        Standing::Rotated
    );
    let found = from_to(&[("log", &a)], &[]);
    assert_eq!(found.standing, Standing::NewIdentity);
}

#[test]
fn the_same_file_with_other_bytes_is_truncated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let [a, b, _] = parts();
    let look = |previous: Option<&LogState>| {
        let captured = crate::capture(&crate::LogOptions::new(&path)).unwrap();
        captured
            .verify(&VerifyOptions::default(), previous, &CancellationToken::new())
            .unwrap()
    };
    std::fs::write(&path, &a).unwrap();
    let state = look(None).state();
    std::fs::write(&path, "").unwrap();
    assert_eq!(
        look(Some(&state)).continuity.segments[0].fate,
        Fate::Truncated { at: 0 }
    );
    std::fs::write(&path, &b[..b.len() / 2]).unwrap();
    assert_eq!(look(Some(&state)).continuity.standing, Standing::Truncated);
}

#[test]
fn each_fate_is_said_in_words() {
    let said = |fate| {
        let fate = SegmentFate {
            segment: "log".into(),
            id: String::new(),
            now: Some("log.1".into()),
            fate,
        };
        fate.to_string()
    };
    assert_eq!(said(Fate::Renamed { bytes: 0 }), "log: now log.1");
    assert_eq!(
        said(Fate::LostTail { at: 10, lost: 5 }),
        "log: log.1 ends at byte 10: 5 bytes that were captured are gone"
    );
}
