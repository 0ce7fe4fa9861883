//! What an error means.
//!
//! Lance retries reads and rewords their errors, so what the tree refused is looked up in the socket's memo first;
//! only an error that the tree has no part in is judged by its own type and text.

use std::error::Error;

use dr_probe_wire::client::Memo;
use dr_probe_wire::fault::{Fault, FaultKind, Step};
use dr_probe_wire::frame::shorten;

/// The longest message of a fault.
const MAX_MESSAGE: usize = 800;

/// Makes a fault of an error. `memo` is what the tree has refused so far; `panics` came up while this was done.
pub fn fault(
    step: Step,
    subject: Option<&str>,
    error: &(dyn Error + 'static),
    memo: &Memo,
    panics: &[String],
) -> Fault {
    let text = chain(error);
    let (kind, file) = judge(error, &text, memo);
    let mut message = match kind {
        FaultKind::Damaged => file.as_ref().and_then(|file| memo.damaged.get(file)).cloned(),
        FaultKind::Unavailable => file.as_ref().and_then(|file| memo.unavailable.get(file)).cloned(),
        _ => None,
    }
    .unwrap_or(text);
    if let Some(panic) = panics.first() {
        message = format!("{message}; a decoder panicked: {panic}");
    }
    let message = shorten(&message, MAX_MESSAGE).to_owned();
    Fault {
        kind,
        step,
        subject: subject.map(str::to_owned),
        file,
        message,
    }
}

/// Of a table in a folder that refers to files below `base`, outside of the folder: what the kernel refuses to read is
/// missing from the copy. On the host that it came from those files may even be there.
pub fn outside(fault: Fault, base: &str) -> Fault {
    if fault.kind != FaultKind::Unavailable || !fault.message.contains("Permission denied") {
        return fault;
    }
    Fault {
        kind: FaultKind::Missing,
        message: format!("it needs files below {base}, which lies outside of it"),
        ..fault
    }
}

/// A fault of a panic.
pub fn panicked(step: Step, subject: Option<&str>, panics: &[String]) -> Fault {
    let what = panics.first().map_or("it", String::as_str);
    let message = format!("a decoder panicked: {}", shorten(what, MAX_MESSAGE));
    Fault {
        kind: FaultKind::Undecodable,
        step,
        subject: subject.map(str::to_owned),
        file: None,
        message,
    }
}

fn judge(error: &(dyn Error + 'static), text: &str, memo: &Memo) -> (FaultKind, Option<String>) {
    let named = |paths: &std::collections::BTreeMap<String, String>| {
        paths.keys().find(|path| text.contains(path.as_str())).cloned()
    };
    if let Some(file) = named(&memo.damaged) {
        return (FaultKind::Damaged, Some(file));
    }
    if let Some(file) = named(&memo.unavailable) {
        return (FaultKind::Unavailable, Some(file));
    }
    if text.contains("the agent is gone") {
        return (FaultKind::Unavailable, None);
    }
    if let Some(found) = walk(error).find_map(missing) {
        return (FaultKind::Missing, found);
    }
    if let Some(file) = named_missing(text) {
        return (FaultKind::Missing, Some(file));
    }
    (by_text(error, text), None)
}

fn by_text(error: &(dyn Error + 'static), text: &str) -> FaultKind {
    use std::io::ErrorKind;
    let io = walk(error)
        .find_map(|error| error.downcast_ref::<std::io::Error>())
        .map(std::io::Error::kind);
    let lower = text.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    match io {
        Some(ErrorKind::NotFound) => FaultKind::Missing,
        Some(ErrorKind::PermissionDenied | ErrorKind::TimedOut) => FaultKind::Unavailable,
        Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::OutOfMemory) => FaultKind::Limit,
        _ if says(&[
            "too many open files",
            "no space left",
            "resources exhausted",
            "memory limit",
        ]) =>
        {
            FaultKind::Limit
        }
        _ if says(&[
            "please upgrade",
            "cannot be read by this version",
            "unsupported file version",
        ]) =>
        {
            FaultKind::TooNew
        }
        // Lance words a missing file in several ways, and not always as an error of its own kind.
        _ if says(&["not found: ", "no such file", " was not found", "does not exist"]) => FaultKind::Missing,
        _ => FaultKind::Undecodable,
    }
}

/// Whether this error says that a file is missing, and which.
fn missing(error: &(dyn Error + 'static)) -> Option<Option<String>> {
    if let Some(object_store::Error::NotFound { path, .. }) = error.downcast_ref() {
        return Some(Some(path.trim_start_matches('/').to_owned()));
    }
    match error.downcast_ref() {
        Some(lance_core::Error::NotFound { uri, .. }) => Some(Some(uri.trim_start_matches('/').to_owned())),
        Some(lance_core::Error::DatasetNotFound { path, .. }) => {
            Some(Some(path.trim_start_matches('/').to_owned()))
        }
        _ => None,
    }
}

/// The file of Lance's `Not found: file, place in its source`: its readers keep the words and lose the type.
fn named_missing(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("Not found: ")?;
    let file = rest.split([',', ':']).next()?.trim().trim_start_matches('/');
    file.contains('/').then(|| file.to_owned())
}

fn walk<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source()).take(32)
}

/// The error with its sources. Most of Lance's errors repeat their source; those are told once, and places in
/// Lance's source code not at all.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for part in walk(error).map(|error| without_places(&error.to_string())) {
        if text.is_empty() {
            text = part;
        } else if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
    }
    text
}

