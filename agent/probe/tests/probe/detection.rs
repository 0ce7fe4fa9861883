//! How many single-bit flips the rungs above `bytes` find, by class of file: a figure, for Lance has no checksums.
//!
//! Every flip is found by the file's hash; this says what a drill would see if it were not. CI flips a few bits a
//! class and wants only that nothing but the probe's own process suffers and that most flips in data are found;
//! `DR_FLIPS=60` gives the figures to publish.

use dr_probe_wire::compare::{self, Outcome, Rules, Stamped};
use dr_probe_wire::host::Ended;
use dr_probe_wire::job::Job;

use crate::rig::{everything, run, sample_facts, sample_files, sample_tree, tree};

/// Class of file, and how its path is known.
const CLASSES: [(&str, &[&str]); 6] = [
    ("data", &["memory.lance/data/"]),
    ("deletion", &["memory.lance/_deletions/"]),
    ("manifest", &["memory.lance/_versions/", ".manifest"]),
    ("vector index", &["memory.lance/_indices/", "auxiliary.idx"]),
    ("full-text index", &["memory.lance/_indices/", "invert.lance"]),
    ("scalar index", &["memory.lance/_indices/", "page_data.lance"]),
];

#[derive(Default)]
struct Figures {
    disproved: u32,
    unasked: u32,
    unseen: u32,
}

#[test]
fn flips_are_found_or_harmless_and_never_break_the_host() {
    let flips: u64 = std::env::var("DR_FLIPS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(3);
    for (class, parts) in CLASSES {
        let mut figures = Figures::default();
        (0..flips).for_each(|seed| figures.count(flip(class, parts, seed)));
        let Figures {
            disproved,
            unasked,
            unseen,
        } = figures;
        eprintln!(
            "{class}: of {flips} flips {disproved} disproved the copy, {unasked} left it unproved, {unseen} went unseen"
        );
        assert!(
            class != "data" || u64::from(unseen) * 3 <= flips,
            "{unseen} of {flips} flips in data went unseen"
        );
    }
}

impl Figures {
    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Disproved => self.disproved += 1,
            Outcome::Unknown => self.unasked += 1,
            Outcome::Proved | Outcome::NotApplicable => self.unseen += 1,
        }
    }
}

/// Flips one bit of one file of a class, and drills.
fn flip(class: &str, parts: &[&str], seed: u64) -> Outcome {
    let recorded = sample_facts();
    let mut copy = sample_tree();
    let of_class = |path: &&String| parts.iter().all(|part| path.contains(part));
    let files: Vec<&String> = sample_files().iter().filter(of_class).collect();
    assert!(!files.is_empty(), "no file of class {class}");
    let random = blake3::hash(format!("{class} {seed}").as_bytes());
    let (numbers, _) = random.as_bytes().as_chunks::<8>();
    let number = |at: usize| u64::from_le_bytes(numbers[at]) as usize;
    copy.patch(files[number(0) % files.len()], |bytes| {
        let place = number(1) % bytes.len();
        bytes[place] ^= 1 << (number(2) % 8);
    });
    let outcome = run(
        &Job {
            queries: Some(recorded.replay()),
            ..everything(tree())
        },
        Some(copy),
    );
    if !matches!(outcome.ended, Ended::Done(_)) {
        // Nothing but the bytes has changed, so nothing else can be the reason.
        eprintln!("{class} {seed}: {:?}", outcome.ended);
        let (kind, _) = outcome.ended.fault().unwrap();
        return if kind.disproves() {
            Outcome::Disproved
        } else {
            Outcome::Unknown
        };
    }
    let stamp = |table: &dr_probe_wire::measure::TableMeasure| Stamped {
        path: table.path.clone(),
        version: table.version.unwrap(),
        rows: table.rows,
    };
    let stamps: Vec<Stamped> = recorded.tables.iter().map(stamp).collect();
    let mut findings = compare::tables(&stamps, &outcome.facts.tables);
    findings.extend(compare::content(recorded, &outcome.facts.tables));
    findings.extend(compare::queries(recorded, &outcome.facts, Rules::default()));
    compare::worst(&findings).unwrap()
}
