//! What quintile stands on and talks to: files, disk, names of destinations.

use std::{
    io,
    net::{IpAddr, ToSocketAddrs},
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use super::{Context, Finding};
use crate::{
    backups::Backups,
    config::{
        Config, Destination,
        advice::{self, Advice},
    },
    db::folder_of,
    delivery::{guard::Guard, plan::Plan},
    sync::{self, Timer},
};

const MIB: u64 = 1 << 20;
/// Less than this and the next busy day may fill the disk.
const LEAST_FREE: u64 = 100 * MIB;
/// All destinations' names are looked up at once and share this time.
const LOOKUP: Duration = Duration::from_secs(3);

/// The configuration holds secrets: others on this computer should not read it.
pub fn permissions(path: &Path) -> Finding {
    if let Err(error) = std::fs::metadata(path) {
        return Finding::fail(advice::PERMISSIONS, format!("cannot look at {}: {error}", path.display()));
    }
    let ok = if cfg!(unix) {
        "only its owner can read the configuration".to_owned()
    } else {
        format!("not looked at on this system: {}", path.display())
    };
    judge(advice::PERMISSIONS, advice::permissions(path), ok)
}

/// The database and its backups name customers: others on this computer should not read them.
pub fn file_permissions(config: &Config) -> Vec<Finding> {
    const CHECK: &str = advice::FILE_PERMISSIONS;
    let open = Backups::from_config(config).open_to_others();
    if open.is_empty() {
        let ok = if cfg!(unix) {
            "only their owner can read the database and its backups"
        } else {
            "not looked at on this system"
        };
        return vec![Finding::ok(CHECK, ok)];
    }
    open.into_iter().map(|said| Finding::warn(CHECK, said)).collect()
}

/// What the configuration alone can tell.
fn judge(check: &'static str, advice: Option<Advice>, ok: impl Into<String>) -> Finding {
    advice.map_or_else(|| Finding::ok(check, ok), |advice| Finding::warn(check, advice.text))
}

/// Room for the database to grow, and for a copy of it.
pub fn disk_space(database: &Path) -> Finding {
    const CHECK: &str = "disk space";
    let folder = folder_of(database);
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

/// Whether the database and its backups can be written where they lie.
pub fn folders(config: &Config) -> Vec<Finding> {
    let (database, backups) = (&config.database.path, Backups::from_config(config));
    let of_database = write_in(folder_of(database)).and_then(|()| may_write(database));
    let mut findings = vec![judge_folder("database folder", folder_of(database), of_database)];
    if let Some(folder) = backups.folder() {
        // The first backup makes it.
        let there = folder.ancestors().find(|folder| folder.exists()).unwrap_or_else(|| Path::new("."));
        findings.push(judge_backups("backup folder", &backups, folder, write_in(there)));
    }
    if let Some(folder) = backups.copy_to() {
        const CHECK: &str = "backup copies";
        findings.push(if folder.is_dir() {
            judge_backups(CHECK, &backups, folder, write_in(folder))
        } else {
            Finding::warn(CHECK, format!("{} is not there; is its drive connected?", folder.display()))
        });
    }
    findings
}

fn judge_folder(check: &'static str, folder: &Path, written: io::Result<()>) -> Finding {
    let folder = folder.display();
    match written {
        Ok(()) => Finding::ok(check, format!("{folder} can be written")),
        Err(error) => Finding::fail(
            check,
            format!("{folder} cannot be written ({error}); it has to belong to the user that quintile runs as"),
        ),
    }
}

/// Also whether they are another shop's.
fn judge_backups(check: &'static str, backups: &Backups, folder: &Path, written: io::Result<()>) -> Finding {
    match backups.is_claimed(folder) {
        Err(error) if written.is_ok() => Finding::fail(check, format!("{error:#}")),
        _ => judge_folder(check, folder, written),
    }
}

/// A file without a name, gone at once: who may write a folder does not show on a disk that is read-only.
fn write_in(folder: &Path) -> io::Result<()> {
    tempfile::tempfile_in(folder).map(drop)
}

/// Not by opening it, which would free the locks that this process has on it.
fn may_write(database: &Path) -> io::Result<()> {
    #[cfg(unix)]
    if database.exists() {
        rustix::fs::access(database, rustix::fs::Access::WRITE_OK)?;
    }
    #[cfg(not(unix))]
    let _ = database;
    Ok(())
}

/// One line per destination and host: does its name lead anywhere, and may requests go there.
pub fn destinations(config: &Config) -> Vec<Finding> {
    const CHECK: &str = advice::DESTINATION;
    if let Some(advice) = advice::destinations(config) {
        return vec![Finding::warn(CHECK, advice.text)];
    }
    let guard = match Guard::new(&config.forwarder.allow_private) {
        Ok(guard) => guard,
        Err(unusable) => return vec![Finding::fail(CHECK, unusable.to_string())],
    };
    let until = Instant::now() + LOOKUP;
    let lookups: Vec<_> = config.destination.iter().map(|destination| start_lookups(destination, config)).collect();
    let finding = |(destination, lookups): (&Destination, Result<Vec<Lookup>, String>)| {
        let name = &destination.name;
        let lookups = match lookups {
            Ok(lookups) if lookups.is_empty() => {
                let message = format!("{name}: where it sends to is not known without its secrets");
                return vec![Finding::warn(CHECK, message)];
            }
            Ok(lookups) => lookups,
            Err(problem) => return vec![Finding::fail(CHECK, problem)],
        };
        let judge = |Lookup { host, addresses }: Lookup| match addresses
            .recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            Ok(addresses) => judge_addresses(name, &host, &addresses, &guard),
            Err(_) => Finding::fail(
                CHECK,
                format!("{name}: looking up {host} took longer than {} s; is this computer online?", LOOKUP.as_secs()),
            ),
        };
        lookups.into_iter().map(judge).collect()
    };
    config.destination.iter().zip(lookups).flat_map(finding).collect()
}

/// As the forwarder will: one address that is allowed is enough.
fn judge_addresses(name: &str, host: &str, addresses: &[IpAddr], guard: &Guard) -> Finding {
    const CHECK: &str = advice::DESTINATION;
    let Some(first) = addresses.first() else {
        let message = format!("{name}: the name {host} has no address; is its url right, and is this computer online?");
        return Finding::fail(CHECK, message);
    };
    if addresses.iter().any(|&address| guard.allows(address)) {
        return Finding::ok(CHECK, format!("{name} ({host}) has an address"));
    }
    let first = first.to_canonical();
    let network = format!("{first}/{}", if first.is_ipv4() { 32 } else { 128 });
    Finding::fail(
        CHECK,
        format!(
            "{name}: {host} is not a public address, so nothing will be sent to it; if it is meant, write allow_private = [\"{network}\"] in [forwarder]"
        ),
    )
}

/// The name of a destination while its addresses are asked for.
struct Lookup {
    host: String,
    addresses: mpsc::Receiver<Vec<IpAddr>>,
}

/// One for each host that its requests go to. The host alone is told: the rest of a url may be a
/// secret. The threads are left to themselves when the name server does not answer.
fn start_lookups(destination: &Destination, config: &Config) -> Result<Vec<Lookup>, String> {
    let plan = Plan::from_config(destination, &config.shop).map_err(|problem| problem.to_string())?;
    let start = |(host, port): (String, u16)| {
        let (sender, addresses) = mpsc::channel();
        let name = host.trim_matches(['[', ']']).to_owned();
        thread::spawn(move || {
            let found = (name.as_str(), port).to_socket_addrs();
            let found = found.map(|found| found.map(|address| address.ip()).collect()).unwrap_or_default();
            let _ = sender.send(found); // nobody waits any more
        });
        Lookup { host, addresses }
    };
    Ok(plan.hosts().into_iter().map(start).collect())
}

/// Decides whose webhooks are taken, and goes out with every event.
pub fn shop(config: &Config) -> Finding {
    judge(advice::SHOP, advice::shop(config), &config.shop.id)
}

/// Without one the shop cannot send orders.
pub fn shop_secrets(config: &Config) -> Finding {
    let webhooks = &config.webhooks;
    let sources = [
        ("shopify", &webhooks.shopify.secrets),
        ("woocommerce", &webhooks.woocommerce.secrets),
        ("orders", &webhooks.orders.secrets),
    ];
    let with: Vec<&str> = sources.iter().filter(|(_, secrets)| !secrets.is_empty()).map(|(name, _)| *name).collect();
    judge(advice::SECRETS, advice::shop_secrets(config), format!("webhooks for {} are taken", with.join(", ")))
}

/// Asks the shop with the credentials of `[shopify]`; nothing to say without any.
pub fn credentials(context: &Context) -> Option<Finding> {
    const CHECK: &str = "shop credentials";
    let config = &context.config;
    if !config.shopify.is_configured() {
        return None;
    }
    let asked =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(anyhow::Error::from).and_then(
            |runtime| runtime.block_on(sync::check_credentials(config, context.clock.clone(), Timer::system())),
        );
    Some(match asked {
        Ok(()) => Finding::ok(CHECK, format!("{} lets quintile in", config.shop.id)),
        Err(error) => Finding::fail(CHECK, format!("{error:#}")),
    })
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
