//! What can go wrong on the bus, each with a stable code. Never how it is shown.

use skep_core::topic::BadPattern;

/// The bus cannot do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A text is no pattern of topics.
    #[error(transparent)]
    Pattern(#[from] BadPattern),
}

impl Error {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Pattern(_) => "E_BAD_TOPIC",
        }
    }
}
