//! Creating a database, bringing an older one up, refusing a newer or a foreign one.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, ffi};

use super::{
    condition::Damaged,
    create_private_file,
    passing::{NotKept, Unshared},
    place,
};

/// "QTLE": tells `file` and us that this is a quintile database.
pub const APPLICATION_ID: i32 = 0x5154_4c45;
/// The whole current schema.
pub const SCHEMA: &str = include_str!("../../schema.sql");
/// `user_version` of the schema this program reads and writes.
pub const SCHEMA_VERSION: i32 = CURRENT.version();

/// What this program makes of a file.
pub(super) const CURRENT: Plan<'static> = Plan { schema: SCHEMA, steps: &[FROM_1, FROM_2, FROM_3], keeps_old: true };

/// Finding what became of one event walked over all deliveries.
const FROM_1: &str = "CREATE INDEX deliveries_seq ON deliveries (seq);";

/// By customer first, each night rewrote pages all over a table that grows for years.
const FROM_2: &str = "
ALTER TABLE history RENAME TO history_by_customer;
CREATE TABLE history (
  customer_id INTEGER NOT NULL,
  run_id      INTEGER NOT NULL REFERENCES runs (id),
  r           INTEGER,
  f           INTEGER,
  m           INTEGER,
  segment     TEXT,
  moved       INTEGER NOT NULL CHECK (moved IN (0, 1)),
  PRIMARY KEY (run_id, customer_id)
) STRICT, WITHOUT ROWID;
INSERT INTO history (customer_id, run_id, r, f, m, segment, moved)
  SELECT customer_id, run_id, r, f, m, segment, moved FROM history_by_customer ORDER BY run_id, customer_id;
DROP TABLE history_by_customer;";

