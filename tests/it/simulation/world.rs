//! One machine, its clock and its disk; the program on it, started and killed; the shop, the tools and
//! the merchant around it.
//!
//! A kill: after a chosen number of commits SQLite's commit hook refuses every further one, so that
//! nothing the code does afterwards is stored; at the end of the step the database and its log are
//! copied as they lie there, and the program starts on the copy. That a transaction is written whole or
//! not at all is SQLite's part, tested elsewhere. A full disk: the file may have no more pages, which
//! makes statements fail in the middle of a transaction; or all commits are refused for a while.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use anyhow::{Context, bail};
use quintile::{
    clock::Clock,
    config::{self, Baseline, Config},
    db::{Database, Reader},
    ledger::Rules,
    model::Timestamp,
    outbox::{Route, Settlement},
    scoring::Night,
    sync::Sync,
};
use rusqlite::Transaction;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{
    api::Api,
    courier::Courier,
    oracle::Oracle,
    pull::{self, Pulls},
    steps::{TOOLS, any},
    store::Store,
    tool::Tool,
};

/// Counts commits down to a fault, from which on none succeeds.
#[derive(Debug)]
pub struct Fuse(AtomicI64);

impl Fuse {
    const UNLIT: i64 = i64::MAX;

    fn new() -> Self {
        Self(AtomicI64::new(Self::UNLIT))
    }

    pub fn light(&self, commits: i64) {
        self.0.store(commits, Ordering::SeqCst);
    }

    fn put_out(&self) {
        self.light(Self::UNLIT);
    }

    pub fn is_burnt(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }

    /// At each commit that is to succeed.
    fn burn(&self) {
        let left = self.0.load(Ordering::SeqCst);
        if left != Self::UNLIT && left > 0 {
            self.light(left - 1);
        }
    }
}

/// One start of the program.
pub struct Program {
    pub db: Arc<Database>,
    pub night: Night,
    pub courier: Courier,
}

/// What came of something that a fault may prevent.
pub enum Outcome<T> {
    Done(T),
    /// The disk is full, or the program was killed meanwhile.
    Prevented,
}

pub struct World {
    pub runtime: Runtime,
    pub config: Config,
    pub routes: Vec<Route>,
    pub rules: Rules,
    /// The right time.
    pub truth: i64,
    /// What the machine's clock is ahead of it.
    pub ahead: i64,
    machine: Arc<AtomicI64>,
    /// The right time too: that of the shop.
    shop_clock: Arc<AtomicI64>,
    /// To the program's death.
    pub fuse: Arc<Fuse>,
    /// To the moment at which the disk fails.
    pub disk: Arc<Fuse>,
    /// The database may have so many pages; `None`: there is room.
    full_at: Option<i64>,
    pub store: Store,
    pub tools: [Tool; TOOLS],
    pub oracle: Oracle,
    /// Answers that an earlier start of the program did not record.
    pub zombies: Vec<Settlement>,
    /// Deliveries that have ended, and how.
    pub ended: BTreeMap<i64, String>,
    /// Scored runs that were compared with the oracle.
    pub seen_runs: usize,
    /// The last run that the merchant asked for.
    pub seen_asked: i64,
    pub trace: Vec<String>,
    /// `None`: this merchant has webhooks alone.
    pub pulls: Option<Pulls>,
    program: Option<Program>,
    starts: u32,
    path: PathBuf,
    folder: TempDir,
}

/// In memory where there is such a folder: a kill needs no disk.
fn folder() -> std::io::Result<TempDir> {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())
}

