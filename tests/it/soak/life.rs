//! One life of the program, from its start to its kill or its orderly end.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use super::{
    Soak,
    gauge::look_at,
    machine::{Machine, a_moment, fill_disk, resident_kib},
    tools::{Mood, TOOLS},
};
use crate::support::{http, process::Server};

const SENDERS: usize = 4;
/// Before its end a life is full of requests, so that a kill meets some.
const HURRY: Duration = Duration::from_millis(120);
/// What the merchant looks at.
const PAGES: [&str; 9] =
    ["/", "/customers", "/segments", "/deliveries", "/destinations", "/runs", "/readyz", "/metrics", "/healthz"];
/// A stop takes no longer.
const STOPS_WITHIN: Duration = Duration::from_secs(15);
/// A life at rest in which nothing more happens is over.
const REST: Duration = Duration::from_secs(25);

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ends {
    Killed,
    Stopped,
    KilledOnAFullDisk,
}

impl Soak {
    /// Between two lives the clock goes ahead, or not; tools change their moods; now and then the merchant
    /// looks after it.
    pub fn next_life(&self) {
        let (length, ends, full) = {
            let dice = &mut *self.dice.lock().unwrap();
            match dice.u32(..10) {
                0..4 => {}
                4..7 => self.machine.go_to_night(dice.i64(2..5)),
                7..9 => self.machine.go_to_night(-dice.i64(60..7200)),
                _ => self.machine.go_ahead(3 * 86_400),
            }
            let length = match dice.u32(..100) {
                0..70 => dice.u64(300..6000),
                70..90 => dice.u64(6000..12_000),
                90..98 => dice.u64(12_000..30_000),
                _ => dice.u64(60_000..90_000),
            };
            let full = length > 4000 && dice.u32(..8) == 0;
            let ends = match dice.u32(..10) {
                0..3 => Ends::Stopped,
                _ if full && dice.bool() => Ends::KilledOnAFullDisk,
                _ => Ends::Killed,
            };
            (Duration::from_millis(length), ends, full)
        };
        if self.dice.lock().unwrap().u32(..15) == 0 {
            // The first life may have been too short for a database.
            if self.look().is_ok() {
                self.merchant_looks_after_it(false);
            }
        }
        self.tools_change();
        self.live_once(ends, |server| self.passes(server, length, full.then_some(ends)));
    }

    fn tools_change(&self) {
        let dice = &mut *self.dice.lock().unwrap();
        for tool in 0..TOOLS.len() {
            if dice.u32(..3) == 0 {
                self.tools.set_mood(tool, Mood::any(dice));
            }
        }
    }

    /// The time of a life. In a long one nights come too.
    fn passes(&self, server: &Server, length: Duration, full: Option<Ends>) {
        let (begin, mut seconds) = (Instant::now(), 0);
        while begin.elapsed() < length {
            let left = length.saturating_sub(begin.elapsed());
            std::thread::sleep(left.min(Duration::from_secs(1)));
            seconds += 1;
            if seconds % 4 == 0 {
                self.tools_change();
            }
            if seconds % 9 == 0 {
                self.machine.go_to_night(3);
            }
            let until_the_end = full == Some(Ends::KilledOnAFullDisk);
            if full.is_some() && (seconds == 2 || (seconds == 4 && !until_the_end)) {
                let done = fill_disk(server.id(), seconds == 2);
                if !done {
                    self.is_wrong("prlimit failed");
                }
                self.full_disks.fetch_add(u32::from(seconds == 2), Ordering::SeqCst);
            }
        }
    }

