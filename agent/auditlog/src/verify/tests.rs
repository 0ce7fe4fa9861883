use super::*;
use crate::capture::capture;
use crate::continuity::{Fate, Standing};
use crate::facts::FaultKind;
use crate::fixture;
use crate::options::{Canonical, ChainConfig, LogOptions, ReadLimits};

const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

fn chained() -> VerifyOptions {
    VerifyOptions {
        chain: Some(ChainConfig::default()),
        time_field: Some("ts".into()),
        ..VerifyOptions::default()
    }
}

fn facts_of(segments: &[(&str, &[u8])], options: &VerifyOptions, previous: Option<&LogState>) -> LogFacts {
    let segments = segments.iter().map(|(name, bytes)| ((*name).to_owned(), *bytes));
    verify(segments, options, previous, &CancellationToken::new()).unwrap()
}

fn one(bytes: &[u8]) -> LogFacts {
    facts_of(&[("audit.log", bytes)], &chained(), None)
}

fn places(facts: &LogFacts) -> Vec<(u64, FaultKind)> {
    facts
        .findings
        .kept()
        .iter()
        .map(|finding| (finding.line, finding.fault.kind()))
        .collect()
}

#[test]
fn logs_written_by_python_are_sound() {
    for archive in fixture::shared() {
        let folder = tempfile::tempdir().unwrap();
        fixture::unpack(&archive, folder.path());
        let facts: serde_json::Value =
            serde_json::from_slice(&std::fs::read(folder.path().join("facts.json")).unwrap()).unwrap();
        let log = LogOptions::new(folder.path().join("logs/audit.log")).rotated("audit.log.*");
        let captured = capture(&log).unwrap();
        let names: Vec<_> = captured
            .segments
            .iter()
            .map(|segment| segment.name.as_str())
            .collect();
        assert_eq!(names, ["audit.log.2.gz", "audit.log.1", "audit.log"]);
        let found = captured
            .verify(&chained(), None, &CancellationToken::new())
            .unwrap();
        assert!(found.is_sound(), "{:?}", found.findings);
        assert_eq!(found.records, facts["audit"]["records"].as_u64().unwrap());
        assert_eq!(found.head(), facts["audit"]["head"].as_str());
        assert_eq!(found.chain.unwrap().first_previous.as_deref(), Some(GENESIS));
        let time = found.time.unwrap();
        assert_eq!((time.read, time.unread, time.disordered), (found.records, 0, 0));
    }
}

#[test]
fn each_altered_line_is_named() {
    let lines = fixture::chained(0, 40, GENESIS);
    assert!(one(&fixture::joined(&lines)).is_sound());
    for at in 0..lines.len() {
        let mut edited = lines.clone();
        edited[at] = edited[at].replace("step", "stop");
        assert_eq!(
            places(&one(&fixture::joined(&edited))),
            [(at as u64 + 1, FaultKind::ChainHash)]
        );
    }
}

#[test]
fn each_re_chained_line_is_named() {
    let lines = fixture::chained(0, 40, GENESIS);
    for at in 0..lines.len() - 1 {
        let mut forged = lines.clone();
        let previous = if at == 0 {
            GENESIS.to_owned()
        } else {
            fixture::head(&lines[at - 1])
        };
        forged[at] = fixture::chained(1000, 1, &previous).remove(0);
        assert_eq!(
            places(&one(&fixture::joined(&forged))),
            [(at as u64 + 2, FaultKind::ChainLink)]
        );
    }
}

#[test]
fn each_removed_line_is_named() {
    let lines = fixture::chained(0, 40, GENESIS);
    for at in 1..lines.len() - 1 {
        let mut fewer = lines.clone();
        fewer.remove(at);
        assert_eq!(
            places(&one(&fixture::joined(&fewer))),
            [(at as u64 + 1, FaultKind::ChainLink)]
        );
    }
}

#[test]
fn each_doubled_line_is_named() {
    let lines = fixture::chained(0, 40, GENESIS);
    for at in 0..lines.len() {
        let mut more = lines.clone();
        more.insert(at, lines[at].clone());
        assert_eq!(
            places(&one(&fixture::joined(&more))),
            [(at as u64 + 2, FaultKind::ChainLink)]
        );
    }
}

