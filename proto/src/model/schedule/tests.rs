use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn schedule(cron: &str, zone: &str) -> Schedule {
    Schedule {
        cron: Some(cron.parse().unwrap()),
        timezone: zone.parse().unwrap(),
        ..Schedule::on_demand()
    }
}

fn slots(cron: &str, zone: &str, after: &str, until: &str) -> Vec<String> {
    schedule(cron, zone)
        .slots_between(at(after), at(until))
        .map(|slot| slot.to_string())
        .collect()
}

#[test]
fn a_slot_is_on_the_wall_clock_of_its_zone() {
    assert_eq!(
        slots(
            "0 3 * * SUN",
            "Europe/Berlin",
            "2026-06-01T00:00:00Z",
            "2026-06-15T00:00:00Z"
        ),
        ["2026-06-07T01:00:00Z", "2026-06-14T01:00:00Z"]
    );
    assert_eq!(
        slots(
            "0 3 * * SUN",
            "UTC",
            "2026-06-07T02:59:59.5Z",
            "2026-06-07T03:00:00Z"
        ),
        ["2026-06-07T03:00:00Z"]
    );
    assert!(
        slots(
            "0 3 * * SUN",
            "UTC",
            "2026-06-07T03:00:00Z",
            "2026-06-07T04:00:00Z"
        )
        .is_empty()
    );
}

#[test]
fn a_time_of_day_that_does_not_exist_falls_on_the_first_that_does() {
    // On this day 02:00 became 03:00 in Berlin.
    assert_eq!(
        slots(
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00:00Z",
            "2026-03-30T12:00:00Z"
        ),
        ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
    );
}

#[test]
fn a_time_of_day_that_occurs_twice_counts_once() {
    // On this day 03:00 became 02:00 in Berlin.
    assert_eq!(
        slots(
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00:00Z",
            "2026-10-26T12:00:00Z"
        ),
        ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
    );
}

#[test]
fn intervals_follow_elapsed_time_where_clocks_are_set_back() {
    assert_eq!(
        slots(
            "*/30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00:00Z",
            "2026-10-25T12:00:00Z"
        ),
        [
            "2026-10-25T00:00:00Z",
            "2026-10-25T00:30:00Z",
            "2026-10-25T01:00:00Z",
            "2026-10-25T01:30:00Z"
        ]
    );
}

#[test]
fn patterns_that_are_never_due_or_make_no_sense_are_refused() {
    assert!(matches!("0 3 30 2 *".parse::<Cron>(), Err(CronError::Never(_))));
    for bad in [
        "",
        "0 3 * *",
        "0 0 3 * * SUN",
        "61 * * * *",
        "x",
        "0 3 * * SUN 2027",
    ] {
        assert!(
            matches!(bad.parse::<Cron>(), Err(CronError::Pattern { .. })),
            "{bad}"
        );
    }
    let error = "Europe/Berlni".parse::<Zone>().unwrap_err();
    assert!(error.to_string().contains("Europe/Berlni"), "{error}");
}

#[test]
fn a_slot_in_its_window_starts_and_a_missed_one_by_the_plans_word() {
    let mut hourly = schedule("0 * * * *", "UTC");
    hourly.window = Some(Duration::from_secs(600));
    let dealt_with = at("2026-06-01T00:00:00Z");
    assert_eq!(hourly.due(dealt_with, at("2026-06-01T00:59:59Z")), Due::default());
    let slot = at("2026-06-01T03:00:00Z");
    let newest = Some(slot);
    let in_window = Due {
        start: newest,
        late: false,
        until: newest,
        skipped: 2,
    };
    assert_eq!(hourly.due(dealt_with, at("2026-06-01T03:09:59Z")), in_window);
    let run_once = Due {
        late: true,
        ..in_window
    };
    assert_eq!(hourly.due(dealt_with, at("2026-06-01T03:10:00Z")), run_once);
    hourly.missed = Missed::Skip;
    let skipped = Due {
        start: None,
        skipped: 3,
        ..run_once
    };
    assert_eq!(hourly.due(dealt_with, at("2026-06-01T03:10:00Z")), skipped);
    assert_eq!(hourly.due(slot, at("2026-06-01T03:10:00Z")), Due::default());
}

#[test]
fn years_of_minutes_are_passed_over_at_once() {
    let minutely = schedule("* * * * *", "UTC");
    let due = minutely.due(at("2020-01-01T00:00:00Z"), at("2026-01-01T00:00:30Z"));
    assert_eq!(due.start, Some(at("2026-01-01T00:00:00Z")));
    assert_eq!(due.skipped, Due::MOST_COUNTED);
}

