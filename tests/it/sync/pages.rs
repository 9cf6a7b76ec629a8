//! What changed, page by page: windows, costs, tokens.

use quintile::sync::log::{Mode, Trigger};
use serde_json::json;

use super::{
    admin::Fault,
    home::{Home, done},
    nodes::{customer, order, with},
};

/// A home whose history is in, six hours ago.
async fn settled() -> Home {
    let home = Home::at("2026-11-23T12:00:00Z").await;
    home.admin.fill(20, "2026-11-22T00:00:00Z");
    home.pull().await;
    home.later(6);
    home.waits.lock().unwrap().clear();
    home
}

#[tokio::test]
async fn the_next_pull_asks_for_what_changed_since() {
    let home = settled().await;
    let at = "2026-11-23T15:00:00Z";
    home.admin.shop().orders.insert(41, order(41, Some(21), "50.00", at));
    home.admin.shop().orders.insert(1, order(1, Some(1), "25.00", at));
    home.admin.shop().customers.insert(21, customer(21, at));
    let entry = home.pull().await;
    assert_eq!(entry.mode, Mode::Incremental);
    assert_eq!(entry.since.unwrap().to_string(), "2026-11-23T11:50:00Z");
    let (orders, customers) = (entry.counts.orders, entry.counts.customers);
    assert_eq!((orders.read, orders.new, orders.updated), (2, 1, 1));
    assert_eq!((customers.read, customers.updated), (1, 1));
    assert_eq!(home.orders(), format!("41 | 41 | {}", 39 * 2000 + 2500 + 5000));
    assert_eq!(home.admin.shop().variables("Orders")[0]["query"], json!("updated_at:>='2026-11-23T11:50:00Z'"));
    // Live, not history; and the customer's first.
    assert_eq!(home.row("SELECT historical FROM orders WHERE source_id = '41'"), "0");
    assert_eq!(home.row("SELECT type FROM outbox"), "customer/first_order");
    // The last ten minutes are asked for again, and are no news.
    home.later(6);
    let next = home.pull().await;
    assert_eq!((next.counts.orders.read, next.counts.orders.updated, next.counts.missed), (0, 0, Some(0)));
}

#[tokio::test]
async fn what_no_webhook_told_of_is_counted() {
    let home = settled().await;
    let shop = |id, at| {
        home.admin.shop().orders.insert(id, order(id, Some(1), "50.00", at));
    };
    shop(41, "2026-11-23T15:00:00Z");
    shop(42, "2026-11-23T16:00:00Z");
    // Told by a webhook in time.
    home.sql(
        "INSERT INTO orders (source, source_id, status, currency, gross, net, counted, ordered_at, source_updated_at, origin, received_at)
         VALUES ('shopify', '42', 'paid', 'EUR', 5000, 5000, 1, 1795449600000, 1795449600000, 'webhook', 0)",
    );
    // On its way: it was changed a moment ago.
    let now = home.now().plus_millis(-60_000).to_string();
    shop(43, &now);
    assert_eq!(home.pull().await.counts.missed, Some(1));
}

#[tokio::test]
async fn without_webhooks_none_is_missed() {
    let mut home = settled().await;
    home.config.webhooks.shopify.secrets.clear();
    home.admin.shop().orders.insert(41, order(41, Some(1), "50.00", "2026-11-23T15:00:00Z"));
    assert_eq!(home.pull().await.counts.missed, None);
}

#[tokio::test]
async fn pages_follow_each_other_and_shrink_when_they_cost_too_much() {
    let home = settled().await;
    home.admin.fill(150, "2026-11-23T17:00:00Z");
    let entry = home.pull().await;
    assert_eq!((entry.counts.orders.read, entry.counts.customers.read), (300, 150));
    let shop = home.admin.shop();
    // A page of 100 orders costs 1,202 points, more than a query may.
    let first: Vec<_> = shop.variables("Orders").iter().map(|variables| variables["first"].as_u64().unwrap()).collect();
    assert_eq!(first, [50; 6]);
    assert_eq!(shop.variables("Customers").len(), 2);
}

#[tokio::test]
async fn the_bucket_is_waited_for_and_never_runs_dry() {
    let home = settled().await;
    home.admin.fill(1000, "2026-11-23T17:00:00Z");
    let entry = home.pull().await;
    assert_eq!(entry.counts.orders.read, 2000);
    // 40 pages of 602 points from a bucket of 2,000 that refills by 100 a second.
    let shop = home.admin.shop();
    assert_eq!(shop.throttled, 0);
    assert!((240..280).contains(&home.waited()), "{}", home.waited());
}