#[test]
fn each_swap_of_lines_is_named() {
    let lines = fixture::chained(0, 40, GENESIS);
    for at in 0..lines.len() - 1 {
        let mut swapped = lines.clone();
        swapped.swap(at, at + 1);
        let found = places(&one(&fixture::joined(&swapped)));
        let named = at as u64 + 1..=at as u64 + 3;
        assert!(!found.is_empty());
        assert!(
            found
                .iter()
                .all(|(line, kind)| named.contains(line) && *kind == FaultKind::ChainLink),
            "{found:?}"
        );
    }
}

#[test]
fn a_first_or_last_line_removed_breaks_genesis_or_continuity() {
    let lines = fixture::chained(0, 40, GENESIS);
    let whole = fixture::joined(&lines);
    let mut options = chained();
    options.chain.as_mut().unwrap().genesis = Some(GENESIS.into());
    let without_first = facts_of(&[("audit.log", &fixture::joined(&lines[1..]))], &options, None);
    assert_eq!(places(&without_first), [(1, FaultKind::Genesis)]);

    let state = one(&whole).state();
    let shorter = fixture::joined(&lines[..39]);
    let without_last = facts_of(&[("audit.log", &shorter)], &chained(), Some(&state));
    assert_eq!(
        without_last.findings.total(),
        0,
        "a chain does not see a lost tail"
    );
    assert_eq!(without_last.continuity.standing, Standing::LostTail);
    let lost = (whole.len() - shorter.len()) as u64;
    assert_eq!(
        without_last.continuity.segments[0].fate,
        Fate::LostTail {
            at: shorter.len() as u64,
            lost
        }
    );
}

#[test]
fn a_lost_tail_that_was_written_over_is_found() {
    let lines = fixture::chained(0, 400, GENESIS);
    let state = one(&fixture::joined(&lines)).state();
    let mut forged = lines[..390].to_vec();
    forged.extend(fixture::chained(5000, 200, &fixture::head(&lines[389])));
    let found = facts_of(
        &[("audit.log", &fixture::joined(&forged))],
        &chained(),
        Some(&state),
    );
    assert_eq!(found.findings.total(), 0, "the chain was forged well");
    let altered_at = fixture::joined(&lines[..390]).len() as u64;
    let Fate::Rewritten {
        same_until,
        different_by,
    } = found.continuity.segments[0].fate
    else {
        panic!("{:?}", found.continuity)
    };
    assert!(
        same_until <= altered_at && altered_at < different_by,
        "{same_until}..{different_by} {altered_at}"
    );
}

#[test]
fn an_append_to_a_torn_line_is_named() {
    let lines = fixture::chained(0, 5, GENESIS);
    let mut bytes = fixture::joined(&lines[..3]);
    bytes.extend_from_slice(&lines[3].as_bytes()[..20]);
    let torn = one(&bytes);
    assert!(torn.is_sound());
    assert_eq!((torn.records, torn.unterminated), (3, 20));
    bytes.extend_from_slice(&fixture::joined(&lines[4..]));
    let merged = one(&bytes);
    assert_eq!(places(&merged), [(4, FaultKind::Json)]);
    assert_eq!(merged.records, 3);
}

#[test]
fn a_torn_tail_is_borne_at_the_very_end_only() {
    let lines = fixture::chained(0, 6, GENESIS);
    let (old, new) = (fixture::joined(&lines[..3]), fixture::joined(&lines[3..]));
    let torn = [&old[..], b"{\"half"].concat();
    let found = facts_of(&[("audit.log.1", &torn), ("audit.log", &new)], &chained(), None);
    assert_eq!(places(&found), [(4, FaultKind::TornTail)]);
    let found = facts_of(&[("audit.log.1", &torn), ("audit.log", b"")], &chained(), None);
    assert_eq!((found.findings.total(), found.unterminated), (0, 6));
}

#[test]
fn the_chain_has_the_last_word_on_order() {
    let lines = fixture::chained(0, 30, GENESIS);
    let parts: Vec<Vec<u8>> = lines.chunks(10).map(fixture::joined).collect();
    let shuffled = [
        ("b", &parts[1][..]),
        ("c", &parts[2]),
        ("a", &parts[0]),
        ("empty", b""),
    ];
    let found = facts_of(&shuffled, &chained(), None);
    assert!(found.reordered && found.is_sound(), "{:?}", found.findings);
    let names: Vec<_> = found
        .segments
        .iter()
        .map(|segment| segment.state.name.as_str())
        .collect();
    assert_eq!(names, ["a", "b", "c", "empty"]);
    assert_eq!(found.head(), Some(fixture::head(&lines[29]).as_str()));
}

