//! Deterministic simulation: months of one shop in a second, under a clock that jumps, on a disk that
//! fills up, with kills after any commit, tools of every mood and a merchant who presses everything.
//! All of it follows from a seed.
//!
//! What is simulated is the outside: the shop ([`store`]) and its [`api`], the tools ([`tool`]), the
//! clock, the disk and the kills ([`world`]), the network to the tools ([`courier`]). Intake, ledger,
//! scoring, queue, the judgement of answers and the pull from the shop ([`pull`]) are the program's own, on
//! a real database file; the pull speaks HTTP with a real server, one request at a time. After each step
//! the database is compared with an [`oracle`] that knows the same in plain maps, and with [`laws`] that
//! hold at any moment.
//!
//! A seed that breaks a law is printed with the command that plays it again, and with the fewest of its
//! steps that break it. `QUINTILE_SEEDS=1000` plays so many, from `QUINTILE_SEED` on.

mod api;
mod courier;
mod laws;
mod learned;
mod oracle;
mod play;
mod pull;
mod steps;
mod store;
mod tool;
mod world;

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

/// Seeds played by default.
const SEEDS: u64 = 50;
/// More than this on a machine of many cores would only take their disks.
const THREADS: usize = 4;

/// A number from the environment.
#[expect(clippy::disallowed_methods, reason = "how many seeds is the caller's choice")]
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, which is no number")))
}

#[test]
fn no_seed_breaks_a_law() {
    let first = number("QUINTILE_SEED");
    let count = number("QUINTILE_SEEDS").unwrap_or(if first.is_some() { 1 } else { SEEDS });
    let first = first.unwrap_or(1);
    let next = AtomicU64::new(first);
    let broken = Mutex::new(None);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= first + count || broken.lock().unwrap().is_some() {
                        return;
                    }
                    if let Err(failure) = play::play(seed, &steps::steps(seed)) {
                        broken.lock().unwrap().get_or_insert((seed, failure));
                        return;
                    }
                }
            });
        }
    });
    if let Some((seed, failure)) = broken.into_inner().unwrap() {
        let (steps, failure) = play::shrink(seed, failure);
        panic!(
            "seed {seed}: {}\nin these {steps} of its steps:\n{}\nplay it again: QUINTILE_SEED={seed} cargo test --test it simulation",
            failure.law,
            failure.trace.join("\n")
        );
    }
}

#[test]
fn a_seed_plays_the_same_again() {
    for seed in 1..=3 {
        let steps = steps::steps(seed);
        let [once, again] = [(); 2].map(|()| play::play(seed, &steps).unwrap());
        assert_eq!(once, again);
        assert!(once.len() > steps.len(), "something happens in it");
    }
}
