//! Why an artifact is not used.

/// Why an artifact is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct Unfit {
    /// What is wrong with it.
    pub problem: String,
    /// What to do about it.
    pub mend: Option<&'static str>,
}
