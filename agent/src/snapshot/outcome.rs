//! What is said of a committed snapshot.

use dr_auditlog::{Weight, carry};
use dr_lance::{Excluded, Exclusion};
use dr_proto::model::HoldInfo;
use dr_vault::{SnapshotId, backup};
use serde::Serialize;

use super::FactsOutcome;
use crate::check::audit_log::odd;
use crate::cut::{Content, Held};
use crate::stamp::{LanceStamp, LogStamp, Stamp};

/// A committed snapshot.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// Its id.
    pub id: SnapshotId,
    /// The moment of the cut.
    pub cut: jiff::Timestamp,
    /// Whether all sources stood still together at that moment.
    pub exact: bool,
    /// Length of the window in which sources were captured, in seconds.
    pub window_seconds: f64,
    /// Why it is suspect, if it is.
    pub suspect: Option<String>,
    /// Why it would be, had nobody said that it is right.
    pub accepted: Option<String>,
    /// What was read and stored.
    pub stats: backup::Stats,
    /// Its sources with what must be said of them.
    pub sources: Vec<SourceOutcome>,
    /// Sources that the snapshot before holds and that their glob does not match any more: not in this one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<String>,
    /// Snapshots before this one that can not be opened: this one is whole, and was not compared with them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub damaged_before: Vec<String>,
    /// What came of holding it.
    pub hold: HoldOutcome,
    /// What came of measuring facts.
    pub facts: FactsOutcome,
    /// How long it took until the commit, in seconds.
    pub seconds: f64,
}

/// What came of holding a snapshot that was just committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldOutcome {
    /// Nobody asked for it.
    NotAsked,
    /// It is held.
    Set(HoldInfo),
    /// It is not, although somebody asked.
    Missing {
        /// Why.
        reason: String,
    },
}

/// One source of a committed snapshot.
#[derive(Debug, Serialize)]
pub struct SourceOutcome {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: &'static str,
    /// `3 tables, 15204 rows` or `12000 records`.
    pub figure: String,
    /// How its files were held: `descriptor 214`.
    pub pins: String,
    /// What the source lacked: an alarm, for the live data is damaged.
    pub damage: Vec<String>,
    /// What may become one, or went otherwise than it should: no alarm.
    pub warnings: Vec<String>,
    /// What is not in the snapshot, and other things to know.
    pub notes: Vec<String>,
}

pub(super) fn describe(held: &Held, stamp: &Stamp, lost: &[String]) -> SourceOutcome {
    let mut outcome = SourceOutcome {
        name: held.source.name.clone(),
        kind: held.source.kind.as_str(),
        figure: String::new(),
        pins: String::new(),
        damage: Vec::new(),
        warnings: Vec::new(),
        notes: Vec::new(),
    };
    if let Content::Log(captured) = &held.content {
        let (odd, left_out) = odd(captured);
        outcome.warnings = odd.map(|(name, what)| format!("{name} {what}")).collect();
        outcome.notes = left_out
            .map(|(name, what)| format!("not included: {name}: {what}"))
            .collect();
    }
    match stamp {
        Stamp::Lancedb(lance) => {
            outcome.figure = format!("{} tables, {} rows", lance.tables.len(), lance.rows());
            outcome.pins = pins(lance);
            outcome.damage = lance.lacks();
            outcome.notes = notes(lance);
        }
        Stamp::AuditLog(log) => {
            let facts = &log.facts;
            outcome.figure = format!("{} segments, {} records", facts.segments.len(), facts.records);
            outcome.pins = listed(log.pins().into_iter());
            outcome.damage = facts
                .findings
                .of(Weight::Break)
                .map(ToString::to_string)
                .collect();
            let others = [Weight::Unread, Weight::Word].into_iter();
            outcome.warnings.extend(
                others
                    .flat_map(|weight| facts.findings.of(weight))
                    .map(ToString::to_string),
            );
            outcome.damage.extend_from_slice(lost);
            outcome
                .notes
                .insert(0, format!("the log {}", facts.continuity.standing.name()));
            outcome.notes.extend(log_notes(log));
        }
    }
    outcome
}

