//! An error with its causes, for findings and reasons, which have room for one line.

use std::error::Error;

/// An error with its causes, each said once: those of stores' clients repeat what lies below them.
pub(crate) fn in_one_line(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    text
}