#[tokio::test]
async fn a_shop_whose_other_apps_take_its_points_is_left_alone_for_a_while() {
    let home = settled().await;
    home.admin.fill(30, "2026-11-23T17:00:00Z");
    home.admin.shop().bucket.drain(home.now().millis());
    home.admin.shop().bucket.rate = 2000.0;
    home.admin.shop().faults.extend([
        Fault::Status(429, Some("7.0")),
        Fault::Status(503, None),
        Fault::Error("THROTTLED"),
        Fault::Error("INTERNAL_SERVER_ERROR"),
    ]);
    let entry = home.pull().await;
    assert_eq!(entry.counts.orders.read, 60);
    assert!(home.waits.lock().unwrap().iter().any(|wait| wait.as_secs() == 7));
    assert!(home.admin.shop().throttled > 0);
}

#[tokio::test]
async fn a_shop_that_stays_down_fails_the_pull_which_goes_on_later() {
    let home = settled().await;
    home.admin.fill(150, "2026-11-23T17:00:00Z");
    let healthy = home.admin.shop().count("Orders");
    // It breaks after the shop has answered who it is and two pages.
    let syncer = home.syncer();
    let run = syncer.run(Trigger::Scheduled, false);
    let breaks = async {
        while home.admin.shop().count("Orders") < healthy + 2 {
            tokio::task::yield_now().await;
        }
        home.admin.shop().faults.extend(vec![Fault::Status(502, None); 6]);
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        ended = run => ended.unwrap(),
        () = breaks => unreachable!(),
    };
    let told = format!("{:#}", ended.error.unwrap());
    assert!(told.contains("trouble of its own (502)"), "{told}");
    let stored = ended.entry.counts.orders.read;
    assert!((1..300).contains(&stored), "{stored}");
    let reached = ended.entry.position.clone().unwrap().reached.unwrap();

    let entry = done(home.run().await);
    assert_eq!((entry.id, entry.attempts), (ended.entry.id, 2));
    // It went on from what it had reached, and asked for nothing before that again.
    let asked = home.admin.shop().variables("Orders").last().unwrap()["query"].as_str().unwrap().to_owned();
    assert_eq!(asked, format!("updated_at:>='{}'", quintile::model::Timestamp::from_millis(reached)));
    assert!(entry.counts.orders.read < 300 + 50, "{}", entry.counts.orders.read);
    assert_eq!(home.row("SELECT count(*) FROM orders"), "300");
}

#[tokio::test]
async fn tokens_are_renewed_in_time_and_when_refused() {
    let home = settled().await;
    let syncer = home.syncer();
    let run = || async { done(syncer.run(Trigger::Scheduled, false).await.unwrap()) };
    run().await;
    assert_eq!(home.admin.shop().exchanges, 2);
    home.later(6);
    run().await;
    assert_eq!(home.admin.shop().exchanges, 2);
    // 80 % of a day are over.
    home.later(14);
    run().await;
    assert_eq!(home.admin.shop().exchanges, 3);
    // The shop forgets it: one more.
    home.admin.shop().tokens.clear();
    home.later(1);
    run().await;
    assert_eq!(home.admin.shop().exchanges, 4);
}

#[tokio::test]
async fn hidden_personal_data_does_not_stop_a_pull() {
    let home = settled().await;
    let hidden = with(
        customer(1, "2026-11-23T15:00:00Z"),
        [("firstName", json!(null)), ("lastName", json!(null)), ("defaultEmailAddress", json!(null))],
    );
    home.admin.shop().customers.insert(1, hidden);
    home.admin
        .shop()
        .orders
        .insert(41, with(order(41, Some(1), "5.00", "2026-11-23T15:00:00Z"), [("email", json!(null))]));
    // The first is for the shop itself.
    home.admin.shop().faults.extend([Fault::Impersonal, Fault::Impersonal, Fault::Impersonal]);
    let entry = home.pull().await;
    assert_eq!(entry.counts.orders.new, 1);
    // What was known stays.
    assert_eq!(home.row("SELECT first_name, email FROM customers WHERE external_id = '1'"), "C1 | c1@example.com");
}

#[tokio::test]
async fn a_first_order_is_news_once_whichever_way_it_comes() {
    let home = settled().await;
    let events = |home: &Home| home.row("SELECT count(*) FROM outbox WHERE type = 'customer/first_order'");
    // Placed before the first pull, and changed since: history.
    let old =
        with(order(41, Some(21), "50.00", "2026-11-22T09:00:00Z"), [("updatedAt", json!("2026-11-23T15:00:00Z"))]);
    home.admin.shop().orders.insert(41, old);
    home.pull().await;
    assert_eq!(events(&home), "0");
    home.admin.shop().orders.insert(42, order(42, Some(22), "50.00", "2026-11-23T17:59:00Z"));
    home.later(6);
    home.pull().await;
    assert_eq!(events(&home), "1");
    home.later(1);
    done(home.syncer().run(Trigger::Manual, true).await.unwrap());
    assert_eq!(events(&home), "1");
}
