//! From the text of a plan to a plan, or to all that is wrong with it.

mod action;

use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use toml::de::DeTable;

use self::action::action;
use super::reader::{Problems, Section};
use super::select::SourcePattern;
use super::{Action, Exclusion, Limits, Plan, PlanErrors, Selection, WaveSize, Waves, hash_of};
use crate::model::HostName;
use crate::model::document;
use crate::model::schedule::{Cron, Missed, Schedule, Zone};
use crate::model::units::{Percent, Period, Size};

/// The longest plan that is read.
const LONGEST: usize = 64 << 10;

/// The schema that this version reads.
const SCHEMA: u64 = 1;

const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn plan(text: &str) -> Result<Plan, PlanErrors> {
    if text.len() > LONGEST {
        let problems = Problems::new(text);
        let reason = format!("the plan has {} bytes, and {LONGEST} are the most", text.len());
        problems.add(None, "", reason, None);
        return Err(PlanErrors::new(problems.into_found()));
    }
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let problems = errors.iter().map(|error| document::problem(text, error));
        return Err(PlanErrors::new(problems.collect()));
    }
    let problems = Problems::new(text);
    let plan = root(&Section::root(&problems, document.get_ref()), text);
    let found = problems.into_found();
    match plan {
        Some(plan) if found.is_empty() => Ok(plan),
        _ => Err(PlanErrors::new(found)),
    }
}

/// `None` only if something is wrong and was said.
fn root(root: &Section<'_>, text: &str) -> Option<Plan> {
    schema(root);
    let name = name(root);
    let drill = root.section("drill");
    if !drill.is_there() && !root.has("drill") {
        root.wrong(
            "drill",
            "the table `drill` is missing",
            Some("it says what is done: kind = \"restore\""),
        );
    }
    let action = action(&drill, &root.section("checks"), name.as_deref());
    let plan = Plan {
        owner: root.text("owner"),
        runbook: runbook(root),
        select: selection(&root.section("select"), action.as_ref()),
        exclude: root.sections("exclude").iter().filter_map(exclusion).collect(),
        schedule: schedule(&root.section("schedule"), name.as_deref()),
        waves: waves(&root.section("waves")),
        limits: limits(&root.section("limits")),
        action: action.unwrap_or(Action::Snapshot { reread: false }),
        name: name.unwrap_or_default(),
        text: text.to_owned(),
        hash: hash_of(text),
    };
    root.finish(&[]);
    Some(plan)
}

fn schema(root: &Section<'_>) {
    let hint = Some("write schema = 1");
    match root.integer("schema", 0..u64::MAX) {
        Some(SCHEMA) => {}
        Some(0) => root.wrong("schema", "there is no schema 0", hint),
        Some(newer) => root.wrong(
            "schema",
            format!("this version reads schema {SCHEMA}, not {newer}"),
            Some("update the coordinator first"),
        ),
        None if !root.has("schema") => root.wrong("schema", "the key `schema` is missing", hint),
        None => {}
    }
}

fn name(root: &Section<'_>) -> Option<String> {
    if !root.has("name") {
        root.wrong(
            "name",
            "the key `name` is missing",
            Some("plans are replaced, asked for and reported by name"),
        );
        return None;
    }
    let name = root.text("name")?;
    if is_name(&name) {
        return Some(name);
    }
    let reason = format!(
        "`{}` is not a plan's name: letters, digits, `.`, `-` and `_` are expected, 1 to 63, beginning with a letter or \
         digit",
        name.chars().take(80).collect::<String>()
    );
    root.wrong("name", reason, None);
    None
}

