//! The database as every stage gets it: its settings, its queue of writes, its lock. Migrations
//! are tested beside their code, in `src/db/migrate/tests.rs`.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
};

use quintile::db::{APPLICATION_ID, Database, QueueFull, Readers, SCHEMA_VERSION};
use rusqlite::{Connection, config::DbConfig};

use crate::support::folder::Folder;

fn open() -> (Folder, Database) {
    let folder = Folder::new();
    let database = Database::open(&folder.path().join("quintile.db"), "quintile test").unwrap();
    (folder, database)
}

fn note(connection: &Connection, key: &str) -> rusqlite::Result<usize> {
    connection.execute("INSERT INTO meta VALUES (?1, 'x')", [key])
}

fn notes(database: &Database) -> Vec<String> {
    let reader = database.readers().get().unwrap();
    let mut statement = reader.prepare("SELECT key FROM meta WHERE value = 'x' ORDER BY key").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn pragma(connection: &Connection, name: &str) -> String {
    connection
        .pragma_query_value(None, name, |row| {
            Ok(match row.get_ref(0)? {
                rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                text => text.as_str()?.to_owned(),
            })
        })
        .unwrap()
}

#[test]
fn every_connection_has_every_setting() {
    let (_folder, database) = open();
    let application_id = APPLICATION_ID.to_string();
    let version = SCHEMA_VERSION.to_string();
    let settings = [
        ("journal_mode", "wal"),
        ("synchronous", "2"), // FULL
        ("foreign_keys", "1"),
        ("trusted_schema", "0"),
        ("cell_size_check", "1"),
        ("secure_delete", "1"),
        ("mmap_size", "0"),
        ("application_id", application_id.as_str()),
        ("user_version", version.as_str()),
    ];
    let read = move |connection: &Connection| -> Vec<String> {
        let names = [
            "journal_mode",
            "synchronous",
            "foreign_keys",
            "trusted_schema",
            "cell_size_check",
            "secure_delete",
            "mmap_size",
            "application_id",
            "user_version",
        ];
        names.iter().map(|name| pragma(connection, name)).collect()
    };
    let defensive = |connection: &Connection| connection.db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE).unwrap();
    let expected: Vec<&str> = settings.iter().map(|(_, value)| *value).collect();

    let (writer, query_only, is_defensive) =
        database.writer().write_blocking(move |tx| Ok((read(tx), pragma(tx, "query_only"), defensive(tx)))).unwrap();
    assert_eq!(writer, expected);
    assert_eq!(query_only, "0");
    assert!(is_defensive);

    let reader = database.readers().get().unwrap();
    assert_eq!(read(&reader), expected);
    assert_eq!(pragma(&reader, "query_only"), "1");
    assert!(defensive(&reader));
}

#[test]
fn a_reader_cannot_write() {
    let (_folder, database) = open();
    let reader = database.readers().get().unwrap();
    for sql in ["INSERT INTO meta VALUES ('a', 'b')", "DROP TABLE meta", "PRAGMA user_version = 7"] {
        let error = reader.execute_batch(sql).unwrap_err().to_string();
        assert!(error.contains("readonly"), "{sql}: {error}");
    }
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, database) = open();
    database.writer().write_blocking(|tx| Ok(note(tx, "a")?)).unwrap();
    let mut names = Vec::new();
    for file in std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.path().display());
        names.push(file.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["quintile.db", "quintile.db-shm", "quintile.db-wal", "quintile.db.lock"]);
}

/// Keeps the writer busy until the returned sender is dropped, so that what is written meanwhile
/// waits together. Counts commits from the next one on.
async fn hold_writer(database: &Database) -> (mpsc::Sender<()>, Arc<AtomicU32>) {
    let commits = Arc::new(AtomicU32::new(0));
    let counter = commits.clone();
    let (release, released) = mpsc::channel::<()>();
    let (started, has_started) = tokio::sync::oneshot::channel();
    let writer = database.writer().clone();
    tokio::spawn(async move {
        let held = writer.write(move |tx| {
            tx.commit_hook(Some(move || {
                counter.fetch_add(1, Ordering::SeqCst);
                false // commit it
            }))?;
            let _ = started.send(());
            let _ = released.recv(); // an error: the sender is gone, which is the signal
            Ok(())
        });
        held.await.unwrap();
    });
    has_started.await.unwrap();
    (release, commits)
}

