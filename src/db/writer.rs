//! The one writer connection and the queue in front of it.
//!
//! Jobs that wait together share one transaction (group commit), each in its own savepoint: a job
//! that fails undoes itself alone. A job that waits alone needs none, and SQLite need not copy each
//! page before it changes. Nobody is answered before the commit, so an answer means that
//! the write survives a power cut (`synchronous = FULL`).

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{anyhow, ensure};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::{
    Condition, Damaged,
    ending::Stopped,
    log::{Log, make_room},
    touch,
    turns::{Pace, Patience, Turns},
    undone::{Undone, tells_of_trouble},
};

/// Jobs waiting beyond which [`Writer::try_write`] refuses: a flood gets a fast "later" instead
/// of growing memory.
const QUEUE: usize = 1024;
/// Jobs that share one commit: enough to hide the cost of fsync, few enough that the first of
/// them does not wait long for the last.
pub(super) const GROUP: usize = 256;

/// Page cache, in KiB: the pages of a large queue that one transaction after the other touches.
pub(super) const CACHE_KIB: i64 = 8_000;
/// Page cache of a bulk job: it touches pages all over the file, and one that is pushed out is read
/// again. More than this gains little.
const BULK_CACHE_KIB: i64 = 36_000;
/// A file of so few pages (2 MiB) is new. What a bulk job adds to it is written once, behind its end,
/// and cut off again if the job does not come to its end, instead of into the log first.
const NEW_PAGES: i64 = 512;

/// What a job leaves behind: told whether the group was committed, it answers its caller.
type Answer = Box<dyn FnOnce(Result<(), &Undone>) + Send>;
/// Handed `Err` when there is no transaction to run in: then it only answers.
type Work = Box<dyn FnOnce(Result<Room<'_, '_>, &Undone>) -> Answer + Send>;

/// Where a job runs.
struct Room<'a, 'conn> {
    transaction: &'a Transaction<'conn>,
    /// With other jobs, which must not be undone with it.
    shared: bool,
}

/// One write in the queue.
struct Job {
    came: Instant,
    company: Company,
    work: Work,
}

/// With whom a job shares its transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Company {
    Any,
    /// None; see [`Writer::write_alone_blocking`].
    Alone,
    /// None, and the connection is set for it; see [`Writer::write_bulk_blocking`].
    Bulk,
}

/// Sends jobs to the writer thread. The thread ends when the last clone is dropped.
#[derive(Clone)]
pub struct Writer {
    jobs: mpsc::Sender<Job>,
    condition: Condition,
    steps: Arc<AtomicU64>,
    // Dropped after `jobs`: the last clone waits for the thread to finish its queue.
    _thread: Arc<Thread>,
}

/// More than [`QUEUE`] writes are waiting.
#[derive(Debug, thiserror::Error)]
#[error("too many writes are waiting; try again in a few seconds")]
pub struct QueueFull;

