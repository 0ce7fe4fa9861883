//! What each source was at the cut, beside what it was at the one before.

use dr_auditlog::LogState;
use tokio_util::sync::CancellationToken;

use super::previous::{Gone, Previous};
use super::{Error, carry};
use crate::config::ResolvedSource;
use crate::cut::{self, Content, Cut, Machine};
use crate::stamp::{LanceStamp, LogStamp, Stamp};

/// Stamps every source; logs are read and verified for it.
pub(super) async fn stamp(
    cut: Cut,
    previous: &Previous,
    cancel: &CancellationToken,
) -> Result<(Cut, Vec<Stamp>), Error> {
    let before: Vec<Option<LogState>> = cut
        .sources
        .iter()
        .map(|held| match previous.stamp(&held.source.name) {
            Some(Stamp::AuditLog(log)) => Some(log.state()),
            _ => None,
        })
        .collect();
    let cancel = cancel.clone();
    let stamped = tokio::task::spawn_blocking(move || {
        let (at, mut cut) = (cut.at, cut);
        let stamps: Result<Vec<Stamp>, Error> = cut
            .sources
            .iter_mut()
            .zip(&before)
            .map(|(held, before)| match &mut held.content {
                Content::Database(collected) => Ok(Stamp::Lancedb(Box::new(LanceStamp {
                    canonical_root: collected.canonical_path().to_string_lossy().into_owned(),
                    tables: collected.tables.clone(),
                    pins: collected.pin.clone(),
                    excluded: collected.excluded.clone(),
                    damage: collected.damage.clone(),
                    external_bases: collected.external_bases.clone(),
                }))),
                Content::Log(captured) => log_stamp(&held.source, captured, before.as_ref(), at, &cancel),
            })
            .collect();
        stamps.map(|stamps| (cut, stamps))
    });
    stamped.await?
}

fn log_stamp(
    source: &ResolvedSource,
    captured: &mut dr_auditlog::Captured,
    before: Option<&LogState>,
    at: jiff::Timestamp,
    cancel: &CancellationToken,
) -> Result<Stamp, Error> {
    let options = source.verify_options();
    let facts = captured
        .settle(&options, before, at, cancel)
        .map_err(|error| Error::Log {
            name: source.name.clone(),
            source: error,
        })?;
    let active = source
        .path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    Ok(Stamp::AuditLog(Box::new(LogStamp {
        active,
        carried: carry::plan(source, before, &facts, at),
        facts,
        chain: options.chain,
        format: options.format,
        time_field: options.time_field,
        held: captured.held,
    })))
}

/// Why each source is suspect, if it is. `writer` is this machine.
pub(super) fn suspects(
    cut: &Cut,
    stamps: &[Stamp],
    previous: &Previous,
    writer: &str,
) -> Vec<Option<String>> {
    let machine = previous.machine(writer);
    let before: Vec<Option<Stamp>> = cut
        .sources
        .iter()
        .map(|held| previous.stamp(&held.source.name))
        .collect();
    // Then nothing says that these are the data of this host.
    let unknown = machine == Machine::Other && before.iter().all(Option::is_none);
    let judge = |(before, stamp): (&Option<Stamp>, &Stamp)| {
        cut::suspect(before.as_ref(), stamp, machine).or_else(|| {
            unknown.then(|| {
                "this is the first snapshot of another machine, and the snapshots before have no source of that name"
                    .to_owned()
            })
        })
    };
    before.iter().zip(stamps).map(judge).collect()
}

/// Why the cut as a whole is not to be trusted.
pub(super) fn all_suspects(cut: &Cut, suspects: &[Option<String>], gone: &Gone) -> Option<String> {
    let named = cut.sources.iter().zip(suspects);
    let reasons: Vec<String> = named
        .filter_map(|(held, why)| Some(format!("{}: {}", held.source.name, why.as_ref()?)))
        .chain(gone.suspect())
        .collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}