    /// Starts the program, lets the shop send and the merchant look while `time` passes, and ends it.
    fn live_once<T>(&self, ends: Ends, time: impl FnOnce(&Server) -> T) -> Option<T> {
        let life = u32::try_from(self.tools.book().lost_answers.len()).unwrap_or(u32::MAX) + 1;
        a_moment();
        self.tools.next_life(life);
        let Some(mut server) = Server::try_start_as(self.machine.command(self.merchant.path(), &["serve"])) else {
            self.is_wrong(format!("it did not start for life {life}"));
            std::thread::sleep(Duration::from_secs(1));
            return None;
        };
        let (process, begin) = (server.id(), Instant::now());
        let (hurry, over) = (AtomicBool::new(false), AtomicBool::new(false));
        let (webhooks, dashboard) = (server.webhooks.clone(), server.dashboard.clone());
        let passed = std::thread::scope(|threads| {
            for _ in 0..SENDERS {
                threads.spawn(|| self.shop.keep_sending(&webhooks, &self.machine, &hurry, &over));
            }
            threads.spawn(|| self.merchant_looks(&dashboard, &over));
            threads.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    if let Some(kib) = resident_kib(process) {
                        self.gauge.lock().unwrap().memory(self.progress(), begin.elapsed().as_secs(), kib);
                    }
                    std::thread::sleep(Duration::from_millis(500));
                }
            });
            // Also when it panics, or nobody would ever come home.
            let _over = Sets(&over);
            let passed = time(&server);
            self.measure(&server, begin);
            hurry.store(true, Ordering::SeqCst);
            std::thread::sleep(HURRY);
            self.end(life, ends, &mut server, &over);
            passed
        });
        Some(passed)
    }

    fn end(&self, life: u32, ends: Ends, server: &mut Server, over: &AtomicBool) {
        if resident_kib(server.id()).is_none() {
            self.is_wrong(format!("life {life} ended by itself"));
        }
        let begin = Instant::now();
        over.store(true, Ordering::SeqCst);
        if ends == Ends::Stopped {
            let _ = std::process::Command::new("kill").args(["-TERM", &server.id().to_string()]).status();
        } else {
            server.signal_kill();
        }
        let (status, said) = server.end();
        Machine::clean_up_after(server.id());
        if ends == Ends::Stopped && !(status.success() && begin.elapsed() < STOPS_WITHIN) {
            self.is_wrong(format!("life {life} was stopped: {status}, after {:?}", begin.elapsed()));
        }
        self.tools.book().lost_answers.insert(life, ends != Ends::Stopped);
        *self.lives.lock().unwrap().entry(ends).or_default() += 1;
        for line in said.lines() {
            if line.contains("panicked") || line.contains("does not agree") || line.contains("a bug in quintile") {
                self.is_wrong(format!("life {life} said: {line}"));
            }
            if let Some((_, error)) = line.split_once(" ERROR ") {
                let shape: String =
                    error.chars().map(|it| if it.is_ascii_digit() { '#' } else { it }).take(110).collect();
                *self.errors.lock().unwrap().entry(shape).or_default() += 1;
            }
        }
    }

    /// At the end of a life, while another process has the database open: closing it changes nothing then.
    fn measure(&self, server: &Server, begin: Instant) {
        let mut files = look_at(self.merchant.path());
        files.messages = self.look().map_or(0, |database| {
            database.query_row("SELECT coalesce(max(id), 0) FROM inbox", [], |row| row.get(0)).unwrap_or(0)
        });
        files.logged = server.said().len() as u64;
        files.seconds = begin.elapsed().as_secs_f64();
        files.at = self.progress();
        self.gauge.lock().unwrap().files(files);
    }

    fn look(&self) -> rusqlite::Result<Connection> {
        let path = self.merchant.path().join("quintile.db");
        let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        database.busy_timeout(Duration::from_secs(10))?;
        Ok(database)
    }

    /// Every page can be read at any moment, on a full disk too; now and then a run is asked for.
    fn merchant_looks(&self, dashboard: &str, over: &AtomicBool) {
        for page in PAGES.into_iter().cycle() {
            std::thread::sleep(Duration::from_millis(250));
            if over.load(Ordering::SeqCst) {
                return;
            }
            match http::get(&format!("{dashboard}{page}")) {
                Ok(answer) if answer.status == 200 || (answer.status == 503 && page.ends_with('z')) => {}
                Ok(answer) => self.is_wrong(format!("{page} was answered {}: {}", answer.status, answer.body)),
                Err(_) => {} // it is gone, or the life would not end well
            }
            if page == "/runs" && self.dice.lock().unwrap().u32(..20) == 0 {
                let headers = [("origin", dashboard), ("sec-fetch-site", "same-origin")];
                let _ = http::post(&format!("{dashboard}/runs"), &headers, b"");
            }
        }
    }

    /// While the program is down: resumes what was disabled, and tries again what was given up.
    pub fn merchant_looks_after_it(&self, everything: bool) {
        let run = |arguments: &[&str]| {
            self.machine.run(self.merchant.path(), arguments).unwrap_or_else(|wrong| {
                self.is_wrong(wrong);
                String::new()
            })
        };
        let listed: Value =
            serde_json::from_str(&run(&["destinations", "list", "--format", "json"])).unwrap_or_default();
        for destination in listed.as_array().into_iter().flatten() {
            let name = destination["name"].as_str().unwrap_or_default();
            let resumes = everything || self.dice.lock().unwrap().bool();
            if matches!(destination["state"].as_str(), Some("disabled" | "paused")) && resumes {
                run(&["destinations", "resume", name, "--send", "all"]);
            }
        }
        if everything || self.dice.lock().unwrap().u32(..3) == 0 {
            run(&["deliveries", "retry", "--all"]);
        }
    }

    /// A life without a fault and without business, until everything is sent, scored and delivered, or
    /// nothing more comes of waiting. Whether it is.
    pub fn live_until_idle(&self) -> bool {
        let began_at = self.machine.now();
        let is_idle = || -> rusqlite::Result<bool> {
            self.look()?.query_row(
                "SELECT EXISTS (SELECT 1 FROM runs WHERE as_of >= ?1 AND state = 'done'
                                AND started_at > (SELECT max(received_at) FROM inbox))
                    AND NOT EXISTS (SELECT 1 FROM runs WHERE state IN ('scoring', 'scored'))
                    AND NOT EXISTS (SELECT 1 FROM unqueued)
                    AND NOT EXISTS (SELECT 1 FROM deliveries WHERE state = 'dead')
                    AND NOT EXISTS (SELECT 1 FROM deliveries
                                     WHERE finished_at IS NULL AND coalesce(hold, '') <> 'consent')",
                [began_at.millis()],
                |row| row.get(0),
            )
        };
        self.shop.is_closed();
        let idle = self.live_once(Ends::Stopped, |server| {
            let begin = Instant::now();
            while begin.elapsed() < REST {
                std::thread::sleep(Duration::from_millis(250));
                if self.shop.send_the_rest(&server.webhooks, &self.machine) == 0 && is_idle().unwrap_or(false) {
                    return true;
                }
            }
            false
        });
        idle.unwrap_or(false)
    }
}

/// Sets a flag when dropped.
struct Sets<'a>(&'a AtomicBool);

impl Drop for Sets<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
