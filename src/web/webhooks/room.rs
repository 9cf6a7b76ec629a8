//! Places in memory for large bodies.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Large bodies that are in memory at a time: as the configuration stands by itself 64 MiB again.
const PLACES: usize = 8;
/// Of these for bodies of one client that nobody has seen a good signature of: who sends slowly, again and
/// again, would have them all.
const OF_ONE_CLIENT: usize = 2;

pub struct Room {
    all: Arc<Semaphore>,
    /// Of clients that have a place or wait for one.
    by_client: Mutex<HashMap<IpAddr, Arc<Semaphore>>>,
}

/// A body's place, until it is dropped.
pub struct Place {
    _of_all: OwnedSemaphorePermit,
    own: Option<OwnedSemaphorePermit>,
}

impl Place {
    /// It counts no longer against its client.
    pub fn signed_well(&mut self) {
        self.own = None;
    }
}

impl Default for Room {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(PLACES)), by_client: Mutex::default() }
    }
}

impl Room {
    /// A place for a body of `client`, when there is one; `None`: nobody's, as behind a tunnel that names nobody.
    pub async fn take(&self, client: Option<IpAddr>) -> Option<Place> {
        // First their own: who waits for that keeps none from others.
        let own = match client {
            Some(client) => Some(self.of(client).acquire_owned().await.ok()?),
            None => None,
        };
        Some(Place { _of_all: Arc::clone(&self.all).acquire_owned().await.ok()?, own })
    }

    fn of(&self, client: IpAddr) -> Arc<Semaphore> {
        // What a panic left behind is still good: every change here is one step.
        let mut by_client = self.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        by_client.retain(|_, places| Arc::strong_count(places) > 1);
        Arc::clone(by_client.entry(client).or_insert_with(|| Arc::new(Semaphore::new(OF_ONE_CLIENT))))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn all(room: &Room, client: Option<&str>) -> Vec<Place> {
        let client = client.map(|address| address.parse().unwrap());
        std::iter::from_fn(|| room.take(client).now_or_never().flatten()).collect()
    }

    #[test]
    fn one_client_does_not_take_the_places_of_all() {
        let room = Room::default();
        let mut attacker = all(&room, Some("203.0.113.7"));
        assert_eq!((attacker.len(), all(&room, Some("203.0.113.8")).len()), (2, 2));
        attacker[0].signed_well();
        assert_eq!(all(&room, Some("203.0.113.7")).len(), 1, "what was signed well leaves room for another");
        assert_eq!(all(&room, None).len(), 6, "there are so many in all");
        drop(attacker);
        assert_eq!((all(&room, Some("203.0.113.9")).len(), room.by_client.lock().unwrap().len()), (2, 1));
    }
}