impl Writer {
    /// Takes over `connection` on a thread of its own. At most `group` jobs share a commit.
    pub(super) fn start(
        connection: Connection,
        group: usize,
        pace: Pace,
        condition: Condition,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let steps = Arc::default();
        condition.ending().cut_off_counting(&connection, Arc::clone(&steps)).map_err(std::io::Error::other)?;
        let noticed = condition.clone();
        let thread = std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || run(connection, queue, group, pace, &noticed))?;
        Ok(Self { jobs, condition, steps, _thread: Arc::new(Thread(Mutex::new(Some(thread)))) })
    }

    /// Whether the file is damaged or cannot be written, as far as it has shown.
    #[must_use]
    pub const fn condition(&self) -> &Condition {
        &self.condition
    }

    /// Grows as long as the writer works on something: a long wait for an answer is no sign of a fault then.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// Runs `job` in a transaction and returns its result after the commit. An `Err` from the job
    /// undoes everything it wrote.
    ///
    /// # Errors
    /// The job's own, or the database could not be written (disk full, locked by another
    /// process, shutting down).
    pub async fn write<T, F>(&self, job: F) -> anyhow::Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> anyhow::Result<T> + Send + 'static,
    {
        let (job, answer) = self.pack(job);
        self.jobs.send(job).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// [`Self::write`] that does not wait for a place in the queue.
    ///
    /// # Errors
    /// [`QueueFull`] at once when too many writes wait; else as [`Self::write`].
    pub async fn try_write<T, F>(&self, job: F) -> anyhow::Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> anyhow::Result<T> + Send + 'static,
    {
        let (job, answer) = self.pack(job);
        self.jobs.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                self.condition.note_crowd();
                QueueFull.into()
            }
            mpsc::error::TrySendError::Closed(_) => closed(),
        })?;
        answer.await.map_err(|_| closed())?
    }

    /// [`Self::write`] for code on a blocking thread; panics on an async one.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn write_blocking<T, F>(&self, job: F) -> anyhow::Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> anyhow::Result<T> + Send + 'static,
    {
        let (job, answer) = self.pack(job);
        self.jobs.blocking_send(job).map_err(|_| closed())?;
        answer.blocking_recv().map_err(|_| closed())?
    }

    /// [`Self::write_blocking`] for a job that may change a large part of the file: it gets a
    /// transaction of its own, without the savepoint, for which SQLite would copy every page
    /// before it changes, and its commit does not copy the log.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn write_alone_blocking<T, F>(&self, job: F) -> anyhow::Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> anyhow::Result<T> + Send + 'static,
    {
        self.write_by_itself(Company::Alone, job)
    }

    /// [`Self::write_alone_blocking`] for a job that stores very many rows: it gets a larger page cache, and
    /// SQLite does not look up, row by row, whether a reference leads to a row. Only for jobs that
    /// delete nothing and refer to what they have just read or stored.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn write_bulk_blocking<T, F>(&self, job: F) -> anyhow::Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> anyhow::Result<T> + Send + 'static,
    {
        self.write_by_itself(Company::Bulk, job)
    }

    /// Wraps a typed job so that the thread can run it without knowing its type.
    fn pack<T, F>(&self, job: F) -> (Job, oneshot::Receiver<anyhow::Result<T>>)
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> anyhow::Result<T> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let condition = self.condition.clone();
        let work: Work = Box::new(move |room| {
            let result = match room {
                Ok(Room { transaction, shared: true }) => in_savepoint(transaction, job),
                Ok(Room { transaction, shared: false }) => alone(transaction, job),
                Err(undone) => Err(undone.to_error()),
            };
            if let Err(error) = &result {
                condition.notice_write(error);
            }
            answer(sender, result, condition)
        });
        (Job { came: Instant::now(), company: Company::Any, work }, receiver)
    }

    fn write_by_itself<T, F>(&self, company: Company, job: F) -> anyhow::Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> anyhow::Result<T> + Send + 'static,
    {
        let (mut job, answer) = self.pack(job);
        job.company = company;
        self.jobs.blocking_send(job).map_err(|_| closed())?;
        answer.blocking_recv().map_err(|_| closed())?
    }
}

/// The sender of an answer, and what it is told.
fn answer<T: Send + 'static>(
    sender: oneshot::Sender<anyhow::Result<T>>,
    result: anyhow::Result<T>,
    condition: Condition,
) -> Answer {
    Box::new(move |committed| {
        let is_trouble = match (committed, &result) {
            (Err(undone), _) => undone.is_trouble,
            (Ok(()), Err(error)) => tells_of_trouble(error),
            (Ok(()), Ok(_)) => false,
        };
        if is_trouble {
            condition.note_refused();
        }
        let answer = match committed {
            Ok(()) => result,
            // The job's own error says more than that of the commit that it broke.
            Err(undone) => result.and_then(|_| Err(undone.to_error())),
        };
        let _ = sender.send(answer); // the caller may have gone
    })
}

fn closed() -> anyhow::Error {
    anyhow!("the database is closed: quintile is shutting down")
}