/// Batches, requests of several steps, replays, how each destination fares, events that belong to no
/// run, erased people, and scores in short rows. The CHECKs say the same in cheaper words, so no row is read for them.
const FROM_3: &str = "
ALTER TABLE outbox ADD COLUMN lapsed_days INTEGER;
CREATE UNIQUE INDEX outbox_first_order ON outbox (customer_id) WHERE type = 'customer/first_order';
CREATE TABLE unqueued (seq INTEGER PRIMARY KEY REFERENCES outbox (seq)) STRICT;
DROP INDEX inbox_delivery;
CREATE UNIQUE INDEX inbox_delivery ON inbox (delivery_key, topic, source, body_hash) WHERE delivery_key IS NOT NULL;
CREATE INDEX inbox_state ON inbox (state);
ALTER TABLE deliveries ADD COLUMN step INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deliveries ADD COLUMN replay_of BLOB;
DROP INDEX deliveries_run;
CREATE INDEX deliveries_run ON deliveries (run_id, destination, state, events);
CREATE INDEX deliveries_batches ON deliveries (destination) WHERE events > 1 AND finished_at IS NULL;
CREATE INDEX deliveries_replays ON deliveries (run_id, destination) WHERE replay_of IS NOT NULL;
CREATE TABLE batched (
  delivery_id INTEGER NOT NULL,
  seq         INTEGER NOT NULL,
  customer_id INTEGER,
  row_id      INTEGER NOT NULL,
  PRIMARY KEY (delivery_id, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX batched_seq ON batched (seq);
CREATE TABLE destinations (
  name          TEXT PRIMARY KEY,
  state         TEXT    NOT NULL CHECK (state IN ('active', 'failing', 'paused', 'disabled')),
  reason        TEXT,
  since         INTEGER NOT NULL,
  failures      INTEGER NOT NULL DEFAULT 0,
  failing_since INTEGER,
  probes        INTEGER NOT NULL DEFAULT 0,
  probe_at      INTEGER,
  wait_until    INTEGER,
  batch_limit   INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX inbox_notices ON inbox (topic, id) WHERE topic IN ('app/uninstalled', 'customers/data_request', 'customers/redact', 'shop/redact');
CREATE TABLE privacy_tasks (
  id        INTEGER PRIMARY KEY,
  kind      TEXT    NOT NULL CHECK (kind IN ('erase', 'export')),
  keys      TEXT    NOT NULL,
  position  INTEGER NOT NULL,
  last      INTEGER NOT NULL,
  inbox_id  INTEGER,
  begun_at  INTEGER NOT NULL
) STRICT;
CREATE TABLE tombstones (
  kind        TEXT    NOT NULL CHECK (kind IN ('id', 'email', 'phone')),
  source      TEXT    NOT NULL,
  hash        BLOB    NOT NULL,
  customer_id INTEGER NOT NULL REFERENCES customers (id),
  erased_at   INTEGER NOT NULL,
  PRIMARY KEY (kind, source, hash)
) STRICT, WITHOUT ROWID;
CREATE TABLE syncs (
  id            INTEGER PRIMARY KEY,
  trigger       TEXT    NOT NULL CHECK (trigger IN ('scheduled', 'before_scoring', 'manual')),
  mode          TEXT    NOT NULL CHECK (mode IN ('full', 'incremental')),
  state         TEXT    NOT NULL CHECK (state IN ('running', 'done', 'failed')),
  since         INTEGER,
  watermark     INTEGER NOT NULL,
  position      TEXT,
  started_at    INTEGER NOT NULL,
  finished_at   INTEGER,
  attempts      INTEGER NOT NULL DEFAULT 1,
  orders_read       INTEGER NOT NULL DEFAULT 0,
  orders_new        INTEGER NOT NULL DEFAULT 0,
  orders_updated    INTEGER NOT NULL DEFAULT 0,
  orders_rejected   INTEGER NOT NULL DEFAULT 0,
  orders_deleted    INTEGER NOT NULL DEFAULT 0,
  orders_missed     INTEGER,
  customers_read    INTEGER NOT NULL DEFAULT 0,
  customers_new     INTEGER NOT NULL DEFAULT 0,
  customers_updated INTEGER NOT NULL DEFAULT 0,
  customers_rejected INTEGER NOT NULL DEFAULT 0,
  customers_deleted INTEGER NOT NULL DEFAULT 0,
  subscribed    INTEGER NOT NULL DEFAULT 0,
  swept         INTEGER NOT NULL DEFAULT 0 CHECK (swept IN (0, 1)),
  remarks       TEXT,
  error         TEXT
) STRICT;
CREATE UNIQUE INDEX syncs_running ON syncs ((1)) WHERE state = 'running';
CREATE TABLE imports (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  file_name   TEXT    NOT NULL,
  state       TEXT    NOT NULL CHECK (state IN ('uploading', 'ready', 'refused', 'trying', 'importing', 'done', 'interrupted', 'failed')),
  size        INTEGER NOT NULL DEFAULT 0,
  format      TEXT,
  reason      TEXT,
  foreseen    TEXT,
  report      TEXT,
  has_file    INTEGER NOT NULL DEFAULT 0 CHECK (has_file IN (0, 1)),
  created_at  INTEGER NOT NULL,
  finished_at INTEGER
) STRICT;
CREATE TABLE segments (
  id   INTEGER PRIMARY KEY,
  name TEXT    NOT NULL UNIQUE
) STRICT;
CREATE TABLE customer_scores (
  customer_id         INTEGER PRIMARY KEY,
  r                   INTEGER CHECK (r BETWEEN 1 AND 5),
  f                   INTEGER CHECK (f BETWEEN 1 AND 5),
  m                   INTEGER CHECK (m BETWEEN 1 AND 5),
  segment_id          INTEGER,
  previous_segment_id INTEGER,
  segment_run         INTEGER,
  order_count         INTEGER NOT NULL DEFAULT 0,
  total_spent         INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO segments (name)
  SELECT segment FROM scores WHERE segment IS NOT NULL UNION SELECT previous_segment FROM scores WHERE previous_segment IS NOT NULL;
INSERT INTO customer_scores (customer_id, r, f, m, segment_id, previous_segment_id, segment_run, order_count, total_spent)
  SELECT s.customer_id, s.r, s.f, s.m, new.id, old.id, run.id, s.order_count, s.total_spent
    FROM scores AS s
    LEFT JOIN segments AS new ON new.name = s.segment
    LEFT JOIN segments AS old ON old.name = s.previous_segment
    LEFT JOIN (SELECT max(id) AS id, scored_at FROM runs WHERE trigger <> 'backfill' GROUP BY scored_at) AS run
      ON run.scored_at = s.segment_since
   ORDER BY s.customer_id;
DROP TABLE scores;
CREATE INDEX scores_segment ON customer_scores (segment_id);
CREATE VIEW scores AS
SELECT
  s.customer_id, s.r, s.f, s.m,
  (SELECT name FROM segments WHERE id = s.segment_id) AS segment,
  (SELECT name FROM segments WHERE id = s.previous_segment_id) AS previous_segment,
  (SELECT scored_at FROM runs WHERE id = s.segment_run) AS segment_since,
  s.order_count, s.total_spent
FROM customer_scores AS s;
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, ' REFERENCES runs (id)', '') WHERE name IN ('history', 'outbox');
UPDATE sqlite_schema SET sql = replace(sql, 'CHECK (source IN (''shopify'', ''woocommerce'', ''api''))',
  'CHECK (source = ''shopify'' OR source = ''woocommerce'' OR source = ''api'')') WHERE name = 'inbox';
UPDATE sqlite_schema SET sql = replace(sql, 'CHECK (state IN (''done'', ''stale'', ''ignored'', ''quarantined''))',
  'CHECK (state = ''done'' OR state = ''stale'' OR state = ''ignored'' OR state = ''quarantined'')') WHERE name = 'inbox';
UPDATE sqlite_schema SET sql = replace(sql, 'CHECK (source IN (''shopify'', ''woocommerce'', ''csv'', ''api''))',
  'CHECK (source = ''shopify'' OR source = ''woocommerce'' OR source = ''csv'' OR source = ''api'')') WHERE name = 'customers';
UPDATE sqlite_schema SET sql = replace(sql, 'CHECK (source IN (''shopify'', ''woocommerce'', ''csv'', ''api''))',
  'CHECK (source = ''shopify'' OR source = ''woocommerce'' OR source = ''csv'' OR source = ''api'')') WHERE name = 'orders';
UPDATE sqlite_schema SET sql = replace(sql, 'CHECK (status IN (''pending'', ''authorized'', ''partially_paid'', ''paid'', ''partially_refunded'', ''refunded'', ''voided'', ''expired'', ''cancelled'', ''unknown''))',
  'CHECK (status = ''paid'' OR status = ''pending'' OR status = ''authorized'' OR status = ''partially_paid'' OR status = ''partially_refunded'' OR status = ''refunded'' OR status = ''voided'' OR status = ''expired'' OR status = ''cancelled'' OR status = ''unknown'')') WHERE name = 'orders';
UPDATE sqlite_schema SET sql = replace(sql, 'CHECK (origin IN (''webhook'', ''sync'', ''csv'', ''api''))',
  'CHECK (origin = ''webhook'' OR origin = ''sync'' OR origin = ''csv'' OR origin = ''api'')') WHERE name = 'orders';
UPDATE sqlite_schema SET sql = replace(sql, 'customer_id INTEGER REFERENCES customers (id)', 'customer_id INTEGER') WHERE name = 'outbox';
UPDATE sqlite_schema SET sql = replace(sql, 'CHECK (cause IN (''order'', ''refund'', ''ranking'', ''baseline'', ''remap''))',
  'CHECK (cause = ''order'' OR cause = ''refund'' OR cause = ''ranking'' OR cause = ''baseline'' OR cause = ''remap'')') WHERE name = 'outbox';
UPDATE sqlite_schema SET sql = replace(sql, 'CHECK (state IN (''waiting'', ''sending'', ''retrying'', ''held'', ''delivered'', ''dead'', ''superseded'', ''discarded''))',
  'CHECK (state = ''waiting'' OR state = ''sending'' OR state = ''retrying'' OR state = ''held'' OR state = ''delivered'' OR state = ''dead'' OR state = ''superseded'' OR state = ''discarded'')') WHERE name = 'deliveries';
UPDATE sqlite_schema SET sql = replace(sql, 'CHECK (hold IN (''baseline'', ''run'', ''consent'', ''destination''))',
  'CHECK (hold = ''baseline'' OR hold = ''run'' OR hold = ''consent'' OR hold = ''destination'' OR hold = ''restored'')') WHERE name = 'deliveries';
PRAGMA writable_schema = RESET;";

/// How a file comes to the current schema: an empty one at once, an older one step by step. An
/// argument, so that tests can bring a real file up by steps of their own.
#[derive(Clone, Copy)]
pub(super) struct Plan<'a> {
    pub schema: &'a str,
    /// `steps[i]` brings a file from version `i + 1` to `i + 2`. Released ones never change.
    pub steps: &'a [&'a str],
    /// A verified copy of an older file is kept beside it.
    pub keeps_old: bool,
}

impl Plan<'_> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "a handful of steps")]
    pub const fn version(&self) -> i32 {
        1 + self.steps.len() as i32
    }
}