/// Lets every spawned task run up to its wait for an answer; tokio runs some sixty at a time.
async fn queue_up() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn the_writer_shows_that_it_works_on_something_long() {
    const COUNT: &str =
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 100000) SELECT max(n) FROM n";
    let (_folder, database) = open();
    let writer = database.writer().clone();
    let (idle, busy) = database
        .writer()
        .write_blocking(move |tx| {
            let begin = writer.steps();
            tx.query_row("SELECT 1", [], |_| Ok(()))?;
            let idle = writer.steps() - begin;
            tx.query_row(COUNT, [], |_| Ok(()))?;
            Ok((idle, writer.steps() - begin))
        })
        .unwrap();
    assert_eq!(idle, 0);
    assert!(busy > 10, "{busy}");
}

#[tokio::test]
async fn writes_that_wait_together_share_a_commit() {
    let (_folder, database) = open();
    let (release, commits) = hold_writer(&database).await;
    let writes: Vec<_> = (0..100)
        .map(|n| {
            let writer = database.writer().clone();
            tokio::spawn(async move { writer.write(move |tx| Ok(note(tx, &format!("{n:02}"))?)).await })
        })
        .collect();
    queue_up().await;
    drop(release);
    for write in writes {
        assert_eq!(write.await.unwrap().unwrap(), 1);
    }
    assert_eq!(commits.load(Ordering::SeqCst), 2, "one of the held job, one of the hundred");
    assert_eq!(notes(&database).len(), 100);
}

#[tokio::test]
async fn a_job_that_fails_undoes_itself_alone() {
    let (_folder, database) = open();
    let (release, commits) = hold_writer(&database).await;
    let write = |key: &'static str, end: fn() -> anyhow::Result<()>| {
        let writer = database.writer().clone();
        tokio::spawn(async move {
            writer
                .write(move |tx| {
                    note(tx, key)?;
                    end()
                })
                .await
        })
    };
    let before = write("before", || Ok(()));
    let fails = write("fails", || anyhow::bail!("no"));
    let panics = write("panics", || panic!("a bug, on purpose"));
    let twice = write("before", || Ok(()));
    let after = write("after", || Ok(()));
    queue_up().await;
    drop(release);

    before.await.unwrap().unwrap();
    assert_eq!(fails.await.unwrap().unwrap_err().to_string(), "no");
    let bug = panics.await.unwrap().unwrap_err().to_string();
    assert_eq!(bug, "a bug in quintile stopped this write; nothing of it was stored");
    assert!(twice.await.unwrap().unwrap_err().to_string().contains("UNIQUE constraint failed"));
    after.await.unwrap().unwrap();
    assert_eq!(commits.load(Ordering::SeqCst), 2);
    assert_eq!(notes(&database), ["after", "before"]);

    database.writer().write(|tx| Ok(note(tx, "later")?)).await.unwrap();
    assert_eq!(notes(&database), ["after", "before", "later"], "the writer lives on");
}

#[test]
fn a_disk_that_fails_is_noticed_whatever_the_job_says() {
    let (_folder, database) = open();
    let limit = |pages: &'static str| {
        let sql = format!("PRAGMA max_page_count = {pages}");
        database.writer().write_blocking(move |tx| Ok(tx.query_row(&sql, [], |_| Ok(()))?)).unwrap();
    };
    limit("1"); // not less than there are
    let failed = database.writer().write_blocking(|tx| {
        note(tx, &"x".repeat(1 << 20)).map_err(|_| anyhow::anyhow!("the job's own words"))?;
        Ok(())
    });
    assert_eq!(failed.unwrap_err().to_string(), "the job's own words");
    assert_eq!(database.condition().trouble().as_deref(), Some("the disk is full or failing"));
    limit("100000");
    database.writer().write_blocking(|tx| Ok(note(tx, "later")?)).unwrap();
    assert_eq!(database.condition().trouble(), None);
}

#[tokio::test]
async fn nobody_is_told_of_a_write_before_its_commit() {
    let (_folder, database) = open();
    let (release, _) = hold_writer(&database).await;
    let writer = database.writer().clone();
    let innocent = tokio::spawn(async move { writer.write(|tx| Ok(note(tx, "innocent")?)).await });
    let writer = database.writer().clone();
    let breaks_the_commit = tokio::spawn(async move {
        writer
            .write(|tx| {
                tx.execute_batch("PRAGMA defer_foreign_keys = ON")?;
                tx.execute("INSERT INTO unqueued (seq) VALUES (404)", [])?;
                Ok(())
            })
            .await
    });
    queue_up().await;
    drop(release);
    for answer in [innocent.await.unwrap().map(|_| ()), breaks_the_commit.await.unwrap()] {
        let error = answer.unwrap_err().to_string();
        assert_eq!(error, "the database could not be written: FOREIGN KEY constraint failed");
    }
    assert!(notes(&database).is_empty());

    // What was answered is there for everyone, at once.
    database.writer().write(|tx| Ok(note(tx, "told")?)).await.unwrap();
    assert_eq!(notes(&database), ["told"]);
}