fn without_places(text: &str) -> String {
    let kept: Vec<&str> = text.split(", ").filter(|part| !is_place(part)).collect();
    kept.join(", ")
}

/// Whether this is `path/file.rs:line:column`.
fn is_place(part: &str) -> bool {
    let number = |text: Option<&str>| text.is_some_and(|text| text.parse::<u32>().is_ok());
    let mut fields = part.trim_end_matches([')', '.']).rsplitn(3, ':');
    number(fields.next()) && number(fields.next()) && fields.next().is_some_and(|path| path.ends_with(".rs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn io(kind: std::io::ErrorKind) -> Fault {
        let error = object_store::Error::Generic {
            store: "s",
            source: Box::new(std::io::Error::from(kind)),
        };
        fault(Step::Scan, None, &error, &Memo::default(), &[])
    }

    #[test]
    fn the_memo_decides_before_the_words() {
        let error = lance_core::Error::invalid_input("decode t/data/a.lance: unexpected end");
        let mut memo = Memo::default();
        assert_eq!(
            fault(Step::Scan, None, &error, &memo, &[]).kind,
            FaultKind::Undecodable
        );
        memo.damaged.insert("t/data/a.lance".into(), "chunk 2".into());
        let found = fault(Step::Scan, None, &error, &memo, &[]);
        assert_eq!(
            (found.kind, found.message.as_str()),
            (FaultKind::Damaged, "chunk 2")
        );
    }

    #[test]
    fn the_kernel_s_reasons_are_kept_apart() {
        use std::io::ErrorKind;
        assert_eq!(io(ErrorKind::NotFound).kind, FaultKind::Missing);
        assert_eq!(io(ErrorKind::PermissionDenied).kind, FaultKind::Unavailable);
        assert_eq!(io(ErrorKind::StorageFull).kind, FaultKind::Limit);
        assert_eq!(io(ErrorKind::InvalidData).kind, FaultKind::Undecodable);
    }

    #[test]
    fn what_a_copy_needs_from_outside_of_it_is_missing() {
        let text = "Unable to open file /srv/live/src.lance/data/x.lance: Permission denied (os error 13)";
        let error = std::io::Error::new(std::io::ErrorKind::PermissionDenied, text);
        let denied = fault(Step::Scan, None, &error, &Memo::default(), &[]);
        let denied = outside(denied, "/srv/live/src.lance");
        assert_eq!(denied.kind, FaultKind::Missing);
        assert!(denied.message.contains("/srv/live/src.lance"), "{denied}");
        let late = outside(io(std::io::ErrorKind::TimedOut), "/srv/live/src.lance");
        assert_eq!(late.kind, FaultKind::Unavailable);
    }

    #[test]
    fn a_newer_format_is_no_damage() {
        let error = lance_core::Error::not_supported(
            "This dataset cannot be read by this version of Lance. Please upgrade Lance to read this dataset.",
        );
        assert_eq!(
            fault(Step::Open, None, &error, &Memo::default(), &[]).kind,
            FaultKind::TooNew
        );
    }

    #[test]
    fn messages_name_files_and_not_lance_s_source() {
        let text = "LanceError(IO): Not found: t.lance/data/x.lance, /build/lance-io/src/reader.rs:335:56, /rustc/ops.rs:2:5";
        assert_eq!(named_missing(text).as_deref(), Some("t.lance/data/x.lance"));
        assert_eq!(
            without_places(text),
            "LanceError(IO): Not found: t.lance/data/x.lance"
        );
    }
}
