//! One destination's share of the work: how many requests run at once, and how much is claimed
//! ahead of them. Each destination has its own, so one that hangs holds up nobody else.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// Requests to one destination at a time: enough for thousands a second when it answers, few
/// enough for a small tool.
pub const CONNECTIONS: usize = 16;
/// Claims ahead of the requests while a destination takes everything: the next request starts
/// without waiting for a commit.
const AHEAD: usize = 128;

pub struct Lane {
    /// One permit per request that may run.
    pub slots: Arc<Semaphore>,
    /// Claimed, its request not ended yet.
    pub claimed: usize,
    limit: usize,
}

impl Lane {
    pub fn new() -> Self {
        Self { slots: Arc::new(Semaphore::new(CONNECTIONS)), claimed: 0, limit: CONNECTIONS }
    }

    /// How many more may be claimed.
    pub const fn places(&self) -> usize {
        self.limit.saturating_sub(self.claimed)
    }

    /// A delivery ended. After a failure nothing is claimed ahead: what is claimed counts as tried
    /// if the power goes, and a tool that fails now will fail those too.
    pub fn ended(&mut self, delivered: bool) {
        self.claimed = self.claimed.saturating_sub(1);
        self.limit = if delivered { (self.limit + 1).min(AHEAD) } else { CONNECTIONS };
    }
}
