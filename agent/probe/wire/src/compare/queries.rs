//! Golden queries: rankings with ties, recall, and counts.

use std::collections::BTreeSet;

use super::{Finding, Outcome, Question, Rules, faults};
use crate::facts::Facts;
use crate::fault::FaultKind;
use crate::measure::TableMeasure;
use crate::query::{Answer, Golden, Hit, Query};

/// Whether every golden query of every recorded table is answered as at the cut, and every index was read whole.
pub fn queries(recorded: &Facts, measured: &Facts, rules: Rules) -> Vec<Finding> {
    let same_probe = recorded.probe == measured.probe;
    let judge = |table: &TableMeasure| table_queries(table, measured.table(&table.path), same_probe, rules);
    recorded.tables.iter().flat_map(judge).collect()
}

fn table_queries(
    recorded: &TableMeasure,
    measured: Option<&TableMeasure>,
    same_probe: bool,
    rules: Rules,
) -> Vec<Finding> {
    let finding = |outcome, message: &str| Finding::new(Question::Queries, &recorded.path, outcome, message);
    let Some(measured) = measured else {
        return vec![finding(Outcome::Unknown, "the probe told nothing of this table")];
    };
    let mut findings: Vec<Finding> = faults(measured, Question::Queries).collect();
    findings.extend(indices(recorded, measured));
    let judge = |golden: &Golden| {
        let answered = measured.golden.iter().find(|other| other.query == golden.query);
        judge_golden(
            &recorded.path,
            golden,
            answered,
            !findings.is_empty(),
            same_probe,
            rules,
        )
    };
    let judged: Vec<Finding> = recorded.golden.iter().filter_map(judge).collect();
    findings.extend(judged);
    if findings.is_empty() {
        findings.push(match measured.version {
            None => finding(
                Outcome::Unknown,
                "the table could not be opened, so nothing was asked",
            ),
            Some(_) => finding(
                Outcome::NotApplicable,
                "no vector, full-text or scalar index and no vector column",
            ),
        });
    }
    findings
}

/// Indices that were there at the cut and are gone, and those that were read whole.
fn indices(recorded: &TableMeasure, measured: &TableMeasure) -> Vec<Finding> {
    if measured.version.is_none() {
        return Vec::new();
    }
    let judge = |index: &crate::measure::Index| {
        let finding = |outcome, message: String| {
            Some(Finding::new(Question::Queries, &recorded.path, outcome, message).about(&index.name))
        };
        match measured.indices.iter().find(|other| other.name == index.name) {
            None => {
                let mut gone = finding(Outcome::Disproved, format!("the index {} is gone", index.name))?;
                gone.fault = Some(FaultKind::Missing);
                Some(gone)
            }
            Some(found) if found.prewarmed == Some(true) => finding(
                Outcome::Proved,
                format!("index {} ({}) was read whole", index.name, index.kind),
            ),
            // A failed prewarm is a fault, and told as such; one that was not asked for proves nothing.
            Some(_) => None,
        }
    };
    recorded.indices.iter().filter_map(judge).collect()
}

fn judge_golden(
    table: &str,
    recorded: &Golden,
    measured: Option<&Golden>,
    faulty: bool,
    same_probe: bool,
    rules: Rules,
) -> Option<Finding> {
    let finding = |outcome, message: String| {
        let mut finding =
            Finding::new(Question::Queries, table, outcome, message).about(name(&recorded.query));
        finding.fault = (outcome == Outcome::Disproved).then_some(FaultKind::Contradiction);
        Some(finding)
    };
    let Some(measured) = measured else {
        // The fault that kept it from being answered is told already.
        return if faulty {
            None
        } else {
            finding(Outcome::Unknown, "it was not asked".to_owned())
        };
    };
    let (outcome, message) = match (&recorded.answer, &measured.answer) {
        (Answer::Nearest { live: a, exact: x }, Answer::Nearest { live: b, exact: y }) => {
            nearest((a, x.as_deref()), (b, y.as_deref()), same_probe, rules)
        }
        (Answer::FullText { live: a }, Answer::FullText { live: b }) => full_text(a, b, same_probe, rules),
        (
            Answer::Filter {
                indexed: a,
                scanned: x,
            },
            Answer::Filter {
                indexed: b,
                scanned: y,
            },
        ) => filter((*a, *x), (*b, *y)),
        _ => (Outcome::Unknown, "the answer is of another kind".to_owned()),
    };
    finding(outcome, message)
}

fn name(query: &Query) -> String {
    match query {
        Query::Nearest {
            column,
            index: Some(index),
            ..
        } => format!("nearest in {column} by {index}"),
        Query::Nearest { column, .. } => format!("nearest in {column}"),
        Query::FullText { column, terms, .. } => format!("`{terms}` in {column}"),
        Query::Filter { predicate, .. } => predicate.clone(),
    }
}

type Nearest<'a> = (&'a [Hit], Option<&'a [Hit]>);

