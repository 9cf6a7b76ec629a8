//! Creating a database, bringing an older one up, refusing a newer or a foreign one.

use std::{fs::OpenOptions, path::Path};

use anyhow::{Context, bail};
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

/// "QTLE": tells `file` and us that this is a quintile database.
pub const APPLICATION_ID: i32 = 0x5154_4c45;
/// `user_version` of the schema this program reads and writes.
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "a handful of steps")]
pub const SCHEMA_VERSION: i32 = 1 + MIGRATIONS.len() as i32;
/// The whole current schema.
pub const SCHEMA: &str = include_str!("../../schema.sql");

/// `MIGRATIONS[i]` brings a file from version `i + 1` to `i + 2`. Released ones never change.
const MIGRATIONS: &[&str] = &[];

/// What stands in a file before anything is written to it.
struct Header {
    application_id: i32,
    version: i32,
    tables: i64,
}

/// Opens `path` for writing, with every setting in force and the current schema in place.
pub fn open_and_migrate(path: &Path) -> anyhow::Result<Connection> {
    if path.exists() {
        check_header(path, &read_header(path)?)?;
    } else {
        create_private(path)?;
    }
    let mut connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .with_context(|| format!("cannot open {}", path.display()))?;
    connection.busy_timeout(super::BUSY_TIMEOUT)?;
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .with_context(|| format!("cannot write {}; its folder must be writable too", path.display()))?;
    if mode != "wal" {
        bail!("{} cannot be put into WAL mode; is it on a network drive? Put it on a local disk", path.display());
    }
    super::configure(&connection)?;
    migrate(&mut connection)
        .with_context(|| format!("cannot bring {} up to schema {SCHEMA_VERSION}", path.display()))?;
    Ok(connection)
}

/// Refuses what a reader of this program could not understand.
pub fn check_readable(path: &Path) -> anyhow::Result<()> {
    let header = read_header(path)?;
    check_header(path, &header)?;
    if header.version < SCHEMA_VERSION {
        bail!(
            "{} has schema {}, this program reads {SCHEMA_VERSION}; `quintile serve` brings it up",
            path.display(),
            header.version
        );
    }
    Ok(())
}

fn migrate(connection: &mut Connection) -> anyhow::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == SCHEMA_VERSION {
        return Ok(());
    }
    if version == 0 {
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    } else {
        for step in &MIGRATIONS[usize::try_from(version - 1)?..] {
            transaction.execute_batch(step)?;
        }
        tracing::info!(from = version, to = SCHEMA_VERSION, "migrated the database");
    }
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()?;
    Ok(())
}

fn check_header(path: &Path, header: &Header) -> anyhow::Result<()> {
    let fresh = header.tables == 0 && header.version == 0 && header.application_id == 0;
    if !fresh && header.application_id != APPLICATION_ID {
        bail!("{} is not a quintile database; [database] path must name another file", path.display());
    }
    if header.version > SCHEMA_VERSION {
        bail!(
            "{} was written by a newer quintile (schema {}, this program knows {SCHEMA_VERSION}); use that version, nothing was changed",
            path.display(),
            header.version
        );
    }
    Ok(())
}

/// Reads through a connection that cannot write, so that a refused file stays as it was.
fn read_header(path: &Path) -> anyhow::Result<Header> {
    let read = || -> rusqlite::Result<Header> {
        let connection =
            Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(super::BUSY_TIMEOUT)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(Header {
            application_id: connection.pragma_query_value(None, "application_id", |row| row.get(0))?,
            version: connection.pragma_query_value(None, "user_version", |row| row.get(0))?,
            tables: connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?,
        })
    };
    read().with_context(|| format!("cannot read {} as a database", path.display()))
}

/// An empty file that only its owner can read; SQLite gives its companions the same mode.
fn create_private(path: &Path) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(path)
        .with_context(|| format!("cannot create {}; its folder must exist and be writable", path.display()))?;
    Ok(())
}