#[test]
fn a_missing_segment_is_a_broken_link() {
    let lines = fixture::chained(0, 30, GENESIS);
    let parts: Vec<Vec<u8>> = lines.chunks(10).map(fixture::joined).collect();
    let found = facts_of(
        &[("audit.log.2", &parts[0]), ("audit.log", &parts[2])],
        &chained(),
        None,
    );
    assert_eq!(places(&found), [(1, FaultKind::ChainLink)]);
    assert_eq!(found.findings.kept()[0].segment, "audit.log");
}

#[test]
fn damaged_gzip_is_reported_with_what_it_still_gave() {
    let lines = fixture::chained(0, 3000, GENESIS);
    let whole = fixture::gzip(&fixture::joined(&lines));
    for cut in [12, whole.len() / 2, whole.len() - 1] {
        let found = one(&whole[..cut]);
        assert_eq!(found.findings.count(FaultKind::Compression), 1);
        assert!(found.records <= 3000 && !found.is_sound());
    }
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 0x10;
    assert!(!one(&flipped).is_sound());
    assert!(
        one(&[&whole[..], &fixture::gzip(b"")[..]].concat()).is_sound(),
        "two members are one stream"
    );
}

#[test]
fn a_gzip_that_expands_without_end_is_left() {
    let options = VerifyOptions {
        limits: ReadLimits {
            expanded: 1 << 20,
            line: 4096,
            ..ReadLimits::default()
        },
        ..VerifyOptions::default()
    };
    let bomb = fixture::gzip(&vec![b' '; 64 << 20]);
    let found = facts_of(&[("audit.log.1.gz", &bomb)], &options, None);
    assert_eq!(found.findings.count(FaultKind::TooLarge), 1);
}

#[test]
fn findings_are_bounded_and_counted() {
    let bytes = "not json\n\n".repeat(5000);
    let found = one(bytes.as_bytes());
    assert_eq!(
        (
            found.findings.count(FaultKind::Json),
            found.findings.count(FaultKind::BlankLine)
        ),
        (5000, 5000)
    );
    assert_eq!(found.findings.kept().len(), 200);
    assert_eq!(found.findings.breaks(), 5000);
}

#[test]
fn state_and_facts_survive_json() {
    let mut lines = fixture::chained(0, 100, GENESIS);
    lines[4] = "no json".into();
    lines[9] = lines[9].replace("step", "stop");
    lines.remove(20);
    let facts = one(&fixture::joined(&lines));
    assert_eq!(facts.findings.total(), 3);
    let text = serde_json::to_string(&facts).unwrap();
    assert_eq!(serde_json::from_str::<LogFacts>(&text).unwrap(), facts);
    let text = serde_json::to_string(&facts.state()).unwrap();
    assert_eq!(serde_json::from_str::<LogState>(&text).unwrap(), facts.state());
}

#[test]
fn a_reader_that_fails_is_no_finding() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::new(io::ErrorKind::TimedOut, "the store is away"))
        }
    }
    for start in [&b"{\"a\":1}\n{\"a"[..], &fixture::gzip(b"{}\n")[..12]] {
        let options = VerifyOptions::default();
        let segment = [("audit.log".to_owned(), start.chain(Failing))];
        let error = verify(segment, &options, None, &CancellationToken::new()).unwrap_err();
        assert!(matches!(error, Error::Read { .. }), "{error:?}");
    }
}

#[test]
fn links_alone_can_be_checked() {
    let mut options = chained();
    options.chain.as_mut().unwrap().canonical = Canonical::LinksOnly;
    let mut lines = fixture::chained(0, 10, GENESIS);
    lines.remove(4);
    assert_eq!(
        places(&facts_of(&[("a", &fixture::joined(&lines))], &options, None)),
        [(5, FaultKind::ChainLink)]
    );
}

#[test]
fn time_disorder_is_a_figure() {
    let times = ["10", "12", "11", "20", "5", "\"later\"", "21"];
    let bytes: String = times.iter().map(|time| format!("{{\"ts\":{time}}}\n")).collect();
    let options = VerifyOptions {
        time_field: Some("ts".into()),
        ..VerifyOptions::default()
    };
    let found = facts_of(&[("a", bytes.as_bytes()), ("b", b"{\"ts\":1}\n")], &options, None);
    assert!(found.is_sound());
    let time = found.time.unwrap();
    assert_eq!((time.read, time.unread, time.disordered), (7, 1, 3));
    let step = time.longest_step_back.unwrap();
    assert_eq!((step.segment.as_str(), step.line, step.millis), ("b", 1, 20_000));
}

