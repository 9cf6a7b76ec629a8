//! Tokens by client. Pure.
//!
//! A message takes one, and only whoever signed it well gets it back: so a shop never runs out, however many
//! orders it sends in one go, and everybody else soon pays with waiting for making us check.

use std::{collections::HashMap, net::IpAddr, time::Instant};

/// A bucket that is full: more than there can be connections, so that those of one shop all at once do
/// not empty it.
const TOKENS: f64 = 300.0;
/// How many come back in a second. To check ten bodies of 8 MiB is a fifth of a second's work.
const PER_SECOND: f64 = 10.0;
/// Buckets that are kept, half a megabyte. Beyond it all new clients share one.
const BUCKETS: usize = 4096;

/// A client with a bucket; `None` is all those for whom there was no room.
pub type Client = Option<IpAddr>;

#[derive(Default)]
pub struct Buckets(HashMap<Client, Bucket>);

struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn refill(&mut self, now: Instant) {
        self.tokens = (self.tokens + now.saturating_duration_since(self.at).as_secs_f64() * PER_SECOND).min(TOKENS);
        self.at = now;
    }
}

impl Buckets {
    /// Takes a token of `address`. Says whose it was, for [`Self::give_back`].
    ///
    /// # Errors
    /// There is none; in how many seconds there will be.
    pub fn take(&mut self, address: IpAddr, now: Instant) -> Result<Client, u64> {
        let mut client = Some(address);
        if !self.0.contains_key(&client) && self.0.len() >= BUCKETS {
            // A full one is as good as none.
            self.0.retain(|_, bucket| {
                bucket.refill(now);
                bucket.tokens < TOKENS
            });
            if self.0.len() >= BUCKETS {
                client = None;
            }
        }
        let bucket = self.0.entry(client).or_insert(Bucket { tokens: TOKENS, at: now });
        bucket.refill(now);
        if bucket.tokens < 1.0 {
            // One comes back sooner, but a second is the least that can be said.
            return Err(1);
        }
        bucket.tokens -= 1.0;
        Ok(client)
    }

    pub fn give_back(&mut self, client: Client) {
        if let Some(bucket) = self.0.get_mut(&client) {
            bucket.tokens = (bucket.tokens + 1.0).min(TOKENS);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn address(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    fn taken(buckets: &mut Buckets, n: u32, now: Instant) -> usize {
        (0..1000).take_while(|_| buckets.take(address(n), now).is_ok()).count()
    }

    #[test]
    fn tokens_run_out_and_come_back() {
        let (mut buckets, start) = (Buckets::default(), Instant::now());
        assert_eq!((taken(&mut buckets, 1, start), buckets.take(address(1), start)), (300, Err(1)));
        assert_eq!(taken(&mut buckets, 2, start), 300, "others have their own");
        assert_eq!(taken(&mut buckets, 1, start + Duration::from_secs(3)), 30);
        assert_eq!(taken(&mut buckets, 1, start + Duration::from_secs(3600)), 300, "and no more than a bucket full");
    }

    #[test]
    fn who_gets_them_back_never_runs_out() {
        let (mut buckets, start) = (Buckets::default(), Instant::now());
        for _ in 0..10_000 {
            let all: Vec<Client> = (0..256).map(|_| buckets.take(address(1), start).unwrap()).collect();
            for client in all {
                buckets.give_back(client);
            }
        }
        assert_eq!(taken(&mut buckets, 1, start), 300);
    }

    #[test]
    fn a_flood_of_addresses_fills_no_memory() {
        let (mut buckets, start) = (Buckets::default(), Instant::now());
        let all = (0..20_000).filter(|n| buckets.take(address(*n), start).is_ok()).count();
        assert_eq!((all, buckets.0.len()), (BUCKETS + 300, BUCKETS + 1), "those without room share one bucket");
        assert_eq!(taken(&mut buckets, 30_000, start + Duration::from_secs(60)), 300, "until the flood is over");
    }
}