fn nearest(
    (live_then, exact_then): Nearest<'_>,
    (live_now, exact_now): Nearest<'_>,
    same_probe: bool,
    rules: Rules,
) -> (Outcome, String) {
    if let (Some(then), Some(now)) = (exact_then, exact_now)
        && let Err(why) = same_ranking(then, now, Order::Ascending, rules.distance_tolerance)
    {
        return (
            Outcome::Disproved,
            format!("the exact nearest rows are others than at the cut: {why}"),
        );
    }
    let Some(exact) = exact_now.or(exact_then) else {
        return match same_ranking(live_then, live_now, Order::Ascending, rules.distance_tolerance) {
            Ok(()) => (
                Outcome::Proved,
                format!("the same {} rows as at the cut", live_now.len()),
            ),
            Err(why) if same_probe => (
                Outcome::Disproved,
                format!("the index answers differently: {why}"),
            ),
            Err(why) => (
                Outcome::Unknown,
                format!("another probe answers differently: {why}"),
            ),
        };
    };
    let (then, now) = (recall(exact, live_then), recall(exact, live_now));
    let same = same_ranking(live_then, live_now, Order::Ascending, rules.distance_tolerance);
    match same {
        Ok(()) => (
            Outcome::Proved,
            format!("the same {} rows as at the cut, recall {now:.3}", live_now.len()),
        ),
        Err(why) if same_probe => (
            Outcome::Disproved,
            format!("the index answers differently: {why}"),
        ),
        Err(_) if now + rules.recall_tolerance >= then => (
            Outcome::Proved,
            format!("recall {now:.3}, {then:.3} at the cut (another probe or CPU)"),
        ),
        Err(_) => (
            Outcome::Disproved,
            format!("recall {now:.3}, {then:.3} at the cut"),
        ),
    }
}

fn full_text(then: &[Hit], now: &[Hit], same_probe: bool, rules: Rules) -> (Outcome, String) {
    match same_ranking(then, now, Order::Descending, rules.distance_tolerance) {
        Ok(()) => (
            Outcome::Proved,
            format!("the same {} rows as at the cut", now.len()),
        ),
        Err(why) if same_probe => (
            Outcome::Disproved,
            format!("the index answers differently: {why}"),
        ),
        Err(why) => {
            let share = recall(then, now);
            if share + rules.recall_tolerance >= 1.0 {
                (
                    Outcome::Proved,
                    format!("{:.3} of the rows at the cut, scored by another probe", share),
                )
            } else {
                (
                    Outcome::Disproved,
                    format!("{share:.3} of the rows at the cut: {why}"),
                )
            }
        }
    }
}

fn filter(then: (u64, Option<u64>), now: (u64, Option<u64>)) -> (Outcome, String) {
    if now.1.is_some_and(|scanned| scanned != now.0) {
        let scanned = now.1.unwrap_or_default();
        return (
            Outcome::Disproved,
            format!("the index counts {} rows, a scan {scanned}", now.0),
        );
    }
    if then.0 == now.0 {
        (Outcome::Proved, format!("{} rows as at the cut", now.0))
    } else {
        (
            Outcome::Disproved,
            format!("{} rows, {} at the cut", now.0, then.0),
        )
    }
}

/// The share of the exact rows that an index found. One when there was nothing to find.
pub fn recall(exact: &[Hit], live: &[Hit]) -> f64 {
    if exact.is_empty() {
        return 1.0;
    }
    let found: BTreeSet<u64> = live.iter().map(|hit| hit.row).collect();
    let hits = exact.iter().filter(|hit| found.contains(&hit.row)).count();
    hits as f64 / exact.len() as f64
}

/// Which end of a ranking is the best one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Distances.
    Ascending,
    /// Scores.
    Descending,
}

/// Whether two rankings are the same but for the order of equal values, and the choice among those equal to the
/// last one. The error says what differs.
pub fn same_ranking(then: &[Hit], now: &[Hit], order: Order, tolerance: f64) -> Result<(), String> {
    if then.len() != now.len() {
        return Err(format!("{} rows, {} at the cut", now.len(), then.len()));
    }
    for (place, (a, b)) in then.iter().zip(now).enumerate() {
        if !close(a.value, b.value, tolerance) {
            return Err(format!(
                "place {} has value {} (row {}), {} (row {}) at the cut",
                place + 1,
                b.value,
                b.row,
                a.value,
                a.row
            ));
        }
    }
    let Some(last) = then.last() else { return Ok(()) };
    let better = |value: f32| match order {
        Order::Ascending => value < last.value && !close(value, last.value, 2.0 * tolerance),
        Order::Descending => value > last.value && !close(value, last.value, 2.0 * tolerance),
    };
    let found: BTreeSet<u64> = now.iter().map(|hit| hit.row).collect();
    match then
        .iter()
        .find(|hit| better(hit.value) && !found.contains(&hit.row))
    {
        Some(lost) => Err(format!(
            "row {} at {} is not among the answers",
            lost.row, lost.value
        )),
        None => Ok(()),
    }
}

/// Equal up to a relative difference, absolute below one; two NaN are equal.
fn close(a: f32, b: f32, tolerance: f64) -> bool {
    let (a, b) = (f64::from(a), f64::from(b));
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * a.abs().max(b.abs()).max(1.0)
}
