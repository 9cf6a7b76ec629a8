//! A database that cannot be written: nothing is sent until it can be recorded.

use tokio_util::sync::CancellationToken;

use super::fixture::{Shop, until};
use crate::support::receiver::{Answer, Receiver};

/// More than the free space of a page, so that claiming it needs room in the file.
const LARGE: usize = 50_000;

/// As a full disk: the file may not grow.
fn fill_disk(shop: &Shop) {
    shop.write(|tx| {
        let pages: i64 = tx.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        let limit: i64 = tx.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get(0))?;
        assert_eq!(limit, pages);
        Ok(())
    });
}

fn free_disk(shop: &Shop) {
    shop.write(|tx| Ok(tx.query_row("PRAGMA max_page_count = 1000000", [], |row| row.get::<_, i64>(0))?));
}

fn large(mut shop: Shop) -> Shop {
    shop.config.destination[0].fields = vec!["email".to_owned()];
    shop.write(|tx| Ok(tx.execute("UPDATE customers SET email = ?1", ["x".repeat(LARGE)])?));
    shop
}

#[tokio::test]
async fn nothing_is_sent_while_it_cannot_be_recorded_and_it_heals_by_itself() {
    let tool = Receiver::start().await;
    let shop = large(Shop::new(&[&tool]));
    shop.moves(&[1, 2], "lost");
    fill_disk(&shop);
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(shop.forwarder().run(shutdown.clone()));
    // One look at the clock at the start, one before old claims are taken back, one before each try.
    until(|| shop.clock_reads() >= 4).await;
    assert!(tool.received().is_empty(), "a reply could not have been recorded");
    assert_eq!(shop.states(), ["waiting", "waiting"]);

    free_disk(&shop);
    assert_eq!(tool.wait_for(2).await.len(), 2);
    shutdown.cancel();
    running.await.unwrap();
    assert_eq!(shop.states(), ["delivered", "delivered"]);
}

#[tokio::test]
async fn a_reply_is_kept_until_it_can_be_recorded() {
    let tool = Receiver::start().await;
    tool.answers(Answer::from(200).hanging().body("y".repeat(4096)));
    let shop = large(Shop::new(&[&tool]));
    shop.moves(&[1], "lost");
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(shop.forwarder().run(shutdown.clone()));
    tool.wait_for(1).await;
    fill_disk(&shop);
    let before = shop.clock_reads();
    tool.release();
    // The reply's own time, and one look before each try to record it.
    until(|| shop.clock_reads() >= before + 3).await;
    assert_eq!(shop.states(), ["sending"]);
    free_disk(&shop);
    shutdown.cancel();
    running.await.unwrap();
    assert_eq!(shop.states(), ["delivered"]);
    assert_eq!(tool.received().len(), 1, "not sent again");
}

#[tokio::test]
async fn until_idle_gives_up_on_a_database_that_cannot_be_written() {
    let tool = Receiver::start().await;
    let shop = large(Shop::new(&[&tool]));
    shop.moves(&[1], "lost");
    fill_disk(&shop);
    let report = shop.deliver().await;
    let error = report.error.unwrap();
    assert!(error.contains("disk is full"), "{error}");
    assert!(tool.received().is_empty());
}
