//! How often somebody may be wrong about the password. Pure.
//!
//! Failures are counted by who makes them: five a minute, then nothing more is tried for them until
//! the first of the five is a minute old. An address counts as one, with everybody whom it asks for:
//! headers that say on whose behalf it asks can be made up. Only everybody behind a proxy on this
//! machine counts apart from those who sit at it. Whoever has many addresses is stopped by a second
//! limit, on all strangers together.
//!
//! Whoever guesses must not keep the merchant out. So a browser that has signed in before counts by
//! itself, and so does what comes straight from this machine, as through an SSH tunnel: neither is
//! bound by what strangers do.

use std::net::IpAddr;

use crate::{model::Timestamp, web::peer::network};

/// Failures of one client in [`WINDOW_MS`].
pub const ALLOWED: usize = 5;
/// Failures of all strangers together.
const ALLOWED_STRANGERS: usize = 20;
const WINDOW_MS: i64 = 60_000;

/// Whom failures count against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// A browser that has signed in before.
    Known([u8; 16]),
    /// Of IPv6 the network.
    Address(IpAddr),
    /// Somebody behind a proxy on this machine.
    Behind,
    /// Nobody knows who.
    Other,
}

impl Client {
    /// Somebody who has not signed in before. `proxied`: the request has the headers of a proxy, which
    /// nobody can take out on the way through one.
    #[must_use]
    pub fn stranger(peer: Option<IpAddr>, proxied: bool) -> Self {
        match peer.map(network) {
            None => Self::Other,
            Some(address) if proxied && is_this_machine(address) => Self::Behind,
            Some(address) => Self::Address(address),
        }
    }

    /// Counts among all strangers too.
    fn is_stranger(self) -> bool {
        match self {
            Self::Known(_) => false,
            Self::Address(address) => !is_this_machine(address),
            Self::Behind | Self::Other => true,
        }
    }
}

/// As [`network`] leaves its addresses: of `::1` only zeros.
fn is_this_machine(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => address.is_unspecified(),
    }
}

/// Too many failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many wrong passwords; try again in {wait_s} s")]
pub struct TooMany {
    /// Seconds until the next try counts.
    pub wait_s: i64,
}

/// The tries of the last minute, oldest first. There are never many: strangers are limited, and nobody
/// becomes known without the password.
#[derive(Debug, Default)]
pub struct Attempts(Vec<(Client, Timestamp)>);

impl Attempts {
    /// Counts a try, before it is known whether it fails.
    ///
    /// # Errors
    /// As many as are allowed have failed, or are not decided yet.
    pub fn begin(&mut self, client: Client, now: Timestamp) -> Result<(), TooMany> {
        self.0.retain(|(_, at)| (0..WINDOW_MS).contains(&(now.millis() - at.millis())));
        self.room(ALLOWED, now, |other| other == client)?;
        if client.is_stranger() {
            self.room(ALLOWED_STRANGERS, now, Client::is_stranger)?;
        }
        self.0.push((client, now));
        Ok(())
    }

    /// Whether less than `allowed` tries are by those that are `counted`.
    fn room(&self, allowed: usize, now: Timestamp, counted: impl Fn(Client) -> bool) -> Result<(), TooMany> {
        let mut newest_first = self.0.iter().rev().filter(|(client, _)| counted(*client));
        match newest_first.nth(allowed - 1) {
            None => Ok(()),
            Some((_, at)) => Err(TooMany { wait_s: (at.millis() + WINDOW_MS - now.millis()).div_euclid(1000) + 1 }),
        }
    }

    /// The password was right: the client's failures are forgotten.
    pub fn succeeded(&mut self, client: Client) {
        self.0.retain(|(other, _)| *other != client);
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
        let forged = Client::stranger(Some("2001:db8:1:2::1".parse().unwrap()), true);
        assert!(attempts.begin(forged, at(1)).is_err(), "the headers of a proxy, made up");
        for other in
            [address("2001:db8:1:3::1"), address("203.0.113.7"), Client::Behind, Client::Known([7; 16]), Client::Other]
        {
            assert_eq!(attempts.begin(other, at(1)), Ok(()), "{other:?}");
        }
    }

    #[test]
    fn those_behind_a_proxy_on_this_machine_do_not_keep_out_who_sits_at_it() {
        let mut attempts = Attempts::default();
        for loopback in ["127.0.0.1", "::1"] {
            assert_eq!(Client::stranger(Some(loopback.parse().unwrap()), true), Client::Behind);
        }
        (0..5).for_each(|_| attempts.begin(Client::Behind, at(0)).unwrap());
        assert!(attempts.begin(Client::Behind, at(1)).is_err());
        assert_eq!(attempts.begin(address("127.0.0.1"), at(1)), Ok(()));
    }

    #[test]
    fn many_addresses_are_bounded_together_and_lock_nobody_out() {
        let mut attempts = Attempts::default();
        let tried =
            (0..20_000_u32).filter(|n| attempts.begin(Client::Address(IpAddr::V4((*n << 8).into())), at(0)).is_ok());
        assert_eq!(tried.count(), 20);
        // Nor do made-up headers help.
        for stranger in [Client::Behind, address("198.51.100.1"), Client::Other] {
            assert_eq!(attempts.begin(stranger, at(1)), Err(TooMany { wait_s: 60 }), "{stranger:?}");
        }
        for merchant in [Client::Known([7; 16]), address("127.0.0.1"), address("::1")] {
            assert!((0..5).all(|_| attempts.begin(merchant, at(1)).is_ok()), "{merchant:?}");
            assert!(attempts.begin(merchant, at(1)).is_err(), "{merchant:?}");
        }
        assert_eq!(attempts.0.len(), 35);
        assert_eq!(attempts.begin(Client::Behind, at(60)), Ok(()), "until the minute is over");
    }
}
