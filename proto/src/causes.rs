//! An error with its causes, for people who see one line of a log, a report or a list.
//!
//! Our errors never print their source themselves, so that whoever handles one says the whole chain once. The engines
//! below the agent import nothing of ours and say theirs themselves.

use std::error::Error;

/// An error and its causes, outermost first; neighbours that repeat each other only once.
pub fn causes(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut causes: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if causes.last() != Some(&text) {
            causes.push(text);
        }
        next = error.source();
    }
    causes
}

/// An error with all its causes, in one line: for findings, which have no room for more.
pub fn in_one_line(error: &(dyn Error + 'static)) -> String {
    causes(error).join(": ")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Layer(&'static str, #[source] io::Error);

    #[test]
    fn each_cause_is_said_and_an_echo_is_not() {
        let error = Layer("read the list", io::Error::other("the disk is gone"));
        assert_eq!(in_one_line(&error), "read the list: the disk is gone");
        let echo = Layer("the disk is gone", io::Error::other("the disk is gone"));
        assert_eq!(causes(&echo), ["the disk is gone"]);
    }
}
