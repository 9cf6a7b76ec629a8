//! The table.

use std::cell::Cell;

use super::measure::Figures;

fn median(measured: &[Figures], name: &str) -> f64 {
    let mut values: Vec<f64> = measured.iter().filter_map(|figures| figures.get(name)).copied().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Of what must hold each time, not most times.
fn worst(measured: &[Figures], name: &str) -> f64 {
    measured.iter().filter_map(|figures| figures.get(name)).copied().fold(f64::NAN, f64::max)
}

/// Prints how the figures grow from size to size: 10.0 x where the shop is ten times as large is in
/// proportion.
#[expect(clippy::print_stdout, reason = "this is the output")]
pub fn print_growth(sizes: &[(u64, Vec<Figures>)]) {
    for pair in sizes.windows(2) {
        let [(small, before), (large, after)] = pair else { continue };
        let times = |name: &str| median(after, name) / median(before, name);
        println!();
        println!(
            "{small} → {large} customers: limit {:.1} x, nightly run {:.1} x, first run {:.1} x, memory {:.1} x, one order {:.1} x",
            times("limit"),
            times("nightly"),
            times("first"),
            times("nightly_memory"),
            times("order")
        );
    }
}

/// Prints what was measured at one size, each figure beside its bound. Whether all bounds are met.
#[expect(clippy::print_stdout, reason = "this is the output")]
pub fn print(customers: u64, measured: &[Figures]) -> bool {
    let met = Cell::new(true);
    let median = |name: &str| median(measured, name);
    let large = customers >= 500_000;
    // Of a small shop the commit takes most of the time, which no limit on reading and sorting bounds.
    let small = customers < 50_000;
    let limit = median("limit");
    println!();
    println!(
        "{customers} customers, {} orders; medians, and the worst of what is bounded by itself; the limit (three columns read, three arrays sorted): {limit:.1} ms, {:.1} ms on the processor",
        customers * 4,
        median("limit_cpu")
    );
    println!();
    println!("| figure | measured | x limit | on the processor | x limit | bound | |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | --- |");
    let row = |what: &str, name: &str, unit: &str, ratio: bool, bound: Option<(f64, &str)>| {
        let value = if !ratio && bound.is_some() { worst(measured, name) } else { median(name) };
        let compared = if ratio { value / limit } else { value };
        let times = if ratio { format!("{:.1}", value / limit) } else { String::new() };
        let busy = median(&format!("{name}_cpu"));
        let (busy, busy_times) = if busy.is_nan() {
            (String::new(), String::new())
        } else {
            (format!("{busy:.1} ms"), format!("{:.1}", busy / median("limit_cpu")))
        };
        let (text, verdict) = match bound.filter(|_| !(small && ratio)) {
            Some((most, text)) => {
                met.set(met.get() && compared <= most);
                (text, if compared <= most { "ok" } else { "MISSED" })
            }
            None => ("", ""),
        };
        let digits = if value < 10.0 { 3 } else { 1 };
        println!("| {what} | {value:.digits$} {unit} | {times} | {busy} | {busy_times} | {text} | {verdict} |");
    };
    let share = format!(
        "nightly run, {:.1} % of customers get other scores, {:.1} % another segment",
        median("nightly_rewritten"),
        median("nightly_share")
    );
    row(&share, "nightly", "ms", true, Some(if large { (8.0, "8 x limit") } else { (12.0, "12 x limit") }));
    row("- ranking, no write lock", "nightly_rank_ms", "ms", true, None);
    let lock = if large { (350.0, "350 ms") } else { (40.0, "40 ms") };
    row("- write lock held, commit included", "nightly_write_ms", "ms", false, Some(lock));
    row("- peak memory", "nightly_memory", "MiB", false, Some((32.0, "32 MiB")));
    row("the same while orders come in, one destination", "meanwhile", "ms", true, None);
    row("- longest wait of an order meanwhile", "longest_wait", "ms", false, Some(lock));
    row("- queueing the deliveries", "meanwhile_emit_ms", "ms", true, None);
    row("first run, everybody changes, events included", "first", "ms", true, None);
    row("- write lock held", "first_write_ms", "ms", true, None);
    row("- peak memory", "first_memory", "MiB", false, Some((32.0, "32 MiB")));
    row("one order applied, its customer's counters included", "order", "ms", false, Some((0.2, "0.2 ms")));
    met.get()
}
