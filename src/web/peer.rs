//! Who is at the other end of a connection.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::{
    extract::{ConnectInfo, Request},
    http::HeaderMap,
};

/// The other end of the connection; `None` where there is none, as in tests.
pub fn address(request: &Request) -> Option<IpAddr> {
    request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip())
}

/// What is counted as one: an IPv4 address, or the network of an IPv6 one, of which everybody has as
/// many as they like.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// On this machine or in its own network, where tunnels and proxies are.
pub fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
    }
}

/// On whose behalf a tunnel or proxy nearby asks: the last address of `X-Forwarded-For` that is not
/// near itself. Each adds whom it was asked by, so behind two of them the last address is one of theirs.
/// What stands before the first that is not near is what it said, and can be made up.
pub fn forwarded_for(headers: &HeaderMap) -> Option<IpAddr> {
    let lines = headers.get_all("x-forwarded-for").into_iter().rev();
    let entries = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
    // One that is no address ends the search: nobody knows who wrote it.
    entries.map(|entry| entry.trim().parse().ok()).find(|address| !address.is_some_and(is_near))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_count_as_one() {
        let network = |text: &str| network(text.parse().unwrap());
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("::ffff:203.0.113.7"), network("203.0.113.7"));
        assert_ne!(network("203.0.113.7"), network("203.0.113.8"));
    }

    #[test]
    fn only_what_the_proxies_nearby_added_counts() {
        for (lines, found) in [
            (vec![], None),
            (vec!["203.0.113.7"], Some("203.0.113.7")),
            (vec!["198.51.100.1, 203.0.113.7"], Some("203.0.113.7")),
            (vec!["198.51.100.1", "203.0.113.7"], Some("203.0.113.7")),
            (vec!["2001:db8::1"], Some("2001:db8::1")),
            (vec!["198.51.100.1, 203.0.113.7, 127.0.0.1"], Some("203.0.113.7")),
            (vec!["198.51.100.1, 203.0.113.7", "::1, 172.17.0.1"], Some("203.0.113.7")),
            (vec!["::ffff:203.0.113.7, ::ffff:10.0.0.1"], Some("::ffff:203.0.113.7")),
            (vec!["127.0.0.1", "192.168.1.5"], None),
            (vec!["203.0.113.7, unknown"], None),
            (vec!["203.0.113.7, unknown, 127.0.0.1"], None),
            (vec![""], None),
        ] {
            let mut headers = HeaderMap::new();
            for line in &lines {
                headers.append("x-forwarded-for", line.parse().unwrap());
            }
            assert_eq!(forwarded_for(&headers), found.map(|text| text.parse().unwrap()), "{lines:?}");
        }
    }
}
