//! How fast a pull is when the shop never makes it wait. By hand, since it takes a while:
//! `cargo test --release --test it sync::speed -- --ignored --nocapture`

use std::time::Instant;

use super::home::Home;

const ORDERS: u64 = 100_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn a_hundred_thousand_orders() {
    let home = Home::at("2026-11-23T12:00:00Z").await;
    home.admin.fill(ORDERS / 2, "2026-11-22T00:00:00Z");
    let start = Instant::now();
    let entry = home.pull().await;
    assert_eq!(entry.counts.orders.new, ORDERS);
    report("in bulk", start, entry.counts.orders.read + entry.counts.customers.read);

    // All of them changed since; the shop answers 50 at a time and never runs out of points.
    home.later(60);
    home.admin.fill(ORDERS / 2, "2026-11-25T23:00:00Z");
    home.admin.shop().bucket.plenty();
    home.waits.lock().unwrap().clear();
    let start = Instant::now();
    let entry = home.pull().await;
    assert_eq!((entry.counts.orders.read, entry.counts.orders.updated), (ORDERS, ORDERS));
    assert_eq!(home.waited(), 0);
    report("page by page", start, entry.counts.orders.read + entry.counts.customers.read);
}

fn report(how: &str, start: Instant, objects: u64) {
    let seconds = start.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a figure to read")]
    let rate = objects as f64 / seconds;
    eprintln!("{how}: {objects} objects in {seconds:.1} s, {rate:.0} per second");
}
