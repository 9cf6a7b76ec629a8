//! How often somebody may be wrong about the password. Pure.
//!
//! Failures are counted by who makes them: five a minute, then nothing more is tried for them until
//! the first of the five is a minute old. An address counts as one, and everybody behind a proxy as
//! one more: headers that say on whose behalf it asks can be made up. A browser that has signed in
//! before counts by itself. So whoever guesses from elsewhere cannot keep the merchant out of it, nor,
//! on the machine itself or through an SSH tunnel, out of a new one.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
};

use crate::model::Timestamp;

/// Failures in [`WINDOW_MS`].
pub const ALLOWED: usize = 5;
const WINDOW_MS: i64 = 60_000;
/// Clients that are remembered: about half a megabyte. Beyond it all new ones count as one.
const MOST_CLIENTS: usize = 4096;

/// Whom failures count against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Client {
    /// A browser that has signed in before.
    Known([u8; 16]),
    /// Of IPv6 the network: everybody has as many addresses as they like.
    Address(IpAddr),
    /// Somebody behind the proxy at this address.
    Behind(IpAddr),
    /// Everybody else.
    Other,
}

impl Client {
    /// Somebody who has not signed in before. `proxied`: the request has the headers of a proxy, which
    /// nobody can take out on the way through one.
    #[must_use]
    pub fn stranger(peer: Option<IpAddr>, proxied: bool) -> Self {
        let Some(peer) = peer else { return Self::Other };
        let address = match peer.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            address @ IpAddr::V4(_) => address,
        };
        if proxied { Self::Behind(address) } else { Self::Address(address) }
    }
}

/// Too many failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many wrong passwords; try again in {wait_s} s")]
pub struct TooMany {
    /// Seconds until the next try counts.
    pub wait_s: i64,
}

/// The tries of the last minute.
#[derive(Debug, Default)]
pub struct Attempts(HashMap<Client, Vec<Timestamp>>);

impl Attempts {
    /// Counts a try, before it is known whether it fails.
    ///
    /// # Errors
    /// [`ALLOWED`] have failed, or are not decided yet.
    pub fn begin(&mut self, client: Client, now: Timestamp) -> Result<(), TooMany> {
        let recent = |at: &Timestamp| (0..WINDOW_MS).contains(&(now.millis() - at.millis()));
        let mut client = client;
        if !self.0.contains_key(&client) && self.0.len() >= MOST_CLIENTS {
            self.0.retain(|_, tries| tries.iter().any(recent));
            if self.0.len() >= MOST_CLIENTS {
                client = Client::Other;
            }
        }
        let tries = self.0.entry(client).or_default();
        tries.retain(recent);
        if tries.len() >= ALLOWED {
            let first = tries.first().copied().unwrap_or(now);
            let wait_s = (first.millis() + WINDOW_MS - now.millis()).div_euclid(1000) + 1;
            return Err(TooMany { wait_s });
        }
        tries.push(now);
        Ok(())
    }

    /// The password was right: the client's failures are forgotten.
    pub fn succeeded(&mut self, client: Client) {
        self.0.remove(&client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn address(text: &str) -> Client {
        Client::stranger(Some(text.parse().unwrap()), false)
    }

    #[test]
    fn five_a_minute() {
        let mut attempts = Attempts::default();
        let client = address("203.0.113.7");
        for second in 0..5 {
            assert_eq!(attempts.begin(client, at(second)), Ok(()));
        }
        assert_eq!(attempts.begin(client, at(10)), Err(TooMany { wait_s: 51 }));
        assert_eq!(attempts.begin(client, at(59)), Err(TooMany { wait_s: 2 }));
        // Those that were refused do not count: asking again and again keeps nobody out for longer.
        assert_eq!(attempts.begin(client, at(60)), Ok(()));
        assert_eq!(attempts.begin(client, at(60)), Err(TooMany { wait_s: 2 }));
        assert_eq!(attempts.begin(client, at(61)), Ok(()));
        attempts.succeeded(client);
        assert!((0..5).all(|_| attempts.begin(client, at(62)).is_ok()));
        assert!(attempts.begin(client, at(62)).is_err());
        assert_eq!(attempts.begin(client, at(-9000)), Ok(()), "a clock that went back keeps nobody out");
    }

    #[test]
    fn one_client_does_not_keep_out_another() {
        let mut attempts = Attempts::default();
        let attacker = address("2001:db8:1:2::1");
        (0..5).for_each(|_| attempts.begin(attacker, at(0)).unwrap());
        assert!(attempts.begin(address("2001:db8:1:2:ffff::9"), at(1)).is_err(), "the same network");
        assert_eq!(address("::ffff:203.0.113.7"), address("203.0.113.7"));
        let behind = Client::stranger(Some("2001:db8:1:2::1".parse().unwrap()), true);
        for other in [address("2001:db8:1:3::1"), address("203.0.113.7"), behind, Client::Known([7; 16]), Client::Other]
        {
            assert_eq!(attempts.begin(other, at(1)), Ok(()), "{other:?}");
        }
    }

    #[test]
    fn a_flood_of_addresses_fills_no_memory() {
        let mut attempts = Attempts::default();
        for n in 0..20_000_u32 {
            let _ = attempts.begin(Client::Address(IpAddr::V4(n.into())), at(0));
        }
        assert!(attempts.0.len() <= MOST_CLIENTS + 1);
        assert!(attempts.begin(address("203.0.113.7"), at(1)).is_err(), "new ones count as one");
        assert_eq!(attempts.begin(address("203.0.113.7"), at(61)), Ok(()), "until the flood is over");
        assert_eq!(attempts.0.len(), 1);
    }
}
