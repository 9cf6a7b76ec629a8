//! The one writer connection and the queue in front of it.
//!
//! Jobs that wait together share one transaction (group commit), each in its own savepoint: a job
//! that fails undoes itself alone. A job that waits alone needs none, and SQLite need not copy each
//! page before it changes. Nobody is answered before the commit, so an answer means that
//! the write survives a power cut (`synchronous = FULL`).

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use anyhow::anyhow;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

/// Jobs waiting beyond which [`Writer::try_write`] refuses: a flood gets a fast "later" instead
/// of growing memory.
const QUEUE: usize = 1024;
/// Jobs that share one commit: enough to hide the cost of fsync, few enough that the first of
/// them does not wait long for the last.
const GROUP: usize = 256;

/// What a job leaves behind: told whether the group was committed, it answers its caller.
type Answer = Box<dyn FnOnce(Result<(), &str>) + Send>;
/// Handed `Err` when there is no transaction to run in: then it only answers.
type Work = Box<dyn FnOnce(Result<Room<'_, '_>, &str>) -> Answer + Send>;

/// Where a job runs.
struct Room<'a, 'conn> {
    transaction: &'a Transaction<'conn>,
    /// With other jobs, which must not be undone with it.
    shared: bool,
}

/// One write in the queue.
struct Job {
    /// Wants a transaction of its own; see [`Writer::write_alone_blocking`].
    alone: bool,
    work: Work,
}

/// Sends jobs to the writer thread. The thread ends when the last clone is dropped.
#[derive(Clone)]
pub struct Writer {
    jobs: mpsc::Sender<Job>,
    // Dropped after `jobs`: the last clone waits for the thread to finish its queue.
    _thread: Arc<Thread>,
}

/// More than [`QUEUE`] writes are waiting.
#[derive(Debug, thiserror::Error)]
#[error("too many writes are waiting; try again in a few seconds")]
pub struct QueueFull;

impl Writer {
    /// Takes over `connection` on a thread of its own.
    pub(super) fn start(connection: Connection) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new().name("writer".to_owned()).spawn(move || run(connection, queue))?;
        Ok(Self { jobs, _thread: Arc::new(Thread(Mutex::new(Some(thread)))) })
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
        let (job, answer) = pack(job);
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
        let (job, answer) = pack(job);
        self.jobs.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => QueueFull.into(),
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
        let (job, answer) = pack(job);
        self.jobs.blocking_send(job).map_err(|_| closed())?;
        answer.blocking_recv().map_err(|_| closed())?
    }

    /// [`Self::write_blocking`] for a job that changes a large part of the file: it gets a
    /// transaction of its own, without the savepoint, for which SQLite would copy every page
    /// before it changes.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn write_alone_blocking<T, F>(&self, job: F) -> anyhow::Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> anyhow::Result<T> + Send + 'static,
    {
        let (mut job, answer) = pack(job);
        job.alone = true;
        self.jobs.blocking_send(job).map_err(|_| closed())?;
        answer.blocking_recv().map_err(|_| closed())?
    }
}

fn not_written(error: &str) -> anyhow::Error {
    anyhow!("the database could not be written: {error}")
}

fn closed() -> anyhow::Error {
    anyhow!("the database is closed: quintile is shutting down")
}

/// Wraps a typed job so that the thread can run it without knowing its type.
fn pack<T, F>(job: F) -> (Job, oneshot::Receiver<anyhow::Result<T>>)
where
    T: Send + 'static,
    F: FnOnce(&Transaction<'_>) -> anyhow::Result<T> + Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    let work: Work = Box::new(move |room| {
        let result = match room {
            Ok(Room { transaction, shared: true }) => in_savepoint(transaction, job),
            Ok(Room { transaction, shared: false }) => alone(transaction, job),
            Err(error) => Err(not_written(error)),
        };
        Box::new(move |committed| {
            let answer = match committed {
                Ok(()) => result,
                // The job's own error says more than that of the commit that it broke.
                Err(error) => result.and_then(|_| Err(not_written(error))),
            };
            let _ = sender.send(answer); // the caller may have gone
        })
    });
    (Job { alone: false, work }, receiver)
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
    if result.is_err() {
        // An empty transaction is left to commit. SQLite may have rolled back by itself.
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

fn run(mut connection: Connection, mut queue: mpsc::Receiver<Job>) {
    let mut group = Vec::with_capacity(GROUP);
    let mut next = None;
    while let Some(first) = next.take().or_else(|| queue.blocking_recv()) {
        let alone = first.alone;
        group.push(first);
        while !alone && group.len() < GROUP {
            match queue.try_recv() {
                Ok(job) if job.alone => {
                    next = Some(job);
                    break;
                }
                Ok(job) => group.push(job),
                Err(_) => break,
            }
        }
        run_group(&mut connection, &mut group);
    }
    if let Err((_, error)) = connection.close() {
        tracing::warn!(%error, "the database did not close cleanly; the next start recovers it");
    }
}

/// Runs all jobs in one transaction, commits, then answers each.
fn run_group(connection: &mut Connection, group: &mut Vec<Job>) {
    let mut answers: Vec<Answer> = Vec::with_capacity(group.len());
    let shared = group.len() > 1;
    let mut waiting = group.drain(..);
    match commit_together(connection, &mut waiting, shared, &mut answers) {
        Ok(()) => {
            for answer in answers {
                answer(Ok(()));
            }
        }
        Err(error) => {
            let error = error.to_string();
            answers.extend(waiting.map(|job| (job.work)(Err(&error))));
            tracing::error!(error, jobs = answers.len(), "writes were undone");
            for answer in answers {
                answer(Err(&error));
            }
        }
    }
}

fn commit_together(
    connection: &mut Connection,
    waiting: &mut dyn Iterator<Item = Job>,
    shared: bool,
    answers: &mut Vec<Answer>,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for job in waiting {
        answers.push((job.work)(Ok(Room { transaction: &transaction, shared })));
        if transaction.is_autocommit() {
            // A full disk or an I/O error made SQLite roll back everything, earlier jobs included.
            return Err(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT_ROLLBACK),
                Some("the disk is full or failing; all writes of this moment were undone".to_owned()),
            ));
        }
    }
    transaction.commit()
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