fn pins(lance: &LanceStamp) -> String {
    let held = lance.pins.file_systems.iter().flat_map(|pins| &pins.held);
    listed(held.map(|(method, figure)| (method.to_string(), figure.files)))
}

fn listed(pins: impl Iterator<Item = (String, u64)>) -> String {
    pins.map(|(method, files)| format!("{method} {files}"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Segments that the host has no longer, and what no snapshot ever saw.
pub(crate) fn log_notes(log: &LogStamp) -> Vec<String> {
    let carried = log.carried.iter().map(|carried| {
        format!(
            "carried over: {} ({} records), gone from the host since {:.0}, here as {}",
            carried.segment.name, carried.segment.records, carried.since, carried.name
        )
    });
    let gaps = carry::gaps(&log.carried, &log.facts);
    let gaps = gaps.iter().map(|(before, after)| {
        format!(
            "records between {before} and {after} were rotated away before any snapshot saw them: take snapshots more \
             often than the log rotates"
        )
    });
    carried.chain(gaps).collect()
}

/// What is not in the snapshot, by name, and what was taken otherwise than usual.
pub(crate) fn notes(lance: &LanceStamp) -> Vec<String> {
    let external = lance.external_bases.iter().map(|base| {
        format!(
            "not included: {} files of {} that lie outside the database, below {}",
            base.files, base.table, base.path
        )
    });
    let opaque = lance.tables.iter().filter_map(|table| {
        Some(format!(
            "{} was taken whole: {}",
            table.path,
            table.opaque.as_ref()?
        ))
    });
    excluded(&lance.excluded)
        .into_iter()
        .chain(external)
        .chain(opaque)
        .collect()
}

/// What was left out, a line each; what every table leaves out in one line, with some of it by name.
fn excluded(all: &[Excluded]) -> Vec<String> {
    /// Of what is left out as a rule.
    const NAMED: usize = 3;
    let name = |excluded: &Excluded| match excluded.files {
        0 | 1 => excluded.path.clone(),
        files => format!("{} ({files} files)", excluded.path),
    };
    let by_rule = |reason: Exclusion| matches!(reason, Exclusion::OlderVersions | Exclusion::VersionHint);
    let mut notes = Vec::new();
    for reason in [Exclusion::OlderVersions, Exclusion::VersionHint] {
        let names: Vec<String> = all.iter().filter(|one| one.reason == reason).map(name).collect();
        let more = match names.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let named = names.get(..NAMED).unwrap_or(&names).join(", ");
        if !named.is_empty() {
            notes.push(format!("not included: {named}{more}: {reason}"));
        }
    }
    let others = all.iter().filter(|one| !by_rule(one.reason));
    notes.extend(others.map(|one| format!("not included: {}: {}", name(one), one.reason)));
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_table_leaves_out_is_one_line_and_the_rest_is_named_one_by_one() {
        let one = |path: &str, reason, files| Excluded {
            path: path.to_owned(),
            reason,
            files,
        };
        let mut all: Vec<Excluded> = (0..5)
            .map(|table| {
                one(
                    &format!("t{table}.lance/_versions"),
                    Exclusion::OlderVersions,
                    table,
                )
            })
            .collect();
        all.push(one("x", Exclusion::HalfDropped, 0));
        all.push(one("y", Exclusion::HalfDropped, 0));
        assert_eq!(
            excluded(&all),
            [
                "not included: t0.lance/_versions, t1.lance/_versions, t2.lance/_versions (2 files) and 2 more: \
                 older versions",
                "not included: x: no manifest: half-dropped or being created",
                "not included: y: no manifest: half-dropped or being created",
            ]
        );
        assert_eq!(
            excluded(&all[..1]),
            ["not included: t0.lance/_versions: older versions"]
        );
    }
}
