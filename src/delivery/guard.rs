//! Which addresses a request may go to: public ones, and the networks the merchant named. Without
//! this a destination's name could be pointed at the router, at a cloud's metadata service or at
//! our own dashboard.
//!
//! Names are vetted inside the client's resolver: the address that was looked at is the one that
//! is connected to, so an answer that changes in between gains nothing.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
};

/// The networks that are not public but allowed, and who knows the names.
#[derive(Clone, Default)]
pub struct Guard {
    allowed: Arc<[IpNet]>,
    names: Names,
}

type Resolver = dyn Fn(&str) -> Vec<IpAddr> + Send + Sync;

/// Who says which addresses a name has.
#[derive(Clone, Default)]
enum Names {
    #[default]
    System,
    Given(Arc<Resolver>),
}

/// The address of `host` may not be connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    pub host: String,
}

/// `host` has no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotFound {
    pub host: String,
}

/// A network of `allow_private` that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("[forwarder] `allow_private` has {0:?}, which is not a network; write it like \"127.0.0.0/8\" or \"10.1.2.3\"")]
pub struct NotANetwork(pub String);

impl Guard {
    /// # Errors
    /// A text is neither a network ("10.0.0.0/8") nor an address ("10.1.2.3").
    pub fn new(allow_private: &[String]) -> Result<Self, NotANetwork> {
        let parse = |text: &String| {
            let network = text.trim();
            network
                .parse::<IpNet>()
                .or_else(|_| network.parse::<IpAddr>().map(IpNet::from))
                .map_err(|_| NotANetwork(text.clone()))
        };
        Ok(Self { allowed: allow_private.iter().map(parse).collect::<Result<_, _>>()?, names: Names::System })
    }

    /// With addresses that `names` knows instead of the system's resolver: for a name that changes
    /// its address between two questions, which no real one does at a test's word.
    #[must_use]
    pub fn with_names(self, names: impl Fn(&str) -> Vec<IpAddr> + Send + Sync + 'static) -> Self {
        Self { names: Names::Given(Arc::new(names)), ..self }
    }

    /// Whether requests may go to `address`.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        is_public(address) || self.allowed.iter().any(|network| network.contains(&address))
    }

    /// Vets an address written into the URL itself, which no resolver sees.
    ///
    /// # Errors
    /// The host is an address and not allowed.
    pub fn check_literal(&self, url: &Url) -> Result<(), Blocked> {
        let host = url.host_str().unwrap_or_default();
        match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(address) if !self.allows(address) => Err(Blocked { host: host.to_owned() }),
            _ => Ok(()),
        }
    }

    async fn look_up(self, host: String) -> Result<Addrs, Box<dyn std::error::Error + Send + Sync>> {
        let found: Vec<SocketAddr> = match &self.names {
            Names::System => {
                tokio::net::lookup_host((host.as_str(), 0)).await.map(Iterator::collect).unwrap_or_default()
            }
            Names::Given(names) => names(&host).into_iter().map(|address| SocketAddr::new(address, 0)).collect(),
        };
        let (allowed, refused): (Vec<SocketAddr>, Vec<SocketAddr>) =
            found.into_iter().partition(|address| self.allows(address.ip()));
        match (allowed.is_empty(), refused.is_empty()) {
            (false, _) => Ok(Box::new(allowed.into_iter())),
            (true, false) => Err(Blocked { host }.into()),
            (true, true) => Err(NotFound { host }.into()),
        }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(self.clone().look_up(name.as_str().to_owned()))
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not a public address", self.host)
    }
}

impl std::error::Error for Blocked {}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name {} was not found", self.host)
    }
}

impl std::error::Error for NotFound {}

/// Special-purpose networks (IANA registries), and the one public address that clouds use inside.
const V4_SPECIAL: &[([u8; 4], u8)] = &[
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([168, 63, 129, 16], 32), // Azure's metadata and DNS
    ([169, 254, 0, 0], 16),   // link-local, metadata of most clouds
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !V4_SPECIAL.iter().any(|(network, length)| {
        Ipv4Net::new((*network).into(), *length).is_ok_and(|network| network.contains(&address))
    })
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let within = |network: [u16; 8], length| {
        Ipv6Net::new(network.into(), length).is_ok_and(|network| network.contains(&address))
    };
    let embedded = |at: usize| {
        let bytes = address.octets();
        is_public_v4(Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]))
    };
    if within([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96) {
        return embedded(12); // NAT64 leads to an IPv4 address
    }
    if within([0x2002, 0, 0, 0, 0, 0, 0, 0], 16) {
        return embedded(2); // so does 6to4
    }
    // Only this much of IPv6 is given out as public; within it, protocol and documentation ranges.
    within([0x2000, 0, 0, 0, 0, 0, 0, 0], 3)
        && !within([0x2001, 0, 0, 0, 0, 0, 0, 0], 23)
        && !within([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32)
        && !within([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_pass() {
        let guard = Guard::default();
        for address in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!guard.allows(address.parse().unwrap()), "{address}");
        }
        for address in [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.0",
            "126.0.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450:4001::1",
            "64:ff9b::101:101",
            "::ffff:1.1.1.1",
        ] {
            assert!(guard.allows(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn named_networks_pass_too() {
        let guard = Guard::new(&["127.0.0.0/8".to_owned(), "192.168.7.9".to_owned(), "fd00::/8".to_owned()]).unwrap();
        for (address, allowed) in [
            ("127.0.0.1", true),
            ("::ffff:127.0.0.1", true),
            ("192.168.7.9", true),
            ("192.168.7.8", false),
            ("fd12::1", true),
            ("::1", false),
        ] {
            assert_eq!(guard.allows(address.parse().unwrap()), allowed, "{address}");
        }
        assert_eq!(
            Guard::new(&["localhost".to_owned()]).unwrap_err().to_string(),
            "[forwarder] `allow_private` has \"localhost\", which is not a network; write it like \"127.0.0.0/8\" or \
             \"10.1.2.3\""
        );
    }

    #[test]
    fn disguised_literals_are_seen_through() {
        let guard = Guard::default();
        for url in [
            "https://127.0.0.1/",
            "https://127.1/",
            "https://0x7f000001/",
            "https://2130706433/",
            "https://0177.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://①②⑦.0.0.1/",
            "https://user@169.254.169.254/x",
        ] {
            assert!(guard.check_literal(&Url::parse(url).unwrap()).is_err(), "{url}");
        }
        for url in ["https://example.com/", "https://1.1.1.1/", "https://127.0.0.1.example.com/"] {
            assert!(guard.check_literal(&Url::parse(url).unwrap()).is_ok(), "{url}");
        }
    }

    #[tokio::test]
    async fn names_are_vetted_by_what_they_resolve_to() {
        let look_up = |guard: Guard, host: &str| guard.look_up(host.to_owned());
        let Err(refused) = look_up(Guard::default(), "localhost").await else { panic!("localhost is not public") };
        assert!(refused.downcast_ref::<Blocked>().is_some(), "{refused}");
        let guard = Guard::new(&["127.0.0.0/8".to_owned(), "::1".to_owned()]).unwrap();
        let found: Vec<_> = look_up(guard, "localhost").await.unwrap().collect();
        assert!(!found.is_empty() && found.iter().all(|address| address.ip().is_loopback()));
    }
}