/// What stands in a file before anything is written to it.
pub(super) struct Header {
    application_id: i32,
    version: i32,
    tables: i64,
}

/// Opens `path` for writing, with every setting in force and the current schema in place.
pub(super) fn open_and_migrate(path: &Path, plan: Plan<'_>) -> anyhow::Result<Connection> {
    place::check(path)?;
    if path.exists() {
        check_header(path, &read_header(path)?, plan.version())?;
    } else {
        create_private_file(path)?;
    }
    let mut connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .with_context(|| format!("cannot open {}", path.display()))?;
    super::turns::wait_for_locks(&connection)?;
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .with_context(|| format!("cannot write {}; its folder must be writable too", path.display()))?;
    // The first look through the log is what shows that it can be shared.
    let looked: rusqlite::Result<i64> = connection.pragma_query_value(None, "schema_version", |row| row.get(0));
    if mode != "wal" || looked.is_err_and(|error| place::shares_no_memory(&error)) {
        return Err(place::refusal(path));
    }
    super::configure(&connection)?;
    look_over(&connection).with_context(|| format!("cannot go on with {}", path.display()))?;
    connection.pragma_update(None, "cache_size", -super::writer::CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", super::log::FEW)?;
    migrate(&mut connection, path, plan)
        .with_context(|| format!("cannot bring {} up to schema {}", path.display(), plan.version()))?;
    Ok(connection)
}

/// A file of so few pages (8 MiB) is looked through whole at the start.
const SMALL: i64 = 2_000;
/// How long a start may look for damage in a larger one. The nightly backup reads everything.
const LOOK: Duration = Duration::from_millis(15);

/// Looks for damage, in a large file in as much of it as [`LOOK`] allows.
fn look_over(connection: &Connection) -> anyhow::Result<()> {
    const STEPS_BETWEEN_LOOKS_AT_THE_CLOCK: i32 = 100;
    let until = Instant::now() + LOOK;
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
    if pages > SMALL {
        connection.progress_handler(STEPS_BETWEEN_LOOKS_AT_THE_CLOCK, Some(move || Instant::now() > until))?;
    }
    let faults = super::faults(connection, super::Depth::Pages);
    connection.progress_handler(0, None::<fn() -> bool>)?;
    match faults {
        Ok(faults) if faults.is_empty() => Ok(()),
        Ok(faults) => Err(Damaged(faults.join("; ")).into()),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Refuses what a reader of this program could not understand.
pub fn check_readable(path: &Path) -> anyhow::Result<()> {
    let header = read_header(path)?;
    check_header(path, &header, SCHEMA_VERSION)?;
    if header.version < SCHEMA_VERSION {
        bail!(
            "{} has schema {}, this program reads {SCHEMA_VERSION}; `quintile serve` brings it up",
            path.display(),
            header.version
        );
    }
    Ok(())
}

/// All steps and the new version in one transaction: a crash leaves the old file as it was.
fn migrate(connection: &mut Connection, path: &Path, plan: Plan<'_>) -> anyhow::Result<()> {
    let current: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if current == plan.version() {
        return Ok(());
    }
    // A step that rebuilds a table drops the old one, which must not empty those that refer to it.
    // This cannot be set inside the transaction; what refers to nothing is found before the commit.
    connection.pragma_update(None, "foreign_keys", false)?;
    // A step may write the words of a CHECK anew, which defensive mode forbids.
    connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    // In here: what is kept is what is migrated, and a file that somebody else writes is not copied for nothing.
    if version > 0 && plan.keeps_old {
        let kept = super::restore::before_migration(path, version);
        super::back_up(path, &kept, &super::Ending::default()).context(NotKept)?;
        tracing::info!(path = %kept.display(), schema = version, "kept the database as it was");
    }
    if version == 0 {
        transaction.execute_batch(plan.schema)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        // Of one file with all its backups, by which an older one is known as a state of the same shop.
        super::make_private_key(&transaction)?;
    } else {
        for step in &plan.steps[usize::try_from(version - 1)?..] {
            transaction.execute_batch(step).map_err(|error| unfit(error, version))?;
        }
        let dangling: i64 =
            transaction.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0))?;
        if dangling > 0 {
            bail!("{dangling} rows would refer to nothing; the file stays at schema {version}, please report this");
        }
        tracing::info!(from = version, to = plan.version(), "migrated the database");
    }
    transaction.pragma_update(None, "user_version", plan.version())?;
    // For whoever is asked for help with this file one day.
    transaction.execute(
        "INSERT INTO meta (key, value) VALUES ('schema ' || ?1, 'quintile ' || ?2)",
        (plan.version(), env!("CARGO_PKG_VERSION")),
    )?;
    transaction.commit()?;
    connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(())
}

/// What a step failed with. Where it is the step itself, the file is not of the schema that it says.
fn unfit(error: rusqlite::Error, version: i32) -> anyhow::Error {
    let words = match &error {
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(), // with all of the step otherwise
        error if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => error.to_string(),
        error if error.sqlite_error_code() == Some(ErrorCode::Unknown) => error.to_string(),
        _ => return error.into(),
    };
    Damaged(format!("its header says schema {version}, and its tables are of another: {words}")).into()
}

/// The file is whole, for all that is known.
#[derive(Debug, thiserror::Error)]
#[error(
    "{path} was written by a newer quintile (schema {schema}, this program knows {known}); use that version, nothing was changed"
)]
pub struct Newer {
    path: String,
    schema: i32,
    known: i32,
}