#[test]
fn a_bulk_write_leaves_the_usual_settings_behind() {
    let (_folder, database) = open();
    let settings = |tx: &Connection| ["foreign_keys", "cache_size", "journal_mode"].map(|name| pragma(tx, name));
    let dangling = "INSERT INTO unqueued (seq) VALUES (404)";
    let usual = database.writer().write_blocking(move |tx| Ok(settings(tx))).unwrap();
    let meanwhile = database.writer().write_bulk_blocking(move |tx| Ok(settings(tx))).unwrap();
    assert_eq!((usual[0].as_str(), usual[2].as_str()), ("1", "wal"));
    assert_eq!((meanwhile[0].as_str(), meanwhile[2].as_str()), ("0", "delete"));
    assert_ne!(usual[1], meanwhile[1]);

    // While somebody reads, the log is what keeps the two apart.
    database.writer().write_blocking(|_| Ok(())).unwrap(); // the settings are as usual again
    let reader = database.readers().get().unwrap();
    reader.query_row("SELECT count(*) FROM meta", [], |row| row.get::<_, i64>(0)).unwrap();
    let meanwhile = database.writer().write_bulk_blocking(move |tx| Ok(settings(tx))).unwrap();
    assert_eq!((meanwhile[0].as_str(), meanwhile[2].as_str()), ("0", "wal"));

    let failed = database.writer().write_bulk_blocking(move |tx| {
        tx.execute(dangling, [])?;
        anyhow::bail!("changed its mind") as anyhow::Result<()>
    });
    assert_eq!(failed.unwrap_err().to_string(), "changed its mind");
    assert_eq!(database.writer().write_blocking(move |tx| Ok(settings(tx))).unwrap(), usual);
    let refused = database.writer().write_blocking(move |tx| Ok(tx.execute(dangling, [])?)).unwrap_err();
    assert!(refused.to_string().contains("FOREIGN KEY"), "{refused}");
}

/// Such a write goes straight into the file.
#[test]
fn a_bulk_write_into_a_new_file_that_is_cut_short_leaves_nothing() {
    let journal = |path: &Path| path.with_extension("db-journal");
    let (folder, database) = open();
    let (path, copy) = (database.path().to_owned(), folder.path().join("copy.db"));
    let (from, to) = (path.clone(), copy.clone());
    let write = database.writer().write_bulk_blocking(move |tx| {
        // More than the page cache holds.
        for number in 0..40 {
            tx.execute("INSERT INTO meta VALUES (?1, ?2)", (format!("large {number}"), "x".repeat(1_000_000)))?;
        }
        std::fs::copy(&from, &to)?;
        std::fs::copy(journal(&from), journal(&to))?;
        Ok(())
    });
    write.unwrap();
    database.writer().write_blocking(|_| Ok(())).unwrap(); // the settings are as usual again
    assert!(!journal(&path).exists());
    assert!(std::fs::metadata(&copy).unwrap().len() > 10_000_000);

    // As it is found after a power cut at that moment.
    let copy = Database::open(&copy, "test").unwrap();
    let count = "SELECT count(*) FROM meta WHERE key LIKE 'large%'";
    let found =
        |database: &Database| database.readers().get().unwrap().query_row(count, [], |row| row.get::<_, i64>(0));
    assert_eq!((found(&copy).unwrap(), found(&database).unwrap()), (0, 40));
    assert_eq!(pragma(&copy.readers().get().unwrap(), "integrity_check"), "ok");
}

