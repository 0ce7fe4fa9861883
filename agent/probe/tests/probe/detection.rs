//! How many single-bit flips the rungs above `bytes` find, by class of file: a figure, for Lance has no checksums.
//!
//! Every flip is found by the file's hash; this says what a drill would see if it were not. CI flips a few bits a
//! class and wants only that nothing but the probe's own process suffers: where a flip lands is chance, for Lance
//! names and fills its files anew each time. `cargo xtask soak` sets `DR_FLIPS=60` for the figures that `DETECTION.md`
//! publishes, and `DR_FIGURES` names the file that takes them.

use std::io::Write;

use dr_probe_wire::compare::{self, Outcome, Rules, Stamped};
use dr_probe_wire::host::Ended;
use dr_probe_wire::job::Job;

use crate::rig::{everything, run, sample_facts, sample_files, sample_tree, tree};

/// A class of files: those in this folder of the table whose names end in one of these.
struct Class {
    name: &'static str,
    folder: &'static str,
    ends: &'static [&'static str],
}

const CLASSES: [Class; 6] = [
    Class {
        name: "data",
        folder: "memory.lance/data/",
        ends: &[".lance"],
    },
    Class {
        name: "manifest",
        folder: "memory.lance/_versions/",
        ends: &[".manifest"],
    },
    Class {
        name: "deletion",
        folder: "memory.lance/_deletions/",
        ends: &[".arrow", ".bin"],
    },
    Class {
        name: "vector index",
        folder: "memory.lance/_indices/",
        ends: &[".idx"],
    },
    Class {
        name: "scalar index",
        folder: "memory.lance/_indices/",
        ends: &["page_data.lance", "page_lookup.lance"],
    },
    Class {
        name: "full-text index",
        folder: "memory.lance/_indices/",
        ends: &["invert.lance", "tokens.lance", "docs.lance"],
    },
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
    for class in &CLASSES {
        let mut figures = Figures::default();
        (0..flips).for_each(|seed| figures.count(flip(class, seed)));
        figures.publish(class, flips);
    }
}

impl Figures {
    fn publish(&self, class: &Class, flips: u64) {
        let Figures {
            disproved,
            unasked,
            unseen,
        } = self;
        eprintln!(
            "{}: of {flips} flips {disproved} disproved the copy, {unasked} left it unproved, {unseen} went unseen",
            class.name
        );
        let Some(path) = std::env::var_os("DR_FIGURES") else {
            return;
        };
        let line = serde_json::json!({
            "case": "flips_by_class",
            "figure": {
                "class": class.name, "files": class.files().len(), "flips": flips,
                "disproved": disproved, "unproved": unasked, "unseen": unseen,
            },
        });
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .expect("open DR_FIGURES");
        writeln!(file, "{line}").expect("write down a figure");
    }

    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Disproved => self.disproved += 1,
            Outcome::Unknown => self.unasked += 1,
            Outcome::Proved | Outcome::NotApplicable => self.unseen += 1,
        }
    }
}

impl Class {
    /// Its files among those that a snapshot would hold.
    fn files(&self) -> Vec<&'static String> {
        let of_class =
            |path: &&String| path.starts_with(self.folder) && self.ends.iter().any(|end| path.ends_with(end));
        sample_files().iter().filter(of_class).collect()
    }
}

/// Flips one bit of one file of a class, and drills.
fn flip(class: &Class, seed: u64) -> Outcome {
    let recorded = sample_facts();
    let mut copy = sample_tree();
    let files = class.files();
    let class = class.name;
    assert!(
        !files.is_empty(),
        "no file of class {class} in {:?}",
        sample_files()
    );
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
