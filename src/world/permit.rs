//! A command's permit, requested right before the command begins, when its channel is open.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

/// Permission to begin, requested at the last moment: connecting to a host may take seconds, and earlier
/// knowledge may be outdated by then.
#[derive(Clone, Default)]
pub struct Permit(Option<Arc<dyn Fn() -> Answer + Send + Sync>>);

type Answer = Pin<Box<dyn Future<Output = Result<(), NotPermitted>> + Send>>;

/// A command may not begin; nothing was started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct NotPermitted {
    /// Why.
    pub reason: String,
    /// Whether a new request is pointless.
    pub is_final: bool,
}

impl Permit {
    /// A permit that calls `ask` each time.
    pub fn new<F>(ask: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), NotPermitted>> + Send + 'static,
    {
        Self(Some(Arc::new(move || Box::pin(ask()))))
    }

    /// Requests the permit; the default permits everything.
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