#[test]
fn shares_are_always_the_same_and_fill_the_jitter() {
    let slot = at("2026-06-07T03:00:00Z");
    let jitter = Duration::from_secs(7_200);
    let draw = |n: u32| share("weekly", slot, &format!("db-{n}").parse().unwrap(), jitter);
    // Fixed: an agent of another version must draw the same.
    assert_eq!(draw(7), Duration::from_millis(853_941));
    let shares: Vec<u128> = (0..1_000).map(|n| draw(n).as_millis()).collect();
    assert!(shares.iter().all(|share| *share < jitter.as_millis()));
    for quarter in 0..4 {
        let low = jitter.as_millis() * quarter / 4;
        let inside = shares
            .iter()
            .filter(|share| (low..low + jitter.as_millis() / 4).contains(share));
        assert!((200..300).contains(&inside.count()), "quarter {quarter}");
    }
    assert_eq!(
        share("weekly", slot, &"db-7".parse().unwrap(), Duration::ZERO),
        Duration::ZERO
    );
}

/// Every moment, to the minute, at which the wall clock of `zone` shows one of `hours` and `minutes`; by asking each
/// minute, with none of the cron search in it.
fn oracle(
    hours: &[i8],
    minutes: &[i8],
    zone: &TimeZone,
    after: Timestamp,
    until: Timestamp,
) -> Vec<Timestamp> {
    let fixed = hours.len() == 1 && minutes.len() == 1;
    let mut found = Vec::new();
    let mut day = zone.to_datetime(after).date();
    let last = zone.to_datetime(until).date();
    while day <= last {
        for hour in hours {
            for minute in minutes {
                moments(day.at(*hour, *minute, 0, 0), zone, fixed, &mut found);
            }
        }
        day = day.tomorrow().unwrap();
    }
    found.sort_unstable();
    found.retain(|moment| *moment > after && *moment <= until);
    found
}

fn moments(wall: DateTime, zone: &TimeZone, fixed: bool, found: &mut Vec<Timestamp>) {
    let ambiguous = zone.to_ambiguous_timestamp(wall);
    match ambiguous.offset() {
        AmbiguousOffset::Unambiguous { .. } => found.push(ambiguous.unambiguous().unwrap()),
        AmbiguousOffset::Fold { .. } => {
            found.push(ambiguous.earlier().unwrap());
            if !fixed {
                found.push(ambiguous.later().unwrap());
            }
        }
        // The first moment after the gap is the transition itself.
        AmbiguousOffset::Gap { .. } if fixed => {
            let inside = ambiguous.later().unwrap();
            found.push(
                zone.preceding(inside + jiff::SignedDuration::from_hours(3))
                    .next()
                    .unwrap()
                    .timestamp(),
            );
        }
        AmbiguousOffset::Gap { .. } => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn none_is_skipped_and_none_comes_twice_across_changes_of_the_clock(
        zone in prop::sample::select(vec![
            "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kathmandu",
        ]),
        // Around changes of the clock in each of these zones, and elsewhere.
        start in prop::sample::select(vec![
            "2026-03-27T00:00:00Z", "2026-10-23T00:00:00Z", "2026-03-06T00:00:00Z", "2026-10-30T00:00:00Z",
            "2026-04-03T00:00:00Z", "2026-10-02T00:00:00Z", "2018-11-02T00:00:00Z", "2026-12-30T12:34:56Z",
        ]),
        hours in prop::collection::btree_set(0_i8..24, 1..4),
        minutes in prop::collection::btree_set(0_i8..60, 1..4),
    ) {
        let list = |set: &std::collections::BTreeSet<i8>| {
            set.iter().map(i8::to_string).collect::<Vec<_>>().join(",")
        };
        let cron = format!("{} {} * * *", list(&minutes), list(&hours));
        let schedule = schedule(&cron, zone);
        let after = at(start);
        let until = after + jiff::SignedDuration::from_hours(120);
        let slots: Vec<Timestamp> = schedule.slots_between(after, until).collect();
        let hours: Vec<i8> = hours.into_iter().collect();
        let minutes: Vec<i8> = minutes.into_iter().collect();
        let expected = oracle(&hours, &minutes, schedule.timezone.time_zone(), after, until);
        prop_assert_eq!(&slots, &expected, "{} in {}", cron, zone);
        prop_assert!(slots.is_sorted_by(|earlier, later| earlier < later));
        for slot in slots {
            prop_assert_eq!(schedule.last_slot(slot), Some(slot));
        }
    }

    #[test]
    fn no_text_panics(text in "[-0-9A-Z*/,#@? ]{0,24}") {
        drop(text.parse::<Cron>());
    }
}