fn in_savepoint<T>(
    transaction: &Transaction<'_>,
    job: impl FnOnce(&Transaction<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    transaction.execute_batch("SAVEPOINT job")?;
    match caught(transaction, job) {
        Ok(value) => {
            transaction.execute_batch("RELEASE job")?;
            Ok(value)
        }
        Err(error) => {
            // Fails only when SQLite has rolled back the whole transaction; `run_group` sees that.
            let _ = transaction.execute_batch("ROLLBACK TO job; RELEASE job");
            Err(error)
        }
    }
}

/// For a job that has the transaction to itself: what it undoes is the transaction.
fn alone<T>(
    transaction: &Transaction<'_>,
    job: impl FnOnce(&Transaction<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let result = caught(transaction, job);
    // If SQLite has rolled back by itself, `run_group` sees that, whatever the job says.
    if result.is_err() && !transaction.is_autocommit() {
        // An empty transaction is left to commit.
        let _ = transaction.execute_batch("ROLLBACK");
        // Without a transaction the group fails; the job's own error says more.
        let _ = transaction.execute_batch("BEGIN IMMEDIATE");
    }
    result
}

/// The job's result; a panic is an error of its own.
fn caught<T>(
    transaction: &Transaction<'_>,
    job: impl FnOnce(&Transaction<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    catch_unwind(AssertUnwindSafe(|| job(transaction)))
        .unwrap_or_else(|_| Err(anyhow!("a bug in quintile stopped this write; nothing of it was stored")))
}

fn run(mut connection: Connection, mut queue: mpsc::Receiver<Job>, most: usize, pace: Pace, condition: &Condition) {
    let mut group = Vec::with_capacity(most);
    let mut log = Log::of(&connection);
    let mut turns = Turns::new(pace, Instant::now());
    let mut patience = Patience::default();
    let mut next = None;
    while let Some(first) = next.take().or_else(|| queue.blocking_recv()) {
        let company = first.company;
        group.push(first);
        while company == Company::Any && group.len() < most {
            match queue.try_recv() {
                Ok(job) if job.company != Company::Any => {
                    next = Some(job);
                    break;
                }
                Ok(job) => group.push(job),
                Err(_) => break,
            }
        }
        if let Err(error) = log.prepare(&connection, company == Company::Alone) {
            tracing::debug!(%error, "the write-ahead log could not be looked at"); // the write will meet it too
        }
        turns.begin(Instant::now());
        if company == Company::Bulk {
            run_bulk(&mut connection, &mut group, &mut patience, condition);
        } else {
            run_group(&mut connection, &mut group, &mut patience, condition);
        }
        if condition.is_full() {
            make_room(&connection);
        }
        if let Some(gap) = turns.end(Instant::now()) {
            std::thread::sleep(gap);
        }
    }
    let is_in_a_hurry = condition.ending().is_near();
    if condition.damage().is_some() || (is_in_a_hurry && !log.can_close(&connection).unwrap_or(true)) {
        // Whoever closes a file last copies its log into it. Kept open until the process ends, both stay
        // as they are.
        std::mem::forget(connection);
        return;
    }
    if let Err((_, error)) = connection.close() {
        tracing::warn!(%error, "the database did not close cleanly; the next start recovers it");
    }
}

/// [`run_group`] with the settings of a bulk job. They cannot be changed inside a transaction.
fn run_bulk(connection: &mut Connection, group: &mut Vec<Job>, patience: &mut Patience, condition: &Condition) {
    if let Err(error) = set_for_bulk(connection, true) {
        tracing::warn!(%error, "a bulk write goes on with the usual settings, and will be slow");
    }
    run_group(connection, group, patience, condition);
    if let Err(error) = set_for_bulk(connection, false) {
        tracing::error!(%error, "the usual settings could not be restored after a bulk write; restart quintile");
    }
}

fn set_for_bulk(connection: &Connection, bulk: bool) -> anyhow::Result<()> {
    connection.pragma_update(None, "foreign_keys", !bulk)?;
    // Past the log, a commit is the removal of a journal. Only EXTRA waits until that is on the disk too: before
    // it is, a power cut takes back what was answered for.
    connection.pragma_update(None, "synchronous", if bulk { "EXTRA" } else { "FULL" })?;
    connection.pragma_update(None, "cache_size", -if bulk { BULK_CACHE_KIB } else { CACHE_KIB })?;
    if !bulk {
        let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
        ensure!(mode == "wal", "the journal mode is {mode}");
        return Ok(());
    }
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
    if pages <= NEW_PAGES {
        // Refused at once while anybody reads the file; then it goes through the log as usual.
        connection.busy_timeout(Duration::ZERO)?;
        let _ = connection.pragma_update(None, "journal_mode", "DELETE");
        super::turns::wait_for_locks(connection)?;
    }
    Ok(())
}

/// Runs all jobs in one transaction, commits, then answers each.
fn run_group(connection: &mut Connection, group: &mut Vec<Job>, patience: &mut Patience, condition: &Condition) {
    let mut answers: Vec<Answer> = Vec::with_capacity(group.len());
    let shared = group.len() > 1;
    let came = group.first().map_or_else(Instant::now, |first| first.came);
    let mut waiting = group.drain(..);
    condition.begin_writes();
    let done = begin(connection, came, patience, condition)
        .and_then(|transaction| commit_together(transaction, &mut waiting, shared, &mut answers, condition));
    match done {
        Ok(()) => {
            condition.end_writes();
            for answer in answers {
                answer(Ok(()));
            }
        }
        Err(error) => {
            let undone = Undone::by(&error, connection, condition);
            answers.extend(waiting.map(|job| (job.work)(Err(&undone))));
            if condition.ending().has_come() {
                tracing::warn!(
                    jobs = answers.len(),
                    "writes were cut off by the stop; the next start makes up for them"
                );
            } else if !undone.is_trouble {
                tracing::error!(error = undone.error, jobs = answers.len(), "writes were undone");
            }
            for answer in answers {
                answer(Err(&undone));
            }
        }
    }
}

fn begin<'conn>(
    connection: &'conn mut Connection,
    came: Instant,
    patience: &mut Patience,
    condition: &Condition,
) -> anyhow::Result<Transaction<'conn>> {
    refuse_damage(condition)?;
    refuse_the_end(condition)?;
    Ok(patience.wait(came, || connection.transaction_with_behavior(TransactionBehavior::Immediate))?)
}

fn commit_together(
    transaction: Transaction<'_>,
    waiting: &mut dyn Iterator<Item = Job>,
    shared: bool,
    answers: &mut Vec<Answer>,
    condition: &Condition,
) -> anyhow::Result<()> {
    for job in waiting {
        answers.push((job.work)(Ok(Room { transaction: &transaction, shared })));
        if transaction.is_autocommit() {
            // Cut off in a statement.
            refuse_the_end(condition)?;
            // A full disk or an I/O error made SQLite roll back everything, earlier jobs included.
            return Err(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT_ROLLBACK),
                Some("the disk is full or failing; all writes of this moment were undone".to_owned()),
            )
            .into());
        }
        // One of them met it: nothing of the others is trusted to a damaged file either.
        refuse_damage(condition)?;
    }
    // Where nothing was written, a commit would not tell that something can be.
    if condition.trouble().is_some() {
        touch(&transaction)?;
    }
    Ok(transaction.commit()?)
}

fn refuse_damage(condition: &Condition) -> Result<(), Damaged> {
    condition.damage().map_or(Ok(()), Err)
}

fn refuse_the_end(condition: &Condition) -> Result<(), Stopped> {
    if condition.ending().has_come() { Err(Stopped) } else { Ok(()) }
}

/// Joins the writer thread when the last [`Writer`] goes, so that a dropped database is closed.
struct Thread(Mutex<Option<JoinHandle<()>>>);

impl Drop for Thread {
    fn drop(&mut self) {
        let handle = self.0.lock().ok().and_then(|mut thread| thread.take());
        if let Some(handle) = handle
            && handle.thread().id() != std::thread::current().id()
        {
            let _ = handle.join();
        }
    }
}