pub(super) fn check_header(path: &Path, header: &Header, known: i32) -> anyhow::Result<()> {
    let fresh = header.tables == 0 && header.version == 0 && header.application_id == 0;
    if !fresh && header.application_id != APPLICATION_ID {
        bail!("{} is not a quintile database; [database] path must name another file", path.display());
    }
    // Both were written in one transaction.
    if !fresh && header.version < 1 {
        return Err(Damaged(format!("its header says schema {}, which there is none of", header.version)))
            .with_context(|| format!("cannot go on with {}", path.display()));
    }
    if header.version > known {
        return Err(Newer { path: path.display().to_string(), schema: header.version, known }.into());
    }
    Ok(())
}

/// Reads through a connection that cannot write, so that a refused file stays as it was; unless a
/// transaction was cut short in it, which only one that can write takes back.
pub(super) fn read_header(path: &Path) -> anyhow::Result<Header> {
    let read = |mode: OpenFlags| -> rusqlite::Result<Header> {
        let connection = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        super::turns::wait_for_locks(&connection)?;
        Ok(Header {
            application_id: connection.pragma_query_value(None, "application_id", |row| row.get(0))?,
            version: connection.pragma_query_value(None, "user_version", |row| row.get(0))?,
            tables: connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?,
        })
    };
    let header = match read(OpenFlags::SQLITE_OPEN_READ_ONLY) {
        Err(rusqlite::Error::SqliteFailure(error, _)) if error.extended_code == ffi::SQLITE_READONLY_ROLLBACK => {
            read(OpenFlags::SQLITE_OPEN_READ_WRITE)
        }
        Err(error) if place::shares_no_memory(&error) => return Err(place::refusal(path)),
        Err(rusqlite::Error::SqliteFailure(error, _)) if error.code == ErrorCode::DatabaseBusy => {
            return Err(Unshared::now(path).into());
        }
        // SQLite says no more than that it cannot open it. Opening it here would free the locks of this process.
        #[cfg(unix)]
        Err(_) if rustix::fs::access(path, rustix::fs::Access::READ_OK) == Err(rustix::io::Errno::ACCESS) => {
            bail!(
                "cannot read {}: permission denied; it has to belong to the user that quintile runs as",
                path.display()
            )
        }
        header => header,
    };
    header.with_context(|| format!("cannot read {} as a database", path.display()))
}

#[cfg(test)]
mod tests;
