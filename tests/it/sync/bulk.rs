//! The first pull: everything, by bulk operations.

use quintile::sync::log::{Mode, Stage, State};
use serde_json::{Value, json};

use super::{
    admin::{Download, Ending, validate},
    home::Home,
    nodes::{bag, order, with},
};

#[test]
fn the_whole_document_is_one_that_the_shop_takes() {
    validate(quintile::sync::queries::DOCUMENT).unwrap();
    let wrong = validate("{ orders(first: 1) { nodes { total } } }").unwrap_err();
    assert!(wrong.contains("does not have a field `total`"), "{wrong}");
}

#[tokio::test]
async fn the_first_pull_brings_everything_there_is() {
    let home = Home::at("2026-11-23T12:00:00Z").await;
    home.admin.fill(1200, "2026-11-22T00:00:00Z");
    let refunded = with(
        order(2400, Some(1200), "20.00", "2026-11-22T00:00:00Z"),
        [
            ("displayFinancialStatus", json!("PARTIALLY_REFUNDED")),
            ("totalRefundedSet", bag("5.00")),
            ("currentTotalPriceSet", bag("15.00")),
            ("netPaymentSet", bag("14.50")),
        ],
    );
    home.admin.shop().orders.insert(2400, refunded);
    let entry = home.pull().await;

    assert_eq!((entry.mode, entry.since, entry.attempts, entry.swept), (Mode::Full, None, 1, false));
    assert_eq!((entry.counts.orders.read, entry.counts.orders.new), (2400, 2400));
    assert_eq!((entry.counts.customers.read, entry.counts.customers.rejected), (1200, 0));
    // There is nothing that a webhook could have told of before.
    assert_eq!(entry.counts.missed, None);
    assert_eq!(entry.watermark.to_string(), "2026-11-23T11:50:00Z");
    assert_eq!(home.orders(), format!("2400 | 2400 | {}", 2399 * 2000 + 1450));
    assert_eq!(
        home.row("SELECT count(*), sum(order_count), min(email), min(consent), min(tags) FROM customers"),
        "1200 | 2400 | c1000@example.com | subscribed | vip"
    );
    assert_eq!(home.row("SELECT DISTINCT origin, historical FROM orders"), "sync | 1");
    assert_eq!(home.row("SELECT count(*) FROM outbox"), "0");
    // One operation for each, and no page.
    let shop = home.admin.shop();
    assert_eq!((shop.count("RunBulk"), shop.count("Orders"), shop.fetched), (2, 0, 2));
    assert!(!home.config.database.path.with_extension("db.sync.jsonl").exists());
}

#[tokio::test]
async fn a_second_full_pull_changes_nothing() {
    let home = Home::at("2026-11-23T12:00:00Z").await;
    home.admin.fill(30, "2026-11-22T00:00:00Z");
    home.pull().await;
    let before = home.rows("SELECT * FROM orders ORDER BY id");
    home.later(1);
    let again = super::home::done(home.syncer().run(quintile::sync::log::Trigger::Manual, true).await.unwrap());
    assert_eq!((again.mode, again.since), (Mode::Full, None));
    assert_eq!((again.counts.orders.read, again.counts.orders.new, again.counts.orders.updated), (60, 0, 0));
    assert_eq!(home.rows("SELECT * FROM orders ORDER BY id"), before);
}

#[tokio::test]
async fn a_shop_without_anything_is_done_at_once() {
    let home = Home::at("2026-11-23T12:00:00Z").await;
    let entry = home.pull().await;
    assert_eq!((entry.counts.orders.read, entry.counts.customers.read), (0, 0));
    assert_eq!(home.admin.shop().fetched, 0);
}

#[tokio::test]
async fn a_pull_that_stops_in_the_middle_of_a_file_goes_on_there() {
    let home = Home::at("2026-11-23T12:00:00Z").await;
    home.admin.fill(2600, "2026-11-22T00:00:00Z");
    // The disk fails in the fifth thousand.
    home.sql("CREATE TRIGGER full_disk BEFORE INSERT ON orders WHEN NEW.source_id = '4321' BEGIN SELECT RAISE(ABORT, 'no room'); END");
    let (entry, error) = home.fail().await;
    assert!(error.contains("no room"), "{error}");
    let position = entry.position.clone().unwrap();
    assert_eq!(
        (position.stage, position.file.as_ref().map(|file| (file.line, file.objects))),
        (Stage::Orders, Some((4000, 4000)))
    );
    assert_eq!(entry.counts.orders.new, 4000);
    assert_eq!(home.row("SELECT count(*) FROM orders"), "4000");

    home.sql("DROP TRIGGER full_disk");
    let resumed = home.pull().await;
    assert_eq!((resumed.id, resumed.attempts, resumed.position), (entry.id, 2, None));
    // Each line was counted once, and nothing was asked for again.
    assert_eq!((resumed.counts.orders.read, resumed.counts.orders.new), (5200, 5200));
    assert_eq!(home.admin.shop().count("RunBulk"), 2);
    assert_eq!(home.admin.shop().fetched, 2);
    assert_eq!(home.orders(), "5200 | 5200 | 10400000");
}

