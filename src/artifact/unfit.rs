//! Why an artifact is refused.

/// Why an artifact is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct Unfit {
    /// What is wrong with the artifact.
    pub problem: String,
    /// What to do about it.
    pub mend: Option<&'static str>,
}
