//! What a benchmark prints: each figure beside its bound.

use std::process::ExitCode;

/// A table that is printed row by row.
pub struct Table {
    missed: usize,
}

impl Table {
    #[expect(clippy::print_stdout, reason = "this is the output")]
    pub fn begin() -> Self {
        println!("| figure | measured | bound | |\n| --- | ---: | ---: | --- |");
        Self { missed: 0 }
    }

    pub fn row(&mut self, what: &str, value: f64, unit: &str) {
        self.add(what, value, unit, None);
    }

    /// `met`: whether the value is within its bound, as `bound` names it.
    pub fn bound(&mut self, what: &str, value: f64, unit: &str, met: bool, bound: &str) {
        self.add(what, value, unit, Some((met, bound)));
    }

    /// With which code the benchmark ends: a missed bound is an error.
    pub const fn verdict(&self) -> ExitCode {
        if self.missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    #[expect(clippy::print_stdout, reason = "this is the output")]
    fn add(&mut self, what: &str, value: f64, unit: &str, bound: Option<(bool, &str)>) {
        let (bound, verdict) = bound.map_or(("", ""), |(met, bound)| (bound, if met { "ok" } else { "MISSED" }));
        self.missed += usize::from(verdict == "MISSED");
        let digits = if value < 100.0 { 2 } else { 0 };
        println!("| {what} | {value:.digits$} {unit} | {bound} | {verdict} |");
    }
}