#[tokio::test]
async fn a_pull_that_was_killed_while_it_waited_goes_on_waiting() {
    let home = Home::at("2026-11-23T12:00:00Z").await;
    home.admin.fill(20, "2026-11-22T00:00:00Z");
    home.admin.shop().endings.push_back(Ending::Endless);
    {
        let syncer = home.syncer();
        let run = syncer.run(quintile::sync::log::Trigger::Scheduled, false);
        // Dropped where it is, as a process that is killed.
        tokio::select! {
            ended = run => panic!("{ended:?}"),
            () = async { while home.admin.shop().count("Operation") < 3 { tokio::task::yield_now().await } } => {}
        }
    }
    assert_eq!(home.log()[0].state, State::Running);
    let id = home.log()[0].position.as_ref().unwrap().operation.clone().unwrap();
    assert_eq!(id, "gid://shopify/BulkOperation/1");
    home.admin.shop().operations.get_mut(&id).unwrap().ends();
    let entry = home.pull().await;
    assert_eq!((entry.attempts, entry.counts.orders.read), (2, 40));
    assert_eq!(home.admin.shop().count("RunBulk"), 2);
}

#[tokio::test]
async fn an_operation_that_a_lost_answer_started_is_taken_over() {
    let home = Home::at("2026-11-23T12:00:00Z").await;
    home.admin.fill(20, "2026-11-22T00:00:00Z");
    home.pull().await;
    // The same query runs already, and nobody here knows its id.
    let query = home.admin.shop().variables("RunBulk")[0]["query"].as_str().unwrap().to_owned();
    home.admin.shop().start(&query, home.now().millis());
    let begun = home.now();
    home.later(1);
    home.admin.shop().orders.insert(100, order(100, Some(1), "5.00", &home.now().to_string()));
    home.later(1);
    let entry = super::home::done(home.syncer().run(quintile::sync::log::Trigger::Manual, true).await.unwrap());
    assert_eq!(entry.counts.orders.read, 40);
    assert_eq!(home.admin.shop().operations.len(), 4);
    // What came after it began is left to the next pull.
    assert_eq!(entry.watermark, begun.plus_millis(-10 * 60_000));
    home.later(6);
    assert_eq!(home.pull().await.counts.orders.new, 1);
}

#[tokio::test]
async fn another_operation_is_waited_for() {
    let home = Home::at("2026-11-23T12:00:00Z").await;
    home.admin.fill(20, "2026-11-22T00:00:00Z");
    home.admin.shop().start("{ orders { edges { node { id } } } }", home.now().millis());
    let other = home.admin.shop().operations.keys().next().unwrap().clone();
    let syncer = home.syncer();
    let run = syncer.run(quintile::sync::log::Trigger::Manual, false);
    let ends = async {
        while home.admin.shop().count("RunBulk") < 3 {
            tokio::task::yield_now().await;
        }
        home.admin.shop().operations.get_mut(&other).unwrap().polls = 0;
        std::future::pending::<()>().await;
    };
    let entry = tokio::select! {
        ended = run => super::home::done(ended.unwrap()),
        () = ends => unreachable!(),
    };
    assert_eq!(entry.counts.orders.read, 40);
}

#[tokio::test]
async fn polls_come_every_minute_unless_the_shop_says_that_it_is_done() {
    let home = Home::at("2026-11-23T12:00:00Z").await;
    home.admin.fill(1, "2026-11-22T00:00:00Z");
    home.pull().await;
    // Two operations of three polls each: four waits of a minute.
    assert_eq!(home.waited(), 4 * 60);

    let home = Home::at("2026-11-23T12:00:00Z").await;
    home.admin.fill(1, "2026-11-22T00:00:00Z");
    home.at_the_first_wait(
        "INSERT INTO inbox (source, topic, body_hash, headers, body, state, received_at)
         VALUES ('shopify', 'bulk_operations/finish', x'01', '{}', x'01', 'done', 0)",
    );
    home.pull().await;
    assert_eq!(home.waited(), 5 + 3 * 60);
}

#[tokio::test]
async fn an_address_that_expired_is_asked_for_again() {
    let home = Home::at("2026-11-23T12:00:00Z").await;
    home.admin.fill(20, "2026-11-22T00:00:00Z");
    home.admin.shop().downloads.extend([Download::Expired, Download::Cut(500), Download::Broken]);
    let entry = home.pull().await;
    assert_eq!((entry.counts.orders.read, entry.attempts), (40, 1));
    assert_eq!(home.admin.shop().fetched, 5);
    assert_eq!(home.admin.shop().count("RunBulk"), 2);
}

