//! Permission for commands on machines: the lock is verified when a host is ready, immediately before its command
//! begins.

use std::sync::Arc;

use super::Lock;
use super::error::NotHeld;
use crate::world::{NotPermitted, Permit, World};

impl<W: World> Lock<W> {
    /// Permits commands while the lock is held.
    #[must_use]
    pub fn permit(self: &Arc<Self>) -> Permit {
        let lock = self.clone();
        Permit::new(move || {
            let lock = lock.clone();
            async move {
                lock.verify().await.map_err(|error| NotPermitted {
                    is_final: matches!(error, NotHeld::Lost(_)),
                    reason: error.to_string(),
                })
            }
        })
    }
}