fn is_name(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

fn runbook(root: &Section<'_>) -> Option<String> {
    let url = root.text("runbook")?;
    if !url.starts_with("https://") && !url.starts_with("http://") {
        root.wrong(
            "runbook",
            format!("`{url}` is not the address of a page"),
            Some("write https://…"),
        );
    }
    Some(url)
}

fn selection(section: &Section<'_>, action: Option<&Action>) -> Selection {
    let selection = Selection {
        labels: section.parsed("labels").unwrap_or_default(),
        sources: section
            .list("sources")
            .unwrap_or_else(|| vec![SourcePattern::all()]),
    };
    if selection.sources.is_empty() && section.has("sources") {
        section.wrong(
            "sources",
            "the list names no source",
            Some("leave it out for all"),
        );
    }
    let whole = selection.sources.iter().any(SourcePattern::is_all);
    if matches!(action, Some(Action::Drill(_))) && !whole {
        let reason = "a drill rehearses whole snapshots, with all sources";
        section.wrong("sources", reason, Some("leave it out, or pick hosts by labels"));
    }
    section.finish(&[]);
    selection
}

fn exclusion(section: &Section<'_>) -> Option<Exclusion> {
    for (key, hint) in [
        ("host", "which host is left out"),
        ("reason", "say why: it is shown wherever the host is"),
    ] {
        if !section.has(key) {
            section.wrong(key, format!("the key `{key}` is missing"), Some(hint));
        }
    }
    let host: Option<HostName> = section.parsed("host");
    let reason = section.text("reason");
    let by = section.text("by");
    let until: Option<Until> = section.parsed("until");
    section.finish(&[]);
    Some(Exclusion {
        host: host?,
        reason: reason?,
        by,
        until: until.map(|until| until.0),
    })
}

/// A day, to its end in UTC, or a moment.
struct Until(Timestamp);

#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a day such as `2026-12-31` or a time such as `2026-12-31T08:00:00Z`")]
struct UntilError(String);

impl FromStr for Until {
    type Err = UntilError;

    fn from_str(text: &str) -> Result<Self, UntilError> {
        if let Ok(moment) = text.parse::<Timestamp>() {
            return Ok(Self(moment));
        }
        let end = |day: Date| {
            TimeZone::UTC
                .to_timestamp(day.tomorrow().ok()?.at(0, 0, 0, 0))
                .ok()
        };
        match text.parse::<Date>().ok().and_then(end) {
            Some(end) if text.len() == "2026-12-31".len() => Ok(Self(end)),
            _ => Err(UntilError(text.chars().take(80).collect())),
        }
    }
}

fn schedule(section: &Section<'_>, plan: Option<&str>) -> Schedule {
    let defaults = Schedule::on_demand();
    let schedule = Schedule {
        cron: section.parsed::<Cron>("cron"),
        timezone: section.parsed::<Zone>("timezone").unwrap_or(defaults.timezone),
        after: section.text("after"),
        jitter: period(section, "jitter", Duration::ZERO, 7 * DAY).unwrap_or_default(),
        window: period(section, "window", Duration::from_secs(1), 31 * DAY),
        missed: section
            .word("missed", &[("run-once", Missed::RunOnce), ("skip", Missed::Skip)])
            .unwrap_or_default(),
    };
    if let Some(after) = &schedule.after {
        if Some(after.as_str()) == plan {
            section.wrong("after", "a plan cannot come after itself", None);
        } else if !is_name(after) {
            section.wrong("after", format!("`{after}` is not a plan's name"), None);
        }
    }
    let by_clock = section.has("cron");
    for key in ["timezone", "window", "missed"] {
        if section.has(key) && !by_clock {
            section.wrong(
                key,
                format!("`{key}` means nothing without `cron`"),
                Some("add cron, or leave it out"),
            );
        }
    }
    if section.has("jitter") && !by_clock && !section.has("after") {
        let hint = Some("add cron or after, or leave it out");
        section.wrong("jitter", "`jitter` means nothing without a slot", hint);
    }
    if schedule.window.is_some_and(|window| window <= schedule.jitter) {
        let reason = "hosts begin spread over the jitter, and the window closes before the last";
        section.wrong("window", reason, Some("make it longer than the jitter"));
    }
    section.finish(&[]);
    schedule
}

/// A length of time within bounds.
fn period(section: &Section<'_>, key: &'static str, least: Duration, most: Duration) -> Option<Duration> {
    let Period(length) = section.parsed(key)?;
    if (least..=most).contains(&length) {
        return Some(length);
    }
    let reason = format!(
        "{} is not from {} to {}",
        Period(length),
        Period(least),
        Period(most)
    );
    section.wrong(key, reason, None);
    None
}

fn waves(section: &Section<'_>) -> Waves {
    let defaults = Waves::default();
    let waves = Waves {
        sizes: section.list::<WaveSize>("sizes").unwrap_or(defaults.sizes),
        stop_failed: section.parsed::<Percent>("stop_failed"),
        stop_inconclusive: section.parsed::<Percent>("stop_inconclusive"),
        coverage: section.parsed::<Percent>("coverage"),
    };
    let ends_with_all = matches!(waves.sizes.last(), Some(WaveSize::Share(share)) if share.0 >= 100.0);
    if section.has("sizes") && !ends_with_all {
        section.wrong(
            "sizes",
            "the last wave leaves hosts out",
            Some("end the list with \"100 %\""),
        );
    }
    if waves.sizes.len() > 100 {
        section.wrong("sizes", "100 waves are the most", None);
    }
    let grows = waves.sizes.windows(2).all(|pair| match pair {
        [WaveSize::Hosts(before), WaveSize::Hosts(after)] => before < after,
        [WaveSize::Share(before), WaveSize::Share(after)] => before < after,
        _ => true,
    });
    if !grows {
        let reason = "a wave is not larger than the one before";
        section.wrong(
            "sizes",
            reason,
            Some("sizes count all hosts asked so far, so they grow"),
        );
    }
    section.finish(&[]);
    waves
}

fn limits(section: &Section<'_>) -> Limits {
    let defaults = Limits::default();
    let limits = Limits {
        deadline: period(section, "deadline", Duration::from_secs(1), 7 * DAY).unwrap_or(defaults.deadline),
        retries: section
            .integer("retries", 0..11)
            .and_then(|retries| u32::try_from(retries).ok())
            .unwrap_or(defaults.retries),
        max_bytes: section.parsed("max_bytes").map(|Size(bytes)| bytes),
    };
    section.finish(&[]);
    limits
}
