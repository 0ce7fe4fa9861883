//! What a probe tells of its work, as progress for people.

use dr_probe_wire::event::Event;
use dr_probe_wire::fault::Step;
use dr_vault::progress::{Count, Progress};

/// The longest name of a table that is shown; the end of a path says more than its beginning.
const LONGEST: usize = 60;

/// Shows where the probe stands.
pub fn show(progress: &Progress, event: &Event) {
    let Event::Progress {
        table,
        step,
        done,
        total,
    } = event
    else {
        return;
    };
    let what = format!("{} {}", doing(*step), end_of(table));
    if *step == Step::Scan && *total > 0 {
        let (done, total) = (*done, *total);
        progress.count(
            what,
            Count {
                done,
                total,
                unit: "rows",
            },
        );
    } else {
        progress.step(what);
    }
}

fn doing(step: Step) -> &'static str {
    match step {
        Step::Connect => "opening the database of",
        Step::Open => "opening",
        Step::Validate => "validating",
        Step::Prewarm => "reading the indices of",
        Step::Scan => "scanning",
        Step::Query => "asking the queries of",
        Step::WriteTest => "writing to the copy of",
    }
}

fn end_of(path: &str) -> String {
    let count = path.chars().count();
    match count.checked_sub(LONGEST) {
        None | Some(0) => path.to_owned(),
        Some(more) => format!("…{}", path.chars().skip(more + 1).collect::<String>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(step: Step, table: &str) -> Event {
        Event::Progress {
            table: table.to_owned(),
            step,
            done: 3,
            total: 9,
        }
    }

    #[test]
    fn a_scan_counts_rows_and_other_steps_have_a_name() {
        let progress = Progress::new();
        show(&progress, &told(Step::Scan, "notes.lance"));
        let step = progress.figures().step.expect("a step");
        assert_eq!(step.what, "scanning notes.lance");
        assert_eq!(
            step.count.map(|count| (count.done, count.total, count.unit)),
            Some((3, 9, "rows"))
        );
        show(&progress, &told(Step::Query, "notes.lance"));
        let step = progress.figures().step.expect("a step");
        assert_eq!(
            (step.what.as_str(), step.count),
            ("asking the queries of notes.lance", None)
        );
        show(
            &progress,
            &told(Step::Open, &format!("{}/ü.lance", "deep/".repeat(40))),
        );
        let what = progress.figures().doing();
        assert!(
            what.starts_with("opening …") && what.ends_with("/ü.lance"),
            "{what}"
        );
        assert!(what.chars().count() < 80, "{what}");
    }
}
