//! Exit codes, in one place and the same for every command.

use std::process::ExitCode;

use super::Verdict;

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Code {
    /// Passed, or done.
    Done = 0,
    /// A check disproved data.
    Disproved = 1,
    /// Something could not be asked.
    Inconclusive = 2,
    /// Done in part; what is missing is named.
    Partial = 3,
    /// The command line makes no sense.
    Usage = 64,
    /// The repository is damaged, or newer than this version.
    Damaged = 65,
    /// What was named is not there.
    NotFound = 66,
    /// The store or a peer does not answer.
    Unreachable = 69,
    /// A mistake of ours.
    Internal = 70,
    /// No space, or the target exists.
    NoSpace = 73,
    /// Somebody else is at it, or work is suspended; safe to try again.
    Busy = 75,
    /// A permission is missing, or a key does not fit.
    Denied = 77,
    /// The configuration cannot work.
    Configuration = 78,
    /// Ctrl-C.
    Interrupted = 130,
    /// SIGTERM.
    Terminated = 143,
}

impl Code {
    /// Every code, for the documentation and its test.
    pub const ALL: [Self; 15] = [
        Self::Done,
        Self::Disproved,
        Self::Inconclusive,
        Self::Partial,
        Self::Usage,
        Self::Damaged,
        Self::NotFound,
        Self::Unreachable,
        Self::Internal,
        Self::NoSpace,
        Self::Busy,
        Self::Denied,
        Self::Configuration,
        Self::Interrupted,
        Self::Terminated,
    ];

    /// The number that the shell sees.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The meaning in a few words, as `--help` prints it.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Done => "passed or done",
            Self::Disproved => "a check disproved data",
            Self::Inconclusive => "inconclusive",
            Self::Partial => "partial",
            Self::Usage => "usage",
            Self::Damaged => "repository damaged or newer",
            Self::NotFound => "not found",
            Self::Unreachable => "unreachable",
            Self::Internal => "our bug",
            Self::NoSpace => "no space or target exists",
            Self::Busy => "busy, safe to retry",
            Self::Denied => "denied",
            Self::Configuration => "configuration",
            Self::Interrupted => "interrupted",
            Self::Terminated => "terminated",
        }
    }

    /// Whether the same command may simply be given again: nothing was half done that a second run would not
    /// finish or repeat harmlessly.
    pub fn retry_is_safe(self) -> bool {
        matches!(
            self,
            Self::Inconclusive | Self::Unreachable | Self::Busy | Self::Interrupted | Self::Terminated
        )
    }
}

impl From<Verdict> for Code {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Passed => Self::Done,
            Verdict::Inconclusive => Self::Inconclusive,
            Verdict::Failed => Self::Disproved,
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code.number())
    }
}
