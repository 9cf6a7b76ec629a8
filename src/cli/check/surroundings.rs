//! What quintile stands on and talks to: files, disk, names of destinations.

use std::{
    net::ToSocketAddrs,
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use super::Finding;
use crate::config::{Config, Destination};

const MIB: u64 = 1 << 20;
/// Less than this and the next busy day may fill the disk.
const LEAST_FREE: u64 = 100 * MIB;
/// All destinations' names are looked up at once and share this time.
const LOOKUP: Duration = Duration::from_secs(3);

/// The configuration holds secrets: others on this computer should not read it.
pub fn permissions(path: &Path) -> Finding {
    const CHECK: &str = "permissions";
    #[cfg(unix)]
    {
        const OTHERS: u32 = 0o077;
        use std::os::unix::fs::PermissionsExt;
        match std::fs::metadata(path).map(|meta| meta.permissions().mode() & 0o777) {
            Ok(mode) if mode == mode & !OTHERS => Finding::ok(CHECK, "only its owner can read the configuration"),
            Ok(mode) => Finding::warn(
                CHECK,
                format!("others can read the secrets in {0} (mode {mode:03o}); run chmod 600 {0}", path.display()),
            ),
            Err(error) => Finding::fail(CHECK, format!("cannot look at {}: {error}", path.display())),
        }
    }
    #[cfg(not(unix))]
    Finding::ok(CHECK, format!("not looked at on this system: {}", path.display()))
}

/// Room for the database to grow, and for a copy of it.
pub fn disk_space(database: &Path) -> Finding {
    const CHECK: &str = "disk space";
    let folder = database.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let size = std::fs::metadata(database).map_or(0, |meta| meta.len());
    #[cfg(unix)]
    match rustix::fs::statvfs(folder) {
        Ok(disk) => judge_space(disk.f_bavail.saturating_mul(disk.f_frsize), size),
        Err(error) => Finding::fail(CHECK, format!("cannot look at {}: {error}", folder.display())),
    }
    #[cfg(not(unix))]
    {
        let _ = size;
        Finding::ok(CHECK, format!("not looked at on this system: {}", folder.display()))
    }
}

fn judge_space(free: u64, database: u64) -> Finding {
    const CHECK: &str = "disk space";
    let seen = format!("{} MiB are free, the database has {} MiB", free / MIB, database / MIB);
    if free < LEAST_FREE {
        Finding::fail(CHECK, format!("{seen}; delete something, or new orders will be refused"))
    } else if free < database {
        Finding::warn(CHECK, format!("{seen}; a backup on this disk has no room"))
    } else {
        Finding::ok(CHECK, seen)
    }
}

/// One line per destination: does its name lead anywhere.
pub fn destinations(destinations: &[Destination]) -> Vec<Finding> {
    const CHECK: &str = "destination";
    if destinations.is_empty() {
        return vec![Finding::warn(CHECK, "there is none; add a [[destination]] to send segment changes to your tool")];
    }
    let until = Instant::now() + LOOKUP;
    let lookups: Vec<_> = destinations.iter().map(start_lookup).collect();
    let finding = |(destination, lookup): (&Destination, Option<(String, mpsc::Receiver<bool>)>)| {
        let name = &destination.name;
        let Some((host, answer)) = lookup else {
            return Finding::fail(CHECK, format!("{name} has no host in its url; write the whole address"));
        };
        match answer.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(true) => Finding::ok(CHECK, format!("{name} ({host}) has an address")),
            Ok(false) => Finding::fail(
                CHECK,
                format!("{name}: the name {host} has no address; is its url right, and is this computer online?"),
            ),
            Err(_) => Finding::fail(
                CHECK,
                format!("{name}: looking up {host} took longer than {} s; is this computer online?", LOOKUP.as_secs()),
            ),
        }
    };
    destinations.iter().zip(lookups).map(finding).collect()
}

/// The host alone is told: the rest of a url may be a secret. The thread is left to itself when
/// the name server does not answer.
fn start_lookup(destination: &Destination) -> Option<(String, mpsc::Receiver<bool>)> {
    let url = url::Url::parse(&destination.url).ok()?;
    let (host, port) = (url.host_str()?.to_owned(), url.port_or_known_default()?);
    let (sender, answer) = mpsc::channel();
    let name = host.trim_matches(['[', ']']).to_owned();
    thread::spawn(move || {
        let found = (name.as_str(), port).to_socket_addrs().is_ok_and(|mut addresses| addresses.next().is_some());
        let _ = sender.send(found); // nobody waits any more
    });
    Some((host, answer))
}

/// Without one the shop cannot send orders.
pub fn shop_secrets(config: &Config) -> Finding {
    const CHECK: &str = "shop secrets";
    let sources = [
        ("shopify", &config.webhooks.shopify),
        ("woocommerce", &config.webhooks.woocommerce),
        ("orders", &config.webhooks.orders),
    ];
    let with: Vec<&str> =
        sources.iter().filter(|(_, source)| !source.secrets.is_empty()).map(|(name, _)| *name).collect();
    if with.is_empty() {
        Finding::warn(
            CHECK,
            "there is none, so webhooks are refused; write your shop's into [webhooks.shopify] secrets",
        )
    } else {
        Finding::ok(CHECK, format!("webhooks for {} are taken", with.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::State, *};

    #[test]
    fn a_full_disk_is_a_fault() {
        for (free, database, state) in
            [(50 * MIB, MIB, State::Fail), (500 * MIB, 600 * MIB, State::Warn), (500 * MIB, 400 * MIB, State::Ok)]
        {
            assert_eq!(judge_space(free, database).state, state);
        }
    }
}
