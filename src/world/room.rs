//! Bounds the memory of all reply bodies together; each body is in memory as a whole.
//!
//! The start of every body is free, so a small answer never waits for a large one. Replies of gateways and
//! nodes use no memory that is reserved for Consul.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::{Channel, HttpError};

/// The limit of all bodies from Consul together, beyond their free start, in units of [`UNIT`].
const OF_CONSUL: usize = 20 * 1024;

/// The limit of all other bodies together.
const OF_OTHERS: usize = 24 * 1024;

/// The unit of memory, in bytes.
const UNIT: usize = 1024;

/// The start of a body that is not counted.
const FREE: usize = 64 * 1024;

/// A body grows by at least this much.
const STEP: usize = 64 * 1024;

/// How long a body waits for memory.
const PATIENCE: Duration = Duration::from_secs(2);

static LEFT_TO_CONSUL: Semaphore = Semaphore::const_new(OF_CONSUL);
static LEFT_TO_OTHERS: Semaphore = Semaphore::const_new(OF_OTHERS);

/// The memory that a body reserves; released when the last copy of the reply is dropped.
#[derive(Debug, Clone, Default)]
pub struct Held {
    _permit: Option<Arc<SemaphorePermit<'static>>>,
}

/// A body that is being read.
#[derive(Debug)]
pub(super) struct Body {
    left: &'static Semaphore,
    bytes: Vec<u8>,
    permit: Option<SemaphorePermit<'static>>,
    taken: usize,
}

impl Body {
    /// An empty body.
    pub(super) fn of(channel: Channel) -> Self {
        let left = match channel {
            Channel::Consul => &LEFT_TO_CONSUL,
            Channel::Direct | Channel::Fresh => &LEFT_TO_OTHERS,
        };
        Self { left, bytes: Vec::new(), permit: None, taken: 0 }
    }

    /// Appends bytes once there is memory for them.
    ///
    /// # Errors
    ///
    /// When the body would exceed `limit`, or all bodies together take too much memory.
    pub(super) async fn append(&mut self, more: &[u8], limit: usize) -> Result<(), HttpError> {
        let size = self.bytes.len() + more.len();
        within(size, limit)?;
        let wanted = size.saturating_sub(FREE).div_ceil(UNIT);
        if wanted > self.taken {
            // Grows by steps, so that not every chunk requests memory.
            let wanted = wanted.next_multiple_of(STEP / UNIT);
            self.take(wanted - self.taken).await?;
            self.taken = wanted;
        }
        if self.bytes.capacity() < size {
            self.bytes.reserve_exact(more.len().max(STEP));
        }
        self.bytes.extend_from_slice(more);
        Ok(())
    }

    async fn take(&mut self, units: usize) -> Result<(), HttpError> {
        let full = || HttpError::Broken("too many large answers are being read at once".to_owned());
        let units = u32::try_from(units).map_err(|_| full())?;
        let taken = timeout(PATIENCE, self.left.acquire_many(units)).await;
        let taken = taken.map_err(|_| full())?.map_err(|_| full())?;
        match &mut self.permit {
            Some(permit) => permit.merge(taken),
            none => *none = Some(taken),
        }
        Ok(())
    }

    /// The whole body with its memory permit.
    pub(super) fn finish(self) -> (Vec<u8>, Held) {
        (self.bytes, Held { _permit: self.permit.map(Arc::new) })
    }
}

/// Refuses a body whose actual or announced size exceeds `limit`.
pub(super) fn within(size: usize, limit: usize) -> Result<(), HttpError> {
    if size <= limit {
        return Ok(());
    }
    let limit = crate::text::size(limit as u64);
    Err(HttpError::Broken(format!("the answer is larger than {limit}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The only test that uses the process-wide limits.
    #[tokio::test(start_paused = true)]
    async fn all_bodies_together_are_bounded_and_small_ones_never_wait() {
        let chunk = vec![0; 1024 * 1024];
        let limit = 16 * chunk.len();
        let mut held = Vec::new();
        let mut refused = None;
        for _ in 0..4 {
            let mut body = Body::of(Channel::Fresh);
            for _ in 0..16 {
                if let Err(error) = body.append(&chunk, limit).await {
                    refused.get_or_insert(error.to_string());
                    break;
                }
            }
            held.push(body.finish());
        }
        assert_eq!(refused.as_deref(), Some("too many large answers are being read at once"));
        let together: usize = held.iter().map(|(bytes, _)| bytes.capacity()).sum();
        assert!(together < 26 * chunk.len(), "{together}");
        let mut small = Body::of(Channel::Direct);
        small.append(&vec![0; FREE], limit).await.expect("its start is free");
        let mut own = Body::of(Channel::Consul);
        own.append(&chunk, limit).await.expect("it has room of its own");
        drop(held);
        let mut late = Body::of(Channel::Direct);
        late.append(&chunk, limit).await.expect("there is room again");
        let error = late.append(&chunk, chunk.len()).await.expect_err("its own limit");
        assert_eq!(error.to_string(), "the answer is larger than 1.0 MiB");
    }
}
