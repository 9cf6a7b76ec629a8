//! Processor time, which says more than a clock on a machine that does other things too.

use std::fs;

/// What Linux counts in, per second, on every machine of today.
const TICKS: f64 = 100.0;

/// Seconds that a process has used so far, in all its threads; not a number where the system does not say.
pub fn of_process(id: u32) -> f64 {
    seconds(&format!("/proc/{id}/stat"), 13)
}

/// Seconds that the children of this process used which have ended and were waited for.
pub fn of_children() -> f64 {
    seconds("/proc/self/stat", 15)
}

/// The sum of the two fields from `first` on: user and system.
fn seconds(path: &str, first: usize) -> f64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    // The name, in parentheses, may hold anything; behind it comes the third field.
    let behind = text.rsplit_once(')').map_or("", |(_, behind)| behind);
    let ticks: Vec<f64> = behind.split_whitespace().skip(first - 2).take(2).filter_map(|it| it.parse().ok()).collect();
    if ticks.len() == 2 { (ticks[0] + ticks[1]) / TICKS } else { f64::NAN }
}
