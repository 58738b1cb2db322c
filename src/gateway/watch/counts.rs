//! Requests in flight, as gateways count them. What is not counted is not none.

use super::Watcher;
use crate::world::World;

impl<W: World> Watcher<W> {
    /// Returns whether there are requests at all that it could count.
    #[must_use]
    pub fn has_requests(&self) -> bool {
        self.looker.driver().has_requests()
    }

    /// Counts the requests in flight at `address`, where the gateway tells: the most that any worker told.
    ///
    /// # Errors
    ///
    /// When it does not, or cannot be read.
    pub async fn in_flight(&self, address: &str) -> Result<u64, String> {
        if let Some(ask) = self.looker.driver().count(address) {
            let reply =
                self.looker.query_client().ask(&ask).await.map_err(|error| error.to_string());
            let told = reply.and_then(|reply| self.looker.driver().read_count(&reply));
            return told.map_err(|problem| format!("{}: {problem}", self.name));
        }
        let seen = self.observe().await?;
        let told = match seen.in_flight.get(address) {
            Some(told) => *told,
            None if !self.looker.driver().lists_the_busy() => None,
            None => match self.miscounts().await? {
                Some(why) => return Err(format!("{}: {why}", self.name)),
                None => Some(0),
            },
        };
        told.ok_or_else(|| format!("{} tells no requests in flight at {address}", self.name))
    }

    /// Asks why its counts of requests in flight cannot be used; nothing where they can.
    ///
    /// # Errors
    ///
    /// When it cannot be asked.
    pub async fn miscounts(&self) -> Result<Option<String>, String> {
        let ask = || async {
            let Some(ask) = self.looker.driver().counting() else { return Ok(None) };
            let reply =
                self.looker.query_client().ask(&ask).await.map_err(|error| error.to_string())?;
            Ok(self.looker.driver().miscounts(&reply))
        };
        self.miscounts.get_or_try_init(ask).await.cloned()
    }
}
