//! What can be wrong with a message.

/// Why a message can not be what it claims to be. Fields are named by their path: `start.work.drill.kind`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A field that everything depends on is not there.
    #[error("the field `{0}` is missing")]
    Missing(String),
    /// A field holds what it cannot hold.
    #[error("the field `{field}` cannot be `{value}`: {reason}")]
    Invalid {
        /// Its path.
        field: String,
        /// What it holds, shortened.
        value: String,
        /// Why not.
        reason: String,
    },
    /// A field holds what this version does not know: the peer is newer. A caller may pass over the message.
    #[error("the field `{field}` holds `{value}`, which this version does not know: the peer is newer")]
    Unknown {
        /// Its path.
        field: String,
        /// What it holds.
        value: String,
    },
}

/// The most that an error repeats of a value.
const SHOWN: usize = 120;

impl Error {
    /// A field holds what it cannot hold.
    pub fn invalid(field: impl Into<String>, value: impl AsRef<str>, reason: impl Into<String>) -> Self {
        Self::Invalid {
            field: field.into(),
            value: shortened(value.as_ref()),
            reason: reason.into(),
        }
    }

    /// A field holds what only a newer version knows.
    pub fn unknown(field: impl Into<String>, value: impl AsRef<str>) -> Self {
        Self::Unknown {
            field: field.into(),
            value: shortened(value.as_ref()),
        }
    }

    /// The path of the field.
    pub fn field(&self) -> &str {
        match self {
            Self::Missing(field) | Self::Invalid { field, .. } | Self::Unknown { field, .. } => field,
        }
    }

    /// Whether a newer peer explains it, so that the message may be passed over.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }

    /// The same error, seen from the message that holds the field's message in `parent`.
    #[must_use]
    pub fn within(mut self, parent: &str) -> Self {
        let field = match &mut self {
            Self::Missing(field) | Self::Invalid { field, .. } | Self::Unknown { field, .. } => field,
        };
        *field = format!("{parent}.{field}");
        self
    }
}

fn shortened(text: &str) -> String {
    if text.chars().nth(SHOWN).is_none() {
        return text.to_owned();
    }
    text.chars().take(SHOWN).chain(['…']).collect()
}

/// Says where an error of an inner message happened.
pub(crate) trait Within<T> {
    /// The same, seen from the outer message.
    fn within(self, parent: &str) -> Result<T, Error>;
}

impl<T> Within<T> for Result<T, Error> {
    fn within(self, parent: &str) -> Self {
        self.map_err(|error| error.within(parent))
    }
}