#[test]
fn a_genesis_is_asked_for_only_while_the_first_segment_is_there() {
    let lines = fixture::chained(0, 30, GENESIS);
    let parts: Vec<Vec<u8>> = lines.chunks(10).map(fixture::joined).collect();
    let mut options = chained();
    options.chain.as_mut().unwrap().genesis = Some(GENESIS.into());
    let first = facts_of(&[("log.1", &parts[0]), ("log", &parts[1])], &options, None);
    assert!(first.is_sound());
    let rotated = [("log.1", &parts[1][..]), ("log", &parts[2])];
    let second = facts_of(&rotated, &options, Some(&first.state()));
    assert!(second.is_sound(), "{:?}", second.findings);
    let third = facts_of(&rotated, &options, Some(&second.state()));
    assert!(third.is_sound(), "{:?}", third.findings);
}

#[test]
fn cancellation_is_no_finding() {
    let cancel = CancellationToken::new();
    cancel.cancel();
    let segment = [("log".to_owned(), &b"{}\n"[..])];
    let error = verify(segment, &VerifyOptions::default(), None, &cancel).unwrap_err();
    assert!(matches!(error, Error::Cancelled));
}

#[test]
fn duplicate_keys_are_a_word_in_any_form() {
    for canonical in [
        None,
        Some(Canonical::LinksOnly),
        Some(Canonical::JsonSortedCompact),
    ] {
        let mut options = chained();
        options.chain = canonical.map(|canonical| ChainConfig {
            canonical,
            ..ChainConfig::default()
        });
        let line = fixture::chained(0, 1, "")
            .remove(0)
            .replacen('{', "{\"seq\":9,", 1);
        let found = facts_of(&[("log", format!("{line}\n").as_bytes())], &options, None);
        assert!(found.is_sound(), "{:?}", found.findings);
        assert_eq!(found.findings.count(FaultKind::DuplicateKey), 1, "{canonical:?}");
    }
}

#[test]
fn segments_that_can_not_be_read_leave_it_incomplete() {
    let lines = fixture::chained(0, 30, GENESIS);
    let parts: Vec<Vec<u8>> = lines.chunks(10).map(fixture::joined).collect();
    let zstd = zstd::encode_all(&parts[1][..], 0).unwrap();
    let found = facts_of(
        &[("log.2", &parts[0]), ("log.1.zst", &zstd), ("log", &parts[2])],
        &chained(),
        None,
    );
    assert!(found.is_sound() && !found.is_complete(), "{:?}", found.findings);
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400),
        gzip in proptest::prelude::any::<bool>(),
    ) {
        let bytes = if gzip { [&[0x1f, 0x8b, 8, 0][..], &bytes].concat() } else { bytes };
        let found = facts_of(&[("log", &bytes)], &chained(), None);
        let again = facts_of(&[("log", &bytes)], &chained(), Some(&found.state()));
        proptest::prop_assert!(!again.continuity.is_broken());
    }
}

/// `cargo test -p dr-auditlog throughput -- --ignored --nocapture`: per second of processor time, so that a busy
/// machine measures the same.
#[test]
#[ignore = "a measurement"]
fn throughput() {
    let busy_nanos = || -> f64 {
        let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        stat.split(' ').next().unwrap().parse().unwrap()
    };
    let lines = fixture::joined(&fixture::chained(0, 300_000, GENESIS));
    let timed = VerifyOptions {
        time_field: Some("ts".into()),
        ..VerifyOptions::default()
    };
    let framed = VerifyOptions {
        format: crate::Format::Lines,
        ..VerifyOptions::default()
    };
    for (what, options) in [
        ("framing", framed),
        ("JSON", VerifyOptions::default()),
        ("JSON, time", timed),
        ("JSON, time, chain", chained()),
    ] {
        let start = busy_nanos();
        assert!(facts_of(&[("log", &lines)], &options, None).is_sound());
        let rate = lines.len() as f64 * 1e3 / (busy_nanos() - start);
        println!("{what}: {rate:.0} MB/s over {} MB", lines.len() / 1_000_000);
    }
}
