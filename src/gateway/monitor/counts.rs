//! Requests in flight, as gateways count them. Requests that are not counted are not zero.

use tokio::time::Instant;

use super::GatewayMonitor;
use crate::gateway::driver::Purpose;
use crate::world::World;

impl<W: World> GatewayMonitor<W> {
    /// Returns whether it handles requests that it could count.
    #[must_use]
    pub fn has_requests(&self) -> bool {
        self.looker.driver().facts().has_requests
    }

    /// Counts the requests in flight at `address`, if the gateway reports them: the highest number of any worker. Also
    /// returns why there can be others.
    ///
    /// # Errors
    ///
    /// If it does not report them, or cannot be read.
    pub async fn in_flight(&self, address: &str) -> Result<(u64, Option<String>), String> {
        if let [query] = &self.looker.driver().queries(Purpose::Count(address))[..] {
            self.rounds.one_more().await;
            let reply = self.looker.query_client().ask(query).await;
            let reply = reply.map_err(|error| error.to_string());
            let told = reply.and_then(|reply| self.looker.driver().read_count(&reply));
            let counted = told.map_err(|problem| format!("{}: {problem}", self.name));
            return counted.map(|count| (count, None));
        }
        let seen = self.observe_since(Instant::now()).await?;
        let told = match seen.in_flight.get(address) {
            Some(told) => *told,
            None if !self.looker.driver().facts().lists_busy => None,
            None => match self.miscounts().await? {
                Some(why) => return Err(format!("{}: {why}", self.name)),
                None => Some(0),
            },
        };
        let none = || format!("{} does not report requests in flight at {address}", self.name);
        let uncounted = seen.uncounted.as_ref().map(|why| format!("{}: {why}", self.name));
        Ok((told.ok_or_else(none)?, uncounted))
    }

    /// Asks why its counts of requests in flight cannot be used. `None` if they can.
    ///
    /// # Errors
    ///
    /// If it cannot be asked.
    pub async fn miscounts(&self) -> Result<Option<String>, String> {
        if !self.looker.driver().facts().lists_busy {
            return Ok(None);
        }
        let probe = || async { Ok(self.looker.probe().await?.miscounts) };
        self.miscounts.get_or_try_init(probe).await.cloned()
    }
}
