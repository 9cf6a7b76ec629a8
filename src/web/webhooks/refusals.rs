//! What the log says of messages that are refused, not signed or unusable: whoever found the address, or has
//! seen a message of the shop, can send as many as they like, and must not fill the disk with lines about it. The first is told at once, with what it was; from
//! then on how many more there were, once a minute, for each reason. The metrics count every one.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use crate::{model::Source, refrain::Refrain};

/// No secret of ours signed it.
pub(super) const UNSIGNED: &str = "no accepted secret made its signature";
/// It may be a recording, or one of the two clocks is wrong.
pub(super) const OUT_OF_TIME: &str = "its webhook-timestamp is not the time of this machine's clock";
/// Its signature is good, and its headers say that it is another shop's.
pub(super) const ELSEWHERE: &str = "it is of another shop than the configuration names";

/// Not refused, but nothing it announces will be taken.
pub(super) const NO_SECRET: &str = "WooCommerce saved more webhooks, and [webhooks.woocommerce] secrets is empty";

/// Not refused, and for the merchant to look at.
pub(super) const QUARANTINED: &str = "quarantined more signed webhooks; their reasons are in the inbox";

/// How often it is looked whether there is more to say.
const LOOK: Duration = Duration::from_secs(5);

/// Cheap to clone; all clones count together.
#[derive(Debug, Clone, Default)]
pub struct Refusals(Arc<Mutex<BTreeMap<(Source, &'static str), Refrain>>>);

impl Refusals {
    /// A message of so many bytes did not come from `source`, as far as its signature tells.
    pub(super) fn note(&self, source: Source, reason: &'static str, bytes: usize) {
        if self.comes(source, reason) {
            tracing::warn!(%source, bytes, "refused a webhook: {reason}");
        }
    }

    /// A message came that there is something to say of; `reason` is one of a few. Whether to say so now.
    pub(super) fn comes(&self, source: Source, reason: &'static str) -> bool {
        self.refrains().entry((source, reason)).or_default().comes(Instant::now())
    }

    /// Says how many more there were, until `stop`; then what is left to say.
    pub async fn tell(&self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
            let now = Instant::now();
            self.say(|refrain| refrain.due(now));
        }
        self.say(Refrain::take);
    }

    fn say(&self, mut unsaid: impl FnMut(&mut Refrain) -> Option<u64>) {
        for ((source, reason), refrain) in self.refrains().iter_mut() {
            match (unsaid(refrain), *reason) {
                (None, _) => {}
                (Some(came), NO_SECRET | QUARANTINED) => tracing::warn!(%source, came, "{reason}"),
                (Some(refused), _) => tracing::warn!(%source, refused, "refused more webhooks: {reason}"),
            }
        }
    }

    fn refrains(&self) -> MutexGuard<'_, BTreeMap<(Source, &'static str), Refrain>> {
        // A count has no state in between.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