#[tokio::test]
async fn a_file_that_stays_short_moves_nothing() {
    let home = Home::at("2026-11-23T12:00:00Z").await;
    home.admin.fill(20, "2026-11-22T00:00:00Z");
    home.admin.shop().downloads.extend([Download::Cut(500); 4]);
    let (_, error) = home.fail().await;
    assert!(error.contains("has 500 bytes and should have"), "{error}");
    assert_eq!(home.row("SELECT count(*) FROM orders"), "0");
    home.later(1);
    assert_eq!(home.pull().await.counts.orders.read, 40);
}

#[tokio::test]
async fn partial_data_is_stored_and_everything_is_asked_for_again() {
    let home = Home::at("2026-11-23T12:00:00Z").await;
    home.admin.fill(20, "2026-11-22T00:00:00Z");
    home.admin.shop().endings.push_back(Ending::Partial(25));
    let (entry, error) = home.fail().await;
    assert!(error.contains("failed half-way; the 25 that it gave are stored"), "{error}");
    assert_eq!(entry.counts.orders.new, 25);
    assert_eq!(home.row("SELECT count(*) FROM orders"), "25");
    home.later(1);
    let entry = home.pull().await;
    // The watermark had not moved: all 40 came.
    assert_eq!((entry.attempts, entry.since, entry.counts.orders.new), (2, None, 40));
    assert_eq!(home.row("SELECT count(*) FROM orders"), "40");
}

#[tokio::test]
async fn the_watermark_stays_when_the_shop_counts_otherwise() {
    let home = Home::at("2026-11-23T12:00:00Z").await;
    home.admin.fill(20, "2026-11-22T00:00:00Z");
    home.admin.shop().endings.push_back(Ending::Miscounted);
    let (_, error) = home.fail().await;
    assert!(error.contains("has 40 of them and should have 41"), "{error}");
    home.later(1);
    assert_eq!(home.pull().await.since, None);
    assert_eq!(home.admin.shop().count("RunBulk"), 3);
}

#[tokio::test]
async fn operations_that_fail_are_started_again_by_the_next_pull() {
    let home = Home::at("2026-11-23T12:00:00Z").await;
    home.admin.fill(20, "2026-11-22T00:00:00Z");
    for (ending, told) in [(Ending::Failed, "INTERNAL_SERVER_ERROR"), (Ending::Denied, "read_all_orders")] {
        home.admin.shop().endings.push_back(ending);
        let (_, error) = home.fail().await;
        assert!(error.contains(told), "{error}");
        home.later(1);
    }
    assert_eq!(home.pull().await.counts.orders.read, 40);
    assert_eq!(home.admin.shop().count("RunBulk"), 4);
}

#[tokio::test]
async fn what_cannot_be_used_is_counted_and_named() {
    let home = Home::at("2026-11-23T12:00:00Z").await;
    home.admin.fill(3, "2026-11-22T00:00:00Z");
    let dollars = json!({ "shopMoney": { "amount": "1.00", "currencyCode": "USD" } });
    let foreign = with(
        order(99, Some(1), "1.00", "2026-11-22T00:00:00Z"),
        [
            ("currencyCode", json!("USD")),
            ("totalPriceSet", dollars.clone()),
            ("currentTotalPriceSet", dollars.clone()),
            ("totalOutstandingSet", Value::Null),
            ("totalRefundedSet", Value::Null),
            ("netPaymentSet", dollars),
        ],
    );
    let priceless = with(order(98, Some(1), "1.00", "2026-11-22T00:00:00Z"), [("totalPriceSet", Value::Null)]);
    home.admin.shop().orders.extend([(98, priceless), (99, foreign)]);
    let entry = home.pull().await;
    assert_eq!((entry.counts.orders.read, entry.counts.orders.new, entry.counts.orders.rejected), (8, 6, 2));
    assert_eq!(entry.notes.len(), 2);
    assert!(entry.notes[0].starts_with("order 98: the order has no totalPriceSet"), "{:?}", entry.notes);
    assert!(entry.notes[1].starts_with("order 99: it is in USD, this shop's currency is EUR"), "{:?}", entry.notes);
}

#[tokio::test]
async fn a_gap_of_more_than_a_week_is_filled_in_bulk() {
    let home = Home::at("2026-11-01T12:00:00Z").await;
    home.admin.fill(20, "2026-10-31T00:00:00Z");
    home.pull().await;
    let changed = order(40, Some(20), "33.00", "2026-11-05T00:00:00Z");
    home.admin.shop().orders.insert(40, changed);
    home.later(10 * 24);
    let entry = home.pull().await;
    assert_eq!((entry.mode, entry.counts.orders.read, entry.counts.missed), (Mode::Full, 1, Some(1)));
    assert_eq!(entry.since.unwrap().to_string(), "2026-11-01T11:50:00Z");
    let query = home.admin.shop().variables("RunBulk")[2]["query"].as_str().unwrap().to_owned();
    assert!(query.starts_with("{ orders(query: \"updated_at:>='2026-11-01T11:50:00Z'\")"), "{query}");
    // A bulk operation of ids looked for deletions beside it.
    assert!(entry.swept);
}
