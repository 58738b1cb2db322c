//! What a command needs right before it begins: an answer that is asked for when its channel is open.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

/// Permission to begin, asked for at the last moment: connecting to a host may take seconds, and whatever was known before
/// that may no longer be true.
#[derive(Clone, Default)]
pub struct Permit(Option<Arc<dyn Fn() -> Answer + Send + Sync>>);

type Answer = Pin<Box<dyn Future<Output = Result<(), NotPermitted>> + Send>>;

/// A command may not begin; nothing was started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct NotPermitted {
    /// Why.
    pub reason: String,
    /// Whether asking again has no point.
    pub is_final: bool,
}

impl Permit {
    /// A permit that `ask` gives or refuses each time.
    pub fn new<F>(ask: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), NotPermitted>> + Send + 'static,
    {
        Self(Some(Arc::new(move || Box::pin(ask()))))
    }

    /// Asks for it; the default permits everything.
    ///
    /// # Errors
    ///
    /// When the command may not begin.
    pub async fn ask(&self) -> Result<(), NotPermitted> {
        match &self.0 {
            Some(ask) => ask().await,
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() { "Permit(asked)" } else { "Permit(none)" })
    }
}
