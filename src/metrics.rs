//! What the process counts while it runs, and the text format in which Prometheus reads numbers.
//!
//! Part of the floor: the forwarder counts here, the dashboard prints it, and neither knows the
//! other. What the database knows is not counted twice; the dashboard asks it at each scrape.
//!
//! Deliberately no crate: those there are speak `OpenMetrics`, whose counters older Prometheus
//! parsers do not take as such, and want every number kept in memory.

use std::{
    collections::BTreeMap,
    fmt::{Display, Write},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Upper ends of a request's duration, in seconds: the client gives up after 15.
const REQUEST_BUCKETS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0];
/// Upper ends of the time from a delivery's birth to its end, in seconds: the last retry is after
/// four days.
const LATENCY_BUCKETS: &[f64] =
    &[0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 900.0, 3600.0, 21_600.0, 86_400.0, 345_600.0];

/// Counts of one process, from zero at its start. Cheap to clone; all clones count together.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    attempts: BTreeMap<(String, &'static str), u64>,
    requests: BTreeMap<String, Histogram>,
    latencies: BTreeMap<String, Histogram>,
    refusals: BTreeMap<u16, u64>,
}

#[derive(Debug, Default)]
struct Histogram {
    /// Per bucket, not added up; the last one is for what is beyond all.
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    fn observe(&mut self, ends: &[f64], seconds: f64) {
        self.counts.resize(ends.len() + 1, 0);
        let bucket = ends.iter().position(|end| seconds <= *end).unwrap_or(ends.len());
        self.counts[bucket] += 1;
        self.sum += seconds;
    }
}

impl Metrics {
    /// An attempt ended: `outcome` is one of a few fixed words (delivered, retry, dead, held, split,
    /// blocked), `duration` that of the request.
    pub fn attempt(&self, destination: &str, outcome: &'static str, duration: Duration) {
        self.with(|counts| {
            *counts.attempts.entry((destination.to_owned(), outcome)).or_default() += 1;
            let requests = counts.requests.entry(destination.to_owned()).or_default();
            requests.observe(REQUEST_BUCKETS, duration.as_secs_f64());
        });
    }

    /// A delivery arrived so long after it was made.
    pub fn delivered(&self, destination: &str, latency: Duration) {
        self.with(|counts| {
            let latencies = counts.latencies.entry(destination.to_owned()).or_default();
            latencies.observe(LATENCY_BUCKETS, latency.as_secs_f64());
        });
    }

    /// A request to the webhooks listener got this status, which is no success.
    pub fn refused(&self, status: u16) {
        self.with(|counts| *counts.refusals.entry(status).or_default() += 1);
    }

    /// Writes what was counted.
    pub fn write(&self, text: &mut Text) {
        self.with(|counts| {
            text.head("quintile_delivery_attempts_total", "counter", "Requests sent, by what came of them.");
            for ((destination, outcome), count) in &counts.attempts {
                let labels = [("destination", destination.as_str()), ("outcome", outcome)];
                text.sample("quintile_delivery_attempts_total", &labels, count);
            }
            histograms(
                text,
                "quintile_delivery_request_duration_seconds",
                "How long requests took.",
                REQUEST_BUCKETS,
                &counts.requests,
            );
            histograms(
                text,
                "quintile_delivery_latency_seconds",
                "From the making of a delivery to its arrival.",
                LATENCY_BUCKETS,
                &counts.latencies,
            );
            let name = "quintile_webhooks_refused_total";
            text.head(
                name,
                "counter",
                "Requests to the webhooks listener that were refused, by the status of the answer.",
            );
            for (status, count) in &counts.refusals {
                text.sample(name, &[("status", &status.to_string())], count);
            }
        });
    }

    fn with<T>(&self, change: impl FnOnce(&mut Counts) -> T) -> T {
        // Counts have no state in between: those of a thread that died are as good as any.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn histograms(text: &mut Text, name: &str, help: &str, ends: &[f64], by_destination: &BTreeMap<String, Histogram>) {
    text.head(name, "histogram", help);
    for (destination, histogram) in by_destination {
        let mut total = 0;
        for (bucket, count) in histogram.counts.iter().enumerate() {
            total += count;
            let end = ends.get(bucket).map_or_else(|| "+Inf".to_owned(), f64::to_string);
            text.sample(&format!("{name}_bucket"), &[("destination", destination), ("le", &end)], total);
        }
        text.sample(&format!("{name}_sum"), &[("destination", destination)], histogram.sum);
        text.sample(&format!("{name}_count"), &[("destination", destination)], total);
    }
}

/// The text exposition format of Prometheus, version 0.0.4.
#[derive(Debug, Default)]
pub struct Text(String);

impl Text {
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// Begins a metric; all its samples follow.
    pub fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.push(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// One number. Values of labels may be any text.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (place, (label, text)) in labels.iter().enumerate() {
            let separator = if place == 0 { '{' } else { ',' };
            let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            self.push(format_args!("{separator}{label}=\"{escaped}\""));
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        self.push(format_args!(" {value}\n"));
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        let _ = self.0.write_fmt(text); // a String takes everything
    }

    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_written_as_prometheus_reads_them() {
        let metrics = Metrics::default();
        metrics.clone().attempt("a \"tool\"\\\n", "retry", Duration::from_millis(300));
        metrics.attempt("a \"tool\"\\\n", "retry", Duration::from_secs(60));
        let mut text = Text::default();
        metrics.write(&mut text);
        let text = text.into_string();
        let labels = r#"destination="a \"tool\"\\\n""#;
        for line in [
            format!("quintile_delivery_attempts_total{{{labels},outcome=\"retry\"}} 2"),
            format!("quintile_delivery_request_duration_seconds_bucket{{{labels},le=\"0.25\"}} 0"),
            format!("quintile_delivery_request_duration_seconds_bucket{{{labels},le=\"0.5\"}} 1"),
            format!("quintile_delivery_request_duration_seconds_bucket{{{labels},le=\"+Inf\"}} 2"),
            format!("quintile_delivery_request_duration_seconds_sum{{{labels}}} 60.3"),
            format!("quintile_delivery_request_duration_seconds_count{{{labels}}} 2"),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
