//! How many connections are open, and how many of them one client has.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::web::{Limits, peer};

/// Cheap to clone; clones count together.
#[derive(Clone, Default)]
pub struct Places(Arc<Mutex<Open>>);

#[derive(Default)]
struct Open {
    all: usize,
    /// Only strangers: behind a tunnel on this machine everybody has one address.
    by_client: HashMap<IpAddr, usize>,
}

/// A connection's place, until it is dropped.
pub struct Place {
    places: Places,
    client: Option<IpAddr>,
}

impl Places {
    /// A place for a connection from `address`, if there is one.
    pub fn take(&self, address: IpAddr, limits: &Limits) -> Option<Place> {
        let client = (!peer::is_near(address)).then(|| peer::network(address));
        let mut open = self.open();
        let have = client.and_then(|client| open.by_client.get(&client).copied()).unwrap_or(0);
        if open.all >= limits.connections || have >= limits.of_one_client {
            return None;
        }
        open.all += 1;
        if let Some(client) = client {
            open.by_client.insert(client, have + 1);
        }
        drop(open);
        Some(Place { places: self.clone(), client })
    }

    /// Whether nobody else would get one.
    pub fn are_taken(&self, limits: &Limits) -> bool {
        self.open().all >= limits.connections
    }

    /// What a panic left behind is still good: every change here is one step.
    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.places.open();
        open.all -= 1;
        let Some(client) = self.client else { return };
        if let Some(left) = open.by_client.get_mut(&client) {
            *left -= 1;
            if *left == 0 {
                open.by_client.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: (usize, usize) = (8, 3);

    fn all(places: &Places, address: &str) -> Vec<Place> {
        let limits = Limits { connections: LIMITS.0, of_one_client: LIMITS.1, ..Limits::default() };
        std::iter::from_fn(|| places.take(address.parse().unwrap(), &limits)).collect()
    }

    #[test]
    fn one_client_does_not_take_the_places_of_all() {
        let places = Places::default();
        let attacker = all(&places, "203.0.113.7");
        assert_eq!(attacker.len(), LIMITS.1);
        let network = all(&places, "2001:db8:1:2::1");
        assert_eq!((network.len(), all(&places, "2001:db8:1:2:3::9").len()), (LIMITS.1, 0));
        let shop = all(&places, "203.0.113.8");
        assert_eq!((shop.len(), all(&places, "203.0.113.9").len()), (2, 0), "there are so many in all");
        drop((attacker, network, shop));
        assert!(places.open().all == 0 && places.open().by_client.is_empty());
    }

    #[test]
    fn a_tunnel_may_have_them_all() {
        for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "192.168.1.5", "172.17.0.1", "fd00::1"] {
            let places = Places::default();
            assert_eq!(all(&places, address).len(), LIMITS.0, "{address}");
            assert!(places.open().by_client.is_empty());
        }
    }
}
