//! A merchant's database beside the tests' shop, with a clock and a timer that cost no time.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use quintile::{
    clock::Clock,
    config::{Config, Secret},
    db::Database,
    model::Timestamp,
    sync::{
        Ended, Sync, Timer,
        log::{self, Entry, State, Trigger},
    },
};

use super::admin::{Admin, CLIENT_ID, CLIENT_SECRET, DOMAIN};
use crate::support::{folder::Folder, shop::rows};

pub struct Home {
    pub admin: Admin,
    pub config: Config,
    pub database: Arc<Database>,
    pub waits: Arc<Mutex<Vec<Duration>>>,
    at_the_first_wait: Arc<Mutex<Option<String>>>,
    now: Arc<AtomicI64>,
    /// What this machine's clock is ahead of the shop's.
    ahead: Arc<AtomicI64>,
    _folder: Folder,
}

impl Home {
    /// A shop and an empty database, at this time.
    pub async fn at(time: &str) -> Self {
        let now = Arc::new(AtomicI64::new(Timestamp::parse_rfc3339(time).unwrap().millis()));
        let admin = Admin::start(now.clone()).await;
        let folder = Folder::new();
        let mut config = Config::default();
        DOMAIN.clone_into(&mut config.shop.id);
        config.database.path = folder.path().join("quintile.db");
        config.shopify.base_url.clone_from(&admin.url);
        config.shopify.client_id = Secret::new(CLIENT_ID);
        config.shopify.client_secret = Secret::new(CLIENT_SECRET);
        config.webhooks.shopify.secrets = vec![Secret::new(CLIENT_SECRET)];
        config.forwarder.allow_private = vec!["127.0.0.0/8".to_owned()];
        let database = Arc::new(Database::open(&config.database.path, "test").unwrap());
        Self {
            admin,
            config,
            database,
            waits: Arc::default(),
            at_the_first_wait: Arc::default(),
            now,
            ahead: Arc::default(),
            _folder: folder,
        }
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now.load(Ordering::Relaxed))
    }

    pub fn later(&self, hours: i64) {
        self.now.fetch_add(hours * 3_600_000, Ordering::Relaxed);
    }

    /// This machine's clock shows another time than the shop's.
    pub fn set_clock(&self, hours_ahead: i64) {
        self.ahead.store(hours_ahead * 3_600_000, Ordering::Relaxed);
    }

    /// A timer that moves the clock and returns.
    pub fn timer(&self) -> Timer {
        let (now, waits, first) = (self.now.clone(), self.waits.clone(), self.at_the_first_wait.clone());
        let path = self.config.database.path.clone();
        Timer::from_fn(move |duration| {
            if let Some(sql) = first.lock().unwrap().take() {
                write(&path, &sql);
            }
            now.fetch_add(i64::try_from(duration.as_millis()).unwrap(), Ordering::Relaxed);
            waits.lock().unwrap().push(duration);
            tokio::task::yield_now()
        })
    }

    pub fn clock(&self) -> Clock {
        let (now, ahead) = (self.now.clone(), self.ahead.clone());
        Clock::from_fn(move || Timestamp::from_millis(now.load(Ordering::Relaxed) + ahead.load(Ordering::Relaxed)))
    }

    pub fn syncer(&self) -> Sync {
        Sync::new(&self.config, self.database.clone(), self.clock(), self.timer()).unwrap()
    }

    pub async fn run(&self) -> Ended {
        self.syncer().run(Trigger::Manual, false).await.unwrap()
    }

    /// A pull that gets to its end.
    pub async fn pull(&self) -> Entry {
        done(self.run().await)
    }

    /// A pull that does not; what it says.
    pub async fn fail(&self) -> (Entry, String) {
        let ended = self.run().await;
        let error = ended.error.unwrap_or_else(|| panic!("it was done: {:?}", ended.entry));
        assert_eq!(ended.entry.state, State::Failed);
        let told = format!("{error:#}");
        assert_eq!(ended.entry.error.as_deref(), Some(told.as_str()));
        (ended.entry, told)
    }

    pub fn rows(&self, sql: &str) -> Vec<String> {
        rows(&self.database.readers().get().unwrap(), sql)
    }

    pub fn row(&self, sql: &str) -> String {
        let mut rows = self.rows(sql);
        assert_eq!(rows.len(), 1, "{sql}: {rows:?}");
        rows.remove(0)
    }

    /// Orders, those that count, and their worth.
    pub fn orders(&self) -> String {
        self.row("SELECT count(*), sum(counted), sum(net) FROM orders WHERE deleted_at IS NULL")
    }

    pub fn log(&self) -> Vec<Entry> {
        log::list(&self.database.readers().get().unwrap(), 100).unwrap()
    }

    /// Seconds that were waited for in all.
    pub fn waited(&self) -> u64 {
        self.waits.lock().unwrap().iter().map(Duration::as_secs).sum()
    }

    /// Runs SQL as nobody else may.
    pub fn sql(&self, sql: &str) {
        write(&self.config.database.path, sql);
    }

    /// What another process writes while the pull waits.
    pub fn at_the_first_wait(&self, sql: &str) {
        *self.at_the_first_wait.lock().unwrap() = Some(sql.to_owned());
    }
}

fn write(path: &Path, sql: &str) {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(10)).unwrap();
    connection.execute_batch(sql).unwrap();
}

pub fn done(ended: Ended) -> Entry {
    if let Some(error) = ended.error {
        panic!("{error:#}");
    }
    assert_eq!(ended.entry.state, State::Done);
    ended.entry
}