/// SQLite keeps aside what a statement or a savepoint may have to undo: at first in memory, then in a file.
#[test]
fn what_a_large_write_may_have_to_undo_needs_no_room_of_its_own() {
    let (_folder, database) = open();
    let writer = database.writer();
    writer
        .write_blocking(|tx| {
            tx.execute_batch(
                "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 40000)
                 INSERT INTO meta SELECT printf('key %d', n), 'some value of a usual length' FROM n",
            )?;
            Ok(())
        })
        .unwrap();
    // Above each limit on the way: 64 KiB, 128 KiB, 1 MiB.
    for rows in [1_000, 4_000, 40_000] {
        let changed = writer.write_blocking(move |tx| {
            tx.execute_batch("SAVEPOINT all_of_it")?;
            let changed = tx.execute(
                "UPDATE meta SET value = value || '.' WHERE CAST(substr(key, 5) AS INTEGER) BETWEEN 1 AND ?1",
                [rows],
            )?;
            tx.execute_batch("ROLLBACK TO all_of_it; RELEASE all_of_it")?;
            Ok(changed)
        });
        assert_eq!(changed.unwrap(), rows);
    }
    let value: i64 = database
        .readers()
        .get()
        .unwrap()
        .query_row("SELECT count(*) FROM meta WHERE value LIKE '%.'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(value, 0, "all of it was undone");
}

#[tokio::test]
async fn a_flood_is_turned_away_at_once() {
    let (_folder, database) = open();
    let (release, _) = hold_writer(&database).await;
    let writes: Vec<_> = (0..1100)
        .map(|n| {
            let writer = database.writer().clone();
            tokio::spawn(async move { writer.try_write(move |tx| Ok(note(tx, &n.to_string())?)).await })
        })
        .collect();
    queue_up().await;
    drop(release);
    let (mut stored, mut refused) = (0, 0);
    for write in writes {
        match write.await.unwrap() {
            Ok(_) => stored += 1,
            Err(error) if error.is::<QueueFull>() => refused += 1,
            Err(error) => panic!("{error:#}"),
        }
    }
    assert_eq!((stored, refused), (1024, 76));
    assert_eq!(notes(&database).len(), 1024);
}

#[test]
fn a_dropped_database_has_written_everything() {
    let (folder, database) = open();
    let writer = database.writer().clone();
    drop(database);
    writer.write_blocking(|tx| Ok(note(tx, "late")?)).unwrap();
    drop(writer);
    let path = folder.path().join("quintile.db");
    assert!(!folder.path().join("quintile.db-wal").exists(), "closed cleanly");
    assert_eq!(notes(&Database::open(&path, "test").unwrap()), ["late"]);
}

/// Set in a child process: the database to hold.
const HOLD: &str = "QUINTILE_TEST_HOLD";

/// Not a test of its own: what [`holder`] runs in its child.
#[expect(clippy::print_stdout, reason = "how the child tells that it has the lock")]
#[test]
fn hold_the_lock_for_another_test() {
    #[expect(clippy::disallowed_methods, reason = "how a test tells its child what to do")]
    let Ok(path) = std::env::var(HOLD) else { return };
    let _database = Database::open(Path::new(&path), "quintile serve").unwrap();
    println!("holding");
    std::thread::park();
}

/// Another process that has the database open.
fn holder(path: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::hold_the_lock_for_another_test", "--nocapture"])
        .env(HOLD, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("holding")), "the child did not open the database");
    child
}

#[test]
fn a_second_process_is_told_who_has_the_database() {
    let folder = Folder::new();
    let path = folder.path().join("quintile.db");
    let mut first = holder(&path);

    let error = Database::open(&path, "quintile score").err().unwrap().to_string();
    let said = format!("{} is in use by process {} (quintile serve); stop it first", path.display(), first.id());
    assert_eq!(error, said);
    Readers::open(&path).unwrap().get().unwrap(); // looking is free
    assert!(first.try_wait().unwrap().is_none(), "the first is undisturbed");

    first.kill().unwrap(); // SIGKILL: it cleans nothing up
    first.wait().unwrap();
    let database = Database::open(&path, "quintile score").unwrap();
    database.writer().write_blocking(|tx| Ok(note(tx, "mine")?)).unwrap();
    let error = Database::open(&path, "quintile serve").err().unwrap().to_string();
    assert!(error.contains(&format!("process {} (quintile score)", std::process::id())), "{error}");
}

#[test]
fn an_older_database_is_brought_up_when_it_is_opened() {
    let folder = Folder::new();
    let path = folder.path().join("quintile.db");
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/schema-1.db"), &path).unwrap();
    let refused = Readers::open(&path).err().unwrap().to_string();
    let expected = format!("has schema 1, this program reads {SCHEMA_VERSION}; `quintile serve` brings it up");
    assert!(refused.contains(&expected), "{refused}");

    let database = Database::open(&path, "quintile serve").unwrap();
    let reader = database.readers().get().unwrap();
    assert_eq!(pragma(&reader, "user_version"), SCHEMA_VERSION.to_string());
    let email: String = reader.query_row("SELECT email FROM customers", [], |row| row.get(0)).unwrap();
    assert_eq!(email, "Anna@example.com");
    assert_eq!(quintile::invariants::violations(&reader).unwrap(), Vec::<String>::new());
}