impl World {
    /// `dice` chooses what a merchant chooses once.
    pub fn new(dice: &mut fastrand::Rng) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut config = configuration(dice);
        // Shortly before the clocks are changed.
        let begin = any(dice, &["2026-10-23T08:00:00Z", "2027-03-26T20:00:00Z"]);
        let truth = Timestamp::parse_rfc3339(begin).context("a beginning")?.millis();
        let shop_clock = Arc::new(AtomicI64::new(truth));
        let mut pulls = None;
        if dice.u32(..4) > 0 {
            let api = runtime.block_on(Api::start(shop_clock.clone(), dice));
            pull::configure(&mut config, &api);
            pulls = Some(Pulls::new(api));
        }
        let folder = folder()?;
        let path = folder.path().join("quintile.db");
        let mut world = Self {
            runtime,
            routes: Route::from_config(&config)?,
            rules: Rules::from_config(&config),
            config,
            truth,
            ahead: 0,
            machine: Arc::new(AtomicI64::new(truth)),
            shop_clock,
            fuse: Arc::new(Fuse::new()),
            disk: Arc::new(Fuse::new()),
            full_at: None,
            store: Store::default(),
            tools: [Tool::new("tool", 1, false), Tool::new("batches", 1, true), Tool::new("crm", 2, false)],
            oracle: Oracle::default(),
            zombies: Vec::new(),
            ended: BTreeMap::new(),
            seen_runs: 0,
            seen_asked: 0,
            trace: Vec::new(),
            pulls,
            program: None,
            starts: 0,
            path,
            folder,
        };
        world.start()?;
        Ok(world)
    }

    /// By the machine's clock.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.machine.load(Ordering::SeqCst))
    }

    /// Time passes; `ahead` is what the machine's clock is ahead of it. No clock shows a time before 1970.
    pub fn set_time(&mut self, truth: i64, ahead: i64) {
        (self.truth, self.ahead) = (truth, ahead.max(Timestamp::DAY - truth));
        self.machine.store(self.truth + self.ahead, Ordering::SeqCst);
        self.shop_clock.store(self.truth, Ordering::SeqCst);
    }

    /// Somebody let time pass on both clocks.
    pub fn has_waited(&mut self) {
        self.truth = self.shop_clock.load(Ordering::SeqCst);
    }

    pub fn note(&mut self, text: impl Into<String>) {
        self.trace.push(format!("    {}", text.into()));
    }

    pub fn program(&self) -> &Program {
        self.program.as_ref().expect("it runs between two steps")
    }

    pub fn program_mut(&mut self) -> &mut Program {
        self.program.as_mut().expect("it runs between two steps")
    }

    pub fn reader(&self) -> anyhow::Result<Reader> {
        self.program().db.readers().get()
    }

    pub fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Transaction<'_>) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        self.program().db.writer().write_blocking(job)
    }

    /// An error is excused by a fault, and by nothing else.
    pub fn excuse<T>(&mut self, what: &str, done: anyhow::Result<T>) -> anyhow::Result<Outcome<T>> {
        match done {
            Ok(value) => Ok(Outcome::Done(value)),
            Err(error) if self.is_faulty() => {
                self.note(format!("{what} failed: {error:#}"));
                Ok(Outcome::Prevented)
            }
            Err(error) => bail!("{what} failed without a fault: {error:#}"),
        }
    }

    /// Nothing can be stored, or perhaps not.
    pub fn is_faulty(&self) -> bool {
        self.full_at.is_some() || self.disk.is_burnt() || self.fuse.is_burnt()
    }

    /// What pulls, in this start of the program.
    pub fn syncer(&mut self) -> anyhow::Result<Arc<Sync>> {
        let pulls = self.pulls.as_mut().context("this seed does not pull")?;
        if let Some(sync) = &pulls.sync {
            return Ok(sync.clone());
        }
        let program = self.program.as_ref().context("it runs between two steps")?;
        let machine = self.machine.clone();
        let clock = Clock::from_fn(move || Timestamp::from_millis(machine.load(Ordering::SeqCst)));
        let timer = pull::timer([self.machine.clone(), self.shop_clock.clone()]);
        let sync = Arc::new(Sync::new(&self.config, program.db.clone(), clock, timer)?);
        pulls.sync = Some(sync.clone());
        Ok(sync)
    }

    fn start(&mut self) -> anyhow::Result<()> {
        let db = Arc::new(Database::open(&self.path, "simulation").context("the database does not open")?);
        let machine = self.machine.clone();
        let clock = Clock::from_fn(move || Timestamp::from_millis(machine.load(Ordering::SeqCst)));
        let night = Night::new(&self.config, db.clone(), clock.clone(), Arc::default())?;
        self.starts += 1;
        self.fuse.put_out();
        let fuses = [self.fuse.clone(), self.disk.clone()];
        let refuse = move || {
            let refused = fuses.iter().any(|fuse| fuse.is_burnt());
            if !refused {
                for fuse in &fuses {
                    fuse.burn();
                }
            }
            refused
        };
        // Its own commit may be refused already.
        let _ = db.writer().write_blocking(move |tx| Ok(tx.commit_hook(Some(refuse))?));
        self.program = Some(Program { db, night, courier: Courier::new(self.starts) });
        self.set_room(self.full_at)?;
        let beaten = self.runtime.block_on(self.program().night.beat());
        self.excuse("the first beat", beaten)?;
        Ok(())
    }

    /// Stops it in order, and starts it.
    pub fn restart(&mut self, dice: &mut fastrand::Rng) -> anyhow::Result<()> {
        self.finish(dice)?;
        self.cut_off(dice)?;
        self.cut_pull();
        self.program = None;
        self.start()
    }

    /// The killed program is gone; it is started again on the files as it left them.
    pub fn revive(&mut self, dice: &mut fastrand::Rng) -> anyhow::Result<()> {
        self.cut_off(dice)?;
        self.cut_pull();
        // Before SQLite closes them: then the log would be copied into the database.
        let left = self.folder.path().join(format!("start-{}", self.starts)).join("quintile.db");
        std::fs::create_dir(left.parent().context("a folder")?)?;
        for suffix in ["", "-wal", ".sync.jsonl"] {
            let name = |path: &PathBuf| PathBuf::from(format!("{}{suffix}", path.display()));
            if name(&self.path).exists() {
                std::fs::copy(name(&self.path), name(&left))?;
            }
        }
        self.program = None;
        self.path = left;
        self.start()
    }

    /// The disk is full: the database may grow by so many pages and no more. `None`: there is room.
    pub fn fill_disk(&mut self, pages: Option<i64>) -> anyhow::Result<()> {
        self.disk.put_out();
        let now = self.reader()?.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0))?;
        self.full_at = pages.map(|pages| now + pages);
        self.set_room(self.full_at)
    }

    fn set_room(&mut self, pages: Option<i64>) -> anyhow::Result<()> {
        let most = pages.unwrap_or(i64::from(u32::MAX) - 1);
        let done = self.write(move |tx| Ok(tx.pragma_update(None, "max_page_count", most)?));
        self.excuse("the disk", done).map(drop)
    }
}

/// One destination of single events, one of batches, one that takes two requests per event.
fn configuration(dice: &mut fastrand::Rng) -> Config {
    let destination = |name: &str| config::Destination {
        name: name.to_owned(),
        url: format!("https://{name}.example/"),
        ..config::Destination::default()
    };
    let request = config::Request::default;
    let mut config = Config {
        destination: vec![
            destination("tool"),
            config::Destination { batch: dice.u32(2..6), ..destination("batches") },
            config::Destination {
                kind: "template".to_owned(),
                url: String::new(),
                request: vec![request(), request()],
                ..destination("crm")
            },
        ],
        ..Config::default()
    };
    config.scoring.timezone = any(dice, &["Europe/Berlin", "UTC", "America/New_York"]).parse().unwrap();
    config.forwarder.baseline =
        any(dice, &[Baseline::Send, Baseline::Send, Baseline::Quiet, Baseline::Hold, Baseline::Discard]);
    config
}
