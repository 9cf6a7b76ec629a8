//! What grows: memory by the age of a process, and the files in the merchant's folder; and what may.

use std::{collections::BTreeMap, path::Path};

/// Ages in seconds at which lives are compared, each with those up to the next.
const AGES: [u64; 6] = [1, 3, 6, 12, 25, 50];
/// How much more memory a process may take late in the soak than one as old took early: what it keeps
/// of files and pages does not depend on how much there is.
const MORE_KIB: u64 = 12 * 1024;
/// The log between two checkpoints, and what is written while a backup reads.
const LONGEST_WAL: u64 = 48 << 20;
/// Kept are 7 daily and 4 weekly; beside them the newest before an old one goes, or what a kill left
/// half written, with its journal.
const MOST_BACKUPS: usize = 7 + 4 + 2;
/// Bytes that a message may bring late in the soak, of what it brought early: itself, its order, and the events and
/// deliveries that come of it, of which there are fewer the longer a customer is known.
const MORE_PER_MESSAGE: f64 = 1.25;
/// Fewer new messages than these say nothing of that.
const ENOUGH_MESSAGES: u64 = 1_500;

#[derive(Debug, Default)]
pub struct Gauge {
    memory: Vec<Memory>,
    files: Vec<Files>,
}

#[derive(Debug)]
struct Memory {
    /// Of the whole soak, from 0 to 1.
    at: f64,
    age: u64,
    kib: u64,
}

/// The merchant's folder at the end of a life.
#[derive(Debug, Default, Clone)]
pub struct Files {
    /// Of the whole soak, from 0 to 1.
    pub at: f64,
    pub database: u64,
    pub wal: u64,
    pub backups: usize,
    pub backup_bytes: u64,
    /// That are stored.
    pub messages: u64,
    /// What a life wrote to its log, and how long it was.
    pub logged: u64,
    pub seconds: f64,
}

impl Gauge {
    pub fn memory(&mut self, at: f64, age: u64, kib: u64) {
        self.memory.push(Memory { at, age, kib });
    }

    pub fn files(&mut self, files: Files) {
        self.files.push(files);
    }

    pub fn latest(&self) -> Files {
        self.files.last().cloned().unwrap_or_default()
    }

    /// Most memory of the lives in this part of the soak, in KiB.
    pub fn most_memory(&self, from: f64, to: f64) -> u64 {
        self.memory.iter().filter(|memory| (from..to).contains(&memory.at)).map(|memory| memory.kib).max().unwrap_or(0)
    }

    /// The soak in ten lines.
    pub fn table(&self) -> Vec<String> {
        let mut lines = vec![
            "part   messages  database MB  bytes each  WAL MB (most)  backups   MB  log kB/s  memory MB (most)"
                .to_owned(),
        ];
        for part in 0..10 {
            let (from, to) = (f64::from(part) / 10.0, f64::from(part + 1) / 10.0);
            let lives: Vec<&Files> = self.files.iter().filter(|files| (from..to).contains(&files.at)).collect();
            let Some(last) = lives.last() else { continue };
            let seconds: f64 = lives.iter().map(|files| files.seconds).sum();
            lines.push(format!(
                "{:>3}0 % {:>10} {:>12.1} {:>11.0} {:>14.1} {:>8} {:>4.0} {:>9.1} {:>17.1}",
                part + 1,
                last.messages,
                mega(last.database),
                number(last.database) / number(last.messages.max(1)),
                mega(lives.iter().map(|files| files.wal).max().unwrap_or(0)),
                last.backups,
                mega(last.backup_bytes),
                number(lives.iter().map(|files| files.logged).sum()) / seconds / 1000.0,
                number(self.most_memory(from, to)) / 1024.0,
            ));
        }
        lines
    }

    /// Median memory at each age, early and late in the soak, in KiB.
    fn ages(&self) -> BTreeMap<u64, [Option<u64>; 2]> {
        let median = |from: u64, to: u64, part: std::ops::Range<f64>| {
            let mut kib: Vec<u64> = self
                .memory
                .iter()
                .filter(|memory| (from..to).contains(&memory.age) && part.contains(&memory.at))
                .map(|memory| memory.kib)
                .collect();
            kib.sort_unstable();
            kib.get(kib.len() / 2).copied()
        };
        let ends = AGES.into_iter().skip(1).chain([u64::MAX]);
        AGES.into_iter()
            .zip(ends)
            .map(|(from, to)| (from, [0.1..0.4, 0.7..1.1].map(|part| median(from, to, part))))
            .collect()
    }

    /// What memory does with age and time, a line per age.
    pub fn memory_table(&self) -> Vec<String> {
        let text = |kib: Option<u64>| kib.map_or("-".to_owned(), |kib| format!("{:.1} MB", number(kib) / 1024.0));
        self.ages()
            .into_iter()
            .map(|(age, [early, late])| format!("{age:>3} s old: {} early, {} late", text(early), text(late)))
            .collect()
    }

    /// What grew that should not.
    pub fn grown(&self) -> Vec<String> {
        let mut grown = Vec::new();
        for (age, of_age) in self.ages() {
            if let [Some(early), Some(late)] = of_age
                && late > early + MORE_KIB
            {
                grown.push(format!("{age} s old, it takes {late} KiB late in the soak, and {early} early"));
            }
        }
        for files in &self.files {
            if files.wal > LONGEST_WAL || files.backups > MOST_BACKUPS {
                grown.push(format!("a log of {} bytes, {} backups", files.wal, files.backups));
            }
        }
        let per_message = |from: f64, to: f64| {
            let part: Vec<&Files> = self.files.iter().filter(|files| (from..to).contains(&files.at)).collect();
            let (first, last) = (part.first()?, part.last()?);
            (last.messages >= first.messages + ENOUGH_MESSAGES)
                .then(|| (number(last.database) - number(first.database)) / number(last.messages - first.messages))
        };
        if let (Some(early), Some(late)) = (per_message(0.05, 0.35), per_message(0.65, 1.1))
            && late > early * MORE_PER_MESSAGE
        {
            grown.push(format!("a message brings {late:.0} bytes late in the soak, and {early:.0} early"));
        }
        grown
    }
}

/// Bytes of the database and its log, and how many backups of how many bytes there are.
pub fn look_at(folder: &Path) -> Files {
    let size = |path: &Path| path.metadata().map_or(0, |file| file.len());
    let backups: Vec<u64> = std::fs::read_dir(folder.join("backups"))
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter(|entry| entry.path().extension().is_none_or(|kind| kind != "shop"))
        .map(|entry| size(&entry.path()))
        .collect();
    Files {
        database: size(&folder.join("quintile.db")),
        wal: size(&folder.join("quintile.db-wal")),
        backups: backups.len(),
        backup_bytes: backups.iter().sum(),
        ..Files::default()
    }
}

pub fn mega(bytes: u64) -> f64 {
    number(bytes) / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "for a table")]
fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A soak in which memory and the database go from one size to another.
    fn soak(memory: [u64; 2], bytes_each: [u64; 2]) -> Gauge {
        let mut gauge = Gauge::default();
        let mut files = Files::default();
        for part in 0..100_u32 {
            let at = f64::from(part) / 100.0;
            let late = usize::from(part >= 50);
            gauge.memory(at, 4, memory[late]);
            files = Files {
                at,
                messages: files.messages + 100,
                database: files.database + 100 * bytes_each[late],
                ..files
            };
            gauge.files(files.clone());
        }
        gauge
    }

    #[test]
    fn what_grows_is_told_and_what_stays_is_not() {
        assert_eq!(soak([50_000, 55_000], [700, 700]).grown(), Vec::<String>::new());
        assert!(soak([50_000, 70_000], [700, 700]).grown()[0].contains("3 s old, it takes 70000 KiB"));
        assert!(soak([50_000, 50_000], [700, 1400]).grown()[0].contains("brings 1400 bytes late"));
        let mut gauge = Gauge::default();
        gauge.files(Files { wal: LONGEST_WAL + 1, ..Files::default() });
        assert_eq!(gauge.grown().len(), 1);
    }
}
